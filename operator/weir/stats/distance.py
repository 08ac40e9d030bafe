"""Distances between two distributions that were counted in the same bins.

Empty bins: total variation, Jensen-Shannon and Kolmogorov-Smirnov are defined with them and take them as they are. The
population stability index is infinite for a bin that only one side has, so each count is raised by half a row there
(Krichevsky and Trofimov, 1981) - on both sides, and only for that index. Bins that are empty on both sides count for
nothing. Two distributions without rows have no distance: ValueError.

Sources: total variation and Jensen-Shannon: Lin, "Divergence measures based on the Shannon entropy", 1991; population
stability index and what samples do to it: Yurdakul, "Statistical properties of population stability index", 2018 (its
mean without any drift is (K-1)(1/n + 1/m), so no fixed threshold suits all sample sizes).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import log, log2, sqrt

_HALF = 0.5


def total_variation(p: Sequence[float], q: Sequence[float]) -> float:
    """Share of rows (0-1) that would have to be others for the two to be equal; p and q are counts or shares."""
    return sum(abs(a - b) for a, b in zip(*_shares(p, q), strict=True)) / 2


def stability_index(p: Sequence[float], q: Sequence[float]) -> float:
    """Population stability index of the counts (0 and up): the sum of (p - q) ln(p / q)."""
    _shares(p, q)
    both = [(a + _HALF, b + _HALF) for a, b in zip(p, q, strict=True) if a or b]
    first, second = _shares([a for a, _ in both], [b for _, b in both])
    return sum((a - b) * log(a / b) for a, b in zip(first, second, strict=True))


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    """Jensen-Shannon distance (0-1): the square root of the divergence in bits."""
    first, second = _shares(p, q)
    divergence = sum(_part(a, b) + _part(b, a) for a, b in zip(first, second, strict=True)) / 2
    return sqrt(max(0.0, divergence))


def kolmogorov_smirnov(p: Sequence[float], q: Sequence[float]) -> float:
    """Largest difference (0-1) of the two shares of rows up to an edge; the bins must be in order, without nulls."""
    first, second = _shares(p, q)
    return max(abs(a - b) for a, b in zip(accumulate(first), accumulate(second), strict=True))


def _part(a: float, b: float) -> float:
    return a * log2(2 * a / (a + b)) if a > 0 else 0.0


def _shares(p: Sequence[float], q: Sequence[float]) -> tuple[list[float], list[float]]:
    if len(p) != len(q):
        raise ValueError(f"{len(p)} bins and {len(q)} bins")
    if any(not 0 <= x < float("inf") for x in (*p, *q)):
        raise ValueError("a count is negative or no number")
    n, m = sum(p), sum(q)
    if not n or not m:
        raise ValueError("no rows, so no distance")
    return [a / n for a in p], [b / m for b in q]
