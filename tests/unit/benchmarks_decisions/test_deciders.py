"""The other deciders do what their documentation says, and the measures count right."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.decisions.deciders import (
    NEVER,
    argo,
    bonferroni,
    flagger,
    kayenta,
    mann_whitney,
    obrien_fleming,
    oracle,
    z_test,
)
from benchmarks.decisions.measures import mean, measure, median, share
from benchmarks.decisions.worlds import PLAN, Arm, Effect, Releases, World, ladder, simulate

WORLD = World("constructed", 1, pods=1, history="none")


def _releases(total: list[int], bad: list[int]) -> Releases:
    """One release whose candidate counted this, by window."""
    candidate = Arm(np.array(total)[None, :, None], np.array(bad)[None, :, None])
    stable = Arm(np.full((1, len(total), 1), 1000), np.full((1, len(total), 1), 10))
    base = np.full((1, len(total)), 0.01)
    return Releases(WORLD, Effect(), ladder(len(total)), stable, stable, candidate, candidate, base)


def test_given_failed_minutes_then_argo_counts_them_and_flagger_as_well() -> None:
    # minutes (two windows each): bad, fine, no data, bad, exactly at the threshold
    releases = _releases([50, 50, 50, 50, 0, 0, 50, 50, 50, 50], [2, 1, 0, 0, 0, 0, 3, 0, 1, 1])
    assert argo(0, nan_fails=False)(releases) == [1]
    assert argo(1, nan_fails=False)(releases) == [7]
    assert argo(2, nan_fails=False)(releases) == [NEVER]
    assert argo(1, nan_fails=True)(releases) == [5]


def test_given_flagger_then_a_failed_check_is_repeated_at_the_same_weight() -> None:
    always = _releases([50] * 10, [5] * 10)
    assert flagger(5)(always) == [1]  # five bad minutes, all at the first one of the ladder
    never = _releases([50] * 10, [0] * 10)
    assert flagger(5)(never) == [NEVER]
    nothing = _releases([0] * 10, [0] * 10)
    assert flagger(5)(nothing) == [1]


def test_given_clearly_larger_values_then_mann_whitney_sees_them_and_not_equal_ones() -> None:
    rng = np.random.default_rng(1)
    stable, same = (rng.normal(1, 0.1, (50, 40)) for _ in range(2))
    assert np.all(mann_whitney(stable, stable + 1) == 9)
    assert np.mean(mann_whitney(stable, same) < NEVER) < 0.2


def test_given_windows_without_data_then_mann_whitney_leaves_them_out() -> None:
    stable = np.linspace(1, 2, 40)[None, :]
    candidate = np.where(np.arange(40) % 2 == 0, np.nan, stable + 5)
    assert mann_whitney(stable, candidate)[0] < NEVER
    assert mann_whitney(stable, np.full((1, 40), np.nan)) == [NEVER]


def test_given_no_harm_then_each_test_errs_as_often_as_theory_says() -> None:
    releases = simulate(World("calm", 1000, history="none"), Effect(), 800, seed=21)
    wrong = {
        name: float(np.mean(decider(releases) < NEVER))
        for name, decider in {
            "peeked": z_test(0.05),
            "bonferroni": bonferroni,
            "obrien": obrien_fleming,
            "oracle": oracle(releases),
            "kayenta": kayenta,
        }.items()
    }
    assert wrong["peeked"] > 0.2
    assert wrong["bonferroni"] < 0.06
    assert wrong["obrien"] == pytest.approx(0.05, abs=0.025)
    assert wrong["oracle"] == pytest.approx(0.05, abs=0.002)
    assert wrong["kayenta"] < 0.06


def test_given_twice_the_rate_then_the_oracle_is_the_quickest_of_those_that_keep_five_percent() -> None:
    world = World("calm", 1000, history="none")
    null, worse = (simulate(world, Effect(ratio), 300, seed=22) for ratio in (1.0, 2.0))
    best = measure(worse, oracle(null)(worse)).exposed.value
    for decider in (bonferroni, obrien_fleming, kayenta):
        assert measure(worse, decider(worse)).exposed.value > best


def test_given_rollbacks_then_exposure_ends_with_the_window_of_the_rollback() -> None:
    releases = _releases([10] * 6, [1] * 6)
    early, never = measure(releases, np.array([1])), measure(releases, np.array([NEVER]))
    assert (early.failed.value, early.exposed.value, early.exposed_bad.value, early.minutes) == (1.0, 20.0, 2.0, 1.0)
    assert (never.failed.value, never.exposed.value, never.exposed_bad.value) == (0.0, 60.0, 6.0)
    assert np.isnan(never.minutes)
    assert measure(releases, np.array([NEVER]), until=np.array([2])).exposed.value == 30.0


def test_given_few_hits_then_intervals_hold_the_value() -> None:
    none, some = share(0, 100), share(5, 100)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.037, abs=0.001)
    assert (some.low, some.high) == (pytest.approx(0.0215, abs=0.001), pytest.approx(0.1118, abs=0.001))
    values = np.random.default_rng(3).exponential(1.0, 400)
    assert mean(values, np.random.default_rng(4)).low < values.mean() < mean(values, np.random.default_rng(4)).high
    assert median(values).low < np.median(values) < median(values).high
    assert np.isnan(median(np.array([])).value)


def test_given_the_plan_then_the_ladder_has_four_steps() -> None:
    assert list(np.unique(ladder())) == [0.01, 0.05, 0.25, 0.5]
    assert len(ladder()) == PLAN == 40
