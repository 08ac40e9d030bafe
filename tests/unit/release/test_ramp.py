"""A ramp through whole releases: up on evidence, down on risk, back when its budget is spent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import canary, gate, ramp
from tests.unit.release.scenario import judged, outcome, releasing, serving, trail
from weir.api.evidencestatus import Counts, GateNoise
from weir.api.rolloutstatus import Phase
from weir.release.decide import decide
from weir.release.observation import Window

V1, V2 = "demo-v1.0", "demo-v2.0"


def compared(**changes: Any) -> dict[str, Any]:
    return gate(max=None, **changes)


def ramping(strategy: dict[str, Any] | None = None, **changes: Any) -> Cluster:
    """v2 is on a ramp and judged at its first weight."""
    return releasing("Ramp", **{"strategy": strategy or ramp(), "gates": [compared()], **changes})


def feed(cluster: Cluster, candidate: tuple[int, int], stable: tuple[int, int], *, length: float = 10.0) -> None:
    """One window of these (bad, total) requests, and a look at it."""
    collector = cluster.collector
    assert collector is not None
    assert collector.collect.judging
    start, cluster.now = collector.until, round(collector.until + length, 3)
    arms = [Counts(bad=bad, total=total) for bad, total in (candidate, stable)]
    found = [Window(g.name, start, cluster.now, *arms) for g in cluster.spec.gates]
    collector.until, collector.windows = cluster.now, (*collector.windows, *found)
    cluster.reconcile()


def again(cluster: Cluster) -> None:
    """Lets a weight that was moved come into effect, until it is judged."""
    cluster.run(lambda: judged(cluster.status, "Ramp"))


def weights(cluster: Cluster) -> tuple[int, int]:
    """(weight, weight that is asked for)."""
    assert cluster.status.ramp is not None
    return cluster.status.weight, cluster.status.ramp.weight


def moves(cluster: Cluster) -> list[tuple[str, int]]:
    return [(d.reason, d.weight) for d in cluster.status.decisions if d.reason.startswith("Ramp")]


def test_given_a_good_candidate_when_it_ramps_up_then_each_move_is_one_decision_and_it_is_promoted() -> None:
    cluster = serving(strategy=ramp(), gates=[compared(minSamples=1500)])
    seen = trail(cluster)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.candidate is None and cluster.status.release == 2)
    assert list(dict.fromkeys(weight for _, weight in seen[:-1])) == [0, 1, 5, 25, 50, 100]
    assert list(dict.fromkeys(stage for stage, _ in seen)) == ["WarmUp", "Ramp", "Bake", ""]
    assert moves(cluster) == [("RampRaised", 5), ("RampRaised", 25), ("RampRaised", 50)]
    assert cluster.events.count("RampRaised") == 3
    raised = next(d for d in cluster.status.decisions if d.reason == "RampRaised")
    assert raised.message.startswith(
        "from 1 to 5 %: label-v2 may have caused 0 bad requests of a budget of 200; at most "
    )
    assert raised.evidence[0].windows == 3
    assert outcome(cluster) == ("Promoted", "Promoted")
    settles(cluster)


def test_given_much_traffic_when_every_gate_passes_at_a_low_weight_then_the_rest_of_the_ramp_is_skipped() -> None:
    cluster = ramping()
    for _ in range(3):
        feed(cluster, (0, 2_000), (2_000, 198_000))
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Bake"
    assert moves(cluster) == []
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_the_dwell_when_it_is_not_over_then_the_weight_stays() -> None:
    cluster = ramping()
    for _ in range(2):
        feed(cluster, (0, 10), (10, 990))
        assert weights(cluster) == (1, 1)
    feed(cluster, (0, 10), (10, 990))
    assert weights(cluster) == (5, 5)


def test_given_little_budget_when_the_ramp_rises_then_only_as_far_as_the_budget_allows() -> None:
    cluster = ramping(ramp(20, minWeight=2))
    for _ in range(3):
        feed(cluster, (0, 20), (10, 980))
    again(cluster)
    low = cluster.status.weight
    assert low < 10
    for _ in range(12):
        feed(cluster, (0, 10 * low), (10, 1000 - 10 * low))
        if cluster.status.stage is not None and cluster.status.stage.evidence_from is None:
            again(cluster)
    assert cluster.status.weight > low


@pytest.mark.parametrize("quality", [Quality.SILENT, Quality.ERROR, Quality.NAN, Quality.ONE_ARM])
def test_given_no_fresh_evidence_when_the_dwell_is_over_then_the_weight_does_not_rise(quality: Quality) -> None:
    cluster = ramping()
    feed(cluster, (0, 10), (10, 990))
    cluster.quality["v2"] = quality
    for _ in range(30):
        cluster.pass_time(10)
        cluster.reconcile()
    assert weights(cluster) == (1, 1)
    assert cluster.status.phase is Phase.HELD
    cluster.quality["v2"] = Quality.GOOD
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_look_that_is_long_ago_when_nothing_new_comes_then_the_weight_does_not_rise() -> None:
    cluster = ramping()
    for _ in range(2):
        feed(cluster, (0, 10), (10, 990))
    assert cluster.collector is not None
    cluster.now += 41.0  # interval and reaction, and a second
    cluster.collector.until = cluster.now
    cluster.reconcile()
    assert weights(cluster) == (1, 1)
    feed(cluster, (0, 10), (10, 990))
    assert weights(cluster) == (5, 5)


def test_given_a_spent_budget_when_it_is_seen_then_the_weight_is_zero_in_the_same_decision_and_it_is_not_retried() -> (
    None
):
    cluster = ramping(ramp(10))
    feed(cluster, (12, 100), (10, 9900))
    assert cluster.status.weight == 0
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "RiskBudgetSpent"
    assert "may have caused 12 bad requests of a budget of 10" in cluster.status.ending.message
    assert {pool: weight for pool, weight in cluster.route.weights.items() if weight} == {V1: 100}
    settles(cluster)
    assert outcome(cluster) == ("RolledBack", "RiskBudgetSpent")
    assert [f.reason for f in cluster.status.failed] == ["RiskBudgetSpent"]


def test_given_harm_that_comes_late_when_the_bound_rises_then_the_weight_goes_down_before_a_gate_says_fail() -> None:
    cluster = ramping(ramp(250), gates=[compared(minSamples=100_000)])
    while cluster.status.weight < 50:
        share = cluster.status.weight
        feed(cluster, (share // 10, 10 * share), (10 - share // 10, 10 * (100 - share)))
        if cluster.status.stage is not None and cluster.status.stage.evidence_from is None:
            again(cluster)
    before = cluster.status.weight
    feed(cluster, (140, 500), (5, 500))
    assert cluster.status.ending is None
    assert cluster.status.weight < before
    assert moves(cluster)[-1] == ("RampLowered", cluster.status.weight)
    assert sum(cluster.route.weights.values()) == 100


def test_given_a_pause_when_the_ramp_could_rise_then_it_waits_and_goes_on_after_it() -> None:
    cluster = ramping()
    cluster.edit(paused=True)
    for _ in range(6):
        feed(cluster, (0, 10), (10, 990))
    assert weights(cluster) == (1, 1)
    cluster.edit(paused=False)
    cluster.reconcile()
    for _ in range(4):
        feed(cluster, (0, 10), (10, 990))
        if cluster.status.weight > 1:
            break
    assert weights(cluster) == (5, 5)


@pytest.mark.parametrize("harm", ["bound", "limit"])
def test_given_a_pause_when_the_weight_becomes_too_risky_then_it_goes_down_all_the_same(harm: str) -> None:
    cluster = ramping(ramp(300, maxWeight=40), gates=[compared(minSamples=100_000)])
    cluster.run(lambda: judged(cluster.status, "Ramp") and cluster.status.weight == 40)
    cluster.edit(paused=True)
    if harm == "bound":
        feed(cluster, (150, 400), (6, 600))
    else:
        cluster.edit(strategy=ramp(300, maxWeight=20))
        cluster.reconcile()
    assert cluster.status.ending is None
    assert cluster.status.weight < 40
    assert moves(cluster)[-1][0] == "RampLowered"


def test_given_a_rise_when_its_pods_are_missing_then_they_come_first_and_the_release_is_judged_meanwhile() -> None:
    cluster = ramping(replicas=10)
    for _ in range(3):
        feed(cluster, (0, 10), (10, 990))
    again(cluster)
    assert cluster.pools[V2].desired == 1
    for _ in range(3):
        feed(cluster, (0, 50), (10, 950))
    assert weights(cluster) == (5, 25)
    assert cluster.pools[V2].desired == 3
    assert "waiting for the pods for 25 %" in cluster.status.message
    cluster.ready(V2, 2)
    feed(cluster, (0, 50), (10, 950))
    assert weights(cluster) == (5, 25)
    assert cluster.status.stage is not None
    assert cluster.status.stage.evidence_from is not None
    cluster.ready(V2, 3)
    feed(cluster, (0, 50), (10, 950))
    assert weights(cluster) == (25, 25)
    assert cluster.status.stage.evidence_from is None


def test_given_a_rise_when_its_pods_never_come_then_the_release_ends_at_its_deadline() -> None:
    cluster = ramping(replicas=10, gates=[compared(minSamples=100_000)])
    for _ in range(3):
        feed(cluster, (0, 10), (10, 990))
    again(cluster)
    while cluster.status.ending is None and cluster.status.weight == 5:
        feed(cluster, (0, 50), (10, 950))
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "ProgressDeadlineExceeded"
    assert "waiting for the pods for 25 %" in cluster.status.ending.message


def test_given_a_rise_when_the_risk_grows_before_its_pods_are_there_then_it_is_called_off() -> None:
    cluster = ramping(ramp(60), replicas=10)
    for _ in range(3):
        feed(cluster, (0, 10), (10, 990))
    again(cluster)
    for _ in range(6):
        feed(cluster, (0, 50), (10, 950))
    asked = weights(cluster)[1]
    assert asked > 5
    feed(cluster, (15, 50), (10, 950))
    assert weights(cluster)[1] < asked
    assert cluster.status.ending is None


def test_given_a_service_switch_when_the_ramp_rises_then_pods_are_the_share_and_come_with_the_weight() -> None:
    cluster = ramping(replicas=10, traffic={"service": {}})
    for _ in range(3):
        feed(cluster, (0, 10), (10, 990))
    assert weights(cluster) == (5, 5)
    again(cluster)
    for _ in range(3):
        feed(cluster, (0, 50), (10, 950))
    assert cluster.status.stage is not None
    assert cluster.status.stage.weight == 25
    assert cluster.status.stage.evidence_from is None


def test_given_a_restart_when_it_hits_between_any_two_looks_then_the_ramp_goes_the_same_way() -> None:
    cluster = ramping()
    twin = cluster.clone()
    for _ in range(3):
        feed(cluster, (0, 10), (10, 990))
        feed(twin, (0, 10), (10, 990))
        stored = twin.status.model_validate(twin.status.to_dict())
        decision = decide(twin.view, stored, twin.observe(), twin.now)
        assert decision.status == twin.status
    assert weights(cluster) == weights(twin) == (5, 5)
    assert cluster.status.ramp == twin.status.ramp


def test_given_counts_that_change_when_nothing_is_decided_then_the_status_need_not_be_written_at_once() -> None:
    cluster = ramping()
    feed(cluster, (0, 10), (10, 990))
    assert cluster.status.ramp is not None
    assert cluster.status.ramp.bound < 1
    assert cluster.stored["ramp"].get("bound") == "1"


def test_given_rates_of_the_last_release_when_an_outage_at_min_weight_would_spend_all_then_it_begins_lower() -> None:
    cluster = serving(strategy=ramp(60, minWeight=10), gates=[compared()])
    rate = GateNoise(gate="errors", rate="50", share="0.01")  # type: ignore[arg-type]
    cluster.memory = cluster.status.model_copy(update={"noise": [rate]})
    cluster.release("v2")
    cluster.run(lambda: cluster.status.weight > 0)
    assert weights(cluster) == (4, 4)


def test_given_rates_that_are_unknown_when_it_begins_then_with_min_weight() -> None:
    assert ramping(ramp(minWeight=3)).status.weight == 3


def test_given_a_plan_that_becomes_a_ladder_when_the_release_runs_then_it_keeps_no_more_than_it_has() -> None:
    cluster = ramping()
    cluster.run(lambda: judged(cluster.status, "Ramp") and cluster.status.weight == 25)
    cluster.edit(strategy=canary(10, 60))
    cluster.reconcile()
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.weight) == ("Traffic(10)", 10)
    cluster.edit(strategy=ramp())
    cluster.reconcile()
    assert (cluster.status.stage.name, cluster.status.weight) == ("Ramp", 1)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_promote_when_it_is_asked_for_then_the_ramp_is_skipped() -> None:
    cluster = ramping()
    cluster.ask("Promote")
    cluster.run(lambda: cluster.status.candidate is None)
    assert moves(cluster) == []
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_only_a_plain_threshold_when_there_is_nothing_to_charge_then_the_weight_stays_the_least() -> None:
    cluster = ramping(ramp(minWeight=2), gates=[gate(minSamples=100_000)])
    for _ in range(20):
        feed(cluster, (0, 20), (10, 980))
    assert weights(cluster) == (2, 2)
    assert cluster.status.ramp is not None
    assert cluster.status.ramp.spent == 0
