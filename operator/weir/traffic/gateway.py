"""Which route and Gateways a Rollout uses, what these can do, and whether they took the route's current generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.rollout import Gateway
from weir.release.observation import Problem, RolloutView
from weir.runtime.resources import KubeObject
from weir.traffic.adapter import Seen
from weir.workload.writes import bounded

BACKEND_HEADERS = "HTTPRouteBackendRequestHeaderModification"
_GATEWAY_GROUP = "gateway.networking.k8s.io"
_MATCH_FEATURES = {"method": "HTTPRouteMethodMatching", "queryParams": "HTTPRouteQueryParamMatching"}


@dataclass(frozen=True)
class Acceptance:
    """Whether every Gateway took the current generation; ``problem`` when one refused it."""

    accepted: bool
    problem: Problem | None = None


def gateway_of(rollout: RolloutView) -> Gateway:
    """The Rollout's gateway settings; the spec must have them."""
    gateway = rollout.spec.traffic.gateway
    if gateway is None:
        raise ValueError("spec.traffic.gateway is not set")
    return gateway


def route_name(rollout: RolloutView) -> str:
    """Name of the HTTPRoute that carries the Rollout's traffic."""
    reference = gateway_of(rollout).route_ref
    return reference.name if reference else rollout.name


def live_route(rollout: RolloutView, seen: Seen) -> KubeObject | None:
    """The route that carries the Rollout's traffic, if it is there."""
    return seen.routes.get(route_name(rollout))


def parent_refs(rollout: RolloutView, seen: Seen) -> list[dict[str, Any]]:
    """parentRefs of the Rollout's route: its own, or those of the route that the user keeps."""
    gateway = gateway_of(rollout)
    if gateway.parent_refs is not None:
        return [parent.to_dict() for parent in gateway.parent_refs]
    route = live_route(rollout, seen) or {}
    return list((route.get("spec") or {}).get("parentRefs") or [])


def gateway_parents(parents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parentRefs that name Gateways (a mesh's Services are none)."""
    return [
        parent
        for parent in parents
        if parent.get("group", _GATEWAY_GROUP) == _GATEWAY_GROUP and parent.get("kind", "Gateway") == "Gateway"
    ]


def gateways_problem(parents: Sequence[Mapping[str, Any]], namespace: str, seen: Seen) -> Problem | None:
    """Why the Gateways of these parentRefs cannot route: the API or a Gateway is missing, or is not programmed."""
    if not seen.gateway_api:
        return Problem(
            "GatewayAPIMissing",
            "the cluster does not serve gateway.networking.k8s.io/v1 HTTPRoutes; install the Gateway API, "
            "or set traffic.service",
        )
    for parent in gateway_parents(parents):
        key = (parent.get("namespace") or namespace, parent["name"])
        gateway = seen.gateways.get(key)
        if gateway is None:
            return Problem("GatewayNotFound", f"no Gateway {key[0]}/{key[1]} (parentRefs)")
        programmed = _condition((gateway.get("status") or {}).get("conditions"), "Programmed")
        if programmed.get("status") != "True":
            said = programmed.get("message") or "it has no condition Programmed: is its controller running?"
            return Problem("GatewayNotProgrammed", bounded(f"Gateway {key[0]}/{key[1]}: {said}"))
    return None


def features(parents: Sequence[Mapping[str, Any]], namespace: str, seen: Seen) -> frozenset[str]:
    """Extended features that all these Gateways' classes claim; a class that publishes none claims none."""
    claimed = [_class_features(parent, namespace, seen) for parent in gateway_parents(parents)]
    return frozenset.intersection(*claimed) if claimed else frozenset()


def _class_features(parent: Mapping[str, Any], namespace: str, seen: Seen) -> frozenset[str]:
    gateway = seen.gateways.get((parent.get("namespace") or namespace, parent["name"])) or {}
    name = (gateway.get("spec") or {}).get("gatewayClassName", "")
    status = (seen.gateway_classes.get(name) or {}).get("status") or {}
    # Gateway API 1.0 listed names, later versions list objects with a name.
    return frozenset(
        str(item["name"]) if isinstance(item, Mapping) else str(item) for item in status.get("supportedFeatures") or []
    )


def missing_feature(matches: Sequence[Mapping[str, Any]] | None, claimed: frozenset[str]) -> Problem | None:
    """The feature that the matches need and the gateway does not claim, as a problem that names both."""
    for match in matches or []:
        for field, feature in _MATCH_FEATURES.items():
            if match.get(field) and feature not in claimed:
                message = (
                    f"traffic.gateway.matches uses {field}, which needs {feature}: the GatewayClass does not claim it"
                )
                return Problem("FeatureNotSupported", message, terminal=True)
    return None


def acceptance(route: KubeObject) -> Acceptance:
    """Whether every Gateway that the route names took its current generation, with all of its backends.

    A status for an older generation says nothing, neither good nor bad.
    """
    generation = int(route["metadata"].get("generation", 0))
    statuses = ((route.get("status") or {}).get("parents")) or []
    parents = gateway_parents((route.get("spec") or {}).get("parentRefs") or [])
    namespace = route["metadata"].get("namespace", "")
    if not parents:
        return Acceptance(False, Problem("RouteNotAccepted", "the HTTPRoute names no Gateway in spec.parentRefs"))
    found = [_parent_acceptance(parent, statuses, namespace, generation) for parent in parents]
    problem = next((item.problem for item in found if item.problem is not None), None)
    return Acceptance(all(item.accepted for item in found), problem)


def _parent_acceptance(
    parent: Mapping[str, Any], statuses: Sequence[Mapping[str, Any]], namespace: str, generation: int
) -> Acceptance:
    """What the controllers say of one parent; several may, and one that took it is enough."""
    wanted = _identity(parent, namespace)
    said = [status for status in statuses if _identity(status.get("parentRef") or {}, namespace) == wanted]
    judged = [_judge(status.get("conditions") or [], parent["name"], generation) for status in said]
    if any(item.accepted for item in judged):
        return Acceptance(True)
    return next((item for item in judged if item.problem is not None), Acceptance(False))


def _identity(parent: Mapping[str, Any], namespace: str) -> tuple[Any, ...]:
    return (parent.get("namespace") or namespace, parent.get("name"), parent.get("sectionName"), parent.get("port"))


def _judge(conditions: Sequence[Mapping[str, Any]], gateway: str, generation: int) -> Acceptance:
    current = [item for item in conditions if int(item.get("observedGeneration", 0)) >= generation]
    for kind, good in (("Accepted", "True"), ("ResolvedRefs", "True"), ("PartiallyInvalid", "False")):
        condition = _condition(current, kind)
        if condition and condition.get("status") != good and condition.get("status") != "Unknown":
            message = f"Gateway {gateway}: {kind}={condition['status']}, {condition.get('reason')}: "
            return Acceptance(False, Problem("RouteNotAccepted", bounded(message + str(condition.get("message", "")))))
    taken = all(_condition(current, kind).get("status") == "True" for kind in ("Accepted", "ResolvedRefs"))
    return Acceptance(taken)


def _condition(conditions: Sequence[Mapping[str, Any]] | None, kind: str) -> Mapping[str, Any]:
    return next((item for item in conditions or [] if item.get("type") == kind), {})
