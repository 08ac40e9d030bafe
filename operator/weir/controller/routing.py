"""From a change in the cluster to the objects that must be looked at again."""

from __future__ import annotations

from collections.abc import Iterator

from weir.controller.observe import finished
from weir.runtime.cache import Cache, EventType
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    DATA_CONTRACTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    MODEL_VERSIONS,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    KubeObject,
    ObjectKey,
    Resource,
    key_of,
)
from weir.workload.identity import label_value
from weir.workload.manifests import LABEL_ROLLOUT
from weir.workload.readiness import SERVICE_LABEL


def affected(cache: Cache, resource: Resource, obj: KubeObject, change: EventType) -> Iterator[ObjectKey]:
    """Keys to look at again after a change; our own status echo wakes nobody."""
    namespace = obj["metadata"].get("namespace") or ""
    if resource in (ROLLOUTS, MODEL_VERSIONS, DATA_CONTRACTS, AGENT_POLICIES):
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
        if resource is ROLLOUTS:
            yield from _versions_of(obj)
            yield from _versions_served_by(cache, obj)
            if change in (EventType.ADDED, EventType.DELETED):
                yield from _requests_naming(cache, obj)
        elif resource is MODEL_VERSIONS and change is not EventType.STATUS:
            yield from _rollouts_naming(cache, obj)
    elif resource in (ACTION_REQUESTS, ROLLOUT_RECORDS):
        if resource is ACTION_REQUESTS:
            yield key_of(resource, obj)
        ref = obj["spec"].get("rolloutRef", {}).get("name") or obj["spec"].get("rollout")
        yield ObjectKey(ROLLOUTS, namespace, ref)
    elif resource in (GATEWAYS, GATEWAY_CLASSES):
        yield from cache.keys(ROLLOUTS)
    else:
        yield from _owners(cache, resource, obj)


def _versions_of(rollout: KubeObject) -> Iterator[ObjectKey]:
    """ModelVersions whose use changes with the Rollout."""
    status = rollout.get("status") or {}
    names = {rollout["spec"]["versionRef"]["name"]}
    names |= {status[arm]["version"] for arm in ("stable", "candidate") if status.get(arm)}
    names |= {kept["version"] for kept in status.get("retained") or []}
    for name in sorted(names):
        yield ObjectKey(MODEL_VERSIONS, rollout["metadata"]["namespace"], name)


def _versions_served_by(cache: Cache, rollout: KubeObject) -> Iterator[ObjectKey]:
    """ModelVersions that still say the Rollout uses them, which it may have stopped doing."""
    meta = rollout["metadata"]
    for version in cache.select(MODEL_VERSIONS, meta["namespace"]):
        if meta["name"] in ((version.get("status") or {}).get("servedBy") or []):
            yield key_of(MODEL_VERSIONS, version)


def _requests_naming(cache: Cache, rollout: KubeObject) -> Iterator[ObjectKey]:
    """ActionRequests without a result that the coming or going of the Rollout decides about."""
    meta = rollout["metadata"]
    for request in cache.select(ACTION_REQUESTS, meta["namespace"]):
        if request["spec"]["rolloutRef"]["name"] == meta["name"] and not finished(request):
            yield key_of(ACTION_REQUESTS, request)


def _rollouts_naming(cache: Cache, version: KubeObject) -> Iterator[ObjectKey]:
    meta = version["metadata"]
    for rollout in cache.select(ROLLOUTS, meta["namespace"]):
        if any(key.name == meta["name"] for key in _versions_of(rollout)):
            yield key_of(ROLLOUTS, rollout)


def _labelled(cache: Cache, namespace: str, label: str) -> Iterator[ObjectKey]:
    """The Rollout that such a label names; a name that is no label is found by looking through all."""
    if cache.get(ROLLOUTS, namespace, label) is not None:
        yield ObjectKey(ROLLOUTS, namespace, label)
        return
    yield from (key for key in cache.keys(ROLLOUTS, namespace) if label_value(key.name) == label)


def _owners(cache: Cache, resource: Resource, obj: KubeObject) -> Iterator[ObjectKey]:
    """The Rollout of a labelled object, or those that name an object which a user keeps."""
    meta = obj["metadata"]
    namespace, labels = meta.get("namespace") or "", meta.get("labels") or {}
    if LABEL_ROLLOUT in labels:
        yield from _labelled(cache, namespace, labels[LABEL_ROLLOUT])
        return
    name = labels.get(SERVICE_LABEL, meta["name"])
    for rollout in cache.select(ROLLOUTS, namespace):
        gateway = rollout["spec"]["traffic"].get("gateway") or {}
        status = rollout.get("status") or {}
        pools = {status[arm]["pool"] for arm in ("stable", "candidate") if status.get(arm)}
        route = (gateway.get("routeRef") or {}).get("name", rollout["metadata"]["name"])
        routed = resource is HTTP_ROUTES and route == name
        if routed or name in pools:
            yield key_of(ROLLOUTS, rollout)
