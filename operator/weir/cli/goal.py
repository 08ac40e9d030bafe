"""When waiting for a Rollout is over, and with which exit code: pure, from what its status says."""

from __future__ import annotations

from dataclasses import dataclass

from weir.cli.failure import REFUSED, WAITS
from weir.view.model import RolloutInfo
from weir.view.parts import Release

READY = "ready"
END = "end"
HELD_SECONDS = 20.0
"""So long has a hold to last before it counts as waiting for a person: some pass by themselves."""

_BACK = frozenset({"RolledBack", "Aborted", "Drilled"})


@dataclass(frozen=True)
class Reached:
    """Waiting is over."""

    code: int
    message: str


def reached(info: RolloutInfo, goal: str) -> Reached | None:
    """Whether there is nothing more to wait for.

    Args:
        info: the Rollout now.
        goal: ``ready`` (the wanted version serves all traffic), ``end`` (no release is running, through every wait for
            a person), or the name of a stage such as Traffic(25).
    """
    if info.behind or not info.phase:
        return None
    if info.ready:
        return Reached(0, _ready(info))
    if goal == END:
        return _ended(info)
    if goal != READY and _passed(info, goal):
        return Reached(0, f"release {info.release} has reached {goal}")
    waits = waits_for_person(info)
    if waits is not None:
        return waits
    stalled = info.condition("Stalled")
    if info.phase == "RolledBack":
        return Reached(REFUSED, info.message or _last(info))
    if stalled is not None and stalled.status == "True" and info.phase != "Held":
        return Reached(REFUSED, stalled.message or stalled.reason)
    return None


def waits_for_person(info: RolloutInfo) -> Reached | None:
    """Whether the release stands until somebody acts."""
    if info.phase == "AwaitingApproval":
        return Reached(WAITS, info.message or "waits for an approval")
    if info.phase == "Paused" and (info.pause is None or info.pause.until is None):
        return Reached(WAITS, info.message or "paused")
    if info.phase == "Held" and info.hold is not None and _lasts(info, info.hold.since):
        return Reached(WAITS, f"held: {info.hold.message or info.hold.reason}")
    return None


def closed(info: RolloutInfo, release: int) -> Release | None:
    """That release, once it is finished."""
    return next((r for r in info.history if r.release == release), None)


def closing(info: RolloutInfo, release: int, wanted: str) -> Reached | None:
    """Whether that release has ended; its outcome should be ``wanted``."""
    found = closed(info, release)
    if found is None:
        return None
    measured = f"; stable had all traffic after {found.time_to_stable:g} s" if found.time_to_stable is not None else ""
    text = f"release {release} of {found.candidate.shown} is closed: {found.outcome}{measured}"
    if found.outcome == wanted:
        return Reached(0, text)
    return Reached(REFUSED, f"{text} (not {wanted}): {found.message}")


def _ended(info: RolloutInfo) -> Reached | None:
    if info.candidate is not None or info.ending is not None:
        return None
    last = info.history[0] if info.history else None
    if last is None:
        return None
    return Reached(REFUSED if last.outcome in _BACK or info.phase == "RolledBack" else 0, _last(info))


def _passed(info: RolloutInfo, stage: str) -> bool:
    """Whether the release is in that stage with its share of traffic, or has been."""
    wanted = stage.casefold()
    if info.stage is not None and info.stage.name.casefold() == wanted:
        return info.stage.evidence_from is not None or info.stage.weight == 0
    began = info.release_started_at or 0.0
    return info.candidate is not None and any(
        d.stage.casefold() == wanted and (d.at or 0.0) >= began for d in info.decisions
    )


def _lasts(info: RolloutInfo, since: float | None) -> bool:
    return since is not None and info.now - since >= HELD_SECONDS


def _ready(info: RolloutInfo) -> str:
    shown = info.stable.shown if info.stable is not None else ""
    return f"{shown} serves all traffic" if shown else "Ready"


def _last(info: RolloutInfo) -> str:
    last = info.history[0] if info.history else None
    if last is None:
        return info.message or "no release has ended"
    return f"release {last.release} of {last.candidate.shown}: {last.outcome}: {last.message}"
