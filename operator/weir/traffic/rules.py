"""Rules of an HTTPRoute: the one that Weir writes, and comparing rules as the API server understands them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weir.api.routematch import canonical_match
from weir.runtime.resources import KubeObject
from weir.traffic.adapter import Backend

VERSION_HEADER = "x-weir-version"
"""Request header by which a server sees which version a request was routed to."""


def weighted_rule(
    matches: Sequence[Mapping[str, Any]] | None, backends: Sequence[Backend], *, version_headers: bool
) -> dict[str, Any]:
    """One rule with all backends in the given order, which gateways' metrics depend on.

    ``version_headers``: the gateway can set a header on one backend's requests.
    """
    rule: dict[str, Any] = {"backendRefs": [_backend_ref(backend, version_headers) for backend in backends]}
    if matches:
        rule["matches"] = [dict(match) for match in matches]
    return rule


def _backend_ref(backend: Backend, version_headers: bool) -> dict[str, Any]:
    reference: dict[str, Any] = {
        "group": "",
        "kind": "Service",
        "name": backend.pool,
        "port": backend.port,
        "weight": backend.weight,
    }
    if version_headers:
        header = {"name": VERSION_HEADER, "value": backend.label}
        reference["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header]}}]
    return reference


def same_rules(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of rules mean the same once the API server's defaults are filled in."""
    return [_canonical_rule(rule) for rule in left] == [_canonical_rule(rule) for rule in right]


def _canonical_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    filled = {name: value for name, value in rule.items() if value not in (None, [], {})}
    filled["matches"] = [canonical_match(match) for match in rule.get("matches") or [{}]]
    filled["backendRefs"] = [_canonical_backend(backend) for backend in rule.get("backendRefs") or []]
    return filled


def _canonical_backend(backend: Mapping[str, Any]) -> dict[str, Any]:
    filled = {"group": "", "kind": "Service", "weight": 1, **backend}
    return {name: value for name, value in filled.items() if value not in (None, [], {})}


def same_parents(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of parentRefs mean the same once the API server's defaults are filled in."""
    return [_canonical_parent(parent) for parent in left] == [_canonical_parent(parent) for parent in right]


def _canonical_parent(parent: Mapping[str, Any]) -> dict[str, Any]:
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent}


def rules_of(route: KubeObject) -> list[dict[str, Any]]:
    """The route's rules; the API server fills in one without backends where the user wrote none."""
    return list((route.get("spec") or {}).get("rules") or [])


def is_blank(route: KubeObject) -> bool:
    """Whether the route's rules lead nowhere: the user left them for Weir to fill in."""
    return not any(rule.get("backendRefs") or rule.get("filters") for rule in rules_of(route))


def service_backends(rule: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """(index, name, weight) of the rule's backends that are Services."""
    return [
        (index, str(backend["name"]), int(backend.get("weight", 1)))
        for index, backend in enumerate(rule.get("backendRefs") or [])
        if not backend.get("group") and backend.get("kind", "Service") == "Service"
    ]


def shares(rules: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Service → percent, as the rules' weights say; rules that disagree give each Service its largest share."""
    found: dict[str, int] = {}
    for rule in rules:
        backends = service_backends(rule)
        whole = sum(weight for _, _, weight in backends)
        if whole == 0:
            continue
        in_rule: dict[str, int] = {}
        for _, name, weight in backends:
            in_rule[name] = in_rule.get(name, 0) + weight
        for name, weight in in_rule.items():
            found[name] = max(found.get(name, 0), round(100 * weight / whole))
    return found
