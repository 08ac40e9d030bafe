"""How a release ends: traffic back to stable and a drain, or the candidate becomes stable."""

from __future__ import annotations

from decimal import Decimal

from weir.api.action import Asked
from weir.api.base import seconds
from weir.api.rolloutstatus import FailedRevision, Outcome, Phase, ReleaseSummary, VersionStatus
from weir.release.record import record_name
from weir.release.retained import retain
from weir.release.traffic import lower_to_zero
from weir.release.turn import Cause, Turn

_STUCK_ROUTE = 60.0
"""Seconds after which an ending release no longer waits for the gateway to confirm a route that says weight 0."""


def finish(turn: Turn) -> bool:
    """Weights to zero, then drain, then close; capacity of stable is checked on the way as on any other."""
    ending, candidate = turn.status.ending, turn.status.candidate
    if ending is None or candidate is None:
        turn.set(ending=None)
        return True
    if not lower_to_zero(turn, patience=_STUCK_ROUTE):
        return False
    if ending.stable_at is None and turn.status.stable is not None and turn.obs.route.accepted:
        ending = ending.model_copy(update={"stable_at": turn.now})
        turn.set(ending=ending)
    if ending.drain_until is None:
        drain = seconds(turn.view.spec.rollback.drain) if _exposed(turn) else 0.0
        turn.set(ending=ending.model_copy(update={"drain_until": turn.after(drain)}))
        return True
    if turn.now < ending.drain_until:
        turn.say(f"{ending.message}; draining {candidate.label}")
        turn.wake(ending.drain_until)
        return False
    retain(turn, candidate, warm_until=turn.now)
    if ending.outcome is Outcome.DRILLED and turn.status.requested_by:
        # It is released again by itself; who asked for it the first time cannot approve it the second time either.
        turn.set(asked=Asked(revision=candidate.revision, by=turn.status.requested_by))
    _close(turn, candidate, ending.outcome, ending.reason, ending.message, cause=Cause.of(ending))
    return True


def _exposed(turn: Turn) -> bool:
    """Whether the candidate may have had requests: it has reached a stage with a weight."""
    state = turn.status.stage
    return state is not None and (state.weight > 0 or any(s.weight > 0 for s in turn.plan[: state.index + 1]))


def _time_to_stable(turn: Turn) -> Decimal | None:
    """Seconds from the decision to put traffic back until the gateway had done so."""
    ending = turn.status.ending
    if ending is None or ending.stable_at is None or not ending.weight:
        return None
    return Decimal(f"{max(0.0, ending.stable_at - ending.since):.3f}")


def promote(turn: Turn) -> None:
    """The candidate's own pods become the stable ones; the old version stays warm for a while.

    One that was put back for an earlier version counts as failed, so that ``versionRef`` does not bring it up again.
    """
    status, stable, candidate = turn.status, turn.status.stable, turn.status.candidate
    if candidate is None:
        return
    outcome, reason, message = Outcome.PROMOTED, "Promoted", f"{candidate.label} serves all traffic"
    failed = [f for f in status.failed if f.revision != candidate.revision]
    if stable is not None:
        keep = seconds(turn.view.spec.rollback.keep_for)
        drain = seconds(turn.view.spec.rollback.drain)
        retain(turn, stable, warm_until=turn.after(max(keep, drain)), served_until=turn.now)
    if status.restoring and stable is not None and status.force is not None:
        outcome, reason = Outcome.RESTORED, "Restored"
        message = f"{candidate.label} serves all traffic again: {status.force.reason}"
        why = f"{status.force.by} put {candidate.label} back: {status.force.reason}"[:1024]
        replaced = FailedRevision(
            revision=stable.revision,
            version=stable.version,
            release=status.release,
            reason="RollbackRequested",
            message=why,
        )
        failed = [replaced, *(f for f in failed if f.revision != stable.revision)][:10]
    turn.set(failed=failed)
    _close(turn, candidate, outcome, reason, message, cause=turn.mover)
    turn.set(stable=candidate)


def _close(turn: Turn, candidate: VersionStatus, outcome: Outcome, reason: str, message: str, *, cause: Cause) -> None:
    up = outcome in (Outcome.PROMOTED, Outcome.RESTORED)
    lasted = _time_to_stable(turn)
    told = message if lasted is None else f"{message}; stable had all traffic again after {lasted} s"
    # What put a release back was told when that began; what the last stage saw is told here.
    evidence = turn.measurements if up else ()
    phase = Phase.PROMOTED if up else Phase.ROLLED_BACK
    turn.note(phase, f"Release{outcome}", told, cause=cause, evidence=evidence, contracts=up)
    summary = ReleaseSummary(
        release=turn.status.release,
        candidate=candidate,
        outcome=outcome,
        reason=reason,
        message=message[:1024],
        started_at=turn.status.release_started_at or turn.now,
        finished_at=turn.now,
        record=record_name(turn.view, turn.status.release),
        time_to_stable=lasted,
    )
    turn.set(
        candidate=None,
        stage=None,
        weight=0,
        ending=None,
        force=None,
        skip=None,
        ceiling=None,
        kept_ceiling=None,
        lifted_at=None,
        restoring=False,
        hold=None,
        deadline=None,
        paused_at=None,
        history=[summary, *turn.status.history][:10],
        message=message[:1024],
    )
