"""What is remembered of executed actions, and what it means for the next ones."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.ledgerworld import OTHER, World, condition, permits, releasing, rollout, spec_of
from tests.unit.agent.planning import NOW
from weir.agent.damping import moved, penalty, reused_at
from weir.agent.ledger import MOST_BLOCKED, cooldown_of
from weir.api.agentpermit import Cooldown
from weir.api.agentpolicy import Damping
from weir.api.agentstatus import Blocked, Past, Target
from weir.api.rolloutstatus import Outcome


def released(world: World, outcome: Outcome | None = None) -> str:
    """An agent releases, and after a minute the release ends."""
    uid = world.ask("release", on="ranker")
    world.run()
    assert world.requests[uid].phase == "Succeeded"
    if outcome is not None:
        world.wait("1m")
        world.finish(outcome=outcome)
        world.look()
    return uid


def until(world: World, reason: str) -> float | None:
    """How many seconds from now the ranker is blocked for that reason."""
    found = [entry.until for entry in world.status.blocked if entry.reason == reason]
    return round(found[0] - world.now, 3) if found else None


def test_given_an_executed_action_then_it_is_remembered_with_the_state_before_it() -> None:
    world = World()
    world.ask("skip")
    world.run()

    (past,) = world.status.last
    assert (past.name, past.permit, past.action, past.phase, past.state, past.outcome) == (
        "skip-2833333-0", "skip", "Skip", "Succeeded", "7/Traffic(10)/10", "",
    )  # fmt: skip
    assert world.status.granted == []


def test_given_an_action_that_was_refused_at_execution_then_nothing_is_remembered() -> None:
    world = World(spec_of(), rollout())
    uid = world.ask("stop")
    world.run()

    assert world.requests[uid].phase == "Refused"
    assert world.status.last == []
    assert world.status.granted == []


def test_given_a_cooldown_then_the_action_waits_for_it_on_that_rollout_alone() -> None:
    world = World(spec_of(), rollout(), rollout("other"))
    released(world, Outcome.PROMOTED)
    assert until(world, "Cooldown") == 540
    assert world.look().wake_at == world.now + 540

    again, elsewhere = world.ask("release"), world.ask("release", on="other")
    decision = world.look()

    assert (world.standing(again), world.standing(elsewhere)) == ("Cooldown", "Granted")
    assert world.waiting(again).until == world.now + 540  # type: ignore[union-attr]
    assert decision.wake_at is not None
    assert decision.wake_at <= world.now + 540
    world.wait("9m")
    world.look()
    assert world.standing(again) == "Granted"
    assert not [entry for entry in world.status.blocked if entry.rollout == "ranker"]


def test_given_failures_in_a_row_then_the_cooldown_doubles_up_to_its_maximum_and_success_resets_it() -> None:
    world, lengths = World(spec_of(), rollout()), []
    for _ in range(4):
        released(world, Outcome.ROLLED_BACK)
        lengths.append(until(world, "Cooldown"))
        world.wait(3700.0)
        world.look()
    assert lengths == [1200, 2400, 3600, 3600]
    assert [(past.outcome, past.action) for past in world.status.last] == [("Bad", "Release")] * 4
    assert world.status.targets[0].failures[0].count == 4

    released(world, Outcome.PROMOTED)

    assert world.status.targets[0].failures == []
    world.wait(3700.0)
    released(world)
    assert until(world, "Cooldown") == 600


def test_given_a_policy_without_the_cooldown_then_it_is_lifted() -> None:
    world = World(spec_of(), rollout())
    released(world, Outcome.PROMOTED)

    world.edit(spec_of(permits=permits(release={"cooldown": None})))
    world.look()

    assert world.status.blocked == []


def test_given_a_policy_that_cannot_be_read_for_a_while_then_it_forgets_nothing_that_was_used_up() -> None:
    spec = spec_of(
        permits=permits(skip={"cooldown": {"base": "1h", "max": "1h"}}),
        bucket={"capacity": 5, "refillEvery": "1h"},
        exploration={"maxTrafficPercent": 100, "maxShareHours": "5", "window": "24h"},
    )
    world = World(spec)
    world.ask("skip")
    world.run()
    before = world.status
    assert [entry.reason for entry in before.blocked] == ["Cooldown"]
    assert before.bucket is not None
    assert before.exploration is not None

    world.edit(None)
    world.look()
    world.edit(spec)
    world.look()

    after = world.status
    assert (after.blocked, after.bucket, after.exploration) == (before.blocked, before.bucket, before.exploration)


@given(st.integers(0, 100), st.decimals(1, 10**6, places=2))
def test_given_any_failures_then_a_cooldown_stays_between_its_bounds(count: int, factor: Decimal) -> None:
    cooldown = Cooldown(base="10m", max="6h", factor=factor)
    length = cooldown_of(cooldown, count)

    assert 600 <= length <= 21600
    assert length <= cooldown_of(cooldown, count + 1)


def swing(world: World, *moves: str) -> None:
    """The agents go back and forth."""
    for move in moves:
        world.ask(move, by=OTHER)
        world.run()


def test_given_agents_that_go_back_and_forth_then_they_are_damped_and_people_are_told_once() -> None:
    world = World(spec_of(loop={"maxRepeats": 9}))
    swing(world, "go-on", "hold", "go-on", "hold")
    assert until(world, "Damped") == 1800
    world.look()
    assert world.told().count("Damped") == 1

    forward, safe = world.ask("go-on"), world.ask("hold")
    world.look()

    assert (world.standing(forward), world.standing(safe)) == ("Damped", "Granted")
    blocked = next(entry for entry in world.status.blocked if entry.reason == "Damped")
    assert (blocked.rollout, blocked.action) == ("ranker", "")
    world.run()
    world.wait("30m")
    world.look()
    assert not [entry for entry in world.status.blocked if entry.reason == "Damped"]
    assert world.status.targets[0].suppressed_at is None


def crowded(world: World) -> None:
    """Cooldowns of other Rollouts take all the room that the status has for blocks."""
    others = [
        Blocked(rollout=f"r{number:03}", action="Release", until=world.now + 7200, reason="Cooldown")
        for number in range(MOST_BLOCKED)
    ]
    world.status = world.status.model_copy(update={"blocked": others})
    world.look()
    assert {entry.reason for entry in world.status.blocked} == {"Cooldown"}


def test_given_no_room_for_what_is_damped_then_it_is_damped_all_the_same() -> None:
    world = World(spec_of(loop={"maxRepeats": 9}))
    swing(world, "go-on", "hold", "go-on", "hold")
    crowded(world)
    forward, safe = world.ask("go-on"), world.ask("hold")

    world.look()

    assert (world.standing(forward), world.standing(safe)) == ("Damped", "Granted")


def test_given_no_room_for_what_was_repeated_then_it_is_stopped_all_the_same() -> None:
    world = World(spec_of())
    swing(world, "go-on", "go-on")
    crowded(world)
    uid = world.ask("go-on")

    world.look()

    assert world.standing(uid) == "Repeated"


DAMPING = Damping()
moves = st.lists(st.tuples(st.sampled_from(["Forward", "Back", ""]), st.floats(0.0, 7200.0)), max_size=30)


@given(moves)
def test_given_any_moves_then_the_penalty_only_falls_between_reversals_and_suppression_ends_in_time(
    found: list[tuple[Any, float]],
) -> None:
    target, at = Target(rollout="a"), NOW
    for direction, after in found:
        before = penalty(DAMPING, target, at)
        at = round(at + after, 3)
        assert penalty(DAMPING, target, at) <= before
        reversal = target.direction not in ("", direction) and direction != ""
        next_target = moved(DAMPING, target, direction, at)
        grown = penalty(DAMPING, next_target, at) - penalty(DAMPING, target, at)
        assert grown == pytest.approx(DAMPING.penalty if reversal else 0.0, abs=0.01)
        free = reused_at(DAMPING, next_target)
        if free is not None:
            assert next_target.suppressed_at is not None
            assert free <= next_target.suppressed_at + 3600
        target = next_target


def test_given_reuse_below_nothing_then_the_longest_suppression_ends_it() -> None:
    damping = Damping(reuse_below=0, suppress_at=1000)
    target = moved(damping, Target(rollout="a", direction="Back"), "Forward", NOW)

    assert reused_at(damping, target) == NOW + 3600


def test_given_one_action_again_and_again_in_the_same_state_then_it_is_stopped_until_the_window_has_passed() -> None:
    world = World(spec_of(concurrency={"perTarget": 2}))
    for _ in range(2):
        world.wait("10m")
        world.ask("go-on")
        world.run()
    uid = world.ask("go-on")
    world.look()

    assert world.standing(uid) == "Repeated"
    assert until(world, "Repeated") == 3000
    assert "was executed 2 times on ranker while it stood where it stands now" in world.message(uid)
    world.answer("Override", uid)
    world.look()
    assert world.standing(uid) == "Repeated"
    world.set(weight=25)
    world.look()
    assert world.standing(uid) == "Granted"


def test_given_a_flood_of_safe_actions_then_what_matters_is_not_forgotten() -> None:
    world = World(spec_of())
    world.ask("skip")
    world.run()
    for _ in range(60):
        world.ask("hold")
        world.run()

    assert len(world.status.last) == 50
    assert [past.action for past in world.status.last].count("Skip") == 1


def test_given_more_rollouts_than_can_be_remembered_then_those_with_trouble_are_kept_and_gone_ones_forgotten() -> None:
    world = World(spec_of(), releasing())
    gone = Target(rollout="gone", penalty=Decimal(10_000), penalty_at=world.now)
    worst = Target(rollout="ranker", penalty=Decimal(5000), penalty_at=world.now, suppressed_at=world.now)
    world.status = world.status.model_copy(update={"targets": [gone, worst]})

    world.look()

    assert [target.rollout for target in world.status.targets] == ["ranker"]


def test_given_a_race_in_which_a_withdrawn_grant_was_executed_then_it_is_remembered() -> None:
    world = World(spec_of(exploration={"maxTrafficPercent": 100}))
    uid = world.ask("skip")
    world.look()
    ledger = world.status
    world.set(conditions=[condition("BudgetAvailable", "False")])
    world.look()
    assert world.standing(uid) == "ErrorBudget"
    world.status, revoked = ledger, world.status
    world.execute()
    world.status = revoked

    world.look()

    assert [past.uid for past in world.status.last] == [uid]
    assert world.standing(uid) == ""


def test_given_a_shift_down_then_it_counts_as_a_way_back() -> None:
    world = World()
    world.ask("go-on")
    world.run()
    world.ask("shift", weight=5)
    world.run()

    (target,) = world.status.targets
    assert target.direction == "Back"
    assert target.penalty == 1000
    shift: Past = next(past for past in world.status.last if past.action == "ShiftTraffic")
    assert shift.outcome == "Good"
