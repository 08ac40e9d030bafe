"""The ramp: bounds, what is charged to the budget, and the next weight."""

from __future__ import annotations

from dataclasses import replace
from math import exp, fsum, inf, log1p, nan

import numpy as np
import pytest
from scipy.stats import poisson

from weir.stats.ramp import Exposure, Limits, least_budget, next_weight, upper_excess, upper_share

MOVE = {"rate": 100.0, "reaction": 60.0, "base": 0.01}


@pytest.mark.parametrize(
    ("total", "bad", "bound"), [(100, 0, 0.036889), (1000, 0, 0.005394), (100, 3, 0.112332), (10_000, 100, 0.013650)]
)
def test_upper_bound_of_a_share(total: int, bad: int, bound: float) -> None:
    assert upper_share(total, bad) == pytest.approx(bound, abs=5e-7)


@pytest.mark.parametrize(("total", "bad"), [(0, 0), (1, 1), (3, 3), (10**12, 10**12)])
def test_upper_bound_is_one_when_nothing_speaks_against_it(total: int, bad: int) -> None:
    assert upper_share(total, bad) == 1.0


def test_upper_bound_closes_in_on_the_share() -> None:
    bounds = [upper_share(10**k, 10**k // 100) for k in range(2, 13)]
    assert bounds == sorted(bounds, reverse=True)
    assert 0.01 < bounds[-1] < 0.010001


def test_dispersion_widens_the_bound() -> None:
    assert upper_share(3000, 30, dispersion=3) == pytest.approx(upper_share(1000, 10))
    assert upper_share(3000, 30, dispersion=3) > upper_share(3000, 30)


def test_upper_bound_holds_at_all_times_at_once() -> None:
    # given 400 candidates with a 2 % share of bad requests, looked at after each of 60 windows
    rng = np.random.default_rng(11)
    bad = rng.binomial(50, 0.02, (400, 60)).cumsum(axis=1)
    misses = sum(any(upper_share(50 * (i + 1), int(x)) < 0.02 for i, x in enumerate(row)) for row in bad)
    # then at most 5 % are ever above their bound; 31 or more of 400 would have probability 0.01
    assert misses <= 30


def walk(rng: np.random.Generator, share: float, factor: float, per_window: int) -> tuple[list[float], list[float]]:
    """Excess in truth and as charged, after each window of a ladder, with a baseline that moves."""
    exposure, harmless = Exposure(), 0.0
    true, charged = [], []
    for weight in (0.01, 0.05, 0.25, 0.5):
        for _ in range(8):
            requests = int(rng.binomial(per_window, weight))
            base = share * float(rng.lognormal(0, 0.3))
            stable_bad = int(rng.binomial(per_window - requests, base))
            bad = int(rng.binomial(requests, min(1.0, base * factor)))
            exposure = exposure.add(per_window - requests, stable_bad, requests, bad)
            harmless += requests * base
            true.append(exposure.bad - harmless)
            charged.append(upper_excess(exposure))
    return true, charged


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("per_window", [30, 300, 3000])
def test_charge_is_above_the_true_excess_at_all_times(factor: float, per_window: int) -> None:
    rng = np.random.default_rng(5)
    walks = [walk(rng, 0.01, factor, per_window) for _ in range(100)]
    misses = sum(any(t > c + 1e-9 for t, c in zip(true, charged, strict=True)) for true, charged in walks)
    # 11 or more of 100 would have probability 0.01 at the promised 5 %
    assert misses <= 10


def equal_traffic(bad: int, stable_bad: int) -> Exposure:
    """One window in which both arms have the same number of requests."""
    return Exposure().add(10**9, stable_bad, 10**9, bad)


def test_charge_follows_a_real_excess() -> None:
    # given 1,000 excess bad requests against 1,000 that stable would have had
    charged = upper_excess(equal_traffic(2000, 1000))
    # then the charge is the estimate and a few standard deviations of stable's count
    assert 1000 < charged < 1000 + 4 * 1000**0.5


def test_baseline_of_much_stable_traffic_is_credited_almost_whole() -> None:
    # given 20 bad requests at 1 % of the traffic where stable's 1,980 would have made 20
    charged = upper_excess(Exposure().add(990_000, 1980, 10_000, 20))
    assert 0 < charged < 4 * (20 * 0.0101) ** 0.5


def test_small_counts_of_stable_are_credited_little() -> None:
    assert upper_excess(Exposure()) == 0.0
    assert upper_excess(equal_traffic(3, 0)) == 3.0
    assert 2.9 < upper_excess(equal_traffic(3, 2)) <= 3.0
    assert upper_excess(Exposure().add(0, 0, 100, 7)) == 7.0


def test_charge_is_never_negative() -> None:
    assert upper_excess(equal_traffic(1, 10**6)) == 0.0


def test_dispersion_credits_less() -> None:
    exposure = equal_traffic(100, 100)
    assert upper_excess(exposure, dispersion=5) > upper_excess(exposure) + 5


def test_credit_solves_the_mixture() -> None:
    # given 60 bad requests of each arm and the least credit that is not refuted
    credited = 60 - upper_excess(equal_traffic(60, 60))
    rates = [2.0**k for k in range(-8, 6)]
    weights = [3.0 if 1 / 16 <= r <= 1 else 1.0 for r in rates]
    mixture = sum(w * exp(60 * log1p(r) - r * credited) for w, r in zip(weights, rates, strict=True)) / sum(weights)
    assert mixture == pytest.approx(20, rel=1e-7)


def test_mixture_for_the_credit_has_a_mean_of_one() -> None:
    # given stable's bad requests as a Poisson count of mean 4 at scales of 0.3 and 2 with half the mean each
    for rate in (0.1, 1.0):
        mean = fsum(
            float(poisson.pmf(x, 4)) * exp(x * log1p(rate * scale) - rate * scale * 4) * 0.5
            for scale in (0.3, 2.0)
            for x in range(120)
        )
        assert mean == pytest.approx(1)


def test_exposure_survives_its_text_exactly() -> None:
    exposure = Exposure().add(900, 9, 100, 2).add(300, 1, 300, 7)
    assert Exposure.decode(exposure.encode()) == exposure
    assert len(exposure.encode()) <= 160
    for text in ("", "AAAA", "not base64!"):
        with pytest.raises(ValueError):
            Exposure.decode(text)


def test_first_weight_survives_an_outage_within_the_budget() -> None:
    # given nothing known of the candidate
    weight = next_weight(60, 0, bound=1.0, current=0.0, **MOVE)
    # then even if all of its requests fail the next 60 s at 100 a second cost the budget
    assert weight == pytest.approx(60 / (100 * 60 * 0.99))


def test_weight_grows_with_knowledge_but_by_the_factor_at_most() -> None:
    assert next_weight(60, 5, bound=0.02, current=0.01, **MOVE) == pytest.approx(0.05)
    assert next_weight(60, 5, bound=0.02, current=0.2, **MOVE) == 0.5
    assert next_weight(60, 30, bound=0.05, current=0.2, **MOVE) == pytest.approx(30 / (6000 * 0.04))


def test_weight_falls_when_less_is_affordable() -> None:
    assert next_weight(60, 54, bound=0.05, current=0.2, **MOVE) == pytest.approx(6 / 240)


@pytest.mark.parametrize(("budget", "spent"), [(60, 60), (60, 1000), (0, 0), (60, 59.9)])
def test_weight_is_zero_when_the_budget_is_spent_or_too_little_is_left(budget: float, spent: float) -> None:
    assert next_weight(budget, spent, bound=0.05, current=0.2, **MOVE) == 0.0


def test_weight_is_the_largest_when_nothing_is_at_risk() -> None:
    assert next_weight(60, 0, bound=0.02, current=0.4, rate=0.0, reaction=60, base=0.0) == 0.5
    assert next_weight(60, 0, bound=0.005, current=0.3, **MOVE) == 0.5


def test_limits_hold() -> None:
    limits = Limits(smallest=0.02, largest=0.3, factor=2)
    assert next_weight(1e9, 0, bound=1.0, current=0.0, limits=limits, **MOVE) == 0.3
    assert next_weight(1e9, 0, bound=1.0, current=0.05, limits=limits, **MOVE) == 0.1
    assert next_weight(100, 0, bound=1.0, current=0.05, limits=limits, **MOVE) == 0.0


def simulate(rng: np.random.Generator, share: float, budget: float) -> tuple[float, float]:
    """True excess after 80 windows of 30 s at 100 requests a second and a baseline of 1 %, and the last weight."""
    exposure, weight, excess = Exposure(), 0.0, 0.0
    windows: list[tuple[int, int]] = []
    for _ in range(80):
        recent = windows[-20:]
        bound = upper_share(sum(n for n, _ in recent), sum(x for _, x in recent))
        weight = next_weight(budget, upper_excess(exposure), bound=bound, current=weight, **MOVE)
        requests = int(rng.binomial(3000, weight))
        bad, stable_bad = int(rng.binomial(requests, share)), int(rng.binomial(3000 - requests, 0.01))
        exposure = exposure.add(3000 - requests, stable_bad, requests, bad)
        windows.append((requests, bad))
        excess += bad - requests * 0.01
    return excess, weight


@pytest.mark.parametrize("share", [0.015, 0.05, 1.0])
def test_budget_is_a_cap_for_a_bad_candidate_that_nobody_stops(share: float) -> None:
    rng = np.random.default_rng(3)
    ends = [simulate(rng, share, 60.0) for _ in range(40)]
    # then no run costs more than its budget by more than the luck of the last step, and all are stopped
    assert np.mean([excess for excess, _ in ends]) <= 60
    assert sum(excess > 60 + 3 * 60**0.5 for excess, _ in ends) <= 2
    assert all(weight == 0 for _, weight in ends)


def test_good_candidate_reaches_the_largest_weight_within_minutes() -> None:
    rng = np.random.default_rng(4)
    exposure, weight, windows = Exposure(), 0.0, 0
    while weight < 0.5:
        bound = upper_share(6000 * windows, 60 * windows) if windows else 1.0
        weight = next_weight(60, upper_excess(exposure), bound=bound, current=weight, **MOVE)
        requests = int(rng.binomial(3000, weight))
        exposure = exposure.add(3000 - requests, round(0.01 * (3000 - requests)), requests, round(0.01 * requests))
        windows += 1
        assert windows < 10


def test_least_budget_is_the_first_step_or_the_noise() -> None:
    assert least_budget(1e6, 60, 0.0, 0) == pytest.approx(1e6 * 60 * 0.001)
    assert least_budget(10, 60, 0.01, 9000) == pytest.approx(3 * (2 * 90) ** 0.5)


@pytest.mark.parametrize("field", ["budget", "spent", "rate", "reaction", "bound", "base", "current"])
@pytest.mark.parametrize("value", [-1.0, inf, nan])
def test_nonsense_moves_are_refused(field: str, value: float) -> None:
    good = {"budget": 60.0, "spent": 0.0, "bound": 0.5, "current": 0.1, **MOVE}
    with pytest.raises(ValueError):
        next_weight(**{**good, field: value})  # type: ignore[arg-type]


def test_nonsense_counts_are_refused() -> None:
    for arguments in ({"bad": 2}, {"level": 0.0}, {"level": 1.0}, {"dispersion": 0.9}, {"dispersion": inf}):
        with pytest.raises(ValueError):
            upper_share(**{"total": 1, "bad": 0, **arguments})  # type: ignore[arg-type]
    for fields in ({"bad": -1}, {"credits": (1.0,)}, {"credits": (-1.0,) * 14}, {"credits": (inf,) * 14}):
        with pytest.raises(ValueError):
            Exposure(**fields)  # type: ignore[arg-type]
    for counts in ((1, 2, 1, 0), (1, 0, 1, 2), (-1, 0, 1, 0)):
        with pytest.raises(ValueError):
            Exposure().add(*counts)
    for fields in ({"smallest": 0.0}, {"largest": 1.5}, {"smallest": 0.6}, {"factor": 1.0}):
        with pytest.raises(ValueError):
            replace(Limits(), **fields)
    with pytest.raises(ValueError):
        least_budget(-1, 60, 0.01, 100)
