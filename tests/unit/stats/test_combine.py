"""The weighted mean of e-values on the log scale."""

from __future__ import annotations

from math import exp, inf, log, nan

import pytest

from weir.stats.combine import guilty, log_mean


def test_mean_is_that_of_the_e_values_not_of_their_logs() -> None:
    assert log_mean([log(30), log(1), log(2)]) == pytest.approx(log(11))


def test_weights_need_not_sum_to_one() -> None:
    assert log_mean([log(30), log(2)], [6, 2]) == pytest.approx(log((6 * 30 + 2 * 2) / 8))


def test_equal_values_come_out_unchanged() -> None:
    assert log_mean([1.23456789] * 7, [0.1] * 7) == 1.23456789


def test_no_values_are_no_evidence() -> None:
    assert log_mean([]) == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-inf, -inf], -inf),
        ([inf, 0.0], inf),
        ([-inf, 0.0], log(0.5)),
        ([4e12, -4e12], 4e12 - log(2)),
        ([-4e12], -4e12),
    ],
)
def test_extreme_values_do_not_overflow(values: list[float], expected: float) -> None:
    assert log_mean(values) == pytest.approx(expected)


def test_value_of_weight_zero_is_left_out() -> None:
    assert log_mean([inf, 1.5], [0, 2]) == 1.5


def test_one_strong_gate_is_enough_as_with_bonferroni() -> None:
    # given eight gates of which one alone has 8/alpha
    values = [log(8 / 0.05)] + [-inf] * 7
    # then their mean reaches 1/alpha
    assert exp(log_mean(values)) == pytest.approx(20)


@pytest.mark.parametrize(
    ("values", "weights"),
    [([1.0], [0.0]), ([1.0], [-1.0]), ([1.0], [inf]), ([1.0], [nan]), ([nan], [1.0]), ([1.0, 2.0], [1.0])],
)
def test_nonsense_is_refused(values: list[float], weights: list[float]) -> None:
    with pytest.raises(ValueError):
        log_mean(values, weights)
    with pytest.raises(ValueError):
        guilty(values, weights)


def test_the_gate_that_contributes_most_is_guilty() -> None:
    assert guilty([1.0, 3.0, 2.0]) == 1
    assert guilty([1.0, 3.0, 2.0], [1, 0.1, 1]) == 2
    assert guilty([inf, 3.0], [0, 1]) == 1


def test_first_of_equals_is_guilty_and_weightless_gates_never() -> None:
    assert guilty([2.0, 2.0]) == 0
    assert guilty([-inf, -inf], [0, 1]) == 1
    with pytest.raises(ValueError):
        guilty([])
