"""What agents may still ask for now: of each permit what is used, what is left, and what the next request is called."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from weir.agent import bucket
from weir.agent.effective import effective
from weir.agent.permits import free_slot, slot_name, taken, window
from weir.api.action import SAFE_ACTIONS
from weir.api.agentpermit import Mode, Permit, Tier
from weir.api.agentpolicy import PAUSED_LABEL, AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus, Blocked
from weir.api.base import format_time
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec


@dataclass(frozen=True)
class Headroom:
    """What is left of a permit. Times are in seconds since the epoch.

    ``used`` counts the names of this window that are taken; ``limit`` is None where the permit has no budget.
    ``next_name``: what the next request must be called; empty where none is left, and where there is no budget: then
    any name does. ``blocked``: Rollouts for which the API server refuses the action until a time (in the mode Audit it
    only says so). ``closed``: why nothing at all can be asked for under the permit, empty where it is open.
    """

    permit: str
    action: str
    mode: Mode
    used: int
    limit: int | None
    resets_at: float | None
    next_name: str
    blocked: tuple[Blocked, ...] = ()
    tier: Tier = "None"
    quorum: int = 0
    rollouts: tuple[str, ...] = ()
    closed: str = ""

    @property
    def left(self) -> int | None:
        """Requests that are left in this window; None: as many as one likes."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def usable(self) -> bool:
        """Whether a request could be made now, for a Rollout that is not blocked. Audit refuses for no budget."""
        return not self.closed and (self.left != 0 or self.mode == "Audit")

    def to_dict(self) -> dict[str, Any]:
        """For programs: camelCase, times as text, absent values left out."""
        told: dict[str, Any] = {
            "permit": self.permit,
            "action": self.action,
            "mode": self.mode,
            "rollouts": list(self.rollouts) or None,
            "used": self.used,
            "limit": self.limit,
            "left": self.left,
            "resetsAt": None if self.resets_at is None else format_time(self.resets_at),
            "nextName": self.next_name or None,
            "tier": self.tier,
            "quorum": self.quorum or None,
            "blocked": [entry.to_dict() for entry in self.blocked],
            "closed": self.closed or None,
            "usable": self.usable,
        }
        return {key: value for key, value in told.items() if value is not None}


def headroom(
    policy: AgentPolicySpec,
    status: AgentPolicyStatus,
    requests: Collection[str],
    now: float,
    *,
    outer: ClusterAgentPolicySpec | None = None,
    namespace_paused: bool = False,
) -> list[Headroom]:
    """One row for each permit, in the order of the policy, as strict as the outer bounds.

    Args:
        policy: the AgentPolicy's spec.
        status: its status.
        requests: names of all ActionRequests of the namespace: each name can be had once.
        now: seconds since the epoch.
        outer: the ClusterAgentPolicy's spec, where there is one.
        namespace_paused: whether the namespace has the label that stops all agents.
    """
    names = frozenset(requests)
    everywhere = stopped(policy, outer, namespace_paused=namespace_paused)
    known = effective(policy, outer)
    rows = []
    for own in policy.permits:
        permit = known.permits.get(own.name, own)
        closed = everywhere or known.forbidden.get(own.name) or _closed(permit)
        rows.append(_row(permit, policy.mode, status.blocked, names, now=now, closed=closed))
    return rows


def stopped(
    policy: AgentPolicySpec, outer: ClusterAgentPolicySpec | None = None, *, namespace_paused: bool = False
) -> str:
    """Which kill switch is on, in a sentence; empty where none is."""
    if outer is not None and outer.paused:
        return "the ClusterAgentPolicy is paused: no agent in the cluster may ask for anything"
    if namespace_paused:
        return f"the namespace has the label {PAUSED_LABEL}=paused: no agent may ask for anything here"
    if policy.paused:
        return "the AgentPolicy is paused: no agent may ask for anything in this namespace"
    return ""


def tokens(policy: AgentPolicySpec, status: AgentPolicyStatus, now: float) -> float | None:
    """Tokens that the bucket of the policy holds now; None where it has no bucket."""
    return None if policy.bucket is None else bucket.tokens(policy.bucket, status.bucket, now)


def _row(
    permit: Permit, mode: Mode, blocked: Iterable[Blocked], names: Collection[str], *, now: float, closed: str
) -> Headroom:
    used, limit, ends, free = _slots(permit, names, now)
    return Headroom(
        permit=permit.name,
        action=permit.action,
        mode=permit.mode or mode,
        used=used,
        limit=limit,
        resets_at=ends,
        next_name=free,
        blocked=tuple(entry for entry in blocked if entry.until > now and _concerns(entry, permit)),
        tier=permit.approval.tier,
        quorum=permit.approval.quorum or 0,
        rollouts=tuple(permit.rollouts or ()),
        closed=closed,
    )


def _slots(permit: Permit, names: Collection[str], now: float) -> tuple[int, int | None, float | None, str]:
    """Used slots of the window, their number, the end of the window, and the name of the first free one."""
    if permit.budget is None:
        return 0, None, None, ""
    limit, free = permit.budget.limit, free_slot(permit, names, now)
    used = sum(slot < limit for slot in taken(permit, names, now))
    return used, limit, window(permit, now).ends, "" if free is None else slot_name(permit, now, free)


def _concerns(entry: Blocked, permit: Permit) -> bool:
    if permit.action in SAFE_ACTIONS or entry.action not in ("", permit.action):
        return False
    return permit.rollouts is None or entry.rollout in permit.rollouts


def _closed(permit: Permit) -> str:
    """Why the permit allows nothing, whatever is asked for."""
    return "its tier is ManualOnly: only people may do it" if permit.approval.tier == "ManualOnly" else ""
