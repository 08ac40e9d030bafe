"""The one-sided Gaussian mixture."""

from __future__ import annotations

from math import exp, inf, log, nan

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm

from weir.stats.gauss import Score, interval, log_positive


@pytest.mark.parametrize(("total", "variance", "tau", "value"), [(10, 20, 0.5, 1.859772), (-5, 20, 0.5, -1.554541)])
def test_golden_values(total: float, variance: float, tau: float, value: float) -> None:
    assert log_positive(total, variance, tau) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("total", [-8.0, 0.0, 3.0, 12.0])
def test_equals_the_mixture_of_likelihood_ratios(total: float) -> None:
    mixture, _ = quad(lambda m: 2 * norm.pdf(m, scale=0.3) * exp(m * total - m * m * 15 / 2), 0, 6)
    assert log_positive(total, 15, 0.3) == pytest.approx(log(mixture), abs=1e-7)


@pytest.mark.parametrize("z", [-1e150, -1e9, -40.0, -10.001, -9.999, -1.0, 0.0, 6.0, 30.0])
def test_tails_neither_cancel_nor_overflow(z: float) -> None:
    # given tau = 1 and no variance, so that z is the sum itself
    tail = log_positive(z, 0.0, 1.0)
    expected = log(2) + (z * z / 2 + float(log_ndtr(z)) if z > -1e4 else -log(-z) - log(2 * np.pi) / 2)
    assert tail == pytest.approx(expected, abs=2e-7)


def test_mean_is_one_on_the_null_and_less_inside() -> None:
    def mean(drift: float) -> float:
        density = norm(drift, 20**0.5).pdf
        return quad(lambda s: exp(log_positive(s, 20, 0.5)) * density(s), -60, 60, limit=200)[0]

    assert mean(0.0) == pytest.approx(1, abs=1e-6)
    assert mean(-3.0) < 1 < mean(3.0)


def test_no_information_is_no_evidence() -> None:
    assert log_positive(0.0, 0.0, 0.5) == pytest.approx(0.0)


def test_score_is_stratified_by_window() -> None:
    # given two windows whose baselines and weights differ, each with equal shares in both arms (Simpson's paradox)
    score = Score().add(900, 90, 100, 10).add(100, 50, 900, 450)
    # then nothing speaks against the candidate, although pooled it has 46 % against 14 %
    assert score.score == pytest.approx(0, abs=1e-9)
    expected = 100 * 0.1 * 0.9 * 900 / 999 + 500 * 0.9 * 0.1 * 500 / 999
    assert score.variance == pytest.approx(expected)


def test_window_without_an_arm_tells_nothing() -> None:
    assert Score(1.0, 2.0).add(0, 0, 10, 5) == Score(1.0, 2.0)
    assert Score(1.0, 2.0).add(10, 5, 0, 0) == Score(1.0, 2.0)


def test_score_rarely_accuses_a_good_candidate_at_a_high_base_rate() -> None:
    # given 500 releases of 40 windows at a base share of 30 %
    rng = np.random.default_rng(1)
    crossed = 0
    for stable, candidate in zip(rng.binomial(180, 0.3, (500, 40)), rng.binomial(20, 0.3, (500, 40)), strict=True):
        score, worst = Score(), -inf
        for x0, x1 in zip(stable, candidate, strict=True):
            score = score.add(180, int(x0), 20, int(x1))
            worst = max(worst, log_positive(score.score, score.variance, 0.5))
        crossed += worst >= log(20)
    # 38 or more of 500 would have probability 0.01 at 5 %
    assert crossed <= 37


def test_interval_excludes_what_the_two_sided_mixture_refutes() -> None:
    low, high = interval(0.4, 200, 0.1)
    assert low < 0.4 < high
    tau2v = 0.01 * 200
    for end in (low, high):
        total = (0.4 - end) * 200
        two_sided = -log(1 + tau2v) / 2 + 0.01 * total**2 / (2 * (1 + tau2v))
        assert two_sided == pytest.approx(log(20))
    assert interval(0.4, 0, 0.1) == (-inf, inf)


def test_nonsense_is_refused() -> None:
    for arguments in ((nan, 1, 1), (inf, 1, 1), (0, -1, 1), (0, nan, 1), (0, 1, 0), (0, 1, inf)):
        with pytest.raises(ValueError):
            log_positive(*arguments)
    with pytest.raises(ValueError):
        Score().add(10, 11, 10, 1)
