"""The admission policies that the chart renders: where, when, and in the words that the code relies on."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import yaml

from weir.api import API_VERSION, GROUP, VERSION
from weir.api.action import Action
from weir.api.agentpolicy import ANSWERS_LABEL, PAUSED_LABEL, PERMIT_LABEL, POLICY_NAME
from weir.api.approval import AUTHOR, CHANGED_BY
from weir.controller.guardrails import REQUESTER_RULE
from weir.traffic.adopted import ROLES
from weir.workload.identity import derived_name, pool_name

from .conftest import CHART, ROOT, Helm, Object, Render, Rendered

MUTATING = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
AGENTS = [
    *("weir-agent-policies", "weir-answers", "weir-kept-answers", "weir-outer-bounds", "weir-permits"),
    *("weir-request-labels", "weir-subjects", "weir-workloads"),
]
VALIDATING = sorted(["weir-actions", "weir-approvals", "weir-rollouts", *AGENTS])
STAMPING = ["weir-actions", "weir-rollouts"]
FOREIGN = "weir-workloads"
"""The policy that looks at kinds that are not Weir's."""
KINDS = [f"{kind}AdmissionPolicy{what}" for kind in ("Validating", "Mutating") for what in ("", "Binding")]


def guarding(rendered: Rendered, kind: str) -> list[str]:
    """Names of the policies for actions, approvals, Rollouts and agents, sorted."""
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


def test_those_for_agents_can_be_left_out_and_then_a_permit_is_no_way_around_a_verb(render: Render) -> None:
    rendered = render("admission.agents.enabled=false", more=MUTATING)
    without = [name for name in VALIDATING if name not in AGENTS]
    found = {kind: guarding(rendered, kind) for kind in KINDS}
    assert found == dict(zip(KINDS, [without, without, STAMPING, STAMPING], strict=True))
    assert not any("permit" in text for policy in policies(rendered) for text in expressions(policy["spec"]))
    verb = "has(object.spec.permit) || object.spec.action == 'Withdraw' || authorizer"
    (asked,) = [t for t in expressions(render().one("ValidatingAdmissionPolicy", "weir-actions")["spec"]) if verb in t]
    assert asked.removeprefix("has(object.spec.permit) || ") in expressions(
        rendered.one("ValidatingAdmissionPolicy", "weir-actions")["spec"]
    )


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
        name = policy["metadata"]["name"]
        if name == FOREIGN:
            continue
        assert policy["spec"]["failurePolicy"] == "Fail"
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            assert (rule["apiGroups"], rule["apiVersions"]) == ([GROUP], [VERSION])
            if name == "weir-subjects":
                assert (rule["resources"], rule["scope"]) == (["*/*"], "Namespaced")
                continue
            # Without a slash: the operator's writes to status pass no policy but that for subjects, which lets it go
            # by. It never writes that of a ContractCheck.
            kinds = {"actionrequests", "rollouts", "modelversions", "agentpolicies", "contractchecks"}
            assert set(rule["resources"]) <= kinds | {"contractchecks/status"}
            deletes = name in ("weir-protect-modelversions", "weir-kept-answers")
            assert set(rule["operations"]) <= ({"DELETE"} if deletes else {"CREATE", "UPDATE"})


def test_what_looks_at_foreign_kinds_stops_nobody_where_it_fails_and_never_weir(render: Render) -> None:
    rendered = render(release="other", more=MUTATING)
    foreign = rendered.one("ValidatingAdmissionPolicy", "other-weir-workloads")["spec"]
    assert foreign["failurePolicy"] == "Ignore"
    for rule in foreign["matchConstraints"]["resourceRules"]:
        assert rule["scope"] == ("Cluster" if "namespaces" in rule["resources"] else "Namespaced")
    for name in ("other-weir-workloads", "other-weir-subjects"):
        condition = rendered.one("ValidatingAdmissionPolicy", name)["spec"]["matchConditions"][0]
        user = "system:serviceaccount:weir-system:other-weir"
        assert condition["expression"] == f"request.userInfo.username != '{user}'"


def test_requests_wait_for_parameters_only_where_they_are_about_them(render: Render) -> None:
    rendered = render()
    for name, kind, label, missing in (
        ("weir-permits", "AgentPolicy", PERMIT_LABEL, "Deny"),
        ("weir-outer-bounds", "ClusterAgentPolicy", PERMIT_LABEL, "Allow"),
        ("weir-answers", "ActionRequest", ANSWERS_LABEL, "Allow"),
    ):
        spec = rendered.one("ValidatingAdmissionPolicy", name)["spec"]
        assert spec["paramKind"] == {"apiVersion": API_VERSION, "kind": kind}
        selector = spec["matchConstraints"]["objectSelector"]
        assert selector == {"matchExpressions": [{"key": label, "operator": "Exists"}]}
        bound = rendered.one("ValidatingAdmissionPolicyBinding", name)["spec"]["paramRef"]
        wanted = {"selector": {}} if kind == "ActionRequest" else {"name": POLICY_NAME}
        assert bound == {**wanted, "parameterNotFoundAction": missing}
    demanded = render("admission.agents.requireClusterPolicy=true")
    bound = demanded.one("ValidatingAdmissionPolicyBinding", "weir-outer-bounds")["spec"]["paramRef"]
    assert bound["parameterNotFoundAction"] == "Deny"


def test_each_message_for_agents_starts_with_the_name_of_its_rule(render: Render) -> None:
    for name in AGENTS:
        for rule in render().one("ValidatingAdmissionPolicy", name)["spec"]["validations"]:
            named = re.match(r"[A-Z][A-Za-z]+: ", rule["message"])
            assert named, rule
            # A reason for which something is blocked names itself.
            told = rule.get("messageExpression", named[0])
            assert named[0] in told or told.startswith('variables.blocks[0].reason + ": '), rule
            assert rule["reason"] in {"Forbidden", "Invalid"}


def test_the_operator_may_look_at_every_policy_of_the_chart_and_no_other(render: Render) -> None:
    rendered = render(release="other", more=MUTATING)
    names = {obj["metadata"]["name"] for kind in KINDS for obj in rendered.all(kind)}
    (rule,) = [r for r in rendered.one("ClusterRole", "other-weir-agents")["rules"] if "resourceNames" in r]
    assert set(rule["resourceNames"]) == names
    assert (rule["apiGroups"], rule["verbs"]) == (["admissionregistration.k8s.io"], ["get"])
    assert set(rule["resources"]) == {
        kind.lower().replace("policy", "policies").replace("policiesbinding", "policybindings") for kind in KINDS
    }


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


def test_annotations_and_labels_are_those_that_the_operator_reads(render: Render) -> None:
    found = {
        word.replace("~1", "/")
        for policy in policies(render(more=MUTATING))
        for text in expressions(policy["spec"])
        for word in re.findall(r"weir\.dev(?:/|~1)[a-z-]+", text)
    }
    assert found == {CHANGED_BY, AUTHOR, PERMIT_LABEL, ANSWERS_LABEL, PAUSED_LABEL}


@pytest.mark.parametrize("rollout", ["digits", "2.digits", "x" * 253])
def test_names_of_what_weir_makes_are_those_that_the_operator_gives(render: Render, rollout: str) -> None:
    spec = render().one("ValidatingAdmissionPolicy", FOREIGN)["spec"]
    (named,) = [v["expression"] for v in spec["variables"] if v["name"] == "named"]
    pool, backend = (re.compile(pattern) for pattern in re.findall(r"matches\('([^']+)'\)", named))
    deployment = pool_name(rollout, "sha256:1")

    assert all(pool.search(name) for name in (deployment, f"{deployment}-7b9c6d5f4x"))
    assert all(backend.search(derived_name(rollout, role)) for role in ROLES)
    assert not any(pattern.search(name) for pattern in (pool, backend) for name in ("web", "web-7b9c6d5f4x", "stable"))


def test_both_policies_for_rollouts_know_who_changed_one_by_the_same_expressions(render: Render) -> None:
    rendered = render(more=MUTATING)
    checked, stamped = (
        {v["name"]: v["expression"] for v in rendered.one(kind, "weir-rollouts")["spec"]["variables"]}
        for kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
    )
    assert stamped == {name: checked[name] for name in ("is", "was", "author", "oldAuthor", "wanted")}


def test_every_verb_of_the_roles_is_an_action_and_every_action_is_in_a_role(render: Render) -> None:
    # What needs a permit, and what everybody may do with their own.
    unheld = {"retrain", "reallocate", "withdraw"}
    actions = {action.lower() for action in get_args(Action)} - unheld
    known = actions | {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
    held = {
        verb
        for name in ("edit", "admin", "actor", "approver")
        for rule in render().one("ClusterRole", f"weir-{name}")["rules"]
        for verb in rule["verbs"]
    }
    assert held <= known
    assert actions <= held


def test_the_notes_say_what_is_missing(helm: Helm) -> None:
    install = ("install", "weir", str(CHART), "--namespace", "ns", "--dry-run=client")
    # Without a server Helm takes a cluster for one that does not serve the kind.
    assert "does not serve MutatingAdmissionPolicy" in helm(*install).partition("NOTES:")[2]
    off = helm(*install, "--set", "admission.actions=false").partition("NOTES:")[2]
    assert "WARNING: admission.actions is off" in off
    unguarded = helm(*install, "--set", "admission.checks=false").partition("NOTES:")[2]
    assert "WARNING: admission.checks is off" in unguarded
    ungoverned = helm(*install, "--set", "admission.agents.enabled=false").partition("NOTES:")[2]
    assert "WARNING: admission.agents.enabled is off" in ungoverned
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
