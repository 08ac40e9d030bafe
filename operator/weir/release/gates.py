"""From windows of counts to verdicts. A gate's state is a function of the windows it has seen; only Pass is a pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from weir.api.gate import Gate
from weir.api.rolloutstatus import Counts, GateStatus, Measurement, Verdict
from weir.release.observation import Window

_ROUNDING = 0.001
"""Seconds by which stored times may be off, since they are stored in milliseconds."""

_MAX_MESSAGE = 1024
_MAX_QUERY = 4096

_SEVERITY = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NO_DATA,
    Verdict.INSUFFICIENT,
    Verdict.CANCELLED,
    Verdict.PASS,
)


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict that decides for all; None without any."""
    return min(verdicts, key=_SEVERITY.index, default=None)


def applies(gate: Gate, *, comparative: bool) -> bool:
    """Whether the gate has a bound to ask about: one that only compares needs stable beside the candidate."""
    return gate.max is not None or gate.min is not None or (comparative and gate.max_ratio_to_stable is not None)


def fresh(gate: Gate, previous: GateStatus | None = None) -> GateStatus:
    """State of a gate at the start of a stage: nothing counted yet, failed looks of the release kept."""
    return GateStatus(name=gate.name, message="no evidence yet", failures=previous.failures if previous else 0)


def measurement(state: GateStatus) -> Measurement:
    """The look behind the gate's verdict, with the inputs that reproduce it."""
    return Measurement(
        gate=state.name,
        verdict=state.verdict,
        candidate=state.candidate,
        stable=state.stable,
        value=state.value,
        window_start=state.window_start,
        window_end=state.window_end,
    )


def judge(gate: Gate, state: GateStatus, windows: Sequence[Window], *, comparative: bool) -> GateStatus:
    """The gate's state after the windows that it has not seen yet, in order of time.

    ``comparative``: stable serves beside the candidate, so that ``maxRatioToStable`` applies and both arms need
    ``minSamples``. Windows that begin before ``state.window_end`` were counted before, at least in part, and are
    skipped whole: evidence may come late, never twice. A Fail stays.
    """
    for window in sorted(windows, key=lambda w: w.end):
        if state.verdict is Verdict.FAIL:
            break
        if window.gate == gate.name and (state.window_end is None or window.start > state.window_end - _ROUNDING):
            state = _look(gate, state, window, comparative)
    return state


def _look(gate: Gate, state: GateStatus, window: Window, comparative: bool) -> GateStatus:
    seen = state.model_copy(update={"window_end": window.end, "query": (window.query or state.query)[:_MAX_QUERY]})
    if window.error is not None:
        return _error(seen, window.error)
    if gate.template == "threshold":
        return _threshold(gate, seen, window)
    compared = comparative and gate.max_ratio_to_stable is not None
    if compared and window.stable is None:
        return _error(seen, "stable's requests could not be counted, so nothing can be compared: both arms or neither")
    candidate = state.pending_candidate + window.candidate
    stable = state.pending_stable + (window.stable or Counts())
    seen = seen.model_copy(update={"pending_candidate": candidate, "pending_stable": stable})
    least = min(candidate.total, stable.total) if compared else candidate.total
    if least < gate.min_samples:
        return _too_few(gate, state, seen.model_copy(update={"window_start": _start(state, window)}), compared)
    value = _share(candidate)
    stable_value = _share(stable) if stable.total else None
    breach = _breach(gate, value, candidate, stable if compared else None)
    measured = seen.model_copy(
        update={
            "candidate": candidate,
            "stable": stable,
            "pending_candidate": Counts(),
            "pending_stable": Counts(),
            "value": value,
            "stable_value": stable_value,
            "window_start": _start(state, window),
        }
    )
    told = f"{candidate.bad} of {candidate.total} requests bad ({_percent(value)})"
    if stable_value is not None:
        told += f", stable {stable.bad} of {stable.total} ({_percent(stable_value)})"
    return _count(gate, measured, breach, told)


def _start(before: GateStatus, window: Window) -> float:
    """Where the counts begin that this window completes: with itself, or with what is pending already."""
    if before.pending_candidate.total or before.pending_stable.total:
        return window.start if before.window_start is None else before.window_start
    return window.start


def _error(state: GateStatus, message: str) -> GateStatus:
    return state.model_copy(update={"verdict": Verdict.ERROR, "successes": 0, "message": message[:_MAX_MESSAGE]})


def _too_few(gate: Gate, before: GateStatus, seen: GateStatus, compared: bool) -> GateStatus:
    """Not enough requests for a look: a Pass from earlier looks stands as long as requests keep coming."""
    candidate, stable = seen.pending_candidate, seen.pending_stable
    silent = candidate.total == before.pending_candidate.total
    if before.verdict is Verdict.PASS and not silent:
        return seen.model_copy(update={"window_start": before.window_start})
    counted = f"{candidate.total} of {gate.min_samples} requests"
    if compared:
        counted += f", stable {stable.total}"
    if silent and candidate.total == 0:
        return seen.model_copy(
            update={"verdict": Verdict.NO_DATA, "message": f"no requests seen (n=0), needs {counted}"}
        )
    return seen.model_copy(update={"verdict": Verdict.INSUFFICIENT, "message": f"{counted} so far"})


def _threshold(gate: Gate, state: GateStatus, window: Window) -> GateStatus:
    if window.value is None:
        return state.model_copy(
            update={"verdict": Verdict.NO_DATA, "successes": 0, "message": "the query gave no value"}
        )
    value = window.value
    if not value.is_finite():
        return _error(state, f"the query gave {value}, which is no number to compare")
    breach = ""
    if gate.max is not None and value > gate.max:
        breach = f"above max {gate.max}"
    elif gate.min is not None and value < gate.min:
        breach = f"below min {gate.min}"
    measured = state.model_copy(update={"value": value, "window_start": window.start})
    return _count(gate, measured, breach, f"value {value}")


def _breach(gate: Gate, value: Decimal, candidate: Counts, stable: Counts | None) -> str:
    """What bound the candidate breaks, in words; empty when it keeps them all."""
    if gate.max is not None and value > gate.max:
        return f"above max {_percent(gate.max)}"
    if stable is not None and gate.max_ratio_to_stable is not None:
        # One bad request is granted to stable, else a flawless stable would make any bad request a breach.
        base = Decimal(max(stable.bad, 1)) / stable.total
        if value > gate.max_ratio_to_stable * base and candidate.bad > 1:
            return f"more than {gate.max_ratio_to_stable} times stable's"
    return ""


def _count(gate: Gate, state: GateStatus, breach: str, told: str) -> GateStatus:
    if breach:
        failures = state.failures + 1
        failed = failures > gate.failure_limit
        told = f"{told}: {breach}" + ("" if failed else f"; {failures} of {gate.failure_limit} tolerated failures")
        verdict = Verdict.FAIL if failed else Verdict.INSUFFICIENT
        return state.model_copy(update={"verdict": verdict, "failures": failures, "successes": 0, "message": told})
    successes = min(state.successes + 1, gate.consecutive_success)
    passed = successes >= gate.consecutive_success
    told += "" if passed else f"; {successes} of {gate.consecutive_success} passing looks in a row"
    verdict = Verdict.PASS if passed else Verdict.INSUFFICIENT
    return state.model_copy(update={"verdict": verdict, "successes": successes, "message": told})


def _share(counts: Counts) -> Decimal:
    return (Decimal(counts.bad) / counts.total).quantize(Decimal("0.000001"))


def _percent(share: Decimal) -> str:
    """Percent with three significant digits, for people."""
    return f"{float(share) * 100:.3g} %"
