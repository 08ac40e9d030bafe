"""What a decider did to many releases, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.worlds import WINDOW, Releases

Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measures:
    """Measures of a cell.

    ``failed``: share rolled back. ``exposed`` and ``exposed_bad``: mean requests, and bad ones, that the candidate got
    before the rollback, or up to the end. ``minutes``: median time to the rollback, of those rolled back.
    """

    replicates: int
    failed: Estimate
    exposed: Estimate
    exposed_bad: Estimate
    minutes: float


def share(hits: int, total: int) -> Estimate:
    """Wilson's interval."""
    p, z2 = hits / total, Z * Z
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half))


def mean(values: NDArray[np.float64], rng: np.random.Generator, resamples: int = 500) -> Estimate:
    """Bootstrap interval of a mean."""
    draws = rng.integers(0, len(values), (resamples, len(values)))
    means = values[draws].mean(1)
    return Estimate(float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975)))


def median(values: NDArray[np.float64]) -> Estimate:
    """Median with its distribution-free interval (order statistics); NaN of no values."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    ordered = np.sort(values)
    half = Z * sqrt(len(ordered)) / 2
    low = max(0, int(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, int(len(ordered) / 2 + half))
    return Estimate(float(np.median(ordered)), float(ordered[low]), float(ordered[high]))


def measure(releases: Releases, fail: NDArray[np.int64], until: NDArray[np.int64] | None = None) -> Measures:
    """Measures of releases that were rolled back at the end of window ``fail`` (beyond the last: never).

    The others served the candidate up to window ``until``, by default the last.
    """
    last = releases.windows - 1
    served = releases.served
    total, bad = (array.sum(2).cumsum(1).astype(float) for array in (served.total, served.bad))
    rows = np.arange(len(fail))
    failed = fail <= last
    stop = np.where(failed, fail, last if until is None else until)
    rng = np.random.default_rng(0)
    return Measures(
        len(fail),
        share(int(failed.sum()), len(fail)),
        mean(total[rows, stop], rng),
        mean(bad[rows, stop], rng),
        float(np.median(fail[failed] + 1)) * WINDOW / 60 if failed.any() else float("nan"),
    )
