"""Agents are held to their policy by older Kubernetes minors, too: those that the API server can emulate.

It then has the API versions, feature gates and CEL library of that minor. The chart supports 1.30 and later; what comes
before the oldest of these is not served by this binary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.api import ApiServer
from devcluster.command import run
from devcluster.paths import Cache
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import SYSTEM, Lab
from tests.api.harness.permits import Permits, labelled
from tests.api.harness.process import ROOT
from weir.api.agentpolicy import ANSWERS_LABEL, POLICY_NAME
from weir.api.crds import crd
from weir.api.kinds import KINDS
from weir.runtime.resources import AGENT_POLICIES, CLUSTER_AGENT_POLICIES

pytestmark = pytest.mark.api

MINORS = ("1.33", "1.34", "1.35")
LOOK: dict[str, Any] = {"expect": {"release": 2, "weight": 20}}


class _Emulating(ApiServer):
    """An API server that behaves as an older minor."""

    def __init__(self, directory: Path, minor: str) -> None:
        super().__init__(directory)
        self._minor = minor

    def _apiserver_command(self) -> list[str]:
        return [*super()._apiserver_command(), f"--emulated-version={self._minor}"]


class _Older(Lab):
    """Only what the admission policies need: no gateway, no metrics; nothing is stamped."""

    def __init__(self, directory: Path, minor: str) -> None:
        super().__init__(directory)
        self.server = _Emulating(directory, minor)

    def __enter__(self) -> _Older:
        self.server.__enter__()
        definitions = "---\n".join(json.dumps(crd(kind)) + "\n" for kind in KINDS)
        self.server.kubectl("apply", "--server-side", "--filename", "-", stdin=definitions)
        names = [f"crd/{kind.crd_name}" for kind in KINDS]
        self.server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        self.make_namespace(SYSTEM)
        helm, chart = str(Cache.default().bin / "helm"), str(ROOT / "charts" / "weir")
        rendered = run([helm, "template", "weir", chart, "--namespace", SYSTEM])
        kinds = ("ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        self.apply(*(obj for obj in yaml.safe_load_all(rendered) if obj and obj["kind"] in kinds))
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)


@pytest.fixture(scope="module", params=MINORS)
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Permits]:
    """A namespace with an AgentPolicy in a cluster of that minor."""
    with _Older(tmp_path_factory.mktemp("older"), request.param) as older:
        made = Permits(older, stamped=False)
        eventually(lambda: "no params found" in made.refused(made.tuner, "stop", "Abort"), "the policies are in force")
        made.govern()
        yield made


def test_given_an_older_minor_when_asked_within_a_permit_then_it_is_admitted(room: Permits) -> None:
    version = room.lab.api.call("GET", "/version")
    assert f"{version['emulationMajor']}.{version['emulationMinor']}" in MINORS
    assert room.under(room.tuner, "stop", "Abort")
    name, parameters = room.slot("tune", 0), {"data": "small", "epochs": "7"}
    assert room.under(room.tuner, "tune", "Retrain", name=name, parameters=parameters)
    with refused(409, "already exists"):
        room.under(room.tuner, "tune", "Retrain", name=name, parameters=parameters)
    assert room.under(room.tuner, "shift", "ShiftTraffic", weight=40, **LOOK)
    assert room.ask(room.user("oncall", "weir-actor"), "Abort", requester="oncall")


def test_given_an_older_minor_when_asked_beyond_a_permit_then_the_same_rules_answer(room: Permits) -> None:
    small = {"parameters": {"data": "small"}}
    for permit, action, fields, words in (
        ("none", "Abort", {}, "NoPermit: "),
        ("stop", "Pause", {}, "ActionNotPermitted: "),
        ("hold", "Pause", {}, "SubjectNotPermitted: "),
        ("skip", "Skip", LOOK, "ManualOnly: "),
        ("go", "Promote", {}, "ExpectRelease: "),
        ("shift", "ShiftTraffic", {"weight": 51, **LOOK}, "MaxTrafficPercent: "),
        ("shift", "ShiftTraffic", {"weight": 41, **LOOK}, "MaxStep: "),
        ("tune", "Retrain", {"parameters": {"data": "all"}}, "ParameterBeyond: "),
        ("tune", "Retrain", small, "BudgetSlot: metadata.name must be tune-"),
        ("tune", "Retrain", {"name": room.slot("tune", 3), **small}, "BudgetSlot: "),
        ("stop", "Abort", {"name": "tune-494-0"}, "SlotOfAnother: "),
        ("stop", "Abort", {"rule": "drift"}, "RuleReserved: "),
        ("stop", "Abort", {"meta": {}}, "PermitLabel: the label weir.dev/permit must be 'stop'"),
        ("stop", "Abort", {"meta": labelled("go")}, "PermitLabel: "),
        ("stop", "Abort", {"requester": "alice"}, "spec.requester must be your own user name"),
        ("stop", "Abort", {"requester": None}, "spec.requester must be your own user name"),
    ):
        assert words in room.refused(room.tuner, permit, action, **fields), words
    room.grant(room.account, [{"apiGroups": ["weir.dev"], "resources": ["*"], "verbs": ["*"]}], "promote")
    with refused(403, "PermitNeeded: "):
        room.tuner.merge(AGENT_POLICIES, room.namespace, POLICY_NAME, {"spec": {"paused": False}})


def test_given_an_older_minor_when_a_request_is_answered_then_it_is_checked_against_that_request(room: Permits) -> None:
    asked = room.under(room.tuner, "go", "Promote", **LOOK)["metadata"]
    dan = room.user("dan", "weir-approver")
    about = {"name": asked["name"], "uid": "other"}

    def answer(uid: str, label: str) -> None:
        body = {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "ActionRequest",
            "metadata": {"name": f"answer-{asked['name']}", "labels": {ANSWERS_LABEL: label}},
            "spec": {
                "action": "Deny",
                "rolloutRef": {"name": "digits"},
                "reason": "no",
                "requester": "dan",
                "request": {**about, "uid": uid},
            },
        }
        dan.call("POST", f"/apis/weir.dev/v1alpha1/namespaces/{room.namespace}/actionrequests", body, dryRun="All")

    def told(uid: str) -> str:
        try:
            answer(uid, uid)
        except Failure as failure:
            return failure.message
        return ""

    with refused(422, f"AnswersLabel: the label weir.dev/answers must be '{asked['uid']}'"):
        answer(asked["uid"], "other")
    eventually(lambda: "OtherRequest: " in told("other"), "the request is known")
    assert told(asked["uid"]) == ""


def test_given_an_older_minor_when_stopped_then_no_agent_may_ask(room: Permits) -> None:
    lab = room.lab
    lab.api.create(
        CLUSTER_AGENT_POLICIES, {"metadata": {"name": POLICY_NAME}, "spec": {"limits": [{"action": "Pause"}]}}
    )
    eventually(lambda: "OuterAction: " in room.refused(room.tuner, "stop", "Abort"), "the outer bounds are known")
    with refused(403, "OuterAction: "):
        lab.api.merge(AGENT_POLICIES, room.namespace, POLICY_NAME, {"spec": {"mode": "Audit"}})
    lab.api.merge(CLUSTER_AGENT_POLICIES, None, POLICY_NAME, {"spec": {"paused": True}})
    eventually(lambda: "ClusterPaused: " in room.refused(room.pipeline, "hold", "Pause"), "the cluster is paused")
    lab.api.delete(CLUSTER_AGENT_POLICIES, None, POLICY_NAME)
    lab.api.delete(AGENT_POLICIES, room.namespace, POLICY_NAME)
    eventually(lambda: "no params found" in room.refused(room.tuner, "stop", "Abort"), "the policy is gone")


def test_given_an_older_minor_when_it_checks_the_types_of_the_policies_then_it_warns_of_nothing(room: Permits) -> None:
    path, api = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", Api(room.lab.server.kubeconfig)

    def unchecked() -> list[str]:
        policies = api.call("GET", path)["items"]
        return [p["metadata"]["name"] for p in policies if "observedGeneration" not in (p.get("status") or {})]

    eventually(lambda: not unchecked(), "all policies are checked")
    for policy in api.call("GET", path)["items"]:
        assert not policy["status"].get("typeChecking", {}).get("expressionWarnings"), policy["metadata"]["name"]
