"""What must be true of every decision about a ramp."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from weir.api.base import seconds
from weir.release.ledger import parse
from weir.release.plan import RAMP, counting_gate

if TYPE_CHECKING:
    from tests.properties.invariants import Step


def ramp_keeps_its_limits(step: Step) -> None:
    """Promises 1 and 2 on a ramp: within its bounds, up only on new evidence and with pods, back when it is spent."""
    before, after, canary = step.before, step.after, step.cluster.spec.strategy.canary
    if canary is None or canary.ramp is None or after.stage is None or after.stage.name != RAMP:
        return
    if after.force is not None or after.ending is not None or after.ramp is None:
        assert after.ramp is not None, "a ramp without its place"
        return
    limits = canary.ramp
    assert after.stage.weight <= limits.max_weight, f"{after.stage.weight} % on a ramp up to {limits.max_weight} %"
    assert after.stage.weight <= after.ramp.weight <= limits.max_weight, f"asks for {after.ramp.weight} %"
    counting = counting_gate(step.cluster.spec)
    evidence = next((e for e in after.evidence if counting is not None and e.gate == counting.name), None)
    harm = 0.0
    for entry in parse(evidence.windows) if evidence is not None else ():
        stable, candidate = entry.amounts[0]
        harm += candidate - stable * entry.candidate_total / entry.stable_total
    assert harm < limits.risk_budget, f"{harm:.1f} of {limits.risk_budget} bad requests are spent and it goes on"
    state = before.stage
    if not step.same_release or state is None or state.name != RAMP or after.stage.weight <= state.weight:
        return
    assert counting is not None, "a ramp rose without anything to count"
    assert before.pause is None or step.asked("Resume") or step.cluster.now >= (before.pause.until or inf), (
        "rose in a pause"
    )
    assert not step.cluster.spec.paused, "a paused ramp rose"
    assert after.stage.weight <= 5 * state.weight, f"from {state.weight} to {after.stage.weight} % at once"
    assert step.carries(after.candidate.pool if after.candidate else "") >= after.stage.weight or service(step)
    assert state.evidence_from is not None, "a ramp rose before its share was seen"
    assert step.cluster.now >= state.evidence_from + seconds(limits.min_dwell) - 0.002, "a ramp rose too early"
    windows = step.cluster.ledger.windows((before.release, state.index, state.accepted_at), counting.name)
    told = [w for w in windows if w.error is None and w.candidate.total and w.stable is not None and w.stable.total]
    assert told, "a ramp rose without evidence"
    assert windows[-1] == told[-1], f"a ramp rose after {windows[-1]}"
    patience = counting.interval_seconds + seconds(limits.reaction)
    assert step.cluster.now <= told[-1].end + patience + 0.002, "a ramp rose on old evidence"


def service(step: Step) -> bool:
    """Whether pods are the share of traffic, so that a weight is asked for before its pods are there."""
    return step.cluster.spec.traffic.service is not None
