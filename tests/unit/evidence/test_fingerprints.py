"""Live distributions: increments for each version, each row once, from pages and from a Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.unit.evidence.fake_prometheus import Answer, FakePrometheus, vector
from tests.unit.evidence.world import EPOCH, FakeClock
from weir.api.gate import Metrics, PrometheusSource, ScrapeSource
from weir.contract.client import Fingerprint
from weir.contract.profile import BinCounts, ColumnProfile, Profile, TableProfile
from weir.evidence.errors import PodUnreachable
from weir.evidence.fingerprints import FingerprintReader, Increments, Live, Target
from weir.evidence.pods import Pod
from weir.evidence.prometheus import Prometheus
from weir.evidence.scrape import Page, Scraper, parse_page

CONTRACT = ("prod", "orders")
AMOUNT = ColumnProfile(edges=("10", "20.5", "1000"), counts=(4, 3, 2, 1))
COUNTRY = ColumnProfile(top=(("DE", 6), ("FR", 3)), other=3)
REFERENCES = {"orders.amount": AMOUNT, "orders.country": COUNTRY}
PROFILE = Profile({"orders": TableProfile(10, {"amount": AMOUNT, "country": COUNTRY})})


class Server:
    """One process of a model server that counts with the client."""

    def __init__(self, started: float = 1.0) -> None:
        self.registry = CollectorRegistry()
        self.watch = Fingerprint.load(PROFILE.to_json(), registry=self.registry)
        self.started = started
        self.broken: str | None = None

    def serve(self, *amounts: Any, **countries: int) -> None:
        for amount in amounts:
            self.watch.observe({"orders.amount": amount})
        for country, rows in countries.items():
            for _ in range(rows):
                self.watch.observe({"orders.country": country})

    def page(self) -> str:
        if self.broken is not None:
            return self.broken
        return generate_latest(self.registry).decode() + f"process_start_time_seconds {self.started}\n"


@dataclass
class Pages(Scraper):
    """Pages by pod address; a pod without a server does not answer."""

    servers: dict[str, Server] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def __post_init__(self) -> None:
        super().__init__()

    async def read(self, url: str, wanted: Collection[str]) -> Page:
        self.urls.append(url)
        if self.gate is not None:
            await self.gate.wait()
        server = self.servers.get(url.split("/")[2].rpartition(":")[0])
        if server is None:
            raise PodUnreachable("the pod does not answer")
        return parse_page(server.page().encode(), wanted)


@dataclass
class Lab:
    """A reader, its clock and its pods."""

    clock: FakeClock = field(default_factory=FakeClock)
    pages: Pages = field(default_factory=Pages)
    prometheus: Prometheus = field(default_factory=Prometheus)

    def __post_init__(self) -> None:
        self.reader = FingerprintReader(self.clock, self.pages, self.prometheus)

    def pod(self, number: int, started: float | None = EPOCH - 1000, server: Server | None = None) -> Pod:
        self.pages.servers[f"10.0.0.{number}"] = server or Server()
        return Pod(f"m-{number}", f"10.0.0.{number}", 8080, started)

    def server(self, pod: Pod) -> Server:
        return self.pages.servers[pod.ip]

    async def read(self, *targets: Target) -> Increments:
        self.clock.time += 60
        return await self.reader.read(targets)

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.prometheus.close()


def target(*pods: Pod, version: str = "v1", **more: Any) -> Target:
    return Target(CONTRACT, version, f"m-{version}", pods, REFERENCES, **more)


def amount(found: Increments, version: str = "v1") -> tuple[int, ...] | None:
    counts = found.counts.get(Live(CONTRACT, version, "orders.amount"))
    return counts.counts if counts else None


async def test_given_a_pod_when_first_read_then_its_past_is_a_baseline_and_later_rows_count_once(lab: Lab) -> None:
    pod = lab.pod(1)
    lab.server(pod).serve(*[5] * 100)
    assert await lab.read(target(pod)) == Increments()
    lab.server(pod).serve(5, 10, 15, 5000, None, DE=2, IT=1)
    found = await lab.read(target(pod))
    assert found.counts == {
        Live(CONTRACT, "v1", "orders.amount"): BinCounts((2, 1, 0, 1, 1)),
        Live(CONTRACT, "v1", "orders.country"): BinCounts((2, 0, 1, 0)),
    }
    assert found.problems == {}
    assert await lab.read(target(pod)) == Increments()


async def test_given_several_pods_and_versions_when_read_then_rows_are_summed_by_version(lab: Lab) -> None:
    first, second, third = lab.pod(1), lab.pod(2), lab.pod(3)
    targets = target(first, second), target(third, version="v2")
    await lab.read(*targets)
    for pod, rows in ((first, 3), (second, 4), (third, 5)):
        lab.server(pod).serve(*[5] * rows)
    found = await lab.read(*targets)
    assert amount(found) == (7, 0, 0, 0, 0)
    assert amount(found, "v2") == (5, 0, 0, 0, 0)


async def test_given_one_version_in_two_pools_when_read_then_both_count(lab: Lab) -> None:
    first, second = lab.pod(1), lab.pod(2)
    targets = target(first), replace(target(second), pool="other")
    await lab.read(*targets)
    lab.server(first).serve(5)
    lab.server(second).serve(5, 5)
    assert amount(await lab.read(*targets)) == (3, 0, 0, 0, 0)


async def test_given_a_pod_that_starts_later_when_read_then_it_counts_from_zero(lab: Lab) -> None:
    old = lab.pod(1)
    await lab.read(target(old))
    new = lab.pod(2, started=lab.now + 5)
    lab.server(new).serve(5, 5, 5)
    assert amount(await lab.read(target(old, new))) == (3, 0, 0, 0, 0)


async def test_given_a_new_pod_that_answers_late_when_read_then_nothing_of_it_is_lost(lab: Lab) -> None:
    old = lab.pod(1)
    await lab.read(target(old))
    new = lab.pod(2, started=lab.now + 5)
    server = lab.pages.servers.pop("10.0.0.2")
    server.serve(5, 5, 5)
    found = await lab.read(target(old, new))
    assert found.counts == {}
    assert "m-2: the pod does not answer" in found.problems[CONTRACT, "v1"]
    lab.pages.servers["10.0.0.2"] = server
    assert amount(await lab.read(target(old, new))) == (3, 0, 0, 0, 0)


@pytest.mark.parametrize("started", [None, EPOCH - 500])
async def test_given_an_old_pod_that_appears_when_read_then_its_past_is_a_baseline(
    lab: Lab, started: float | None
) -> None:
    old = lab.pod(1)
    await lab.read(target(old))
    other = lab.pod(2, started=started)
    lab.server(other).serve(5, 5, 5)
    assert await lab.read(target(old, other)) == Increments()
    lab.server(other).serve(5)
    assert amount(await lab.read(target(old, other))) == (1, 0, 0, 0, 0)


async def test_given_a_pod_that_is_not_listed_for_a_while_when_it_is_back_then_no_row_counts_twice(lab: Lab) -> None:
    old = lab.pod(1)
    await lab.read(target(old))
    new = lab.pod(2, started=lab.now + 5)
    lab.server(new).serve(5, 5, 5)
    assert amount(await lab.read(target(old, new))) == (3, 0, 0, 0, 0)
    await lab.read(target(old))
    # even if the node's clock is ahead, so that it seems to have started after the last look
    ahead = replace(new, started=lab.now + 100)
    assert await lab.read(target(old, ahead)) == Increments()


async def test_given_a_restarted_process_when_read_then_it_counts_from_zero_and_nothing_is_negative(lab: Lab) -> None:
    pod = lab.pod(1)
    lab.server(pod).serve(*[5] * 10)
    await lab.read(target(pod))
    lab.pages.servers[pod.ip] = Server(started=2.0)
    lab.server(pod).serve(*[5] * 20)
    assert amount(await lab.read(target(pod))) == (20, 0, 0, 0, 0)


async def test_given_a_restart_of_the_operator_when_read_then_no_row_counts_again(lab: Lab) -> None:
    pod = lab.pod(1)
    await lab.read(target(pod))
    lab.server(pod).serve(5, 5)
    assert amount(await lab.read(target(pod))) == (2, 0, 0, 0, 0)
    lab.server(pod).serve(5, 5, 5)
    lab.reader = FingerprintReader(lab.clock, lab.pages, lab.prometheus)
    assert await lab.read(target(pod)) == Increments()
    lab.server(pod).serve(5)
    assert amount(await lab.read(target(pod))) == (1, 0, 0, 0, 0)


async def test_given_a_silent_pod_when_the_others_answer_then_they_count_and_its_rows_come_later(lab: Lab) -> None:
    first, second = lab.pod(1), lab.pod(2)
    await lab.read(target(first, second))
    lab.server(first).serve(5)
    server = lab.pages.servers.pop(second.ip)
    server.serve(5, 5)
    found = await lab.read(target(first, second))
    assert amount(found) == (1, 0, 0, 0, 0)
    assert found.problems == {(CONTRACT, "v1"): "m-2: the pod does not answer"}
    lab.pages.servers[second.ip] = server
    assert amount(await lab.read(target(first, second))) == (2, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("# nothing\n", 'no weir_feature_value with property="orders.amount"'),
        ('weir_feature_value_bucket{property="orders.amount",le="10"} 1\n', 'no bucket le="20.5"'),
        ('weir_feature_value_bucket{property="orders.amount",le="ten"} 1\n', "which is no number"),
        ('weir_feature_value_bucket{property="orders.amount",le="10"} NaN\n', "a counter is a number from 0 up"),
        (
            'weir_feature_value_bucket{property="orders.amount",le="10"} 5\n'
            'weir_feature_value_bucket{property="orders.amount",le="20.5"} 4\n'
            'weir_feature_value_bucket{property="orders.amount",le="1e3"} 4\n'
            'weir_feature_value_bucket{property="orders.amount",le="+Inf"} 4\n',
            "a bucket holds less than the one before it",
        ),
        ("<html>", "HTML page"),
    ],
)
async def test_given_a_page_that_cannot_be_used_when_read_then_the_problem_says_why(
    lab: Lab, page: str, problem: str
) -> None:
    pod = lab.pod(1)
    lab.server(pod).broken = page
    found = await lab.read(target(pod))
    assert found.counts == {}
    assert problem in found.problems[CONTRACT, "v1"]
    assert found.problems[CONTRACT, "v1"].startswith("m-1: ")


async def test_given_one_property_that_cannot_be_used_when_read_then_the_other_counts(lab: Lab) -> None:
    pod = lab.pod(1)
    lab.server(pod).broken = 'weir_feature_value_top_total{property="orders.country",value="DE"} 5\n'
    await lab.read(target(pod))
    lab.server(pod).broken = 'weir_feature_value_top_total{property="orders.country",value="DE"} 7\n'
    found = await lab.read(target(pod))
    assert found.counts == {Live(CONTRACT, "v1", "orders.country"): BinCounts((2, 0, 0, 0))}
    assert "orders.amount" in found.problems[CONTRACT, "v1"]


async def test_given_a_plain_prometheus_recipe_when_read_then_more_edges_labels_and_values_do_no_harm(lab: Lab) -> None:
    # given a server that counts with plain metrics: other edges besides, a label of its own, values as they come
    def page(rows: int) -> str:
        lines = [
            f'weir_feature_value_bucket{{property="orders.amount",model="{model}",le="{le}"}} {rows * n}\n'
            for model in ("a", "b")
            for le, n in (("5.0", 1), ("10.0", 2), ("20.5", 3), ("500.0", 3), ("1000.0", 3), ("+Inf", 4))
        ]
        values = [
            f'weir_feature_value_top_total{{property="orders.country",value="{v}"}} {rows}\n' for v in ("DE", "XX")
        ]
        return "".join(lines + values)

    pod = lab.pod(1)
    lab.server(pod).broken = page(1)
    await lab.read(target(pod))
    lab.server(pod).broken = page(11)
    found = await lab.read(target(pod))
    assert amount(found) == (40, 20, 0, 20, 0)
    assert found.counts[Live(CONTRACT, "v1", "orders.country")] == BinCounts((10, 0, 10, 0))


async def test_given_another_reference_when_read_then_its_first_read_is_a_baseline(lab: Lab) -> None:
    pod = lab.pod(1)
    await lab.read(target(pod))
    lab.server(pod).serve(5, 5)
    coarse = {"orders.amount": ColumnProfile(edges=("10",), counts=(1, 1))}
    assert await lab.read(replace(target(pod), references=coarse)) == Increments()
    lab.server(pod).serve(5, 500)
    assert amount(await lab.read(replace(target(pod), references=coarse))) == (1, 1, 0)


async def test_given_several_contracts_when_one_is_read_or_forgotten_then_the_others_go_on(lab: Lab) -> None:
    pod, other = lab.pod(1), ("prod", "other")
    mine, theirs = target(pod), replace(target(pod), contract=other)
    await lab.read(mine, theirs)
    lab.server(pod).serve(5)
    assert amount(await lab.read(mine)) == (1, 0, 0, 0, 0)
    found = await lab.read(theirs)
    assert set(found.counts) == {Live(other, "v1", "orders.amount")}
    lab.reader.forget(other)
    lab.server(pod).serve(5)
    assert set((await lab.read(mine, theirs)).counts) == {Live(CONTRACT, "v1", "orders.amount")}


async def test_given_a_version_that_is_left_out_when_it_is_back_then_its_first_read_is_a_baseline(lab: Lab) -> None:
    first, second = lab.pod(1), lab.pod(2)
    await lab.read(target(first), target(second, version="v2"))
    await lab.read(target(first))
    lab.server(second).serve(5)
    assert await lab.read(target(first), target(second, version="v2")) == Increments()


async def test_given_a_read_under_way_when_asked_again_then_nothing_counts_twice(lab: Lab) -> None:
    pod = lab.pod(1)
    await lab.read(target(pod))
    lab.server(pod).serve(5)
    lab.pages.gate = asyncio.Event()
    first = asyncio.create_task(lab.reader.read([target(pod)]))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        second = await lab.reader.read([target(pod)])
    assert second.problems == {(CONTRACT, "v1"): "the previous read is still under way"}
    lab.pages.gate.set()
    assert amount(await first) == (1, 0, 0, 0, 0)
    assert await lab.read(target(pod)) == Increments()


async def test_given_a_contract_forgotten_during_a_read_when_it_ends_then_it_stays_forgotten(lab: Lab) -> None:
    pod = lab.pod(1)
    await lab.read(target(pod))
    lab.server(pod).serve(5)
    lab.pages.gate = asyncio.Event()
    first = asyncio.create_task(lab.reader.read([target(pod)]))
    await asyncio.sleep(0)
    lab.reader.forget(CONTRACT)
    lab.pages.gate.set()
    assert (await first).counts == {}


async def test_given_port_path_and_ipv6_when_scraped_then_the_address_is_right(lab: Lab) -> None:
    lab.pages.servers["[fd00::1]"] = Server()
    pod = Pod("m-6", "fd00::1", 8080)
    await lab.read(target(pod, metrics=Metrics(scrape=ScrapeSource(port=9090, path="/stats"))))
    assert lab.pages.urls == ["http://[fd00::1]:9090/stats"]


# --- From a Prometheus ---------------------------------------------------------------------------------------------


def series(pod: str, amounts: tuple[int, int, int, int], *, job: str = "pods", namespace: str = "prod") -> list[Any]:
    """What a Prometheus says of one pod: cumulative buckets of the amount, no countries."""
    rows: list[Any] = []
    labels = {"namespace": namespace, "pod": pod, "job": job, "instance": f"{pod}:8080"}
    total = 0
    for le, count in zip(("10.0", "20.5", "1000.0", "+Inf"), amounts, strict=True):
        total += count
        name = {"__name__": "weir_feature_value_bucket", "property": "orders.amount", "le": le}
        rows.append(({**labels, **name}, str(total)))
    name = {"__name__": "weir_feature_value_other_total", "property": "orders.country"}
    return [*rows, ({**labels, **name}, "0")]


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    made = FakePrometheus(lambda _: vector())
    yield made
    made.close()


def asked(fake: FakePrometheus, *pods: Pod, version: str = "v1") -> Target:
    source = PrometheusSource(address=fake.address, interval="5s", timeout="1s")
    return target(*pods, version=version, metrics=Metrics(prometheus=source))


async def test_given_a_prometheus_when_read_then_one_query_answers_for_all_versions(
    lab: Lab, fake: FakePrometheus
) -> None:
    first, second = Pod("m-v1-a", "10.0.0.1", 8080), Pod("m-v2-b", "10.0.0.2", 8080)
    counts = {"m-v1-a": (5, 0, 0, 0), "m-v2-b": (7, 0, 0, 0)}

    def respond(_: str) -> Answer:
        return vector(*(row for pod, amounts in counts.items() for row in series(pod, amounts)))

    fake.respond = respond
    targets = asked(fake, first), asked(fake, second, version="v2")
    assert (await lab.read(*targets)).counts == {}
    # The first change is a baseline, too: what is shown may be older than the read.
    counts |= {"m-v1-a": (6, 0, 0, 0), "m-v2-b": (8, 0, 0, 0)}
    assert (await lab.read(*targets)).counts == {}
    counts |= {"m-v1-a": (6, 3, 0, 0), "m-v2-b": (8, 0, 0, 1)}
    found = await lab.read(*targets)
    assert amount(found) == (0, 3, 0, 0, 0)
    assert amount(found, "v2") == (0, 0, 0, 1, 0)
    assert len(fake.queries) == 3
    assert 'namespace=~"prod"' in fake.queries[0]
    assert 'pod=~"m-v1-.+|m-v2-.+"' in fake.queries[0]


async def test_given_a_pod_that_prometheus_does_not_know_when_read_then_the_problem_says_so(
    lab: Lab, fake: FakePrometheus
) -> None:
    found = await lab.read(asked(fake, Pod("m-v1-a", "10.0.0.1", 8080)))
    assert "Prometheus has no weir_feature_value" in found.problems[CONTRACT, "v1"]


async def test_given_a_pod_that_is_scraped_twice_when_read_then_it_is_refused(lab: Lab, fake: FakePrometheus) -> None:
    fake.respond = lambda _: vector(*series("m-v1-a", (5, 0, 0, 0)), *series("m-v1-a", (5, 0, 0, 0), job="again"))
    found = await lab.read(asked(fake, Pod("m-v1-a", "10.0.0.1", 8080)))
    assert "several times" in found.problems[CONTRACT, "v1"]


async def test_given_a_prometheus_that_refuses_when_read_then_every_pod_has_the_problem_and_nothing_is_raised(
    lab: Lab, fake: FakePrometheus
) -> None:
    fake.respond = lambda _: (400, "application/json", b'{"status": "error", "error": "no"}')
    pods = [Pod(f"m-v1-{letter}", "10.0.0.1", 8080) for letter in "abcde"]
    found = await lab.read(asked(fake, *pods))
    assert "m-v1-a, m-v1-b, m-v1-c and 2 more: Prometheus" in found.problems[CONTRACT, "v1"]
