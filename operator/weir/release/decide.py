"""The release machine: ``decide`` says what happens next, given what is stored, what is seen, and what time it is.

    no candidate ──new version──► Preflight ─► WarmUp ─► stage 0 … n (Shifting) ─► Bake ─► promoted
                                      │           │            │                    │
                                      └───────────┴── fail, abort, deadline, supersede, delete ──► RollingBack ─► closed

Every arrow is one transition below; a decision follows as many as the observation allows. Nothing here reads a clock or
the cluster, so the machine can be driven through every interleaving, and replayed from a record.
"""

from __future__ import annotations

from weir.api.base import seconds
from weir.api.rolloutstatus import (
    Outcome,
    Phase,
    ReleaseSummary,
    RetainedVersion,
    RolloutStatus,
    VersionStatus,
)
from weir.release import budget, requests
from weir.release.conditions import conditions
from weir.release.decision import Decision, Event
from weir.release.desired import desired
from weir.release.feasible import CONDITION
from weir.release.gates import worst
from weir.release.observation import Observation, RolloutView
from weir.release.phase import phase
from weir.release.record import record_name
from weir.release.shifting import look, progress
from weir.release.traffic import lower_to_zero
from weir.release.turn import Turn

_MAX_TRANSITIONS = 32
_POLL = 10.0
"""Seconds after which a running release is looked at again, whatever the watches say."""

_STUCK_ROUTE = 60.0
"""Seconds after which an ending release no longer waits for the gateway to confirm a route that says weight 0."""


def decide(view: RolloutView, status: RolloutStatus, obs: Observation, now: float) -> Decision:
    """The next status, the cluster to bring about, and when to look again.

    ``now`` is in seconds since the epoch. Pure: equal arguments give equal decisions. Raises nothing for any state of
    the world; what is wrong is said in conditions.
    """
    turn = Turn(view, status, obs, round(now, 3))
    requests.handle(turn)
    look(turn)  # before a pause ends, which moves the time from which evidence counts
    requests.keep_time(turn)
    budget.look(turn)
    for _ in range(_MAX_TRANSITIONS):
        if not _transition(turn):
            break
    if turn.status.candidate is not None:
        turn.wake(turn.now + _POLL)
        turn.wake(turn.status.deadline)
    turn.settle_log()
    _worst_verdict(turn)
    granularity = obs.route.granularity
    turn.set(granularity=f"{granularity} %" if granularity > 1 else None)
    turn.set(observed_generation=view.generation, phase=phase(turn))
    turn.set(conditions=list(conditions(turn)))
    _warn(turn, status)
    return Decision(turn.status, desired(turn), min(turn.wakes, default=None), tuple(turn.events))


def _transition(turn: Turn) -> bool:
    """Follows one arrow; False when nothing more follows from this observation."""
    if turn.status.ending is not None:
        return _finish_ending(turn)
    if turn.view.deleting:
        return _delete(turn)
    if turn.status.candidate is not None:
        return progress(turn, promote=_promote)
    return _settle(turn)


def _delete(turn: Turn) -> bool:
    if turn.status.candidate is None:
        turn.say("being deleted")
        return False
    turn.end(Outcome.DELETED, "RolloutDeleted", "the Rollout is being deleted; traffic goes back to stable first")
    return True


def _settle(turn: Turn) -> bool:
    """Without a candidate: is there something to release?"""
    _forget_removed(turn)
    target, stable = turn.obs.target, turn.status.stable
    if target is None:
        problem = turn.obs.target_problem
        if problem is not None:
            turn.hold(problem)
        return False
    held = turn.status.hold
    turn.release_hold()
    if stable is not None and target.revision == stable.revision:
        if (target.version, target.label) != (stable.version, stable.label):
            turn.set(stable=stable.model_copy(update={"version": target.version, "label": target.label}))
        turn.say(f"{stable.label} serves all traffic")
        return False
    failed = next((f for f in turn.status.failed if f.revision == target.revision), None)
    if failed is not None:
        why = f"{target.label} failed in release {failed.release} ({failed.message})"
        turn.say(f"{why}; change versionRef or request a Retry")
        return False
    if turn.paused:
        turn.say(f"paused; {target.label} waits to be released")
        return False
    if turn.status.release and turn.status.release not in turn.obs.recorded:
        turn.say(f"waiting for the record of release {turn.status.release}")
        turn.wake(turn.now + 1.0)
        return False
    frozen = budget.freeze(turn)
    if frozen is not None:
        turn.set(hold=held)  # with it stays since when
        turn.hold(frozen)
        return False
    turn.start(target)
    return True


def _forget_removed(turn: Turn) -> None:
    """Drops versions whose pools are gone, once they were due to go."""
    limit = turn.view.spec.rollback.history_limit
    kept = [
        version
        for place, version in enumerate(turn.status.retained)
        if place < limit or version.warm_until > turn.now or _present(turn, version.pool)
    ]
    if len(kept) != len(turn.status.retained):
        turn.set(retained=kept)
    for version in kept:
        turn.wake(version.warm_until)


def _present(turn: Turn, name: str) -> bool:
    """Whether a pool of ours is still there to be removed; what the user runs is the user's to remove."""
    return name in turn.obs.pools and not turn.obs.pool(name).external


def _finish_ending(turn: Turn) -> bool:
    """Weights to zero, then drain, then close; capacity of stable is checked on the way as on any other."""
    ending, candidate = turn.status.ending, turn.status.candidate
    if ending is None or candidate is None:
        turn.set(ending=None)
        return True
    if not lower_to_zero(turn, patience=_STUCK_ROUTE):
        return False
    if ending.drain_until is None:
        drain = seconds(turn.view.spec.rollback.drain) if _exposed(turn) else 0.0
        turn.set(ending=ending.model_copy(update={"drain_until": turn.after(drain)}))
        return True
    if turn.now < ending.drain_until:
        turn.say(f"{ending.message}; draining {candidate.label}")
        turn.wake(ending.drain_until)
        return False
    _close(turn, ending.outcome, ending.reason, ending.message)
    return True


def _exposed(turn: Turn) -> bool:
    """Whether the candidate may have had requests: it has reached a stage with a weight."""
    state = turn.status.stage
    return state is not None and (state.weight > 0 or any(s.weight > 0 for s in turn.plan[: state.index + 1]))


def _promote(turn: Turn) -> None:
    """The candidate's own pods become the stable ones; the old version stays warm for a while."""
    stable, candidate = turn.status.stable, turn.status.candidate
    if candidate is None:
        return
    message = f"{candidate.label} serves all traffic"
    if stable is not None:
        keep = seconds(turn.view.spec.rollback.keep_for)
        drain = seconds(turn.view.spec.rollback.drain)
        _retain(turn, stable, warm_until=turn.after(max(keep, drain)))
    _close(turn, Outcome.PROMOTED, "Promoted", message)
    turn.set(stable=candidate)


def _close(turn: Turn, outcome: Outcome, reason: str, message: str) -> None:
    candidate = turn.status.candidate
    if candidate is None:
        return
    if outcome is not Outcome.PROMOTED:
        _retain(turn, candidate, warm_until=turn.now)
    forced_by = turn.status.force.by if turn.status.force else "weir"
    closed = Phase.PROMOTED if outcome is Outcome.PROMOTED else Phase.ROLLED_BACK
    # What put a release back was told when that began; what the last stage saw is told here.
    evidence = turn.measurements if outcome is Outcome.PROMOTED else ()
    turn.note(closed, f"Release{outcome}", message, actor=forced_by, evidence=evidence)
    summary = ReleaseSummary(
        release=turn.status.release,
        candidate=candidate,
        outcome=outcome,
        reason=reason,
        message=message,
        started_at=turn.status.release_started_at or turn.now,
        finished_at=turn.now,
        record=record_name(turn.view, turn.status.release),
    )
    turn.set(
        candidate=None,
        stage=None,
        weight=0,
        ending=None,
        force=None,
        hold=None,
        deadline=None,
        paused_at=None,
        history=[summary, *turn.status.history][:10],
        message=message,
    )


def _retain(turn: Turn, version: VersionStatus, *, warm_until: float) -> None:
    kept = RetainedVersion(**version.model_dump(), warm_until=warm_until)
    others = [r for r in turn.status.retained if r.revision != version.revision]
    turn.set(retained=[kept, *others][:24])


def _worst_verdict(turn: Turn) -> None:
    verdict = worst(g.verdict for g in turn.status.gates)
    turn.set(verdict=str(verdict) if verdict else "")


def _warn(turn: Turn, before: RolloutStatus) -> None:
    """Says once in a release that its gates cannot pass in time."""
    told = {c.type: c for c in turn.status.conditions}.get(CONDITION)
    old = {c.type: c for c in before.conditions}.get(CONDITION)
    if told is None or told.status != "False" or (old is not None and old.status == "False"):
        return
    key = f"{turn.status.release}/{told.reason}"
    turn.events.append(Event(told.reason, told.message[:1024], key, warning=True))
