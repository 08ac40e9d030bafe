"""Time as an argument, so that tests can own it."""

from __future__ import annotations

import datetime
from typing import Protocol


class Clock(Protocol):
    """The readings of time that collection needs."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def now(self) -> datetime.datetime:
        """Wall-clock time; read once when collection for a release begins."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of monotonic time."""
        ...
