"""Somebody asks for the release of another version than spec.versionRef names."""

from __future__ import annotations

from typing import Any

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.unit.release.scenario import approval, conditions, do, fresh, outcome, reasons, releasing, serving
from weir.api.rolloutstatus import Phase
from weir.release.instead import wanted
from weir.release.observation import Problem, Target

V1, V2, V3 = "demo-v1.0", "demo-v2.0", "demo-v3.0"
KEPT = {"keepFor": "600s", "drain": "5s", "historyLimit": 3}


def ask(cluster: Cluster, version: str, **fields: Any) -> str:
    """Somebody asks for that version and the operator looks once; the result."""
    return do(cluster, "Release", version=version, **fields)


def released(version: str = "v2", **changes: Any) -> Cluster:
    """v1 is named by the spec, and that version was released in its place and serves."""
    cluster = serving(**{"rollback": KEPT, **changes})
    assert ask(cluster, version, requester="ada", reason="the data drifted").startswith("Succeeded")
    settles(cluster)
    assert cluster.status.stable is not None
    assert cluster.status.stable.version == version
    return cluster


def test_given_another_version_when_it_is_asked_for_then_it_is_released_through_every_stage_and_gate() -> None:
    cluster = serving()
    told = ask(cluster, "v2", requester="ada")
    assert told == "Succeeded: label-v2 will be released over label-v1, through every stage and gate"
    assert conditions(cluster.status)["Ready"].reason == "WantedVersionChanged"
    cluster.run(lambda: cluster.status.weight == 10)
    assert cluster.status.requested_by == "ada"
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")
    record = cluster.records[2]
    assert record.requested_by == "ada"
    first = record.decisions[0]
    assert (first.reason, first.actor) == ("ReleaseStarted", "ada")
    assert (first.request or "").startswith("request-0000@sha256:")
    assert [d.message.split(":")[0] for d in record.decisions if d.reason == "StageEntered"] == [
        "entering Traffic(10)",
        "entering Traffic(50)",
        "entering Bake",
    ]


def test_given_a_version_that_serves_instead_when_the_rollout_is_looked_at_then_it_is_ready_and_tells_what_to_do() -> (
    None
):
    cluster = released()
    ready = conditions(cluster.status)["Ready"]
    assert ready.status == "True"
    assert ready.message == (
        "label-v2 serves all traffic; ada asked for it in place of v1, which spec.versionRef names: set "
        "spec.versionRef to v2 where the Rollout is kept"
    )
    assert cluster.status.message == ready.message


def test_given_a_version_that_serves_instead_when_the_same_manifest_is_applied_again_then_nothing_happens() -> None:
    cluster = released()
    cluster.edit(replicas=3)
    cluster.edit(replicas=2)
    settles(cluster)
    assert cluster.status.release == 2
    assert cluster.served == {V2: 100}


def test_given_a_version_that_serves_instead_when_the_spec_names_it_then_only_the_hint_goes() -> None:
    cluster = released()
    cluster.release("v2")
    settles(cluster)
    assert cluster.status.instead is None
    assert cluster.status.release == 2
    assert conditions(cluster.status)["Ready"].message == "label-v2 serves all traffic"


def test_given_a_release_instead_when_the_spec_names_a_third_version_then_that_one_wins() -> None:
    cluster = serving()
    ask(cluster, "v2")
    cluster.run(lambda: cluster.status.weight == 10)
    cluster.release("v3")
    settles(cluster)
    assert outcome(cluster, 2) == ("Superseded", "Superseded")
    assert cluster.served == {V3: 100}
    assert cluster.status.instead is None


def test_given_a_version_that_fails_instead_when_it_is_put_back_then_it_stays_out_until_a_retry() -> None:
    cluster = serving()
    ask(cluster, "v2")
    cluster.quality["v2"] = Quality.BAD
    settles(cluster)
    assert outcome(cluster) == ("RolledBack", "GateFailed")
    assert cluster.served == {V1: 100}
    assert cluster.status.phase is Phase.ROLLED_BACK
    assert "be content with label-v1 by `kubectl weir release demo v1`" in cluster.status.message
    assert ask(cluster, "v2") == "Refused: label-v2 failed in release 2 (GateFailed); ask for a Retry"
    cluster.quality.clear()
    assert do(cluster, "Retry").startswith("Succeeded")
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_a_version_that_failed_instead_when_the_one_that_serves_is_asked_for_then_that_is_what_is_wanted() -> (
    None
):
    cluster = serving()
    ask(cluster, "v2")
    cluster.quality["v2"] = Quality.BAD
    settles(cluster)
    assert ask(cluster, "v1") == (
        "Succeeded: label-v1 serves already, and nothing else is wanted in its place any more"
    )
    settles(cluster)
    assert conditions(cluster.status)["Ready"].status == "True"
    assert (cluster.status.instead, cluster.status.asked) == (None, None)
    assert ask(cluster, "v1") == "Refused: label-v1 serves already"
    refused = ask(cluster, "v2")
    assert refused.endswith("set spec.versionRef to v2 and ask for a Retry")


def test_given_a_version_that_serves_instead_when_the_one_of_the_spec_is_asked_for_then_it_is_released_again() -> None:
    cluster = released()
    assert ask(cluster, "v1").startswith("Succeeded: label-v1 will be released over label-v2")
    assert cluster.status.instead is None
    settles(cluster)
    assert cluster.served == {V1: 100}
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.status.release == 3


def test_given_a_release_instead_when_it_is_rolled_back_then_the_spec_is_followed_again() -> None:
    cluster = serving()
    ask(cluster, "v2")
    cluster.run(lambda: cluster.status.weight == 10)
    assert do(cluster, "Rollback").startswith("Succeeded")
    settles(cluster)
    assert outcome(cluster) == ("Aborted", "Aborted")
    assert cluster.status.instead is None
    assert conditions(cluster.status)["Ready"].status == "True"
    assert cluster.status.release == 2


def test_given_a_rollback_during_the_warm_up_when_all_ends_in_one_look_then_the_spec_is_followed_again() -> None:
    cluster = serving()
    ask(cluster, "v2")
    cluster.run(lambda: cluster.status.candidate is not None)
    assert do(cluster, "Rollback").startswith("Succeeded")
    settles(cluster)
    assert conditions(cluster.status)["Ready"].status == "True"


def test_given_a_version_that_serves_instead_when_it_is_rolled_back_to_the_one_of_the_spec_then_that_is_wanted() -> (
    None
):
    cluster = released()
    assert do(cluster, "Rollback").startswith("Succeeded")
    settles(cluster)
    assert cluster.served == {V1: 100}
    assert cluster.status.instead is None
    assert conditions(cluster.status)["Ready"].status == "True"
    assert [f.version for f in cluster.status.failed] == ["v2"]


def test_given_a_rollback_to_a_third_version_when_it_serves_then_neither_of_the_others_comes_by_itself() -> None:
    cluster = released()
    cluster.release("v2")
    settles(cluster)
    ask(cluster, "v3")
    settles(cluster)
    assert do(cluster, "Rollback", version="v1").startswith("Succeeded")
    settles(cluster)
    assert cluster.served == {V1: 100}
    assert cluster.status.phase is Phase.ROLLED_BACK
    assert cluster.status.release == 4


def test_given_a_version_that_serves_instead_when_its_modelversion_is_gone_then_it_goes_on_and_the_reason_is_told() -> (
    None
):
    cluster = released()
    cluster.versions = cluster.versions - {"v2"}
    settles(cluster)
    assert cluster.served == {V2: 100}
    ready = conditions(cluster.status)["Ready"]
    assert (ready.status, ready.reason) == ("False", "ModelVersionNotFound")
    assert cluster.status.release == 2


def test_given_a_version_that_does_not_exist_when_it_is_asked_for_then_it_is_waited_for_shortly_and_then_refused() -> (
    None
):
    cluster = serving()
    assert ask(cluster, "v9") == "Pending: waiting for the ModelVersion v9"
    cluster.pass_time(20.0)
    cluster.versions |= {"v9"}
    cluster.run(lambda: cluster.status.candidate is not None)
    assert cluster.status.candidate is not None
    assert cluster.status.candidate.version == "v9"
    do(cluster, "Abort")
    settles(cluster)
    uid = cluster.ask("Release", version="v8")
    cluster.reconcile()
    cluster.pass_time(30.0)
    cluster.reconcile()
    assert cluster.results[uid] == "Refused: no ModelVersion v8 in this namespace"


class Retired(Cluster):
    """A cluster in which v3 is retired."""

    def offer(self, version: str) -> Target | Problem:
        if version == "v3":
            return Problem("ModelVersionRetired", "ModelVersion v3 was retired", terminal=True)
        return super().offer(version)


def test_given_a_version_that_cannot_run_when_it_is_asked_for_then_it_is_refused_at_once() -> None:
    cluster = Retired()
    cluster.run()
    assert ask(cluster, "v3") == "Refused: ModelVersion v3 was retired"
    assert cluster.status.instead is None


def test_given_no_moment_for_it_when_a_version_is_asked_for_then_it_is_refused_with_a_reason() -> None:
    cluster = releasing()
    assert ask(cluster, "v3") == "Refused: release 2 of label-v2 is running; abort it first"
    first = fresh()
    first.versions = frozenset({"v2"})
    first.reconcile()
    assert ask(first, "v2").startswith("Refused: no version serves yet")
    deleted = serving()
    deleted.deleting = True
    deleted.reconcile(fail_at=0)
    assert ask(deleted, "v2") == "Refused: the Rollout is being deleted"


def test_given_a_paused_rollout_when_a_version_is_asked_for_then_it_is_released_after_the_pause() -> None:
    cluster = serving()
    do(cluster, "Pause")
    assert ask(cluster, "v2", requester="ada").endswith("once the pause is over, through every stage and gate")
    settles(cluster)
    assert cluster.status.phase is Phase.PAUSED
    do(cluster, "Resume")
    cluster.run(lambda: cluster.status.candidate is not None)
    assert cluster.status.requested_by == "ada"
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_approvals_when_a_person_asked_for_the_version_then_another_one_must_consent() -> None:
    cluster = serving(approvals=[approval("Promote")])
    ask(cluster, "v2", requester="ada")
    cluster.run(lambda: bool(cluster.status.approvals) and cluster.status.approvals[0].state == "Waiting")
    entry = cluster.status.approvals[0]
    consent = {"name": entry.name, "digest": entry.digest}
    assert "asked for this release" in do(cluster, "Approve", requester="ada", approval=consent)
    assert do(cluster, "Approve", requester="bob", approval=consent).startswith("Succeeded")
    settles(cluster)


def test_given_a_crash_after_it_was_stored_when_the_operator_is_back_then_it_is_released_once() -> None:
    cluster = serving()
    uid = cluster.ask("Release", version="v2")
    cluster.reconcile(crash_at=1)
    assert uid in cluster.waiting
    settles(cluster)
    assert cluster.results[uid].startswith("Succeeded")
    assert cluster.status.release == 2
    assert reasons(cluster).count("ReleaseStarted") == 1
    assert wanted(cluster.spec, cluster.status) == "v2"
