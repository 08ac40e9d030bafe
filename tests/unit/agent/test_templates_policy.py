"""Templates: what they may be, and the parameters that they take."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.planning import (
    POLICY,
    RETRAIN_TEMPLATE,
    RULE,
    policy,
)
from tests.unit.agent.templating import SCALE, SCALE_PERMIT, template
from weir.agent.templates import parameter_problem, problems
from weir.api.agentpermit import Permit

# --- What is wrong with a policy -------------------------------------------------------------------------------------


def test_given_good_templates_and_rules_when_checked_then_nothing_is_wrong() -> None:
    spec = policy(RULE, permits=[*POLICY["permits"], SCALE_PERMIT], templates=[RETRAIN_TEMPLATE, SCALE])
    assert problems(spec) == ()


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("weir.dev/v1alpha1", "ActionRequest"),
        ("weir.dev/v9", "AgentPolicy"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("coordination.k8s.io/v1", "Lease"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("v1", "Service"),
        ("v1", "Endpoints"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("networking.k8s.io/v1", "Ingress"),
        ("v1", "Namespace"),
    ],
)
def test_given_a_template_of_a_kind_that_goes_around_permits_when_checked_then_it_is_refused(
    version: str, kind: str
) -> None:
    (found,) = problems(policy(templates=[template(RETRAIN_TEMPLATE, apiVersion=version, kind=kind)]))
    assert found.startswith("spec.templates[train].object: no template may make or change a")
    assert kind in found


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"metadata": {"namespace": "other"}}, ".object.metadata.namespace"),
        ({"metadata": {"ownerReferences": []}}, ".object.metadata.ownerReferences"),
        ({"metadata": {"finalizers": ["a/b"]}}, ".object.metadata.finalizers"),
        ({"metadata": {"name": "mine"}}, ".object.metadata.name"),
        ({"metadata": {"generateName": "mine-"}}, ".object.metadata.generateName"),
        ({"metadata": {"labels": {"weir.dev/made-by": "me"}}}, ".object.metadata.labels"),
        ({"metadata": {"annotations": {"weir.dev/author": "me"}}}, ".object.metadata.annotations"),
        ({"spec": {"template": {"metadata": {"labels": {"weir.dev/pool": "p"}}}}}, ".object.spec.template.metadata"),
        ({"spec": {"tasks": [{"annotations": {"weir.dev/x": "y"}}]}}, ".object.spec.tasks[0].annotations: weir.dev/x"),
        ({"metadata": "x"}, ".object.metadata"),
        ({"status": {}}, ".object.status"),
        ({"kind": "${parameters.retries}"}, ".object.kind"),
        ({"apiVersion": "batch/${parameters.retries}"}, ".object.apiVersion"),
        ({"apiVersion": ""}, ".object: needs"),
        ({"spec": {"a": ["${parameters.other}"]}}, ".object.spec.a[0]"),
        ({"spec": {"a": "${object.status.x}"}}, ".object.spec.a"),
        ({"spec": {"a": "${stable}"}}, ".object.spec.a"),
        ({"spec": {"a": "${}"}}, ".object.spec.a"),
        ({"spec": {"a": "${request.name.x}"}}, ".object.spec.a"),
    ],
)
def test_given_a_template_with_a_mistake_when_checked_then_the_place_is_named(
    changes: dict[str, Any], where: str
) -> None:
    found = problems(policy(templates=[template(RETRAIN_TEMPLATE, **changes)]))
    assert [text for text in found if text.startswith(f"spec.templates[train]{where}")], found


@pytest.mark.parametrize("path", ["image", "serviceAccountName", "secretName", "command"])
def test_given_a_parameter_that_decides_whose_code_runs_when_checked_then_it_needs_a_list_of_values(path: str) -> None:
    object_ = template(
        RETRAIN_TEMPLATE, spec={"containers": [{path: "x/${parameters.free}", "b": "${parameters.free}"}]}
    )
    permit = {**POLICY["permits"][0], "parameters": [{"name": "free"}]}
    (found,) = problems(policy(permits=[permit], templates=[object_]))
    assert found.startswith(f"spec.templates[train].object.spec.containers[0].{path}: ")
    for bounds in ({"values": ["a", "b"]}, {"minimum": 1}):
        permit = {**permit, "parameters": [{"name": "free", **bounds}]}
        assert problems(policy(permits=[permit], templates=[object_])) == ()


@pytest.mark.parametrize(
    ("container", "script"),
    [
        ({"command": ["sh", "-c"], "args": ["train ${parameters.free}"]}, True),
        ({"args": ["-ec", "train ${parameters['free']}"]}, True),
        ({"args": ["--note=${parameters.free}"]}, False),
        ({"command": ["sh", "-c"], "env": [{"name": "NOTE", "value": "${parameters.free}"}]}, False),
    ],
)
def test_given_any_text_when_it_would_be_part_of_a_program_then_it_is_refused(
    container: dict[str, Any], script: bool
) -> None:
    object_ = template(RETRAIN_TEMPLATE, spec={"containers": [container]})
    permit = {**POLICY["permits"][0], "parameters": [{"name": "free"}]}
    found = problems(policy(permits=[permit], templates=[object_]))
    assert [".object.spec.containers[0].args[" in text for text in found] == [True] * script


@pytest.mark.parametrize(
    ("field", "decides"), [("runtime.image", True), ("artifact.uri", True), ("evaluations.0.dataset", False)]
)
def test_given_any_text_when_it_would_decide_what_serves_then_it_is_refused(field: str, decides: bool) -> None:
    made = {"artifact.digest": "${object.status.digest}", field: "x/${parameters.free}"}
    object_ = {**template(RETRAIN_TEMPLATE, spec={"a": "b"}), "result": {"modelVersion": made}}
    permit = {**POLICY["permits"][0], "parameters": [{"name": "free"}]}
    found = problems(policy(permits=[permit], templates=[object_]))
    assert [text.startswith(f"spec.templates[train].result.modelVersion[{field}]: ") for text in found] == (
        [True] * decides
    )


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({}, ".object.metadata.name"),
        ({"name": ""}, ".object.metadata.name"),
        ({"name": "${parameters.replicas}"}, ".object.metadata.name"),
        ({"name": "x-${request.name}"}, ".object.metadata.name"),
        ({"name": "x", "labels": {"a": "b"}}, ".object.metadata.labels"),
    ],
)
def test_given_a_reallocate_when_checked_then_it_names_what_it_patches_and_no_agent_chooses_it(
    metadata: dict[str, Any], where: str
) -> None:
    found = problems(policy(permits=[SCALE_PERMIT], templates=[template(SCALE, metadata=metadata)]))
    assert [text for text in found if text.startswith(f"spec.templates[scale]{where}")], found


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing is new"),
        ({"contracts.request": "x"}, "nothing is new"),
        ({"artifact.digest": "${object}"}, "no text"),
        ({"artifact.digest": "${object.a b}"}, "not known"),
        ({"artifact.digest": "x", "version": "mine"}, "Weir's to set"),
        ({"artifact.digest": "x", "model": "mine"}, "Weir's to set"),
    ],
)
def test_given_a_result_with_a_mistake_when_checked_then_it_is_said(fields: dict[str, str], said: str) -> None:
    (found,) = problems(policy(templates=[{**RETRAIN_TEMPLATE, "result": {"modelVersion": fields}}]))
    assert said in found


def test_given_conditions_that_are_no_cel_when_checked_then_each_is_named() -> None:
    rule = {**RULE, "when": "signals.", "until": "objekt.x"}
    broken = {**RETRAIN_TEMPLATE, "succeeded": "signals.x", "failed": "'text'"}
    found = problems(policy(rule, templates=[broken]))
    assert [text.partition(": ")[0] for text in found] == [
        "spec.templates[train].succeeded",
        "spec.templates[train].failed",
        "spec.rules[drifted].when",
        "spec.rules[drifted].until",
    ]


@pytest.mark.parametrize(
    ("given_", "said"), [({"retries": "6"}, "at most 5"), ({"other": "1"}, "no parameter other"), (None, "")]
)
def test_given_a_rule_whose_parameters_no_permit_allows_when_checked_then_it_is_said(
    given_: dict[str, str] | None, said: str
) -> None:
    found = problems(policy({**RULE, "parameters": given_}))
    assert [text.startswith("spec.rules[drifted].parameters: ") and said in text for text in found] == [True] * bool(
        said
    )


# --- Parameters ------------------------------------------------------------------------------------------------------

PERMIT = Permit.model_validate(
    {
        "name": "train",
        "action": "Retrain",
        "template": "train",
        "parameters": [
            {"name": "epochs", "minimum": 1, "maximum": 10},
            {"name": "data", "values": ["day", "week"], "default": "day"},
            {"name": "note", "default": ""},
        ],
    }
)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"epochs": "1"}, ""),
        ({"epochs": "10", "data": "week", "note": "any text"}, ""),
        ({}, "the parameter epochs is missing"),
        ({"epochs": "0"}, "at least 1"),
        ({"epochs": "11"}, "at most 10"),
        ({"epochs": "ten"}, "whole number"),
        ({"epochs": "1.5"}, "whole number"),
        ({"epochs": "٣"}, "whole number"),
        ({"epochs": "5\n"}, "whole number"),
        ({"epochs": "1" * 5000}, "whole number"),
        ({"epochs": "1", "data": "month"}, "allowed are day, week"),
        ({"epochs": "1", "other": "x"}, "no parameter other"),
    ],
)
def test_given_parameters_when_checked_then_what_is_out_of_bounds_is_said(given_: dict[str, str], said: str) -> None:
    found = parameter_problem(PERMIT, given_)
    assert bool(found) is bool(said)
    assert said in found
