"""Shares by the number of pods behind one Service, for clusters without a gateway.

One pool has all traffic: the Service selects that pool; a switch between two pools is one write. Two pools share it:
the Service selects every pod of the Rollout, and the shares are the numbers of ready pods. So

- the smallest step is one pod; `Route.granularity` states it in percent;
- what is asked for is noted on the Service, since it cannot be read off pods that come and go;
- pods of a third version that is kept warm would get traffic, too: the Service is not widened before they are gone
  (`RetainedPodsServe`); going back to one pool is always possible;
- connections that clients keep open stay where they are until they close them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from weir.release.observation import Problem, RolloutView, Route
from weir.runtime.resources import SERVICES, KubeObject
from weir.traffic.adapter import TRAFFIC_MANAGER, Adapter, Backend, Seen
from weir.workload.compare import covers
from weir.workload.identity import derived_name, label_value
from weir.workload.manifests import LABEL_POOL, LABEL_ROLLOUT, owned_by, rollout_labels, service
from weir.workload.readiness import Endpoint, ready_endpoints
from weir.workload.writes import Write

WEIGHTS = "weir.dev/weights"
"""Annotation of the Service: pool → percent as asked for, JSON."""


def granularity(pods: int) -> int:
    """Percent of traffic that one of ``pods`` pods carries, rounded up; the smallest step there is."""
    return min(100, -(-100 // pods)) if pods > 0 else 100


def service_name(rollout: RolloutView) -> str:
    """Name of the Service that carries the Rollout's traffic."""
    switch = rollout.spec.traffic.service
    return switch.name if switch and switch.name else derived_name(rollout.name)


class ServiceSwitch(Adapter):
    """A Service whose selector decides which pods answer."""

    def plan(self, rollout: RolloutView, seen: Seen) -> Problem | None:
        """The Service's name is taken."""
        live = seen.services.get(service_name(rollout))
        if live is not None and not owned_by(live, rollout):
            name = live["metadata"]["name"]
            message = f"Service {name} exists and is not this Rollout's; remove it or set traffic.service.name"
            return Problem("ServiceClaimed", message)
        return None

    def desired(self, rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> tuple[Write, ...]:
        """One apply of selector and note, unless they are there."""
        if self.plan(rollout, seen) is not None or unfit_backends(rollout, backends, seen) is not None:
            return ()
        carrying = [backend.pool for backend in backends if backend.weight > 0]
        selector = {LABEL_POOL: carrying[0]} if len(carrying) == 1 else {LABEL_ROLLOUT: label_value(rollout.name)}
        note = json.dumps({backend.pool: backend.weight for backend in backends})
        name = service_name(rollout)
        body = service(rollout, name, selector, rollout_labels(rollout), annotations={WEIGHTS: note})
        live = seen.services.get(name)
        if live is not None and covers(live, body) and _selector(live) == selector:
            return ()
        return (Write("apply", SERVICES, rollout.namespace, name, body, TRAFFIC_MANAGER),)

    def observe(self, rollout: RolloutView, seen: Seen) -> Route:
        """Weights as noted; accepted once exactly the pools that shall have traffic are behind the Service."""
        live, problem = seen.services.get(service_name(rollout)), self.plan(rollout, seen)
        if live is None or problem is not None:
            return Route(problem=problem)
        weights = _noted(live)
        counts = endpoints_by_pool(rollout, seen)
        carrying = {pool for pool, weight in weights.items() if weight > 0}
        return Route(
            weights,
            accepted=bool(carrying) and set(counts) == carrying,
            granularity=granularity(_shared_pods(weights, counts)),
            problem=_third_pools(rollout, carrying, seen) if len(carrying) > 1 else None,
        )

    def restore(self, rollout: RolloutView, seen: Seen) -> tuple[Write, ...]:
        """Nothing: the Service goes with the Rollout."""
        return ()


def endpoints_by_pool(rollout: RolloutView, seen: Seen) -> dict[str, int]:
    """Ready endpoints behind the Rollout's Service, by pool: the shares that the data plane really gives."""
    pools = {pod["metadata"]["name"]: (pod["metadata"].get("labels") or {}).get(LABEL_POOL, "") for pod in seen.pods}
    found: dict[str, int] = {}
    endpoints: frozenset[Endpoint] = ready_endpoints(service_name(rollout), seen.slices, seen.pods)
    for endpoint in endpoints:
        pool = pools.get(endpoint.pod, "")
        found[pool] = found.get(pool, 0) + 1
    return found


def unfit_backends(rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> Problem | None:
    """Why these shares cannot be set now: a pool that the user runs, or pods of a third version in the way."""
    external = next((backend.pool for backend in backends if backend.external), None)
    if external is not None:
        return Problem(
            "ServiceSwitchNeedsPods",
            f"Service {external} is run by the user, and a Service switch selects pods; set traffic.gateway instead",
            terminal=True,
        )
    carrying = {backend.pool for backend in backends if backend.weight > 0}
    if not carrying:
        return Problem("NoShares", "no version shall have traffic")
    return _third_pools(rollout, carrying, seen) if len(carrying) > 1 else None


def _third_pools(rollout: RolloutView, carrying: set[str], seen: Seen) -> Problem | None:
    name = label_value(rollout.name)
    others = {
        labels.get(LABEL_POOL, "")
        for pod in seen.pods
        if (labels := pod["metadata"].get("labels") or {}).get(LABEL_ROLLOUT) == name
        and not pod["metadata"].get("deletionTimestamp")
    } - carrying
    if not others:
        return None
    pools = ", ".join(sorted(others))
    return Problem("RetainedPodsServe", f"pods of {pools} are still running and would get a share; they must go first")


def _noted(live: KubeObject) -> dict[str, int]:
    """The noted weights as far as the selector bears them out; somebody may have changed that."""
    selector = _selector(live)
    try:
        noted = json.loads((live["metadata"].get("annotations") or {}).get(WEIGHTS, "{}"))
        weights = {str(pool): int(weight) for pool, weight in noted.items()}
    except (ValueError, TypeError, AttributeError):
        weights = {}
    carrying = [pool for pool, weight in weights.items() if weight > 0]
    pool = selector.get(LABEL_POOL)
    if pool is not None:
        return weights if carrying == [pool] else {pool: 100}
    return weights if len(carrying) > 1 else {}


def _shared_pods(weights: Mapping[str, int], counts: Mapping[str, int]) -> int:
    shared = sum(count for pool, count in counts.items() if weights.get(pool, 0) > 0)
    carrying = [pool for pool, weight in weights.items() if weight > 0]
    # A switch between two pools is exact, however many pods there are.
    return shared if len(carrying) > 1 else 100


def _selector(live: KubeObject) -> dict[str, str]:
    return dict((live.get("spec") or {}).get("selector") or {})
