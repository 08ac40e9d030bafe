"""Plain thresholds: looks at the counts of one arm, each of which keeps or breaks a bound (``max``, ``min``)."""

from __future__ import annotations

from decimal import Decimal

from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release.observation import Window


def look(gate: Gate, state: GateStatus, window: Window) -> GateStatus:
    """The gate's state after one more readable window."""
    if gate.template == "threshold":
        return _threshold(gate, state, window)
    candidate = state.pending_candidate + window.candidate
    stable = state.pending_stable + (window.stable or Counts())
    seen = state.model_copy(update={"pending_candidate": candidate, "pending_stable": stable})
    if candidate.total < gate.min_samples:
        return _too_few(gate, state, seen.model_copy(update={"window_start": _start(state, window)}))
    value = _share(candidate)
    stable_value = _share(stable) if stable.total else None
    breach = breach_of(gate, value)
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


def _too_few(gate: Gate, before: GateStatus, seen: GateStatus) -> GateStatus:
    """Not enough requests for a look: a Pass from earlier looks stands as long as requests keep coming."""
    candidate = seen.pending_candidate
    silent = candidate.total == before.pending_candidate.total
    if before.verdict is Verdict.PASS and not silent:
        return seen.model_copy(update={"window_start": before.window_start})
    counted = f"{candidate.total} of {gate.min_samples} requests"
    if silent and candidate.total == 0:
        message = f"no requests seen (n=0), needs {gate.min_samples}"
        return seen.model_copy(update={"verdict": Verdict.NO_DATA, "successes": 0, "message": message})
    return seen.model_copy(update={"verdict": Verdict.INSUFFICIENT, "message": f"{counted} so far"})


def _threshold(gate: Gate, state: GateStatus, window: Window) -> GateStatus:
    if window.value is None:
        return state.model_copy(
            update={"verdict": Verdict.NO_DATA, "successes": 0, "message": "the query gave no value"}
        )
    value = window.value
    if not value.is_finite():
        message = f"the query gave {value}, which is no number to compare"
        return state.model_copy(update={"verdict": Verdict.ERROR, "successes": 0, "message": message})
    breach = breach_of(gate, value)
    measured = state.model_copy(update={"value": value, "window_start": window.start})
    return _count(gate, measured, breach, f"value {value}")


def breach_of(gate: Gate, value: Decimal) -> str:
    """What bound a value breaks, in words; empty when it keeps them all."""
    shown = str if gate.template == "threshold" else _percent
    if gate.max is not None and value > gate.max:
        return f"above max {shown(gate.max)}"
    if gate.min is not None and value < gate.min:
        return f"below min {shown(gate.min)}"
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
