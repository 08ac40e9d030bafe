from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from weir.backtest.chance import binomial, quantile, wilson
from weir.backtest.history import PodCounts
from weir.backtest.injection import Regression, injected

EDGES = (0.1, 0.2, 0.4, 0.8)


@pytest.mark.parametrize("p", [0.001, 0.03, 0.5, 0.93])
def test_given_a_probability_when_hits_are_drawn_then_mean_and_variance_are_those_of_a_binomial(p: float) -> None:
    chance, n, draws = Random(5), 400, 4000
    hits = [binomial(chance, n, p) for _ in range(draws)]
    mean = sum(hits) / draws
    variance = sum((h - mean) ** 2 for h in hits) / draws
    assert mean == pytest.approx(n * p, abs=4 * sqrt(n * p * (1 - p) / draws))
    assert variance == pytest.approx(n * p * (1 - p), rel=0.15)
    assert all(0 <= h <= n for h in hits)


def test_given_extreme_probabilities_when_hits_are_drawn_then_none_or_all_are_hit() -> None:
    assert binomial(Random(1), 10, 0.0) == 0
    assert binomial(Random(1), 10, 1.0) == 10
    assert binomial(Random(1), 0, 0.5) == 0


def test_given_counts_when_wilson_is_asked_then_it_is_the_known_interval() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(2, 40) == pytest.approx((0.0138, 0.1650), abs=1e-4)
    assert wilson(0, 200)[0] == 0.0


def test_given_values_when_a_quantile_is_asked_then_one_of_them_is_it() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([], 0.5) is None
    assert quantile([1.0, 2.0], 1.0) == 2.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x2", (Regression("errors", 2.0), Regression("latency", 2.0))),
        ("×1.5", (Regression("errors", 1.5), Regression("latency", 1.5))),
        ("+20%", (Regression("errors", 1.2), Regression("latency", 1.2))),
        ("errors:x5", (Regression("errors", 5.0),)),
        ("latency:+50%", (Regression("latency", 1.5),)),
        ("5%", (Regression("errors", share=0.05),)),
    ],
)
def test_given_a_regression_in_words_when_parsed_then_it_is_that(text: str, found: tuple[Regression, ...]) -> None:
    assert Regression.parse(text) == found


@pytest.mark.parametrize("text", ["", "2", "x", "x1", "x0.5", "-20%", "latency:5%", "0%", "101%", "x2000", "x1.2.3"])
def test_given_what_is_no_regression_when_parsed_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Regression.parse(text)


def test_given_errors_twice_as_frequent_when_injected_then_twice_as_many_are_bad_and_all_stay_as_many() -> None:
    chance, bad = Random(3), 0
    for _ in range(500):
        counts = injected(Regression("errors", 2.0), PodCounts(1000, 10), 0.01, (), chance)
        assert counts.total == 1000
        assert counts.bad >= 10
        bad += counts.bad
    assert bad / 500 == pytest.approx(20, abs=4 * sqrt(10 / 500))


def test_given_a_fixed_share_when_injected_then_that_share_fails_besides_what_failed() -> None:
    counts = injected(Regression("errors", share=0.05), PodCounts(1_000_000, 0), 0.0, (), Random(3))
    assert counts.bad == pytest.approx(50_000, rel=0.02)


def test_given_durations_twice_as_long_and_edges_that_double_when_injected_then_every_bucket_moves_by_one() -> None:
    counts = PodCounts(timed=1000, slower=(600, 300, 100, 10))
    assert injected(Regression("latency", 2.0), counts, 0.0, EDGES, Random(1)).slower == (1000, 600, 300, 100)


def test_given_durations_a_fifth_longer_when_injected_then_some_of_each_bucket_move_and_order_is_kept() -> None:
    counts = PodCounts(timed=100_000, slower=(60_000, 30_000, 10_000, 1000))
    slower = injected(Regression("latency", 1.2), counts, 0.0, EDGES, Random(1)).slower
    share = 0.263  # ln 1.2 / ln 2: how much of a bucket passes its upper edge
    assert slower[0] == pytest.approx(60_000 + share * 40_000, rel=0.02)
    assert slower[3] == pytest.approx(1000 + share * 9000, rel=0.05)
    assert list(slower) == sorted(slower, reverse=True)


def test_given_durations_many_times_longer_when_injected_then_every_request_is_slower_than_the_last_edge() -> None:
    counts = PodCounts(timed=50, slower=(20, 10, 5, 1))
    assert injected(Regression("latency", 1000.0), counts, 0.0, EDGES, Random(1)).slower == (50, 50, 50, 50)
