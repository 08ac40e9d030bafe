"""The noise of stable's pods: known values, what is seen of bursts and of pods, and what is made of too little."""

from __future__ import annotations

from math import exp, inf, sqrt

import numpy as np
import pytest

from weir.stats import noisefit
from weir.stats.noise import ASSUMED, MIN_BAD, MIN_WINDOWS, TRUSTED_WINDOWS, Noise, NoiseMeter, assess

Counts = list[list[int]]

SPARSE = [[1, 0, 2], [0, 1, 1], [3, 1, 0], [1, 1, 1], [0, 0, 4], [2, 1, 0]]
UNEQUAL = [[5, 1, 1], [4, 2, 1], [6, 1, 0], [5, 0, 2], [4, 1, 1], [6, 2, 1], [5, 1, 0], [4, 1, 2]]


def metered(bad: Counts, requests: int = 100) -> NoiseMeter:
    meter = NoiseMeter()
    for window in bad:
        meter.add({f"pod-{number}": (requests, count) for number, count in enumerate(window)})
    return meter


def simulated(
    windows: int,
    *,
    seed: int = 1,
    pods: int = 10,
    mean: float = 30.0,
    sigma: float = 0.0,
    fixed: float = 0.0,
    cluster: float = 1.0,
) -> Counts:
    """Bad events of pods whose log rates wander (sigma, correlated over 4 windows) or stay (fixed), in clusters."""
    dice = np.random.default_rng(seed)
    rho = exp(-0.25)
    wandering, staying = dice.standard_normal(pods), fixed * dice.standard_normal(pods)
    result = []
    for _ in range(windows):
        wandering = rho * wandering + sqrt(1 - rho * rho) * dice.standard_normal(pods)
        clusters = dice.poisson(mean / cluster * np.exp(sigma * wandering + staying))
        sizes = [int(dice.geometric(1 / cluster, int(count)).sum()) for count in clusters]
        result.append(sizes)
    return result


def test_given_the_reference_counts_when_fitted_then_the_noise_is_the_known_one() -> None:
    sparse, unequal = metered(SPARSE), metered(UNEQUAL)
    assert sparse.fit(margin=1) == Noise(pytest.approx(2.095863, abs=1e-6), 0.0, 0.0, pytest.approx(0.367879, abs=1e-6))
    assert sparse.fit(margin=0, shrinkage=0) == Noise(pytest.approx(1.578947, abs=1e-6), 0, 0, pytest.approx(exp(-1)))
    assert unequal.fit(margin=1) == Noise(1.0, 0.0, pytest.approx(0.868537, abs=1e-6), pytest.approx(exp(-1)))
    assert unequal.fit(margin=0, shrinkage=0) == Noise(
        1.0, 0, pytest.approx(0.906768, abs=1e-6), pytest.approx(exp(-1))
    )


def test_given_independent_requests_when_fitted_then_hardly_any_noise_is_seen() -> None:
    noise = metered(simulated(240), requests=3000).fit()
    assert noise is not None
    assert noise.dispersion == pytest.approx(1.0, abs=0.15)
    assert noise.fast + noise.slow < 0.005


def test_given_bursts_when_fitted_then_they_are_the_dispersion_and_not_the_pods() -> None:
    noise = metered(simulated(240, cluster=5.0), requests=3000).fit(margin=0)
    assert noise is not None
    # clusters of geometric size with mean m: variance over mean is 2m - 1
    assert noise.dispersion == pytest.approx(9.0, rel=0.15)
    assert noise.fast + noise.slow < 0.02


def test_given_pods_that_wander_when_fitted_then_their_variance_and_its_memory_are_seen() -> None:
    noise = metered(simulated(240, sigma=0.3), requests=3000).fit(margin=0)
    assert noise is not None
    assert noise.fast == pytest.approx(0.09, rel=0.35)
    assert 0.6 <= noise.correlation <= 0.9
    assert noise.dispersion < 2.2


def test_given_pods_that_stay_different_when_fitted_then_that_is_the_slow_part() -> None:
    noise = metered(simulated(240, fixed=0.3, pods=20), requests=3000).fit(margin=0)
    assert noise is not None
    assert noise.slow == pytest.approx(0.09, rel=0.6)
    assert noise.fast < noise.slow / 4


def test_given_bursts_that_straddle_windows_when_fitted_then_they_are_not_taken_for_pods() -> None:
    dice = np.random.default_rng(3)
    whole = np.array(simulated(241, cluster=8.0, seed=4))
    first = dice.binomial(whole, 0.5)
    straddling = (first[1:] + (whole - first)[:-1]).tolist()
    noise = metered(straddling, requests=3000).fit()
    assert noise is not None
    assert noise.fast == 0.0
    assert noise.dispersion > 10.0


@pytest.mark.parametrize(
    ("pods", "windows"),
    [
        ({"a": (1000, 3), "b": (1000, 3)}, MIN_WINDOWS - 1),
        ({"a": (1000, 0), "b": (1000, 0)}, 50),
        ({"a": (1000, 30)}, MIN_WINDOWS - 1),
        ({"a": (1000, 0)}, 50),
        ({}, 50),
    ],
)
def test_given_too_little_when_fitted_then_nothing_is_said(pods: dict[str, tuple[int, int]], windows: int) -> None:
    meter = NoiseMeter()
    for _ in range(windows):
        meter.add(pods)
    assert meter.fit() is None
    assert meter.cautious() is None
    assert meter.beyond(ASSUMED) == ASSUMED


def test_given_just_enough_when_fitted_then_there_is_a_noise() -> None:
    meter = NoiseMeter()
    for _ in range(MIN_WINDOWS):
        meter.add({"a": (1000, MIN_BAD), "b": (1000, 0)})
    assert meter.fit() is not None
    assert (meter.windows, meter.pods, meter.bad) == (MIN_WINDOWS, 2, MIN_BAD * MIN_WINDOWS)


def test_given_pods_in_any_order_when_fitted_then_it_makes_no_difference() -> None:
    forward, backward = NoiseMeter(), NoiseMeter()
    for window in simulated(40, sigma=0.3):
        pods = {f"pod-{number}": (3000, count) for number, count in enumerate(window)}
        forward.add(pods)
        backward.add(dict(reversed(pods.items())))
    assert forward.fit() == backward.fit()


def test_given_pods_that_come_and_go_when_fitted_then_only_the_same_pod_is_compared_with_itself() -> None:
    meter = NoiseMeter()
    for number, window in enumerate(simulated(120, fixed=0.3, pods=4)):
        generation = number // 10
        meter.add({f"pod-{generation}-{pod}": (3000, count) for pod, count in enumerate(window)})
    replaced = meter.fit(margin=0)
    kept = metered(simulated(120, fixed=0.3, pods=4), requests=3000).fit(margin=0)
    assert replaced is not None
    assert kept is not None
    # differences between pods are seen over ten windows instead of all, and stay what they are
    assert replaced.fast + replaced.slow == pytest.approx(kept.fast + kept.slow, rel=0.3)


def test_given_a_gap_when_windows_go_on_then_lags_are_counted_over_it() -> None:
    with_gap, without = NoiseMeter(), NoiseMeter()
    windows = simulated(30, sigma=0.4)
    for number, window in enumerate(windows):
        pods = {f"pod-{pod}": (3000, count) for pod, count in enumerate(window)}
        with_gap.add(pods)
        without.add(pods)
        if number == 14:
            for _ in range(200):  # longer than any lag
                with_gap.add({})
    assert with_gap.windows == without.windows == 30
    assert with_gap.fit() != without.fit()


@pytest.mark.parametrize("noise", [{"cluster": 5.0}, {"sigma": 0.5}, {"fixed": 0.5}])
def test_given_a_quiet_history_when_the_release_is_noisy_then_ten_windows_widen_it(noise: dict[str, float]) -> None:
    quiet, live = Noise(), metered(simulated(10, **noise), requests=3000)
    found = assess(quiet, live)
    assert found.dispersion > 4.0 or found.fast + found.slow > 0.05


def test_given_a_history_of_the_same_law_when_the_release_goes_on_then_it_is_rarely_widened() -> None:
    history = metered(simulated(240, cluster=5.0, seed=50), requests=3000).fit()
    assert history is not None
    found = [assess(history, metered(simulated(20, cluster=5.0, seed=s), requests=3000)) for s in range(60, 90)]
    assert sum(noise != history for noise in found) <= 9


def test_given_no_history_when_the_release_is_young_then_noise_is_assumed_and_later_measured() -> None:
    calm = simulated(TRUSTED_WINDOWS)
    young = assess(None, metered(calm[:-1], requests=3000))
    assert young == ASSUMED.rounded()
    grown = assess(None, metered(calm, requests=3000))
    assert grown.dispersion < ASSUMED.dispersion
    assert grown.fast + grown.slow < ASSUMED.fast + ASSUMED.slow


def test_given_no_history_when_the_release_is_young_and_noisy_then_more_than_assumed_is_seen() -> None:
    assert assess(None, metered(simulated(8, cluster=8.0), requests=3000)).dispersion > 2 * ASSUMED.dispersion


@pytest.mark.parametrize(("cluster", "expected"), [(1.0, 1.0), (5.0, 9.0)])
def test_given_one_stable_pod_when_measured_then_bursts_are_seen_over_time_and_pods_are_assumed(
    cluster: float, expected: float
) -> None:
    alone = metered(simulated(240, pods=1, cluster=cluster), requests=3000)
    noise = alone.fit(margin=0)
    assert noise is not None
    assert noise.dispersion == pytest.approx(expected, rel=0.3)
    assert (noise.fast, noise.slow, noise.correlation) == (ASSUMED.fast, ASSUMED.slow, ASSUMED.correlation)
    assert (alone.windows, alone.pods) == (0, 0)


def test_given_one_stable_pod_when_its_baseline_moves_slowly_then_that_is_no_burst() -> None:
    meter = NoiseMeter()
    dice = np.random.default_rng(2)
    for number in range(240):
        meter.add({"a": (3000, int(dice.poisson(30 * (1.5 + np.sin(number / 20)))))})
    noise = meter.fit(margin=0)
    assert noise is not None
    assert noise.dispersion < 1.3


def test_given_one_stable_pod_and_a_gap_when_measured_then_windows_across_it_are_not_compared() -> None:
    meter = NoiseMeter()
    for _ in range(10):
        meter.add({"a": (1000, 100)})
    meter.add({})
    for _ in range(10):
        meter.add({"a": (1000, 10)})
    noise = meter.fit()
    assert noise is not None
    assert noise.dispersion == 1.0


def test_given_one_stable_pod_when_assessed_then_the_history_is_widened_by_bursts_only() -> None:
    bursty, calm = (metered(simulated(20, pods=1, cluster=c), requests=3000) for c in (8.0, 1.0))
    history = Noise(1.0, 0.02, 0.01, 0.8)
    widened = assess(history, bursty)
    assert widened.dispersion > 4.0
    assert (widened.fast, widened.slow, widened.correlation) == (0.02, 0.01, 0.8)
    assert assess(history, calm) == history
    assert assess(None, calm).dispersion < ASSUMED.dispersion
    assert assess(None, metered(simulated(5, pods=1), requests=3000)) == ASSUMED.rounded()


def test_given_few_windows_when_fitted_cautiously_then_nothing_narrower_than_the_plain_fit_is_said() -> None:
    for seed in range(10):
        meter = metered(simulated(12, sigma=0.2, cluster=2.0, seed=seed), requests=3000)
        cautious, plain = meter.cautious(), meter.fit(margin=1)
        assert cautious is not None
        assert plain is not None
        assert cautious.fast + cautious.slow >= plain.fast + plain.slow


def test_given_two_noises_when_widened_then_each_part_is_the_larger() -> None:
    assert Noise(2, 0.1, 0.0, 0.5).wider(Noise(1, 0.2, 0.3, 0.4)) == Noise(2, 0.2, 0.3, 0.5)


def test_given_a_noise_when_rounded_then_it_is_a_little_wider_and_stays_there() -> None:
    noise = Noise(2.34, 0.0456, 1e-9, 0.77)
    rounded = noise.rounded()
    assert noise.wider(rounded) == rounded
    assert rounded.dispersion <= 1.1001 * noise.dispersion
    assert rounded.fast <= 1.1001 * noise.fast
    assert rounded.slow <= 2e-4
    assert rounded.rounded() == rounded
    assert Noise().rounded() == Noise()


@pytest.mark.parametrize("windows", [1, 2, 7, 40])
@pytest.mark.parametrize(("fast", "slow", "correlation"), [(0.1, 0.0, 0.8), (0.0, 0.2, 0.0), (0.1, 0.2, 0.5)])
def test_given_correlated_windows_when_errors_are_inflated_then_it_is_bartletts_sum(
    fast: float, slow: float, correlation: float, windows: int
) -> None:
    total = 1.3
    exact = 1 + 2 * sum(
        (noisefit.curve(fast, slow, correlation, lag) / total) ** 2 * (1 - lag / windows) for lag in range(1, windows)
    )
    assert noisefit.inflation(fast, slow, correlation, total, windows) == pytest.approx(exact, rel=1e-9)
    assert noisefit.inflation(fast, slow, 1.0, total, windows) >= exact - 1e-12


def test_given_an_uncertain_variance_when_kept_then_it_is_nothing_or_nearly_all() -> None:
    assert noisefit.kept(1.0, 1.0, significant=1.5, power=4) == 0.0
    assert noisefit.kept(-1.0, 0.1, significant=1.5, power=4) == 0.0
    assert noisefit.kept(1.0, inf, significant=1.5, power=4) == 0.0
    assert noisefit.kept(1.0, 0.1, significant=1.5, power=4) == pytest.approx(1.0, abs=1e-3)


def test_given_counts_of_any_size_when_metered_then_every_number_is_finite() -> None:
    meter = NoiseMeter()
    for number in range(20):
        meter.add({"a": (10**12, 10**11 + number), "b": (10**12, number), "c": (1, 1)})
    for noise in (meter.fit(), meter.cautious(), meter.beyond(ASSUMED), assess(None, meter)):
        assert noise is not None
        assert all(0.0 <= value < inf for value in (noise.dispersion, noise.fast, noise.slow, noise.correlation))
