"""How much agents have under way at once: releases that they moved count until they end, and cooldowns before they begin."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import AGENT, World, permits, releasing, rollout, spec_of
from weir.api.action import Asked

MANY = [f"r{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        ({"blastRadius": {"maxAffectedPercent": 10}}, "BlastRadius", "1 of 10 Rollouts may be acted on at once"),
        ({"concurrency": {"total": 1}}, "Concurrency", "1 actions at most are under way at once"),
    ],
)
def test_given_releases_that_agents_have_begun_then_they_count_until_they_end_and_no_longer(
    changes: dict[str, Any], reason: str, told: str
) -> None:
    world = World(spec_of(**changes), *(rollout(name) for name in MANY))
    asked = [world.ask("release", on=name) for name in MANY]
    for _ in range(5):
        world.run()
    (first, _), second = world.executed[0], asked[1]
    assert (len(world.executed), first.uid) == (1, asked[0])
    assert {world.standing(uid) for uid in asked[1:]} == {reason}
    assert world.message(second) == f"{told}; releases that agents moved count until they end: those of r0"

    world.finish("r0")
    world.run()

    assert [request.uid for request, _ in world.executed] == [asked[0], second]


def test_given_a_release_that_an_agent_has_begun_then_it_holds_back_neither_its_own_rollout_nor_safety() -> None:
    narrow = {"concurrency": {"total": 1}, "blastRadius": {"maxAffectedPercent": 0}}
    world = World(spec_of(**narrow), rollout("a"), releasing("b"))
    world.ask("release", on="a")
    world.run()
    on, other = world.ask("go-on", on="a"), world.ask("go-on", on="b")
    world.look()
    assert (world.standing(on), world.standing(other)) == ("Granted", "BlastRadius")

    back = [world.ask(permit, on="b") for permit in ("stop", "hold", "back")]
    less = world.ask("shift", on="b", weight=5)
    world.look()

    assert [world.standing(uid) for uid in (*back, less)] == ["Granted"] * 4


def test_given_a_release_that_was_asked_for_and_has_not_begun_then_it_counts() -> None:
    world = World(spec_of(concurrency={"total": 1}), rollout("a"), releasing("b"))
    world.ask("release", on="a")
    world.run()
    begins = world.rollouts["a"].status.release - 1
    world.set("a", candidate=None, release=begins, asked=Asked(revision="v2", by=AGENT))
    other = world.ask("go-on", on="b")
    world.look()
    assert world.standing(other) == "Concurrency"

    world.set("a", asked=None)
    world.look()

    assert world.standing(other) == "Granted"


def test_given_a_flood_elsewhere_then_a_release_that_an_agent_has_begun_is_not_forgotten() -> None:
    world = World(
        spec_of(concurrency={"total": 2}, loop={"maxRepeats": 100, "window": "1h"}), rollout("a"), *map(releasing, "bc")
    )
    world.ask("release", on="a")
    world.run()
    for _ in range(60):
        world.wait(1.0)
        world.ask("go-on", on="b")
        world.run()
    assert len(world.status.last) == 50

    uid = world.ask("go-on", on="c")
    world.look()

    assert world.standing(uid) == "Concurrency"


def test_given_several_at_once_on_one_rollout_and_a_cooldown_then_the_others_wait_for_the_first_one() -> None:
    spec = spec_of(concurrency={"perTarget": 3}, permits=permits(shift={"cooldown": {"base": "10m", "max": "1h"}}))
    world = World(spec)
    several = [world.ask("shift", weight=weight) for weight in (15, 20, 25)]
    another = world.ask("go-on")
    world.look()
    assert [world.standing(uid) for uid in several] == ["Granted", "Concurrency", "Concurrency"]
    assert world.standing(another) == "Granted"

    world.run()

    assert [request.uid for request, _ in world.executed] == [several[0], another]
    assert [world.standing(uid) for uid in several[1:]] == ["Cooldown", "Cooldown"]
