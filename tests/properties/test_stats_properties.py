"""What holds of the statistics whatever the counts: order, symmetry, no NaN, no overflow, means of at most one."""

from __future__ import annotations

from itertools import pairwise
from math import exp, fsum, isfinite, isnan, log

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from weir.stats.absolute import log_above, log_below
from weir.stats.burn import Counts, budget_left, budget_spent, burning, rate, release_budget
from weir.stats.combine import guilty, log_mean
from weir.stats.feasibility import Claim, Step, Traffic, least_rate, wait
from weir.stats.gauss import Score, interval, log_positive
from weir.stats.means import MeanState, log_no_worse, log_worse
from weir.stats.order import choose, pair_up, slow
from weir.stats.paired import log_no_worse as log_paired_no_worse
from weir.stats.paired import log_worse as log_paired_worse
from weir.stats.ramp import Exposure, Limits, least_budget, next_weight, upper_excess, upper_share
from weir.stats.ripr import Margin, RiprState, alternatives, log_block, project
from weir.stats.sampleratio import log_mismatch

PATIENT = settings(deadline=None)
"""Time is measured in benchmarks, not here: a busy machine must not fail a property."""

HUGE = 10**12
SHARES = st.floats(1e-6, 1 - 1e-6)
DISPERSIONS = st.floats(1, 100)


@st.composite
def counts(draw: st.DrawFn, largest: int = HUGE) -> tuple[int, int]:
    """All requests and bad ones."""
    total = draw(st.integers(0, 1000) | st.integers(0, largest))
    return total, draw(st.integers(0, min(total, 50)) | st.integers(0, total))


def rounding(*amounts: float) -> float:
    """What sums of logs of such counts may be off by."""
    return 1e-9 + 1e-13 * sum(map(abs, amounts))


# --- shares against a bound


@PATIENT
@given(counts(), SHARES | st.sampled_from([0.0, 1.0]), DISPERSIONS)
def test_absolute_evidence_is_a_number(look: tuple[int, int], q: float, dispersion: float) -> None:
    for test in (log_above, log_below):
        assert isfinite(test(q, *look, dispersion))


@PATIENT
@given(counts(), SHARES, st.integers(1, 1000))
def test_absolute_evidence_is_monotone_in_bad_requests(look: tuple[int, int], q: float, more: int) -> None:
    total, bad = look[0] + more, look[1]
    slack = rounding(total)
    assert log_above(q, total, bad + more) >= log_above(q, total, bad) - slack
    assert log_below(q, total, bad + more) <= log_below(q, total, bad) + slack


@PATIENT
@given(counts(), SHARES, SHARES)
def test_absolute_evidence_is_monotone_in_the_bound(look: tuple[int, int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    slack = rounding(look[0])
    assert log_above(low, *look) >= log_above(high, *look) - slack
    assert log_below(low, *look) <= log_below(high, *look) + slack


@PATIENT
@given(counts(10_000), SHARES)
def test_exchanging_good_and_bad_exchanges_the_sides(look: tuple[int, int], q: float) -> None:
    total, bad = look
    assert log_above(q, total, bad) == pytest.approx(log_below(1 - q, total, total - bad), rel=1e-6, abs=1e-6)


@PATIENT
@given(st.integers(1, 60), SHARES, st.floats(0, 1))
def test_absolute_e_values_have_a_mean_of_at_most_one(total: int, q: float, part: float) -> None:
    for test, share in ((log_above, q * part), (log_below, 1 - (1 - q) * part)):
        weights = [float(binom.logpmf(x, total, share)) for x in range(total + 1)]
        assert fsum(exp(w + test(q, total, x)) for x, w in enumerate(weights)) <= 1 + 1e-7


# --- several values


@PATIENT
@given(st.lists(st.floats(-1e13, 1e13), min_size=1, max_size=12), st.data())
def test_mean_lies_between_its_values(values: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(values), max_size=len(values)))
    mean = log_mean(values, weights)
    slack = rounding(*values)
    assert min(values) - slack <= mean <= max(values) + slack
    # never weaker than Bonferroni: the guilty one's part alone
    k = guilty(values, weights)
    assert mean >= values[k] + log(weights[k] / fsum(weights)) - slack
    assert log_mean([v + 1 for v in values], weights) == pytest.approx(mean + 1, abs=slack)


@PATIENT
@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=8).flatmap(lambda v: st.tuples(st.just(v), st.permutations(v)))
)
def test_mean_does_not_depend_on_the_order(lists: tuple[list[float], list[float]]) -> None:
    values, mixed = lists
    assert log_mean(mixed) == pytest.approx(log_mean(values))
    assert mixed[guilty(mixed)] == pytest.approx(max(values))


# --- routing


@PATIENT
@given(st.integers(0, HUGE), st.integers(0, HUGE), st.floats(0.001, 0.999), st.floats(0.001, 0.2), DISPERSIONS)
def test_mismatch_is_symmetric_and_a_number(
    candidate: int, stable: int, weight: float, tolerance: float, dispersion: float
) -> None:
    value = log_mismatch(candidate, stable, weight, tolerance=tolerance, dispersion=dispersion)
    assert isfinite(value)
    other = log_mismatch(stable, candidate, 1 - weight, tolerance=tolerance, dispersion=dispersion)
    assert other == pytest.approx(value, rel=1e-6, abs=rounding(candidate, stable) + 1e-6)


@PATIENT
@given(st.integers(1, 120), SHARES, st.floats(0, 0.1), st.floats(0, 1))
def test_mismatch_has_a_mean_of_at_most_one_within_the_tolerance(
    total: int, weight: float, tolerance: float, place: float
) -> None:
    low, high = max(weight - tolerance, 0.0), min(weight + tolerance, 1.0)
    share = low + (high - low) * place
    mean = fsum(
        exp(float(binom.logpmf(c, total, share)) + log_mismatch(c, total - c, weight, tolerance=tolerance))
        for c in range(total + 1)
        if binom.pmf(c, total, share) > 0
    )
    assert mean <= 1 + 1e-9


@PATIENT
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.2))
def test_more_tolerance_accuses_less(candidate: int, stable: int, weight: float, one: float, other: float) -> None:
    narrow, wide = sorted((one, other))
    more = log_mismatch(candidate, stable, weight, tolerance=narrow)
    less = log_mismatch(candidate, stable, weight, tolerance=wide)
    assert less <= more + rounding(candidate, stable)


# --- ramp


@PATIENT
@given(counts(), DISPERSIONS, st.floats(0.001, 0.5))
def test_upper_share_is_above_what_was_seen(look: tuple[int, int], dispersion: float, level: float) -> None:
    total, bad = look
    bound = upper_share(total, bad, level=level, dispersion=dispersion)
    assert 0 < bound <= 1
    assert bound >= (bad / total if total else 1.0)


@PATIENT
@given(counts(10**6), st.integers(1, 1000))
def test_upper_share_is_monotone(look: tuple[int, int], more: int) -> None:
    total, bad = look
    assert upper_share(total + more, bad + more) >= upper_share(total + more, bad) - 1e-12
    assert upper_share(total + more, bad, level=0.01) >= upper_share(total + more, bad, level=0.05) - 1e-12


@PATIENT
@given(st.lists(st.tuples(counts(), counts()), max_size=5), DISPERSIONS)
def test_charge_is_a_bound_between_the_estimate_and_all_bad_requests(
    windows: list[tuple[tuple[int, int], tuple[int, int]]], dispersion: float
) -> None:
    exposure, baseline = Exposure(), 0.0
    for stable, candidate in windows:
        exposure = exposure.add(*stable, *candidate)
        baseline += stable[1] * candidate[0] / stable[0] if stable[0] else 0.0
    charged = upper_excess(exposure, dispersion=dispersion)
    assert 0 <= charged <= exposure.bad
    assert charged >= (exposure.bad - baseline) * (1 - 1e-9) - rounding(baseline)
    # all bad requests of a further window are charged where stable had none
    more = upper_excess(exposure.add(1000, 0, 1000, 10), dispersion=dispersion)
    assert more <= charged + 10 + rounding(exposure.bad, baseline)
    assert Exposure.decode(exposure.encode()) == exposure


@PATIENT
@given(
    budget=st.floats(0, 1e9),
    spent=st.floats(0, 1e9),
    rate=st.floats(0, 1e7),
    reaction=st.floats(0, 1e5),
    bound=st.floats(0, 1),
    base=st.floats(0, 1),
    current=st.floats(0, 1),
)
def test_next_reaction_time_costs_at_most_what_is_left(
    budget: float, spent: float, rate: float, reaction: float, bound: float, base: float, current: float
) -> None:
    limits = Limits()
    weight = next_weight(
        budget, spent, rate=rate, reaction=reaction, bound=bound, base=base, current=current, limits=limits
    )
    left = max(0.0, budget - spent)
    assert rate * reaction * weight * (bound - base) <= left * (1 + 1e-9)
    assert weight == 0 or limits.smallest <= weight <= limits.largest
    assert current == 0 or weight <= limits.factor * current
    assert left > 0 or weight == 0


@PATIENT
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1), st.floats(0.01, 1))
def test_weight_falls_with_spending_and_with_risk(one: float, other: float, risk: float, more: float) -> None:
    def weight(spent: float, bound: float) -> float:
        return next_weight(1e6, spent, rate=1e4, reaction=60, bound=bound, base=0.01, current=0.1)

    less, most = sorted((one, other))
    assert weight(less, risk) >= weight(most, risk)
    low, high = sorted((risk, more))
    assert weight(less, low) >= weight(less, high)


@PATIENT
@given(st.floats(0, 1e9), st.floats(0, 1e5), st.floats(0, 1), st.floats(0, 1e12))
def test_least_budget_is_a_number(rate: float, reaction: float, base: float, needed: float) -> None:
    assert 0 <= least_budget(rate, reaction, base, needed) < 1e15


# --- objectives


@PATIENT
@given(counts(), counts(), st.floats(0.5, 0.99999), st.floats(60, 1e8))
def test_budgets_are_consistent(long: tuple[int, int], short: tuple[int, int], objective: float, window: float) -> None:
    whole = Counts(*long)
    assert rate(objective, whole) >= 0
    assert budget_left(objective, whole) >= 0
    assert release_budget(objective, whole) <= budget_left(objective, whole)
    if budget_spent(objective, whole) > 1 + 1e-9:
        assert budget_left(objective, whole) == 0
    for look in burning(objective, window, lambda span: Counts(*(long if span > window / 500 else short))):
        assert look.fires or not look.certain
        assert look.pair.short < look.pair.long < window


# --- scores and means

SUMS = st.floats(-1e12, 1e12)


@PATIENT
@given(SUMS, SUMS, st.floats(0, 1e12), st.floats(1e-3, 10))
def test_gaussian_evidence_is_a_number_and_monotone(one: float, other: float, variance: float, tau: float) -> None:
    low, high = sorted((one, other))
    assert log_positive(low, variance, tau) <= log_positive(high, variance, tau) + 2e-7
    assert not isnan(interval(one, variance, tau)[0])


@PATIENT
@given(st.lists(st.tuples(counts(), counts()), max_size=6))
def test_score_is_antisymmetric(windows: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    score, mirrored = Score(), Score()
    for stable, candidate in windows:
        score = score.add(*stable, *candidate)
        mirrored = mirrored.add(*candidate, *stable)
    assert isfinite(score.score)
    assert score.variance >= 0
    assert mirrored.score == pytest.approx(-score.score, rel=1e-6, abs=1e-3)
    assert mirrored.variance == pytest.approx(score.variance)


@PATIENT
@given(st.lists(st.tuples(st.integers(0, HUGE), SUMS, st.integers(0, HUGE), SUMS), max_size=20), st.floats(1e-6, 1e6))
def test_means_are_numbers_and_survive_their_text(windows: list[tuple[int, float, int, float]], margin: float) -> None:
    state = MeanState()
    for window in windows:
        state = state.add(*window)
    assert MeanState.decode(state.encode()) == state
    for sd in (None, 1.0):
        for worse in ("Higher", "Lower"):
            assert isfinite(log_worse(state, worse, margin=margin, sd=sd))
            assert isfinite(log_no_worse(state, worse, margin=margin, sd=sd))


@PATIENT
@given(st.lists(st.tuples(st.integers(1, 100), st.floats(-9, 9), st.integers(1, 100), st.floats(-9, 9)), min_size=1))
def test_exchanging_the_arms_exchanges_higher_and_lower(windows: list[tuple[int, float, int, float]]) -> None:
    state, mirrored = MeanState(), MeanState()
    for n0, s0, n1, s1 in windows:
        state, mirrored = state.add(n0, s0, n1, s1), mirrored.add(n1, s1, n0, s0)
    assert log_worse(mirrored, "Lower", sd=1.0) == pytest.approx(log_worse(state, "Higher", sd=1.0))


# --- linear margins


@PATIENT
@given(SHARES, SHARES, st.integers(1, HUGE), st.integers(1, HUGE), st.floats(0.1, 10), st.floats(-0.5, 0.5))
def test_projection_is_on_the_line_and_inside(
    a: float, b: float, n0: int, n1: int, ratio: float, offset: float
) -> None:
    margin = Margin(ratio, offset)
    assume(max(0.0, -offset / ratio) + 1e-6 < min(1.0, (1 - offset) / ratio))
    p, q = project(margin, a, b, n0, n1)
    assert 0 < p < 1
    assert 0 < q < 1
    assert q == pytest.approx(ratio * p + offset, rel=1e-9, abs=1e-12)


@PATIENT
@given(counts(), counts(), st.floats(0.5, 2), st.floats(-0.05, 0.2))
def test_linear_evidence_is_a_number(
    stable: tuple[int, int], candidate: tuple[int, int], ratio: float, offset: float
) -> None:
    margin = Margin(ratio, offset)
    for worse in (True, False):
        points = alternatives(margin, (0.01, 0.1, 0.3), (1.5, 4), worse=worse)
        state = RiprState((0.0,) * len(points)).add(margin, points, stable, candidate)
        assert isfinite(state.log_value())


@PATIENT
@given(st.integers(1, 8), st.integers(1, 8), SHARES, SHARES, st.floats(0.5, 2), st.floats(0, 1), st.booleans())
def test_linear_e_values_have_a_mean_of_at_most_one(
    n0: int, n1: int, a: float, p0: float, ratio: float, place: float, worse: bool
) -> None:
    margin = Margin(ratio)
    points = alternatives(margin, (a,), (3.0,), worse=worse)
    edge = ratio * p0
    assume(points and (worse or edge <= 1))
    p1 = min(edge, 1.0) * place if worse else edge + (1 - edge) * place
    mean = fsum(
        exp(
            float(binom.logpmf(x0, n0, p0) + binom.logpmf(x1, n1, p1))
            + log_block(margin, points[0], (n0, x0), (n1, x1))
        )
        for x0 in range(n0 + 1)
        for x1 in range(n1 + 1)
    )
    assert mean <= 1 + 1e-7


# --- pairs, edges, time to a pass


@PATIENT
@given(st.integers(0, HUGE), st.integers(0, HUGE), st.floats(0.1, 10), DISPERSIONS)
def test_paired_evidence_is_a_number_and_symmetric(b: int, c: int, ratio: float, dispersion: float) -> None:
    worse = log_paired_worse(b, c, ratio, dispersion)
    assert isfinite(worse)
    mirrored = log_paired_no_worse(c, b, 1 / ratio, dispersion)
    assert mirrored == pytest.approx(worse, rel=1e-6, abs=1e-6 + 1e-3 * (b + c) / HUGE)


@PATIENT
@given(
    st.lists(st.floats(1e-6, 1e6), unique=True, max_size=30).map(sorted),
    st.data(),
    st.floats(1, 3),
    st.booleans(),
)
def test_chosen_edges_split_the_requests(
    edges: list[float], data: st.DataObject, margin: float, at_least: bool
) -> None:
    buckets = data.draw(st.lists(st.integers(0, HUGE), min_size=len(edges) + 1, max_size=len(edges) + 1))
    chosen = choose(edges, buckets)
    assert len(chosen) <= 4
    assert all(0 < slow(buckets, k) < sum(buckets) for k in chosen)
    assert all(edges[b] / edges[a] >= 1.05 * (1 - 1e-6) for a, b in pairwise(chosen))
    for pair in pair_up(edges, chosen, margin, at_least=at_least):
        assert pair.candidate >= pair.stable
        assert pair.factor == edges[pair.candidate] / edges[pair.stable]
        if pair.factor != 1:
            assert pair.factor >= margin * (1 - 1e-6) if at_least else pair.factor <= margin * (1 + 1e-6)


@PATIENT
@given(st.floats(0.01, 1e6), SHARES, st.floats(0.01, 0.9), st.floats(1.01, 10), DISPERSIONS, st.floats(0, 0.2))
def test_time_to_a_pass_is_monotone(
    requests: float, base: float, weight: float, tolerance: float, dispersion: float, fast: float
) -> None:
    traffic = Traffic(requests, base, dispersion, fast, correlation=0.5)
    here = wait(traffic, Claim(tolerance), [Step(weight)])
    assert 0 < here.median <= here.ninety
    busier = wait(Traffic(2 * requests, base, dispersion, fast, correlation=0.5), Claim(tolerance), [Step(weight)])
    assert busier.median <= here.median * (1 + 1e-9)
    looser = wait(traffic, Claim(tolerance * 1.2), [Step(weight)])
    assert looser.median <= here.median * (1 + 1e-9)
    stricter = wait(traffic, Claim(tolerance, alpha=0.001), [Step(weight)])
    assert stricter.median >= here.median


@PATIENT
@given(SHARES, SHARES, st.floats(1, 1e6))
def test_least_rate_is_enough(base: float, bound: float, deadline: float) -> None:
    claim, plan = Claim(None, bound), [Step(0.5)]
    least = least_rate(Traffic(1, base), claim, plan, deadline)
    assert least > 0
    if isfinite(least):
        assert wait(Traffic(least * 1.001, base), claim, plan).ninety <= deadline
