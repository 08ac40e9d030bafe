"""ActionRequests: executed exactly once, because what became of them lives in the same status as what they did."""

from __future__ import annotations

from collections.abc import Container

from weir.api.action import Ended, HandledRequest, Position
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.api.base import format_time, seconds
from weir.api.rolloutstatus import RolloutStatus
from weir.release.decision import RequestResult
from weir.release.observation import Request, Target
from weir.release.phase import phase as phase_of
from weir.release.turn import Turn
from weir.release.verbs import VERBS, Refused, Waits, cause_of

_REMEMBERED = 20
_MAX_MESSAGE = 1024
_BEGINNING = ("Retry", "Promote")
"""Actions that begin a release of the version that is wanted, where none runs."""


def for_rollout(spec: ActionRequestSpec) -> bool:
    """Whether it is the Rollout that answers such a request, and not the AgentPolicy."""
    return spec.action in VERBS and spec.request is None


def handle(turn: Turn) -> bool:
    """Executes every request that has no result yet and whose moment has come; True where one was.

    Aborts come first, then what people ask for, then the oldest. No more are executed than can be remembered until
    their results are written: a forgotten one would run twice.
    """
    turn.results.clear()
    mine = (request for request in turn.obs.requests if for_rollout(request.spec))
    order = sorted(mine, key=lambda r: (r.spec.action != "Abort", r.spec.permit is not None, r.created, r.name, r.uid))
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
        told, digest = str(waits)[:_MAX_MESSAGE], action_digest(request.spec)
        turn.results.append(RequestResult(request.uid, request.name, "Pending", told, digest=digest))
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
        authority=cause_of(request).authority,
        before=before,
        after=before,
    )


def _act(turn: Turn, request: Request, begins: float) -> str:
    if request.spec.not_before is not None and turn.now < begins:
        raise Waits(f"waiting until {format_time(begins)}, as notBefore says")
    _check_permit(turn, request)
    _check_expectations(turn, request)
    return VERBS[request.spec.action](turn, request)


def _check_permit(turn: Turn, request: Request) -> None:
    """An agent's request is executed only while the AgentPolicy grants it."""
    if request.spec.permit is None:
        return
    permit = request.permit
    if permit is None:
        raise Waits("waiting for the AgentPolicy to look at it")
    if permit.state == "Denied":
        raise Refused(permit.message or f"the AgentPolicy denies it under permit {request.spec.permit}")
    turn.wake(permit.until)
    if permit.state == "Waiting":
        raise Waits(permit.message or "waiting for the AgentPolicy to grant it")
    if permit.until is not None and turn.now >= permit.until:
        raise Waits("waiting for the AgentPolicy to grant it again: its grant has ended")


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
    wanted = turn.obs.target if request.spec.action in _BEGINNING and status.candidate is None else None
    about = status.candidate or wanted
    for name, stated, found in (
        ("release", expect.release, status.release),
        ("stage", expect.stage, status.stage.name if status.stage is not None else ""),
        ("weight", expect.weight, status.weight),
        ("candidate", expect.candidate, about.digest if about is not None else ""),
    ):
        if stated is not None and stated != found:
            told = "none" if found == "" else found
            raise Refused(f"expected {name} {stated}, but it is {told}; look again and create a new request")
    if expect.release and expect.candidate is None and wanted is not None:
        _check_version(status, wanted)


def _check_version(status: RolloutStatus, wanted: Target) -> None:
    """Refuses a version that is not the one of the last release: whoever states only that one has looked at no other.

    Another spec.versionRef begins no release where its version has failed before, so the number does not tell.
    """
    last = next((entry.candidate for entry in status.history if entry.release == status.release), None)
    failed = (entry.version for entry in status.failed if entry.release == status.release)
    if last is None or wanted.digest == last.digest or wanted.version in failed:
        return
    raise Refused(
        f"release {status.release} was of {last.label}, but {wanted.label} is the version that is wanted now; if that "
        f"is the one you mean, look again and ask again with expect.candidate {wanted.digest}"
    )
