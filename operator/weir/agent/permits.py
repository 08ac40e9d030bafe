"""Permits and who may use them: subjects, windows of a budget, and the names that its slots have.

A budgeted permit demands the name ``<permit>-<window>-<slot>``: the API server keeps names unique, so it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from math import floor
from typing import NamedTuple

from weir.api.agentpermit import Budget, Permit
from weir.api.agentpolicy import AgentPolicySpec, RolloutSelector, Subject
from weir.api.base import seconds

SERVICE_ACCOUNT = "system:serviceaccount:"
"""Prefix of the user names of programs."""

FALLBACK_PREFIX = "fallback-"
"""With it begin the names of what Weir asks for without agents; admission refuses them to everybody else."""

_HOUR = 3600


class Window(NamedTuple):
    """A window of a budget: its number since the epoch, its first second, and the second after its last."""

    number: int
    begins: float
    ends: float


def length(budget: Budget | None) -> int:
    """Whole seconds of a budget's window; an hour where there is no budget."""
    return max(1, floor(seconds(budget.window))) if budget is not None else _HOUR


def window(permit: Permit, now: float) -> Window:
    """The window of the permit's budget that ``now`` (seconds since the epoch) is in; an hour's without a budget."""
    size = length(permit.budget)
    number = floor(now) // size
    return Window(number, float(number * size), float((number + 1) * size))


def slot_name(permit: Permit, created: float, slot: int) -> str:
    """Name of a request in that slot (from 0) of the window that ``created`` (seconds since the epoch) is in."""
    return f"{permit.name}-{window(permit, created).number}-{slot}"


def slot_of(permit: Permit, name: str, created: float) -> int | None:
    """Slot that the name of a request created then has; None where it is not a slot of that window."""
    prefix = f"{permit.name}-{window(permit, created).number}-"
    digits = name.removeprefix(prefix)
    if not name.startswith(prefix) or not (digits.isascii() and digits.isdigit()) or str(int(digits)) != digits:
        return None
    return int(digits)


def taken(permit: Permit, names: Iterable[str], now: float) -> frozenset[int]:
    """Slots of the window that ``now`` is in that requests of those names have."""
    return frozenset(slot for name in names if (slot := slot_of(permit, name, now)) is not None)


def free_slot(permit: Permit, names: Iterable[str], now: float) -> int | None:
    """Lowest free slot of the window that ``now`` is in; None where the budget is used up."""
    used = taken(permit, names, now)
    slots = range(permit.budget.limit if permit.budget is not None else len(used) + 1)
    return next((slot for slot in slots if slot not in used), None)


def in_share(uid: str, share: int) -> bool:
    """Whether a request belongs to that share (percent) of requests; the same for ever."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8], "big") % 100 < share


def user_name(subject: Subject) -> str | None:
    """Name by which the API server knows the subject; None for a group, which has many."""
    if subject.kind == "ServiceAccount":
        return f"{SERVICE_ACCOUNT}{subject.namespace}:{subject.name}"
    return subject.name if subject.kind == "User" else None


def subject_of(policy: AgentPolicySpec, requester: str | None) -> Subject | None:
    """The subject with that user name; None where there is none. Members of a group are not known here."""
    return next((subject for subject in policy.subjects if requester and user_name(subject) == requester), None)


def allows(policy: AgentPolicySpec, permit: Permit, requester: str | None) -> bool:
    """Whether that user may use the permit.

    A user who is no subject by name may be a member of a group that is one: that is admission's to check.
    """
    those = [s for s in policy.subjects if permit.subjects is None or s.name in permit.subjects]
    return any(s.kind == "Group" or (requester and user_name(s) == requester) for s in those)


def selected(selector: RolloutSelector | None, rollout: str, labels: Mapping[str, str]) -> bool:
    """Whether the policy is for a Rollout of that name with those labels."""
    if selector is None:
        return True
    if selector.names is not None and rollout not in selector.names:
        return False
    return all(labels.get(key) == value for key, value in (selector.match_labels or {}).items())
