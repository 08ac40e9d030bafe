"""What people ask for, and pauses."""

from __future__ import annotations

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.unit.release.scenario import do, outcome, releasing, serving, trail
from weir.api.rolloutstatus import Phase


def test_given_an_abort_when_it_is_executed_then_the_weight_is_zero_and_the_record_says_who_and_why() -> None:
    cluster = releasing("Traffic(50)")
    uid = cluster.ask("Abort", reason="latency looks odd")
    cluster.reconcile()
    assert cluster.route.weights["demo-v2.0"] == 0
    assert cluster.results[uid].startswith("Succeeded")
    cluster.run()
    entry = next(d for d in cluster.records[2].decisions if d.reason == "Aborted")
    assert (entry.actor, entry.message, entry.weight) == ("somebody", "latency looks odd", 0)


def test_given_a_promotion_by_force_when_pods_are_missing_then_traffic_waits_for_them_and_gates_are_skipped() -> None:
    cluster = releasing()
    cluster.quality["v2"] = Quality.BAD
    seen = trail(cluster)
    cluster.ask("Promote")
    cluster.reconcile()
    assert cluster.status.weight == 10
    assert cluster.pools["demo-v2.0"].desired == 2
    cluster.all_ready()
    cluster.reconcile()
    assert cluster.status.weight == 100
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert [w for _, w in seen] == [10, 100, 0]
    assert any(d.reason == "PromoteRequested" and d.actor == "somebody" for d in cluster.records[2].decisions)


def test_given_expectations_that_no_longer_hold_when_a_promotion_is_asked_for_then_it_is_refused() -> None:
    cluster = releasing("Traffic(50)")
    for expect in ({"release": 1}, {"stage": "Traffic(10)"}, {"weight": 10}):
        uid = cluster.ask("Promote", expect=expect)
        cluster.reconcile()
        assert cluster.results[uid].startswith("Refused: expected")
    assert cluster.status.force is None
    uid = cluster.ask("Promote", expect={"release": 2, "stage": "Traffic(50)", "weight": 50})
    cluster.reconcile()
    assert cluster.results[uid].startswith("Succeeded")


def test_given_nothing_to_act_on_when_actions_are_asked_for_then_each_is_refused_with_a_reason() -> None:
    cluster = serving()
    for action in ("Promote", "Abort", "Retry", "Resume"):
        uid = cluster.ask(action)
        cluster.reconcile()
        assert cluster.results[uid].startswith("Refused: "), action


def test_given_a_result_that_was_not_written_when_the_request_is_seen_again_then_it_is_not_executed_again() -> None:
    cluster = releasing()
    uid = cluster.ask("Pause", duration="20s")
    cluster.reconcile(crash_at=1)
    assert uid in cluster.waiting
    until = cluster.status.pause.until if cluster.status.pause else None
    cluster.pass_time(10)
    cluster.reconcile()
    assert uid in cluster.results
    assert cluster.status.pause is not None
    assert cluster.status.pause.until == until


def test_given_more_requests_than_can_be_remembered_when_results_cannot_be_written_then_none_runs_twice() -> None:
    cluster = releasing()
    for number in range(30):
        cluster.ask("Pause", f"request-{number:02}")
    cluster.reconcile(fail_at=1)
    for _ in range(3):
        cluster.reconcile(fail_at=0)
    paused = [d for d in cluster.status.decisions if d.reason == "Paused"]
    assert len(paused) == 20
    for _ in range(3):
        cluster.reconcile()
    assert len(cluster.results) == 30
    assert len([d for d in cluster.status.decisions if d.reason == "Paused"]) == 30


def test_given_a_long_answer_when_it_is_told_again_then_it_reads_the_same() -> None:
    cluster = releasing()
    cluster.ask("Abort", "x" * 200)
    first = cluster.reconcile(fail_at=1).desired.results
    assert cluster.reconcile(fail_at=0).desired.results == first


def test_given_a_timed_pause_when_it_is_over_then_the_release_goes_on_and_paused_time_did_not_count() -> None:
    cluster = releasing()
    cluster.pass_time(10)
    cluster.reconcile()
    cluster.ask("Pause", duration="1h")
    decision = cluster.reconcile()
    assert (decision.status.phase, decision.wake_at) == (Phase.PAUSED, cluster.now + 10)
    cluster.restart()
    cluster.pass_time(3599)
    assert cluster.reconcile().status.phase is Phase.PAUSED
    cluster.pass_time(1)
    assert cluster.reconcile().status.phase is Phase.SHIFTING
    began = cluster.now
    cluster.run(lambda: cluster.status.stage is not None and cluster.status.stage.name == "Traffic(50)")
    assert cluster.now - began == 20
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_an_endless_pause_when_the_progress_deadline_would_pass_then_it_does_not_fire() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.pass_time(200)
    cluster.ask("Pause")
    cluster.reconcile()
    cluster.pass_time(1_000_000)
    cluster.reconcile()
    assert cluster.status.phase is Phase.PAUSED
    cluster.ask("Resume")
    cluster.reconcile()
    cluster.pass_time(99)
    assert cluster.reconcile().status.ending is None
    cluster.pass_time(1)
    assert cluster.reconcile().status.ending is not None


def test_given_a_paused_release_when_the_candidate_fails_then_it_is_rolled_back_all_the_same() -> None:
    cluster = releasing()
    cluster.edit(paused=True)
    cluster.reconcile()
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    assert cluster.reconcile().status.weight == 0


def test_given_evidence_that_began_during_a_pause_when_it_ends_then_evidence_does_not_begin_in_the_future() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.run(lambda: cluster.status.weight == 10)
    cluster.edit(paused=True)
    cluster.reconcile()
    cluster.accept()
    for _ in range(20):
        cluster.reconcile()
        cluster.pass_time(5)
    cluster.edit(paused=False)
    cluster.reconcile()
    stage = cluster.status.stage
    assert stage is not None
    assert stage.evidence_from is not None
    assert stage.evidence_from <= cluster.now
    settles(cluster)


def test_given_a_paused_rollout_when_a_version_is_asked_for_then_no_release_starts() -> None:
    cluster = serving(paused=False)
    cluster.edit(paused=True)
    cluster.release("v2")
    cluster.run()
    assert (cluster.status.release, cluster.status.phase) == (1, Phase.PAUSED)
    cluster.edit(paused=False)
    settles(cluster)
    assert cluster.served == {"demo-v2.0": 100}


def test_given_another_candidate_than_expected_when_an_action_is_asked_for_then_it_is_refused() -> None:
    cluster = releasing("Traffic(50)")
    wrong = "sha256:" + "0" * 64
    told = do(cluster, "Abort", expect={"candidate": wrong})
    assert told.startswith(f"Refused: expected candidate {wrong}, but it is sha256:v2")
    cluster = serving()
    assert ", but it is none;" in do(cluster, "Pause", expect={"candidate": wrong})
    assert cluster.status.pause is None


def test_given_a_request_that_is_too_old_when_it_is_seen_then_it_expires_and_nothing_else_happens() -> None:
    for action in ("Abort", "Promote", "Pause", "Skip"):
        cluster = releasing("Traffic(10)")
        before = cluster.status
        late = cluster.ask(action, age=600, expiresAfter="10m")
        cluster.reconcile()
        assert cluster.results[late] == "Expired: not executed within 10m; create a new request"
        assert cluster.status.model_copy(update={"handled_requests": []}) == before
        just = cluster.ask(action, age=599.9, expiresAfter="10m")
        cluster.reconcile()
        assert cluster.results[just].startswith("Succeeded")


def test_given_an_executed_action_when_its_result_is_told_then_it_says_where_the_rollout_stood_and_stands() -> None:
    cluster = releasing("Traffic(50)")
    cluster.ask("Abort", requester="ada")
    (result,) = cluster.reconcile().desired.results
    assert result.handled is not None
    before, after = result.handled.before, result.handled.after
    assert (before.phase, before.stage, before.weight, before.release) == ("Shifting", "Traffic(50)", 50, 2)
    assert (after.phase, after.weight, after.candidate) == ("RollingBack", 0, "label-v2")
    assert (result.handled.by, result.handled.action) == ("ada", "Abort")
    assert cluster.status.handled_requests[0] == result.handled
    cluster.ask("Pause")
    (again,) = cluster.reconcile().desired.results
    assert again.name == "request-0001"
    assert cluster.status.handled_requests[1] == result.handled


def test_given_what_a_request_caused_when_the_log_is_read_then_every_entry_names_it() -> None:
    cluster = releasing("Traffic(10)")
    do(cluster, "Promote", requester="ada")
    cluster.run()
    entries = {d.reason: d for d in cluster.records[2].decisions}
    asked = entries["PromoteRequested"].request
    assert asked is not None
    assert asked.startswith("request-0000@sha256:")
    assert (entries["ReleasePromoted"].actor, entries["ReleasePromoted"].request) == ("ada", asked)
    last = cluster.records[2].decisions[-2]
    assert (last.reason, last.actor, last.request) == ("StageEntered", "ada", asked)
    assert entries["ReleaseStarted"].request is None


def test_given_several_requests_when_they_are_seen_together_then_an_abort_comes_first_and_then_the_oldest() -> None:
    cluster = releasing("Traffic(10)")
    late = cluster.ask("Promote", "b", age=5)
    early = cluster.ask("Pause", "c", age=10)
    abort = cluster.ask("Abort", "d")
    cluster.reconcile()
    assert [entry.uid for entry in reversed(cluster.status.handled_requests)] == [abort, early, late]
    assert cluster.results[late].startswith("Refused")


def failing(*versions: str) -> Cluster:
    """v1 serves, and each of these versions was released and put back, one after the other."""
    cluster = serving()
    for version in versions:
        cluster.quality[version] = Quality.BAD
        cluster.release(version)
        settles(cluster)
        assert outcome(cluster)[0] == "RolledBack"
    cluster.quality.clear()
    return cluster


def test_given_a_retry_of_the_last_release_when_another_failed_version_is_wanted_by_then_then_it_is_refused() -> None:
    cluster = failing("v2", "v3")
    cluster.release("v2")
    settles(cluster)
    assert cluster.status.release == 3, "a version that has failed begins no release"
    digest = cluster.target_of("v2").digest

    assert do(cluster, "Retry", expect={"release": 3}) == (
        "Refused: release 3 was of label-v3, but label-v2 is the version that is wanted now; if that is the one you "
        f"mean, look again and ask again with expect.candidate {digest}"
    )

    assert len(cluster.status.failed) == 2
    other = cluster.target_of("v3").digest
    told = do(cluster, "Retry", expect={"release": 3, "candidate": other})
    assert told == f"Refused: expected candidate {other}, but it is {digest}; look again and create a new request"
    assert do(cluster, "Retry", expect={"release": 3, "candidate": digest}).startswith("Succeeded")
    settles(cluster)
    assert cluster.served == {"demo-v2.0": 100}


def test_given_the_version_of_the_last_release_when_a_retry_expects_that_release_then_it_is_released_again() -> None:
    cluster = failing("v2", "v3")
    assert do(cluster, "Retry", expect={"release": 3}) == "Succeeded: label-v3 will be released again"
    settles(cluster)
    assert cluster.served == {"demo-v3.0": 100}


def test_given_a_version_that_was_replaced_by_a_rollback_when_a_retry_expects_that_release_then_it_is_tried() -> None:
    cluster = releasing(rollback={"keepFor": "600s", "drain": "5s", "historyLimit": 3})
    settles(cluster)
    assert do(cluster, "Rollback").startswith("Succeeded")
    settles(cluster)
    assert outcome(cluster)[0] == "Restored"
    assert do(cluster, "Retry", expect={"release": 3}) == "Succeeded: label-v2 will be released again"
