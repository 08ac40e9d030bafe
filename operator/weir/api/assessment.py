"""What can be said of an object by reading its spec alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic.alias_generators import to_camel

from weir.api.agentpolicy import AgentPolicySpec
from weir.api.base import seconds
from weir.api.datacontract import DataContractSpec


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


def _described_properties(odcs: dict[str, Any]) -> set[str]:
    """``OBJECT.PROPERTY`` of every property that the document describes, nested ones included."""

    def walk(prefix: str, properties: Any) -> Iterator[str]:
        for item in properties if isinstance(properties, list) else ():
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                path = f"{prefix}.{item['name']}"
                yield path
                yield from walk(path, item.get("properties"))

    return {path.removeprefix(".") for path in walk("", odcs.get("schema"))}


def _used_properties(spec: DataContractSpec) -> Iterator[tuple[str, str]]:
    for environment in spec.environments or ():
        for path in environment.exclude or ():
            yield f"spec.environments[{environment.name}].exclude", path
    if spec.freshness:
        yield "spec.freshness.element", spec.freshness.element
    for drift in spec.drift or ():
        yield f"spec.drift[{drift.name}].property", drift.property
    for profile in (spec.parity.profile or ()) if spec.parity else ():
        yield f"spec.parity.profile[{profile.property}].property", profile.property
    for entry in spec.semantics or ():
        yield f"spec.semantics[{entry.property}].property", entry.property


def assess_data_contract(spec: DataContractSpec) -> list[Assessment]:
    """Whether the contract is consistent in itself, and what is not enforced yet.

    A document behind ``source`` is not read here, so nothing is said of the properties that it describes.
    """
    problems = []
    if spec.odcs is not None:
        described = _described_properties(spec.odcs)
        problems += [
            f"{field}: the document describes no property {path!r}"
            for field, path in _used_properties(spec)
            if path not in described
        ]
        declared = {s.get("server") for s in spec.odcs.get("servers") or () if isinstance(s, dict)}
        problems += [
            f"spec.servers[{server.name}].odcsServer: the document has no server {server.odcs_server!r}"
            for server in spec.servers or ()
            if server.odcs_server not in declared
        ]
    parts = ("freshness", "drift", "parity", "semantics")
    pending = ["the document's checks", *(p for p in parts if getattr(spec, p)), "compatibility", "enforcement"]
    if spec.metric_rules:
        pending.insert(1, "rules")
    return _accepted(problems, pending)


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
