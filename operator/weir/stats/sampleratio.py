"""Does the candidate get the share of requests that the route says? If not, the routing is broken, not the model.

Universal inference with a beta prior: with c of n requests at the candidate and the expected shares [low, high],

    E = integral p^c (1-p)^(n-c) dBeta(1/2, 1/2)(p) / max over p in [low, high] of p^c (1-p)^(n-c).

Validity: the prior's mass inside the interval contributes at most itself. The mass above contributes at most the
likelihood ratio against ``high``, whose mean is at most 1 for every sequence of shares that are at most ``high``;
likewise below. So E is bounded by an e-process for "every request went to the candidate with a probability, given the
past, within the interval", and the share may wander inside it. It depends on the sums alone.

Crossing ln(1/``ALPHA``) means: hold, say so, and judge nothing, since the arms are not what they are taken for. After
a change of weight start new sums; logs of several stages may be added.
"""

from __future__ import annotations

from math import inf, isfinite, lgamma, log

ALPHA = 0.001
"""Probability to call a sound route broken, ever, at one weight: rarer than a false rollback, as it stops all gates."""

_PRIOR = 0.5
_LOG_BETA_PRIOR = 2 * lgamma(_PRIOR) - lgamma(2 * _PRIOR)


def log_mismatch(
    candidate: int, stable: int, weight: float, *, tolerance: float = 0.005, dispersion: float = 1.0
) -> float:
    """Log e-value against "the candidate's share of requests is ``weight`` up to ``tolerance``".

    ``candidate`` and ``stable`` are requests since this weight was set. ``weight`` and ``tolerance`` are ratios 0-1;
    the tolerance (default half a percentage point) covers gateways that round weights. ``dispersion`` (1 or more)
    divides the counts: with sticky users it is about the mean number of requests of a user.
    """
    if min(candidate, stable) < 0:
        raise ValueError(f"{candidate} and {stable} requests")
    if not (0 <= weight <= 1 and tolerance >= 0):
        raise ValueError(f"weight {weight}, tolerance {tolerance}")
    if not (dispersion >= 1 and isfinite(dispersion)):
        raise ValueError(f"dispersion is 1 or more, not {dispersion}")
    hits, misses = candidate / dispersion, stable / dispersion
    if hits + misses == 0:
        return 0.0
    low, high = max(weight - tolerance, 0.0), min(weight + tolerance, 1.0)
    likeliest = min(max(hits / (hits + misses), low), high)
    null = _times_log(hits, likeliest) + _times_log(misses, 1 - likeliest)
    if null == -inf:
        return inf
    return _log_beta(_PRIOR + hits, _PRIOR + misses) - _LOG_BETA_PRIOR - null


def _times_log(count: float, share: float) -> float:
    if count == 0:
        return 0.0
    return count * log(share) if share > 0 else -inf


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
