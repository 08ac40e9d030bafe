"""The windows that a comparison has seen, as the text that the status and the record keep, and how it stays bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weir.api.evidencestatus import Counts, EvidenceStatus

MAX_WINDOWS = 192
"""Windows that are listed; beyond, the older half goes behind a checkpoint."""


@dataclass(frozen=True)
class Entry:
    """One window: requests and pods of both arms, and the (stable, candidate) amounts of each compared series.

    Amounts are bad requests, requests slower than an edge, or the sums of a mean.
    """

    stable_total: int
    candidate_total: int
    stable_pods: int
    candidate_pods: int
    amounts: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        parts = [f"{self.stable_total},{self.candidate_total},{self.stable_pods},{self.candidate_pods}"]
        parts += [f"{_number(stable)}:{_number(candidate)}" for stable, candidate in self.amounts]
        return ",".join(parts)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def parse(windows: str) -> tuple[Entry, ...]:
    """Entries of a ``windows`` text. Raises ValueError for text that is none."""
    return tuple(_entry(text) for text in windows.split(";") if text)


def _entry(text: str) -> Entry:
    fields = text.split(",")
    if len(fields) < 5:
        raise ValueError(f"{text!r} is no window: stableTotal,candidateTotal,stablePods,candidatePods,stable:candidate")
    amounts = []
    for pair in fields[4:]:
        stable, _, candidate = pair.partition(":")
        amounts.append((float(stable), float(candidate)))
    stable_total, candidate_total, stable_pods, candidate_pods = (int(field) for field in fields[:4])
    return Entry(stable_total, candidate_total, stable_pods, candidate_pods, tuple(amounts))


def listed(evidence: EvidenceStatus) -> int:
    """Windows that are listed."""
    return evidence.windows.count(";") + 1 if evidence.windows else 0


def seen(evidence: EvidenceStatus) -> int:
    """Windows of the release that the evidence knows, listed or not."""
    return evidence.dropped + listed(evidence)


def joined(entries: Iterable[Entry]) -> str:
    """Text of entries."""
    return ";".join(str(entry) for entry in entries)


def totals(evidence: EvidenceStatus) -> tuple[Counts, Counts]:
    """Counts of (candidate, stable) over the whole release; of the first edge where a distribution is compared."""
    return evidence.candidate, evidence.stable


def recent(evidence: EvidenceStatus, windows: int) -> tuple[Counts, Counts]:
    """Counts of (candidate, stable) over the last so many windows, as far as they are listed."""
    last = parse(";".join(evidence.windows.rsplit(";", windows)[-windows:])) if evidence.windows and windows else ()
    candidate = Counts(
        bad=sum(int(e.amounts[0][1]) for e in last if e.amounts), total=sum(e.candidate_total for e in last)
    )
    stable = Counts(bad=sum(int(e.amounts[0][0]) for e in last if e.amounts), total=sum(e.stable_total for e in last))
    return candidate, stable
