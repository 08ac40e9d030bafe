"""What has ended: executed actions are remembered, with what they mean for the next ones on the same Rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weir.agent import damping
from weir.agent.observation import AgentRequest
from weir.agent.turn import (
    FORWARD_ACTIONS,
    TEMPLATE_ACTIONS,
    Direction,
    Turn,
    direction,
    position,
    release_in,
    state_of,
    weight_of,
)
from weir.api.action import SAFE_ACTIONS
from weir.api.agentpermit import Cooldown
from weir.api.agentstatus import MOST_LAST, ActionFailures, Blocked, Grant, Past, Target, Waiting
from weir.api.base import format_time, seconds
from weir.api.rolloutstatus import Outcome, ReleaseSummary

STARTING = ("Release", "Retry")
"""Actions that begin the release after the one that the Rollout stood in."""

_BAD = (Outcome.ROLLED_BACK, Outcome.ABORTED)
_MOST_TARGETS = 100
MOST_BLOCKED = 100
"""Blocks that the status can hold."""


@dataclass(frozen=True)
class _Ended:
    """How a request of the ledger ended; ``at`` is in seconds since the epoch."""

    entry: Grant | Waiting
    phase: str
    at: float
    state: str
    direction: Direction


def pending(turn: Turn, request: AgentRequest) -> bool:
    """Whether it is still to be decided what becomes of the request, as far as anything tells."""
    if not request.open or request.deleting:
        return False
    return (request.spec.rollout_ref.name, request.uid) not in turn.handled


def settle(turn: Turn) -> None:
    """Takes what has ended out of the ledger, and remembers what was executed."""
    ended = [found for entry in _entries(turn) if (found := _ended(turn, entry)) is not None]
    known = {past.uid for past in turn.last}
    for found in sorted(ended, key=lambda found: (found.at, found.entry.uid)):
        if found.phase in ("Succeeded", "Failed") and found.entry.uid not in known:
            _remember(turn, found)
    _judge_outcomes(turn)
    awaited = _unanswered(turn)
    for uid in list(turn.granted.keys() | turn.waiting.keys() | turn.denied.keys()):
        request = turn.requests.get(uid)
        if request is not None and (pending(turn, request) or uid in awaited):
            continue
        turn.granted.pop(uid, None)
        turn.waiting.pop(uid, None)
        # A refusal stays until the request itself says so; else it would be looked at again.
        if request is None or not request.open or request.deleting:
            turn.denied.pop(uid, None)
    turn.last = _bounded(turn)
    _forget_targets(turn)


def refresh_blocked(turn: Turn) -> None:
    """What is to be refused for a while, from cooldowns, damping and repeats."""
    if turn.obs.policy is None:
        # Nobody knows what it bounds, and what is blocked stays so while nobody can read it.
        turn.blocked = [entry for entry in turn.blocked if entry.until > turn.now]
        return
    damping.refresh(turn)
    cooling = {permit.action for permit in turn.policy.permits if permit.cooldown is not None}
    entries = [
        entry
        for entry in turn.blocked
        if entry.reason == "Cooldown" and entry.until > turn.now and entry.action in cooling
    ]
    for name, target in turn.targets.items():
        until = damping.reused_at(turn.policy.damping, target)
        if until is not None:
            told = damping.message(name, until)
            entries.append(Blocked(rollout=name, until=until, reason="Damped", message=told))
    turn.blocked = [*entries, *_repeated(turn)]
    for entry in turn.blocked:
        turn.wake(entry.until)


def published(turn: Turn) -> list[Blocked]:
    """As much of it as the status can hold, for the API server.

    A cooldown is remembered nowhere else; the others are found out again, and hold here however many there are.
    """
    order = sorted(
        turn.blocked,
        key=lambda entry: (entry.reason != "Cooldown", -entry.until, entry.rollout, entry.action, entry.reason),
    )
    return sorted(order[:MOST_BLOCKED], key=lambda entry: (entry.rollout, entry.action, entry.reason))


def cooldown_after(turn: Turn, permit: str) -> Cooldown | None:
    """The cooldown that follows an action under the permit of that name; None where there is none."""
    found = turn.effective.permits.get(permit)
    return found.cooldown if found is not None else None


def cooldown_of(cooldown: Cooldown, failures: int) -> float:
    """Seconds of a cooldown after so many failures in a row."""
    length, longest = seconds(cooldown.base), seconds(cooldown.max)
    for _ in range(failures):
        if length >= longest or cooldown.factor <= 1:
            break
        length *= float(cooldown.factor)
    return min(length, longest)


def _entries(turn: Turn) -> list[Grant | Waiting]:
    return [*turn.granted.values(), *turn.waiting.values()]


def _unanswered(turn: Turn) -> set[str]:
    """Uids of requests with answers that have no result yet: what those are answered from must stay."""
    answers = (r.spec.request for r in turn.requests.values() if r.open and not r.deleting)
    return {other.uid for other in answers if other is not None}


def _ended(turn: Turn, entry: Grant | Waiting) -> _Ended | None:
    done = turn.handled.get((entry.rollout, entry.uid))
    request = turn.requests.get(entry.uid)
    weight = request.spec.weight if request is not None else None
    if done is not None:
        before = done.before
        if weight is None and done.after.weight < before.weight:
            weight = done.after.weight
        state = position(before.release, before.stage, before.weight)
        return _Ended(entry, done.phase, done.at, state, direction(entry.action, weight, before.weight))
    if request is None or request.open:
        return None
    facts, at = turn.rollout(entry.rollout), request.ended_at if request.ended_at is not None else turn.now
    return _Ended(entry, request.phase, at, state_of(facts), direction(entry.action, weight, weight_of(facts)))


def _remember(turn: Turn, found: _Ended) -> None:
    entry, outcome = found.entry, _first_outcome(found)
    turn.last.append(
        Past(
            uid=entry.uid,
            name=entry.name,
            permit=entry.permit,
            action=entry.action,
            rollout=entry.rollout,
            by=entry.by,
            agent=entry.agent if isinstance(entry, Grant) else "",
            phase=found.phase,
            at=found.at,
            state=found.state,
            outcome=outcome,
        )
    )
    target = turn.targets.get(entry.rollout, Target(rollout=entry.rollout))
    turn.targets[entry.rollout] = damping.moved(turn.policy.damping, target, found.direction, found.at)
    if entry.action in TEMPLATE_ACTIONS:
        _count(turn, entry.rollout, entry.action, good=found.phase == "Succeeded")
    _cool_down(turn, entry.permit, entry.rollout, entry.action, found.at)


def _first_outcome(found: _Ended) -> Literal["", "Good", "Bad"]:
    """What is known of the outcome at once: a release tells later."""
    if found.phase == "Failed":
        return "Bad"
    return "" if found.direction == "Forward" else "Good"


def _judge_outcomes(turn: Turn) -> None:
    """Says of remembered actions how the release after them ended, once it has."""
    for place, past in enumerate(turn.last):
        if past.outcome or past.action not in FORWARD_ACTIONS:
            continue
        summary = _release_after(turn, past)
        if summary is None or summary.outcome not in (*_BAD, Outcome.PROMOTED):
            continue
        good = summary.outcome is Outcome.PROMOTED
        turn.last[place] = past.model_copy(update={"outcome": "Good" if good else "Bad"})
        _count(turn, past.rollout, past.action, good=good)
        if not good:
            _cool_down(turn, past.permit, past.rollout, past.action, summary.finished_at)


def _release_after(turn: Turn, past: Past) -> ReleaseSummary | None:
    facts, number = turn.rollout(past.rollout), _release_of(past)
    history = facts.status.history if facts is not None else ()
    return next((summary for summary in history if summary.release == number), None)


def _release_of(past: Past) -> int:
    return release_in(past.state) + (1 if past.action in STARTING else 0)


def moved(turn: Turn) -> frozenset[str]:
    """Rollouts whose release agents have begun or moved forward, and which has not ended yet."""
    return frozenset(past.rollout for past in turn.last if _moves(turn, past))


def _moves(turn: Turn, past: Past) -> bool:
    facts = turn.rollout(past.rollout)
    if facts is None or past.outcome or past.action not in FORWARD_ACTIONS:
        return False
    status = facts.status
    if status.candidate is not None:
        return _release_of(past) == status.release
    return status.asked is not None and _release_of(past) == status.release + 1


def _count(turn: Turn, rollout: str, action: str, *, good: bool) -> None:
    """Counts failures in a row."""
    target = turn.targets.get(rollout, Target(rollout=rollout))
    others = [entry for entry in target.failures if entry.action != action]
    if not good:
        others.append(ActionFailures(action=action, count=failures(target, action) + 1))
    others.sort(key=lambda entry: entry.action)
    turn.targets[rollout] = target.model_copy(update={"failures": others})


def failures(target: Target | None, action: str) -> int:
    """How often in a row the action failed on the target."""
    entries = target.failures if target is not None else ()
    return next((entry.count for entry in entries if entry.action == action), 0)


def _cool_down(turn: Turn, permit: str, rollout: str, action: str, since: float) -> None:
    """Blocks the action on the Rollout, for longer after failures."""
    found = cooldown_after(turn, permit)
    if found is None or action in SAFE_ACTIONS:
        return
    count = failures(turn.targets.get(rollout), action)
    until = round(since + cooldown_of(found, count), 3)
    mine = [entry for entry in turn.blocked if _same(entry, rollout, action)]
    if until <= max([turn.now, *(entry.until for entry in mine)]):
        return
    after = f" after {count} failure{'' if count == 1 else 's'} in a row" if count else ""
    told = f"{action} on {rollout} cools down until {format_time(until)}{after}"
    turn.blocked = [entry for entry in turn.blocked if entry not in mine]
    turn.blocked.append(Blocked(rollout=rollout, action=action, until=until, reason="Cooldown", message=told))


def _same(entry: Blocked, rollout: str, action: str) -> bool:
    return (entry.rollout, entry.action, entry.reason) == (rollout, action, "Cooldown")


def _repeated(turn: Turn) -> list[Blocked]:
    """Actions that were executed too often on a Rollout in the state in which it is now."""
    loop, times = turn.policy.loop, dict[tuple[str, str], list[float]]()
    window = seconds(loop.window)
    for past in turn.last:
        here = past.state == state_of(turn.rollout(past.rollout)) and past.action not in SAFE_ACTIONS
        if here and past.at + window > turn.now:
            times.setdefault((past.rollout, past.action), []).append(past.at)
    entries = []
    for (rollout, action), found in sorted(times.items()):
        if len(found) < loop.max_repeats:
            continue
        until = round(sorted(found, reverse=True)[loop.max_repeats - 1] + window, 3)
        told = (
            f"{action} was executed {len(found)} times on {rollout} while it stood where it stands now; not again "
            f"before {format_time(until)}"
        )
        entries.append(Blocked(rollout=rollout, action=action, until=until, reason="Repeated", message=told))
    return entries


def _bounded(turn: Turn) -> list[Past]:
    """Newest first; where there is no room, those that led back to safety go before the others.

    The last that moved a release is kept until that has ended, so that no flood hides what is under way.
    """
    pasts = sorted(turn.last, key=lambda past: (past.at, past.uid))
    kept = {past.rollout: past.uid for past in pasts if _moves(turn, past)}.values()
    order = sorted(pasts, key=lambda past: (past.uid not in kept, past.action in SAFE_ACTIONS, -past.at, past.uid))
    return sorted(order[:MOST_LAST], key=lambda past: (-past.at, past.uid))


def _forget_targets(turn: Turn) -> None:
    """Forgets Rollouts that are gone, and where there is no room those with least to remember."""
    here = [target for target in turn.targets.values() if target.rollout in turn.obs.rollouts]
    here.sort(key=lambda target: (_weight(turn, target), target.rollout), reverse=True)
    kept = sorted(here[:_MOST_TARGETS], key=lambda target: target.rollout)
    turn.targets = {target.rollout: target for target in kept}


def _weight(turn: Turn, target: Target) -> tuple[bool, float]:
    return bool(target.suppressed_at or target.failures), damping.penalty(turn.policy.damping, target, turn.now)
