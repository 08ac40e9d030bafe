"""Shares against a fixed bound: exact under the null, quick beyond it."""

from __future__ import annotations

from math import exp, fsum, inf, log, log1p

import pytest
from scipy.stats import binom, poisson_binom

from weir.stats.absolute import LOG_ODDS_ABOVE, log_above, log_below

BOUNDS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.9)


def mean_e(side: object, q: float, total: int, share: float) -> float:
    """Exact mean of the e-value over all counts of bad requests."""
    assert side in (log_above, log_below)
    test = log_above if side is log_above else log_below
    return fsum(exp(binom.logpmf(x, total, share) + test(q, total, x)) for x in range(total + 1))


@pytest.mark.parametrize("q", BOUNDS)
@pytest.mark.parametrize("total", [1, 7, 60, 300])
def test_mean_is_one_on_the_bound(q: float, total: int) -> None:
    assert mean_e(log_above, q, total, q) == pytest.approx(1, abs=1e-9)
    assert mean_e(log_below, q, total, q) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("q", BOUNDS)
@pytest.mark.parametrize("part", [0.2, 0.9])
def test_mean_is_at_most_one_inside_the_null(q: float, part: float) -> None:
    assert mean_e(log_above, q, 60, q * part) <= 1
    assert mean_e(log_below, q, 60, 1 - (1 - q) * part) <= 1


def test_mean_is_at_most_one_for_requests_of_different_risk() -> None:
    # given requests whose risks differ but average the bound
    risks = [0.0, 0.05, 0.2, 0.35] * 5
    law = poisson_binom(risks)
    for test in (log_above, log_below):
        assert fsum(float(law.pmf(x)) * exp(test(0.15, 20, x)) for x in range(21)) <= 1


def test_mean_grows_beyond_the_null() -> None:
    assert mean_e(log_above, 0.1, 60, 0.2) > 2
    assert mean_e(log_below, 0.1, 60, 0.02) > 2


def test_equals_the_formula() -> None:
    terms = [5 * u - 200 * log1p(0.01 * (exp(u) - 1)) for u in LOG_ODDS_ABOVE]
    assert log_above(0.01, 200, 5) == pytest.approx(log(fsum(map(exp, terms)) / len(terms)))
    assert len(LOG_ODDS_ABOVE) == 20
    assert exp(LOG_ODDS_ABOVE[0]) == pytest.approx(1.02)
    assert exp(LOG_ODDS_ABOVE[-1]) == pytest.approx(64)


def test_proves_at_least_as_much_as_the_poisson_form() -> None:
    for q, total, bad in ((0.001, 1000, 5), (0.1, 100, 20), (0.4, 50, 30)):
        poisson = [bad * u - total * q * (exp(u) - 1) for u in LOG_ODDS_ABOVE]
        assert log_above(q, total, bad) >= log(fsum(map(exp, poisson)) / len(poisson))


@pytest.mark.parametrize(("q", "share"), [(0.01, 0.02), (0.01, 0.05), (0.001, 0.01), (0.2, 0.3)])
def test_not_knowing_the_share_costs_at_most_three_quarters_more_requests(q: float, share: float) -> None:
    known = log(20) / (share * log(share / q) + (1 - share) * log((1 - share) / (1 - q)))
    total = next(n for n in range(20, 100_000, 20) if log_above(q, n, round(n * share)) >= log(20))
    assert total <= known * 1.75


def test_no_bad_requests_prove_a_share_below_the_bound() -> None:
    # the rule of three needs 300 requests without any bad one, not knowing the share costs a third more
    assert log_below(0.01, 300, 0) < log(20) <= log_below(0.01, 400, 0)


def test_dispersion_divides_the_counts() -> None:
    assert log_above(0.01, 3000, 90, 3.0) == pytest.approx(log_above(0.01, 1000, 30))
    assert log_below(0.01, 3000, 3, 3.0) == pytest.approx(log_below(0.01, 1000, 1))


def test_no_requests_are_no_evidence() -> None:
    assert log_above(0.01, 0, 0) == 0.0
    assert log_below(0.01, 0, 0) == 0.0


def test_bounds_of_zero_and_one_stay_finite() -> None:
    assert log_above(0.0, 100, 3) > 0 == log_above(0.0, 100, 0)
    assert log_below(1.0, 100, 97) > 0 == pytest.approx(log_below(1.0, 100, 100))


@pytest.mark.parametrize(
    ("q", "total", "bad", "dispersion"),
    [(-0.1, 1, 0, 1), (1.1, 1, 0, 1), (0.1, 1, 2, 1), (0.1, 1, -1, 1), (0.1, 1, 0, 0.5), (0.1, 1, 0, inf)],
)
def test_nonsense_is_refused(q: float, total: int, bad: int, dispersion: float) -> None:
    for test in (log_above, log_below):
        with pytest.raises(ValueError):
            test(q, total, bad, dispersion)
