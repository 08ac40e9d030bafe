"""One measurement of a sealed record, recomputed from the windows that the record holds, by the operator's own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log

from weir.api.evidencestatus import Counts, EvidenceStatus, SeriesStatus
from weir.api.gate import Comparison, Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import GateStatus, Measurement, Verdict
from weir.release import comparison, looks, objective
from weir.release.comparison import Levels, e_value, pass_level, question
from weir.release.gates import fresh, judge
from weir.release.ledger import MAX_WINDOWS, Entry, joined, parse
from weir.release.observation import Edge, Window
from weir.release.rates import decoded, ratios
from weir.release.series import prove, recomputed
from weir.release.terms import Terms, noise_of
from weir.stats.ratio import bar

JUDGED = (Verdict.PASS, Verdict.FAIL, Verdict.INSUFFICIENT)
"""Verdicts that follow from counts; the others say that there were none."""

_CLOSE = 2e-3
"""Difference of the logs of e-values that is rounding: four digits are stored, and lgamma is exact to 1e-5 at worst."""


_SHARE = Decimal("0.000001")
"""Digits of a share of bad requests as it is recorded."""


class NotRecomputableError(Exception):
    """The record does not hold what the measurement stood on; the message says why."""


@dataclass(frozen=True)
class Then:
    """A gate as it was when it was measured: its state and evidence, recomputed."""

    state: GateStatus
    evidence: EvidenceStatus | None


def then(gate: Gate, measured: Measurement, evidence: EvidenceStatus | None, judgement: Judgement) -> Then:
    """State and evidence of the gate at that measurement, but for a Fail that all gates call together.

    Raises NotRecomputableError where the windows are behind a checkpoint, or never were.
    """
    if gate.comparison is None and gate.objective is None:
        return Then(_looked(gate, measured), None)
    if not measured.windows:
        raise NotRecomputableError("no window of this release was known yet")
    if evidence is None:
        raise NotRecomputableError("the record holds no evidence of this gate")
    if evidence.question != question(gate):
        raise NotRecomputableError("the gate asked another question then")
    before = _at(gate, measured, evidence)
    terms = _terms(gate, measured)
    levels = _levels(gate, measured, judgement)
    state = fresh(gate)
    if gate.objective is not None:
        window = Window(gate.name, 0.0, 1.0, Counts(total=1))
        return Then(objective.told(gate, state, before, window, terms=terms, levels=levels), before)
    if not measured.comparative:
        window = _whole(gate, before, measured.candidate)
        return Then(comparison.watched(gate, state, before, window, terms=terms, levels=levels), before)
    return Then(comparison.told(gate, state, before, terms, levels), before)


def together(
    gates: Sequence[Gate], found: Mapping[str, Then], judgement: Judgement, *, concurrent: bool
) -> dict[str, GateStatus]:
    """The gates' states once they were heard together, which is where a comparison's Fail comes from."""
    known = [gate for gate in gates if gate.name in found]
    states = {name: one.state for name, one in found.items()}
    evidence = {name: one.evidence for name, one in found.items() if one.evidence is not None}
    judged = judge(known, states, evidence, (), judgement=judgement, concurrent=concurrent)
    return {state.name: state for state in judged.gates}


def same_state(gate: Gate, recorded: Sequence[str], again: Sequence[str], requests: int) -> bool:
    """Whether states prove the same; another machine's logarithms may differ in the last digit, counts may not."""
    if list(recorded) == list(again):
        return True
    asked = gate.comparison or Comparison()
    terms = Terms.of(asked, next_weight=100)
    one, other = prove(gate, recorded, terms, requests), prove(gate, again, terms, requests)
    if max(abs(one.fail - other.fail), abs(one.passed - other.passed)) > _CLOSE:
        return False
    return gate.template == "mean" or [_counted(s) for s in recorded] == [_counted(s) for s in again]


def _counted(state: str) -> list[tuple[int, ...]]:
    return [(s.windows, s.stable_total, s.stable_bad, s.candidate_total, s.candidate_bad) for s in decoded(state)]


def differences(measured: Measurement, state: GateStatus) -> list[str]:
    """What was recorded otherwise than it is recomputed, in words."""
    wrong = []
    if measured.verdict in JUDGED and measured.verdict is not state.verdict:
        wrong.append(f"verdict {measured.verdict}, recomputed {state.verdict}")
    for name in ("e_fail", "e_pass", "e_fail_bar", "e_pass_bar"):
        recorded, again = getattr(measured, name), getattr(state, name)
        if recorded is None or again is None:
            continue
        if recorded <= 0 or abs(log(float(recorded)) - log(float(again))) > _CLOSE:
            wrong.append(f"{name} {recorded}, recomputed {again}")
    if measured.verdict in JUDGED:
        for name in ("candidate", "stable"):
            counts, again = getattr(measured, name), getattr(state, name)
            if counts != again:
                wrong.append(f"{name} {counts.bad} of {counts.total}, recomputed {again.bad} of {again.total}")
        if measured.value is not None and state.value is not None and measured.value != state.value:
            wrong.append(f"value {measured.value}, recomputed {state.value}")
    return wrong


def _levels(gate: Gate, measured: Measurement, judgement: Judgement) -> Levels:
    """The bars at that measurement; an objective is held against that of the window before, or of the theorem alone."""
    rate, windows = float(judgement.false_rollback_rate), measured.windows
    sure = [bar(rate, windows, strict=True)]
    if gate.objective is not None:
        sure += [bar(rate, windows - 1, strict=True), -log(rate)]
    recorded = next((level for level in sure if e_value(level) == measured.e_fail_bar), sure[0])
    return Levels(
        passed=pass_level(judgement.false_pass_rate),
        fail=bar(rate, windows, strict=judgement.bar == "Strict"),
        sure=recorded,
    )


def _looked(gate: Gate, measured: Measurement) -> GateStatus:
    """A plain threshold: the recorded value against the bound, and the value against the recorded counts.

    How many failed looks were tolerated before is not recorded, so a verdict that the bound allows stands.
    """
    value = measured.value
    if value is None:
        raise NotRecomputableError("there was no value yet")
    if gate.template != "threshold":
        counts = measured.candidate
        if not counts.total:
            raise NotRecomputableError("there were no requests yet")
        value = (Decimal(counts.bad) / counts.total).quantize(_SHARE)
    kept = not looks.breach_of(gate, value)
    allowed = (Verdict.PASS, Verdict.INSUFFICIENT) if kept else (Verdict.FAIL, Verdict.INSUFFICIENT)
    verdict = measured.verdict if measured.verdict in allowed else allowed[0]
    return fresh(gate).model_copy(
        update={"verdict": verdict, "value": value, "candidate": measured.candidate, "stable": measured.stable}
    )


def _at(gate: Gate, measured: Measurement, evidence: EvidenceStatus) -> EvidenceStatus:
    """The gate's evidence when it knew so many windows, with the noise that was assumed then."""
    entries = parse(evidence.windows)
    listed = measured.windows - evidence.dropped
    if listed > len(entries):
        raise ValueError(f"gate {gate.name} knew {measured.windows} windows, of which the record lacks some")
    _check_checkpoint(gate, measured, evidence, listed)
    first, later = entries[:listed], entries[listed:]
    if gate.objective is not None:
        series = [SeriesStatus(noise=noise) for noise in measured.noise]
    else:
        if len(measured.noise) != len(evidence.series):
            raise NotRecomputableError("the record does not say what noise was assumed then")
        series = [
            SeriesStatus(noise=noise, state=recomputed(gate, kept.base, noise, first, place), base=kept.base)
            for place, (noise, kept) in enumerate(zip(measured.noise, evidence.series, strict=True))
        ]
    return evidence.model_copy(
        update={
            "windows": joined(first),
            "series": series,
            "candidate": _without(evidence.candidate, later, gate, candidate=True),
            "stable": _without(evidence.stable, later, gate, candidate=False),
        }
    )


def _check_checkpoint(gate: Gate, measured: Measurement, evidence: EvidenceStatus, listed: int) -> None:
    """Windows before a checkpoint are gone; shortly after it the noise must be the one it was made with."""
    if listed < 0:
        raise NotRecomputableError("behind a checkpoint: these windows are no longer in the record")
    if not evidence.dropped or listed > MAX_WINDOWS // 2 or gate.template == "mean" or gate.objective is not None:
        return
    for noise, series in zip(measured.noise, evidence.series, strict=False):
        if series.base and decoded(series.base)[0].noise != noise_of(noise):
            raise NotRecomputableError("behind a checkpoint that was made with other noise")


def _without(counts: Counts, later: Sequence[Entry], gate: Gate, *, candidate: bool) -> Counts:
    side = 1 if candidate else 0
    bad = 0 if gate.template == "mean" else sum(int(entry.amounts[0][side]) for entry in later)
    total = sum(entry.candidate_total if candidate else entry.stable_total for entry in later)
    if bad > counts.bad or total > counts.total:
        raise ValueError(f"gate {gate.name}: the windows hold more requests than their sums")
    return Counts(bad=counts.bad - bad, total=counts.total - total)


def _terms(gate: Gate, measured: Measurement) -> Terms:
    """What was asked: six digits of it are recorded, and a tolerance that evidence is kept for is meant exactly."""
    if measured.tolerance is None:
        raise NotRecomputableError("the record does not say what had to be ruled out")
    asked = gate.comparison or Comparison()
    tolerance = float(measured.tolerance)
    grid = ratios(asked.fail_above, asked.pass_below).grid
    near = min(grid, key=lambda ratio: abs(ratio - tolerance))
    exact = near if abs(near - tolerance) <= 1e-5 * near else tolerance
    return Terms(exact, float(measured.accept or 0))


def _whole(gate: Gate, evidence: EvidenceStatus, counts: Counts) -> Window:
    """All windows without a concurrent stable as one."""
    if not evidence.edges:
        return Window(gate.name, 0.0, 1.0, counts)
    edge = Edge(float(evidence.candidate_edges[-1]), counts.bad, 0)
    return Window(gate.name, 0.0, 1.0, Counts(total=counts.total), edges=(edge,))
