"""The simulated services have the traffic and the noise that they claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.decisions.worlds import PLAN, Effect, World, history, ladder, pods_of, simulate

NOISY = (
    World("independent", 1000),
    World("pods", 1000, pod_sigma=0.3),
    World("bursts", 1000, cluster=5),
    World("sticky", 1000, users_rate=3),
    World("moving", 1000, moving=True),
)


@pytest.mark.parametrize("world", NOISY, ids=lambda world: world.name)
def test_given_any_world_then_traffic_and_mean_rate_are_those_asked_for(world: World) -> None:
    releases = simulate(world, Effect(2.0), 60, seed=1, past=history(replace(world, history="none"), 60, 1))
    weights = releases.weights
    assert releases.candidate.total.sum((0, 2)) == pytest.approx(60 * 30_000 * weights, rel=0.05)
    assert releases.stable.total.sum((0, 2)) == pytest.approx(60 * 30_000 * (1 - weights), rel=0.05)
    mean = releases.base.mean()
    assert releases.stable.bad.sum() / releases.stable.total.sum() == pytest.approx(mean, rel=0.1)
    assert releases.candidate.bad.sum() / releases.candidate.total.sum() == pytest.approx(2 * mean, rel=0.15)


def test_given_bursts_then_counts_vary_as_geometric_clusters_do() -> None:
    past = history(World("bursts", 1000, cluster=5), 50, seed=2)
    bad = past.bad.reshape(-1)
    assert bad.var() / bad.mean() == pytest.approx(2 * 5 - 1, rel=0.1)


def test_given_pods_then_their_rates_stay_related_for_the_correlation_time() -> None:
    past = history(World("pods", 100_000, pod_sigma=0.3, pod_tau=4), 50, seed=3)
    rates = np.log(past.bad / past.total)
    rates -= rates.mean()
    assert rates.std() == pytest.approx(0.3, rel=0.05)
    assert (rates[:, 4:] * rates[:, :-4]).mean() / rates.var() == pytest.approx(np.exp(-1), abs=0.05)


def test_given_a_quiet_history_then_it_has_the_traffic_but_not_the_noise() -> None:
    past = history(World("pods", 1000, pod_sigma=0.5, cluster=5, history="quiet"), 50, seed=4)
    assert past.bad.var() / past.bad.mean() == pytest.approx(1.0, rel=0.05)
    assert past.total.mean() == pytest.approx(3000, rel=0.01)


def test_given_sticky_users_then_few_of_them_make_a_small_arm_vary_more() -> None:
    releases = simulate(World("sticky", 1000, users_rate=3, history="none"), Effect(), 200, seed=5)
    at = PLAN // 4 - 1  # the last window at one percent
    candidate, stable = (a.bad[:, at].sum(1) / a.total[:, at].sum(1) for a in (releases.candidate, releases.stable))
    assert candidate.std() > 5 * stable.std()


def test_given_the_same_seed_then_the_same_counts_and_only_the_effect_differs() -> None:
    world = World("pods", 100, pod_sigma=0.3)
    one, two = (simulate(world, Effect(), 5, seed=6) for _ in range(2))
    worse, other = simulate(world, Effect(2.0), 5, seed=6), simulate(world, Effect(), 5, seed=7)
    assert np.array_equal(one.candidate.bad, two.candidate.bad)
    assert np.array_equal(one.stable.bad, worse.stable.bad)
    assert not np.array_equal(one.stable.bad, other.stable.bad)


def test_given_delayed_harm_then_nothing_is_wrong_before_it() -> None:
    world = World("independent", 1000, history="none")
    fine, leak = simulate(world, Effect(), 5, seed=8), simulate(world, Effect(5.0, starts=30), 5, seed=8)
    assert np.array_equal(fine.candidate.bad[:, :30], leak.candidate.bad[:, :30])
    assert leak.candidate.bad[:, 30:].sum() > 4 * fine.candidate.bad[:, 30:].sum()


def test_given_gaps_then_both_arms_lose_the_same_windows_and_some_are_merged() -> None:
    releases = simulate(World("gaps", 100, gaps=0.2, history="none"), Effect(), 100, seed=9)
    lost = releases.stable.total.sum(2) == 0
    assert lost.mean() == pytest.approx(0.2, abs=0.02)
    assert not releases.candidate.total.sum(2)[lost].any()
    # half of the lost are gone for good, and some of the merged are merged into a lost one
    kept = releases.stable.total.sum() / (100 * 3000 * (1 - ladder()).sum())
    assert kept == pytest.approx(0.885, abs=0.02)


def test_given_late_samples_then_counts_move_but_are_not_lost_except_at_the_end() -> None:
    late = simulate(World("late", 100, late=0.2, history="none"), Effect(), 50, seed=10)
    served, seen = late.served.total.sum(), late.candidate.total.sum()
    assert 0.97 * served < seen < served
    assert not np.array_equal(late.served.total, late.candidate.total)


def test_given_the_ladder_then_each_arm_always_has_a_pod() -> None:
    for pods in (1, 2, 10):
        stable, candidate = pods_of(World("any", 100, pods=pods), ladder())
        assert stable.min() >= 1
        assert candidate.min() >= 1
