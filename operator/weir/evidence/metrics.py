"""Metrics of the collector itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from weir.evidence.errors import ReadError

T = TypeVar("T")

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class EvidenceMetrics:
    """Reads of counters by source (scrape, prometheus) and result (ok, unreachable, timeout, invalid, error)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self.reads = Counter(
            "evidence_reads_total", "Reads of metrics pages and queries.", ("source", "result"), registry=registry
        )
        self.read_seconds = Histogram(
            "evidence_read_seconds", "Duration of a read.", ("source",), buckets=_BUCKETS, registry=registry
        )

    async def timed(self, source: str, read: Awaitable[T]) -> T:
        """Count and time a read."""
        began, result = time.perf_counter(), "error"
        try:
            answer = await read
            result = "ok"
            return answer
        except ReadError as error:
            result = error.result
            raise
        finally:
            self.reads.labels(source, result).inc()
            self.read_seconds.labels(source).observe(time.perf_counter() - began)
