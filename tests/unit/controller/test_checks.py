"""A check gets one Job, when it is its turn and its contract is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import objects as good
from weir.contract.digest import contract_digest
from weir.controller.checks import CheckReconciler, CheckSettings
from weir.runtime.errors import ApiError, Invalid, Unavailable
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    JOBS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    ObjectKey,
    Resource,
)

from .contractworld import SCOPE, SPACE, World

DIGEST = contract_digest(good.ODCS)


def accepted(world: World, **spec: Any) -> None:
    """An accepted contract, as its reconciler leaves it."""
    contract = world.contract(**spec)
    owner = {"kind": "DataContract", "name": "orders", "uid": contract["metadata"]["uid"], "controller": True}
    meta = {
        "name": "orders-rev",
        "labels": {"weir.dev/contract": "orders"},
        "annotations": {"weir.dev/digest": DIGEST},
        "ownerReferences": [owner],
    }
    world.put(CONTROLLER_REVISIONS, {"metadata": meta, "data": {"odcs": good.ODCS}, "revision": 1})
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    }
    generation = contract["metadata"]["generation"]
    status = {"observedGeneration": generation, "digest": DIGEST, "conditions": [condition]}
    world.put(DATA_CONTRACTS, {**contract, "status": status}, same=True)


class Runner:
    """The reconciler, and whom it has told of obstacles."""

    def __init__(self, world: World, at_once: int = 2) -> None:
        self.told: list[str] = []
        self.reconcile = CheckReconciler(
            client=world.client,
            cache=world.cache,
            guard=world.guard,
            book=world.book,
            events=world.events,
            settings=CheckSettings("weir-check:1", "weir-check", at_once),
            told=lambda key: self.told.append(key.name),
            profile=lambda *_: None,
            wall=lambda: world.now,
        )

    async def look(self, name: str) -> float | None:
        return await self.reconcile(ObjectKey(CONTRACT_CHECKS, SPACE, name), SCOPE)

    def obstacle(self, name: str) -> str:
        found = self.reconcile.obstacles.get(ObjectKey(CONTRACT_CHECKS, SPACE, name))
        return found.reason if found is not None else ""


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    accepted(made)
    return made


async def test_given_a_check_then_it_gets_its_objects_once(world: World) -> None:
    runner, _ = Runner(world), world.check("a")

    await runner.look("a")
    await runner.look("a")

    made = [(verb, resource) for verb, resource, _ in world.writes]
    assert made == [("create", r) for r in (SERVICE_ACCOUNTS, ROLE_BINDINGS, CONFIG_MAPS, JOBS)]
    job = world.cache.get(JOBS, SPACE, "a")
    assert job is not None
    assert job["metadata"]["annotations"]["weir.dev/digest"] == DIGEST


@pytest.mark.parametrize("lost", [SERVICE_ACCOUNTS, ROLE_BINDINGS, CONFIG_MAPS, JOBS])
async def test_given_a_write_that_fails_then_the_next_look_goes_on_from_there(world: World, lost: Resource) -> None:
    runner, _ = Runner(world), world.check("a")
    world.broken = lambda _, resource, __: Unavailable("gone") if resource is lost else None
    with pytest.raises(ApiError):
        await runner.look("a")

    world.broken = lambda *_: None
    await Runner(world).look("a")

    assert world.names(JOBS) == world.names(CONFIG_MAPS) == ["a"]


async def test_given_many_checks_at_once_then_two_run_and_the_next_one_when_one_ended(world: World) -> None:
    runner = Runner(world)
    for number in range(20):
        world.check(f"c{number:02}")
        world.now += 1

    await asyncio.gather(*(runner.look(f"c{number:02}") for number in reversed(range(20))))
    assert world.names(JOBS) == ["c00", "c01"]

    job = world.cache.get(JOBS, SPACE, "c00")
    assert job is not None
    world.put(JOBS, {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, same=True)
    world.finish("c00", digest=DIGEST)
    await asyncio.gather(*(runner.look(f"c{number:02}") for number in reversed(range(20))))

    assert world.names(JOBS) == ["c00", "c01", "c02"]
    assert runner.told == []


async def test_given_a_check_that_cannot_run_then_it_holds_nobody_up(world: World) -> None:
    runner = Runner(world, at_once=1)
    world.check("blocked", servers=["sea"])
    world.now += 1
    world.check("fine")

    assert await runner.look("blocked") is None
    await runner.look("fine")

    assert (runner.obstacle("blocked"), runner.told) == ("UnknownServer", ["blocked"])
    assert world.names(JOBS) == ["fine"]
    assert world.told("blocked") == ["UnknownServer"]


async def test_given_a_contract_that_is_not_accepted_then_no_job_runs_until_it_is() -> None:
    world = World()
    runner = Runner(world)
    world.check("a")
    await runner.look("a")
    assert runner.obstacle("a") == "NoContract"
    world.contract()
    await runner.look("a")
    assert runner.obstacle("a") == "ContractNotAccepted"
    assert world.names(JOBS) == []

    accepted(world)
    await runner.look("a")
    await runner.look("a")

    assert world.names(JOBS) == ["a"]
    assert runner.obstacle("a") == ""
    assert runner.told == ["a", "a", "a"]


async def test_given_no_servers_then_there_is_nothing_to_run() -> None:
    world = World()
    accepted(world, servers=None)
    world.check("a")
    runner = Runner(world)
    await runner.look("a")
    assert runner.obstacle("a") == "NoServers"


async def test_given_a_job_that_the_api_server_refuses_then_it_is_told_and_tried_again(world: World) -> None:
    runner, _ = Runner(world, at_once=1), world.check("a")
    world.broken = lambda _, resource, __: Invalid("limits.memory: much") if resource is JOBS else None

    again = await runner.look("a")

    assert again is not None
    assert runner.obstacle("a") == "JobRejected"
    world.now += 1
    world.check("b")
    world.broken = lambda *_: None
    await runner.look("b")
    assert world.names(JOBS) == ["b"]


async def test_given_another_object_of_that_name_then_it_is_left_alone(world: World) -> None:
    world.put(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"theirs": "1"}})
    world.check("a")
    runner = Runner(world)

    await runner.look("a")

    assert runner.obstacle("a") == "NameTaken"
    assert world.names(JOBS) == []


async def test_given_a_finished_check_then_nothing_is_made(world: World) -> None:
    world.check("a")
    world.finish("a", digest=DIGEST)
    await Runner(world).look("a")
    await Runner(world).look("gone")
    assert world.writes == []


async def test_given_a_name_that_is_too_long_then_it_is_said(world: World) -> None:
    world.check("a" * 58)
    runner = Runner(world)
    await runner.look("a" * 58)
    assert runner.obstacle("a" * 58) == "NameTooLong"
