"""How much traffic unproven versions may have, at once and in a window."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.agent.ledgerworld import World, condition, permits, releasing, rollout, spec_of
from weir.agent.exploration import used
from weir.agent.observation import RolloutFacts
from weir.api.action import Ceiling
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import FailedRevision, GateStatus, StageStatus, Verdict

BOUNDS = {"maxTrafficPercent": 60, "maxShareHours": "0.5", "window": "24h"}
LOOSE = permits(promote={"approval": {}}, shift={"bounds": None})


def share_hours(world: World) -> Decimal:
    assert world.status.exploration is not None
    return round(used(world.status.exploration, world.now), 4)


def test_given_candidates_then_their_share_hours_add_up_and_nothing_is_written_while_the_share_stays() -> None:
    world = World(spec_of(exploration=BOUNDS), releasing("a"), releasing("b", weight=30), rollout("c"))
    world.look()
    first = world.status
    assert first.exploration is not None
    assert first.exploration.percent == 40

    world.wait("30m")
    world.look()
    assert world.status == first
    assert share_hours(world) == Decimal("0.2")
    world.set("b", weight=60)
    world.look()
    world.wait("15m")

    assert share_hours(world) == Decimal("0.375")


def test_given_a_version_that_is_put_back_then_it_is_not_exploration() -> None:
    world = World(spec_of(exploration=BOUNDS), releasing(restoring=True))
    world.look()

    assert world.status.exploration is None


def test_given_used_up_share_hours_then_more_traffic_waits_for_the_next_window_and_less_does_not() -> None:
    world = World(spec_of(exploration=BOUNDS, permits=LOOSE), releasing(weight=50))
    world.look()
    world.wait("59m")
    early = world.ask("go-on")
    world.look()
    assert world.standing(early) == "Granted"
    world.execute()

    world.wait("1m")
    late, less = world.ask("go-on", expiresAfter="24h"), world.ask("shift", weight=10)
    world.look()

    assert (world.standing(late), world.standing(less)) == ("Exploration", "Granted")
    waiting = world.waiting(late)
    assert waiting is not None
    assert waiting.until is not None
    assert waiting.until % 86400 == 0
    world.execute()
    world.look()
    world.wait(waiting.until - world.now)
    world.look()
    assert world.standing(late) == "Granted"


def test_given_a_new_window_then_what_ran_over_its_begin_counts_from_there() -> None:
    world = World(spec_of(exploration={**BOUNDS, "window": "1h"}), releasing(weight=40))
    world.look()
    begins = world.status.exploration.since  # type: ignore[union-attr]

    world.wait(begins + 3600 + 900 - world.now)
    world.look()

    assert share_hours(world) == Decimal("0.1")


def test_given_no_candidate_any_more_and_a_new_window_then_what_was_used_counts_no_more_and_nothing_is_written() -> (
    None
):
    world = World(spec_of(exploration={**BOUNDS, "maxShareHours": "0.05", "window": "1h"}), releasing(weight=60))
    world.look()
    world.wait("6m")
    world.finish()
    decision = world.look()
    before = world.status
    assert share_hours(world) == Decimal("0.06")
    assert decision.wake_at is None

    world.wait("1h")
    world.look()
    assert world.status == before
    uid = world.ask("release")
    world.look()

    assert world.standing(uid) == "Granted"


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_given_an_slo_that_burns_or_is_not_known_anywhere_then_nothing_is_explored(status: str) -> None:
    world = World(
        spec_of(exploration=BOUNDS, selector={"names": ["a", "b"]}), releasing("a"), rollout("b"), rollout("c")
    )
    world.set("c", conditions=[condition("BudgetAvailable", "False")])
    fine = world.ask("go-on", on="a")
    world.run()
    assert world.requests[fine].phase == "Succeeded"

    world.set("b", conditions=[condition("BudgetAvailable", status)])
    uid = world.ask("go-on", on="a")
    world.look()

    assert world.standing(uid) == "ErrorBudget"
    world.set("b", conditions=[condition("BudgetAvailable", "True")])
    world.look()
    assert world.standing(uid) == "Granted"


def test_given_a_candidate_whose_gates_all_pass_then_its_promotion_is_no_exploration() -> None:
    world = World(spec_of(exploration=BOUNDS, permits=LOOSE))
    world.set(
        gates=[GateStatus(name="errors", verdict=Verdict.PASS), GateStatus(name="speed", verdict=Verdict.INSUFFICIENT)]
    )
    early = world.ask("promote")
    world.look()
    assert world.standing(early) == "!Exploration"

    world.set(gates=[GateStatus(name="errors", verdict=Verdict.PASS)])
    late = world.ask("promote")
    world.look()

    assert world.standing(late) == "Granted"


STEPS: dict[str, Any] = {"canary": {"steps": [{"weight": 10}, {"weight": 80}]}}
RAMP: dict[str, Any] = {"canary": {"ramp": {"riskBudget": 100, "minWeight": 20}}}
BLUE_GREEN: dict[str, Any] = {"blueGreen": {}}
PASSED = [GateStatus(name="errors", verdict=Verdict.PASS)]


def planned(facts: RolloutFacts, strategy: dict[str, Any]) -> RolloutFacts:
    """The same Rollout under another strategy."""
    return replace(facts, spec=RolloutSpec.model_validate({**facts.spec.to_dict(), "strategy": strategy}))


def explored(facts: RolloutFacts, permit: str, most: int) -> tuple[str, str]:
    """Where an action stands that leads to a share of traffic, and why."""
    again = {"name": "again", "action": "Retry"}
    world = World(spec_of(exploration={"maxTrafficPercent": most}, permits=[*permits(), again]), facts)
    uid = world.ask(permit)
    world.look()
    return world.standing(uid), world.message(uid)


@pytest.mark.parametrize(
    ("strategy", "status", "given"),
    [
        (STEPS, {}, 80),
        (STEPS, {"stage": StageStatus(index=1, name="Traffic(80)", weight=80, started_at=0.0), "weight": 80}, 100),
        (STEPS, {"stage": StageStatus(index=2, name="Bake", weight=100, started_at=0.0), "weight": 100}, 100),
        (STEPS, {"ceiling": Ceiling(weight=15, since=0.0, by="ada")}, 15),
        (STEPS, {"gates": PASSED}, 10),
        (RAMP, {}, 100),
        (BLUE_GREEN, {"stage": StageStatus(index=0, name="Preview", weight=0, started_at=0.0), "weight": 0}, 100),
    ],
)
def test_given_a_stage_that_is_skipped_then_the_share_of_the_next_one_is_explored(
    strategy: dict[str, Any], status: dict[str, Any], given: int
) -> None:
    facts = planned(releasing(**status), strategy)

    told = f"a version that has not proven itself gets at most {given - 1} %, not {given} %"
    assert explored(facts, "skip", given - 1) == ("!Exploration", told)
    assert explored(facts, "skip", given) == ("Granted", "")


@pytest.mark.parametrize("permit", ["release", "again"])
@pytest.mark.parametrize(
    ("strategy", "status", "given"),
    [
        (STEPS, {}, 10),
        (STEPS, {"gates": PASSED}, 10),
        (RAMP, {}, 20),
    ],
)
def test_given_a_release_that_begins_then_the_share_of_its_first_stage_is_explored(
    permit: str, strategy: dict[str, Any], status: dict[str, Any], given: int
) -> None:
    failed = FailedRevision(revision="r1", version="v1", release=1, reason="GateFailed", message="m")
    facts = planned(rollout(failed=[failed], **status), strategy)

    told = f"a version that has not proven itself gets at most {given - 1} %, not {given} %"
    assert explored(facts, permit, given - 1) == ("!Exploration", told)
    assert explored(facts, permit, given) == ("Granted", "")


def test_given_no_version_that_serves_then_a_retry_would_explore_with_all_traffic() -> None:
    failed = FailedRevision(revision="r1", version="v1", release=1, reason="GateFailed", message="m")
    facts = planned(rollout(failed=[failed], stable=None), STEPS)

    assert explored(facts, "again", 99)[0] == "!Exploration"
    assert explored(facts, "again", 100)[0] == "Granted"


def test_given_a_preview_then_a_release_that_begins_explores_nothing() -> None:
    assert explored(planned(rollout(), BLUE_GREEN), "release", 0) == ("Granted", "")


def test_given_no_exploration_any_more_then_its_count_is_dropped() -> None:
    world = World(spec_of(exploration=BOUNDS))
    world.look()
    world.edit(spec_of())
    world.look()

    assert world.status.exploration is None
