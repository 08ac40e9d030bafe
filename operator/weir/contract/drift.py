"""Judges drift: counts of rows against a reference profile, by a sequential test whose state is kept in the status.

One mechanism for data, labels and predictions, from profiles of checks or from what model servers count: a contract's
roles say which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

import rfc8785

from weir.api.datacontractstatus import CheckVerdict, DriftStatus
from weir.api.distribution import Drift
from weir.contract.profile import BinCounts, ColumnProfile
from weir.stats import distance, tolerance
from weir.stats.tolerance import Question, ToleranceState

_DIGITS = Decimal("0.0001")
_KEY_LENGTH = 16
_PALE = 0.25
"""Part of the tolerance from which on the noise of the reference is worth telling."""


def judge(
    drift: Drift,
    reference: ColumnProfile,
    counts: BinCounts,
    old: DriftStatus | None,
    *,
    now: float,
    source: str = "",
    key: str = "",
    roles: Sequence[str] = (),
) -> DriftStatus:
    """Where a series of data stands after these rows.

    ``counts``: new rows by bin of the reference, of a check (``ColumnProfile.binned_as``) or live increments.
    ``source``: name of the ContractCheck, empty for live increments; the same one as last time is not counted again.
    ``key``: of the series, by default the name of the check. ``now`` in seconds since the epoch. ``roles`` are those of
    the contract. Another reference, tolerance or alpha begins anew.
    """
    key = key or drift.name
    if source and old is not None and old.source == source:
        return old
    try:
        question = _question(drift, reference)
        state = tolerance.step(question, _restored(drift, reference, question, old), counts.counts)
    except ValueError as error:
        return unjudged(drift, old, f"cannot be compared with the reference: {error}", now=now, source=source, key=key)
    verdict = _verdict(drift, question, state)
    turned = old is None or old.verdict != verdict or old.since is None
    recent, before = state.recent, reference.rows.counts
    return DriftStatus(
        key=key,
        verdict=verdict,
        samples=state.rows,
        total_variation=_decimal(distance.total_variation(recent, before)) if any(recent) else None,
        psi=_decimal(distance.stability_index(recent, before)) if any(recent) else None,
        jensen_shannon=_decimal(distance.jensen_shannon(recent, before)) if any(recent) else None,
        kolmogorov_smirnov=_steps(reference, recent),
        since=now if turned or old is None else old.since,
        at=now,
        source=source or (old.source if old else ""),
        state=f"{_identity(drift, reference)}:{state.encode()}",
        message=f"{drift.property}: {_message(drift, reference, question, state, roles)}",
    )


def unjudged(
    drift: Drift, old: DriftStatus | None, reason: str, *, now: float, source: str = "", key: str = ""
) -> DriftStatus:
    """The series cannot be judged now: Unknown, but a Fail stays until rows show that it is over. Keeps the test."""
    if source and old is not None and old.source == source:
        return old
    base = old or DriftStatus(key=key or drift.name, verdict="Unknown", since=now)
    verdict: CheckVerdict = "Fail" if base.verdict == "Fail" else "Unknown"
    return base.model_copy(
        update={
            "verdict": verdict,
            "since": base.since if base.verdict == verdict else now,
            "at": now,
            "source": source or base.source,
            "message": f"{drift.property}: {reason}",
        }
    )


def _question(drift: Drift, reference: ColumnProfile) -> Question:
    return Question(
        reference.rows.counts, float(drift.tolerance), alpha=float(drift.alpha), least=min(drift.min_samples, 10**9)
    )


def _identity(drift: Drift, reference: ColumnProfile) -> str:
    """What the state of a test belongs to."""
    asked: list[Any] = [drift.property, str(drift.tolerance), str(drift.alpha), reference.to_dict()]
    return sha256(rfc8785.dumps(asked)).hexdigest()[:_KEY_LENGTH]


def _restored(drift: Drift, reference: ColumnProfile, question: Question, old: DriftStatus | None) -> ToleranceState:
    identity, _, text = (old.state if old else "").partition(":")
    if identity != _identity(drift, reference):
        return tolerance.start(question)
    try:
        state = ToleranceState.decode(text)
    except ValueError:
        return tolerance.start(question)
    return state if len(state.recent) == len(question.reference) else tolerance.start(question)


def _verdict(drift: Drift, question: Question, state: ToleranceState) -> CheckVerdict:
    if state.alarmed:
        return "Fail"
    return "Pass" if state.rows >= drift.min_samples and question.bound < 1 else "Unknown"


def _steps(reference: ColumnProfile, recent: Sequence[float]) -> Decimal | None:
    """Only numbers have an order, and nulls have no place in it."""
    if not reference.numeric or not sum(recent[:-1]) or not sum(reference.counts):
        return None
    return _decimal(distance.kolmogorov_smirnov(recent[:-1], reference.counts))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_DIGITS).normalize() + 0


# --- Words -----------------------------------------------------------------------------------------------------------


def kind(roles: Sequence[str]) -> str:
    """What drifts, by the roles of the contract: data, labels or predictions."""
    only = set(roles)
    return "prediction drift" if only == {"Prediction"} else "label drift" if only == {"Label"} else "data drift"


def _message(
    drift: Drift, reference: ColumnProfile, question: Question, state: ToleranceState, roles: Sequence[str]
) -> str:
    rows, verdict = reference.rows.total, _verdict(drift, question, state)
    if question.bound >= 1:
        return (
            f"the reference has only {rows:,} rows, too few to tell any drift; make it of more rows, or of fewer bins"
        )
    if verdict == "Unknown":
        return f"{state.rows:,} of the {drift.min_samples:,} rows seen that a verdict needs"
    far = distance.total_variation(state.recent, reference.rows.counts)
    limit = f"(tolerance {_percent(drift.tolerance)}{_hidden(question, rows)})"
    if verdict == "Fail":
        return (
            f"{kind(roles)}: {_percent(far)} of rows would have to change to look like the reference {limit}; "
            f"most moved: {_moved(reference, question, state)}. {_way_back(question, state)}"
        )
    if far <= drift.tolerance:
        return f"no {kind(roles)}: {_percent(far)} of rows would have to change to look like the reference {limit}"
    return f"no {kind(roles)} is proven: {_percent(far)} of recent rows differ {limit}, which chance may explain so far"


def _hidden(question: Question, rows: int) -> str:
    if question.noise < _PALE * question.tolerance:
        return ""
    return f" and {_percent(question.noise)} for chance, as the reference has only {rows:,} rows"


def _moved(reference: ColumnProfile, question: Question, state: ToleranceState) -> str:
    total = sum(state.recent)
    shares = [count / total for count in state.recent]
    moves = zip(reference.bins, question.shares, shares, strict=True)
    # Where two moved alike, the one that grew says more about what the new rows are.
    name, before, after = max(moves, key=lambda move: (round(abs(move[2] - move[1]), 6), move[2] - move[1]))
    return f"{name}, {_percent(before)} → {_percent(after)}"


def _way_back(question: Question, state: ToleranceState) -> str:
    return (
        f"It passes again when {question.block:,} rows in a row look like the reference"
        f" ({sum(state.gathered):,} so far), or with a new reference"
    )


def _percent(share: float | Decimal) -> str:
    value = float(share) * 100
    return f"{value:.0f} %" if value >= 9.95 or value == round(value) else f"{value:.1f} %"
