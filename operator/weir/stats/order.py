"""Latency from histogram buckets: is the candidate slower, by more than a margin? (E-ORDER)

"Not slower" means stochastic order: at every edge b, the candidate's share of requests above b is at most stable's. So
each edge is a question about a rate of slow requests (``weir.stats.ratio``), the mean of the edges' e-values is an
e-value (``weir.stats.combine``), and the edge that contributes most is the reason. An improvement never adds to it.
Edges are chosen before the release, from stable's histogram: a choice that saw the evidence would break the alpha.

A margin in time, "at most 10 % slower", is exact where edges are close: if the candidate is at most m times as slow,
its share above m b is at most stable's above b, and so the candidate's counts are taken at a later edge. The classic
buckets (2 to 2.5 apart) are too coarse; there both arms use the same edge and the margin is one on the ratio.

A Fail takes one edge, by the mean; a Pass takes every edge, each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log

from weir.stats.combine import guilty, log_mean

SHARES = (0.5, 0.1, 0.02)
"""Shares of stable's requests above an edge that are looked for: the middle of the law and its tail.

No rarer ones: a Pass takes every edge, and for one at 0.4 % it would take 96,000 requests, for one at 2 % 19,000.
"""

LEAST_SHARE = 0.01
"""Edges that fewer of stable's requests are above are left out, unless there is no other: they could hardly pass."""

CLOSE = 1.25
"""Adjacent edges further apart than this factor cannot express a margin in time."""

_NEAR = 5.0
"""Beyond the first, an edge whose share is further from the wanted one than this factor stands for something else."""

_APART = 1.05
_ROUNDING = 1e-9


@dataclass(frozen=True)
class EdgePair:
    """Where slow begins: an edge's index for each arm, and the ``factor`` between the two edges (1: the same edge)."""

    stable: int
    candidate: int
    factor: float


@dataclass(frozen=True)
class OrderEvidence:
    """``log_value``: log e-value of all edges together; ``pair``: index of the one that contributes most."""

    log_value: float
    pair: int


def choose(edges: Sequence[float], counts: Sequence[int], shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """Indices of the edges to watch, ascending: for each of ``shares`` the nearest one, on a logarithmic scale.

    ``edges`` are the finite upper bounds of the buckets, ascending; ``counts`` the events of stable in each bucket
    (one more than edges: the last bucket is unbounded). Edges that no request or every request is above tell nothing,
    those that less than ``LEAST_SHARE`` are above too little; where there are no others the most common of them is
    chosen. Chosen edges are at least 5 % apart. Empty when no edge splits the requests.
    """
    _check(edges, counts)
    total = sum(counts)
    above = [slow(counts, index) for index in range(len(edges))]
    useful = [index for index, count in enumerate(above) if 0 < count < total]
    common = [index for index in useful if above[index] >= LEAST_SHARE * total]
    useful = common or sorted(useful, key=lambda index: -above[index])[:1]
    chosen: list[int] = []
    for share in shares:
        # Only edges that are far enough from those already chosen, so that each adds something.
        free = [k for k in useful if all(_apart(edges[k], edges[other]) for other in chosen)]
        best = min(free, key=lambda k: abs(log(above[k] / total / share)), default=None)
        if best is not None and (not chosen or abs(log(above[best] / total / share)) <= log(_NEAR)):
            chosen.append(best)
    return tuple(sorted(chosen))


def pair_up(
    edges: Sequence[float], chosen: Sequence[int], margin: float = 1.0, *, at_least: bool = True
) -> tuple[EdgePair, ...]:
    """For each chosen edge the two edges to compare so that the candidate may be ``margin`` (>= 1) times as slow.

    The pair's ``factor`` is what the two edges truly allow: the next one from the margin on for a Fail (``at_least``),
    the last one up to it for a Pass, so that each claims no more than it proves. If edges between the two are not close
    it is the same edge, with factor 1: the caller's margin on the ratio of slow requests has to do.
    """
    if not 1 <= margin < inf:
        raise ValueError(f"a margin is a factor from 1 on, not {margin}")
    return tuple(_pair(edges, index, margin, at_least) for index in chosen)


def slow(counts: Sequence[int], edge: int) -> int:
    """Events above the edge of that index, from the counts per bucket."""
    return sum(counts[edge + 1 :])


def combine(log_values: Sequence[float]) -> OrderEvidence:
    """The evidence of all pairs of edges, from the log e-value of each. ValueError without any."""
    return OrderEvidence(log_mean(log_values), guilty(log_values))


def _pair(edges: Sequence[float], index: int, margin: float, at_least: bool) -> EdgePair:
    here = edges[index]
    if here > 0:
        beyond = next((k for k in range(index, len(edges)) if edges[k] >= margin * here * (1 - _ROUNDING)), None)
        exact = beyond is not None and edges[beyond] <= margin * here * (1 + _ROUNDING)
        if beyond is not None and all(b <= CLOSE * a * (1 + _ROUNDING) for a, b in pairwise(edges[index : beyond + 1])):
            later = beyond if at_least or exact else beyond - 1
            return EdgePair(index, later, edges[later] / here)
    return EdgePair(index, index, 1.0)


def _apart(one: float, other: float) -> bool:
    low, high = sorted((one, other))
    return high > low if low <= 0 else high / low >= _APART * (1 - _ROUNDING)


def _check(edges: Sequence[float], counts: Sequence[int]) -> None:
    if len(counts) != len(edges) + 1:
        raise ValueError(f"{len(edges)} edges need {len(edges) + 1} counts, not {len(counts)}")
    if not all(map(isfinite, edges)) or any(a >= b for a, b in pairwise(edges)):
        raise ValueError("edges must be finite and ascending")
    if any(count < 0 for count in counts):
        raise ValueError("counts must not be negative")
