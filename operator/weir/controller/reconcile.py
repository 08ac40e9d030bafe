"""Reconciling a Rollout: observe, decide, act, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from opentelemetry.trace import Tracer
from pydantic import ValidationError

from weir.api.modelversion import ModelVersionSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.controller.act import SOON, Actor, NotYet, Scene, write_problem
from weir.controller.declarations import first_error
from weir.controller.guardrails import PATIENCE, AdmissionProbe
from weir.controller.memory import Memories, Memory, must_write
from weir.controller.metrics import ReleaseMetrics
from weir.controller.observe import Observer, Versions, view_of
from weir.controller.standings import Book, Standings
from weir.controller.warmth import Warmth
from weir.evidence.budget import BudgetReader, Service
from weir.evidence.collector import Collector
from weir.evidence.stored import Stored
from weir.notify.alerts import Subject
from weir.notify.notifier import Notifier
from weir.release.conditions import invalid_spec
from weir.release.decide import decide
from weir.release.decision import Decision
from weir.release.desired import share_key
from weir.release.observation import Observation, Problem, Request, RolloutView
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.errors import NamespaceEnding
from weir.runtime.events import EventWriter
from weir.runtime.resources import ROLLOUTS, KubeObject, ObjectKey
from weir.runtime.telemetry import ReconcileScope
from weir.traffic.adapter import Seen, adapter_for
from weir.workload.identity import pod_pattern

_log = logging.getLogger(__name__)

_RETRY = 10.0
"""Seconds after which a look is repeated while a write of ours is in the way of something."""


class RolloutReconciler:
    """Brings one Rollout forward; everything that is decided is decided in ``weir.release``."""

    def __init__(
        self,
        *,
        cache: Cache,
        guard: StaleGuard,
        observer: Observer,
        actor: Actor,
        collector: Collector,
        budgets: BudgetReader,
        warmth: Warmth,
        book: Book,
        probe: AdmissionProbe,
        notifier: Notifier,
        events: EventWriter,
        metrics: ReleaseMetrics,
        tracer: Tracer,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``wall``: seconds since the epoch."""
        self._cache = cache
        self._guard = guard
        self._observer = observer
        self._actor = actor
        self._collector = collector
        self._budgets = budgets
        self._warmth = warmth
        self._standings = Standings(cache, book, wall)
        self._probe = probe
        self._notifier = notifier
        self._events = events
        self._metrics = metrics
        self._tracer = tracer
        self._wall = wall
        self._memories = Memories()
        self._uids: dict[ObjectKey, str] = {}
        self._planned: dict[ObjectKey, float] = {}

    async def __call__(self, key: ObjectKey, scope: ReconcileScope) -> float | None:
        """One look; returns the seconds until the next, if time alone can change anything."""
        obj = self._cache.get(ROLLOUTS, key.namespace, key.name)
        if obj is None:
            self._forget(key)
            return None
        if self._guard.is_stale(key):
            return SOON
        self._uids[key] = obj["metadata"]["uid"]
        try:
            view = view_of(obj)
        except ValidationError as error:
            await self._invalid(obj, first_error(error))
            return None
        if view.spec.approvals and self._asks_first(view):
            return PATIENCE
        memory = self._memories.of(view.uid)
        status = self._memories.recall(obj)
        now = self._wall()
        self._late(key, now)
        with self._tracer.start_as_current_span("observe"):
            versions, seen = self._observer.versions(view, status), self._observer.seen(view)
            told = self._standings.of(view, status, versions.target, self._warmth.metadata(key))
            observation = replace(self._observe(key, view, status, versions, seen, memory=memory), contracts=told)
        with self._tracer.start_as_current_span("decide") as span:
            decision = decide(view, status, observation, now)
            span.set_attribute("weir.decisions", [event.reason for event in decision.events])
        self._metrics.show_budget(view, decision.status, observation.budget, now)
        scope.annotate(release=str(decision.status.release), stage=_stage(decision.status))
        problems = dict(memory.problems)
        try:
            with self._tracer.start_as_current_span("act"):
                await self._act(Scene(view, obj, status, versions, seen, memory), key, decision, scope)
        except NotYet:
            return SOON
        except NamespaceEnding:
            if not view.deleting:
                raise
            # Neither weights nor a record can be written here any more, and all that they are about goes as well.
            await self._actor.finalizer(obj, wanted=False)
            return None
        if memory.problems != problems:
            # What the API server said of this very write is to be decided upon and told, though nothing else changes.
            return SOON
        again = self._next(key, decision, now)
        checks = await self._standings.ask(obj, decision.status, told)
        again = again if checks is None else min(checks, again if again is not None else checks)
        # What is refused or fought over is tried again, also by a Rollout that waits for nothing else.
        return min(again or _RETRY, _RETRY) if memory.problems else again

    def _observe(
        self,
        key: ObjectKey,
        view: RolloutView,
        status: RolloutStatus,
        versions: Versions,
        seen: Seen,
        *,
        memory: Memory,
    ) -> Observation:
        adapter, place = adapter_for(view), (key.namespace, key.name)
        route, fight = adapter.observe(view, seen), write_problem(memory, "HTTPRoute")
        collected = self._collector.collecting(place)
        untrusted = self._probe.problem(view.namespace) if view.spec.approvals else None
        requests = self._requests(view, status)
        return Observation(
            target=versions.target,
            target_problem=versions.problem,
            wanted=versions.wanted,
            blockers=self._blockers(view, status, versions, seen),
            write_problem=write_problem(memory),
            pools=self._observer.pools(view, status, versions),
            route=route if fight is None else replace(route, problem=fight),
            windows=self._collector.windows(
                place, {g.name: g.window_end for g in status.gates if g.window_end is not None}
            ),
            share=self._collector.share(place) if collected == share_key(status) else None,
            evidence_problem=self._collector.problem(place),
            budget=self._budgets.reading(place),
            warmed=self._warmth.warmed(key),
            warmup_problem=self._warmth.problem(key),
            requests=requests,
            admission_problem=untrusted,
            admission_open=untrusted is not None and self._probe.open(view.namespace),
            offered=self._observer.offered(view, status, requests),
            recorded=self._observer.recorded(view),
        )

    def _asks_first(self, view: RolloutView) -> bool:
        """Whether to wait a moment for the answer whether requesters can be trusted; it wakes the Rollout."""
        self._probe.problem(view.namespace)
        return self._probe.imminent(view.namespace)

    def _requests(self, view: RolloutView, status: RolloutStatus) -> tuple[Request, ...]:
        """ActionRequests; consents wait for the moment until it is known whether they can be trusted."""
        found = self._observer.requests(view)
        if not view.spec.approvals or self._probe.settled(view.namespace):
            return found
        known = {entry.uid for entry in status.handled_requests}
        return tuple(r for r in found if r.spec.action != "Approve" or r.uid in known)

    def _blockers(
        self, view: RolloutView, status: RolloutStatus, versions: Versions, seen: Seen
    ) -> tuple[Problem, ...]:
        """What stands in the way of a release before it touches traffic; only asked while none has been touched."""
        if status.stage is not None and status.stage.index >= 0:
            return ()
        problems = [adapter_for(view).plan(view, seen), self._observer.unfit_shares(view, status, versions, seen)]
        if status.stable is None or status.candidate is not None:
            problems.append(self._observer.rival(view))
        return tuple(problem for problem in problems if problem is not None)

    async def _act(self, scene: Scene, key: ObjectKey, decision: Decision, scope: ReconcileScope) -> None:
        """Intent first, then the cluster, then the papers; each may be cut off anywhere and is done again."""
        view, obj, memory, desired = scene.view, scene.obj, scene.memory, decision.desired
        if desired.finalizer and not view.deleting:
            obj = await self._actor.finalizer(obj, wanted=True)
        stored = RolloutStatus.model_validate(obj.get("status") or {})
        now = self._wall()
        if must_write(stored, decision.status, now - memory.stored_at):
            await self._actor.status(obj, decision.status.to_dict())
            memory.stored_at = now
        memory.status = decision.status
        self._measure(view, scene.versions, decision, scene.before)
        self._notifier.offer(Subject(view.namespace, view.name, view.uid), decision.status)
        self._background(scene, key, decision)
        await self._actor.cluster(scene, desired)
        await self._actor.record(scene, desired, scope.traceparent)
        await self._actor.results(view, desired)
        for event in decision.events:
            await self._events.emit(
                obj,
                reason=event.reason,
                action=event.reason,
                note=event.message,
                key=event.key,
                type_="Warning" if event.warning else "Normal",
                traceparent=scope.traceparent,
            )
        if not desired.finalizer:
            await self._actor.restore(scene)
            await self._actor.finalizer(obj, wanted=False)

    def _background(self, scene: Scene, key: ObjectKey, decision: Decision) -> None:
        """Starts and stops what runs beside the loop: evidence, warm-up, synthetic traffic."""
        view, desired, place = scene.view, decision.desired, (key.namespace, key.name)
        if desired.collect is not None:
            pods = self._observer.arms(view, decision.status, scene.versions)
            self._collector.watch(
                place,
                desired.collect,
                tuple(view.spec.gates),
                view.spec.metrics,
                pods,
                stored=Stored.of(decision.status),
            )
        elif decision.status.candidate is not None:
            self._collector.pause(place)
        else:
            self._collector.forget(place)
        if view.spec.error_budget is not None:
            self._budgets.watch(place, Service(view.spec.error_budget, view.spec.metrics, pod_pattern(view.name)))
        else:
            self._budgets.forget(place)
        content = self._candidate_content(scene, decision)
        if desired.warm_up is not None and content is not None:
            needed = next((i.replicas for i in desired.pools if i.pool == desired.warm_up), 1)
            pods_up = self._observer.addresses(view, desired.warm_up, content.runtime.port)
            if pods_up and (len(pods_up) >= needed or content.runtime.service_ref is not None):
                self._warmth.want(key, desired.warm_up, pods_up, content)
        elif desired.warm_up is None:
            self._warmth.cool(key)
        blue_green = view.spec.strategy.blue_green
        if desired.synthetic is not None and content is not None and blue_green is not None:
            pool, port = desired.synthetic, content.runtime.port
            rate = float(blue_green.preview.requests_per_second)
            self._warmth.preview(key, pool, lambda: self._observer.addresses(view, pool, port), content, rate)
        else:
            self._warmth.no_preview(key)

    @staticmethod
    def _candidate_content(scene: Scene, decision: Decision) -> ModelVersionSpec | None:
        candidate = decision.status.candidate
        return scene.versions.contents.get(candidate.version) if candidate is not None else None

    def _measure(self, view: RolloutView, versions: Versions, decision: Decision, before: RolloutStatus) -> None:
        """Gauges, counters and log lines; once per decision, since a decision is only taken on what was stored."""
        content = versions.contents.get(view.spec.version_ref.name)
        self._metrics.show(view, content.model if content is not None else "", decision.status)
        self._metrics.changed(view, before, decision.status)
        for event in decision.events:
            _log.info("decision", extra={"reason": event.reason, "text": event.message, "phase": decision.status.phase})
            self._metrics.decisions.labels(view.namespace, view.name, event.reason).inc()
            if event.reason.startswith("Release") and event.reason != "ReleaseStarted":
                outcome = event.reason.removeprefix("Release")
                self._metrics.releases.labels(view.namespace, view.name, outcome).inc()

    def _late(self, key: ObjectKey, now: float) -> None:
        planned = self._planned.pop(key, None)
        if planned is not None:
            self._metrics.overdue.labels(key.namespace, key.name).set(max(0.0, now - planned))

    def _next(self, key: ObjectKey, decision: Decision, now: float) -> float | None:
        if decision.wake_at is None:
            return None
        self._planned[key] = decision.wake_at
        return max(0.0, decision.wake_at - now)

    async def _invalid(self, obj: KubeObject, message: str) -> None:
        """A spec that cannot be read changes nothing but the conditions; stable goes on serving."""
        stored = RolloutStatus.model_validate(obj.get("status") or {})
        status = invalid_spec(stored, obj["metadata"].get("generation", 1), message, self._wall())
        if status != stored:
            await self._actor.status(obj, status.to_dict())
        meta = obj["metadata"]
        self._notifier.offer(Subject(meta["namespace"], meta["name"], meta["uid"]), status)

    def _forget(self, key: ObjectKey) -> None:
        self._collector.forget((key.namespace, key.name))
        self._budgets.forget((key.namespace, key.name))
        self._warmth.cool(key)
        self._warmth.no_preview(key)
        self._metrics.forget(key.namespace, key.name)
        self._planned.pop(key, None)
        self._guard.forget(key)
        uid = self._uids.pop(key, None)
        if uid is not None:
            self._memories.forget(uid)
            self._standings.forget(uid)
            self._notifier.forget(Subject(key.namespace, key.name, uid))


def _stage(status: RolloutStatus) -> str:
    return status.stage.name if status.stage is not None else ""
