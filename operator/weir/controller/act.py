"""Acting: the writes that bring about what a decision wants, each safe to repeat, none where nothing differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from weir.api import API_VERSION
from weir.api.actionrequest import ActionRequestStatus, Effect
from weir.api.modelversion import canonical, sha256
from weir.api.rolloutstatus import RolloutStatus
from weir.controller.memory import Memory
from weir.controller.observe import Observer, Versions
from weir.release.decision import Desired, PoolIntent, RequestResult
from weir.release.observation import Problem, RolloutView
from weir.release.record import record_name
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    DATA_CONTRACTS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    SERVICES,
    KubeObject,
    ObjectKey,
    Resource,
)
from weir.traffic.adapter import Backend, Seen, adapter_for, backend_port
from weir.traffic.contest import Contest, conflict_problem
from weir.traffic.preview import preview_writes
from weir.workload.identity import label_value
from weir.workload.manifests import (
    LABEL_ROLLOUT,
    PoolRequest,
    pool_writes,
    removal_writes,
    rollout_labels,
    scale_write,
)
from weir.workload.writes import Write, execute, problem_of

FINALIZER = "weir.dev/traffic"
STATUS_MANAGER = "weir-status"
_FINALIZER_MANAGER = "weir-finalizer"
_REFUSED_SECONDS = 60.0
"""A write that the API server refused for its content is tried again after this time, or when its content changes."""


SOON = 0.05
"""Seconds after which a look is repeated that came too early for the watches."""

MOST_WAITING = 20
"""Requests that are told in one turn that they wait: a flood of them must not hold up a person's next one."""


class NotYet(Exception):
    """The watches have not shown our own last write to an object that must be written again; look again shortly."""


@dataclass(frozen=True)
class Scene:
    """What one reconcile works on."""

    view: RolloutView
    obj: KubeObject
    before: RolloutStatus
    """The status that the decision was taken on."""
    versions: Versions
    seen: Seen
    memory: Memory


class Actor:
    """Executes decisions."""

    def __init__(self, client: KubeClient, cache: Cache, guard: StaleGuard, observer: Observer, image: str) -> None:
        """``image``: what fetching init containers run."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._observer = observer
        self._image = image
        self._contest = Contest(time.monotonic)

    async def finalizer(self, obj: KubeObject, *, wanted: bool) -> KubeObject:
        """Adds or removes our finalizer, and no other; returns the object as it is then."""
        present = FINALIZER in (obj["metadata"].get("finalizers") or [])
        if present == wanted:
            return obj
        meta = {
            "name": obj["metadata"]["name"],
            "namespace": obj["metadata"]["namespace"],
            "uid": obj["metadata"]["uid"],
        }
        if wanted:
            meta["finalizers"] = [FINALIZER]
        try:
            answer = await self._client.apply(ROLLOUTS, {"metadata": meta}, field_manager=_FINALIZER_MANAGER)
        except NotFound:
            return obj
        self._guard.wrote(ROLLOUTS, answer)
        return answer

    async def status(self, obj: KubeObject, status: Mapping[str, object], resource: Resource = ROLLOUTS) -> KubeObject:
        """Writes a status as a whole; Conflict when the object changed since ``obj`` was read."""
        meta = obj["metadata"]
        guarded = {part: meta[part] for part in ("name", "namespace") if meta.get(part)}
        if resource in (ROLLOUTS, ACTION_REQUESTS, DATA_CONTRACTS, AGENT_POLICIES):
            guarded |= {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {"metadata": guarded, "status": status}
        answer = await self._client.apply(resource, body, field_manager=STATUS_MANAGER, subresource="status")
        self._guard.wrote(resource, answer)
        return answer

    async def cluster(self, scene: Scene, desired: Desired) -> None:
        """Pools that grow, weights, pools that shrink, previews. What is refused becomes a problem in the memory.

        Weights are written even if a pool could not be: they are only decided on pods that were seen ready, and traffic
        must get away from a bad version also when its Deployment cannot be written. No pod goes in a look in which
        another call failed. The first error is raised last.
        """
        scene.memory.tried.clear()
        errors: list[ApiError] = []
        shrinking = [intent for intent in desired.pools if self._shrinks(scene.view, intent)]
        for intent in desired.pools:
            if intent not in shrinking:
                await self._attempt(scene, self._pool(scene, intent), errors)
        if desired.weights is not None:
            await self._attempt(scene, self._weights(scene, desired.weights), errors)
        for intent in shrinking if not errors else ():
            await self._attempt(scene, self._pool(scene, intent), errors)
        await self._attempt(scene, self._preview(scene, desired), errors)
        for pool in desired.remove:
            deployment, service = self._live(scene.view, pool)
            await self._attempt(scene, removal_writes(scene.view, deployment, service), errors)
            for resource in (DEPLOYMENTS, SERVICES):
                self._guard.forget(ObjectKey(resource, scene.view.namespace, pool))
        scene.memory.drop_untried()
        if errors:
            raise errors[0]

    async def _attempt(self, scene: Scene, writes: Sequence[Write], errors: list[ApiError]) -> None:
        try:
            await self._write(scene, writes)
        except ApiError as error:
            errors.append(error)

    def _shrinks(self, view: RolloutView, intent: PoolIntent) -> bool:
        deployment, _ = self._live(view, intent.pool)
        return deployment is not None and intent.replicas < int(deployment["spec"].get("replicas", 1))

    def _live(self, view: RolloutView, pool: str) -> tuple[KubeObject | None, KubeObject | None]:
        space = view.namespace
        return self._cache.get(DEPLOYMENTS, space, pool), self._cache.get(SERVICES, space, pool)

    def _pool(self, scene: Scene, intent: PoolIntent) -> tuple[Write, ...]:
        view = scene.view
        deployment, service = self._live(view, intent.pool)
        content = scene.versions.contents.get(intent.version)
        if content is not None:
            request = PoolRequest(view, intent.pool, intent.revision, content, self._image)
            return pool_writes(
                request, intent.replicas, render=intent.render, live_deployment=deployment, live_service=service
            )
        # Without the ModelVersion pods can still be scaled, which a rollback needs.
        if deployment is not None and deployment["spec"].get("replicas", 1) != intent.replicas:
            return (scale_write(view, intent.pool, intent.replicas, deployment),)
        return ()

    def _weights(self, scene: Scene, weights: Sequence[tuple[str, int]]) -> tuple[Write, ...]:
        backends = [self._backend(scene, pool, weight) for pool, weight in weights]
        return adapter_for(scene.view).desired(scene.view, backends, scene.seen)

    def _backend(self, scene: Scene, pool: str, weight: int) -> Backend:
        label, version = self._version_of(scene, pool)
        content = scene.versions.contents.get(version)
        if content is None or content.runtime.service_ref is None:
            return Backend(pool, weight, label)
        service = self._cache.get(SERVICES, scene.view.namespace, pool)
        return Backend(pool, weight, label, backend_port(service, content.runtime.port), external=True)

    def _version_of(self, scene: Scene, pool: str) -> tuple[str, str]:
        """Label and ModelVersion of a pool."""
        status = scene.memory.status
        arms = [status.stable, status.candidate, *status.retained] if status is not None else []
        found = next((arm for arm in arms if arm is not None and arm.pool == pool), None)
        return (found.label, found.version) if found is not None else ("", "")

    def _preview(self, scene: Scene, desired: Desired) -> tuple[Write, ...]:
        backend = self._backend(scene, desired.preview, 100) if desired.preview else None
        return preview_writes(scene.view, backend, scene.seen)

    async def _write(self, scene: Scene, writes: Sequence[Write]) -> None:
        for write in writes:
            if not await self._write_one(scene, write):
                # Later writes build on this one: what they would be refused for is not what is wrong.
                return

    async def _write_one(self, scene: Scene, write: Write) -> bool:
        """Whether the API server has it; a refusal is remembered, and tried again after a while."""
        key = ObjectKey(write.resource, write.namespace, write.name)
        if self._guard.is_stale(key):
            raise NotYet(str(write))
        what, memory = str(write), scene.memory
        memory.tried.add(what)
        digest = sha256(canonical(write.body))
        before, until = memory.refused.get(what, ("", 0.0))
        if before == digest and time.monotonic() < until:
            return False
        if write.resource is HTTP_ROUTES and self._contest.contested(write):
            live = await self._client.get(write.resource, write.name, write.namespace)
            memory.problems[what] = conflict_problem(live, write, "spec", "rules")
            return False
        try:
            answers = await execute(self._client, [write])
        except ApiError as error:
            problem = problem_of(error, write)
            if problem is None:
                raise
            memory.problems[what] = problem
            if isinstance(error, Invalid):
                memory.refused[what] = (digest, time.monotonic() + _REFUSED_SECONDS)
                return False
            raise
        memory.problems.pop(what, None)
        memory.refused.pop(what, None)
        self._contest.wrote(write)
        for answer in answers:
            if answer:
                self._guard.wrote(write.resource, answer)
        return True

    async def restore(self, scene: Scene) -> None:
        """Gives back what belongs to the user, before the Rollout goes."""
        await self._write(scene, adapter_for(scene.view).restore(scene.view, scene.seen))

    async def record(self, scene: Scene, desired: Desired, traceparent: str) -> None:
        """Creates the sealed record of the release that just ended; a repetition is no error."""
        view, content = scene.view, desired.record
        if content is None:
            return
        body = {
            "apiVersion": API_VERSION,
            "kind": ROLLOUT_RECORDS.kind,
            "metadata": {
                "name": record_name(view, content.release),
                "namespace": view.namespace,
                "labels": {**rollout_labels(view), LABEL_ROLLOUT: label_value(view.name)},
                "annotations": {"weir.dev/traceparent": traceparent},
            },
            "spec": content.to_dict(),
        }
        try:
            await self._client.create(ROLLOUT_RECORDS, body)
        except AlreadyExists:
            return
        except ApiError as error:
            write = Write("apply", ROLLOUT_RECORDS, view.namespace, record_name(view, content.release))
            problem = problem_of(error, write)
            if problem is not None:
                scene.memory.problems[str(write)] = problem
            raise

    async def results(self, view: RolloutView, desired: Desired) -> None:
        """Writes the results of ActionRequests; one that is gone needs none.

        Final ones come first. The echo of each write wakes the Rollout, so what was not written now is seen to then.
        """
        waiting = 0
        for result in sorted(desired.results, key=lambda result: result.handled is None):
            key = ObjectKey(ACTION_REQUESTS, view.namespace, result.name)
            request = self._cache.get(*key)
            if request is None or request["metadata"]["uid"] != result.uid or self._guard.is_stale(key):
                continue
            if (status := _request_status(result)) != (request.get("status") or {}):
                waiting += result.handled is None
                if waiting > MOST_WAITING:
                    break
                with suppress(NotFound, Conflict):
                    await self.status(request, status, ACTION_REQUESTS)


def _request_status(result: RequestResult) -> dict[str, object]:
    """Status of an ActionRequest: a function of what the Rollout remembers, so that it is written once."""
    entry = result.handled
    if entry is None:
        return ActionRequestStatus(phase="Pending", message=result.message, digest=result.digest).to_dict()
    return ActionRequestStatus(
        phase=entry.phase,
        message=entry.message,
        completed_at=entry.at,
        digest=entry.digest,
        effect=Effect(before=entry.before, after=entry.after),
    ).to_dict()


def write_problem(memory: Memory, kind: str = "") -> Problem | None:
    """The first of the writes (to objects of a kind, if given) that the API server does not take, by name."""
    return next((memory.problems[what] for what in sorted(memory.problems) if f" {kind}" in what), None)
