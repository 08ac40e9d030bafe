"""Shares by two weights in a route whose rules are the user's.

What the route must look like: rules that Weir shall move name exactly two backends, the Services
``<rollout>-stable`` and ``<rollout>-candidate`` on port 80, which Weir keeps (aliases). Rules may also name
``<rollout>-stable`` alone, or neither; Weir leaves those alone. Only the two weights are ever written, in one guarded
JSON patch for all rules.

Pools change from release to release, the names in the user's route do not. So each alias selects one pool, and moves to
another pool only while its weight is 0, and gets weight again only when its endpoints are the new pool's:

    serve A        S→A 100   C→A 0      the idle alias points at what serves, so that it never leads nowhere
    candidate B    S→A 100   C→B 0      C moves while it has no weight
    shift          S→A 60    C→B 40
    bake           S→A 0     C→B 100
    promoted       S→B 0     C→B 100    S moves while it has no weight
                   S→B 100   C→B 0      both lead to the same pods: nobody notices
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from weir.release.observation import Problem, RolloutView, Route
from weir.runtime.resources import HTTP_ROUTES, SERVICES, KubeObject
from weir.traffic.adapter import TRAFFIC_MANAGER, Adapter, Backend, Seen
from weir.traffic.gateway import acceptance, gateways_problem, live_route, parent_refs
from weir.traffic.rules import rules_of, service_backends
from weir.workload.compare import covers
from weir.workload.identity import derived_name
from weir.workload.manifests import LABEL_POOL, owned_by, rollout_labels, service
from weir.workload.readiness import ready_endpoints
from weir.workload.writes import Write

Role = Literal["stable", "candidate"]
ROLES: tuple[Role, Role] = ("stable", "candidate")


@dataclass(frozen=True)
class Aliases:
    """Where the two aliases lead (None: the alias does not exist yet) and their weights in percent."""

    stable: str | None
    candidate: str | None
    stable_weight: int
    candidate_weight: int

    def pool(self, role: Role) -> str | None:
        """The pool that the alias leads to."""
        return self.stable if role == "stable" else self.candidate

    def weight(self, role: Role) -> int:
        """The alias's weight."""
        return self.stable_weight if role == "stable" else self.candidate_weight

    def shares(self) -> dict[str, int]:
        """Pool → percent of the traffic."""
        found: dict[str, int] = {}
        for role in ROLES:
            pool = self.pool(role)
            if pool is not None:
                found[pool] = found.get(pool, 0) + self.weight(role)
        return found


@dataclass(frozen=True)
class Step:
    """The next thing to write: aliases to lead to other pools, or weights (stable, candidate) to set, or neither."""

    move: tuple[tuple[Role, str], ...] = ()
    weights: tuple[int, int] | None = None


def next_step(now: Aliases, wanted: Sequence[tuple[str, int]], settled: Callable[[Role], bool]) -> Step:
    """One safe step from ``now`` towards ``wanted``.

    Args:
        now: where the aliases lead.
        wanted: one or two (pool, percent), stable first, together 100.
        settled: whether the endpoints behind an alias are those of the pool it leads to.

    No step moves an alias that has weight, and none gives weight to an alias that is not settled. Repeated, the steps
    end with the wanted shares; where both aliases carry weight, they may keep exchanged roles until one is free.
    """
    goal: dict[Role, str] = {"stable": wanted[0][0], "candidate": wanted[-1][0]}
    absent = tuple((role, goal[role]) for role in ROLES if now.pool(role) is None)
    if absent:
        return Step(move=absent)
    percent = dict(wanted)
    due = _weights_here(now, percent)
    if sum(due) == 100:
        if due != (now.stable_weight, now.candidate_weight):
            return _weigh(now, due, settled)
        idle = tuple((role, goal[role]) for role in ROLES if now.weight(role) == 0 and now.pool(role) != goal[role])
        return Step(move=idle)
    return _make_room(now, percent, due, settled)


def _weights_here(now: Aliases, percent: Mapping[str, int]) -> tuple[int, int]:
    """Weights that give the wanted shares without moving an alias, as far as that goes."""
    stable = percent.get(now.stable or "", 0)
    candidate = percent.get(now.candidate or "", 0) if now.candidate != now.stable else 0
    return stable, candidate


def _make_room(now: Aliases, percent: Mapping[str, int], due: tuple[int, int], settled: Callable[[Role], bool]) -> Step:
    """A pool that shall get traffic has no alias: lead a free one to it, or free one."""
    missing = max(
        (pool for pool, share in percent.items() if share and pool not in (now.stable, now.candidate)),
        key=lambda pool: percent[pool],
    )
    useful = dict(zip(ROLES, due, strict=True))
    # An alias that already leads to a wanted pool stays, even while it has no weight yet.
    free = [role for role in ROLES if now.weight(role) == 0 and useful[role] == 0]
    if free:
        return Step(move=((free[0], missing),))
    # None is free. Everything goes to the one that shall have some, else to the one that has more.
    keep = max(ROLES, key=lambda role: (useful[role], now.weight(role)))
    return _weigh(now, (100, 0) if keep == "stable" else (0, 100), settled)


def _weigh(now: Aliases, weights: tuple[int, int], settled: Callable[[Role], bool]) -> Step:
    grows = (role for role, weight in zip(ROLES, weights, strict=True) if weight > now.weight(role))
    return Step(weights=weights) if all(settled(role) for role in grows) else Step()


def alias_name(rollout: RolloutView, role: Role) -> str:
    """Name of an alias Service, for the user's route."""
    return derived_name(rollout.name, role)


def names_aliases(rollout: RolloutView, route: KubeObject) -> bool:
    """Whether any rule of the route names an alias of this Rollout."""
    names = {alias_name(rollout, role) for role in ROLES}
    return any(name in names for rule in rules_of(route) for _, name, _ in service_backends(rule))


class AdoptedRoute(Adapter):
    """A route with rules of the user's, in which Weir moves two weights."""

    def plan(self, rollout: RolloutView, seen: Seen) -> Problem | None:
        """The rules have another shape, an alias's name is taken, or the Gateways are missing or not ready."""
        live = live_route(rollout, seen)
        if live is None:
            return Problem("RouteNotFound", "the HTTPRoute of traffic.gateway.routeRef is not there")
        return (
            _shape_problem(rollout, live)
            or _alias_problem(rollout, seen)
            or gateways_problem(parent_refs(rollout, seen), rollout.namespace, seen)
        )

    def desired(self, rollout: RolloutView, backends: Sequence[Backend], seen: Seen) -> tuple[Write, ...]:
        """The next step: aliases to move, or weights to set."""
        live = live_route(rollout, seen)
        if live is None or _shape_problem(rollout, live) or _alias_problem(rollout, seen):
            return ()
        now = _aliases(rollout, live, seen)
        wanted = [(backend.pool, backend.weight) for backend in backends]
        step = next_step(now, wanted, lambda role: _settled(rollout, role, now, seen))
        if step.weights is not None:
            patch = weight_patch(rollout, live, step.weights)
            return (
                Write("json_patch", HTTP_ROUTES, rollout.namespace, live["metadata"]["name"], patch, TRAFFIC_MANAGER),
            )
        leads = {role: pool for role in ROLES if (pool := now.pool(role)) is not None} | dict(step.move)
        by_pool = {backend.pool: backend for backend in backends}
        return tuple(
            write
            for role, pool in leads.items()
            if pool in by_pool and (write := _alias_write(rollout, role, by_pool[pool], seen)) is not None
        )

    def observe(self, rollout: RolloutView, seen: Seen) -> Route:
        """Shares by pool, through the aliases."""
        live, problem = live_route(rollout, seen), self.plan(rollout, seen)
        if live is None or _shape_problem(rollout, live) is not None:
            return Route(problem=problem)
        now = _aliases(rollout, live, seen)
        if now.stable is None or now.candidate is None:
            return Route(problem=problem)
        taken = acceptance(live)
        used: list[Role] = [role for role in ROLES if now.weight(role) > 0]
        there = all(_settled(rollout, role, now, seen) for role in used)
        accepted = taken.accepted and there and problem is None
        return Route(now.shares(), accepted=accepted, problem=problem or taken.problem)

    def restore(self, rollout: RolloutView, seen: Seen) -> tuple[Write, ...]:
        """Nothing: the last shares were already put back, and the aliases go with the Rollout."""
        return ()


def weight_patch(rollout: RolloutView, route: KubeObject, weights: tuple[int, int]) -> list[dict[str, Any]]:
    """RFC 6902 operations that set the aliases' weights in every rule that names both, and touch nothing else.

    They hold only for the very route that was seen, and each weight only beside the name that was seen there.
    """
    version = route["metadata"]["resourceVersion"]
    operations: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
    wanted = {alias_name(rollout, role): weight for role, weight in zip(ROLES, weights, strict=True)}
    for index, backends in _weighted_rules(rollout, route):
        for position, name, weight in backends:
            if weight == wanted[name]:
                continue
            path = f"/spec/rules/{index}/backendRefs/{position}"
            operations.append({"op": "test", "path": f"{path}/name", "value": name})
            # `add` also replaces; the weight may be absent where the API server's default was never filled in.
            operations.append({"op": "add", "path": f"{path}/weight", "value": wanted[name]})
    return operations


def _weighted_rules(rollout: RolloutView, route: KubeObject) -> list[tuple[int, list[tuple[int, str, int]]]]:
    """(index, backends) of the rules that name both aliases."""
    both = {alias_name(rollout, role) for role in ROLES}
    numbered = ((index, service_backends(rule)) for index, rule in enumerate(rules_of(route)))
    return [(index, backends) for index, backends in numbered if {name for _, name, _ in backends} == both]


def _shape_problem(rollout: RolloutView, route: KubeObject) -> Problem | None:
    stable, candidate = (alias_name(rollout, role) for role in ROLES)
    moved = 0
    for index, rule in enumerate(rules_of(route)):
        names = [str(backend.get("name")) for backend in rule.get("backendRefs") or []]
        if sorted(names) == sorted((stable, candidate)):
            moved += 1
        elif candidate in names or (stable in names and len(names) > 1):
            return Problem(
                "RouteShape",
                f"HTTPRoute {route['metadata']['name']}: backendRefs of spec.rules[{index}] must be exactly "
                f"{stable} and {candidate}, or {stable} alone",
            )
    if moved == 0:
        message = f"HTTPRoute {route['metadata']['name']}: no rule has the two backendRefs {stable} and {candidate}"
        return Problem("RouteShape", message)
    return None


def _alias_problem(rollout: RolloutView, seen: Seen) -> Problem | None:
    for role in ROLES:
        live = seen.services.get(alias_name(rollout, role))
        if live is not None and not owned_by(live, rollout):
            name = live["metadata"]["name"]
            return Problem("ServiceClaimed", f"Service {name} exists and is not this Rollout's; remove or rename it")
    return None


def _aliases(rollout: RolloutView, route: KubeObject, seen: Seen) -> Aliases:
    pools = []
    for role in ROLES:
        live = seen.services.get(alias_name(rollout, role)) or {"metadata": {}}
        pools.append((live["metadata"].get("annotations") or {}).get(LABEL_POOL))
    # Where rules disagree each alias counts with its largest share: only one without any weight may be moved.
    weights = dict.fromkeys(ROLES, 0)
    for _, backends in _weighted_rules(rollout, route):
        whole = sum(weight for _, _, weight in backends)
        by_name = {name: weight for _, name, weight in backends}
        for role in ROLES:
            weight = by_name[alias_name(rollout, role)]
            share = max(1, round(100 * weight / whole)) if weight else 0
            weights[role] = max(weights[role], share)
    return Aliases(pools[0], pools[1], weights["stable"], weights["candidate"])


def _settled(rollout: RolloutView, role: Role, now: Aliases, seen: Seen) -> bool:
    pool = now.pool(role)
    if pool is None:
        return False
    behind = {endpoint.address for endpoint in ready_endpoints(alias_name(rollout, role), seen.slices, seen.pods)}
    of_pool = {endpoint.address for endpoint in ready_endpoints(pool, seen.slices, seen.pods)}
    return bool(behind) and behind <= of_pool


def _alias_write(rollout: RolloutView, role: Role, backend: Backend, seen: Seen) -> Write | None:
    """Lead an alias to a pool, unless it leads there."""
    selector: Mapping[str, str] = {LABEL_POOL: backend.pool}
    target_port: int | str = "http"
    if backend.external:
        spec = (seen.services.get(backend.pool) or {}).get("spec") or {}
        port = next((item for item in spec.get("ports") or [] if item.get("port") == backend.port), None)
        if not spec.get("selector") or port is None:
            # An alias of a Service that selects no pods would lead nowhere.
            return None
        selector, target_port = spec["selector"], port.get("targetPort", backend.port)
    name = alias_name(rollout, role)
    body = service(
        rollout,
        name,
        selector,
        rollout_labels(rollout),
        annotations={LABEL_POOL: backend.pool},
        target_port=target_port,
    )
    live = seen.services.get(name)
    if live is not None and covers(live, body) and dict(live["spec"].get("selector") or {}) == dict(selector):
        return None
    return Write("apply", SERVICES, rollout.namespace, name, body, TRAFFIC_MANAGER)
