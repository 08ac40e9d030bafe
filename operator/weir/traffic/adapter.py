"""The interface of a traffic adapter: pure functions from what was seen to what to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weir.release.observation import Problem, RolloutView, Route
from weir.runtime.resources import KubeObject
from weir.workload.manifests import SERVICE_PORT
from weir.workload.writes import Write

TRAFFIC_MANAGER = "weir-traffic"
"""Field manager of everything that decides where requests go."""


@dataclass(frozen=True)
class Backend:
    """A pool with its share: ``weight`` in percent, ``label`` the version as metrics and headers show it.

    The pool's name is its Service's name. ``port`` is the Service's; it differs from `SERVICE_PORT` only where the user
    runs the Service (``external``).
    """

    pool: str
    weight: int
    label: str
    port: int = SERVICE_PORT
    external: bool = False


@dataclass(frozen=True)
class Seen:
    """Objects that adapters look at; those of the Rollout's namespace are keyed by name.

    ``gateways`` are keyed by (namespace, name), since they may live elsewhere. ``pods`` are all pods of the Rollout.
    ``gateway_api``: the API server serves the Gateway API at all.
    """

    gateway_api: bool = True
    routes: Mapping[str, KubeObject] = field(default_factory=dict)
    gateways: Mapping[tuple[str, str], KubeObject] = field(default_factory=dict)
    gateway_classes: Mapping[str, KubeObject] = field(default_factory=dict)
    services: Mapping[str, KubeObject] = field(default_factory=dict)
    slices: Sequence[KubeObject] = ()
    pods: Sequence[KubeObject] = ()


class Adapter(Protocol):
    """One way to shift requests. No method does I/O; calling again with the same arguments gives the same answer."""

    def plan(self, rollout: RolloutView, seen: Seen) -> Problem | None:
        """What makes shifting impossible, before anything is tried on live traffic."""
        ...

    def desired(self, rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> tuple[Write, ...]:
        """The next writes towards these shares, stable first; none when they are there or nothing may be written.

        Where shares can only be reached in several steps (aliases), each call gives the next one: call again whenever
        an object changed.
        """
        ...

    def observe(self, rollout: RolloutView, seen: Seen) -> Route:
        """What the objects say now."""
        ...

    def restore(self, rollout: RolloutView, seen: Seen) -> tuple[Write, ...]:
        """Give back what belongs to the user, when the Rollout goes and its last shares are in place."""
        ...


def backend_port(service: KubeObject | None, listens_on: int) -> int:
    """Port of a Service that the user runs: the one named ``http``, else the server's own, else the first.

    ``listens_on``: the port that the ModelVersion says; also the answer where the Service is missing.
    """
    ports = ((service or {}).get("spec") or {}).get("ports") or []
    numbers = [int(port["port"]) for port in ports]
    named = [int(port["port"]) for port in ports if port.get("name") == "http"]
    if named:
        return named[0]
    return listens_on if listens_on in numbers or not numbers else numbers[0]


def adapter_for(rollout: RolloutView) -> Adapter:
    """The adapter that the Rollout's spec asks for."""
    from weir.traffic.adopted import AdoptedRoute
    from weir.traffic.httproute import ManagedRoute, RouteRef
    from weir.traffic.service import ServiceSwitch

    if rollout.spec.traffic.service is not None:
        return ServiceSwitch()
    if rollout.spec.traffic.gateway is not None and rollout.spec.traffic.gateway.route_ref is not None:
        return RouteRef(ManagedRoute(), AdoptedRoute())
    return ManagedRoute()
