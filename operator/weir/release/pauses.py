"""Pauses by request, and time that does not count while a Rollout is paused."""

from __future__ import annotations

from weir.api.rolloutstatus import Phase
from weir.release.turn import WEIR, Cause, Turn


def resume(turn: Turn, *, cause: Cause = WEIR) -> None:
    """Ends a pause by request."""
    turn.set(pause=None)
    if turn.status.candidate is not None:
        turn.note(Phase.SHIFTING, "Resumed", "the pause is over", cause=cause)


def keep_time(turn: Turn) -> None:
    """Ends a timed pause that is due, and keeps paused time from counting towards deadlines and stage durations.

    ``paused_at`` is in the status from the first paused decision on; on the first one after the pause every stored
    time moves by the length of the pause (argoproj/argo-rollouts#1225: a deadline must not fire during a pause).
    """
    pause = turn.status.pause
    if pause is not None and pause.until is not None:
        if pause.until <= turn.now:
            resume(turn)
        else:
            turn.wake(pause.until)
    started = turn.status.paused_at
    begin(turn)
    if started is not None and not turn.paused:
        _shift(turn, started)
        turn.set(paused_at=None)


def begin(turn: Turn) -> None:
    """Notes a pause that began in the middle of a turn: a contract stops a release that has just started."""
    if turn.paused and turn.status.paused_at is None and turn.status.candidate is not None:
        turn.set(paused_at=turn.now)


def _shift(turn: Turn, started: float) -> None:
    """Moves stored times by the part of the pause that lies after them; ``started``: when it began."""
    status, length = turn.status, max(0.0, turn.now - started)
    if status.deadline is not None:
        turn.set(deadline=round(status.deadline + length, 3))
    approvals = [
        a.model_copy(update={"deadline": round(a.deadline + length, 3)}) if a.deadline is not None else a
        for a in status.approvals
    ]
    turn.set(approvals=approvals)
    if status.stage is not None and status.stage.evidence_from is not None:
        # Evidence may have begun during the pause; moved by all of it, it would begin in the future.
        begun = status.stage.evidence_from
        since = min(round(begun + length, 3), max(turn.now, begun))
        turn.set(stage=status.stage.model_copy(update={"evidence_from": since}))
