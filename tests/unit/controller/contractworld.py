"""A cluster in memory for the controllers of contracts: what is written is seen at once."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client import CollectorRegistry

from tests.api import objects as good
from weir.api.base import format_time
from weir.contract.profile import ColumnProfile, Profile, TableProfile
from weir.controller.act import Actor
from weir.controller.checkledger import CheckLedger
from weir.controller.contractbook import ContractBook
from weir.controller.contractmetrics import ContractMetrics
from weir.controller.contracts import ContractReconciler
from weir.controller.driftwatch import DriftWatch
from weir.controller.revisions import Revisions
from weir.evidence.fingerprints import Increments
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient, Listing
from weir.runtime.errors import AlreadyExists, ApiError, NotFound
from weir.runtime.events import EventWriter
from weir.runtime.resources import (
    CONTRACT_CHECKS,
    DATA_CONTRACTS,
    EVENTS,
    MODEL_VERSIONS,
    PODS,
    ROLLOUTS,
    KubeObject,
    ObjectKey,
    Resource,
)

T0 = 1_800_000_000.0
SPACE = "ml"
LAKE = {"name": "lake", "odcsServer": "lake"}


class Scope:
    """Stands for a reconcile's scope."""

    traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


SCOPE: Any = Scope()


def profile(*counts: int) -> str:
    """The profile of `orders.amount` as JSON: rows in four bins."""
    column = ColumnProfile(edges=("10", "20", "30"), counts=counts)
    return Profile({"orders": TableProfile(sum(counts), {"amount": column})}).to_json()


@dataclass
class World:
    """The API server and its watch cache in one; ``broken`` answers requests in its place."""

    now: float = T0
    cache: Cache = field(default_factory=Cache)
    writes: list[tuple[str, Resource, str]] = field(default_factory=list)
    reads: list[tuple[Resource, str]] = field(default_factory=list)
    pods: list[KubeObject] = field(default_factory=list)
    broken: Callable[[str, Resource, str], ApiError | None] = lambda *_: None
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.guard = StaleGuard(self.cache)
        self.client = cast("KubeClient", self)
        self.book = ContractBook(self.client, self.cache, self.guard, lambda: self.now)
        self.actor = Actor(self.client, self.cache, self.guard, cast("Any", None), "")
        self.events = EventWriter(cast("Any", self), controller="weir.dev/contract", instance="test")

    # --- what the controllers ask ------------------------------------------------------------------------------------

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        meta = body["metadata"]
        self._note("create", resource, meta["name"])
        if self.cache.get(resource, meta["namespace"], meta["name"]) is not None:
            raise AlreadyExists(meta["name"])
        return self.put(resource, body)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        self.reads.append((resource, name))
        found = self.cache.get(resource, namespace, name)
        if found is None:
            raise NotFound(name)
        return found

    async def list(self, resource: Resource, namespace: str | None = None, **_: Any) -> Listing:
        assert resource is PODS
        self.reads.append((resource, "*"))
        return Listing(self.pods, "1")

    async def apply(self, resource: Resource, body: KubeObject, **_: Any) -> KubeObject:
        meta = body["metadata"]
        self._note("status", resource, meta["name"])
        old = self.cache.get(resource, meta["namespace"], meta["name"])
        if old is None:
            raise NotFound(meta["name"])
        return self.put(resource, {**old, "status": body["status"]}, same=True)

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, **_: Any) -> None:
        self._note("delete", resource, name)
        if self.cache.discard(ObjectKey(resource, namespace or "", name)) is None:
            raise NotFound(name)

    def _note(self, verb: str, resource: Resource, name: str) -> None:
        error = self.broken(verb, resource, name)
        if error is not None:
            raise error
        self.writes.append((verb, resource, name))

    # --- what a test does --------------------------------------------------------------------------------------------

    def put(self, resource: Resource, body: KubeObject, *, same: bool = False) -> KubeObject:
        """Stores an object; ``same``: its spec has not changed."""
        body = copy.deepcopy(body)
        meta = body["metadata"]
        old = self.cache.get(resource, meta.get("namespace", SPACE), meta["name"])
        number = str(next(self._numbers))
        known = old["metadata"] if old is not None else {}
        meta.setdefault("namespace", SPACE)
        meta.setdefault("uid", known.get("uid") or f"uid-{number}")
        meta.setdefault("creationTimestamp", format_time(self.now))
        meta["resourceVersion"] = number
        meta["generation"] = known.get("generation", 0) + (0 if same else 1)
        body.setdefault("apiVersion", resource.api_version)
        body.setdefault("kind", resource.kind)
        stored, _ = self.cache.put(resource, body)
        return stored

    def contract(self, name: str = "orders", **spec: Any) -> KubeObject:
        """A DataContract with one server."""
        old = self.cache.get(DATA_CONTRACTS, SPACE, name)
        made = {"odcs": good.ODCS, "roles": ["Features"], "servers": [LAKE], **spec}
        body: KubeObject = {"metadata": {"name": name}, "spec": {k: v for k, v in made.items() if v is not None}}
        if old is not None:
            body["status"] = old.get("status") or {}
        return self.put(DATA_CONTRACTS, body)

    def version(self, name: str, **contracts: Any) -> KubeObject:
        """A ModelVersion that names contracts."""
        body = {"metadata": {"name": name}, "spec": {**good.MODEL_VERSION, "contracts": contracts}}
        return self.put(MODEL_VERSIONS, body)

    def rollout(self, name: str = "digits", version: str = "v1", **status: Any) -> KubeObject:
        """A Rollout that asks for a version."""
        spec = {"versionRef": {"name": version}, "traffic": {"service": {}}, "strategy": {"canary": {"steps": []}}}
        return self.put(ROLLOUTS, {"metadata": {"name": name}, "spec": spec, "status": status})

    def check(self, name: str, contract: str = "orders", **spec: Any) -> KubeObject:
        """A ContractCheck without a result."""
        body = {"metadata": {"name": name}, "spec": {"contractRef": {"name": contract}, **spec}}
        return self.put(CONTRACT_CHECKS, body)

    def finish(self, name: str, verdict: str = "Pass", digest: str = "", **fields: Any) -> None:
        """The pod of the check writes its result now."""
        check = self.cache.get(CONTRACT_CHECKS, SPACE, name)
        assert check is not None
        digest = digest or self.status(check["spec"]["contractRef"]["name"])["digest"]
        result = {
            "digest": digest,
            "verdict": verdict,
            "startedAt": format_time(self.now - 2),
            "finishedAt": format_time(self.now),
            "servers": [{"name": "lake", "verdict": verdict, "passed": 1}],
            **fields,
        }
        self.put(CONTRACT_CHECKS, {**check, "status": result}, same=True)

    def status(self, name: str = "orders") -> KubeObject:
        """Status of a DataContract."""
        found = self.cache.get(DATA_CONTRACTS, SPACE, name)
        assert found is not None
        return found.get("status") or {}

    def condition(self, kind: str, name: str = "orders") -> KubeObject:
        """A condition of a DataContract."""
        return next((c for c in self.status(name).get("conditions") or [] if c["type"] == kind), {})

    def names(self, resource: Resource) -> list[str]:
        """Names of all objects of a kind."""
        return [obj["metadata"]["name"] for obj in self.cache.select(resource, SPACE)]

    def told(self, name: str) -> list[str]:
        """Reasons of the Events about an object."""
        found = (e for e in self.cache.select(EVENTS, SPACE) if e["regarding"]["name"] == name)
        return sorted(e["reason"] for e in found)


WATCHED = {"name": "amount", "property": "orders.amount", "tolerance": "0.1", "minSamples": 100}
DRIFT: Mapping[str, Any] = {"drift": [WATCHED], "reference": {"server": "lake"}}


def document(version: str = "1.0.0", **amount: Any) -> dict[str, Any]:
    odcs = copy.deepcopy(good.ODCS)
    odcs["version"] = version
    odcs["schema"][0]["properties"][1] |= amount
    return odcs


class Nobody:
    """Model servers that count nothing."""

    async def read(self, _targets: Any) -> Increments:
        return Increments()

    def forget(self, _place: Any) -> None:
        pass


class Control:
    """One operator process; a second one knows nothing of the first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.registry = CollectorRegistry()
        self.obstacles: dict[ObjectKey, Any] = {}
        self.revisions = Revisions(world.client, world.cache, world.guard, world.book)
        drift = DriftWatch(
            client=world.client,
            book=world.book,
            revisions=self.revisions,
            observer=cast("Any", None),
            reader=cast("Any", Nobody()),
        )
        self.reconcile = ContractReconciler(
            client=world.client,
            cache=world.cache,
            guard=world.guard,
            actor=world.actor,
            book=world.book,
            revisions=self.revisions,
            ledger=CheckLedger(world.client, world.cache, world.book, cast("Any", self)),
            drift=drift,
            events=world.events,
            metrics=ContractMetrics(self.registry),
            keep_checks=5,
            wall=lambda: world.now,
        )

    async def look(self, name: str = "orders") -> float | None:
        return await self.reconcile(ObjectKey(DATA_CONTRACTS, SPACE, name), SCOPE)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"namespace": SPACE, "contract": "orders", **labels})
