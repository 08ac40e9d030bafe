"""Times of a cron line: each served once, those that were missed together as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.api.datacontractstatus import DataContractStatus
from weir.controller.schedule import ScheduleError, Slots, slots

HOURLY = "0 * * * *"


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-11-21T{text}+00:00").timestamp()


def status(announced: str | None = None, served: str | None = None) -> DataContractStatus:
    return DataContractStatus(
        next_check_at=at(announced) if announced else None, checked_slot=at(served) if served else None
    )


def test_given_no_cron_line_then_nothing_is_due_ever() -> None:
    assert slots(None, status("10:00:00"), at("11:00:00")) == Slots()


def test_given_a_new_contract_then_it_is_checked_at_the_next_time_and_not_before() -> None:
    assert slots(HOURLY, status(), at("10:20:00")) == Slots(None, at("11:00:00"))


@pytest.mark.parametrize("now", ["11:00:00", "11:00:00.400", "11:20:00"])
def test_given_the_time_has_come_then_it_is_due_and_named(now: str) -> None:
    found = slots(HOURLY, status("11:00:00"), at(now))

    assert (found.due, found.upcoming, found.name) == (at("11:00:00"), at("12:00:00"), "202611211100")


def test_given_the_time_was_served_before_the_status_was_written_again_then_it_is_not_due() -> None:
    assert slots(HOURLY, status("11:00:00", "11:00:00"), at("11:00:05")).due is None


def test_given_hours_without_anybody_looking_then_only_the_last_time_is_served() -> None:
    found = slots(HOURLY, status("04:00:00", "03:00:00"), at("11:20:00"))

    assert (found.due, found.upcoming) == (at("11:00:00"), at("12:00:00"))


def test_given_another_cron_line_then_what_was_announced_is_still_served_once() -> None:
    found = slots("30 23 * * *", status("11:00:00", "10:00:00"), at("11:00:01"))

    assert (found.due, found.upcoming) == (at("11:00:00"), at("23:30:00"))


def test_given_a_line_that_is_none_then_the_field_is_named() -> None:
    with pytest.raises(ScheduleError, match=r"spec\.schedule\.cron: '99 \* \* \* \*'"):
        slots("99 * * * *", status(), at("10:00:00"))


def test_given_a_day_that_never_comes_then_nothing_is_announced() -> None:
    with pytest.raises(ScheduleError):
        slots("0 0 31 2 *", status(), at("10:00:00"))


@given(
    looks=st.lists(st.floats(0.1, 7200.0), min_size=1, max_size=40),
    cron=st.sampled_from([HOURLY, "*/7 * * * *", "* * * * *", "30 2 * * *"]),
)
def test_given_any_looks_then_no_time_is_served_twice_and_the_last_one_always(looks: list[float], cron: str) -> None:
    now, known, served = at("00:00:30"), DataContractStatus(), []
    for pause in looks:
        found = slots(cron, known, now)
        served += [found.due] if found.due is not None else []
        slot = found.due if found.due is not None else known.checked_slot
        known = DataContractStatus(next_check_at=found.upcoming, checked_slot=slot)
        assert found.upcoming is not None
        assert found.upcoming > now
        now += pause
    assert served == sorted(set(served))
    assert all(datetime.fromtimestamp(slot, UTC).second == 0 for slot in served)
    assert all(slot <= now for slot in served)
    assert len(served) <= timedelta(seconds=now - at("00:00:30")) / timedelta(minutes=1) + 1
