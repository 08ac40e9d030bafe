from __future__ import annotations

from typing import Any

import pytest

from tests.properties.specs import canary, make_spec
from tests.unit.backtest.pasts import START
from tests.unit.backtest.test_ranges import Stored, bucket, requests
from weir.api.rollout import RolloutSpec
from weir.backtest.gather import EPISODES, Where, gather
from weir.backtest.history import HistoryError
from weir.backtest.injection import Regression
from weir.backtest.ranges import spread
from weir.backtest.run import run

DAY = 86400.0
PODS = [f"demo-0a1b2c3d-5f7d9-pod{i}a" for i in range(3)]


def spec_of(*gates: dict[str, Any]) -> RolloutSpec:
    return make_spec(gates=[{"maxWait": "5m", **g} for g in gates], strategy=canary(25), replicas=3)


def where(since: float = 30 * DAY, **more: Any) -> Where:
    return Where("demo", "team", since, START, 30.0, **more)


def stored(**more: Any) -> Stored:
    """Pods that serve 20 requests a second since ever, one in fifty bad, and of the rest one in ten slow."""
    series = []
    for pod in PODS:
        series += [
            requests(pod, "200", lambda t: 19.6 * (t - START + 1e7)),
            requests(pod, "503", lambda t: 0.4 * (t - START + 1e7)),
            bucket(pod, "0.1", lambda t: 18.0 * (t - START + 1e7)),
            bucket(pod, "+Inf", lambda t: 20.0 * (t - START + 1e7)),
        ]
    return Stored(series, **more)


def test_given_thirty_days_when_gathered_then_spans_of_them_are_read_that_each_hold_a_release() -> None:
    prometheus = stored()
    history = gather(prometheus, spec_of({"template": "http-errors"}), where())
    runs = history.runs()
    assert len(runs) == EPISODES
    first, last = history.moments[0].start, history.moments[-1].start
    assert START - 30 * DAY - 120 <= first <= START - 29 * DAY
    assert last <= START - 60
    report = run("demo", spec_of({"template": "http-errors"}), history, releases=10, regressions=Regression.parse("x5"))
    assert report.harmless.promoted.share == 1.0
    assert report.regressions[0].rolled_back.share == 1.0


def test_given_one_day_when_gathered_then_all_of_it_is_read_once() -> None:
    prometheus = stored()
    history = gather(prometheus, spec_of({"template": "http-errors"}), where(DAY))
    assert len(history.runs()) == 1
    assert len(history.moments) == pytest.approx(DAY / 30, abs=5)


def test_given_gates_when_gathered_then_only_what_they_need_is_asked_for() -> None:
    asked = {}
    for template in ("http-errors", "http-latency"):
        prometheus = stored()
        history = gather(prometheus, spec_of({"template": template}), where(DAY))
        asked[template] = "".join(query for query, _, _ in prometheus.asked)
        assert bool(history.edges) == (template == "http-latency")
    assert "_bucket" not in asked["http-errors"]
    assert "requests_total" not in asked["http-latency"]


def test_given_pods_of_another_name_when_gathered_then_the_query_asks_for_them() -> None:
    prometheus = stored()
    gather(prometheus, spec_of({"template": "http-errors"}), where(DAY, pods=(r"mine-\d+",)))
    assert r'pod=~"mine-\\d+"' in prometheus.asked[0][0]
    gather(prometheus, spec_of({"template": "http-errors"}), where(DAY))
    assert 'pod=~"demo-[0-9a-f]{8}-' in prometheus.asked[-1][0]


def test_given_no_gate_that_counts_by_pod_when_gathered_then_nothing_is_asked() -> None:
    prometheus = stored()
    with pytest.raises(HistoryError, match="http-errors or http-latency"):
        gather(prometheus, spec_of({"template": "custom", "bad": "b", "total": "t"}), where())
    assert prometheus.asked == []


def test_given_a_short_time_when_spread_then_every_span_is_whole_and_ends_by_now() -> None:
    spans = spread(1000.0, 300.0, 100.0, 5)
    assert spans[0] == (900.0, 1000.0)
    assert spans[-1] == (700.0, 800.0)
    assert spread(1000.0, 50.0, 100.0, 3) == [(900.0, 1000.0)] * 3
