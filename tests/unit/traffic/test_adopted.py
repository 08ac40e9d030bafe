import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.traffic.builders import (
    A,
    B,
    C,
    accepted,
    apply_json_patch,
    backends,
    blank_route,
    by_route_ref,
    live_service,
    seen,
)
from tests.unit.workload.builders import endpoint_slice, owned, rollout
from weir.release.observation import RolloutView
from weir.traffic.adapter import Backend, adapter_for
from weir.traffic.adopted import Aliases, Role, next_step, weight_patch

STABLE, CANDIDATE = "digits-stable", "digits-candidate"
FOREIGN = {
    "matches": [{"path": {"type": "Exact", "value": "/health"}}],
    "backendRefs": [{"name": "health", "port": 9, "weight": 3}],
    "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}],
}


def ref(name: str, weight: int | None) -> dict[str, Any]:
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight})}


def users_route(stable: int | None = None, candidate: int | None = None) -> dict[str, Any]:
    route = blank_route()
    rule = {"timeouts": {"request": "5s"}, "backendRefs": [ref(STABLE, stable), ref(CANDIDATE, candidate)]}
    second = {"matches": [{"path": {"value": "/b"}}], "backendRefs": [ref(CANDIDATE, candidate), ref(STABLE, stable)]}
    route["spec"]["rules"] = [FOREIGN, rule, second, {"backendRefs": [ref(STABLE, 1)]}]
    return route


class World:
    """An API server in miniature: applies what the adapter writes, and runs the endpoints controller when told."""

    def __init__(self, route: dict[str, Any]) -> None:
        self.view: RolloutView = by_route_ref()
        self.route = route
        self.services: dict[str, Any] = {}
        self.leads: dict[str, str] = {}
        self.writes = 0

    def seen(self) -> Any:
        pools = [endpoint_slice(pool, f"{pool}-1", f"{pool}-2") for pool in (A, B, C)]
        aliases = []
        for alias, pool in self.leads.items():
            item = endpoint_slice(pool, f"{pool}-1", f"{pool}-2")
            item["metadata"]["labels"]["kubernetes.io/service-name"] = alias
            aliases.append(item)
        return seen(routes={"mine": accepted(self.route)}, services=self.services, slices=pools + aliases)

    def settle_endpoints(self) -> None:
        self.leads = {name: live["spec"]["selector"]["weir.dev/pool"] for name, live in self.services.items()}

    def step(self, wanted: list[Backend]) -> bool:
        writes = adapter_for(self.view).desired(self.view, wanted, self.seen())
        for write in writes:
            self.writes += 1
            if write.verb == "json_patch":
                self.route = apply_json_patch(self.route, write.body)
                self.route["metadata"]["resourceVersion"] += "1"
                self.route["metadata"]["generation"] += 1
            else:
                before = self.services.get(write.name)
                if before is not None and before["spec"]["selector"] != write.body["spec"]["selector"]:
                    assert self.weight(write.name) == 0, "an alias with weight was moved"
                self.services[write.name] = live_service(self.view, write.body)
        return bool(writes)

    def weight(self, alias: str) -> int:
        return max(
            backend.get("weight", 1)
            for rule in self.route["spec"]["rules"][1:3]
            for backend in rule["backendRefs"]
            if backend["name"] == alias
        )

    def reach(self, *shares: tuple[str, int]) -> dict[str, int]:
        for _ in range(12):
            progressed = self.step(backends(*shares))
            self.settle_endpoints()
            if not progressed:
                break
        else:
            raise AssertionError("never comes to rest")
        return dict(adapter_for(self.view).observe(self.view, self.seen()).weights)


def test_given_a_users_route_when_a_whole_release_runs_then_only_weights_move_and_foreign_bytes_stay() -> None:
    world = World(users_route())
    before = json.dumps([world.route["spec"]["rules"][0], world.route["spec"]["rules"][3]])
    shapes = json.dumps(world.route["spec"]["rules"][1]["timeouts"])
    assert world.reach((A, 100)) == {A: 100}
    assert world.reach((A, 100), (B, 0)) == {A: 100, B: 0}
    assert world.reach((A, 60), (B, 40)) == {A: 60, B: 40}
    assert world.reach((A, 0), (B, 100)) == {A: 0, B: 100}
    assert world.reach((B, 100)) == {B: 100}
    assert world.reach((B, 90), (C, 10)) == {B: 90, C: 10}
    assert world.reach((B, 100), (C, 0)) == {B: 100, C: 0}
    assert json.dumps([world.route["spec"]["rules"][0], world.route["spec"]["rules"][3]]) == before
    assert json.dumps(world.route["spec"]["rules"][1]["timeouts"]) == shapes
    world.writes = 0
    assert world.reach((B, 100), (C, 0)) == {B: 100, C: 0}
    assert world.writes == 0, "a converged route costs no write"


def test_given_an_alias_whose_endpoints_lag_when_weight_is_wanted_then_it_waits() -> None:
    world = World(users_route(100, 0))
    world.reach((A, 100))
    world.step(backends((A, 50), (B, 50)))
    assert world.services[CANDIDATE]["spec"]["selector"] == {"weir.dev/pool": B}
    assert world.step(backends((A, 50), (B, 50))) is False, "the endpoints behind the alias are still the old ones"
    assert not adapter_for(world.view).desired(world.view, backends((A, 50), (B, 50)), world.seen())
    world.settle_endpoints()
    assert world.step(backends((A, 50), (B, 50))) is True
    assert world.weight(CANDIDATE) == 50


def test_given_an_alias_with_weight_and_stale_endpoints_when_observed_then_it_is_not_accepted() -> None:
    world = World(users_route(100, 0))
    world.reach((A, 100))
    assert adapter_for(world.view).observe(world.view, world.seen()).accepted
    world.leads[STABLE] = B
    assert not adapter_for(world.view).observe(world.view, world.seen()).accepted


def test_given_rules_that_disagree_when_shares_are_set_then_they_agree_again() -> None:
    world = World(users_route(100, 0))
    world.reach((A, 100), (B, 0))
    world.route["spec"]["rules"][2]["backendRefs"] = [ref(CANDIDATE, 30), ref(STABLE, 70)]
    assert world.reach((A, 100), (B, 0)) == {A: 100, B: 0}
    assert world.weight(CANDIDATE) == 0


@given(st.integers(0, 100), st.sampled_from([None, 0, 1, 100]), st.sampled_from([None, 0, 1, 100]), st.booleans())
def test_given_any_weights_when_patched_then_every_write_is_guarded_by_version_and_name(
    wanted: int, stable: int | None, candidate: int | None, swap: bool
) -> None:
    view, route = by_route_ref(), users_route(stable, candidate)
    patch = weight_patch(view, route, (100 - wanted, wanted))
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "9"}
    for guard, write in zip(patch[1::2], patch[2::2], strict=True):
        assert (guard["op"], write["op"]) == ("test", "add")
        assert guard["path"].removesuffix("/name") == write["path"].removesuffix("/weight")
        assert guard["value"] in (STABLE, CANDIDATE)
    result = apply_json_patch(route, patch)
    for rule in result["spec"]["rules"][1:3]:
        weights = {backend["name"]: backend.get("weight", 1) for backend in rule["backendRefs"]}
        assert weights == {STABLE: 100 - wanted, CANDIDATE: wanted}
    for index in (0, 3):
        assert json.dumps(result["spec"]["rules"][index]) == json.dumps(route["spec"]["rules"][index])
    if swap and len(patch) > 1:
        route["spec"]["rules"][1]["backendRefs"].reverse()
        route["spec"]["rules"][2]["backendRefs"].reverse()
        with pytest.raises(AssertionError):
            apply_json_patch(route, patch)


pools = st.sampled_from([A, B, C])
goals = st.one_of(
    st.tuples(pools).map(lambda pool: [(pool[0], 100)]),
    st.tuples(pools, pools, st.integers(0, 100))
    .filter(lambda goal: goal[0] != goal[1])
    .map(lambda goal: [(goal[0], 100 - goal[2]), (goal[1], goal[2])]),
)
starts = st.builds(
    Aliases,
    st.one_of(st.none(), pools),
    st.one_of(st.none(), pools),
    st.sampled_from([0, 1, 50, 100]),
    st.sampled_from([0, 1, 50, 100]),
)


@settings(max_examples=400)
@given(starts, goals, st.lists(st.booleans(), max_size=8))
def test_given_any_aliases_when_stepped_then_the_goal_is_reached_and_no_alias_moves_under_traffic(
    now: Aliases, goal: list[tuple[str, int]], lags: list[bool]
) -> None:
    lag = list(lags)
    stale: set[Role] = {"stable", "candidate"}

    def settled(role: Role) -> bool:
        return role not in stale

    for _ in range(30):
        step = next_step(now, goal, settled)
        moved = dict(step.move)
        for role in moved:
            assert now.weight(role) == 0 or now.pool(role) is None
            stale.add(role)
        weights = step.weights or (now.stable_weight, now.candidate_weight)
        if step.weights is not None:
            grown: list[tuple[Role, int, int]] = [
                ("stable", now.stable_weight, weights[0]),
                ("candidate", now.candidate_weight, weights[1]),
            ]
            assert all(settled(role) for role, before, after in grown if after > before)
            assert sum(weights) == 100
        pair = (moved.get("stable", now.stable), moved.get("candidate", now.candidate))
        now = Aliases(pair[0], pair[1], *weights)
        if not (lag and lag.pop()):
            stale.clear()
    assert next_step(now, goal, lambda _role: True) == next_step(now, goal, settled)
    wanted = {pool: share for pool, share in goal if share}
    assert {pool: share for pool, share in now.shares().items() if share} == wanted


@pytest.mark.parametrize(
    "refs",
    [
        [ref(STABLE, 1), ref(CANDIDATE, 1), ref("third", 1)],
        [ref(CANDIDATE, 1)],
        [ref(STABLE, 1), ref("third", 1)],
        [ref(STABLE, 1)],
    ],
)
def test_given_rules_of_another_shape_when_planned_then_it_says_what_they_must_be(refs: list[dict[str, Any]]) -> None:
    view, route = by_route_ref(), blank_route()
    route["spec"]["rules"] = [{"backendRefs": refs}]
    adapter = adapter_for(view)
    problem = adapter.plan(view, seen(routes={"mine": route}))
    assert problem is not None
    assert problem.reason == "RouteShape"
    assert STABLE in problem.message
    assert adapter.desired(view, backends((A, 100)), seen(routes={"mine": route})) == ()
    assert adapter.observe(view, seen(routes={"mine": route})).problem == problem


def test_given_a_service_of_somebody_else_under_the_aliases_name_when_planned_then_it_is_left_alone() -> None:
    view = by_route_ref()
    objects = seen(routes={"mine": users_route()}, services={STABLE: owned("Service", STABLE, rollout("other"))})
    problem = adapter_for(view).plan(view, objects)
    assert problem is not None
    assert problem.reason == "ServiceClaimed"
    assert adapter_for(view).desired(view, backends((A, 100)), objects) == ()


def test_given_a_pool_that_the_user_runs_when_aliased_then_its_selector_is_copied() -> None:
    view = by_route_ref()
    external = {
        "metadata": {"name": "mine"},
        "spec": {"selector": {"app": "x"}, "ports": [{"port": 9, "targetPort": 99}]},
    }
    objects = seen(routes={"mine": users_route()}, services={"mine": external})
    writes = adapter_for(view).desired(view, [Backend("mine", 100, "v", 9, external=True)], objects)
    assert [write.body["spec"]["selector"] for write in writes] == [{"app": "x"}, {"app": "x"}]
    assert writes[0].body["spec"]["ports"][0]["targetPort"] == 99
