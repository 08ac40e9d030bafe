"""``weir.stats.noise`` for many releases at once: the same formulas over arrays, [release].

A test compares it with the operator's own code on random releases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from weir.stats import noise as own
from weir.stats.noise import LAGS as _LAGS
from weir.stats.noise import MIN_BAD, MIN_WINDOWS, SLOW_WINDOWS, TRUSTED_WINDOWS, Noise

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LAGS = np.array(_LAGS)
TIMES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SLOW = exp(-1.0 / SLOW_WINDOWS)
_STEP = log(1.1)
_STRADDLING, _SIGNIFICANT, _SIGNIFICANT_SLOW = own._STRADDLING, own._SIGNIFICANT, own._SIGNIFICANT_SLOW


@dataclass(frozen=True)
class Noises:
    """The noise of each release: see ``weir.stats.noise.Noise``."""

    dispersion: Floats
    fast: Floats
    slow: Floats
    correlation: Floats

    def where(self, chosen: NDArray[np.bool_], other: Noises) -> Noises:
        """``self`` where chosen, else ``other``."""
        return Noises(
            np.where(chosen, self.dispersion, other.dispersion),
            np.where(chosen, self.fast, other.fast),
            np.where(chosen, self.slow, other.slow),
            np.where(chosen, self.correlation, other.correlation),
        )

    def wider(self, other: Noises) -> Noises:
        """The larger of the two in every component."""
        return Noises(
            np.maximum(self.dispersion, other.dispersion),
            np.maximum(self.fast, other.fast),
            np.maximum(self.slow, other.slow),
            np.maximum(self.correlation, other.correlation),
        )

    def rounded(self) -> Noises:
        """Upwards on a grid of steps of 10 %."""
        return Noises(_up(self.dispersion, 1.0), _up(self.fast, 0.0), _up(self.slow, 0.0), self.correlation)

    def take(self, rows: NDArray[np.intp]) -> Noises:
        """The noise of some releases."""
        return Noises(self.dispersion[rows], self.fast[rows], self.slow[rows], self.correlation[rows])

    def differs(self, other: Noises) -> NDArray[np.bool_]:
        """Whether anything changed, by release."""
        return np.asarray(
            (self.dispersion != other.dispersion)
            | (self.fast != other.fast)
            | (self.slow != other.slow)
            | (self.correlation != other.correlation)
        )


def _up(value: Floats, least: float) -> Floats:
    steps = np.ceil(np.log(np.maximum(value, 1e-4)) / _STEP - 1e-9)
    return np.where(value <= least, least, np.exp(_STEP * steps))


def constant(noise: Noise, size: int) -> Noises:
    """The same noise for all."""
    return Noises(*(np.full(size, value) for value in (noise.dispersion, noise.fast, noise.slow, noise.correlation)))


class _Squares:
    """Sums of squares of residuals over all windows, [release]."""

    def __init__(self, size: int) -> None:
        self.variance, self._reduced = np.zeros(size), np.zeros(size)
        self._second, self._fourth, self._mixed, self._variances = (np.zeros(size) for _ in range(4))

    def add(self, residual: Floats, variance: Floats) -> None:
        """One window, [release, pod]; what does not count is 0."""
        squared = residual * residual
        pods = np.maximum((variance > 0).sum(1), 1)
        self.variance += variance.sum(1)
        self._reduced += variance.sum(1) * (1.0 - 1.0 / pods)
        self._second += squared.sum(1)
        self._fourth += (squared * squared).sum(1)
        self._mixed += (squared * variance).sum(1)
        self._variances += (variance * variance).sum(1)

    @property
    def dispersion(self) -> Floats:
        return np.asarray(self._second / np.where(self.variance > 0, self.variance, 1.0))

    @property
    def error(self) -> Floats:
        dispersion = self.dispersion
        spread = self._fourth - 2.0 * dispersion * self._mixed + dispersion * dispersion * self._variances
        return np.asarray(np.sqrt(np.maximum(0.0, spread)) / np.where(self.variance > 0, self.variance, 1.0))

    @property
    def shrink(self) -> Floats:
        return np.asarray(self._reduced / np.where(self.variance > 0, self.variance, 1.0))

    @property
    def scale(self) -> Floats:
        return np.asarray(self._variances / np.where(self._reduced > 0, self._reduced, 1.0))


class _Successive:
    """What all pods together tell from one window to the next."""

    def __init__(self, size: int) -> None:
        self.pairs, self._bad = np.zeros(size), np.zeros(size)
        self._squares = _Squares(size)
        self._before = np.zeros(size), np.zeros(size)

    def add(self, requests: Floats, bad: Floats) -> None:
        """Sums of one window; one without requests is a gap."""
        before_requests, before_bad = self._before
        counted = (before_requests > 0) & (requests > 0)
        both, share = before_bad + bad, requests / np.maximum(before_requests + requests, 1.0)
        self.pairs += counted
        self._bad += np.where(counted, both, 0.0)
        residual = np.where(counted, bad - both * share, 0.0)
        self._squares.add(residual[:, None], np.where(counted, both * share * (1.0 - share), 0.0)[:, None])
        self._before = requests, np.where(requests > 0, bad, 0.0)

    @property
    def known(self) -> Flags:
        return np.asarray((self.pairs >= MIN_WINDOWS - 1) & (self._bad >= 4 * MIN_BAD) & (self._squares.variance > 0))

    def fit(self, margin: float) -> Noises:
        """Meaningless where not ``known``."""
        assumed = constant(own.ASSUMED, len(self.pairs))
        return replace(assumed, dispersion=np.maximum(1.0, self._squares.dispersion + margin * self._squares.error))

    def beyond(self, prior: Noises) -> Noises:
        error = np.maximum(self._squares.error, prior.dispersion * np.sqrt(3.0 / np.maximum(self.pairs, 1)))
        bursts = _proven(self._squares.dispersion - prior.dispersion, error)
        return replace(prior, dispersion=prior.dispersion + bursts).where(self.known, prior)


class Meter:
    """``weir.stats.noise.NoiseMeter`` for many releases: sums over the windows of their stable arms."""

    def __init__(self, size: int) -> None:
        self._count = 0
        self._ring: list[tuple[Floats, Floats]] = []
        self._windows, self._bad, self._degrees = (np.zeros(size) for _ in range(3))
        self._squares, self._successive = _Squares(size), _Successive(size)
        self._products, self._weights = np.zeros((len(LAGS), size)), np.zeros((len(LAGS), size))

    def add(self, total: Floats, bad: Floats) -> None:
        """One window, [release, pod]; a pod without requests is absent."""
        pods = (total > 0).sum(1)
        counted = (pods >= 2)[:, None]
        requests = np.maximum(total.sum(1, keepdims=True), 1.0)
        events = bad.sum(1, keepdims=True)
        share = total / requests
        variance = np.where(counted, events * share * (1 - share), 0.0)
        residual = np.where(counted, bad - events * share, 0.0)
        self._successive.add(total.sum(1), bad.sum(1))
        self._squares.add(residual, variance)
        self._windows += counted[:, 0]
        self._degrees += np.where(counted[:, 0], pods - 1, 0)
        self._bad += np.where(counted, events, 0)[:, 0]
        for index, lag in enumerate(LAGS):
            if lag <= len(self._ring):
                earlier_residual, earlier_variance = self._ring[-lag]
                self._products[index] += (residual * earlier_residual).sum(1)
                self._weights[index] += (variance * earlier_variance).sum(1)
        self._ring = [*self._ring[-(int(LAGS[-1]) - 1) :], (residual, variance)]
        self._count += 1

    @property
    def known(self) -> Flags:
        """Where there is enough to say anything."""
        return self._enough | self._successive.known

    @property
    def trusted(self) -> Flags:
        """``NoiseMeter.trusted``."""
        return np.asarray(np.maximum(self._windows, self._successive.pairs + 1) >= TRUSTED_WINDOWS)

    @property
    def _enough(self) -> Flags:
        return np.asarray((self._windows >= MIN_WINDOWS) & (self._bad >= MIN_BAD) & (self._squares.variance > 0))

    def fit(self, margin: float = 0.5, shrinkage: float = 1.0) -> Noises:
        """``NoiseMeter.fit``; meaningless where not ``known``."""
        effects = self._effects(None, self._squares.dispersion)
        fast = _kept(effects.fast, effects.fast_error, shrinkage**0.5, 2)
        slow = _kept(effects.slow, effects.slow_error, shrinkage**0.5, 2)
        rest = self._rest(fast, slow, effects.correlation) + margin * self._squares.error
        found = _noise(rest, fast, slow, effects.correlation)
        return found.where(self._enough, self._successive.fit(margin))

    def cautious(self) -> Noises:
        """``NoiseMeter.cautious``; meaningless where not ``known``."""
        effects = self._effects(None, self._squares.dispersion)
        rest = self._rest(effects.fast, effects.slow, effects.correlation) + self._squares.error
        fast, slow = self._for_few(effects.fast, effects.slow, effects.correlation)
        return _noise(rest, fast, slow, effects.correlation).where(self._enough, self._successive.fit(1.0))

    def beyond(self, prior: Noises) -> Noises:
        """``NoiseMeter.beyond``."""
        scale = self._squares.scale
        expected = prior.dispersion + (prior.fast + prior.slow) * scale
        windows = max(2, self._count)
        inflation = _inflation(prior.fast * scale, prior.slow * scale, prior.correlation, expected, windows)
        effects = self._effects(prior, np.maximum(self._squares.dispersion, expected) * np.sqrt(inflation))
        fast = _kept(effects.fast, effects.fast_error, _SIGNIFICANT, 4)
        slow = _kept(effects.slow, effects.slow_error, _SIGNIFICANT_SLOW, 4)
        fast, slow = self._for_few(fast, slow, effects.correlation)
        error = np.maximum(self._squares.error, expected * np.sqrt(2.0 * inflation / np.maximum(self._degrees, 1)))
        explained = (prior.fast * np.sqrt(prior.correlation) + prior.slow) * scale
        excess = self._rest(fast, slow, effects.correlation) - explained - prior.dispersion
        bursts = _proven(excess, error)
        fast = np.where(effects.correlation < _STRADDLING, 0.0, fast)
        higher = np.maximum(prior.correlation, effects.correlation)
        correlation = np.where(prior.fast > 0, higher, effects.correlation)
        found = Noises(
            prior.dispersion + bursts,
            prior.fast + fast,
            prior.slow + slow,
            np.where(fast > 0, correlation, prior.correlation),
        )
        return found.where(self._enough, self._successive.beyond(prior))

    def _rest(self, fast: Floats, slow: Floats, correlation: Floats) -> Floats:
        brief = self._squares.dispersion + (2.0 * correlation / (1.0 - correlation) * fast - slow) * self._squares.scale
        lasting = self._squares.dispersion - (fast * np.sqrt(correlation) + slow) * self._squares.scale
        return np.where(correlation < _STRADDLING, brief, lasting)

    def _for_few(self, fast: Floats, slow: Floats, correlation: Floats) -> tuple[Floats, Floats]:
        degrees = np.maximum(self._degrees / np.maximum(self._windows, 1), 1e-9)
        between = np.clip(correlation, 1e-12, 1 - 1e-12)
        independent = np.maximum(1.0, self._count / (1.0 - 2.0 / np.log(between)))
        return fast * (1.0 + np.sqrt(2.0 / (degrees * independent))), slow * (1.0 + 2.0 * np.sqrt(2.0 / degrees))

    def _effects(self, prior: Noises | None, scale: Floats) -> _Effects:
        reach = int((max(2.0, 0.6 * self._count) >= LAGS).sum())
        lags, weights = LAGS[:reach, None], self._weights[:reach]
        used = weights > 0.0
        gaps = _gaps(used)
        covariance = self._products[:reach] / np.where(used, weights, 1.0) * self._squares.shrink
        if prior is not None:
            covariance = covariance - prior.fast * prior.correlation**lags - prior.slow * _SLOW**lags
        w = np.where(used, weights * gaps, 0.0)
        none = np.zeros(scale.shape)
        best, least = _Effects(none, none, none, none + np.inf, none + np.inf), none + np.inf
        for time in TIMES:
            if time > max(2.0, self._count / 4):
                break
            found, misfit = _least_squares(covariance, w, gaps, lags, time=time, scale=scale)
            better = (misfit < least) & used.any(0)
            best, least = found.where(better, best), np.where(better, misfit, least)
        return best


def assess(history: Noises, known: Flags, live: Meter) -> Noises:
    """``weir.stats.noise.assess``; ``known``: where there is a history."""
    found = live.beyond(history)
    wider = found.rounded()
    with_history = Noises(
        np.where(found.dispersion > history.dispersion, wider.dispersion, history.dispersion),
        np.where(found.fast > history.fast, wider.fast, history.fast),
        np.where(found.slow > history.slow, wider.slow, history.slow),
        found.correlation,
    )
    assumed = constant(own.ASSUMED, len(known))
    trusted = live.cautious().where(live.known, assumed)
    without = trusted.where(live.trusted, live.beyond(assumed)).rounded()
    return with_history.where(known, without)


def _noise(dispersion: Floats, fast: Floats, slow: Floats, correlation: Floats) -> Noises:
    return Noises(np.maximum(1.0, dispersion), np.where(correlation < _STRADDLING, 0.0, fast), slow, correlation)


def _kept(value: Floats, error: Floats, significant: float, power: int) -> Floats:
    positive = np.where(value > 0, value, 1.0)
    with np.errstate(over="ignore"):
        left = value * np.maximum(0.0, 1.0 - (significant * error / positive) ** power)
    return np.where(value > 0, left, 0.0)


def _proven(excess: Floats, error: Floats) -> Floats:
    bursts = _kept(excess, error, _SIGNIFICANT, 6)
    return np.asarray(bursts * (1.0 + 0.5 * error / np.where(excess > 0, excess, 1.0)))


def _inflation(fast: Floats, slow: Floats, correlation: Floats, total: Floats, windows: int) -> Floats:
    pairs = (
        (fast * fast, correlation * correlation),
        (2.0 * fast * slow, correlation * _SLOW),
        (slow * slow, np.full(fast.shape, _SLOW * _SLOW)),
    )
    return np.asarray(1.0 + 2.0 * sum(weight * _tapered(x, windows) for weight, x in pairs) / (total * total))


def _tapered(x: Floats, windows: int) -> Floats:
    return x / (1.0 - x) - x * (1.0 - x**windows) / (windows * (1.0 - x) ** 2)


@dataclass(frozen=True)
class _Effects:
    fast: Floats
    slow: Floats
    correlation: Floats
    fast_error: Floats
    slow_error: Floats

    def where(self, chosen: NDArray[np.bool_], other: _Effects) -> _Effects:
        return _Effects(
            np.where(chosen, self.fast, other.fast),
            np.where(chosen, self.slow, other.slow),
            np.where(chosen, self.correlation, other.correlation),
            np.where(chosen, self.fast_error, other.fast_error),
            np.where(chosen, self.slow_error, other.slow_error),
        )


def _least_squares(
    covariance: Floats, w: Floats, gaps: Floats, lags: NDArray[np.int64], *, time: int, scale: Floats
) -> tuple[_Effects, Floats]:
    decay, slow_decay = np.exp(-lags / time), np.exp(-lags / SLOW_WINDOWS)
    ff, ss, fs = (w * decay * decay).sum(0), (w * slow_decay * slow_decay).sum(0), (w * decay * slow_decay).sum(0)
    cf, cs = (w * covariance * decay).sum(0), (w * covariance * slow_decay).sum(0)
    ff_safe, ss_safe = np.maximum(ff, 1e-300), np.maximum(ss, 1e-300)
    determinant = np.maximum(ff * ss - fs * fs, 1e-30)
    fast, slow = (cf * ss - cs * fs) / determinant, (cs * ff - cf * fs) / determinant
    no_fast, no_slow = fast < 0.0, (fast >= 0.0) & (slow < 0.0)
    fast = np.where(no_fast, 0.0, np.where(no_slow, np.maximum(cf / ff_safe, 0.0), fast))
    slow = np.where(no_slow, 0.0, np.where(no_fast, np.maximum(cs / ss_safe, 0.0), slow))
    misfit = (w * (covariance - fast * decay - slow * slow_decay) ** 2).sum(0)
    fast_error = scale * np.sqrt((w * gaps * decay * decay).sum(0)) / ff_safe
    slow_error = scale * np.sqrt((w * gaps * slow_decay * slow_decay).sum(0)) / ss_safe
    return _Effects(fast, slow, np.full(scale.shape, exp(-1.0 / time)), fast_error, slow_error), misfit


def _gaps(used: NDArray[np.bool_]) -> Floats:
    """How many lags each used one stands for: half the distance between its used neighbours."""
    count = len(used)
    before, after = np.full(used.shape, np.nan), np.full(used.shape, np.nan)
    last = np.full(used.shape[1], np.nan)
    for index in range(count):
        before[index] = LAGS[index] - last
        last = np.where(used[index], LAGS[index], last)
    last = np.full(used.shape[1], np.nan)
    for index in reversed(range(count)):
        after[index] = last - LAGS[index]
        last = np.where(used[index], LAGS[index], last)
    first, final = np.isnan(before), np.isnan(after)
    gaps = np.where(first, after, np.where(final, before, (before + after) / 2))
    return np.where(first & final, 1.0, gaps)
