"""Is one arm's share of bad requests above (or below) a fixed bound? An e-process on sums of counts.

With X bad of N requests and a bound q, every odds ratio g gives

    e_g = g^X / (1 + q (g - 1))^N,

the likelihood ratio of binomial shares with odds g times those of q. It is the Poisson form X ln g - N q (g - 1) with
the larger, exact compensator: 1 + x <= e^x, so it proves more from the same counts, notably for q above 10 %.
Validity: for independent requests with any probabilities p_j, E[e_g] = prod (1 + p_j (g - 1)) / (1 + q (g - 1))^N, and
the log of a factor is concave in p_j, so this is at most 1 whenever the p_j average at most q (g > 1) or at least q
(g < 1). Products over windows stay a supermartingale, and they only depend on the sums, so it does not matter how the
requests were cut into windows. A mixture over g adapts to the size of the effect. By Ville's inequality
P(the log ever reaches ln(1/alpha)) <= alpha.

``dispersion`` is the variance of the counts over that of independent requests (1 or more). Counts and requests are
divided by it: exact for 1, approximate (quasi-likelihood) beyond.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, isfinite, log, log1p, sqrt

from weir.stats.combine import log_mean

_SMALLEST, _LARGEST, _POINTS = 1.02, 64.0, 20


def _squares(smallest: float, largest: float, points: int) -> tuple[float, ...]:
    """Logs u^2 with u in even steps: dense near no effect, where telling apart needs it, sparse for large effects."""
    low, high = sqrt(log(smallest)), sqrt(log(largest))
    return tuple((low + (high - low) * k / (points - 1)) ** 2 for k in range(points))


LOG_ODDS_ABOVE: tuple[float, ...] = _squares(_SMALLEST, _LARGEST, _POINTS)
"""Logs of the odds ratios that ``log_above`` tries, 1.02 to 64."""

LOG_ODDS_BELOW: tuple[float, ...] = tuple(-u for u in LOG_ODDS_ABOVE)
"""Logs of the odds ratios that ``log_below`` tries, 1/1.02 to 1/64."""


def log_above(q: float, total: int, bad: int, dispersion: float = 1.0) -> float:
    """Log e-value against "the share of bad requests is at most ``q``"; large means it is above.

    ``q`` is a ratio 0-1, ``total`` and ``bad`` are sums since the start. ValueError unless 0 <= bad <= total.
    """
    return _mixture(LOG_ODDS_ABOVE, q, total, bad, dispersion)


def log_below(q: float, total: int, bad: int, dispersion: float = 1.0) -> float:
    """Log e-value against "the share of bad requests is at least ``q``"; large means it is below.

    ``q`` is a ratio 0-1, ``total`` and ``bad`` are sums since the start. ValueError unless 0 <= bad <= total.
    """
    return _mixture(LOG_ODDS_BELOW, q, total, bad, dispersion)


def _mixture(log_odds: tuple[float, ...], q: float, total: int, bad: int, dispersion: float) -> float:
    if not 0 <= q <= 1:
        raise ValueError(f"a share of requests is between 0 and 1, not {q}")
    if not 0 <= bad <= total:
        raise ValueError(f"{bad} bad of {total} requests")
    if not (dispersion >= 1 and isfinite(dispersion)):
        raise ValueError(f"dispersion is 1 or more, not {dispersion}")
    events, requests = bad / dispersion, total / dispersion
    return log_mean([events * u - requests * cost for u, cost in _compensators(log_odds, q)])


@lru_cache(maxsize=1024)
def _compensators(log_odds: tuple[float, ...], q: float) -> tuple[tuple[float, float], ...]:
    """Each log odds ratio with what every request costs it; kept, for bounds are few and asked about all the time."""
    return tuple((u, log1p(q * (exp(u) - 1))) for u in log_odds)
