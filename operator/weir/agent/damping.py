"""Damping of agents that go back and forth: each reversal adds a penalty that halves with time (as RFC 2439 does)."""

from __future__ import annotations

from decimal import Decimal
from math import log2

from weir.agent.turn import Direction, Turn
from weir.api.agentpolicy import Damping
from weir.api.agentstatus import Target
from weir.api.base import format_time, seconds

_DIGITS = 3


def penalty(damping: Damping, target: Target, at: float) -> float:
    """The penalty of a target at that time (seconds since the epoch)."""
    if target.penalty is None or target.penalty_at is None:
        return 0.0
    age = max(0.0, at - target.penalty_at) / seconds(damping.half_life)
    halved: float = 0.5**age
    return float(target.penalty) * halved


def moved(damping: Damping, target: Target, direction: Direction, at: float) -> Target:
    """The target after an action in that direction, executed at that time."""
    if direction == "":
        return target
    before, target = target.direction, target.model_copy(update={"direction": direction})
    if before in ("", direction):
        return target
    at = max(at, target.penalty_at or 0.0)
    value = penalty(damping, target, at) + damping.penalty
    since = target.suppressed_at
    if since is None and value >= damping.suppress_at:
        since = at
    new = {"penalty": Decimal(str(round(value, _DIGITS))), "penalty_at": round(at, 3), "suppressed_at": since}
    return target.model_copy(update=new)


def reused_at(damping: Damping, target: Target) -> float | None:
    """When a suppressed target is free again (seconds since the epoch); None where it is not suppressed."""
    if target.suppressed_at is None or target.penalty is None or target.penalty_at is None:
        return None
    longest = target.suppressed_at + seconds(damping.max_suppress)
    if damping.reuse_below == 0 or target.penalty <= 0:
        return round(longest, 3)
    halvings = max(0.0, log2(float(target.penalty) / damping.reuse_below))
    return round(min(longest, target.penalty_at + halvings * seconds(damping.half_life)), 3)


def refresh(turn: Turn) -> None:
    """Frees the targets whose time is over, and tells people of those that are newly suppressed."""
    damping, before = turn.policy.damping, {target.rollout: target for target in turn.old.targets}
    for name, target in list(turn.targets.items()):
        until = reused_at(damping, target)
        if until is None:
            continue
        if until <= turn.now:
            turn.targets[name] = target.model_copy(update={"suppressed_at": None})
            continue
        turn.wake(until)
        old = before.get(name)
        if old is None or old.suppressed_at is None:
            turn.note("Damped", message(name, until), warning=True, rollout=name)


def message(rollout: str, until: float) -> str:
    """What is said of a suppressed target."""
    return (
        f"actions on {rollout} went back and forth; until {format_time(until)} only those that lead back to safety are "
        "accepted. Find out why the agents disagree"
    )
