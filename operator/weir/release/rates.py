"""Compared shares of bad requests: e-values on the ratio of the candidate's share to stable's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from weir.api.evidencestatus import NoiseStatus
from weir.api.gate import DEFAULT_COMPARISON, Gate
from weir.release.ledger import Entry
from weir.release.terms import LOOSER, Proof, Terms, noise_of, tolerances
from weir.stats import order, ratio
from weir.stats.absolute import log_above, log_below
from weir.stats.combine import log_mean
from weir.stats.ratio import Arms, Ratios, RatioState


@lru_cache(maxsize=256)
def ratios(fail_above: Decimal, pass_below: Decimal) -> Ratios:
    """The questions of a comparison."""
    return Ratios(float(fail_above), float(pass_below), tolerances(pass_below, LOOSER))


def _questions(gate: Gate) -> Ratios:
    comparison = gate.comparison or DEFAULT_COMPARISON
    return ratios(comparison.fail_above, comparison.pass_below)


def arms(entry: Entry, place: int) -> Arms:
    """Counts of one series in one window."""
    stable, candidate = entry.amounts[place]
    return Arms(
        stable_total=entry.stable_total,
        stable_bad=int(stable),
        candidate_total=entry.candidate_total,
        candidate_bad=int(candidate),
        stable_pods=max(1, entry.stable_pods),
        candidate_pods=max(1, entry.candidate_pods),
    )


def after(gate: Gate, state: str, entry: Entry, place: int) -> str:
    """State of a series after one more window."""
    window = arms(entry, place)
    return _joined(ratio.step(_questions(gate), one, window) for one in decoded(state))


def anew(gate: Gate, base: str, noise: NoiseStatus, entries: Sequence[Entry], place: int) -> str:
    """State of a series after these windows, from its base on, as if the noise had been known from the start.

    Two states where pods differ for hours: for Fail that difference is nobody's fault, so it is discounted; for Pass it
    belongs to the candidate, whose own pods go on to serve, so it is not (else one pod could never pass).
    """
    windows = [arms(entry, place) for entry in entries]
    known = noise_of(noise)
    sides = [known, replace(known, slow=0.0)] if known.slow > 0 else [known]
    before = decoded(base) if base else ()
    bases = [before[min(side, len(before) - 1)] if before else None for side in range(len(sides))]
    questions = _questions(gate)
    return _joined(ratio.replay(questions, side, windows, start) for side, start in zip(sides, bases, strict=True))


@lru_cache(maxsize=8192)
def decoded(state: str) -> tuple[RatioState, ...]:
    """The states of a series: for Fail, and for Pass where that is another. Kept, since the next window asks again."""
    return tuple(RatioState.decode(part) for part in state.split("|"))


def _joined(states: Iterable[RatioState]) -> str:
    return "|".join(state.encode() for state in states)


def prove(gate: Gate, states: Sequence[str], terms: Terms, requests: int) -> Proof:
    """What the series prove together: harm on average over them, no harm only if each of them does.

    ``requests`` of the candidate in all windows (a state leaves out windows without anything bad).

    Fail needs the candidate to be worse than stable *and* worse than what is ignored: the null is the union of the two,
    so the smaller e-value holds. Pass needs it to be better than the tolerance *or* than what is accepted: the null is
    where both are exceeded, and the mean of two e-values holds there.
    """
    comparison, questions = gate.comparison or DEFAULT_COMPARISON, _questions(gate)
    found = [decoded(state) for state in states]
    fails = [min(ratio.log_worse(s[0]), _above(float(comparison.ignore_below), s[0], requests)) for s in found]
    passes = [
        log_mean([ratio.log_no_worse(questions, s[-1], terms.tolerance), _below(terms.accept, s[-1], requests)])
        for s in found
    ]
    harm = order.combine(fails)
    shown = found[harm.pair][0]
    effect = ratio.interval(questions, shown) if shown.candidate_bad + shown.stable_bad else None
    return Proof(harm.log_value, min(passes), effect, harm.pair, passes.index(min(passes)))


def _above(share: float, state: RatioState, requests: int) -> float:
    return log_above(share, requests, min(state.candidate_bad, requests), state.noise.dispersion)


def _below(share: float, state: RatioState, requests: int) -> float:
    return log_below(share, requests, min(state.candidate_bad, requests), state.noise.dispersion)
