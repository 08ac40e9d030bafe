"""Why a Rollout stands where it stands: what it waits for, what was measured, what would make it move, how long."""

from __future__ import annotations

from dataclasses import replace

from weir.view import moves
from weir.view.approving import ahead, ahead_moves
from weir.view.contracting import contract_notes
from weir.view.explanation import Explanation, Move
from weir.view.model import RolloutInfo
from weir.view.people import Request
from weir.view.resting import resting
from weir.view.running import running
from weir.view.words import acting, ago, duration, sentence, when

__all__ = ["Explanation", "Move", "explain"]

_LATELY = 3600.0
"""Seconds for which a refused request is worth a word."""

_OPERATOR = (
    Move("Is the operator running?", "kubectl get pods -A -l app.kubernetes.io/name=weir"),
    Move("Who leads, and since when?", "kubectl get leases -A"),
)


def explain(info: RolloutInfo) -> Explanation:
    """The explanation, from nothing but what the objects say. Never raises."""
    if info.silence is not None:
        return _silent(info)
    if info.candidate is None:
        found = resting(info)
    else:
        found = running(info)
        if info.ending is None:
            found = replace(found, evidence=(*found.evidence, *ahead(info)), moves=(*found.moves, *ahead_moves(info)))
    return replace(found, notes=(*_requests(info), *_skip(info), *_limit(info), *_instead(info), *contract_notes(info)))


def _silent(info: RolloutInfo) -> Explanation:
    """The operator does not do its work; what it said last may be out of date."""
    silence = info.silence
    assert silence is not None
    since = f" for {duration(info.now - silence.since)}" if silence.since is not None else ""
    what = {
        "Rollout": f"No operator has looked at this Rollout{since}",
        "Change": f"The operator has not looked at the newest change of this Rollout{since}",
        "Request": f"The operator has not looked at the request {silence.name}{since}",
        "Lease": f"No operator has shown a sign of life{since}",
        "Deadline": f"The operator has done nothing{since}, although a time that it waited for is over",
    }[silence.what]
    told = []
    if silence.what == "Change":
        told.append(
            f"The spec is at generation {info.generation}, the operator has seen {info.observed_generation or 'none'}."
        )
    if info.message:
        told.append(f"What it said last, which may be out of date: {sentence(info.message)}")
    if info.stable is not None:
        told.append("Traffic stays as it is meanwhile: the gateway does not need the operator.")
    return Explanation(
        headline=f"{what}. It is probably not running, or does not watch this namespace.",
        waiting_for=("The operator, which normally takes a second.",),
        evidence=tuple(told),
        moves=(moves.by_itself("When the operator is back, it goes on from here; nothing is lost."), *_OPERATOR),
        takes="It does not move until the operator runs.",
    )


def _requests(info: RolloutInfo) -> tuple[str, ...]:
    """Requests that wait, and the last one if it was refused lately."""
    told = [
        f"{_by(request)} asked for {request.action} ({request.name}), which waits for its moment: "
        f'"{request.message or "not looked at yet"}"{_not_before(info, request)}.'
        for request in info.pending_requests
    ]
    last = info.last_request
    if last is not None and last.phase in ("Refused", "Expired") and _lately(info, last):
        verb = "was refused" if last.phase == "Refused" else "came too late"
        at = ago(last.completed_at or info.now, info.now)
        told.insert(0, f'{_by(last)} asked for {last.action} ({last.name}); that {verb} {at}: "{last.message}".')
    return tuple(told)


def _by(request: Request) -> str:
    """Who asks, and an agent under what."""
    return f"{request.by or 'Somebody'}{acting(request.authority)}"


def _not_before(info: RolloutInfo, request: Request) -> str:
    return f", not before {when(request.not_before, info.now)}" if request.not_before is not None else ""


def _lately(info: RolloutInfo, request: Request) -> bool:
    return request.completed_at is not None and info.now - request.completed_at <= _LATELY


def _skip(info: RolloutInfo) -> tuple[str, ...]:
    """A skip that is under way."""
    skip, stage = info.skip, info.stage
    if skip is None or stage is None or skip.stage != stage.name:
        return ()
    return (f'{skip.by} asked to leave {skip.stage} without waiting for its time and gates ("{skip.reason}").',)


def _limit(info: RolloutInfo) -> tuple[str, ...]:
    """A limit of the traffic that is not why the release stands still."""
    limit = info.limit
    if limit is None or info.candidate is None or (info.hold is not None and info.hold.reason == "CeilingSet"):
        return ()
    why = f' ("{limit.reason}")' if limit.reason else ""
    who = f"{limit.by or 'Somebody'}{acting(limit.authority)}"
    return (f"{who} limited {info.candidate.shown} to {limit.weight} % of the requests{why}; it goes no further.",)


def _instead(info: RolloutInfo) -> tuple[str, ...]:
    """Another version is wanted than the one that the spec names."""
    instead = info.instead
    if instead is None:
        return ()
    at = f" {ago(instead.since, info.now)}" if instead.since is not None else ""
    return (
        f"{instead.by or 'Somebody'}{acting(instead.authority)} asked for {instead.version}{at}, in place of "
        f"{instead.ref}, which spec.versionRef names. That holds until spec.versionRef changes.",
    )
