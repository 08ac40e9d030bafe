"""What people say of a request: consent, denial, overruling a wait; and its requester, who may withdraw it.

Admission has checked who says it, and that they may. It is checked again here, since it counts only here.
"""

from __future__ import annotations

from weir.agent.grants import started
from weir.agent.ledger import pending
from weir.agent.observation import AgentRequest
from weir.agent.permits import SERVICE_ACCOUNT, subject_of
from weir.agent.turn import Turn
from weir.api.agentstatus import AgentConsent, Grant, Waiting
from weir.api.base import seconds

_FINAL = ("Deny", "Withdraw")
_MOST_CONSENTS = 10

_BY_HAND = {
    "Retrain": "to stop it, delete the object that it made: its status.created says which",
    "Reallocate": "put the field that it changed back, and delete nothing: its status.created says of which object",
}
"""What people can do once a template runs. A Retrain makes an object, a Reallocate changes one that is needed."""


class Objection(Exception):
    """The answer cannot be taken; the text says why."""


def take_final(turn: Turn) -> None:
    """Takes denials and withdrawals into the ledger, before anything is granted."""
    _take(turn, final=True)


def take_others(turn: Turn) -> bool:
    """Takes consents and what overrules waits, once it is known what waits for them; whether there were any."""
    return _take(turn, final=False)


def _take(turn: Turn, *, final: bool) -> bool:
    """Takes answers of one kind, those of people before those of programs, and the oldest first."""
    answers = [
        request
        for request in turn.requests.values()
        if is_answer(request) and not request.deleting and (request.spec.action in _FINAL) == final
        if request.open or _forgotten(turn, request)
    ]
    for answer in sorted(answers, key=lambda a: (_program(turn, a.spec.requester or ""), a.created, a.name, a.uid)):
        try:
            told = _taken(turn, answer)
        except Objection as objection:
            if answer.open:
                turn.result(answer, "Refused", str(objection))
            continue
        if answer.open:
            turn.result(answer, "Succeeded", told)
    return any(answer.open for answer in answers)


def _forgotten(turn: Turn, answer: AgentRequest) -> bool:
    """Whether the request was refused for good, and the ledger had no room to remember it."""
    other = answer.spec.request
    if answer.spec.action not in _FINAL or answer.phase != "Succeeded" or other is None or other.uid in turn.denied:
        return False
    request = turn.requests.get(other.uid)
    return request is not None and pending(turn, request)


def is_answer(request: AgentRequest) -> bool:
    """Whether the request says something of another one."""
    return request.spec.request is not None


def _taken(turn: Turn, answer: AgentRequest) -> str:
    """What the answer came to, for people; raises Objection, and has changed nothing then."""
    request = _about(turn, answer)
    who = answer.spec.requester
    if not who:
        raise Objection("spec.requester does not say who answers")
    entry = turn.granted.get(request.uid) or turn.waiting.get(request.uid)
    match answer.spec.action:
        case "Approve":
            return _approve(turn, answer, request, entry, who)
        case "Override":
            return _override(turn, answer, request, entry, who)
        case "Deny":
            _must_be_person(turn, request, who)
            return _end(turn, answer, request, "Denied", f"denied by {who}")
        case _:
            if who != request.spec.requester:
                raise Objection(f"only {request.spec.requester} may withdraw {request.name}; others may deny it")
            return _end(turn, answer, request, "Withdrawn", f"withdrawn by {who}")


def _about(turn: Turn, answer: AgentRequest) -> AgentRequest:
    """The request that is meant: exactly that one, as it was looked at."""
    other = answer.spec.request
    request = turn.requests.get(other.uid) if other is not None else None
    if other is None or request is None or request.name != other.name or request.spec.permit is None:
        named = f"{other.name} with the uid {other.uid}" if other is not None else "that name"
        raise Objection(f"there is no request of an agent named {named}")
    if answer.spec.rollout_ref.name != request.spec.rollout_ref.name:
        raise Objection(f"{request.name} is about the Rollout {request.spec.rollout_ref.name}; name that one")
    if other.digest != request.digest and (other.digest is not None or answer.spec.action == "Approve"):
        raise Objection(f"request.digest must be what was looked at: that of {request.name} is {request.digest}")
    return request


def _approve(turn: Turn, answer: AgentRequest, request: AgentRequest, entry: Grant | Waiting | None, who: str) -> str:
    given = entry.consents if entry is not None else []
    if any(consent.request == answer.name and consent.by == who for consent in given):
        return f"{who} agrees to {request.name}"
    waiting = _waits(turn, answer, request)
    _must_be_person(turn, request, who)
    if who in (request.spec.requester, request.spec.on_behalf_of):
        raise Objection(f"{who} asked for {request.name}; somebody else must agree")
    if not waiting.quorum:
        raise Objection(f"{request.name} needs nobody's consent: {waiting.message}")
    if who in {consent.by for consent in given}:
        raise Objection(f"{who} has agreed to {request.name} already; it needs {waiting.quorum} different people")
    permit = turn.effective.permits.get(waiting.permit)
    if permit is not None and turn.now >= answer.created + seconds(permit.approval.expires_after):
        raise Objection(f"it is older than {permit.approval.expires_after}, after which a consent is void")
    if len(given) >= _MOST_CONSENTS:
        raise Objection(f"{request.name} has {len(given)} consents; it needs no more")
    consent = AgentConsent(by=who, at=round(answer.created, 3), request=answer.name, generation=turn.obs.generation)
    turn.waiting[request.uid] = waiting.model_copy(update={"consents": [*given, consent]})
    told = f"{who} agrees to {request.name}"
    turn.note("Approved", told, rollout=request.spec.rollout_ref.name, request=request.name)
    return told


def _override(turn: Turn, answer: AgentRequest, request: AgentRequest, entry: Grant | Waiting | None, who: str) -> str:
    told = f"{who} overrules what {request.name} waits for; bounds and approvals hold"
    if entry is not None and entry.overridden_by == who:
        return told
    waiting = _waits(turn, answer, request)
    _must_be_person(turn, request, who)
    if who == request.spec.requester:
        raise Objection(f"{who} asked for {request.name}; somebody else must overrule")
    turn.waiting[request.uid] = waiting.model_copy(update={"overridden_by": who})
    reason = f"{told}: {answer.spec.reason}"
    turn.note("Overruled", reason, warning=True, rollout=request.spec.rollout_ref.name, request=request.name)
    return told


def _waits(turn: Turn, answer: AgentRequest, request: AgentRequest) -> Waiting:
    """The entry of a request that waits; else, or where the answer cannot be trusted, an objection."""
    if request.uid in turn.granted:
        raise Objection(f"{request.name} is granted already")
    denied = turn.denied.get(request.uid)
    if denied is not None:
        raise Objection(f"{request.name} is refused: {denied.message}")
    waiting = turn.waiting.get(request.uid)
    if waiting is None or waiting.reason == "Expired" or not pending(turn, request):
        raise Objection(f"{request.name} has ended")
    if turn.now >= answer.created + seconds(answer.spec.expires_after):
        raise Objection(f"it was not looked at within {answer.spec.expires_after}; create it again")
    if turn.obs.guardrails is not None:
        raise Objection(f"the admission policies, which vouch for who answers, are not in force: {turn.obs.guardrails}")
    if answer.created < turn.observed_since:
        raise Objection("the AgentPolicy was changed meanwhile; look again and create it again")
    return waiting


def _end(turn: Turn, answer: AgentRequest, request: AgentRequest, reason: str, told: str) -> str:
    """Refuses the request for good."""
    message = f"{told} by {answer.name}: {answer.spec.reason}"
    denied = turn.denied.get(request.uid)
    if denied is not None and denied.message == message[:1024]:
        return told
    if denied is not None:
        raise Objection(f"{request.name} is refused already: {denied.message}")
    if not pending(turn, request):
        raise Objection(f"{request.name} has ended")
    if started(turn, request):
        raise Objection(f"{request.name} runs already; {_BY_HAND[request.spec.action]}")
    turn.deny(request, reason, message)
    return told


def _must_be_person(turn: Turn, request: AgentRequest, who: str) -> None:
    if who.startswith(SERVICE_ACCOUNT) or who == turn.obs.identity:
        raise Objection(f"{who} is a program; only a person can answer {request.name}")
    if subject_of(turn.policy, who) is not None:
        raise Objection(f"{who} is a subject of the AgentPolicy; somebody else must answer {request.name}")


def _program(turn: Turn, who: str) -> bool:
    return who.startswith(SERVICE_ACCOUNT) or subject_of(turn.policy, who) is not None
