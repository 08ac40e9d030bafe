"""Who is looked at again on account of agents: the namespace's policy, and the Rollouts that its ledger is about."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.agentpolicy import POLICY_NAME
from weir.controller.routing import affected
from weir.runtime.cache import Cache, EventType
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    NAMESPACES,
    ROLLOUTS,
    Resource,
)

MINE = ("AgentPolicy", "ml", POLICY_NAME)
OUTER = ("ClusterAgentPolicy", "", POLICY_NAME)


def obj(name: str, spec: Any = None, status: Any = None, namespace: str = "ml") -> dict[str, Any]:
    meta = {"name": name, "uid": f"{namespace}-{name}", "resourceVersion": "1"}
    if namespace:
        meta["namespace"] = namespace
    return {"metadata": meta, "spec": spec or {}, "status": status or {}}


def request(name: str, status: Any = None, **spec: Any) -> dict[str, Any]:
    return obj(name, {"action": "Abort", "rolloutRef": {"name": "digits"}, **spec}, status)


@pytest.fixture
def cache() -> Cache:
    filled = Cache()
    for namespace in ("ml", "other"):
        filled.put(AGENT_POLICIES, obj(POLICY_NAME, namespace=namespace))
    filled.put(CLUSTER_AGENT_POLICIES, obj(POLICY_NAME, namespace=""))
    filled.put(ACTION_REQUESTS, request("open", permit="stop"))
    filled.put(ACTION_REQUESTS, request("waits", {"phase": "Pending"}, permit="stop", rolloutRef={"name": "letters"}))
    filled.put(ACTION_REQUESTS, request("ended", {"phase": "Refused"}, permit="stop", rolloutRef={"name": "done"}))
    filled.put(ACTION_REQUESTS, request("person", rolloutRef={"name": "persons"}))
    filled.put(ACTION_REQUESTS, request("no", action="Deny", request={"name": "open", "uid": "u"}))
    return filled


def woken(cache: Cache, resource: Resource, thing: Any, change: EventType) -> set[tuple[str, str, str]]:
    return {(key.resource.kind, key.namespace, key.name) for key in affected(cache, resource, thing, change)}


def test_given_a_changed_ledger_then_the_rollouts_of_open_requests_look_and_the_policy_does_not(cache: Cache) -> None:
    asked = {("Rollout", "ml", "digits"), ("Rollout", "ml", "letters")}
    assert woken(cache, AGENT_POLICIES, obj(POLICY_NAME), EventType.STATUS) == asked
    assert woken(cache, AGENT_POLICIES, obj(POLICY_NAME), EventType.MODIFIED) == asked | {MINE}


@pytest.mark.parametrize("change", [EventType.ADDED, EventType.DELETED])
def test_given_a_policy_that_comes_or_goes_then_what_only_it_answers_is_looked_at(
    cache: Cache, change: EventType
) -> None:
    found = woken(cache, AGENT_POLICIES, obj(POLICY_NAME), change)
    assert {MINE, OUTER, ("ActionRequest", "ml", "no")} <= found
    assert ("ActionRequest", "ml", "open") not in found


def test_given_other_outer_bounds_then_every_policy_is_looked_at(cache: Cache) -> None:
    bounds = obj(POLICY_NAME, namespace="")
    every = {OUTER, MINE, ("AgentPolicy", "other", POLICY_NAME)}
    assert woken(cache, CLUSTER_AGENT_POLICIES, bounds, EventType.MODIFIED) == every
    assert woken(cache, CLUSTER_AGENT_POLICIES, bounds, EventType.STATUS) == set()


@pytest.mark.parametrize("change", list(EventType))
def test_given_a_namespace_whose_agents_are_stopped_or_freed_then_its_policy_is_looked_at(
    cache: Cache, change: EventType
) -> None:
    assert woken(cache, NAMESPACES, obj("ml", namespace=""), change) == {MINE}
    assert woken(cache, NAMESPACES, obj("without", namespace=""), change) == set()


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        (ROLLOUTS, {"versionRef": {"name": "v1"}, "traffic": {"service": {}}}),
        (MODEL_VERSIONS, {}),
        (DATA_CONTRACTS, {}),
        (ACTION_REQUESTS, {"permit": "stop", "rolloutRef": {"name": "digits"}}),
        (ACTION_REQUESTS, {"request": {"name": "open"}, "rolloutRef": {"name": "digits"}}),
    ],
)
@pytest.mark.parametrize("change", [EventType.ADDED, EventType.STATUS, EventType.DELETED])
def test_given_anything_that_a_policy_looks_at_then_it_is_looked_at_also_for_a_status(
    cache: Cache, resource: Resource, spec: Any, change: EventType
) -> None:
    assert MINE in woken(cache, resource, obj("thing", spec), change)
    alone = Cache()
    assert MINE not in woken(alone, resource, obj("thing", spec), change)


def test_given_a_persons_request_then_the_policy_has_nothing_to_do_with_it(cache: Cache) -> None:
    assert MINE not in woken(cache, ACTION_REQUESTS, request("person"), EventType.ADDED)
