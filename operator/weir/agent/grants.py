"""Who may act now: every open request is judged in order, and granted, left waiting, or denied."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from weir.agent import bucket, waitfor
from weir.agent.bundles import agent_version
from weir.agent.effective import stricter
from weir.agent.ledger import MOST_BLOCKED, pending
from weir.agent.limits import Stop, served_of, stops
from weir.agent.observation import AgentRequest
from weir.agent.othermodel import other_model
from weir.agent.permits import in_share, subject_of
from weir.agent.turn import TEMPLATE_ACTIONS, Turn, is_safe, priority
from weir.api.agentpermit import Consent, Permit
from weir.api.agentstatus import MOST_OPEN, AgentConsent, Grant, ShadowDenial, Waiting
from weir.api.base import format_time, seconds

LEASE = 300.0
"""Seconds that a grant holds; then it is judged again."""

ANSWERED = ("Denied", "Withdrawn")
"""Reasons of a refusal that somebody asked for."""

MOST_ENTERED = 200
"""New requests at most that one decision looks at."""

_MOST_PASSES = 20
_MOST_SHADOWS = 20
_MOST_CONSENTS = 10


@dataclass
class _Verdict:
    """What is said of a request: ``enforced`` stops it, ``shadows`` would have, were they enforced.

    ``consent`` is what it needs, ``consents`` are those that it has; ``overridden_by`` overruled waits.
    """

    consent: Consent
    overridden_by: str = ""
    consents: list[AgentConsent] = field(default_factory=list)
    enforced: list[Stop] = field(default_factory=list)
    shadows: list[tuple[Stop, bool]] = field(default_factory=list)
    """Each with whether it is the policy on trial that says so."""


def enter(turn: Turn) -> None:
    """Enters requests that the ledger does not know, the most urgent ones first, so that answers find something.

    Only so many at once: however many an agent makes, a decision takes no longer. The others are looked at later.
    """
    known = turn.granted.keys() | turn.waiting.keys() | turn.denied.keys()
    new = [r for r in turn.requests.values() if r.spec.permit is not None and r.uid not in known and pending(turn, r)]
    for request in _ordered(turn, new, fair=True)[:MOST_ENTERED]:
        turn.waiting[request.uid] = _waiting(turn, request, Stop("", ""), _Verdict(Consent()))


def evaluate(turn: Turn) -> None:
    """Judges every open request, until nothing changes any more: what is granted stops others."""
    for _ in range(_MOST_PASSES):
        before = set(turn.granted)
        _judge_all(turn)
        if not waitfor.abort(turn) and before == turn.granted.keys():
            break


def _judge_all(turn: Turn) -> None:
    turn.thirsty = ""
    turn.held = {uid: grant for uid, grant in turn.granted.items() if started(turn, turn.requests.get(uid))}
    known = (turn.requests[uid] for uid in turn.granted.keys() | turn.waiting.keys() if uid in turn.requests)
    for request in _ordered(turn, [r for r in known if r.uid not in turn.held and pending(turn, r)]):
        _judge(turn, request)


def started(turn: Turn, request: AgentRequest | None) -> bool:
    """Whether a granted template runs already: then it is followed to its end."""
    if request is None or request.uid not in turn.granted or request.spec.action not in TEMPLATE_ACTIONS:
        return False
    made = request.spec.action == "Retrain" and turn.obs.objects.get(request.uid) is not None
    return request.open and (request.phase == "Running" or made)


def _ordered(turn: Turn, those: list[AgentRequest], *, fair: bool = False) -> list[AgentRequest]:
    """The first to be judged first.

    What leads back to safety goes before all else, one of each agent at a time and of its Rollouts in turn, so that
    nobody can keep another from it; then what is granted already; then by priority, and the oldest first. ``fair``: one
    of each agent at a time, whatever the action is.
    """
    those = sorted(those, key=lambda request: (request.created, request.name, request.uid))
    ranks = _in_turn([request for request in those if fair or is_safe(turn, request)])

    def key(request: AgentRequest) -> tuple[bool, int, bool, int]:
        first = -priority(turn, request, _overridden_by(turn, request.uid))
        return (not is_safe(turn, request), ranks.get(request.uid, 0), request.uid not in turn.granted, first)

    return sorted(those, key=key)


def _in_turn(those: list[AgentRequest]) -> dict[str, int]:
    """Which turn of its agent each request has; an agent's requests take turns by Rollout."""
    on_rollout, of_agent = Counter[tuple[str, str]](), Counter[str]()
    places, ranks = dict[str, int](), dict[str, int]()
    for request in those:
        whose = (request.spec.requester or "", request.spec.rollout_ref.name)
        on_rollout[whose] += 1
        places[request.uid] = on_rollout[whose]
    for request in sorted(those, key=lambda request: places[request.uid]):
        who = request.spec.requester or ""
        of_agent[who] += 1
        ranks[request.uid] = of_agent[who]
    return ranks


def _judge(turn: Turn, request: AgentRequest) -> None:
    name = request.spec.permit or ""
    permit = turn.effective.permits.get(name)
    if permit is None:
        told = turn.effective.forbidden.get(name) or f"the AgentPolicy has no permit {name}"
        if turn.obs.policy is None:
            told = f"the AgentPolicy cannot be read, so nothing is permitted: {turn.obs.broken}"
        turn.deny(request, "NotPermitted", told)
        return
    verdict = _verdict(turn, request, permit)
    stop = _first(turn, request, verdict)
    if stop is None:
        _grant(turn, request, permit, verdict)
    elif stop.wait and request.phase != "Running":  # what runs, and has lost its grant with the ledger, cannot wait
        _wait(turn, request, permit, stop, verdict)
    else:
        turn.deny(request, stop.reason, stop.message)


def _first(turn: Turn, request: AgentRequest, verdict: _Verdict) -> Stop | None:
    """What the requester is told: a refusal first, then what must pass, then whose consent is missing."""
    expires = _expires(request)
    if turn.now >= expires:
        return Stop("Expired", f"not executed within {request.spec.expires_after}; create a new request", wait=True)
    denial = next((stop for stop in verdict.enforced if not stop.wait), None)
    if denial is not None:
        return denial
    turn.wake(expires)
    for stop in verdict.enforced:
        turn.wake(stop.until)
    if verdict.enforced:
        return verdict.enforced[0]
    return _consent_stop(turn, request, verdict)


def _consent_stop(turn: Turn, request: AgentRequest, verdict: _Verdict) -> Stop | None:
    """Why people must agree first; None where enough have."""
    consent, consents = verdict.consent, verdict.consents
    quorum = consent.quorum or 1
    if consent.tier != "Approve" or len(consents) >= quorum:
        return None
    asked = _asked_since(turn, request.uid)
    until = round((turn.now if asked is None else asked) + seconds(consent.expires_after), 3)
    if turn.now >= until:
        told = f"{len(consents)} of {quorum} people agreed within {consent.expires_after}"
        return Stop("ApprovalExpired", told)
    until = min(until, _expires(request))  # a consent that comes after the request's own end helps nobody
    turn.wake(until)
    rollout = request.spec.rollout_ref.name
    told = (
        f"waiting for the consent of people with the verb approve on {rollout} ({len(consents)} of {quorum} given), "
        f"until {format_time(until)}; `kubectl weir approve --request {request.name}`"
    )
    return Stop("ApprovalNeeded", told, until=until, wait=True)


def _verdict(turn: Turn, request: AgentRequest, permit: Permit) -> _Verdict:
    """What the policy says of a request, and the policy on trial."""
    safe, rule = is_safe(turn, request), turn.rule(request)
    verdict = _Verdict(permit.approval, _overridden_by(turn, request.uid))
    enforcing = turn.mode(permit) == "Enforce"
    own = [
        *stops(turn, request, permit, bool(verdict.overridden_by)),
        *_no_room(turn, permit, safe=safe),
        *other_model(turn, request),
    ]
    verdict.enforced = [stop for stop in own if stop.hard or enforcing]
    verdict.shadows = [(stop, False) for stop in own if not (stop.hard or enforcing)]
    if rule is not None and rule.risk is not None:
        verdict.consent = stricter(verdict.consent, rule.risk)
    if safe:
        verdict.consent = Consent(tier="Notify" if verdict.consent.tier == "Notify" else "None")
    elif not enforcing:
        _let_pass(turn, permit, verdict)
    _try_out(turn, request, verdict, {(stop.reason, stop.message) for stop in own})
    verdict.consents = _valid(turn, request, verdict.consent)
    return verdict


def _no_room(turn: Turn, permit: Permit, *, safe: bool) -> list[Stop]:
    """Waits where the ledger could not hold the cooldown that follows: what is not written down cannot hold."""
    if safe or permit.cooldown is None or len(turn.blocked) + len(turn.held) < MOST_BLOCKED:
        return []
    until = min((entry.until for entry in turn.blocked), default=None)
    told = f"the ledger holds {MOST_BLOCKED} cooldowns and other blocks; this one is next when there is room again"
    return [Stop("Cooldown", told, until=until, wait=True)]


def _let_pass(turn: Turn, permit: Permit, verdict: _Verdict) -> None:
    """An Audit waits for nobody's consent, but for those whose the outer bounds ask for."""
    outer = turn.effective.outermost.get(permit.name)
    asked, needed = verdict.consent, outer.approval if outer is not None else Consent()
    if asked.tier == "Approve" and (needed.tier != "Approve" or (needed.quorum or 1) < (asked.quorum or 1)):
        verdict.shadows.append((Stop("ApprovalNeeded", f"{asked.quorum or 1} people must agree"), False))
        verdict.consent = asked.model_copy(update={"tier": needed.tier, "quorum": needed.quorum})


def _try_out(turn: Turn, request: AgentRequest, verdict: _Verdict, told: set[tuple[str, str]]) -> None:
    """Lays the permit on trial on top, for requests of its share; for the others it is only written down."""
    trial, permit = turn.policy.trial, turn.effective.trial.get(request.spec.permit or "")
    if trial is None or permit is None:
        return
    found = stops(turn, request, permit, bool(verdict.overridden_by))
    found = [stop for stop in found if (stop.reason, stop.message) not in told]
    enforcing = in_share(request.uid, trial.share) and turn.mode(permit) == "Enforce"
    verdict.enforced += [stop for stop in found if enforcing]
    verdict.shadows += [(stop, True) for stop in found if not enforcing]
    stricter_one = stricter(verdict.consent, permit.approval.tier, permit.approval.quorum)
    if is_safe(turn, request) or stricter_one == verdict.consent:
        return
    if enforcing:
        verdict.consent = stricter_one
    elif stricter_one.tier == "Approve":
        verdict.shadows.append((Stop("ApprovalNeeded", f"{stricter_one.quorum} people must agree"), True))


def _valid(turn: Turn, request: AgentRequest, consent: Consent) -> list[AgentConsent]:
    """Consents that hold: given under this generation of the policy, and not too old."""
    entry = turn.granted.get(request.uid) or turn.waiting.get(request.uid)
    given = entry.consents if entry is not None else []
    lasts = seconds(consent.expires_after)
    kept = [c for c in given if c.generation == turn.obs.generation and c.at + lasts > turn.now]
    for one in kept:
        turn.wake(round(one.at + lasts, 3))
    gone = [one.by for one in given if one not in kept]
    if gone:
        told = f"the consent of {', '.join(gone)} to {request.name} is void: the policy was changed since, or it is old"
        turn.note("ConsentsVoid", told, warning=True, rollout=request.spec.rollout_ref.name, request=request.name)
    return kept[:_MOST_CONSENTS]


def _grant(turn: Turn, request: AgentRequest, permit: Permit, verdict: _Verdict) -> None:
    uid, old = request.uid, turn.granted.get(request.uid)
    if old is None:
        bucket.take(turn, 0 if is_safe(turn, request) else permit.cost)
        _write_shadows(turn, request, permit, verdict)
    holds = old is not None and old.until > turn.now and old.consents == verdict.consents
    grant = Grant(
        uid=uid,
        name=request.name,
        permit=permit.name,
        action=request.spec.action,
        rollout=request.spec.rollout_ref.name,
        by=request.spec.requester or "",
        priority=priority(turn, request, verdict.overridden_by),
        digest=request.digest,
        since=old.since if old is not None else turn.now,
        until=old.until if old is not None and holds else _until(turn, request, verdict),
        generation=turn.obs.generation,
        consents=verdict.consents,
        overridden_by=verdict.overridden_by,
        notify=verdict.consent.tier == "Notify",
        agent=old.agent if old is not None else _agent(turn, request),
    )
    turn.waiting.pop(uid, None)
    turn.granted[uid] = turn.held[uid] = grant
    turn.wake(grant.until)


def _agent(turn: Turn, request: AgentRequest) -> str:
    """The version of the agent that asks, where it is a version itself."""
    subject = subject_of(turn.policy, request.spec.requester)
    facts = turn.rollout(subject.rollout) if subject is not None and subject.rollout is not None else None
    return agent_version(served_of(facts), turn.obs.versions) if facts is not None else ""


def _until(turn: Turn, request: AgentRequest, verdict: _Verdict) -> float:
    """When a grant ends: with the request, with the consents that it stands on, or to be judged again."""
    ends = [turn.now + LEASE, _expires(request)]
    if verdict.consent.tier == "Approve":
        ends += [one.at + seconds(verdict.consent.expires_after) for one in verdict.consents]
    return round(min(ends), 3)


def _expires(request: AgentRequest) -> float:
    """When the request ends by itself (seconds since the epoch)."""
    return round(request.created + seconds(request.spec.expires_after), 3)


def _wait(turn: Turn, request: AgentRequest, permit: Permit, stop: Stop, verdict: _Verdict) -> None:
    if turn.granted.pop(request.uid, None) is not None:
        bucket.take(turn, 0 if is_safe(turn, request) else -permit.cost)
    if stop.reason == "Bucket" and not turn.thirsty:
        turn.thirsty = request.name
    turn.waiting[request.uid] = _waiting(turn, request, stop, verdict)


def _waiting(turn: Turn, request: AgentRequest, stop: Stop, verdict: _Verdict) -> Waiting:
    quorum, asked = verdict.consent.quorum or 1, _asked_since(turn, request.uid)
    return Waiting(
        uid=request.uid,
        name=request.name,
        permit=request.spec.permit or "",
        action=request.spec.action,
        rollout=request.spec.rollout_ref.name,
        by=request.spec.requester or "",
        reason=stop.reason,
        message=stop.message[:1024],
        since=_waited_since(turn, request.uid, stop.reason),
        asked_since=turn.now if asked is None and stop.reason == "ApprovalNeeded" else asked,
        until=round(stop.until, 3) if stop.until is not None else None,
        digest=request.digest,
        quorum=quorum if verdict.consent.tier == "Approve" else 0,
        consents=verdict.consents,
        overridden_by=verdict.overridden_by,
    )


def _waited_since(turn: Turn, uid: str, reason: str) -> float:
    """Since when the request waits for that reason."""
    return next((w.since for w in turn.old.waiting if w.uid == uid and w.reason == reason), turn.now)


def _asked_since(turn: Turn, uid: str) -> float | None:
    """Since when people are asked, also where something else stood in between; None where they were not yet."""
    return next((w.asked_since for w in turn.old.waiting if w.uid == uid), None)


def _overridden_by(turn: Turn, uid: str) -> str:
    entry = turn.granted.get(uid) or turn.waiting.get(uid)
    return entry.overridden_by if entry is not None else ""


def _write_shadows(turn: Turn, request: AgentRequest, permit: Permit, verdict: _Verdict) -> None:
    known = {(entry.name, entry.reason, entry.trial) for entry in turn.shadow_denials}
    for stop, trial in verdict.shadows:
        if (request.name, stop.reason, trial) in known:
            continue
        entry = ShadowDenial(
            name=request.name,
            permit=permit.name,
            by=request.spec.requester or "",
            reason=stop.reason,
            message=stop.message[:1024],
            at=turn.now,
            trial=trial,
        )
        turn.shadow_denials.insert(0, entry)
        turn.shadow_denied += 1
    del turn.shadow_denials[_MOST_SHADOWS:]


def bound(turn: Turn) -> None:
    """Keeps the ledger's lists short; what has no room is looked at again later.

    Each agent has its share of what waits, so that the many requests of one do not hide those of another.
    """
    waiting = [entry for entry in turn.waiting.values() if entry.uid in turn.requests]
    turn.waiting = {entry.uid: entry for entry in _fairly(turn, waiting)[:MOST_OPEN]}
    # What has ended stays only for answers that have no result yet: it makes room first.
    granted = sorted(turn.granted.values(), key=lambda entry: (not _undone(turn, entry.uid), entry.since, entry.uid))
    turn.granted = {entry.uid: entry for entry in granted[:MOST_OPEN]}
    # What somebody said is final; all else is found out again.
    denied = sorted(turn.denied.values(), key=lambda entry: (entry.reason not in ANSWERED, entry.at, entry.uid))
    turn.denied = {entry.uid: entry for entry in denied[:MOST_OPEN]}


def _fairly(turn: Turn, waiting: list[Waiting]) -> list[Waiting]:
    """The most important first: those that people have answered, then one of each agent at a time."""

    def rank(entry: Waiting) -> tuple[int, float, str]:
        request = turn.requests[entry.uid]
        return (-priority(turn, request, entry.overridden_by), request.created, entry.uid)

    ranked, turns, places = sorted(waiting, key=rank), Counter[str](), dict[str, int]()
    for entry in ranked:
        answered = bool(entry.consents or entry.overridden_by)
        turns[entry.by] += not answered
        places[entry.uid] = 0 if answered else turns[entry.by]
    return sorted(ranked, key=lambda entry: places[entry.uid])


def _undone(turn: Turn, uid: str) -> bool:
    request = turn.requests.get(uid)
    return request is not None and pending(turn, request)
