from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from weir.api.gate import RequestMetrics
from weir.backtest.history import History, HistoryError
from weir.backtest.ranges import MAX_POINTS, Wanted, fetch, joined
from weir.evidence.errors import PrometheusBadAnswer
from weir.evidence.prometheus import Span, Track

WIDTH = 10.0
ERRORS = Wanted("team", ("demo-.+",), RequestMetrics())
BOTH = Wanted("team", ("demo-.+",), RequestMetrics(), latency=True)

Value = Callable[[float], float | None]


@dataclass
class Stored:
    """A Prometheus with those series: labels and value at a time, None where there is no sample."""

    series: list[tuple[dict[str, str], Value]] = field(default_factory=list)
    asked: list[tuple[str, float, float]] = field(default_factory=list)
    most: int = 10**9
    """Samples in an answer before it is too large."""

    def __call__(self, query: str, span: Span) -> Sequence[Track]:
        start, end, step = span.start, span.end, span.step
        self.asked.append((query, start, end))
        steps = round((end - start) / step)
        assert steps + 1 <= 11_000, "Prometheus refuses more than 11,000 points"
        if steps * len(self.series) > self.most:
            raise PrometheusBadAnswer("the answer is larger than 32 MB")
        times = [start + i * step for i in range(steps + 1)]
        found = []
        for labels, value in self.series:
            if ("le" in labels) == ("_bucket" in query):
                points = [(t, v) for t in times if (v := value(t)) is not None]
                if points:
                    found.append(Track(labels, tuple(points)))
        return found


def requests(
    pod: str, code: str, value: Value, instance: str = "10.0.0.1", job: str = "pods"
) -> tuple[dict[str, str], Value]:
    return {"namespace": "team", "pod": pod, "job": job, "instance": instance, "code": code}, value


def bucket(pod: str, le: str, value: Value) -> tuple[dict[str, str], Value]:
    return {"namespace": "team", "pod": pod, "job": "pods", "instance": "10.0.0.1", "le": le}, value


def counts(history: History, pod: str) -> list[tuple[int, int]]:
    return [(c.total, c.bad) for m in history.moments if (c := m.pods.get(pod))]


def test_given_counters_by_code_when_fetched_then_windows_hold_all_and_bad_ones() -> None:
    stored = Stored([requests("demo-a", "200", lambda t: 9 * t), requests("demo-a", "503", lambda t: t)])
    history = fetch(stored, ERRORS, [(100, 130)], WIDTH)
    assert [m.start for m in history.moments] == [100, 110, 120]
    assert counts(history, "demo-a") == [(100, 10)] * 3
    assert stored.asked[0][0].startswith("sum by (namespace, pod, job, instance, code) (http_requests_total{")


def test_given_a_counter_that_falls_when_fetched_then_it_restarted_from_zero() -> None:
    stored = Stored([requests("demo-a", "200", lambda t: t if t < 120 else t - 115)])
    assert counts(fetch(stored, ERRORS, [(100, 130)], WIDTH), "demo-a") == [(10, 0), (5, 0), (10, 0)]


def test_given_an_error_code_that_is_new_when_fetched_then_its_first_errors_count() -> None:
    stored = Stored(
        [requests("demo-a", "200", lambda t: t), requests("demo-a", "500", lambda t: 3 if t >= 120 else None)]
    )
    assert counts(fetch(stored, ERRORS, [(100, 130)], WIDTH), "demo-a") == [(10, 0), (13, 3), (10, 0)]


def test_given_a_pod_that_cannot_be_read_for_a_while_when_fetched_then_it_has_no_windows_there() -> None:
    stored = Stored([
        requests("demo-a", "200", lambda t: t),
        requests("demo-b", "200", lambda t: t if not 110 <= t <= 120 else None),
    ])  # fmt: skip
    history = fetch(stored, ERRORS, [(100, 150)], WIDTH)
    assert [m.start for m in history.moments if "demo-b" in m.pods] == [130, 140]
    assert len(counts(history, "demo-a")) == 5


def test_given_a_pod_whose_address_changed_when_fetched_then_nothing_counts_twice() -> None:
    stored = Stored([
        requests("demo-a", "200", lambda t: 1000 + t if t < 120 else None, "10.0.0.1"),
        requests("demo-a", "200", lambda t: 7 + t if t >= 120 else None, "10.0.0.2"),
    ])  # fmt: skip
    assert counts(fetch(stored, ERRORS, [(100, 140)], WIDTH), "demo-a") == [(10, 0), (0, 0), (10, 0), (10, 0)]


def test_given_a_pod_that_is_scraped_by_two_jobs_when_fetched_then_it_is_refused() -> None:
    stored = Stored([
        requests("demo-a", "200", lambda t: t, job="pods"),
        requests("demo-a", "200", lambda t: t, job="other"),
    ])  # fmt: skip
    with pytest.raises(HistoryError, match="several times"):
        fetch(stored, ERRORS, [(100, 140)], WIDTH)


def test_given_buckets_when_fetched_then_requests_slower_than_each_edge_are_counted() -> None:
    stored = Stored([
        requests("demo-a", "200", lambda t: t),
        bucket("demo-a", "0.1", lambda t: 0.5 * t),
        bucket("demo-a", "0.5", lambda t: 0.9 * t),
        bucket("demo-a", "+Inf", lambda t: t),
    ])  # fmt: skip
    history = fetch(stored, BOTH, [(100, 120)], WIDTH)
    assert history.edges == (0.1, 0.5)
    assert [(m.pods["demo-a"].timed, m.pods["demo-a"].slower) for m in history.moments] == [(10, (5, 1))] * 2


def test_given_pods_without_durations_when_both_are_wanted_then_they_are_left_out() -> None:
    stored = Stored([
        requests("demo-a", "200", lambda t: t),
        requests("demo-b", "200", lambda t: t),
        bucket("demo-a", "0.1", lambda t: t),
        bucket("demo-a", "+Inf", lambda t: t),
    ])  # fmt: skip
    assert set(fetch(stored, BOTH, [(100, 120)], WIDTH).moments[0].pods) == {"demo-a"}


def test_given_thirty_days_when_fetched_then_no_query_asks_for_more_than_prometheus_answers() -> None:
    stored = Stored([requests("demo-a", "200", lambda t: t)])
    days = 2 * MAX_POINTS * WIDTH
    history = fetch(stored, ERRORS, [(0, days)], WIDTH)
    assert len(stored.asked) == 3
    assert counts(history, "demo-a") == [(10, 0)] * (2 * MAX_POINTS)


def test_given_answers_that_are_too_large_when_fetched_then_shorter_spans_are_asked_for_and_nothing_is_lost() -> None:
    stored = Stored([requests("demo-a", "200", lambda t: t)], most=1000)
    assert counts(fetch(stored, ERRORS, [(0, 30_000)], WIDTH), "demo-a") == [(10, 0)] * 3000


def test_given_a_prometheus_that_never_answers_when_fetched_then_its_error_is_said() -> None:
    with pytest.raises(HistoryError, match="larger than"):
        fetch(Stored([requests("demo-a", "200", lambda t: t)], most=0), ERRORS, [(0, 30_000)], WIDTH)


def test_given_nothing_when_fetched_then_the_error_names_the_pods() -> None:
    with pytest.raises(HistoryError, match=r"demo-\.\+ in namespace team"):
        fetch(Stored(), ERRORS, [(0, 100)], WIDTH)


def test_given_requests_without_a_code_when_fetched_then_it_is_refused_since_no_error_could_be_seen() -> None:
    labels = {"namespace": "team", "pod": "demo-a", "job": "pods", "instance": "1", "status": "200"}
    with pytest.raises(HistoryError, match="codeLabel"):
        fetch(Stored([(labels, lambda t: t)]), ERRORS, [(0, 100)], WIDTH)


def test_given_spans_that_touch_when_joined_then_they_are_one_on_the_grid() -> None:
    assert joined([(103, 151), (150, 209), (300, 310)], 10) == [(100, 200), (300, 310)]
