"""How well a Rollout does, as far as agents' actions depend on it."""

from __future__ import annotations

from weir.agent.observation import RolloutFacts

BUDGET = "BudgetAvailable"
"""Condition of a Rollout that has an error budget: False or Unknown while nothing may be risked."""


def unhealthy(facts: RolloutFacts) -> bool:
    """Whether a Rollout needs somebody: it stalls, what serves is not well, or its error budget burns."""
    found = {condition.type: condition for condition in facts.status.conditions}
    ready, stalled, left = found.get("Ready"), found.get("Stalled"), found.get(BUDGET)
    if stalled is not None and stalled.status == "True":
        return True
    if left is not None and left.status == "False":
        return True
    return ready is not None and ready.status == "False" and ready.reason == "StableUnhealthy"


def burning(facts: RolloutFacts) -> bool:
    """Whether its error budget burns or is not known."""
    return any(condition.type == BUDGET and condition.status != "True" for condition in facts.status.conditions)
