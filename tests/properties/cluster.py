"""A model cluster around ``decide``: does what it wants, feeds back what came of it, and lets faults happen.

It mirrors the shell. The status is stored before anything is done about it. What is in memory counts only while it
agrees with the stored one in all that matters. Any write may be the last one before a crash, and any may fail. Pools
and routes may be seen as they were some writes ago, the Rollout itself not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from tests.properties.specs import make_spec
from weir.api.actionrequest import ActionRequestSpec
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.api.rollout import RolloutSpec
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.contract.finding import Standing
from weir.release.capacity import carried
from weir.release.decide import decide
from weir.release.decision import Collect, Decision, PoolIntent, RequestResult
from weir.release.durable import significant
from weir.release.instead import wanted
from weir.release.observation import (
    Observation,
    Permission,
    Pool,
    Problem,
    Request,
    RolloutView,
    Route,
    Share,
    Target,
    Window,
)
from weir.stats.noise import Noise

START = 1_800_000_000.0
"""When the model's clock starts, in seconds since the epoch."""

REQUESTS = 1000
"""Requests that users send in one span of time."""


class Quality(StrEnum):
    """What a version does with its requests, or what can be seen of it."""

    GOOD = "good"
    BAD = "bad"
    SILENT = "silent"
    FEW = "few"
    ERROR = "error"
    ONE_ARM = "one arm"
    NAN = "nan"


@dataclass
class Collector:
    """What the shell gathers for one ``Collect``; lives in memory only."""

    collect: Collect
    until: float
    windows: tuple[Window, ...] = ()
    share: Share | None = None


Watch = Callable[["Cluster", RolloutStatus, Observation, Decision], None]


@dataclass
class Cluster:
    """The Rollout ``demo``, everything around it, and the shell that serves it."""

    spec: RolloutSpec = field(default_factory=make_spec)
    now: float = START
    generation: int = 1
    template: int = 0
    deleting: bool = False
    finalizer: bool = True
    versions: frozenset[str] = frozenset({"v1", "v2", "v3"})
    blockers: tuple[Problem, ...] = ()
    authors: tuple[str, ...] = ()
    admission_problem: str | None = None
    admission_open: bool = False
    contracts: Mapping[str, Standing | None] = field(default_factory=dict)
    """Version → what its DataContracts say of it."""
    pools: dict[str, Pool] = field(default_factory=dict)
    route: Route = field(default_factory=Route)
    served: dict[str, int] = field(default_factory=dict)
    """Pool → percent that the data plane really does: what the gateway accepted last."""
    gateway_works: bool = True
    share_right: bool = True
    quality: dict[str, Quality] = field(default_factory=dict)
    waiting: dict[str, Request] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    records: dict[int, RolloutRecordSpec] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    significant: dict[str, Any] = field(default_factory=lambda: significant(RolloutStatus()))
    """What must not be forgotten of what is stored."""
    parsed: RolloutStatus | None = None
    memory: RolloutStatus | None = None
    """The freshest status; never there unless it agrees with what is stored in all that matters."""
    collector: Collector | None = None
    warm_up: str | None = None
    warmed: frozenset[str] = frozenset()
    past: list[tuple[dict[str, Pool], Route]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    watch: Watch | None = None
    ledger: Any = None

    def clone(self) -> Cluster:
        """An independent copy; what is frozen is shared."""
        twin = copy.copy(self)
        for name in ("pools", "served", "quality", "waiting", "results", "records", "past", "events"):
            setattr(twin, name, copy.copy(getattr(self, name)))
        twin.collector = copy.copy(self.collector)
        twin.ledger = self.ledger.clone() if self.ledger is not None else None
        return twin

    # What there is to see

    @property
    def gone(self) -> bool:
        """Whether the Rollout was deleted and nothing holds it back any more."""
        return self.deleting and not self.finalizer

    @property
    def view(self) -> RolloutView:
        """The Rollout's desired state."""
        return RolloutView("demo", "team", "uid-1", self.generation, self.spec, self.deleting, self.authors)

    @property
    def status(self) -> RolloutStatus:
        """What the shell would go on from now."""
        if self.memory is not None:
            return self.memory
        if self.parsed is None:
            self.parsed = RolloutStatus.model_validate(self.stored)
        return self.parsed

    def target_of(self, version: str) -> Target:
        """Target that the spec would name with that version."""
        revision = f"{version}.{self.template}"
        return Target(version, f"label-{version}", f"sha256:{version}", revision, f"demo-{revision}")

    @property
    def target(self) -> Target | None:
        """What should serve, by the spec or by what was asked for in its place, if that version exists."""
        version = wanted(self.spec, self.status)
        return self.target_of(version) if version in self.versions else None

    def offer(self, version: str) -> Target | Problem:
        """What a Release of that version would release."""
        missing = Problem("ModelVersionNotFound", f"no ModelVersion {version} in this namespace")
        return self.target_of(version) if version in self.versions else missing

    def observe(self, stale: int = 0) -> Observation:
        """What a look shows; ``stale``: pools and route as they were that many changes ago."""
        target, status = self.target, self.status
        pools, route = self.past[-min(stale, len(self.past))] if stale and self.past else (self.pools, self.route)
        ends = {g.name: g.window_end for g in status.gates if g.window_end is not None}
        collected = self.collector.windows if self.collector is not None else ()
        windows = tuple(w for w in collected if w.end > ends.get(w.gate, 0.0))
        if self.collector is not None:
            self.collector.windows = windows
        return Observation(
            target=target,
            target_problem=None if target else Problem("ModelVersionNotFound", "no such ModelVersion", terminal=True),
            wanted=wanted(self.spec, status),
            blockers=self.blockers,
            pools=dict(pools),
            route=route,
            windows=windows,
            share=self.collector.share if self.collector is not None else None,
            warmed=self.warmed,
            requests=tuple(self.waiting.values()),
            admission_problem=self.admission_problem,
            admission_open=self.admission_open,
            contracts=self.contracts,
            offered={r.spec.version: self.offer(r.spec.version) for r in self.waiting.values() if r.spec.version},
            recorded={release: record.hash for release, record in self.records.items()},
        )

    # The shell

    def reconcile(self, *, crash_at: int | None = None, fail_at: int | None = None, stale: int = 0) -> Decision:
        """One turn: look, decide, store, act. ``crash_at``/``fail_at``: number of the write that does not happen."""
        before = self.status
        obs = self.observe(stale)
        decision = decide(self.view, before, obs, self.now)
        if self.watch is not None:
            self.watch(self, before, obs, decision)
        writes: list[Callable[[], None]] = [*self.writes(decision), partial(self._tell, decision)]
        if not self._differs(decision):
            self._take_in(decision)
        for number, write in enumerate(writes):
            if crash_at == number:
                self.restart()
                return decision
            if fail_at == number:
                return decision
            self._remember()
            write()
        return decision

    def writes(self, decision: Decision) -> list[Callable[[], None]]:
        """Writes to the API server that bring the decision about, in order; none where nothing differs."""
        wanted, pools = decision.desired, self.pools
        found: list[Callable[[], None]] = []
        if self._differs(decision):
            found.append(partial(self._store, decision))
        found += [partial(self._scale, p) for p in wanted.pools if p.pool not in pools and p.render]
        found += [
            partial(self._scale, p) for p in wanted.pools if p.pool in pools and p.replicas != pools[p.pool].desired
        ]
        if wanted.weights is not None and dict(wanted.weights) != dict(self.route.weights):
            found.append(partial(self._shift, dict(wanted.weights)))
        found += [partial(self._remove, name) for name in wanted.remove if name in pools]
        if wanted.record is not None and wanted.record.release not in self.records:
            found.append(partial(self._seal, wanted.record))
        found += [
            partial(self._answer, r)
            for r in wanted.results
            if r.uid in self.waiting and (r.handled is not None or self.waiting[r.uid].pending != r.message)
        ]
        if wanted.finalizer != self.finalizer:
            found.append(partial(self._hold_back, wanted.finalizer))
        return found

    def _differs(self, decision: Decision) -> bool:
        return significant(decision.status) != self.significant

    def restart(self) -> None:
        """The operator dies and comes back: everything in memory is lost."""
        self.memory, self.collector, self.warm_up, self.warmed = None, None, None, frozenset()

    def _remember(self) -> None:
        self.past = [*self.past, (dict(self.pools), self.route)][-4:]

    def _store(self, decision: Decision) -> None:
        self.stored, self.significant, self.parsed = decision.status.to_dict(), significant(decision.status), None
        self._take_in(decision)

    def _take_in(self, decision: Decision) -> None:
        assert not self._differs(decision), "memory may follow only once the status is safe"
        self.memory = decision.status
        self._gather(decision)

    def _tell(self, decision: Decision) -> None:
        self.events += [event.reason for event in decision.events]

    def _scale(self, intent: PoolIntent) -> None:
        pool = self.pools.get(intent.pool, Pool(intent.pool))
        weight = self.route.weights.get(intent.pool, 0)
        if intent.replicas < pool.desired and weight:
            left = carried(replace(pool, ready=intent.replicas), self.spec.replicas)
            assert left >= weight, (
                f"{intent.pool} has {weight} % of the traffic and is scaled to {intent.replicas} pods"
            )
        self.pools[intent.pool] = replace(pool, desired=intent.replicas, ready=min(pool.ready, intent.replicas))

    def _shift(self, weights: dict[str, int]) -> None:
        assert sum(weights.values()) == 100, weights
        for pool, weight in weights.items():
            assert not weight or pool in self.pools, f"{pool} gets {weight} % of the traffic and does not exist"
        self.route = Route(weights, accepted=False)

    def _remove(self, name: str) -> None:
        assert not self.route.weights.get(name), f"{name} is deleted with traffic"
        assert not self.pools[name].desired, f"{name} is deleted with pods"
        del self.pools[name]

    def _answer(self, result: RequestResult) -> None:
        if result.handled is None:
            self.waiting[result.uid] = replace(self.waiting[result.uid], pending=result.message)
            return
        del self.waiting[result.uid]
        self.results[result.uid] = f"{result.phase}: {result.message}"

    def _seal(self, record: RolloutRecordSpec) -> None:
        self.records[record.release] = record

    def _hold_back(self, finalizer: bool) -> None:
        self.finalizer = finalizer

    def _gather(self, decision: Decision) -> None:
        collect = decision.desired.collect
        if collect is None:
            self.collector = None
        elif self.collector is None or self.collector.collect != collect:
            self.collector = Collector(collect, max(self.now, collect.since))
        self.warm_up = decision.desired.warm_up

    # The world

    def edit(self, **changes: Any) -> None:
        """Changes the spec; fields in their wire form."""
        self.spec = RolloutSpec.model_validate({**self.spec.to_dict(), **changes})
        self.generation += 1

    def release(self, version: str) -> None:
        """Asks for that version."""
        self.edit(versionRef={"name": version})

    def ask(
        self, action: str, uid: str = "", *, age: float = 0.0, standing: Permission | None = None, **fields: Any
    ) -> str:
        """Creates an ActionRequest, ``age`` seconds ago; returns its uid. ``standing``: that of an agent's."""
        uid = uid or f"request-{len(self.waiting) + len(self.results):04}"
        spec = {"action": action, "rolloutRef": {"name": "demo"}, "reason": "because", "requester": "somebody"}
        made = ActionRequestSpec.model_validate({**spec, **fields})
        self.waiting[uid] = Request(uid, uid, made, self.now - age, permit=standing)
        return uid

    def stands(self, uid: str, standing: Permission) -> None:
        """The AgentPolicy says another thing of a request that waits."""
        self.waiting[uid] = replace(self.waiting[uid], permit=standing)

    def ready(self, name: str, count: int) -> None:
        """Makes that many pods of a pool ready, as far as it has them."""
        if name in self.pools:
            self._remember()
            self.pools[name] = replace(self.pools[name], ready=min(count, self.pools[name].desired))

    def all_ready(self) -> None:
        """Makes every pod of every pool ready, and the candidate's warmed up."""
        for name, pool in self.pools.items():
            self.pools[name] = replace(pool, ready=pool.desired)
        self.warm()

    def warm(self) -> None:
        """The warm-up that was asked for is done, if there are pods to do it."""
        if self.warm_up is not None and self.pools.get(self.warm_up, Pool("")).ready:
            self.warmed |= {self.warm_up}

    def accept(self) -> None:
        """The gateway takes the route as written."""
        if self.route.weights and self.gateway_works:
            self.route = replace(self.route, accepted=True, problem=None)
            self.served = dict(self.route.weights)

    def refuse(self) -> None:
        """The gateway does not take the route."""
        self.route = replace(self.route, accepted=False, problem=Problem("RouteNotAccepted", "no such listener"))

    def pass_time(self, duration: float) -> None:
        """Time passes; users send requests meanwhile, and the collector sees what it can of them."""
        self.now = round(self.now + duration, 3)
        collector = self.collector
        if collector is None or self.now <= collector.until:
            return
        start, collector.until = collector.until, self.now
        candidate = self.status.candidate
        quality = self.quality.get(candidate.version, Quality.GOOD) if candidate is not None else Quality.GOOD
        if collector.collect.judging:
            made = (_window(g, start, self.now, quality, self._sent(collector)) for g in self.spec.gates)
            collector.windows = (*collector.windows, *made)
        elif quality not in (Quality.ERROR, Quality.ONE_ARM):
            sent, stable = self._sent(collector)
            few = quality in (Quality.FEW, Quality.SILENT)
            old = collector.share or Share()
            collector.share = Share(old.candidate + (0 if few else sent), old.stable + (2 if few else stable or 0))

    def _sent(self, collector: Collector) -> tuple[int, int | None]:
        weight = self.served.get(collector.collect.candidate, 0)
        if not self.share_right:
            weight = 100 - weight
        stable = None if collector.collect.stable is None else REQUESTS * (100 - weight) // 100
        return (REQUESTS * weight // 100 or 100, stable)

    def run(self, until: Callable[[], bool] = lambda: False, *, limit: int = 400) -> None:
        """Lets a healthy world go on until that is so, or nothing moves any more; time passes as it is asked for."""
        for _ in range(limit):
            if until():
                return
            before = self.picture()
            decision = self.reconcile()
            self.all_ready()
            self.accept()
            if until():
                return
            if self.picture() != before:
                continue
            if decision.wake_at is None:
                return
            step = decision.wake_at - self.now
            self.pass_time(min(step, 10.0) if self.collector is not None else step)
        assert until(), f"not reached after {limit} turns: {self.status.phase}: {self.status.message}"

    def picture(self) -> Any:
        """All that is stored outside of the operator's memory."""
        world = (dict(self.pools), self.route, dict(self.results), tuple(self.records), self.finalizer, self.warmed)
        return (self.significant, world)


def _window(gate: Gate, start: float, end: float, quality: Quality, sent: tuple[int, int | None]) -> Window:
    """What a version of that quality shows, when it and stable were sent so many requests."""
    if quality is Quality.ERROR:
        return Window(gate.name, start, end, error="the metrics page answers 500")
    if gate.template == "threshold":
        values = {Quality.BAD: "100", Quality.NAN: "NaN"}
        value = None if quality in (Quality.SILENT, Quality.FEW) else Decimal(values.get(quality, "1"))
        return Window(gate.name, start, end, value=value)
    if quality is Quality.NAN:
        return Window(gate.name, start, end, error="the query gave NaN")
    total = {Quality.SILENT: 0, Quality.FEW: 3}.get(quality, sent[0])
    bad = total // 2 if quality is Quality.BAD else 0
    stable = None if sent[1] is None or quality is Quality.ONE_ARM else Counts(bad=sent[1] // 100, total=sent[1])
    return Window(gate.name, start, end, Counts(bad=bad, total=total), stable, noise=Noise())
