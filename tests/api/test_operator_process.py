"""The operator as a process: one that leads, one that stands by, and one that lacks a permission."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from tests.api import objects as good
from tests.api.harness.api import eventually
from tests.api.harness.case import CANARY, Case
from tests.api.harness.lab import Lab, chart_objects
from tests.api.harness.process import Operator
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import AGENT_POLICIES, DATA_CONTRACTS, LEASES, KubeObject

pytestmark = pytest.mark.api

_REFRESH = 11.0
"""Seconds after which even counts that nobody must remember have been stored."""


def writes(operator: Operator) -> float:
    """Writes so far, but those of the Lease."""
    found = operator.samples("rest_client_requests_total")
    return sum(n for labels, n in found.items() if dict(labels)["method"] != "GET" and not _of_lease(labels))


def requests(operator: Operator) -> float:
    """Requests so far, but those of the Lease and the watches, and the looks at the admission policies each minute."""
    found = operator.samples("rest_client_requests_total")
    return sum(n for labels, n in found.items() if not (_of_lease(labels) or _of_admission(labels)))


def _of_lease(labels: tuple[tuple[str, str], ...]) -> bool:
    return dict(labels)["resource"] == "leases.coordination.k8s.io"


def _of_admission(labels: tuple[tuple[str, str], ...]) -> bool:
    return dict(labels)["resource"].endswith(".admissionregistration.k8s.io")


def holder(lab: Lab) -> str:
    """Who holds the Lease."""
    lease = lab.api.find(LEASES, "weir-system", "weir-operator") or {"spec": {}}
    return str(lease["spec"].get("holderIdentity") or "")


def test_given_converged_objects_when_nothing_happens_then_nothing_is_written_and_nothing_read(
    lab: Lab, operator: Operator
) -> None:
    promoted, rolled_back, blocked = Case(lab), Case(lab), Case(lab)
    lab.traffic.bad[rolled_back.namespace, "v2"] = 0.9
    for case in (promoted, rolled_back):
        case.serve_first()
        case.release("v2")
    blocked.create("v9")
    space = {"namespace": blocked.namespace}
    lab.api.create(DATA_CONTRACTS, {"metadata": {"name": "c", **space}, "spec": good.CONTRACT})
    lab.api.create(AGENT_POLICIES, {"metadata": {"name": POLICY_NAME, **space}, "spec": good.POLICY})
    promoted.wait_ready()
    rolled_back.wait_phase("RolledBack")
    blocked.wait_reason("ModelVersionNotFound")
    time.sleep(_REFRESH)
    audited, made = len(lab.audit()), requests(operator)

    time.sleep(20)  # That nothing happens has no condition to wait for.

    heard = [e for e in lab.audit()[audited:] if e["verb"] != "watch"]
    looked = [e for e in heard if e["objectRef"].get("apiGroup") == "admissionregistration.k8s.io"]
    assert [f"{e['verb']} {e['objectRef']}" for e in heard if e not in looked] == []
    assert {e["verb"] for e in looked} <= {"get"}
    assert requests(operator) == made


@pytest.fixture
def alone(lab: Lab) -> Case:
    """A namespace that no operator serves yet; its Gateway is in another."""
    return Case(lab)


def test_given_two_operators_then_the_loser_writes_nothing_and_takes_over_when_the_leader_is_told_to_end(
    lab: Lab, operator: Operator
) -> None:
    standby = lab.operator("weir-standby")
    standby.wait_ready()
    case = Case(lab)
    slow = {"canary": {**CANARY["canary"], "steps": [{"weight": 20, "minDuration": "4s"}]}}
    case.serve_first(strategy=slow)
    case.release("v2")
    case.wait(lambda s: s.get("weight") == 20, "the first step")
    assert holder(lab) == "weir-0"
    assert writes(standby) == 0

    began = time.monotonic()
    operator.terminate()
    eventually(lambda: holder(lab) == "weir-standby", "the standby leads", every=0.02)
    took = time.monotonic() - began

    assert took < 3.0
    assert operator.process.wait(10) == 0
    case.wait_ready()
    assert writes(standby) > 0
    standby.stop()
    assert holder(lab) == ""


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [
        ("apps", "deployments", "create"),
        ("", "services", "create"),
        ("gateway.networking.k8s.io", "httproutes", "create"),
        ("weir.dev", "rolloutrecords", "create"),
    ],
    ids=lambda value: str(value) or "core",
)
def test_given_a_missing_permission_then_verb_and_resource_are_named_and_the_rest_happens_once_it_is_granted(
    lab: Lab, alone: Case, group: str, resource: str, verb: str
) -> None:
    complete = _rules()
    _grant(lab, alone.namespace, _without(complete, group, resource, verb))
    kubeconfig = lab.kubeconfig_for(alone.namespace, "default")
    operator = lab.operator(kubeconfig=kubeconfig, namespace=alone.namespace)
    alone.version("v1")
    alone.create()

    ready = alone.wait_reason("Forbidden")

    assert f'cannot {verb} resource "{resource}"' in ready["message"]
    assert ready["status"] == "False"
    _grant(lab, alone.namespace, complete)
    alone.wait_ready(within=60)
    eventually(lambda: len(alone.records()) == 1, "the record")
    operator.stop()


def _rules() -> list[KubeObject]:
    """The chart's rules for served namespaces and for the Lease."""
    roles = {role["metadata"]["name"]: role for role in chart_objects() if role["kind"] in ("Role", "ClusterRole")}
    return [rule for name in ("weir", "weir-leader") for rule in roles[name]["rules"]]


def _without(rules: list[KubeObject], group: str, resource: str, verb: str) -> list[KubeObject]:
    less = copy.deepcopy(rules)
    found = [rule for rule in less if group in rule["apiGroups"] and resource in rule["resources"]]
    assert [rule for rule in found if verb in rule["verbs"]], "the chart does not grant it at all"
    for rule in found:
        rule["verbs"] = [granted for granted in rule["verbs"] if granted != verb]
    return less


def _grant(lab: Lab, namespace: str, rules: list[KubeObject]) -> None:
    meta, api = {"name": "weir", "namespace": namespace}, "rbac.authorization.k8s.io"
    subject: dict[str, Any] = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    reference = {"apiGroup": api, "kind": "Role", "name": "weir"}
    binding = {"kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]}
    # GatewayClasses are in no namespace, nor is what agents are held to.
    wide = [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{name}-{namespace}"},
            "roleRef": {"kind": "ClusterRole", "apiGroup": api, "name": name},
            "subjects": [subject],
        }
        for name in ("weir-gateways", "weir-agents")
    ]
    lab.apply(role, {"apiVersion": f"{api}/v1", **binding}, *wide)
