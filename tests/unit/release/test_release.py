"""Whole releases: how they go up, how they come back, and what stays behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.properties.cluster import Quality
from tests.properties.invariants import settles
from tests.properties.specs import blue_green, canary, gate
from tests.unit.release.scenario import conditions, fresh, outcome, releasing, serving, trail
from weir.api.rolloutstatus import Outcome, Phase
from weir.release.observation import Problem
from weir.release.traffic import ENDPOINTS_SETTLE

V1, V2, V3 = "demo-v1.0", "demo-v2.0", "demo-v3.0"


def test_given_a_good_candidate_when_it_is_released_then_every_step_is_taken_in_order_and_it_becomes_stable() -> None:
    cluster = serving(strategy=canary(10, 25, 50))
    seen = trail(cluster)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.candidate is None and cluster.status.release == 2)
    assert list(dict.fromkeys(weight for _, weight in seen[:-1])) == [0, 10, 25, 50, 100]
    assert list(dict.fromkeys(s for s, _ in seen)) == [
        "WarmUp",
        "Traffic(10)",
        "Traffic(25)",
        "Traffic(50)",
        "Bake",
        "",
    ]
    assert cluster.status.phase is Phase.PROMOTED
    assert cluster.status.stable is not None
    assert cluster.status.stable.pool == V2
    assert cluster.route.weights == {V2: 100}
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_promotion_when_it_is_done_then_no_pod_is_made_anew_and_the_old_version_goes_by_and_by() -> None:
    cluster = serving(rollback={"keepFor": "60s", "drain": "5s", "historyLimit": 0})
    cluster.release("v2")
    cluster.run(lambda: cluster.status.stable is not None and cluster.status.stable.pool == V2)
    promoted_at = cluster.now
    cluster.reconcile()
    assert set(cluster.pools) == {V1, V2}
    assert cluster.pools[V1].desired == 2
    cluster.pass_time(59)
    cluster.reconcile()
    assert cluster.pools[V1].desired == 2
    cluster.pass_time(1)
    cluster.reconcile()
    assert cluster.now == promoted_at + 60
    assert cluster.pools[V1].desired == 0
    settles(cluster)
    assert set(cluster.pools) == {V2}
    assert cluster.status.retained == []


def test_given_a_history_limit_when_versions_come_and_go_then_that_many_stay_at_zero_pods() -> None:
    cluster = serving()
    for version in ("v2", "v3"):
        cluster.release(version)
        cluster.run()
    assert {name: pool.desired for name, pool in cluster.pools.items()} == {V2: 0, V3: 2}


def test_given_a_bad_candidate_when_its_window_is_seen_then_the_weight_is_zero_in_the_same_decision() -> None:
    cluster = releasing("Traffic(50)")
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    decision = cluster.reconcile()
    assert decision.status.weight == 0
    assert decision.status.ending is not None
    assert decision.status.ending.reason == "GateFailed"
    assert cluster.route.weights == {V1: 100, V2: 0}
    assert cluster.pools[V2].desired == 1


def test_given_a_bad_candidate_when_it_is_rolled_back_then_it_drains_before_its_pods_go() -> None:
    cluster = releasing()
    cluster.quality["v2"] = Quality.BAD
    cluster.run(lambda: cluster.status.ending is not None and cluster.status.ending.drain_until is not None)
    assert cluster.served == {V1: 100, V2: 0}
    cluster.pass_time(4.9)
    cluster.reconcile()
    assert cluster.pools[V2].desired == 1
    cluster.pass_time(0.1)
    cluster.reconcile()
    assert cluster.pools[V2].desired == 0
    assert cluster.status.phase is Phase.ROLLED_BACK
    assert outcome(cluster) == ("RolledBack", "GateFailed")
    settles(cluster)


def test_given_blue_green_when_the_candidate_is_good_then_it_is_judged_at_full_size_before_one_switch() -> None:
    cluster = serving(strategy=blue_green(), gates=[gate(), gate("ratio", max=None)])
    seen = trail(cluster)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.stage is not None and cluster.status.stage.name == "Preview")
    assert cluster.reconcile().desired.preview == V2
    assert cluster.pools[V2].ready == 2
    cluster.run(lambda: cluster.status.candidate is None)
    assert seen == [("WarmUp", 0), ("Preview", 0), ("Bake", 100), ("", 0)]
    assert cluster.status.phase is Phase.PROMOTED


@pytest.mark.parametrize(("stage", "weight"), [("Preview", 0), ("Bake", 100)])
def test_given_blue_green_when_the_candidate_is_bad_then_stable_serves_at_once(stage: str, weight: int) -> None:
    cluster = releasing(stage, strategy=blue_green())
    assert cluster.status.weight == weight
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    assert cluster.reconcile().status.weight == 0
    assert {pool: w for pool, w in cluster.route.weights.items() if w} == {V1: 100}
    cluster.run()
    assert outcome(cluster) == ("RolledBack", "GateFailed")


def test_given_no_stable_version_when_pods_are_not_ready_then_nothing_is_routed() -> None:
    cluster = fresh()
    cluster.reconcile()
    assert cluster.route.weights == {}
    cluster.ready(V1, 1)
    cluster.reconcile()
    cluster.warm()
    cluster.reconcile()
    assert cluster.route.weights == {}
    cluster.ready(V1, 2)
    cluster.reconcile()
    assert cluster.route.weights == {V1: 100}
    cluster.accept()
    assert cluster.reconcile().status.phase is Phase.PROMOTED


def test_given_a_first_version_that_is_superseded_when_the_next_takes_over_then_it_kept_its_pods_until_then() -> None:
    cluster = fresh()
    cluster.reconcile()
    cluster.all_ready()
    cluster.reconcile()
    assert cluster.route.weights == {V1: 100}
    cluster.release("v2")
    cluster.run(
        lambda: (
            cluster.status.stage is not None
            and cluster.status.candidate is not None
            and cluster.status.candidate.pool == V2
        )
    )
    assert cluster.route.weights == {V1: 100}
    assert cluster.pools[V1].desired == 2
    settles(cluster)
    assert cluster.served == {V2: 100}
    assert cluster.pools[V1].desired == 0


def test_given_a_running_release_when_another_version_is_asked_for_then_the_first_is_put_back_before_it_starts() -> (
    None
):
    cluster = releasing("Traffic(50)")
    cluster.release("v3")
    decision = cluster.reconcile()
    assert decision.status.ending is not None
    assert (decision.status.ending.outcome, decision.status.weight) == (Outcome.SUPERSEDED, 0)
    settles(cluster)
    assert outcome(cluster, 2) == ("Superseded", "Superseded")
    assert outcome(cluster, 3) == ("Promoted", "Promoted")
    assert cluster.status.failed == []


def test_given_a_running_release_when_the_spec_goes_back_to_stable_then_nothing_is_judged_and_all_is_well() -> None:
    cluster = releasing("Traffic(50)")
    cluster.release("v1")
    cluster.reconcile()
    assert cluster.route.weights[V2] == 0
    settles(cluster)
    assert outcome(cluster) == ("Reverted", "Reverted")
    assert cluster.status.phase is Phase.PROMOTED
    assert conditions(cluster.status)["Ready"].status == "True"


def test_given_a_reverted_candidate_when_it_is_asked_for_again_then_it_is_released_without_a_retry() -> None:
    cluster = releasing()
    cluster.release("v1")
    cluster.run()
    cluster.release("v2")
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_a_failed_candidate_when_labels_generation_and_operator_change_then_it_is_not_tried_again() -> None:
    cluster = releasing()
    cluster.ask("Abort")
    cluster.run()
    assert outcome(cluster) == ("Aborted", "Aborted")
    for _ in range(5):
        cluster.generation += 1
        cluster.restart()
        cluster.pass_time(3600)
        cluster.run()
    cluster.release("v1")
    cluster.run()
    cluster.release("v2")
    settles(cluster)
    assert cluster.status.release == 2
    assert cluster.status.phase is Phase.ROLLED_BACK


def test_given_a_failed_candidate_when_a_retry_is_asked_for_then_a_new_release_begins_with_nothing_counted() -> None:
    cluster = releasing()
    cluster.quality["v2"] = Quality.BAD
    cluster.run()
    cluster.quality["v2"] = Quality.GOOD
    uid = cluster.ask("Retry")
    cluster.reconcile()
    assert cluster.results[uid].startswith("Succeeded")
    assert (cluster.status.release, cluster.status.gates) == (3, [])
    settles(cluster)
    assert cluster.served == {V2: 100}
    assert [str(h.outcome) for h in cluster.status.history] == ["Promoted", "RolledBack", "Promoted"]


def test_given_pods_that_never_become_ready_when_the_deadline_passes_then_no_request_ever_went_there() -> None:
    cluster = serving()
    cluster.release("v2")
    seen = trail(cluster)
    for _ in range(40):
        cluster.reconcile()
        cluster.pass_time(10)
    assert outcome(cluster) == ("RolledBack", "ProgressDeadlineExceeded")
    assert {weight for _, weight in seen} == {0}
    assert cluster.events.count("ProgressDeadlineExceeded") == 1
    assert cluster.route.weights == {V1: 100}


def test_given_a_deadline_when_half_of_it_is_over_then_nothing_is_rolled_back_yet() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.pass_time(299.9)
    assert cluster.reconcile().status.ending is None
    cluster.pass_time(0.1)
    assert cluster.reconcile().status.ending is not None


def test_given_lost_pods_when_the_candidate_carries_less_then_its_share_goes_down_and_comes_back() -> None:
    cluster = releasing("Traffic(50)", replicas=4, strategy=canary(50))
    cluster.ready(V2, 1)
    decision = cluster.reconcile()
    assert decision.status.weight == 25
    assert decision.status.stage is not None
    assert decision.status.stage.evidence_from is None
    cluster.ready(V2, 0)
    assert cluster.reconcile().status.weight == 0
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_a_stable_without_pods_when_the_release_is_aborted_then_traffic_goes_back_as_stable_can_carry_it() -> (
    None
):
    cluster = releasing("Bake")
    cluster.ready(V1, 0)
    cluster.ask("Abort")
    assert cluster.reconcile().status.weight == 100
    cluster.ready(V1, 1)
    assert cluster.reconcile().status.weight == 50
    cluster.ready(V1, 2)
    assert cluster.reconcile().status.weight == 0


def test_given_an_unhealthy_stable_when_the_policy_is_hold_then_the_release_waits() -> None:
    cluster = releasing("Traffic(50)")
    cluster.ready(V1, 0)
    for _ in range(10):
        cluster.pass_time(10)
        cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "StableUnhealthy"
    assert cluster.status.phase is Phase.HELD
    assert conditions(cluster.status)["Stalled"].reason == "StableUnhealthy"
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_an_unhealthy_stable_when_the_policy_is_fix_forward_then_absolute_bounds_are_enough() -> None:
    gates = [gate(), gate("ratio", max=None)]
    cluster = releasing("Traffic(50)", gates=gates, rollback={"onStableUnhealthy": "FixForward"})
    cluster.ready(V1, 0)
    cluster.pass_time(31)
    cluster.reconcile()
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Bake"


@pytest.mark.parametrize("stage", ["WarmUp", "Traffic(10)", "Traffic(50)", "Bake", "Ending", "Promoted"])
def test_given_any_phase_when_the_rollout_is_deleted_then_stable_serves_then_it_is_recorded_then_gone(
    stage: str,
) -> None:
    cluster = serving() if stage in ("WarmUp", "Promoted") else releasing("Traffic(10)" if stage == "Ending" else stage)
    if stage == "WarmUp":
        cluster.release("v2")
        cluster.reconcile()
    if stage == "Ending":
        cluster.ask("Abort")
        cluster.reconcile()
    cluster.deleting = True
    order = []
    for _ in range(20):
        cluster.reconcile()
        order.append((cluster.route.weights.get(V2, 0), len(cluster.records), cluster.finalizer))
        if cluster.gone:
            break
        cluster.accept()
        cluster.pass_time(5)
    assert cluster.gone
    assert order[0][0] == 0
    expected = {"Promoted": ("Promoted", "Promoted"), "Ending": ("Aborted", "Aborted")}
    assert outcome(cluster) == expected.get(stage, ("Deleted", "RolloutDeleted"))
    assert all(recorded == cluster.status.release for _, recorded, finalizer in order if not finalizer)


@pytest.mark.parametrize("stage", ["WarmUp", "Traffic(50)"])
def test_given_a_running_release_when_its_version_is_deleted_then_it_holds_and_recovers_by_itself(stage: str) -> None:
    cluster = serving() if stage == "WarmUp" else releasing(stage)
    cluster.release("v2")
    cluster.reconcile()
    cluster.versions -= {"v2"}
    cluster.pass_time(31)
    cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "ModelVersionNotFound"
    assert conditions(cluster.status)["Stalled"].reason == "ModelVersionNotFound"
    cluster.versions |= {"v2"}
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_an_unknown_version_when_it_is_asked_for_then_stable_goes_on_and_the_condition_says_why() -> None:
    cluster = serving()
    cluster.release("v9")
    cluster.run()
    assert cluster.status.release == 1
    assert conditions(cluster.status)["Ready"].reason == "ModelVersionNotFound"
    assert conditions(cluster.status)["Stalled"].status == "True"
    assert cluster.served == {V1: 100}


def test_given_a_shorter_plan_when_a_release_is_far_ahead_in_it_then_it_goes_on_with_no_more_than_it_has() -> None:
    cluster = releasing("Traffic(50)", strategy=canary(10, 25, 50))
    cluster.edit(strategy=canary(10))
    decision = cluster.reconcile()
    assert decision.status.stage is not None
    assert (decision.status.stage.name, decision.status.weight) == ("Traffic(10)", 10)
    assert decision.status.stage.evidence_from is None
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_a_plan_with_another_step_when_it_is_edited_then_no_greater_share_is_given_without_a_pass() -> None:
    cluster = releasing("Traffic(10)", strategy=canary(10, 50))
    cluster.edit(strategy=canary(5, 25))
    decision = cluster.reconcile()
    assert decision.status.stage is not None
    assert (decision.status.stage.name, decision.status.weight) == ("Traffic(5)", 5)


def test_given_blockers_when_a_release_starts_then_nothing_of_it_exists_and_the_route_does_not_name_it() -> None:
    cluster = serving()
    cluster.blockers = (Problem("GatewayNotFound", "there is no gateway", terminal=True),)
    cluster.release("v2")
    cluster.pass_time(10_000)
    decision = cluster.reconcile()
    assert decision.status.phase is Phase.PREFLIGHT
    assert conditions(decision.status)["Stalled"].reason == "GatewayNotFound"
    assert set(cluster.pools) == {V1}
    assert cluster.route.weights == {V1: 100}
    cluster.blockers = ()
    settles(cluster)
    assert cluster.served == {V2: 100}


def test_given_pods_that_just_became_ready_when_they_are_warm_then_the_gateway_gets_time_to_learn_of_them() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.reconcile()
    cluster.all_ready()
    ready_at = cluster.now
    cluster.pools[V2] = replace(cluster.pools[V2], ready_since=ready_at)

    decision = cluster.reconcile()

    assert cluster.status.weight == 0
    assert decision.wake_at == ready_at + ENDPOINTS_SETTLE
    cluster.pass_time(ENDPOINTS_SETTLE)
    cluster.reconcile()
    assert cluster.status.weight == 10
