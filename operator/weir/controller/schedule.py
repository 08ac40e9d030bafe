"""When the data of a contract is checked next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from weir.api.datacontractstatus import DataContractStatus


class ScheduleError(ValueError):
    """The line is no cron line; the message says why."""


@dataclass(frozen=True)
class Slots:
    """``due``: the time of the schedule to serve now, None where none is. ``upcoming``: the next one after now.

    Both in seconds since the epoch; ``upcoming`` is None without a schedule, or where no time is left.
    """

    due: float | None = None
    upcoming: float | None = None

    @property
    def name(self) -> str:
        """The slot that is due, as part of the check's name."""
        return datetime.fromtimestamp(self.due or 0.0, UTC).strftime("%Y%m%d%H%M")


def slots(cron: str | None, status: DataContractStatus, now: float) -> Slots:
    """What the schedule asks for now.

    However many times were missed while nobody looked, only the last of them is served, and each once. A schedule that
    was changed begins with its next time.

    Raises:
        ScheduleError: no cron line.
    """
    if cron is None:
        return Slots()
    upcoming = _tick(cron, now)
    announced = status.next_check_at
    if announced is None or announced > now:
        return Slots(upcoming=upcoming)
    # From just after now, since the time itself counts.
    due = max(announced, _tick(cron, now + 1, back=True) or announced)
    served = status.checked_slot
    return Slots(due if served is None or due > served else None, upcoming)


def _tick(cron: str, now: float, *, back: bool = False) -> float | None:
    """The time of the schedule after now, or before it with ``back``; None where there is none in 50 years."""
    try:
        return float(next(CronSim(cron, datetime.fromtimestamp(int(now), UTC), reverse=back)).timestamp())
    except StopIteration:
        return None
    except (CronSimError, OverflowError, ValueError) as error:
        raise ScheduleError(f"spec.schedule.cron: {cron!r} is no cron line: {error}") from None
