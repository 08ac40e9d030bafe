"""A permit to release is for versions of the model that the Rollout serves: which model it is, people decide."""

from __future__ import annotations

from weir.agent.limits import Stop
from weir.agent.observation import AgentRequest
from weir.agent.turn import Turn


def other_model(turn: Turn, request: AgentRequest) -> list[Stop]:
    """Why a Release is not, or not yet, one of the same model; what nobody knows is not granted."""
    facts = turn.rollout(request.spec.rollout_ref.name)
    if request.spec.action != "Release" or facts is None:
        return []
    rollout, stable, wanted = facts.name, facts.status.stable, request.spec.version or ""
    if stable is None:
        told = f"{rollout} serves no version yet, so nobody knows of which model {wanted} must be"
        return [Stop("NotPermitted", told, hard=True, wait=True)]
    known = turn.obs.versions
    served, asked = known.get(stable.version), known.get(wanted)
    if served is None or asked is None:
        missing = wanted if asked is None else stable.version
        told = f"there is no ModelVersion {missing}, or it cannot be read, so nobody knows of which model it is"
        return [Stop("NotPermitted", f"{told}; create it, or let a person release {wanted}", hard=True, wait=True)]
    if served.model == asked.model:
        return []
    told = f"{wanted} is a version of {asked.model}, and {rollout} serves {served.model}"
    return [Stop("NotPermitted", f"{told}; only a person can release another model", hard=True)]
