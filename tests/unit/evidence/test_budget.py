"""Reading the whole service's requests: what is asked, how often, and what becomes of bad answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.evidence.fake_prometheus import FakePrometheus, vector
from tests.unit.evidence.world import EPOCH, FakeClock, settle
from weir.api.evidencestatus import Counts
from weir.api.gate import Metrics
from weir.api.rollout import ErrorBudget
from weir.evidence.budget import EVERY, BudgetReader, Service, by_code, by_selector, pods_query, selected_query
from weir.evidence.errors import DataError, PrometheusBadAnswer, PrometheusTimeout
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.prometheus import Prometheus
from weir.evidence.samples import Sample
from weir.release.budget import spans
from weir.workload.identity import pod_pattern, pool_name

KEY = ("prod", "digits")
PODS = pod_pattern("digits")
SPANS = (300.0, 1800.0, 3600.0, 21600.0, 259200.0, 2592000.0)
METRICS = Metrics.model_validate({"prometheus": {"address": "http://prometheus:9090", "timeout": "5s"}})
SELECTORS = {
    "bad": 'lb_requests_total{service="{{namespace}}-{{rollout}}",code=~"5.."}',
    "total": 'lb_requests_total{service="{{namespace}}-{{rollout}}"}',
}


def service(**changes: Any) -> Service:
    """A service with an objective of 99.9 percent."""
    return Service(ErrorBudget.model_validate({"objective": "0.999", **changes}), METRICS, PODS)


def codes(**values: float) -> tuple[Sample, ...]:
    """An answer by status code."""
    return tuple(Sample({"code": code.removeprefix("c")}, value) for code, value in values.items())


def span_of(query: str) -> float:
    """Seconds of a query's range."""
    found = re.search(r"\[(\d+)s\]", query)
    assert found is not None, query
    return float(found[1])


@dataclass
class FakeAnswers(Prometheus):
    """A Prometheus in memory: ``respond`` answers or raises."""

    respond: Callable[[str], tuple[Sample, ...]] = lambda _: codes(c200=998.6, c500=1.4)
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    closed: bool = False
    gate: asyncio.Event | None = None
    running: int = 0
    most: int = 0

    async def query(self, address: str, query: str, *, within: float, key: Any = None) -> tuple[Sample, ...]:
        self.asked.append((address, query, within))
        self.running += 1
        self.most = max(self.most, self.running)
        if self.gate is not None:
            await self.gate.wait()
        self.running -= 1
        return self.respond(query)

    def close(self) -> None:
        self.closed = True

    def spans(self) -> list[float]:
        """Spans asked for since the last call."""
        asked, self.asked = self.asked, []
        return [span_of(query) for _, query, _ in asked]


@dataclass
class World:
    """A reader on a clock of its own."""

    clock: FakeClock
    prometheus: FakeAnswers
    reader: BudgetReader
    metrics: EvidenceMetrics
    news: list[tuple[str, str]]


@asynccontextmanager
async def running(reader: BudgetReader) -> AsyncIterator[None]:
    """The reader at work; its end must not be an error."""
    task = asyncio.create_task(reader.run())
    await settle()
    yield
    assert not task.done(), "the reader ended by itself"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, prometheus, metrics = FakeClock(), FakeAnswers(), EvidenceMetrics(CollectorRegistry())
    news: list[tuple[str, str]] = []
    reader = BudgetReader(clock, on_change=news.append, metrics=metrics, prometheus=prometheus)
    async with running(reader):
        yield World(clock, prometheus, reader, metrics, news)


async def begin(world: World, **changes: Any) -> None:
    """Watch a service, and read it once."""
    world.reader.watch(KEY, service(**changes))
    for _ in range(8):
        await settle()


# --- What is asked ---------------------------------------------------------------------------------------------------


def test_given_a_rollout_when_its_pods_are_counted_then_one_query_a_span_asks_for_all_its_versions_by_code() -> None:
    assert pods_query("prod", service(), 300.0) == (
        "sum by (code) (increase(http_requests_total"
        '{namespace="prod",pod=~"digits-[0-9a-f]{8}-[a-z0-9]+-[a-z0-9]{5}"}[300s]))'
    )


@pytest.mark.parametrize(
    ("pod", "ours"),
    [
        (f"{pool_name('digits', 'sha256:1')}-7c9f6bd5f4-x2x9q", True),
        (f"{pool_name('digits', 'sha256:2')}-bcd-abcde", True),
        (f"{pool_name('digits-abcdef01', 'sha256:1')}-7c9f6bd5f4-x2x9q", False),
        (f"{pool_name('other', 'sha256:1')}-7c9f6bd5f4-x2x9q", False),
        ("digits-7c9f6bd5f4-x2x9q", False),
    ],
)
def test_given_names_of_pods_when_they_are_matched_then_only_those_of_the_rollout_count(pod: str, ours: bool) -> None:
    assert bool(re.fullmatch(PODS, pod)) is ours


@pytest.mark.parametrize("length", [30, 37, 38, 45, 50, 253])
def test_given_a_long_name_when_kubernetes_cuts_the_names_of_pods_then_they_still_count(length: int) -> None:
    name = "m" * length
    for number in range(20):
        generated = f"{pool_name(name, f'sha256:{number}')}-7c9f6bd5f4-"
        assert re.fullmatch(pod_pattern(name), generated[:58] + "x2x9q")


def test_given_selectors_when_they_are_asked_then_placeholders_are_filled_and_the_span_is_added() -> None:
    names = {"namespace": "prod", "rollout": "digits"}
    assert selected_query("bad", SELECTORS["bad"], names, 3600.0) == (
        'sum(increase(lb_requests_total{service="prod-digits",code=~"5.."}[3600s]))'
    )


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("rate(x_total[5m])", "leave out rate"),
        ("sum(increase(x_total))", "leave out increase"),
        ("x_total{a='b'}[5m]", r"without a range: leave out \[5m\]"),
        ('x_total{pool="{{pool}}"}', "unknown placeholder"),
    ],
)
def test_given_a_selector_that_is_none_when_it_is_asked_then_the_field_and_the_way_out_are_told(
    selector: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        selected_query("total", selector, {"namespace": "prod", "rollout": "digits"}, 300.0)


# --- What answers mean -----------------------------------------------------------------------------------------------


def test_given_extrapolated_counts_when_they_are_taken_then_they_are_whole_and_only_server_errors_are_bad() -> None:
    assert by_code(codes(c200=90.4, c404=9.7, c500=1.1, c503=0.6), METRICS) == Counts(bad=2, total=102)
    assert by_code(codes(c500=0.4), METRICS) == Counts(bad=0, total=0)
    assert by_code((), METRICS) is None


def test_given_answers_that_no_counter_gives_when_they_are_taken_then_they_are_refused() -> None:
    with pytest.raises(DataError, match="counter"):
        by_code(codes(c200=float("nan")), METRICS)
    with pytest.raises(DataError, match="without the label 'code'"):
        by_code((Sample({}, 5.0),), METRICS)


def test_given_two_sums_when_they_are_taken_then_no_bad_series_means_none_and_no_requests_mean_unknown() -> None:
    def number(value: float) -> tuple[Sample, ...]:
        return (Sample({}, value),)

    assert by_selector((), number(50)) == Counts(bad=0, total=50)
    assert by_selector(number(5.2), number(5.0)) == Counts(bad=5, total=5)
    assert by_selector(number(5), ()) is None
    with pytest.raises(DataError, match=r"`errorBudget.bad` counts 100 requests, more than the 5 of `total`"):
        by_selector(number(100), number(5))


# --- The reader ------------------------------------------------------------------------------------------------------


async def test_given_a_rollout_with_a_budget_when_it_is_watched_then_all_spans_are_read_at_once(world: World) -> None:
    assert world.reader.reading(KEY) is None
    await begin(world)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert reading.error is None
    assert reading.at == EPOCH
    assert dict(reading.spans) == dict.fromkeys(SPANS, Counts(bad=1, total=1000))
    assert world.news == [KEY]
    assert {address for address, _, _ in world.prometheus.asked} == {"http://prometheus:9090"}
    assert min(within for _, _, within in world.prometheus.asked) >= 15
    assert world.prometheus.spans() == list(SPANS)
    assert world.metrics.reads.labels("prometheus", "ok")._value.get() == len(SPANS)


async def test_given_no_budget_anywhere_when_time_passes_then_nothing_is_asked(world: World) -> None:
    await world.clock.forward(120, step=5)
    assert world.prometheus.asked == []


async def test_given_selectors_when_they_are_read_then_bad_requests_are_asked_first(world: World) -> None:
    world.prometheus.respond = lambda query: (Sample({}, 3.0 if "5.." in query else 700.0),)
    await begin(world, **SELECTORS)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert reading.spans[300.0] == Counts(bad=3, total=700)
    assert ["5.." in query for _, query, _ in world.prometheus.asked] == [True, False] * len(SPANS)


async def test_given_time_when_it_passes_then_short_spans_are_read_often_and_long_ones_seldom(world: World) -> None:
    await begin(world)
    world.prometheus.spans()
    await world.clock.forward(1800, step=5)
    asked = world.prometheus.spans()
    counts = {span: asked.count(span) for span in SPANS}
    assert 58 <= counts[300.0] == counts[1800.0] <= 61
    assert 28 <= counts[3600.0] <= 31
    for span in SPANS[3:]:
        assert 5 <= counts[span] <= 7
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert reading.at >= EPOCH + 1800 - EVERY - 5


async def test_given_a_failing_query_when_it_is_read_then_the_last_counts_stay_with_their_time_and_the_error(
    world: World,
) -> None:
    await begin(world)

    def refuse(query: str) -> tuple[Sample, ...]:
        raise PrometheusTimeout("Prometheus x did not answer within 15 s")

    world.prometheus.respond = refuse
    world.prometheus.spans()
    await world.clock.forward(60, step=5)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert reading.at == EPOCH
    assert reading.error == "Prometheus x did not answer within 15 s"
    assert set(reading.spans) == set(SPANS)
    assert set(world.prometheus.spans()) == {300.0}, "after a failure the rest of the round is left out"
    world.prometheus.respond = lambda _: codes(c200=10.0)
    await world.clock.forward(60, step=5)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert reading.error is None
    assert reading.at > EPOCH
    assert reading.spans[300.0] == Counts(bad=0, total=10)


async def test_given_a_long_span_that_fails_when_short_ones_answer_then_the_reading_ages_all_the_same(
    world: World,
) -> None:
    def refuse(query: str) -> tuple[Sample, ...]:
        if span_of(query) > 86400:
            raise DataError("Prometheus x refused the query: too many samples")
        return codes(c200=10.0)

    world.prometheus.respond = refuse
    await begin(world)
    await world.clock.forward(120, step=5)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert "too many samples" in (reading.error or "")
    assert not reading.spans


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, 'has no http_requests_total with namespace="prod" and pod=~.* in the last 300s: .*spec.metrics.names'),
        (SELECTORS, "has no increase of `errorBudget.total` in the last 300s: check the selector"),
    ],
)
async def test_given_no_series_when_it_is_read_then_that_is_an_error_that_says_what_to_do(
    world: World, changes: dict[str, str], said: str
) -> None:
    world.prometheus.respond = lambda _: ()
    await begin(world, **changes)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert re.search(said, reading.error or "")


async def test_given_a_selector_that_prometheus_refuses_when_it_is_read_then_the_field_is_named(world: World) -> None:
    def refuse(query: str) -> tuple[Sample, ...]:
        if "5.." in query:
            return ()
        raise PrometheusBadAnswer("Prometheus x refused the query: parse error")

    world.prometheus.respond = refuse
    await begin(world, **SELECTORS)
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert (reading.error or "").startswith("`errorBudget.total` must be a selector of a counter: Prometheus x refused")


async def test_given_a_fault_of_ours_when_one_is_read_then_it_is_told_once_and_the_others_go_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(query: str) -> tuple[Sample, ...]:
        if "other" in query:
            raise ZeroDivisionError("oops")
        return codes(c200=10.0)

    world.prometheus.respond = broken
    world.reader.watch(("prod", "other"), Service(service().budget, METRICS, pod_pattern("other")))
    await begin(world)
    await world.clock.forward(120, step=5)
    assert sum("reading the error budget of prod/other failed" in record.message for record in caplog.records) == 1
    other, ours = world.reader.reading(("prod", "other")), world.reader.reading(KEY)
    assert other is not None
    assert "oops" in (other.error or "")
    assert ours is not None
    assert ours.error is None


async def test_given_another_budget_when_it_is_watched_then_it_starts_from_nothing_and_the_old_one_ends(
    world: World,
) -> None:
    await begin(world)
    world.prometheus.spans()
    await begin(world)
    assert world.prometheus.spans() == [], "the same again asks nothing"
    await begin(world, window="168h")
    reading = world.reader.reading(KEY)
    assert reading is not None
    assert set(reading.spans) == set(spans(service(window="168h").budget))
    await world.clock.forward(600, step=5)
    assert 2592000.0 not in world.prometheus.spans()


async def test_given_a_rollout_that_is_forgotten_when_an_answer_comes_late_then_nobody_hears_of_it(
    world: World,
) -> None:
    world.prometheus.gate = asyncio.Event()
    await begin(world)
    world.reader.forget(KEY)
    world.reader.forget(KEY)
    world.prometheus.gate.set()
    await world.clock.forward(60, step=5)
    assert world.reader.reading(KEY) is None
    assert world.news == []
    world.prometheus.spans()
    await world.clock.forward(120, step=5)
    assert world.prometheus.spans() == []


async def test_given_many_rollouts_when_they_are_read_then_only_a_few_queries_are_on_their_way_at_once(
    world: World,
) -> None:
    world.prometheus.gate = asyncio.Event()
    for number in range(20):
        world.reader.watch(("prod", f"r{number}"), Service(service().budget, METRICS, pod_pattern(f"r{number}")))
    await settle()
    assert world.prometheus.running == 2
    world.prometheus.gate.set()
    for _ in range(200):
        await settle()
    assert world.prometheus.most == 2
    assert sorted(set(world.news)) == sorted(("prod", f"r{number}") for number in range(20))


async def test_given_a_reader_that_is_cancelled_when_it_ends_then_its_connections_close() -> None:
    prometheus = FakeAnswers()
    reader = BudgetReader(FakeClock(), prometheus=prometheus)
    async with running(reader):
        reader.watch(KEY, service())
        await settle()
    assert prometheus.closed


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    server = FakePrometheus(lambda _: vector(({"code": "200"}, "990"), ({"code": "500"}, "10")))
    yield server
    server.close()


async def test_given_a_server_when_it_is_read_over_http_then_counts_arrive_and_errors_are_told(
    server: FakePrometheus,
) -> None:
    heard = asyncio.Event()
    clock = FakeClock()
    reader = BudgetReader(clock, on_change=lambda _: heard.set())
    metrics = Metrics.model_validate({"prometheus": {"address": server.address}})
    async with running(reader):
        reader.watch(KEY, Service(service().budget, metrics, PODS))
        await asyncio.wait_for(heard.wait(), 20)
        reading = reader.reading(KEY)
        assert reading is not None
        assert dict(reading.spans) == dict.fromkeys(SPANS, Counts(bad=10, total=1000))
        server.respond = lambda _: (422, "application/json", b'{"status": "error", "error": "too many samples"}')
        heard.clear()
        await clock.forward(31, step=1)
        await asyncio.wait_for(heard.wait(), 20)
        reading = reader.reading(KEY)
        assert reading is not None
        assert "refused the query: too many samples" in (reading.error or "")
