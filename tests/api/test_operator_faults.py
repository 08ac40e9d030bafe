"""Bad input and faults: each gets a condition that tells what is wrong, and goes by itself when it is put right."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devcluster.ports import free_ports
from tests.api.harness import gateway
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.case import CANARY, Case
from tests.api.harness.lab import SYSTEM, Lab
from tests.api.harness.process import Operator
from tests.api.harness.prometheus import Mode
from weir.runtime.resources import HTTP_ROUTES, LEASES, MODEL_VERSIONS, OPERATOR_LEASE, ROLLOUTS, KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


def make_route(case: Case, name: str) -> None:
    """A route as a user keeps it for Weir: without rules."""
    parents = [{"name": gateway.NAME, "namespace": gateway.NAMESPACE}]
    spec = {"parentRefs": parents, "hostnames": [f"{name}.{case.namespace}.test"]}
    case.lab.api.create(HTTP_ROUTES, {"metadata": {"name": name, "namespace": case.namespace}, "spec": spec})


# --- ModelVersions ---------------------------------------------------------------------------------------------------


def test_given_an_unknown_version_then_it_is_named_and_released_once_it_exists(lab: Lab) -> None:
    case = Case(lab)
    case.create("v9")

    ready = case.wait_reason("ModelVersionNotFound")

    assert "v9" in ready["message"]
    assert case.rollout()["status"].get("stable") is None
    case.version("v9")
    case.wait_ready()


def test_given_a_version_in_use_when_it_is_deleted_then_the_api_server_refuses(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    eventually(lambda: _served_by(lab, case, "v1") == [case.name], "v1 says who uses it")

    with pytest.raises(Failure, match=f"in use by Rollout {case.name}") as refused:
        lab.api.delete(MODEL_VERSIONS, case.namespace, "v1")

    assert refused.value.status == 403
    lab.api.delete(MODEL_VERSIONS, case.namespace, "v2")
    lab.api.delete(ROLLOUTS, case.namespace, case.name)
    eventually(lambda: not _served_by(lab, case, "v1"), "v1 is free again")
    lab.api.delete(MODEL_VERSIONS, case.namespace, "v1")


def _served_by(lab: Lab, case: Case, version: str) -> list[str]:
    status = lab.api.get(MODEL_VERSIONS, case.namespace, version).get("status") or {}
    return list(status.get("servedBy") or [])


# --- Routes and Gateways ---------------------------------------------------------------------------------------------


def test_given_a_route_that_is_missing_then_it_is_named_and_filled_once_it_exists(lab: Lab) -> None:
    case = Case(lab)
    case.version("v1")
    case.create(traffic={"gateway": {"routeRef": {"name": "kept"}}})

    assert "kept" in case.wait_reason("RouteNotFound")["message"]

    make_route(case, "kept")
    case.wait_ready()
    assert sum(lab.gateway.weights(case.namespace, "kept").values()) == 100


def test_given_a_route_that_the_gateway_refuses_then_its_words_are_told_until_it_accepts(lab: Lab) -> None:
    case = Case(lab)
    lab.gateway.refuse(case.namespace, case.name, "no listener allows this namespace")
    case.version("v1")
    case.create()

    case.wait(lambda s: "no listener allows this namespace" in str(s.get("conditions")), "the gateway's words")

    assert case.condition("Ready")["status"] == "False"
    lab.gateway.accept(case.namespace, case.name)
    case.wait_ready()


def test_given_a_route_that_another_rollout_fills_then_the_second_is_told_and_gets_it_when_it_is_free(
    lab: Lab,
) -> None:
    case = Case(lab)
    make_route(case, "shared")
    traffic = {"gateway": {"routeRef": {"name": "shared"}}}
    case.serve_first(traffic=traffic)
    second = Case(lab, case.namespace, "second")

    second.create(traffic=traffic)

    assert f"Rollout {case.name}" in second.wait_reason("RouteClaimed")["message"]
    before = lab.gateway.weights(case.namespace, "shared")
    assert {pool for pool, weight in before.items() if weight} == {case.status()["stable"]["pool"]}
    lab.api.delete(ROLLOUTS, case.namespace, case.name)
    second.wait_ready()


def test_given_a_route_of_that_name_that_belongs_to_somebody_else_then_it_stays_as_it_is(lab: Lab) -> None:
    case = Case(lab)
    make_route(case, case.name)
    before = lab.api.get(HTTP_ROUTES, case.namespace, case.name)["spec"]
    case.version("v1")
    case.create()

    assert "belongs to" in case.wait_reason("RouteClaimed")["message"]

    assert lab.api.get(HTTP_ROUTES, case.namespace, case.name)["spec"] == before
    lab.api.delete(HTTP_ROUTES, case.namespace, case.name)
    case.wait_ready()


def test_given_a_gateway_that_is_missing_then_it_is_named_and_used_once_it_exists(lab: Lab) -> None:
    case = Case(lab)
    case.version("v1")
    case.create(traffic={"gateway": {"parentRefs": [{"name": "later"}], "hostnames": ["later.test"]}})

    assert f"{case.namespace}/later" in case.wait_reason("GatewayNotFound")["message"]

    gateway.make_gateway(lab.api, case.namespace, "later")
    case.wait_ready()


def test_given_two_rollouts_for_one_endpoint_then_the_younger_is_told_and_the_older_goes_on(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    # Creation times have whole seconds, and equal ones are told apart by name.
    second = Case(lab, case.namespace, "younger")

    second.create(traffic=case.spec["traffic"])

    assert case.name in second.wait_reason("EndpointClaimed")["message"]
    case.release("v2")
    case.wait_ready()
    assert lab.api.find(HTTP_ROUTES, case.namespace, "younger") is None


def test_given_another_writer_that_keeps_changing_the_rules_then_the_fight_is_named_and_stopped(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first()
    over = threading.Event()
    fighter = threading.Thread(target=_fight, args=(case, over), daemon=True)
    fighter.start()
    try:
        ready = case.wait_reason("RouteConflict")
        assert "rival" in ready["message"]
        writes = _route_writes(lab, case)
        time.sleep(2.0)  # Nothing may happen in this time: there is no condition to wait for.
        assert _route_writes(lab, case) == writes
    finally:
        over.set()
        fighter.join(5)


def _fight(case: Case, over: threading.Event) -> None:
    """Puts rules of its own into the route as soon as they are others."""
    api = Api(case.lab.server.kubeconfig)
    rule = {"backendRefs": [{"name": "legacy", "port": 80, "weight": 1}]}
    while not over.is_set():
        route = case.lab.gateway.routes.get(case.namespace, case.name) or {"spec": {"rules": []}}
        if gateway.weights(route) != {"legacy": 1}:
            body = {"spec": {"rules": [rule]}}
            path = HTTP_ROUTES.path(case.namespace, case.name)
            api.call("PATCH", path, body, "application/merge-patch+json", fieldManager="rival")
        over.wait(0.05)


def _route_writes(lab: Lab, case: Case) -> int:
    return sum(
        1
        for entry in lab.audit()
        if entry["objectRef"]["resource"] == "httproutes"
        and entry["objectRef"].get("namespace") == case.namespace
        and entry["verb"] not in ("get", "list")
    )


# --- Pods ------------------------------------------------------------------------------------------------------------


def test_given_a_pod_template_that_the_api_server_refuses_then_the_field_is_named_until_it_is_mended(lab: Lab) -> None:
    case = Case(lab)
    case.version("v1")
    case.create_broken()

    ready = case.wait_reason("DeploymentRejected")

    assert "limits[cpu]" in ready["message"]
    case.mend()
    case.wait_ready()


def test_given_a_quota_that_stops_the_candidates_pods_then_it_is_named_and_nothing_moves_until_there_is_room(
    lab: Lab,
) -> None:
    case = Case(lab)
    case.serve_first()
    quota = {"metadata": {"name": "pods", "namespace": case.namespace}, "spec": {"hard": {"pods": "2"}}}
    path = f"/api/v1/namespaces/{case.namespace}/resourcequotas"
    lab.api.call("POST", path, quota)
    eventually(lambda: lab.api.call("GET", f"{path}/pods").get("status", {}).get("used"), "the quota is counted")

    case.release("v2")

    case.wait(lambda s: "exceeded quota" in s.get("message", ""), "the quota is named")
    assert case.status()["weight"] == 0
    lab.api.call("DELETE", f"{path}/pods")
    case.patch(progressDeadline="3m")
    case.wait_ready(within=60)


# --- Prometheus ------------------------------------------------------------------------------------------------------

_PROMETHEUS_FAULTS: dict[str, tuple[Mode | None, str]] = {
    "refused": (None, "cannot be reached"),
    "wrong-url": ("missing", "HTTP 404"),
    "html": ("html", "HTML page"),
    "slow": ("slow", "did not answer within"),
    "nan": ("nan", "nan"),
    "several": ("several", "several"),
}


@pytest.fixture(scope="module")
def blind(lab: Lab) -> dict[str, Case]:
    """Releases of v2 whose Prometheus fails in each way from the start, all under way at once."""

    def start(fault: str) -> Case:
        mode, _ = _PROMETHEUS_FAULTS[fault]
        case = Case(lab)
        address = f"http://127.0.0.1:{free_ports(1)[0]}" if mode is None else f"fault-{fault}"
        if mode is not None:
            lab.prometheus.modes[address] = mode
        case.serve_first(metrics=case.metrics(address))
        case.release("v2")
        return case

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(_PROMETHEUS_FAULTS, pool.map(start, _PROMETHEUS_FAULTS), strict=True))


@pytest.mark.parametrize("fault", _PROMETHEUS_FAULTS)
def test_given_a_prometheus_that_fails_then_the_release_holds_and_says_why_and_goes_on_when_it_is_back(
    lab: Lab, blind: dict[str, Case], fault: str
) -> None:
    case, (_, words) = blind[fault], _PROMETHEUS_FAULTS[fault]

    case.wait(lambda s: words in _said(s), f"{words!r} is told")

    status = case.status()
    assert status["weight"] == 20
    assert "Pass" not in {gate["verdict"] for gate in status["gates"]}
    _mend(lab, case, fault)
    case.wait_ready()
    passed = [e for e in case.records()[-1]["spec"]["decisions"] if e["reason"] == "StageEntered"]
    assert passed


@pytest.mark.parametrize("fault", ["html", "nan"])
def test_given_a_prometheus_that_fails_during_a_stage_then_the_verdict_is_an_error_and_nothing_advances(
    lab: Lab, fault: str
) -> None:
    mode, words = _PROMETHEUS_FAULTS[fault]
    assert mode is not None
    case = Case(lab)
    address = f"late-{fault}"
    slow = {"canary": {"steps": [{"weight": 20, "minDuration": "6s"}], "bake": "1s"}}
    case.serve_first(metrics=case.metrics(address), strategy=slow)
    case.release("v2")
    case.wait(lambda s: s.get("weight") == 20, "the first step")
    # Four seconds' worth of answers: the share was seen, and the gate has begun to look.
    enough = lab.prometheus.asked.get(address, 0) + 16
    eventually(lambda: lab.prometheus.asked.get(address, 0) >= enough, "Prometheus is asked")

    lab.prometheus.modes[address] = mode

    case.wait(lambda s: s["gates"] and s["gates"][0]["verdict"] == "Error", "the verdict is Error")
    gate = case.status()["gates"][0]
    assert words.lower() in gate["message"].lower()
    assert case.status()["weight"] == 20
    lab.prometheus.modes[address] = "ok"
    case.wait_ready()


def _mend(lab: Lab, case: Case, fault: str) -> None:
    if _PROMETHEUS_FAULTS[fault][0] is None:
        case.patch(metrics=case.metrics("main"))
    else:
        lab.prometheus.modes[f"fault-{fault}"] = "ok"


def _said(status: KubeObject) -> str:
    gates: list[Any] = status.get("gates") or []
    return " ".join([status.get("message", ""), *(gate.get("message", "") for gate in gates)])


# --- The API server --------------------------------------------------------------------------------------------------


def test_given_an_api_server_that_is_down_for_ten_seconds_then_the_release_goes_on_where_it_was(
    lab: Lab, operator: Operator
) -> None:
    case = Case(lab)
    steps = [{"weight": weight, "minDuration": "1s"} for weight in (20, 50)]
    case.serve_first(strategy={"canary": {**CANARY["canary"], "steps": steps}})
    case.release("v2")
    case.wait(lambda s: s.get("weight") == 20, "the first step")

    def renewed() -> str:
        return str(lab.api.get(LEASES, SYSTEM, OPERATOR_LEASE)["spec"]["renewTime"])

    lab.server.stop_apiserver()
    time.sleep(10)  # The fault itself: nothing can be observed while the server is down.
    lab.server.start_apiserver()
    # A leader that cannot renew its Lease for ten seconds ends, and its kubelet starts it again.
    before = renewed()
    eventually(lambda: not operator.running or renewed() > before, "the operator leads again, or has ended", within=30)
    again = operator if operator.running else lab.operator()

    try:
        case.wait_ready(within=60)
        eventually(lambda: len(case.records()) == 2, "the record of release 2")
    finally:
        again.stop()
    seen = [r["status"] for r in lab.history.of(case.namespace, case.name) if r.get("status")]
    weights = [status["weight"] for status in seen if status["release"] == 2 and status.get("candidate")]
    assert weights == sorted(weights)
    stages = [e["stage"] for e in case.records()[1]["spec"]["decisions"] if e["reason"] == "StageEntered"]
    assert stages == ["Traffic(20)", "Traffic(50)", "Bake"]
