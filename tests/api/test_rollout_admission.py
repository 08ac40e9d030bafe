"""Who changed a Rollout, as the API server writes it down, and who may touch its approvals; no operator runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from devcluster.errors import ClusterError
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import BEFORE_25, GROUP, OWNER, Guarded, changed_by, refused
from tests.api.harness.lab import Lab, admission_in_force, chart_objects
from weir.api.approval import CHANGED_BY
from weir.controller.guardrails import REQUESTER_RULE
from weir.runtime.resources import ROLLOUTS, KubeObject

pytestmark = pytest.mark.api

_CHECKING = "ValidatingAdmissionPolicyBinding"


@pytest.fixture
def room(lab: Lab) -> Guarded:
    """An empty namespace of its own."""
    return Guarded(lab)


@pytest.fixture
def alice(room: Guarded) -> Api:
    """May edit."""
    return room.user("alice", "edit")


@pytest.fixture
def bob(room: Guarded) -> Api:
    """May edit."""
    return room.user("bob", "edit")


def server_side(
    room: Guarded, api: Api, manifest: KubeObject, manager: str, *, subresource: str | None = None
) -> KubeObject:
    """Server-side apply, by force."""
    path = ROLLOUTS.path(room.namespace, manifest["metadata"]["name"], subresource)
    return api.call("PATCH", path, manifest, "application/apply-patch+yaml", fieldManager=manager, force="true")


# --- who changed it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("approvals", [[BEFORE_25], None], ids=["approvals", "no approvals"])
def test_given_changes_by_several_people_when_the_version_changes_then_the_list_begins_anew(
    room: Guarded, alice: Api, bob: Api, approvals: Any
) -> None:
    assert changed_by(room.create(alice, approvals=approvals)) == "alice"
    assert room.edit(bob, progressDeadline="5m") == "alice,bob"
    assert room.edit(alice, replicas=2) == "alice,bob"
    assert room.edit(bob, versionRef={"name": "digits-2"}) == "bob"
    assert room.edit(alice, versionRef={"name": "digits-3"}, replicas=3) == "alice"


@pytest.mark.parametrize("forged", ["bob", "", "alice,bob", "alice "])
def test_given_a_forged_annotation_when_created_or_changed_then_the_user_stands_there(
    room: Guarded, alice: Api, forged: str
) -> None:
    annotations = {CHANGED_BY: forged}
    made = alice.create(ROLLOUTS, room.manifest(annotations=annotations))
    edit = {"metadata": {"annotations": annotations}, "spec": {"replicas": 2}}

    assert changed_by(made) == "alice"
    assert changed_by(alice.merge(ROLLOUTS, room.namespace, "digits", edit)) == "alice"


@pytest.mark.parametrize("value", [None, "", "eve", "alice,eve"])
def test_given_nothing_else_changes_when_the_annotation_is_dropped_or_forged_then_it_stays(
    room: Guarded, alice: Api, bob: Api, value: str | None
) -> None:
    room.create(alice)
    assert room.annotate(bob, changed_by=value) == "alice"


def test_given_a_change_of_metadata_or_of_nothing_when_written_then_nobody_is_added(
    room: Guarded, alice: Api, bob: Api
) -> None:
    room.create(alice)
    change = {"metadata": {"labels": {"team": "vision"}, "annotations": {"note": "x"}}}
    assert changed_by(bob.merge(ROLLOUTS, room.namespace, "digits", change)) == "alice"
    assert room.edit(bob, replicas=1) == "alice"


def test_given_the_authors_that_git_names_when_changed_then_who_changes_them_counts_as_author(
    room: Guarded, alice: Api, bob: Api
) -> None:
    alice.create(ROLLOUTS, room.manifest(annotations={"weir.dev/author": "carol"}))
    assert room.annotate(bob, author="carol") == "alice"
    assert room.annotate(bob, author="dave") == "alice,bob"
    assert room.edit(bob, versionRef={"name": "digits-2"}) == "bob"


def test_given_a_rollout_from_before_the_policies_when_changed_then_the_list_begins_with_that_user(
    room: Guarded, alice: Api, unstamped: None
) -> None:
    room.create(alice, approvals=None)
    stamp(room.lab)
    assert room.changed_by() == ""
    assert room.annotate(alice, changed_by="bob") == ""
    assert room.edit(alice, approvals=[BEFORE_25]) == "alice"


# --- ways to write -------------------------------------------------------------------------------------------------


def test_given_manifests_without_the_annotation_when_applied_or_replaced_by_kubectl_then_it_is_kept(
    room: Guarded, alice: Api, bob: Api
) -> None:
    kubectl = room.lab.server.kubectl
    one, two = (json.dumps(room.manifest(versionRef={"name": name}, replicas=2)) for name in ("digits-1", "digits-2"))

    kubectl("apply", "-f", "-", "--as=alice", stdin=one)
    kubectl("apply", "-f", "-", "--as=bob", stdin=one)
    assert room.changed_by() == "alice"
    kubectl("apply", "-f", "-", "--as=bob", stdin=one.replace('"replicas": 2', '"replicas": 3'))
    assert room.changed_by() == "alice,bob"
    kubectl("replace", "-f", "-", "--as=bob", stdin=one.replace('"replicas": 2', '"replicas": 3'))
    assert room.changed_by() == "alice,bob"
    kubectl("replace", "-f", "-", "--as=bob", stdin=two)
    assert room.changed_by() == "bob"


@pytest.mark.parametrize("annotations", [None, {CHANGED_BY: "eve"}], ids=["without", "forged"])
def test_given_server_side_apply_by_gitops_and_helm_when_repeated_then_the_annotation_is_kept(
    room: Guarded, alice: Api, bob: Api, annotations: dict[str, str] | None
) -> None:
    manifest = room.manifest(annotations=annotations)
    for _ in range(2):
        assert changed_by(server_side(room, alice, manifest, "helm")) == "alice"
    # What a manager no longer names, server-side apply takes away.
    assert changed_by(server_side(room, bob, room.manifest(), "helm")) == "alice"
    assert changed_by(server_side(room, bob, room.manifest(replicas=2), "helm")) == "alice,bob"


def test_given_the_operator_when_it_writes_finalizer_and_status_then_it_is_neither_blocked_nor_written_down(
    room: Guarded, alice: Api, lab: Lab
) -> None:
    room.create(alice)
    operator = Api(lab.kubeconfig)
    meta = {"name": "digits", "namespace": room.namespace}
    head = {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind}

    added = {**head, "metadata": {**meta, "finalizers": ["weir.dev/rollout"]}}
    held = server_side(room, operator, added, "weir-finalizer")
    assert (held["metadata"]["finalizers"], changed_by(held)) == (["weir.dev/rollout"], "alice")
    status = {**head, "metadata": meta, "status": {"phase": "Pending"}}
    told = server_side(room, operator, status, "weir-status", subresource="status")
    assert (told["status"]["phase"], changed_by(told)) == ("Pending", "alice")
    freed = server_side(room, operator, {**head, "metadata": meta}, "weir-finalizer")
    assert ("finalizers" in freed["metadata"], changed_by(freed)) == (False, "alice")


def test_given_a_dying_namespace_when_the_operator_lets_go_then_everything_in_it_goes(
    room: Guarded, alice: Api, lab: Lab
) -> None:
    room.create(alice)
    finalizers = {"metadata": {"finalizers": ["weir.dev/rollout"]}}
    lab.api.merge(ROLLOUTS, room.namespace, "digits", finalizers)
    room.ask(alice, "Abort")
    lab.api.call("DELETE", f"/api/v1/namespaces/{room.namespace}")

    def dying() -> bool:
        return "deletionTimestamp" in lab.api.get(ROLLOUTS, room.namespace, "digits")["metadata"]

    eventually(dying, "the Rollout is being deleted")
    Api(lab.kubeconfig).merge(ROLLOUTS, room.namespace, "digits", {"metadata": {"finalizers": None}})
    eventually(lambda: _gone(lab.api, f"/api/v1/namespaces/{room.namespace}"), "the namespace is gone", within=60)


def test_given_an_owner_that_is_deleted_when_the_garbage_collector_follows_then_it_is_not_blocked(
    room: Guarded, alice: Api, lab: Lab
) -> None:
    owners = f"/api/v1/namespaces/{room.namespace}/configmaps"
    owner = lab.api.call("POST", owners, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    for name in ("digits", "orphan"):
        manifest = room.manifest(name)
        manifest["metadata"]["ownerReferences"] = [reference]
        alice.create(ROLLOUTS, manifest)

    collector = lab.api.acting_as("system:serviceaccount:kube-system:generic-garbage-collector")
    let_go = {"metadata": {"ownerReferences": None}}
    assert changed_by(collector.merge(ROLLOUTS, room.namespace, "orphan", let_go)) == "alice"
    lab.api.call("DELETE", f"{owners}/owner", {"propagationPolicy": "Background"})
    eventually(lambda: _gone(lab.api, ROLLOUTS.path(room.namespace, "digits")), "the Rollout is gone", within=60)
    assert changed_by(lab.api.get(ROLLOUTS, room.namespace, "orphan")) == "alice"


def _gone(api: Api, path: str) -> bool:
    try:
        api.call("GET", path)
    except Failure as failure:
        return failure.status == 404
    return False


# --- approvals may be added, not taken away ------------------------------------------------------------------------

LESS = {
    "removed": [OWNER],
    "all removed": None,
    "emptied": [],
    "lower quorum": [{**BEFORE_25, "quorum": 1, "expiresAfter": "48h"}, OWNER],
    "other group": [{**BEFORE_25, "from": {"group": "interns"}}, OWNER],
    "later": [{**BEFORE_25, "name": "Traffic(25)", "before": "Promote"}, OWNER],
}


@pytest.mark.parametrize("less", LESS.values(), ids=LESS.keys())
def test_given_an_editor_when_they_change_or_remove_an_approval_then_it_is_refused(
    room: Guarded, alice: Api, less: Any
) -> None:
    room.create(alice)
    with refused(403, "user 'alice' may not change or remove the approval 'Traffic(25)'", "the verb override"):
        room.edit(alice, approvals=less)


def test_given_an_editor_when_they_add_or_reorder_approvals_then_it_is_admitted(room: Guarded, alice: Api) -> None:
    room.create(alice, approvals=None)
    room.edit(alice, approvals=[BEFORE_25])
    room.edit(alice, approvals=[OWNER, BEFORE_25])
    assert room.edit(alice, approvals=[OWNER, BEFORE_25, {**OWNER, "name": "second"}]) == "alice"


def test_given_the_verb_override_when_approvals_are_removed_then_it_is_admitted_and_written_down(
    room: Guarded, alice: Api
) -> None:
    room.create(alice)
    chief = room.user("chief", "admin")
    assert room.edit(chief, approvals=None) == "alice,chief"
    assert "approvals" not in room.lab.api.get(ROLLOUTS, room.namespace, "digits")["spec"]


def test_given_a_user_name_with_a_comma_when_they_change_a_rollout_with_approvals_then_it_is_refused(
    room: Guarded, alice: Api
) -> None:
    odd = room.user("alice,bob", "edit")
    room.create(alice)
    with refused(403, "a user whose name has a comma cannot change a Rollout with approvals: 'alice,bob'"):
        room.edit(odd, replicas=2)
    with refused(403, "a user whose name has a comma"):
        room.create(odd, "letters")
    assert room.create(odd, "plain", approvals=None)
    assert changed_by(odd.merge(ROLLOUTS, room.namespace, "digits", {"metadata": {"labels": {"a": "b"}}})) == "alice"


# --- clusters that cannot fill anything in -------------------------------------------------------------------------


def stamp(lab: Lab) -> None:
    """The policies that fill in are in force, again."""
    lab.apply(*_filling_in())
    eventually(lambda: admission_in_force(lab.api), "admission policies in force")


def _filling_in() -> list[KubeObject]:
    return [obj for obj in chart_objects() if obj["kind"] == "MutatingAdmissionPolicyBinding"]


@pytest.fixture
def unstamped(lab: Lab) -> Iterator[None]:
    """The API server as it is before Kubernetes 1.36: without the policies that fill in."""
    path = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
    for binding in _filling_in():
        lab.api.call("DELETE", f"{path}/{binding['metadata']['name']}")
    eventually(lambda: not admission_in_force(lab.api), "nothing is filled in")
    yield
    stamp(lab)


@pytest.mark.usefixtures("unstamped")
def test_given_nothing_that_fills_in_when_asked_without_a_requester_then_it_is_refused_and_the_name_is_told(
    room: Guarded, alice: Api
) -> None:
    with refused(403, REQUESTER_RULE, "'alice'", "kubectl weir fills it in"):
        room.ask(alice, "Abort")
    with refused(403, REQUESTER_RULE):
        room.ask(alice, "Abort", requester="bob")
    assert room.ask(alice, "Abort", requester="alice")


@pytest.mark.usefixtures("unstamped")
def test_given_nothing_that_fills_in_when_a_rollout_with_approvals_is_written_then_the_user_must_name_themselves(
    room: Guarded, alice: Api, bob: Api
) -> None:
    with refused(403, "the annotation weir.dev/changed-by must be 'alice', not ''"):
        room.create(alice)
    with refused(403, "must be 'alice', not 'bob'"):
        alice.create(ROLLOUTS, room.manifest(annotations={CHANGED_BY: "bob"}))
    alice.create(ROLLOUTS, room.manifest(annotations={CHANGED_BY: "alice"}))

    with refused(403, "must be 'alice,bob', not 'alice'"):
        room.edit(bob, replicas=2)
    with refused(403, "must be 'bob', not 'alice'"):
        room.edit(bob, versionRef={"name": "digits-2"})
    for wrong in (None, "bob"):
        with refused(403, "must be 'alice', not"):
            room.annotate(bob, changed_by=wrong)
    change = {"metadata": {"annotations": {CHANGED_BY: "bob"}}, "spec": {"versionRef": {"name": "digits-2"}}}
    assert changed_by(bob.merge(ROLLOUTS, room.namespace, "digits", change)) == "bob"


@pytest.mark.usefixtures("unstamped")
def test_given_nothing_that_fills_in_when_gitops_applies_then_its_own_constant_name_will_do(
    room: Guarded, alice: Api
) -> None:
    for version in ("digits-1", "digits-2"):
        for replicas in (1, 2):
            named = {CHANGED_BY: "alice"}
            manifest = room.manifest(annotations=named, versionRef={"name": version}, replicas=replicas)
            assert changed_by(server_side(room, alice, manifest, "argocd")) == "alice"


@pytest.mark.usefixtures("unstamped")
def test_given_nothing_that_fills_in_when_a_rollout_has_no_approvals_then_nothing_is_asked(
    room: Guarded, alice: Api, bob: Api
) -> None:
    room.create(alice, approvals=None)
    assert room.edit(bob, replicas=2) == ""


@pytest.fixture
def unguarded(lab: Lab, room: Guarded, unstamped: None) -> Iterator[Api]:
    """Nothing checks Rollouts either, as before the policies were installed; gives an editor."""
    (binding,) = (o for o in chart_objects() if o["kind"] == _CHECKING and o["metadata"]["name"] == "weir-rollouts")
    alice = room.user("alice", "edit")
    lab.api.call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/weir-rollouts")
    eventually(lambda: _creates(room, alice, "first"), "nothing checks Rollouts")
    yield alice
    lab.apply(binding)
    again = itertools.count()
    eventually(lambda: not _creates(room, alice, f"again-{next(again)}"), "Rollouts are checked")


def _creates(room: Guarded, by: Api, name: str) -> bool:
    try:
        room.create(by, name)
    except Failure:
        return False
    return True


def test_given_a_rollout_of_which_nobody_knows_who_changed_it_when_approved_then_it_is_refused(
    room: Guarded, unguarded: Api
) -> None:
    assert changed_by(room.create(unguarded)) == ""
    dan = room.user("dan", "weir-approver", group=GROUP)
    digest = room.tell()["Traffic(25)"]

    def told() -> bool:
        refusal = room.refusal(dan, "Traffic(25)", digest, requester="dan")
        return "who changed Rollout 'digits' is not known" in refusal

    # At first the policies know neither the Rollout nor its status.
    assert eventually(told, "the refusal")


def test_given_the_policies_when_kubectl_applies_a_bad_change_then_the_whole_message_reaches_the_user(
    room: Guarded, alice: Api
) -> None:
    room.create(alice)
    apply = ("apply", "--server-side", "--force-conflicts", "--as=alice", "-f", "-")
    fewer = json.dumps(room.manifest(approvals=[OWNER]))
    with pytest.raises(ClusterError, match="needs the verb override on resource rollouts of API group weir.dev"):
        room.lab.server.kubectl(*apply, stdin=fewer)
