"""Edges of latency histograms: which to watch, which to compare, and their evidence together."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isfinite, log

import numpy as np
import pytest
from scipy.stats import norm

from weir.stats.noise import Noise
from weir.stats.order import CLOSE, EdgePair, choose, combine, pair_up, slow
from weir.stats.ratio import Arms, Ratios, log_worse, start, step

CLASSIC = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
NATIVE = tuple(2 ** (k / 8) / 100 for k in range(0, 60))
"""Factor 2^(1/8), which is 1.0905, between edges."""


def histogram(edges: tuple[float, ...], scale: float = 1.0, count: int = 20_000) -> list[int]:
    """Log-normal latencies around 0.1 s."""
    values = scale * np.random.default_rng(1).lognormal(np.log(0.1), 0.5, count)
    return [int(n) for n in np.histogram(values, [0, *edges, np.inf])[0]]


def shares(edges: tuple[float, ...], counts: list[int]) -> list[float]:
    return [slow(counts, k) / sum(counts) for k in range(len(edges))]


def test_edges_near_the_wanted_shares_are_chosen() -> None:
    counts = histogram(NATIVE)
    chosen = choose(NATIVE, counts)
    above = shares(NATIVE, counts)
    assert [above[k] for k in chosen] == [pytest.approx(s, rel=0.3) for s in (0.5, 0.1, 0.02)]


def test_coarse_buckets_give_the_edges_they_have() -> None:
    counts = histogram(CLASSIC)
    assert [CLASSIC[k] for k in choose(CLASSIC, counts)] == [0.1, 0.25]


def test_rare_edges_are_left_out_unless_there_is_no_other() -> None:
    edges = (0.001, 0.0025, 0.005, 0.01)
    assert choose(edges, [9600, 340, 56, 3, 1]) == (0,)
    assert choose(edges, [9990, 7, 2, 1, 0]) == (0,)
    assert choose(edges, [0, 9990, 7, 2, 1]) == (1,)


def test_edges_that_split_nothing_are_left_out() -> None:
    assert choose((1.0, 2.0, 3.0), [0, 10, 5, 0]) == (1,)
    assert choose((1.0, 2.0), [7, 0, 0]) == ()
    assert choose((1.0, 2.0), [0, 0, 7]) == ()
    assert choose((1.0,), [0, 0]) == ()
    assert choose((), [5]) == ()


def test_chosen_edges_are_apart() -> None:
    edges = tuple(0.1 * 1.01**k for k in range(200))
    chosen = choose(edges, histogram(edges))
    assert all(edges[b] / edges[a] >= 1.05 for a, b in pairwise(chosen))


def test_native_buckets_express_a_margin_in_time() -> None:
    step = NATIVE[1] / NATIVE[0]
    assert pair_up(NATIVE, (10,), step) == (EdgePair(10, 11, pytest.approx(step)),)
    assert pair_up(NATIVE, (10, 20), 1.15) == (
        EdgePair(10, 12, pytest.approx(step**2)),
        EdgePair(20, 22, pytest.approx(step**2)),
    )
    assert pair_up(NATIVE, (10,)) == (EdgePair(10, 10, 1.0),)


def test_factor_of_a_pass_is_at_most_the_margin() -> None:
    step = NATIVE[1] / NATIVE[0]
    assert pair_up(NATIVE, (10,), 1.15, at_least=False) == (EdgePair(10, 11, pytest.approx(step)),)
    assert pair_up(NATIVE, (10,), step, at_least=False) == (EdgePair(10, 11, pytest.approx(step)),)
    assert pair_up(NATIVE, (10,), 1.05, at_least=False) == (EdgePair(10, 10, 1.0),)


def test_coarse_or_missing_edges_are_compared_with_themselves() -> None:
    assert pair_up(CLASSIC, (5, 6), 1.2) == (EdgePair(5, 5, 1.0), EdgePair(6, 6, 1.0))
    assert pair_up(NATIVE, (len(NATIVE) - 1,), 1.2) == (EdgePair(len(NATIVE) - 1, len(NATIVE) - 1, 1.0),)
    assert pair_up((-1.0, 0.0, 1.0), (0, 1), 1.2) == (EdgePair(0, 0, 1.0), EdgePair(1, 1, 1.0))


def test_gap_on_the_way_prevents_a_shift() -> None:
    edges = (1.0, 1.1, 1.6, 1.7)
    assert edges[2] / edges[1] > CLOSE
    assert pair_up(edges, (0,), 1.5) == (EdgePair(0, 0, 1.0),)
    assert pair_up(edges, (0,), 1.1) == (EdgePair(0, 1, pytest.approx(1.1)),)


@pytest.mark.parametrize("scale", [1.0, 0.8, 1.09])
def test_candidate_within_the_margin_is_never_above_stable(scale: float) -> None:
    # given a candidate whose every latency is stable's times at most 1.0905, one bucket
    stable, candidate = histogram(NATIVE), histogram(NATIVE, scale)
    for pair in pair_up(NATIVE, choose(NATIVE, stable), 1.09):
        assert slow(candidate, pair.candidate) <= slow(stable, pair.stable)


def test_slower_candidate_is_above_stable_at_a_watched_edge() -> None:
    stable, candidate = histogram(NATIVE), histogram(NATIVE, 1.3)
    pairs = pair_up(NATIVE, choose(NATIVE, stable), 1.09)
    assert any(slow(candidate, p.candidate) > 1.5 * slow(stable, p.stable) for p in pairs)


def windows_until_fail(rng: np.random.Generator, scale: float, margin: float) -> float:
    """Windows of 3,000 requests, a tenth of them the candidate's, until it is proven slower; inf after 30."""
    pairs = pair_up(NATIVE, choose(NATIVE, histogram(NATIVE)), margin)
    law = [np.diff([0, *norm.cdf(np.log(np.array(NATIVE) / (0.1 * s)) / 0.5), 1]) for s in (1.0, scale)]
    ratios = Ratios()
    states = [start(ratios, Noise()) for _ in pairs]
    for window in range(1, 31):
        stable, candidate = ([int(n) for n in rng.multinomial(n, p)] for n, p in zip((2700, 300), law, strict=True))
        states = [
            step(ratios, s, Arms(2700, slow(stable, p.stable), 300, slow(candidate, p.candidate)))
            for s, p in zip(states, pairs, strict=True)
        ]
        if combine([log_worse(s) for s in states]).log_value >= log(20):
            return window
    return inf


def test_slower_candidate_fails_soon_and_one_within_the_margin_hardly_ever() -> None:
    rng = np.random.default_rng(5)
    slower = [windows_until_fail(rng, 1.5, 1.09) for _ in range(20)]
    within = [windows_until_fail(rng, 1.09, 1.09) for _ in range(40)]
    assert max(slower) <= 6
    # 6 or more of 40 would have probability 0.014 at the promised 5 %
    assert sum(map(isfinite, within)) <= 5


def test_evidence_is_the_mean_and_names_the_edge() -> None:
    evidence = combine([log(2), log(37), log(1)])
    assert evidence.log_value == pytest.approx(log(40 / 3))
    assert evidence.pair == 1
    with pytest.raises(ValueError):
        combine([])


def test_slow_counts_what_is_above_the_edge() -> None:
    assert [slow([5, 3, 2, 1], k) for k in range(3)] == [6, 3, 1]


def test_nonsense_is_refused() -> None:
    for edges, counts in (((1.0, 2.0), [1, 2]), ((2.0, 1.0), [1, 1, 1]), ((1.0, inf), [1, 1, 1]), ((1.0,), [1, -1])):
        with pytest.raises(ValueError):
            choose(edges, counts)
    for margin in (0.9, inf):
        with pytest.raises(ValueError):
            pair_up(NATIVE, (1,), margin)
