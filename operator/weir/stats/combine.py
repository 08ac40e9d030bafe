"""Several gates, one answer: the weighted mean of e-values, and which gate it is due to.

A weighted mean of e-processes is an e-process whatever the dependence between the gates, so P(the mean ever reaches
1/alpha) <= alpha when every gate is fine. It is never weaker than a weighted Bonferroni correction (some E_k >=
1/(w_k alpha)). Only the *current* values may be averaged: the mean of running maxima is not an e-process. For a Pass
nothing is combined: every gate has to pass by itself, each at its own alpha (intersection-union).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, inf, isnan, log


def log_mean(log_values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Log of the weighted mean of e-values given as logs; -inf (an e-value of 0) and inf are fine.

    ``weights`` need not sum to 1, None weighs all alike; a weight of 0 leaves a value out. No values at all are no
    evidence: 0.0. ValueError for NaN, a negative or infinite weight, weights that are all 0, or unequal lengths.
    """
    if not log_values:
        return 0.0
    if weights is None:
        return _plain_mean(log_values)
    shares = _shares(log_values, weights)
    terms = [(value, share) for value, share in zip(log_values, shares, strict=True) if share > 0]
    top = max(value for value, _ in terms)
    if top in (inf, -inf):
        return top
    # All alike must come out unchanged, not off by the rounding of their shares.
    total = fsum(share for _, share in terms)
    return top + log(fsum(share * exp(value - top) for value, share in terms) / total)


def _plain_mean(log_values: Sequence[float]) -> float:
    """The mean where all weigh alike; apart since it is asked far more often."""
    if any(map(isnan, log_values)):
        raise ValueError("an e-value is NaN")
    top = max(log_values)
    if top in (inf, -inf) or len(log_values) == 1:
        return top
    return top + log(fsum([exp(value - top) for value in log_values]) / len(log_values))


def guilty(log_values: Sequence[float], weights: Sequence[float] | None = None) -> int:
    """Index of the value that contributes most to the mean, the first of equals.

    The contribution is w_k E_k, so a gate of little weight needs more evidence to be named. ValueError as
    ``log_mean``, and for no values.
    """
    if not log_values:
        raise ValueError("no values, so none contributes most")
    shares = _shares(log_values, weights)
    parts = [value + log(share) if share > 0 else -inf for value, share in zip(log_values, shares, strict=True)]
    # A weight of 0 is never guilty, even when all e-values are 0.
    return max(range(len(parts)), key=lambda k: (shares[k] > 0, parts[k], -k))


def _shares(log_values: Sequence[float], weights: Sequence[float] | None) -> list[float]:
    if weights is None:
        weights = [1.0] * len(log_values)
    if len(weights) != len(log_values):
        raise ValueError(f"{len(log_values)} values but {len(weights)} weights")
    if any(isnan(value) for value in log_values):
        raise ValueError("an e-value is NaN")
    if not all(0 <= weight < inf for weight in weights) or max(weights) <= 0:
        raise ValueError("weights must be finite and not negative, at least one of them positive")
    largest = max(weights)
    scaled = [weight / largest for weight in weights]
    total = fsum(scaled)
    return [weight / total for weight in scaled]
