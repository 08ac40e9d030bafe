"""Windows tile time, hold both arms or neither, and lose nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from weir.api.base import format_time, parse_time
from weir.api.evidencestatus import Counts
from weir.evidence.checkpoint import Resumption, Standing, decode
from weir.evidence.counters import Counters
from weir.evidence.tiles import MAX_KEPT, Plan, Progress, Tiles
from weir.evidence.windows import CountWindows, ShareMeter, ValueWindows
from weir.release.observation import Arm, Edge, Share, Window

BOTH: tuple[Arm, ...] = ("stable", "candidate")


def plan(gate: str, start: float = 100.0) -> Plan:
    return Plan(gate, origin=100.0, start=start, width=10.0, grace=6.0, query="q")


def make(arms: tuple[Arm, ...] = BOTH, start: float = 100.0) -> CountWindows:
    return CountWindows(plan("errors", start), arms=arms)


def at(stable: float, candidate: float) -> dict[Arm, Progress]:
    return {"stable": Progress(stable, stable), "candidate": Progress(candidate, candidate)}


def all_of(windows: CountWindows) -> tuple[Window, ...]:
    return windows.kept.after(0)


def test_given_counts_when_only_one_arm_was_read_after_the_end_then_the_window_stays_open() -> None:
    windows = make()
    windows.add("candidate", 101, (10, 1))
    windows.add("stable", 101, (20, 2))
    assert not windows.advance(111, at(stable=111, candidate=109))
    assert windows.advance(112, at(stable=111, candidate=112))
    (window,) = all_of(windows)
    assert (window.start, window.end) == (100.0, 110.0)
    assert (window.candidate, window.stable) == (Counts(bad=1, total=10), Counts(bad=2, total=20))
    assert (window.query, window.error) == ("q", None)


def test_given_windows_of_stable_alone_when_the_stream_has_the_candidate_as_well_then_it_is_left_out() -> None:
    windows = make(arms=("stable",))
    windows.add("candidate", 101, (10, 1))
    windows.add("stable", 101, (20, 2))
    assert windows.advance(112, {"stable": Progress(112, 112)})
    assert windows.advance(122, {"stable": Progress(122, 122)})


def test_given_events_between_two_reads_when_the_end_lies_between_then_they_belong_to_the_window_of_the_first() -> None:
    windows = make(arms=("candidate",))
    windows.add("candidate", 109.9, (5, 0))
    windows.add("candidate", 110.0, (7, 0))
    windows.advance(121, {"candidate": Progress(121, 121)})
    assert [w.candidate.total for w in all_of(windows)] == [12]
    windows = make(arms=("candidate",))
    windows.add("candidate", 109.9, (5, 0))
    windows.advance(112, {"candidate": Progress(112, 112)})
    windows.add("candidate", 112, (7, 0))
    windows.advance(120, {"candidate": Progress(120, 120)})
    assert [w.candidate.total for w in all_of(windows)] == [5, 7]


def test_given_an_arm_that_cannot_be_read_when_the_grace_is_over_then_an_error_and_the_counts_come_later() -> None:
    windows = make()
    windows.add("stable", 101, (20, 0))
    silent: dict[Arm, Progress] = {
        "stable": Progress(117, 117),
        "candidate": Progress(117, 105, "no metrics of candidate 'b': refused"),
    }
    assert not windows.advance(115, silent)
    assert windows.advance(117, silent)
    windows.add("stable", 111, (30, 0))
    windows.add("candidate", 105, (9, 1))
    windows.advance(122, at(stable=121, candidate=122))
    bad, good = all_of(windows)
    assert (bad.error, bad.candidate, bad.stable) == ("no metrics of candidate 'b': refused", Counts(), None)
    assert (good.start, good.end) == (110.0, 120.0)
    assert (good.candidate, good.stable) == (Counts(bad=1, total=9), Counts(total=50))


def test_given_unusable_data_of_one_pod_when_the_window_ends_then_it_is_an_error_at_once() -> None:
    windows = make()
    windows.advance(111, {"stable": Progress(111, 111), "candidate": Progress(111, invalid="NaN")})
    assert [w.error for w in all_of(windows)] == ["NaN"]


def test_given_a_pod_that_keeps_silent_when_the_grace_is_over_then_the_others_count_without_it() -> None:
    windows = make(arms=("candidate",))
    windows.add("candidate", 101, (4, 0))
    hanging: dict[Arm, Progress] = {"candidate": Progress(asked=108, read=112)}
    assert not windows.advance(112, hanging)
    assert windows.advance(116, hanging)
    assert [(w.error, w.candidate.total) for w in all_of(windows)] == [(None, 4)]


def test_given_a_long_pause_when_it_is_over_then_one_window_covers_it() -> None:
    windows = make(arms=("candidate",))
    windows.add("candidate", 101, (40, 0))
    windows.advance(155, {"candidate": Progress(155, 155)})
    assert [(w.start, w.end, w.candidate.total) for w in all_of(windows)] == [(100.0, 150.0, 40)]


def test_given_a_restart_when_collection_begins_again_then_no_window_before_it_appears() -> None:
    windows = make(arms=("candidate",), start=137.5)
    windows.add("candidate", 130, (5, 5))
    windows.add("candidate", 138, (3, 0))
    windows.advance(141, {"candidate": Progress(141, 141)})
    assert [(w.start, w.candidate) for w in all_of(windows)] == [(130.0, Counts(total=3))]


def test_given_windows_when_acknowledged_then_they_are_gone_and_the_rest_is_stable() -> None:
    windows = make(arms=("candidate",))
    for end in (110, 120, 130):
        windows.advance(end, {"candidate": Progress(end, end)})
    assert [w.end for w in windows.kept.after(110)] == [120, 130]
    assert windows.kept.after(110) == windows.kept.after(110) == windows.kept.after(0)


def test_given_windows_that_nobody_takes_when_there_are_too_many_then_no_count_is_lost() -> None:
    windows = make(arms=("candidate",))
    for i in range(MAX_KEPT + 50):
        windows.add("candidate", 100 + 10 * i + 1, (3, 0))
        windows.advance(110 + 10 * i, {"candidate": Progress(110 + 10 * i, 110 + 10 * i)})
    kept = all_of(windows)
    assert len(kept) == MAX_KEPT
    assert sum(w.candidate.total for w in kept) == 3 * (MAX_KEPT + 50)
    assert all(a.end == b.start for a, b in pairwise(kept))


def test_given_a_bad_count_ahead_of_all_when_closed_then_the_excess_waits() -> None:
    windows = make(arms=("candidate",))
    windows.add("candidate", 101, (2, 3))
    windows.advance(110, {"candidate": Progress(110, 110)})
    windows.add("candidate", 111, (4, 0))
    windows.advance(120, {"candidate": Progress(120, 120)})
    assert [w.candidate for w in all_of(windows)] == [Counts(bad=2, total=2), Counts(bad=1, total=4)]


@given(
    origin=st.floats(1.6e9, 2.1e9),
    width=st.sampled_from([0.1, 0.25, 1.0, 7.3, 10.0, 3600.0]),
    index=st.integers(0, 100_000),
)
def test_given_any_window_when_its_end_is_stored_then_it_reads_back_equal(
    origin: float, width: float, index: int
) -> None:
    tiles = Tiles(origin, width, origin)
    end = tiles.start(index + 1)
    assert parse_time(format_time(end)) == end
    assert tiles.index(end) == index + 1
    assert tiles.ended(end) == index


def test_given_a_threshold_when_its_window_ends_then_the_first_value_is_the_windows() -> None:
    windows = ValueWindows(plan("p99"))
    assert not windows.value(109, Decimal(1))
    assert windows.value(110.2, Decimal(2))
    assert not windows.failed(121, "refused", final=False)
    assert windows.advance(126)
    assert windows.failed(131, "2 series", final=True)
    assert [(w.end, w.value, w.error) for w in windows.kept.after(0)] == [
        (110, Decimal(2), None),
        (120, None, "refused"),
        (130, None, "2 series"),
    ]


def test_given_one_arm_ahead_when_the_share_is_asked_for_then_it_waits_for_the_other() -> None:
    meter = ShareMeter(BOTH)
    assert meter.share is None
    assert meter.publish(at(1, 1))
    meter.add("stable", 90)
    assert not meter.publish(at(3, 1))
    meter.add("candidate", 10)
    assert meter.publish(at(3, 4))
    assert meter.share == Share(candidate=10, stable=90)


READS = st.lists(
    st.tuples(
        st.floats(0.1, 4.0),  # time that passes
        st.sampled_from(["s1", "s2", "c1", "c2"]),  # the pod whose turn it is
        st.integers(0, 9),  # requests it served since
        st.integers(0, 9),  # bad ones on top
        st.sampled_from(["read", "read", "read", "missed", "nan", "restart"]),
    ),
    max_size=120,
)


@given(reads=READS)
def test_given_any_interleaving_of_reads_faults_and_restarts_then_windows_add_up_to_what_was_read(
    reads: list[tuple[float, str, int, int, str]],
) -> None:
    counters, windows = Counters(), make()
    now, process = 100.0, dict.fromkeys(["s1", "s2", "c1", "c2"], 1.0)
    value = {pod: {"ok": 50, "bad": 5} for pod in process}
    asked, read, broken = dict.fromkeys(process, 100.0), dict.fromkeys(process, 100.0), dict.fromkeys(process, False)
    unread = {pod: [0, 0] for pod in process}
    shown: dict[Arm, list[int]] = {"stable": [0, 0], "candidate": [0, 0]}

    def page(pod: str) -> dict[tuple[str, ...], tuple[float, ...]]:
        return {(code,): (float(n),) for code, n in value[pod].items()}

    def progress() -> dict[Arm, Progress]:
        found: dict[Arm, Progress] = {}
        for arm in BOTH:
            pods = [p for p in process if p[0] == arm[0]]
            bad = "NaN" if any(broken[p] for p in pods) else None
            found[arm] = Progress(min(asked[p] for p in pods), max(read[p] for p in pods), invalid=bad)
        return found

    def take(pod: str, arm: Arm) -> None:
        for found in counters.read(pod, now, page(pod), process=process[pod]):
            bad = found.amounts[0] if found.series == ("bad",) else 0
            windows.add(arm, found.after, (found.amounts[0], bad))
        shown[arm][0] += unread[pod][0]
        shown[arm][1] += sum(unread[pod])
        unread[pod] = [0, 0]
        asked[pod] = read[pod] = now
        broken[pod] = False

    for pod in process:
        counters.read(pod, now, page(pod), process=process[pod])
    for passed, pod, ok, bad, what in reads:
        now += passed
        arm: Arm = "stable" if pod[0] == "s" else "candidate"
        if what == "restart":
            value[pod], unread[pod], process[pod] = {"ok": 0, "bad": 0}, [0, 0], process[pod] + 1
        value[pod] = {"ok": value[pod]["ok"] + ok, "bad": value[pod]["bad"] + bad}
        unread[pod] = [unread[pod][0] + bad, unread[pod][1] + ok]
        if what in ("missed", "nan"):
            asked[pod], broken[pod] = now, what == "nan"
        else:
            take(pod, arm)
        windows.advance(now, progress())
    now += 30
    for pod in process:
        take(pod, "stable" if pod[0] == "s" else "candidate")
    windows.advance(now, progress())
    now += 10
    for pod in process:
        take(pod, "stable" if pod[0] == "s" else "candidate")
    windows.advance(now, progress())
    kept = all_of(windows)
    assert all(a.end == b.start for a, b in pairwise(kept))
    for arm in BOTH:
        counts = [(w.candidate if arm == "candidate" else w.stable) or Counts() for w in kept]
        assert [sum(c.bad for c in counts), sum(c.total for c in counts)] == shown[arm]
    assert all(w.stable is not None for w in kept if w.error is None)


# --- Distributions, sums, pods and restarts ----------------------------------------------------------------------------


def test_given_a_distribution_when_closed_then_it_holds_the_slower_requests_of_each_edge() -> None:
    windows = CountWindows(replace(plan("slow"), measure="slower"), arms=BOTH)
    windows.edges = (0.1, 0.5)
    windows.add("stable", 101, (100, 40, 3), "s1")
    windows.add("stable", 102, (100, 60, 4), "s2")
    windows.add("candidate", 101, (10, 5, 1), "c1")
    windows.advance(112, {"stable": Progress(112, 112, units=2), "candidate": Progress(112, 112, units=1)})
    (window,) = all_of(windows)
    assert (window.candidate, window.stable) == (Counts(total=10), Counts(total=200))
    assert window.edges == (Edge(0.1, 5, 100), Edge(0.5, 1, 7))
    assert (window.candidate_pods, window.stable_pods) == (1, 2)


def test_given_a_mean_when_closed_then_it_holds_sums_and_numbers() -> None:
    windows = CountWindows(replace(plan("mean"), measure="sum"), arms=BOTH)
    windows.add("stable", 101, (4, 1.5))
    windows.add("stable", 103, (2, 0.25))
    windows.add("candidate", 101, (1, 0.5))
    windows.advance(112, at(112, 112))
    (window,) = all_of(windows)
    assert (window.candidate, window.stable) == (Counts(total=1), Counts(total=6))
    assert (window.candidate_sum, window.stable_sum) == (0.5, 1.75)


def test_given_distributions_and_sums_that_nobody_takes_when_there_are_too_many_then_nothing_is_lost() -> None:
    slow = CountWindows(replace(plan("slow"), measure="slower"), arms=BOTH)
    mean = CountWindows(replace(plan("mean"), measure="sum"), arms=BOTH)
    slow.edges = (0.1, 0.5)
    for i in range(MAX_KEPT + 20):
        for arm in BOTH:
            slow.add(arm, 101 + 10 * i, (9, 4, 1))
            mean.add(arm, 101 + 10 * i, (9, 0.5))
        for windows in (slow, mean):
            windows.advance(110 + 10 * i, at(110 + 10 * i, 110 + 10 * i))
    assert len(all_of(slow)) == MAX_KEPT
    counted = [(edge.above, edge.candidate, edge.stable) for w in all_of(slow) for edge in w.edges]
    assert sum(n for above, n, _ in counted if above == 0.1) == 4 * (MAX_KEPT + 20)
    assert sum(n for above, _, n in counted if above == 0.5) == MAX_KEPT + 20
    assert sum(w.stable_sum for w in all_of(mean)) == sum(w.candidate_sum for w in all_of(mean)) == (MAX_KEPT + 20) / 2


def resumed(end: float, now: float, **stable: Standing) -> CountWindows:
    windows = CountWindows(plan("errors"), arms=("stable", "candidate"))
    windows.resume(Resumption(end, {"stable": dict(stable), "candidate": {"c": Standing((0, 0))}}), now)
    return windows


def test_given_a_restart_when_pods_are_read_again_then_one_window_holds_all_since_the_last() -> None:
    windows = resumed(130.0, 165.0, s=Standing((500, 5)), gone=Standing((70, 7)))
    windows.catch_up("stable", "s", Standing((620, 9)), rebase=False)
    windows.catch_up("candidate", "c", Standing((30, 1)), rebase=False)
    windows.catch_up("stable", "s", Standing((9999, 9999)), rebase=False)
    windows.advance(166, at(166, 166))
    (window,) = all_of(windows)
    assert (window.start, window.end) == (130.0, 160.0)
    assert (window.candidate, window.stable) == (Counts(bad=1, total=30), Counts(bad=4, total=120))


def test_given_a_restart_when_nothing_was_read_yet_then_there_is_no_error_before_the_grace_is_over() -> None:
    windows = resumed(130.0, 165.0)
    nothing: dict[Arm, Progress] = {"stable": Progress(), "candidate": Progress()}
    assert not windows.advance(165.1, nothing)
    assert windows.deadline == 171.0
    assert windows.advance(171.0, nothing)
    assert [(w.start, w.end, w.error) for w in all_of(windows)] == [(130.0, 160.0, "counters were not read in time")]


def test_given_pods_that_are_not_read_yet_when_a_window_closes_then_what_they_had_counted_stays_known() -> None:
    windows = resumed(130.0, 135.0, s=Standing((500, 5)), late=Standing((70, 7)))
    windows.standing = lambda arm: {"s": Standing((512, 5))} if arm == "stable" else {"c": Standing((3, 0))}
    windows.catch_up("stable", "s", Standing((510, 5)), rebase=False)
    windows.advance(141, at(141, 141))
    windows.add("stable", 141, (2, 0), "s")
    windows.advance(151, at(151, 145))
    (window,) = all_of(windows)
    assert decode("", window.counters) == (
        140.0,
        {
            "stable": {"s": Standing((512, 5)), "late": Standing((70, 7))},
            "candidate": {"c": Standing((3, 0))},
        },
    )


def test_given_counts_that_wait_when_a_window_closes_then_the_counters_told_are_those_without_them() -> None:
    windows = CountWindows(plan("errors"), arms=("candidate",))
    windows.standing = lambda _: {"c": Standing((100, 10))}
    windows.add("candidate", 101, (20, 2), "c")
    windows.add("candidate", 111, (7, 1), "c")
    windows.advance(112, {"candidate": Progress(112, 112)})
    assert decode("", all_of(windows)[0].counters) == (110.0, {"candidate": {"c": Standing((93, 9))}, "stable": {}})
    windows.advance(126, {"candidate": Progress(126, 112)})
    assert all_of(windows)[1].error is not None
    assert decode("", all_of(windows)[1].counters) == (120.0, {"candidate": {"c": Standing((93, 9))}, "stable": {}})
