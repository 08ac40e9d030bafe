"""A running release: preflight, warm-up, and the stages of its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from weir.api.approval import PROMOTE
from weir.api.base import seconds
from weir.api.gate import Gate
from weir.api.rolloutstatus import GateStatus, Outcome, Verdict
from weir.release import approvals, budget, ceiling, contracts, ramp
from weir.release.capacity import safe_weight
from weir.release.gates import fresh, judge
from weir.release.observation import Problem
from weir.release.plan import RAMP, Stage, required_replicas
from weir.release.traffic import ENDPOINTS_SETTLE, SETTLE, intended, mismatch, share_problem, written
from weir.release.turn import Turn


def progress(turn: Turn, *, promote: Callable[[Turn], None]) -> bool:
    """One transition of a running release; safety first, in every phase, paused or not."""
    if _superseded(turn):
        return True
    approvals.refresh(turn)
    contracts.look(turn)
    look(turn)
    if turn.status.force is None:
        failed = next((g for g in turn.status.gates if g.verdict is Verdict.FAIL), None)
        if failed is not None:
            turn.end(Outcome.ROLLED_BACK, "GateFailed", f"gate {failed.name}: {failed.message}")
            return True
        spent = budget.overspent(turn)
        if spent is not None:
            turn.end(Outcome.ROLLED_BACK, "ErrorBudgetShareSpent", spent)
            return True
    if contracts.expire(turn) or approvals.expire(turn) or _replanned(turn) or ramp.guard(turn, _deadline(turn)):
        return True
    stage = turn.stage
    if _prepare(turn) if stage is None else _stage(turn, stage, promote):
        return True
    return _expired(turn)


def _expired(turn: Turn) -> bool:
    """Ends a release that waits beyond its deadline; looked at last, for what is there now may have come meanwhile."""
    if turn.status.ceiling is not None:
        turn.set(deadline=None)  # nothing is late while somebody limits the release
        return False
    deadline = turn.status.deadline
    if turn.paused or deadline is None or turn.now < deadline:
        return False
    waited = turn.status.message or "no progress"
    within = turn.view.spec.progress_deadline
    turn.end(Outcome.ROLLED_BACK, "ProgressDeadlineExceeded", f"no progress within {within}: {waited}")
    return True


def _deadline(turn: Turn) -> float:
    """Seconds since the epoch; what is set during a pause counts from its start, since it moves by all of it later."""
    since = turn.now if turn.status.paused_at is None else turn.status.paused_at
    return round(since + seconds(turn.view.spec.progress_deadline), 3)


def _replanned(turn: Turn) -> bool:
    """Finds the release's place in a plan that was changed under it: never a greater share than it has earned.

    That is the last stage of the new plan with no more weight than the current one, else its first stage.
    """
    state, plan = turn.status.stage, turn.plan
    if state is None or state.index < 0:
        return False
    if state.index < len(plan) and plan[state.index].name == state.name:
        return False
    earned = [index for index, stage in enumerate(plan) if stage.weight <= state.weight]
    turn.enter(earned[-1] if earned else 0, _deadline(turn), why="the plan was changed: ")
    return True


def _superseded(turn: Turn) -> bool:
    target, candidate, stable = turn.obs.target, turn.status.candidate, turn.status.stable
    if target is None or candidate is None or target.revision == candidate.revision or turn.status.restoring:
        return False
    if stable is not None and target.revision == stable.revision:
        turn.end(Outcome.REVERTED, "Reverted", f"versionRef went back to {stable.label}")
    else:
        turn.end(Outcome.SUPERSEDED, "Superseded", f"versionRef went on to {target.label}")
    return True


def _prepare(turn: Turn) -> bool:
    """Preflight and warm-up: no traffic reaches the candidate here."""
    candidate = turn.status.candidate
    if candidate is None or (not turn.status.restoring and _blocked(turn)):
        return False
    turn.release_hold()
    if turn.status.deadline is None:
        turn.set(deadline=_deadline(turn))
    if turn.paused:
        return False
    pool, first = turn.obs.pool(candidate.pool), turn.plan[0]
    needed = required_replicas(turn.view.spec, first)
    if not _enough(turn, first):
        why = f": {pool.problem.message}" if pool.problem else ""
        turn.say(f"{pool.ready} of {needed} pods of {candidate.label} ready{why}")
        return False
    if candidate.pool not in turn.obs.warmed and not turn.status.restoring:
        problem = turn.obs.warmup_problem
        turn.say(f"warming up {candidate.label}" + (f": {problem.message}" if problem else ""))
        return False
    known = pool.ready_since + ENDPOINTS_SETTLE if pool.ready_since is not None else turn.now
    if turn.now < known:
        turn.say(f"letting the gateway learn where {candidate.label} is")
        turn.wake(known)
        return False
    if contracts.forbids(turn) or not _permitted(turn, first.weight):
        turn.set(deadline=None)  # neither is waiting for people, or for data
        return False
    turn.enter(0, _deadline(turn))
    return True


def _blocked(turn: Turn) -> bool:
    """Whether something holds the release back before anything of it exists."""
    problem = turn.obs.target_problem if turn.obs.target is None else None
    problem = problem or next(iter(turn.obs.blockers), turn.obs.write_problem)
    if problem is not None:
        turn.hold(problem)
        return True
    frozen = budget.freeze(turn)
    if frozen is not None:
        turn.hold(frozen)
        turn.set(deadline=None)  # waiting for the budget is no lack of progress
        return True
    forbidden = contracts.before_pods(turn)
    if forbidden is not None:
        turn.hold(forbidden)
        turn.set(deadline=None)  # nor is waiting for data or a waiver
    elif contracts.waits(turn):
        return contracts.forbids(turn)
    return forbidden is not None


def _enough(turn: Turn, stage: Stage) -> bool:
    """Whether the candidate's ready pods can carry the stage's weight, a preview the full load."""
    if stage.kind == "Preview":
        return turn.candidate_carries >= 100
    candidate = turn.status.candidate
    ready = turn.obs.pool(candidate.pool).ready if candidate else 0
    external = candidate is not None and turn.obs.pool(candidate.pool).external
    if external:
        return ready > 0
    return ready >= required_replicas(turn.view.spec, stage) and turn.candidate_carries >= min(stage.weight, 100)


def _stage(turn: Turn, stage: Stage, promote: Callable[[Turn], None]) -> bool:
    plan, last = turn.plan, len(turn.plan) - 1
    index = turn.status.stage.index if turn.status.stage else 0
    leaps = turn.status.force is not None and index != last and not turn.paused
    if leaps and _permitted(turn, plan[last].weight):
        turn.enter(last, _deadline(turn))
        return True
    if not _weight_in_place(turn, stage):
        return False
    if leaps:
        turn.set(deadline=None)  # people are waited for, and the weight is what it may be until then
        return False
    limited = not ceiling.permits(turn, plan[index].weight)
    if limited and not stage.weight:
        return False  # there is nothing to be seen of the candidate
    if not turn.skipped and not _observed(turn, stage):
        return bool(turn.status.stage and turn.status.stage.evidence_from is not None)
    if turn.paused:
        if not contracts.forbids(turn):
            turn.say("paused")
        return False
    if limited:
        return False
    if turn.status.force is None and not _passed(turn, stage):
        ready = _enough(turn, replace(stage, weight=stage.ahead))
        if turn.status.ending is not None:
            return True
        halted = budget.freeze(turn) is not None or contracts.forbids(turn, hold=False)
        return not halted and ramp.rise(turn, stage, _deadline(turn), ready=ready)
    if not _permitted(turn, PROMOTE if index == last else plan[index + 1].weight):
        turn.set(deadline=None)
        return False
    if index == last:
        approvals.pass_by(turn, PROMOTE)
        promote(turn)
    else:
        turn.enter(index + 1, _deadline(turn))
    return True


def _permitted(turn: Turn, weight: int) -> bool:
    """Whether people let the candidate have that weight; who is limited need not ask for consents yet."""
    return ceiling.permits(turn, weight) and approvals.permits(turn, weight)


def _weight_in_place(turn: Turn, stage: Stage) -> bool:
    """Capacity first, then the weight, then the gateway's word for it; whatever is missing stops the evidence."""
    enough = _enough(turn, stage)
    forbidden = stage.weight > turn.status.weight and contracts.forbids(turn, hold=False)
    ready = enough and not turn.paused and not forbidden
    free = stage.weight <= turn.status.weight or (ready and approvals.ceiling(turn) >= stage.weight)
    wanted = stage.weight if free else turn.status.weight
    weight = safe_weight(wanted, turn.status.weight, turn.candidate_carries, _stable_carries(turn))
    if weight != turn.status.weight:
        if weight > turn.status.weight:
            approvals.pass_by(turn, weight)
        turn.set(weight=weight)
        _restart_evidence(turn)
    if weight > stage.weight:
        _restart_evidence(turn)
        turn.say(f"stable's ready pods carry {turn.stable_carries} % of the traffic, so the candidate keeps {weight} %")
        return False
    if weight < stage.weight or not enough:
        _restart_evidence(turn)
        if ready and not approvals.permits(turn, stage.weight):
            turn.set(deadline=None)
            return False
        if enough and contracts.forbids(turn):
            turn.set(deadline=None)
            return False
        candidate = turn.status.candidate
        pool = turn.obs.pool(candidate.pool if candidate else "")
        why = f": {pool.problem.message}" if pool.problem else ""
        turn.say(f"{pool.ready} of {required_replicas(turn.view.spec, stage)} candidate pods ready{why}")
        return False
    weights = intended(turn.status, serving=True)
    if weights is not None and written(turn.obs.route, weights) and turn.obs.route.accepted:
        return True
    _restart_evidence(turn)
    problem = turn.obs.route.problem
    turn.say(f"waiting for the gateway to take {weight} %" + (f": {problem.message}" if problem else ""))
    return False


def _stable_carries(turn: Turn) -> int:
    return turn.stable_carries if turn.status.stable is not None else 100


def _restart_evidence(turn: Turn) -> None:
    """Traffic is not as the stage wants it: what was counted is void, and the deadline runs again."""
    stage = turn.status.stage
    if stage is not None and (stage.accepted_at is not None or stage.evidence_from is not None):
        turn.set(stage=stage.model_copy(update={"accepted_at": None, "evidence_from": None}))
        planned, before = turn.stage, {g.name: g for g in turn.status.gates}
        turn.set(gates=[fresh(g, before.get(g.name)) for g in turn.gates(planned)] if planned is not None else [])
    turn.release_hold()  # what held the release was said of that evidence
    if turn.status.deadline is None:
        turn.set(deadline=_deadline(turn))


def _observed(turn: Turn, stage: Stage) -> bool:
    """Evidence starts only when the data plane shows the share that the route promises; False while it just starts."""
    state = turn.status.stage
    if state is None:
        return False
    if state.evidence_from is not None:
        return True
    if state.accepted_at is None:
        state = state.model_copy(update={"accepted_at": turn.now})
        turn.set(stage=state)
    accepted_at = state.accepted_at or turn.now
    if stage.judged and turn.now < accepted_at + SETTLE:
        turn.say("letting the data plane settle")
        turn.wake(accepted_at + SETTLE)
        return False
    if stage.splits and any(g.template.startswith("http-") for g in turn.view.spec.gates):
        if turn.obs.share is None:
            why = f": {turn.obs.evidence_problem}" if turn.obs.evidence_problem else ""
            turn.say(f"waiting for the request counters of both versions{why}")
            return False
        settled, problem = share_problem(turn.obs.share, stage.weight, turn.obs.route.granularity)
        if not settled:
            turn.set(deadline=None)  # few requests are a reason to wait, not to roll back
            turn.say(problem)
            return False
        if problem:
            if turn.status.deadline is None:
                turn.set(deadline=_deadline(turn))
            turn.say(problem)
            return False
    turn.set(stage=state.model_copy(update={"evidence_from": turn.now}), deadline=None)
    return False


def look(turn: Turn) -> None:
    """Lets every gate of a running release look at the windows it has not seen."""
    stage, state = turn.stage, turn.status.stage
    if turn.status.candidate is None or turn.status.ending is not None:
        return
    if stage is None or state is None or not stage.judged or state.evidence_from is None:
        return
    status, gates = turn.status, turn.gates(stage)
    found = judge(
        gates,
        {g.name: g for g in status.gates},
        {e.gate: e for e in status.evidence},
        [w for w in turn.obs.windows if w.start >= state.evidence_from - 0.001],
        judgement=turn.view.spec.judgement,
        next_weight=turn.next_weight,
        concurrent=turn.compares(stage),
        noise=status.noise,
    )
    names = {g.name for g in gates}
    others = [e for e in status.evidence if e.gate not in names]
    turn.set(gates=list(found.gates), evidence=[*found.evidence, *others][:16])


def _passed(turn: Turn, stage: Stage) -> bool:
    """Whether time and every gate allow the next stage; else says what is missing, or holds."""
    state = turn.status.stage
    since = state.evidence_from if state is not None else None
    if since is None and not turn.skipped:
        return False
    if turn.stable_unhealthy and turn.view.spec.rollback.on_stable_unhealthy == "Hold":
        ready = turn.obs.pool(turn.status.stable.pool).ready if turn.status.stable else 0
        turn.hold(Problem("StableUnhealthy", f"stable has {ready} ready pods, too few for its share of the traffic"))
        return False
    if turn.obs.target is None and turn.obs.target_problem is not None:
        turn.hold(turn.obs.target_problem)
        return False
    broken = mismatch(turn.obs.share, stage, turn.obs.route.granularity)
    if broken:
        turn.hold(Problem("SampleRatioMismatch", broken))
        return False
    states = {g.name: g for g in turn.status.gates}
    skipped = since is None or turn.skipped
    open_gates = [] if skipped else [g for g in turn.gates(stage) if not _is_pass(states.get(g.name))]
    for gate in open_gates:
        if _overdue(turn, gate, states.get(gate.name), since or turn.now):
            return False
    if turn.status.ending is not None or contracts.forbids(turn):
        return False
    ends = turn.now if skipped else (since or turn.now) + stage.min_duration
    moves = turn.now >= ends and (not open_gates or stage.name == RAMP)
    frozen = budget.freeze(turn) if moves else None
    if frozen is not None:
        turn.hold(frozen)
        return False
    turn.release_hold()
    if turn.now < ends:
        turn.wake(ends)
        turn.say(f"{stage.name}: gates are watched for {stage.min_duration:g} s")
        return False
    if open_gates:
        waiting = "; ".join(f"{g.name}: {_text(states.get(g.name))}" for g in open_gates)
        turn.say(f"{stage.name}: waiting for {waiting}")
        return False
    return True


def _is_pass(state: GateStatus | None) -> bool:
    return state is not None and state.verdict is Verdict.PASS


def _text(state: GateStatus | None) -> str:
    return state.message if state is not None else "no evidence yet"


def _overdue(turn: Turn, gate: Gate, state: GateStatus | None, since: float) -> bool:
    """Applies the gate's policy once ``maxWait`` has passed without a Pass; True when the release must not go on."""
    # While people are waited for, or limit the traffic, it is not the gate that is late; then it has all of its time.
    due = max(since, approvals.answered_at(turn), turn.status.lifted_at or 0.0) + seconds(gate.max_wait)
    if approvals.awaited(turn) or turn.status.ceiling is not None:
        return False
    if turn.now < due:
        turn.wake(due)
        return False
    verdict = state.verdict if state is not None else Verdict.NO_DATA
    policy, reason = {
        Verdict.ERROR: (gate.on_error, "GateError"),
        Verdict.NO_DATA: (gate.on_no_data, "GateNoData"),
    }.get(verdict, (gate.on_insufficient, "GateInsufficient"))
    message = f"gate {gate.name} gave no Pass within {gate.max_wait}: {_text(state)}"
    if policy == "Rollback":
        turn.end(Outcome.ROLLED_BACK, reason, message)
    else:
        turn.hold(Problem(reason, message))
    return True
