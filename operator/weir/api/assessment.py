"""What can be said of an object by reading its spec alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic.alias_generators import to_camel

from weir.api.agentpolicy import AgentPolicySpec
from weir.api.base import seconds


class Assessment(NamedTuple):
    """A condition without its times: type, status, reason for programs, message for people."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def _accepted(problems: list[str], not_enforced: list[str]) -> list[Assessment]:
    """The condition ``Accepted``: False with every problem, else True and plain about what is not enforced yet."""
    if problems:
        return [Assessment("Accepted", "False", "Inconsistent", "; ".join(problems)[:1024])]
    message = "accepted, but not enforced yet: " + ", ".join(not_enforced)
    return [Assessment("Accepted", "True", "SchemaOnly", message[:1024])]


def assess_agent_policy(spec: AgentPolicySpec) -> list[Assessment]:
    """Whether the policy is consistent in itself, and what is not enforced yet."""
    permits = {permit.action: permit for permit in spec.actions}
    problems = []
    for rule in spec.signal_rules or ():
        permit = permits.get(rule.action)
        if permit is not None and permit.approval.tier == "ManualOnly":
            problems.append(f"spec.rules[{rule.name}].action: {rule.action} is ManualOnly, so no rule can ask for it")
    for permit in spec.actions:
        step, limit = permit.bounds.max_step, permit.bounds.max_traffic_percent
        if step is not None and limit is not None and step > limit:
            problems.append(
                f"spec.actions[{permit.action}].bounds.maxStep: {step} is more than maxTrafficPercent {limit}"
            )
        if permit.cooldown and permit.budget and seconds(permit.cooldown.base) > seconds(permit.budget.window):
            problems.append(
                f"spec.actions[{permit.action}].cooldown.base: longer than budget.window, so the budget is never used"
            )
    parts = ("selector", "exploration", "concurrency", "damping", "loop", "blast_radius", "fallback", "override")
    pending = ["subjects", "actions", *(to_camel(p) for p in parts if getattr(spec, p) is not None)]
    if spec.signal_rules:
        pending.append("rules")
    if spec.paused:
        pending.append("paused")
    return _accepted(problems, pending)
