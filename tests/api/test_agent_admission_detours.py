"""Ways around the policies that an agent may try who was given every right: subresources, templates, names, odd bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.harness.api import Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.permits import Permits
from weir.api.agentpolicy import ANSWERS_LABEL
from weir.runtime.resources import ACTION_REQUESTS, HTTP_ROUTES
from weir.workload.identity import derived_name, pool_name

pytestmark = pytest.mark.api

Spec = dict[str, Any]

OURS: Spec = {"labels": {"weir.dev/rollout": "digits"}}
MERGE = "application/merge-patch+json"
CONTAINERS: Spec = {"containers": [{"name": "model", "image": "registry.example/model:1"}], "restartPolicy": "Never"}
APPS, BATCH, CORE = "/apis/apps/v1", "/apis/batch/v1", "/api/v1"


def pods(meta: Spec, restart: str = "Always") -> Spec:
    """A template for pods that has, beside a label of its own, this metadata."""
    labels = {"app": "x", **meta.get("labels", {})}
    return {"metadata": {**meta, "labels": labels}, "spec": {**CONTAINERS, "restartPolicy": restart}}


def workload(template: Spec) -> Spec:
    """A Deployment, or something of its like."""
    return {"selector": {"matchLabels": {"app": "x"}}, "template": template}


@pytest.fixture(scope="module")
def desk(lab: Lab) -> Permits:
    """A namespace with an AgentPolicy whose agent `tuner` somebody carelessly gave every right, and with objects of
    Weir's."""
    made = Permits(lab)
    made.govern()
    made.grant(made.account, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "promote")
    for group, plural, spec in (
        (APPS, "deployments", {"replicas": 0, **workload(pods({}))}),
        (CORE, "services", {"selector": {"app": "x"}, "ports": [{"port": 80}]}),
        (CORE, "pods", CONTAINERS),
        (BATCH, "jobs", {"suspend": True, "template": pods({}, "Never")}),
    ):
        body = {"metadata": {"name": "weirs", **OURS}, "spec": spec}
        lab.api.call("POST", f"{group}/namespaces/{made.namespace}/{plural}", body)
    return made


def tried(desk: Permits, verb: str, group: str, path: str, body: Any = None, content: str = "application/json") -> None:
    """A write of the agent's without effect; raises Failure."""
    desk.tuner.call(verb, f"{group}/namespaces/{desk.namespace}/{path}", body, content, dryRun="All")


# --- what Weir made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "path"),
    [(CORE, "services/weirs"), (CORE, "pods/weirs"), (BATCH, "jobs/weirs"), (APPS, "deployments/weirs")],
    ids=lambda text: text.rpartition("/")[0],
)
def test_given_every_right_when_an_agent_writes_the_status_of_what_weir_made_then_it_is_refused(
    desk: Permits, group: str, path: str
) -> None:
    # By way of status labels can go, or come, and a Deployment can look ready.
    for change in ({"metadata": {"labels": {"weir.dev/rollout": None}}}, {"status": {"observedGeneration": 9}}):
        with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
            tried(desk, "PATCH", group, f"{path}/status", change, MERGE)


def test_given_a_pod_of_its_own_when_an_agent_labels_it_as_weirs_by_its_status_then_it_is_refused(
    desk: Permits,
) -> None:
    path = f"{CORE}/namespaces/{desk.namespace}/pods"
    desk.tuner.call("POST", path, {"metadata": {"name": "own"}, "spec": CONTAINERS})
    with refused(403, "PermitNeeded: "):
        tried(desk, "PATCH", CORE, "pods/own/status", {"metadata": OURS}, MERGE)
    tried(desk, "PATCH", CORE, "pods/own/status", {"metadata": {"labels": {"team": "x"}}}, MERGE)


def test_given_every_right_when_an_agent_evicts_a_pod_then_it_is_refused(desk: Permits) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "weirs"}}
    with refused(403, "PermitNeeded: "):
        tried(desk, "POST", CORE, "pods/weirs/eviction", eviction)


# A policy that meets more labels than CEL can look through fails, and is ignored for these kinds.
MARKED: dict[str, Spec] = {
    "a label": OURS,
    "an annotation": {"annotations": {"weir.dev/digest": "x"}},
    "more labels than anybody has": {"labels": {f"l{number}": "" for number in range(1001)}},
}


@pytest.mark.parametrize("mark", MARKED)
@pytest.mark.parametrize(
    "kind",
    ["deployments", "replicasets", "daemonsets", "statefulsets", "jobs", "cronjobs", "replicationcontrollers"],
)
def test_given_every_right_when_an_agent_has_pods_made_with_weirs_labels_then_it_is_refused(
    desk: Permits, kind: str, mark: str
) -> None:
    def made(meta: Spec) -> Spec:
        if kind == "jobs":
            return {"suspend": True, "template": pods(meta, "Never")}
        if kind == "cronjobs":
            return {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": pods(meta, "Never")}}}
        if kind == "replicationcontrollers":
            return {"selector": {"app": "x"}, "template": pods(meta)}
        return workload(pods(meta)) | ({"serviceName": "x"} if kind == "statefulsets" else {})

    group = {"jobs": BATCH, "cronjobs": BATCH, "replicationcontrollers": CORE}.get(kind, APPS)
    with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
        tried(desk, "POST", group, kind, {"metadata": {"name": "own"}, "spec": made(MARKED[mark])})
    tried(desk, "POST", group, kind, {"metadata": {"name": "own"}, "spec": made({})})


def test_given_every_right_when_an_agent_adds_an_address_to_a_service_then_it_is_refused(desk: Permits) -> None:
    slice_: Spec = {
        "metadata": {"name": "more", "labels": {"kubernetes.io/service-name": "weirs"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 80}],
    }
    with refused(403, "PermitNeeded: "):
        tried(desk, "POST", "/apis/discovery.k8s.io/v1", "endpointslices", slice_)


def test_given_every_right_when_an_agent_deletes_all_that_there_is_then_it_is_refused(desk: Permits) -> None:
    for group, plural in ((APPS, "deployments"), (CORE, "pods"), (BATCH, "jobs")):
        with refused(403, "PermitNeeded: "):
            tried(desk, "DELETE", group, plural)


def test_given_another_version_of_the_group_when_an_agent_writes_a_route_then_it_is_refused_all_the_same(
    lab: Lab, desk: Permits
) -> None:
    body: Spec = {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {"name": "weirs", "namespace": desk.namespace, **OURS},
        "spec": {"parentRefs": [{"name": "web"}]},
    }
    lab.api.create(HTTP_ROUTES, body)
    group = f"/apis/{HTTP_ROUTES.group}/v1beta1"
    assert lab.api.call("GET", f"{group}/namespaces/{desk.namespace}/httproutes/weirs")
    with refused(403, "PermitNeeded: "):
        tried(desk, "PATCH", group, "httproutes/weirs", {"spec": {"hostnames": ["x.example"]}}, MERGE)


def test_given_every_right_when_an_agent_connects_to_a_pod_or_service_then_it_is_refused(desk: Permits) -> None:
    connections = (
        ("POST", "pods/weirs/exec?command=ls"),
        ("GET", "pods/weirs/exec?command=ls"),
        ("POST", "pods/weirs/attach"),
        ("POST", "pods/weirs/portforward?ports=80"),
        ("GET", "pods/weirs/proxy/"),
        ("GET", "services/weirs/proxy/"),
    )
    for verb, path in connections:
        with refused(403, "PermitNeeded: ", "does not connect to its pods and Services by way of the API server"):
            desk.tuner.call(verb, f"{CORE}/namespaces/{desk.namespace}/{path}")
    bob = desk.grant("bob", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "promote")
    with pytest.raises(Failure) as told:  # the pod runs on paper
        bob.call("POST", f"{CORE}/namespaces/{desk.namespace}/pods/weirs/exec?command=ls")
    assert told.value.status != 403


def routed(*backends: str) -> Spec:
    """Rules of an HTTPRoute that lead to these Services, the first of which gets all traffic."""
    refs = [{"name": name, "port": 80, "weight": 0 if number else 100} for number, name in enumerate(backends)]
    return {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": refs}]}


def scaling(name: str) -> Spec:
    """A HorizontalPodAutoscaler of that Deployment."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2}


POOL = pool_name("digits", "sha256:1")
NAMED: dict[str, tuple[str, str, Spec, Spec, Spec]] = {
    "a route whose weights Weir moves": (
        f"/apis/{HTTP_ROUTES.group}/v1",
        "httproutes",
        routed("digits-stable", "digits-candidate"),
        routed("digits-candidate", "digits-stable"),
        routed("web", "web-2"),
    ),
    "one rule of several": (
        f"/apis/{HTTP_ROUTES.group}/v1",
        "httproutes",
        {"rules": [{}, *routed(derived_name("x" * 90, "stable"))["rules"]]},
        routed("web", "digits-stable"),
        routed("stable"),
    ),
    "an autoscaler of Weir's Deployment": (
        "/apis/autoscaling/v2",
        "horizontalpodautoscalers",
        scaling(POOL),
        {**scaling(POOL), "maxReplicas": 9},
        scaling("web"),
    ),
    "an autoscaler by another version": (
        "/apis/autoscaling/v1",
        "horizontalpodautoscalers",
        scaling(POOL),
        scaling(f"{POOL}-7b9c6d5f4x"),
        scaling("web"),
    ),
}


@pytest.mark.parametrize("what", NAMED)
def test_given_every_right_when_an_agent_writes_what_names_what_weir_made_then_it_is_refused(
    lab: Lab, desk: Permits, what: str
) -> None:
    group, plural, weirs, change, own = NAMED[what]
    kind = "HTTPRoute" if plural == "httproutes" else "HorizontalPodAutoscaler"
    name = f"named-{list(NAMED).index(what)}"

    def body(name: str, spec: Spec) -> Spec:
        about = {"apiVersion": group.removeprefix("/apis/"), "kind": kind, "metadata": {"name": name}}
        return {**about, "spec": spec}

    path = f"{group}/namespaces/{desk.namespace}/{plural}"
    for made, spec in ((name, weirs), (f"{name}-own", own)):
        lab.api.call("POST", path, body(made, spec))
    for verb, where, sent in (
        ("POST", plural, body("more", weirs)),
        ("PATCH", f"{plural}/{name}", {"spec": change}),
        ("PATCH", f"{plural}/{name}", {"spec": own}),
        ("DELETE", f"{plural}/{name}", None),
        ("PATCH", f"{plural}/{name}-own", {"spec": change}),
    ):
        content = MERGE if verb == "PATCH" else "application/json"
        with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
            tried(desk, verb, group, where, sent, content)
    tried(desk, "POST", group, plural, body("more", own))
    tried(desk, "PATCH", group, f"{plural}/{name}-own", {"metadata": {"labels": {"team": "x"}}}, MERGE)
    tried(desk, "DELETE", group, f"{plural}/{name}-own")


@pytest.mark.parametrize("way", ["status", "finalize"])
def test_given_every_right_when_an_agent_takes_the_kill_switch_away_by_a_subresource_then_it_is_refused(
    lab: Lab, way: str
) -> None:
    room = Permits(lab)
    room.govern()
    rights = [{"apiGroups": [""], "resources": ["namespaces", f"namespaces/{way}"], "verbs": ["get", "update"]}]
    room.grant(room.account, rights, "list")
    path = f"/api/v1/namespaces/{room.namespace}"
    eventually(lambda: _reads(room, path), "own role")
    lab.api.call("PATCH", path, {"metadata": {"labels": {"weir.dev/agents": "paused"}}}, MERGE)
    body = lab.api.call("GET", path)
    del body["metadata"]["labels"]["weir.dev/agents"]
    with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
        room.tuner.call("PUT", f"{path}/{way}", body)
    assert lab.api.call("GET", path)["metadata"]["labels"]["weir.dev/agents"] == "paused"


def _reads(room: Permits, path: str) -> bool:
    try:
        return bool(room.tuner.call("GET", path))
    except Failure:
        return False


# --- names of slots ------------------------------------------------------------------------------------------------


def withdrawal(name: str) -> Spec:
    """A Withdraw of something; everybody who may create requests at all may ask for one."""
    return {
        "metadata": {"name": name},
        "spec": {
            "action": "Withdraw",
            "rolloutRef": {"name": "digits"},
            "reason": "test",
            "request": {"name": "gone", "uid": "x"},
        },
    }


def test_given_no_subject_when_they_take_the_name_of_a_slot_then_it_is_refused(desk: Permits) -> None:
    stranger, oncall = desk.agent("stranger"), desk.user("oncall", "weir-actor")
    for by in (stranger, oncall):
        for name in (desk.slot("back", 0), desk.slot("tune", 2, -1)):
            with refused(403, f"SlotOfAnother: metadata.name '{name}' looks like a slot of a permit"):
                by.create(ACTION_REQUESTS, _in(desk, withdrawal(name)))
    body = {"metadata": {"name": desk.slot("back", 1)}, "spec": {**_ABORT, "requester": "oncall"}}
    with refused(403, "SlotOfAnother: "):
        oncall.create(ACTION_REQUESTS, _in(desk, body))
    # A date is no slot, nor is the name of a permit without a budget.
    for name in ("abort-2026-11-22", "stop-1-1", f"{desk.slot('back', 0)}-withdraw"):
        assert oncall.create(ACTION_REQUESTS, _in(desk, {**body, "metadata": {"name": name}}))


_ABORT: Spec = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "test"}


def _in(desk: Permits, body: Spec) -> Spec:
    return {**body, "metadata": {**body["metadata"], "namespace": desk.namespace}}


# --- odd bodies ----------------------------------------------------------------------------------------------------


ODD: dict[str, tuple[Spec, Spec]] = {
    "no permit but null": ({}, {"permit": None}),
    "a permit that is a number": ({}, {"permit": 5}),
    "a permit that is a list": ({}, {"permit": ["stop"]}),
    "a permit with too long a name": ({}, {"permit": "x" * 300}),
    "a requester that is a number": ({}, {"requester": 5}),
    "a requester of two lines": ({}, {"requester": "a\nb"}),
    "an answer to nothing": ({}, {"action": "Withdraw", "permit": None, "request": {"name": "x"}}),
    "an answer to a number": ({}, {"request": {"name": "x", "uid": 5}}),
    "an answer to no label": ({}, {"action": "Withdraw", "permit": None, "request": {"name": "x", "uid": "a b"}}),
    "no action": ({}, {"action": None}),
    "an action that is a number": ({}, {"action": 1}),
    "no Rollout": ({}, {"rolloutRef": {}}),
    "a Rollout that is a text": ({}, {"rolloutRef": "digits"}),
    "a weight that is a text": ({}, {"action": "ShiftTraffic", "permit": "shift", "weight": "5"}),
    "a weight with a point": ({}, {"action": "ShiftTraffic", "permit": "shift", "weight": 5.5}),
    "a parameter that is null": ({}, {"action": "Retrain", "permit": "tune", "parameters": {"data": None}}),
    "an expectation that is a list": ({}, {"expect": []}),
    "no name": ({"name": None}, {}),
    "Weir's name, made up": ({"name": None, "generateName": "fallback-"}, {}),
    "an answer's label": ({"labels": {ANSWERS_LABEL: "x"}}, {}),
}


@pytest.mark.parametrize("case", ODD)
def test_given_an_odd_body_when_an_agent_asks_then_the_answer_says_what_is_wrong_with_it(
    desk: Permits, case: str
) -> None:
    meta, spec = ODD[case]
    body = {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": "odd", **meta},
        "spec": {**_ABORT, "permit": "stop", **spec},
    }
    with pytest.raises(Failure, match="^(403|422): ") as raised:
        desk.tuner.call("POST", ACTION_REQUESTS.path(desk.namespace), body, dryRun="All")
    for fault in ("resulted in error", "no such key", "no such overload"):
        assert fault not in raised.value.message


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": None},
        {"labels": {}},
        {"finalizers": [], "ownerReferences": None},
        {"deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0},
        {"uid": "x", "generation": 9, "selfLink": "/x"},
    ],
    ids=json.dumps,
)
def test_given_metadata_that_says_nothing_when_an_agent_asks_then_it_is_a_request_like_any_other(
    desk: Permits, meta: Spec
) -> None:
    made = desk.under(desk.tuner, "stop", "Abort", meta=meta, dry_run=True)["metadata"]
    assert made["labels"] == {"weir.dev/permit": "stop"}
    assert not {"finalizers", "ownerReferences", "deletionTimestamp"} & made.keys()
    assert made["uid"] != "x"


def test_given_a_status_when_an_agent_asks_then_it_is_left_out(desk: Permits) -> None:
    body = {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": "odd"},
        "spec": {**_ABORT, "permit": "stop"},
        "status": {"phase": "Succeeded", "digest": "sha256:" + "0" * 64},
    }
    assert "status" not in desk.tuner.call("POST", ACTION_REQUESTS.path(desk.namespace), body, dryRun="All")
