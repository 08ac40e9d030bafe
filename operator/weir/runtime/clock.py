"""Time as an argument, so that tests can own it."""

import asyncio
import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """The three readings of time that the runtime needs."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def now(self) -> datetime.datetime:
        """Wall-clock time in UTC; only for what people read, never for deciding who is late."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    def now(self) -> datetime.datetime:
        """Wall-clock time in UTC."""
        return datetime.datetime.now(datetime.UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


def micro_time(moment: datetime.datetime) -> str:
    """`moment` as Kubernetes writes a MicroTime: UTC, six digits, `Z`."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
