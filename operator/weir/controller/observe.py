"""Observation: everything a decision may look at, gathered from the watch cache; only grants are asked for anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from weir.api.action import SAFE_ACTIONS, TemplateAction
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpolicy import POLICY_NAME
from weir.api.approval import AUTHOR, CHANGED_BY
from weir.api.base import parse_time
from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus, VersionStatus
from weir.controller.agentstanding import NOT_YET, answered_by_policy, permission, switched_off
from weir.evidence.pods import ArmPods, Pod
from weir.release.instead import wanted
from weir.release.observation import Permission, Pool, Problem, Request, RolloutView, Target
from weir.runtime.cache import Cache
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    MODEL_VERSIONS,
    NAMESPACES,
    PODS,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    SERVICES,
    KubeObject,
    ObjectKey,
    Resource,
)
from weir.traffic.adapter import Backend, Seen
from weir.traffic.overlap import Claimant, endpoint_problem
from weir.traffic.service import unfit_backends
from weir.workload import readiness
from weir.workload.identity import label_value, target
from weir.workload.manifests import LABEL_POOL, LABEL_ROLLOUT
from weir.workload.warmup import PodAddress

_log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds that a request waits for its Rollout to be created, so that both can be applied together."""


_CONFIRM = 2.0
"""Seconds within which the API server must confirm a grant: what leads back to safety waits behind it."""

_UNTOLD = 3.0
"""Seconds within which the AgentPolicy usually has looked at a request: until then nobody is told that it has not."""


def answered_by(rollout: KubeObject | None, request: KubeObject) -> bool:
    """Whether this Rollout answers the request.

    Not one that was made later: it is another than the requester meant. Both sides of the question (the Rollout that
    executes, and whoever refuses what has no Rollout) ask here, so that they never both act.
    """
    if rollout is None:
        return False
    return _created(rollout) <= _created(request) + GRACE


def _created(obj: KubeObject) -> float:
    return parse_time(obj["metadata"]["creationTimestamp"])


def finished(request: KubeObject) -> bool:
    """Whether it has its final result."""
    phase: str = (request.get("status") or {}).get("phase", "Pending")
    return phase not in ("Pending", "Running")


def view_of(obj: KubeObject) -> RolloutView:
    """The Rollout's desired state.

    Raises ValidationError where the spec is not one (written past the CRD's schema, or by a newer version).
    """
    meta = obj["metadata"]
    return RolloutView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        spec=RolloutSpec.model_validate(obj["spec"]),
        deleting=bool(meta.get("deletionTimestamp")),
        authors=_authors(meta.get("annotations") or {}),
    )


def _authors(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Users who made the change that is being released, each once, as admission and Git name them."""
    named = ",".join(annotations.get(annotation, "") for annotation in (CHANGED_BY, AUTHOR))
    return tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))


@dataclass(frozen=True)
class Versions:
    """The ModelVersions a Rollout has to do with, as far as they exist, by name; and the one it should release."""

    contents: dict[str, ModelVersionSpec]
    wanted: str
    target: Target | None
    problem: Problem | None

    def external(self, version: str) -> bool:
        """Whether the user runs the version's pods."""
        content = self.contents.get(version)
        return content is not None and content.runtime.service_ref is not None


class Observer:
    """Reads the cache. ``wall`` gives seconds since the epoch, ``missing`` the kinds that are not served."""

    def __init__(
        self,
        cache: Cache,
        wall: Callable[[], float],
        missing: Callable[[], frozenset[Resource]],
        stale: Callable[[ObjectKey], bool] = lambda _: False,
    ) -> None:
        """Remembers where to look. ``stale``: whether the cache does not show our own last write to an object yet."""
        self._cache = cache
        self._stale = stale
        self._wall = wall
        self._missing = missing
        self._claimants: dict[str, Claimant] = {}
        self._confirmed: dict[ObjectKey, KubeObject] = {}

    async def confirm(self, client: KubeClient, rollout: ObjectKey) -> bool:
        """Reads the AgentPolicy once more, where it grants something of the Rollout that leads forward.

        The watch may be late, and what was denied meanwhile must not be executed. False where the API server does not
        tell: until the next call only grants of safe actions count.
        """
        self._confirmed.pop(rollout, None)
        policy = self._cache.get(AGENT_POLICIES, rollout.namespace, POLICY_NAME)
        granted = ((policy or {}).get("status") or {}).get("granted") or ()
        if not any(self._to_be_executed(rollout, grant) for grant in granted):
            return True
        try:
            async with asyncio.timeout(_CONFIRM):
                self._confirmed[rollout] = await client.get(AGENT_POLICIES, POLICY_NAME, rollout.namespace)
        except (ApiError, TimeoutError) as error:
            _log.warning("what is granted for %s/%s is not confirmed: %s", rollout.namespace, rollout.name, error)
            return False
        return True

    def _to_be_executed(self, rollout: ObjectKey, grant: Mapping[str, str]) -> bool:
        if grant["rollout"] != rollout.name or grant["action"] in (*SAFE_ACTIONS, *get_args(TemplateAction)):
            return False
        request = self._cache.get(ACTION_REQUESTS, rollout.namespace, grant["name"])
        return request is not None and not finished(request)

    def versions(self, view: RolloutView, status: RolloutStatus) -> Versions:
        """What should be released, and the content of every version the release deals with."""
        asked_for = wanted(view.spec, status)
        found, problem = self._target(view, status, asked_for)
        known = [arm for arm in (status.stable, status.candidate, *status.retained) if arm is not None]
        contents = {}
        for name in {view.spec.version_ref.name, asked_for, *(version.version for version in known)}:
            content = _content(self._cache.get(MODEL_VERSIONS, view.namespace, name))
            if content is not None:
                contents[name] = content
        return Versions(contents, asked_for, found, problem)

    def offered(
        self, view: RolloutView, status: RolloutStatus, requests: Sequence[Request]
    ) -> dict[str, Target | Problem]:
        """What would be released for each ModelVersion that a Release asks for, or what is wrong with it."""
        names = {r.spec.version for r in requests if r.spec.action == "Release" and r.spec.version is not None}
        offers = {name: self._target(view, status, name) for name in sorted(names)}
        return {name: made for name, offer in offers.items() if (made := offer[0] or offer[1]) is not None}

    def _target(self, view: RolloutView, status: RolloutStatus, name: str) -> tuple[Target | None, Problem | None]:
        """The version of that name as it would be released, or what is wrong with it."""
        in_use = {arm.pool: arm.revision for arm in (status.stable, status.candidate) if arm is not None}
        version = self._cache.get(MODEL_VERSIONS, view.namespace, name)
        return target(view.name, view.spec, version, self._wall(), in_use, name=name)

    def pools(self, view: RolloutView, status: RolloutStatus, versions: Versions) -> dict[str, Pool]:
        """Pools of every version at hand, as far as something of them exists."""
        known = {arm.pool: arm.version for arm in (status.stable, status.candidate, *status.retained) if arm}
        if versions.target is not None:
            known.setdefault(versions.target.pool, versions.target.version)
        pools = {}
        for pool, version in known.items():
            deployment = self._cache.get(DEPLOYMENTS, view.namespace, pool)
            external = versions.external(version)
            if deployment is not None or external:
                slices = self.slices(view, pool)
                pools[pool] = readiness.pool(pool, deployment, self.pods(view, pool), slices, external=external)
        return pools

    def pods(self, view: RolloutView, pool: str) -> list[KubeObject]:
        """Pods of a pool."""
        return self._cache.select(PODS, view.namespace, {LABEL_POOL: pool})

    def slices(self, view: RolloutView, service: str) -> list[KubeObject]:
        """EndpointSlices of a Service."""
        return self._cache.select(ENDPOINT_SLICES, view.namespace, {readiness.SERVICE_LABEL: service})

    def addresses(self, view: RolloutView, pool: str, port: int) -> list[PodAddress]:
        """Where the pool's ready pods listen."""
        ready = readiness.ready_endpoints(pool, self.slices(view, pool), self.pods(view, pool))
        found = [PodAddress(endpoint.pod or endpoint.address, endpoint.address, port) for endpoint in ready]
        return sorted(found, key=lambda address: address.name)

    def arms(self, view: RolloutView, status: RolloutStatus, versions: Versions) -> ArmPods:
        """Pods whose counters are read, of both arms."""
        return ArmPods(
            candidate=self._counting(view, status.candidate, versions),
            stable=self._counting(view, status.stable, versions),
            candidate_version=status.candidate.label if status.candidate else "",
            stable_version=status.stable.label if status.stable else "",
        )

    def _counting(self, view: RolloutView, arm: VersionStatus | None, versions: Versions) -> tuple[Pod, ...]:
        content = versions.contents.get(arm.version) if arm is not None else None
        if arm is None or content is None:
            return ()
        port = content.runtime.port
        if versions.external(arm.version):
            return tuple(Pod(a.name, a.ip, port) for a in self.addresses(view, arm.pool, port))
        pods = []
        for pod in self.pods(view, arm.pool):
            status = pod.get("status") or {}
            if status.get("podIP") and status.get("phase") == "Running":
                started = status.get("startTime")
                begun = parse_time(started) if started else None
                pods.append(Pod(pod["metadata"]["name"], status["podIP"], port, begun))
        return tuple(pods)

    def seen(self, view: RolloutView) -> Seen:
        """What the traffic adapters look at."""
        space = view.namespace
        labels = {LABEL_ROLLOUT: label_value(view.name)}
        return Seen(
            gateway_api=HTTP_ROUTES not in self._missing(),
            routes=_by_name(self._cache.select(HTTP_ROUTES, space)),
            gateways={(g["metadata"]["namespace"], g["metadata"]["name"]): g for g in self._cache.select(GATEWAYS)},
            gateway_classes=_by_name(self._cache.select(GATEWAY_CLASSES)),
            services=_by_name(self._cache.select(SERVICES, space)),
            slices=self._cache.select(ENDPOINT_SLICES, space, labels),
            pods=self._cache.select(PODS, space, labels),
        )

    def rival(self, view: RolloutView) -> Problem | None:
        """An older Rollout that has this one's endpoint already."""
        found = (self._claimant(obj) for obj in self._cache.select(ROLLOUTS))
        # Those that are gone are dropped by the way.
        self._claimants = {claimant.rollout.uid: claimant for claimant in found if claimant is not None}
        mine = self._claimants.get(view.uid)
        return endpoint_problem(mine, self._claimants.values()) if mine is not None else None

    def _claimant(self, obj: KubeObject) -> Claimant | None:
        """A Rollout as one that claims an endpoint; a spec is read once for each generation, since all look at all."""
        meta = obj["metadata"]
        known = self._claimants.get(meta["uid"])
        if known is not None and known.rollout.generation == meta.get("generation", 1):
            return known
        try:
            return Claimant(view_of(obj), meta.get("creationTimestamp", ""))
        except ValidationError:
            return None

    def unfit_shares(self, view: RolloutView, status: RolloutStatus, versions: Versions, seen: Seen) -> Problem | None:
        """Why a Service switch could not share traffic between stable and the version to come."""
        if view.spec.traffic.service is None or status.stable is None or versions.target is None:
            return None
        arms = [(status.stable.pool, status.stable.version), (versions.target.pool, versions.target.version)]
        backends = [
            Backend(pool, 50, version, external=versions.external(version)) for pool, version in dict(arms).items()
        ]
        return unfit_backends(view, backends, seen)

    def requests(self, view: RolloutView) -> tuple[Request, ...]:
        """ActionRequests for the Rollout that have no result yet; one that is being deleted is withdrawn."""
        rollout = self._cache.get(ROLLOUTS, view.namespace, view.name)
        policy = self._cache.get(AGENT_POLICIES, view.namespace, POLICY_NAME)
        # The ledger lets go of what is executed, and the result may still have to be written.
        handled = {entry["uid"] for entry in ((rollout or {}).get("status") or {}).get("handledRequests") or ()}
        found = []
        for obj in self._cache.select(ACTION_REQUESTS, view.namespace):
            if obj["spec"]["rolloutRef"]["name"] != view.name or finished(obj):
                continue
            if obj["metadata"].get("deletionTimestamp") or not answered_by(rollout, obj) or answered_by_policy(obj):
                continue
            try:
                spec = ActionRequestSpec.model_validate(obj["spec"])
            except ValidationError:
                continue
            meta, pending = obj["metadata"], (obj.get("status") or {}).get("message", "")
            permit = self._permission(view, policy, meta["uid"], spec.action) if spec.permit is not None else None
            if permit is None and spec.permit is not None:
                if not pending and meta["uid"] not in handled and self._wall() < _created(obj) + _UNTOLD:
                    continue
                permit = Permission("Waiting", pending or NOT_YET)
            found.append(Request(meta["uid"], meta["name"], spec, _created(obj), pending, permit=permit))
        return tuple(found)

    def _permission(self, view: RolloutView, policy: KubeObject | None, uid: str, action: str) -> Permission | None:
        """Where an agent's request stands; a ledger that is not of now says nothing."""
        if AGENT_POLICIES in self._missing() or self._stale(ObjectKey(AGENT_POLICIES, view.namespace, POLICY_NAME)):
            return None
        found = permission(policy, uid, self._wall())
        if found is None or found.state != "Granted":
            return found
        outer = self._cache.get(CLUSTER_AGENT_POLICIES, None, POLICY_NAME)
        if switched_off(self._cache.get(NAMESPACES, None, view.namespace), outer):
            return None  # the ledger may not have seen the switch yet
        if action in SAFE_ACTIONS:
            return found
        confirmed = self._confirmed.get(ObjectKey(ROLLOUTS, view.namespace, view.name))
        return permission(confirmed, uid, self._wall()) if confirmed is not None else None

    def recorded(self, view: RolloutView) -> dict[int, str]:
        """Records of this very Rollout (not of a namesake before it): release → hash."""
        records = self._cache.select(ROLLOUT_RECORDS, view.namespace, {LABEL_ROLLOUT: label_value(view.name)})
        return {r["spec"]["release"]: r["spec"]["hash"] for r in records if r["spec"]["rolloutUid"] == view.uid}


def _by_name(objects: list[KubeObject]) -> dict[str, KubeObject]:
    return {obj["metadata"]["name"]: obj for obj in objects}


def _content(obj: KubeObject | None) -> ModelVersionSpec | None:
    if obj is None:
        return None
    try:
        return ModelVersionSpec.model_validate(obj["spec"])
    except ValidationError:
        return None
