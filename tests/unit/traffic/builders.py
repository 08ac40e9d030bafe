"""Gateways, routes and an API server in miniature for the traffic tests."""

import copy
from collections.abc import Sequence
from typing import Any

from tests.unit.workload.builders import owned, rollout
from weir.release.observation import RolloutView
from weir.traffic.adapter import Backend, Seen
from weir.workload.writes import Write

A, B, C = "digits-aaaaaaaa", "digits-bbbbbbbb", "digits-cccccccc"
HEADERS = "HTTPRouteBackendRequestHeaderModification"


def gateway(*, programmed: str | None = "True") -> dict[str, Any]:
    conditions = [{"type": "Programmed", "status": programmed, "message": "no address"}] if programmed else []
    return {
        "metadata": {"name": "web", "namespace": "infra"},
        "spec": {"gatewayClassName": "traefik"},
        "status": {"conditions": conditions},
    }


def gateway_class(*features: Any) -> dict[str, Any]:
    return {"metadata": {"name": "traefik"}, "status": {"supportedFeatures": list(features)}}


def seen(**changes: Any) -> Seen:
    base: dict[str, Any] = {
        "gateways": {("infra", "web"): gateway()},
        "gateway_classes": {"traefik": gateway_class({"name": HEADERS})},
    }
    return Seen(**{**base, **changes})


def backends(*shares: tuple[str, int]) -> list[Backend]:
    return [Backend(pool, weight, f"v-{pool[-1]}") for pool, weight in shares]


def stored(body: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    """An applied HTTPRoute as the API server answers it: with identity and defaults."""
    live = copy.deepcopy(body)
    live["metadata"] = {"uid": "uid-route", "resourceVersion": "5", "generation": generation, **live["metadata"]}
    for parent in live["spec"].get("parentRefs", []):
        parent |= {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    for rule in live["spec"]["rules"]:
        rule.setdefault("matches", [{}])
        for match in rule["matches"]:
            match.setdefault("path", {"type": "PathPrefix", "value": "/"})
            for header in match.get("headers", []):
                header.setdefault("type", "Exact")
    return live


def accepted(route: dict[str, Any], *, generation: int | None = None, **conditions: str) -> dict[str, Any]:
    """The route with a status that a Gateway controller wrote."""
    states = {"Accepted": "True", "ResolvedRefs": "True", **conditions}
    observed = generation if generation is not None else route["metadata"]["generation"]
    parents = [
        {
            "parentRef": parent,
            "controllerName": "example.test/gateway",
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": "Because",
                    "message": "it is",
                    "observedGeneration": observed,
                }
                for kind, status in states.items()
            ],
        }
        for parent in route["spec"]["parentRefs"]
    ]
    return {**route, "status": {"parents": parents}}


def blank_route(**metadata: Any) -> dict[str, Any]:
    """A route that the user keeps without rules, with the API server's default rule."""
    return {
        "metadata": {
            "name": "mine",
            "namespace": "ml",
            "uid": "uid-mine",
            "resourceVersion": "9",
            "generation": 1,
            **metadata,
        },
        "spec": {
            "parentRefs": [{"name": "web", "namespace": "infra"}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
        },
    }


def by_route_ref(**changes: Any) -> RolloutView:
    return rollout(traffic={"gateway": {"routeRef": {"name": "mine"}}}, **changes)


def only(writes: Sequence[Write]) -> Write:
    (write,) = writes
    return write


def live_service(view: RolloutView, body: dict[str, Any]) -> dict[str, Any]:
    live = owned("Service", body["metadata"]["name"], view, spec=copy.deepcopy(body["spec"]))
    live["metadata"]["annotations"] = dict(body["metadata"].get("annotations", {}))
    live["spec"]["clusterIP"] = "10.96.0.9"
    return live


def apply_json_patch(obj: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902 `test` and `add` on objects and existing positions; raises AssertionError when a test does not hold."""
    result = copy.deepcopy(obj)
    for operation in operations:
        *path, last = operation["path"].strip("/").split("/")
        at: Any = result
        for part in path:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if operation["op"] == "test":
            assert at[last] == operation["value"], operation
        else:
            assert operation["op"] == "add"
            at[last] = operation["value"]
    return result
