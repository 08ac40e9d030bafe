"""Fits what is left in common between a pod's windows, by lag, as the sum of a fast and a slow part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log, sqrt

LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Distances between windows at which residuals are multiplied."""
SLOW_WINDOWS = 512.0
"""Correlation time of the slow part, in windows: it hardly moves within a release."""

_TIMES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_DECAYS = tuple(tuple(exp(-lag / time) for lag in LAGS) for time in _TIMES)
_SLOW_DECAY = tuple(exp(-lag / SLOW_WINDOWS) for lag in LAGS)
_SLOW = exp(-1.0 / SLOW_WINDOWS)


@dataclass(frozen=True)
class Point:
    """One lag: its index in ``LAGS``, the covariance of log rates there, and the weight of that (1 over variance)."""

    lag: int
    covariance: float
    weight: float


@dataclass(frozen=True)
class Effects:
    """Variances of the fast and the slow part, the fast one's correlation per window, and the standard errors."""

    fast: float = 0.0
    slow: float = 0.0
    correlation: float = 0.0
    fast_error: float = inf
    slow_error: float = inf


def curve(fast: float, slow: float, correlation: float, lag: int) -> float:
    """Covariance of a pod's log rate ``lag`` windows apart."""
    return fast * correlation**lag + slow * _SLOW**lag


def inflation(fast: float, slow: float, correlation: float, total: float, windows: int) -> float:
    """How much larger the variance of a sum of products is because windows are correlated (Bartlett's formula).

    ``total`` is the variance of one window's residual in the units of the two parts.
    """
    pairs = (
        (fast * fast, correlation * correlation),
        (2.0 * fast * slow, correlation * _SLOW),
        (slow * slow, _SLOW * _SLOW),
    )
    return 1.0 + 2.0 * sum(weight * _tapered(x, windows) for weight, x in pairs) / (total * total)


def fit(points: Sequence[Point], windows: int, scale: float) -> Effects:
    """The two parts that explain the points best, over a grid of correlation times.

    ``scale``: variance of a residual over that of an independent count; the standard errors are proportional to it.
    """
    if not points:
        return Effects()
    gaps = _gaps([LAGS[point.lag] for point in points])
    rows = [
        (point.lag, point.covariance, point.weight * gap, gap, _SLOW_DECAY[point.lag])
        for point, gap in zip(points, gaps, strict=True)
    ]
    ss = sum(weight * s * s for _, _, weight, _, s in rows)
    cs = sum(weight * covariance * s for _, covariance, weight, _, s in rows)
    slow_error = scale * sqrt(sum(weight * gap * s * s for _, _, weight, gap, s in rows)) / ss
    best, least = Effects(), inf
    for time, decay in zip(_TIMES, _DECAYS, strict=True):
        if time > max(2.0, windows / 4):
            break
        ff = fs = cf = noise = 0.0
        for lag, covariance, weight, gap, s in rows:
            f = decay[lag]
            weighted = weight * f
            ff += weighted * f
            fs += weighted * s
            cf += weighted * covariance
            noise += weighted * f * gap
        fast, slow = _two_parts(ff, ss, fs, cf, cs)
        misfit = sum(
            weight * (covariance - fast * decay[lag] - slow * s) ** 2 for lag, covariance, weight, _, s in rows
        )
        if misfit < least:
            best, least = Effects(fast, slow, exp(-1.0 / time), scale * sqrt(noise) / ff, slow_error), misfit
    return best


def kept(value: float, error: float, *, significant: float, power: int) -> float:
    """``value`` shrunk to 0 where it is less than ``significant`` standard errors, hardly where it is far more."""
    if value <= 0.0:
        return 0.0
    return value * max(0.0, 1.0 - (significant * error / value) ** power)


def uncertainty(degrees: float, correlation: float, windows: int) -> float:
    """Relative standard error of a variance that was seen on few pods.

    ``degrees``: pods less one; ``correlation``: of successive windows, 1 where a pod shows one value only.
    """
    independent = 1.0 if correlation >= 1.0 else max(1.0, windows / (1.0 - 2.0 / log(correlation)))
    return sqrt(2.0 / (degrees * independent))


def _two_parts(ff: float, ss: float, fs: float, cf: float, cs: float) -> tuple[float, float]:
    """Least squares of two curves from their products with each other and with what is seen, both at least 0."""
    determinant = max(ff * ss - fs * fs, 1e-30)
    fast = (cf * ss - cs * fs) / determinant
    slow = (cs * ff - cf * fs) / determinant
    if fast < 0.0:
        return 0.0, max(cs / ss, 0.0)
    if slow < 0.0:
        return max(cf / ff, 0.0), 0.0
    return fast, slow


def _gaps(lags: Sequence[int]) -> list[float]:
    """How many lags each one stands for: half the distance between its neighbours."""
    if len(lags) == 1:
        return [1.0]
    steps = [float(b - a) for a, b in pairwise(lags)]
    return [steps[0], *((a + b) / 2 for a, b in pairwise(steps)), steps[-1]]


def _tapered(x: float, windows: int) -> float:
    """Sum over k of ``x**k * (1 - k / windows)`` for k from 1 to ``windows - 1``."""
    if x >= 1.0:
        return (windows - 1) / 2.0
    return x / (1.0 - x) - x * (1.0 - x**windows) / (windows * (1.0 - x) ** 2)
