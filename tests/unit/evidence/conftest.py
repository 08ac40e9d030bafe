"""A world for tests of the collector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.evidence.fake_prometheus import FakePrometheus, vector
from tests.unit.evidence.world import FakeClock, Pages, World
from weir.evidence.collector import Collector
from weir.evidence.metrics import EvidenceMetrics


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, registry = FakeClock(), CollectorRegistry()
    changes: list[tuple[str, str]] = []
    pages = Pages({})
    collector = Collector(clock, on_change=changes.append, metrics=EvidenceMetrics(registry), scraper=pages)
    world = World(clock, pages, collector, changes, registry)
    pages.servers |= {"10.0.0.1": world.old, "10.0.0.2": world.new}
    await world.start()
    yield world
    await world.stop()


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    fake = FakePrometheus(lambda _: vector())
    yield fake
    fake.close()
