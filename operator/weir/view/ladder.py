"""The plan of a release as a ladder, and where on it the release stands."""

from __future__ import annotations

from collections.abc import Sequence

from weir.api.approval import PROMOTE
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.release.plan import WARM_UP, stages
from weir.view.parts import Rung, RungState, Stage
from weir.view.people import Approval
from weir.view.read import Node

REFUSALS = (ValueError, TypeError, ArithmeticError, KeyError, AttributeError)
"""What reading an odd spec or status may raise."""


def read_spec(node: Node) -> tuple[RolloutSpec | None, str]:
    """The spec, or why it cannot be read."""
    try:
        return RolloutSpec.model_validate(node.value), ""
    except REFUSALS as error:
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__


def ladder(model: RolloutSpec | None, status: Node, approvals: Sequence[Approval]) -> tuple[Rung, ...]:
    """The plan from the warm-up to the promotion, and where on it the release stands."""
    if model is None:
        return ()
    try:
        known = RolloutStatus.model_validate(status.value) if status.there else None
    except REFUSALS:
        known = None
    if known is None and status.flag("restoring"):
        return ()
    try:
        plan = stages(model, first=not status.at("stable").there, status=known)
    except REFUSALS:
        return ()
    running = status.at("candidate").there
    stage = Stage.of(status.at("stage"))
    at = stage.index if running and stage is not None else None
    thresholds = [] if status.flag("restoring") else _thresholds(model, approvals)
    rungs = [Rung(WARM_UP, "WarmUp", 0, 0.0, _place(-1, at))]
    before = 0
    for index, planned in enumerate(plan):
        needed = tuple(name for name, threshold in thresholds if before < threshold <= planned.weight)
        before = max(before, planned.weight)
        rungs.append(Rung(planned.name, planned.kind, planned.weight, planned.min_duration, _place(index, at), needed))
    last = tuple(name for name, threshold in thresholds if threshold >= PROMOTE)
    rungs.append(Rung("Promote", "Promote", 100, 0.0, "Next", last))
    return tuple(rungs)


def _place(index: int, at: int | None) -> RungState:
    if at is None or index > at:
        return "Next"
    return "Current" if index == at else "Done"


def _thresholds(model: RolloutSpec, approvals: Sequence[Approval]) -> list[tuple[str, int]]:
    """(name, threshold) of the approvals that a release needs; of those in the status, the plan's own word counts."""
    known = {a.name for a in approvals}
    return [(a.key, a.threshold) for a in model.approvals if not known or a.key in known]
