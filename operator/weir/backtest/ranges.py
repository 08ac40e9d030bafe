"""Reads the past of a service from a Prometheus: raw counters by range queries, differenced here, per pod and window.

Read-only. A query asks for few enough points that Prometheus answers it (it refuses more than 11,000 for a series), and
for a shorter span where the answer is too large or takes too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import floor, inf, isfinite
from typing import Protocol

from weir.api.gate import RequestMetrics
from weir.backtest.history import History, HistoryError, Moment, PodCounts
from weir.evidence.counters import Counters, Increment
from weir.evidence.errors import DataError, ReadError
from weir.evidence.prometheus import Prometheus, Span, Track
from weir.evidence.samples import Sample, counter_value
from weir.evidence.templates import bad_code, buckets_query, requests_query, requests_reading

MAX_POINTS = 10_000
"""Points of a series in one answer; Prometheus itself refuses more than 11,000."""
MIN_POINTS = 60
"""A span is not halved below so many points when an answer is too large."""


class Ranges(Protocol):
    """What answers range queries. Raises ReadError."""

    def __call__(self, query: str, span: Span) -> Sequence[Track]:
        """Series of the query at every step of the span."""


class PrometheusRanges:
    """Asks one Prometheus, one query at a time; to be used in a ``with`` statement. ``within``: seconds for a query."""

    def __init__(self, address: str, within: float = 60.0) -> None:
        self._address = address
        self._within = within
        self._prometheus = Prometheus(workers=1)
        self._runner = asyncio.Runner()

    def __enter__(self) -> PrometheusRanges:
        return self

    def __exit__(self, *_: object) -> None:
        self._prometheus.close()
        self._runner.close()

    def __call__(self, query: str, span: Span) -> Sequence[Track]:
        """Series of the query at every step of the span. Raises ReadError."""
        return self._runner.run(self._prometheus.query_range(self._address, query, span, within=self._within))


@dataclass(frozen=True)
class Wanted:
    """Which pods to read: of one namespace, names that match one of the regular expressions; and what of them."""

    namespace: str
    pods: tuple[str, ...]
    names: RequestMetrics
    errors: bool = True
    latency: bool = False


def fetch(ranges: Ranges, wanted: Wanted, spans: Iterable[tuple[float, float]], width: float) -> History:
    """Counts per pod in windows of ``width`` seconds in all of these spans (seconds since the epoch).

    Raises HistoryError when there is nothing, or nothing that could be used.
    """
    reader = _Reader(ranges, wanted, width)
    moments = [moment for span in joined(spans, width) for moment in reader.moments(*span)]
    if not moments:
        asked = " or ".join(wanted.pods)
        raise HistoryError(f"Prometheus has no requests of pods like {asked} in namespace {wanted.namespace}")
    return History(width, reader.edges, tuple(reader.completed(moments)))


def spread(now: float, since: float, length: float, count: int) -> list[tuple[float, float]]:
    """``count`` spans of ``length`` seconds, evenly over the ``since`` seconds before ``now``; they may overlap."""
    room = max(0.0, since - length)
    steps = max(1, count - 1)
    return [(now - length - room * i / steps, now - room * i / steps) for i in range(count)]


def joined(spans: Iterable[tuple[float, float]], width: float) -> list[tuple[float, float]]:
    """The spans on a grid of ``width`` seconds, those that touch made one."""
    found: list[tuple[float, float]] = []
    for start, end in sorted((floor(a / width) * width, floor(b / width) * width) for a, b in spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


class _Reader:
    def __init__(self, ranges: Ranges, wanted: Wanted, width: float) -> None:
        self._ranges = ranges
        self._wanted = wanted
        self._width = width
        self.edges: tuple[float, ...] = ()

    def moments(self, start: float, end: float) -> Iterator[Moment]:
        """Windows of one span, in which every pod is counted that was read at both ends."""
        namespace, pods = [self._wanted.namespace], list(self._wanted.pods)
        names, found = self._wanted.names, dict[float, dict[str, PodCounts]]()
        if self._wanted.errors:
            query = requests_query(names, namespace, pods)
            for at, pod, (total, bad) in self._counted(query, start, end, _Requests(names)):
                found.setdefault(at, {})[pod] = PodCounts(total, bad)
        if self._wanted.latency:
            query = buckets_query(names, namespace, pods)
            buckets = _Buckets(names, self.edges)
            for at, pod, (timed, *slower) in self._counted(query, start, end, buckets):
                counts = found.setdefault(at, {}).get(pod)
                if counts is not None or not self._wanted.errors:
                    counts = counts or PodCounts()
                    found[at][pod] = counts._replace(timed=timed, slower=tuple(slower))
            self.edges = buckets.edges
        for at in sorted(found):
            yield Moment(at, found[at])

    def completed(self, moments: Iterable[Moment]) -> Iterator[Moment]:
        """Without pods whose requests or durations alone were read: both, or neither."""
        for moment in moments:
            pods = {
                pod: counts
                for pod, counts in moment.pods.items()
                if not self._wanted.latency or len(counts.slower) == len(self.edges)
            }
            yield Moment(moment.start, pods)

    def _counted(
        self, query: str, start: float, end: float, amounts: _Amounts
    ) -> Iterator[tuple[float, str, tuple[int, ...]]]:
        """(start of the window, pod, amounts) of every pod that was read at both ends of a window."""
        counters, before = Counters(), dict[str, float]()
        for at, rows in self._instants(query, start, end):
            for pod, samples in rows.items():
                unit_counts = [amounts.of(i) for i in self._increments(counters, pod, at, samples, amounts)]
                last = before.get(pod)
                before[pod] = at
                if last is not None and at - last < 1.5 * self._width:
                    yield last, pod, tuple(map(sum, zip(amounts.none(), *unit_counts, strict=True)))

    def _increments(
        self, counters: Counters, pod: str, at: float, samples: Sequence[Sample], amounts: _Amounts
    ) -> list[Increment]:
        jobs = {sample.labels.get("job", "") for sample in samples}
        if len(jobs) > 1:
            raise HistoryError(f"Prometheus scrapes pod {pod} several times (jobs {', '.join(sorted(jobs))})")
        found: list[Increment] = []
        key = _instance
        for instance, rows in groupby(sorted(samples, key=key), key=key):
            try:
                values = amounts.read(list(rows))
                # A pod that appears in the middle of a span is not known to be new: its first read is a baseline.
                found += counters.read(f"{pod} {instance}", at, values)
            except DataError as error:
                raise HistoryError(str(error)) from error
        return found

    def _instants(self, query: str, start: float, end: float) -> Iterator[tuple[float, dict[str, list[Sample]]]]:
        """Samples of each pod, instant by instant."""
        label = self._wanted.names.pod_label
        for tracks in self._chunks(query, start, end):
            by_time: dict[float, dict[str, list[Sample]]] = {}
            for track in tracks:
                pod = track.labels.get(label, "")
                for at, value in track.points:
                    by_time.setdefault(at, {}).setdefault(pod, []).append(Sample(track.labels, value))
            for at in sorted(by_time):
                yield at, by_time[at]

    def _chunks(self, query: str, start: float, end: float) -> Iterator[Sequence[Track]]:
        """Answers for parts of the span that do not overlap."""
        points, at = MAX_POINTS, start
        while at <= end:
            last = min(end, at + (points - 1) * self._width)
            try:
                yield self._ranges(query, Span(at, last, self._width))
            except ReadError as error:
                if points <= MIN_POINTS:
                    raise HistoryError(str(error)) from error
                points //= 4
                continue
            at = last + self._width


def _instance(sample: Sample) -> str:
    return sample.labels.get("instance", "")


class _Amounts(Protocol):
    """How samples of one kind become counts."""

    def read(self, samples: Sequence[Sample]) -> Mapping[tuple[str, ...], tuple[float, ...]]: ...

    def of(self, increment: Increment) -> tuple[int, ...]: ...

    def none(self) -> tuple[int, ...]: ...


class _Requests:
    """(all, bad) requests."""

    def __init__(self, names: RequestMetrics) -> None:
        self._names = names

    def read(self, samples: Sequence[Sample]) -> Mapping[tuple[str, ...], tuple[float, ...]]:
        reading = requests_reading(samples, self._names, ("namespace", self._names.pod_label, "job", "instance"))
        if reading.flaw is not None:
            raise DataError(reading.flaw)
        return reading.values

    def of(self, increment: Increment) -> tuple[int, ...]:
        count = round(increment.amounts[0])
        return (count, count if bad_code(increment.series[0]) else 0)

    def none(self) -> tuple[int, ...]:
        return (0, 0)


class _Buckets:
    """(all, slower than each edge) requests; the edges are those of the first histogram."""

    def __init__(self, names: RequestMetrics, edges: tuple[float, ...]) -> None:
        self._metric = f"{names.duration}_bucket"
        self.edges = edges

    def read(self, samples: Sequence[Sample]) -> Mapping[tuple[str, ...], tuple[float, ...]]:
        within: dict[float, float] = {}
        for sample in samples:
            within[_edge(sample, self._metric)] = counter_value(sample, self._metric)
        edges = tuple(sorted(edge for edge in within if isfinite(edge)))
        if inf not in within or not edges:
            raise DataError(f'{self._metric} needs a bucket le="+Inf" and at least one more')
        self.edges = self.edges or edges
        if edges != self.edges:
            raise DataError(f"{self._metric}: bucket edges differ between pods, so latencies cannot be compared")
        return {("",): (within[inf], *(within[edge] for edge in edges))}

    def of(self, increment: Increment) -> tuple[int, ...]:
        total, *within = map(round, increment.amounts)
        # Buckets of one scrape may be a request apart; slower requests never rise from edge to edge.
        slower = [max(0, total - count) for count in within]
        for place, (a, b) in enumerate(pairwise(slower), 1):
            slower[place] = min(a, b)
        return (total, *(min(total, count) for count in slower))

    def none(self) -> tuple[int, ...]:
        return (0,) * (1 + len(self.edges))


def _edge(sample: Sample, metric: str) -> float:
    try:
        return float(sample.labels["le"])
    except (KeyError, ValueError):
        raise DataError(f"{metric} has a bucket without a number as its label 'le'") from None
