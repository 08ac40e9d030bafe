"""ActionRequests: executed exactly once, because what became of them lives in the same status as what they did."""

from __future__ import annotations

from collections.abc import Container

from weir.api.action import Ended, HandledRequest, Position
from weir.api.actionrequest import action_digest
from weir.api.base import format_time, seconds
from weir.release.decision import RequestResult
from weir.release.observation import Request
from weir.release.phase import phase as phase_of
from weir.release.turn import Turn
from weir.release.verbs import VERBS, Refused, Waits, cause_of

_REMEMBERED = 20
_MAX_MESSAGE = 1024


def handle(turn: Turn) -> bool:
    """Executes every request that has no result yet and whose moment has come; True where one was.

    Aborts come first, then the oldest. No more are executed than can be remembered until their results are written: a
    forgotten one would run twice.
    """
    turn.results.clear()
    order = sorted(turn.obs.requests, key=lambda r: (r.spec.action != "Abort", r.created, r.name, r.uid))
    waiting = {request.uid: request for request in order}
    handled = {entry.uid for entry in turn.status.handled_requests}
    before = len(handled)
    for uid, request in waiting.items():
        if uid in handled or len(waiting.keys() & handled) >= _REMEMBERED:
            continue
        entry = _execute(turn, request)
        if entry is not None:
            handled.add(uid)
            turn.set(handled_requests=_remember([entry, *turn.status.handled_requests], waiting))
    return len(handled) > before


def conclude(turn: Turn, before: Container[str]) -> None:
    """Says where the decision left the Rollout, and reports every result that is not written yet.

    ``before``: uids of requests that were handled in earlier decisions.
    """
    after = position(turn)
    entries = [
        entry if entry.uid in before else entry.model_copy(update={"after": after})
        for entry in turn.status.handled_requests
    ]
    turn.set(handled_requests=entries)
    known = {entry.uid: entry for entry in entries}
    for request in turn.obs.requests:
        entry = known.get(request.uid)
        if entry is not None:
            turn.results.append(RequestResult(request.uid, request.name, entry.phase, entry.message, entry))


def _remember(entries: list[HandledRequest], waiting: Container[str]) -> list[HandledRequest]:
    """The newest entries; where there is no room for all, those without a written result stay."""
    while len(entries) > _REMEMBERED:
        done = [place for place, entry in enumerate(entries) if entry.uid not in waiting]
        del entries[done[-1] if done else -1]
    return entries


def _execute(turn: Turn, request: Request) -> HandledRequest | None:
    """What became of it; None while it waits for its moment."""
    begins = max(request.created, request.spec.not_before or 0.0)
    expires = round(begins + seconds(request.spec.expires_after), 3)
    before = position(turn)
    phase: Ended = "Succeeded"
    try:
        if turn.now >= expires:
            phase, message = "Expired", f"not executed within {request.spec.expires_after}; create a new request"
        else:
            message = _act(turn, request, begins)
    except Refused as refusal:
        phase, message = "Refused", str(refusal)
    except Waits as waits:
        turn.wake(begins)
        turn.wake(expires)
        turn.results.append(RequestResult(request.uid, request.name, "Pending", str(waits)[:_MAX_MESSAGE]))
        return None
    return HandledRequest(
        uid=request.uid,
        name=request.name,
        action=request.spec.action,
        by=cause_of(request).by,
        phase=phase,
        message=message[:_MAX_MESSAGE],
        at=turn.now,
        digest=action_digest(request.spec),
        before=before,
        after=before,
    )


def _act(turn: Turn, request: Request, begins: float) -> str:
    if request.spec.not_before is not None and turn.now < begins:
        raise Waits(f"waiting until {format_time(begins)}, as notBefore says")
    _check_expectations(turn, request)
    return VERBS[request.spec.action](turn, request)


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
    expect, status = request.spec.expect, turn.status
    if expect is None:
        return
    for name, wanted, found in (
        ("release", expect.release, status.release),
        ("stage", expect.stage, status.stage.name if status.stage is not None else ""),
        ("weight", expect.weight, status.weight),
        ("candidate", expect.candidate, status.candidate.digest if status.candidate is not None else ""),
    ):
        if wanted is not None and wanted != found:
            told = "none" if found == "" else found
            raise Refused(f"expected {name} {wanted}, but it is {told}; look again and create a new request")
