"""The release machine: ``decide`` says what happens next, given what is stored, what is seen, and what time it is.

    no candidate ──new version──► Preflight ─► WarmUp ─► stage 0 … n (Shifting) ─► Bake ─► promoted
                                      │           │            │                    │
                                      └───────────┴── fail, abort, deadline, supersede, delete ──► RollingBack ─► closed

Every arrow is one transition below; a decision follows as many as the observation allows. Nothing here reads a clock or
the cluster, so the machine can be driven through every interleaving, and replayed from a record.
"""

from __future__ import annotations

from weir.api.rolloutstatus import Outcome, RolloutStatus
from weir.release import approvals, budget, contracts, instead, pauses, requests
from weir.release.closing import finish, promote
from weir.release.conditions import conditions
from weir.release.decision import Decision, Event
from weir.release.desired import desired
from weir.release.feasible import CONDITION
from weir.release.gates import worst
from weir.release.observation import Observation, RolloutView
from weir.release.phase import phase
from weir.release.retained import forget_removed
from weir.release.shifting import look, progress
from weir.release.turn import Turn

_MAX_TRANSITIONS = 32
_POLL = 10.0
"""Seconds after which a running release is looked at again, whatever the watches say."""


def decide(view: RolloutView, status: RolloutStatus, obs: Observation, now: float) -> Decision:
    """The next status, the cluster to bring about, and when to look again.

    ``now`` is in seconds since the epoch. Pure: equal arguments give equal decisions. Raises nothing for any state of
    the world; what is wrong is said in conditions.
    """
    turn = Turn(view, status, obs, round(now, 3))
    instead.refresh(turn)
    approvals.refresh(turn)
    contracts.look(turn)
    look(turn)  # before a pause ends, which moves the time from which evidence counts
    requests.handle(turn)
    pauses.keep_time(turn)
    budget.look(turn)
    for _ in range(_MAX_TRANSITIONS):
        # Some requests wait for a moment, which may just have come.
        if not _transition(turn) and not requests.handle(turn):
            break
    contracts.look(turn)  # of whoever is there now
    pauses.begin(turn)
    if turn.status.candidate is not None:
        turn.wake(turn.now + _POLL)
        turn.wake(turn.status.deadline)
    turn.settle_log()
    _worst_verdict(turn)
    granularity = obs.route.granularity
    turn.set(granularity=f"{granularity} %" if granularity > 1 else None)
    turn.set(observed_generation=view.generation, phase=phase(turn))
    turn.set(conditions=list(conditions(turn)))
    requests.conclude(turn, {entry.uid for entry in status.handled_requests})
    _warn(turn, status)
    return Decision(turn.status, desired(turn), min(turn.wakes, default=None), tuple(turn.events))


def _transition(turn: Turn) -> bool:
    """Follows one arrow; False when nothing more follows from this observation."""
    if turn.status.ending is not None:
        return finish(turn)
    if turn.view.deleting:
        return _delete(turn)
    if turn.status.candidate is not None:
        return progress(turn, promote=promote)
    return _settle(turn)


def _delete(turn: Turn) -> bool:
    if turn.status.candidate is None:
        turn.say("being deleted")
        return False
    turn.end(Outcome.DELETED, "RolloutDeleted", "the Rollout is being deleted; traffic goes back to stable first")
    return True


def _settle(turn: Turn) -> bool:
    """Without a candidate: is there something to release?"""
    forget_removed(turn)
    target, stable = turn.obs.target, turn.status.stable
    if target is None:
        problem = turn.obs.target_problem
        if problem is not None:
            turn.hold(problem)
        return False
    turn.release_hold()
    if stable is not None and target.revision == stable.revision:
        if (target.version, target.label) != (stable.version, stable.label):
            turn.set(stable=stable.model_copy(update={"version": target.version, "label": target.label}))
        turn.say(f"{stable.label} serves all traffic{instead.hint(turn)}")
        return False
    failed = next((f for f in turn.status.failed if f.revision == target.revision), None)
    if failed is not None:
        why = f"{target.label} failed in release {failed.release} ({failed.message})"
        turn.say(f"{why}; change versionRef or request a Retry{instead.way_back(turn)}")
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
        turn.hold(frozen)
        return False
    turn.start(target)
    return True


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
