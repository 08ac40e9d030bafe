"""Exact e-variables for linear margins: golden values, the projection, and the mean under the whole null."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from weir.stats.ripr import Margin, RiprState, alternatives, log_block, project


def test_golden_projection() -> None:
    assert project(Margin(1.5), 0.02, 0.08, 900, 100) == pytest.approx((0.0248144, 0.0372216), abs=1e-7)


@pytest.mark.parametrize("margin", [Margin(1.5), Margin(0.8), Margin(1.0, 0.02), Margin(1.3, -0.01), Margin(2.0, 0.1)])
@pytest.mark.parametrize(("a", "b"), [(0.1, 0.5), (0.3, 0.05), (0.4, 0.95)])
def test_projection_is_the_nearest_point_of_the_line(margin: Margin, a: float, b: float) -> None:
    def divergence(p: float, q: float) -> float:
        return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))

    def distance(p0: float) -> float:
        return 300 * divergence(a, p0) + 50 * divergence(b, margin.ratio * p0 + margin.offset)

    low, high = max(0.0, -margin.offset / margin.ratio), min(1.0, (1 - margin.offset) / margin.ratio)
    slack = (high - low) * 1e-9
    oracle = minimize_scalar(distance, bounds=(low + slack, high - slack), method="bounded", options={"xatol": 1e-12})
    nearest = project(margin, a, b, 300, 50)
    assert nearest[0] == pytest.approx(oracle.x, abs=1e-6)
    assert nearest[1] == pytest.approx(margin.ratio * nearest[0] + margin.offset)


def e_values(margin: Margin, point: tuple[float, float]) -> np.ndarray:
    """For every outcome of 12 and 8 requests."""
    return np.array([[exp(log_block(margin, point, (12, x0), (8, x1))) for x1 in range(9)] for x0 in range(13)])


def mean(values: np.ndarray, p0: float, p1: float) -> float:
    """Exact mean of the e-values under these shares."""
    return float(binom(12, p0).pmf(range(13)) @ values @ binom(8, p1).pmf(range(9)))


@pytest.mark.parametrize("margin", [Margin(1.0), Margin(1.5), Margin(1.2, 0.05), Margin(0.9, -0.02)])
@pytest.mark.parametrize("worse", [True, False])
def test_mean_is_at_most_one_under_the_whole_null(margin: Margin, worse: bool) -> None:
    values = e_values(margin, alternatives(margin, (0.3,), (3.0,), worse=worse)[0])
    checked = 0
    for p0 in np.linspace(0.03, 0.97, 14):
        edge = margin.ratio * float(p0) + margin.offset
        if not worse and edge > 1:
            continue  # nothing is worse than that
        for p1 in np.linspace(0, min(edge, 1.0), 6) if worse else np.linspace(edge, 1, 6):
            assert mean(values, float(p0), float(p1)) <= 1 + 1e-12
            checked += 1
    assert checked >= 48


def test_mean_grows_for_the_alternative() -> None:
    margin = Margin(1.5)
    for worse in (True, False):
        point = alternatives(margin, (0.3,), (5.0,), worse=worse)[0]
        assert mean(e_values(margin, point), *point) > 1.5


def test_alternatives_lie_on_their_side_of_the_margin() -> None:
    margin = Margin(1.5, 0.01)
    worse = alternatives(margin, (0.1, 0.3), (1.5, 4), worse=True)
    better = alternatives(margin, (0.1, 0.3), (1.5, 4), worse=False)
    assert len(worse) == len(better) == 4
    assert all(margin.beyond(*point) for point in worse)
    assert not any(margin.beyond(*point) for point in better)
    assert alternatives(margin, (0.9,), (2,), worse=True) == ()


def test_evidence_accumulates_and_wrong_guesses_do_not_bankrupt_it() -> None:
    # given a base share of 20 %, guesses from 5 to 40 %, and a candidate at 40 % against a margin of 1.2
    margin = Margin(1.2)
    points = alternatives(margin, (0.05, 0.1, 0.2, 0.4), (1.3, 2, 4), worse=True)
    state = RiprState((0.0,) * len(points))
    for _ in range(10):
        state = state.add(margin, points, (450, 90), (50, 20))
    assert state.log_value() > log(20)
    assert min(state.logs) < -20


def test_window_without_an_arm_tells_nothing() -> None:
    assert log_block(Margin(1.2), (0.1, 0.3), (0, 0), (10, 5)) == 0
    assert log_block(Margin(1.2), (0.1, 0.3), (10, 5), (0, 0)) == 0


def test_nonsense_is_refused() -> None:
    for arguments in ((0.0, 0.5, 1, 1), (0.5, 1.0, 1, 1), (0.5, 0.5, 0, 1)):
        with pytest.raises(ValueError):
            project(Margin(1.2), *arguments)
    for ratio, offset in ((0.0, 0.0), (1.0, 1.0), (float("nan"), 0.0)):
        with pytest.raises(ValueError):
            Margin(ratio, offset)
    with pytest.raises(ValueError):
        log_block(Margin(1.2), (0.1, 0.3), (10, 11), (10, 5))
