"""Somebody limits the candidate's traffic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.contracted import CLEAN
from tests.properties.invariants import settles
from tests.properties.specs import blue_green, canary, gate, ramp
from tests.unit.release.scenario import (
    approval,
    approve,
    conditions,
    do,
    fresh,
    judged,
    outcome,
    reasons,
    releasing,
    serving,
    trail,
)
from weir.api.rolloutstatus import Phase
from weir.contract.finding import Finding
from weir.release.ceiling import REASON

V1, V2 = "demo-v1.0", "demo-v2.0"


def limit(cluster: Cluster, weight: int, **fields: Any) -> str:
    """Somebody asks for that limit and the operator looks once; the result."""
    return do(cluster, "ShiftTraffic", weight=weight, **fields)


def long(cluster: Cluster, seconds: float = 100_000.0) -> None:
    """A long time passes in a healthy world, a step at a time."""
    for _ in range(20):
        cluster.reconcile()
        cluster.all_ready()
        cluster.accept()
        cluster.pass_time(seconds / 20)


def test_given_a_release_when_its_traffic_is_limited_then_it_goes_back_at_once_and_the_release_is_held() -> None:
    cluster = releasing("Traffic(50)")
    told = limit(cluster, 20, requester="ada", reason="users complain")
    assert told == ("Succeeded: label-v2 gets at most 20 % of requests until that is lifted or the release ends")
    assert cluster.route.weights == {V1: 80, V2: 20}
    cluster.run(lambda: judged(cluster.status, "Traffic(50)"))
    decision = cluster.reconcile()
    ready = conditions(decision.status)["Ready"]
    assert (ready.status, ready.reason) == ("False", REASON)
    assert "Stalled" in conditions(decision.status)
    assert decision.status.phase is Phase.HELD
    assert "ada limited label-v2 to 20 % of requests: users complain" in ready.message
    assert "`kubectl weir shift demo --to 100`" in ready.message
    entry = next(d for d in decision.status.decisions if d.reason == "TrafficLimited")
    assert (entry.actor, entry.weight, entry.message) == ("ada", 20, "to 20 % of requests: users complain")


def test_given_a_limit_when_time_passes_then_nothing_is_late_and_the_release_neither_ends_nor_goes_on() -> None:
    patient = [gate(onInsufficient="Rollback", onNoData="Rollback")]
    for weight in (20, 0):
        cluster = releasing("Traffic(50)", gates=patient)
        limit(cluster, weight)
        long(cluster)
        assert cluster.status.ending is None
        assert cluster.status.deadline is None
        assert cluster.served == {V1: 100 - weight, V2: weight}


def test_given_a_limit_that_is_lifted_when_the_release_goes_on_then_gates_have_all_of_their_time_again() -> None:
    cluster = releasing("Traffic(50)", gates=[gate(onInsufficient="Rollback", onNoData="Rollback")])
    limit(cluster, 0)
    long(cluster)
    seen = trail(cluster)
    assert limit(cluster, 100) == "Succeeded: the limit is lifted; label-v2 gets what the plan gives it"
    assert cluster.status.weight == 50
    settles(cluster)
    assert [step for step in seen if step[0]] == [("Traffic(50)", 50), ("Bake", 50), ("Bake", 100)]
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.status.ceiling is None
    assert cluster.status.lifted_at is None


def test_given_a_limit_above_the_weight_when_gates_pass_then_the_plan_goes_on_up_to_it_and_waits_there() -> None:
    cluster = releasing("Traffic(10)")
    limit(cluster, 60)
    cluster.run(lambda: cluster.status.hold is not None)
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.weight) == ("Traffic(50)", 50)
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == REASON
    long(cluster)
    assert cluster.status.weight == 50
    limit(cluster, 100)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_gates_that_lost_their_pass_under_a_limit_when_it_is_lifted_then_they_are_not_late_at_once() -> None:
    gates = [gate("value", template="threshold", max="10", query="up", onNoData="Rollback", onInsufficient="Rollback")]
    cluster = releasing("Traffic(10)", gates=gates)
    limit(cluster, 10)
    cluster.run(lambda: cluster.status.hold is not None)
    cluster.quality["v2"] = Quality.SILENT
    long(cluster)
    limit(cluster, 100)
    cluster.pass_time(100.0)
    assert cluster.reconcile().status.ending is None
    cluster.pass_time(101.0)
    ending = cluster.reconcile().status.ending
    assert ending is not None
    assert ending.reason == "GateNoData"


def test_given_a_limited_release_when_the_candidate_fails_then_it_is_put_back_all_the_same() -> None:
    cluster = releasing("Traffic(50)")
    limit(cluster, 20)
    cluster.run(lambda: judged(cluster.status, "Traffic(50)"))
    cluster.quality["v2"] = Quality.BAD
    cluster.run()
    assert outcome(cluster) == ("RolledBack", "GateFailed")
    assert cluster.status.ceiling is None


def test_given_a_limit_that_rises_in_steps_when_each_is_executed_then_traffic_follows_and_never_passes_the_plan() -> (
    None
):
    cluster = releasing("Traffic(50)")
    weights = []
    for weight in (5, 20, 30, 70):
        limit(cluster, weight)
        cluster.run(lambda: judged(cluster.status, "Traffic(50)"))
        weights.append(cluster.served[V2])
    assert weights == [5, 20, 30, 50]


def test_given_too_few_pods_of_stable_when_traffic_is_limited_then_it_goes_back_only_as_stable_can_carry_it() -> None:
    cluster = releasing("Traffic(50)", replicas=4)
    cluster.ready(V1, 2)
    limit(cluster, 10)
    assert cluster.status.weight == 50
    cluster.ready(V1, 3)
    assert cluster.reconcile().status.weight == 25
    cluster.ready(V1, 4)
    assert cluster.reconcile().status.weight == 10


def test_given_bake_when_traffic_is_limited_then_both_versions_are_compared_again_and_nothing_is_promoted() -> None:
    cluster = releasing("Bake", strategy=canary(50, bake="30s"))
    assert cluster.collector is not None
    assert cluster.collector.collect.stable is None
    limit(cluster, 40)
    cluster.run(lambda: judged(cluster.status, "Bake"))
    assert cluster.served == {V1: 60, V2: 40}
    assert cluster.collector.collect.stable == V1
    long(cluster)
    assert cluster.status.release == 2
    assert cluster.status.candidate is not None
    limit(cluster, 100)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_warm_up_when_the_first_weight_is_above_the_limit_then_it_waits_before_it() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    limit(cluster, 5)
    long(cluster)
    assert cluster.status.weight == 0
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == REASON
    limit(cluster, 10)
    cluster.run(lambda: judged(cluster.status, "Traffic(10)"))


def test_given_a_blue_green_release_when_it_is_limited_before_its_switch_then_it_waits_in_preview() -> None:
    cluster = releasing("Preview", strategy=blue_green())
    limit(cluster, 99)
    long(cluster)
    assert (cluster.status.stage and cluster.status.stage.name, cluster.status.weight) == ("Preview", 0)
    limit(cluster, 100)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_contracts_that_forbid_a_split_when_a_switch_is_limited_then_only_all_or_nothing_is_allowed() -> None:
    cluster = releasing("Bake", strategy=blue_green())
    split = Finding("orders", "R4", "Fail", "BlockPromotion", "the two cannot both write")
    standing = CLEAN.__class__(findings=(split,))
    cluster.contracts = {"v1": CLEAN, "v2": standing, "v3": CLEAN}
    assert limit(cluster, 30).startswith("Refused: the DataContracts forbid")
    assert limit(cluster, 0).startswith("Succeeded")
    assert cluster.route.weights == {V1: 100, V2: 0}


def test_given_a_ramp_when_it_is_limited_then_it_falls_rises_no_further_and_goes_on_when_that_is_lifted() -> None:
    cluster = serving(strategy=ramp(200, minWeight=5, maxWeight=50), gates=[gate(max=None)])
    cluster.release("v2")
    cluster.run(lambda: cluster.status.weight > 10)
    limit(cluster, 4)
    assert cluster.status.weight == 4
    long(cluster, 2000.0)
    assert cluster.served[V2] == 4
    limit(cluster, 100)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_ramp_below_its_limit_when_the_budget_allows_more_then_it_rises_to_the_limit() -> None:
    cluster = serving(strategy=ramp(200, minWeight=5, maxWeight=50), gates=[gate(max=None)])
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, "Ramp"))
    limit(cluster, 12)
    cluster.run(lambda: cluster.status.hold is not None)
    assert max(d.weight for d in cluster.status.decisions) <= 12
    assert cluster.status.weight > 5
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == REASON


def test_given_a_service_switch_when_a_limit_is_less_than_a_pod_then_the_candidate_gets_nothing() -> None:
    cluster = releasing("Traffic(50)", traffic={"service": {}}, replicas=2)
    told = limit(cluster, 20)
    assert "at most 20 % of requests (in whole pods that is 0 %)" in told
    assert cluster.status.weight == 0
    assert limit(cluster, 50).endswith("at most 50 % of requests until that is lifted or the release ends")


def test_given_a_forced_promotion_when_traffic_is_limited_after_it_then_it_waits_and_goes_on_when_that_is_lifted() -> (
    None
):
    cluster = releasing("Traffic(10)")
    do(cluster, "Promote")
    cluster.run(lambda: cluster.status.weight == 100)
    limit(cluster, 30)
    long(cluster)
    assert cluster.served == {V1: 70, V2: 30}
    assert cluster.status.hold is not None
    limit(cluster, 100)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_limit_when_a_person_promotes_then_it_is_lifted() -> None:
    cluster = releasing("Traffic(10)")
    limit(cluster, 5)
    assert do(cluster, "Promote", requester="ada").startswith("Succeeded")
    assert cluster.status.ceiling is None
    assert [r for r in reasons(cluster)[-3:] if r.startswith("TrafficLimit")] == ["TrafficLimitLifted"]
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_wait_for_people_when_traffic_is_limited_below_it_then_they_are_not_asked_until_it_is_lifted() -> None:
    cluster = serving(approvals=[approval("Traffic(50)", expires="100s")])
    cluster.release("v2")
    cluster.run(lambda: bool(cluster.status.approvals) and cluster.status.approvals[0].state == "Waiting")
    limit(cluster, 10)
    assert cluster.status.approvals[0].state == "Open"
    long(cluster)
    assert cluster.status.approvals[0].state == "Open"
    limit(cluster, 100)
    assert cluster.status.approvals[0].state == "Waiting"
    assert approve(cluster, cluster.status.approvals[0].name).startswith("Succeeded")
    settles(cluster)


@pytest.mark.parametrize("weight", [0, 20, 100])
def test_given_nothing_to_limit_when_a_limit_is_asked_for_then_it_is_refused_with_a_reason(weight: int) -> None:
    first = fresh()
    first.reconcile()
    restored = serving(rollback={"keepFor": "600s", "drain": "5s", "historyLimit": 2})
    restored.release("v2")
    restored.run()
    do(restored, "Rollback")
    aborted = releasing()
    do(aborted, "Abort")
    for cluster in (first, serving(), restored, aborted):
        assert limit(cluster, weight).startswith("Refused: ")
        assert cluster.status.ceiling is None


def test_given_no_limit_when_it_is_lifted_then_that_is_refused() -> None:
    assert limit(releasing(), 100) == "Refused: nobody has limited the traffic, so there is no limit to lift"


def test_given_a_pause_and_a_limit_when_both_hold_then_the_pause_is_told_and_traffic_is_lowered_all_the_same() -> None:
    cluster = releasing("Traffic(50)")
    do(cluster, "Pause")
    limit(cluster, 10)
    assert cluster.status.weight == 10
    assert cluster.status.phase is Phase.PAUSED
    do(cluster, "Resume")
    cluster.run(lambda: judged(cluster.status, "Traffic(50)"))
    assert cluster.status.weight == 10
    assert cluster.status.phase is Phase.HELD


def test_given_a_superseded_release_when_the_next_one_runs_then_the_limit_of_the_first_is_forgotten() -> None:
    cluster = releasing("Traffic(50)")
    limit(cluster, 10)
    cluster.release("v3")
    settles(cluster)
    assert cluster.served == {"demo-v3.0": 100}


def test_given_a_candidate_without_traffic_by_a_limit_when_looked_at_then_nothing_is_collected_of_it() -> None:
    cluster = releasing("Traffic(50)")
    limit(cluster, 0)
    cluster.run(lambda: cluster.status.hold is not None)
    assert cluster.reconcile().desired.collect is None


def test_given_a_limited_bake_when_requests_do_not_arrive_in_that_share_then_nothing_is_judged() -> None:
    cluster = releasing("Bake", strategy=canary(50, bake="30s"))
    cluster.share_right = False
    limit(cluster, 20)
    long(cluster, 200.0)
    assert cluster.served[V2] == 20
    assert cluster.status.stage is not None
    assert cluster.status.stage.evidence_from is None
    assert cluster.status.message.endswith("requests instead of 20 %")


def test_given_a_switch_that_is_limited_when_contracts_come_to_forbid_a_split_then_that_is_told() -> None:
    cluster = releasing("Bake", strategy=blue_green())
    limit(cluster, 30)
    split = Finding("orders", "R4", "Fail", "BlockPromotion", "the two cannot both write")
    cluster.contracts = {"v1": CLEAN, "v2": CLEAN.__class__(findings=(split,)), "v3": CLEAN}
    cluster.reconcile()
    assert cluster.status.contracts is not None
    assert [f.rule for f in cluster.status.contracts.findings] == ["R4"]


def test_given_a_pause_at_a_limit_when_the_limit_is_lifted_then_it_is_no_longer_what_holds() -> None:
    cluster = releasing("Traffic(10)")
    limit(cluster, 10)
    cluster.run(lambda: cluster.status.hold is not None)
    do(cluster, "Pause")
    limit(cluster, 100)
    assert cluster.status.hold is None
    assert conditions(cluster.status)["Ready"].reason == "Paused"


def test_given_a_ramp_that_waits_for_pods_when_it_is_limited_then_it_asks_for_none_any_more() -> None:
    cluster = serving(strategy=ramp(200, minWeight=5, maxWeight=50), gates=[gate(max=None)], replicas=10)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.ramp is not None and cluster.status.ramp.weight > cluster.status.weight > 0)
    before = cluster.status.weight
    limit(cluster, before)
    assert cluster.status.ramp is not None
    assert cluster.status.ramp.weight == before
    assert cluster.status.deadline is None
