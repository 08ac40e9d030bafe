"""Raw counters become increments: each event at most once, and exactly once when nothing is missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.evidence.counters import Counters, Series, Values
from weir.evidence.errors import DataError


def ok(value: float) -> dict[Series, Values]:
    return {("200",): (value,)}


def total(
    counters: Counters,
    unit: str,
    at: float,
    values: dict[Series, Values],
    *,
    born: float | None = None,
    process: float | None = None,
) -> int:
    return sum(round(i.amounts[0]) for i in counters.read(unit, at, values, born=born, process=process))


def test_given_an_old_pod_when_first_read_then_its_counts_are_a_baseline() -> None:
    counters = Counters()
    assert total(counters, "a", 1, ok(1000)) == 0
    assert total(counters, "a", 3, ok(1007)) == 7


def test_given_a_pod_born_during_collection_when_first_read_then_it_counts_from_zero() -> None:
    counters = Counters()
    found = counters.read("a", 5, ok(12), born=4)
    assert [(i.amounts, i.after) for i in found] == [((12,), 4)]


def test_given_a_pod_that_was_read_when_a_series_appears_then_it_counts_from_zero() -> None:
    counters = Counters()
    counters.read("a", 1, ok(1000))
    found = counters.read("a", 3, {**ok(1000), ("500",): (3,)})
    assert [(i.series, i.amounts, i.after) for i in found] == [(("500",), (3,), 1)]


def test_given_a_restart_when_a_counter_falls_then_it_counts_from_zero() -> None:
    counters = Counters()
    counters.read("a", 1, ok(1000))
    assert total(counters, "a", 3, ok(4)) == 4
    assert total(counters, "a", 5, ok(6)) == 2


def test_given_a_histogram_when_one_counter_of_it_falls_then_all_of_it_was_restarted() -> None:
    counters = Counters()
    counters.read("a", 1, {("x",): (90, 85)})
    (increment,) = counters.read("a", 3, {("x",): (100, 80)})
    assert increment.amounts == (100, 80)


def test_given_another_process_when_its_counters_are_higher_already_then_they_count_from_zero() -> None:
    counters = Counters()
    counters.read("a", 1, ok(10), process=100.0)
    assert total(counters, "a", 3, ok(30), process=200.0) == 30


def test_given_several_processes_behind_one_port_when_an_earlier_one_answers_again_then_it_is_an_error() -> None:
    counters = Counters()
    counters.read("a", 1, ok(1000), process=100.0)
    counters.read("a", 3, ok(900), process=200.0)
    with pytest.raises(DataError, match="several processes answer on the metrics port of a"):
        counters.read("a", 5, ok(1001), process=100.0)


def test_given_missed_reads_when_the_pod_answers_again_then_nothing_is_lost_or_doubled() -> None:
    counters = Counters()
    counters.read("a", 1, ok(10))
    (increment,) = counters.read("a", 61, ok(40))
    assert (increment.amounts, increment.after) == ((30,), 1)


def test_given_a_series_that_vanished_when_it_returns_then_only_the_difference_counts() -> None:
    counters = Counters()
    counters.read("a", 1, {**ok(10), ("500",): (5,)})
    assert total(counters, "a", 3, ok(10)) == 0
    assert total(counters, "a", 5, {**ok(10), ("500",): (7,)}) == 2


def test_given_a_sum_over_pods_when_it_falls_then_it_is_only_a_new_baseline() -> None:
    counters = Counters(on_drop="rebase")
    counters.read("arm", 1, ok(1000))
    assert total(counters, "arm", 3, ok(700)) == 0
    assert total(counters, "arm", 5, ok(705)) == 5


def test_given_a_delayed_source_when_the_first_change_shows_then_it_is_the_baseline() -> None:
    counters = Counters(settle=True)
    assert [total(counters, "a", t, ok(v)) for t, v in ((1, 10), (2, 10), (3, 30), (4, 30), (5, 33))] == [0, 0, 0, 0, 3]


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.integers(0, 50)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("missed"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=60,
)


@given(before=st.integers(0, 1000), steps=STEPS, named=st.booleans())
def test_given_any_history_then_no_event_counts_twice_and_none_is_lost_that_a_read_could_show(
    before: int, steps: list[Step], named: bool
) -> None:
    counters, value, process = Counters(), before, 1.0
    counters.read("a", 0, ok(value), process=process if named else None)
    counted = happened = shown = pending = 0
    restarted = False
    for at, (what, n) in enumerate(steps, 1):
        if what == "events":
            value, happened, pending = value + n, happened + n, pending + n
        elif what == "restart":
            value, pending, process, restarted = 0, 0, process + 1, True
        elif what == "read":
            counted += total(counters, "a", at, ok(value), process=process if named else None)
            shown, pending = shown + pending, 0
    assert counted <= shown <= happened
    if named or not restarted:
        assert counted == shown


def test_given_a_sum_of_a_quantity_when_read_then_its_parts_are_not_rounded() -> None:
    counters = Counters(on_drop="rebase", whole=False)
    counters.read("a", 1, {("mean",): (10, 2.25)})
    (increment,) = counters.read("a", 3, {("mean",): (12, 3.75)})
    assert increment.amounts == (2, 1.5)
    assert counters.standing("a") == ({("mean",): (12, 3.75)}, None)


def test_given_a_source_that_lags_when_what_was_counted_is_known_then_the_first_read_needs_not_settle() -> None:
    counters = Counters(settle=True)
    counters.read("a", 1, ok(10), known=True)
    assert counters.standing("a") == ({("200",): (10,)}, None)
    assert total(counters, "a", 3, ok(14)) == 4
    counters.read("b", 1, ok(10))
    assert counters.standing("b") is None
    assert total(counters, "b", 3, ok(14)) == 0
