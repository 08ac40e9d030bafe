"""Runs all reading of evidence of one operator process, and answers what it has seen; idle with nothing to watch."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf

from weir.api.gate import Gate, Metrics
from weir.evidence.clock import Clock
from weir.evidence.errors import DataError
from weir.evidence.history import RETRY, PastTask
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.noise import ReleaseMemory
from weir.evidence.pods import ArmPods, Pod, RolloutKey
from weir.evidence.prometheus import Prometheus
from weir.evidence.release import Release
from weir.evidence.scrape import Scraper
from weir.evidence.stored import Stored
from weir.evidence.tasks import BatchKey, BatchTask, CustomTask, PodTask, Sources, Task, ThresholdTask
from weir.release.decision import Collect
from weir.release.observation import Share, Window

__all__ = ["ArmPods", "Collector", "Pod", "RolloutKey"]

_log = logging.getLogger(__name__)


@dataclass
class _Scheduled:
    task: Task
    interval: float
    due: float
    phase: float
    running: bool = False
    error: str = ""


class Collector:
    """Counts for every release that is registered. All methods belong to the event loop that runs ``run``."""

    def __init__(
        self,
        clock: Clock,
        *,
        on_change: Callable[[RolloutKey], None] = lambda _: None,
        metrics: EvidenceMetrics | None = None,
        scraper: Scraper | None = None,
        prometheus: Prometheus | None = None,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._sources = Sources(
            scraper or Scraper(),
            prometheus or Prometheus(),
            Prometheus(workers=1),
            metrics or EvidenceMetrics(),
            clock.monotonic,
        )
        self._releases: dict[RolloutKey, Release] = {}
        self._memories: dict[RolloutKey, ReleaseMemory] = {}
        self._scheduled: dict[Hashable, _Scheduled] = {}
        self._wake = asyncio.Event()

    # --- What the shell asks -------------------------------------------------------------------------------------

    def watch(
        self,
        key: RolloutKey,
        collect: Collect,
        gates: tuple[Gate, ...],
        metrics: Metrics,
        pods: ArmPods,
        *,
        stored: Stored | None = None,
    ) -> None:
        """Gather evidence for a release from now on; call it again whenever pods change, as often as you like.

        Another stage, other gates or another source start from nothing; ``judging`` may turn on without that.
        Reading begins at ``collect.since``; one more than a minute ahead means a clock was set back, and begins now.
        What is watched anew goes on where ``stored`` says that it left off, as far as that is about the same.
        """
        now, stored = self._clock.monotonic(), stored or Stored()
        release = self._releases.get(key)
        if release is not None and release.same(collect, gates, metrics):
            release.compare(stored.edges)
            if (release.collect, release.pods) == (collect, pods):
                return
            release.update(collect, pods, now)
        else:
            self.pause(key)
            wall, memory = self._clock.now().timestamp(), self._memories.get(key)
            if memory is None or memory.release != collect.release:
                memory = self._memories[key] = ReleaseMemory(collect.release, stored.remembered, stored.reckoned)
            self._releases[key] = Release(
                key, collect, gates, metrics, pods, now=now, wall=wall, memory=memory, resume=stored.resume
            )
        self._releases[key].compare(stored.edges)
        self._plan()

    def forget(self, key: RolloutKey) -> None:
        """Stop, and drop what was seen. Unknown keys are fine."""
        self._memories.pop(key, None)
        self.pause(key)

    def pause(self, key: RolloutKey) -> None:
        """Stop, but remember for the release's next stage how noisy stable is. Unknown keys are fine."""
        release = self._releases.pop(key, None)
        if release is not None:
            release.closed = True
            self._plan()

    def windows(self, key: RolloutKey, after: Mapping[str, float]) -> tuple[Window, ...]:
        """Closed windows of each gate that end later than ``after[gate]`` (seconds since the epoch).

        What ends by then is acknowledged: it is never returned again. The same question gets the same answer.
        """
        release = self._releases.get(key)
        return release.windows(after) if release is not None else ()

    def share(self, key: RolloutKey) -> Share | None:
        """Requests of each arm since collection began; None when unknown (not read yet, or no such metric)."""
        release = self._releases.get(key)
        return release.share if release is not None else None

    def collecting(self, key: RolloutKey) -> str:
        """Key of the collection that is registered; empty when none is."""
        release = self._releases.get(key)
        return release.collect.key if release is not None else ""

    def problem(self, key: RolloutKey) -> str | None:
        """What is wrong with reading just now, for people; None when nothing is."""
        release = self._releases.get(key)
        return "; ".join(sorted(set(release.problems.values()))) or None if release is not None else None

    # --- The loop ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    for scheduled in self._due():
                        group.create_task(self._run(scheduled))
                    await self._pause()
        finally:
            self._sources.prometheus.close()
            self._sources.past.close()
            await self._sources.scraper.close()

    def _due(self) -> Iterator[_Scheduled]:
        now = self._clock.monotonic()
        for release in list(self._releases.values()):
            if release.deadline() <= now:
                self._advance(release)
        for scheduled in list(self._scheduled.values()):
            if scheduled.due <= now and not scheduled.running:
                # The first read is at once; the phase then spreads the reads of all pods over the interval.
                scheduled.due = now + (scheduled.phase or scheduled.interval)
                scheduled.phase = 0.0
                scheduled.running = True
                yield scheduled

    async def _pause(self) -> None:
        now = self._clock.monotonic()
        reads = (s.due for s in self._scheduled.values() if not s.running)
        until = min([*reads, *(release.deadline() for release in self._releases.values())], default=inf)
        waiting: list[asyncio.Future[object]] = [asyncio.ensure_future(self._wake.wait())]
        if until < inf:
            waiting.append(asyncio.ensure_future(self._clock.sleep(max(0.0, until - now))))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiting:
                waiter.cancel()

    async def _run(self, scheduled: _Scheduled) -> None:
        try:
            for release in await scheduled.task.run():
                self._advance(release)
            scheduled.error = ""
        except Exception as error:
            # A fault of ours must not end the collection of all others; it is told once, not at every read.
            if repr(error) != scheduled.error:
                _log.exception("reading evidence failed: %s", type(scheduled.task).__name__)
            scheduled.error = repr(error)
        finally:
            scheduled.running = False
            self._wake.set()

    def _advance(self, release: Release) -> None:
        if release.closed:
            return
        if release.advance(self._clock.monotonic()):
            self._on_change(release.key)

    # --- What there is to read -----------------------------------------------------------------------------------

    def _plan(self) -> None:
        now = self._clock.monotonic()
        wanted: dict[Hashable, tuple[Task, float, float]] = {}
        for release in self._releases.values():
            for key, task, interval in self._reads(release):
                wanted[key] = (task, interval, max(now, release.begin))
        for key in self._scheduled.keys() - wanted.keys():
            del self._scheduled[key]
        for key, (task, interval, begin) in wanted.items():
            scheduled = self._scheduled.get(key)
            if scheduled is None:
                fraction = zlib.crc32(repr(key).encode()) / 2**32
                self._scheduled[key] = _Scheduled(task, interval, begin, interval * (0.25 + 0.75 * fraction))
            else:
                # A query that several releases share must not wait for the one that begins last.
                scheduled.interval, scheduled.due = interval, min(scheduled.due, begin + interval)
        self._wake.set()

    def _reads(self, release: Release) -> Iterator[tuple[Hashable, Task, float]]:
        interval, identity = release.read_interval, (release.key, id(release))
        if release.metrics.prometheus is None:
            for arm in release.arms:
                for pod in release.pods.of(arm):
                    yield (identity, arm, pod), PodTask(self._sources, release, arm, pod), interval
        else:
            yield from self._batch(release, "requests")
            if release.latency:
                yield from self._batch(release, "buckets")
            if release.past_wanted:
                yield (identity, "past"), PastTask(self._sources, release), RETRY
        if release.gateway.windows:
            yield from self._gateway(release)
        for gate in release.gates:
            if gate.name in release.custom:
                yield (identity, gate.name), CustomTask(self._sources, release, gate), interval
            if gate.name in release.values:
                yield (identity, gate.name), ThresholdTask(self._sources, release, gate), min(interval, 1.0)

    def _gateway(self, release: Release) -> Iterator[tuple[Hashable, Task, float]]:
        if release.metrics.prometheus is not None:
            yield from self._batch(release, "gateway")
            return
        error = DataError("gateway-errors needs a Prometheus: set spec.metrics.prometheus.address")
        at = release.epoch(self._clock.monotonic())
        for arm in release.arms:
            release.gateway.failed(arm, "gateway", at, error)

    def _batch(self, release: Release, template: str) -> Iterator[tuple[Hashable, Task, float]]:
        prometheus = release.metrics.prometheus
        assert prometheus is not None
        key = BatchKey(prometheus.address.rstrip("/"), template, release.metrics.names)
        sharing = [r for r in self._releases.values() if self._shares(r, key)]
        yield key, BatchTask(self._sources, key, partial(self._sharing, key)), min(r.read_interval for r in sharing)

    def _shares(self, release: Release, key: BatchKey) -> bool:
        prometheus = release.metrics.prometheus
        if prometheus is None or prometheus.address.rstrip("/") != key.address or release.metrics.names != key.names:
            return False
        if key.template == "gateway":
            return bool(release.gateway.windows)
        return key.template == "requests" or bool(release.latency)

    def _sharing(self, key: BatchKey) -> list[Release]:
        return [release for release in self._releases.values() if self._shares(release, key)]
