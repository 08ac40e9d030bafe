"""From a change in the cluster to the objects that must be looked at again."""

from __future__ import annotations

from collections.abc import Iterator

from weir.controller.agentrouting import agents_affected
from weir.controller.checkfate import job_end
from weir.controller.contractbook import contract_of, named_by, needed, unfinished
from weir.controller.observe import finished
from weir.runtime.cache import Cache, EventType
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    JOBS,
    MODEL_VERSIONS,
    NAMESPACES,
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
    yield from agents_affected(cache, resource, obj, change)
    if resource in (AGENT_POLICIES, CLUSTER_AGENT_POLICIES, NAMESPACES):
        return
    if resource in (ROLLOUTS, MODEL_VERSIONS):
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
        if resource is ROLLOUTS:
            yield from _versions_of(obj)
            yield from _versions_served_by(cache, obj)
            yield from _watching_live(cache, obj)
            if change in (EventType.ADDED, EventType.DELETED):
                yield from _requests_naming(cache, obj)
        elif resource is MODEL_VERSIONS:
            contracts = sorted(named_by(obj))
            # What a version is bound to stands in its status.
            if contracts or change is not EventType.STATUS:
                yield from _rollouts_naming(cache, obj)
            yield from (ObjectKey(DATA_CONTRACTS, namespace, name) for name in contracts)
    elif resource in (DATA_CONTRACTS, CONTRACT_CHECKS, CONTROLLER_REVISIONS, JOBS):
        yield from _about_contracts(cache, resource, obj, change)
    elif resource in (ACTION_REQUESTS, ROLLOUT_RECORDS):
        if resource is ACTION_REQUESTS:
            yield key_of(resource, obj)
        ref = obj["spec"].get("rolloutRef", {}).get("name") or obj["spec"].get("rollout")
        yield ObjectKey(ROLLOUTS, namespace, ref)
    elif resource in (GATEWAYS, GATEWAY_CLASSES):
        yield from cache.keys(ROLLOUTS)
    else:
        yield from _owners(cache, resource, obj)


def _about_contracts(cache: Cache, resource: Resource, obj: KubeObject, change: EventType) -> Iterator[ObjectKey]:
    """Whom a change of a contract, its revisions, its checks or their Jobs concerns."""
    meta = obj["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    if resource is DATA_CONTRACTS:
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
        # Also on its own status: only an accepted contract is checked.
        yield from _unfinished_checks(cache, namespace, name)
        yield from _using(cache, namespace, name)
    elif resource is CONTROLLER_REVISIONS:
        for owner in meta.get("ownerReferences") or []:
            if owner.get("kind") == DATA_CONTRACTS.kind:
                yield ObjectKey(DATA_CONTRACTS, namespace, owner["name"])
                yield from _using(cache, namespace, owner["name"])
    elif resource is CONTRACT_CHECKS:
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
        yield ObjectKey(DATA_CONTRACTS, namespace, contract_of(obj))
        if change is EventType.DELETED:
            yield from _unfinished_checks(cache, namespace)
    else:
        check = cache.get(CONTRACT_CHECKS, namespace, name)
        if check is not None:
            yield key_of(CONTRACT_CHECKS, check)
            yield ObjectKey(DATA_CONTRACTS, namespace, contract_of(check))
        if change is EventType.DELETED or job_end(obj) is not None:
            # There may be room for the next one now.
            yield from _unfinished_checks(cache, namespace)


def _unfinished_checks(cache: Cache, namespace: str, contract: str | None = None) -> Iterator[ObjectKey]:
    """ContractChecks without a result, of one contract or of the namespace."""
    for check in cache.select(CONTRACT_CHECKS, namespace):
        if unfinished(check) and contract in (None, contract_of(check)):
            yield key_of(CONTRACT_CHECKS, check)


def _using(cache: Cache, namespace: str, contract: str) -> Iterator[ObjectKey]:
    """ModelVersions that name a contract, and the Rollouts that have to do with them."""
    versions = {v["metadata"]["name"] for v in cache.select(MODEL_VERSIONS, namespace) if contract in named_by(v)}
    yield from (ObjectKey(MODEL_VERSIONS, namespace, name) for name in sorted(versions))
    for rollout in cache.select(ROLLOUTS, namespace) if versions else ():
        if versions & needed(rollout):
            yield key_of(ROLLOUTS, rollout)


def _versions_of(rollout: KubeObject) -> Iterator[ObjectKey]:
    """ModelVersions whose use changes with the Rollout."""
    for name in sorted(needed(rollout)):
        yield ObjectKey(MODEL_VERSIONS, rollout["metadata"]["namespace"], name)


def _versions_served_by(cache: Cache, rollout: KubeObject) -> Iterator[ObjectKey]:
    """ModelVersions that still say the Rollout uses them, which it may have stopped doing."""
    meta = rollout["metadata"]
    for version in cache.select(MODEL_VERSIONS, meta["namespace"]):
        if meta["name"] in ((version.get("status") or {}).get("servedBy") or []):
            yield key_of(MODEL_VERSIONS, version)


def _watching_live(cache: Cache, rollout: KubeObject) -> Iterator[ObjectKey]:
    """DataContracts that count what the pods of the Rollout's versions see: which pods those are has changed."""
    namespace = rollout["metadata"]["namespace"]
    for contract in cache.select(DATA_CONTRACTS, namespace):
        if any(drift.get("source") == "Live" for drift in contract["spec"].get("drift") or []):
            users = (cache.get(MODEL_VERSIONS, namespace, name) for name in needed(rollout))
            if any(contract["metadata"]["name"] in named_by(user) for user in users if user is not None):
                yield key_of(DATA_CONTRACTS, contract)


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
