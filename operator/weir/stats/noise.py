"""How much noisier than independent requests a service is, measured on the pods of the stable version.

Two kinds of noise make good candidates look bad. Bursts: bad events come in clusters, so a count varies more than its
mean; they leave no trace in the next window. Pods: one pod's rate differs from another's for a while (a slow node, a
cold cache); windows that follow each other differ the same way. The lagged products of the pods' residuals see only the
second kind, which tells the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, exp, log, sqrt
from operator import mul

from weir.stats import noisefit
from weir.stats.noisefit import LAGS, SLOW_WINDOWS, Effects

__all__ = [
    "ASSUMED",
    "LAGS",
    "MIN_BAD",
    "MIN_WINDOWS",
    "SLOW_WINDOWS",
    "TRUSTED_WINDOWS",
    "Noise",
    "NoiseMeter",
    "assess",
]

MIN_WINDOWS = 4
MIN_BAD = 8
"""A fit needs at least so many windows with two pods, and so many bad events in them."""
TRUSTED_WINDOWS = 10
"""Without a history, a release's own windows replace what is assumed from here on."""

_STEP = log(1.1)
_NEGLIGIBLE = 1e-4
_STRADDLING = 0.4
"""A correlation below this is gone after one window: not the pods differ, but bursts straddle two windows."""
_SIGNIFICANT = 1.5
_SIGNIFICANT_SLOW = 1.22
"""Standard errors by which a release must exceed its history before the noise is widened: low enough for a quiet
history before a noisy release (false rollbacks at most 4.8 % at a ratio of exactly 1.1), high enough to cost a release
like its history little (bursts of mean 5: 2 points of 67 % detected)."""


@dataclass(frozen=True)
class Noise:
    """Noise of counts of bad events beyond independent requests.

    ``dispersion``: variance over mean of the bursts (1: independent). ``fast`` and ``slow``: variances of a pod's log
    rate, that which changes within minutes and that which stays for hours. ``correlation`` (0-1): of the fast part from
    one window to the next.
    """

    dispersion: float = 1.0
    fast: float = 0.0
    slow: float = 0.0
    correlation: float = 0.0

    def wider(self, other: Noise) -> Noise:
        """The larger of the two in every component."""
        return Noise(
            max(self.dispersion, other.dispersion),
            max(self.fast, other.fast),
            max(self.slow, other.slow),
            max(self.correlation, other.correlation),
        )

    def rounded(self) -> Noise:
        """Upwards on a grid of steps of 10 %, so that a new fit rarely changes it. The correlation stays."""
        return Noise(
            1.0 if self.dispersion <= 1.0 else exp(_STEP * ceil(log(self.dispersion) / _STEP - 1e-9)),
            _rounded(self.fast),
            _rounded(self.slow),
            self.correlation,
        )


ASSUMED = Noise(dispersion=2.0, fast=0.04, slow=0.02, correlation=exp(-0.25))
"""Noise where none can be measured, and the part of the pods where there is only one: pods that differ by a quarter.

With one stable pod and the dispersion measured, false rollbacks at a ratio of exactly 1.1 are at most 3.9 % (pods that
differ by 30 % and bursts, after a quiet history); twice the errors at 100 requests a second are found in 64 % of
20-minute releases. Twice the slow part would make that 21 %.
"""


class NoiseMeter:
    """Sums over windows of the stable arm from which the noise is fitted; the last 96 windows are kept for the lags."""

    def __init__(self) -> None:
        self.windows = 0
        """Windows that had at least two pods with requests."""
        self.pods = 0
        """Most pods seen in one window."""
        self.bad = 0
        """Bad events in those windows."""
        self._count = 0
        self._degrees = 0
        self._names: tuple[str, ...] = ()
        self._ring: list[_Residuals | None] = [None] * (LAGS[-1] + 1)
        self._products = [0.0] * len(LAGS)
        self._weights = [0.0] * len(LAGS)
        self._squares = _Squares()
        self._successive = _Successive()

    def add(self, pods: Mapping[str, tuple[int, int]]) -> None:
        """Take one window: (total, bad) of each pod of the stable version. Pods may appear and go."""
        self._successive.add(sum(total for total, _ in pods.values()), sum(bad for _, bad in pods.values()))
        residuals = self._residuals(pods)
        self._ring[self._count % len(self._ring)] = residuals
        if residuals is not None:
            self._squares.add(residuals)
            for index, lag in enumerate(LAGS):
                if lag > self._count:
                    break
                earlier = self._ring[(self._count - lag) % len(self._ring)]
                if earlier is not None:
                    product, weight = _lagged(residuals, earlier)
                    self._products[index] += product
                    self._weights[index] += weight
        self._count += 1

    def fit(self, *, margin: float = 0.5, shrinkage: float = 1.0) -> Noise | None:
        """The noise of a history, or None while there is too little to say (``MIN_WINDOWS``, ``MIN_BAD``).

        Of a single pod the dispersion is measured between successive windows, and the pods' part is assumed.

        ``margin``: standard errors added to the dispersion. ``shrinkage``: how strongly a variance that is not
        significant is taken back (1: by the square of its standard error over itself).
        """
        if not self._enough:
            return self._successive.fit(margin)
        effects = noisefit.fit(self._points(Noise()), self._count, self._squares.dispersion)
        significant = sqrt(shrinkage)
        fast = noisefit.kept(effects.fast, effects.fast_error, significant=significant, power=2)
        slow = noisefit.kept(effects.slow, effects.slow_error, significant=significant, power=2)
        rest = self._rest(fast, slow, effects.correlation) + margin * self._squares.error
        return _noise(rest, fast, slow, effects)

    def cautious(self) -> Noise | None:
        """As ``fit`` for so few windows that nothing may be taken back: what was seen, and a standard error more."""
        if not self._enough:
            return self._successive.fit(1.0)
        effects = noisefit.fit(self._points(Noise()), self._count, self._squares.dispersion)
        fast, slow = self._for_few(effects.fast, effects.slow, effects.correlation)
        rest = self._rest(effects.fast, effects.slow, effects.correlation) + self._squares.error
        return _noise(rest, fast, slow, effects)

    def beyond(self, prior: Noise) -> Noise:
        """``prior``, widened by what these windows prove beyond it."""
        if not self._enough:
            return self._successive.beyond(prior)
        squares, scale = self._squares, self._squares.scale
        expected = prior.dispersion + (prior.fast + prior.slow) * scale
        inflation = noisefit.inflation(
            prior.fast * scale, prior.slow * scale, prior.correlation, expected, max(2, self._count)
        )
        effects = noisefit.fit(self._points(prior), self._count, max(squares.dispersion, expected) * sqrt(inflation))
        fast = noisefit.kept(effects.fast, effects.fast_error, significant=_SIGNIFICANT, power=4)
        slow = noisefit.kept(effects.slow, effects.slow_error, significant=_SIGNIFICANT_SLOW, power=4)
        fast, slow = self._for_few(fast, slow, effects.correlation)
        error = max(squares.error, expected * sqrt(2.0 * inflation / self._degrees))
        known = (prior.fast * sqrt(prior.correlation) + prior.slow) * scale
        excess = self._rest(fast, slow, effects.correlation) - known - prior.dispersion
        bursts = _proven(excess, error)
        if effects.correlation < _STRADDLING:
            fast = 0.0
        correlation = prior.correlation
        if fast > 0.0:
            correlation = max(correlation, effects.correlation) if prior.fast > 0.0 else effects.correlation
        return Noise(prior.dispersion + bursts, prior.fast + fast, prior.slow + slow, correlation)

    @property
    def trusted(self) -> bool:
        """Whether so many windows were seen that they may replace what is assumed."""
        return max(self.windows, self._successive.pairs + 1) >= TRUSTED_WINDOWS

    @property
    def _enough(self) -> bool:
        return self.windows >= MIN_WINDOWS and self.bad >= MIN_BAD and self._squares.variance > 0.0

    def _residuals(self, pods: Mapping[str, tuple[int, int]]) -> _Residuals | None:
        """Counts less their expectation given the window's sum; None where fewer than two pods were asked anything."""
        names = tuple(sorted(name for name, (total, _) in pods.items() if total > 0))
        if names == self._names:
            names = self._names  # the same object, so that comparing windows is quick
        self._names = names
        if len(names) < 2:
            return None
        requests = sum(pods[name][0] for name in names)
        bad = sum(pods[name][1] for name in names)
        shares = [pods[name][0] / requests for name in names]
        self.windows += 1
        self.bad += bad
        self.pods = max(self.pods, len(names))
        self._degrees += len(names) - 1
        residuals = [pods[name][1] - bad * share for name, share in zip(names, shares, strict=True)]
        return _Residuals(names, residuals, [bad * share * (1.0 - share) for share in shares])

    def _points(self, prior: Noise) -> list[noisefit.Point]:
        """Covariance of the pods' log rates at each lag that is long enough observed, beyond that of ``prior``."""
        reach = max(2.0, 0.6 * self._count)
        shrink = self._squares.shrink
        return [
            noisefit.Point(
                index,
                product / weight * shrink - noisefit.curve(prior.fast, prior.slow, prior.correlation, lag),
                weight,
            )
            for index, (lag, product, weight) in enumerate(zip(LAGS, self._products, self._weights, strict=True))
            if lag <= reach and weight > 0.0
        ]

    def _rest(self, fast: float, slow: float, correlation: float) -> float:
        """Dispersion left to the bursts once the pods' effects have explained their part."""
        squares = self._squares
        if correlation < _STRADDLING:
            # of bursts that straddle two windows the long-run variance counts
            return squares.dispersion + (2.0 * correlation / (1.0 - correlation) * fast - slow) * squares.scale
        # a window averages an effect that moves within it: between its variance and the covariance of neighbours
        return squares.dispersion - (fast * sqrt(correlation) + slow) * squares.scale

    def _for_few(self, fast: float, slow: float, correlation: float) -> tuple[float, float]:
        """Both variances widened for the number of pods they were seen on: by one standard error, the slow by two."""
        degrees = self._degrees / self.windows
        if fast > 0.0:
            fast *= 1.0 + noisefit.uncertainty(degrees, correlation, self._count)
        return fast, slow * (1.0 + 2.0 * noisefit.uncertainty(degrees, 1.0, self._count))


def assess(history: Noise | None, live: NoiseMeter) -> Noise:
    """The noise to reckon with now; a pure function of the history's fit and the release's own windows.

    To be asked after every second window; where it changes, the evidence of all windows is recomputed (``replay``).
    Past its history a noise is rounded, so that it changes rarely.
    """
    if history is not None:
        found = live.beyond(history)
        wider = found.rounded()
        return Noise(
            wider.dispersion if found.dispersion > history.dispersion else history.dispersion,
            wider.fast if found.fast > history.fast else history.fast,
            wider.slow if found.slow > history.slow else history.slow,
            found.correlation,
        )
    if live.trusted:
        found = live.cautious() or ASSUMED
    else:
        found = live.beyond(ASSUMED)
    return found.rounded()


@dataclass(frozen=True)
class _Residuals:
    names: tuple[str, ...]
    residuals: list[float]
    variances: list[float]


class _Squares:
    """Sums of squares of residuals over all pods and windows; ``variance`` is theirs if requests were independent."""

    def __init__(self) -> None:
        self.variance = self._reduced = 0.0
        self._second = self._fourth = self._mixed = self._variances = 0.0

    def add(self, window: _Residuals) -> None:
        """Take one window."""
        squared = [r * r for r in window.residuals]
        variance = sum(window.variances)
        self.variance += variance
        self._reduced += variance * (1.0 - 1.0 / max(1, len(window.names)))
        self._second += sum(squared)
        self._fourth += sum(map(mul, squared, squared))
        self._mixed += sum(map(mul, squared, window.variances))
        self._variances += sum(map(mul, window.variances, window.variances))

    @property
    def dispersion(self) -> float:
        """Variance of the residuals over that of independent requests."""
        return self._second / self.variance

    @property
    def error(self) -> float:
        """Standard error of the dispersion."""
        dispersion = self.dispersion
        spread = self._fourth - 2.0 * dispersion * self._mixed + dispersion * dispersion * self._variances
        return sqrt(max(0.0, spread)) / self.variance

    @property
    def shrink(self) -> float:
        """How much of a pod's effect is left in its residual, since the pod is a part of the sum: (pods - 1) / pods."""
        return self._reduced / self.variance

    @property
    def scale(self) -> float:
        """What one unit of variance of a pod's log rate adds to the dispersion."""
        return self._variances / self._reduced


class _Successive:
    """How much counts of all pods together vary from one window to the next: what one pod can tell of bursts."""

    def __init__(self) -> None:
        self.pairs = 0
        self._bad = 0
        self._squares = _Squares()
        self._before: tuple[int, int] | None = None

    def add(self, requests: int, bad: int) -> None:
        """Take one window; one without requests is a gap."""
        if self._before is not None and requests > 0:
            both, share = self._before[1] + bad, requests / (self._before[0] + requests)
            self.pairs += 1
            self._bad += both
            self._squares.add(_Residuals((), [bad - both * share], [both * share * (1.0 - share)]))
        self._before = (requests, bad) if requests > 0 else None

    @property
    def _enough(self) -> bool:
        # a bad event is in two pairs, and one pod needs twice the events of several
        return self.pairs >= MIN_WINDOWS - 1 and self._bad >= 4 * MIN_BAD and self._squares.variance > 0.0

    def fit(self, margin: float) -> Noise | None:
        """The dispersion with ``margin`` standard errors, beside what is assumed of pods; None for too little."""
        if not self._enough:
            return None
        dispersion = self._squares.dispersion + margin * self._squares.error
        return Noise(max(1.0, dispersion), ASSUMED.fast, ASSUMED.slow, ASSUMED.correlation)

    def beyond(self, prior: Noise) -> Noise:
        """``prior`` with the dispersion that is proven beyond it."""
        if not self._enough:
            return prior
        error = max(self._squares.error, prior.dispersion * sqrt(3.0 / self.pairs))
        return replace(prior, dispersion=prior.dispersion + _proven(self._squares.dispersion - prior.dispersion, error))


def _proven(excess: float, error: float) -> float:
    """A dispersion's excess as far as it is significant, and then half a standard error more."""
    bursts = noisefit.kept(excess, error, significant=_SIGNIFICANT, power=6)
    return bursts * (1.0 + 0.5 * error / excess) if bursts > 0.0 else 0.0


def _lagged(later: _Residuals, earlier: _Residuals) -> tuple[float, float]:
    """Sums of products of the residuals, and of their variances, over the pods of both windows."""
    if later.names is earlier.names or later.names == earlier.names:
        return (
            sum(map(mul, later.residuals, earlier.residuals)),
            sum(map(mul, later.variances, earlier.variances)),
        )
    place = {name: index for index, name in enumerate(earlier.names)}
    product = weight = 0.0
    for name, residual, variance in zip(later.names, later.residuals, later.variances, strict=True):
        index = place.get(name)
        if index is not None:
            product += residual * earlier.residuals[index]
            weight += variance * earlier.variances[index]
    return product, weight


def _noise(dispersion: float, fast: float, slow: float, effects: Effects) -> Noise:
    return Noise(max(1.0, dispersion), 0.0 if effects.correlation < _STRADDLING else fast, slow, effects.correlation)


def _rounded(variance: float) -> float:
    if variance <= 0.0:
        return 0.0
    return exp(_STEP * ceil(log(max(variance, _NEGLIGIBLE)) / _STEP - 1e-9))
