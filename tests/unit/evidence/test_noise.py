"""Noise of stable's pods over a release: every window once, across stages, gaps and merged windows."""

from __future__ import annotations

import random

import pytest

from weir.evidence.checkpoint import Amounts
from weir.evidence.noise import GateNoise, ReleaseMemory, measured
from weir.stats.noise import ASSUMED, TRUSTED_WINDOWS, Noise, NoiseMeter, assess

Pods = dict[str, Amounts]


def windows(count: int, seed: int = 1) -> list[Pods]:
    """Three pods, one of them with twice the share of bad requests."""
    dice = random.Random(seed)
    shares = {"a": 0.02, "b": 0.02, "c": 0.04}
    return [{pod: (500, sum(dice.random() < p for _ in range(500))) for pod, p in shares.items()} for _ in range(count)]


def meter(taken: list[Pods]) -> NoiseMeter:
    found = NoiseMeter()
    for pods in taken:
        found.add({pod: (round(a[0]), round(a[1])) for pod, a in pods.items()})
    return found


def fill(noise: GateNoise, taken: list[Pods], start: float = 0.0) -> None:
    for i, pods in enumerate(taken):
        noise.add(start + 10 * i, start + 10 * (i + 1), pods)


def test_given_nothing_known_when_asked_then_the_noise_is_assumed_and_nothing_is_remembered() -> None:
    noise = GateNoise(10)
    assert (noise.now(), noise.measured()) == (ASSUMED.rounded(), None)
    fill(noise, windows(TRUSTED_WINDOWS - 1))
    assert noise.measured() is None


def test_given_windows_of_the_release_when_asked_then_they_are_weighed_against_what_was_known() -> None:
    taken, before = windows(20), Noise(1.2, 0.01, 0.0, 0.8)
    remembered, history = GateNoise(10, {None: Noise(1.1)}), GateNoise(10, {None: Noise(1.1)})
    history.learn({None: before})
    for noise in (remembered, history):
        fill(noise, taken)
    assert remembered.now() == assess(Noise(1.1), meter(taken))
    assert history.now() == assess(before, meter(taken))
    assert history.measured() == meter(taken).fit() is not None


def test_given_a_history_that_comes_late_when_asked_then_it_counts_at_once() -> None:
    noise = GateNoise(10)
    assert noise.now() == ASSUMED.rounded()
    noise.learn({None: Noise()})
    assert noise.now() == Noise()


def test_given_a_restart_when_asked_then_it_is_no_less_than_what_was_reckoned_with() -> None:
    reckoned = Noise(2.5, 0.0, 0.3, 0.5)
    alone = GateNoise(10, reckoned={None: reckoned})
    assert alone.now() == reckoned
    alone.learn({None: Noise(1.1, 0.2, 0.1, 0.9)})
    assert alone.now() == Noise(2.5, 0.2, 0.3, 0.9)
    assert GateNoise(10, {None: Noise(4.0)}, {None: reckoned}).now() == Noise(4.0, 0.0, 0.3, 0.5)


def test_given_a_fit_when_one_more_window_comes_then_it_waits_for_the_next() -> None:
    noise, taken = GateNoise(10), windows(16)
    fill(noise, taken[:14])
    before = noise.now()
    fill(noise, [{"a": (500, 400), "b": (500, 0), "c": (500, 0)}], start=140)
    assert noise.now() == before
    fill(noise, taken[15:], start=150)
    assert noise.now() != before


def test_given_a_window_that_was_taken_when_it_comes_again_then_it_is_not_taken_twice() -> None:
    noise, taken = GateNoise(10), windows(TRUSTED_WINDOWS)
    fill(noise, taken)
    fill(noise, taken)
    assert noise.measured() == meter(taken).fit() is not None


def test_given_a_pause_between_stages_when_windows_go_on_then_they_are_as_far_apart_as_they_were() -> None:
    noise, taken = GateNoise(10), windows(20)
    fill(noise, taken[:10])
    fill(noise, taken[10:], start=150)
    assert noise.measured() == meter([*taken[:10], {}, {}, {}, {}, {}, *taken[10:]]).fit() is not None


def test_given_a_window_over_a_long_pause_when_taken_then_it_is_a_gap() -> None:
    noise, taken = GateNoise(10), windows(20)
    fill(noise, taken[:10])
    noise.add(100, 150, {"a": (5000, 4000), "b": (5000, 0)})
    fill(noise, taken[10:], start=150)
    assert noise.measured() == meter([*taken[:10], {}, {}, {}, {}, {}, *taken[10:]]).fit() is not None


def test_given_a_window_twice_as_wide_when_taken_then_the_next_is_two_windows_later() -> None:
    noise, taken = GateNoise(10), windows(20)
    fill(noise, taken[:10])
    noise.add(100, 120, taken[10])
    fill(noise, taken[11:], start=120)
    assert noise.measured() == meter([*taken[:11], {}, *taken[11:]]).fit() is not None


def test_given_a_distribution_when_metered_then_only_edges_that_can_tell_versions_apart() -> None:
    noise = GateNoise(10)
    edges = (0.01, 0.1, 1.0, 10.0)
    for i in range(TRUSTED_WINDOWS):
        noise.add(10 * i, 10 * i + 10, dict.fromkeys(("a", "b"), (500, 499, 200, 10, 0)), edges)
    assert [edge for edge in edges if noise.measured(edge) is not None] == [0.1, 1.0]
    assert noise.measured() is None


def test_given_requests_that_trickle_when_an_edge_has_been_seen_often_enough_then_it_is_metered() -> None:
    noise = GateNoise(10)
    for i in range(60):
        noise.add(10 * i, 10 * i + 10, dict.fromkeys(("a", "b"), (4, 2)), (0.1,))
    assert noise.measured(0.1) is not None


def test_given_past_windows_when_measured_then_it_is_the_meters_own_fit() -> None:
    taken = windows(60)
    assert measured((pods, ()) for pods in taken) == {None: meter(taken).fit()}
    assert measured([({"a": (10, 1)}, ())]) == {}


def test_given_stages_of_one_release_when_asked_then_it_is_the_same_noise_and_another_width_is_another() -> None:
    memory = ReleaseMemory(3, {"errors": {None: Noise(3.0)}})
    noise = memory.noise("errors", "q", 10.0)
    assert noise is memory.noise("errors", "q", 10.0)
    assert noise is not memory.noise("errors", "q", 30.0)
    assert (noise.now(), memory.noise("slow", "q", 10.0).now()) == (Noise(3.0), ASSUMED.rounded())


@pytest.mark.parametrize("pods", [{}, {"a": (0, 0)}, {"a": (), "b": (5, 1)}])
def test_given_windows_that_say_nothing_when_taken_then_there_is_no_noise(pods: Pods) -> None:
    noise = GateNoise(10)
    fill(noise, [pods] * 12)
    assert (noise.now(), noise.measured()) == (ASSUMED.rounded(), None)


def test_given_edges_that_are_compared_when_they_are_chosen_then_only_they_are_metered() -> None:
    memory, edges = ReleaseMemory(1), (0.1, 0.2, 0.3, 0.4)
    noise = memory.noise("slow", "q", 10.0)
    for i in range(2 * TRUSTED_WINDOWS):
        if i == 4:
            memory.compared = {"slow": (0.2, 0.4)}
            assert memory.noise("slow", "q", 10.0) is noise
        noise.add(10 * i, 10 * i + 10, dict.fromkeys(("a", "b"), (500, 200, 100, 10, 0)), edges)
    assert [edge for edge in edges if noise.measured(edge) is not None] == [0.2]
