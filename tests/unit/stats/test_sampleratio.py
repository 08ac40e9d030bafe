"""Requests that do not arrive where the route sends them."""

from __future__ import annotations

from math import exp, fsum, inf, log

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from weir.stats.sampleratio import ALPHA, log_mismatch

BAR = log(1 / ALPHA)


def test_equals_the_beta_binomial_over_the_best_share_of_the_interval() -> None:
    # the share seen, 0.06, is above the interval, so its upper end explains it best
    numerator, best = betabinom(200, 0.5, 0.5).logpmf(12), binom(200, 0.055).logpmf(12)
    assert log_mismatch(12, 188, 0.05) == pytest.approx(float(numerator - best))


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("off", [-0.005, 0.0, 0.005])
def test_mean_is_at_most_one_within_the_tolerance(weight: float, off: float) -> None:
    share = min(max(weight + off, 0.0), 1.0)
    mean = fsum(
        exp(binom.logpmf(c, 400, share) + log_mismatch(c, 400 - c, weight))
        for c in range(401)
        if binom.pmf(c, 400, share) > 0
    )
    assert mean <= 1


def test_sound_route_is_rarely_called_broken_even_when_looked_at_after_every_window() -> None:
    # given 2,000 releases whose share sits on the tolerance's end, 40 windows each
    rng = np.random.default_rng(7)
    hits = rng.binomial(300, 0.055, (2000, 40)).cumsum(axis=1)
    called = sum(
        any(log_mismatch(int(c), 300 * (i + 1) - int(c), 0.05) >= BAR for i, c in enumerate(row)) for row in hits
    )
    # then at most a handful cross: 2,000 * 0.001 = 2 expected at the very most, 7 or more has probability 0.005
    assert called <= 6


@pytest.mark.parametrize(
    ("candidate", "stable", "weight"), [(0, 300, 0.05), (0, 2500, 0.01), (20, 20, 0.05), (10, 0, 0.1), (0, 30, 0.5)]
)
def test_broken_route_is_seen_soon(candidate: int, stable: int, weight: float) -> None:
    assert log_mismatch(candidate, stable, weight) >= BAR


@pytest.mark.parametrize(
    ("candidate", "stable", "weight"), [(50, 950, 0.05), (56, 944, 0.05), (0, 100, 0.01), (0, 0, 0.5)]
)
def test_sound_route_is_not_accused(candidate: int, stable: int, weight: float) -> None:
    assert log_mismatch(candidate, stable, weight) <= 0


def test_rounded_weights_are_tolerated_up_to_the_tolerance() -> None:
    # given 7.5 % in truth where the route says 5 %
    assert log_mismatch(7_500, 92_500, 0.05) > BAR
    assert log_mismatch(7_500, 92_500, 0.05, tolerance=0.03) < 0


def test_sticky_users_count_once() -> None:
    # given 100 users with 20 requests each
    assert log_mismatch(300, 1700, 0.10) > BAR
    assert log_mismatch(300, 1700, 0.10, dispersion=20) == pytest.approx(log_mismatch(15, 85, 0.10))


def test_requests_where_none_may_be_are_certain() -> None:
    assert log_mismatch(1, 1000, 0.0, tolerance=0.0) == inf
    assert log_mismatch(1000, 1, 1.0, tolerance=0.0) == inf


@pytest.mark.parametrize(
    ("candidate", "stable", "weight", "options"),
    [
        (-1, 1, 0.5, {}),
        (1, -1, 0.5, {}),
        (1, 1, 1.5, {}),
        (1, 1, 0.5, {"tolerance": -1}),
        (1, 1, 0.5, {"dispersion": 0}),
    ],
)
def test_nonsense_is_refused(candidate: int, stable: int, weight: float, options: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        log_mismatch(candidate, stable, weight, **options)
