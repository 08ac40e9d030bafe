"""Actions for which there is nothing to do on a Rollout as it stands."""

from __future__ import annotations

from weir.agent.observation import RolloutFacts
from weir.api.rolloutstatus import RolloutStatus

_OF_A_RELEASE = frozenset({"Promote", "Abort", "Pause", "Skip", "ShiftTraffic"})
"""Actions on a release that runs. A Pause of what comes next is a person's to ask for."""


def pointless(action: str, rollout: RolloutFacts) -> str:
    """Why the action can do nothing in the release that the status tells of, nor later in it; empty where it can."""
    status = rollout.status
    if action in _OF_A_RELEASE and not runs(status):
        return f"no release runs, so there is nothing for {action}"
    if action == "Resume" and not runs(status) and status.pause is None:
        return "no release runs, and the Rollout is not paused"
    if action == "Retry" and status.candidate is None:
        wanted = _wanted(rollout)
        if all(failed.version != wanted for failed in status.failed):
            return f"{wanted}, the version that is wanted, has not failed; there is nothing to retry"
    return ""


def runs(status: RolloutStatus) -> bool:
    """Whether a release is under way that is not being put back."""
    return status.candidate is not None and status.ending is None


def _wanted(rollout: RolloutFacts) -> str:
    """Name of the ModelVersion that should serve."""
    instead, named = rollout.status.instead, rollout.spec.version_ref.name
    return instead.version if instead is not None and instead.ref == named else named
