"""A cluster in memory for the controllers of agents: what is written is seen at once, what is decided is a test's."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client import CollectorRegistry

from tests.unit.runtime.fakes import FakeClock
from weir.agent.decision import AgentDecision
from weir.agent.observation import AgentObservation
from weir.api.agentpolicy import PERMIT_LABEL, POLICY_NAME
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import format_time
from weir.controller.act import Actor
from weir.controller.agentact import AgentActor
from weir.controller.agentlive import AgentLive
from weir.controller.agentmetrics import AgentMetrics
from weir.controller.agentobserve import AgentObserver
from weir.controller.agents import AgentReconciler
from weir.controller.contractbook import ContractBook
from weir.notify.notifier import Notifier
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from weir.runtime.events import EventWriter
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    EVENTS,
    JOBS,
    MODEL_VERSIONS,
    ROLLOUTS,
    SELF_SUBJECT_REVIEWS,
    KubeObject,
    ObjectKey,
    Resource,
)

T0 = 1_800_000_000.0
SPACE = "ml"
ME = "system:serviceaccount:weir-system:weir"
KEY = ObjectKey(AGENT_POLICIES, SPACE, POLICY_NAME)
POLICY: Mapping[str, Any] = {
    "subjects": [{"kind": "ServiceAccount", "name": "tuner", "namespace": SPACE}],
    "permits": [{"name": "stop", "action": "Abort"}, {"name": "train", "action": "Retrain", "template": "job"}],
    "templates": [
        {"name": "job", "action": "Retrain", "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}}
    ],
}


class Scope:
    """Stands for a reconcile's scope."""

    traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


SCOPE: Any = Scope()


class Told:
    """A notifier that remembers what it was offered."""

    def __init__(self) -> None:
        self.alerts: list[Any] = []
        self.forgotten: list[Any] = []

    def tell(self, _: Any, made: Callable[[float], Any]) -> None:
        self.alerts = list(made(0.0))

    def forget(self, subject: Any) -> None:
        self.forgotten.append(subject)


@dataclass
class World:
    """The API server and its watch cache in one; ``broken`` answers requests in its place."""

    now: float = T0
    elapsed: float = 0.0
    thinks: float = 0.0
    """Seconds that a decision takes."""
    cache: Cache = field(default_factory=Cache)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    broken: Callable[[str, Resource, str], ApiError | None] = lambda *_: None
    decided: Callable[[AgentObservation], AgentDecision] = lambda obs: AgentDecision(status=obs.status)
    seen: list[AgentObservation] = field(default_factory=list)
    reads: int = 0
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.guard = StaleGuard(self.cache)
        self.client = cast("KubeClient", self)
        self.registry = CollectorRegistry()
        self.told = Told()
        actor = Actor(self.client, self.cache, self.guard, cast("Any", None), "")
        self.clock = FakeClock()
        self.live = AgentLive(self.client, self.clock)
        book = ContractBook(self.client, self.cache, self.guard, lambda: self.now)
        self.agents = AgentActor(
            client=self.client,
            cache=self.cache,
            guard=self.guard,
            actor=actor,
            live=self.live,
            events=EventWriter(cast("Any", self), controller="weir.dev/agents", instance="test"),
            kinds=("jobs.batch", "modelversions.weir.dev"),
        )
        self.observer = AgentObserver(self.cache, book, lambda: None)
        self.reconciler = AgentReconciler(
            cache=self.cache,
            guard=self.guard,
            observer=self.observer,
            live=self.live,
            actor=actor,
            agents=self.agents,
            notifier=cast("Notifier", self.told),
            metrics=AgentMetrics(self.registry),
            wall=lambda: self.now,
            core=self._core,
            monotonic=lambda: self.elapsed,
        )

    def _core(self, obs: AgentObservation, _: float) -> AgentDecision:
        self.seen.append(obs)
        self.elapsed += self.thinks
        return self.decided(obs)

    # --- what the controllers ask ------------------------------------------------------------------------------------

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        if resource is SELF_SUBJECT_REVIEWS:
            return {"status": {"userInfo": {"username": ME}}}
        meta = body["metadata"]
        self._note("create", resource, meta["name"])
        if self.cache.get(resource, meta["namespace"], meta["name"]) is not None:
            raise AlreadyExists(meta["name"])
        return self.put(resource, body)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        self.reads += 1
        error = self.broken("get", resource, name)
        if error is not None:
            raise error
        found = self.cache.get(resource, namespace, name)
        if found is None:
            raise NotFound(name)
        return found

    async def get_path(self, path: str) -> KubeObject:
        if path == JOBS.group_path:
            names = {"jobs": "Job", "jobs/status": "Job"}
            return {"resources": [{"name": n, "kind": k, "namespaced": True} for n, k in names.items()]}
        if path == "/api/v1":
            return {"resources": [{"name": "namespaces", "kind": "Namespace", "namespaced": False}]}
        if path == MODEL_VERSIONS.group_path:
            return {"resources": [{"name": MODEL_VERSIONS.plural, "kind": MODEL_VERSIONS.kind, "namespaced": True}]}
        raise NotFound(path)

    async def apply(self, resource: Resource, body: KubeObject, **_: Any) -> KubeObject:
        meta = body["metadata"]
        self._note("status", resource, meta["name"])
        old = self.cache.get(resource, meta.get("namespace"), meta["name"])
        if old is None:
            raise NotFound(meta["name"])
        return self.put(resource, {**old, "status": body["status"]}, same=True)

    async def merge_patch(
        self, resource: Resource, name: str, patch: KubeObject, namespace: str | None = None, **_: Any
    ) -> KubeObject:
        self._note("patch", resource, name)
        old = self.cache.get(resource, namespace, name)
        if old is None:
            raise NotFound(name)
        meta, more = old["metadata"], patch.get("metadata") or {}
        if more.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
            raise Conflict(name, status=409)
        annotations = {**(meta.get("annotations") or {}), **(more.get("annotations") or {})}
        return self.put(resource, {**old, **patch, "metadata": {**meta, "annotations": annotations}}, same=True)

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, uid: str = "") -> None:
        found = self.cache.get(resource, namespace, name)
        if found is None or found["metadata"]["uid"] != uid:
            raise NotFound(name)
        self._note("delete", resource, name)
        self.cache.remove(resource, found)

    def _note(self, verb: str, resource: Resource, name: str) -> None:
        error = self.broken(verb, resource, name)
        if error is not None:
            raise error
        self.writes.append((verb, resource.kind, name if resource is not EVENTS else ""))

    # --- what a test does --------------------------------------------------------------------------------------------

    def put(self, resource: Resource, obj: KubeObject, *, same: bool = False) -> KubeObject:
        """Stores an object as the API server would."""
        stored = copy.deepcopy(obj)
        meta = stored["metadata"]
        meta["resourceVersion"] = str(next(self._numbers))
        if not same:
            meta.setdefault("uid", f"uid-{meta['name']}")
            meta.setdefault("creationTimestamp", format_time(self.now))
            meta.setdefault("generation", 1)
        stored.setdefault("apiVersion", resource.api_version)
        stored.setdefault("kind", resource.kind)
        self.cache.put(resource, stored)
        return stored

    def policy(self, **changes: Any) -> KubeObject:
        """The AgentPolicy, with an empty ledger."""
        meta = {"name": POLICY_NAME, "namespace": SPACE}
        return self.put(AGENT_POLICIES, {"metadata": meta, "spec": {**POLICY, **changes}})

    def request(self, name: str, action: str = "Abort", *, status: Any = None, **spec: Any) -> KubeObject:
        """An agent's ActionRequest."""
        content = {"action": action, "rolloutRef": {"name": "digits"}, "reason": "r", **spec}
        labels = {PERMIT_LABEL: spec["permit"]} if "permit" in spec else {}
        meta = {"name": name, "namespace": SPACE, "labels": labels}
        return self.put(ACTION_REQUESTS, {"metadata": meta, "spec": content, "status": status or {}})

    def rollout(self, name: str = "digits") -> KubeObject:
        """A Rollout."""
        strategy = {"canary": {"steps": [{"weight": 50}]}}
        spec = {"versionRef": {"name": "v1"}, "traffic": {"service": {}}, "strategy": strategy}
        return self.put(ROLLOUTS, {"metadata": {"name": name, "namespace": SPACE}, "spec": spec})

    def decide(self, status: AgentPolicyStatus | None = None, **parts: Any) -> None:
        """What every look decides from now on."""
        self.decided = lambda obs: AgentDecision(status=status if status is not None else obs.status, **parts)

    async def look(self) -> float | None:
        """One look at the policy."""
        return await self.reconciler(KEY, SCOPE)

    def ledger(self) -> AgentPolicyStatus:
        """What is stored."""
        found = self.cache.get(*KEY)
        assert found is not None
        return AgentPolicyStatus.model_validate(found.get("status") or {})

    def status(self, name: str) -> dict[str, Any]:
        """Status of an ActionRequest."""
        found = self.cache.get(ACTION_REQUESTS, SPACE, name)
        assert found is not None
        return found.get("status") or {}

    def metric(self, name: str, **labels: str) -> float | None:
        """Value of a sample."""
        return self.registry.get_sample_value(name, {"namespace": SPACE, **labels})
