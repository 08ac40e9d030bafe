"""Outer bounds that are not known are not taken for none."""

from __future__ import annotations

import pytest

from tests.unit.controller.agentworld import World
from weir.agent.observation import AgentObservation
from weir.api.agentpolicy import POLICY_NAME
from weir.controller.agentobserve import NO_OUTER, AgentObserver, Live
from weir.controller.contractbook import ContractBook
from weir.runtime.resources import AGENT_POLICIES, CLUSTER_AGENT_POLICIES, Resource

OUTER = {"metadata": {"name": POLICY_NAME}, "spec": {"limits": [{"action": "Abort"}]}}


def observed(world: World, *, required: bool, missing: frozenset[Resource] = frozenset()) -> AgentObservation:
    book = ContractBook(world.client, world.cache, world.guard, lambda: world.now)
    observer = AgentObserver(world.cache, book, lambda: None, missing=lambda: missing, outer_required=required)
    return observer.observe(world.policy(), Live())


@pytest.mark.parametrize(("required", "told"), [(True, NO_OUTER), (False, "")])
def test_given_no_outer_bounds_then_they_are_not_known_only_where_they_are_required(required: bool, told: str) -> None:
    found = observed(World(), required=required)
    assert (found.outer, found.outer_broken) == (None, told)


@pytest.mark.parametrize("required", [True, False])
def test_given_outer_bounds_then_they_are_known(required: bool) -> None:
    world = World()
    world.put(CLUSTER_AGENT_POLICIES, OUTER)
    found = observed(world, required=required, missing=frozenset({AGENT_POLICIES}))
    assert found.outer is not None
    assert found.outer_broken == ""


@pytest.mark.parametrize("required", [True, False])
def test_given_a_kind_that_is_not_served_then_outer_bounds_are_not_known(required: bool) -> None:
    found = observed(World(), required=required, missing=frozenset({CLUSTER_AGENT_POLICIES}))
    assert found.outer is None
    assert "does not serve" in found.outer_broken
