"""Back to an earlier version, drills, and stages that somebody skips."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import blue_green, canary, gate, ramp
from tests.unit.release.scenario import (
    approval,
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
from weir.api.rolloutstatus import Outcome, Phase
from weir.release.observation import Problem

V1, V2, V3 = "demo-v1.0", "demo-v2.0", "demo-v3.0"


def promoted(*versions: str, **changes: object) -> Cluster:
    """v1, then those versions, each promoted over the one before; the last one serves and the one before is warm."""
    cluster = serving(**{"rollback": {"keepFor": "600s", "drain": "5s", "historyLimit": 2}, **changes})
    for version in versions:
        cluster.release(version)
        cluster.run(lambda v=version: v in {r.candidate.version for r in cluster.records.values()})
    return cluster


def cold(limit: int = 2) -> Cluster:
    """v2 serves, and v1 is kept without pods, if at all."""
    cluster = promoted("v2", rollback={"keepFor": "0s", "drain": "5s", "historyLimit": limit})
    cluster.run()
    return cluster


def test_given_a_promoted_version_when_it_is_rolled_back_then_the_old_one_serves_and_the_new_one_stays_away() -> None:
    cluster = promoted("v2")
    seen = trail(cluster)
    told = do(cluster, "Rollback", requester="ada", reason="users complain")
    assert told == "Succeeded: putting label-v1 back over label-v2 as soon as its pods can carry the traffic"
    assert cluster.status.restoring
    settles(cluster)
    assert [step for step in seen if step[0]] == [("Restore", 100)]
    assert cluster.served == {V1: 100}
    assert outcome(cluster) == ("Restored", "Restored")
    assert cluster.status.stable is not None
    assert cluster.status.stable.version == "v1"
    (failed,) = cluster.status.failed
    assert (failed.version, failed.reason) == ("v2", "RollbackRequested")
    assert failed.message == "ada put label-v1 back: users complain"
    assert cluster.status.phase is Phase.ROLLED_BACK
    assert conditions(cluster.status)["Stalled"].status == "True"
    assert "change versionRef or request a Retry" in cluster.status.message
    record = cluster.records[3]
    assert record.requested_by == "ada"
    assert [d.reason for d in record.decisions] == [
        "ReleaseStarted",
        "RollbackRequested",
        "StageEntered",
        "ReleaseRestored",
    ]
    assert {d.actor for d in record.decisions} == {"ada"}
    assert len({d.request for d in record.decisions}) == 1
    assert (record.decisions[0].request or "").startswith("request-0000@sha256:")


def test_given_a_restored_version_when_the_new_one_is_retried_then_it_is_released_again() -> None:
    cluster = promoted("v2")
    do(cluster, "Rollback")
    cluster.run()
    assert do(cluster, "Retry").startswith("Succeeded")
    settles(cluster)
    assert cluster.served in ({V2: 100, V1: 0}, {V2: 100})
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.status.failed == []


def test_given_warm_pods_when_a_rollback_is_asked_for_then_the_very_decision_gives_them_all_traffic() -> None:
    cluster = promoted("v2")
    assert cluster.pools[V1].ready == 2
    do(cluster, "Rollback")
    assert cluster.status.weight == 100
    assert cluster.route.weights == {V2: 0, V1: 100}


def test_given_cold_pods_when_a_rollback_is_asked_for_then_traffic_waits_for_every_one_of_them() -> None:
    cluster = cold()
    assert cluster.pools[V1].desired == 0
    do(cluster, "Rollback")
    assert cluster.pools[V1].desired == 2
    cluster.ready(V1, 1)
    cluster.reconcile()
    assert cluster.route.weights[V2] == 100
    cluster.ready(V1, 2)
    cluster.reconcile()
    assert cluster.route.weights == {V2: 0, V1: 100}


def test_given_pods_that_are_just_going_when_a_rollback_is_asked_for_then_they_are_not_counted_on() -> None:
    cluster = promoted("v2")
    cluster.pass_time(700)
    told = do(cluster, "Rollback")
    assert told == "Pending: waiting for the old pods of label-v1 to go before new ones come"
    assert cluster.pools[V1].desired == 0
    cluster.reconcile()
    assert cluster.status.restoring
    settles(cluster)
    assert cluster.served in ({V1: 100, V2: 0}, {V1: 100})


def test_given_pods_that_never_come_when_the_deadline_passes_then_the_serving_version_goes_on_and_nothing_failed() -> (
    None
):
    cluster = cold()
    do(cluster, "Rollback")
    cluster.pass_time(299)
    assert cluster.reconcile().status.ending is None
    cluster.pass_time(1)
    cluster.reconcile()
    settles(cluster)
    assert outcome(cluster) == ("RolledBack", "ProgressDeadlineExceeded")
    assert cluster.served == {V2: 100}
    assert cluster.status.failed == []
    assert conditions(cluster.status)["Ready"].status == "True"
    assert do(cluster, "Rollback").startswith("Succeeded")
    settles(cluster)
    assert cluster.served[V1] == 100


@pytest.mark.parametrize("how", ["spec", "request"])
def test_given_a_paused_rollout_when_a_rollback_is_asked_for_then_it_is_done_all_the_same(how: str) -> None:
    cluster = promoted("v2")
    cluster.edit(paused=True) if how == "spec" else do(cluster, "Pause")
    do(cluster, "Rollback")
    cluster.run()
    assert cluster.served in ({V1: 100, V2: 0}, {V1: 100})


def test_given_trouble_with_the_next_version_when_a_rollback_is_asked_for_then_nothing_of_it_is_in_the_way() -> None:
    cluster = cold()
    cluster.blockers = (Problem("FeatureNotSupported", "no such filter", terminal=True),)
    cluster.versions = frozenset({"v1"})
    do(cluster, "Rollback")
    assert cluster.pools[V1].desired == 2
    for name, pool in cluster.pools.items():
        cluster.pools[name] = replace(pool, ready=pool.desired)
    cluster.reconcile()
    cluster.accept()
    cluster.reconcile()
    assert outcome(cluster) == ("Restored", "Restored")


def test_given_approvals_when_a_rollback_is_asked_for_then_nobody_has_to_consent() -> None:
    cluster = promoted("v2")
    cluster.edit(approvals=[approval("Traffic(1)"), approval("Promote")])
    cluster.admission_problem = "no policy"
    do(cluster, "Rollback")
    cluster.run()
    assert outcome(cluster) == ("Restored", "Restored")
    assert cluster.records[3].approvals is None


def test_given_a_rollback_under_way_when_another_version_is_asked_for_then_it_comes_to_its_end_first() -> None:
    cluster = cold()
    do(cluster, "Rollback")
    cluster.release("v3")
    cluster.reconcile()
    assert cluster.status.ending is None
    settles(cluster)
    assert [str(cluster.records[n].outcome) for n in (3, 4)] == ["Restored", "Promoted"]
    assert cluster.served[V3] == 100


def test_given_a_rollback_under_way_when_it_is_aborted_then_the_serving_version_goes_on_and_nothing_failed() -> None:
    cluster = cold()
    do(cluster, "Rollback")
    assert do(cluster, "Rollback").startswith("Refused: label-v1 is being put back already")
    assert do(cluster, "Skip").startswith("Refused: the warm-up")
    assert do(cluster, "Promote").startswith("Refused: label-v1 is being put back")
    assert do(cluster, "Abort").startswith("Succeeded")
    settles(cluster)
    assert (outcome(cluster)[0], cluster.status.failed) == ("Aborted", [])
    assert cluster.served[V2] == 100


def test_given_a_failed_candidate_when_a_rollback_is_asked_for_then_it_goes_to_the_version_that_served_last() -> None:
    cluster = promoted("v2", rollback={"keepFor": "60s", "drain": "5s", "historyLimit": 1})
    cluster.release("v3")
    cluster.run(lambda: judged(cluster.status, "Traffic(10)"))
    do(cluster, "Abort")
    cluster.run()
    cluster.pass_time(1000)
    cluster.run()
    assert V1 in cluster.pools, "a failed candidate has pushed out the version to go back to"
    do(cluster, "Rollback")
    settles(cluster)
    assert cluster.served[V1] == 100
    assert do(cluster, "Rollback").startswith("Refused: no earlier version is kept that has served")


def test_given_a_version_by_name_when_a_rollback_is_asked_for_then_that_one_comes_back() -> None:
    cluster = promoted("v2", "v3")
    assert do(cluster, "Rollback", version="v3").startswith("Refused: v3 serves already")
    told = do(cluster, "Rollback", version="v9")
    assert told == "Refused: v9 is not kept as a version that has served; those that can be put back: v2, v1"
    do(cluster, "Rollback", version="v1")
    settles(cluster)
    assert cluster.served[V1] == 100
    do(cluster, "Rollback", version="v3")
    settles(cluster)
    assert cluster.served[V3] == 100
    assert cluster.status.phase is Phase.PROMOTED
    assert [f.version for f in cluster.status.failed] == ["v1"]


def test_given_nothing_to_go_back_to_when_a_rollback_is_asked_for_then_it_is_refused_with_a_reason() -> None:
    cluster = fresh()
    cluster.versions = frozenset()
    assert do(cluster, "Rollback").startswith("Refused: no version serves")
    cluster = serving()
    assert do(cluster, "Rollback").startswith("Refused: no earlier version is kept")
    cluster = cold(limit=0)
    assert do(cluster, "Rollback").startswith("Refused: no earlier version is kept")


def test_given_a_running_release_when_a_rollback_is_asked_for_then_it_is_an_abort_and_says_so() -> None:
    cluster = releasing("Traffic(50)")
    assert do(cluster, "Rollback", version="v1").startswith("Refused: release 2 is running")
    told = do(cluster, "Rollback", requester="ada")
    assert told.startswith("Succeeded: release 2 was running, so this is an Abort")
    assert cluster.status.weight == 0
    assert do(cluster, "Rollback").startswith("Refused: release 2 is being put back already")
    settles(cluster)
    assert outcome(cluster) == ("Aborted", "Aborted")
    closed = cluster.records[2].decisions[-1]
    assert (closed.reason, closed.actor) == ("ReleaseAborted", "ada")


def test_given_a_release_whose_record_is_not_written_when_a_rollback_is_asked_for_then_it_waits_for_that() -> None:
    cluster = promoted("v2")
    del cluster.records[2]
    cluster.reconcile(fail_at=0)
    uid = cluster.ask("Rollback")
    decision = cluster.reconcile(fail_at=0)
    assert [r.message for r in decision.desired.results] == ["waiting for the record of release 2"]
    settles(cluster)
    assert cluster.results[uid].startswith("Succeeded")
    assert outcome(cluster) == ("Restored", "Restored")


def test_given_a_rollback_while_stable_has_lost_its_pods_when_it_fails_then_traffic_stays_where_pods_are() -> None:
    cluster = promoted("v2")
    cluster.ready(V2, 0)
    do(cluster, "Rollback")
    cluster.accept()
    cluster.reconcile()
    assert outcome(cluster) == ("Restored", "Restored")


# Drills


def test_given_a_healthy_candidate_when_a_drill_is_asked_for_then_it_is_put_back_measured_and_released_again() -> None:
    cluster = releasing("Traffic(50)")
    assert do(cluster, "Drill", requester="ada").startswith("Succeeded: release 2 of label-v2 is being put back")
    began = cluster.now
    assert cluster.status.weight == 0
    assert cluster.status.ending is not None
    assert (cluster.status.ending.outcome, cluster.status.ending.by) == (Outcome.DRILLED, "ada")
    cluster.pass_time(2.5)
    cluster.accept()
    cluster.reconcile()
    settles(cluster)
    assert [str(cluster.records[n].outcome) for n in (2, 3)] == ["Drilled", "Promoted"]
    record = cluster.records[2]
    assert record.time_to_stable == Decimal("2.5")
    assert record.decisions[-1].message.endswith("stable had all traffic again after 2.500 s")
    assert cluster.status.failed == []
    assert {h.release: h.time_to_stable for h in cluster.status.history} == {1: None, 2: Decimal("2.500"), 3: None}
    assert cluster.now > began


def test_given_a_promotion_by_force_when_a_drill_waits_then_it_is_left_alone() -> None:
    cluster = releasing("Bake", strategy=canary(10, bake="1h"))
    cluster.edit(paused=True)
    do(cluster, "Promote")
    cluster.edit(paused=True)
    assert do(cluster, "Drill") == "Pending: waiting for a release that nobody forces"


def test_given_a_window_when_a_drill_is_asked_for_then_it_begins_there() -> None:
    cluster = serving()
    uid = cluster.ask("Drill", notBefore="2027-01-15T08:10:00Z", expiresAfter="10m")
    begins = cluster.waiting[uid].spec.not_before or 0.0
    assert 0 < begins - cluster.now < 3600
    decision = cluster.reconcile()
    assert cluster.waiting[uid].pending == "waiting until 2027-01-15T08:10:00.000Z, as notBefore says"
    assert decision.wake_at == begins
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, "Traffic(10)"))
    assert cluster.now < begins
    cluster.edit(paused=True)
    cluster.reconcile()
    cluster.pass_time(begins - cluster.now - 1)
    assert cluster.reconcile().status.ending is None
    cluster.pass_time(1)
    assert cluster.reconcile().status.ending is not None
    assert cluster.results[uid].startswith("Succeeded")


def test_given_no_moment_for_it_when_a_drill_grows_too_old_then_it_expires_and_changes_nothing() -> None:
    cluster = serving()
    uid = cluster.ask("Drill", expiresAfter="10m")
    assert cluster.reconcile().wake_at == cluster.now + 600
    assert cluster.waiting[uid].pending == "waiting for a release"
    before = cluster.status
    cluster.pass_time(600)
    cluster.reconcile()
    assert cluster.results[uid] == "Expired: not executed within 10m; create a new request"
    (handled, *_) = cluster.status.handled_requests
    assert (handled.phase, handled.before, handled.after) == ("Expired", handled.after, handled.before)
    assert cluster.status.model_copy(update={"handled_requests": []}) == before


def test_given_a_candidate_without_its_share_or_unwell_when_a_drill_is_asked_for_then_it_waits() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    uid = cluster.ask("Drill", expiresAfter="10h")
    cluster.reconcile()
    assert cluster.waiting[uid].pending == "waiting until the candidate carries its share of the traffic"
    cluster.run(lambda: cluster.status.weight == 10)
    assert uid in cluster.waiting
    cluster.quality["v2"] = Quality.ERROR
    cluster.run(
        lambda: cluster.status.ending is not None or uid in cluster.results or cluster.status.verdict == "Error"
    )
    cluster = releasing("Traffic(10)")
    cluster.quality["v2"] = Quality.ERROR
    cluster.pass_time(10)
    cluster.reconcile()
    uid = cluster.ask("Drill")
    cluster.reconcile()
    assert cluster.waiting[uid].pending == "waiting for a healthy candidate"
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    cluster.reconcile()
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "GateFailed", "a failing candidate was drilled, and would be tried again"
    assert uid in cluster.waiting


def test_given_a_candidate_that_fails_in_this_very_look_when_a_drill_is_asked_for_then_it_is_no_way_out() -> None:
    cluster = releasing("Traffic(10)")
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    do(cluster, "Drill")
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "GateFailed"
    assert [f.version for f in cluster.status.failed] == ["v2"]


def test_given_the_first_version_or_a_preview_when_a_drill_is_asked_for_then_it_waits() -> None:
    cluster = fresh()
    cluster.gateway_works = False
    cluster.run(lambda: cluster.status.weight == 100)
    uid = cluster.ask("Drill")
    cluster.reconcile()
    assert cluster.waiting[uid].pending == "waiting for a release that leaves a version to go back to"
    cluster = releasing("Preview", strategy=blue_green())
    uid = cluster.ask("Drill")
    cluster.reconcile()
    assert cluster.waiting[uid].pending.startswith("waiting until the candidate carries")
    cluster.run(lambda: cluster.status.ending is not None)
    assert cluster.results[uid].startswith("Succeeded")


def test_given_a_release_that_was_asked_for_when_it_is_drilled_then_who_asked_is_remembered() -> None:
    cluster = releasing()
    do(cluster, "Abort")
    cluster.run()
    do(cluster, "Retry", requester="rita")
    cluster.run(lambda: judged(cluster.status, "Traffic(10)"))
    do(cluster, "Drill", requester="ada")
    cluster.run(lambda: cluster.status.release == 4)
    assert cluster.status.requested_by == "rita"


def test_given_a_drill_when_it_is_aborted_or_repeated_then_that_is_refused_or_waits() -> None:
    cluster = releasing("Traffic(50)")
    do(cluster, "Drill")
    assert do(cluster, "Abort").startswith("Refused")
    assert do(cluster, "Drill") == "Pending: waiting for a release"


@pytest.mark.parametrize("action", ["Abort", "Rollback"])
def test_given_any_release_that_had_traffic_when_it_is_put_back_then_the_time_is_measured(action: str) -> None:
    cluster = releasing("Traffic(10)")
    do(cluster, action)
    cluster.pass_time(1.25)
    cluster.accept()
    cluster.run()
    assert cluster.records[2].time_to_stable == Decimal("1.25")
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    do(cluster, action)
    cluster.run()
    assert cluster.records[2].time_to_stable is None


def test_given_a_gateway_that_never_confirms_when_a_release_is_put_back_then_no_time_is_made_up() -> None:
    cluster = releasing("Traffic(10)")
    cluster.gateway_works = False
    do(cluster, "Abort")
    cluster.pass_time(61)
    cluster.reconcile()
    cluster.pass_time(5)
    cluster.reconcile()
    cluster.reconcile()
    assert cluster.records[2].time_to_stable is None


# Skips


def test_given_a_stage_when_it_is_skipped_then_the_release_goes_on_at_once_and_judges_the_next_one() -> None:
    cluster = releasing("Traffic(10)", strategy=canary(10, 25, 50, min_duration="1h"))
    told = do(cluster, "Skip", requester="ada")
    assert told == "Succeeded: leaving Traffic(10) without waiting for its time and its gates"
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.skip) == ("Traffic(25)", None)
    entered = cluster.status.decisions[-1]
    assert (entered.reason, entered.actor) == ("StageEntered", "ada")
    assert (entered.request or "").startswith("request-0000@sha256:")
    cluster.run(lambda: judged(cluster.status, "Traffic(25)"))
    for _ in range(5):
        cluster.pass_time(10)
        cluster.reconcile()
    assert cluster.status.stage.name == "Traffic(25)", "one skip skipped two stages"
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    cluster.reconcile()
    assert cluster.status.ending is not None


def test_given_a_stage_without_requests_when_it_is_skipped_then_it_is_left() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.quality["v2"] = Quality.SILENT
    cluster.run(lambda: cluster.status.weight == 10)
    cluster.accept()
    cluster.pass_time(5)
    cluster.reconcile()
    assert cluster.status.stage is not None
    assert cluster.status.stage.evidence_from is None
    do(cluster, "Skip")
    assert cluster.status.stage.name == "Traffic(50)"


def test_given_a_release_that_holds_for_want_of_evidence_when_the_stage_is_skipped_then_it_goes_on() -> None:
    cluster = releasing("Traffic(10)", gates=[gate(maxWait="40s", onNoData="Hold")])
    cluster.quality["v2"] = Quality.SILENT
    while cluster.status.phase is not Phase.HELD:
        cluster.pass_time(10)
        cluster.reconcile()
    do(cluster, "Skip")
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.hold) == ("Traffic(50)", None)


def test_given_the_bake_when_it_is_skipped_then_the_candidate_is_promoted() -> None:
    cluster = releasing("Bake", strategy=canary(10, bake="1h"))
    do(cluster, "Skip", requester="ada")
    assert cluster.status.candidate is None
    settles(cluster)
    closed = cluster.records[2].decisions[-1]
    assert (closed.reason, closed.actor) == ("ReleasePromoted", "ada")


def test_given_a_ramp_when_it_is_skipped_then_the_bake_begins() -> None:
    cluster = releasing("Ramp", strategy=ramp(2000))
    do(cluster, "Skip")
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Bake"


def test_given_pods_that_are_missing_when_a_stage_is_skipped_then_traffic_waits_for_them() -> None:
    cluster = releasing("Traffic(10)", replicas=10)
    do(cluster, "Skip")
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.weight) == ("Traffic(50)", 10)


def test_given_a_paused_release_when_its_stage_is_skipped_then_it_is_left_after_the_pause() -> None:
    cluster = releasing("Traffic(10)", strategy=canary(10, 50, min_duration="1h"))
    cluster.edit(paused=True)
    cluster.reconcile()
    assert do(cluster, "Skip").endswith("; once the pause is over")
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    cluster.edit(paused=False)
    cluster.reconcile()
    assert cluster.status.stage.name == "Traffic(50)"


def test_given_stages_that_cannot_be_skipped_when_somebody_asks_then_it_is_refused_with_a_reason() -> None:
    cluster = serving()
    assert do(cluster, "Skip") == "Refused: there is no release with a stage to skip"
    cluster.release("v2")
    cluster.reconcile()
    assert do(cluster, "Skip").startswith("Refused: the warm-up cannot be skipped")
    cluster = releasing("Traffic(10)", paused=False)
    cluster.edit(paused=True)
    do(cluster, "Skip")
    assert do(cluster, "Skip") == "Refused: somebody asked to leave Traffic(10) already"
    first = fresh()
    first.gateway_works = False
    first.run(lambda: first.status.weight == 100)
    assert do(first, "Skip").startswith("Refused: Serve waits for nothing but pods")


def test_given_stable_without_its_pods_when_a_stage_is_skipped_then_it_holds() -> None:
    cluster = releasing("Traffic(10)", strategy=canary(10, 50, min_duration="1h"))
    cluster.ready(V1, 1)
    do(cluster, "Skip")
    assert cluster.status.phase is Phase.HELD
    cluster.all_ready()
    cluster.reconcile()
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(50)"


def test_given_a_plan_that_is_changed_when_a_stage_was_skipped_then_the_new_stage_is_not() -> None:
    cluster = releasing("Traffic(10)", strategy=canary(10, 50, min_duration="1h"))
    cluster.edit(paused=True)
    do(cluster, "Skip")
    cluster.edit(strategy=canary(5, 20, min_duration="1h"))
    cluster.reconcile()
    assert cluster.status.skip is None
    assert "SkipRequested" in reasons(cluster)
