"""The decision under an AgentPolicy: from what is known now to the next ledger, and what the shell has to do."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from weir.agent import answers, fallback, ledger, rules, running
from weir.agent.conditions import GUARDRAILS, condition, conditions, message
from weir.agent.decision import AgentDecision
from weir.agent.effective import Effective, effective, summary
from weir.agent.exploration import account
from weir.agent.grants import bound, enter, evaluate
from weir.agent.observation import AgentObservation
from weir.agent.permits import taken, window
from weir.agent.telling import tell
from weir.agent.turn import Turn, is_safe
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import AgentPolicySpec, BlastRadius
from weir.api.agentstatus import AgentPolicyStatus, EffectivePermit, Grant, Waiting


def decide(obs: AgentObservation, now: float) -> AgentDecision:
    """The next ledger, and what follows from it. ``now`` is in seconds since the epoch.

    Deterministic; decided again with the status that came of it, it comes to the same and asks for nothing new.
    """
    turn = _begin(obs, round(now, 3))
    _void_overrides(turn)
    ledger.settle(turn)
    ledger.refresh_blocked(turn)
    account(turn)
    enter(turn)
    _refuse_unvouched(turn)
    answers.take_final(turn)
    evaluate(turn)
    if answers.take_others(turn):
        evaluate(turn)
    bound(turn)
    running.follow(turn)
    status = _status(turn)
    tell(turn, status)
    return _with_own_requests(turn, status)


def _begin(obs: AgentObservation, now: float) -> Turn:
    policy, status = obs.policy, obs.status
    if policy is None:
        # Of a policy that nobody can read nothing is permitted; what was granted before has lost its ground.
        policy = AgentPolicySpec.model_construct(subjects=[], permits=[])
        force = Effective({}, {}, {}, {}, BlastRadius(), None)
    else:
        force = effective(policy, obs.outer)
    return Turn(
        obs=obs,
        policy=policy,
        effective=force,
        now=now,
        old=status,
        requests={request.uid: request for request in obs.requests},
        granted={entry.uid: entry for entry in status.granted},
        waiting={entry.uid: entry for entry in status.waiting},
        denied={entry.uid: entry for entry in status.denied},
        targets={entry.rollout: entry for entry in status.targets},
        last=list(status.last),
        blocked=list(status.blocked),
        shadow_denials=list(status.shadow_denials),
        shadow_denied=status.shadow_denied,
        bucket=status.bucket if policy.bucket is not None or obs.policy is None else None,
        exploration=status.exploration,
    )


def _void_overrides(turn: Turn) -> None:
    """Whoever overruled a wait has looked at the policy as it was then."""
    if turn.old.observed_generation == turn.obs.generation:
        return
    entries: tuple[Grant | Waiting, ...] = (*turn.granted.values(), *turn.waiting.values())
    for entry in entries:
        if entry.overridden_by:
            told = f"what {entry.overridden_by} overruled for {entry.name} counts no more: the policy was changed since"
            turn.note("ConsentsVoid", told, warning=True, rollout=entry.rollout, request=entry.name)
    free = {"overridden_by": ""}
    turn.granted = {uid: grant.model_copy(update=free) for uid, grant in turn.granted.items()}
    turn.waiting = {uid: waiting.model_copy(update=free) for uid, waiting in turn.waiting.items()}


def _refuse_unvouched(turn: Turn) -> None:
    """Refuses what was created while the admission policies were missing: nobody vouches for who asked.

    That goes for what the ledger had no room for, too: what it meets after their return, and is older than that.
    """
    before = condition(turn.old.conditions, GUARDRAILS)
    if turn.obs.guardrails is not None or before is None:
        return
    restored = before.status != "True"
    if not restored and before.last_transition_time == turn.observed_since:
        return  # they were there from the first look on
    known = {entry.uid for entry in turn.old.waiting} | {entry.uid for entry in turn.old.granted}
    since = floor(before.last_transition_time)  # creation times are whole seconds
    for uid in list(turn.waiting):
        request = turn.requests.get(uid)
        if request is None or is_safe(turn, request):
            continue
        meanwhile = request.created >= since if restored else request.created < since and uid not in known
        if meanwhile:
            told = "it was created while the admission policies were not as installed; create it again"
            turn.deny(request, "GuardrailsMissing", told)


def _status(turn: Turn) -> AgentPolicyStatus:
    found = conditions(turn)
    return AgentPolicyStatus(
        observed_generation=turn.obs.generation,
        observed_since=turn.observed_since,
        conditions=found,
        effective=_effective(turn),
        granted=sorted(turn.granted.values(), key=lambda entry: (entry.since, entry.name, entry.uid)),
        waiting=sorted(turn.waiting.values(), key=lambda entry: (entry.since, entry.name, entry.uid)),
        denied=sorted(turn.denied.values(), key=lambda entry: (entry.at, entry.name, entry.uid)),
        blocked=ledger.published(turn),
        targets=list(turn.targets.values()),
        last=turn.last,
        shadow_denials=turn.shadow_denials,
        shadow_denied=turn.shadow_denied,
        bucket=turn.bucket,
        exploration=turn.exploration,
        rule_states=turn.old.rule_states,
        fallback=turn.old.fallback,
        message=message(turn, condition(found, "Ready")),
    )


def _effective(turn: Turn) -> list[EffectivePermit]:
    """Every permit as it is in force, with what is used of it."""
    names, found = [request.name for request in turn.requests.values()], []
    for own in turn.policy.permits:
        permit = turn.effective.permits.get(own.name)
        if permit is None:
            told = turn.effective.forbidden.get(own.name, "")
            found.append(EffectivePermit(name=own.name, summary=f"nothing: {told}"[:1024], narrowed=told[:1024]))
            continue
        used, ends = _used(permit, names, turn.now), window(permit, turn.now).ends
        if used:
            turn.wake(ends)
        found.append(
            EffectivePermit(
                name=own.name,
                summary=summary(permit),
                narrowed="; ".join(turn.effective.narrowed.get(own.name, ()))[:1024],
                used=used,
                resets_at=ends if used else None,
            )
        )
    return found


def _used(permit: Permit, names: Sequence[str], now: float) -> int:
    """Slots of the present window that requests of those names have."""
    if permit.budget is None:
        return 0
    # Ended requests are kept for days: few of all names are of this window.
    begin = f"{permit.name}-{window(permit, now).number}-"
    near = (name for name in names if name.startswith(begin))
    return sum(slot < permit.budget.limit for slot in taken(permit, near, now))


def _with_own_requests(turn: Turn, status: AgentPolicyStatus) -> AgentDecision:
    """What rules and the fallback ask for, beside what was decided of the requests that are there."""
    planned = rules.propose(turn.obs, status, turn.effective, turn.now)
    fallen = fallback.step(turn.obs, status, turn.now)
    for at in (planned.wake_at, fallen.wake_at):
        turn.wake(at)
    status = status.model_copy(update={"rule_states": list(planned.states), "fallback": list(fallen.states)})
    return AgentDecision(
        status=status,
        results=tuple(turn.results),
        proposals=(*fallen.proposals, *planned.proposals),
        makes=tuple(turn.makes),
        notes=(*turn.notes, *planned.notes, *fallen.notes),
        wake_at=min(turn.wakes, default=None),
    )
