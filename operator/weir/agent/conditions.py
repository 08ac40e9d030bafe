"""Conditions of an AgentPolicy, and the one sentence that says what is going on."""

from __future__ import annotations

from weir.agent.headroom import stopped
from weir.agent.limits import too_much_broken
from weir.agent.signals import ALIVE, silent, silent_at
from weir.agent.turn import Turn
from weir.api.assessment import Assessment
from weir.api.base import Condition, with_conditions

BLAST_RADIUS = "WithinBlastRadius"
GUARDRAILS = "GuardrailsInstalled"
_MAX_MESSAGE = 1024


def conditions(turn: Turn) -> list[Condition]:
    """Accepted, GuardrailsInstalled, AgentsAlive (where Leases are named), WithinBlastRadius and Ready."""
    parts = [_accepted(turn), _guardrails(turn), *_alive(turn), _within(turn)]
    made = [
        Condition(
            type=found.type,
            status=found.status,
            observed_generation=turn.obs.generation,
            last_transition_time=turn.now,
            reason=found.reason,
            message=found.message[:_MAX_MESSAGE],
        )
        for found in (*parts, _ready(turn, parts))
    ]
    return list(with_conditions(turn.old.conditions, made))


def condition(conditions: list[Condition], kind: str) -> Condition | None:
    """The condition of that type."""
    return next((found for found in conditions if found.type == kind), None)


def message(turn: Turn, ready: Condition | None) -> str:
    """What is going on, for people."""
    if ready is not None and ready.status != "True":
        return ready.message[:_MAX_MESSAGE]
    people = sum(entry.reason == "ApprovalNeeded" for entry in turn.waiting.values())
    told = [
        f"{count} {what}"
        for count, what in (
            (len(turn.granted), "under way"),
            (people, "waiting for people's consent"),
            (len(turn.waiting) - people, "waiting"),
        )
        if count
    ]
    return ", ".join(told) or "nothing is asked for"


def _accepted(turn: Turn) -> Assessment:
    if turn.rejection is not None:
        return Assessment("Accepted", "False", turn.rejection.reason, "; ".join(turn.rejection.problems))
    if turn.effective.wider:
        told = f"in force as the ClusterAgentPolicy narrows it: {'; '.join(turn.effective.wider)}"
        return Assessment("Accepted", "True", "Narrowed", told)
    return Assessment("Accepted", "True", "Accepted", "the policy is consistent and within the outer bounds")


def _guardrails(turn: Turn) -> Assessment:
    if turn.obs.guardrails is None:
        return Assessment(GUARDRAILS, "True", "Installed", "the API server enforces the policy")
    return Assessment(GUARDRAILS, "False", "Missing", turn.obs.guardrails or "the admission policies are missing")


def _alive(turn: Turn) -> list[Assessment]:
    fallback = turn.policy.fallback
    if fallback is None or not fallback.on_agent_silent:
        return []
    quiet = silent(turn.obs, turn.now)
    if quiet:
        return [Assessment(ALIVE, "False", "AgentSilent", f"not renewed for too long: {', '.join(quiet)}")]
    for at in silent_at(turn.obs, turn.now).values():
        turn.wake(at)
    awaited = [lease for lease in silent_at(turn.obs, turn.now) if turn.obs.heartbeats.get(lease) is None]
    told = f"not renewed yet, but there is time left: {', '.join(awaited)}" if awaited else ""
    return [Assessment(ALIVE, "True", "Alive", told or "every agent renews its Lease")]


def _within(turn: Turn) -> Assessment:
    told = too_much_broken(turn)
    if told:
        return Assessment(BLAST_RADIUS, "False", "TooMuchBroken", f"{told}; agents only lead back to safety until then")
    return Assessment(BLAST_RADIUS, "True", "Healthy", "not too many Rollouts are unhealthy")


def _ready(turn: Turn, parts: list[Assessment]) -> Assessment:
    for part in parts:
        if part.status != "True":
            return Assessment("Ready", "False", part.reason, part.message)
    paused = stopped(turn.policy, turn.obs.outer, namespace_paused=turn.obs.namespace_paused)
    if paused:
        return Assessment("Ready", "False", "Paused", paused)
    return Assessment("Ready", "True", "InForce", "the policy is in force")
