"""Outer bounds that may not be read: a permit is as strict as the operator says that they make it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import World, spec_of
from weir.agent.effective import effective
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.cli.agent_cluster import Agents

OWN: list[dict[str, Any]] = [
    {"name": "plain", "action": "ShiftTraffic"},
    {"name": "bound", "action": "ShiftTraffic", "bounds": {"maxStep": 20, "maxTrafficPercent": 60}},
    {"name": "often", "action": "ShiftTraffic", "budget": {"limit": 30, "window": "2h"}},
    {"name": "brief", "action": "ShiftTraffic", "budget": {"limit": 3, "window": "1m"}},
    {"name": "agreed", "action": "ShiftTraffic", "approval": {"tier": "Approve", "quorum": 2, "expiresAfter": "3h"}},
    {"name": "ship", "action": "Promote", "bounds": {"maxTrafficPercent": 100}},
    {"name": "stop", "action": "Abort", "budget": {"limit": 50, "window": "1h"}},
]
SHIFT = "ShiftTraffic"


@pytest.mark.parametrize(
    "limits",
    [
        [{"action": SHIFT}, {"action": "Promote"}, {"action": "Abort"}],
        [{"action": SHIFT, "maxStep": 5}, {"action": "Abort", "maxPerHour": 7}],
        [{"action": SHIFT, "maxStep": 0, "maxTrafficPercent": 40}, {"action": "Promote", "maxTrafficPercent": 90}],
        [{"action": SHIFT, "maxPerHour": 4}, {"action": "Promote", "maxPerHour": 1}],
        [{"action": SHIFT, "minTier": "Approve", "minQuorum": 3}, {"action": "Promote", "minTier": "Notify"}],
        [{"action": SHIFT, "minTier": "Approve"}, {"action": "Promote", "minTier": "ManualOnly"}],
        [{"action": SHIFT, "minTier": "ManualOnly", "maxPerHour": 60, "maxStep": 1}],
    ],
)
def test_given_outer_bounds_that_are_hidden_when_permits_are_read_then_they_are_as_with_those_that_can_be_read(
    limits: list[dict[str, Any]],
) -> None:
    outer = ClusterAgentPolicySpec.model_validate({"limits": limits})
    known, hidden = effective(policy(), outer), seen(outer).in_force
    assert dict(hidden.permits) == dict(known.permits)
    assert dict(hidden.forbidden) == dict(known.forbidden)


def test_given_a_switch_of_the_outer_bounds_that_is_hidden_when_it_is_on_then_the_permits_are_closed() -> None:
    limits = [{"action": SHIFT}]
    agents = seen(ClusterAgentPolicySpec.model_validate({"limits": limits, "paused": True}))
    assert agents.stopped().startswith("the ClusterAgentPolicy is paused")
    assert {row.closed for row in agents.headroom()} == {agents.stopped()}
    assert seen(ClusterAgentPolicySpec.model_validate({"limits": limits})).stopped() == ""


def seen(outer: ClusterAgentPolicySpec) -> Agents:
    """The agents as somebody sees them who reads what the operator writes, and not the outer bounds."""
    world = World(policy())
    world.outer = outer
    world.look()
    return Agents("team", world.generation, policy(), world.status, outer_hidden=True, now=world.now)


def policy() -> AgentPolicySpec:
    """A policy of permits that outer bounds can make stricter in each way."""
    return spec_of(permits=OWN, templates=None)
