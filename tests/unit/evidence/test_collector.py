"""The collector on a clock of its own, reading pages and a Prometheus that the tests write."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.evidence.fake_prometheus import Answer, FakePrometheus, scalar, vector
from tests.unit.evidence.world import COLLECT, EPOCH, ERRORS, KEY, SLOW, Server, World, pass_time, row, settle, source
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate, Metrics, RequestMetrics
from weir.evidence.collector import ArmPods, Pod
from weir.evidence.errors import PodUnreachable
from weir.release.observation import Share


async def test_given_two_arms_when_requests_come_then_windows_hold_what_came_since_the_start(world: World) -> None:
    world.watch(gates=(ERRORS, SLOW))
    await settle()
    world.old.ok, world.new.ok, world.new.bad, world.new.slow = 1100, 28, 22, 3
    await world.clock.forward(14)
    windows = world.windows()
    assert [(w.gate, w.start, w.end) for w in windows] == [
        ("errors", EPOCH, EPOCH + 10),
        ("slow", EPOCH, EPOCH + 10),
    ]
    assert (windows[0].candidate, windows[0].stable) == (Counts(bad=2, total=10), Counts(total=100))
    assert (windows[1].candidate, windows[1].stable) == (Counts(bad=3, total=10), Counts(total=100))
    assert 'http_requests_total{code=~"5.*"}' in windows[0].query
    assert world.collector.share(KEY) == Share(candidate=10, stable=100)
    assert world.changes == [KEY]
    assert world.collector.windows(KEY, {"errors": EPOCH + 10}) == windows[1:]
    assert world.count("scrape", "ok") == len(world.pages.reads)


async def test_given_nothing_registered_when_time_passes_then_nothing_is_read(world: World) -> None:
    await world.clock.forward(60)
    world.watch()
    await settle()
    assert len(world.pages.reads) == 2
    world.collector.forget(KEY)
    world.collector.forget(KEY)
    await world.clock.forward(60)
    assert len(world.pages.reads) == 2
    assert (world.windows(), world.collector.share(KEY), world.collector.problem(KEY)) == ((), None, None)


async def test_given_another_stage_when_watched_then_everything_starts_from_nothing(world: World) -> None:
    world.watch()
    await settle()
    world.new.bad += 5
    await world.clock.forward(14)
    assert world.windows()[0].candidate.bad == 5
    world.new.bad += 7
    world.watch(replace(COLLECT, key="1/1", since=EPOCH + 14))
    assert (world.windows(), world.collector.share(KEY)) == ((), None)
    await settle()
    world.new.ok += 1
    await world.clock.forward(14)
    assert [(w.start, w.candidate) for w in world.windows()] == [(EPOCH + 14, Counts(total=1))]


async def test_given_only_the_share_is_of_interest_when_judging_begins_then_the_windows_begin(world: World) -> None:
    world.watch(replace(COLLECT, judging=False))
    await settle()
    world.new.bad, world.old.ok = 24, 1006
    await world.clock.forward(5)
    assert (world.collector.share(KEY), world.windows()) == (Share(4, 6), ())
    assert KEY in world.changes
    world.watch()
    await world.clock.forward(2)
    world.new.bad += 1
    await world.clock.forward(6)
    assert world.collector.share(KEY) == Share(5, 6)
    assert [(w.start, w.candidate) for w in world.windows()] == [(EPOCH, Counts(bad=1, total=1))]


async def test_given_a_start_a_little_later_when_watched_then_what_comes_before_is_a_baseline(world: World) -> None:
    world.watch(replace(COLLECT, since=EPOCH + 4))
    await world.clock.forward(3)
    assert world.pages.reads == []
    world.new.bad += 9
    await world.clock.forward(1)
    world.new.ok += 2
    await world.clock.forward(13)
    assert [(w.start, w.candidate) for w in world.windows()] == [(EPOCH + 4, Counts(total=2))]


async def test_given_the_candidate_is_silent_when_the_window_ends_then_error_then_nothing_is_lost(world: World) -> None:
    world.watch()
    await settle()
    world.new.error = PodUnreachable("http://10.0.0.2:8080/metrics cannot be read: refused")
    world.old.ok, world.new.bad = 1050, 25
    await world.clock.forward(17)
    assert [w.error for w in world.windows()] == [
        "no metrics of candidate 'm-new': http://10.0.0.2:8080/metrics cannot be read: refused"
    ]
    assert world.collector.problem(KEY) == world.windows()[0].error
    world.new.error, world.old.ok, world.new.bad = None, 1080, 27
    await world.clock.forward(7)
    good = world.windows()[-1]
    assert (good.error, good.candidate, good.stable) == (None, Counts(bad=7, total=7), Counts(total=80))
    assert world.collector.problem(KEY) is None
    assert world.count("scrape", "unreachable") > 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('http_requests_total{code="200"} NaN\n', "a counter is a number from 0 up"),
        ('http_requests_total{code="200"} -1\n', "a counter is a number from 0 up"),
        ("<html></html>", "HTML page"),
        ('http_requests_total{code="200"} 1\nhttp_requests_total{code="200"} 2\n', "several series"),
        ('http_requests_total{status="200"} 1\n', "has no label 'code' (spec.metrics.names.codeLabel)"),
        ("up 1\n", "there is no metric http_requests_total of candidate 'm-new' (spec.metrics.names)"),
    ],
)
async def test_given_unusable_data_when_the_window_ends_then_it_is_an_error(world: World, text: str, said: str) -> None:
    world.new.text = text
    world.watch()
    await world.clock.forward(18)
    windows = world.windows()
    assert windows
    assert all(w.error is not None and said in w.error and w.candidate == Counts() for w in windows)


async def test_given_no_pods_when_the_window_ends_then_it_is_an_error(world: World) -> None:
    world.collector.watch(KEY, COLLECT, (ERRORS,), Metrics(), replace(world.pods, candidate=()))
    await world.clock.forward(18)
    assert [w.error for w in world.windows()] == ["no pods of candidate 'm-new' are known"]


async def test_given_a_metric_that_no_pod_has_when_read_then_the_share_is_unknown(world: World) -> None:
    world.watch(metrics=Metrics(names=RequestMetrics(requests="nope_total")))
    await world.clock.forward(5)
    assert world.collector.share(KEY) is None
    assert "no metric nope_total" in str(world.collector.problem(KEY))


async def test_given_pods_that_come_and_go_then_new_ones_count_from_zero_and_old_ones_keep_what_they_gave(
    world: World,
) -> None:
    world.watch()
    await settle()
    world.new.bad += 3
    await world.clock.forward(3)
    young = Pod("m-new-2", "10.0.0.3", 8080, started=EPOCH + 2)
    unsure = Pod("m-new-3", "10.0.0.4", 8080)
    early = Pod("m-new-4", "10.0.0.5", 8080, started=EPOCH - 1)
    world.pages.servers |= {"10.0.0.3": Server(ok=4), "10.0.0.4": Server(ok=500), "10.0.0.5": Server(ok=500)}
    world.collector.watch(KEY, COLLECT, (ERRORS,), Metrics(), replace(world.pods, candidate=(young, unsure, early)))
    await world.clock.forward(11)
    assert [w.candidate for w in world.windows()] == [Counts(bad=3, total=7)]


async def test_given_a_wall_clock_that_steps_when_windows_close_then_they_still_tile(world: World) -> None:
    world.clock.skew = -3600
    world.watch()
    await settle()
    world.clock.skew = 3600
    await world.clock.forward(24)
    assert [(w.start, w.end) for w in world.windows()] == [(EPOCH, EPOCH + 10), (EPOCH + 10, EPOCH + 20)]


async def test_given_different_bucket_edges_when_compared_then_it_is_an_error(world: World) -> None:
    world.old.text = (
        'http_request_duration_seconds_bucket{le="0.5"} 1\nhttp_request_duration_seconds_bucket{le="+Inf"} 1\n'
    )
    world.watch(gates=(SLOW,))
    await world.clock.forward(18)
    assert "different histogram bucket edges" in str(world.windows()[0].error)
    assert "candidate 0.25 s" in str(world.windows()[0].error)


async def test_given_templates_that_need_a_prometheus_when_there_is_none_then_the_error_says_so(world: World) -> None:
    gates = (
        Gate(name="edge", template="gateway-errors", max=Decimal("0.1")),
        Gate(name="own", template="custom", bad="b", total="t", max=Decimal("0.1")),
        Gate(name="p99", template="threshold", query="q", max=Decimal("0.1")),
    )
    world.watch(gates=gates)
    await world.clock.forward(18)
    windows = world.windows()
    assert {w.gate for w in windows} == {"edge", "own", "p99"}
    assert all("needs a Prometheus" in str(w.error) for w in windows)


async def test_given_a_fault_of_ours_when_reading_then_it_is_logged_once_and_others_go_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    del world.pages.servers["10.0.0.2"]
    with caplog.at_level(logging.ERROR):
        world.watch()
        await world.clock.forward(10)
    assert len([r for r in caplog.records if "reading evidence failed" in r.message]) == 1
    assert sum("10.0.0.1" in url for url in world.pages.reads) > 3


# --- Prometheus ------------------------------------------------------------------------------------------------------


async def test_given_two_rollouts_when_prometheus_is_asked_then_one_query_answers_for_both(
    world: World, fake: FakePrometheus
) -> None:
    count = {"old": 1000, "new": 10}
    fake.respond = lambda _: vector(row("m-old-1", "200", count["old"]), row("m-new-1", "500", count["new"]))
    world.watch(metrics=source(fake))
    other = ArmPods((Pod("m-new-1", "10.0.0.2", 8080),), (Pod("m-old-1", "10.0.0.1", 8080),))
    world.collector.watch(("prod", "other"), COLLECT, (ERRORS,), source(fake), other)
    await pass_time(world, 1, fake)
    for _ in range(2):
        # The first change is still a baseline: it may show what happened before the stage.
        count["old"], count["new"] = count["old"] + 40, count["new"] + 4
        await pass_time(world, 3, fake)
    await pass_time(world, 8, fake)
    for key in (KEY, ("prod", "other")):
        (window,) = world.collector.windows(key, {})
        assert (window.candidate, window.stable) == (Counts(bad=4, total=4), Counts(total=40))
        assert world.collector.share(key) == Share(4, 40)
        assert window.query == fake.queries[0]
    assert 4 <= len(fake.queries) <= 9
    assert set(fake.queries) == {
        'sum by (namespace, pod, job, instance, code) (http_requests_total{namespace=~"prod",pod=~"m-new-.+|m-old-.+"})'
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (vector(), "no http_requests_total with pod="),
        ((404, "text/plain", b"404"), "answered HTTP 404"),
        ((200, "text/html", b"<html>"), "HTML page"),
        (vector(row("m-old-1", "200", 1), row("m-new-1", "200", float("nan"))), "a counter is a number"),
        (vector(row("m-old-1", "200", 1), row("m-new-1", "200", 1), row("m-new-1", "200", 1, "b")), "several times"),
    ],
)
async def test_given_a_prometheus_that_cannot_answer_when_the_window_ends_then_it_is_an_error(
    world: World, fake: FakePrometheus, answer: Answer, said: str
) -> None:
    fake.respond = lambda _: answer
    world.watch(metrics=source(fake))
    await pass_time(world, 16, fake)
    assert world.windows()
    assert all(w.error is not None and said in w.error for w in world.windows())


async def test_given_a_target_that_goes_when_it_returns_then_missing_was_not_zero(
    world: World, fake: FakePrometheus
) -> None:
    new = [10]
    fake.respond = lambda _: vector(row("m-old-1", "200", 5), *[row("m-new-1", "200", n) for n in new])
    world.watch(metrics=source(fake))
    await pass_time(world, 1, fake)
    for now in ([11], [13], [], [19]):
        new[:] = now
        await pass_time(world, 3, fake)
    assert world.collector.share(KEY) == Share(8, 0)


async def test_given_custom_and_threshold_queries_when_answered_then_windows_have_counts_and_values(
    world: World, fake: FakePrometheus
) -> None:
    total = {"m-new": 100.0, "m-old": 900.0}

    def respond(query: str) -> Answer:
        for pool, n in total.items():
            if f'total{{p="{pool}"}}' in query:
                return vector(({}, str(n)))
        if "p99" in query:
            return scalar("0.25") if query == "p99(prod,digits,m-new,v2,10s)" else scalar("9")
        return vector()

    fake.respond = respond
    gates = (
        Gate(name="own", template="custom", bad='bad{p="{{pool}}"}', total='total{p="{{pool}}"}', max=Decimal(1)),
        Gate(
            name="p99",
            template="threshold",
            query="p99({{namespace}},{{rollout}},{{pool}},{{version}},{{window}})",
            max=Decimal(1),
        ),
    )
    world.watch(gates=gates, metrics=source(fake))
    await pass_time(world, 1, fake)
    for _ in range(2):
        total = {pool: n + 50 for pool, n in total.items()}
        await pass_time(world, 3, fake)
    await pass_time(world, 7, fake)
    own, p99 = world.windows()
    assert (own.candidate, own.stable, own.error) == (Counts(total=50), Counts(total=50), None)
    assert own.query == 'bad{p="m-new"} of total{p="m-new"}'
    assert (p99.value, p99.error, p99.start) == (Decimal("0.25"), None, EPOCH)


async def test_given_gateway_counters_when_one_gateway_answers_then_it_counts_and_two_are_an_error(
    world: World, fake: FakePrometheus
) -> None:
    def traefik(pool: str, code: str, n: int) -> tuple[dict[str, str], str]:
        return {"job": "gw", "instance": "i", "service": f"r-svc-prod-{pool}-0@kubernetesgateway", "code": code}, str(n)

    rows = [traefik("m-old", "200", 700)]
    fake.respond = lambda query: vector(*rows) if "traefik" in query else vector()
    gate = Gate(name="edge", template="gateway-errors", max=Decimal("0.1"))
    world.watch(gates=(gate,), metrics=source(fake))
    await pass_time(world, 1, fake)
    rows[0] = traefik("m-old", "200", 710)
    await pass_time(world, 3, fake)
    rows[:] = [traefik("m-old", "200", 730), traefik("m-new", "502", 2), traefik("m-new", "200", 3)]
    await pass_time(world, 10, fake)
    (window,) = world.windows()
    assert (window.candidate, window.stable) == (Counts(bad=2, total=5), Counts(total=20))
    istio = {"destination_workload": "m-new", "destination_workload_namespace": "prod", "response_code": "200"}
    rows.append((istio, "1"))
    await pass_time(world, 10, fake)
    assert "istio and traefik both count these requests" in str(world.windows()[-1].error)
