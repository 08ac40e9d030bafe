"""A ceiling: somebody limits the candidate's weight; the plan goes on below it, and waits where it needs more.

Traffic beyond it goes back to stable at once, as far as stable's pods can carry it. While there is a ceiling nothing is
late: neither the release nor a gate; what harms still puts the release back. Lifting it gives the candidate what the
plan had given it already, no more.
"""

from __future__ import annotations

from weir.api.action import Ceiling
from weir.release.observation import Problem
from weir.release.phase import phase
from weir.release.turn import Cause, Turn

REASON = "CeilingSet"
"""Reason of a hold of a release that needs more traffic than somebody lets it have."""


def permits(turn: Turn, weight: int) -> bool:
    """Whether the candidate may get that weight (percent) for all that people have limited; else holds."""
    ceiling = turn.status.ceiling
    if ceiling is None or weight <= turn.most:
        return True
    turn.stand_down()  # who could not let it go on need not be asked
    turn.set(deadline=None)
    turn.hold(Problem(REASON, _told(turn, ceiling)))
    return False


def peoples(turn: Turn) -> Ceiling | None:
    """The limit that a person set, which no agent can lift."""
    ceiling, kept = turn.status.ceiling, turn.status.kept_ceiling
    return kept if ceiling is None or ceiling.authority is not None else ceiling


def lower(turn: Turn, weight: int, *, reason: str, cause: Cause) -> None:
    """Limits the candidate to that percent of requests, in place of any limit before."""
    request, authority = cause.request, cause.authority
    made = Ceiling(weight=weight, since=turn.now, by=cause.by, reason=reason, request=request, authority=authority)
    kept = peoples(turn) if authority is not None else None
    if kept is not None and weight == kept.weight:
        made, kept = kept, None
    ramp, stage = turn.status.ramp, turn.status.stage
    if ramp is not None and stage is not None and ramp.weight > stage.weight:
        # The pods that a ramp asked for are asked for again when it may rise.
        turn.set(ramp=ramp.model_copy(update={"weight": stage.weight}))
    turn.set(ceiling=made, kept_ceiling=kept)
    turn.note(phase(turn), "TrafficLimited", f"to {weight} % of requests: {reason}", cause=cause, warning=True)


def lift(turn: Turn, *, reason: str, cause: Cause) -> None:
    """Takes the limit away; gates have all of their time from now on."""
    ceiling, hold = turn.status.ceiling, turn.status.hold
    if ceiling is None:
        return
    turn.set(ceiling=None, kept_ceiling=None, lifted_at=turn.now)
    if hold is not None and hold.reason == REASON:
        turn.release_hold()
    turn.note(phase(turn), "TrafficLimitLifted", f"of {ceiling.weight} %: {reason}", cause=cause)


def _told(turn: Turn, ceiling: Ceiling) -> str:
    label = turn.status.candidate.label if turn.status.candidate is not None else "the candidate"
    coarse = f" ({turn.most} % in whole pods)" if turn.most < ceiling.weight else ""
    return (
        f"{ceiling.by} limited {label} to {ceiling.weight} % of requests{coarse}: {ceiling.reason}; lift it with "
        f"`kubectl weir shift {turn.view.name} --to 100`"
    )
