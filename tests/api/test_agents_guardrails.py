"""Without the admission policies nobody vouches for who asked: agents may only go back to safety, and people are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.controller.guardrailcheck import GuardrailCheck
from weir.runtime.client import KubeClient
from weir.runtime.resources import KubeObject

pytestmark = pytest.mark.api

SLOW: Spec = {"canary": {"steps": [{"weight": 20, "minDuration": "10m"}], "bake": "10m"}}
ABSENT = """
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: weir-protect-modelversions
spec:
  failurePolicy: Ignore
"""


def test_given_a_policy_that_is_not_as_installed_then_only_what_is_safe_is_executed(lab: Lab) -> None:
    """The operator expects something else than what is there: to it, that is the same as an alteration."""
    namespace = lab.make_namespace()
    lab.allow_leases(namespace)
    expected = lab.directory / "others.yaml"
    expected.write_text(lab.guardrails.read_text() + ABSENT)
    with operator_that_expects(lab, namespace, expected) as operator:
        operator.wait_ready()
        case = Case(lab, namespace)
        case.serve_first(strategy=SLOW, gates=None)
        case.release("v2")
        case.wait(lambda s: s["weight"] == 20, "Traffic(20)")
        agents = Agents(case, [STOP, {"name": "go", "action": "Promote"}, {"name": "again", "action": "Retry"}])

        told = eventually(
            lambda: (
                agents.condition("GuardrailsInstalled").get("status") == "False"
                and agents.condition("GuardrailsInstalled")["message"]
            ),
            "it is told",
        )
        assert "ValidatingAdmissionPolicy weir-protect-modelversions was altered at spec." in told
        assert operator.metric("weir_guardrails_installed") == 0
        forward(agents, "go")

        assert case.answer(agents.ask("stop"))["phase"] == "Succeeded"

        case.wait_phase("RolledBack")
        retry = forward(agents, "again")

    expected.write_text(lab.guardrails.read_text())
    with operator_that_expects(lab, namespace, expected) as again:
        eventually(lambda: agents.condition("GuardrailsInstalled").get("status") == "True", "they are there", within=60)
        refused = case.answer(retry)
        assert (refused["phase"], "admission" in refused["message"]) == ("Refused", True), refused
        assert again.metric("weir_guardrails_installed") == 1


def operator_that_expects(lab: Lab, namespace: str, expected: Path) -> Operator:
    """An operator of that namespace, with what it takes for the chart's admission policies."""
    return lab.operator("weir-g", namespace=namespace, environment={"WEIR_GUARDRAILS": str(expected)})


def forward(agents: Agents, permit: str) -> str:
    """A request that does not lead back to safety: it waits for the admission policies. Returns its name."""
    name = agents.ask(permit, expect={"release": 2})
    waits = agents.wait_status(name, lambda s: s.get("phase") == "Pending", "it waits")
    assert "admission" in waits["message"]
    return name


def found(lab: Lab) -> str | None:
    """What the operator would say of the guardrails now, with the rights that the chart gives it."""

    async def look() -> str | None:
        async with await KubeClient.connect(kubeconfig=str(lab.kubeconfig)) as client:
            check = GuardrailCheck(client, lab.guardrails, lambda: None)
            await check.look()
            return check.problem

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("validatingadmissionpolicybindings", {"spec": {"validationActions": ["Audit"]}}, "spec.validationActions"),
        (
            "validatingadmissionpolicybindings",
            {"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "a"}}}}},
            "namespaceSelector",
        ),
        ("validatingadmissionpolicies", {"spec": {"failurePolicy": "Ignore"}}, "spec.failurePolicy"),
        (
            "validatingadmissionpolicies",
            {"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}},
            "spec.matchConditions",
        ),
        ("validatingadmissionpolicies", None, "is missing"),
        ("validatingadmissionpolicybindings", None, "is missing"),
    ],
)
def test_given_a_policy_that_somebody_altered_or_removed_then_it_is_named(
    lab: Lab, kind: str, change: KubeObject | None, told: str
) -> None:
    path = f"/apis/admissionregistration.k8s.io/v1/{kind}/weir-permits"
    assert found(lab) is None
    before = lab.api.call("GET", path)
    restored = {part: before[part] for part in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "weir-permits"}}
    if change is None:
        lab.api.call("DELETE", path)
    else:
        lab.api.call("PATCH", path, change, "application/merge-patch+json")

    try:
        problem = str(found(lab))
    finally:
        if change is not None:
            lab.api.call("DELETE", path)
        lab.api.call("POST", path.rpartition("/")[0], restored)
    assert told in problem
    assert "weir-permits" in problem
    assert found(lab) is None
