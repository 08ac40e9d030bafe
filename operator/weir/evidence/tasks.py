"""What is read for releases: a pod's page, a batch query for all of them, a gate's own query.

Each task is a recurring read: ``run`` reads once and hands what it found to the releases; errors become the state of
the pods and gates concerned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from weir.api.base import seconds
from weir.api.gate import Gate, RequestMetrics
from weir.evidence import templates
from weir.evidence.counters import Values
from weir.evidence.errors import DataError, ReadError
from weir.evidence.feed import Feed
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.pods import Pod, unit
from weir.evidence.prometheus import Prometheus
from weir.evidence.release import Release
from weir.evidence.samples import Sample, counter_value
from weir.evidence.scrape import Page, Scraper
from weir.evidence.templates import Reading
from weir.release.observation import Arm

T = TypeVar("T")


class Task(Protocol):
    """A recurring read."""

    async def run(self) -> tuple[Release, ...]:
        """Read once; returns the releases that may have news."""
        ...


@dataclass(frozen=True)
class Sources:
    """The means to read, and the count of reads."""

    scraper: Scraper
    prometheus: Prometheus
    past: Prometheus
    """For long answers about the past, which must not hold up what is asked about now."""
    metrics: EvidenceMetrics
    monotonic: Callable[[], float]

    async def timed(self, source: str, read: Awaitable[T]) -> T:
        """Count and time a read."""
        return await self.metrics.timed(source, read)


@dataclass(frozen=True)
class PodTask:
    """Reads one pod's page."""

    sources: Sources
    release: Release
    arm: Arm
    pod: Pod

    async def run(self) -> tuple[Release, ...]:
        """Read the page once."""
        release, scrape, names = self.release, self.release.metrics.scrape, self.release.metrics.names
        host = f"[{self.pod.ip}]" if ":" in self.pod.ip else self.pod.ip
        port = (scrape.port if scrape else None) or self.pod.port
        url = f"http://{host}:{port}{scrape.path if scrape else '/metrics'}"
        wanted = [names.requests] + ([f"{names.duration}_bucket"] if release.latency else [])
        at = release.epoch(self.sources.monotonic())
        try:
            page = await self.sources.timed("scrape", self.sources.scraper.read(url, wanted))
        except ReadError as error:
            for feed in (release.requests, *release.latency.values()):
                feed.failed(self.arm, unit(self.pod), at, error)
            return (release,)
        if not release.closed:
            self._take(page, at, names)
        return (release,)

    def _take(self, page: Page, at: float, names: RequestMetrics) -> None:
        release, metric, histogram = self.release, names.requests, f"{names.duration}_bucket"
        requests, buckets = page.families.get(metric, ()), page.families.get(histogram, ())
        read = partial(templates.requests_reading, requests, names)
        self._feed(release.requests, at, page, metric in page.families, read)
        for over, feed in release.latency.items():
            measure = partial(templates.latency_reading, buckets, names, over)
            self._feed(feed, at, page, histogram in page.families, measure)

    def _feed(self, feed: Feed, at: float, page: Page, found: bool, read: Callable[[], Reading]) -> None:
        name = unit(self.pod)
        try:
            reading = read()
            born = self.release.born.get(name)
            feed.count([self.arm], name, at, reading.values, born=born, process=page.process)
        except ReadError as error:
            feed.failed(self.arm, name, at, error)
            return
        feed.read(self.arm, name, at, Reading(reading.values, found, reading.edges, reading.flaw))


@dataclass(frozen=True)
class BatchKey:
    """Releases with the same key are answered by one query."""

    address: str
    template: str
    names: RequestMetrics


@dataclass(frozen=True)
class BatchTask:
    """One query that answers for all releases that share address, template and metric names."""

    sources: Sources
    key: BatchKey
    releases: Callable[[], Iterable[Release]]
    """Those that are registered now."""

    async def run(self) -> tuple[Release, ...]:
        """Ask once."""
        now = self.sources.monotonic()
        releases = [r for r in self.releases() if not r.closed and r.begin <= now]
        if not releases:
            return ()
        # Read before asking: what the answer shows may be newer than this, never older than the query.
        times = {release.key: release.epoch(now) for release in releases}
        asked = self.sources.prometheus.query(
            self.key.address, self._query(releases), within=max(r.timeout for r in releases), key=self.key
        )
        try:
            samples = await self.sources.timed("prometheus", asked)
        except ReadError as error:
            for release in releases:
                for feed in self._feeds(release):
                    _fail_all(feed, times[release.key], error)
            return tuple(releases)
        live = [release for release in releases if not release.closed]
        if self.key.template == "gateway":
            _gateway_answer(live, samples, times)
        else:
            self._pod_answer(live, samples, times)
        return tuple(live)

    def _feeds(self, release: Release) -> list[Feed]:
        if self.key.template == "gateway":
            return [release.gateway]
        return [release.requests] if self.key.template == "requests" else list(release.latency.values())

    def _query(self, releases: list[Release]) -> str:
        namespaces = {release.key[0] for release in releases}
        if self.key.template == "gateway":
            return templates.gateway_query((r.key[0], r.pool(arm)) for r in releases for arm in r.arms)
        pods: set[str] = set()
        for release in releases:
            for arm in release.arms:
                pods |= templates.pod_patterns(release.pool(arm), (pod.name for pod in release.pods.of(arm)))
        build = templates.requests_query if self.key.template == "requests" else templates.buckets_query
        return build(self.key.names, (templates.escape(ns) for ns in namespaces), pods)

    def _pod_answer(
        self, releases: list[Release], samples: Iterable[Sample], times: dict[tuple[str, str], float]
    ) -> None:
        label = self.key.names.pod_label
        by_pod: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            name = (sample.labels.get("namespace", ""), sample.labels.get(label, ""))
            by_pod.setdefault(name, []).append(sample)
        for release in releases:
            for arm in release.arms:
                for pod in release.pods.of(arm):
                    rows = by_pod.get((release.key[0], pod.name), [])
                    for feed in self._feeds(release):
                        self._take(release, arm, pod, feed, (rows, times[release.key]))

    def _take(self, release: Release, arm: Arm, pod: Pod, feed: Feed, answer: tuple[list[Sample], float]) -> None:
        (rows, at), names, name = answer, self.key.names, unit(pod)
        ignore = ("namespace", names.pod_label, "job", "instance")
        try:
            if not rows:
                raise ReadError(
                    f'Prometheus {self.key.address} has no {feed.metric} with {names.pod_label}="{pod.name}"'
                    f' and namespace="{release.key[0]}"'
                )
            one_target(rows, pod.name)
            if feed is release.requests:
                reading = templates.requests_reading(rows, names, ignore)
            else:
                over = next(o for o, f in release.latency.items() if f is feed)
                reading = templates.latency_reading(rows, names, over, ignore)
            feed.count([arm], name, at, reading.values, born=release.born.get(name))
        except ReadError as error:
            feed.failed(arm, name, at, error)
            return
        feed.read(arm, name, at, reading)


def one_target(rows: Iterable[Sample], pod: str) -> None:
    """Raises DataError where a pod's counters come from several scrape jobs."""
    targets = sorted({f"{r.labels.get('job', '')} {r.labels.get('instance', '')}" for r in rows})
    if len(targets) > 1:
        raise DataError(
            f"Prometheus scrapes pod {pod} several times ({', '.join(targets)}), so its requests would count"
            " more than once; keep one scrape job for it"
        )


def _fail_all(feed: Feed, at: float, error: ReadError) -> None:
    for arm, sources in feed.sources.items():
        for name in sources:
            feed.failed(arm, name, at, error)


def _gateway_answer(releases: list[Release], samples: Iterable[Sample], times: dict[tuple[str, str], float]) -> None:
    try:
        rows = [row for sample in samples if (row := templates.gateway_series(sample)) is not None]
    except ReadError as error:
        for release in releases:
            _fail_all(release.gateway, times[release.key], error)
        return
    owners: dict[tuple[str, str], list[tuple[Release, Arm]]] = {}
    for release in releases:
        for arm in release.arms:
            for gateway, name in templates.backend_keys(release.key[0], release.pool(arm)).items():
                owners.setdefault((gateway, name), []).append((release, arm))
    found: dict[tuple[str, str], dict[str, dict[tuple[str, ...], Values]]] = {r.key: {} for r in releases}
    unclear: dict[tuple[str, str], str] = {}
    for row in rows:
        owner = [o for name in row.backends for o in owners.get((row.gateway, name), [])]
        for release, arm in owner:
            if len(owner) > 1:
                unclear[release.key] = f"{row.gateway} counts '{row.backends[0]}', which several backends could be"
            series = (row.code, arm, row.backends[0])
            values = found[release.key].setdefault(row.unit, {})
            values[series] = (values.get(series, (0.0,))[0] + row.value,)
    for release in releases:
        _gateway_counts(release, found[release.key], unclear.get(release.key), times[release.key])


def _gateway_counts(
    release: Release, units: dict[str, dict[tuple[str, ...], Values]], unclear: str | None, at: float
) -> None:
    gateways = sorted({name.split(" ", 1)[0] for name in units})
    if len(gateways) > 1:
        unclear = f"{' and '.join(gateways)} both count these requests; use http-errors, or scrape one of them"
    feed = release.gateway
    if unclear is not None:
        _fail_all(feed, at, DataError(unclear))
        return
    for name, values in units.items():
        feed.count(release.arms, name, at, values)
    for arm in release.arms:
        for source in feed.sources.get(arm, {}):
            feed.read(arm, source, at, Reading({}))


@dataclass(frozen=True)
class CustomTask:
    """Asks the two queries of a custom or mean gate for each arm."""

    sources: Sources
    release: Release
    gate: Gate

    async def run(self) -> tuple[Release, ...]:
        """Ask once for each arm."""
        for arm in self.release.arms:
            await self._ask(arm)
        return (self.release,)

    async def _ask(self, arm: Arm) -> None:
        release, gate = self.release, self.gate
        feed, at = release.custom[gate.name], release.epoch(self.sources.monotonic())
        try:
            values = await self._values(arm)
            if release.closed:
                return
            if values:
                feed.count([arm], arm, at, values)
        except ReadError as error:
            feed.failed(arm, gate.name, at, error)
            return
        feed.read(arm, gate.name, at, Reading(values))

    async def _values(self, arm: Arm) -> dict[tuple[str, ...], Values]:
        """Counters of the arm; none where there was nothing to count yet."""
        gate = self.gate
        if gate.template == "mean":
            total = await self._number("sum", gate.sum or "", arm)
            count = await self._number("count", gate.count or "", arm)
            if (total is None) != (count is None):
                missing = "sum" if total is None else "count"
                raise DataError(f"`{missing}` yields nothing while the other query does, so there is no mean")
            return {} if total is None or count is None else {("mean",): (count, total)}
        # Bad events first: read the other way round, new ones could outnumber all events.
        bad = await self._number("bad", gate.bad or "", arm)
        total = await self._number("total", gate.total or "", arm)
        values: dict[tuple[str, ...], Values] = {}
        if total is not None:
            values[("total",)] = (total,)
            if bad is not None:
                values[("bad",)] = (bad,)
        return values

    async def _number(self, field: str, query: str, arm: Arm) -> float | None:
        templates.check_raw_counter(field, query)
        value = await ask_one(self.sources, self.release, self.gate, field, query, arm=arm)
        return None if value is None else counter_value(Sample({}, value), f"`{field}`")


@dataclass(frozen=True)
class ThresholdTask:
    """Asks a threshold gate's query once a window."""

    sources: Sources
    release: Release
    gate: Gate

    async def run(self) -> tuple[Release, ...]:
        """Ask if a window has ended."""
        release, gate = self.release, self.gate
        windows, at = release.values[gate.name], release.epoch(self.sources.monotonic())
        if at < windows.due:
            return ()
        try:
            number = await ask_one(self.sources, release, gate, "query", gate.query or "", arm="candidate")
            value = None if number is None else templates.decimal(number)
        except ReadError as error:
            closed = windows.failed(at, str(error), final=isinstance(error, DataError))
        else:
            closed = windows.value(at, value)
        release.news |= closed
        return (release,)


async def ask_one(sources: Sources, release: Release, gate: Gate, field: str, query: str, *, arm: Arm) -> float | None:
    """The one number that a gate's query yields; None when it yields nothing. Raises ReadError."""
    prometheus = release.metrics.prometheus
    if prometheus is None:
        raise DataError(f"gate '{gate.name}' ({gate.template}) needs a Prometheus: set spec.metrics.prometheus.address")
    filled = templates.fill(query, release.variables(gate, arm))
    asked = sources.prometheus.query(
        prometheus.address,
        filled,
        within=seconds(prometheus.timeout),
        key=(release.key, gate.name, field, arm),
    )
    return templates.single(await sources.timed("prometheus", asked), f"`{field}`")
