"""Consents: what waits for them, who may give them, and when they count no more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import blue_green, canary, gate, ramp
from tests.unit.release.scenario import (
    approval,
    approve,
    conditions,
    do,
    fresh,
    outcome,
    reasons,
    releasing,
    serving,
    trail,
)
from weir.api.approval import ApprovalStatus
from weir.api.rolloutstatus import Phase
from weir.release.decide import decide
from weir.release.observation import Problem

V1, V2 = "demo-v1.0", "demo-v2.0"


def waiting(**changes: Any) -> Cluster:
    """v2 is being released over v1 and waits for consent before 50 %."""
    cluster = serving(**{"approvals": [approval("Traffic(50)")], **changes})
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    return cluster


def entry(cluster: Cluster, name: str = "Traffic(50)") -> ApprovalStatus:
    return next(a for a in cluster.status.approvals if a.name == name)


def test_given_an_approval_before_a_weight_when_gates_pass_then_the_release_waits_below_it_and_says_for_whom() -> None:
    cluster = waiting()
    status = cluster.status
    assert (status.stage.name if status.stage else "", status.weight) == ("Traffic(10)", 10)
    told = entry(cluster)
    assert told.state == "Waiting"
    assert (told.since, told.deadline) == (cluster.now, cluster.now + 86400)
    assert "consent before Traffic(50) (0 of 1 given by group sre), until 20" in status.message
    assert "`kubectl weir approve demo`" in status.message
    known = conditions(status)
    assert (known["AwaitingApproval"].status, known["AwaitingApproval"].reason) == ("True", "WaitingForApproval")
    assert known["Reconciling"].reason == "AwaitingApproval"
    assert "Stalled" not in known
    assert "ApprovalNeeded" in cluster.events


def test_given_a_waiting_release_when_somebody_approves_then_it_goes_on_and_the_record_says_who() -> None:
    cluster = waiting()
    assert approve(cluster, "Traffic(50)") == "Succeeded: 1 of 1 consents before Traffic(50), by ada"
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(50)"
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")
    record = cluster.records[2]
    assert record.approvals is not None
    (given,) = record.approvals
    assert (given.state, [c.by for c in given.consents], given.used_at is not None) == ("Granted", ["ada"], True)
    entries = {d.reason: d for d in record.decisions}
    assert entries["Approved"].actor == "ada"
    assert (entries["Approved"].request or "").startswith("request-0000@sha256:")
    assert "AwaitingApproval" not in conditions(cluster.status)


def test_given_consents_from_the_start_when_the_weight_is_reached_then_nothing_is_waited_for() -> None:
    cluster = releasing("Traffic(10)", approvals=[approval("Traffic(50)")])
    assert entry(cluster).state == "Open"
    approve(cluster, "Traffic(50)")
    assert entry(cluster).state == "Granted"
    settles(cluster)
    assert "ApprovalNeeded" not in [d.reason for d in cluster.records[2].decisions]


@pytest.mark.parametrize(
    ("changes", "before", "stage", "weight"),
    [
        ({}, "Traffic(10)", "WarmUp", 0),
        ({}, "Traffic(11)", "Traffic(10)", 10),
        ({}, "Switch", "Traffic(50)", 50),
        ({}, "Traffic(100)", "Traffic(50)", 50),
        ({}, "Promote", "Bake", 100),
        ({"strategy": blue_green()}, "Switch", "Preview", 0),
        ({"strategy": blue_green()}, "Traffic(1)", "Preview", 0),
        ({"strategy": blue_green()}, "Promote", "Bake", 100),
    ],
)
def test_given_an_approval_when_nothing_else_is_missing_then_the_release_stands_right_before_it(
    changes: dict[str, Any], before: str, stage: str, weight: int
) -> None:
    cluster = waiting(approvals=[approval(before)], **changes)
    place = cluster.status.stage
    assert (place.name if place else "", cluster.status.weight) == (stage, weight)
    for _ in range(5):
        cluster.pass_time(10)
        cluster.reconcile()
        cluster.all_ready()
        cluster.accept()
    assert (cluster.status.weight, cluster.status.candidate is not None) == (weight, True)
    approve(cluster, before)
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_the_first_version_of_all_when_it_needs_consent_then_it_does_not_serve_before() -> None:
    cluster = fresh(approvals=[approval("Switch"), approval("Promote")])
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert cluster.route.weights == {}
    approve(cluster, "Switch")
    cluster.accept()
    cluster.reconcile()
    assert cluster.served == {V1: 100}
    assert cluster.status.phase is Phase.AWAITING_APPROVAL
    approve(cluster, "Promote")
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_ramp_when_an_approval_lies_on_its_way_then_it_rises_to_just_below_and_waits() -> None:
    cluster = serving(strategy=ramp(2000, maxWeight=60), gates=[gate(max=None)], approvals=[approval("Traffic(20)")])
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert (cluster.status.weight, entry(cluster, "Traffic(20)").state) == (19, "Waiting")
    approve(cluster, "Traffic(20)")
    cluster.run(lambda: cluster.status.weight > 20)
    settles(cluster)


def test_given_two_people_needed_when_one_consents_twice_then_the_second_does_not_count() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", quorum=2)])
    assert approve(cluster, "Traffic(50)").startswith("Succeeded: 1 of 2")
    assert approve(cluster, "Traffic(50)").startswith("Refused: ada has approved Traffic(50) already")
    assert cluster.status.phase is Phase.AWAITING_APPROVAL
    assert approve(cluster, "Traffic(50)", by="grace").startswith("Succeeded: 2 of 2")
    assert cluster.status.phase is Phase.SHIFTING
    assert approve(cluster, "Traffic(50)", by="linus") == "Refused: Traffic(50) is granted already"


def test_given_who_asked_for_or_changed_the_release_when_they_approve_then_they_are_refused() -> None:
    cluster = serving(approvals=[approval("Traffic(50)")])
    cluster.authors = ("ada", "bob")
    cluster.release("v2")
    cluster.reconcile()
    do(cluster, "Abort")
    cluster.run()
    do(cluster, "Retry", requester="rita")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert cluster.status.requested_by == "rita"
    assert approve(cluster, "Traffic(50)", by="bob").startswith("Refused: bob changed the Rollout")
    cluster.authors = ("carol",)
    assert approve(cluster, "Traffic(50)", by="bob").startswith("Refused: bob changed the Rollout")
    assert approve(cluster, "Traffic(50)", by="carol").startswith("Refused: carol changed the Rollout")
    assert approve(cluster, "Traffic(50)", by="rita").startswith("Refused: rita asked for this release")
    robot = "system:serviceaccount:ci:deployer"
    assert approve(cluster, "Traffic(50)", by=robot) == f"Refused: {robot} is a program; only a person can approve"
    assert entry(cluster).consents == []
    assert approve(cluster, "Traffic(50)", by="dora").startswith("Succeeded")
    cluster.run()
    record = cluster.records[3]
    assert (record.requested_by, record.authors) == ("rita", ["carol", "ada", "bob"])


def test_given_a_paused_rollout_when_a_version_is_retried_then_who_asked_is_known_once_it_starts() -> None:
    cluster = releasing(approvals=[approval("Traffic(50)")])
    do(cluster, "Abort")
    cluster.run()
    cluster.edit(paused=True)
    do(cluster, "Retry", requester="rita")
    assert cluster.status.candidate is None
    assert cluster.status.asked is not None
    cluster.edit(paused=False)
    cluster.reconcile()
    assert (cluster.status.requested_by, cluster.status.asked) == ("rita", None)
    (started, *_) = cluster.status.decisions
    assert (started.actor, (started.request or "").split("@")[0]) == ("rita", "request-0001")


def test_given_a_retry_that_waits_when_another_version_is_asked_for_then_nobody_asked_for_that_one() -> None:
    cluster = releasing()
    do(cluster, "Abort")
    cluster.run()
    cluster.edit(paused=True)
    do(cluster, "Retry", requester="rita")
    cluster.edit(paused=False, versionRef={"name": "v3"})
    cluster.reconcile()
    assert (cluster.status.requested_by, cluster.status.asked) == ("", None)


def test_given_nobody_who_vouches_for_the_requester_when_they_approve_then_it_is_refused() -> None:
    cluster = waiting()
    assert approve(cluster, "Traffic(50)", by="") == "Refused: spec.requester does not say who approves"


def test_given_an_approval_of_something_else_when_it_is_given_then_it_is_refused() -> None:
    cluster = waiting()
    assert approve(cluster, "Traffic(50)", digest="sha256:" + "1" * 64).startswith("Refused: what was approved")
    assert approve(cluster, "Traffic(10)").startswith("Refused: the release needs no approval Traffic(10)")
    assert entry(cluster).consents == []
    do(cluster, "Abort")
    assert approve(cluster, "Traffic(50)") == "Refused: there is no release that could be approved"


def test_given_consents_when_plan_or_gates_are_edited_then_they_are_void_and_it_is_said() -> None:
    for change in (
        {"strategy": canary(10, 40)},
        {"gates": [gate(max="0.5")]},
        {"judgement": {"falsePassRate": "0.1"}},
        {"approvals": [approval("Traffic(50)", expires="1h")]},
    ):
        cluster = releasing(approvals=[approval("Traffic(50)")])
        before = entry(cluster).digest
        approve(cluster, "Traffic(50)")
        cluster.edit(**change)
        cluster.reconcile()
        assert entry(cluster).consents == [], change
        assert entry(cluster).digest != before
        assert reasons(cluster).count("ConsentsVoid") == 1
        cluster.edit(replicas=3)
        cluster.reconcile()
        assert reasons(cluster).count("ConsentsVoid") == 1


def test_given_a_consent_to_the_last_release_when_the_next_one_runs_then_it_does_not_count() -> None:
    cluster = releasing(approvals=[approval("Traffic(50)")])
    digest = entry(cluster).digest
    do(cluster, "Abort")
    cluster.run()
    do(cluster, "Retry", requester="rita")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert approve(cluster, "Traffic(50)", digest=digest).startswith("Refused: what was approved")


def test_given_a_wait_when_its_deadline_passes_then_the_release_is_put_back() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", expires="1h")])
    began = cluster.now
    cluster.quality["v2"] = Quality.GOOD
    decision = cluster.reconcile()
    assert decision.wake_at is not None
    while cluster.now < began + 3599:
        cluster.pass_time(min(500.0, began + 3599 - cluster.now))
        cluster.reconcile()
    assert cluster.status.phase is Phase.AWAITING_APPROVAL
    assert cluster.reconcile().wake_at == began + 3600
    cluster.pass_time(1)
    cluster.reconcile()
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "ApprovalExpired"
    settles(cluster)
    assert outcome(cluster) == ("RolledBack", "ApprovalExpired")
    assert cluster.served[V1] == 100
    assert entry(cluster).state == "Open"


def test_given_a_wait_when_something_else_holds_the_release_then_it_is_looked_at_when_the_wait_ends() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", expires="1h")])
    cluster.pass_time(3595)
    cluster.ready(V1, 1)
    cluster.reconcile()
    assert cluster.status.phase is Phase.HELD
    assert cluster.reconcile().wake_at == cluster.now + 5


def test_given_a_wait_when_the_rollout_is_paused_then_the_pause_does_not_count() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", expires="1h")])
    began = cluster.now
    cluster.edit(paused=True)
    cluster.reconcile()
    cluster.pass_time(10_000)
    cluster.reconcile()
    assert cluster.status.ending is None
    cluster.edit(paused=False)
    cluster.reconcile()
    assert entry(cluster).deadline == began + 13_600
    cluster.pass_time(3599)
    cluster.reconcile()
    assert cluster.status.ending is None


def test_given_a_paused_wait_when_somebody_approves_then_it_counts_and_the_release_goes_on_after_the_pause() -> None:
    cluster = waiting()
    do(cluster, "Pause")
    assert approve(cluster, "Traffic(50)").startswith("Succeeded")
    assert cluster.status.weight == 10
    do(cluster, "Resume")
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_wait_when_the_candidate_turns_bad_then_it_is_rolled_back_at_once() -> None:
    cluster = waiting()
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    assert cluster.reconcile().status.weight == 0
    cluster.run()
    assert outcome(cluster) == ("RolledBack", "GateFailed")


def test_given_a_wait_when_evidence_runs_dry_then_no_gate_is_overdue_and_it_has_time_again_afterwards() -> None:
    cluster = waiting(gates=[gate(maxWait="60s", onNoData="Rollback", onInsufficient="Rollback")])
    cluster.quality["v2"] = Quality.SILENT
    for _ in range(20):
        cluster.pass_time(10)
        cluster.reconcile()
    assert (cluster.status.verdict, cluster.status.ending) == ("NoData", None)
    approve(cluster, "Traffic(50)")
    assert (cluster.status.weight, cluster.status.ending) == (10, None)
    cluster.quality["v2"] = Quality.GOOD
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_an_old_consent_when_it_is_needed_then_it_is_void_and_people_are_asked_again() -> None:
    long = canary(10, 50, min_duration="2h")
    cluster = releasing(approvals=[approval("Traffic(50)", expires="1h")], strategy=long)
    approve(cluster, "Traffic(50)")
    given = cluster.now
    cluster.pass_time(3599)
    assert cluster.reconcile().wake_at == given + 3600
    cluster.pass_time(1)
    cluster.reconcile()
    assert entry(cluster).consents == []
    assert reasons(cluster)[-1] == "ConsentsVoid"
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert approve(cluster, "Traffic(50)").startswith("Succeeded")


def test_given_an_approval_that_was_used_when_it_grows_old_then_the_release_goes_on_by_it() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", expires="100s")], strategy=canary(10, 50, min_duration="300s"))
    approve(cluster, "Traffic(50)")
    cluster.run(lambda: cluster.status.weight == 50)
    used = entry(cluster).used_at
    assert used == cluster.now
    settles(cluster)
    assert cluster.now > used + 300
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_promotion_by_force_or_a_skip_when_consent_is_missing_then_it_waits_all_the_same() -> None:
    for action in ("Promote", "Skip"):
        cluster = releasing("Traffic(10)", approvals=[approval("Traffic(50)", name="half"), approval("Promote")])
        do(cluster, action)
        cluster.all_ready()
        cluster.reconcile()
        assert (cluster.status.weight, cluster.status.phase) == (10, Phase.AWAITING_APPROVAL), action
        assert cluster.status.stage is not None
        assert cluster.status.stage.name == "Traffic(10)"
        assert entry(cluster, "half").state == "Waiting"
        approve(cluster, "half")
        cluster.run(lambda c=cluster: c.status.phase is Phase.AWAITING_APPROVAL and c.status.weight == 100)
        assert entry(cluster, "Promote").state == "Waiting"
        do(cluster, "Skip" if action == "Skip" else "Promote")
        assert cluster.status.candidate is not None
        approve(cluster, "Promote")
        settles(cluster)
        assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_several_approvals_before_one_weight_when_one_is_given_then_the_other_is_waited_for() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)"), approval("Traffic(50)", name="security")])
    assert "Traffic(50)" in cluster.status.message
    assert cluster.status.message.count("consent before") == 2
    approve(cluster, "security")
    assert cluster.status.phase is Phase.AWAITING_APPROVAL
    approve(cluster, "Traffic(50)", by="grace")
    assert cluster.status.phase is Phase.SHIFTING


def test_given_policies_that_are_not_in_force_when_consent_is_needed_then_none_counts_and_the_release_holds() -> None:
    cluster = releasing(approvals=[approval("Traffic(50)")])
    approve(cluster, "Traffic(50)")
    cluster.admission_problem = "a forged requester was let in"
    cluster.run(lambda: cluster.status.phase is Phase.HELD)
    hold = cluster.status.hold
    assert hold is not None
    assert hold.reason == "AdmissionPolicyMissing"
    assert "a forged requester was let in" in hold.message
    assert cluster.status.weight == 10
    assert conditions(cluster.status)["Stalled"].reason == "AdmissionPolicyMissing"
    since = hold.since
    cluster.pass_time(5)
    cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.since == since
    assert approve(cluster, "Traffic(50)", by="grace").startswith("Refused: consents cannot be trusted now")
    cluster.admission_problem = None
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_forged_requests_that_get_through_when_it_is_noticed_then_consents_must_be_given_again() -> None:
    cluster = releasing(approvals=[approval("Traffic(50)")])
    approve(cluster, "Traffic(50)", by="mallory-as-ada")
    cluster.admission_problem, cluster.admission_open = "a forged requester was let in", True
    cluster.reconcile()
    assert entry(cluster).consents == []
    assert "ConsentsVoid" in cluster.events
    cluster.admission_problem, cluster.admission_open = None, False
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    approve(cluster, "Traffic(50)", by="grace")
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_pods_behind_a_service_when_a_weight_gives_more_than_it_says_then_consent_is_asked_for_what_it_gives() -> (
    None
):
    # One pod beside three is a quarter of the requests, whatever the step calls it.
    spec = {"strategy": canary(10, 60), "traffic": {"service": {}}, "replicas": 3}
    cluster = serving(**spec, approvals=[approval("Traffic(25)")])
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert cluster.status.weight == 0
    assert entry(cluster, "Traffic(25)").state == "Waiting"


def test_given_policies_that_are_not_in_force_when_no_approval_is_declared_then_nothing_holds() -> None:
    cluster = releasing()
    cluster.admission_problem = "a forged requester was let in"
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_an_approval_that_comes_up_late_when_it_lies_below_the_weight_then_no_more_is_given() -> None:
    cluster = releasing("Traffic(50)")
    cluster.edit(approvals=[approval("Traffic(10)")])
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    assert cluster.status.weight == 50
    cluster.edit(approvals=[])
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert "ApprovalRemoved" in [d.reason for d in cluster.records[2].decisions]


def test_given_consents_that_grow_too_old_while_pods_start_when_they_are_there_then_people_are_asked_again() -> None:
    cluster = waiting(approvals=[approval("Traffic(50)", expires="100s")], replicas=10)
    approve(cluster, "Traffic(50)")
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(50)"
    cluster.pass_time(100)
    cluster.reconcile()
    cluster.all_ready()
    cluster.reconcile()
    assert (cluster.status.weight, cluster.status.phase) == (10, Phase.AWAITING_APPROVAL)
    assert cluster.status.deadline is None
    approve(cluster, "Traffic(50)", by="grace")
    assert cluster.status.weight == 50


def test_given_a_wait_in_the_warm_up_when_time_passes_then_the_progress_deadline_does_not_fire() -> None:
    cluster = waiting(approvals=[approval("Traffic(1)")])
    assert cluster.status.deadline is None
    for _ in range(10):
        cluster.pass_time(100)
        cluster.reconcile()
    assert cluster.status.phase is Phase.AWAITING_APPROVAL


def test_given_a_ramp_that_waits_when_it_has_to_go_down_then_the_wait_is_over() -> None:
    cluster = serving(
        strategy=ramp(100, maxWeight=60),
        gates=[gate(max=None)],
        approvals=[approval("Traffic(20)")],
    )
    cluster.release("v2")
    cluster.run(lambda: cluster.status.phase is Phase.AWAITING_APPROVAL)
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(2)
    cluster.reconcile()
    assert entry(cluster, "Traffic(20)").state == "Open"
    assert reasons(cluster)[-1] == "RampLowered"


def test_given_a_status_without_approvals_when_it_is_decided_again_then_nothing_is_told_twice() -> None:
    cluster = waiting()
    obs = cluster.observe()
    again = decide(cluster.view, cluster.status, obs, cluster.now)
    assert again.events == ()
    assert again.status.approvals == cluster.status.approvals


def test_given_a_held_release_when_it_also_waits_for_people_then_what_holds_it_is_told_first() -> None:
    cluster = waiting(rollback={"keepFor": "60s", "drain": "5s", "historyLimit": 1})
    cluster.ready(V1, 1)
    cluster.reconcile()
    assert cluster.status.phase is Phase.HELD
    assert conditions(cluster.status)["Ready"].reason == "StableUnhealthy"
    assert entry(cluster).state == "Waiting"
    seen = trail(cluster)
    cluster.all_ready()
    approve(cluster, "Traffic(50)")
    settles(cluster)
    assert next(w for _, w in seen if w > 10) == 50


def test_given_a_write_problem_when_nothing_is_approved_then_the_machine_names_it() -> None:
    cluster = serving(approvals=[approval("Traffic(1)")])
    cluster.release("v2")
    cluster.blockers = (Problem("GatewayNotFound", "there is no gateway", terminal=True),)
    cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "GatewayNotFound"
