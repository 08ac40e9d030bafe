"""Time to a Pass: against the table of simulated releases and against the real evidence."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log

import numpy as np
import pytest
from scipy.stats import invgauss

from weir.stats.absolute import log_below
from weir.stats.feasibility import Claim, Step, Traffic, Wait, divergence, least_rate, wait
from weir.stats.feasibility import _quantile as quantile
from weir.stats.noise import Noise
from weir.stats.ratio import Arms, Ratios, log_no_worse, start, step

EVENTS = {
    (1.1, 0.05): (17_340, 39_820), (1.1, 0.25): (3_980, 9_486), (1.1, 0.5): (3_630, 7_828),
    (1.2, 0.05): (4_140, 9_164), (1.2, 0.25): (1_220, 2_780), (1.2, 0.5): (820, 2_102),
    (1.5, 0.05): (620, 1_720), (1.5, 0.25): (220, 500), (1.5, 0.5): (180, 420),
    (2.0, 0.05): (220, 500), (2.0, 0.25): (80, 160), (2.0, 0.5): (80, 160),
}  # fmt: skip
"""Bad events of both arms until a Pass, median and 90 % point, by simulation in steps of 20 events."""


@pytest.mark.parametrize("tolerance", [1.1, 1.2, 1.5, 2.0])
@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_agrees_with_simulated_releases(tolerance: float, weight: float) -> None:
    # given one bad event a second
    expected = wait(Traffic(100, 0.01), Claim(tolerance), [Step(weight)])
    median, ninety = EVENTS[tolerance, weight]
    # then within 30 %, and the width of the table's steps
    assert expected.median == pytest.approx(median, rel=0.3, abs=20)
    assert expected.ninety == pytest.approx(ninety, rel=0.3, abs=20)


def test_agrees_with_the_evidence_of_the_gate() -> None:
    # given 150 good releases at 25 %, 20 requests a second, in windows of 10 s
    rng = np.random.default_rng(3)
    ratios, ended = Ratios(), []
    for _ in range(150):
        state, windows = start(ratios, Noise()), 0
        while log_no_worse(ratios, state, 1.5) < log(20) and windows < 2000:
            arms = Arms(150, int(rng.binomial(150, 0.02)), 50, int(rng.binomial(50, 0.02)))
            state, windows = step(ratios, state, arms), windows + 1
        ended.append(10 * windows)
    expected = wait(Traffic(20, 0.02), Claim(1.5), [Step(0.25)])
    assert expected.median == pytest.approx(float(np.median(ended)), rel=0.3)
    assert expected.ninety == pytest.approx(float(np.percentile(ended, 90)), rel=0.3)


@pytest.mark.parametrize(("base", "bound"), [(0.005, 0.01), (0.001, 0.01), (0.0, 0.01), (0.0001, 0.001), (0.1, 0.2)])
def test_absolute_bound_agrees_with_its_evidence(base: float, bound: float) -> None:
    rng, look = np.random.default_rng(4), max(1, round(0.1 / bound))
    ended = []
    for _ in range(200):
        total = bad = 0
        while log_below(bound, total, bad) < log(20):
            total, bad = total + look, bad + int(rng.binomial(look, base))
        ended.append(total)
    # given two requests a second, one of them the candidate's
    expected = wait(Traffic(2, base), Claim(None, bound), [Step(0.5)])
    # then they are where the simulated ones are: in steps of one bad request, so the quantile may jump
    for seconds, part in ((expected.median, 50), (expected.ninety, 90)):
        low, high = np.percentile(ended, [part - 8, part + 6])
        assert 0.85 * low <= seconds <= 1.15 * high


def test_steps_add_up() -> None:
    traffic, claim = Traffic(100, 0.01), Claim(1.5)
    alone = wait(traffic, claim, [Step(0.5)])
    ladder = wait(traffic, claim, [Step(0.01, 300), Step(0.5)])
    # then the first step brings little, yet not nothing
    assert alone.median + 280 < ladder.median < alone.median + 300
    assert wait(traffic, claim, [Step(0.5, 10), Step(0.5, 1), Step(0.5)]).median == pytest.approx(alone.median)
    assert wait(traffic, claim, [Step(0.5, 1e9), Step(0.0)]).median == pytest.approx(alone.median)


def test_whichever_claim_is_proven_first_counts() -> None:
    traffic, plan = Traffic(10, 0.0005), [Step(0.5)]
    ratio, below = wait(traffic, Claim(1.5), plan), wait(traffic, Claim(None, 0.01), plan)
    both = wait(traffic, Claim(1.5, 0.01), plan)
    assert below.median < ratio.median
    assert both == Wait(min(ratio.median, below.median), min(ratio.ninety, below.ninety))


@pytest.mark.parametrize(
    ("traffic", "claim", "plan"),
    [
        (Traffic(0, 0.01), Claim(), [Step(0.5)]),
        (Traffic(100, 0.0), Claim(), [Step(0.5)]),
        (Traffic(100, 0.01), Claim(), [Step(0.0)]),
        (Traffic(100, 0.01), Claim(), []),
        (Traffic(100, 0.01), Claim(None, None), [Step(0.5)]),
        (Traffic(100, 0.02), Claim(None, 0.01), [Step(0.5)]),
        (Traffic(100, 1e-6), Claim(None, 1e-6 * (1 + 2**-52)), [Step(0.5)]),
        (Traffic(100, 0.01, slow=1.0), Claim(), [Step(0.5)]),
    ],
)
def test_what_cannot_be_proven_takes_forever(traffic: Traffic, claim: Claim, plan: list[Step]) -> None:
    assert wait(traffic, claim, plan) == Wait(inf, inf)
    assert wait(traffic, claim, plan).windows(30) == (inf, inf)


def test_noise_takes_longer() -> None:
    quiet, plan = Traffic(1000, 0.01, stable_pods=9), [Step(0.5)]
    alone = wait(quiet, Claim(), plan)
    assert wait(replace(quiet, dispersion=9), Claim(), plan).median == pytest.approx(9 * alone.median)
    assert wait(replace(quiet, fast=0.09, correlation=0.8), Claim(), plan).median > 10 * alone.median
    assert wait(replace(quiet, slow=0.005), Claim(), plan).median > alone.median


def test_high_base_shares_prove_faster_than_their_count() -> None:
    low, high = wait(Traffic(100, 0.01), Claim(), [Step(0.5)]), wait(Traffic(100, 0.4), Claim(), [Step(0.5)])
    assert high.median == pytest.approx(low.median * 0.01 / 0.99 / (0.4 / 0.6))


def test_least_rate_just_meets_the_deadline() -> None:
    traffic, claim, plan = Traffic(1, 0.01), Claim(), [Step(0.05, 300), Step(0.5)]
    rate = least_rate(traffic, claim, plan, 3600)
    assert wait(replace(traffic, rate=rate), claim, plan).ninety == pytest.approx(3600, rel=1e-6)
    assert least_rate(Traffic(1, 0.0), claim, plan, 3600) == inf
    assert least_rate(Traffic(1, 0.01, fast=0.2, correlation=0.9), claim, plan, 600) == inf


def test_windows_are_whole() -> None:
    assert Wait(61.0, inf).windows(30) == (3, inf)


@pytest.mark.parametrize("shape", [0.3, 2.0, 20.0, 200.0])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_law_of_the_time_is_the_inverse_gaussian(shape: float, part: float) -> None:
    assert quantile(part, shape) == pytest.approx(float(invgauss(1 / shape, scale=shape).ppf(part)), rel=1e-6)


def test_divergence() -> None:
    assert divergence(0.5, 0.6) == pytest.approx(0.5 * log(0.5 / 0.6) + 0.5 * log(0.5 / 0.4))
    assert divergence(0.0, 0.1) == pytest.approx(-log(0.9))
    assert divergence(0.3, 0.3) == 0
    assert divergence(0.3, 0.0) == inf
    assert exp(-divergence(1.0, 0.25)) == pytest.approx(0.25)


def test_nonsense_is_refused() -> None:
    for field, value in (
        ("rate", -1), ("rate", inf), ("base", 1.0), ("dispersion", 0.5), ("fast", -1), ("slow", -1),
        ("correlation", 1.0), ("window", 0.0), ("stable_pods", 0), ("candidate_pods", 0),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            replace(Traffic(1, 0.01), **{field: value})
    for claim in ({"tolerance": 1.0}, {"accept_below": 0.0}, {"alpha": 0.0}):
        with pytest.raises(ValueError):
            Claim(**claim)
    for weight, seconds in ((1.0, 1.0), (-0.1, 1.0), (0.1, -1.0)):
        with pytest.raises(ValueError):
            Step(weight, seconds)
