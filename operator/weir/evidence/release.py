"""What one release has seen so far: its pods, its counters, its windows. Pure; the collector brings the readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, inf

from weir.api.base import seconds
from weir.api.gate import Gate, Metrics
from weir.evidence import checkpoint, templates
from weir.evidence.checkpoint import Resumption, Standing
from weir.evidence.counters import Counters
from weir.evidence.errors import DataError
from weir.evidence.feed import Feed, bad_or_total, by_bucket, by_code, count_and_sum
from weir.evidence.noise import GateNoise, ReleaseMemory
from weir.evidence.pods import ArmPods, Pod, RolloutKey, unit
from weir.evidence.tiles import Plan, Progress
from weir.evidence.windows import CountWindows, ShareMeter, ValueWindows
from weir.release.decision import Collect
from weir.release.observation import Arm, Share, Window

MAX_QUERY = 4096
"""Longest text of a query that the status holds, in characters."""

MAX_AHEAD = 60.0
"""Seconds that a collection may wait for its ``since``."""


class Release:
    """The evidence of one stage of one release, from ``collect.since`` on.

    After a restart it goes on where ``resume`` says that it left off, else from now. Before any traffic
    (``collect.candidate`` is empty) only stable's noise is measured.

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
        memory: ReleaseMemory | None = None,
        resume: Mapping[str, tuple[float, str]] | None = None,
    ) -> None:
        self.key = key
        self.collect = collect
        self.gates = gates
        self.metrics = metrics
        self.closed = False
        # A `since` far in the future comes from a wall clock that was set back: it means now.
        self.offset = (wall if collect.since - wall <= MAX_AHEAD else collect.since) - now
        both: tuple[tuple[Arm, str | None], ...] = (("stable", collect.stable), ("candidate", collect.candidate))
        self.arms = tuple(arm for arm, pool in both if pool)
        self.memory = memory or ReleaseMemory(collect.release)
        self.requests = Feed(Counters(settle=self.lagging), by_code, metrics.names.requests)
        self.requests.share = ShareMeter(self.arms) if collect.candidate else None
        self.latency: dict[float | None, Feed] = {}
        """By bound in seconds; None for whole distributions."""
        self.gateway = Feed(Counters(settle=True), by_code, "of gateway requests", owner=lambda series: series[1])
        self.custom: dict[str, Feed] = {}
        self.values: dict[str, ValueWindows] = {}
        self.born: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        self.news = False
        """Something was closed outside ``advance``, which the next ``advance`` reports."""
        self._started = False
        self._resume = resume or {}
        self._meters: list[CountWindows] = []
        """Windows of the stable arm alone, while nothing is judged."""
        self.pods = ArmPods()
        self.update(collect, pods, now)
        self._resume = {}  # only what begins with the first reading can go on from an earlier one

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
                fresh = not first and unit(pod) not in known and not self._awaited(arm, pod)
                if fresh and pod.started is not None and pod.started > collect.since:
                    self.born.setdefault(unit(pod), self.epoch(now))
            for feed in self._pod_feeds():
                feed.expect(arm, [unit(pod) for pod in pods.of(arm)])
        if collect.judging and not self._judging:
            self._begin(now)
        elif first and not collect.judging and collect.stable is not None:
            self._measure(now)

    @property
    def _judging(self) -> bool:
        return bool(self.values or self._count_windows())

    def _awaited(self, arm: Arm, pod: Pod) -> bool:
        return any(windows.awaits(arm, unit(pod)) for windows in self._count_windows())

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
        for feed in self.feeds():
            feed.windows = [windows for windows in feed.windows if windows not in self._meters]
        self._meters = []
        for gate in self.gates:
            if gate.template == "threshold":
                plan = self._plan(gate, now)
                self.values[gate.name] = ValueWindows(plan)
                continue
            feed = self._feed(gate)
            windows = CountWindows(self._plan(gate, now), arms=self.arms)
            windows.standing = feed.standing
            self._go_on(gate, windows, now)
            feed.windows.append(windows)
        self._pace()

    def _measure(self, now: float) -> None:
        """Nothing is judged yet, but stable serves: learn how noisy it is."""
        for gate in self.gates:
            if self.noise_of(gate) is not None:
                feed, windows = self._feed(gate), CountWindows(self._plan(gate, now), arms=("stable",))
                self._meters.append(windows)
                feed.windows.append(windows)
        self._pace()

    def _pace(self) -> None:
        """Suit the windows to what is known of the source: shorter than its scrapes they would miss an arm at times."""
        gates = {gate.name: gate for gate in self.gates}
        for windows in [windows for feed in self.feeds() for windows in feed.windows]:
            gate = gates[windows.gate]
            windows.least, windows.noise = self._tiles(gate), self.noise_of(gate)

    def _tiles(self, gate: Gate) -> int:
        """Tiles of a gate's window: a scrape and a read later there is something new of each pod that has traffic."""
        scrapes = self.memory.scrape_interval
        if not self.lagging or scrapes is None:
            return 1
        return max(1, ceil((scrapes + self.read_interval) / self.width(gate) - 1e-6))

    def _go_on(self, gate: Gate, windows: CountWindows, now: float) -> None:
        """Resume after a restart, if what is stored belongs to this very evidence."""
        end, text = self._resume.get(gate.name, (-inf, ""))
        known = checkpoint.decode(windows.question, text)
        # The counters may be older than the last window, for one with an error counts nothing; never than the stage.
        if known is None or not self.collect.since < known[0] <= end + 0.001 or end > self.epoch(now) + 1.0:
            return
        counted, standings = known
        for arm in self.arms:
            for pod in self.pods.of(arm) if gate.template in templates.POD_TEMPLATES else ():
                if pod.started is not None and pod.started > counted:
                    standings[arm].setdefault(unit(pod), Standing())
        windows.resume(Resumption(end, standings), self.epoch(now))

    def _plan(self, gate: Gate, now: float) -> Plan:
        whole = gate.template == "http-latency" and gate.over is None
        query, width = self._text(gate)[:MAX_QUERY], self.width(gate)
        return Plan(
            gate.name,
            origin=self.collect.since,
            start=max(self.epoch(now), self.collect.since),
            width=width,
            grace=2 * self.read_interval + self.timeout,
            query=query,
            question=f"{gate.template} {gate.over} {width} {query}",
            measure="slower" if whole else "sum" if gate.template == "mean" else "bad",
        )

    def noise_of(self, gate: Gate) -> GateNoise | None:
        """Noise of stable's pods as the gate sees it; None where it does not compare, or counts no pods."""
        if gate.comparison is None or gate.template not in templates.POD_TEMPLATES:
            return None
        question = (gate.template, gate.over, self.metrics.names)
        return self.memory.noise(gate.name, question, self._tiles(gate) * self.width(gate))

    @property
    def past_wanted(self) -> bool:
        """Whether the Prometheus has something left to tell about the time before."""
        noises = [self.noise_of(gate) for gate in self.gates if self.collect.stable]
        return self.lagging and (self.pace_wanted or any(noise is not None and noise.wanted for noise in noises))

    @property
    def pace_wanted(self) -> bool:
        """Whether it is not known yet, and may still be asked, how often pods are scraped."""
        return self.lagging and self.memory.scrape_interval is None and self.memory.attempts > 0

    def compare(self, edges: Mapping[str, tuple[float, ...]]) -> None:
        """Gates compare at these edges."""
        if edges != self.memory.compared:
            self.memory.compared = edges
            self._pace()

    def paced(self, scrape_interval: float) -> None:
        """Pods are scraped every so many seconds."""
        self.memory.scrape_interval = scrape_interval
        self._pace()

    def _feed(self, gate: Gate) -> Feed:
        if gate.template == "http-errors":
            return self.requests
        if gate.template == "http-latency":
            over = None if gate.over is None else seconds(gate.over)
            feed = self.latency.get(over)
            if feed is None:
                metric = f"{self.metrics.names.duration}_bucket"
                feed = self.latency[over] = Feed(Counters(settle=self.lagging), by_bucket, metric)
                for arm in self.arms:
                    feed.expect(arm, [unit(pod) for pod in self.pods.of(arm)])
            return feed
        if gate.template == "gateway-errors":
            feed = self.gateway
        else:
            # A sum over pods falls when a pod goes: counting it from zero would count all of the others again.
            mean = gate.template == "mean"
            counters = Counters(on_drop="rebase", settle=True, whole=not mean)
            feed = Feed(counters, count_and_sum if mean else bad_or_total, "of the queries")
            self.custom[gate.name] = feed
        for arm in self.arms:
            feed.expect(arm, ["gateway" if gate.template == "gateway-errors" else gate.name])
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
        counted = f"{gate.sum} of {gate.count}" if gate.template == "mean" else f"{gate.bad} of {gate.total}"
        query = gate.query if gate.template == "threshold" else counted
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
        return [windows for feed in self.feeds() for windows in feed.windows if windows not in self._meters]

    def advance(self, now: float) -> bool:
        """Close the windows that can be closed; True when the Rollout should hear of something new."""
        news, moment, problems = self.news, self.epoch(now), {}
        self.news = False
        for feed in self.feeds():
            progress = {arm: self._progress(feed, arm) for arm in self.arms}
            for arm, state in progress.items():
                if said := state.invalid or (state.problem if self._asked_for(feed) else None):
                    problems[f"{feed.metric} {arm}"] = said
            if feed.windows:
                news |= self._close(feed, moment, feed.comparable(progress))
            if feed.share is not None and feed.known():
                grew = feed.share.publish(feed.lenient(progress))
                # While gates are judged their windows wake the Rollout often enough.
                news |= grew and not self.collect.judging
        for values in self.values.values():
            news |= values.advance(moment)
        news |= problems.keys() != self.problems.keys()
        self.problems = problems
        return news

    def _asked_for(self, feed: Feed) -> bool:
        return feed.share is not None or any(windows not in self._meters for windows in feed.windows)

    def _close(self, feed: Feed, moment: float, progress: Mapping[Arm, Progress]) -> bool:
        layouts = set().union(*feed.edges.values())
        news = False
        for windows in feed.windows:
            if len(layouts) == 1 and feed is self.latency.get(None):
                windows.edges = next(iter(layouts))
            closed = windows.advance(moment, progress)
            news |= closed and windows not in self._meters
        return news

    def _progress(self, feed: Feed, arm: Arm) -> Progress:
        progress = feed.progress(arm, self.pool(arm))
        # Who does not ask the pods themselves learns of them only that they run.
        return progress if feed in self._pod_feeds() else replace(progress, units=len(self.pods.of(arm)))

    def deadline(self) -> float:
        """On the monotonic clock, when a window is closed even if nothing is read any more."""
        ends = [w.deadline for feed in self.feeds() for w in feed.windows] + [w.deadline for w in self.values.values()]
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
