"""A ramp: the candidate's weight follows what is left of a budget of bad requests, one move at a time.

Gates decide whether a release fails or passes; the ramp only decides how much of the traffic may be at risk meanwhile.
Everything it needs is in the status: the windows of the gate that counts bad requests, and the weight it stands at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from weir.api.base import seconds
from weir.api.evidencestatus import Counts, EvidenceStatus
from weir.api.gate import Gate
from weir.api.rollout import Ramp
from weir.api.rolloutstatus import Outcome, Phase, RampStatus, Verdict
from weir.release import approvals, budget
from weir.release.gates import fresh
from weir.release.ledger import listed, parse, recent, seen
from weir.release.plan import RAMP, Stage, counting_gate, least_weight
from weir.release.turn import Turn
from weir.stats.ramp import Exposure, Limits, next_weight, upper_excess, upper_share

WORTH = 1.25
"""A rise by less than this factor is not made: every move interrupts the evidence for some seconds."""

_TRAILING = 5
"""Reaction times of windows behind the bound of the candidate's share, so that harm that comes late is not averaged
away by a good start."""

_HARMLESS_HOLDS = ("GateInsufficient",)
"""Holds that do not stop a rise, since more requests are what is missing."""


@dataclass(frozen=True)
class Reckoning:
    """What the windows say about risk: ``spent`` and ``left`` in bad requests, ``rate`` a second, shares as ratios 0-1.

    ``bound``: upper bound of the candidate's share of bad requests lately; ``base``: stable's, from below.
    """

    spent: float = 0.0
    left: float = 0.0
    rate: float = 0.0
    bound: float = 1.0
    base: float = 0.0

    def stored(self, before: RampStatus) -> RampStatus:
        """The ramp's status with these numbers."""
        numbers = {"spent": self.spent, "left": self.left, "rate": self.rate, "bound": self.bound}
        return before.model_copy(update={name: Decimal(f"{value:.4g}") for name, value in numbers.items()})


def reckon(ramp: Ramp, evidence: EvidenceStatus) -> Reckoning:
    """Upper bounds of what the release has cost and may cost, from the windows of the counting gate.

    Pods that differ are no error of measurement here: what their users got was bad all the same. So only the bursts
    (``dispersion``) widen the bounds.
    """
    if not evidence.windows:
        return Reckoning(left=float(ramp.risk_budget))
    dispersion = max(1.0, float(evidence.series[0].noise.dispersion)) if evidence.series else 1.0
    spent = _charged(evidence, dispersion)
    width = max(float(evidence.span) / seen(evidence), 0.001)
    span = max(seconds(ramp.min_dwell), _TRAILING * seconds(ramp.reaction))
    windows = max(1, math.ceil(span / width))
    candidate, stable = recent(evidence, windows)
    counted = min(windows, listed(evidence))
    return Reckoning(
        spent=spent,
        left=max(0.0, ramp.risk_budget - spent),
        rate=(candidate.total + stable.total) / (counted * width),
        bound=upper_share(candidate.total, min(candidate.bad, candidate.total), dispersion=dispersion),
        base=_from_below(stable, dispersion),
    )


def _charged(evidence: EvidenceStatus, dispersion: float) -> float:
    """Upper bound of the bad requests that the candidate has caused; windows that are no longer listed count as one."""
    known = (evidence.stable.total, evidence.stable.bad, evidence.candidate.total, evidence.candidate.bad)
    return _excess(evidence.windows, known if evidence.dropped else None, dispersion)


@lru_cache(maxsize=512)
def _excess(windows: str, known: tuple[int, int, int, int] | None, dispersion: float) -> float:
    """Cached, since a decision asks several times; ``known``: all counts, where windows are no longer listed."""
    rows = [(e.stable_total, int(e.amounts[0][0]), e.candidate_total, int(e.amounts[0][1])) for e in parse(windows)]
    if known is not None:
        here = (sum(column) for column in zip(*rows, strict=True))
        stable_total, stable_bad, total, bad = (n - m for n, m in zip(known, here, strict=True))
        rows.append((stable_total, stable_bad, total, bad))
    exposure = Exposure()
    for stable_total, stable_bad, total, bad in rows:
        # A query of the user's own may count more bad requests than requests.
        exposure = exposure.add(stable_total, min(stable_bad, stable_total), total, min(bad, total))
    return upper_excess(exposure, dispersion=dispersion)


def _from_below(stable: Counts, dispersion: float) -> float:
    """Stable's share of bad requests, less two standard errors."""
    if not stable.total:
        return 0.0
    return min(1.0, max(0.0, stable.bad - 2 * math.sqrt(dispersion * stable.bad)) / stable.total)


def affordable(ramp: Ramp, found: Reckoning, current: int) -> int:
    """Percent that what is left allows next, from ``current``; never less than ``least_weight``."""
    limits = Limits(smallest=0.01, largest=ramp.max_weight / 100)
    share = next_weight(
        float(ramp.risk_budget),
        found.spent,
        rate=found.rate,
        reaction=seconds(ramp.reaction),
        bound=found.bound,
        base=min(found.base, found.bound),
        current=current / 100,
        limits=limits,
    )
    return min(ramp.max_weight, max(math.floor(100 * share + 1e-9), least_weight(ramp, found.rate)))


def _allowed(turn: Turn, ramp: Ramp, found: Reckoning, stage: Stage) -> int:
    """What is affordable, short of what people have not consented to or have limited."""
    most = min(approvals.ceiling(turn), turn.most)
    return min(affordable(ramp, found, stage.weight), max(stage.weight, most))


def overspent(turn: Turn) -> bool:
    """Whether the release has spent the risk budget of its ramp."""
    ramp = _ramp_of(turn)
    return ramp is not None and _reckoning(turn, ramp).spent >= ramp.risk_budget


def guard(turn: Turn, deadline: float) -> bool:
    """Safety first, paused or not: ends the release when the budget is spent, lowers a weight that became too risky.

    ``deadline`` (seconds since the epoch) is for what a new weight waits for. True when something was decided.
    """
    ramp, stage, place = _ramp_of(turn), turn.stage, turn.status.ramp
    if ramp is None or stage is None or place is None or turn.status.force is not None:
        return False
    found = _reckoning(turn, ramp)
    turn.set(ramp=found.stored(place))
    if found.spent >= ramp.risk_budget:
        turn.end(Outcome.ROLLED_BACK, "RiskBudgetSpent", f"the risk budget is spent: {_told(turn, ramp, found)}")
        return True
    weight = _allowed(turn, ramp, found, stage)
    if weight < stage.weight:
        turn.stand_down()
        _move(turn, stage, weight, deadline, _told(turn, ramp, found))
        return True
    if stage.ahead > weight:
        worth = _worth(ramp, stage, weight)
        _ask(turn, weight if worth else stage.weight)
        if not worth:
            turn.set(deadline=None)  # nothing is waited for any more
    return False


def rise(turn: Turn, stage: Stage, deadline: float, *, ready: bool) -> bool:
    """Moves the weight up when time, evidence and budget allow it; ``ready``: the pods for what was asked for are.

    Pods come first: while they start the release goes on at the weight it has. True when the weight moved.
    """
    ramp, place = _ramp_of(turn), turn.status.ramp
    if ramp is None or place is None:
        return False
    if ready and stage.ahead:
        turn.set(deadline=None)  # the pods that were waited for are there
    if not _may_rise(turn, stage, ramp):
        return False
    found = _reckoning(turn, ramp)
    told = _told(turn, ramp, found)
    weight = _allowed(turn, ramp, found, stage)
    if stage.ahead <= stage.weight:
        if not _worth(ramp, stage, weight):
            wanted = min(affordable(ramp, found, stage.weight), turn.most)
            if not _worth(ramp, stage, wanted) or approvals.permits(turn, wanted):
                turn.say(f"{turn.status.message}; ramp: {told}")
            return False
        if turn.view.spec.traffic.service is None:
            _ask(turn, weight)
            turn.set(deadline=deadline)
            return True
    elif not ready:
        turn.say(f"{turn.status.message}; waiting for the pods for {stage.ahead} %")
        return False
    else:
        weight = stage.ahead
    _move(turn, stage, weight, deadline, told)
    return True


def _worth(ramp: Ramp, stage: Stage, weight: int) -> bool:
    """Whether a rise to that weight is worth the interruption."""
    return weight > stage.weight and weight >= min(WORTH * stage.weight, ramp.max_weight)


def _may_rise(turn: Turn, stage: Stage, ramp: Ramp) -> bool:
    """Whether there is reason to give more: new windows at this weight, of late, and nothing in the way."""
    state, gate, hold = turn.status.stage, counting_gate(turn.view.spec), turn.status.hold
    if gate is None or state is None or state.evidence_from is None or turn.paused:
        return False
    if (hold is not None and hold.reason not in _HARMLESS_HOLDS) or budget.freeze(turn) is not None:
        return False
    if turn.now < state.evidence_from + stage.min_duration:
        return False
    states = {g.name: g for g in turn.status.gates}
    if any(s.verdict in (Verdict.ERROR, Verdict.NO_DATA, Verdict.FAIL) for s in states.values()):
        return False
    looked = states[gate.name].window_end if gate.name in states else None  # of this weight: a move forgets it
    # If the last look is old, whatever answers for the candidate now, it is not this evidence.
    return looked is not None and turn.now <= looked + gate.interval_seconds + seconds(ramp.reaction)


def _ramp_of(turn: Turn) -> Ramp | None:
    canary, state = turn.view.spec.strategy.canary, turn.status.stage
    return canary.ramp if canary is not None and state is not None and state.name == RAMP else None


def _reckoning(turn: Turn, ramp: Ramp) -> Reckoning:
    gate = counting_gate(turn.view.spec)
    return reckon(ramp, _evidence(turn, gate)) if gate is not None else Reckoning(left=float(ramp.risk_budget))


def _evidence(turn: Turn, gate: Gate) -> EvidenceStatus:
    return next((e for e in turn.status.evidence if e.gate == gate.name), EvidenceStatus(gate=gate.name))


def _ask(turn: Turn, weight: int) -> None:
    place = turn.status.ramp
    if place is not None:
        turn.set(ramp=place.model_copy(update={"weight": weight}))


def _move(turn: Turn, stage: Stage, weight: int, deadline: float, told: str) -> None:
    """Sets the stage's weight: evidence starts anew once it is in place, what the release has seen is kept."""
    state, place = turn.status.stage, turn.status.ramp
    if state is None or place is None:
        return
    before = {g.name: g for g in turn.status.gates}
    evidence = turn.measurements
    turn.set(
        stage=state.model_copy(update={"weight": weight, "accepted_at": None, "evidence_from": None}),
        ramp=place.model_copy(update={"weight": weight, "moved_at": turn.now}),
        gates=[fresh(gate, before.get(gate.name)) for gate in turn.gates(stage)],
        hold=None,
        deadline=deadline,
    )
    reason = "RampRaised" if weight > stage.weight else "RampLowered"
    turn.note(Phase.SHIFTING, reason, f"from {stage.weight} to {weight} %: {told}", evidence=evidence)


def _told(turn: Turn, ramp: Ramp, found: Reckoning) -> str:
    label = turn.status.candidate.label if turn.status.candidate else "the candidate"
    return (
        f"{label} may have caused {found.spent:.3g} bad requests of a budget of {ramp.risk_budget}; at most "
        f"{100 * found.bound:.3g} % of its requests are bad, of stable's at least {100 * found.base:.3g} %, "
        f"at {found.rate:.3g} requests a second"
    )
