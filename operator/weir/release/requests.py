"""ActionRequests and pauses: what people ask for, executed exactly once because the result lives in the same status."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from weir.api.action import HandledRequest, Position
from weir.api.actionrequest import action_digest
from weir.api.base import format_time, seconds
from weir.api.rolloutstatus import Force, Outcome, Pause, Phase
from weir.release import budget
from weir.release.decision import RequestResult
from weir.release.observation import Request
from weir.release.phase import phase as phase_of
from weir.release.turn import Turn

_REMEMBERED = 20
_MAX_ACTOR = 253
_MAX_MESSAGE = 1024


class Refused(Exception):
    """The request does not fit the state of the Rollout; the text says why."""


def handle(turn: Turn) -> None:
    """Executes every request that has no result yet, and reports results of earlier ones again.

    Aborts come first, then the oldest. No more are executed than can be remembered until their results are written: a
    forgotten one would run twice.
    """
    order = sorted(turn.obs.requests, key=lambda r: (r.spec.action != "Abort", r.created, r.name, r.uid))
    waiting = {request.uid: request for request in order}
    handled = {entry.uid: entry for entry in turn.status.handled_requests}
    for uid, request in waiting.items():
        entry = handled.get(uid)
        if entry is None:
            if len(waiting.keys() & handled.keys()) >= _REMEMBERED:
                continue
            entry = handled[uid] = _execute(turn, request)
            turn.set(handled_requests=_remember([entry, *turn.status.handled_requests], waiting))
        turn.results.append(RequestResult(uid, request.name, entry.phase, entry.message, entry))


def _remember(entries: list[HandledRequest], waiting: Container[str]) -> list[HandledRequest]:
    """The newest entries; where there is no room for all, those without a written result stay."""
    while len(entries) > _REMEMBERED:
        done = [place for place, entry in enumerate(entries) if entry.uid not in waiting]
        del entries[done[-1] if done else -1]
    return entries


def _execute(turn: Turn, request: Request) -> HandledRequest:
    before = position(turn)
    phase: Literal["Succeeded", "Refused"] = "Succeeded"
    try:
        _check_expectations(turn, request)
        message = _VERBS[request.spec.action](turn, request)
    except Refused as refusal:
        phase, message = "Refused", str(refusal)
    return HandledRequest(
        uid=request.uid,
        name=request.name,
        action=request.spec.action,
        by=_actor(request),
        phase=phase,
        message=message[:_MAX_MESSAGE],
        at=turn.now,
        digest=action_digest(request.spec),
        before=before,
        after=position(turn),
    )


def position(turn: Turn) -> Position:
    """Where the Rollout stands at this moment of the turn."""
    status = turn.status
    return Position(
        release=status.release,
        phase=str(phase_of(turn)),
        stage=status.stage.name if status.stage is not None else "",
        weight=status.weight,
        stable=status.stable.label if status.stable is not None else "",
        candidate=status.candidate.label if status.candidate is not None else "",
    )


def _check_expectations(turn: Turn, request: Request) -> None:
    expect = request.spec.expect
    if expect is None:
        return
    stage = turn.status.stage.name if turn.status.stage else ""
    for name, wanted, found in (
        ("release", expect.release, turn.status.release),
        ("stage", expect.stage, stage),
        ("weight", expect.weight, turn.status.weight),
    ):
        if wanted is not None and wanted != found:
            raise Refused(f"expected {name} {wanted}, but it is {found or 'none'}; look again and create a new request")


def _actor(request: Request) -> str:
    return request.requester[:_MAX_ACTOR]


def _promote(turn: Turn, request: Request) -> str:
    held = budget.held_back(turn)
    if held is not None:
        turn.start(held)
    candidate = turn.status.candidate
    if candidate is None or turn.status.ending is not None:
        raise Refused("there is no candidate to promote")
    turn.set(force=Force(by=_actor(request), reason=request.spec.reason), pause=None)
    turn.note(
        Phase.SHIFTING, "PromoteRequested", f"gates skipped: {request.spec.reason}", actor=_actor(request), warning=True
    )
    return f"promoting {candidate.label} as fast as its pods can carry the traffic; gates are skipped"


def _abort(turn: Turn, request: Request) -> str:
    candidate = turn.status.candidate
    if candidate is None or turn.status.ending is not None:
        raise Refused("there is no release to abort")
    turn.set(pause=None)
    turn.end(Outcome.ABORTED, "Aborted", request.spec.reason, actor=_actor(request))
    return f"release {turn.status.release} of {candidate.label} is being put back"


def _retry(turn: Turn, request: Request) -> str:
    target = turn.obs.target
    if turn.status.candidate is not None:
        raise Refused("a release is running; abort it first")
    if target is None or all(f.revision != target.revision for f in turn.status.failed):
        raise Refused("the version that spec.versionRef names has not failed; there is nothing to retry")
    turn.set(failed=[f for f in turn.status.failed if f.revision != target.revision])
    if budget.held_back(turn) is not None and not turn.paused:
        turn.start(target)
    return f"{target.label} will be released again"


def _pause(turn: Turn, request: Request) -> str:
    until = turn.after(seconds(request.spec.duration)) if request.spec.duration else None
    since = turn.status.pause.since if turn.status.pause else turn.now
    turn.set(pause=Pause(since=since, until=until, by=_actor(request), reason=request.spec.reason))
    told = f"paused until {format_time(until)}" if until else "paused until a Resume"
    if turn.status.candidate is not None:
        turn.note(Phase.PAUSED, "Paused", f"{told}: {request.spec.reason}", actor=_actor(request))
    return told


def _resume(turn: Turn, request: Request) -> str:
    if turn.status.pause is None:
        told = "; spec.paused is true: set it to false" if turn.view.spec.paused else ""
        raise Refused("the Rollout is not paused by a request" + told)
    resume(turn, actor=_actor(request))
    return "resumed"


_VERBS = {"Promote": _promote, "Abort": _abort, "Retry": _retry, "Pause": _pause, "Resume": _resume}


def resume(turn: Turn, *, actor: str = "weir") -> None:
    """Ends a pause by request."""
    turn.set(pause=None)
    if turn.status.candidate is not None:
        turn.note(Phase.SHIFTING, "Resumed", "the pause is over", actor=actor)


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
    if turn.paused and started is None and turn.status.candidate is not None:
        turn.set(paused_at=turn.now)
    elif started is not None and not turn.paused:
        _shift(turn, started)
        turn.set(paused_at=None)


def _shift(turn: Turn, started: float) -> None:
    """Moves stored times by the part of the pause that lies after them; ``started``: when it began."""
    status, length = turn.status, max(0.0, turn.now - started)
    if status.deadline is not None:
        turn.set(deadline=round(status.deadline + length, 3))
    if status.stage is not None and status.stage.evidence_from is not None:
        # Evidence may have begun during the pause; moved by all of it, it would begin in the future.
        begun = status.stage.evidence_from
        since = min(round(begun + length, 3), max(turn.now, begun))
        turn.set(stage=status.stage.model_copy(update={"evidence_from": since}))
