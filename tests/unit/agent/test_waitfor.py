"""Requests that wait for each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import AGENT, OTHER, World, condition, permits, releasing, spec_of


def caused(world: World, uid: str) -> dict[str, str]:
    return {"name": world.requests[uid].name, "uid": uid}


def training(world: World, on: str, by: str = AGENT) -> str:
    uid = world.ask("train", on=on, by=by)
    world.look()
    world.look()
    assert world.requests[uid].phase == "Running"
    return uid


def test_given_a_job_that_asks_for_its_own_rollout_then_the_request_is_refused_at_once_and_told() -> None:
    world = World()
    train = training(world, "ranker")

    child = world.ask("skip", causedBy=caused(world, train))
    world.look()

    assert world.standing(child) == "!Deadlock"
    assert "wait for each other for ever" in world.message(child)
    assert world.told().count("Deadlock") == 1
    assert world.standing(train) == "Granted"


def test_given_two_jobs_that_wait_for_each_other_then_the_one_of_lower_priority_gives_way() -> None:
    world = World(spec_of(), releasing("a"), releasing("b"))
    first, second = training(world, "a"), training(world, "b", by=OTHER)
    one = world.ask("skip", on="b", by=OTHER, causedBy=caused(world, first))
    world.look()
    assert world.standing(one) == "Concurrency"

    two = world.ask("skip", on="a", by=AGENT, causedBy=caused(world, second))
    world.look()

    assert (world.standing(one), world.standing(two)) == ("!Deadlock", "Concurrency")


def test_given_a_wait_that_ends_by_itself_then_nobody_is_refused() -> None:
    world = World()
    first = world.ask("go-on")
    world.look()
    child = world.ask("skip", causedBy=caused(world, first))
    world.look()
    assert world.standing(child) == "Concurrency"

    world.execute()
    world.look()

    assert world.standing(child) == "Granted"


def test_given_a_child_that_leads_back_to_safety_then_it_never_waits() -> None:
    world = World()
    train = training(world, "ranker")
    child = world.ask("stop", causedBy=caused(world, train))
    world.look()

    assert world.standing(child) == "Granted"


NARROW: list[dict[str, Any]] = [
    {"blastRadius": {"maxUnhealthyPercent": 40, "maxAffectedPercent": 34}},
    {"concurrency": {"total": 1}},
]


@pytest.mark.parametrize("changes", NARROW, ids=["blast radius", "total"])
def test_given_a_job_that_leaves_no_room_for_what_it_asks_elsewhere_then_that_is_refused_at_once(
    changes: dict[str, Any],
) -> None:
    world = World(spec_of(**changes), *(releasing(name) for name in "abc"))
    train = training(world, "a")

    child = world.ask("skip", on="b", causedBy=caused(world, train))
    world.look()

    assert world.standing(child) == "!Deadlock"
    assert world.standing(train) == "Granted"


def test_given_a_job_that_asks_for_another_one_which_its_own_cooldown_holds_back_then_that_is_refused_at_once() -> None:
    cooling = permits(train={"cooldown": {"base": "10m"}})
    world = World(spec_of(permits=cooling, concurrency={"perTarget": 2}))
    train = training(world, "ranker")

    child = world.ask("train", causedBy=caused(world, train))
    world.look()

    assert world.standing(child) == "!Deadlock"


ROOMY: list[dict[str, Any]] = [
    {"blastRadius": {"maxUnhealthyPercent": 40, "maxAffectedPercent": 67}},
    {"concurrency": {"total": 2}},
    {"concurrency": {"perTarget": 2}},
]


@pytest.mark.parametrize(
    ("changes", "on", "asked", "reason"),
    [
        (ROOMY[0], ("b", "c"), "skip", "BlastRadius"),
        (ROOMY[1], ("b", "c"), "skip", "Concurrency"),
        (ROOMY[2], ("a", "a"), "go-on", "Concurrency"),
    ],
    ids=["blast radius", "total", "one Rollout"],
)
def test_given_a_job_and_another_action_that_ends_by_itself_then_what_the_job_asks_waits_for_that_one(
    changes: dict[str, Any], on: tuple[str, str], asked: str, reason: str
) -> None:
    world = World(spec_of(**changes), *(releasing(name) for name in "abc"))
    train = training(world, "a")
    world.ask("skip", on=on[0], by=OTHER)
    world.look()

    child = world.ask(asked, on=on[1], causedBy=caused(world, train))
    world.look()
    assert world.standing(child) == reason
    world.execute()
    world.look()
    if "a" not in on:
        assert world.standing(child) == reason  # the release that was moved is still under way
        world.finish(on[0])
        world.look()

    assert world.standing(child) == "Granted"


def test_given_too_much_that_is_broken_then_what_a_job_asks_for_waits_for_people_and_is_not_refused() -> None:
    narrow = {"maxUnhealthyPercent": 40, "maxAffectedPercent": 34}
    world = World(spec_of(blastRadius=narrow), *(releasing(name) for name in "abc"))
    train = training(world, "a")
    for name in "bc":
        world.set(name, conditions=[condition("Stalled", "True")])

    child = world.ask("skip", on="b", causedBy=caused(world, train))
    world.look()

    assert world.standing(child) == "BlastRadius"
