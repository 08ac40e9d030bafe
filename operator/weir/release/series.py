"""The evidence of a comparison as it is stored: windows, and the states that follow from them.

Everything here is a function of the windows and of the noise, so that a restart, a replay of the record and a backtest
get the very same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from weir.api.evidencestatus import Counts, EvidenceStatus, NoiseStatus, SeriesStatus
from weir.api.gate import Gate
from weir.release import means, rates
from weir.release.ledger import MAX_WINDOWS, Entry, listed, parse
from weir.release.terms import Heard, Proof, Terms


def extended(
    gate: Gate, evidence: EvidenceStatus, entry: Entry, noises: Sequence[Heard], span: float
) -> EvidenceStatus:
    """The evidence after one more window of ``span`` seconds; ``noises``: one for each series."""
    if listed(evidence) >= MAX_WINDOWS:
        evidence = _based(gate, evidence)
    evidence = listed_after(evidence, entry, span, counted=gate.template != "mean")
    series = []
    for place, heard in enumerate(noises):
        before = evidence.series[place] if place < len(evidence.series) else None
        series.append(_advanced(gate, before, heard, entry, place=place, windows=evidence.windows))
    return evidence.model_copy(update={"series": series})


def listed_after(evidence: EvidenceStatus, entry: Entry, span: float, *, counted: bool = True) -> EvidenceStatus:
    """The evidence with one more window of ``span`` seconds in the list and in the sums (``counted``: of bad events).

    A list that is full loses its older half; the sums, and the bases of states, are what is left of it.
    """
    windows, dropped = evidence.windows, evidence.dropped
    if listed(evidence) >= MAX_WINDOWS:
        entries = windows.split(";")
        dropped += len(entries) // 2
        windows = ";".join(entries[len(entries) // 2 :])
    stable_bad, candidate_bad = entry.amounts[0] if counted else (0.0, 0.0)
    return evidence.model_copy(
        update={
            "windows": f"{windows};{entry}" if windows else str(entry),
            "dropped": dropped,
            "candidate": evidence.candidate + Counts(bad=int(candidate_bad), total=entry.candidate_total),
            "stable": evidence.stable + Counts(bad=int(stable_bad), total=entry.stable_total),
            "span": evidence.span + Decimal(str(round(span, 3))),
        }
    )


def _advanced(
    gate: Gate, before: SeriesStatus | None, heard: Heard, entry: Entry, *, place: int, windows: str
) -> SeriesStatus:
    """One series after one more window: a step where the noise is as it was, else all listed windows anew."""
    noise, measured = heard.effective, heard.live or (before.measured if before is not None else None)
    if before is not None and before.state and before.noise == noise:
        after = means.after if gate.template == "mean" else rates.after
        state = after(gate, before.state, entry, place)
        return before.model_copy(update={"state": state, "measured": measured})
    base = before.base if before is not None else ""
    state = recomputed(gate, base, noise, parse(windows), place)
    return SeriesStatus(noise=noise, measured=measured, state=state, base=base)


def recomputed(gate: Gate, base: str, noise: NoiseStatus, entries: Sequence[Entry], place: int) -> str:
    """State of a series after these windows, from its base on, as if the noise had been known from the start."""
    anew = means.anew if gate.template == "mean" else rates.anew
    return anew(gate, base, noise, entries, place)


def _based(gate: Gate, evidence: EvidenceStatus) -> EvidenceStatus:
    """The evidence with states based on the older half of a full list, which is about to be dropped."""
    entries = parse(evidence.windows)
    older = entries[: len(entries) // 2]
    series = [
        s.model_copy(update={"base": recomputed(gate, s.base, s.noise, older, place)})
        for place, s in enumerate(evidence.series)
    ]
    return evidence.model_copy(update={"series": series})


def prove(gate: Gate, states: Sequence[str], terms: Terms, requests: int) -> Proof:
    """What states of all series of a gate prove in a stage; ``requests`` of the candidate in the release."""
    proven = means.prove if gate.template == "mean" else rates.prove
    return proven(gate, states, terms, requests)
