"""Exact e-variables for a linear margin between two shares, p1 <= ratio p0 + offset, at any base rate.

For a window with n0, n1 requests and any alternative (a, b) outside the null, with (a', b') the point of the null that
is nearest to it in n0 KL(a || a') + n1 KL(b || b') (the reverse information projection),

    E = (a/a')^x0 ((1-a)/(1-a'))^(n0-x0) (b/b')^x1 ((1-b)/(1-b'))^(n1-x1)

has mean at most 1 under the whole null, since the null is convex (Turner, Ly and Grunwald, 2024). Alternatives may
depend on earlier windows only; here they are a fixed list whose likelihood ratios are averaged, so no single wrong
guess can bankrupt the evidence. An offset makes sense of margins where stable has hardly any bad requests at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, log1p, sqrt

from weir.stats.combine import log_mean

_HALVINGS = 200


@dataclass(frozen=True)
class Margin:
    """The line p1 = ``ratio`` p0 + ``offset`` between harmless and worse; offset in shares (0-1)."""

    ratio: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.ratio < inf and -1 < self.offset < 1):
            raise ValueError(f"impossible margin: {self}")

    def beyond(self, stable: float, candidate: float) -> bool:
        """Whether these shares are worse than the margin."""
        return candidate > self.ratio * stable + self.offset


def alternatives(
    margin: Margin, bases: Sequence[float], factors: Sequence[float], *, worse: bool
) -> tuple[tuple[float, float], ...]:
    """Pairs (stable, candidate) of shares beyond the margin, or on its safe side unless ``worse``.

    The candidate's odds are each of ``factors`` (> 1) times those at the margin, or that part of them. Fix ``bases``
    before the release, from a reference; shares are 0-1 exclusive and points that would not be are left out.
    """
    points = []
    for base in bases:
        edge = margin.ratio * base + margin.offset
        for factor in factors:
            if 0 < base < 1 and 0 < edge < 1:
                odds = edge / (1 - edge) * (factor if worse else 1 / factor)
                points.append((base, odds / (1 + odds)))
    return tuple(points)


def project(margin: Margin, stable: float, candidate: float, n0: int, n1: int) -> tuple[float, float]:
    """The point (a', b') of the margin's line that is nearest to these shares, with n0 and n1 requests.

    ValueError unless the shares are between 0 and 1 and both arms have requests.
    """
    if not (0 < stable < 1 and 0 < candidate < 1 and n0 > 0 and n1 > 0):
        raise ValueError(f"shares {stable}, {candidate} of {n0}, {n1} requests")
    ratio, offset = margin.ratio, margin.offset
    low, high = max(0.0, -offset / ratio), min(1.0, (1 - offset) / ratio)
    if not low < high:
        raise ValueError(f"no shares lie on {margin}")
    if offset == 0:
        middle = n0 * (1 + stable * ratio) + n1 * (ratio + candidate)
        root = sqrt(max(0.0, middle * middle - 4 * ratio * (n0 + n1) * (n0 * stable + n1 * candidate)))
        # the smaller root, in the form that does not cancel
        nearest = 2 * (n0 * stable + n1 * candidate) / (middle + root)
        return nearest, ratio * nearest
    for _ in range(_HALVINGS):
        a = (low + high) / 2
        b = ratio * a + offset
        if not (low < a < high and 0 < b < 1):
            break
        slope = n0 * (a - stable) / (a * (1 - a)) + ratio * n1 * (b - candidate) / (b * (1 - b))
        low, high = (low, a) if slope > 0 else (a, high)
    a = (low + high) / 2
    return a, ratio * a + offset


def log_block(
    margin: Margin, alternative: tuple[float, float], stable: tuple[int, int], candidate: tuple[int, int]
) -> float:
    """Log of one window's e-variable for one alternative; ``stable`` and ``candidate`` are (requests, bad requests).

    The null is the side of the margin on which the alternative is not. 0 for a window without requests in an arm.
    """
    (n0, x0), (n1, x1) = stable, candidate
    if not (0 <= x0 <= n0 and 0 <= x1 <= n1):
        raise ValueError(f"bad requests of all: {stable}, {candidate}")
    if n0 == 0 or n1 == 0:
        return 0.0
    a, b = alternative
    nearest = project(margin, a, b, n0, n1)
    return _log_ratio(x0, n0, a, nearest[0]) + _log_ratio(x1, n1, b, nearest[1])


@dataclass(frozen=True)
class RiprState:
    """Log e-value of each alternative so far."""

    logs: tuple[float, ...]

    def add(
        self,
        margin: Margin,
        points: Sequence[tuple[float, float]],
        stable: tuple[int, int],
        candidate: tuple[int, int],
    ) -> RiprState:
        """With one more window, for the same margin and alternatives as ever."""
        return RiprState(
            tuple(
                value + log_block(margin, point, stable, candidate)
                for value, point in zip(self.logs, points, strict=True)
            )
        )

    def log_value(self) -> float:
        """Log e-value against the null: the mean over the alternatives."""
        return log_mean(self.logs)


def _log_ratio(bad: int, total: int, share: float, null: float) -> float:
    return bad * log(share / null) + (total - bad) * (log1p(-share) - log1p(-null))
