"""How noisy stable's pods were before the release: one range query a template, fed through the same meters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from weir.api.base import seconds
from weir.api.gate import Gate, RequestMetrics
from weir.evidence import templates
from weir.evidence.checkpoint import Amounts, add
from weir.evidence.counters import Counters
from weir.evidence.errors import DataError, ReadError
from weir.evidence.feed import by_bucket, by_code
from weir.evidence.noise import GateNoise, Known, measured
from weir.evidence.prometheus import Span, Track
from weir.evidence.release import Release
from weir.evidence.samples import Sample
from weir.evidence.tasks import Sources, one_target

SPAN = 7200.0
"""Seconds of the past that are looked at, at most; there the noise hardly depends on when it is measured."""
MAX_POINTS = 240
"""Windows of the past, at most: enough for the longest lag of the fit, and an answer of a few megabytes at worst."""
PATIENCE = 10.0
"""Seconds that a range query may take at least: nothing waits for it."""
SCRAPES_SPAN = 10
"""Minutes in which samples are looked at to see how often they are taken."""
RETRY = 60.0
"""Seconds after which a query that failed is asked again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PastTask:
    """Asks once how often pods are scraped, and for stable's past.

    What cannot be had is left unknown, and nothing waits for it.
    """

    sources: Sources
    release: Release

    async def run(self) -> tuple[Release, ...]:
        """Ask what is still of use."""
        release, prometheus = self.release, self.release.metrics.prometheus
        if release.closed or prometheus is None:
            return ()
        if release.pace_wanted:
            await self._tried(self._pace(prometheus.address))
        # Only now the width of the windows is known.
        for template, width in sorted({(gate.template, width) for gate, width, _ in self._wanted()}):
            await self._tried(self._history(prometheus.address, template, width))
        return (release,)

    async def _tried(self, asking: Awaitable[None]) -> None:
        try:
            await asking
        except ReadError as error:
            _log.info("the past of a service is unknown", extra={"rollout": self.release.key[1], "text": str(error)})

    async def _pace(self, address: str) -> None:
        """The time between two scrapes, from the samples of one pod of each arm."""
        release, names = self.release, self.release.metrics.names
        pods = [templates.escape(pod.name) for arm in release.arms for pod in release.pods.of(arm)[:1]]
        if not pods:
            return
        release.memory.attempts -= 1
        asked = self.sources.past.query_raw(
            address,
            templates.samples_query(names, release.key[0], pods, SCRAPES_SPAN),
            within=max(PATIENCE, release.timeout),
            key=(release.key, "pace"),
        )
        interval = scrape_interval(await self.sources.timed("prometheus", asked))
        if interval is not None and not release.closed:
            release.paced(interval)

    async def _history(self, address: str, template: str, width: float) -> None:
        release, names = self.release, self.release.metrics.names
        wanted = [(gate, noise) for gate, wide, noise in self._wanted() if (gate.template, wide) == (template, width)]
        for _, noise in wanted:
            noise.wanted -= 1
        build = templates.requests_query if template == "http-errors" else templates.buckets_query
        pool, namespace = release.pool("stable"), templates.escape(release.key[0])
        pods = templates.pod_patterns(pool, (pod.name for pod in release.pods.of("stable")))
        now = float(round(release.epoch(self.sources.monotonic())))
        span = Span(now - min(SPAN, MAX_POINTS * width), now, width)
        asked = self.sources.past.query_range(
            address,
            build(names, [namespace], pods or [templates.escape(pool) + "-.+"]),
            span,
            within=max(PATIENCE, release.timeout),
            key=(release.key, template, width),
        )
        tracks = await self.sources.timed("prometheus", asked)
        for gate, noise in wanted:
            noise.learn(await asyncio.to_thread(noise_before, tracks, gate, names, span))
            noise.wanted = 0

    def _wanted(self) -> Iterator[tuple[Gate, float, GateNoise]]:
        """Gates that compare with stable and know nothing of its past, and the width of their windows in seconds."""
        for gate in self.release.gates if self.release.collect.stable else ():
            noise = self.release.noise_of(gate)
            if noise is not None and noise.wanted:
                yield gate, noise.width, noise


def scrape_interval(tracks: Iterable[Track]) -> float | None:
    """Seconds between two scrapes, where pods differ the longest; None where nothing was scraped twice."""
    steps = [
        median(later - earlier for (earlier, _), (later, _) in pairwise(track.points))
        for track in tracks
        if len(track.points) > 1
    ]
    return max(steps, default=None)


def noise_before(tracks: Iterable[Track], gate: Gate, names: RequestMetrics, span: Span) -> Known:
    """Noise by edge (None: of bad requests) of the pods in ``tracks``, in windows of one step each.

    Raises DataError where counters cannot be read as the gate reads them.
    """
    judge = by_code if gate.template == "http-errors" else by_bucket
    counters, layouts = Counters(), set[tuple[float, ...]]()
    windows: dict[int, dict[str, Amounts]] = {}
    for at, pod, rows in _readings(tracks, names):
        reading = _reading(rows, gate, names)
        layouts |= reading.edges
        for increment in counters.read(pod, at, reading.values):
            pods = windows.setdefault(round((increment.after - span.start) / span.step), {})
            pods[pod] = add(pods.get(pod, ()), judge(increment.series, increment.amounts))
    if len(layouts) > 1:
        raise DataError("pods had different histogram bucket edges")
    edges = next(iter(layouts)) if layouts and gate.over is None else ()
    steps = range(min(windows), max(windows) + 1) if windows else range(0)
    return measured((windows.get(step, {}), edges) for step in steps)


def _reading(rows: list[Sample], gate: Gate, names: RequestMetrics) -> templates.Reading:
    ignore = ("namespace", names.pod_label, "job", "instance")
    if gate.template == "http-errors":
        return templates.requests_reading(rows, names, ignore)
    return templates.latency_reading(rows, names, None if gate.over is None else seconds(gate.over), ignore)


def _readings(tracks: Iterable[Track], names: RequestMetrics) -> Iterator[tuple[float, str, list[Sample]]]:
    """What each pod said at each step, in order of time. Raises DataError where a pod is scraped several times."""
    moments: dict[float, dict[str, list[Sample]]] = {}
    pods: dict[str, list[Sample]] = {}
    for track in tracks:
        pod = track.labels.get(names.pod_label, "")
        labels: Mapping[str, str] = track.labels
        pods.setdefault(pod, []).append(Sample(labels, 0.0))
        for at, value in track.points:
            moments.setdefault(at, {}).setdefault(pod, []).append(Sample(labels, value))
    for pod, rows in pods.items():
        one_target(rows, pod)
    for at in sorted(moments):
        for pod, rows in moments[at].items():
            yield at, pod, rows
