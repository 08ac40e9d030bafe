"""A gateway that routes nothing but says what a gateway says: it accepts routes, or refuses them as a test wishes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.harness.api import Api, Failure, Mirror
from weir.runtime.resources import GATEWAY_CLASSES, GATEWAYS, HTTP_ROUTES, KubeObject

NAMESPACE = "gateways"
NAME = "web"
CONTROLLER = "weir.test/gateway"
_TIME = "2026-01-01T00:00:00Z"


def _condition(kind: str, generation: int, *, good: bool = True, reason: str = "", message: str = "") -> KubeObject:
    return {
        "type": kind,
        "status": "True" if good else "False",
        "reason": reason or kind,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": _TIME,
    }


def install(api: Api) -> None:
    """The GatewayClass and the Gateway ``gateways/web``, programmed."""
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    api.create(GATEWAY_CLASSES, {"metadata": {"name": "fake"}, "spec": {"controllerName": CONTROLLER}})
    features = [{"name": "HTTPRouteBackendRequestHeaderModification"}]
    taken = {"conditions": [_condition("Accepted", 1)], "supportedFeatures": features}
    api.merge(GATEWAY_CLASSES, None, "fake", {"status": taken}, status=True)
    make_gateway(api, NAMESPACE, NAME)


def make_gateway(api: Api, namespace: str, name: str) -> None:
    """A Gateway of the fake class, programmed."""
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]
    spec = {"gatewayClassName": "fake", "listeners": listeners}
    api.create(GATEWAYS, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
    programmed = {"conditions": [_condition("Accepted", 1), _condition("Programmed", 1)]}
    api.merge(GATEWAYS, namespace, name, {"status": programmed}, status=True)


@dataclass
class FakeGateway:
    """Accepts every HTTPRoute at its current generation."""

    kubeconfig: Path
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    """(namespace, name) of routes to refuse → the message."""

    def __post_init__(self) -> None:
        self._api = Api(self.kubeconfig)
        self.routes = Mirror(Api(self.kubeconfig), HTTP_ROUTES, self._answer)

    def stop(self) -> None:
        """Accept no more."""
        self.routes.stop()

    def refuse(self, namespace: str, name: str, message: str) -> None:
        """Refuse a route from now on, also one that is there already."""
        self.refused[(namespace, name)] = message
        self._again(namespace, name)

    def accept(self, namespace: str, name: str) -> None:
        """Accept a refused route after all."""
        self.refused.pop((namespace, name), None)
        self._again(namespace, name)

    def weights(self, namespace: str, name: str) -> dict[str, int]:
        """Backend → weight, of the route's rules."""
        return weights(self.routes.get(namespace, name) or {})

    def _again(self, namespace: str, name: str) -> None:
        route = self.routes.get(namespace, name)
        if route is not None:
            api = Api(self.kubeconfig)
            api.merge(HTTP_ROUTES, namespace, name, {"status": self._status(route)}, status=True)

    def _answer(self, route: KubeObject) -> None:
        wanted = self._status(route)
        if route.get("status") == wanted:
            return
        meta = route["metadata"]
        # A route that is gone by now needs no answer; one that cannot be reached is seen again.
        with contextlib.suppress(Failure):
            self._api.merge(HTTP_ROUTES, meta["namespace"], meta["name"], {"status": wanted}, status=True)

    def _status(self, route: KubeObject) -> KubeObject:
        meta = route["metadata"]
        generation = meta["generation"]
        message = self.refused.get((meta["namespace"], meta["name"]))
        accepted = _condition("Accepted", generation)
        if message is not None:
            accepted = _condition("Accepted", generation, good=False, reason="NotAllowed", message=message)
        conditions = [accepted, _condition("ResolvedRefs", generation)]
        parents = [
            {"parentRef": _full(ref), "controllerName": CONTROLLER, "conditions": conditions}
            for ref in route["spec"].get("parentRefs") or []
        ]
        return {"parents": parents}


def _full(ref: dict[str, Any]) -> dict[str, Any]:
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway", **ref}


def weights(route: KubeObject) -> dict[str, int]:
    """Backend → weight, of a route's rules."""
    rules = (route.get("spec") or {}).get("rules") or []
    return {ref["name"]: ref.get("weight", 1) for rule in rules for ref in rule.get("backendRefs") or []}
