"""Runs ContractChecks: each gets its plan, its account and one Job, a few at a time in a namespace."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from weir.contract.profile import Profile
from weir.contract.revision import Contract
from weir.controller.act import SOON
from weir.controller.checkfate import job_end
from weir.controller.contractbook import ContractBook, contract_of, created, digest_of, unfinished
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, Forbidden, Invalid, NamespaceEnding
from weir.runtime.events import EventWriter
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTRACT_CHECKS,
    JOBS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    KubeObject,
    ObjectKey,
    Resource,
)
from weir.runtime.telemetry import ReconcileScope
from weir.workload.checkjob import LABEL_CONTRACT, MAX_CHECK_NAME, PROFILE_KEY, CheckJob, named_servers, owned
from weir.workload.writes import bounded

_AGAIN = 60.0
"""Seconds after which a Job that the API server refused is tried again."""


@dataclass(frozen=True)
class Obstacle:
    """Why a check does not start, and the way out."""

    reason: str
    message: str


@dataclass(frozen=True)
class CheckSettings:
    """``image``: runs the checks where a contract names none. ``role``: ClusterRole of the pods.

    ``at_once``: how many run at once in a namespace.
    """

    image: str
    role: str
    at_once: int


class CheckReconciler:
    """Starts the Job of one ContractCheck. Nothing here reads or writes results."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        book: ContractBook,
        events: EventWriter,
        settings: CheckSettings,
        told: Callable[[ObjectKey], None],
        profile: Callable[[str, str], Profile | None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Wires the parts.

        ``told``: called with the key of a check whose obstacle has changed. ``profile``: the reference profile of a
        contract (namespace, name), as far as it is at hand. ``wall``: seconds since the epoch.
        """
        self._client = client
        self._cache = cache
        self._guard = guard
        self._book = book
        self._events = events
        self._settings = settings
        self._told = told
        self._profile = profile
        self._wall = wall
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._started: dict[str, set[str]] = defaultdict(set)
        self.obstacles: dict[ObjectKey, Obstacle] = {}
        """Checks that do not start, and why; of those that only wait for their turn there is nothing."""

    async def __call__(self, key: ObjectKey, _scope: ReconcileScope) -> float | None:
        """One look at a check; it is looked at again when its contract or another Job of the namespace changes."""
        check = self._cache.get(*key)
        if check is None or not unfinished(check):
            self._forget(key)
            return None
        if self._guard.is_stale(key):
            return SOON
        if self._cache.get(JOBS, key.namespace, key.name) is not None:
            self._tell(key, None)
            return None
        if self._guard.is_stale(ObjectKey(JOBS, key.namespace, key.name)):
            return SOON
        obstacle = self.obstacle(check)
        if obstacle is None:
            obstacle = await self._start(key, check)
            again = _AGAIN if obstacle is not None else None
        else:
            again = None
        self._tell(key, obstacle)
        if obstacle is not None:
            await self._events.emit(
                check,
                reason=obstacle.reason,
                action="CheckData",
                note=obstacle.message,
                key=obstacle.message,
                type_="Warning",
            )
        return again

    def obstacle(self, check: KubeObject) -> Obstacle | None:
        """What must change before the check can run."""
        meta = check["metadata"]
        if len(meta["name"]) > MAX_CHECK_NAME:
            longest = f"a ContractCheck's name has at most {MAX_CHECK_NAME} characters, since its pod is named after it"
            return Obstacle("NameTooLong", longest)
        name = contract_of(check)
        contract = self._book.contract(meta["namespace"], name)
        if contract is None:
            return Obstacle("NoContract", f"there is no DataContract {name} in this namespace")
        if contract.current is None:
            return Obstacle("ContractNotAccepted", f"DataContract {name} is not accepted: {contract.problem}")
        try:
            if not named_servers(contract.spec, check["spec"].get("servers")):
                return Obstacle("NoServers", f"DataContract {name} has no spec.servers, so there is nothing to check")
        except KeyError as error:
            return Obstacle("UnknownServer", f"DataContract {name} has no server {error.args[0]!r} in spec.servers")
        return None

    async def _start(self, key: ObjectKey, check: KubeObject) -> Obstacle | None:
        async with self._turns[key.namespace]:
            job = await self._job(check) if self._may_start(key) else None
            if job is None:
                return None
            started = self._started[key.namespace]
            # Before the request, since its answer may be lost.
            started.add(key.name)
            obstacle = await self._write(job, check)
            if obstacle is not None:
                started.discard(key.name)
            return obstacle

    async def _write(self, job: CheckJob, check: KubeObject) -> Obstacle | None:
        try:
            for resource, body in job.manifests(self._settings.role):
                obstacle = await self._create(resource, body, check)
                if obstacle is not None:
                    return obstacle
        except NamespaceEnding:
            return Obstacle("NamespaceEnding", "the namespace is being deleted")
        except (Invalid, Forbidden) as error:
            return Obstacle("JobRejected", bounded(f"the API server refuses its objects: {error.message}"))
        return None

    def _may_start(self, key: ObjectKey) -> bool:
        """Whether it is the check's turn: those that were asked for first come first."""
        known = {job["metadata"]["name"]: job for job in self._cache.select(JOBS, key.namespace) if _ours(job)}
        started = self._started[key.namespace]
        started -= known.keys()
        running = len(started) + sum(job_end(job) is None for job in known.values())
        waiting = [
            check
            for check in self._cache.select(CONTRACT_CHECKS, key.namespace)
            if unfinished(check)
            and check["metadata"]["name"] not in known
            and check["metadata"]["name"] not in started
            and ObjectKey(CONTRACT_CHECKS, key.namespace, check["metadata"]["name"]) not in self.obstacles
            and self.obstacle(check) is None
        ]
        line = [c["metadata"]["name"] for c in sorted(waiting, key=lambda c: (created(c), c["metadata"]["name"]))]
        first = line.index(key.name) if key.name in line else len(line)
        return key.name in started or running + first < self._settings.at_once

    async def _job(self, check: KubeObject) -> CheckJob | None:
        meta = check["metadata"]
        contract = self._book.contract(meta["namespace"], contract_of(check))
        if contract is None or contract.current is None:
            return None
        digest = contract.current.digest
        kept = next(r for r in self._book.kept(meta["namespace"], contract.name) if digest_of(r) == digest)
        servers = named_servers(contract.spec, check["spec"].get("servers"))
        spec = contract.spec
        if contract.current.semantics:
            spec = spec.model_copy(update={"semantics": list(contract.current.semantics)})
        return CheckJob(
            check=check,
            spec=spec,
            odcs=kept["data"]["odcs"],
            digest=digest,
            servers=servers,
            reference=await self._reference(contract, check),
            image=self._settings.image,
            now=self._wall(),
        )

    async def _reference(self, contract: Contract, check: KubeObject) -> str:
        """The reference profile as JSON text; a check that makes it gets none."""
        reference, namespace = contract.status.reference, check["metadata"]["namespace"]
        if reference is None or check["spec"].get("purpose") == "Reference":
            return ""
        known = self._profile(namespace, contract.name)
        if known is not None and known.digest == reference.digest:
            return known.to_json()
        found = await self._client.get(CONFIG_MAPS, reference.config_map, namespace)
        return str((found.get("data") or {}).get(PROFILE_KEY, ""))

    async def _create(self, resource: Resource, body: KubeObject, check: KubeObject) -> Obstacle | None:
        meta = body["metadata"]
        try:
            answer = await self._client.create(resource, body)
        except AlreadyExists:
            if resource in (SERVICE_ACCOUNTS, ROLE_BINDINGS):
                return None
            answer = await self._client.get(resource, meta["name"], meta["namespace"])
            if not owned(answer, check):
                taken = (
                    f"there is another {resource.kind} {meta['name']} already: delete it, or give the check a new name"
                )
                return Obstacle("NameTaken", taken)
        if resource is JOBS:
            self._guard.wrote(resource, answer)
        return None

    def _tell(self, key: ObjectKey, obstacle: Obstacle | None) -> None:
        if self.obstacles.get(key) == obstacle:
            return
        if obstacle is None:
            del self.obstacles[key]
        else:
            self.obstacles[key] = obstacle
        self._told(key)

    def _forget(self, key: ObjectKey) -> None:
        self._started[key.namespace].discard(key.name)
        self.obstacles.pop(key, None)
        self._guard.forget(ObjectKey(JOBS, key.namespace, key.name))


def _ours(job: KubeObject) -> bool:
    return LABEL_CONTRACT in (job["metadata"].get("labels") or {})
