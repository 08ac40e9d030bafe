"""The ratio of two rates: known values, exact means under the null, codec, interval, bars, cost of mistakes."""

from __future__ import annotations

from itertools import pairwise
from math import exp, inf, log, sqrt

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import binom, poisson

from weir.stats import ratio as module
from weir.stats import ratiofilter
from weir.stats.noise import Noise
from weir.stats.ratio import (
    CAP,
    FIRST,
    Arms,
    Effect,
    Ratios,
    RatioState,
    bar,
    interval,
    log_no_worse,
    log_worse,
    replay,
    start,
    step,
)

QUIET = Noise()
PODS = Noise(1.0, 0.09, 0.0, exp(-0.25))
BURSTS = Noise(9.0)
ALL = Noise(3.0, 0.04, 0.02, exp(-0.25))
B1 = Arms(2970, 30, 30, 3, 9, 1)
B2 = Arms(2970, 30, 30, 0, 9, 1)
B3 = Arms(2850, 28, 150, 9, 9, 1)
B4 = Arms(2250, 20, 750, 15, 8, 2)

REFERENCE = tuple(1.1 * exp((sqrt(log(1.3)) + (sqrt(log(16)) - sqrt(log(1.3))) * i / 9) ** 2) for i in range(10))
"""The ratios of the reference values."""


def reference(noise: Noise, windows: list[Arms], cap: float = inf) -> float:
    """Evidence of a ratio above 1.1 on the reference's own grid, by the filter alone."""
    grid, values = (1.1, *REFERENCE), [0.0]
    likelihoods = [0.0] * len(grid)
    effects = [ratiofilter.begin(noise, (windows[0].stable_pods, windows[0].candidate_pods))] * len(grid)
    before = None
    for arms in windows:
        pods = (arms.stable_pods, arms.candidate_pods)
        for i, ratio in enumerate(grid):
            now = effects[i] if before is None else ratiofilter.evolve(effects[i], noise, before, pods)
            odds = log(arms.candidate_total / arms.stable_total * ratio)
            counts = arms.candidate_bad / noise.dispersion, arms.stable_bad / noise.dispersion
            gained, effects[i] = ratiofilter.observe(now, odds, *counts)
            likelihoods[i] += gained
        before = pods
        values.append(float(logsumexp(likelihoods[1:])) - log(10) - likelihoods[0])
    return sum(min(cap, after - before) for before, after in pairwise(values))


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (QUIET, (2.957499, -1.448063, 9.388126, 6.148483, 2.156263)),
        (PODS, (2.732909, -1.355615, 6.817913, 3.796736, 1.284428)),
        (BURSTS, (0.283829, -0.357065, 0.856086, 0.445873, 0.445873)),
        (ALL, (0.877982, -0.755800, 2.584984, 1.489219, 1.489219)),
    ],
)
def test_given_the_reference_windows_when_judged_then_the_evidence_is_the_known_one(
    noise: Noise, expected: tuple[float, ...]
) -> None:
    found = [reference(noise, windows) for windows in ([B1], [B2] * 3, [B1, B3], [B3, B4])]
    assert (*found, reference(noise, [B3, B4], cap=2.0)) == pytest.approx(expected, abs=2e-6)


def mixture(blocks: list[tuple[int, int, int, int]], null: float, others: list[float]) -> float:
    """Log e-value of independent requests by the filter: blocks of (requests, bad) of stable and of the candidate."""

    def likelihood(ratio: float) -> float:
        return sum(
            ratiofilter.observe(ratiofilter.UNKNOWN, log(n1 / n0 * ratio), x1, x0)[0] for n0, x0, n1, x1 in blocks
        )

    return float(logsumexp([likelihood(ratio) for ratio in others])) - log(len(others)) - likelihood(null)


def test_given_independent_requests_when_judged_on_other_grids_then_the_evidence_is_the_known_one() -> None:
    def worse(null: float) -> list[float]:
        return [null * exp(u * u) for u in np.linspace(sqrt(log(1.1)), sqrt(log(64)), 28)]

    assert mixture([(2970, 30, 30, 3)], 1.0, worse(1.0)) == pytest.approx(2.895555, abs=1e-6)
    assert mixture([(2970, 30, 30, 0)] * 3, 1.0, worse(1.0)) == pytest.approx(-1.330803, abs=1e-6)
    two = [(2970, 30, 30, 3), (2850, 28, 150, 9)]
    assert mixture(two, 1.0, worse(1.0)) == pytest.approx(9.949871, abs=1e-6)
    assert mixture(two, 1.2, worse(1.2)) == pytest.approx(8.249843, abs=1e-6)
    better = [1.5 * exp(-u * u) for u in np.linspace(0.2, 1.2, 20)]
    assert mixture([(15000, 150, 15000, 150)], 1.5, better) == pytest.approx(4.627940, abs=1e-6)


def uncapped(arms: Arms, noise: Noise = QUIET) -> float:
    questions = Ratios()
    return step(questions, start(questions, noise), arms).uncapped


def better(arms: Arms) -> float:
    """Log e-value of one window against a ratio of at least 1.5; a Pass itself needs more windows than one."""
    questions = Ratios()
    found, null = step(questions, start(questions, QUIET), arms).log_likelihoods, questions.grid.index(1.5)
    return float(logsumexp(found[:null])) - log(null) - found[null]


@pytest.mark.parametrize(("stable", "candidate"), [(30, 5), (15, 15), (5, 30)])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5])
def test_given_any_rates_of_the_null_when_all_outcomes_are_weighed_then_the_mean_is_at_most_one(
    stable: int, candidate: int, share: float
) -> None:
    def mean(ratio: float, evidence: dict[tuple[int, int], float]) -> float:
        weights = binom.pmf(range(stable + 1), stable, share), binom.pmf(range(candidate + 1), candidate, share * ratio)
        return sum(weights[0][x0] * weights[1][x1] * exp(value) for (x0, x1), value in evidence.items())

    outcomes = [(x0, x1) for x0 in range(stable + 1) for x1 in range(candidate + 1)]
    worse = {(x0, x1): uncapped(Arms(stable, x0, candidate, x1)) for x0, x1 in outcomes}
    no_worse = {(x0, x1): better(Arms(stable, x0, candidate, x1)) for x0, x1 in outcomes}
    for ratio in (1.1, 1.0, 0.5):
        assert mean(ratio, worse) <= 1.0 + 1e-9
    for ratio in (1.5, 1.7, 2.0):
        if share * ratio <= 1.0:
            assert mean(ratio, no_worse) <= 1.0 + 1e-9


@pytest.mark.parametrize(("n0", "n1", "share"), [(300, 30, 0.01), (300, 300, 0.02), (2000, 20, 0.001)])
def test_given_poisson_counts_at_the_null_when_all_outcomes_are_weighed_then_the_mean_is_one(
    n0: int, n1: int, share: float
) -> None:
    """At the boundary the mean is exactly 1, so nothing is given away where bad requests are rare."""
    total = 0.0
    for x0 in range(40):
        for x1 in range(40):
            weight = poisson.pmf(x0, n0 * share) * poisson.pmf(x1, n1 * share * 1.1)
            total += weight * exp(uncapped(Arms(n0, x0, n1, x1)))
    assert total == pytest.approx(1.0, abs=1e-6)


def released(dice: np.random.Generator, ratio: float, requests: float = 3000.0) -> list[Arms]:
    """A release at 1 % bad requests: ten windows each at 1, 5, 25 and 50 percent."""
    return [
        Arms(
            int(requests * (1 - weight)),
            int(dice.poisson(requests * (1 - weight) * 0.01)),
            int(requests * weight),
            int(dice.poisson(requests * weight * 0.01 * ratio)),
        )
        for weight in (0.01, 0.05, 0.25, 0.5)
        for _ in range(10)
    ]


def exposed(windows: list[Arms], noise: Noise = QUIET) -> tuple[bool, int]:
    """Whether a release is rolled back, and the candidate's requests until then."""
    questions, requests = Ratios(), 0
    state = start(questions, noise)
    for arms in windows:
        state, requests = step(questions, state, arms), requests + arms.candidate_total
        if log_worse(state) >= bar(0.05, state.windows, strict=False):
            return True, requests
    return False, requests


def test_given_a_ratio_of_exactly_the_margin_when_released_often_then_few_are_rolled_back() -> None:
    dice = np.random.default_rng(5)
    failed = sum(exposed(released(dice, 1.1))[0] for _ in range(800))
    # 3.1 % in 4,000; 800 have a standard error of 0.6 points
    assert failed <= 0.05 * 800


def test_given_a_good_candidate_when_released_often_then_fewer_are_rolled_back() -> None:
    dice = np.random.default_rng(6)
    failed = sum(exposed(released(dice, 1.0))[0] for _ in range(500))
    assert failed <= 0.025 * 500


def test_given_twice_the_errors_when_released_then_they_are_rolled_back_after_few_requests() -> None:
    dice = np.random.default_rng(7)
    found = [exposed(released(dice, 2.0)) for _ in range(300)]
    assert all(failed for failed, _ in found)
    assert float(np.mean([requests for _, requests in found])) <= 1950


def test_given_a_good_candidate_at_half_the_traffic_when_judged_then_it_passes_after_few_bad_requests() -> None:
    dice, questions, needed = np.random.default_rng(8), Ratios(), []
    for _ in range(100):
        state, bad = start(questions, QUIET), 0
        while log_no_worse(questions, state, 1.5) < log(20):
            arms = Arms(500, int(dice.poisson(5)), 500, int(dice.poisson(5)))
            state, bad = step(questions, state, arms), bad + arms.stable_bad + arms.candidate_bad
            assert bad < 5000
        needed.append(bad)
    assert float(np.median(needed)) <= 200


def test_given_a_release_when_judged_before_the_first_look_at_the_pods_then_nothing_is_decided() -> None:
    questions = Ratios()
    bad = replay(questions, QUIET, [Arms(1000, 10, 1000, 500)] * (FIRST - 1))
    assert log_worse(bad) == CAP * (FIRST - 1) < bar(0.05, bad.windows, strict=False)
    more = step(questions, bad, Arms(1000, 10, 1000, 500))
    assert log_worse(more) >= bar(0.05, more.windows, strict=False)
    good = replay(questions, QUIET, [Arms(10000, 1000, 10000, 900)] * (FIRST - 1))
    assert log_no_worse(questions, good, 1.5) <= 0.0
    assert log_no_worse(questions, step(questions, good, Arms(10000, 1000, 10000, 900)), 1.5) > log(20)


def test_given_one_freak_window_when_it_is_added_then_it_alone_never_rolls_back() -> None:
    questions = Ratios()
    calm = replay(questions, QUIET, [Arms(2000, 20, 1000, 10)] * 10)
    freak = step(questions, calm, Arms(2000, 20, 1000, 1000))
    assert log_worse(freak) == pytest.approx(log_worse(calm) + CAP)
    assert freak.uncapped > 100


def test_given_noise_of_any_kind_when_the_same_is_seen_then_the_evidence_is_weaker() -> None:
    windows = [Arms(2850, 28, 150, 5, 9, 1)] * 10
    quiet, *noisy = (
        log_worse(replay(Ratios(), noise, windows)) for noise in (QUIET, PODS, BURSTS, ALL, Noise(1.0, 0.0, 0.05))
    )
    assert all(value < quiet for value in noisy)


def test_given_pods_that_stay_different_when_windows_go_on_then_evidence_does_not_grow_without_end() -> None:
    """One pod of the candidate that is a third worse says little of its version, however long it is watched."""
    slow = Noise(1.0, 0.0, 0.09)
    windows = [Arms(9000, 90, 1000, 14, 9, 1)] * 400
    assert log_worse(replay(Ratios(), QUIET, windows)) > 50
    assert log_worse(replay(Ratios(), slow, windows)) < 3


def test_given_thin_traffic_on_the_candidates_pods_when_pods_differ_then_the_evidence_is_weaker() -> None:
    """A tenth of the users makes a pod differ more than pods do; where traffic is heavy it is not the users."""

    def weight(scale: int, candidate: int) -> float:
        windows = [Arms(2700 * scale, 27 * scale, candidate * scale, 3 * candidate * scale // 100, 9, 1)] * 5
        return log_worse(replay(Ratios(), PODS, windows)) / log_worse(replay(Ratios(), QUIET, windows))

    assert weight(1, 300) > weight(1, 100)
    thin, heavy = (replay(Ratios(), PODS, [Arms(2700 * s, 27 * s, 30 * s, 3 * s, 9, 1)] * 4) for s in (1, 100000))
    assert thin.share < 0.2
    assert heavy.share == pytest.approx(1.0, abs=0.01)
    assert step(Ratios(), thin, Arms(2700, 27, 35, 3, 9, 1)).share == thin.share
    assert step(Ratios(), thin, Arms(2700, 27, 0, 0, 9, 1)).share == thin.share
    assert step(Ratios(), thin, Arms(2700, 27, 300, 3, 9, 1)).share == 1.0


def test_given_pods_of_the_candidate_when_some_are_taken_away_then_what_is_known_of_them_does_not_grow() -> None:
    before = replay(Ratios(), PODS, [Arms(5000, 50, 5000, 80, 5, 5)] * 10)
    fewer = step(Ratios(), before, Arms(9000, 0, 1000, 0, 9, 1))
    more = step(Ratios(), before, Arms(1000, 0, 9000, 0, 5, 10))
    for known, left, added in zip(before.effects, fewer.effects, more.effects, strict=True):
        assert abs(left[0]) == pytest.approx(PODS.correlation * abs(known[0]))
        assert left[2] > known[2]
        assert abs(added[0]) == pytest.approx(PODS.correlation * abs(known[0]) / 2)


def test_given_windows_without_anything_to_compare_when_added_then_only_time_passes() -> None:
    questions = Ratios()
    before = replay(questions, ALL, [B3, B4])
    for empty in (Arms(1000, 10, 0, 0), Arms(0, 0, 10, 1), Arms(1000, 0, 10, 0), Arms(0, 0, 0, 0)):
        after = step(questions, before, empty)
        assert after.log_likelihoods == before.log_likelihoods
        assert (after.windows, after.evidence) == (before.windows, before.evidence)
        assert after.effects != before.effects


def test_given_a_state_when_encoded_then_it_is_short_and_comes_back_exactly() -> None:
    questions = Ratios(tolerances=(2.0, 3.0, 6.0, 11.0, 26.0, 51.0))
    for noise, windows in ((ALL, [B1, B3, B4]), (QUIET, [B1, B4]), (ALL, []), (QUIET, [])):
        state = replay(questions, noise, windows)
        text = state.encode()
        assert len(text) < 2500
        assert RatioState.decode(text) == state
        assert step(questions, RatioState.decode(text), B4) == step(questions, state, B4)


@pytest.mark.parametrize("text", ["", "AAAA", "?", "ä", start(Ratios(), QUIET).encode()[:-4]])
def test_given_another_text_when_decoded_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        RatioState.decode(text)


def test_given_other_ratios_when_a_window_is_added_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="other ratios"):
        step(Ratios(pass_below=2.0), start(Ratios(), QUIET), B1)


@pytest.mark.parametrize(
    "questions",
    [
        {"fail_above": 0.0},
        {"fail_above": inf},
        {"fail_above": float("nan")},
        {"pass_below": 1.0},
        {"pass_below": float("nan")},
        {"tolerances": (1.2,)},
        {"tolerances": tuple(float(t) for t in range(2, 20))},
    ],
)
def test_given_questions_without_sense_when_asked_then_they_are_refused(questions: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Ratios(**questions)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(-1, 0, 0, 0), (10, 1, 10, -1), (10, 1, 10, 1, 0, 1), (10, 1, 10, 1, 1, 0)])
def test_given_impossible_counts_when_a_window_is_made_then_they_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        Arms(*counts)


def test_given_a_tolerance_between_the_ratios_when_asked_then_the_lower_answers() -> None:
    questions = Ratios(tolerances=(2.0, 3.0))
    state = replay(questions, QUIET, [Arms(1000, 20, 1000, 22)] * 10)
    assert log_no_worse(questions, state, 2.05) == log_no_worse(questions, state, 2.0)
    assert log_no_worse(questions, state, 1e9) == log_no_worse(questions, state, max(questions.grid))
    answers = [log_no_worse(questions, state, tolerance) for tolerance in (1.5, 2.0, 3.0)]
    assert answers == sorted(answers)
    for below in (1.49, float("nan")):
        with pytest.raises(ValueError, match="no evidence"):
            log_no_worse(questions, state, below)


def test_given_a_base_when_windows_are_replayed_then_it_goes_on_from_there() -> None:
    questions = Ratios()
    base = replay(questions, ALL, [B1, B3])
    assert replay(questions, ALL, [B4], base) == replay(questions, ALL, [B1, B3, B4])
    wider = Noise(6.0, 0.16, 0.08, ALL.correlation)
    onward = replay(questions, wider, [], base)
    assert onward.evidence == base.evidence
    assert onward.noise == wider
    assert onward.effects[0][2] == pytest.approx(4 * base.effects[0][2])
    assert replay(questions, ALL, [], start(questions, QUIET)).noise == ALL
    assert replay(questions, ALL, [], replay(questions, QUIET, [B1])).effects
    assert not replay(questions, BURSTS, [], replay(questions, QUIET, [B1])).effects


def test_given_the_bar_when_the_plan_is_long_then_it_rises_to_that_of_the_theorem() -> None:
    assert bar(0.05, 1, strict=True) == bar(0.05, 1000, strict=True) == pytest.approx(log(20))
    assert bar(0.05, FIRST - 1, strict=False) > CAP * (FIRST - 1)
    levels = [bar(0.05, windows, strict=False) for windows in range(FIRST, 200)]
    assert levels == sorted(levels)
    assert levels[0] == bar(0.05, 40, strict=False) == pytest.approx(log(20) - 0.55)
    assert levels[-1] == pytest.approx(log(20))


def exact_likelihood(windows: list[Arms], ratio: float) -> float:
    value = 0.0
    for arms in windows:
        share = arms.candidate_total * ratio / (arms.candidate_total * ratio + arms.stable_total)
        value += arms.candidate_bad * log(share) + arms.stable_bad * log(1 - share)
    return value


@pytest.mark.parametrize("bad", [10, 15, 20, 30])
def test_given_counts_when_an_interval_is_asked_for_then_it_is_that_of_the_likelihood(bad: int) -> None:
    questions = Ratios()
    windows = [Arms(3000, 30, 1000, bad)] * 4
    found = interval(questions, replay(questions, QUIET, windows))
    assert found.estimate == pytest.approx(bad / 10, rel=0.05)
    evidence = [exact_likelihood(windows, ratio) for ratio in questions.grid]
    excluded = float(logsumexp(evidence)) - log(len(evidence)) + log(0.05)
    assert exact_likelihood(windows, found.low) == pytest.approx(excluded, abs=0.5)
    if found.high < inf:
        assert exact_likelihood(windows, found.high) == pytest.approx(excluded, abs=0.5)
    assert found.low < bad / 10 < found.high


def test_given_no_evidence_when_an_interval_is_asked_for_then_it_says_nothing() -> None:
    questions = Ratios()
    assert interval(questions, start(questions, ALL)) == Effect(1.0, 0.0, inf)
    nothing_bad = interval(questions, replay(questions, QUIET, [Arms(1000, 10, 1000, 0)] * 5))
    assert (nothing_bad.estimate, nothing_bad.low) == (0.0, 0.0)
    assert nothing_bad.high < 1.0
    far_worse = interval(questions, replay(questions, QUIET, [Arms(1000, 1, 1000, 500)] * 5))
    assert far_worse.high == inf
    assert far_worse.low > 3.0


def test_given_true_ratios_when_intervals_are_asked_for_often_then_they_cover_them() -> None:
    dice, questions = np.random.default_rng(9), Ratios()
    missed = 0
    for _ in range(200):
        windows = released(dice, 1.3)[10:30]
        found = interval(questions, replay(questions, QUIET, windows))
        missed += not found.low <= 1.3 <= found.high
    # 95 % at every moment is more than 95 % at one of them
    assert missed <= 10


def test_given_high_shares_when_twice_as_many_are_bad_then_it_is_seen_in_fewer_requests_than_rare_ones_would_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evidence() -> float:
        return log_worse(replay(Ratios(), QUIET, [Arms(1000, 300, 100, 42)] * 3))

    thinned = evidence()
    monkeypatch.setattr(module, "_thinning", lambda _: 1.0)
    assert thinned > 1.2 * evidence() > 0
