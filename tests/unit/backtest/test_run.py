from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.properties.specs import canary, make_spec
from tests.unit.backtest.pasts import EDGES, past, pod_name
from weir.api.rollout import RolloutSpec
from weir.backtest.history import History, HistoryError, Moment
from weir.backtest.injection import Regression
from weir.backtest.report import Report, Result
from weir.backtest.run import planned, run, window
from weir.backtest.splits import pool_of, splits
from weir.backtest.trial import stages

PROMETHEUS = {"prometheus": {"address": "http://prometheus.test"}}
ERRORS = {"template": "http-errors"}
LATENCY = {"template": "http-latency"}


def spec_of(*gates: dict[str, Any], **changes: Any) -> RolloutSpec:
    fields = {"gates": list(gates), "strategy": canary(10, 50), "metrics": PROMETHEUS, "replicas": 6}
    return make_spec(**{**fields, **changes})


def backtested(history: History, *gates: dict[str, Any], regressions: str = "x2", releases: int = 20) -> Report:
    tried = Regression.parse(regressions)
    return run("demo", spec_of(*gates or (ERRORS,)), history, releases=releases, regressions=tried, seed=3)


def of(report: Report, regression: str) -> Result:
    return next(r for r in report.regressions if r.regression == regression)


def test_given_a_quiet_past_when_tested_then_a_good_candidate_is_promoted_and_twice_the_errors_are_found() -> None:
    report = backtested(past(400))
    assert report.harmless.rolled_back.hits <= 1
    assert report.harmless.promoted.share >= 0.9
    assert report.harmless.seconds_to_promote is not None
    found = of(report, "errors ×2")
    assert found.rolled_back.share >= 0.95
    assert found.guilty == {"http-errors": found.rolled_back.hits}
    assert 0 < (found.harmed_to_roll_back or 0) < (found.requests_to_roll_back or 0)


@pytest.mark.parametrize(
    "noise", [{"spread": 0.4}, {"burst": 5}, {"spread": 0.3, "burst": 3}], ids=["pods", "bursts", "both"]
)
def test_given_a_noisy_past_when_tested_then_few_good_candidates_are_rolled_back(noise: dict[str, Any]) -> None:
    report = backtested(past(500, pods=8, **noise), regressions="errors:x5", releases=20)
    assert report.harmless.rolled_back.hits <= 2
    assert of(report, "errors ×5").rolled_back.share >= 0.8


def test_given_noise_when_tested_then_the_same_regression_is_found_later_than_in_a_quiet_past() -> None:
    quiet, noisy = (backtested(past(400, spread=spread), regressions="errors:x2", releases=20) for spread in (0.0, 0.5))
    assert (of(noisy, "errors ×2").seconds_to_roll_back or 1e9) > (of(quiet, "errors ×2").seconds_to_roll_back or 0)


def test_given_a_larger_regression_when_tested_then_it_is_found_sooner_and_costs_fewer_requests() -> None:
    report = run(
        "demo",
        spec_of(ERRORS),
        past(400),
        releases=20,
        regressions=[r for text in ("errors:x1.5", "errors:x5") for r in Regression.parse(text)],
    )
    half, five = report.regressions
    assert (five.seconds_to_roll_back or 1e9) < (half.seconds_to_roll_back or 0)
    assert (five.requests_to_roll_back or 1e9) < (half.requests_to_roll_back or 0)


def test_given_too_few_requests_when_tested_then_releases_are_held_and_the_wait_is_said_not_to_fit() -> None:
    report = backtested(past(400, rate=0.2, share=0.02), releases=20)
    assert report.harmless.undecided.share >= 0.9
    assert not any(wait.fits for wait in report.waits)


def test_given_latency_gates_when_tested_then_slower_candidates_are_rolled_back_and_good_ones_are_not() -> None:
    report = backtested(
        past(400, latency=True), LATENCY, {"name": "slow", "template": "http-latency", "over": "200ms"}, releases=20
    )
    assert report.harmless.rolled_back.hits <= 2
    slower = of(report, "latency ×2")
    assert slower.rolled_back.share == 1.0
    assert (slower.harmed_to_roll_back or 0) > 0
    assert [r.regression for r in report.regressions] == ["latency ×2"]


def test_given_a_plain_threshold_when_tested_then_it_is_played_as_the_operator_would() -> None:
    strict = {"template": "http-errors", "max": "0.01", "minSamples": 50}
    loose = {**strict, "max": "0.05"}
    history = past(300, share=0.01)
    assert backtested(history, strict, releases=20).harmless.rolled_back.share >= 0.5
    assert backtested(history, loose, releases=20).harmless.promoted.share == 1.0


def test_given_the_same_seed_when_tested_twice_then_reports_are_equal_and_another_seed_draws_others() -> None:
    history = past(300)
    first, again = backtested(history, releases=10), backtested(history, releases=10)
    assert first == again
    other = run("demo", spec_of(ERRORS), history, releases=10, regressions=Regression.parse("x2"), seed=4)
    assert other != first


def test_given_gates_without_counts_by_pod_when_tested_then_they_are_named_and_the_others_are_played() -> None:
    custom = {"name": "custom", "template": "custom", "bad": "b", "total": "t"}
    slow = {"name": "slow", "template": "http-latency", "over": "30s"}
    report = backtested(past(300, latency=True), ERRORS, custom, slow, releases=5)
    assert set(report.skipped) == {"custom", "slow"}
    assert "no bucket edge" in report.skipped["slow"]
    with pytest.raises(HistoryError, match="no gate can look at the past: custom"):
        run("demo", spec_of(custom), past(10), releases=1, regressions=())


def test_given_a_policy_to_roll_back_without_a_pass_when_tested_then_it_is_told_apart_from_gates_that_fail() -> None:
    impatient = {**ERRORS, "onInsufficient": "Rollback", "maxWait": "2m"}
    report = backtested(past(300, rate=0.2, share=0.02), impatient, releases=10)
    assert report.harmless.by_policy.hits >= 8
    assert report.harmless.rolled_back.hits == 0


@pytest.mark.parametrize("history", [past(10), past(300, pods=1)], ids=["short", "one pod"])
def test_given_a_past_that_holds_no_release_when_tested_then_it_says_what_is_missing(history: History) -> None:
    with pytest.raises(HistoryError, match="two pods of one version"):
        backtested(history)


def test_given_pods_of_two_versions_when_split_then_only_those_of_one_take_part() -> None:
    history = past(50, pods=3)
    other = [
        Moment(m.start, {**m.pods, **{pod_name(i, "digits-ffffffff"): m.pods[pod_name(i)] for i in range(2)}})
        for m in history.moments
    ]
    for split in splits(History(30.0, (), tuple(other)), count=20, length=20, before=5, chance=Random(1)):
        assert {pool_of(pod) for pod in split.pods} == {"digits-0a1b2c3d"}
        candidate, stable = split.arms(10)
        assert (len(candidate), len(stable)) == (1, 2)
        assert not set(candidate) & set(stable)


def test_given_a_gap_when_split_then_no_release_spans_it() -> None:
    history = past(60, pods=3)
    holed = History(30.0, (), history.moments[:30] + history.moments[31:])
    for split in splits(holed, count=30, length=20, before=0, chance=Random(1)):
        assert split.first + 20 <= 30 or split.first >= 30


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        (canary(5, 25, 50), [("Traffic(5)", 25), ("Traffic(25)", 50), ("Traffic(50)", 100)]),
        ({"blueGreen": {}}, [("Preview", 100)]),
        ({"canary": {"ramp": {"riskBudget": 50}}}, [("Ramp", 100)]),
    ],
)
def test_given_a_strategy_when_planned_then_its_stages_with_stable_beside_are_played(
    strategy: dict[str, Any], names: list[tuple[str, int]]
) -> None:
    spec = spec_of(ERRORS, strategy=strategy)
    assert [(s.name, s.next_weight) for s in stages(spec, spec.gates)] == names


def test_given_gates_with_long_and_short_intervals_when_planned_then_each_looks_in_its_own() -> None:
    spec = spec_of({**ERRORS, "interval": "2m"}, {**LATENCY, "interval": "10s"})
    assert window(spec) == 30.0
    plan = planned(spec, 30.0, EDGES)
    assert [playable.windows for playable in plan.gates] == [4, 1]
