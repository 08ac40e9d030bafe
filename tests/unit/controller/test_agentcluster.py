"""The status of the ClusterAgentPolicy: whether it is accepted and enforced, and whom it bounds."""

from __future__ import annotations

from typing import Any, cast

import pytest

from weir.api.agentpolicy import POLICY_NAME
from weir.controller.act import SOON, Actor
from weir.controller.agentcluster import ClusterAgentReconciler
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.errors import NotFound
from weir.runtime.resources import AGENT_POLICIES, CLUSTER_AGENT_POLICIES, KubeObject, ObjectKey, Resource

KEY = ObjectKey(CLUSTER_AGENT_POLICIES, "", POLICY_NAME)
BOUNDS = {"limits": [{"action": "Abort"}]}


class World:
    """A cache, and an actor whose writes it shows."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.guard = StaleGuard(self.cache)
        self.problem: str | None = None
        self.written: list[dict[str, Any]] = []
        self.gone = False
        self.reconcile = ClusterAgentReconciler(
            cache=self.cache,
            guard=self.guard,
            actor=cast(Actor, self),
            guardrails=lambda: self.problem,
            wall=lambda: 1_800_000_000.0,
        )

    def put(self, spec: Any, status: Any = None) -> KubeObject:
        meta = {"name": POLICY_NAME, "uid": "c", "generation": 3, "resourceVersion": str(len(self.written) + 1)}
        return self.cache.put(CLUSTER_AGENT_POLICIES, {"metadata": meta, "spec": spec, "status": status or {}})[0]

    async def status(self, obj: KubeObject, status: dict[str, Any], resource: Resource) -> None:
        assert resource is CLUSTER_AGENT_POLICIES
        if self.gone:
            raise NotFound("gone", status=404)
        self.written.append(status)
        self.put(obj["spec"], status)

    async def look(self) -> float | None:
        return await self.reconcile(KEY, cast(Any, None))

    def told(self) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in self.written[-1]["conditions"]}


@pytest.fixture
def world() -> World:
    made = World()
    for namespace in ("a", "b"):
        meta = {"name": POLICY_NAME, "namespace": namespace, "uid": namespace, "resourceVersion": "1"}
        made.cache.put(AGENT_POLICIES, {"metadata": meta, "spec": {}})
    return made


async def test_given_bounds_then_it_is_told_whom_they_bound_and_written_once(world: World) -> None:
    world.put(BOUNDS)
    assert await world.look() is None
    assert (world.written[0]["namespaces"], world.written[0]["observedGeneration"]) == (2, 3)
    assert world.told() == {"Accepted": ("True", "Accepted"), "GuardrailsInstalled": ("True", "Installed")}
    await world.look()
    assert len(world.written) == 1


async def test_given_guardrails_that_are_missing_then_that_is_told(world: World) -> None:
    world.put(BOUNDS)
    world.problem = "ValidatingAdmissionPolicy weir-outer is missing"
    await world.look()
    assert world.told()["GuardrailsInstalled"] == ("False", "GuardrailsMissing")


async def test_given_bounds_that_cannot_be_read_then_the_field_is_named(world: World) -> None:
    world.put({"limits": "all"})
    await world.look()
    assert world.told()["Accepted"] == ("False", "InvalidSpec")
    assert any("spec.limits" in c["message"] for c in world.written[0]["conditions"])


async def test_given_bounds_that_are_gone_then_nothing_is_written(world: World) -> None:
    assert await world.look() is None
    world.put(BOUNDS)
    world.gone = True
    assert await world.look() is None
    assert world.written == []


async def test_given_our_own_write_that_is_not_seen_yet_then_it_is_looked_at_shortly_after(world: World) -> None:
    stored = world.put(BOUNDS)
    ahead = {**stored, "metadata": {**stored["metadata"], "resourceVersion": "99"}}
    world.guard.wrote(CLUSTER_AGENT_POLICIES, ahead)
    assert await world.look() == SOON
