"""How people reach a candidate before the switch: a Service and a route with its own hostname."""

from __future__ import annotations

from weir.release.observation import RolloutView
from weir.runtime.resources import HTTP_ROUTES, SERVICES
from weir.traffic.adapter import TRAFFIC_MANAGER, Backend, Seen
from weir.traffic.gateway import BACKEND_HEADERS, features, parent_refs
from weir.traffic.httproute import owned_route, route_covers
from weir.traffic.rules import weighted_rule
from weir.workload.compare import covers
from weir.workload.identity import derived_name
from weir.workload.manifests import owned_by, preview_service
from weir.workload.writes import Write


def preview_name(rollout: RolloutView) -> str:
    """Name of the preview's Service and HTTPRoute."""
    return derived_name(rollout.name, "preview")


def preview_writes(rollout: RolloutView, backend: Backend | None, seen: Seen) -> tuple[Write, ...]:
    """The writes that show this pool as the preview, or take the preview away (None); objects of others are left alone.

    A pool that the user runs has a Service already; it gets a route but no preview Service.
    """
    name = preview_name(rollout)
    service, route = seen.services.get(name), seen.routes.get(name)
    mine = [(SERVICES, service), (HTTP_ROUTES, route)]
    hostname = _hostname(rollout)
    keep = set()
    writes = []
    if backend is not None and not backend.external and (service is None or owned_by(service, rollout)):
        keep.add(SERVICES)
        body = preview_service(rollout, backend.pool)
        if service is None or not covers(service, body):
            writes.append(Write("apply", SERVICES, rollout.namespace, name, body, TRAFFIC_MANAGER))
    if backend is not None and hostname is not None and (route is None or owned_by(route, rollout)):
        keep.add(HTTP_ROUTES)
        parents = parent_refs(rollout, seen)
        headers = BACKEND_HEADERS in features(parents, rollout.namespace, seen)
        whole = Backend(backend.pool, 100, backend.label, backend.port, backend.external)
        body = owned_route(rollout, name, parents, [hostname], weighted_rule(None, [whole], version_headers=headers))
        if parents and seen.gateway_api and (route is None or not route_covers(route, body)):
            writes.append(Write("apply", HTTP_ROUTES, rollout.namespace, name, body, TRAFFIC_MANAGER))
    for resource, obj in mine:
        gone = obj is None or obj["metadata"].get("deletionTimestamp")
        if not gone and obj is not None and resource not in keep and owned_by(obj, rollout):
            writes.append(Write("delete", resource, rollout.namespace, name, uid=obj["metadata"]["uid"]))
    return tuple(writes)


def _hostname(rollout: RolloutView) -> str | None:
    blue_green = rollout.spec.strategy.blue_green
    if blue_green is None or rollout.spec.traffic.gateway is None:
        return None
    return blue_green.preview.hostname
