"""Who goes first, what is granted for how long, and what an Audit and a trial do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.agent.ledgerworld import AGENT, OTHER, World, permits, releasing, spec_of
from tests.unit.agent.planning import NOW, WEIR, model, rollout, version
from weir.agent.permits import in_share
from weir.api.action import Ceiling
from weir.api.modelversion import version_digest

RULE = {"name": "drift", "when": "signals.phase == 'Never'", "then": "skip"}


def test_given_two_agents_on_one_rollout_then_the_higher_priority_goes_first_and_the_other_after_it() -> None:
    world = World()
    low, high = world.ask("go-on", by=OTHER), world.ask("skip", by=AGENT)

    world.look()

    assert (world.standing(high), world.standing(low)) == ("Granted", "Concurrency")
    assert world.message(low) == f"{world.requests[high].name} is under way on ranker"
    world.execute()
    world.look()
    assert world.standing(low) == "Granted"


def test_given_a_rule_and_an_agent_then_the_rule_goes_first() -> None:
    world = World(spec_of(rules=[RULE]))
    agent, rule = world.ask("go-on"), world.ask("skip", by=WEIR, rule="drift")

    world.look()

    assert (world.standing(rule), world.standing(agent)) == ("Granted", "Concurrency")


def test_given_a_grant_then_a_later_request_of_higher_priority_does_not_take_it_away() -> None:
    world = World()
    low = world.ask("go-on", by=OTHER)
    world.look()
    high = world.ask("skip", by=AGENT)
    world.look()

    assert (world.standing(low), world.standing(high)) == ("Granted", "Concurrency")


def test_given_a_forward_grant_then_a_safe_action_overtakes_it() -> None:
    world = World()
    forward = world.ask("skip")
    world.look()
    safe = world.ask("stop", by=OTHER)

    world.look()

    assert (world.standing(safe), world.standing(forward)) == ("Granted", "Concurrency")
    assert len(world.status.granted) == 1


def test_given_a_flood_of_safe_requests_then_those_of_another_agent_are_granted_among_the_first() -> None:
    world = World(spec_of(), *(releasing(name) for name in ("a", "b")))
    for _ in range(80):
        world.ask("hold", on="a")
    rescue = world.ask("stop", by=OTHER, on="b")

    world.look()

    assert len(world.status.granted) == 50
    assert world.standing(rescue) == "Granted"
    assert len(world.status.waiting) == 31


def test_given_a_flood_of_waiting_requests_then_the_ledger_keeps_the_important_ones_and_all_get_their_turn() -> None:
    world = World(spec_of(loop={"maxRepeats": 100}), *(releasing(name) for name in ("a", "b")))
    first = world.ask("skip", on="a")
    world.look()
    flood = [world.ask("go-on", by=OTHER, on="a") for _ in range(70)]
    important = world.ask("promote", on="a")
    world.look()

    assert len(world.status.waiting) == 50
    assert world.standing(important) == "Concurrency"
    world.run()
    while any(world.requests[uid].open for uid in flood):
        before = sum(world.requests[uid].open for uid in flood)
        world.run()
        assert sum(world.requests[uid].open for uid in flood) < before
    assert world.requests[first].phase == "Succeeded"


def test_given_an_agent_that_floods_its_rollout_then_another_one_is_looked_at_all_the_same() -> None:
    world = World(spec_of(), *(releasing(name) for name in ("a", "b")))
    for _ in range(400):
        world.ask("promote", on="a")
    quiet = world.ask("go-on", by=OTHER, on="b")

    world.look()

    assert world.standing(quiet) == "Granted"


def test_given_no_room_for_denials_then_the_rest_are_denied_as_room_comes() -> None:
    world = World()
    uids = [world.ask("skip", name=f"skip-1-{i}") for i in range(60)]
    world.look()
    assert len(world.status.denied) == 50

    world.run()
    world.run()

    assert {world.requests[uid].phase for uid in uids} == {"Refused"}
    assert world.status.denied == []


def test_given_a_grant_then_it_lasts_five_minutes_or_until_the_request_ends_and_is_renewed() -> None:
    world = World()
    short, long = world.ask("stop", expiresAfter="1m"), world.ask("hold")
    decision = world.look()
    assert world.granted(short).until == world.now + 60  # type: ignore[union-attr]
    assert world.granted(long).until == world.now + 300  # type: ignore[union-attr]
    assert decision.wake_at == world.now + 60

    since = world.now
    world.wait("5m")
    world.look()

    grant = world.granted(long)
    assert grant is not None
    assert (grant.since, grant.until) == (since, world.now + 300)
    assert world.standing(short) == "Expired"


def test_given_a_request_that_is_deleted_then_the_ledger_forgets_it() -> None:
    world = World()
    uid = world.ask("skip")
    waiting = world.ask("promote")
    world.look()
    world.requests[uid] = replace(world.requests[uid], deleting=True)
    del world.requests[waiting]

    world.look()

    assert (world.status.granted, world.status.waiting) == ([], [])


def test_given_an_audit_then_consent_is_not_waited_for_but_written_down() -> None:
    world = World(spec_of(mode="Audit"))
    uid = world.ask("promote")

    world.look()

    assert world.standing(uid) == "Granted"
    assert [(entry.reason, entry.trial) for entry in world.status.shadow_denials] == [("ApprovalNeeded", False)]


def test_given_the_tier_notify_then_people_are_told_once() -> None:
    world = World(spec_of(permits=permits(skip={"approval": {"tier": "Notify"}})))
    world.ask("skip")
    world.look()
    world.look()

    assert world.told() == ["AgentActs"]


TRIAL = {"share": 50, "permits": [{"name": "shift", "action": "ShiftTraffic", "bounds": {"maxTrafficPercent": 12}}]}


def test_given_a_trial_then_its_share_of_requests_is_judged_by_it_and_of_the_others_it_is_written_down() -> None:
    seen = set()
    for number in range(12):
        world = World(spec_of(trial=TRIAL))
        uid = world.ask("shift", name=f"shift-{number}", weight=20)
        world.look()
        inside = in_share(uid, 50)
        seen.add(inside)
        assert world.standing(uid) == ("!Bounds" if inside else "Granted")
        shadows = [(entry.reason, entry.trial) for entry in world.status.shadow_denials]
        assert shadows == ([] if inside else [("Bounds", True)])
    assert seen == {True, False}


@pytest.mark.parametrize("share", [0, 100])
def test_given_a_trial_then_it_cannot_allow_what_the_policy_refuses_and_can_ask_for_people(share: int) -> None:
    loose = [
        {"name": "shift", "action": "ShiftTraffic"},
        {
            "name": "skip",
            "action": "Skip",
            "approval": {"tier": "Approve", "quorum": 1},
            "budget": {"limit": 3, "window": "10m"},
        },
    ]
    world = World(spec_of(trial={"share": share, "permits": loose}))
    shift, skip = world.ask("shift", weight=60), world.ask("skip")

    world.look()

    assert world.standing(shift) == "!Bounds"
    assert world.standing(skip) == ("ApprovalNeeded" if share else "Granted")
    assert [(entry.reason, entry.trial) for entry in world.status.shadow_denials] == (
        [] if share else [("ApprovalNeeded", True)]
    )


def test_given_a_rollout_that_does_not_exist_then_the_request_waits() -> None:
    world = World()
    uid = world.ask("stop", on="gone")

    world.look()

    assert world.standing(uid) == "NoRollout"


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
def test_given_a_version_of_another_model_then_no_agent_can_release_it(mode: str) -> None:
    world = World(spec_of(mode=mode), rollout())
    world.changes["versions"] = {"v1": model("v1"), "v2": model("v2"), "fraud-3": model("3", model="fraud")}
    other, same = world.ask("release", version="fraud-3"), world.ask("release", version="v2")

    world.look()

    assert world.standing(other) == "!NotPermitted"
    assert world.message(other) == (
        "fraud-3 is a version of fraud, and ranker serves ranker; only a person can release another model"
    )
    assert world.standing(same) == "Granted"


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
@pytest.mark.parametrize("known", ["v1", "v2"])
def test_given_a_version_that_nobody_can_read_when_a_release_is_asked_for_then_it_waits_until_its_model_is_known(
    mode: str, known: str
) -> None:
    world = World(spec_of(mode=mode), rollout())
    missing = "v2" if known == "v1" else "v1"
    world.changes["versions"] = {known: model(known)}
    uid = world.ask("release", version="v2")

    world.look()
    assert world.standing(uid) == "NotPermitted"
    assert world.message(uid) == (
        f"there is no ModelVersion {missing}, or it cannot be read, so nobody knows of which model it is; create it, "
        "or let a person release v2"
    )
    world.changes["versions"][missing] = model(missing)
    world.look()

    assert world.standing(uid) == "Granted"


def test_given_a_rollout_that_serves_nothing_yet_when_a_release_is_asked_for_then_it_waits() -> None:
    world = World(spec_of(), rollout(stable=None))
    world.changes["versions"] = {"v1": model("v1"), "fraud-3": model("3", model="fraud")}
    uid = world.ask("release", version="fraud-3")

    world.look()
    assert world.standing(uid) == "NotPermitted"
    world.set(stable=version("v1"))
    world.look()

    assert world.standing(uid) == "!NotPermitted"


def test_given_a_limit_that_the_traffic_has_not_come_down_to_when_it_is_raised_then_people_must_agree() -> None:
    consent = {"approval": {"tier": "Approve", "quorum": 2}}
    limit = Ceiling(weight=10, since=NOW - 5, by="ada", reason="errors", request="shift-1")
    world = World(spec_of(permits=permits(shift=consent)), releasing(weight=50, ceiling=limit))

    raised = world.ask("shift", weight=40)
    world.look()
    assert world.standing(raised) == "ApprovalNeeded"
    kept = world.ask("shift", weight=10)
    world.look()

    assert world.standing(kept) == "Granted"


def test_given_an_agent_that_is_a_version_when_it_acts_then_the_ledger_names_the_version_that_asked() -> None:
    subjects = [{"name": "agent", "namespace": "ml", "rollout": "tuner"}]
    plain = permits(release={"subjects": None})
    world = World(spec_of(subjects=subjects, permits=plain), releasing(), rollout("tuner", stable=version("tuner-1")))
    versions = {"v1": model("v1"), "v2": model("v2"), "tuner-1": model("tuner-1", model="tuner")}
    world.changes["versions"] = versions
    pin = f"ModelVersion/tuner-1@{version_digest(versions['tuner-1'])}"
    world.ask("stop")

    world.look()
    assert [grant.agent for grant in world.status.granted] == [pin]
    # What asked is written down, also when another version serves by the time that it has ended.
    world.rollouts["tuner"] = rollout("tuner", stable=version("tuner-2"))
    world.execute()
    world.look()

    assert [past.agent for past in world.status.last] == [pin]
