"""An absolute objective: is the candidate's share of bad requests proven to be above what is promised, or within it?"""

from __future__ import annotations

from decimal import Decimal

from weir.api.evidencestatus import Counts, EvidenceStatus, SeriesStatus
from weir.api.gate import Gate
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release.comparison import Levels, e_text, e_value
from weir.release.ledger import Entry, seen
from weir.release.observation import Window
from weir.release.series import listed_after
from weir.release.terms import Terms, heard, noise_of
from weir.stats.absolute import log_above, log_below


def take(gate: Gate, evidence: EvidenceStatus, window: Window) -> EvidenceStatus:
    """The evidence after one more window of the candidate."""
    evidence = evidence.model_copy(update={"counters": window.counters or evidence.counters})
    if not window.candidate.total:
        return evidence
    stable = window.stable or Counts()
    amounts = ((float(stable.bad), float(window.candidate.bad)),)
    entry = Entry(stable.total, window.candidate.total, window.stable_pods, window.candidate_pods, amounts)
    noise = heard(window.noise, window.history, window.measured)
    series = [SeriesStatus(noise=noise.effective, measured=noise.live)]
    return listed_after(evidence, entry, window.end - window.start).model_copy(update={"series": series})


def shares(gate: Gate, terms: Terms) -> tuple[float, float]:
    """Shares of bad requests that (Fail, Pass) are about."""
    promised = float(1 - (gate.objective or Decimal(0)))
    return promised, min(0.5, promised * terms.tolerance)


def e_logs(gate: Gate, candidate: Counts, dispersion: float, terms: Terms) -> tuple[float, float]:
    """Logs of the e-values of (Fail, Pass) for the counts of the release."""
    promised, tolerated = shares(gate, terms)
    return (
        log_above(promised, candidate.total, candidate.bad, dispersion),
        log_below(tolerated, candidate.total, candidate.bad, dispersion),
    )


def told(
    gate: Gate, state: GateStatus, evidence: EvidenceStatus, window: Window, *, terms: Terms, levels: Levels
) -> GateStatus:
    """The gate's status: a Fail needs no other gate."""
    counts = evidence.candidate
    if not window.candidate.total or not evidence.series:
        message = "no requests of the candidate seen in the last window (n=0)"
        return state.model_copy(update={"verdict": Verdict.NO_DATA, "message": message})
    noise = noise_of(evidence.series[0].noise)
    fail, passed = e_logs(gate, counts, noise.dispersion, terms)
    promised, tolerated = shares(gate, terms)
    text = f"{counts.bad} of {counts.total} requests bad, {promised:.3%} promised at most"
    if fail >= levels.sure:
        verdict, text = Verdict.FAIL, f"{text}: proven missed, evidence {e_text(fail)} of {e_text(levels.sure)} needed"
    elif passed >= levels.passed and counts.total >= gate.min_samples:
        verdict, text = Verdict.PASS, f"{text}; proven less than {tolerated:.3%}"
    else:
        verdict = Verdict.INSUFFICIENT
        text += f"; evidence {e_text(passed)} of {e_text(levels.passed)} for a Pass"
    return state.model_copy(
        update={
            "verdict": verdict,
            "message": text,
            "candidate": counts,
            "stable": evidence.stable,
            "value": (Decimal(counts.bad) / counts.total).quantize(Decimal("0.000001")),
            "e_fail": e_value(fail),
            "e_fail_bar": e_value(levels.sure),
            "e_pass": e_value(passed),
            "e_pass_bar": e_value(levels.passed),
            "tolerance": Decimal(f"{terms.tolerance:.6g}"),
            "windows": seen(evidence),
        }
    )
