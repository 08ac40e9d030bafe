"""The sequential tolerance test: false alarms, detection, the way back, and its state."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from weir.stats import tolerance
from weir.stats.tolerance import BETS, EXCESSES, Question, ToleranceState, start, step

EVEN = Question((10_000,) * 10, 0.1)


def shifted(question: Question, far: float) -> np.ndarray:
    """The reference's shares, with ``far`` of the rows moved from the first bins to the last one."""
    shares, left = np.array(question.shares), far
    for i in range(len(shares) - 1):
        taken = min(left, shares[i])
        shares[i] -= taken
        shares[-1] += taken
        left -= taken
    assert left < 1e-9
    return shares


def drawn(rng: np.random.Generator, rows: int, shares: np.ndarray) -> tuple[int, ...]:
    return tuple(int(count) for count in rng.multinomial(rows, shares))


def alarms(question: Question, far: float, *, rows: int, batches: int, runs: int, seed: int = 1) -> list[int]:
    """In which batch each run alarmed; runs that never did are left out."""
    found, shares = [], shifted(question, far)
    for number in range(runs):
        rng, state = np.random.default_rng([seed, number]), start(question)
        for batch in range(1, batches + 1):
            state = step(question, state, drawn(rng, rows, shares))
            if state.alarmed:
                found.append(batch)
                break
    return found


# --- Validity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recent", [(0.0, 0.0, 0.0), (1.0, 5.0, 1.0), (9.0, 1.0, 1.0), (0.0, 1.0, 9.0)])
def test_every_bet_has_a_mean_of_at_most_one_under_the_whole_null(recent: tuple[float, ...]) -> None:
    # given a reference in three bins, and every distribution within the bound of it
    question, rows = Question((3000, 2000, 1000), 0.08), 12
    state = replace(start(question), recent=recent)
    outcomes = [(a, b, rows - a - b) for a in range(rows + 1) for b in range(rows + 1 - a)]
    gains = np.exp([tolerance._gains(question, state, outcome) for outcome in outcomes])
    checked = 0
    for a in np.linspace(0, 1, 41):
        for b in np.linspace(0, 1 - a, 41):
            p = np.array([a, b, 1 - a - b])
            if np.abs(p - question.shares).sum() / 2 > question.bound:
                continue
            # when a batch is drawn from it, then no bet wins on average
            means = multinomial(rows, p / p.sum()).pmf(outcomes) @ gains
            assert means.max() <= 1 + 1e-9
            checked += 1
    assert checked > 100


def test_a_bet_wins_beyond_the_bound() -> None:
    question, rows = Question((3000, 2000, 1000), 0.08), 12
    state = replace(start(question), recent=(1.0, 1.0, 8.0))
    outcomes = [(a, b, rows - a - b) for a in range(rows + 1) for b in range(rows + 1 - a)]
    gains = np.exp([tolerance._gains(question, state, outcome) for outcome in outcomes])
    means = multinomial(rows, shifted(question, 0.5)).pmf(outcomes) @ gains
    assert means[: len(BETS)].min() > 1.05


def test_the_bets_on_the_distance_are_those_of_the_inequality() -> None:
    # exp(s D - s^2 / 8n) with s = 4 n d, and D beyond the bound and the mean distance of a sample
    rows, counts = 1000, (300, 700, 0)
    question = Question((3000, 2000, 1000), 0.08)
    beyond = (0.7 - 2 / 6) - question.bound - (2 / (4 * rows)) ** 0.5
    for gain, excess in zip(tolerance._gains(question, start(question), counts)[len(BETS) :], EXCESSES, strict=True):
        slope = 4 * rows * excess
        assert gain == pytest.approx(slope * beyond - slope**2 / (8 * rows))


def test_the_stakes_sum_to_one() -> None:
    assert tolerance._kept(0) == 1
    assert sum(tolerance._stake(batch) for batch in range(1, 2000)) + tolerance._kept(1999) == pytest.approx(1)
    assert all(tolerance._stake(batch) > 0 for batch in range(1, 2000))


def test_wealth_without_gains_is_one() -> None:
    # Bets that neither win nor lose keep what was staked: the value stays 1 however long it goes on.
    state = start(EVEN)
    for batch in range(1, 50):
        logs = tuple(tolerance._log_add(old, log(tolerance._stake(batch))) for old in state.logs)
        state = replace(state, logs=logs, batches=batch)
        assert exp(state.log_wealth) == pytest.approx(1)


def test_given_no_drift_when_watched_long_then_there_is_no_alarm() -> None:
    for rows in (20, 300):
        assert alarms(EVEN, 0.0, rows=rows, batches=300, runs=30) == []


def test_given_the_largest_tolerated_distance_when_watched_long_then_false_alarms_stay_below_alpha() -> None:
    # The hardest distribution of the null: exactly at the bound, in the direction that is bet on.
    question = Question((10_000,) * 10, 0.1, alpha=0.2)
    found = alarms(question, question.bound, rows=500, batches=150, runs=120)
    assert len(found) / 120 <= 0.1 + 2 * (0.1 * 0.9 / 120) ** 0.5


def test_given_a_random_reference_and_the_tolerated_drift_when_watched_then_there_is_no_alarm() -> None:
    rng, truth = np.random.default_rng(5), np.full(10, 0.1)
    for number in range(60):
        question = Question(drawn(rng, 2000, truth), 0.1)
        exact = Question((10_000,) * 10, 0.1)
        state = start(question)
        for _ in range(60):
            state = step(question, state, drawn(rng, 500, shifted(exact, 0.1)))
            assert not state.alarmed, number


# --- Power -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("far", "rows", "most"), [(0.3, 100, 6), (0.3, 10, 50), (0.2, 200, 15), (0.4, 2000, 1)])
def test_given_drift_from_the_start_when_watched_then_it_is_found(far: float, rows: int, most: int) -> None:
    found = alarms(EVEN, far, rows=rows, batches=4 * most, runs=20)
    assert len(found) == 20
    assert np.median(found) <= most


def test_given_a_long_quiet_time_before_when_drift_begins_then_it_is_found_soon() -> None:
    rng, state = np.random.default_rng(2), start(EVEN)
    for _ in range(1500):
        state = step(EVEN, state, drawn(rng, 200, shifted(EVEN, 0.0)))
    assert not state.alarmed
    needed = 0
    while not state.alarmed:
        needed += 1
        state = step(EVEN, state, drawn(rng, 200, shifted(EVEN, 0.25)))
    assert needed <= 8
    # then what is shown are the rows that led to it, not the quiet time before
    assert sum(state.recent) <= needed * 200
    assert tolerance.total_variation(state.recent, EVEN.reference) > 0.2


def test_given_one_huge_first_batch_when_seen_then_it_is_enough() -> None:
    rng = np.random.default_rng(4)
    assert step(EVEN, start(EVEN), drawn(rng, 1_000_000, shifted(EVEN, 0.15))).alarmed
    assert not step(EVEN, start(EVEN), drawn(rng, 1_000_000, shifted(EVEN, 0.09))).alarmed


def test_given_a_small_reference_when_asked_then_more_is_tolerated() -> None:
    small, large = Question((20,) * 10, 0.1), Question((200_000,) * 10, 0.1)
    assert small.bound > 0.3
    assert large.bound < 0.105


def test_given_clusters_when_the_dispersion_is_told_then_evidence_grows_that_much_slower() -> None:
    plain, clustered = EVEN, replace(EVEN, dispersion=4.0)
    state = replace(start(EVEN), recent=(1.0,) * 9 + (50.0,))
    counts = drawn(np.random.default_rng(1), 1000, shifted(EVEN, 0.4))
    one = tolerance._gains(plain, state, counts)[: len(BETS)]
    four = tolerance._gains(clustered, state, counts)[: len(BETS)]
    assert four == pytest.approx([gain / 4 for gain in one])
    assert clustered.block > plain.block


# --- The way back ------------------------------------------------------------------------------------------------


def alarmed(question: Question, rng: np.random.Generator) -> ToleranceState:
    state = start(question)
    while not state.alarmed:
        state = step(question, state, drawn(rng, 500, shifted(question, 0.5)))
    return state


def test_given_an_alarm_when_rows_are_good_again_then_one_block_takes_it_back() -> None:
    rng = np.random.default_rng(6)
    state = alarmed(EVEN, rng)
    seen = 0
    while state.alarmed:
        state = step(EVEN, state, drawn(rng, 100, shifted(EVEN, 0.0)))
        seen += 100
    assert EVEN.block <= seen < EVEN.block + 100
    assert state.rows == seen
    assert state.log_wealth == pytest.approx(0)


def test_given_an_alarm_when_drift_goes_on_then_it_stays() -> None:
    for number in range(20):
        rng = np.random.default_rng([7, number])
        state = alarmed(EVEN, rng)
        for _ in range(30):
            state = step(EVEN, state, drawn(rng, 500, shifted(EVEN, EVEN.bound)))
        assert state.alarmed, number


def test_given_a_block_with_rows_of_before_the_repair_when_it_fails_then_the_next_one_begins_anew() -> None:
    rng = np.random.default_rng(8)
    state = step(EVEN, alarmed(EVEN, rng), drawn(rng, EVEN.block - 1, shifted(EVEN, 0.5)))
    state = step(EVEN, state, drawn(rng, 1, shifted(EVEN, 0.0)))
    assert state.alarmed
    assert sum(state.gathered) == 0
    assert not step(EVEN, state, drawn(rng, 2 * EVEN.block, shifted(EVEN, 0.0))).alarmed


def test_given_least_rows_when_watched_then_neither_alarm_nor_pass_comes_before() -> None:
    question, rng = replace(EVEN, least=5000), np.random.default_rng(9)
    state, seen = start(question), 0
    while not state.alarmed:
        state, seen = step(question, state, drawn(rng, 1000, shifted(question, 0.5))), seen + 1000
    assert seen == 5000
    assert question.block == 5000


def test_given_a_block_within_the_bound_by_less_than_chance_explains_when_it_ends_then_the_alarm_stays() -> None:
    failed = alarmed(EVEN, np.random.default_rng(10))
    rows = 10 * EVEN.block

    def block(far: float) -> tuple[int, ...]:
        return tuple(round(share * rows) for share in shifted(EVEN, far))

    margin = (log(100) / (2 * rows)) ** 0.5
    assert step(EVEN, failed, block(EVEN.bound - 0.9 * margin)).alarmed
    assert not step(EVEN, failed, block(EVEN.bound - 1.1 * margin)).alarmed


# --- State ---------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[Question, list[tuple[int, ...]]]:
    bins = draw(st.integers(2, 12))
    row = st.tuples(*[st.integers(0, 2000)] * bins)
    question = Question(draw(row.filter(any)), draw(st.sampled_from([0.02, 0.1, 0.4])))
    return question, draw(st.lists(row, max_size=12))


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(0, 12))
def test_given_a_restart_anywhere_when_it_goes_on_then_nothing_has_changed(
    history: tuple[Question, list[tuple[int, ...]]], at: int
) -> None:
    question, batches = history
    straight = resumed = start(question)
    for number, counts in enumerate(batches):
        straight = step(question, straight, counts)
        resumed = step(question, ToleranceState.decode(resumed.encode()) if number == at else resumed, counts)
    assert resumed == straight
    assert ToleranceState.decode(straight.encode()) == straight


@settings(max_examples=60, deadline=None)
@given(histories())
def test_given_an_empty_batch_when_stepped_then_nothing_has_changed(
    history: tuple[Question, list[tuple[int, ...]]],
) -> None:
    question, batches = history
    state = start(question)
    for counts in batches:
        state = step(question, state, counts)
    assert step(question, state, (0,) * len(question.reference)) == state


def test_given_the_most_bins_when_encoded_then_the_text_fits_the_status() -> None:
    question = Question((7,) * tolerance.MAX_BINS, 0.1)
    state = step(question, start(question), (10**15,) * tolerance.MAX_BINS)
    assert len(state.encode()) < 6_000
    assert len(state.logs) == len(BETS) + len(EXCESSES)


@pytest.mark.parametrize("text", ["", "???", "AAAA", start(EVEN).encode()[:-8]])
def test_given_a_broken_state_when_decoded_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ToleranceState.decode(text)


def test_given_nonsense_when_asked_then_it_is_refused() -> None:
    for reference in ((), (5,), (0, 0), (-1, 5), (1,) * (tolerance.MAX_BINS + 1)):
        with pytest.raises(ValueError):
            Question(reference, 0.1)
    for values in ({"tolerance": 1.5}, {"alpha": 0.0}, {"dispersion": 0.5}):
        with pytest.raises(ValueError):
            replace(EVEN, **values)
    for counts in ((1,) * 9, (-1, *[1] * 9)):
        with pytest.raises(ValueError):
            step(EVEN, start(EVEN), counts)
