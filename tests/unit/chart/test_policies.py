"""The admission policies that the chart renders: where, when, and in the words that the code relies on."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import yaml

from weir.api import GROUP, VERSION
from weir.api.action import Action
from weir.api.approval import AUTHOR, CHANGED_BY
from weir.controller.guardrails import REQUESTER_RULE

from .conftest import CHART, ROOT, Helm, Object, Render, Rendered

MUTATING = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
VALIDATING = ["weir-actions", "weir-approvals", "weir-rollouts"]
STAMPING = ["weir-actions", "weir-rollouts"]
KINDS = [f"{kind}AdmissionPolicy{what}" for kind in ("Validating", "Mutating") for what in ("", "Binding")]


def guarding(rendered: Rendered, kind: str) -> list[str]:
    """Names of the policies for actions, approvals and Rollouts, sorted."""
    names = (obj["metadata"]["name"] for obj in rendered.all(kind))
    return sorted(name for name in names if "-protect-" not in name)


def policies(rendered: Rendered) -> list[Object]:
    return [obj for kind in KINDS if not kind.endswith("Binding") for obj in rendered.all(kind)]


def expressions(node: Any) -> list[str]:
    """All CEL in a policy."""
    if isinstance(node, dict):
        own = [value for key, value in node.items() if key.lower().endswith("expression") and isinstance(value, str)]
        return own + [text for value in node.values() for text in expressions(value)]
    return [text for item in node for text in expressions(item)] if isinstance(node, list) else []


@pytest.mark.parametrize(("more", "stamping"), [((), []), (MUTATING, STAMPING)], ids=["before 1.36", "from 1.36 on"])
def test_what_fills_in_is_rendered_only_where_the_cluster_serves_it(
    render: Render, more: tuple[str, ...], stamping: list[str]
) -> None:
    rendered = render(more=more)
    found = {kind: guarding(rendered, kind) for kind in KINDS}
    assert found == dict(zip(KINDS, [VALIDATING, VALIDATING, stamping, stamping], strict=True))


def test_they_can_be_left_out(render: Render) -> None:
    rendered = render("admission.actions=false", more=MUTATING)
    assert [name for kind in KINDS for name in guarding(rendered, kind)] == []
    assert rendered.one("ValidatingAdmissionPolicy", "weir-protect-modelversions")
    assert rendered.one("ValidatingAdmissionPolicy", "weir-protect-checks")


def test_results_of_checks_can_be_left_unguarded(render: Render) -> None:
    rendered = render("admission.checks=false")
    names = {obj["metadata"]["name"] for kind in KINDS for obj in rendered.all(kind)}
    assert "weir-protect-modelversions" in names
    assert "weir-protect-checks" not in names


def test_every_policy_is_bound_by_its_name_and_denies(render: Render) -> None:
    rendered = render(release="other", more=MUTATING)
    for kind in ("Validating", "Mutating"):
        bindings = {obj["metadata"]["name"]: obj["spec"] for obj in rendered.all(f"{kind}AdmissionPolicyBinding")}
        names = {obj["metadata"]["name"] for obj in rendered.all(f"{kind}AdmissionPolicy")}
        assert {spec["policyName"] for spec in bindings.values()} == names == bindings.keys()
        assert all(name.startswith("other-weir-") for name in names)
    for name in VALIDATING:
        bound = rendered.one("ValidatingAdmissionPolicyBinding", f"other-{name}")["spec"]
        assert bound["validationActions"] == ["Deny", "Audit"]


def test_they_fail_closed_and_match_nothing_but_writes_of_our_own_kinds(render: Render) -> None:
    found = policies(render(more=MUTATING))
    assert len(found) == len(VALIDATING) + len(STAMPING) + 2
    for policy in found:
        assert policy["spec"]["failurePolicy"] == "Fail"
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            assert (rule["apiGroups"], rule["apiVersions"]) == ([GROUP], [VERSION])
            # Without a slash: the operator's writes to status pass no policy. It never writes that of a ContractCheck.
            known = {"actionrequests", "rollouts", "modelversions", "contractchecks", "contractchecks/status"}
            assert set(rule["resources"]) <= known
            deletes = policy["metadata"]["name"].endswith("-protect-modelversions")
            assert set(rule["operations"]) <= ({"DELETE"} if deletes else {"CREATE", "UPDATE"})


def test_a_list_of_namespaces_bounds_every_binding(render: Render) -> None:
    scoped = render('namespaces=["one","two"]', more=MUTATING)
    wanted = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one", "two"]}]
    for kind, names in (("Validating", VALIDATING), ("Mutating", STAMPING)):
        for name in names:
            bound = scoped.one(f"{kind}AdmissionPolicyBinding", name)["spec"]
            assert bound["matchResources"]["namespaceSelector"]["matchExpressions"] == wanted
            assert "matchResources" not in render(more=MUTATING).one(f"{kind}AdmissionPolicyBinding", name)["spec"]


def test_the_rule_for_requesters_says_what_the_operator_looks_for(render: Render) -> None:
    # The first of the rules that are broken gives the answer, and the operator's probe breaks others, too.
    first = render().one("ValidatingAdmissionPolicy", "weir-actions")["spec"]["validations"][0]
    assert REQUESTER_RULE in first["message"]
    assert REQUESTER_RULE in first["messageExpression"]


def test_annotations_are_those_that_the_operator_reads(render: Render) -> None:
    found = {
        word
        for policy in policies(render(more=MUTATING))
        for text in expressions(policy["spec"])
        for word in re.findall(r"weir\.dev(?:/|~1)[a-z-]+", text)
    }
    assert found == {CHANGED_BY, AUTHOR, CHANGED_BY.replace("/", "~1")}


def test_both_policies_for_rollouts_know_who_changed_one_by_the_same_expressions(render: Render) -> None:
    rendered = render(more=MUTATING)
    checked, stamped = (
        {v["name"]: v["expression"] for v in rendered.one(kind, "weir-rollouts")["spec"]["variables"]}
        for kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
    )
    assert stamped == {name: checked[name] for name in ("is", "was", "author", "oldAuthor", "wanted")}


def test_every_verb_of_the_roles_is_an_action_and_every_action_is_in_a_role(render: Render) -> None:
    actions = {action.lower() for action in get_args(Action)}
    known = actions | {"override", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
    held = {
        verb
        for name in ("edit", "admin", "actor", "approver")
        for rule in render().one("ClusterRole", f"weir-{name}")["rules"]
        for verb in rule["verbs"]
    }
    assert held <= known
    assert actions | {"override"} <= held


def test_the_notes_say_what_is_missing(helm: Helm) -> None:
    install = ("install", "weir", str(CHART), "--namespace", "ns", "--dry-run=client")
    # Without a server Helm takes a cluster for one that does not serve the kind.
    assert "does not serve MutatingAdmissionPolicy" in helm(*install).partition("NOTES:")[2]
    off = helm(*install, "--set", "admission.actions=false").partition("NOTES:")[2]
    assert "WARNING: admission.actions is off" in off
    unguarded = helm(*install, "--set", "admission.checks=false").partition("NOTES:")[2]
    assert "WARNING: admission.checks is off" in unguarded
    assert "MutatingAdmissionPolicy" not in off


def test_the_component_is_all_that_the_base_leaves_out(render: Render) -> None:
    def named(path: str) -> set[tuple[str, str]]:
        objects = yaml.safe_load_all((ROOT / "manifests" / path).read_text())
        return {(obj["kind"], obj["metadata"]["name"]) for obj in objects}

    stamp = named("components/stamp/stamp.yaml")
    assert stamp == {(f"MutatingAdmissionPolicy{what}", name) for what in ("", "Binding") for name in STAMPING}
    everything = {(obj["kind"], obj["metadata"]["name"]) for obj in render(more=MUTATING).objects}
    assert stamp <= everything
    assert not stamp & named("base/operator.yaml")
