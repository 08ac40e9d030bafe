"""From windows to verdicts, row by row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release.gates import fresh, judge, measurement, worst
from weir.release.observation import Window

T0 = 1000.0


def make(**fields: Any) -> Gate:
    base = {"name": "errors", "template": "http-errors", "max": "0.05", "minSamples": 20}
    return Gate.model_validate({**base, **fields})


def look(
    number: int, bad: int = 0, total: int = 100, stable: tuple[int, int] | None = (1, 100), **fields: Any
) -> Window:
    """Window ``number`` of ten seconds."""
    start = T0 + 10 * number
    arm = None if stable is None else Counts(bad=stable[0], total=stable[1])
    return Window("errors", start, start + 10, Counts(bad=bad, total=total), arm, **fields)


def value(number: int, text: str | None) -> Window:
    start = T0 + 10 * number
    return Window("errors", start, start + 10, value=None if text is None else Decimal(text))


def told(gate: Gate, *windows: Window) -> GateStatus:
    return after(gate, fresh(gate), *windows)


def after(gate: Gate, state: GateStatus, *windows: Window) -> GateStatus:
    return judge([gate], {gate.name: state}, {}, windows, judgement=Judgement()).gates[0]


@pytest.mark.parametrize(
    ("gate", "windows", "verdict"),
    [
        (make(), [], Verdict.INSUFFICIENT),
        (make(), [look(0)], Verdict.PASS),
        (make(), [look(0, 5)], Verdict.PASS),
        (make(), [look(0, 6)], Verdict.FAIL),
        (make(), [look(0, 0, 19)], Verdict.INSUFFICIENT),
        (make(), [look(0, 0, 20)], Verdict.PASS),
        (make(), [look(0, 0, 10), look(1, 0, 10)], Verdict.PASS),
        (make(), [look(0, 1, 10), look(1, 1, 10)], Verdict.FAIL),
        (make(), [look(0, 0, 0)], Verdict.NO_DATA),
        (make(), [look(0), look(1, 0, 0)], Verdict.NO_DATA),
        (make(), [look(0), look(1, 3, 3)], Verdict.PASS),
        (make(), [look(0), look(1, 3, 3), look(2, 0, 0)], Verdict.INSUFFICIENT),
        (make(), [look(0, error="down")], Verdict.ERROR),
        (make(), [look(0), look(1, error="down")], Verdict.ERROR),
        (make(), [look(0, error="down"), look(1)], Verdict.PASS),
        (make(), [look(0, 50), look(1), look(2)], Verdict.FAIL),
        (make(), [look(0, 50), look(1, error="down")], Verdict.FAIL),
        (make(failureLimit=1), [look(0, 50)], Verdict.INSUFFICIENT),
        (make(failureLimit=1), [look(0, 50), look(1)], Verdict.PASS),
        (make(failureLimit=1), [look(0, 50), look(1), look(2, 50)], Verdict.FAIL),
        (make(consecutiveSuccess=2), [look(0)], Verdict.INSUFFICIENT),
        (make(consecutiveSuccess=2), [look(0), look(1)], Verdict.PASS),
        (make(consecutiveSuccess=2), [look(0), look(1, error="down"), look(2)], Verdict.INSUFFICIENT),
        (make(consecutiveSuccess=2), [look(0), look(1, 0, 0), look(2)], Verdict.INSUFFICIENT),
        (make(consecutiveSuccess=2, failureLimit=1), [look(0), look(1, 50), look(2)], Verdict.INSUFFICIENT),
        (make(), [look(0, stable=None)], Verdict.PASS),
    ],
)
def test_given_counts_when_they_are_judged_then_the_verdict_is(
    gate: Gate, windows: list[Window], verdict: Verdict
) -> None:
    assert told(gate, *windows).verdict is verdict


@pytest.mark.parametrize(
    ("bounds", "text", "verdict"),
    [
        ({"max": "10"}, "10", Verdict.PASS),
        ({"max": "10"}, "10.1", Verdict.FAIL),
        ({"max": None, "min": "3"}, "3", Verdict.PASS),
        ({"max": None, "min": "3"}, "2.9", Verdict.FAIL),
        ({"max": None, "min": "3"}, "Infinity", Verdict.ERROR),
        ({"max": "10"}, "-Infinity", Verdict.ERROR),
        ({"max": "10"}, "NaN", Verdict.ERROR),
        ({"max": "10"}, "sNaN", Verdict.ERROR),
        ({"max": "10"}, None, Verdict.NO_DATA),
    ],
)
def test_given_a_threshold_when_a_value_is_judged_then_the_verdict_is(
    bounds: dict[str, Any], text: str | None, verdict: Verdict
) -> None:
    gate = make(template="threshold", query="up", **bounds)
    assert told(gate, value(0, text)).verdict is verdict


def test_given_a_window_that_was_counted_when_it_comes_again_then_nothing_is_counted_twice() -> None:
    gate = make(minSamples=1000)
    once = told(gate, look(0), look(1))
    again = after(gate, once, look(0), look(1))
    assert again == once
    assert again.pending_candidate.total == 200


def test_given_a_window_that_overlaps_what_was_counted_when_it_is_judged_then_it_is_left_out() -> None:
    gate = make(minSamples=1000)
    once = told(gate, look(0))
    overlapping = Window("errors", T0 + 5, T0 + 20, Counts(total=100), Counts(total=100))
    assert after(gate, once, overlapping) == once
    assert after(gate, once, look(1)).pending_candidate.total == 200


def test_given_windows_in_any_order_when_they_are_judged_then_time_decides() -> None:
    gate = make(failureLimit=1)
    windows = [look(0, 50), look(1), look(2)]
    assert told(gate, *reversed(windows)) == told(gate, *windows)


def test_given_counts_of_several_windows_when_they_make_one_look_then_its_span_is_theirs() -> None:
    state = told(make(minSamples=30), look(0, 0, 10), look(1, 0, 10), look(2, 0, 10))
    assert (state.window_start, state.window_end) == (T0, T0 + 30)
    assert state.candidate == Counts(bad=0, total=30)
    again = measurement(state)
    assert (again.window_start, again.window_end, again.candidate.total) == (T0, T0 + 30, 30)


def test_given_texts_from_outside_when_they_are_long_then_the_status_stays_acceptable() -> None:
    state = told(make(), look(0, error="x" * 5000, query="y" * 5000))
    GateStatus.model_validate(state.to_dict())


def test_given_several_verdicts_when_one_is_to_be_shown_then_the_worst_is() -> None:
    assert worst([Verdict.PASS, Verdict.NO_DATA, Verdict.INSUFFICIENT]) is Verdict.NO_DATA
    assert worst([Verdict.ERROR, Verdict.FAIL]) is Verdict.FAIL
    assert worst([Verdict.PASS, Verdict.CANCELLED]) is Verdict.CANCELLED
    assert worst([]) is None
