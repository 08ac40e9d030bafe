"""What comparisons stand on: whole distributions, means, pods, stable's noise now and before, and no request too early."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.unit.evidence.fake_prometheus import Answer, FakePrometheus, matrix, vector
from tests.unit.evidence.world import COLLECT, EPOCH, KEY, Server, World, pass_time, row, settle, source
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.evidence.collector import ArmPods, Pod
from weir.evidence.errors import PodUnreachable
from weir.evidence.history import scrape_interval
from weir.evidence.prometheus import Track
from weir.release.observation import Edge
from weir.stats.noise import ASSUMED

WORSE = Gate(name="worse", template="http-errors", interval="10s")
SHAPE = Gate(name="shape", template="http-latency", interval="10s")
BEFORE = replace(COLLECT, key="1/before", candidate="", judging=False, release=1)
FIRST = replace(COLLECT, release=1)


def three(world: World) -> ArmPods:
    """Three stable pods and one candidate pod."""
    world.pages.servers |= {"10.0.1.1": Server(ok=500), "10.0.1.2": Server(ok=700)}
    more = (Pod("m-old-2", "10.0.1.1", 8080), Pod("m-old-3", "10.0.1.2", 8080))
    return replace(world.pods, stable=(*world.pods.stable, *more))


async def serve(world: World, seconds: int, dice: random.Random) -> None:
    """Each pod serves 50 requests in 5 s, 4 % of them bad, one pod 12 %."""
    for _ in range(seconds // 5):
        for address, server in world.pages.servers.items():
            share = 0.12 if address == "10.0.1.1" else 0.04
            bad = sum(dice.random() < share for _ in range(50))
            server.bad, server.ok = server.bad + bad, server.ok + 50 - bad
        await world.clock.forward(5)


async def test_given_no_bound_when_latency_is_compared_then_every_edge_is_counted(world: World) -> None:
    world.old.within, world.new.within = {"0.1": 500, "0.5": 1010}, {"0.1": 10, "0.5": 40}
    world.watch(gates=(SHAPE,))
    await settle()
    world.old.within, world.old.ok, world.old.slow = {"0.1": 560, "0.5": 1108}, 1100, 5
    world.new.within, world.new.ok, world.new.slow = {"0.1": 11, "0.5": 49}, 30, 4
    await world.clock.forward(14)
    (window,) = world.windows()
    assert (window.error, window.candidate, window.stable) == (None, Counts(total=10), Counts(total=100))
    assert [replace(edge, noise=None) for edge in window.edges] == [
        Edge(0.1, 9, 40),
        Edge(0.25, 4, 5),
        Edge(0.5, 1, 2),
    ]
    assert {edge.noise for edge in window.edges} == {ASSUMED.rounded()}
    assert window.noise is None
    assert "at every edge" in window.query


async def test_given_other_edges_on_the_arms_when_distributions_are_compared_then_the_error_names_them(
    world: World,
) -> None:
    world.old.within, world.new.within = {"0.1": 0}, {"0.1": 0, "0.2": 0}
    world.watch(gates=(SHAPE,))
    await world.clock.forward(14)
    (window,) = world.windows()
    assert "candidate 0.1 s, 0.2 s, 0.25 s" in str(window.error)
    assert "stable 0.1 s, 0.25 s" in str(window.error)


async def test_given_few_requests_when_the_share_takes_several_windows_then_it_is_told_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.watch(replace(BEFORE), gates=(WORSE,), pods=three(world))  # noise is measured from before the candidate's
    await serve(world, 20, random.Random(1))
    world.watch(replace(FIRST, judging=False), gates=(WORSE,), pods=three(world))

    await serve(world, 60, random.Random(2))

    share = world.collector.share(KEY)
    assert share is not None
    assert (share.candidate, share.stable) == (550, 1650)
    assert world.collector.problem(KEY) is None
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]


async def test_given_three_stable_pods_when_judged_then_windows_tell_how_many_there_are_and_how_noisy(
    world: World,
) -> None:
    pods, dice = three(world), random.Random(3)
    world.watch(FIRST, gates=(WORSE,), pods=pods)
    await settle()
    await serve(world, 120, dice)
    windows = world.windows()
    assert {(w.candidate_pods, w.stable_pods) for w in windows} == {(1, 3)}
    assert (windows[0].noise, windows[0].measured, windows[0].history) == (ASSUMED.rounded(), None, None)
    last = windows[-1]
    assert last.measured is not None
    assert last.measured.slow > 0.05
    assert last.noise is not None
    assert last.noise.slow >= last.measured.slow


async def test_given_a_pod_that_does_not_answer_when_a_window_closes_then_it_is_not_among_the_pods(
    world: World,
) -> None:
    pods = three(world)
    world.watch(gates=(WORSE,), pods=pods)
    await settle()
    world.pages.servers["10.0.1.1"].error = PodUnreachable("refused")
    await world.clock.forward(18)
    assert [w.stable_pods for w in world.windows()] == [2]


async def test_given_a_release_before_traffic_when_stable_serves_then_its_noise_is_known_from_the_first_window(
    world: World,
) -> None:
    pods, dice = three(world), random.Random(3)
    world.watch(BEFORE, gates=(WORSE,), pods=replace(pods, candidate=()))
    await settle()
    await serve(world, 120, dice)
    assert (world.windows(), world.collector.share(KEY), world.collector.problem(KEY)) == ((), None, None)
    assert world.changes == []
    world.collector.pause(KEY)
    assert world.windows() == ()
    await world.clock.forward(5)
    world.watch(replace(FIRST, since=EPOCH + 125), gates=(WORSE,), pods=pods)
    await settle()
    await serve(world, 25, dice)
    first, second = world.windows()
    assert first.measured is not None
    assert first.measured.slow > 0.05
    assert second.stable_pods == 3


@pytest.mark.parametrize("forgotten", [True, False])
async def test_given_another_release_when_it_begins_then_nothing_is_known_of_stable(
    world: World, forgotten: bool
) -> None:
    pods, dice = three(world), random.Random(3)
    world.watch(BEFORE, gates=(WORSE,), pods=pods)
    await settle()
    await serve(world, 120, dice)
    if forgotten:
        world.collector.forget(KEY)
    release = 1 if forgotten else 2
    world.watch(replace(COLLECT, since=EPOCH + 120, release=release), gates=(WORSE,), pods=pods)
    await settle()
    await serve(world, 25, dice)
    assert [(w.noise, w.measured) for w in world.windows()] == [(ASSUMED.rounded(), None)] * 2


# --- Prometheus ------------------------------------------------------------------------------------------------------


async def test_given_a_mean_when_its_counters_are_read_then_windows_hold_sum_and_number(
    world: World, fake: FakePrometheus
) -> None:
    sums, counts = {"m-new": 10.0, "m-old": 90.0}, {"m-new": 20.0, "m-old": 180.0}

    def respond(query: str) -> Answer:
        name, _, pool = query.rstrip(")").partition("(")
        found = (sums if name == "score_sum" else counts).get(pool)
        return vector() if found is None else vector(({}, str(found)))

    fake.respond = respond
    queries = {"sum": "score_sum({{pool}})", "count": "score_count({{pool}})"}
    gate = Gate(name="score", template="mean", interval="10s", **queries)
    world.watch(gates=(gate,), metrics=source(fake))
    await pass_time(world, 1, fake)
    for _ in range(2):
        for pool, score in (("m-new", 0.5), ("m-old", 0.25)):
            sums[pool], counts[pool] = sums[pool] + 10 * score, counts[pool] + 10
        await pass_time(world, 3, fake)
    # A pod went, and its part of the sum with it: what is left is a new baseline.
    sums["m-old"], counts["m-old"] = 40.0, 80.0
    await pass_time(world, 6, fake)
    (window,) = world.windows()
    assert (window.error, window.candidate, window.stable) == (None, Counts(total=10), Counts(total=10))
    assert (window.candidate_sum, window.stable_sum) == (5.0, 2.5)
    assert window.query == "score_sum(m-new) of score_count(m-new)"
    del counts["m-new"]
    await pass_time(world, 14, fake)
    assert "`count` yields nothing while the other query does" in str(world.windows()[-1].error)


def past(start: float, end: float, step: float) -> Answer:
    """Two hours ago three pods began; one restarted meanwhile, and one has three times the bad requests."""
    dice, rows = random.Random(5), []
    for pod, share in (("m-old-1", 0.02), ("m-old-2", 0.02), ("m-old-3", 0.06)):
        good, bad = 1000.0, 10.0
        points: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for i in range(round((end - start) / step) + 1):
            if pod == "m-old-1" and i == 50:
                good = bad = 0.0
            failed = sum(dice.random() < share for _ in range(100))
            good, bad = good + 100 - failed, bad + failed
            points[0].append((start + i * step, good))
            points[1].append((start + i * step, bad))
        for code, series in zip(("200", "500"), points, strict=True):
            labels = {"namespace": "prod", "pod": pod, "job": "pods", "instance": pod, "code": code}
            rows.append((labels, series))
    return matrix(*rows)


async def test_given_a_prometheus_when_a_release_begins_then_stables_past_is_asked_for_once(
    world: World, fake: FakePrometheus
) -> None:
    asked: list[tuple[float, float, float]] = []

    def respond_range(_: str, start: float, end: float, step: float) -> Answer:
        asked.append((start, end, step))
        return past(start, end, step)

    fake.respond = lambda _: vector(row("m-old-1", "200", world.clock.time), row("m-new-1", "200", world.clock.time))
    fake.respond_range = respond_range
    fake.samples = matrix(({"pod": "m-old-1", "code": "200"}, [(t, t) for t in (0.0, 5.0, 10.0)]))
    world.watch(BEFORE, gates=(WORSE,), metrics=source(fake))
    await pass_time(world, 5, fake)
    world.watch(FIRST, gates=(WORSE,), metrics=source(fake))
    await pass_time(world, 20, fake)
    assert asked == [(EPOCH - 2399, EPOCH + 1, 10)]
    assert fake.ranges == [
        '{__name__=~"http_requests_total|http_request_duration_seconds_count",namespace=~"prod",pod=~"m-old-1"}[10m]',
        'sum by (namespace, pod, job, instance, code) (http_requests_total{namespace=~"prod",pod=~"m-old-.+"})',
    ]
    history = world.windows()[-1].history
    assert history is not None
    assert history.slow > 0.05
    assert history.dispersion < 1.5


@pytest.mark.parametrize(
    "answer",
    [
        matrix(),
        (500, "text/plain", b"no"),
        (200, "application/json", b'{"status": "success", "data": {"result": [{"metric": {}, "values": 1}]}}'),
        matrix(({"pod": "m-old-1", "code": "200"}, [(1.0, -1.0)])),
        matrix(
            ({"pod": "a", "job": "x", "code": "200"}, [(1.0, 1.0)]),
            ({"pod": "a", "job": "y", "code": "200"}, [(1.0, 1.0)]),
        ),
    ],
)
async def test_given_no_usable_past_when_a_release_begins_then_windows_close_all_the_same(
    world: World, fake: FakePrometheus, answer: Answer
) -> None:
    fake.respond = lambda _: vector(row("m-old-1", "200", world.clock.time), row("m-new-1", "200", world.clock.time))
    fake.respond_range = lambda *_: answer
    world.watch(FIRST, gates=(WORSE,), metrics=source(fake))
    await pass_time(world, 24, fake)
    assert [(w.error, w.history) for w in world.windows()] == [(None, None), (None, None)]


class Lagging:
    """A Prometheus that scrapes stable at 0, 15, 30 s … and the candidate 7 s later: that long it shows what was."""

    def __init__(self, world: World, fake: FakePrometheus) -> None:
        self.world, self.fake = world, fake
        self.true, self.seen = {"m-old-1": 1000, "m-new-1": 0}, {"m-old-1": 1000, "m-new-1": 0}
        fake.respond = lambda _: vector(*[row(pod, "200", n) for pod, n in self.seen.items()])

    async def serve(self, seconds: int, old: int, new: int) -> None:
        for _ in range(seconds):
            self.true["m-old-1"] += old
            self.true["m-new-1"] += new
            if round(self.world.clock.time) % 15 == 0:
                self.seen["m-old-1"] = self.true["m-old-1"]
            if round(self.world.clock.time) % 15 == 7:
                self.seen["m-new-1"] = self.true["m-new-1"]
            await pass_time(self.world, 1, self.fake)


async def test_given_a_prometheus_that_lags_when_a_stage_begins_then_nothing_of_the_old_weight_is_counted(
    world: World, fake: FakePrometheus
) -> None:
    prometheus = Lagging(world, fake)
    await prometheus.serve(20, old=100, new=0)
    since = EPOCH + world.clock.time - 50.0
    world.watch(replace(COLLECT, since=since), gates=(WORSE,), metrics=source(fake))
    await prometheus.serve(75, old=50, new=50)
    counts = [(w.candidate.total, w.stable.total) for w in world.windows() if w.stable is not None]
    # At the old weight stable served 100 a second: any of it would show as more than 50 for each second of a scrape.
    assert {stable for _, stable in counts} == {0, 750}
    assert {mine for mine, _ in counts} == {0, 750}


async def test_given_scrapes_slower_than_windows_when_it_is_known_then_each_window_has_requests_of_both(
    world: World, fake: FakePrometheus
) -> None:
    prometheus = Lagging(world, fake)
    fake.samples = matrix(
        ({"pod": "m-old-1", "code": "200"}, [(t, t) for t in (0.0, 15.0, 30.0, 45.0)]),
        ({"pod": "m-new-1", "code": "200"}, [(7.0, 1.0)]),
    )
    world.watch(gates=(WORSE,), metrics=source(fake))
    await prometheus.serve(150, old=50, new=5)
    windows = world.windows()
    assert [w.error for w in windows] == [None] * len(windows)
    assert [(a.start, a.end) for a in windows] == [(EPOCH + 20 * i, EPOCH + 20 * i + 20) for i in range(len(windows))]
    # In the first, counters settle: their first change may be older than the stage.
    assert all(w.candidate.total and w.stable is not None and w.stable.total for w in windows[1:])
    assert sum(w.candidate.total for w in windows) % 75 == 0


def test_given_samples_as_scraped_when_looked_at_then_the_slowest_pod_tells_the_interval() -> None:
    often, seldom = [(float(t), 1.0) for t in range(0, 300, 15)], [(0.0, 1.0), (30.1, 1.0), (60.0, 1.0), (180.0, 1.0)]
    assert scrape_interval([Track({}, tuple(often)), Track({}, tuple(seldom)), Track({}, ((5.0, 1.0),))]) == 30.1
    assert scrape_interval([Track({}, ((5.0, 1.0),))]) is None
