"""The ledger is short: what it has no room for is neither lost, nor let through, nor in anybody's way."""

from __future__ import annotations

import pytest

from tests.unit.agent.ledgerworld import ADA, AGENT, BOB, OTHER, World, permits, releasing, spec_of
from weir.agent.decide import decide
from weir.agent.grants import MOST_ENTERED
from weir.agent.ledger import MOST_BLOCKED


def world_of_two(**changes: object) -> World:
    return World(spec_of(**changes), *(releasing(name) for name in ("a", "b")))


def test_given_a_full_ledger_and_an_answer_to_what_was_executed_then_the_others_go_on_and_the_answer_is_told() -> None:
    world = world_of_two()
    for _ in range(60):
        world.ask("hold", on="a")
    world.look()
    done = world.status.granted[0].uid
    world._before = (7, "", 10)
    world._handle(world.requests[done], "Succeeded", "paused")
    withdrawal = world.answer("Withdraw", done, by=AGENT)

    world.look()

    assert len(world.status.granted) == 50
    assert world.granted(done) is None
    assert (world.requests[withdrawal].phase, world.requests[withdrawal].message) == ("Refused", "hold-r0 has ended")


def test_given_no_room_for_refusals_then_what_a_person_denied_stays_denied() -> None:
    world = world_of_two()
    wanted = world.ask("promote", on="b")
    for _ in range(60):
        world.ask("shift", on="a", weight=90)  # beyond the bounds, and its Rollout never says so
    world.look()
    assert len(world.status.denied) == 50
    world.wait(1.0)
    denial = world.answer("Deny", wanted)

    world.look()

    assert world.requests[denial].phase == "Succeeded"
    assert world.standing(wanted) == "!Denied"


def test_given_a_ledger_that_has_lost_a_denial_then_the_answer_itself_still_counts() -> None:
    world = world_of_two()
    wanted = world.ask("promote", on="b")
    world.look()
    world.answer("Deny", wanted)
    world.look()
    world.status = world.status.model_copy(update={"denied": []})

    world.look()

    assert world.standing(wanted) == "!Denied"
    assert world.look().results == ()


def test_given_a_flood_while_nothing_guarded_then_none_of_it_is_ever_granted() -> None:
    world = world_of_two()
    world.look()
    world.wait(10.0)
    world.changes["guardrails"] = "weir-permits is missing"
    world.look()
    world.wait(10.0)
    forged = [world.ask("go-on", on="a") for _ in range(120)]
    world.look()
    world.wait(10.0)
    world.changes["guardrails"] = None

    for _ in range(10):
        world.look()
        world.execute()
        world.wait(1.0)

    assert not world.executed
    assert {world.requests[uid].phase for uid in forged} == {"Refused"}
    afterwards = world.ask("go-on", on="a")
    world.look()
    assert world.standing(afterwards) == "Granted"


def test_given_a_flood_before_the_first_look_then_it_is_no_forgery() -> None:
    world = world_of_two(loop={"maxRepeats": 100})
    flood = [world.ask("go-on", on="a") for _ in range(120)]
    world.wait(10.0)

    for _ in range(130):
        world.look()
        world.execute()

    assert {world.requests[uid].phase for uid in flood} == {"Succeeded"}


def test_given_an_agent_that_floods_then_the_request_of_another_one_that_waits_is_in_the_ledger() -> None:
    world = world_of_two()
    for _ in range(70):
        world.ask("promote", on="a")
    world.look()
    assert len(world.status.waiting) == 50
    theirs = world.ask("promote", by=OTHER, on="b")

    decision = world.look()

    assert world.standing(theirs) == "ApprovalNeeded"
    assert [note.request for note in decision.notes if note.reason == "ApprovalNeeded"] == ["promote-r70"]


def test_given_a_flood_of_withdrawals_then_what_people_say_is_taken_first() -> None:
    world = world_of_two()
    wanted = world.ask("promote", on="a")
    world.look()
    for _ in range(30):
        world.answer("Withdraw", wanted, by=OTHER)
    person = world.answer("Deny", wanted, by=BOB)

    results = decide(world.observe(), world.now).results

    assert results[0].uid == person


def test_given_what_was_consented_to_then_a_flood_does_not_push_it_out() -> None:
    world = world_of_two()
    wanted = world.ask("promote", by=OTHER, on="a")
    world.look()
    world.answer("Approve", wanted, by=ADA)
    world.look()
    for _ in range(70):
        world.ask("promote", on="a")

    world.look()

    assert world.status.waiting != []
    assert [consent.by for entry in world.status.waiting if entry.uid == wanted for consent in entry.consents] == [ADA]


@pytest.mark.parametrize("action", ["hold", "promote"])
def test_given_an_agent_that_floods_many_rollouts_then_another_one_is_looked_at_all_the_same(action: str) -> None:
    world = World(spec_of(), *(releasing(f"r{number}") for number in range(MOST_ENTERED + 50)))
    for number in range(MOST_ENTERED + 50):
        world.ask(action, on=f"r{number}")
    world.wait(5.0)
    theirs = world.ask(action, by=OTHER, on="r0")

    world.look()

    assert world.standing(theirs) == {"hold": "Granted", "promote": "ApprovalNeeded"}[action]


def test_given_an_agent_that_floods_one_rollout_then_its_own_way_back_on_another_is_not_behind_it() -> None:
    world = world_of_two()
    for _ in range(MOST_ENTERED + 50):
        world.ask("hold", on="a")
    world.wait(5.0)
    rescue = world.ask("stop", on="b")

    world.look()

    assert world.standing(rescue) == "Granted"


def go_on(world: World) -> None:
    """Everybody does their work for a while; what was acted on is not under way any more: the next release runs."""
    for _ in range(10):
        world.look()
        done = len(world.executed)
        world.execute()
        for request, _ in world.executed[done:]:
            name = request.spec.rollout_ref.name
            world.set(name, release=world.rollouts[name].status.release + 1)


def test_given_more_cooldowns_than_the_ledger_holds_then_no_more_is_executed_than_it_can_remember() -> None:
    names = [f"r{number:03}" for number in range(MOST_BLOCKED + 10)]
    spec = spec_of(
        permits=permits(go_on={"cooldown": {"base": "1h", "max": "1h"}}),
        concurrency={"total": 40},
        blastRadius={"maxAffectedPercent": 100},
    )
    world = World(spec, *(releasing(name) for name in names))
    for name in names:
        world.ask("go-on", on=name, expiresAfter="2h")
    go_on(world)
    assert len(world.executed) == MOST_BLOCKED
    assert {world.standing(uid) for uid, request in world.requests.items() if request.open} == {"Cooldown"}
    for name in names:
        world.ask("go-on", on=name, expiresAfter="2h")

    go_on(world)
    assert len(world.executed) == MOST_BLOCKED
    world.wait("1h")
    go_on(world)

    assert len(world.executed) == 2 * MOST_BLOCKED
