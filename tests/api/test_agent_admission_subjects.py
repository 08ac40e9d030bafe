"""Agents act by ActionRequests under a permit and in no other way, whatever roles they were given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.permits import Permits
from weir.api.agentpolicy import POLICY_NAME
from weir.api.kinds import KINDS
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CONTRACT_CHECKS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    ROLLOUTS,
    Resource,
)

pytestmark = pytest.mark.api

WRITTEN = [kind for kind in KINDS if not kind.cluster_scoped]
SPECS = {kind: spec for kind, _, spec in reversed(good.GOOD)}
LABELS = {"weir.dev/rollout": "digits"}
POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "model", "image": "registry.example/model:1"}]},
}
DEPLOYMENT: dict[str, Any] = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": POD}
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "deployments": ("/apis/apps/v1", {"spec": DEPLOYMENT}),
    "controllerrevisions": ("/apis/apps/v1", {"revision": 1, "data": {"odcs": "{}"}}),
    "services": ("/api/v1", {"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}),
    "pods": ("/api/v1", {"spec": POD["spec"]}),
    "configmaps": ("/api/v1", {"data": {"plan": "{}"}}),
    "jobs": (
        "/apis/batch/v1",
        {"spec": {"suspend": True, "template": {"spec": {**POD["spec"], "restartPolicy": "Never"}}}},
    ),
    "httproutes": (
        "/apis/gateway.networking.k8s.io/v1",
        {"apiVersion": HTTP_ROUTES.api_version, "kind": "HTTPRoute", "spec": {"parentRefs": [{"name": "web"}]}},
    ),
}


@pytest.fixture(scope="module")
def desk(lab: Lab) -> Permits:
    """A namespace whose agent `tuner` somebody carelessly gave every right."""
    made = Permits(lab)
    made.govern()
    for name in ("digits", "letters"):
        made.create(made.user("alice", "edit"), name, approvals=None)
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    made.grant(made.account, everything, "promote")
    return made


def tried(desk: Permits, by: Api, verb: str, resource: Resource, name: str | None = None, body: Any = None) -> Any:
    """A write without effect, where it is let through; raises Failure."""
    content = "application/merge-patch+json" if verb == "PATCH" else "application/json"
    return by.call(verb, resource.path(desk.namespace, name), body, content, dryRun="All")


# --- Weir's own kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.name)
def test_given_every_right_when_an_agent_creates_any_kind_then_only_requests_under_a_permit_are_admitted(
    desk: Permits, kind: Any
) -> None:
    resource = Resource("weir.dev", "v1alpha1", kind.plural, kind.name)
    name = POLICY_NAME if resource == AGENT_POLICIES else "made"
    body = {"apiVersion": resource.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": SPECS[kind.name]}
    with refused(403, "PermitNeeded: user 'system:serviceaccount:", ":tuner' is an agent of namespace"):
        tried(desk, desk.tuner, "POST", resource, body=body)


def test_given_every_right_when_an_agent_changes_or_deletes_anything_of_weirs_then_it_is_refused(desk: Permits) -> None:
    mine = desk.under(desk.tuner, "stop", "Abort")["metadata"]["name"]
    for resource, name in ((ROLLOUTS, "digits"), (AGENT_POLICIES, POLICY_NAME), (ACTION_REQUESTS, mine)):
        with refused(403, "PermitNeeded: "):
            tried(desk, desk.tuner, "PATCH", resource, name, {"metadata": {"annotations": {"x": "y"}}})
        with refused(403, "PermitNeeded: "):
            tried(desk, desk.tuner, "DELETE", resource, name)
        with refused(403, "PermitNeeded: "):
            status = {"status": {"message": "forged"}}
            desk.tuner.merge(resource, desk.namespace, name, status, status=True)
    with refused(403, "PermitNeeded: "):
        tried(desk, desk.tuner, "DELETE", ACTION_REQUESTS)


@pytest.mark.parametrize("action", ["Promote", "Abort", "Drill"])
def test_given_every_right_when_an_agent_leaves_the_permit_out_then_it_is_refused(desk: Permits, action: str) -> None:
    with refused(403, "PermitNeeded: ", "ActionRequests that name a permit in spec.permit"):
        desk.ask(desk.tuner, action, dry_run=True)


@pytest.mark.parametrize("action", ["Approve", "Deny", "Override"])
def test_given_every_right_when_an_agent_answers_a_request_then_it_is_refused(desk: Permits, action: str) -> None:
    about = {"name": "nobody-1-1", "uid": "x", "digest": good.DIGEST}
    for agent in (desk.tuner, desk.pipeline):
        with pytest.raises(
            Failure, match="403: .*(a service account cannot|PermitNeeded: |may not (approve|deny|override))"
        ):
            desk.ask(agent, action, request=about, dry_run=True)


def test_given_an_agent_when_it_withdraws_by_the_name_of_a_slot_then_it_is_refused(desk: Permits) -> None:
    body = {
        "metadata": {"name": "back-57-3", "namespace": desk.namespace},
        "spec": {
            "action": "Withdraw",
            "rolloutRef": {"name": "digits"},
            "reason": "test",
            "request": {"name": "back-57-1", "uid": "x"},
        },
    }
    with refused(403, "SlotOfAnother: metadata.name 'back-57-3' looks like a slot of a permit"):
        desk.tuner.create(ACTION_REQUESTS, body)
    body["metadata"] = {**body["metadata"], "name": "no-more", "finalizers": ["example.com/mine"]}
    with refused(403, "PlainMetadata: "):
        desk.tuner.create(ACTION_REQUESTS, body)


# --- what Weir made --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plural", MADE)
def test_given_every_right_when_an_agent_writes_what_weir_made_then_it_is_refused_and_its_own_is_not(
    desk: Permits, plural: str
) -> None:
    group, content = MADE[plural]
    path = f"{group}/namespaces/{desk.namespace}/{plural}"
    for name, meta in (
        ("weirs", {"labels": LABELS}),
        ("own", {"labels": {"app": "x"}}),
        ("claimed", {"annotations": LABELS}),
    ):
        body = {"metadata": {"name": f"{plural}-{name}", **meta}, **content}
        desk.lab.api.call("POST", path, body)
        if name == "own":
            assert desk.tuner.call(
                "POST", path, {**body, "metadata": {**body["metadata"], "name": "other"}}, dryRun="All"
            )
            assert desk.tuner.call("DELETE", f"{path}/{plural}-{name}", dryRun="All")
            continue
        for verb, where, sent in (
            ("POST", path, {**body, "metadata": {**body["metadata"], "name": "forged"}}),
            ("PATCH", f"{path}/{plural}-{name}", {"metadata": {"labels": {"weir.dev/rollout": None}}}),
            ("DELETE", f"{path}/{plural}-{name}", None),
        ):
            if verb == "PATCH" and plural == "controllerrevisions":
                continue  # nobody can change one
            kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
            with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
                desk.tuner.call(verb, where, sent, kind, dryRun="All")


def test_given_every_right_when_an_agent_scales_then_it_is_refused(desk: Permits) -> None:
    body = {"metadata": {"name": "scaled", "namespace": desk.namespace, "labels": LABELS}, "spec": DEPLOYMENT}
    desk.lab.api.create(DEPLOYMENTS, body)
    path = DEPLOYMENTS.path(desk.namespace, "scaled", "scale")
    with refused(403, "PermitNeeded: "):
        desk.tuner.call("PATCH", path, {"spec": {"replicas": 0}}, "application/merge-patch+json")


def test_given_the_right_to_change_the_namespace_when_an_agent_takes_the_kill_switch_away_then_it_is_refused(
    lab: Lab,
) -> None:
    room = Permits(lab)
    room.govern()
    path, content = f"/api/v1/namespaces/{room.namespace}", "application/merge-patch+json"
    room.grant(room.account, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"]}], "list")
    eventually(lambda: _patched(room.tuner, path), "own role")

    for label in ("paused", "no", None):
        lab.api.call("PATCH", path, {"metadata": {"labels": {"weir.dev/agents": "paused"}}}, content)
        with refused(403, "PermitNeeded: ", "does not touch what belongs to Weir"):
            room.tuner.call("PATCH", path, {"metadata": {"labels": {"weir.dev/agents": label, "y": "z"}}}, content)
        lab.api.call("PATCH", path, {"metadata": {"labels": {"weir.dev/agents": None}}}, content)
        with refused(403, "PermitNeeded: "):
            room.tuner.call("PATCH", path, {"metadata": {"labels": {"weir.dev/agents": "no"}}}, content)


def _patched(by: Api, path: str) -> bool:
    try:
        return bool(by.call("PATCH", path, {"metadata": {"labels": {"team": "x"}}}, "application/merge-patch+json"))
    except Failure:
        return False


# --- others ----------------------------------------------------------------------------------------------------------


def test_given_an_agent_when_it_writes_in_another_namespace_then_that_ones_policy_counts(
    lab: Lab, desk: Permits
) -> None:
    other = Permits(lab)
    other.govern(subjects=[{"name": "tuner", "namespace": other.namespace}])
    other.grant(desk.account, [{"apiGroups": ["weir.dev"], "resources": ["*"], "verbs": ["*"]}], "promote")
    assert other.ask(desk.tuner, "Abort", dry_run=True)
    with refused(403, "NoSubject: user"):
        other.under(desk.tuner, "stop", "Abort", dry_run=True)


def test_given_a_group_that_the_operator_is_in_when_it_is_a_subject_then_the_operator_goes_on(lab: Lab) -> None:
    room = Permits(lab)
    room.govern(subjects=[{"kind": "Group", "name": "system:serviceaccounts:weir-system"}])
    room.create(room.user("alice", "edit"), approvals=None)
    weir = Api(lab.kubeconfig)
    weir.merge(ROLLOUTS, room.namespace, "digits", {"status": {"message": "going on"}}, status=True)
    assert room.lab.api.get(ROLLOUTS, room.namespace, "digits")["status"]["message"] == "going on"
    with refused(403, "NoSubject: "):
        room.under(weir, "stop", "Abort", dry_run=True)

    path = "/api/v1/namespaces/weir-system/serviceaccounts"
    lab.api.call("POST", path, {"metadata": {"name": "other"}})
    other = Api(lab.kubeconfig_for("weir-system", "other"))
    room.grant(
        "system:serviceaccount:weir-system:other",
        [{"apiGroups": ["weir.dev"], "resources": ["*"], "verbs": ["*"]}],
        "promote",
    )
    with refused(403, "PermitNeeded: "):
        room.ask(other, "Abort", dry_run=True)


def test_given_people_when_there_is_a_policy_then_they_write_as_before(desk: Permits) -> None:
    alice = desk.user("alice", "edit")
    assert desk.edit(alice, progressDeadline="9m") == "alice"
    chief = desk.user("chief", "admin")
    assert desk.write({**desk.spec(), "paused": False}, by=chief)
    desk.govern()


def test_given_a_group_that_the_pod_of_a_check_is_in_when_it_writes_its_result_then_that_is_for_another_policy(
    lab: Lab,
) -> None:
    room = Permits(lab)
    room.govern(subjects=[{"kind": "Group", "name": f"system:serviceaccounts:{room.namespace}"}])
    check = {"metadata": {"name": "orders", "namespace": room.namespace}, "spec": good.CHECK}
    lab.api.create(CONTRACT_CHECKS, check)
    room.grant(room.account, [{"apiGroups": ["weir.dev"], "resources": ["*"], "verbs": ["*"]}], "promote")
    pod = lab.api.acting_as(room.account, f"system:serviceaccounts:{room.namespace}")
    status = {"verdict": "Pass", "digest": good.DIGEST, "startedAt": good.TIME, "finishedAt": good.TIME}
    with refused(403, "is not the pod of ContractCheck 'orders'"):
        pod.merge(CONTRACT_CHECKS, room.namespace, "orders", {"status": status}, status=True)
    with refused(403, "PermitNeeded: "):
        pod.merge(CONTRACT_CHECKS, room.namespace, "orders", {"metadata": {"labels": {"x": "y"}}})
