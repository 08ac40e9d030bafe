"""Conditions in the kstatus sense: Ready, and Reconciling or Stalled only while true.

Ready=True means that the desired version serves all traffic, baked. A rolled-back Rollout is Ready=False, Stalled=True,
so that `kubectl wait`, Argo CD and Flux see a failure rather than wait for ever.
"""

from __future__ import annotations

from typing import Literal

from weir.api.base import Condition, with_conditions
from weir.api.rolloutstatus import Phase, RolloutStatus
from weir.release import approvals, budget, contracts, instead
from weir.release.feasible import CONDITION, forecast
from weir.release.turn import Turn

AWAITING = "AwaitingApproval"
"""Type of the condition that is there while a release waits for people's consent."""


def conditions(turn: Turn) -> tuple[Condition, ...]:
    """Conditions that follow from the status and the observation."""
    ready, reason, message = _ready(turn)
    result: list[tuple[str, Literal["True", "False", "Unknown"], str, str]] = []
    result.append(("Ready", "True" if ready else "False", reason, message))
    if not ready:
        kind = "Stalled" if _stalled(turn) else "Reconciling"
        result.append((kind, "True", reason, message))
    waiting = approvals.awaited(turn)
    if waiting:
        result.append((AWAITING, "True", "WaitingForApproval", approvals.waits_for(turn, waiting)))
    found = budget.assess(turn)
    if found is not None:
        told = turn.status.budget.message if turn.status.budget is not None else found.message
        result.append((budget.CONDITION, found.available, found.reason, told))
    kept = contracts.assess(turn.status.contracts)
    if kept is not None:
        result.append((contracts.CONDITION, kept.status, kept.reason, kept.message))
    outlook = forecast(turn)
    if outlook is not None:
        result.append((CONDITION, outlook.status, outlook.reason, outlook.message))
    made = [
        Condition(
            type=kind,
            status=value,
            observed_generation=turn.view.generation,
            last_transition_time=turn.now,
            reason=why,
            message=text[:2048],
        )
        for kind, value, why, text in result
    ]
    return with_conditions(turn.status.conditions, made)


def _ready(turn: Turn) -> tuple[bool, str, str]:
    status, stable = turn.status, turn.status.stable
    if status.hold is not None:
        return False, status.hold.reason, status.hold.message
    if status.candidate is not None and turn.obs.write_problem is not None:
        return False, turn.obs.write_problem.reason, turn.obs.write_problem.message
    if status.phase is not Phase.PROMOTED or stable is None:
        reason = status.ending.reason if status.ending is not None else str(status.phase)
        return False, reason, status.message or str(status.phase)
    pool = turn.obs.pool(stable.pool)
    if turn.stable_carries < 100:
        why = f": {pool.problem.message}" if pool.problem else ""
        return False, "StableUnhealthy", f"{pool.ready} of {turn.view.spec.replicas} pods of {stable.label} ready{why}"
    problem = turn.obs.route.problem
    if problem is not None:
        return False, problem.reason, problem.message
    if not turn.obs.route.accepted or turn.obs.route.weights.get(stable.pool) != 100:
        return False, "RouteNotAccepted", "waiting for the gateway to take the route"
    if turn.obs.write_problem is not None:
        return False, turn.obs.write_problem.reason, turn.obs.write_problem.message
    return True, "Promoted", f"{stable.label} serves all traffic{instead.hint(turn)}"


def _stalled(turn: Turn) -> bool:
    """Whether nothing will happen until somebody acts."""
    status = turn.status
    if status.phase is Phase.ROLLED_BACK:
        return True
    if status.phase is Phase.HELD:
        return True
    problems = [*turn.obs.blockers, turn.obs.write_problem, turn.obs.target_problem, turn.obs.route.problem]
    return status.hold is not None and any(
        p is not None and p.terminal and p.reason == status.hold.reason for p in problems
    )


def invalid_spec(status: RolloutStatus, generation: int, message: str, now: float) -> RolloutStatus:
    """The status of a Rollout whose spec cannot be read: nothing moves, and the conditions name the field."""
    made = [
        Condition(
            type=kind,
            status=value,
            observed_generation=generation,
            last_transition_time=now,
            reason="InvalidSpec",
            message=message[:2048],
        )
        for kind, value in (("Ready", "False"), ("Stalled", "True"))
    ]
    conditions = list(with_conditions(status.conditions, made))
    return status.model_copy(
        update={"observed_generation": generation, "conditions": conditions, "message": message[:1024]}
    )
