import copy
from typing import Any

import pytest

from tests.unit.traffic.builders import (
    HEADERS,
    A,
    B,
    accepted,
    backends,
    blank_route,
    by_route_ref,
    gateway,
    gateway_class,
    only,
    seen,
    stored,
)
from tests.unit.workload.builders import owned, rollout
from weir.release.observation import Problem
from weir.traffic.adapter import Adapter, adapter_for, backend_port

SHARES = backends((A, 75), (B, 25))


def header(label: str) -> list[dict[str, Any]]:
    modifier = {"set": [{"name": "x-weir-version", "value": label}]}
    return [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]


def problem_of(adapter: Adapter, view: Any, objects: Any) -> Problem:
    problem = adapter.plan(view, objects)
    assert problem is not None
    assert adapter.observe(view, objects).problem == problem
    return problem


def test_given_no_route_when_shares_are_wanted_then_the_whole_route_is_exactly_this() -> None:
    view = rollout()
    write = only(adapter_for(view).desired(view, SHARES, seen()))
    assert (write.verb, write.manager, write.name) == ("apply", "weir-traffic", "digits")
    backend = {"group": "", "kind": "Service", "port": 80}
    assert write.body == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "digits",
            "namespace": "ml",
            "labels": {
                "app.kubernetes.io/managed-by": "weir",
                "app.kubernetes.io/part-of": "digits",
                "weir.dev/rollout": "digits",
            },
            "ownerReferences": [
                {
                    "apiVersion": "weir.dev/v1alpha1",
                    "kind": "Rollout",
                    "name": "digits",
                    "uid": "uid-digits",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "parentRefs": [{"name": "web", "namespace": "infra"}],
            "hostnames": ["digits.example"],
            "rules": [
                {
                    "backendRefs": [
                        {**backend, "name": A, "weight": 75, "filters": header("v-a")},
                        {**backend, "name": B, "weight": 25, "filters": header("v-b")},
                    ]
                }
            ],
        },
    }


def test_given_the_route_as_stored_when_shares_are_the_same_then_nothing_is_written() -> None:
    matches = [{"headers": [{"name": "x-team", "value": "ml"}]}, {"path": {"value": "/v2"}}]
    traffic = {"gateway": {"parentRefs": [{"name": "web", "namespace": "infra"}], "matches": matches}}
    view = rollout(traffic=traffic)
    adapter = adapter_for(view)
    live = stored(only(adapter.desired(view, SHARES, seen())).body)
    live["spec"]["rules"][0]["matches"][1]["path"]["type"] = "PathPrefix"
    assert adapter.desired(view, SHARES, seen(routes={"digits": live})) == ()
    assert only(adapter.desired(view, backends((A, 50), (B, 50)), seen(routes={"digits": live})))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(hostnames=["other.example"]),
        lambda spec: spec["parentRefs"].pop(),
        lambda spec: spec["rules"].append(copy.deepcopy(spec["rules"][0])),
        lambda spec: spec["rules"][0]["backendRefs"].reverse(),
        lambda spec: spec["rules"][0]["backendRefs"][0].pop("filters"),
        lambda spec: spec["rules"][0].update(timeouts={"request": "1s"}),
    ],
)
def test_given_somebody_changed_the_owned_route_when_compared_then_it_is_put_back(change: Any) -> None:
    view = rollout()
    adapter = adapter_for(view)
    live = stored(only(adapter.desired(view, SHARES, seen())).body)
    change(live["spec"])
    assert only(adapter.desired(view, SHARES, seen(routes={"digits": live})))


@pytest.mark.parametrize("features", [[HEADERS], [{"name": HEADERS}]])
def test_given_either_form_of_features_when_headers_are_possible_then_they_are_set(features: list[Any]) -> None:
    view = rollout()
    objects = seen(gateway_classes={"traefik": gateway_class(*features)})
    assert (
        "filters" in only(adapter_for(view).desired(view, SHARES, objects)).body["spec"]["rules"][0]["backendRefs"][0]
    )


def test_given_a_gateway_without_header_filters_when_shares_are_wanted_then_none_are_tried() -> None:
    view = rollout()
    objects = seen(gateway_classes={"traefik": gateway_class()})
    rule = only(adapter_for(view).desired(view, SHARES, objects)).body["spec"]["rules"][0]
    assert all("filters" not in backend for backend in rule["backendRefs"])


def test_given_matches_beyond_the_gateway_when_planned_then_they_are_refused_before_any_write() -> None:
    traffic = {"gateway": {"parentRefs": [{"name": "web", "namespace": "infra"}], "matches": [{"method": "POST"}]}}
    view = rollout(traffic=traffic)
    problem = problem_of(adapter_for(view), view, seen())
    assert (problem.reason, problem.terminal) == ("FeatureNotSupported", True)
    assert "HTTPRouteMethodMatching" in problem.message
    assert adapter_for(view).desired(view, SHARES, seen()) == ()
    able = seen(gateway_classes={"traefik": gateway_class("HTTPRouteMethodMatching")})
    assert adapter_for(view).plan(view, able) is None


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        (seen(gateways={}), "GatewayNotFound"),
        (seen(gateways={("infra", "web"): gateway(programmed="False")}), "GatewayNotProgrammed"),
        (seen(gateways={("infra", "web"): gateway(programmed=None)}), "GatewayNotProgrammed"),
        (seen(gateway_api=False), "GatewayAPIMissing"),
        (seen(routes={"digits": owned("HTTPRoute", "digits", rollout("other"), spec={})}), "RouteClaimed"),
        (seen(routes={"digits": {"metadata": {"name": "digits"}, "spec": {}}}), "RouteClaimed"),
    ],
)
def test_given_something_in_the_way_when_planned_then_it_is_named(objects: Any, reason: str) -> None:
    view = rollout()
    assert problem_of(adapter_for(view), view, objects).reason == reason
    if reason in ("RouteClaimed", "GatewayAPIMissing"):
        assert adapter_for(view).desired(view, SHARES, objects) == ()


def test_given_an_accepted_route_when_observed_then_weights_are_what_is_written() -> None:
    view = rollout()
    adapter = adapter_for(view)
    live = stored(only(adapter.desired(view, SHARES, seen())).body, generation=3)
    found = adapter.observe(view, seen(routes={"digits": accepted(live)}))
    assert (dict(found.weights), found.accepted, found.granularity, found.problem) == ({A: 75, B: 25}, True, 1, None)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (lambda route: route, False),
        (lambda route: accepted(route, generation=2), False),
        (lambda route: accepted(route, generation=2, Accepted="False"), False),
        (lambda route: accepted(route, Accepted="False"), True),
        (lambda route: accepted(route, ResolvedRefs="False"), True),
        (lambda route: accepted(route, PartiallyInvalid="True"), True),
        (lambda route: accepted(route, Accepted="Unknown"), False),
    ],
)
def test_given_a_route_that_was_not_taken_when_observed_then_it_is_not_accepted(status: Any, problem: bool) -> None:
    view = rollout()
    live = status(stored(only(adapter_for(view).desired(view, SHARES, seen())).body, generation=3))
    found = adapter_for(view).observe(view, seen(routes={"digits": live}))
    assert not found.accepted
    assert (found.problem.reason if found.problem else None) == ("RouteNotAccepted" if problem else None)
    assert dict(found.weights) == {A: 75, B: 25}


def test_given_two_parents_when_only_one_took_the_route_then_it_is_not_accepted() -> None:
    parents = [{"name": "web", "namespace": "infra"}, {"name": "web", "namespace": "infra", "sectionName": "https"}]
    view = rollout(traffic={"gateway": {"parentRefs": parents}})
    live = accepted(stored(only(adapter_for(view).desired(view, SHARES, seen())).body))
    assert adapter_for(view).observe(view, seen(routes={"digits": live})).accepted
    live["status"]["parents"].pop()
    assert not adapter_for(view).observe(view, seen(routes={"digits": live})).accepted


def test_given_a_route_without_rules_when_filled_then_only_rules_and_claim_are_stated() -> None:
    view = by_route_ref()
    write = only(adapter_for(view).desired(view, SHARES, seen(routes={"mine": blank_route()})))
    assert set(write.body["spec"]) == {"rules"}
    assert write.body["metadata"] == {
        "name": "mine",
        "namespace": "ml",
        "annotations": {"weir.dev/rollout": "digits"},
        "resourceVersion": "9",
    }
    live = blank_route(annotations={"weir.dev/rollout": "digits", "theirs": "x"})
    live["spec"]["rules"] = stored(write.body)["spec"]["rules"]
    objects = seen(routes={"mine": accepted(live)})
    assert adapter_for(view).desired(view, SHARES, objects) == ()
    assert dict(adapter_for(view).observe(view, objects).weights) == {A: 75, B: 25}
    changed = only(adapter_for(view).desired(view, backends((A, 50), (B, 50)), objects))
    assert "resourceVersion" not in changed.body["metadata"], "a claimed route is applied whatever else changed"


def test_given_a_blank_route_when_observed_then_nothing_is_routed() -> None:
    view = by_route_ref()
    found = adapter_for(view).observe(view, seen(routes={"mine": accepted(blank_route())}))
    assert (dict(found.weights), found.accepted, found.problem) == ({}, False, None)


@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        ({}, "RouteNotFound"),
        ({"mine": blank_route(annotations={"weir.dev/rollout": "other"})}, "RouteClaimed"),
        ({"mine": {**blank_route(), "spec": {"rules": [{"backendRefs": [{"name": "x"}]}]}}}, "RouteHasRules"),
    ],
)
def test_given_a_route_that_is_not_weirs_to_fill_when_planned_then_it_says_so_and_writes_nothing(
    routes, reason
) -> None:
    view = by_route_ref()
    assert problem_of(adapter_for(view), view, seen(routes=routes)).reason == reason
    assert adapter_for(view).desired(view, SHARES, seen(routes=routes)) == ()


def test_given_a_filled_route_when_the_rollout_goes_then_rules_and_claim_are_given_back() -> None:
    view = by_route_ref()
    mine = blank_route(annotations={"weir.dev/rollout": "digits"})
    write = only(adapter_for(view).restore(view, seen(routes={"mine": mine})))
    assert set(write.body) == {"apiVersion", "kind", "metadata"}
    assert write.body["metadata"] == {"name": "mine", "namespace": "ml"}
    assert adapter_for(view).restore(view, seen(routes={"mine": blank_route()})) == ()
    assert adapter_for(rollout()).restore(rollout(), seen()) == ()


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        ([], 8080),
        ([{"port": 1}], 1),
        ([{"port": 1}, {"port": 8080}], 8080),
        ([{"port": 8080, "name": "grpc"}, {"port": 9, "name": "http"}], 9),
    ],
)
def test_given_a_service_of_the_users_when_a_port_is_needed_then_the_likeliest_is_taken(ports: Any, port: int) -> None:
    assert backend_port({"spec": {"ports": ports}}, 8080) == port
    assert backend_port(None, 8080) == 8080
