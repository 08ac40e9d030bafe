"""Releases that the real machine decides, under requests drawn with a seed; and their sealed records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.properties.cluster import Cluster
from tests.properties.specs import canary, make_spec
from tests.unit.release.scenario import judged
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.backtest.chance import binomial
from weir.release.observation import Edge, Window
from weir.stats.noise import Noise

EDGES = (0.1, 0.25, 0.5)
SLOWER = (0.5, 0.1, 0.02)
"""Share of requests slower than each of EDGES."""


@dataclass
class Busy(Cluster):
    """A cluster in which windows hold requests by chance: ``share`` bad of stable's, ``factor`` times so many else."""

    share: float = 0.02
    factor: float = 1.0
    requests: int = 4000
    gaps: float = 0.0
    """Share of windows in which one arm had no requests, or could not be read."""
    worse_in: str = ""
    """Stage in which the candidate is bad; in all of them without it."""
    noise: Callable[[int], Noise | None] = lambda number: None
    chance: Random = field(default_factory=lambda: Random(11))
    number: int = 0

    def pass_time(self, duration: float) -> None:
        collector = self.collector
        super().pass_time(duration)
        if collector is None or not collector.collect.judging or not collector.windows:
            return
        self.number += 1
        collector.windows = tuple(self._drawn(window) for window in collector.windows)

    def _drawn(self, window: Window) -> Window:
        gate = next(g for g in self.spec.gates if g.name == window.gate)
        if self.chance.random() < self.gaps:
            return self._gap(window)
        weight = self.status.weight
        mine = self.requests * weight // 100
        theirs = self.requests - mine if window.stable is not None else 0
        noise = self.noise(self.number)
        stage = self.status.stage.name if self.status.stage else ""
        factor = self.factor if self.worse_in in ("", stage) else 1.0
        if gate.template == "http-latency" and gate.over is None:
            edges = tuple(
                Edge(above, self._bad(mine, share * factor), self._bad(theirs, share), noise)
                for above, share in zip(EDGES, SLOWER, strict=True)
            )
            return self._window(gate, window, Counts(total=mine), Counts(total=theirs), edges=edges)
        candidate = Counts(bad=self._bad(mine, self.share * factor), total=mine)
        stable = Counts(bad=self._bad(theirs, self.share), total=theirs)
        sums = {"candidate_sum": mine * 0.7 / factor + self._wiggle(), "stable_sum": theirs * 0.7 + self._wiggle()}
        return self._window(gate, window, candidate, stable, noise=noise, **(sums if gate.template == "mean" else {}))

    def _gap(self, window: Window) -> Window:
        kind = self.chance.choice(("error", "candidate", "stable", "both"))
        if kind == "error":
            return Window(window.gate, window.start, window.end, error="the metrics page answers 500")
        mine, theirs = (Counts(total=0 if kind in (arm, "both") else 100) for arm in ("candidate", "stable"))
        return replace(window, candidate=mine, stable=theirs if window.stable is not None else None, edges=())

    def _window(self, gate: Gate, window: Window, mine: Counts, theirs: Counts, **more: Any) -> Window:
        stable = theirs if window.stable is not None else None
        return Window(gate.name, window.start, window.end, mine, stable, candidate_pods=2, stable_pods=4, **more)

    def _bad(self, total: int, share: float) -> int:
        return binomial(self.chance, total, min(1.0, share))

    def _wiggle(self) -> float:
        return self.chance.gauss(0, 5)


ERRORS = {"template": "http-errors"}
LATENCY = {"template": "http-latency"}
PLAIN = {"name": "plain", "template": "http-errors", "max": "0.5", "minSamples": 20}
OBJECTIVE = {"name": "objective", "template": "http-errors", "objective": "0.9"}
MEAN = {"name": "score", "template": "mean", "sum": "s", "count": "c", "worse": "Lower"}


def released(
    *gates: dict[str, Any], min_duration: str = "60s", limit: int = 4000, strategy: Any = None, **busy: Any
) -> RolloutRecordSpec:
    """The record of a release of v2 over v1 that has ended."""
    cluster = _begun(gates, strategy or canary(10, 50, min_duration=min_duration, bake="120s"), limit, **busy)
    cluster.run(lambda: cluster.status.candidate is None and len(cluster.records) == 2, limit=limit)
    return cluster.records[2]


def releasing_to(stage: str, *gates: dict[str, Any], **busy: Any) -> Busy:
    """v2 is being released over v1 and judged in that stage."""
    cluster = _begun(gates, canary(10, 50, min_duration="60s", bake="120s"), 4000, **busy)
    cluster.run(lambda: judged(cluster.status, stage), limit=4000)
    return cluster


def _begun(gates: Sequence[dict[str, Any]], strategy: Any, limit: int, **busy: Any) -> Busy:
    """v1 serves, and v2 is asked for."""
    spec = make_spec(
        gates=[{"maxWait": "30m", **gate} for gate in gates],
        strategy=strategy,
        metrics={"prometheus": {"address": "http://prometheus.test"}},
    )
    cluster = Busy(spec, **busy)
    cluster.run(limit=limit)
    cluster.release("v2")
    return cluster
