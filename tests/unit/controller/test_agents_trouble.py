"""An API server that refuses, fails or is slow: one write in trouble holds up neither the ledger nor the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.controller.agentworld import SPACE, World
from tests.unit.controller.test_agents import job, proposal
from weir.agent.decision import AgentNote, AgentResult
from weir.api.agentstatus import AgentPolicyStatus
from weir.controller.act import SOON
from weir.runtime.errors import ApiError, Fenced, Forbidden, NotFound, Throttled, Unavailable
from weir.runtime.resources import ACTION_REQUESTS, EVENTS, JOBS, KubeObject, Resource

STEP = proposal().name
NO = Forbidden("POST /x: exceeded quota", status=403)
AWAY = Unavailable("the webhook of Jobs is away", status=500)


@pytest.fixture
def world() -> World:
    made = World()
    made.policy()
    made.rollout()
    return made


def broken(world: World, resource: Resource, error: ApiError, *names: str) -> list[str]:
    """Every creation of that kind (and of these names, if any) fails; returns the names that are asked for."""
    asked: list[str] = []

    def answer(verb: str, kind: Resource, name: str) -> ApiError | None:
        if (verb, kind) != ("create", resource) or (names and name not in names):
            return None
        asked.append(name)
        return error

    world.broken = answer
    return asked


def count_attempts(world: World, resource: Resource) -> list[str]:
    asked: list[str] = []
    world.broken = lambda verb, kind, name: asked.append(name) if (verb, kind) == ("create", resource) else None
    return asked


# --- refused -----------------------------------------------------------------------------------------------------------


async def test_given_a_proposal_that_is_refused_and_still_wanted_then_it_is_asked_for_again_after_half_a_minute(
    world: World,
) -> None:
    asked = broken(world, ACTION_REQUESTS, NO)
    world.decide(AgentPolicyStatus(message="m"), proposals=(proposal(),))
    assert await world.look() == SOON

    # The decision that knows of it is stored, and no look follows at once.
    assert await world.look() == 30.0
    assert world.seen[-1].refused == {STEP: "exceeded quota"}
    world.elapsed += 29.0
    assert await world.look() == 1.0
    assert asked == [STEP]

    world.elapsed += 1.0
    assert await world.look() == 30.0
    assert asked == [STEP, STEP]
    assert world.seen[-1].refused == {STEP: "exceeded quota"}

    again = count_attempts(world, ACTION_REQUESTS)
    world.elapsed += 30.0
    assert await world.look() is None
    await world.look()
    assert again == [STEP]
    assert world.seen[-1].refused == {}


async def test_given_another_reason_for_a_refusal_then_the_next_decision_is_told_at_once(world: World) -> None:
    broken(world, ACTION_REQUESTS, NO)
    world.decide(proposals=(proposal(),))
    await world.look()
    await world.look()
    world.elapsed += 30.0
    broken(world, ACTION_REQUESTS, Forbidden("POST /x: no such verb", status=403))

    assert await world.look() == SOON
    await world.look()
    assert world.seen[-1].refused == {STEP: "no such verb"}


# --- failed ------------------------------------------------------------------------------------------------------------


async def test_given_a_make_that_goes_on_failing_then_it_backs_off_alone_and_the_policy_does_not(world: World) -> None:
    asked = broken(world, JOBS, AWAY)
    world.decide(makes=(job(),), wake_at=world.now + 3.0)
    waits = []
    for _ in range(9):
        world.decide(makes=(job(),), wake_at=world.now + 3.0)
        wait = await world.look()
        assert wait is not None
        waits.append(wait)
        world.now, world.elapsed = world.now + wait, world.elapsed + wait
    assert waits == [0.5, 1.0, 2.0, 3.0, 1.0, 3.0, 3.0, 2.0, 3.0]
    assert len(asked) == 6


async def test_given_a_make_that_failed_last_time_then_results_are_written_before_it_is_tried_again(
    world: World,
) -> None:
    world.request("no", "Deny")
    broken(world, JOBS, AWAY, "train-1")
    world.decide(makes=(job(),))
    await world.look()

    result = AgentResult("uid-no", "no", "Succeeded", "denied")
    world.decide(makes=(job(), job("train-2")), proposals=(proposal(),), results=(result,))
    world.broken = lambda *_: None
    world.elapsed += 0.5
    await world.look()

    assert [write[2] for write in world.writes] == [STEP, "train-2", "no", "train-1"]


async def test_given_a_look_that_is_cut_off_in_a_make_then_the_next_one_does_what_is_behind_it_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.request("no", "Deny")
    result = AgentResult("uid-no", "no", "Succeeded", "denied")
    world.decide(makes=(job(), job("train-2")), results=(result,))
    create = world.create

    async def hangs(resource: Resource, body: KubeObject, **more: Any) -> KubeObject:
        if body["metadata"].get("name") == "train-1":
            reached.set()
            await asyncio.Event().wait()
        return await create(resource, body, **more)

    monkeypatch.setattr(world, "create", hangs)
    for written in ([], ["train-2", "no"]):
        world.elapsed += 2.0
        reached = asyncio.Event()
        look = asyncio.create_task(world.look())
        await asyncio.wait_for(reached.wait(), 5.0)
        look.cancel()
        await asyncio.wait([look])
        assert look.cancelled()
        assert [write[2] for write in world.writes] == written


async def test_given_an_api_server_that_is_busy_then_it_gets_the_time_that_it_asks_for(world: World) -> None:
    broken(world, JOBS, Throttled("busy", status=429, retry_after=7.0))
    world.decide(makes=(job(),))
    assert await world.look() == 7.0


async def test_given_other_failures_before_then_a_denial_is_not_believed_earlier(world: World) -> None:
    for error in (*[AWAY] * 9, *[NotFound("POST /x: 404", status=404)] * 5):
        broken(world, JOBS, error)
        world.decide(makes=(job(),))
        assert await world.look() != SOON
        world.elapsed += 60.0
    broken(world, JOBS, NotFound("POST /x: 404", status=404))
    assert await world.look() == SOON


async def test_given_a_leadership_that_is_lost_then_nothing_more_is_tried(world: World) -> None:
    asked = broken(world, JOBS, Fenced("not the leader"))
    world.decide(makes=(job(), job("train-2")))
    with pytest.raises(Fenced):
        await world.look()
    assert asked == ["train-1"]


# --- slow --------------------------------------------------------------------------------------------------------------


async def test_given_events_that_hang_then_the_ledger_is_written_and_all_that_follows_from_it_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.controller.agents.TELL_FIRST", 0.02)
    monkeypatch.setattr("weir.controller.agents.TELL_REST", 0.02)
    create = world.create

    async def hangs(resource: Resource, body: KubeObject, **more: Any) -> KubeObject:
        if resource is EVENTS:
            world.writes.append(("try", "Event", ""))
            await asyncio.Event().wait()
        return await create(resource, body, **more)

    monkeypatch.setattr(world, "create", hangs)
    notes = tuple(AgentNote("AgentSilent", f"step {n}", warning=True, rollout="digits") for n in range(3))
    world.decide(AgentPolicyStatus(message="m"), proposals=(proposal(),), notes=notes)

    await asyncio.wait_for(world.look(), 5.0)

    assert world.writes == [
        ("try", "Event", ""),
        ("status", "AgentPolicy", "agents"),
        ("create", "ActionRequest", STEP),
        ("try", "Event", ""),
    ]


async def test_given_events_that_are_slow_at_first_then_the_rest_is_told_in_the_end_under_the_same_names(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tuple(AgentNote("AgentSilent", f"step {n}", rollout="digits") for n in range(3))
    other = World()
    other.policy()
    other.rollout()
    other.decide(AgentPolicyStatus(message="m"), notes=notes)
    await other.look()
    monkeypatch.setattr("weir.controller.agents.TELL_FIRST", 0.02)
    create = world.create
    asked: list[str] = []

    async def slow(resource: Resource, body: KubeObject, **more: Any) -> KubeObject:
        if resource is EVENTS:
            asked.append(body["metadata"]["name"])
            if len(asked) == 2:
                await asyncio.Event().wait()
        return await create(resource, body, **more)

    monkeypatch.setattr(world, "create", slow)
    world.decide(AgentPolicyStatus(message="m"), notes=notes)
    await world.look()

    kinds = [write[1] for write in world.writes]
    assert kinds == ["Event", "AgentPolicy", "Event", "Event"]
    assert asked[1] == asked[2]
    names = {event["metadata"]["name"] for event in world.cache.select(EVENTS, SPACE)}
    assert names == {event["metadata"]["name"] for event in other.cache.select(EVENTS, SPACE)}
