"""Requests of agents as people read them: who asks for what, what it waits for, and how to answer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weir.view.read import Moment, Node, wire
from weir.view.words import clock, duration

if TYPE_CHECKING:
    from weir.api.agentstatus import AgentPolicyStatus, Waiting
    from weir.runtime.resources import KubeObject

FALLBACK = "fallback-"
"""What the names of the requests begin with that Weir makes itself when agents fall silent."""

NEW = "New"
"""Phase of a request that nobody has looked at yet."""

_OPEN = (NEW, "Pending", "Running")
APPROVAL = "ApprovalNeeded"
_OVERRIDABLE = ("Cooldown", "Damped", "BlastRadius", "Exploration", "ErrorBudget", "Bucket", "Concurrency")
"""What a person with the right to override may let a request pass."""
_PROGRAM = "system:serviceaccount:"


@dataclass(frozen=True)
class AgentAction:
    """One request of an agent, of a rule, or of the fallback.

    ``reason``: what the requester says. ``message``: what it waits for, or what became of it; ``waits_for`` the same in
    one word, for programs. ``digest``: what an approval names. ``missing``: how many people still have to agree.
    """

    name: str
    namespace: str
    rollout: str
    action: str
    permit: str
    by: str
    reason: str
    phase: str
    message: str
    waits_for: str = ""
    rule: str = ""
    digest: str = ""
    created_at: Moment | None = None
    until: Moment | None = None
    agreed: tuple[str, ...] = ()
    missing: int = 0

    @property
    def open(self) -> bool:
        """Whether it has no final result yet."""
        return self.phase in _OPEN

    @property
    def answers(self) -> tuple[str, ...]:
        """Commands by which people can answer it now."""
        if not self.open or not self.waits_for:
            return ()
        name, place = shlex.quote(self.name), f"-n {self.namespace} -m REASON"
        pass_on = (f"kubectl weir approve --request {name} {place}",) if self.missing else ()
        if self.waits_for in _OVERRIDABLE:
            pass_on = (f"kubectl weir override {name} {place}",)
        return (*pass_on, f"kubectl weir deny {name} {place}")

    @property
    def line(self) -> str:
        """All of it in one line, for logs and pipes."""
        under = f"rule {self.rule}" if self.rule else self.permit or "-"
        return "  ".join((self.name, self.rollout, self.action, under, self.phase, self.message)).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        told: dict[str, Any] = wire(self)
        return told


def actions(
    requests: Sequence[KubeObject], ledger: AgentPolicyStatus | None, *, ended: bool = False
) -> list[AgentAction]:
    """What agents, rules and the fallback have asked for: what is open first, then the newest.

    Args:
        requests: ActionRequests of a namespace.
        ledger: status of its AgentPolicy; None where there is none.
        ended: also those that have ended.
    """
    waiting = {entry.uid: entry for entry in ledger.waiting} if ledger is not None else {}
    found = [_action(r, waiting.get(r["metadata"].get("uid") or "")) for r in requests if _of_agents(r)]
    kept = [action for action in found if ended or action.open]
    return sorted(kept, key=lambda a: (not a.open, -(a.created_at or 0.0), a.name))


def _of_agents(request: Mapping[str, Any]) -> bool:
    spec = request.get("spec") or {}
    return bool(spec.get("permit")) or str(request["metadata"]["name"]).startswith(FALLBACK)


def _action(request: KubeObject, waiting: Waiting | None) -> AgentAction:
    node = Node(request)
    phase = node.text("status", "phase") or NEW
    if phase not in _OPEN:
        waiting = None  # the ledger has not caught up yet
    agreed = tuple(consent.by for consent in waiting.consents) if waiting is not None else ()
    needed = waiting.quorum if waiting is not None and waiting.reason == APPROVAL else 0
    return AgentAction(
        name=node.text("metadata", "name"),
        namespace=node.text("metadata", "namespace"),
        rollout=node.text("spec", "rolloutRef", "name"),
        action=_what(node),
        permit=node.text("spec", "permit"),
        by=node.text("spec", "requester"),
        reason=one_line(node.text("spec", "reason")),
        phase=phase,
        message=one_line((waiting.message if waiting is not None else "") or node.text("status", "message"), 1024),
        waits_for=waiting.reason if waiting is not None else "",
        rule=node.text("spec", "rule"),
        digest=node.text("status", "digest"),
        created_at=node.time("metadata", "creationTimestamp"),
        until=Moment(waiting.until) if waiting is not None and waiting.until is not None else None,
        agreed=agreed,
        missing=max(0, needed - len(agreed)),
    )


def _what(node: Node) -> str:
    """The action with what matters most of its fields."""
    action, weight, version = node.text("spec", "action"), node.count("spec", "weight"), node.text("spec", "version")
    if weight is not None:
        return f"{action} {weight} %"
    return f"{action} {version}" if version else action


def card(
    action: AgentAction, request: KubeObject, user: str, now: float, *, about: str = "", ledger: bool = True
) -> str:
    """What somebody is asked to agree to, line by line.

    ``about``: the version that it is about, where known. ``ledger``: whether the AgentPolicy's status, which says who
    agreed, could be read.
    """
    spec = request.get("spec") or {}
    lines = [
        f"ActionRequest {action.name} in namespace {action.namespace}",
        f"  action    {action.action} of Rollout {action.rollout}",
        *([f"  version   {one_line(about)}"] if about else []),
        f"  asked by  {action.by or 'unknown'}, under permit {action.permit}{_by_rule(action)}",
        f"  reason    {action.reason or 'none given'}",
    ]
    lines += [f"  parameter {name}={one_line(text)}" for name, text in sorted((spec.get("parameters") or {}).items())]
    lines += [f"  it saw    {_evidence(entry)}" for entry in spec.get("evidence") or []]
    expect = ", ".join(f"{name} {one_line(str(value))}" for name, value in (spec.get("expect") or {}).items())
    lines.append(f"  expects   {expect or 'nothing'}")
    if action.created_at is not None:
        lines.append(f"  created   {clock(action.created_at, now)}, {duration(now - action.created_at)} ago")
    lines.append(f"  state     {action.phase}: {action.message or 'nobody has looked at it yet'}")
    agreed = ", ".join(action.agreed) or "nobody yet" if ledger else "not known: the AgentPolicy cannot be read"
    lines.append(f"  agreed    {agreed}{_needed(action)}")
    lines += [f"  digest    {action.digest or 'none yet'}", f"  you are   {user or 'unknown to this API server'}"]
    return "\n".join(lines)


def _by_rule(action: AgentAction) -> str:
    return f", by rule {action.rule} (no person and no language model)" if action.rule else ""


def _needed(action: AgentAction) -> str:
    return f"; {action.missing} more needed" if action.missing else ""


def _evidence(entry: Mapping[str, Any]) -> str:
    where = f" ({one_line(str(entry['ref']))})" if entry.get("ref") else ""
    return f"{entry.get('name')}: {one_line(str(entry.get('value') or 'no value'))}{where}"


def one_line(text: str, most: int = 160) -> str:
    """Text of somebody else in one line, cut, without what a terminal would obey."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def person(name: str) -> str:
    """A user name in short: ``namespace/name`` of a service account."""
    return name.removeprefix(_PROGRAM).replace(":", "/", 1) if name.startswith(_PROGRAM) else name
