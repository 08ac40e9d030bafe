"""``weir.stats.ratio`` for many releases at once: the same formulas over arrays, so that thousands take seconds.

A test compares it with the operator's own code on random releases. Arrays are indexed [ratio, release]; noise is one
value a release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from benchmarks.decisions.batchnoise import Floats, Noises
from weir.stats import ratio as own
from weir.stats.absolute import LOG_ODDS_ABOVE, LOG_ODDS_BELOW
from weir.stats.noise import SLOW_WINDOWS
from weir.stats.ratio import CAP, FIRST, Ratios


@dataclass(frozen=True)
class Window:
    """Counts of one window and the pods of each arm, [release]: the fields of ``weir.stats.ratio.Arms``."""

    stable_total: Floats
    stable_bad: Floats
    candidate_total: Floats
    candidate_bad: Floats
    stable_pods: Floats
    candidate_pods: Floats

    def take(self, rows: NDArray[np.intp]) -> Window:
        """The counts of some releases."""
        return Window(*(getattr(self, field.name)[rows] for field in fields(self)))


class Filter:
    """``weir.stats.ratio.RatioState`` of many releases; arrays are indexed [ratio, release]."""

    def __init__(self, ratios: Ratios, size: int) -> None:
        self._grid = np.array(ratios.grid)
        self._null = ratios.grid.index(ratios.fail_above)
        self._worse = [ratios.grid.index(ratio) for ratio in ratios.worse]
        shape = (len(self._grid), size)
        self._fast, self._slow, self._fast_variance, self._slow_variance, self._covariance = (
            np.zeros(shape) for _ in range(5)
        )
        self.log_likelihoods = np.zeros(shape)
        self._uncapped, self.log_worse = np.zeros(size), np.zeros(size)
        self._stable_pods, self._candidate_pods = np.zeros(size), np.zeros(size)
        self._share = np.ones(size)
        self._begun = False
        self.windows = np.zeros(size)
        """Windows with requests of both arms and anything bad."""

    def put(self, rows: NDArray[np.intp], other: Filter) -> None:
        """Replaces the state of some releases."""
        for name, value in vars(other).items():
            if isinstance(value, np.ndarray) and value is not other._grid:
                getattr(self, name)[..., rows] = value

    def step(self, window: Window, noise: Noises, cap: float = CAP) -> None:
        """One window under the given noise."""
        self._evolve(window, noise)
        bad = window.stable_bad + window.candidate_bad
        rows = np.flatnonzero((window.stable_total > 0) & (window.candidate_total > 0) & (bad > 0))
        if not len(rows):
            return
        self.windows[rows] += 1
        self._observe(rows, window.take(rows), noise.dispersion[rows])
        worse = self.log_likelihoods[self._worse][:, rows]
        uncapped = _log_mean(worse) - self.log_likelihoods[self._null, rows]
        self.log_worse[rows] += np.minimum(cap, uncapped - self._uncapped[rows])
        self._uncapped[rows] = uncapped

    def log_no_worse(self, tolerance: float) -> Floats:
        """Log e-value against "the ratio is at least ``tolerance``"."""
        null = int(np.flatnonzero(self._grid <= tolerance)[-1])
        proven = _log_mean(self.log_likelihoods[:null]) - self.log_likelihoods[null]
        return np.asarray(np.where(self.windows >= FIRST, proven, np.minimum(0.0, proven)))

    def _evolve(self, window: Window, noise: Noises) -> None:
        share = self._thin(window, noise.fast + noise.slow)
        stable, candidate = window.stable_pods.copy(), window.candidate_pods * share
        new = 1.0 / candidate + 1.0 / stable
        if not self._begun:
            self._begun = True
            self._fast_variance += noise.fast * new
            self._slow_variance += noise.slow * new
        else:
            kept = np.minimum(1.0, self._candidate_pods / candidate)
            a, b = noise.correlation * kept, exp(-1.0 / SLOW_WINDOWS) * kept
            old = 1.0 / self._candidate_pods + 1.0 / self._stable_pods
            self._fast *= a
            self._slow *= b
            self._fast_variance = a * a * self._fast_variance + np.maximum(0.0, noise.fast * (new - a * a * old))
            self._slow_variance = b * b * self._slow_variance + np.maximum(0.0, noise.slow * (new - b * b * old))
            self._covariance *= a * b
        self._stable_pods, self._candidate_pods, self._share = stable, candidate, share

    def _thin(self, window: Window, variance: Floats) -> Floats:
        """For how many pods one of the candidate's counts."""
        counted = (variance > 0) & (window.stable_total > 0) & (window.candidate_total > 0)
        each = np.maximum(window.stable_total, 1.0) / window.stable_pods
        thinner = np.maximum(1.0, each / (np.maximum(window.candidate_total, 1.0) / window.candidate_pods))
        sticky = np.minimum(1.0, own._STICKY / (each * np.where(variance > 0, variance, 1.0)))
        share = 1.0 / (1.0 + sticky * (thinner - 1.0))
        change = share / self._share
        close = self._begun & (change > 1.0 / own._BY_CHANCE) & (change < own._BY_CHANCE)
        return np.where(counted & ~close, share, self._share)

    def _observe(self, rows: NDArray[np.intp], window: Window, dispersion: Floats) -> None:
        thinned = dispersion * thinning(window)
        candidate, stable = window.candidate_bad / thinned, window.stable_bad / thinned
        f = np.log(window.candidate_total / window.stable_total) + np.log(self._grid)[:, None]
        f = f + self._fast[:, rows] + self._slow[:, rows]
        self.log_likelihoods[:, rows] += (candidate + stable) * -np.logaddexp(0.0, f) + candidate * f
        noisy = np.flatnonzero(self._fast_variance[0, rows] + self._slow_variance[0, rows] > 0)
        if len(noisy):
            self._learn(rows[noisy], f[:, noisy], candidate[noisy], stable[noisy])

    def _learn(self, rows: NDArray[np.intp], f: Floats, candidate: Floats, stable: Floats) -> None:
        covariance = self._covariance[:, rows]
        fast_gain, slow_gain = self._fast_variance[:, rows] + covariance, self._slow_variance[:, rows] + covariance
        q = np.maximum(fast_gain + slow_gain, 1e-12)
        a, b = (1.0 + np.exp(f)) / q, (1.0 + np.exp(-f)) / q
        self.log_likelihoods[:, rows] += _rising(a, candidate) + _rising(b, stable) - _rising(a + b, candidate + stable)
        a_after, b_after = a + candidate, b + stable
        step = (np.log(a_after / b_after) - f) / q
        shrink = (candidate / (a * a_after) + stable / (b * b_after)) / (q * q)
        self._fast[:, rows] += fast_gain * step
        self._slow[:, rows] += slow_gain * step
        self._fast_variance[:, rows] = np.maximum(0.0, self._fast_variance[:, rows] - fast_gain * fast_gain * shrink)
        self._slow_variance[:, rows] = np.maximum(0.0, self._slow_variance[:, rows] - slow_gain * slow_gain * shrink)
        self._covariance[:, rows] = covariance - fast_gain * slow_gain * shrink


def thinning(window: Window) -> Floats:
    """How much less a count of bad events varies where many events are bad."""
    bad = window.stable_bad + window.candidate_bad
    share = bad / (window.stable_total + own._LOWER_SHARE * window.candidate_total)
    return np.clip(1.05 * (1.0 - share), own._LEAST_THINNING, 1.0)


def _log_mean(values: Floats) -> Floats:
    most = values.max(0)
    return np.asarray(most + np.log(np.exp(values - most).mean(0)))


def _rising(a: Floats, y: Floats) -> Floats:
    """``gammaln(a + y) - gammaln(a) - y * log(a) + y`` without loss of digits."""
    b = a + y
    return (b - 0.5) * np.log1p(y / a) + _stirling_rest(b) - _stirling_rest(a)


def _stirling_rest(z: Floats) -> Floats:
    big = np.maximum(z, 10.0)
    w = 1.0 / (big * big)
    rest = (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w / 1680.0))) / big
    small = z < 10.0
    if small.any():
        few = z[small]
        rest[small] = gammaln(few) - (few - 0.5) * np.log(few) + few - 0.9189385332046727
    return np.asarray(rest)


def log_above(share: float, total: Floats, bad: Floats, dispersion: Floats) -> Floats:
    """``weir.stats.absolute.log_above``."""
    return _absolute(LOG_ODDS_ABOVE, np.full(total.shape, share), total, bad, dispersion)


def log_below(share: Floats, total: Floats, bad: Floats, dispersion: Floats) -> Floats:
    """``weir.stats.absolute.log_below``."""
    return _absolute(LOG_ODDS_BELOW, share, total, bad, dispersion)


def _absolute(log_odds: Sequence[float], share: Floats, total: Floats, bad: Floats, dispersion: Floats) -> Floats:
    u = np.array(log_odds)[:, None]
    return _log_mean(bad / dispersion * u - total / dispersion * np.log1p(share * np.expm1(u)))
