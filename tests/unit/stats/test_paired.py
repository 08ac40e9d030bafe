"""Disputed requests of shadow traffic."""

from __future__ import annotations

from math import exp, fsum, inf, log

import numpy as np
import pytest
from scipy.stats import binom

from weir.stats.paired import disputed_ratio, log_no_worse, log_worse


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.5, 3.0])
@pytest.mark.parametrize("disputed", [1, 10, 80])
def test_mean_is_one_at_the_ratio(ratio: float, disputed: int) -> None:
    share = ratio / (1 + ratio)
    for test in (log_worse, log_no_worse):
        mean = fsum(exp(binom.logpmf(b, disputed, share) + test(b, disputed - b, ratio)) for b in range(disputed + 1))
        assert mean == pytest.approx(1)


def test_equals_the_rate_ratio_form_for_equal_traffic() -> None:
    # given one alternative ratio g times the null's, the conditional form of n0 = n1 is x1 ln g - e ln((1 + g r)/(1 + r))
    from weir.stats.absolute import LOG_ODDS_ABOVE

    b, c, r = 30, 10, 1.1
    terms = [b * u - (b + c) * log((1 + r * exp(u)) / (1 + r)) for u in LOG_ODDS_ABOVE]
    assert log_worse(b, c, r) == pytest.approx(log(fsum(map(exp, terms)) / len(terms)))


def test_tells_a_worse_from_an_equal_candidate() -> None:
    assert log_worse(40, 10, 1.1) > log(20)
    assert log_no_worse(40, 10, 1.5) < 0
    assert log_worse(50, 50, 1.1) < 0
    assert log_no_worse(130, 130, 1.5) > log(20)


def test_needs_fewer_bad_requests_than_separate_arms_when_failures_are_shared() -> None:
    # given 1 % bad requests of which nearly all are spoiled by both, and twice as many by the candidate alone
    assert log_worse(30, 5, 1.1) > log(20)
    assert disputed_ratio(1.25, 0.95) == pytest.approx(6)


def test_ratio_of_disputes_amounts_to_that_of_rates() -> None:
    # given stable spoils 100 and the candidate 150, 60 of them the same
    assert disputed_ratio(1.5, 0.6) == pytest.approx((150 - 60) / (100 - 60))
    assert disputed_ratio(1.0, 0.3) == 1.0
    assert disputed_ratio(0.2, 0.5) == 0.0
    assert (disputed_ratio(1.1, 1.0), disputed_ratio(1.0, 1.0), disputed_ratio(0.9, 1.0)) == (inf, 1.0, 0.0)


def test_equal_candidate_is_rarely_accused() -> None:
    rng = np.random.default_rng(2)
    crossed = 0
    for row in rng.binomial(4, 1.1 / 2.1, (500, 60)).cumsum(axis=1):
        crossed += any(log_worse(int(b), 4 * (i + 1) - int(b), 1.1) >= log(20) for i, b in enumerate(row))
    # 38 or more of 500 would have probability 0.01 at 5 %
    assert crossed <= 37


def test_nonsense_is_refused() -> None:
    for ratio in (0.0, -1.0, inf):
        with pytest.raises(ValueError):
            log_worse(1, 1, ratio)
        with pytest.raises(ValueError):
            disputed_ratio(ratio, 0.5)
    with pytest.raises(ValueError):
        log_no_worse(-1, 2, 1.5)
    with pytest.raises(ValueError):
        disputed_ratio(1.5, 1.5)
