"""From a change in the cluster to the AgentPolicies that must look again, and from their ledgers to Rollouts."""

from __future__ import annotations

from collections.abc import Iterator

from weir.api.agentpolicy import POLICY_NAME
from weir.controller.agentstanding import answered_by_policy, asks_policy
from weir.controller.bundlefits import rollouts_concerned
from weir.controller.observe import finished
from weir.runtime.cache import Cache, EventType
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    NAMESPACES,
    ROLLOUTS,
    KubeObject,
    ObjectKey,
    Resource,
    key_of,
)


def agents_affected(cache: Cache, resource: Resource, obj: KubeObject, change: EventType) -> Iterator[ObjectKey]:
    """Keys to look at again on account of agents; the policy's own status echo wakes the Rollouts that it is about."""
    meta = obj["metadata"]
    if resource is AGENT_POLICIES:
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
            yield from _of_agents(cache, obj)
        yield from _asked(cache, meta["namespace"])
        if change in (EventType.ADDED, EventType.DELETED):
            yield from cache.keys(CLUSTER_AGENT_POLICIES)
            yield from _unanswered(cache, meta["namespace"])
    elif resource is CLUSTER_AGENT_POLICIES:
        if change is not EventType.STATUS:
            yield key_of(resource, obj)
            yield from cache.keys(AGENT_POLICIES)
    elif resource is NAMESPACES:
        yield from _policy(cache, meta["name"])
    elif resource in (ROLLOUTS, MODEL_VERSIONS, DATA_CONTRACTS) or (resource is ACTION_REQUESTS and asks_policy(obj)):
        # Also on their status: signals, what is in flight, and what became of it stand there.
        yield from _policy(cache, meta["namespace"])
        if resource is ROLLOUTS:
            for name in sorted(rollouts_concerned(cache, meta["namespace"], meta["name"])):
                yield ObjectKey(ROLLOUTS, meta["namespace"], name)


def _of_agents(cache: Cache, policy: KubeObject) -> Iterator[ObjectKey]:
    """All Rollouts, where one of them serves an agent: which of them it drives may have changed."""
    if any(subject.get("rollout") for subject in policy["spec"].get("subjects") or ()):
        yield from cache.keys(ROLLOUTS, policy["metadata"]["namespace"])


def _policy(cache: Cache, namespace: str) -> Iterator[ObjectKey]:
    if cache.get(AGENT_POLICIES, namespace, POLICY_NAME) is not None:
        yield ObjectKey(AGENT_POLICIES, namespace, POLICY_NAME)


def _asked(cache: Cache, namespace: str) -> Iterator[ObjectKey]:
    """Rollouts with open requests under a permit: the ledger says what may be executed."""
    open_ones = (request for request in cache.select(ACTION_REQUESTS, namespace) if not finished(request))
    names = {str(r["spec"]["rolloutRef"]["name"]) for r in open_ones if r["spec"].get("permit")}
    yield from (ObjectKey(ROLLOUTS, namespace, name) for name in sorted(names))


def _unanswered(cache: Cache, namespace: str) -> Iterator[ObjectKey]:
    """Open requests that only a policy can answer: whether there is one decides about them."""
    for request in cache.select(ACTION_REQUESTS, namespace):
        if answered_by_policy(request) and not finished(request):
            yield key_of(ACTION_REQUESTS, request)
