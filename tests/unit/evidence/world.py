"""A collector on a clock that tests own, with pods and a Prometheus that say what a test wants."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.evidence.fake_prometheus import FakePrometheus
from weir.api.gate import Gate, Metrics, PrometheusSource
from weir.evidence.collector import ArmPods, Collector, Pod
from weir.evidence.errors import ReadError
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.scrape import Page, Scraper, parse_page
from weir.evidence.stored import Stored
from weir.release.decision import Collect
from weir.release.observation import Window

KEY = ("prod", "digits")
EPOCH = 1_800_000_000.0
ERRORS = Gate(name="errors", template="http-errors", max=Decimal("0.05"), interval="10s")
SLOW = Gate(name="slow", template="http-latency", max=Decimal("0.05"), over="250ms", interval="10s")
COLLECT = Collect("1/0", "m-new", "m-old", EPOCH, True)


class FakeClock:
    """Time moves only when a test says so."""

    def __init__(self) -> None:
        self.time = 50.0
        self.skew = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(EPOCH + self.time - 50.0 + self.skew, datetime.UTC)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, future))
        await future

    async def forward(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, and everything that is due happen on the way."""
        for _ in range(round(seconds / step)):
            self.time += step
            for when, future in self._sleepers:
                if when <= self.time and not future.done():
                    future.set_result(None)
            self._sleepers = [(w, f) for w, f in self._sleepers if not f.done()]
            await settle()


async def settle() -> None:
    """Let all tasks that can run do so."""
    for _ in range(12):
        await asyncio.sleep(0)


@dataclass
class Server:
    """Counters of one pod."""

    ok: int = 0
    bad: int = 0
    slow: int = 0
    process: float = 1.0
    text: str | None = None
    error: ReadError | None = None
    within: dict[str, int] = field(default_factory=dict)
    """Requests within further bucket edges."""

    def page(self) -> str:
        return "".join(f'http_request_duration_seconds_bucket{{le="{le}"}} {n}\n' for le, n in self.within.items()) + (
            "# TYPE http_requests_total counter\n"
            f'http_requests_total{{code="200"}} {self.ok}\nhttp_requests_total{{code="500"}} {self.bad}\n'
            f'http_request_duration_seconds_bucket{{le="0.25"}} {self.ok + self.bad - self.slow}\n'
            f'http_request_duration_seconds_bucket{{le="+Inf"}} {self.ok + self.bad}\n'
            f"process_start_time_seconds {self.process}\n"
        )


class Pages(Scraper):
    """Pages by pod address."""

    def __init__(self, servers: dict[str, Server]) -> None:
        super().__init__()
        self.servers = servers
        self.reads: list[str] = []

    async def read(self, url: str, wanted: Collection[str]) -> Page:
        self.reads.append(url)
        server = self.servers[url.split("/")[2].partition(":")[0]]
        if server.error is not None:
            raise server.error
        return parse_page((server.text if server.text is not None else server.page()).encode(), wanted)


@dataclass
class World:
    clock: FakeClock
    pages: Pages
    collector: Collector
    changes: list[tuple[str, str]]
    registry: CollectorRegistry
    old: Server = field(default_factory=lambda: Server(ok=1000, bad=10))
    new: Server = field(default_factory=lambda: Server(ok=20, bad=20))
    task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the collector."""
        self.task = asyncio.create_task(self.collector.run())
        await settle()

    async def stop(self) -> None:
        """Kill it: nothing of what it knew is left."""
        assert self.task is not None
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task

    async def restart(self) -> None:
        """Kill the collector, and run another one."""
        await self.stop()
        metrics = EvidenceMetrics(CollectorRegistry())
        self.collector = Collector(self.clock, on_change=self.changes.append, metrics=metrics, scraper=self.pages)
        await self.start()

    def watch(
        self,
        collect: Collect = COLLECT,
        gates: tuple[Gate, ...] = (ERRORS,),
        metrics: Metrics | None = None,
        *,
        stored: Stored | None = None,
        pods: ArmPods | None = None,
    ) -> None:
        """What the reconciler does at every look."""
        self.collector.watch(KEY, collect, gates, metrics or Metrics(), pods or self.pods, stored=stored)

    @property
    def pods(self) -> ArmPods:
        return ArmPods((Pod("m-new-1", "10.0.0.2", 8080),), (Pod("m-old-1", "10.0.0.1", 8080),), "v2", "v1")

    def windows(self) -> tuple[Window, ...]:
        return self.collector.windows(KEY, {})

    def count(self, source: str, result: str) -> float:
        labels = {"source": source, "result": result}
        return self.registry.get_sample_value("evidence_reads_total", labels) or 0.0


async def pass_time(world: World, seconds: float, fake: FakePrometheus) -> None:
    """Let time pass second by second, waiting for the real threads to answer whatever was asked."""
    for _ in range(round(seconds)):
        await world.clock.forward(1, step=1)
        for _ in range(400):
            if not any(s.running for s in world.collector._scheduled.values()):
                break
            await asyncio.sleep(0.005)
        await settle()


def source(fake: FakePrometheus) -> Metrics:
    return Metrics(prometheus=PrometheusSource(address=fake.address, interval="2s", timeout="1s"))


def row(pod: str, code: str, value: float, job: str = "pods") -> tuple[dict[str, str], str]:
    return {"namespace": "prod", "pod": pod, "job": job, "instance": "i", "code": code}, str(value)
