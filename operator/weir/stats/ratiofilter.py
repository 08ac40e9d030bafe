"""What one assumed rate ratio predicts for a window, and what it learns from it about the pods' effects.

Given its sum, the count of the candidate's bad events is beta-binomial: binomial with the share that the ratio and the
traffic imply, widened by what is unknown of the two arms' pod effects. The effects (a fast and a slow part of the log
rate ratio) are tracked by a Kalman-like filter. Bursts enter by dividing the counts by the dispersion.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

from weir.stats.noise import Noise
from weir.stats.noisefit import SLOW_WINDOWS

Effects = tuple[float, float, float, float, float]
"""Means of the fast and the slow effect, their variances, their covariance."""
UNKNOWN: Effects = (0.0, 0.0, 0.0, 0.0, 0.0)

_SLOW_CORRELATION = exp(-1.0 / SLOW_WINDOWS)
_HALF_LOG_TWO_PI = 0.9189385332046727
_LARGE = 10.0
_FIRST, _SECOND, _THIRD, _FOURTH = 1.0 / 12.0, 1.0 / 360.0, 1.0 / 1260.0, 1.0 / 1680.0
"""Stirling's series, exact to 1e-12 from ``_LARGE`` on."""
_EXACT = 1e-12
"""Variance of the log ratio below which the beta-binomial is the binomial for every count that occurs."""


def begin(noise: Noise, pods: tuple[float, float]) -> Effects:
    """Effects before the first window; ``pods`` counts those of stable and candidate."""
    unknown = 1.0 / pods[1] + 1.0 / pods[0]
    return (0.0, 0.0, noise.fast * unknown, noise.slow * unknown, 0.0)


def evolve(effects: Effects, noise: Noise, before: tuple[float, float], now: tuple[float, float]) -> Effects:
    """Effects one window later, when the pods changed from ``before`` to ``now``.

    The candidate's old pods are a part of its average only, hence what is known fades as pods are added; where pods are
    taken away, the average of those left is expected to be what it was.
    """
    fast, slow, fast_variance, slow_variance, covariance = effects
    kept = min(1.0, before[1] / now[1])
    a, b = noise.correlation * kept, _SLOW_CORRELATION * kept
    old, new = 1.0 / before[1] + 1.0 / before[0], 1.0 / now[1] + 1.0 / now[0]
    return (
        a * fast,
        b * slow,
        a * a * fast_variance + max(0.0, noise.fast * (new - a * a * old)),
        b * b * slow_variance + max(0.0, noise.slow * (new - b * b * old)),
        a * b * covariance,
    )


def observe(effects: Effects, log_odds: float, candidate: float, stable: float) -> tuple[float, Effects]:
    """Log probability of the split of a window's bad events (but for what all ratios share), and what it teaches.

    ``log_odds`` of a bad event to be the candidate's, without pod effects; ``candidate`` and ``stable``: counts over
    the dispersion.
    """
    fast, slow, fast_variance, slow_variance, covariance = effects
    f = log_odds + fast + slow
    odds = exp(f)
    likelihood = binomial(f, candidate, stable)
    fast_gain, slow_gain = fast_variance + covariance, slow_variance + covariance
    q = fast_gain + slow_gain
    if q <= _EXACT:
        return likelihood, effects
    a, b = (1.0 + odds) / q, (1.0 + 1.0 / odds) / q
    likelihood += _rising(a, candidate) + _rising(b, stable) - _rising(a + b, candidate + stable)
    a_after, b_after = a + candidate, b + stable
    step = (log(a_after / b_after) - f) / q
    shrink = (candidate / (a * a_after) + stable / (b * b_after)) / (q * q)
    return likelihood, (
        fast + fast_gain * step,
        slow + slow_gain * step,
        max(0.0, fast_variance - fast_gain * fast_gain * shrink),
        max(0.0, slow_variance - slow_gain * slow_gain * shrink),
        covariance - fast_gain * slow_gain * shrink,
    )


def binomial(log_odds: float, candidate: float, stable: float) -> float:
    """Log probability of the split where nothing is unknown (but for what all ratios share)."""
    # in the form that loses nothing at either end
    log_candidate = -log1p(exp(-log_odds)) if log_odds > 0.0 else log_odds - log1p(exp(log_odds))
    return candidate * log_candidate + stable * (log_candidate - log_odds)


def _rising(a: float, y: float) -> float:
    """``lgamma(a + y) - lgamma(a) - y * log(a) + y``, without the loss of digits of large ``a`` or ``y``."""
    b = a + y
    if a < _LARGE:
        return (b - 0.5) * log1p(y / a) + _stirling_rest(b) - _stirling_rest(a)
    # both rests by their series, in line: this is the innermost of all loops
    u, v = 1.0 / a, 1.0 / b
    s, t = u * u, v * v
    rest = v * (_FIRST - t * (_SECOND - t * (_THIRD - t * _FOURTH)))
    return (b - 0.5) * log1p(y * u) + rest - u * (_FIRST - s * (_SECOND - s * (_THIRD - s * _FOURTH)))


def _stirling_rest(z: float) -> float:
    """What Stirling's formula leaves of ``lgamma(z)``."""
    if z < _LARGE:
        return lgamma(z) - (z - 0.5) * log(z) + z - _HALF_LOG_TWO_PI
    w = 1.0 / (z * z)
    return (_FIRST - w * (_SECOND - w * (_THIRD - w * _FOURTH))) / z
