"""The one-word summary of a status, for people."""

from __future__ import annotations

from weir.api.rolloutstatus import Phase
from weir.release.turn import Turn


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
    if turn.paused:
        return Phase.PAUSED
    stage = turn.stage
    if stage is None:
        return Phase.PREFLIGHT if turn.status.hold is not None else Phase.WARM_UP
    if turn.status.hold is not None:
        return Phase.HELD
    return Phase.BAKE if stage.kind == "Bake" else Phase.SHIFTING
