"""What the status says: conditions in every phase, the record, what is kept, and what user-run Services change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import canary
from tests.unit.release.scenario import conditions, fresh, releasing, serving
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import Phase, RolloutStatus
from weir.release.decide import decide
from weir.release.durable import significant
from weir.release.observation import Pool, Problem, Route
from weir.release.record import record_hash

V1, V2 = "demo-v1.0", "demo-v2.0"


def told(cluster: Cluster) -> tuple[str, str, str]:
    """(phase, reason of Ready=False or True, what else is True)."""
    found = conditions(cluster.status)
    rest = "/".join(sorted(k for k in found if k != "Ready"))
    return (str(cluster.status.phase), found["Ready"].reason, rest or found["Ready"].status)


def test_given_each_phase_when_conditions_are_read_then_kstatus_sees_the_truth() -> None:
    cluster = fresh()
    cluster.reconcile()
    assert told(cluster) == ("WarmUp", "WarmUp", "Reconciling")
    cluster.run()
    assert told(cluster) == ("Promoted", "Promoted", "True")
    cluster.blockers = (Problem("GatewayNotProgrammed", "not yet"),)
    cluster.release("v2")
    cluster.reconcile()
    assert told(cluster) == ("Preflight", "GatewayNotProgrammed", "Reconciling")
    cluster.blockers = ()
    cluster.run(lambda: cluster.status.weight == 10)
    assert told(cluster) == ("Shifting", "Shifting", "Reconciling")
    cluster.ask("Pause")
    cluster.reconcile()
    assert told(cluster) == ("Paused", "Paused", "Reconciling")
    cluster.ask("Resume")
    cluster.run(lambda: cluster.status.weight == 100)
    assert told(cluster) == ("Bake", "Bake", "Reconciling")
    cluster.ask("Abort")
    cluster.reconcile()
    assert told(cluster) == ("RollingBack", "Aborted", "Reconciling")
    cluster.run()
    assert told(cluster) == ("RolledBack", "RolledBack", "Stalled")


def test_given_a_served_version_when_its_pods_or_route_go_then_it_is_not_ready_until_they_are_back() -> None:
    cluster = serving()
    cluster.ready(V1, 1)
    cluster.reconcile()
    assert told(cluster) == ("Promoted", "StableUnhealthy", "Reconciling")
    cluster.all_ready()
    cluster.refuse()
    cluster.reconcile()
    assert told(cluster) == ("Promoted", "RouteNotAccepted", "Reconciling")
    cluster.route = replace(cluster.route, problem=Problem("RouteClaimed", "by another", terminal=True))
    cluster.reconcile()
    cluster.accept()
    cluster.reconcile()
    assert told(cluster) == ("Promoted", "Promoted", "True")


def test_given_a_condition_that_stays_when_time_passes_then_its_transition_time_stays() -> None:
    cluster = serving()
    before = conditions(cluster.status)["Ready"].last_transition_time
    cluster.pass_time(100)
    assert conditions(cluster.reconcile().status)["Ready"].last_transition_time == before


def test_given_finished_releases_when_their_records_are_read_then_they_hold_the_log_and_form_a_chain() -> None:
    cluster = serving()
    for version, quality in (("v2", Quality.BAD), ("v3", Quality.GOOD)):
        cluster.quality[version] = quality
        cluster.release(version)
        cluster.run()
    first, second, third = (cluster.records[n] for n in (1, 2, 3))
    assert (first.previous_hash, second.previous_hash, third.previous_hash) == ("", first.hash, second.hash)
    assert [d.reason for d in second.decisions] == ["ReleaseStarted", "StageEntered", "GateFailed", "ReleaseRolledBack"]
    assert [d.weight for d in second.decisions] == [0, 10, 0, 0]
    look = second.decisions[2].evidence[0]
    assert (look.verdict, look.candidate.bad * 2, look.stable.total) == ("Fail", look.candidate.total, 900)
    assert [d.stage for d in third.decisions] == ["WarmUp", "Traffic(10)", "Traffic(50)", "Bake", "Bake"]
    assert all(e.verdict == "Pass" for d in third.decisions[2:4] for e in d.evidence)
    assert (third.stable, third.candidate) == (cluster.status.stable, cluster.status.stable)
    assert second.gates == cluster.spec.gates


def test_given_a_record_when_anything_in_it_is_changed_then_its_hash_no_longer_fits() -> None:
    cluster = serving()
    content = cluster.records[1]
    again = RolloutRecordSpec.model_validate(content.to_dict())
    assert record_hash(again) == content.hash
    assert record_hash(again.model_copy(update={"message": "all was well"})) != content.hash


def test_given_a_record_that_is_not_written_yet_when_a_version_is_asked_for_then_it_waits_for_the_record() -> None:
    cluster = releasing()
    cluster.ask("Abort")
    cluster.run(lambda: cluster.status.ending is not None and cluster.status.ending.drain_until is not None)
    cluster.pass_time(5)
    cluster.release("v3")
    while 2 not in cluster.records and cluster.status.candidate is not None:
        cluster.reconcile(fail_at=1)
    decision = cluster.reconcile(fail_at=0)
    assert decision.status.candidate is None
    assert decision.desired.record is not None
    settles(cluster)
    assert cluster.records[3].previous_hash == cluster.records[2].hash


def test_given_texts_and_counts_when_only_they_change_then_nothing_significant_does() -> None:
    cluster = releasing()
    cluster.pass_time(10)
    cluster.reconcile()
    before = significant(cluster.status)
    cluster.pass_time(10)
    after = cluster.reconcile().status
    assert after.gates[0].window_end == cluster.now
    assert significant(after) == before


def test_given_a_service_of_the_user_when_its_version_is_beyond_the_history_then_it_is_forgotten_not_deleted() -> None:
    cluster = serving(rollback={"keepFor": "60s", "historyLimit": 0})
    cluster.pools[V1] = Pool(V1, ready=1, external=True)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.stable is not None and cluster.status.stable.pool == V2)
    cluster.pools[V1] = Pool(V1, ready=1, external=True)
    cluster.pass_time(60)
    decision = decide(cluster.view, cluster.status, cluster.observe(), cluster.now)
    assert decision.desired.remove == ()
    assert decision.status.retained == []


def test_given_traffic_still_on_an_old_pool_when_its_time_is_over_then_it_keeps_its_pods() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.run(lambda: cluster.status.stable is not None and cluster.status.stable.pool == V2)
    cluster.pass_time(3600)
    obs = replace(cluster.observe(), route=Route({V1: 100}, accepted=True))
    kept = {p.pool: p.replicas for p in decide(cluster.view, cluster.status, obs, cluster.now).desired.pools}
    assert kept == {V2: 2, V1: 2}


@pytest.mark.parametrize(("granularity", "said"), [(1, None), (20, "20 %")])
def test_given_a_coarse_adapter_when_status_is_read_then_it_says_how_coarse(granularity: int, said: str | None) -> None:
    cluster = serving()
    obs = replace(cluster.observe(), route=replace(cluster.route, granularity=granularity))
    assert decide(cluster.view, cluster.status, obs, cluster.now).status.granularity == said


def test_given_a_service_switch_when_a_release_goes_up_then_pods_follow_the_ratio() -> None:
    cluster = serving(traffic={"service": {}}, replicas=4, strategy=canary(20, 50))
    cluster.release("v2")
    sizes: dict[str, int] = {}

    def done() -> bool:
        stage = cluster.status.stage
        if stage is not None and stage.evidence_from is not None:
            sizes[stage.name] = cluster.pools[V2].desired
        return cluster.status.candidate is None

    cluster.reconcile()
    cluster.run(done)
    assert sizes == {"Traffic(20)": 1, "Traffic(50)": 4, "Bake": 4}
    assert cluster.status.phase is Phase.PROMOTED


def test_given_equal_arguments_when_it_is_decided_twice_then_decisions_are_equal() -> None:
    cluster = releasing("Traffic(50)")
    arguments = (cluster.view, cluster.status, cluster.observe(), cluster.now)
    assert decide(*arguments) == decide(*arguments)


def test_given_every_status_of_a_release_when_it_is_stored_and_read_then_it_is_the_same() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.run(lambda: cluster.status.weight == 100)
    assert RolloutStatus.model_validate(cluster.status.to_dict()) == cluster.status
