"""Shares by the weights of an HTTPRoute whose rules are Weir's.

``owned``: Weir creates the whole route from `traffic.gateway.parentRefs`, and it goes with the Rollout.
``filled``: the user keeps a route without rules (`traffic.gateway.routeRef`); Weir applies `spec.rules` under its own
field manager and an annotation that claims the route. `spec.rules` is one atomic field, so nobody else may write rules.
A route that has rules of the user's is adopted instead, see `weir.traffic.adopted`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weir.release.observation import Problem, RolloutView, Route
from weir.runtime.resources import HTTP_ROUTES, KubeObject
from weir.traffic.adapter import TRAFFIC_MANAGER, Adapter, Backend, Seen
from weir.traffic.adopted import AdoptedRoute, names_aliases
from weir.traffic.gateway import (
    BACKEND_HEADERS,
    acceptance,
    features,
    gateway_of,
    gateways_problem,
    live_route,
    missing_feature,
    parent_refs,
    route_name,
)
from weir.traffic.rules import is_blank, rules_of, same_parents, same_rules, shares, weighted_rule
from weir.workload.compare import covers
from weir.workload.manifests import owned_by, owner_reference, rollout_labels
from weir.workload.writes import Write

CLAIM = "weir.dev/rollout"
"""Annotation by which a Rollout claims a route that the user keeps."""


class ManagedRoute(Adapter):
    """An HTTPRoute whose rules Weir writes: owned, or filled."""

    def plan(self, rollout: RolloutView, seen: Seen) -> Problem | None:
        """The route is missing or claimed, its Gateways are missing, not ready, or lack a feature that matches need."""
        parents = parent_refs(rollout, seen)
        return (
            (_not_served(rollout, seen) or _hindrance(rollout, seen))
            or gateways_problem(parents, rollout.namespace, seen)
            or missing_feature(gateway_of(rollout).route_matches, features(parents, rollout.namespace, seen))
        )

    def desired(self, rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> tuple[Write, ...]:
        """One apply, unless the route says all of it already or is not Weir's to write."""
        parents = parent_refs(rollout, seen)
        claimed = features(parents, rollout.namespace, seen)
        live = live_route(rollout, seen)
        if not seen.gateway_api or _hindrance(rollout, seen) is not None:
            return ()
        if live is None and missing_feature(gateway_of(rollout).route_matches, claimed) is not None:
            return ()
        # A backend without a share is left out: it may not exist yet, or not any more, and naming it costs a write.
        serving = [backend for backend in backends if backend.weight] or backends
        rule = weighted_rule(gateway_of(rollout).route_matches, serving, version_headers=BACKEND_HEADERS in claimed)
        if gateway_of(rollout).route_ref is not None:
            body = _filled(rollout, rule, live)
        else:
            body = owned_route(rollout, rollout.name, parents, gateway_of(rollout).hostnames, rule)
        if live is not None and route_covers(live, body):
            return ()
        return (Write("apply", HTTP_ROUTES, rollout.namespace, body["metadata"]["name"], body, TRAFFIC_MANAGER),)

    def observe(self, rollout: RolloutView, seen: Seen) -> Route:
        """Weights as written, and whether the Gateways took them."""
        live, problem = live_route(rollout, seen), self.plan(rollout, seen)
        if live is None or _hindrance(rollout, seen) is not None:
            return Route(problem=problem)
        weights = shares(rules_of(live))
        if not weights:
            return Route(problem=problem)
        taken = acceptance(live)
        return Route(weights, accepted=taken.accepted and problem is None, problem=problem or taken.problem)

    def restore(self, rollout: RolloutView, seen: Seen) -> tuple[Write, ...]:
        """Take Weir's rules and claim out of a route that the user keeps; an owned route goes with the Rollout."""
        live = live_route(rollout, seen)
        if gateway_of(rollout).route_ref is None or live is None or _claim(live) != rollout.name:
            return ()
        # Stating nothing removes what this manager stated before.
        metadata = {"name": live["metadata"]["name"], "namespace": rollout.namespace}
        body = {"apiVersion": HTTP_ROUTES.api_version, "kind": HTTP_ROUTES.kind, "metadata": metadata}
        return (Write("apply", HTTP_ROUTES, rollout.namespace, metadata["name"], body, TRAFFIC_MANAGER),)


class RouteRef(Adapter):
    """A route that the user keeps: filled when it has no rules of the user's, else adopted."""

    def __init__(self, managed: ManagedRoute, adopted: AdoptedRoute) -> None:
        self._managed = managed
        self._adopted = adopted

    def plan(self, rollout: RolloutView, seen: Seen) -> Problem | None:
        """As the adapter says that fits the route."""
        return self._fitting(rollout, seen).plan(rollout, seen)

    def desired(self, rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> tuple[Write, ...]:
        """As the adapter says that fits the route."""
        return self._fitting(rollout, seen).desired(rollout, backends, seen)

    def observe(self, rollout: RolloutView, seen: Seen) -> Route:
        """As the adapter says that fits the route."""
        return self._fitting(rollout, seen).observe(rollout, seen)

    def restore(self, rollout: RolloutView, seen: Seen) -> tuple[Write, ...]:
        """As the adapter says that fits the route."""
        return self._fitting(rollout, seen).restore(rollout, seen)

    def _fitting(self, rollout: RolloutView, seen: Seen) -> Adapter:
        live = live_route(rollout, seen)
        return self._adopted if live is not None and names_aliases(rollout, live) else self._managed


def _not_served(rollout: RolloutView, seen: Seen) -> Problem | None:
    return None if seen.gateway_api else gateways_problem([], rollout.namespace, seen)


def _hindrance(rollout: RolloutView, seen: Seen) -> Problem | None:
    """Why the route is not Weir's to write."""
    live, name = live_route(rollout, seen), route_name(rollout)
    if gateway_of(rollout).route_ref is None:
        if live is not None and not owned_by(live, rollout):
            return Problem(
                "RouteClaimed",
                f"HTTPRoute {name} exists and belongs to {_owner(live)}; rename the Rollout, remove the route, "
                "or name it in traffic.gateway.routeRef",
            )
        return None
    if live is None:
        return Problem("RouteNotFound", f"no HTTPRoute {name} in this namespace (traffic.gateway.routeRef)")
    claim = _claim(live)
    if claim is not None and claim != rollout.name:
        return Problem("RouteClaimed", f"HTTPRoute {name} already carries the traffic of Rollout {claim}")
    if claim is None and not is_blank(live):
        return Problem(
            "RouteHasRules",
            f"HTTPRoute {name} has rules that do not name Weir's Services; leave spec.rules out, so that Weir can fill "
            "them in, or name the Rollout's alias Services as backends to have only their weights moved",
        )
    return None


def _claim(route: KubeObject) -> str | None:
    value = (route["metadata"].get("annotations") or {}).get(CLAIM)
    return str(value) if value is not None else None


def _owner(route: KubeObject) -> str:
    references = route["metadata"].get("ownerReferences") or []
    return next((f"{ref['kind']} {ref['name']}" for ref in references if ref.get("controller")), "somebody else")


def _filled(rollout: RolloutView, rule: Mapping[str, Any], live: KubeObject | None) -> KubeObject:
    metadata: dict[str, Any] = {
        "name": route_name(rollout),
        "namespace": rollout.namespace,
        "annotations": {CLAIM: rollout.name},
    }
    if live is not None and _claim(live) is None:
        # Two Rollouts may try to claim the same route at once: the second must look again.
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": metadata,
        "spec": {"rules": [rule]},
    }


def owned_route(
    rollout: RolloutView,
    name: str,
    parents: Sequence[Mapping[str, Any]],
    hostnames: Sequence[str] | None,
    rule: Mapping[str, Any],
) -> KubeObject:
    """A whole HTTPRoute with one rule, which goes when the Rollout goes."""
    spec: dict[str, Any] = {"parentRefs": [dict(parent) for parent in parents], "rules": [rule]}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {
            "name": name,
            "namespace": rollout.namespace,
            "labels": rollout_labels(rollout),
            "ownerReferences": [owner_reference(rollout)],
        },
        "spec": spec,
    }


def route_covers(live: KubeObject, wanted: KubeObject) -> bool:
    """Whether the live route already says what an apply would state, so that none is needed."""
    ignored = ("resourceVersion",)
    metadata = {name: value for name, value in wanted["metadata"].items() if name not in ignored}
    here, there = wanted["spec"], live.get("spec") or {}
    parents = "parentRefs" not in here or same_parents(there.get("parentRefs") or [], here["parentRefs"])
    # An owned route that lost its hostnames to nobody is compared as a whole; a filled one never states them.
    hostnames = "parentRefs" not in here or (there.get("hostnames") or []) == (here.get("hostnames") or [])
    return (
        covers(live["metadata"], metadata)
        and parents
        and hostnames
        and same_rules(there.get("rules") or [], here["rules"])
    )
