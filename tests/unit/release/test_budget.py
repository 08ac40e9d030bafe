"""The error budget of the whole service: what freezes releases, what passes all the same, and not knowing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.properties.budgeted import Service
from tests.properties.cluster import Quality
from tests.properties.invariants import settles, watched
from tests.properties.specs import gate, make_spec
from tests.unit.release.scenario import conditions, do, judged, outcome
from weir.api.base import Condition
from weir.api.rolloutstatus import Phase
from weir.release.budget import FRESH
from weir.release.observation import Problem

BUDGET = {"objective": "0.999"}


def serving(**changes: Any) -> Service:
    """v1 serves all traffic of a service with a budget and a clean past."""
    cluster = Service(make_spec(**{"errorBudget": BUDGET, **changes}))
    watched(cluster)
    cluster.run()
    assert cluster.status.stable is not None
    return cluster


def releasing(stage: str = "Traffic(10)", **changes: Any) -> Service:
    """v2 is being released over v1, and gates are judged in that stage."""
    cluster = serving(**changes)
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, stage))
    return cluster


def told(cluster: Service) -> Condition:
    """The condition about the budget."""
    return conditions(cluster.status)["BudgetAvailable"]


def live(cluster: Service, turns: int) -> None:
    """So many turns of a healthy world, ten seconds each."""
    for _ in range(turns):
        cluster.pass_time(10)
        cluster.reconcile()
        cluster.all_ready()
        cluster.accept()


def pass_stage(cluster: Service, stage: str) -> None:
    """Lets time pass until the stage would be over, were it not for something in the way."""
    for _ in range(8):
        live(cluster, 1)
        if cluster.status.stage is None or cluster.status.stage.name != stage:
            return


# --- Freezing --------------------------------------------------------------------------------------------------------


def test_given_no_error_budget_when_releases_run_then_nothing_is_said_of_one() -> None:
    cluster = releasing(errorBudget=None)
    assert cluster.status.budget is None
    assert "BudgetAvailable" not in conditions(cluster.status)


def test_given_budget_left_when_a_version_is_released_then_it_goes_through() -> None:
    cluster = serving()
    cluster.spend(0.5)
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert told(cluster).status == "True"
    assert cluster.status.budget is not None
    assert cluster.status.budget.spent == Decimal("0.5")
    assert cluster.status.budget.burn_rates == ["5m=0.5", "30m=0.5", "1h=0.5", "6h=0.5", "3d=0.5"]
    settles(cluster)


def test_given_a_spent_budget_when_a_version_is_named_then_no_release_starts_until_it_recovers() -> None:
    cluster = serving()
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    assert cluster.status.candidate is None
    assert cluster.status.release == 1
    assert cluster.status.phase is Phase.PENDING
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "ErrorBudgetSpent"
    assert "120 % of the error budget of 720h is spent" in cluster.status.hold.message
    assert told(cluster).status == "False"
    assert cluster.status.budget is not None
    assert cluster.status.budget.frozen
    cluster.spend(0.9)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert told(cluster).status == "True"


def test_given_a_frozen_idle_rollout_when_readings_drift_then_nothing_is_written_and_the_hold_keeps_its_start() -> None:
    cluster = serving()
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    status = cluster.status
    for share in (1.201, 1.204, 1.198):
        cluster.spend(share)
        cluster.pass_time(30)
        decision = cluster.reconcile()
        assert not cluster.writes(decision)
        assert decision.status == status
    cluster.spend(1.25)
    assert cluster.reconcile().status.budget != status.budget


def test_given_a_fix_while_the_budget_is_spent_when_a_person_promotes_it_then_it_is_released_at_once() -> None:
    cluster = serving()
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    uid = cluster.ask("Promote")
    cluster.run(lambda: cluster.status.candidate is None and cluster.status.release == 2)
    assert cluster.results[uid].startswith("Succeeded")
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.records[2].requested_by == "somebody"


def test_given_a_promotion_asked_for_while_frozen_when_another_version_is_wanted_by_then_then_it_is_refused() -> None:
    cluster = serving()
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    seen = cluster.target_of("v2").digest
    cluster.release("v3")
    cluster.run()
    wanted = cluster.target_of("v3").digest

    assert f"expected candidate {seen}" in do(cluster, "Promote", expect={"release": 1, "candidate": seen})
    told = do(cluster, "Promote", expect={"release": 1})

    assert told.startswith("Refused: release 1 was of label-v1, but label-v3 is the version that is wanted now")
    assert cluster.status.candidate is None
    assert do(cluster, "Promote", expect={"release": 1, "candidate": wanted}).startswith("Succeeded")


def test_given_nothing_to_release_when_a_person_promotes_then_it_is_refused_frozen_or_not() -> None:
    cluster = serving()
    cluster.spend(1.2)
    uid = cluster.ask("Promote")
    cluster.run()
    assert cluster.results[uid].startswith("Refused")


def test_given_a_failed_version_while_frozen_when_a_person_retries_then_it_starts_and_waits_before_traffic() -> None:
    cluster = releasing()
    cluster.quality["v2"] = Quality.BAD
    cluster.run(lambda: cluster.status.candidate is None)
    cluster.quality.clear()
    cluster.run()
    cluster.spend(1.2)
    cluster.ask("Retry")
    live(cluster, 20)
    assert cluster.status.release == 3
    assert cluster.status.candidate is not None
    assert cluster.status.weight == 0
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "ErrorBudgetSpent"


def test_given_a_failed_version_while_frozen_and_paused_when_a_person_retries_then_it_waits_for_both() -> None:
    cluster = releasing()
    cluster.quality["v2"] = Quality.BAD
    cluster.run(lambda: cluster.status.candidate is None)
    cluster.quality.clear()
    cluster.run()
    cluster.spend(1.2)
    cluster.ask("Pause")
    live(cluster, 2)
    cluster.ask("Retry")
    live(cluster, 5)
    assert cluster.status.candidate is None
    cluster.ask("Resume")
    live(cluster, 5)
    assert cluster.status.candidate is None
    assert cluster.status.hold is not None
    cluster.spend(0.5)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_release_that_warms_up_when_the_budget_goes_then_it_gets_no_traffic_and_no_deadline() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.spend(1.2)
    live(cluster, 100)
    assert cluster.status.candidate is not None
    assert cluster.status.ending is None
    assert cluster.status.weight == 0
    assert cluster.status.deadline is None
    cluster.spend(0.5)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


@pytest.mark.parametrize("stage", ["Traffic(10)", "Traffic(50)", "Bake"])
def test_given_a_stage_that_is_passed_when_the_budget_is_spent_then_the_release_stays_there(stage: str) -> None:
    cluster = releasing(stage)
    cluster.spend(1.2)
    pass_stage(cluster, stage)
    assert judged(cluster.status, stage)
    assert cluster.status.verdict == "Pass"
    assert cluster.status.phase is Phase.HELD
    assert cluster.status.hold is not None
    since = cluster.status.hold.since
    cluster.pass_time(10)
    cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.since == since
    cluster.spend(0.5)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_frozen_release_when_a_gate_fails_then_it_is_rolled_back_all_the_same() -> None:
    cluster = releasing("Traffic(50)")
    cluster.spend(1.2)
    pass_stage(cluster, "Traffic(50)")
    cluster.quality["v2"] = Quality.BAD
    cluster.pass_time(10)
    assert cluster.reconcile().status.weight == 0
    cluster.run()
    assert outcome(cluster) == ("RolledBack", "GateFailed")


def test_given_a_frozen_release_when_a_gate_waits_too_long_then_its_policy_rolls_back_all_the_same() -> None:
    cluster = releasing(gates=[gate(onNoData="Rollback", onInsufficient="Rollback")])
    cluster.quality["v2"] = Quality.SILENT
    cluster.spend(1.2)
    cluster.run(lambda: cluster.status.candidate is None)
    assert outcome(cluster)[0] == "RolledBack"


def test_given_a_frozen_release_when_a_person_promotes_it_then_it_goes_on() -> None:
    cluster = releasing()
    cluster.spend(1.2)
    pass_stage(cluster, "Traffic(10)")
    cluster.ask("Promote")
    cluster.run(lambda: cluster.status.candidate is None)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_ramp_when_the_budget_is_spent_then_its_weight_does_not_rise() -> None:
    ramp = {"ramp": {"riskBudget": 100_000, "minDwell": "10s", "minWeight": 5}, "bake": "30s"}
    gates = [{"name": "errors", "template": "http-errors"}]
    strategy = {"canary": ramp}
    frozen, free = (releasing("Ramp", strategy=strategy, gates=gates) for _ in range(2))
    begun = frozen.status.weight
    assert begun == free.status.weight > 0
    frozen.spend(1.2)
    for cluster in (frozen, free):
        live(cluster, 30)
    assert frozen.status.weight == begun
    assert free.status.weight > begun or free.status.candidate is None


def test_given_the_very_first_version_when_the_budget_cannot_be_read_then_it_is_released_all_the_same() -> None:
    cluster = Service(make_spec(errorBudget=BUDGET))
    watched(cluster)
    cluster.fail("there is no such metric", ever=False)
    cluster.run()
    assert cluster.status.stable is not None
    assert told(cluster).status == "Unknown"


def test_given_only_a_warning_when_the_budget_is_spent_then_releases_go_on_and_the_condition_says_so() -> None:
    cluster = serving(errorBudget={**BUDGET, "onSpent": "Warn"})
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert told(cluster).status == "False"
    assert cluster.status.budget is not None
    assert not cluster.status.budget.frozen


def test_given_a_frozen_rollout_when_its_error_budget_is_removed_then_it_goes_on_and_the_condition_goes() -> None:
    cluster = serving()
    cluster.spend(1.2)
    cluster.release("v2")
    cluster.run()
    assert cluster.status.candidate is None
    cluster.spec = cluster.spec.model_copy(update={"error_budget": None})
    cluster.generation += 1
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.status.budget is None
    assert "BudgetAvailable" not in conditions(cluster.status)


# --- Not knowing -----------------------------------------------------------------------------------------------------


def test_given_a_budget_that_was_never_readable_when_a_version_is_named_then_it_waits_and_says_what_to_do() -> None:
    cluster = serving()
    cluster.fail("Prometheus x has no http_requests_total: check spec.metrics.names", ever=False)
    cluster.restart()
    cluster.fail("Prometheus x has no http_requests_total: check spec.metrics.names", ever=False)
    cluster.pass_time(2 * FRESH)
    cluster.release("v2")
    cluster.run()
    assert cluster.status.candidate is None
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "BudgetUnknown"
    assert "check spec.metrics.names" in cluster.status.hold.message
    assert (told(cluster).status, told(cluster).reason) == ("Unknown", "BudgetUnknown")


def test_given_a_prometheus_that_stays_away_when_a_release_runs_then_it_is_held_and_goes_on_by_itself() -> None:
    cluster = releasing()
    cluster.fail("Prometheus x cannot be reached: refused")
    cluster.pass_time(FRESH + 1)
    pass_stage(cluster, "Traffic(10)")
    assert judged(cluster.status, "Traffic(10)")
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "BudgetUnknown"
    assert "refused" in cluster.status.hold.message
    cluster.answer()
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_short_gap_of_prometheus_when_a_release_runs_then_it_is_not_held() -> None:
    cluster = releasing()
    cluster.fail("Prometheus x cannot be reached: refused")
    pass_stage(cluster, "Traffic(10)")
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(50)"
    assert told(cluster).status == "True"


def test_given_an_idle_rollout_when_its_budget_stops_burning_then_that_is_written_though_little_more_is_spent() -> None:
    cluster = serving()
    cluster.bad, cluster.recent = 500.0, dict.fromkeys((300.0, 1800.0, 3600.0, 21600.0, 259200.0), 1100.0)
    cluster.run()
    assert cluster.status.budget is not None
    assert cluster.status.budget.burning
    cluster.pass_time(30)
    cluster.spend(0.5)
    cluster.run()
    assert cluster.status.budget is not None
    assert not cluster.status.budget.burning
    settles(cluster)


@pytest.mark.parametrize("share", [0.5, 1.2])
def test_given_a_restart_of_an_idle_operator_when_nothing_was_read_yet_then_nothing_is_written(share: float) -> None:
    cluster = serving()
    cluster.spend(share)
    cluster.run()
    before = cluster.picture()
    cluster.pass_time(5000)
    cluster.restart()
    assert not cluster.writes(cluster.reconcile())
    cluster.answer()
    assert not cluster.writes(cluster.reconcile())
    assert cluster.picture()[0] == before[0]


def test_given_a_restart_long_after_the_last_reading_when_a_version_is_named_then_it_waits_for_the_next() -> None:
    cluster = serving()
    cluster.pass_time(5000)
    cluster.restart()
    cluster.release("v2")
    cluster.run()
    assert cluster.status.candidate is None
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "BudgetUnknown"
    cluster.answer()
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_restart_amid_a_frozen_release_when_nothing_was_read_yet_then_it_stays_frozen() -> None:
    cluster = releasing()
    cluster.spend(1.2)
    pass_stage(cluster, "Traffic(10)")
    cluster.reconcile()
    cluster.restart()
    cluster.pass_time(10)
    cluster.reconcile()
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    assert told(cluster).status == "False"


def test_given_problems_of_both_kinds_when_a_release_is_held_then_the_cluster_comes_first() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.spend(1.2)
    cluster.blockers = (Problem("RouteMissing", "there is no route"),)
    cluster.reconcile()
    assert cluster.status.hold is not None
    assert cluster.status.hold.reason == "RouteMissing"
