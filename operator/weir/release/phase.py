"""The one-word summary of a status, for people."""

from __future__ import annotations

from weir.api.rolloutstatus import Phase
from weir.release.turn import Turn

PENDING = "ContractCheckPending"
"""Reason of a hold until a check of data that is under way: it passes by itself, so the release is not stuck."""


def phase(turn: Turn) -> Phase:
    """Phase that follows from the rest of the status."""
    status = turn.status
    if status.ending is not None:
        return Phase.ROLLING_BACK
    if status.candidate is not None:
        return _running(turn)
    target = turn.obs.target
    if target is not None and any(f.revision == target.revision for f in status.failed):
        return Phase.ROLLED_BACK
    if status.stable is not None and (target is None or target.revision == status.stable.revision):
        return Phase.PROMOTED
    return Phase.PAUSED if turn.paused else Phase.PENDING


def _running(turn: Turn) -> Phase:
    if turn.paused_by_people:
        return Phase.PAUSED
    stage = turn.stage
    if stage is None:
        if turn.status.hold is not None:
            return Phase.PREFLIGHT
        return Phase.AWAITING_APPROVAL if _awaits(turn) else Phase.WARM_UP
    if turn.status.hold is not None and turn.status.hold.reason != PENDING:
        return Phase.HELD
    if _awaits(turn):
        return Phase.AWAITING_APPROVAL
    return Phase.BAKE if stage.kind == "Bake" else Phase.SHIFTING


def _awaits(turn: Turn) -> bool:
    """Whether the release waits for people's consent."""
    return any(entry.state == "Waiting" for entry in turn.status.approvals)
