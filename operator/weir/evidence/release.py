"""What one release has seen so far: its pods, its counters, its windows. Pure; the collector brings the readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from weir.api.base import seconds
from weir.api.gate import Gate, Metrics
from weir.evidence import templates
from weir.evidence.counters import Counters, Increment
from weir.evidence.errors import DataError, ReadError
from weir.evidence.templates import Reading
from weir.evidence.windows import CountWindows, Progress, ShareMeter, ValueWindows
from weir.release.decision import Collect
from weir.release.observation import Arm, Share, Window

RolloutKey = tuple[str, str]
"""(namespace, name) of a Rollout."""

MAX_QUERY = 4096
"""Longest text of a query that the status holds, in characters."""

MAX_AHEAD = 60.0
"""Seconds that a collection may wait for its ``since``."""


@dataclass(frozen=True)
class Pod:
    """A pod as the watch cache knows it. ``port`` is that of the runtime; ``started`` in seconds since the epoch.

    ``started`` only ever vetoes counting a pod that appears during collection from zero; without it the first read of
    the pod is a baseline.
    """

    name: str
    ip: str
    port: int
    started: float | None = None


@dataclass(frozen=True)
class ArmPods:
    """Pods and version name of each arm."""

    candidate: tuple[Pod, ...] = ()
    stable: tuple[Pod, ...] = ()
    candidate_version: str = ""
    stable_version: str = ""

    def of(self, arm: Arm) -> tuple[Pod, ...]:
        """Pods of one arm."""
        return self.candidate if arm == "candidate" else self.stable

    def version(self, arm: Arm) -> str:
        """Version of one arm."""
        return self.candidate_version if arm == "candidate" else self.stable_version


@dataclass
class _Source:
    """One thing that is asked for an arm's counters: a pod, or a query."""

    asked: float = -inf
    read: float = -inf
    found: bool = False
    problem: str | None = None
    invalid: bool = False


Judge = Callable[[Increment], tuple[int, int]]
"""(bad, all) events of an increment."""


@dataclass
class Feed:
    """One stream of counters for the arms of a release, and the windows and the share that are filled from it."""

    counters: Counters
    judge: Judge
    metric: str
    windows: list[CountWindows] = field(default_factory=list)
    share: ShareMeter | None = None
    sources: dict[Arm, dict[str, _Source]] = field(default_factory=dict)
    edges: dict[Arm, set[float]] = field(default_factory=dict)
    flaw: str | None = None

    def expect(self, arm: Arm, names: Iterable[str]) -> None:
        """From now on these sources (pods) are asked for the arm; others no longer hold a window open."""
        old = self.sources.get(arm, {})
        self.sources[arm] = {name: old.get(name) or _Source() for name in names}

    def read(self, arm: Arm, source: str, at: float, reading: Reading, found: Iterable[Increment]) -> None:
        """A source was read at ``at`` and gained that much."""
        state = self.sources.get(arm, {}).get(source)
        if state is not None:
            state.asked = state.read = at
            state.found = state.found or reading.found
            state.problem, state.invalid = None, False
        self.edges.setdefault(arm, set()).update(reading.edges)
        self.flaw = reading.flaw or self.flaw
        for increment in found:
            self.count(arm, increment)

    def count(self, arm: Arm, increment: Increment) -> None:
        """Count events of an arm."""
        bad, total = self.judge(increment)
        for windows in self.windows:
            windows.add(arm, increment.after, bad, total)
        if self.share is not None:
            self.share.add(arm, total)

    def failed(self, arm: Arm, source: str, at: float, error: ReadError) -> None:
        """A source was asked at ``at`` and gave nothing that can be used."""
        state = self.sources.get(arm, {}).get(source)
        if state is not None:
            state.asked = at
            state.problem, state.invalid = str(error), isinstance(error, DataError)

    def progress(self, arm: Arm, pool: str) -> Progress:
        """How far an arm has been read."""
        states = self.sources.get(arm, {})
        if not states:
            return Progress(problem=f"no pods of {arm} '{pool}' are known")
        asked = min(state.asked for state in states.values())
        named = [f"{name}: {s.problem}" if len(states) > 1 else s.problem for name, s in states.items() if s.problem]
        broken = next((s.problem for s in states.values() if s.invalid), None)
        if broken:
            return Progress(asked, -inf, invalid=f"metrics of {arm} '{pool}' are unusable: {broken}")
        read = max(state.read for state in states.values())
        if read > -inf and not any(state.found for state in states.values()):
            return Progress(asked, -inf, f"there is no metric {self.metric} of {arm} '{pool}' (spec.metrics.names)")
        return Progress(asked, read, f"no metrics of {arm} '{pool}': {named[0]}" if named else None)

    def known(self) -> bool:
        """Whether the metric exists on any arm."""
        return any(state.found for states in self.sources.values() for state in states.values())


class Release:
    """The evidence of one stage of one release, from ``collect.since`` on (or from now, after a restart).

    Times in arguments are on the operator's monotonic clock; windows are in seconds since the epoch. The offset between
    the two is taken once, so that a step of the wall clock neither repeats nor skips a window.
    """

    def __init__(
        self,
        key: RolloutKey,
        collect: Collect,
        gates: tuple[Gate, ...],
        metrics: Metrics,
        pods: ArmPods,
        *,
        now: float,
        wall: float,
    ) -> None:
        self.key = key
        self.collect = collect
        self.gates = gates
        self.metrics = metrics
        self.closed = False
        # A `since` far in the future comes from a wall clock that was set back: it means now.
        self.offset = (wall if collect.since - wall <= MAX_AHEAD else collect.since) - now
        self.arms: tuple[Arm, ...] = ("candidate",) if collect.stable is None else ("stable", "candidate")
        self.requests = Feed(Counters(settle=self.lagging), _by_code, metrics.names.requests)
        self.requests.share = ShareMeter(self.arms)
        self.latency: dict[float, Feed] = {}
        self.gateway = Feed(Counters(settle=True), _by_code, "of gateway requests")
        self.custom: dict[str, Feed] = {}
        self.values: dict[str, ValueWindows] = {}
        self.born: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        self.news = False
        """Something was closed outside ``advance``, which the next ``advance`` reports."""
        self._started = False
        self.pods = ArmPods()
        self.update(collect, pods, now)

    @property
    def begin(self) -> float:
        """On the monotonic clock, when reading may begin: what is counted before ``since`` is a baseline."""
        return self.collect.since - self.offset

    @property
    def lagging(self) -> bool:
        """Whether the source shows counters later than the pods do."""
        return self.metrics.prometheus is not None

    @property
    def read_interval(self) -> float:
        """Seconds between two reads."""
        prometheus, scrape = self.metrics.prometheus, self.metrics.scrape
        return seconds(prometheus.interval if prometheus else scrape.interval if scrape else "2s")

    @property
    def timeout(self) -> float:
        """Seconds that one read may take."""
        return seconds(self.metrics.prometheus.timeout) if self.metrics.prometheus else 2.0

    def same(self, collect: Collect, gates: tuple[Gate, ...], metrics: Metrics) -> bool:
        """Whether that is still the same evidence; otherwise everything starts from nothing."""

        def identity(c: Collect) -> tuple[str, str, str | None, float]:
            return (c.key, c.candidate, c.stable, round(c.since, 3))

        return identity(collect) == identity(self.collect) and (gates, metrics) == (self.gates, self.metrics)

    def update(self, collect: Collect, pods: ArmPods, now: float) -> None:
        """Take the current pods, and begin judging if that is new."""
        known = {unit(pod) for arm in self.arms for pod in self.pods.of(arm)}
        first = not self._started
        self._started = True
        self.collect, self.pods = collect, pods
        for arm in self.arms:
            for pod in pods.of(arm):
                # Both the operator's own earlier view and the pod's start must say that it is new: clocks may differ.
                fresh = not first and unit(pod) not in known and pod.started is not None
                if fresh and pod.started is not None and pod.started > collect.since:
                    self.born.setdefault(unit(pod), self.epoch(now))
            for feed in self._pod_feeds():
                feed.expect(arm, [unit(pod) for pod in pods.of(arm)])
        if collect.judging and not self._judging:
            self._begin(now)

    @property
    def _judging(self) -> bool:
        return bool(self.values or self._count_windows())

    def epoch(self, now: float) -> float:
        """Seconds since the epoch at a reading of the monotonic clock."""
        return now + self.offset

    def pool(self, arm: Arm) -> str:
        """Name of an arm's pool."""
        return self.collect.candidate if arm == "candidate" else (self.collect.stable or "")

    def width(self, gate: Gate) -> float:
        """Seconds of a window: the gate's interval, or the source's where that is longer."""
        return max(gate.interval_seconds, self.read_interval)

    def variables(self, gate: Gate, arm: Arm) -> dict[str, str]:
        """Placeholders of a gate's queries."""
        namespace, name = self.key
        width = self.width(gate)
        return {
            "namespace": namespace,
            "rollout": name,
            "pool": self.pool(arm),
            "version": self.pods.version(arm),
            "window": f"{round(width * 1000)}ms" if width % 1 else f"{round(width)}s",
        }

    def _begin(self, now: float) -> None:
        for gate in self.gates:
            if gate.template == "threshold":
                self.values[gate.name] = ValueWindows(
                    gate.name, query=self._text(gate)[:MAX_QUERY], **self._timing(gate, now)
                )
                continue
            windows = CountWindows(
                gate.name, arms=self.arms, query=self._text(gate)[:MAX_QUERY], **self._timing(gate, now)
            )
            self._feed(gate).windows.append(windows)

    def _timing(self, gate: Gate, now: float) -> dict[str, float]:
        return {
            "origin": self.collect.since,
            "start": max(self.epoch(now), self.collect.since),
            "width": self.width(gate),
            "grace": 2 * self.read_interval + self.timeout,
        }

    def _feed(self, gate: Gate) -> Feed:
        if gate.template == "http-errors":
            return self.requests
        if gate.template == "http-latency":
            over = seconds(gate.over or "0s")
            feed = self.latency.get(over)
            if feed is None:
                metric = f"{self.metrics.names.duration}_bucket"
                feed = self.latency[over] = Feed(Counters(settle=self.lagging), _by_bucket, metric)
                for arm in self.arms:
                    feed.expect(arm, [unit(pod) for pod in self.pods.of(arm)])
            return feed
        if gate.template == "gateway-errors":
            feed = self.gateway
        else:
            # A sum over pods falls when a pod goes: counting it from zero would count all of the others again.
            feed = self.custom[gate.name] = Feed(
                Counters(on_drop="rebase", settle=True), _bad_or_total, "of the queries"
            )
        for arm in self.arms:
            feed.expect(arm, [gate.name if gate.template == "custom" else "gateway"])
        return feed

    def _text(self, gate: Gate) -> str:
        names, pools = self.metrics.names, [self.pool(arm) for arm in self.arms]
        if gate.template in templates.POD_TEMPLATES:
            if self.lagging:
                build = templates.requests_query if gate.template == "http-errors" else templates.buckets_query
                return build(names, [templates.escape(self.key[0])], [templates.escape(pool) + "-.+" for pool in pools])
            scrape = self.metrics.scrape
            return templates.described(gate, names, f"from {scrape.path if scrape else '/metrics'} of each pod")
        if gate.template == "gateway-errors":
            return templates.gateway_query((self.key[0], pool) for pool in pools)
        query = gate.query if gate.template == "threshold" else f"{gate.bad} of {gate.total}"
        try:
            return templates.fill(query or "", self.variables(gate, "candidate"))
        except DataError:
            return query or ""

    def _pod_feeds(self) -> list[Feed]:
        return [self.requests, *self.latency.values()]

    def feeds(self) -> list[Feed]:
        """All streams of counters."""
        return [*self._pod_feeds(), self.gateway, *self.custom.values()]

    def _count_windows(self) -> list[CountWindows]:
        return [windows for feed in self.feeds() for windows in feed.windows]

    def advance(self, now: float) -> bool:
        """Close the windows that can be closed; True when the Rollout should hear of something new."""
        news, moment, problems = self.news, self.epoch(now), {}
        self.news = False
        for feed in self.feeds():
            progress = {arm: feed.progress(arm, self.pool(arm)) for arm in self.arms}
            for arm, state in progress.items():
                if said := state.invalid or (state.problem if feed.windows or feed.share else None):
                    problems[f"{feed.metric} {arm}"] = said
            for windows in feed.windows:
                news |= windows.advance(moment, self._comparable(feed, progress))
            if feed.share is not None and feed.known():
                grew = feed.share.publish(self._lenient(feed, progress))
                # While gates are judged their windows wake the Rollout often enough.
                news |= grew and not self.collect.judging
        for values in self.values.values():
            news |= values.advance(moment)
        news |= problems.keys() != self.problems.keys()
        self.problems = problems
        return news

    def _comparable(self, feed: Feed, progress: Mapping[Arm, Progress]) -> Mapping[Arm, Progress]:
        """Progress for judging: counts that a gate cannot use, or that mean different things, are invalid."""
        flaw = feed.flaw
        if len(set().union(*feed.edges.values())) > 1:
            told = "; ".join(
                f"{arm} {', '.join(f'{e:g} s' for e in sorted(es))}" for arm, es in feed.edges.items() if es
            )
            flaw = f"pods have different histogram bucket edges, so latencies cannot be compared: {told}"
        if flaw is None:
            return progress
        return {arm: Progress(p.asked, p.read, p.problem, p.invalid or flaw) for arm, p in progress.items()}

    def _lenient(self, feed: Feed, progress: Mapping[Arm, Progress]) -> Mapping[Arm, Progress]:
        """For the share, an arm that was read and has not counted anything yet has served nothing."""
        lenient = {}
        for arm, state in progress.items():
            sources = feed.sources.get(arm, {}).values()
            read = max((s.read for s in sources), default=-inf)
            lenient[arm] = Progress(state.asked, read, state.problem, state.invalid)
        return lenient

    def deadline(self) -> float:
        """On the monotonic clock, when a window is closed even if nothing is read any more."""
        ends = [w.deadline for w in self._count_windows()] + [w.deadline for w in self.values.values()]
        # A millisecond later than due: rounding must not make the window look open at its own deadline.
        return min(ends, default=inf) - self.offset + 0.001

    def windows(self, after: Mapping[str, float]) -> tuple[Window, ...]:
        """Closed windows of all gates that end after ``after[gate]``; earlier ones are acknowledged and forgotten."""
        kept = [(w.gate, w.kept) for w in self._count_windows()] + [(w.gate, w.kept) for w in self.values.values()]
        return tuple(window for gate, held in kept for window in held.after(after.get(gate, -inf)))

    @property
    def share(self) -> Share | None:
        """Requests of each arm since collection began; None while unknown."""
        return self.requests.share.share if self.requests.share is not None else None


def unit(pod: Pod) -> str:
    """Identity of a pod as the owner of counters: a pod that came back with another address has new ones."""
    return f"{pod.name} ({pod.ip})"


def _by_code(increment: Increment) -> tuple[int, int]:
    return (increment.amounts[0] if templates.bad_code(increment.series[0]) else 0, increment.amounts[0])


def _by_bucket(increment: Increment) -> tuple[int, int]:
    total, within = increment.amounts
    return total - within, total


def _bad_or_total(increment: Increment) -> tuple[int, int]:
    return (increment.amounts[0], 0) if increment.series[0] == "bad" else (0, increment.amounts[0])
