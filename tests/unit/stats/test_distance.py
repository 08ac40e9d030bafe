"""Distances of binned counts: against other implementations, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from weir.stats.distance import jensen_shannon, kolmogorov_smirnov, stability_index, total_variation

Distance = Callable[[list[int], list[int]], float]
ALL = (total_variation, stability_index, jensen_shannon, kolmogorov_smirnov)

counts = st.lists(st.integers(0, 10**6), min_size=2, max_size=30)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    first = draw(counts)
    second = draw(st.lists(st.integers(0, 10**6), min_size=len(first), max_size=len(first)))
    assume(sum(first) and sum(second))
    return first, second


def test_given_known_shares_when_measured_then_the_values_are_those_of_the_formulas() -> None:
    p, q = [50, 30, 20], [20, 30, 50]
    assert total_variation(p, q) == pytest.approx(0.3)
    assert kolmogorov_smirnov(p, q) == pytest.approx(0.3)
    assert stability_index([50_000, 30_000, 20_000], [20_000, 30_000, 50_000]) == pytest.approx(
        2 * 0.3 * np.log(2.5), abs=1e-3
    )


@given(pairs())
def test_jensen_shannon_agrees_with_scipy(pair: tuple[list[int], list[int]]) -> None:
    assert jensen_shannon(*pair) == pytest.approx(float(jensenshannon(*pair, base=2)), abs=1e-6)


@pytest.mark.parametrize("distance", ALL)
@given(pair=pairs())
def test_distances_are_symmetric_not_negative_and_zero_for_equal_shares(
    distance: Distance, pair: tuple[list[int], list[int]]
) -> None:
    p, q = pair
    assert distance(p, q) == pytest.approx(distance(q, p))
    assert distance(p, q) >= 0
    assert distance(p, p) == pytest.approx(0, abs=1e-7)


@given(pairs())
def test_bounds_between_the_distances_hold(pair: tuple[list[int], list[int]]) -> None:
    p, q = pair
    far = total_variation(p, q)
    assert kolmogorov_smirnov(p, q) <= far + 1e-12 <= 1 + 2e-12
    # Lin (1991): the divergence in bits is at most the total variation, and Pinsker's inequality from below.
    assert jensen_shannon(p, q) ** 2 <= far + 1e-12
    assert jensen_shannon(p, q) ** 2 >= far**2 / (2 * np.log(2)) - 1e-12


@pytest.mark.parametrize("distance", ALL)
def test_given_a_bin_that_is_empty_on_both_sides_when_measured_then_it_counts_for_nothing(distance: Distance) -> None:
    assert distance([5, 0, 3], [2, 0, 9]) == pytest.approx(distance([5, 3], [2, 9]))


def test_given_a_bin_that_only_one_side_has_when_measured_then_the_stability_index_stays_finite() -> None:
    assert 0 < stability_index([100, 0], [50, 50]) < 10
    assert total_variation([100, 0], [0, 100]) == jensen_shannon([100, 0], [0, 100]) == 1


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("pair", [([], []), ([0, 0], [1, 2]), ([1, 2], [0, 0]), ([1], [1, 2]), ([-1, 2], [1, 2])])
def test_given_no_rows_other_bins_or_nonsense_when_measured_then_it_is_refused(
    distance: Distance, pair: tuple[list[int], list[int]]
) -> None:
    with pytest.raises(ValueError):
        distance(*pair)


def test_given_small_samples_without_drift_when_measured_then_the_stability_index_has_its_known_mean() -> None:
    rng, shares = np.random.default_rng(3), np.full(10, 0.1)
    values = [
        stability_index(list(rng.multinomial(200, shares)), list(rng.multinomial(1000, shares))) for _ in range(600)
    ]
    assert np.mean(values) == pytest.approx(9 * (1 / 200 + 1 / 1000), rel=0.08)
