"""Burn rates and error budgets from counts."""

from __future__ import annotations

import pytest

from weir.stats.burn import Counts, Pair, budget_left, budget_spent, burning, pairs, rate, release_budget

HOUR, DAY = 3600.0, 86400.0


def test_pairs_of_thirty_days_are_the_usual_ones() -> None:
    fast, middle, slow = pairs(30 * DAY)
    assert (fast.long, fast.short, fast.factor) == pytest.approx((HOUR, 300, 14.4))
    assert (middle.long, middle.short, middle.factor) == pytest.approx((6 * HOUR, 1800, 6))
    assert (slow.long, slow.short, slow.factor) == pytest.approx((3 * DAY, 6 * HOUR, 1))


def test_pairs_of_another_window_use_the_same_parts_of_the_budget() -> None:
    for month, week in zip(pairs(30 * DAY), pairs(7 * DAY), strict=True):
        assert week.factor == month.factor
        assert week.long / (7 * DAY) == pytest.approx(month.long / (30 * DAY))


def test_rate_of_one_uses_the_budget_in_the_window() -> None:
    assert rate(0.999, Counts(100_000, 100)) == pytest.approx(1)
    assert rate(0.999, Counts(1000, 1000)) == pytest.approx(1000)
    assert rate(0.999, Counts()) == 0


def fake(long: Counts, short: Counts) -> dict[float, Counts]:
    table = {}
    for pair in pairs(30 * DAY):
        table[pair.long], table[pair.short] = long, short
    # 6 h is the short span of one pair and the long one of another: the later entry must not hide it
    table[6 * HOUR] = long
    return table


def test_fires_when_both_spans_burn() -> None:
    counts = fake(Counts(100_000, 2000), Counts(10_000, 200))
    result = burning(0.999, 30 * DAY, counts.__getitem__)
    assert [b.fires for b in result] == [True, True, True]
    assert [b.certain for b in result] == [True, True, True]
    assert result[0].long == pytest.approx(20)
    assert result[0].pair == Pair(HOUR, 300.0, pytest.approx(14.4))


def test_is_silent_when_it_is_over() -> None:
    counts = fake(Counts(100_000, 2000), Counts(10_000, 0))
    assert [b.fires for b in burning(0.999, 30 * DAY, counts.__getitem__)[:2]] == [False, False]


def test_is_silent_when_it_just_began() -> None:
    counts = fake(Counts(100_000, 50), Counts(1000, 50))
    assert not any(b.fires for b in burning(0.999, 30 * DAY, counts.__getitem__))


def test_single_error_on_little_traffic_fires_but_is_not_certain() -> None:
    counts = fake(Counts(36, 1), Counts(3, 1))
    result = burning(0.999, 30 * DAY, counts.__getitem__)
    assert result[0].fires
    assert not result[0].certain


def test_factor_beyond_all_requests_never_fires() -> None:
    # given an objective so low that 14.4 times the allowed share is more than everything
    counts = fake(Counts(1000, 1000), Counts(100, 100))
    first = burning(0.9, 30 * DAY, counts.__getitem__)[0]
    assert first.long == pytest.approx(10)
    assert not first.fires


def test_budget_is_spent_and_left() -> None:
    counts = Counts(1_000_000, 250)
    assert budget_spent(0.999, counts) == pytest.approx(0.25)
    assert budget_left(0.999, counts) == pytest.approx(750)
    assert budget_left(0.999, Counts(1000, 5)) == 0
    assert budget_spent(0.999, Counts()) == 0


def test_release_gets_its_share_and_never_more_than_is_left() -> None:
    assert release_budget(0.999, Counts(1_000_000, 250)) == pytest.approx(20)
    assert release_budget(0.999, Counts(1_000_000, 995), 0.02) == pytest.approx(5)
    assert release_budget(0.999, Counts(1_000_000, 2000)) == 0


def test_nonsense_is_refused() -> None:
    for objective in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError):
            rate(objective, Counts(1, 0))
    for window in (0.0, float("inf")):
        with pytest.raises(ValueError):
            pairs(window)
    with pytest.raises(ValueError):
        Counts(1, 2)
    with pytest.raises(ValueError):
        release_budget(0.9, Counts(1, 0), 1.5)
