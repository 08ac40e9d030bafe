"""Comparing the candidate with stable: windows in, a verdict out. Fail is for all gates together, in ``gates``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from math import exp, inf, log

from weir.api.evidencestatus import Counts, EvidenceStatus, GateNoise, NoiseStatus
from weir.api.gate import DEFAULT_COMPARISON, Gate
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release.ledger import Entry, parse, seen
from weir.release.observation import Edge, Window
from weir.release.rates import decoded
from weir.release.series import extended, prove
from weir.release.terms import Heard, Proof, Terms, heard, noise_of
from weir.stats import order
from weir.stats.absolute import log_above, log_below
from weir.stats.noise import ASSUMED
from weir.stats.ratio import Effect

_LEAST_TO_CHOOSE = 200
"""Requests of stable from which edges of a latency distribution are chosen."""

_LEAST_TO_REMEMBER = 10
"""Windows of a release from which its measured noise is kept for the next."""

_MAX_E = 27.6
"""Largest log e-value that is shown (1e12)."""


@dataclass(frozen=True)
class Levels:
    """Logs of the e-values at which a gate passes, the gates together roll back, and one does by a theorem."""

    passed: float
    fail: float
    sure: float


@lru_cache(maxsize=1024)
def question(gate: Gate) -> str:
    """Identifies what a gate compares; evidence for another question is worth nothing."""
    asked = gate.model_dump(
        mode="json", include={"template", "compare", "over", "bad", "total", "sum", "count", "worse"}, exclude_none=True
    )
    asked.get("compare", {}).pop("weight", None)
    asked.get("compare", {}).pop("hard_stop", None)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def begun(gate: Gate, evidence: EvidenceStatus | None) -> EvidenceStatus:
    """The gate's evidence in this release, empty where there is none for this question."""
    asked = question(gate)
    if evidence is not None and evidence.question == asked:
        return evidence
    return EvidenceStatus(gate=gate.name, question=asked)


def take(gate: Gate, evidence: EvidenceStatus, window: Window, remembered: Sequence[GateNoise]) -> EvidenceStatus:
    """The evidence after a window that both arms answered. Windows without requests of either arm prove nothing."""
    stable = window.stable
    if stable is None or not stable.total or not window.candidate.total:
        return evidence.model_copy(update={"counters": window.counters or evidence.counters})
    if window.counters:
        evidence = evidence.model_copy(update={"counters": window.counters})
    if not window.edges:
        if gate.template == "mean":
            amounts: tuple[tuple[float, float], ...] = ((window.stable_sum, window.candidate_sum),)
        else:
            amounts = ((float(stable.bad), float(window.candidate.bad)),)
        noises = [_heard(gate, None, window, remembered)]
    else:
        if not evidence.edges:
            return _chosen(gate, evidence, window)
        found = {Decimal(repr(edge.above)): edge for edge in window.edges}
        if not found.keys() >= {*evidence.edges, *evidence.candidate_edges}:
            return evidence  # buckets changed: nothing to compare with what was seen
        pairs = [(found[a], found[b]) for a, b in zip(evidence.edges, evidence.candidate_edges, strict=True)]
        amounts = tuple((float(mine.stable), float(its.candidate)) for mine, its in pairs)
        noises = [_heard(gate, Decimal(repr(mine.above)), mine, remembered) for mine, _ in pairs]
    entry = Entry(stable.total, window.candidate.total, window.stable_pods, window.candidate_pods, amounts)
    return extended(gate, evidence, entry, noises, window.end - window.start)


def _heard(gate: Gate, edge: Decimal | None, seen_by: Window | Edge, remembered: Sequence[GateNoise]) -> Heard:
    """Noise of a series; without a history of its own, what the last release measured stands for it."""
    before = seen_by.history
    if before is None:
        kept = next((n for n in remembered if n.gate == gate.name and n.edge == edge), None)
        before = noise_of(kept) if kept is not None and kept.windows else None
    return heard(seen_by.noise, before, seen_by.measured)


def remembered(evidence: Sequence[EvidenceStatus], before: Sequence[GateNoise]) -> list[GateNoise]:
    """What the next release should know of stable's noise and traffic: of this release, else of those before it."""
    found = {(n.gate, n.edge): n for n in before}
    for known in evidence:
        for place, series in enumerate(known.series):
            old = found.get((known.gate, _edge(known, place)))
            if series.measured is not None and seen(known) >= _LEAST_TO_REMEMBER:
                now = traffic(known, place, series.measured, seen(known))
            else:
                now = traffic(known, place, old or NoiseStatus(), old.windows if old is not None else 0)
            found[(known.gate, now.edge)] = now
    return list(found.values())[-64:]


def traffic(evidence: EvidenceStatus, place: int, noise: NoiseStatus, windows: int) -> GateNoise:
    """Requests a second and stable's share of bad ones in the release, with that noise measured in ``windows``."""
    requests = evidence.candidate.total + evidence.stable.total
    rate = requests / float(evidence.span) if evidence.span else 0.0
    return GateNoise(
        **noise.model_dump(include=set(NoiseStatus.model_fields)),
        gate=evidence.gate,
        edge=_edge(evidence, place),
        windows=windows,
        rate=Decimal(f"{rate:.4g}"),
        share=Decimal(f"{_stable_share(evidence, place):.4g}"),
    )


def _edge(evidence: EvidenceStatus, place: int) -> Decimal | None:
    return evidence.edges[place] if evidence.edges else None


def _stable_share(evidence: EvidenceStatus, place: int) -> float:
    state = evidence.series[place].state
    if not evidence.edges or not state:
        return evidence.stable.bad / max(1, evidence.stable.total)
    return min(1.0, decoded(state)[0].stable_bad / max(1, evidence.stable.total))


def _chosen(gate: Gate, evidence: EvidenceStatus, window: Window) -> EvidenceStatus:
    """Chooses edges from stable's first requests; these windows are no evidence, so the choice cannot bend it."""
    before = dict(_parse_choosing(evidence.choosing))
    total = before.get(inf, 0) + (window.stable.total if window.stable else 0)
    slower = [before.get(edge.above, 0) + edge.stable for edge in window.edges]
    edges = [edge.above for edge in window.edges]
    buckets = [a - b for a, b in pairwise([total, *slower, 0])]
    chosen = order.choose(edges, buckets) if total >= _LEAST_TO_CHOOSE else ()
    if not chosen:
        text = ";".join(f"{above!r}={count}" for above, count in [*zip(edges, slower, strict=True), (inf, total)])
        return evidence.model_copy(update={"choosing": text[:4096]})
    margin = float((gate.comparison or DEFAULT_COMPARISON).fail_above)
    # No later than the margin: what is claimed of the edges must be no more than it is.
    pairs = order.pair_up(edges, chosen, margin, at_least=False)
    return evidence.model_copy(
        update={
            "edges": [Decimal(repr(edges[pair.stable])) for pair in pairs],
            "candidate_edges": [Decimal(repr(edges[pair.candidate])) for pair in pairs],
            "choosing": "",
        }
    )


def _parse_choosing(text: str) -> list[tuple[float, int]]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return [(float(above), int(count)) for above, _, count in pairs]


def proven(gate: Gate, evidence: EvidenceStatus, terms: Terms) -> Proof | None:
    """What the evidence proves; None before there is any."""
    states = [series.state for series in evidence.series if series.state]
    return prove(gate, states, terms, evidence.candidate.total) if states else None


def told(gate: Gate, state: GateStatus, evidence: EvidenceStatus, terms: Terms, levels: Levels) -> GateStatus:
    """The gate's status for this evidence: Pass or Insufficient; Fail is for all gates together to say."""
    candidate, stable = evidence.candidate, evidence.stable
    shown = {
        "candidate": candidate,
        "stable": stable,
        "windows": seen(evidence),
        "tolerance": Decimal(f"{terms.tolerance:.6g}"),
        "accept": Decimal(f"{terms.accept:.6g}"),
        "e_fail_bar": e_value(levels.fail),
        "e_pass_bar": e_value(levels.passed),
    }
    proof = proven(gate, evidence, terms)
    if proof is None:
        waiting = "choosing bucket edges from stable's requests" if evidence.choosing else "no requests of both yet"
        return state.model_copy(update={**shown, "verdict": Verdict.INSUFFICIENT, "message": waiting})
    values = _means(evidence) if gate.template == "mean" else (_share(candidate), _share(stable))
    shown |= {
        "value": values[0],
        "stable_value": values[1],
        "e_fail": e_value(proof.fail),
        "e_pass": e_value(proof.passed),
        **_effect(proof.effect),
    }
    least = min(candidate.total, stable.total)
    passed = proof.passed >= levels.passed and least >= gate.min_samples
    text = _counted(gate, evidence, proof)
    if passed and gate.template == "mean":
        text += f"; proven worse by less than a factor of {terms.tolerance:.3g}"
    elif passed:
        text += f"; proven less than {terms.tolerance:.3g} times stable's, or than {_percent(terms.accept)}"
    else:
        text += f"; evidence {e_text(proof.passed)} of {e_text(levels.passed)} for a Pass"
        if evidence.edges:
            text += f" at {evidence.edges[proof.lacking]} s"
        if least < gate.min_samples:
            text += f", {least} of {gate.min_samples} requests"
    verdict = Verdict.PASS if passed else Verdict.INSUFFICIENT
    return state.model_copy(update={**shown, "verdict": verdict, "message": text[:1024]})


def watched(
    gate: Gate, state: GateStatus, evidence: EvidenceStatus, window: Window, *, terms: Terms, levels: Levels
) -> GateStatus:
    """Without a concurrent stable: what was proven still holds, and the share may not be above what was tolerated.

    The bound is ``passBelow`` times stable's share in this release, or ``acceptBelow`` where that is more.
    """
    place = len(evidence.edges) - 1 if evidence.edges else 0
    now = _amount(evidence, window, place)
    if now is None or not now.total:
        message = "no requests of the candidate seen in the last window (n=0)"
        return state.model_copy(update={"verdict": Verdict.NO_DATA, "message": message})
    counts = state.candidate + now
    proof = proven(gate, evidence, terms)
    earned = proof is not None and proof.passed >= levels.passed
    state = state.model_copy(
        update={
            "candidate": counts,
            "comparative": False,
            "windows": seen(evidence),
            "tolerance": Decimal(f"{terms.tolerance:.6g}"),
            "accept": Decimal(f"{terms.accept:.6g}"),
            "e_fail_bar": e_value(levels.sure),
            "e_pass_bar": e_value(levels.passed),
        }
    )
    if gate.template == "mean":
        verdict = Verdict.PASS if earned else Verdict.INSUFFICIENT
        return state.model_copy(update={"verdict": verdict, "message": "carried over from the comparison with stable"})
    bound, dispersion = reference(evidence, terms, place)
    fail = log_above(bound, counts.total, counts.bad, dispersion)
    passed = log_below(bound, counts.total, counts.bad, dispersion)
    text = f"{counts.bad} of {counts.total} requests bad without stable beside it, at most {_percent(bound)} tolerated"
    if fail >= levels.sure:
        verdict, text = Verdict.FAIL, f"{text}: proven worse, evidence {e_text(fail)} of {e_text(levels.sure)} needed"
    elif (earned or passed >= levels.passed) and counts.total >= gate.min_samples:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INSUFFICIENT
        text += f"; evidence {e_text(passed)} of {e_text(levels.passed)} for a Pass"
    shown = {"value": _share(counts), "e_fail": e_value(fail), "e_pass": e_value(passed)}
    return state.model_copy(update={**shown, "verdict": verdict, "message": text[:1024]})


def reference(evidence: EvidenceStatus, terms: Terms, place: int) -> tuple[float, float]:
    """Share of bad requests (0-1) that is tolerated without stable, and the dispersion of the counts."""
    series = evidence.series[place] if place < len(evidence.series) else None
    noise = noise_of(series.noise) if series is not None else ASSUMED
    stable = evidence.stable
    if series is not None and series.state:
        state = decoded(series.state)[0]
        stable = Counts(bad=state.stable_bad, total=stable.total)
    share = stable.bad / stable.total if stable.total else 0.0
    return min(0.99, max(terms.tolerance * share, terms.accept)), noise.dispersion


def _amount(evidence: EvidenceStatus, window: Window, place: int) -> Counts | None:
    """The candidate's counts of one series in a window."""
    if not window.edges:
        return None if evidence.edges else window.candidate
    if not evidence.edges:
        return None
    edge = next((e for e in window.edges if Decimal(repr(e.above)) == evidence.candidate_edges[place]), None)
    return Counts(bad=edge.candidate, total=window.candidate.total) if edge is not None else None


def failed(gate: Gate, state: GateStatus, evidence: EvidenceStatus, terms: Terms, reason: str) -> GateStatus:
    """The gate's status when it is the one that rolls the release back."""
    proof = proven(gate, evidence, terms)
    text = f"{_counted(gate, evidence, proof)}: proven worse, {reason}"
    return state.model_copy(update={"verdict": Verdict.FAIL, "message": text[:1024]})


def _counted(gate: Gate, evidence: EvidenceStatus, proof: Proof | None) -> str:
    """Counts and effect in words, of the edge that shows most harm where several are compared."""
    if gate.template == "mean":
        mine, its = _means(evidence)
        return f"mean {mine:.4g} of {evidence.candidate.total}, stable {its:.4g} of {evidence.stable.total}"
    place = proof.place if proof is not None else 0
    candidate, stable = at_edge(evidence, place)
    what = f"slower than {evidence.edges[place]} s" if evidence.edges else "bad"
    text = f"{candidate.bad} of {candidate.total} requests {what}, stable {stable.bad} of {stable.total}"
    effect = proof.effect if proof is not None else None
    if effect is not None:
        high = f"{effect.high:.3g}" if effect.high < inf else "∞"
        text += f": {effect.estimate:.3g} times stable's (between {effect.low:.3g} and {high})"
    return text


def _means(evidence: EvidenceStatus) -> tuple[Decimal, Decimal]:
    """Means of (candidate, stable) in the windows that are listed."""
    entries = parse(evidence.windows)
    candidate = sum(e.amounts[0][1] for e in entries) / max(1, sum(e.candidate_total for e in entries))
    stable = sum(e.amounts[0][0] for e in entries) / max(1, sum(e.stable_total for e in entries))
    return Decimal(f"{candidate:.6g}"), Decimal(f"{stable:.6g}")


def at_edge(evidence: EvidenceStatus, place: int) -> tuple[Counts, Counts]:
    """Counts of (candidate, stable) of one series over the whole release."""
    if not evidence.edges or place >= len(evidence.series) or not evidence.series[place].state:
        return evidence.candidate, evidence.stable
    state = decoded(evidence.series[place].state)[0]
    candidate = Counts(bad=state.candidate_bad, total=evidence.candidate.total)
    return candidate, Counts(bad=state.stable_bad, total=evidence.stable.total)


def _effect(effect: Effect | None) -> dict[str, Decimal | None]:
    if effect is None:
        return {"effect": None, "effect_low": None, "effect_high": None}
    return {
        "effect": _number(effect.estimate),
        "effect_low": _number(effect.low),
        "effect_high": _number(effect.high),
    }


def _number(value: float) -> Decimal | None:
    return Decimal(f"{value:.4g}") if value < inf else None


def _share(counts: Counts) -> Decimal | None:
    return (Decimal(counts.bad) / counts.total).quantize(Decimal("0.000001")) if counts.total else None


def e_value(log_e: float) -> Decimal:
    """An e-value for the status: four significant digits, at most 1e12."""
    return Decimal(f"{exp(max(-_MAX_E, min(log_e, _MAX_E))):.4g}")


def e_text(log_e: float) -> str:
    """An e-value for people."""
    return f"{exp(max(-_MAX_E, min(log_e, _MAX_E))):.3g}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def pass_level(false_pass_rate: Decimal) -> float:
    """Log e-value at which a gate passes (Ville's inequality)."""
    return -log(float(false_pass_rate))
