"""Exploration: how much traffic versions that have not proven themselves may have, at once and in a window of time."""

from __future__ import annotations

from decimal import Decimal
from math import ceil, floor

from weir.agent.ledger import STARTING
from weir.agent.observation import RolloutFacts
from weir.agent.turn import Turn, weight_of
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpolicy import Exploration
from weir.api.agentstatus import Explored
from weir.api.base import seconds
from weir.api.rolloutstatus import RolloutStatus, Verdict

_SHARE_HOUR = Decimal(100 * 3_600_000)
"""Percent times milliseconds that are one share-hour."""

_LAST_DIGIT = Decimal("0.000000001")


def account(turn: Turn) -> None:
    """Adds up the share-hours of this window; rewritten only where the share has changed, or the window is another."""
    bounds, old = turn.effective.exploration, turn.old.exploration
    if bounds is None:
        # Of a policy that cannot be read nobody knows whether it bounds anything: what was had is not forgotten.
        turn.exploration = None if turn.obs.policy is not None else old
        return
    percent = sum(unproven(facts) for facts in turn.selected)
    begins = _begin(bounds, turn.now)
    ends = begins + seconds(bounds.window)
    if old is None or old.since != begins:
        # What was had before the window began does not count in it; what was under way then has gone on since.
        running = old.percent if old is not None else percent
        if running or percent:
            share_hours = _hours(running, turn.now - begins) if old is not None else Decimal(0)
            turn.exploration = _entry(begins, share_hours, turn.now, percent)
    elif old.percent != percent:
        turn.exploration = _entry(begins, used(old, turn.now), turn.now, percent)
    if percent:
        turn.wake(ends)
        turn.wake(_used_up_at(bounds, turn.exploration))


def unproven(facts: RolloutFacts) -> int:
    """Percent of requests that a version has which nothing has proven yet; one that is put back has served before."""
    status = facts.status
    return status.weight if status.candidate is not None and not status.restoring else 0


def given(asked: ActionRequestSpec, facts: RolloutFacts | None) -> int:
    """Percent of traffic that an unproven candidate may have after the action, as far as one can tell."""
    if asked.action == "ShiftTraffic":
        return asked.weight or 0
    if facts is None or asked.action == "Resume":
        return weight_of(facts)
    stages, status = (*_planned(facts), 100), facts.status
    if asked.action in STARTING:
        return stages[0]
    if _proven(status):
        return weight_of(facts)
    if asked.action == "Promote":
        return 100
    place = status.stage.index if status.stage is not None else -1
    most = status.ceiling.weight if status.ceiling is not None else 100
    return min(stages[min(place + 1, len(stages) - 1)], most)


def _planned(facts: RolloutFacts) -> tuple[int, ...]:
    """Percent that each stage gives a candidate, but for the last one, which gives it all.

    A ramp is known by what it begins with. Without a version that serves there is only the last stage.
    """
    canary = facts.spec.strategy.canary
    if facts.status.stable is None:
        return ()
    if canary is None:
        return (0,)  # the preview
    return (canary.ramp.min_weight,) if canary.ramp is not None else tuple(step.weight for step in canary.steps or ())


def _proven(status: RolloutStatus) -> bool:
    return bool(status.gates) and all(gate.verdict is Verdict.PASS for gate in status.gates)


def used(entry: Explored, now: float) -> Decimal:
    """Share-hours of the entry's window at that time."""
    return entry.share_hours + _hours(entry.percent, now - entry.at)


def left_at(turn: Turn) -> float | None:
    """When the window's share-hours come back (seconds since the epoch), where they are used up; None while some are
    left."""
    bounds, entry = turn.effective.exploration, turn.exploration
    if bounds is None or entry is None or bounds.max_share_hours is None:
        return None
    ends = entry.since + seconds(bounds.window)
    if ends <= turn.now or used(entry, turn.now) < bounds.max_share_hours:
        return None
    return ends


def _begin(bounds: Exploration, now: float) -> float:
    window = seconds(bounds.window)
    return round(floor(now / window) * window, 3)


def _used_up_at(bounds: Exploration, entry: Explored | None) -> float | None:
    """When the share-hours will be used up (seconds since the epoch), while the share stays as it is."""
    if entry is None or entry.percent == 0 or bounds.max_share_hours is None:
        return None
    left = max(Decimal(0), bounds.max_share_hours - entry.share_hours)
    return round(entry.at + ceil(left * _SHARE_HOUR / entry.percent) / 1000, 3)


def _hours(percent: int, length: float) -> Decimal:
    return percent * round(max(0.0, length) * 1000) / _SHARE_HOUR


def _entry(since: float, share_hours: Decimal, at: float, percent: int) -> Explored:
    return Explored(since=since, share_hours=share_hours.quantize(_LAST_DIGIT), at=at, percent=percent)
