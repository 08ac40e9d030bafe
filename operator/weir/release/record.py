"""The sealed account of a finished release, chained to the one before it."""

from __future__ import annotations

from collections.abc import Mapping

from weir.api.modelversion import canonical, sha256
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.release.observation import RolloutView


def record(view: RolloutView, status: RolloutStatus, recorded: Mapping[int, str]) -> RolloutRecordSpec | None:
    """The record of the last finished release while it is not written yet; None otherwise.

    ``recorded``: release number → hash of the records that exist.
    """
    if not status.history:
        return None
    last = status.history[0]
    if last.release != status.release or last.release in recorded:
        return None
    content = RolloutRecordSpec(
        rollout=view.name,
        rollout_uid=view.uid,
        release=last.release,
        outcome=last.outcome,
        reason=last.reason,
        message=last.message,
        stable=status.stable,
        candidate=last.candidate,
        started_at=last.started_at,
        finished_at=last.finished_at,
        gates=view.spec.gates,
        judgement=view.spec.judgement,
        decisions=status.decisions,
        approvals=status.approvals or None,
        requested_by=status.requested_by or None,
        authors=status.authors or None,
        time_to_stable=last.time_to_stable,
        evidence=[seen.model_copy(update={"counters": ""}) for seen in status.evidence],
        previous_hash=recorded.get(last.release - 1, ""),
        hash="",
    )
    return content.model_copy(update={"hash": record_hash(content)})


def record_hash(content: RolloutRecordSpec) -> str:
    """Hash over the canonical content without the hash itself; anyone can recompute it from the object."""
    fields = content.to_dict()
    fields.pop("hash", None)
    return sha256(canonical(fields))


def record_name(view: RolloutView, release: int) -> str:
    """Name of a release's record; a Rollout that is deleted and made anew under its name starts names of its own."""
    return f"{view.name}-{view.uid[:5]}-{release}"
