"""Conditions of the policy, its effective permits, and its message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import NOW, World, condition, permits, releasing, spec_of
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec


def conditions(world: World) -> dict[str, tuple[str, str]]:
    world.look()
    return {found.type: (found.status, found.reason) for found in world.status.conditions}


def test_given_a_good_policy_then_it_is_in_force() -> None:
    world = World()

    assert conditions(world) == {
        "Accepted": ("True", "Accepted"),
        "GuardrailsInstalled": ("True", "Installed"),
        "Ready": ("True", "InForce"),
        "WithinBlastRadius": ("True", "Healthy"),
    }
    assert world.status.message == "nothing is asked for"
    assert world.status.observed_generation == 1


SILENT = {"onAgentSilent": [{"lease": "tuner", "after": "1m"}]}


@pytest.mark.parametrize(
    ("policy", "changes", "kind", "reason"),
    [
        ({"permits": permits(skip={"bounds": {"maxStep": 1}})}, {}, "Accepted", "Inconsistent"),
        ({}, {"outer_broken": "spec.limits: too many"}, "Accepted", "OuterBoundsUnknown"),
        ({}, {"guardrails": "weir-permits is missing"}, "GuardrailsInstalled", "Missing"),
        ({"fallback": SILENT}, {"heartbeats": {"tuner": NOW - 60}}, "AgentsAlive", "AgentSilent"),
        ({"paused": True}, {}, "Ready", "Paused"),
        ({}, {"namespace_paused": True}, "Ready", "Paused"),
    ],
)
def test_given_something_wrong_then_its_condition_and_ready_say_so(
    policy: dict[str, Any], changes: dict[str, Any], kind: str, reason: str
) -> None:
    world = World(spec_of(**policy))
    world.changes.update(changes)

    found = conditions(world)

    assert found[kind] == ("False", reason)
    assert found["Ready"] == ("False", reason)
    ready = next(entry for entry in world.status.conditions if entry.type == "Ready")
    assert world.status.message == ready.message


def test_given_an_agent_that_lives_then_the_next_look_is_when_it_would_be_silent() -> None:
    world = World(spec_of(fallback=SILENT))
    world.changes["heartbeats"] = {"tuner": world.now - 20}

    assert conditions(world)["AgentsAlive"] == ("True", "Alive")
    assert world.look().wake_at == world.now + 40


def test_given_a_new_policy_then_an_agent_without_a_renewal_has_its_time_first() -> None:
    world = World(spec_of(fallback=SILENT))

    assert conditions(world)["AgentsAlive"] == ("True", "Alive")

    assert world.look().wake_at == world.now + 60
    world.wait("1m")
    assert conditions(world)["AgentsAlive"] == ("False", "AgentSilent")
    world.edit(spec_of(fallback=SILENT, paused=True))
    assert conditions(world)["AgentsAlive"] == ("False", "AgentSilent"), "a change gives no more time"


def test_given_a_policy_that_cannot_be_read_then_it_is_not_accepted() -> None:
    world = World()
    world.spec = None

    assert conditions(world)["Accepted"] == ("False", "InvalidSpec")


def test_given_a_policy_that_is_narrowed_then_it_is_accepted_and_says_to_what() -> None:
    world = World()
    world.outer = ClusterAgentPolicySpec.model_validate({"limits": [{"action": "ShiftTraffic", "maxStep": 5}]})

    found = conditions(world)

    assert found["Accepted"] == ("True", "Narrowed")
    assert found["Ready"] == ("True", "InForce")
    accepted = next(entry for entry in world.status.conditions if entry.type == "Accepted")
    assert "spec.permits[shift]: bounds.maxStep is 5" in accepted.message
    assert "spec.permits[skip]: the ClusterAgentPolicy does not allow Skip" in accepted.message


def test_given_a_condition_that_stays_then_its_time_stays() -> None:
    world = World()
    world.look()
    before = world.status
    world.wait("1h")
    world.look()

    assert world.status == before


def test_given_too_much_broken_then_people_are_called_once_and_told_when_it_is_over() -> None:
    world = World(spec_of(), *(releasing(name) for name in ("a", "b", "c")))
    for name in ("a", "b"):
        world.set(name, conditions=[condition("Stalled", "True")])
    assert conditions(world)["WithinBlastRadius"] == ("False", "TooMuchBroken")
    assert "2 of 3 Rollouts are unhealthy (a, b)" in world.status.message
    world.look()
    world.set("a", conditions=[])
    world.look()

    assert world.told() == ["BlastRadiusExceeded", "BlastRadiusRestored"]


def test_given_outer_bounds_and_use_then_the_effective_permits_show_both() -> None:
    world = World()
    world.outer = ClusterAgentPolicySpec.model_validate(
        {"limits": [{"action": "Skip", "maxPerHour": 12}, {"action": "Abort"}]}
    )
    world.ask("skip")
    decision = world.look()

    found = {entry.name: entry for entry in world.status.effective}
    skip = found["skip"]
    assert (skip.summary, skip.narrowed, skip.used) == ("Skip; at most 2 in 10m", "budget.limit is 2 in 10m", 1)
    assert skip.resets_at is not None
    assert decision.wake_at is not None
    assert decision.wake_at <= skip.resets_at
    assert found["promote"].summary == "nothing: the ClusterAgentPolicy does not allow Promote"
    assert found["stop"].resets_at is None


def test_given_requests_then_the_message_counts_them() -> None:
    world = World(spec_of(), releasing("a"), releasing("b"))
    world.ask("skip", on="a")
    world.ask("go-on", on="a")
    world.ask("promote", on="b")
    world.look()

    assert world.status.message == "1 under way, 1 waiting for people's consent, 1 waiting"


def test_given_a_denied_request_then_people_are_told_once() -> None:
    world = World()
    world.ask("skip", by="mallory")
    world.look()
    world.look()

    assert world.told() == ["RequestDenied"]
