"""What holds of the evidence on a ratio whatever the counts, the noise and the pods."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isfinite, isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.stats.noise import Noise, NoiseMeter, assess
from weir.stats.ratio import (
    CAP,
    Arms,
    Ratios,
    RatioState,
    interval,
    log_no_worse,
    log_worse,
    replay,
    start,
    step,
)

PATIENT = settings(deadline=None)
"""Time is measured in benchmarks, not here: a busy machine must not fail a property."""

HUGE = 10**12
QUESTIONS = Ratios(tolerances=(2.0, 6.0, 51.0))
QUIET = Noise()
NOISES = st.builds(
    Noise,
    dispersion=st.floats(1, 1000),
    fast=st.floats(1e-9, 2) | st.just(0.0),
    slow=st.floats(1e-9, 2) | st.just(0.0),
    correlation=st.floats(0, 1),
)


@st.composite
def windows(draw: st.DrawFn, largest: int = HUGE, share: float = 1.0) -> Arms:
    """Counts of one window, ``share`` of them bad at most."""
    totals = [draw(st.integers(0, 2000) | st.integers(0, largest)) for _ in range(2)]
    bad = [draw(st.integers(0, min(int(total * share), 60)) | st.integers(0, int(total * share))) for total in totals]
    return Arms(totals[0], bad[0], totals[1], bad[1], draw(st.integers(1, 20)), draw(st.integers(1, 20)))


def rounding(state: RatioState) -> float:
    """What sums of logs of such size may be off by."""
    return 1e-9 + 1e-12 * max(map(abs, state.log_likelihoods))


@PATIENT
@given(NOISES, st.lists(windows(), max_size=8))
def test_evidence_is_a_number(noise: Noise, seen: list[Arms]) -> None:
    state = replay(QUESTIONS, noise, seen)
    assert all(map(isfinite, state.log_likelihoods))
    assert all(isfinite(value) for effects in state.effects for value in effects)
    assert all(effects[2] >= 0 and effects[3] >= 0 for effects in state.effects)
    assert isfinite(log_worse(state))
    assert all(isfinite(log_no_worse(QUESTIONS, state, tolerance)) for tolerance in (1.5, 2.0, 6.0, 51.0, 1e6))
    found = interval(QUESTIONS, state)
    assert isfinite(found.estimate)
    assert not any(map(isnan, (found.estimate, found.low, found.high)))
    assert found.low <= found.high


@PATIENT
@given(NOISES, st.lists(windows(), max_size=8))
def test_one_window_adds_at_most_the_cap(noise: Noise, seen: list[Arms]) -> None:
    states = [start(QUESTIONS, noise)]
    for arms in seen:
        states.append(step(QUESTIONS, states[-1], arms))
    for before, after in pairwise(states):
        assert log_worse(after) - log_worse(before) <= CAP + rounding(after)
    assert log_worse(states[-1]) <= states[-1].uncapped + rounding(states[-1])


@PATIENT
@given(NOISES, st.lists(windows(), max_size=6))
def test_a_state_comes_back_from_text_exactly(noise: Noise, seen: list[Arms]) -> None:
    state = replay(QUESTIONS, noise, seen)
    text = state.encode()
    assert RatioState.decode(text) == state
    assert len(text) < 2500


@PATIENT
@given(NOISES, st.lists(windows(), max_size=6), st.integers(0, 6))
def test_windows_one_by_one_or_all_at_once_are_the_same(noise: Noise, seen: list[Arms], cut: int) -> None:
    state = start(QUESTIONS, noise)
    for arms in seen:
        state = RatioState.decode(step(QUESTIONS, state, arms).encode())
    assert state == replay(QUESTIONS, noise, seen)
    assert state == replay(QUESTIONS, noise, seen[cut:], replay(QUESTIONS, noise, seen[:cut]))


@PATIENT
@given(windows(10**6, share=0.03), st.integers(1, 50), st.floats(1, 50))
def test_more_bad_requests_of_the_candidate_never_help_it(arms: Arms, more: int, dispersion: float) -> None:
    """For rare bad requests; where many are bad a count also tells how little it varies."""
    noise = Noise(dispersion)
    larger = Arms(
        arms.stable_total + 100 * more,
        arms.stable_bad,
        arms.candidate_total + 100 * more,
        arms.candidate_bad,
        arms.stable_pods,
        arms.candidate_pods,
    )
    worse = Arms(
        larger.stable_total,
        larger.stable_bad,
        larger.candidate_total,
        larger.candidate_bad + more,
        larger.stable_pods,
        larger.candidate_pods,
    )
    base = [Arms(1000, 10, 1000, 10)] * 4
    before, after = (replay(QUESTIONS, noise, [*base, one]) for one in (larger, worse))
    slack = rounding(after)
    assert log_worse(after) >= log_worse(before) - slack
    for tolerance in (1.5, 2.0, 51.0):
        assert log_no_worse(QUESTIONS, after, tolerance) <= log_no_worse(QUESTIONS, before, tolerance) + slack


@PATIENT
@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 40), st.integers(0, 40), st.data())
def test_a_window_split_in_two_is_the_same_evidence(n0: int, n1: int, x0: int, x1: int, data: st.DataObject) -> None:
    """Of independent rare requests, and in halves of equal traffic; the cap is on windows, so it may take less."""
    n0, n1 = n0 * 1000, n1 * 1000
    first = Arms(n0, data.draw(st.integers(0, x0)), n1, data.draw(st.integers(0, x1)))
    second = Arms(n0, x0 - first.stable_bad, n1, x1 - first.candidate_bad)
    whole = replay(QUESTIONS, QUIET, [Arms(2 * n0, x0, 2 * n1, x1)])
    split = replay(QUESTIONS, QUIET, [first, second])
    assert split.log_likelihoods == pytest.approx(whole.log_likelihoods, abs=rounding(whole))
    assert split.uncapped == pytest.approx(whole.uncapped, abs=2 * rounding(whole))


@PATIENT
@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(2, 1000))
def test_traffic_that_is_a_multiple_is_the_same_evidence(n0: int, n1: int, x0: int, x1: int, times: int) -> None:
    """Only the arms' shares of the traffic matter where bad requests are rare."""
    one = Arms(n0 * 10**9, x0, n1 * 10**9, x1)
    more = Arms(n0 * 10**9 * times, x0, n1 * 10**9 * times, x1)
    found, again = (replay(QUESTIONS, QUIET, [arms]) for arms in (one, more))
    assert again.log_likelihoods == pytest.approx(found.log_likelihoods, abs=rounding(found), rel=1e-9)


@st.composite
def arm(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    """One window of stable's pods."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
    result = {}
    for name in names:
        total = draw(st.integers(0, 500) | st.integers(0, HUGE))
        result[name] = total, draw(st.integers(0, min(total, 30)) | st.integers(0, total))
    return result


@PATIENT
@given(st.lists(arm(), max_size=30), NOISES)
def test_noise_is_a_number_and_never_less_than_the_history(seen: list[dict[str, tuple[int, int]]], past: Noise) -> None:
    meter = NoiseMeter()
    for pods in seen:
        meter.add(pods)
    for noise in (assess(past, meter), assess(None, meter), meter.fit() or QUIET, meter.cautious() or QUIET):
        assert noise.dispersion >= 1.0
        assert all(0.0 <= value < inf for value in (noise.fast, noise.slow, noise.correlation))
        assert isfinite(noise.dispersion)
    now = assess(past, meter)
    assert now.dispersion >= past.dispersion
    assert now.fast >= past.fast
    assert now.slow >= past.slow
