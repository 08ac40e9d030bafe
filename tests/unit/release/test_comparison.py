"""Comparisons with stable: from windows of both arms to Pass, Fail or neither."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from math import log
from typing import Any

import pytest

from weir.api.evidencestatus import Counts, EvidenceStatus, GateNoise
from weir.api.gate import Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release import ledger
from weir.release.comparison import remembered
from weir.release.gates import fresh, judge
from weir.release.ledger import MAX_WINDOWS, Entry, parse
from weir.release.observation import Edge, Window
from weir.release.series import prove, recomputed
from weir.release.terms import Terms, noise_status
from weir.stats.noise import ASSUMED, Noise

QUIET = Noise()
T0 = 1000.0


def make(template: str = "http-errors", **fields: Any) -> Gate:
    return Gate.model_validate({"template": template, **fields})


def counts(bad: int, total: int) -> Counts:
    return Counts(bad=bad, total=total)


@dataclass
class Desk:
    """Gates that look at windows of ten seconds, one after the other."""

    gates: list[Gate]
    judgement: Judgement = field(default_factory=Judgement)
    next_weight: int = 100
    concurrent: bool = True
    noise: list[GateNoise] = field(default_factory=list)
    states: dict[str, GateStatus] = field(default_factory=dict)
    evidence: dict[str, EvidenceStatus] = field(default_factory=dict)
    number: int = 0

    def look(self, *windows: Window) -> dict[str, GateStatus]:
        states = {g.name: self.states.get(g.name) or fresh(g) for g in self.gates}
        found = judge(
            self.gates,
            states,
            self.evidence,
            windows,
            judgement=self.judgement,
            next_weight=self.next_weight,
            concurrent=self.concurrent,
            noise=self.noise,
        )
        self.states = {s.name: s for s in found.gates}
        self.evidence = {e.gate: e for e in found.evidence}
        return self.states

    def window(self, gate: Gate, candidate: Counts, stable: Counts | None, **fields: Any) -> Window:
        start = T0 + 10 * self.number
        return Window(gate.name, start, start + 10, candidate, stable, **{"noise": QUIET, **fields})

    def turn(self, candidate: tuple[int, int], stable: tuple[int, int] | None = (5, 500), **fields: Any) -> GateStatus:
        """One window of the first gate."""
        gate = self.gates[0]
        arm = counts(*stable) if stable is not None else None
        states = self.look(self.window(gate, counts(*candidate), arm, **fields))
        self.number += 1
        return states[gate.name]

    def turns(self, pairs: Iterable[tuple[int, int]], **fields: Any) -> GateStatus:
        state = next(iter(self.states.values()), fresh(self.gates[0]))
        for pair in pairs:
            state = self.turn(pair, **fields)
        return state


def test_given_equal_arms_when_there_is_enough_evidence_then_it_passes_and_says_why() -> None:
    desk = Desk([make()])
    assert desk.turn((5, 500)).verdict is Verdict.INSUFFICIENT
    state = desk.turns([(5, 500)] * 60)
    assert state.verdict is Verdict.PASS
    assert state.e_pass is not None
    assert state.e_pass_bar == 20
    assert state.e_pass > 20
    assert state.effect is not None
    assert state.effect_low is not None
    assert state.effect_high is not None
    assert state.effect_low < 1 < state.effect_high < Decimal("1.5")
    assert "305 of 30500 requests bad, stable 305 of 30500" in state.message
    assert "proven less than 1.5 times stable's" in state.message
    assert (state.windows, state.candidate.total) == (61, 30500)


def test_given_twice_the_errors_when_the_evidence_is_large_enough_then_it_fails_with_numbers() -> None:
    desk = Desk([make()])
    state = desk.turns([(10, 500)] * 20)
    assert state.verdict is Verdict.FAIL
    assert state.e_fail is not None
    assert state.e_fail_bar is not None
    assert state.e_fail >= state.e_fail_bar
    assert "proven worse" in state.message
    assert "times stable's (between" in state.message
    assert desk.turn((0, 500)) == state, "a Fail stays"


def test_given_an_evenly_good_candidate_when_steps_are_small_then_they_pass_sooner_than_the_last() -> None:
    def needed(next_weight: int) -> int:
        desk = Desk([make()], next_weight=next_weight)
        for number in range(1, 200):
            if desk.turn((1, 100), stable=(9, 900)).verdict is Verdict.PASS:
                return number
        raise AssertionError("never passed")

    assert needed(5) < needed(25) < needed(50) < needed(100)


@pytest.mark.parametrize(
    ("weight", "tolerance", "accept"),
    [(100, 1.5, 0.005), (50, 2.0, 0.01), (25, 3.0, 0.02), (5, 11.0, 0.1), (1, 51, 0.5)],
)
def test_given_the_next_weight_when_terms_are_made_then_it_may_do_as_much_harm_as_is_tolerated_at_100(
    weight: int, tolerance: float, accept: float
) -> None:
    comparison = make().comparison
    assert comparison is not None
    terms = Terms.of(comparison, next_weight=weight)
    assert (terms.tolerance, terms.accept) == (tolerance, accept)


def test_given_tiny_shares_when_one_is_many_times_the_other_then_what_is_ignored_is_no_fail() -> None:
    ignored = Desk([make()]).turns([(1, 5000)] * 50, stable=(0, 5000))
    assert ignored.verdict is Verdict.PASS, "0.02 % is accepted, whatever stable has"
    noticed = Desk([make(compare={"ignoreBelow": "0.00001"})]).turns([(1, 5000)] * 50, stable=(0, 5000))
    assert noticed.verdict is Verdict.FAIL


def test_given_no_errors_at_all_when_requests_are_enough_for_what_is_accepted_then_it_passes() -> None:
    desk = Desk([make()])
    totals = []
    assert desk.turn((0, 50), stable=(0, 50)).effect is None, "nothing bad, nothing to compare"
    while desk.turn((0, 50), stable=(0, 50)).verdict is not Verdict.PASS:
        totals.append(desk.evidence["http-errors"].candidate.total)
        assert totals[-1] < 2000
    assert totals[-1] >= log(20) / 0.005 - 50, "nobody can prove less than 0.5 % with fewer"


def test_given_few_requests_when_nothing_is_bad_then_min_samples_are_needed_for_a_pass() -> None:
    desk = Desk([make(minSamples=1000, compare={"acceptBelow": "0.5"})], next_weight=1)
    assert desk.turns([(0, 90)] * 11, stable=(0, 900)).verdict is Verdict.INSUFFICIENT
    assert desk.turns([(0, 90)], stable=(0, 900)).verdict is Verdict.PASS


def test_given_a_window_with_one_arm_when_it_comes_then_neither_is_counted() -> None:
    desk = Desk([make()])
    desk.turns([(5, 500)] * 3)
    before = desk.evidence["http-errors"]
    state = desk.turn((500, 500), stable=None)
    assert state.verdict is Verdict.ERROR
    assert desk.evidence["http-errors"] == before
    silent = desk.turn((0, 0))
    assert (silent.verdict, desk.evidence["http-errors"]) == (Verdict.NO_DATA, before)
    broken = desk.turn((5, 500), error="down")
    assert (broken.verdict, desk.evidence["http-errors"]) == (Verdict.ERROR, before)


def test_given_a_window_that_was_seen_when_it_comes_again_then_nothing_is_counted_twice() -> None:
    desk = Desk([make()])
    window = desk.window(desk.gates[0], counts(5, 500), counts(5, 500))
    once = desk.look(window)
    kept = dict(desk.evidence)
    assert desk.look(window, window) == once
    assert desk.evidence == kept


def test_given_a_status_that_was_stored_when_it_is_read_again_then_everything_goes_on_as_if_nothing_had_happened() -> (
    None
):
    rng = random.Random(3)
    pairs = [(rng.randrange(12), 500) for _ in range(MAX_WINDOWS + 30)]
    noise = [Noise(1 + (i // 40) * 0.5, 0.01 * (i // 60), 0.0, 0.8) for i in range(len(pairs))]
    one, other = Desk([make()]), Desk([make()])
    for pair, heard in zip(pairs, noise, strict=True):
        expected = one.turn(pair, noise=heard)
        other.states = {n: GateStatus.model_validate(s.to_dict()) for n, s in other.states.items()}
        other.evidence = {n: EvidenceStatus.model_validate(e.to_dict()) for n, e in other.evidence.items()}
        assert other.turn(pair, noise=heard) == expected
    assert one.evidence == other.evidence


def test_given_many_windows_when_the_list_is_full_then_the_older_half_goes_behind_a_checkpoint_that_continues_it() -> (
    None
):
    desk, gate = Desk([make()]), make()
    pairs = [(4 + i % 3, 500) for i in range(MAX_WINDOWS + 5)]
    desk.turns(pairs)
    evidence = desk.evidence["http-errors"]
    assert (evidence.dropped, ledger.listed(evidence)) == (MAX_WINDOWS // 2, MAX_WINDOWS // 2 + 5)
    assert evidence.candidate.total == 500 * len(pairs)
    assert len(evidence.windows) < 16384
    series = evidence.series[0]
    assert recomputed(gate, series.base, series.noise, parse(evidence.windows), 0) == series.state
    everything = [Entry(500, 500, 1, 1, ((5.0, float(bad)),)) for bad, _ in pairs]
    assert recomputed(gate, "", series.noise, everything, 0) == series.state


def test_given_noise_that_is_found_later_when_evidence_is_counted_then_it_is_as_if_it_had_been_known_before() -> None:
    noise = Noise(3.0, 0.05, 0.0, 0.8)
    desk = Desk([make()])
    desk.turns([(9, 500)] * 4)
    quiet = desk.states["http-errors"].e_fail
    state = desk.turn((9, 500), noise=noise)
    series = desk.evidence["http-errors"].series[0]
    assert series.noise == noise_status(noise)
    entries = parse(desk.evidence["http-errors"].windows)
    assert series.state == recomputed(desk.gates[0], "", series.noise, entries, 0)
    assert quiet is not None
    assert state.e_fail is not None
    assert state.e_fail < quiet, "noise discounts what was counted before"


def test_given_no_measured_noise_when_evidence_is_counted_then_noise_is_assumed_unless_a_release_before_measured_it() -> (
    None
):
    desk = Desk([make()])
    desk.turn((5, 500), noise=None)
    assert desk.evidence["http-errors"].series[0].noise == noise_status(ASSUMED.rounded())
    known = GateNoise(gate="http-errors", windows=30, dispersion=Decimal("1"), rate=Decimal(100))
    desk = Desk([make()], noise=[known])
    desk.turn((5, 500), noise=None)
    assert desk.evidence["http-errors"].series[0].noise == noise_status(QUIET)
    desk.turn((5, 500), history=Noise(2.0), noise=Noise(3.0))
    assert desk.evidence["http-errors"].series[0].noise == noise_status(Noise(3.0)), "as it was reckoned"


def test_given_a_release_when_the_next_begins_then_traffic_and_measured_noise_are_remembered() -> None:
    desk = Desk([make()])
    desk.turns([(5, 500)] * 9, noise=Noise(4.0), measured=Noise(2.0))
    (early,) = remembered(list(desk.evidence.values()), [])
    assert (early.windows, early.rate, early.share) == (0, 100, Decimal("0.01"))
    desk.turn((5, 500), noise=Noise(4.0), measured=Noise(2.0))
    (later,) = remembered(list(desk.evidence.values()), [])
    assert (later.windows, later.dispersion) == (10, 2)
    assert remembered([], [later]) == [later]


def both(desk: Desk, first: tuple[int, int], second: tuple[int, int]) -> dict[str, GateStatus]:
    windows = [
        desk.window(gate, counts(*pair), counts(5, 500)) for gate, pair in zip(desk.gates, (first, second), strict=True)
    ]
    desk.number += 1
    return desk.look(*windows)


def until_fail(desk: Desk, bad: int) -> tuple[int, dict[str, GateStatus]]:
    """Windows until a Fail where the second gate is harmed."""
    for number in range(1, 100):
        states = both(desk, (5, 500), (bad, 500))
        if any(s.verdict is Verdict.FAIL for s in states.values()):
            return number, states
    raise AssertionError("never failed")


def test_given_several_gates_when_one_is_harmed_then_the_mean_of_evidence_rolls_back_and_names_it() -> None:
    first, second = make(), make("gateway-errors")
    number, states = until_fail(Desk([first, second]), 9)
    assert {n: s.verdict for n, s in states.items() if s.verdict is Verdict.FAIL} == {"gateway-errors": Verdict.FAIL}
    assert "the mean of 2 gates" in states["gateway-errors"].message
    heavy = make("gateway-errors", compare={"weight": 10})
    sooner, _ = until_fail(Desk([first, heavy]), 9)
    alone = Desk([second])
    stopped = next(i for i in range(1, 100) if alone.turn((9, 500)).verdict is Verdict.FAIL)
    hard, told = until_fail(Desk([first, make("gateway-errors", compare={"hardStop": True})]), 9)
    assert stopped <= sooner <= number
    assert hard == stopped
    assert "a hard stop" in told["gateway-errors"].message


def test_given_a_new_stage_when_one_gate_has_not_looked_yet_then_its_evidence_still_counts_in_the_mean() -> None:
    desk = Desk([make(), make("gateway-errors")])
    while True:
        states = both(desk, (5, 500), (9, 500))
        fail = states["gateway-errors"].e_fail
        assert fail is not None
        if fail > 11:
            break
    assert all(s.verdict is not Verdict.FAIL for s in states.values())
    desk.states = {}
    start = T0 + 10 * desk.number
    harmed = Window("gateway-errors", start, start + 10, counts(5, 500), counts(5, 500), noise=QUIET)
    assert desk.look(harmed)["gateway-errors"].verdict is not Verdict.FAIL


def test_given_a_strict_bar_when_harm_is_seen_then_it_takes_twice_the_evidence() -> None:
    strict = Desk([make()], judgement=Judgement.model_validate({"bar": "Strict"}))
    assert strict.turns([(5, 500)] * 10).e_fail_bar == 20
    calibrated = Desk([make()]).turns([(5, 500)] * 10).e_fail_bar
    assert calibrated is not None
    assert 9 < calibrated < 20


EDGES = (0.05, 0.1, 0.25, 0.5, 1.0)


def slower(desk: Desk, shares: tuple[float, ...], stable: tuple[float, ...], **fields: Any) -> GateStatus:
    edges = tuple(
        Edge(above, round(mine * 1000), round(its * 1000), noise=QUIET)
        for above, mine, its in zip(fields.pop("edges", EDGES), shares, stable, strict=True)
    )
    return desk.turn((0, 1000), stable=(0, 1000), edges=edges, noise=None)


USUAL = (0.9, 0.5, 0.1, 0.02, 0.001)


def test_given_latencies_when_edges_are_chosen_then_from_stable_alone_and_before_any_evidence() -> None:
    desk = Desk([make("http-latency")])
    state = slower(desk, (1, 1, 1, 1, 1), USUAL)
    assert (state.verdict, state.e_fail) == (Verdict.INSUFFICIENT, None)
    evidence = desk.evidence["http-latency"]
    assert {Decimal("0.1"), Decimal("0.25"), Decimal("0.5")} <= set(evidence.edges)
    assert evidence.windows == ""
    assert evidence.candidate_edges == evidence.edges, "buckets are too far apart to shift"


@pytest.mark.parametrize(("shares", "verdict"), [(USUAL, Verdict.PASS), ((0.95, 0.7, 0.25, 0.05, 0.004), Verdict.FAIL)])
def test_given_a_latency_distribution_when_it_is_compared_then_a_slower_one_fails_and_an_equal_one_passes(
    shares: tuple[float, ...], verdict: Verdict
) -> None:
    desk = Desk([make("http-latency")])
    for _ in range(200):
        state = slower(desk, shares, USUAL)
        if state.verdict is not Verdict.INSUFFICIENT:
            break
    assert state.verdict is verdict
    assert "of 1000" not in state.message
    assert "slower than 0." in state.message
    assert len(desk.evidence["http-latency"].series) == len(desk.evidence["http-latency"].edges) >= 3


def test_given_close_buckets_when_latencies_are_compared_then_the_candidate_is_counted_above_a_later_edge() -> None:
    edges = tuple(round(0.05 * 1.08**k, 6) for k in range(26))
    shares = tuple(0.95 * 0.75**k for k in range(26))
    desk = Desk([make("http-latency")])
    slower(desk, shares, shares, edges=edges)
    evidence = desk.evidence["http-latency"]
    for mine, its in zip(evidence.edges, evidence.candidate_edges, strict=True):
        assert Decimal("1.07") < its / mine < Decimal("1.11")


@pytest.mark.parametrize(
    ("worse", "mean", "verdict"),
    [
        (None, 120.0, Verdict.FAIL),
        (None, 100.0, Verdict.PASS),
        (None, 50.0, Verdict.PASS),
        ("Lower", 80.0, Verdict.FAIL),
        ("Lower", 150.0, Verdict.PASS),
    ],
)
def test_given_means_when_they_are_compared_then_worse_fails_and_no_worse_passes(
    worse: str | None, mean: float, verdict: Verdict
) -> None:
    rng = random.Random(7)
    gate = make("mean", sum="tokens_sum", count="tokens_count", **({"worse": worse} if worse else {}))
    desk = Desk([gate])
    for _ in range(120):
        state = desk.turn(
            (0, 100),
            stable=(0, 300),
            candidate_sum=100 * mean + rng.gauss(0, 100),
            stable_sum=300 * 100.0 + rng.gauss(0, 170),
        )
        if state.verdict is not Verdict.INSUFFICIENT:
            break
    assert state.verdict is verdict


@pytest.mark.parametrize(("bad", "verdict"), [(0, Verdict.PASS), (10, Verdict.INSUFFICIENT), (30, Verdict.FAIL)])
def test_given_an_objective_when_it_is_kept_or_missed_then_it_needs_nobody_to_compare_with(
    bad: int, verdict: Verdict
) -> None:
    desk = Desk([make(objective="0.99")])
    assert desk.turns([(bad, 1000)] * 3, stable=None).verdict is verdict
    seen = desk.evidence["http-errors"].candidate
    assert (seen.bad, seen.total) == (seen.total // 1000 * bad, 1000 if verdict is Verdict.FAIL else 3000)


def test_given_a_bake_when_the_comparison_was_passed_then_that_holds_until_the_share_is_proven_too_high() -> None:
    desk = Desk([make()])
    assert desk.turns([(5, 500)] * 60).verdict is Verdict.PASS
    desk.states, desk.concurrent = {}, False
    baked = desk.turn((5, 500), stable=None)
    assert (baked.verdict, baked.comparative) == (Verdict.PASS, False)
    assert desk.turn((0, 0), stable=None).verdict is Verdict.NO_DATA
    assert desk.turn((5, 500), stable=None).verdict is Verdict.PASS
    worse = desk.turns([(20, 500)] * 10, stable=None)
    assert worse.verdict is Verdict.FAIL
    assert "tolerated" in worse.message


def test_given_a_bake_when_nothing_was_proven_before_then_the_share_has_to_be_proven_low() -> None:
    desk = Desk([make()], concurrent=False)
    assert desk.turn((0, 500), stable=None).verdict is Verdict.INSUFFICIENT
    assert desk.turns([(0, 500)] * 5, stable=None).verdict is Verdict.PASS


def test_given_another_question_when_a_gate_is_edited_then_its_evidence_starts_anew() -> None:
    desk = Desk([make()])
    desk.turns([(5, 500)] * 5)
    desk.gates = [make(compare={"passBelow": "2"})]
    desk.turn((5, 500))
    assert ledger.seen(desk.evidence["http-errors"]) == 1
    desk.gates = [make(compare={"passBelow": "2", "weight": 5})]
    desk.turn((5, 500))
    assert ledger.seen(desk.evidence["http-errors"]) == 2, "weights ask nothing else"


def test_given_a_ledger_when_it_is_written_and_read_then_it_is_the_same() -> None:
    entries = [Entry(10**12, 1, 3, 1, ((0.0, 1.0), (2.5, 0.1))), Entry(1, 2, 3, 4, ((5.0, 6.0),))]
    assert list(parse(ledger.joined(entries))) == entries
    with pytest.raises(ValueError, match="is no window"):
        parse("1,2,3")


def test_given_the_last_windows_when_they_are_asked_for_then_only_they_are_counted() -> None:
    desk = Desk([make()])
    desk.turns([(1, 100), (2, 100), (4, 100)])
    evidence = desk.evidence["http-errors"]
    assert ledger.recent(evidence, 2)[0] == counts(6, 200)
    assert ledger.recent(evidence, 9)[0] == counts(7, 300) == ledger.totals(evidence)[0]


def test_given_a_proof_when_it_is_asked_for_again_then_states_alone_are_enough() -> None:
    desk, gate = Desk([make()]), make()
    state = desk.turns([(5, 500)] * 10)
    comparison = gate.comparison
    assert comparison is not None
    evidence = desk.evidence["http-errors"]
    proof = prove(gate, [s.state for s in evidence.series], Terms.of(comparison, next_weight=100), 5000)
    assert state.e_pass is not None
    assert log(float(state.e_pass)) == pytest.approx(proof.passed, abs=1e-3)
