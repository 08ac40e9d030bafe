"""Chance, seeded, and what can be said of it: binomial draws and intervals of a share."""

from __future__ import annotations

from math import log, log1p, sqrt
from random import Random


def binomial(chance: Random, n: int, p: float) -> int:
    """How many of ``n`` independent requests are hit, each with probability ``p`` (0-1).

    Draws the distances between hits, so it takes as long as there are hits (or misses, where those are fewer).
    """
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - binomial(chance, n, 1.0 - p)
    scale = log1p(-p)
    hits, at = 0, 0
    while True:
        at += int(log(1.0 - chance.random()) / scale) + 1
        if at > n:
            return hits
        hits += 1


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share (0-1) of which ``hits`` of ``n`` were seen, 95 % by default; (0, 1) for none."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    middle = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def quantile(values: list[float], share: float) -> float | None:
    """The value below which that share (0-1) of ``values`` lies (the nearest one); None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
