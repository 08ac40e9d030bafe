"""What people say of agents' requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import ADA, AGENT, BOB, EVE, OTHER, POLICY, World, condition, permits, spec_of
from tests.unit.agent.planning import WEIR
from weir.api.base import format_time

NO_DIGEST = {"digest": "sha256:" + "0" * 64}


def told(world: World, uid: str) -> tuple[str, str]:
    """What became of an answer."""
    return world.requests[uid].phase, world.requests[uid].message


def awaiting() -> tuple[World, str]:
    """A promotion that waits for two people."""
    world = World()
    uid = world.ask("promote")
    world.look()
    assert world.standing(uid) == "ApprovalNeeded"
    assert "0 of 2 given" in world.message(uid)
    return world, uid


def test_given_a_quorum_then_two_different_people_must_agree() -> None:
    world, uid = awaiting()

    first = world.answer("Approve", uid, by=ADA)
    world.look()
    assert told(world, first) == ("Succeeded", "ada agrees to promote-r0")
    assert world.standing(uid) == "ApprovalNeeded"
    again = world.answer("Approve", uid, by=ADA)
    world.look()
    assert told(world, again) == ("Refused", "ada has agreed to promote-r0 already; it needs 2 different people")
    second = world.answer("Approve", uid, by=BOB)
    world.look()

    assert told(world, second)[0] == "Succeeded"
    grant = world.granted(uid)
    assert grant is not None
    assert grant.approved_by == [ADA, BOB]
    assert world.told() == ["ApprovalNeeded", "Approved", "Approved", "ApprovalGranted"]


@pytest.mark.parametrize("action", ["Approve", "Override"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": AGENT}, "system:serviceaccount:ml:agent is a program; only a person can answer promote-r0"),
        ({"by": WEIR}, "is a program"),
        ({"by": EVE}, "eve is a subject of the AgentPolicy; somebody else must answer promote-r0"),
        ({"by": None}, "spec.requester does not say who answers"),
        ({"on": "other"}, "promote-r0 is about the Rollout ranker; name that one"),
        ({"request": NO_DIGEST}, "request.digest must be what was looked at"),
        ({"request": {"name": "promote-r1"}}, "there is no request of an agent named promote-r1"),
        ({"request": {"uid": "gone"}}, "there is no request of an agent named promote-r0 with the uid gone"),
    ],
)
def test_given_an_answer_that_cannot_be_trusted_then_it_is_refused(
    action: str, fields: dict[str, Any], message: str
) -> None:
    world, uid = awaiting()

    answer = world.answer(action, uid, **fields)
    world.look()

    assert told(world, answer)[0] == "Refused"
    assert message in told(world, answer)[1]
    assert world.standing(uid) == "ApprovalNeeded"


def test_given_an_approval_without_a_digest_then_it_is_refused() -> None:
    world, uid = awaiting()

    answer = world.answer("Approve", uid, request={"digest": None})
    world.look()

    assert "request.digest must be what was looked at" in told(world, answer)[1]


@pytest.mark.parametrize("fields", [{"by": "dan"}, {"by": AGENT, "onBehalfOf": "dan"}])
def test_given_who_asked_or_had_it_asked_then_they_cannot_agree(fields: dict[str, Any]) -> None:
    world = World(spec_of(subjects=[{"kind": "Group", "name": "robots"}, {"name": "agent", "namespace": "ml"}]))
    uid = world.ask("promote", **fields)
    answer = world.answer("Approve", uid, by="dan")
    world.look()

    assert told(world, answer) == ("Refused", "dan asked for promote-r0; somebody else must agree")


def test_given_a_request_that_needs_nobody_then_consent_is_refused() -> None:
    world = World()
    uid = world.ask("skip")
    world.look()
    second = world.ask("go-on")
    world.look()

    granted, waits = world.answer("Approve", uid), world.answer("Approve", second)
    world.look()

    assert told(world, granted) == ("Refused", f"{world.requests[uid].name} is granted already")
    assert "needs nobody's consent" in told(world, waits)[1]


def test_given_a_changed_policy_then_consents_are_void_and_must_be_given_again() -> None:
    world, uid = awaiting()
    world.answer("Approve", uid, by=ADA)
    world.look()
    late = world.answer("Approve", uid, by=BOB)

    world.wait(0.5)
    world.edit(spec_of(loop={}))
    world.decide()
    world.look()

    assert told(world, late) == ("Refused", "the AgentPolicy was changed meanwhile; look again and create it again")
    assert "ConsentsVoid" in world.told()
    waiting = world.waiting(uid)
    assert waiting is not None
    assert waiting.consents == []
    world.wait("1s")
    for person in (ADA, BOB):
        world.answer("Approve", uid, by=person)
    world.look()
    assert world.standing(uid) == "Granted"


def test_given_a_granted_request_when_the_policy_changes_then_it_is_judged_anew() -> None:
    world, uid = awaiting()
    for person in (ADA, BOB):
        world.answer("Approve", uid, by=person)
    world.look()

    world.edit(spec_of(loop={}))
    world.look()

    assert world.standing(uid) == "ApprovalNeeded"


def test_given_old_consents_then_they_are_void_one_by_one() -> None:
    world = World(
        spec_of(
            permits=permits(promote={"approval": {"tier": "Approve", "quorum": 2, "expiresAfter": "30m"}}),
            blastRadius={},
        )
    )
    other = world.ask("skip")
    uid = world.ask("promote", expiresAfter="3h")
    world.look()
    assert world.standing(uid) == "Concurrency"
    world.answer("Approve", uid, by=ADA)
    world.look()
    assert len(world.waiting(uid).consents) == 1  # type: ignore[union-attr]
    world.wait("30m")
    world.answer("Approve", uid, by=BOB)
    decision = world.look()

    waiting = world.waiting(uid)
    assert waiting is not None
    assert [consent.by for consent in waiting.consents] == [BOB]
    assert decision.wake_at is not None
    assert decision.wake_at <= world.now + 1800
    assert world.standing(other) == "Granted"


def test_given_nobody_agrees_in_time_then_it_is_denied_at_that_moment() -> None:
    world, uid = awaiting()
    world.answer("Approve", uid, by=ADA)
    decision = world.look()
    assert decision.wake_at == world.now + 1800

    world.wait(1799.999)
    world.look()
    assert world.standing(uid) == "ApprovalNeeded"
    world.wait(0.001)
    world.look()

    assert world.standing(uid) == "!ApprovalExpired"


def test_given_a_grant_whose_consents_grow_old_then_it_ends_with_them() -> None:
    world, uid = awaiting()
    world.answer("Approve", uid, by=ADA)
    world.look()
    world.wait("29m")
    world.answer("Approve", uid, by=BOB)
    world.look()

    grant = world.granted(uid)
    assert grant is not None
    assert grant.until == world.now + 60
    world.wait("61s")
    world.look()
    assert world.standing(uid) == "ApprovalNeeded"


def test_given_a_denial_and_a_consent_at_once_then_the_denial_is_final() -> None:
    world, uid = awaiting()
    approvals = [world.answer("Approve", uid, by=person) for person in (ADA, BOB)]
    denial = world.answer("Deny", uid, by="cid", reason="not on a Friday")
    world.look()

    assert told(world, denial) == ("Succeeded", "denied by cid")
    assert {told(world, answer)[0] for answer in approvals} == {"Refused"}
    assert world.standing(uid) == "!Denied"
    assert "not on a Friday" in world.message(uid)
    override = world.answer("Override", uid, by=BOB)
    world.look()
    assert "is refused" in told(world, override)[1]


def test_given_a_grant_that_is_not_executed_yet_then_it_can_still_be_denied() -> None:
    world = World()
    uid = world.ask("skip")
    world.look()

    world.answer("Deny", uid, by=BOB)
    world.look()
    world.execute()

    assert world.requests[uid].phase == "Refused"


@pytest.mark.parametrize(
    ("permit", "way"),
    [
        ("train", "to stop it, delete the object that it made"),
        ("scale", "put the field that it changed back, and delete nothing"),
    ],
)
def test_given_a_template_that_runs_when_it_is_denied_then_what_was_there_before_is_not_to_be_deleted(
    permit: str, way: str
) -> None:
    batch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "batch"}, "spec": {"replicas": 0}}
    scale = {"name": "scale", "action": "Reallocate"}
    template = {**scale, "object": batch, "succeeded": "object.status.replicas == 0", "failed": "false"}
    permit_to_scale = {**scale, "template": "scale"}
    world = World(
        spec_of(permits=[*permits(), permit_to_scale], templates=[*POLICY["templates"], {**template, "timeout": "10m"}])
    )
    uid = world.ask(permit)
    world.look()
    assert world.requests[uid].phase == "Running"

    denial = world.answer("Deny", uid)
    world.look()

    assert told(world, denial)[0] == "Refused"
    assert way in told(world, denial)[1]


def test_given_a_requester_then_they_alone_may_withdraw() -> None:
    world, uid = awaiting()
    theirs = world.answer("Withdraw", uid, by=OTHER, request={"digest": None})
    world.look()
    assert told(world, theirs) == ("Refused", f"only {AGENT} may withdraw promote-r0; others may deny it")

    own = world.answer("Withdraw", uid, by=AGENT, request={"digest": None})
    world.look()

    assert told(world, own)[0] == "Succeeded"
    assert world.standing(uid) == "!Withdrawn"


def test_given_an_override_then_waits_are_overruled_but_consent_and_bounds_are_not() -> None:
    world = World()
    world.set(conditions=[condition("BudgetAvailable", "False")])
    world.edit(spec_of(exploration={"maxTrafficPercent": 90}))
    skip, promote = world.ask("skip"), world.ask("promote", by=OTHER)
    shift = world.ask("shift", weight=50)
    world.look()
    assert (world.standing(skip), world.standing(promote)) == ("ErrorBudget", "ErrorBudget")

    answers = [world.answer("Override", uid, by=BOB, reason="I watch it") for uid in (skip, promote, shift)]
    world.look()

    assert [told(world, answer)[0] for answer in answers] == ["Succeeded", "Succeeded", "Refused"]
    assert (world.standing(skip), world.standing(promote)) == ("Granted", "ApprovalNeeded")
    assert world.standing(shift) == "!Bounds"
    assert world.granted(skip).overridden_by == BOB  # type: ignore[union-attr]
    assert world.granted(skip).priority == 3000  # type: ignore[union-attr]
    assert any(note.reason == "Overruled" and "I watch it" in note.message for note in world.notes)


def test_given_a_changed_policy_then_nobody_has_overruled_anything_yet() -> None:
    world = World(spec_of(permits=permits(skip={"cooldown": {"base": "1h", "max": "6h"}})))
    world.ask("skip")
    world.run()
    again = world.ask("skip")
    world.look()
    assert world.standing(again) == "Cooldown"
    world.answer("Override", again)
    world.look()
    assert world.standing(again) == "Granted"

    world.edit(spec_of(permits=permits(skip={"cooldown": {"base": "2h", "max": "6h"}})))
    world.look()

    assert world.standing(again) == "Cooldown"
    assert world.waiting(again).overridden_by == ""  # type: ignore[union-attr]
    assert "what ada overruled for skip" in world.notes[-1].message


@pytest.mark.parametrize("action", ["Approve", "Override"])
def test_given_no_guardrails_then_consent_and_overruling_do_not_count_but_denial_does(action: str) -> None:
    world, uid = awaiting()
    world.changes["guardrails"] = "weir-answers is missing"
    answer = world.answer(action, uid)
    world.look()
    assert "the admission policies, which vouch for who answers, are not in force" in told(world, answer)[1]

    denial = world.answer("Deny", uid)
    world.look()

    assert told(world, denial)[0] == "Succeeded"


def test_given_a_crash_before_the_answer_is_written_then_it_counts_once_and_is_told_right() -> None:
    world, uid = awaiting()
    first, second = world.answer("Approve", uid, by=ADA), world.answer("Approve", uid, by=BOB)
    world.decide()
    world.execute()
    assert world.requests[uid].phase == "Succeeded"
    world.decide()

    world.look()

    assert told(world, first)[0] == told(world, second)[0] == "Succeeded"
    world.look()
    assert world.status.granted == []
    assert [past.name for past in world.status.last] == ["promote-r0"]


def test_given_an_answer_to_what_has_ended_then_it_is_refused() -> None:
    world = World()
    uid = world.ask("skip")
    world.run()
    answers = [world.answer(action, uid) for action in ("Approve", "Deny", "Override")]
    world.look()

    assert {told(world, answer)[1] for answer in answers} == {f"{world.requests[uid].name} has ended"}


def test_given_a_consent_that_is_too_old_when_it_is_looked_at_then_it_does_not_count() -> None:
    world = World()
    other, uid = world.ask("skip"), world.ask("promote")
    world.look()
    answer = world.answer("Approve", uid)
    world.wait("30m")
    world.look()

    assert told(world, answer) == ("Refused", "it is older than 30m, after which a consent is void")
    assert world.standing(other) == "Granted"


def test_given_an_answer_that_nobody_looked_at_in_time_then_it_does_not_count() -> None:
    world, uid = awaiting()
    answer = world.answer("Approve", uid, expiresAfter="1m")
    world.wait("1m")
    world.look()

    assert told(world, answer) == ("Refused", "it was not looked at within 1m; create it again")


def test_given_a_request_that_ends_before_the_time_for_consents_then_people_are_told_its_own_end() -> None:
    world = World()
    uid = world.ask("promote", expiresAfter="10m")

    world.look()

    waiting = world.waiting(uid)
    assert waiting is not None
    assert waiting.until == world.requests[uid].created + 600
    assert format_time(waiting.until) in waiting.message


def test_given_a_pause_in_between_then_the_time_for_consents_goes_on_and_people_are_asked_once() -> None:
    world, uid = awaiting()
    before = world.waiting(uid)
    assert before is not None
    for _ in range(2):
        world.wait(60.0)
        world.ask("hold")
        world.decide()
        assert world.standing(uid) == "Concurrency"
        world.execute()
        world.look()
        assert world.standing(uid) == "ApprovalNeeded"

    after = world.waiting(uid)
    assert after is not None
    assert (after.until, after.message) == (before.until, before.message)
    assert world.told().count("ApprovalNeeded") == 1
    world.wait("30m")
    world.look()
    assert world.standing(uid) == "!ApprovalExpired"


def test_given_people_who_were_never_asked_then_the_time_for_consents_begins_when_they_are() -> None:
    world = World()
    world.ask("hold")
    uid = world.ask("promote", expiresAfter="8h")
    world.decide()
    assert world.standing(uid) == "Concurrency"
    assert "ApprovalNeeded" not in world.told()
    world.wait("4m")
    world.execute()
    world.look()

    waiting = world.waiting(uid)
    assert waiting is not None
    assert (waiting.reason, waiting.asked_since, waiting.until) == ("ApprovalNeeded", world.now, world.now + 1800)
    assert world.told().count("ApprovalNeeded") == 1
