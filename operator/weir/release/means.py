"""Compared means (scores, tokens, cost): e-values on the candidate's mean against multiples of stable's.

"At most r times stable's mean" is asked of the difference between the candidate's mean and r times stable's, so one
state is kept for each r that matters. The spread is estimated from the windows, noise between windows included.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.api.evidencestatus import NoiseStatus
from weir.api.gate import DEFAULT_COMPARISON, Gate
from weir.release.ledger import Entry
from weir.release.terms import LOOSER, Proof, Terms, tolerances
from weir.stats import means
from weir.stats.means import MeanState


def _factors(gate: Gate) -> tuple[float, ...]:
    """Multiples of stable's mean that are asked about: first that of Fail, then the tolerances, rising."""
    comparison = gate.comparison or DEFAULT_COMPARISON
    found = (float(comparison.fail_above), float(comparison.pass_below), *tolerances(comparison.pass_below, LOOSER))
    return found if _worse(gate) == "Higher" else tuple(1 / factor for factor in found)


def _worse(gate: Gate) -> means.Worse:
    return gate.worse or "Higher"


def after(gate: Gate, state: str, entry: Entry, place: int) -> str:
    """State of a series after one more window."""
    stable, candidate = entry.amounts[place]
    factors = _factors(gate)
    states = [MeanState.decode(part) for part in state.split("|")] if state else [MeanState()] * len(factors)
    return "|".join(
        one.add(entry.stable_total, stable * factor, entry.candidate_total, candidate).encode()
        for one, factor in zip(states, factors, strict=True)
    )


def anew(gate: Gate, base: str, noise: NoiseStatus, entries: Sequence[Entry], place: int) -> str:
    """State of a series after these windows, from its base on; the noise is in the spread of the windows."""
    state = base
    for entry in entries:
        state = after(gate, state, entry, place)
    return state


def prove(gate: Gate, states: Sequence[str], terms: Terms, requests: int) -> Proof:
    """What the series proves."""
    found = [MeanState.decode(part) for part in states[0].split("|")]
    factors, worse = _factors(gate), _worse(gate)
    wanted = terms.tolerance if worse == "Higher" else 1 / terms.tolerance
    allowed = [
        i for i in range(1, len(factors)) if (factors[i] <= wanted if worse == "Higher" else factors[i] >= wanted)
    ]
    passed = means.log_no_worse(found[allowed[-1]], worse, margin=0.0) if allowed else 0.0
    return Proof(means.log_worse(found[0], worse), passed, None, 0)
