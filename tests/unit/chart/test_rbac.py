"""The operator's rights are exactly what its code needs, in either mode, verb by verb."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, get_args

import pytest

from weir.api.action import Action
from weir.runtime import resources

from .conftest import NAMESPACE, HelmError, Render, Rendered

WEIR, GATEWAY, RBAC = "weir.dev", "gateway.networking.k8s.io", "rbac.authorization.k8s.io"
READ = {"get", "list", "watch"}
KEEP = READ | {"create", "patch", "delete"}

SERVED = {
    (WEIR, "rollouts"): READ | {"patch", "pause", "abort", "rollback"},
    (WEIR, "modelversions"): READ | {"create"},
    (WEIR, "actionrequests"): READ | {"create", "delete"},
    (WEIR, "datacontracts"): READ,
    (WEIR, "agentpolicies"): READ,
    (WEIR, "rollouts/status"): {"patch"},
    (WEIR, "modelversions/status"): {"patch"},
    (WEIR, "actionrequests/status"): {"patch"},
    (WEIR, "datacontracts/status"): {"patch"},
    (WEIR, "agentpolicies/status"): {"patch"},
    (WEIR, "rolloutrecords"): READ | {"create"},
    (WEIR, "contractchecks"): READ | {"create", "delete"},
    ("apps", "controllerrevisions"): READ | {"create", "delete"},
    ("batch", "jobs"): READ | {"create", "patch"},
    ("", "configmaps"): {"get", "create"},
    ("", "serviceaccounts"): {"create"},
    (RBAC, "rolebindings"): {"create"},
    (RBAC, "clusterroles/weir-check"): {"bind"},
    ("apps", "deployments"): KEEP,
    ("", "services"): KEEP,
    ("", "pods"): {"list", "watch"},
    ("coordination.k8s.io", "leases"): {"get"},
    ("discovery.k8s.io", "endpointslices"): {"list", "watch"},
    (GATEWAY, "httproutes"): KEEP,
    ("events.k8s.io", "events"): {"create", "patch"},
}
GATEWAYS = {(GATEWAY, "gateways"): READ, (GATEWAY, "gatewayclasses"): READ}
GUARDRAILS = "admissionregistration.k8s.io"
AGENTS = {
    (WEIR, "clusteragentpolicies"): READ,
    (WEIR, "clusteragentpolicies/status"): {"patch"},
    ("", "namespaces"): READ,
}
LEASES = {("coordination.k8s.io", "leases"): {"get", "create", "update", "patch"}}

Rights = dict[tuple[str, str], set[str]]


def rights(roles: Iterable[dict[str, Any]]) -> Rights:
    """(group, resource) → verbs of roles; one that is for an object alone has its name after a slash."""
    found: Rights = defaultdict(set)
    for role in roles:
        for rule in role["rules"]:
            assert rule.keys() - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        found[group, f"{resource}/{name}" if name else resource] |= set(rule["verbs"])
    return dict(found)


def granted(rendered: Rendered, scope: str, namespace: str | None = None) -> Rights:
    """What the operator's account really gets through bindings: in the whole cluster, or in one namespace."""
    subject = {"kind": "ServiceAccount", "name": "weir", "namespace": NAMESPACE}
    bindings = [
        binding
        for binding in rendered.all(f"{scope}Binding")
        if subject in binding["subjects"] and binding["metadata"].get("namespace") == namespace
    ]
    assert all(binding["roleRef"]["kind"] == scope for binding in bindings)
    names = {binding["roleRef"]["name"] for binding in bindings}
    roles = [r for r in rendered.all(scope) if r["metadata"].get("namespace") == namespace]
    found = rights(role for role in roles if role["metadata"]["name"] in names)
    # tests/unit/chart/test_policies.py holds the list of their names.
    return {key: verbs for key, verbs in found.items() if key[0] != GUARDRAILS or verbs != {"get"}}


def test_cluster_mode_grants_exactly_what_the_operator_uses(render: Render) -> None:
    rendered = render()
    assert granted(rendered, "ClusterRole") == SERVED | GATEWAYS | AGENTS
    assert granted(rendered, "Role", NAMESPACE) == LEASES
    assert {role["metadata"]["namespace"] for role in rendered.all("Role")} == {NAMESPACE}


def test_namespaced_mode_grants_the_same_in_the_named_namespaces_only(render: Render) -> None:
    rendered = render('namespaces=["one","two"]')
    assert granted(rendered, "ClusterRole") == GATEWAYS | AGENTS
    assert granted(rendered, "Role", "one") == SERVED
    assert granted(rendered, "Role", "two") == SERVED
    assert granted(rendered, "Role", NAMESPACE) == LEASES
    assert {role["metadata"]["namespace"] for role in rendered.all("Role")} == {NAMESPACE, "one", "two"}


def test_namespaced_mode_may_serve_the_operators_own_namespace(render: Render) -> None:
    rendered = render(f'namespaces=["{NAMESPACE}"]')
    leases = SERVED["coordination.k8s.io", "leases"] | LEASES["coordination.k8s.io", "leases"]
    assert granted(rendered, "Role", NAMESPACE) == SERVED | {("coordination.k8s.io", "leases"): leases}


def test_the_pods_of_checks_may_write_results_and_nothing_else(render: Render) -> None:
    rendered = render(release="other")
    role = rendered.one("ClusterRole", "other-weir-check")
    assert rights([role]) == {(WEIR, "contractchecks"): {"get"}, (WEIR, "contractchecks/status"): {"patch"}}
    (operator,) = rendered.one("Deployment", "other-weir")["spec"]["template"]["spec"]["containers"]
    assert {"name": "WEIR_CHECK_ROLE", "value": "other-weir-check"} in operator["env"]
    assert (RBAC, "clusterroles/other-weir-check") in rights([rendered.one("ClusterRole", "other-weir")])


def test_every_kind_the_code_can_watch_is_granted_and_nothing_else_is() -> None:
    declared = {
        (resource.group, resource.plural)
        for resource in vars(resources).values()
        if isinstance(resource, resources.Resource)
    }
    wanted = {
        key for key in SERVED | GATEWAYS | AGENTS | LEASES if "/" not in key[1] and "bind" not in SERVED.get(key, ())
    }
    assert wanted <= declared


def test_no_rule_of_the_chart_has_a_wildcard_or_reads_secrets(render: Render) -> None:
    rendered = render()
    roles = [*rendered.all("ClusterRole"), *rendered.all("Role")]
    for (group, resource), verbs in rights(roles).items():
        assert "*" not in {group, resource, *verbs}
        assert resource != "secrets"


def test_people_get_weirs_kinds_through_the_builtin_roles(render: Render) -> None:
    rendered = render()
    kinds = {"rollouts", "modelversions", "rolloutrecords", "actionrequests", "datacontracts", "contractchecks"}
    kinds |= {"agentpolicies", "clusteragentpolicies"}
    view, edit, admin = (rendered.one("ClusterRole", f"weir-{name}") for name in ("view", "edit", "admin"))
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert rights([view]) == {(WEIR, kind): READ for kind in kinds}
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]
    assert {key[1] for key in rights([edit])} == kinds - {"rolloutrecords", "agentpolicies", "clusteragentpolicies"}
    assert "rbac.authorization.k8s.io/aggregate-to-edit" not in admin["metadata"]["labels"]
    assert {key[1] for key in rights([admin])} == {"agentpolicies", "rollouts"}


def test_editors_may_do_all_but_answer_and_only_admins_may_override(render: Render) -> None:
    edit, admin = (rights([render().one("ClusterRole", f"weir-{name}")]) for name in ("edit", "admin"))
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    actions = {action.lower() for action in get_args(Action)}
    answers, templates = {"approve", "deny", "override", "withdraw"}, {"retrain", "reallocate"}
    assert edit[WEIR, "rollouts"] == writes | (actions - answers - templates)
    assert admin[WEIR, "rollouts"] == {"override"}


@pytest.mark.parametrize(
    ("name", "actions"),
    [("actor", {"abort", "pause", "resume", "rollback"}), ("approver", {"approve", "deny", "abort"})],
)
def test_the_right_to_act_is_not_the_right_to_deploy(render: Render, name: str, actions: set[str]) -> None:
    role = render().one("ClusterRole", f"weir-{name}")
    writes = {key: verbs - READ for key, verbs in rights([role]).items() if verbs - READ}
    assert writes == {(WEIR, "actionrequests"): {"create"}, (WEIR, "rollouts"): actions}
    # The ledger, which says what waits for whom and who agreed, is the status of the AgentPolicy.
    assert rights([role])[WEIR, "agentpolicies"] >= READ
    assert not any("aggregate" in label for label in role["metadata"]["labels"])


def test_agents_may_look_and_ask_and_the_platform_sets_their_outer_bounds(render: Render) -> None:
    agent, platform = (render().one("ClusterRole", f"weir-{name}") for name in ("agent", "platform"))
    writes = {key: verbs - READ for key, verbs in rights([agent]).items() if verbs - READ}
    assert writes == {(WEIR, "actionrequests"): {"create"}}
    assert rights([platform]) == {(WEIR, "clusteragentpolicies"): READ | {"create", "update", "patch", "delete"}}
    assert not any("aggregate" in label for role in (agent, platform) for label in role["metadata"]["labels"])


def test_kinds_of_templates_are_granted_one_by_one(render: Render) -> None:
    kinds = render('agents.templateKinds=["workflows.argoproj.io"]', 'namespaces=["one"]')
    found = granted(kinds, "Role", "one")
    assert found["argoproj.io", "workflows"] == {"get", "create", "patch"}
    assert found["batch", "jobs"] == READ | {"create"}
    for wrong in ("jobs", "*.batch", "secrets.", "Jobs.batch", "jobs.*"):
        with pytest.raises(HelmError, match="templateKinds"):
            render(f'agents.templateKinds=["{wrong}"]')


def test_roles_can_be_left_to_somebody_else(render: Render) -> None:
    rendered = render("rbac.create=false", "rbac.users=false")
    assert [o for o in rendered.objects if o["kind"].endswith(("Role", "RoleBinding"))] == []
