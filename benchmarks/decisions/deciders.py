"""What other rollout controllers decide from the same windows, and the textbook tests.

A decider gives for each release the window at whose end it rolls back, or ``NEVER``. The tests look once a window; the
threshold controllers once a minute at the last minute, as is their default. Their thresholds were set with knowledge of
the baseline (twice the base rate), which a user rarely has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.batchnoise import Floats
from benchmarks.decisions.worlds import STEP_WINDOWS, WINDOW, Releases

NEVER = 10**6
"""Window of what did not happen."""

Fails = NDArray[np.int64]
ALPHA = 0.05
_FACTOR = 2.0
"""The thresholds allow so many times the base rate."""


def first(crossed: NDArray[np.bool_]) -> Fails:
    """The first window that is true, [release, window]."""
    return np.where(crossed.any(1), crossed.argmax(1), NEVER)


@dataclass(frozen=True)
class Sums:
    """Counts of both arms, [release, window]."""

    stable_total: Floats
    stable_bad: Floats
    candidate_total: Floats
    candidate_bad: Floats

    @classmethod
    def of(cls, releases: Releases) -> Sums:
        """Over the pods."""
        arms = (releases.stable, releases.candidate)
        return cls(*(array.sum(2).astype(float) for arm in arms for array in (arm.total, arm.bad)))


def _checks(releases: Releases) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each minute: whether it had no data, and whether the rate was above the threshold."""
    sums = Sums.of(releases)
    total, bad = (array[:, ::2] + array[:, 1::2] for array in (sums.candidate_total, sums.candidate_bad))
    return total == 0, bad > _FACTOR * releases.world.base * total


def _after_minutes(crossed: NDArray[np.bool_]) -> Fails:
    return np.where(crossed.any(1), 2 * crossed.argmax(1) + 1, NEVER)


def argo(limit: int, *, nan_fails: bool) -> Callable[[Releases], Fails]:
    """Argo Rollouts: more than ``limit`` failed measurements; a NaN fails where only a success condition is given."""

    def decide(releases: Releases) -> Fails:
        nothing, above = _checks(releases)
        failed = above | nothing if nan_fails else above
        return _after_minutes(failed.cumsum(1) > limit)

    return decide


def flagger(threshold: int) -> Callable[[Releases], Fails]:
    """Flagger: ``threshold`` failed checks; no data is a failed check, and a failed check holds the weight.

    A minute that is repeated at the same weight sees what another release saw in it. Such minutes (fewer than
    ``threshold``) are left out of what is exposed.
    """

    def decide(releases: Releases) -> Fails:
        nothing, above = _checks(releases)
        failed = above | nothing
        size, minutes = failed.shape
        release, at, failures, repeats = np.arange(size), *(np.zeros(size, dtype=int) for _ in range(3))
        for _ in range(minutes + threshold):
            running = (failures < threshold) & (at < minutes)
            bad = failed[(release + repeats) % size, np.minimum(at, minutes - 1)] & running
            failures += bad
            repeats = np.where(bad, repeats + 1, 0)
            at += running & ~bad
        return np.where(failures >= threshold, 2 * at + 1, NEVER)

    return decide


_KAYENTA_CONFIDENCE = 0.98
_KAYENTA_TOLERANCE = 0.25
_KAYENTA_WINDOWS = STEP_WINDOWS


def kayenta(releases: Releases) -> Fails:
    """Kayenta's judge: Mann–Whitney on the windows' rates so far; High where the lower bound of the shift is positive.

    The bound of the Hodges–Lehmann shift (98 %) must exceed a quarter of the shift itself. Looked at every window from
    the tenth on.
    """
    sums = Sums.of(releases)
    return mann_whitney(
        *(
            np.where(total > 0, bad / np.maximum(total, 1.0), np.nan)
            for total, bad in ((sums.stable_total, sums.stable_bad), (sums.candidate_total, sums.candidate_bad))
        )
    )


def mann_whitney(stable: Floats, candidate: Floats) -> Fails:
    """The same for any value by window; windows without one (NaN) are left out."""
    z = NormalDist().inv_cdf(0.5 + _KAYENTA_CONFIDENCE / 2)
    high = np.zeros(stable.shape, dtype=bool)
    for t in range(_KAYENTA_WINDOWS - 1, stable.shape[1]):
        differences = (candidate[:, : t + 1, None] - stable[:, None, : t + 1]).reshape(len(stable), -1)
        differences.sort(axis=1)  # NaN last
        count = np.isfinite(differences).sum(1)
        m, n = (np.isfinite(arm[:, : t + 1]).sum(1) for arm in (candidate, stable))
        rank = np.floor(count / 2 - z * np.sqrt(count * (m + n + 1) / 12)).astype(int)
        rows = np.arange(len(stable))
        low = np.where(rank >= 0, differences[rows, np.maximum(rank, 0)], -np.inf)
        shift = differences[rows, np.maximum(count // 2, 0).clip(max=differences.shape[1] - 1)]
        high[:, t] = (low > _KAYENTA_TOLERANCE * np.abs(shift)) & (count > 0)
    return first(high)


def _score(releases: Releases) -> tuple[Floats, Floats]:
    """The stratified score of "the rates are equal" and its variance, summed over the windows so far."""
    sums = Sums.of(releases)
    total = np.maximum(sums.stable_total + sums.candidate_total, 1.0)
    bad = sums.stable_bad + sums.candidate_bad
    share = sums.candidate_total / total
    variance = bad * share * (1 - share) * (total - bad) / np.maximum(total - 1, 1.0)
    return (sums.candidate_bad - bad * share).cumsum(1), variance.cumsum(1)


def z_test(alpha: float) -> Callable[[Releases], Fails]:
    """A stratified z-test at every window, one-sided at ``alpha`` each time."""
    bar = NormalDist().inv_cdf(1 - alpha)

    def decide(releases: Releases) -> Fails:
        score, variance = _score(releases)
        return first((score >= bar * np.sqrt(variance)) & (variance > 0))

    return decide


def bonferroni(releases: Releases) -> Fails:
    """The same, with the level divided by the number of looks."""
    return z_test(ALPHA / releases.windows)(releases)


def obrien_fleming(releases: Releases) -> Fails:
    """Group sequential with O'Brien and Fleming's boundary, given the true information of the plan."""
    world, weights = releases.world, releases.weights
    events = world.rps * WINDOW * world.base * (1 - world.base)
    information = (events * weights * (1 - weights)).cumsum()
    score, _ = _score(releases)
    return first(score >= _brownian_bar(tuple(information / information[-1])) * sqrt(float(information[-1])))


@lru_cache(maxsize=64)
def _brownian_bar(fractions: tuple[float, ...]) -> float:
    """The level that a Brownian motion exceeds at one of these times with probability ``ALPHA``."""
    rng = np.random.default_rng(20)
    steps = rng.standard_normal((40_000, len(fractions))) * np.sqrt(np.diff(fractions, prepend=0.0))
    return float(np.quantile(steps.cumsum(1).max(1), 1 - ALPHA))


def oracle(null: Releases) -> Callable[[Releases], Fails]:
    """What nobody has: both true rates at every moment, and the bar that makes 5 % errors in this very world.

    A likelihood ratio of the true rates (2 against 1 where there is no harm); ``null``: releases of the world without
    harm, from which the bar is read.
    """

    def decide(releases: Releases) -> Fails:
        ratio = releases.effect.ratio if releases.effect.ratio > 1.1 else 2.0
        bar = float(np.quantile(_likelihood(null, ratio).max(1), 1 - ALPHA))
        return first(_likelihood(releases, ratio) > max(bar, 0.0))

    return decide


def _likelihood(releases: Releases, ratio: float) -> Floats:
    sums = Sums.of(releases)
    return (sums.candidate_bad * log(ratio) - sums.candidate_total * releases.base * (ratio - 1)).cumsum(1)


def peers(null: Releases) -> dict[str, Callable[[Releases], Fails]]:
    """Every decider but ours, in the order of the report; ``null`` is for the oracle."""
    return {
        "Argo, limit 0": argo(0, nan_fails=False),
        "Argo, limit 3": argo(3, nan_fails=False),
        "Argo, limit 3, NaN fails": argo(3, nan_fails=True),
        "Flagger, threshold 5": flagger(5),
        "Kayenta (Mann–Whitney)": kayenta,
        "z, peeked": z_test(ALPHA),
        "z, Bonferroni": bonferroni,
        "O'Brien–Fleming": obrien_fleming,
        "oracle": oracle(null),
    }
