"""Means of two arms from sums and counts of windows."""

from __future__ import annotations

from math import inf, log, nan

import numpy as np
import pytest

from weir.stats.gauss import log_positive
from weir.stats.means import LEAST_WINDOWS, MeanState, Worse, interval, log_no_worse, log_worse

Windows = list[tuple[int, float, int, float]]


def windows(rng: np.random.Generator, count: int, shift: float, sd: float = 0.2, mean: float = 0.7) -> Windows:
    """Windows of 285 stable and 15 candidate observations, whose common mean moves."""
    result: Windows = []
    for _ in range(count):
        level = mean + float(rng.normal(0, 0.05))
        stable, candidate = rng.normal(level, sd, 285), rng.normal(level + shift, sd, 15)
        result.append((285, float(stable.sum()), 15, float(candidate.sum())))
    return result


def state_of(looks: Windows) -> MeanState:
    state = MeanState()
    for look in looks:
        state = state.add(*look)
    return state


def test_state_holds_the_weighted_differences() -> None:
    looks = [(90, 45.0, 10, 6.0), (50, 20.0, 50, 30.0), (80, 40.0, 20, 8.0)]
    h, d = np.array([9.0, 25.0, 16.0]), np.array([0.1, 0.2, -0.1])
    state = state_of(looks)
    mean = (h * d).sum() / h.sum()
    assert state.windows == 3
    assert state.information == pytest.approx(h.sum())
    assert state.mean == pytest.approx(mean)
    assert state.scatter == pytest.approx((h * (d - mean) ** 2).sum())


def test_known_spread_gives_the_gaussian_mixture_at_once() -> None:
    state = MeanState().add(90, 45.0, 10, 6.0)
    expected = log_positive(9 * (0.1 - 0.02) / 0.2, 9, 0.1)
    assert log_worse(state, "Higher", margin=0.02, sd=0.2) == pytest.approx(expected)
    assert log_no_worse(state, "Lower", margin=0.02, sd=0.2) == pytest.approx(log_positive(9 * 0.12 / 0.2, 9, 0.1))


def test_spread_is_estimated_from_ten_windows_on() -> None:
    looks = windows(np.random.default_rng(2), 20, -0.1)
    assert log_worse(state_of(looks[: LEAST_WINDOWS - 1]), "Lower") == 0.0
    assert interval(state_of(looks[: LEAST_WINDOWS - 1])) == (-inf, inf)
    state = state_of(looks)
    assert (state.scatter / 19) ** 0.5 == pytest.approx(0.2, rel=0.4)
    assert log_worse(state, "Lower") > 1


@pytest.mark.parametrize(("worse", "sign"), [("Higher", 1), ("Lower", -1)])
def test_fails_a_worse_and_passes_an_equal_candidate(worse: Worse, sign: int) -> None:
    rng = np.random.default_rng(6)
    bad, same = state_of(windows(rng, 120, sign * 0.1)), state_of(windows(rng, 120, 0.0))
    for sd in (0.2, None):
        assert log_worse(bad, worse, sd=sd) > log(20)
        assert log_no_worse(bad, worse, margin=0.05, sd=sd) < 0
        assert log_worse(same, worse, sd=sd) < log(20)
        assert log_no_worse(same, worse, margin=0.05, sd=sd) > log(20)
        better = "Lower" if worse == "Higher" else "Higher"
        assert log_worse(bad, better, sd=sd) < 0


@pytest.mark.parametrize("sd", [0.2, None])
def test_equal_candidate_is_rarely_accused(sd: float | None) -> None:
    # given 300 releases of 40 windows, looked at after each
    rng = np.random.default_rng(8)
    crossed = 0
    for _ in range(300):
        state, worst = MeanState(), -inf
        for look in windows(rng, 40, 0.0):
            state = state.add(*look)
            worst = max(worst, log_worse(state, "Higher", sd=sd))
        crossed += worst >= log(20)
    # 25 or more of 300 would have probability 0.01 at 5 %
    assert crossed <= 24


def test_interval_holds_the_difference_at_all_times_and_shrinks() -> None:
    # given 200 releases of 50 windows, looked at after each
    rng = np.random.default_rng(9)
    misses, early, late = 0, 0.0, 0.0
    for _ in range(200):
        state, missed, widths = MeanState(), False, []
        for look in windows(rng, 50, 0.05):
            state = state.add(*look)
            low, high = interval(state)
            widths.append(high - low)
            missed |= not low <= 0.05 <= high
        misses += missed
        early, late = early + widths[LEAST_WINDOWS - 1], late + widths[-1]
    assert late < 0.6 * early
    # 18 or more of 200 would have probability 0.01 at 5 %
    assert misses <= 17


def test_window_without_an_arm_tells_nothing() -> None:
    state = MeanState().add(10, 5.0, 10, 6.0)
    assert state.add(0, 0.0, 10, 5.0) == state
    assert state.add(10, 5.0, 0, 0.0) == state


def test_metric_that_never_varies_is_judged_without_dividing_by_zero() -> None:
    same = state_of([(100, 50.0, 10, 5.0)] * 12)
    assert log_worse(same, "Higher") <= 0
    assert log_no_worse(same, "Higher", margin=0.01) > log(20)
    worse = state_of([(100, 50.0, 10, 6.0)] * 12)
    assert log_worse(worse, "Higher", margin=0.05) > log(20)


def test_state_survives_its_text_exactly() -> None:
    state = state_of(windows(np.random.default_rng(1), 13, 0.01))
    assert MeanState.decode(state.encode()) == state
    assert len(state.encode()) <= 44


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "é"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        MeanState.decode(text)


def test_nonsense_is_refused() -> None:
    for look in ((-1, 0.0, 1, 0.0), (1, nan, 1, 0.0), (1, 0.0, 1, inf), (1, 0.0, 1, 1e200)):
        with pytest.raises(ValueError):
            MeanState().add(*look)
    for sd in (0.0, -1.0, inf, nan):
        with pytest.raises(ValueError):
            log_worse(MeanState(), "Higher", sd=sd)
