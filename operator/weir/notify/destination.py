"""One destination at work: what waits for it, how fast it is sent, and how often it is tried."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from weir.api.base import seconds
from weir.notify.alerts import Alert
from weir.notify.config import Destination, Target
from weir.notify.metrics import NotifyMetrics
from weir.notify.rate import TokenBucket
from weir.notify.sender import Message, Refused, Sender, Undelivered
from weir.runtime.clock import Clock
from weir.runtime.queue import Backoff

_log = logging.getLogger(__name__)

MOST_WAITING = 500
"""Alerts that may wait; beyond them the oldest is dropped."""

_BACKOFF = Backoff(base=1.0, cap=60.0, jitter=0.5)
_LONGEST_ASKED = 300.0
"""Seconds of Retry-After that are heeded at most."""

Settled = Callable[[str, Sequence[Alert]], None]
"""Told of the alerts that need not be sent again, with the destination's name."""


class Courier:
    """Sends what is offered, one message after the other, beside all other destinations."""

    def __init__(
        self,
        target: Target,
        sender: Sender,
        settled: Settled,
        *,
        clock: Clock,
        metrics: NotifyMetrics,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``jitter``: a number in [0, 1) that spreads retries."""
        self.target = target
        self._sender, self._settled = sender, settled
        self._clock, self._metrics, self._jitter = clock, metrics, jitter
        rate = target.destination.rate
        self._bucket = TokenBucket(rate.burst, rate.per_minute, clock)
        self._waiting: deque[Alert] = deque()
        self._sending: tuple[Alert, ...] = ()
        self._known: set[str] = set()
        self._dropped = 0
        self._behind = False
        """Whether the last message did not arrive, or could not hold all; then what waits goes out together."""
        self._filled = asyncio.Event()

    @property
    def destination(self) -> Destination:
        """What is configured."""
        return self.target.destination

    @property
    def pending(self) -> tuple[Alert, ...]:
        """What was offered and is not settled, oldest first."""
        return (*self._sending, *self._waiting)

    def offer(self, alert: Alert) -> None:
        """Puts an alert in line, unless it is there already; never waits."""
        if alert.id in self._known:
            return
        self._known.add(alert.id)
        self._waiting.append(alert)
        if len(self._waiting) > MOST_WAITING:
            self._drop(self._waiting.popleft())
        self._show()
        self._filled.set()

    def withdraw(self, keep: Callable[[Alert], bool]) -> None:
        """Takes back what still waits and is not to be told any more."""
        gone = {alert.id for alert in self._waiting if not keep(alert)}
        if gone:
            self._waiting = deque(alert for alert in self._waiting if alert.id not in gone)
            self._known -= gone
            self._show()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        while True:
            if not self._waiting:
                self._filled.clear()
                await self._filled.wait()
            waited = await self._bucket.take()
            if not self._waiting:
                continue  # withdrawn meanwhile
            message = self._next(together=waited or self._behind)
            result = await self._deliver(message)
            self._behind = result == "failed" or (len(message.alerts) > 1 and bool(self._waiting))
            self._metrics.alerts.labels(self.destination.name, result).inc(len(message.alerts))
            self._known -= {alert.id for alert in message.alerts}
            self._sending = ()
            self._show()
            self._settled(self.destination.name, message.alerts)

    def _next(self, *, together: bool) -> Message:
        count = min(len(self._waiting), self._sender.most) if together or self._dropped else 1
        self._sending = tuple(self._waiting.popleft() for _ in range(count))
        message, self._dropped = Message(self._sending, self._dropped), 0
        return message

    def _drop(self, alert: Alert) -> None:
        self._dropped += 1
        self._known.discard(alert.id)
        self._metrics.alerts.labels(self.destination.name, "dropped").inc()
        if self._dropped == 1:
            _log.warning(
                "too many notifications wait, the oldest are dropped", extra={"destination": self.destination.name}
            )
        # Else it would be offered again at once, and push the next one out.
        self._settled(self.destination.name, (alert,))

    async def _deliver(self, message: Message) -> str:
        """Tries until it arrives or time is up; returns the result."""
        name, began = self.destination.name, self._clock.monotonic()
        patience, failures = seconds(self.destination.give_up_after), 0
        while True:
            try:
                await self._sender.send(message)
                return "sent"
            except Refused as error:
                _log.error("a notification was refused", extra={"destination": name, "why": str(error)})
                return "refused"
            except Undelivered as error:
                why, asked = str(error), min(error.retry_after, _LONGEST_ASKED)
            except Exception as error:  # whatever a client of such a place may raise; its text may be secret
                why, asked = type(error).__name__, 0.0
            left = began + patience - self._clock.monotonic()
            if left <= 0:
                _log.error("a notification was given up", extra={"destination": name, "why": why})
                return "failed"
            self._metrics.retries.labels(name).inc()
            _log.warning("a notification did not arrive, it is tried again", extra={"destination": name, "why": why})
            wait = max(asked, _BACKOFF.delay(failures, 1.0 - self._jitter()))
            await self._clock.sleep(min(wait, max(left, 0.1)))
            failures += 1

    def _show(self) -> None:
        self._metrics.waiting.labels(self.destination.name).set(len(self.pending))
