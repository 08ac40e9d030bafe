"""Reads the whole service's requests for error budgets: one small set of queries per Rollout that has one.

Counts are Prometheus' ``increase()``: it extrapolates to the edges of a span and misses the first sample of a new
series. That is close enough for a budget and its alerts; gates never see these numbers.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from weir.api.base import seconds
from weir.api.evidencestatus import Counts
from weir.api.gate import Metrics
from weir.api.rollout import ErrorBudget
from weir.evidence import templates
from weir.evidence.clock import Clock
from weir.evidence.errors import DataError, PrometheusBadAnswer, ReadError
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.pods import RolloutKey
from weir.evidence.prometheus import Prometheus
from weir.evidence.samples import Sample, counter_value
from weir.release.budget import spans
from weir.release.observation import BudgetReading

EVERY = 30.0
"""Seconds between two readings of the short spans."""

_SLOWEST = 300.0
"""Seconds between two readings of the long spans, which change slowly and cost a Prometheus most."""

_PATIENCE = 15.0
"""Seconds that a query may take at least: one over thirty days reads far more than one of a gate."""

_AT_ONCE = 2
"""Queries on their way at any time, over all Rollouts."""

_SLACK = 1.1
"""Factor by which extrapolated bad requests may exceed extrapolated requests in all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """Whose requests count: ``pods`` is a regular expression of the names of all pods the Rollout ever had."""

    budget: ErrorBudget
    metrics: Metrics
    pods: str


@dataclass
class _Watched:
    """What is known of one service. Times are on the monotonic clock."""

    key: RolloutKey
    service: Service
    counts: dict[float, Counts] = field(default_factory=dict)
    due: dict[float, float] = field(default_factory=dict)
    reading: BudgetReading | None = None
    closed: bool = False
    told: str = ""


class BudgetReader:
    """Readings for every Rollout that is watched. All methods belong to the event loop that runs ``run``.

    It asks through threads of its own, so that a slow query over a month never delays the evidence of a gate.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        on_change: Callable[[RolloutKey], None] = lambda _: None,
        metrics: EvidenceMetrics | None = None,
        prometheus: Prometheus | None = None,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._metrics = metrics or EvidenceMetrics()
        self._prometheus = prometheus or Prometheus(workers=_AT_ONCE)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._watched: dict[RolloutKey, _Watched] = {}
        self._new: list[_Watched] = []
        self._wake = asyncio.Event()

    def watch(self, key: RolloutKey, service: Service) -> None:
        """Read for this Rollout from now on; as often as you like. Another budget or source starts from nothing."""
        known = self._watched.get(key)
        if known is not None and known.service == service:
            return
        self.forget(key)
        self._watched[key] = watched = _Watched(key, service)
        self._new.append(watched)
        self._wake.set()

    def forget(self, key: RolloutKey) -> None:
        """Stop, and drop what was read. Unknown keys are fine."""
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched.closed = True

    def reading(self, key: RolloutKey) -> BudgetReading | None:
        """What was read last; None before the first answer.

        ``at`` is when all spans were known last, ``error`` why they could not be read anew since.
        """
        watched = self._watched.get(key)
        return watched.reading if watched is not None else None

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    new, self._new = self._new, []
                    for watched in new:
                        group.create_task(self._follow(watched))
                    await self._wake.wait()
        finally:
            self._prometheus.close()

    async def _follow(self, watched: _Watched) -> None:
        # The first reading is at once; the phase then spreads the readings of all Rollouts over the interval.
        pause = EVERY * (0.25 + 0.75 * zlib.crc32(repr(watched.key).encode()) / 2**32)
        while not watched.closed:
            reading = await self._read(watched)
            if not watched.closed:
                watched.reading = reading
                self._on_change(watched.key)
            await self._clock.sleep(pause)
            pause = EVERY

    async def _read(self, watched: _Watched) -> BudgetReading:
        """Asks for the spans that are due, the short ones first; the first that fails ends the round."""
        try:
            for span in spans(watched.service.budget):
                now = self._clock.monotonic()
                if watched.due.get(span, -inf) <= now:
                    watched.counts[span] = await self._count(watched.key, watched.service, span)
                    watched.due[span] = now + min(max(EVERY, span / 60), _SLOWEST) - EVERY / 2
        except ReadError as error:
            return self._failed(watched, str(error))
        except Exception as error:
            # A fault of ours must not end the reading of all others; it is told once, not at every reading.
            if repr(error) != watched.told:
                _log.exception("reading the error budget of %s/%s failed", *watched.key)
            watched.told = repr(error)
            return self._failed(watched, repr(error))
        return BudgetReading(self._clock.now().timestamp(), dict(watched.counts))

    def _failed(self, watched: _Watched, error: str) -> BudgetReading:
        known = watched.reading or BudgetReading(self._clock.now().timestamp())
        return BudgetReading(known.at, known.spans, error)

    async def _count(self, key: RolloutKey, service: Service, span: float) -> Counts:
        """Counts of the last ``span`` seconds. Raises ReadError."""
        bad, total = service.budget.bad, service.budget.total
        if bad is None or total is None:
            rows = await self._ask(key, service, pods_query(key[0], service, span))
            found = by_code(rows, service.metrics)
        else:
            # Bad requests first: read the other way round, new ones could outnumber all requests.
            names = {"namespace": key[0], "rollout": key[1]}
            wrong = await self._select(key, service, "bad", selected_query("bad", bad, names, span))
            count = await self._select(key, service, "total", selected_query("total", total, names, span))
            found = by_selector(wrong, count)
        if found is None:
            raise DataError(missing(key, service, span))
        return found

    async def _select(self, key: RolloutKey, service: Service, field_name: str, query: str) -> tuple[Sample, ...]:
        try:
            return await self._ask(key, service, query)
        except PrometheusBadAnswer as error:
            raise DataError(f"`errorBudget.{field_name}` must be a selector of a counter: {error}") from error

    async def _ask(self, key: RolloutKey, service: Service, query: str) -> tuple[Sample, ...]:
        prometheus = service.metrics.prometheus
        if prometheus is None:
            raise DataError("spec.errorBudget needs a Prometheus: set spec.metrics.prometheus.address")
        within = max(_PATIENCE, seconds(prometheus.timeout))
        async with self._turns:
            asked = self._prometheus.query(prometheus.address, query, within=within, key=(key, query))
            return await self._metrics.timed("prometheus", asked)


def pods_query(namespace: str, service: Service, span: float) -> str:
    """Requests by status code that all pods of a Rollout answered in the last ``span`` seconds."""
    names = service.metrics.names
    series = f'{names.requests}{{namespace="{namespace}",{names.pod_label}=~"{service.pods}"}}'
    return f"sum by ({names.code_label}) (increase({series}[{_range(span)}]))"


def selected_query(field_name: str, selector: str, names: Mapping[str, str], span: float) -> str:
    """Events that the user's selector counted in the last ``span`` seconds.

    Raises DataError for an unknown placeholder, and for an expression that takes an increase or a range itself.
    """
    what = f"errorBudget.{field_name}"
    templates.check_raw_counter(what, selector)
    filled = templates.fill(selector, names).strip()
    if filled.endswith("]"):
        raise DataError(f"`{what}` must be a selector without a range: leave out {filled[filled.rfind('[') :]}")
    return f"sum(increase({filled}[{_range(span)}]))"


def by_code(rows: tuple[Sample, ...], metrics: Metrics) -> Counts | None:
    """Bad and all requests of an answer to ``pods_query``; None where it has no series.

    Raises DataError for values that no counter has, and where requests carry no status code.
    """
    metric, label = metrics.names.requests, metrics.names.code_label
    values = [(row.labels.get(label, ""), counter_value(row, metric)) for row in rows]
    if not values:
        return None
    if any(not code for code, _ in values):
        raise DataError(f"{metric} has series without the label '{label}' (spec.metrics.names.codeLabel)")
    return _counts(sum(v for code, v in values if templates.bad_code(code)), sum(v for _, v in values))


def by_selector(bad: tuple[Sample, ...], total: tuple[Sample, ...]) -> Counts | None:
    """Bad and all requests of two sums; None where all requests have no series. No bad series are no bad requests.

    Raises DataError for values that no counter has, and for more bad requests than requests.
    """
    if not total:
        return None
    wrong = sum(counter_value(row, "`errorBudget.bad`") for row in bad)
    count = sum(counter_value(row, "`errorBudget.total`") for row in total)
    if wrong > _SLACK * count + 1:
        raise DataError(f"`errorBudget.bad` counts {wrong:.0f} requests, more than the {count:.0f} of `total`")
    return _counts(wrong, count)


def missing(key: RolloutKey, service: Service, span: float) -> str:
    """What to do where Prometheus knows no requests."""
    prometheus, names = service.metrics.prometheus, service.metrics.names
    address = prometheus.address if prometheus is not None else ""
    if service.budget.total is not None:
        return (
            f"Prometheus {address} has no increase of `errorBudget.total` in the last {_range(span)}: check the "
            "selector, and whether it is scraped"
        )
    return (
        f'Prometheus {address} has no {names.requests} with namespace="{key[0]}" and {names.pod_label}=~'
        f'"{service.pods}" in the last {_range(span)}: check that the pods are scraped and spec.metrics.names, or set '
        "errorBudget.bad and errorBudget.total"
    )


def _counts(bad: float, total: float) -> Counts:
    whole = round(total)
    return Counts(bad=min(round(bad), whole), total=whole)


def _range(span: float) -> str:
    return f"{round(span)}s"
