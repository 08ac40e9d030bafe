"""A work queue of keys: each key waits at most once and is worked on by at most one worker at a time."""

import asyncio
import heapq
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .clock import Clock, SystemClock
from .metrics import Metrics

K = TypeVar("K", bound=Hashable)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delay: `base` seconds, doubled with each failure up to `cap`, less at most its `jitter` (0-1)."""

    base: float = 0.005
    cap: float = 300.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after the given number of earlier failures; `chance` in [0, 1)."""
        # 2**64 already dwarfs any cap; a larger exponent would only overflow.
        return min(self.cap, self.base * 2.0 ** min(failures, 64)) * (1.0 - self.jitter * chance)


class KeyedQueue(Generic[K]):
    """Keys, put in line by `add`, `add_after` or `retry`, given to workers that call `work`.

    `work(key)` returns the seconds after which the key wants to be worked on again, or None; an exception puts the key
    off by the back-off (so does a call of `retry` within the work). A key that is added while its work runs is worked
    on once more afterwards.
    All methods must be called on the event loop that runs the queue.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 4,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._workers = workers
        self._backoff = backoff if backoff is not None else Backoff()
        self._clock = clock if clock is not None else SystemClock()
        self._chance = chance
        self._line: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # key -> when it was added
        self._running: dict[K, float] = {}  # key -> when its work began
        self._failures: dict[K, int] = {}
        self._deadlines: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._ready = asyncio.Event()
        self._timer_changed = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._metrics = metrics if metrics is not None else Metrics()
        self._metrics.queue_depth.labels(name).set_function(lambda: len(self._line))
        self._metrics.queue_unfinished.labels(name).set_function(self._unfinished)
        self._metrics.queue_longest.labels(name).set_function(self.oldest_running)

    # -- putting in line --

    def add(self, key: K) -> None:
        """Put `key` in line now, unless it waits already."""
        if self._stopping or key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        self._metrics.queue_adds.labels(self.name).inc()
        if key not in self._running:
            self._enqueue(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put `key` in line after `seconds`; of several deadlines for a key only the earliest is kept."""
        if seconds <= 0:
            self.add(key)
            return
        deadline = self._clock.monotonic() + seconds
        if self._stopping or self._deadlines.get(key, float("inf")) <= deadline:
            return
        self._deadlines[key] = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), key))
        self._timer_changed.set()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Put `key` in line after its back-off (but not before `at_least` seconds); returns the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, self._backoff.delay(failures, self._chance()))
        self._metrics.queue_retries.labels(self.name).inc()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the back-off of `key` from the beginning again."""
        self._failures.pop(key, None)

    # -- looking at it --

    def __len__(self) -> int:
        return len(self._line)

    def deadline(self, key: K) -> float | None:
        """When `key` will be put in line, on the monotonic clock; None when no wait is pending."""
        return self._deadlines.get(key)

    def oldest_running(self) -> float:
        """Age in seconds of the oldest work in progress, 0 when none runs."""
        return self._clock.monotonic() - min(self._running.values()) if self._running else 0.0

    def idle(self) -> bool:
        """True when nothing waits in line and nothing runs (pending deadlines do not count)."""
        return not self._line and not self._running

    def _unfinished(self) -> float:
        now = self._clock.monotonic()
        return sum(now - started for started in self._running.values())

    # -- life --

    def start(self) -> None:
        """Start the workers and the timer on the running event loop."""
        if self._tasks:
            raise RuntimeError(f"queue {self.name} is running already")
        self._tasks = [
            asyncio.create_task(self._worker(), name=f"{self.name} worker {i}") for i in range(self._workers)
        ]
        self._tasks.append(asyncio.create_task(self._timer(), name=f"{self.name} timer"))

    async def shutdown(self, grace: float) -> bool:
        """Take no more keys, let running work finish for up to `grace` seconds, then cancel it.

        Returns:
            True when all running work finished by itself.
        """
        self._stopping = True
        self._ready.set()
        self._timer_changed.set()
        if not self._tasks:
            return True
        patience = asyncio.create_task(self._clock.sleep(grace))
        finished = asyncio.create_task(self._all_finished())
        await asyncio.wait({finished, patience}, return_when=asyncio.FIRST_COMPLETED)
        in_time = finished.done()
        for task in (patience, finished, *self._tasks):
            task.cancel()
        await asyncio.gather(patience, finished, *self._tasks, return_exceptions=True)
        self._tasks = []
        return in_time

    async def _all_finished(self) -> None:
        await asyncio.wait(self._tasks)

    def _enqueue(self, key: K) -> None:
        self._line.append(key)
        self._ready.set()

    async def _worker(self) -> None:
        while not self._stopping:
            if not self._line:
                self._ready.clear()
                await self._ready.wait()
                continue
            key = self._line.popleft()
            now = self._clock.monotonic()
            self._metrics.queue_wait_seconds.labels(self.name).observe(now - self._dirty.pop(key))
            self._running[key] = now
            try:
                await self._work_on(key)
            finally:
                began = self._running.pop(key)
                self._metrics.queue_work_seconds.labels(self.name).observe(self._clock.monotonic() - began)
                if key in self._dirty:
                    self._enqueue(key)

    async def _work_on(self, key: K) -> None:
        failures = self._failures.get(key, 0)
        try:
            again = await self._work(key)
        except Exception:
            delay = self.retry(key)
            _log.exception("work on %s failed, again in %.3f s", key, delay)
            return
        if self._failures.get(key, 0) == failures:
            # Unless the work itself asked for a retry, it went well.
            self.forget(key)
        if again is not None:
            self.add_after(key, again)

    async def _timer(self) -> None:
        while not self._stopping:
            self._timer_changed.clear()
            self._release_due()
            waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._timer_changed.wait())]
            if self._heap:
                wait = self._heap[0][0] - self._clock.monotonic()
                waits.append(asyncio.create_task(self._clock.sleep(wait)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waits:
                    waiter.cancel()

    def _release_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, key = heapq.heappop(self._heap)
            # An entry that an earlier deadline has replaced is only a shell.
            if self._deadlines.get(key) == deadline:
                del self._deadlines[key]
                self.add(key)
