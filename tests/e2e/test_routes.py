"""Other ways to shift: a route that the user keeps, with and without rules, and a plain Service without a gateway."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from testbed import digits
from testbed.cluster import wait_for
from testbed.scenario import CANARY_STEPS, Release, Space, Spaces, through

ROUTE = "front"
BY_POD = {"canary": {"steps": [{"weight": 33, "minDuration": "3s"}, {"weight": 50, "minDuration": "3s"}], "bake": "3s"}}


def user_route(space: Space, rules: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """An HTTPRoute as a user's chart has it."""
    spec: dict[str, Any] = {"parentRefs": [digits.GATEWAY], "hostnames": [space.host, f"also.{space.host}"]}
    if rules is not None:
        spec["rules"] = rules
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": space.name, "labels": {"team": "vision"}},
        "spec": spec,
    }


def adopted_rules() -> list[dict[str, Any]]:
    """A rule with weights for Weir to move, and one that is none of its business."""
    aliases = [
        {"name": "digits-stable", "port": 80, "weight": 100},
        {"name": "digits-candidate", "port": 80, "weight": 0},
    ]
    foreign = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/load"}, "headers": [{"name": "x-team", "value": "a"}]}],
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}
        ],
        "backendRefs": [{"name": digits.LOAD, "port": 8081, "weight": 7}],
    }
    return [{"matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}], "backendRefs": aliases}, foreign]


@pytest.fixture(scope="module")
def releases(spaces: Spaces) -> dict[str, Release]:
    """A good version released in each of the three ways at once, under live traffic."""
    by_route = {"traffic": {"gateway": {"routeRef": {"name": ROUTE}}}}
    found = {
        "filled": spaces("filled", **by_route),
        "adopted": spaces("adopted", **by_route),
        "service": spaces("service", traffic={"service": {}}, strategy=BY_POD),
    }
    for kind, space in found.items():
        for label in ("v1", "v2"):
            space.version(label)
        space.traffic(25, url=f"http://digits.{space.name}" if kind == "service" else digits.GATEWAY_URL)
    found["filled"].cluster.apply(user_route(found["filled"]), user_route(found["adopted"], adopted_rules()))
    before = {kind: space.release("v1") for kind, space in found.items()}
    for kind, space in found.items():
        before[kind].promoted()
        space.used()
    # Released together, so that the machine's two cores wait for all of them at once.
    for space in found.values():
        space.reset()
    return {kind: space.release("v2") for kind, space in found.items()}


def test_given_a_route_without_rules_when_released_then_weir_fills_it_and_hostnames_stay(
    releases: dict[str, Release],
) -> None:
    release = releases["filled"]
    space = release.space

    release.promoted()

    assert release.weights() == [0, 20, 50, 100]
    assert release.steps() == CANARY_STEPS
    route = space.route(ROUTE) or {}
    assert route["spec"]["hostnames"] == [space.host, f"also.{space.host}"]
    assert route["metadata"]["labels"] == {"team": "vision"}
    users = space.users()
    assert users.failed == 0, users
    assert users.of("v2").answered > 0
    # The user's chart applies its own part again: nothing of Weir's moves, and nothing conflicts.
    generation = route["metadata"]["generation"]
    space.cluster.apply_again(user_route(space))
    assert (space.route(ROUTE) or {})["metadata"]["generation"] == generation


def test_given_a_route_with_rules_when_released_then_only_two_weights_move(releases: dict[str, Release]) -> None:
    release = releases["adopted"]
    space = release.space

    release.promoted()

    assert release.weights() == [0, 20, 50, 100]

    def rested() -> dict[str, Any] | None:
        route = space.route(ROUTE) or {}
        weights = [backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]]
        return route if sorted(weights) == [0, 100] else None

    route = wait_for("the route at rest", rested)
    mine, foreign = route["spec"]["rules"]
    wanted_mine, wanted_foreign = _defaulted(adopted_rules())
    assert foreign == wanted_foreign
    without = [{key: value for key, value in backend.items() if key != "weight"} for backend in mine["backendRefs"]]
    assert without == [{k: v for k, v in backend.items() if k != "weight"} for backend in wanted_mine["backendRefs"]]
    assert mine["matches"] == wanted_mine["matches"]
    users = space.users()
    assert users.failed == 0, users
    assert users.of("v2").answered > 0


def _defaulted(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules as the API server stores them."""
    rules = copy.deepcopy(rules)
    for rule in rules:
        for backend in rule["backendRefs"]:
            backend.update({"group": "", "kind": "Service"})
        for match in rule["matches"]:
            for header in match.get("headers", []):
                header.setdefault("type", "Exact")
    return rules


def test_given_no_gateway_when_released_then_shares_follow_the_number_of_pods(releases: dict[str, Release]) -> None:
    release = releases["service"]
    space = release.space

    release.promoted()

    assert release.weights() == [0, 33, 50, 100]
    assert release.steps() == through("Traffic(33)", "Traffic(50)", "Bake")
    told = {look.status.get("granularity") for look in release.looks() if look.stage == "Traffic(33)"}
    assert "34 %" in told, told
    users = space.users()
    assert users.failed == 0, users
    assert users.of("v2").answered > 0


def test_given_a_filled_route_when_the_rollout_is_deleted_then_the_route_stays_without_its_rules(
    releases: dict[str, Release],
) -> None:
    release = releases["filled"]
    space = release.space
    release.promoted()

    space.cluster.kubectl("delete", "rollouts.weir.dev/digits", "-n", space.name, "--timeout=60s", timeout=70)

    spec = (space.route(ROUTE) or {})["spec"]
    assert spec["hostnames"] == [space.host, f"also.{space.host}"]
    assert not [backend for rule in spec.get("rules") or [] for backend in rule.get("backendRefs") or []]
