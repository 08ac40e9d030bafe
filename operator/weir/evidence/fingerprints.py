"""Live distributions: what model servers count of their inputs and answers, as increments for each version.

A server shows, for each watched property (``OBJECT.PROPERTY``) and with the metric's name from ``spec.live.metric``:

- numbers: ``METRIC_bucket{property,le}``, a histogram with the reference's edges (more edges do no harm) and +Inf;
- others: ``METRIC_top_total{property,value}``; values that the reference does not list count as other, and
  ``METRIC_other_total{property}`` may hold what the server itself sums up;
- both: ``METRIC_null_total{property}``.

``weir.contract.client`` does that for a server in Python. Other labels are summed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from weir.api.base import seconds
from weir.api.gate import Metrics
from weir.contract.profile import BinCounts, ColumnProfile
from weir.evidence.clock import Clock
from weir.evidence.counters import Counters, Increment, Series, Values
from weir.evidence.errors import DataError, ReadError
from weir.evidence.metrics import EvidenceMetrics
from weir.evidence.pods import Pod, RolloutKey, unit
from weir.evidence.prometheus import Prometheus
from weir.evidence.samples import Sample, counter_value
from weir.evidence.scrape import Scraper
from weir.evidence.tasks import one_target
from weir.evidence.templates import MAX_MATCHER, escape, pod_patterns

_SUFFIXES = ("bucket", "null_total", "top_total", "other_total")
_SHOWN = 3
"""Pods that a message names."""

_Key = tuple[RolloutKey, str, str]
"""(contract, version, pool)."""


@dataclass(frozen=True)
class Target:
    """The pods of one version in one pool, and what of them one DataContract watches.

    ``contract``: (namespace, name) of the DataContract; the pods are in that namespace. ``version``: name of the
    ModelVersion. ``references``: profiles of the watched properties by ``OBJECT.PROPERTY``. ``metrics``: the Rollout's
    ``spec.metrics``, which says whether a Prometheus or the pods themselves are asked.
    """

    contract: RolloutKey
    version: str
    pool: str
    pods: tuple[Pod, ...]
    references: Mapping[str, ColumnProfile]
    metric: str = "weir_feature_value"
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True)
class Live:
    """One series of data: a property as the pods of one version saw it."""

    contract: RolloutKey
    version: str
    property: str


@dataclass(frozen=True)
class Increments:
    """What happened since the last read.

    ``counts``: rows by bin of the reference (``ColumnProfile.bins``), only of series with any. ``problems``: why some
    pods of a version could not be read just now, by (contract, version); a pod that has just started may be among them
    for one read.
    """

    counts: Mapping[Live, BinCounts] = field(default_factory=dict)
    problems: Mapping[tuple[RolloutKey, str], str] = field(default_factory=dict)


@dataclass
class _State:
    """What is known of one target's pods."""

    references: Mapping[str, ColumnProfile]
    source: tuple[str, Metrics]
    read_at: float | None = None
    """Wall clock, when the last read began; None before the first one."""
    counters: dict[tuple[str, str], Counters] = field(default_factory=dict)
    """By unit and property: what is seen of a property for the first time is its own baseline."""
    born: dict[str, float] = field(default_factory=dict)
    """Units that started after the first read, and when they were not there yet."""
    seen: set[str] = field(default_factory=set)
    """Units that were ever listed: one that comes back is not new."""

    def take(self, pods: Iterable[Pod]) -> None:
        """Take the pods that there are now."""
        listed = {unit(pod): pod for pod in pods}
        self.counters = {key: counters for key, counters in self.counters.items() if key[0] in listed}
        self.born = {name: at for name, at in self.born.items() if name in listed}
        for name in listed.keys() - self.seen:
            started = listed[name].started
            # Both our own earlier view and the pod's start must say that it is new: clocks may differ.
            if self.read_at is not None and started is not None and started > self.read_at:
                self.born[name] = self.read_at
        self.seen |= listed.keys()


class FingerprintReader:
    """Reads live distributions. Call ``read`` at ``spec.live.interval``, with all targets of a contract at once.

        reader = FingerprintReader(clock, scraper, prometheus)
        found = await reader.read(targets)
        for live, counts in found.counts.items():
            ...  # weir.contract.drift.judge(..., counts=counts, key=f"{drift.name}/{live.version}")
        reader.forget(contract)  # when the DataContract is gone

    Every row counts at most once. The first read of a version is a baseline; a pod that starts later counts from zero.
    Everything is kept in memory only, so a restart of the operator loses what was counted since the last read. ``read``
    never raises for a source that does not answer: ``Increments.problems`` says so.
    """

    def __init__(
        self, clock: Clock, scraper: Scraper, prometheus: Prometheus, metrics: EvidenceMetrics | None = None
    ) -> None:
        self._clock = clock
        self._scraper = scraper
        self._prometheus = prometheus
        self._metrics = metrics or EvidenceMetrics()
        self._states: dict[_Key, _State] = {}
        self._busy: set[RolloutKey] = set()

    async def read(self, targets: Iterable[Target]) -> Increments:
        """Increments since the last read of each target.

        A target of these contracts that is left out is forgotten; contracts that are left out are not. A contract
        whose previous read is still under way is left out, with a problem.
        """
        given = {_key(target): target for target in targets}
        wanted = {key: target for key, target in given.items() if key[0] not in self._busy}
        contracts = {key[0] for key in wanted}
        late = {(key[0], key[1]): "the previous read is still under way" for key in given.keys() - wanted.keys()}
        self._busy |= contracts
        try:
            states = self._listed(wanted, contracts)
            at = self._clock.now().timestamp()
            answers = await self._answers(list(wanted.values()))
            found = self._count(states, answers, at)
        finally:
            self._busy -= contracts
        return Increments(found.counts, {**found.problems, **late})

    def forget(self, contract: RolloutKey) -> None:
        """Drop what is known of a contract. Unknown ones are fine."""
        for key in [key for key in self._states if key[0] == contract]:
            del self._states[key]

    def _listed(self, wanted: Mapping[_Key, Target], contracts: Set[RolloutKey]) -> dict[_Key, _State]:
        for key in [key for key in self._states if key[0] in contracts and key not in wanted]:
            del self._states[key]
        for key, target in wanted.items():
            state, source = self._states.get(key), (target.metric, target.metrics)
            # Other bins are other counters: what was seen of the old ones tells nothing about the new ones.
            if state is None or (state.references, state.source) != (target.references, source):
                state = self._states[key] = _State(dict(target.references), source)
            state.take(target.pods)
        return {key: self._states[key] for key in wanted}

    # --- Asking ------------------------------------------------------------------------------------------------------

    async def _answers(self, targets: Sequence[Target]) -> list[_Answer]:
        asked: dict[tuple[str, str, str], list[Target]] = {}
        reads = []
        for target in targets:
            prometheus = target.metrics.prometheus
            if prometheus is None:
                reads += [self._scrape(target, pod) for pod in target.pods]
            elif target.pods:
                batch = (prometheus.address.rstrip("/"), target.metric, target.metrics.names.pod_label)
                asked.setdefault(batch, []).append(target)
        queries = [self._ask(batch) for batch in asked.values()]
        scraped, answered = await asyncio.gather(asyncio.gather(*reads), asyncio.gather(*queries))
        return [*scraped, *(answer for answers in answered for answer in answers)]

    async def _scrape(self, target: Target, pod: Pod) -> _Answer:
        scrape, names = target.metrics.scrape, [f"{target.metric}_{suffix}" for suffix in _SUFFIXES]
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{(scrape.port if scrape else None) or pod.port}{scrape.path if scrape else '/metrics'}"
        try:
            page = await self._metrics.timed("scrape", self._scraper.read(url, names))
        except ReadError as error:
            return _Answer(target, pod, error=error)
        rows = {suffix: page.families.get(name, ()) for suffix, name in zip(_SUFFIXES, names, strict=True)}
        return _Answer(target, pod, rows, page.process)

    async def _ask(self, targets: Sequence[Target]) -> list[_Answer]:
        first = targets[0]
        prometheus, label = first.metrics.prometheus, first.metrics.names.pod_label
        assert prometheus is not None
        within = max(seconds(t.metrics.prometheus.timeout) for t in targets if t.metrics.prometheus)
        address = prometheus.address.rstrip("/")
        asked = self._prometheus.query(address, _query(targets), within=within, key=("live", address, first.metric))
        try:
            samples = await self._metrics.timed("prometheus", asked)
        except ReadError as error:
            return [_Answer(target, pod, error=error) for target in targets for pod in target.pods]
        found: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            found.setdefault((sample.labels.get("namespace", ""), sample.labels.get(label, "")), []).append(sample)
        return [
            _of_prometheus(target, pod, found.get((target.contract[0], pod.name), ()))
            for target in targets
            for pod in target.pods
        ]

    # --- Counting ----------------------------------------------------------------------------------------------------

    def _count(self, states: Mapping[_Key, _State], answers: Iterable[_Answer], at: float) -> Increments:
        counts: dict[Live, BinCounts] = {}
        wrong: dict[tuple[RolloutKey, str], dict[str, list[str]]] = {}
        for answer in answers:
            target, state = answer.target, states[_key(answer.target)]
            if self._states.get(_key(target)) is not state:
                continue  # forgotten meanwhile
            gained, problems = _gained(state, answer, at)
            for name, found in gained.items():
                live = Live(target.contract, target.version, name)
                counts[live] = counts[live] + found if live in counts else found
            for problem in problems:
                said = wrong.setdefault((target.contract, target.version), {})
                said.setdefault(problem, []).append(answer.pod.name)
        for state in states.values():
            state.read_at = at
        return Increments(counts, {key: _told(said) for key, said in wrong.items()})


@dataclass(frozen=True)
class _Answer:
    """The rows of one pod by suffix of the metric, or why there are none."""

    target: Target
    pod: Pod
    rows: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    process: float | None = None
    error: ReadError | None = None


def _key(target: Target) -> _Key:
    return target.contract, target.version, target.pool


def _query(targets: Sequence[Target]) -> str:
    metric, label = targets[0].metric, targets[0].metrics.names.pod_label
    namespaces = "|".join(sorted({escape(target.contract[0]) for target in targets}))
    pods = {p for target in targets for p in pod_patterns(target.pool, (pod.name for pod in target.pods))}
    matchers = [f'__name__=~"{metric}_(?:{"|".join(_SUFFIXES)})"', f'namespace=~"{namespaces}"']
    if len(joined := "|".join(sorted(pods))) <= MAX_MATCHER:
        matchers.append(f'{label}=~"{joined}"')
    return f"sum by (__name__, namespace, {label}, job, instance, property, le, value) ({{{','.join(matchers)}}})"


def _of_prometheus(target: Target, pod: Pod, samples: Sequence[Sample]) -> _Answer:
    metric = target.metric
    try:
        if not samples:
            label = target.metrics.names.pod_label
            raise DataError(f'Prometheus has no {metric} with {label}="…" and namespace="{target.contract[0]}"')
        one_target(samples, pod.name)
    except ReadError as error:
        return _Answer(target, pod, error=error)
    rows = {s: [r for r in samples if r.labels.get("__name__") == f"{metric}_{s}"] for s in _SUFFIXES}
    return _Answer(target, pod, rows)


def _told(said: Mapping[str, Sequence[str]]) -> str:
    def pods(names: Sequence[str]) -> str:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(sorted(names)[:_SHOWN]) + more

    return "; ".join(f"{pods(names)}: {problem}" for problem, names in sorted(said.items()))


# --- From samples to bins ----------------------------------------------------------------------------------------


def _gained(state: _State, answer: _Answer, at: float) -> tuple[dict[str, BinCounts], list[str]]:
    """Rows of each property since the pod's last read; and what is wrong with the others."""
    if answer.error is not None:
        return {}, [str(answer.error)]
    gained: dict[str, BinCounts] = {}
    problems = []
    rows = _by_property(answer.rows)
    for name, reference in state.references.items():
        pod, lagging = unit(answer.pod), answer.target.metrics.prometheus is not None
        try:
            values = _values(name, reference, rows.get(name, {}), answer.target.metric)
            counters = state.counters.setdefault((pod, name), Counters(settle=lagging))
            found = counters.read(pod, at, values, born=state.born.get(pod), process=answer.process)
        except ReadError as error:
            problems.append(str(error))
        else:
            if found:
                gained[name] = _binned(reference, found)
    return gained, problems


def _by_property(rows: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, list[Sample]]]:
    found: dict[str, dict[str, list[Sample]]] = {}
    for suffix, samples in rows.items():
        for sample in samples:
            found.setdefault(sample.labels.get("property", ""), {}).setdefault(suffix, []).append(sample)
    return found


def _values(
    name: str, reference: ColumnProfile, rows: Mapping[str, Sequence[Sample]], metric: str
) -> dict[Series, Values]:
    """Counters of one property in one pod."""
    if not rows:
        raise DataError(f'no {metric} with property="{name}"; does the server count it (weir.contract.client)?')
    values: dict[Series, Values] = {("null",): (_sum(rows, "null_total", metric),)}
    if reference.numeric:
        values[("bins",)] = _bins(name, reference, rows.get("bucket", ()), metric)
        return values
    values[("other",)] = (_sum(rows, "other_total", metric),)
    for row in rows.get("top_total", ()):
        series = ("top", row.labels.get("value", ""))
        values[series] = (values.get(series, (0.0,))[0] + counter_value(row, f"{metric}_top_total"),)
    return values


def _sum(rows: Mapping[str, Sequence[Sample]], suffix: str, metric: str) -> float:
    return sum(counter_value(row, f"{metric}_{suffix}") for row in rows.get(suffix, ()))


def _bins(name: str, reference: ColumnProfile, rows: Sequence[Sample], metric: str) -> Values:
    """Rows in each bin, which are counters of their own."""
    within: dict[float, float] = {}
    for row in rows:
        try:
            edge = float(row.labels.get("le", ""))
        except ValueError:
            raise DataError(f"{metric}_bucket of {name} has le={row.labels.get('le')!r}, which is no number") from None
        within[edge] = within.get(edge, 0.0) + counter_value(row, f"{metric}_bucket")
    wanted = (*reference.bounds, inf)
    missing = [edge for edge in wanted if edge not in within]
    if missing:
        raise DataError(
            f'{metric}_bucket of {name} has no bucket le="{missing[0]:g}": the server counts by another reference'
            " profile; give it the one that the contract uses"
        )
    cumulative = [0.0, *(within[edge] for edge in wanted)]
    found = tuple(b - a for a, b in pairwise(cumulative))
    if min(found) < 0:
        raise DataError(f"{metric}_bucket of {name}: a bucket holds less than the one before it")
    return found


def _binned(reference: ColumnProfile, increments: Iterable[Increment]) -> BinCounts:
    gained = {increment.series: [round(amount) for amount in increment.amounts] for increment in increments}
    nulls = gained.get(("null",), [0])[0]
    if reference.numeric:
        return BinCounts((*gained.get(("bins",), [0] * len(reference.counts)), nulls))
    listed = [value for value, _ in reference.top]
    values = {series[1]: amounts[0] for series, amounts in gained.items() if series[0] == "top"}
    other = sum(amount for value, amount in values.items() if value not in listed)
    return BinCounts((*(values.get(value, 0) for value in listed), other + gained.get(("other",), [0])[0], nulls))
