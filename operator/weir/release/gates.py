"""From windows to verdicts. A gate's state is a function of the windows it has seen; only Pass is a pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from weir.api.evidencestatus import EvidenceStatus, GateNoise
from weir.api.gate import DEFAULT_COMPARISON, Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import GateStatus, Measurement, Verdict
from weir.release import comparison, looks, objective
from weir.release.comparison import Levels
from weir.release.ledger import seen as known
from weir.release.observation import Window
from weir.release.terms import Terms
from weir.stats.combine import guilty, log_mean
from weir.stats.ratio import bar

_ROUNDING = 0.001
"""Seconds by which stored times may be off, since they are stored in milliseconds."""

_MAX_MESSAGE = 1024
_MAX_QUERY = 4096

_SEVERITY = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NO_DATA,
    Verdict.INSUFFICIENT,
    Verdict.CANCELLED,
    Verdict.PASS,
)


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict that decides for all; None without any."""
    return min(verdicts, key=_SEVERITY.index, default=None)


def fresh(gate: Gate, previous: GateStatus | None = None) -> GateStatus:
    """State of a gate at the start of a stage: nothing counted yet, failed looks of the release kept."""
    return GateStatus(name=gate.name, message="no evidence yet", failures=previous.failures if previous else 0)


def measurement(state: GateStatus, evidence: EvidenceStatus | None = None) -> Measurement:
    """The look behind the gate's verdict, with the inputs that reproduce it."""
    return Measurement(
        gate=state.name,
        verdict=state.verdict,
        candidate=state.candidate,
        stable=state.stable,
        value=state.value,
        window_start=state.window_start,
        window_end=state.window_end,
        effect=state.effect,
        effect_low=state.effect_low,
        effect_high=state.effect_high,
        e_fail=state.e_fail,
        e_fail_bar=state.e_fail_bar,
        e_pass=state.e_pass,
        e_pass_bar=state.e_pass_bar,
        tolerance=state.tolerance,
        accept=state.accept,
        comparative=state.comparative,
        windows=state.windows or (known(evidence) if evidence is not None else 0),
        noise=[series.noise for series in evidence.series] if evidence is not None else [],
    )


@dataclass(frozen=True)
class Judged:
    """States and evidence of all gates, in their order."""

    gates: tuple[GateStatus, ...]
    evidence: tuple[EvidenceStatus, ...]


def judge(
    gates: Sequence[Gate],
    states: Mapping[str, GateStatus],
    evidence: Mapping[str, EvidenceStatus],
    windows: Sequence[Window],
    *,
    judgement: Judgement,
    next_weight: int = 100,
    concurrent: bool = True,
    noise: Sequence[GateNoise] = (),
) -> Judged:
    """All gates after the windows that they have not seen yet, in order of time.

    ``next_weight``: percent of requests that a Pass leads to. ``concurrent``: stable serves beside the candidate, so
    that the two are compared. ``noise``: what earlier releases measured. Windows that begin before a gate's
    ``window_end`` were counted before, at least in part, and are skipped whole: evidence may come late, never twice. A
    Fail stays.
    """
    bench = _Bench(judgement, next_weight, concurrent, tuple(noise))
    found = [bench.one(g, states.get(g.name) or fresh(g), evidence.get(g.name), windows) for g in gates]
    failed = bench.together(gates, [state for state, _ in found], [seen for _, seen in found])
    return Judged(tuple(failed), tuple(seen for _, seen in found if seen is not None))


@dataclass(frozen=True)
class _Bench:
    """What all gates of a stage are judged by."""

    judgement: Judgement
    next_weight: int
    concurrent: bool
    noise: tuple[GateNoise, ...]

    def one(
        self, gate: Gate, state: GateStatus, evidence: EvidenceStatus | None, windows: Sequence[Window]
    ) -> tuple[GateStatus, EvidenceStatus | None]:
        if gate.max is None and gate.min is None:
            evidence = comparison.begun(gate, evidence)
        for window in sorted(windows, key=lambda w: w.end):
            if state.verdict is Verdict.FAIL:
                break
            if window.gate == gate.name and (state.window_end is None or window.start > state.window_end - _ROUNDING):
                seen = {"window_end": window.end, "query": (window.query or state.query)[:_MAX_QUERY]}
                if evidence is not None and window.error is None:
                    seen["window_start"] = state.window_start or window.start
                state = state.model_copy(update=seen)
                state, evidence = self._look(gate, state, evidence, window)
        return state, evidence

    def _look(
        self, gate: Gate, state: GateStatus, evidence: EvidenceStatus | None, window: Window
    ) -> tuple[GateStatus, EvidenceStatus | None]:
        if window.error is not None:
            return _error(state, window.error), evidence
        if evidence is None:
            return looks.look(gate, state, window), None
        terms = self._terms(gate)
        if gate.objective is not None:
            evidence = objective.take(gate, evidence, window)
            return objective.told(gate, state, evidence, window, terms=terms, levels=self._levels(evidence)), evidence
        if not self.concurrent:
            levels = self._levels(evidence)
            return comparison.watched(gate, state, evidence, window, terms=terms, levels=levels), evidence
        if window.stable is None:
            unread = "stable's requests could not be counted, so nothing can be compared: both arms or neither"
            return _error(state, unread), evidence
        evidence = comparison.take(gate, evidence, window, self.noise)
        silent = not window.candidate.total or not window.stable.total
        if silent:
            arm = "the candidate" if not window.candidate.total else "stable"
            message = f"no requests of {arm} seen in the last window (n=0)"
            return state.model_copy(update={"verdict": Verdict.NO_DATA, "message": message}), evidence
        return comparison.told(gate, state, evidence, terms, self._levels(evidence)), evidence

    def _terms(self, gate: Gate) -> Terms:
        return Terms.of(gate.comparison or DEFAULT_COMPARISON, next_weight=self.next_weight)

    def _levels(self, evidence: EvidenceStatus) -> Levels:
        windows = known(evidence)
        rate = float(self.judgement.false_rollback_rate)
        return Levels(
            passed=comparison.pass_level(self.judgement.false_pass_rate),
            fail=bar(rate, windows, strict=self.judgement.bar == "Strict"),
            sure=-log(rate),
        )

    def together(
        self, gates: Sequence[Gate], states: Sequence[GateStatus], evidence: Sequence[EvidenceStatus | None]
    ) -> list[GateStatus]:
        """Rolls back on the mean of e-values, or on that of a hard stop; the gate it is due to gets the Fail."""
        result = list(states)
        if not self.concurrent:
            return result
        compared, logs, weights = [], [], []
        for place, (gate, seen, state) in enumerate(zip(gates, evidence, states, strict=True)):
            if gate.comparison is None or seen is None or not seen.series:
                continue
            compared.append(place)
            weights.append(float(gate.comparison.weight))
            logs.append(self._log_fail(gate, state, seen))
        if not compared or any(s.verdict is Verdict.FAIL for s in states):
            return result
        level = max(self._levels(seen).fail for place in compared if (seen := evidence[place]) is not None)
        found = _guilt([gates[place] for place in compared], logs, weights, level)
        if found is not None:
            place = compared[found[0]]
            seen = evidence[place]
            assert seen is not None
            result[place] = comparison.failed(gates[place], states[place], seen, self._terms(gates[place]), found[1])
        return result

    def _log_fail(self, gate: Gate, state: GateStatus, evidence: EvidenceStatus) -> float:
        """Log of the e-value of Fail: as told by the last window, of this stage or of those before."""
        if state.comparative and state.e_fail is not None:
            return log(float(state.e_fail))
        proof = comparison.proven(gate, evidence, self._terms(gate))
        return proof.fail if proof is not None else 0.0


def _guilt(
    gates: Sequence[Gate], logs: Sequence[float], weights: Sequence[float], level: float
) -> tuple[int, str] | None:
    """Which gate rolls the release back, and the evidence in words; None where none does."""
    mean = log_mean(logs, weights)
    if mean >= level:
        of = f", the mean of {len(gates)} gates" if len(gates) > 1 else ""
        return guilty(logs, weights), f"evidence {comparison.e_text(mean)} of {comparison.e_text(level)} needed{of}"
    for place, gate in enumerate(gates):
        if gate.comparison is not None and gate.comparison.hard_stop and logs[place] >= level:
            return place, f"evidence {comparison.e_text(logs[place])} of {comparison.e_text(level)} needed, a hard stop"
    return None


def _error(state: GateStatus, message: str) -> GateStatus:
    return state.model_copy(update={"verdict": Verdict.ERROR, "successes": 0, "message": message[:_MAX_MESSAGE]})
