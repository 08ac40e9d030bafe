"""Who may ask for what, and who may consent to what: the API server alone decides, for no operator runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.harness.api import Api, eventually
from tests.api.harness.guarded import BEFORE_25, GROUP, OWNER, Guarded, refused
from tests.api.harness.lab import Lab
from weir.api.action import Action
from weir.controller.guardrails import REQUESTER_RULE
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS

pytestmark = pytest.mark.api

VERBS: tuple[Action, ...] = ("Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "Approve", "Rollback", "Drill")
ON_CALL = {"Abort", "Pause", "Resume", "Rollback"}
EDITORS = set(VERBS) - {"Approve"}
ANY = {"name": "Traffic(25)", "digest": "sha256:" + "0" * 64}


def tried(desk: Guarded, by: Api, action: str) -> Any:
    """Asks for an action without effect; raises Failure.

    An Approve is for a Rollout that is not there: where two policies refuse, either may give the answer.
    """
    name, fields = ("nowhere", {"approval": ANY}) if action == "Approve" else ("digits", {})
    return desk.ask(by, action, name, dry_run=True, **fields)


@pytest.fixture(scope="module")
def desk(lab: Lab) -> Guarded:
    """A namespace with a Rollout that alice wrote, and people with roles."""
    made = Guarded(lab)
    made.create(made.user("alice", "edit"))
    return made


@pytest.fixture
def room(lab: Lab) -> Guarded:
    """An empty namespace of its own."""
    return Guarded(lab)


@pytest.fixture(scope="module")
def oncall(desk: Guarded) -> Api:
    """May abort, may not promote."""
    return desk.user("oncall", "weir-actor")


@pytest.fixture(scope="module")
def dan(desk: Guarded) -> Api:
    """An approver who has changed nothing."""
    return desk.user("dan", "weir-approver", group=GROUP)


# --- the requester -------------------------------------------------------------------------------------------------


def test_given_no_requester_when_asked_then_the_api_server_fills_in_the_user(desk: Guarded, oncall: Api) -> None:
    assert desk.ask(oncall, "Abort")["spec"]["requester"] == "oncall"


def test_given_ones_own_name_when_asked_then_it_is_admitted(desk: Guarded, oncall: Api) -> None:
    assert desk.ask(oncall, "Abort", requester="oncall")["spec"]["requester"] == "oncall"


@pytest.mark.parametrize("forged", ["alice", "", "oncall ", "system:serviceaccount:weir-system:weir"])
def test_given_another_name_when_asked_then_it_is_refused_in_the_words_that_the_operator_looks_for(
    desk: Guarded, oncall: Api, forged: str
) -> None:
    with refused(403, REQUESTER_RULE, "'oncall'", f"not '{forged}'"):
        desk.ask(oncall, "Abort", requester=forged)


def test_given_the_operators_own_account_when_it_forges_a_name_in_a_dry_run_then_the_answer_is_that_rule(
    desk: Guarded, lab: Lab
) -> None:
    with refused(403, REQUESTER_RULE):
        desk.ask(Api(lab.kubeconfig), "Abort", "none", dry_run=True, requester="weir.dev/nobody")


def test_given_an_audit_log_when_asked_then_it_says_who_asked_for_what(desk: Guarded, lab: Lab) -> None:
    auditor = desk.user("audited", "weir-actor")
    desk.ask(auditor, "Pause")
    with refused(403, REQUESTER_RULE):
        desk.ask(auditor, "Pause", requester="alice")

    def noted() -> list[str]:
        key = "weir-actions/action"
        entries = [json_line for json_line in lab.server.audit_log.read_text().splitlines() if "audited" in json_line]
        return [line for line in entries if key in line]

    lines = eventually(lambda: noted() if len(noted()) == 2 else [], "both requests in the audit log")
    assert all(f"Pause {desk.namespace}/digits by audited" in line for line in lines)
    assert "validation_failure" in lines[1]


# --- verbs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", VERBS)
def test_given_those_on_call_when_they_ask_then_they_may_go_back_but_not_on(
    desk: Guarded, oncall: Api, action: str
) -> None:
    if action in ON_CALL:
        assert tried(desk, oncall, action)
        return
    with refused(403, f"user 'oncall' may not {action.lower()} Rollout", f"the verb {action.lower()} "):
        tried(desk, oncall, action)


@pytest.mark.parametrize("action", VERBS)
def test_given_an_editor_when_they_ask_then_they_may_do_all_but_approve(desk: Guarded, action: str) -> None:
    alice = desk.lab.api.acting_as("alice")
    if action in EDITORS:
        assert tried(desk, alice, action)
        return
    with refused(403, "user 'alice' may not approve Rollout"):
        tried(desk, alice, action)


def test_given_a_reader_when_they_ask_then_the_api_server_lets_them_create_nothing(desk: Guarded) -> None:
    desk.bind("reader", {"kind": "ClusterRole", "name": "view"})
    reader = desk.lab.api.acting_as("reader")
    eventually(lambda: desk.may(reader, "get"), "role view of reader")
    with refused(403, "cannot create resource", "actionrequests"):
        desk.ask(reader, "Abort")


def test_given_a_verb_on_one_rollout_by_name_when_another_is_named_then_it_is_refused(room: Guarded) -> None:
    rules = [
        {"apiGroups": ["weir.dev"], "resources": ["actionrequests"], "verbs": ["create"]},
        {"apiGroups": ["weir.dev"], "resources": ["rollouts"], "resourceNames": ["digits"], "verbs": ["promote"]},
    ]
    erin = room.grant("erin", rules, "promote", "digits")
    for name in ("digits", "letters"):
        room.create(room.lab.api, name, approvals=None)

    assert room.ask(erin, "Promote", "digits")
    with refused(403, "user 'erin' may not promote Rollout 'letters'"):
        room.ask(erin, "Promote", "letters")
    with refused(403, "user 'erin' may not abort Rollout 'digits'"):
        room.ask(erin, "Abort", "digits")


def test_given_an_admin_of_a_namespace_when_they_make_themselves_an_approver_then_rbac_refuses(room: Guarded) -> None:
    chief = room.user("chief", "admin")
    group = "rbac.authorization.k8s.io"
    body = {
        "metadata": {"name": "me-too"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "weir-approver"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "chief"}],
    }
    with refused(403, "attempting to grant RBAC permissions not currently held", "approve"):
        chief.call("POST", f"/apis/{group}/v1/namespaces/{room.namespace}/rolebindings", body)


def test_given_no_such_rollout_when_asked_then_rights_count_all_the_same(desk: Guarded, oncall: Api) -> None:
    # Admission cannot say that a Rollout is missing; the operator answers that, and refuses what is older than it.
    assert desk.ask(oncall, "Abort", "nowhere", dry_run=True)
    with refused(403, "user 'oncall' may not promote Rollout 'nowhere'"):
        desk.ask(oncall, "Promote", "nowhere", dry_run=True)
    with refused(403, "user 'oncall' may not approve Rollout 'nowhere'"):
        desk.ask(oncall, "Approve", "nowhere", dry_run=True, approval=ANY)


def test_given_a_namespace_without_rollouts_when_asked_then_the_request_is_admitted(room: Guarded) -> None:
    assert room.ask(room.user("oncall", "weir-actor"), "Abort", "nowhere")


def test_given_a_request_when_edited_then_it_is_refused_whoever_edits(desk: Guarded, oncall: Api) -> None:
    name = desk.ask(oncall, "Abort")["metadata"]["name"]
    for api in (desk.lab.api, desk.lab.api.acting_as("alice")):
        for change in ({"action": "Promote"}, {"requester": "alice"}, {"reason": "other"}):
            with refused(422, "an ActionRequest cannot be changed; create a new one"):
                api.merge(ACTION_REQUESTS, desk.namespace, name, {"spec": change})


def test_given_a_request_when_a_person_writes_its_status_then_rbac_refuses(desk: Guarded, oncall: Api) -> None:
    name = desk.ask(oncall, "Abort")["metadata"]["name"]
    with refused(403, "cannot patch resource", "actionrequests/status"):
        alice = desk.lab.api.acting_as("alice")
        alice.merge(ACTION_REQUESTS, desk.namespace, name, {"status": {"phase": "Succeeded"}}, status=True)


@pytest.mark.parametrize("spec", [None, "text", {}, {"action": "Abort"}, {"action": 7}])
def test_given_a_malformed_request_when_created_then_the_schema_answers_and_not_a_policy(
    desk: Guarded, spec: Any
) -> None:
    body = {"apiVersion": ACTION_REQUESTS.api_version, "kind": "ActionRequest", "metadata": {"name": "bad"}}
    with refused(422, "is invalid"):
        desk.lab.api.call(
            "POST", ACTION_REQUESTS.path(desk.namespace), body if spec is None else {**body, "spec": spec}
        )


# --- approvals -----------------------------------------------------------------------------------------------------


def test_given_an_approver_of_the_group_when_they_approve_what_is_there_then_it_is_admitted(
    desk: Guarded, dan: Api
) -> None:
    digests = desk.release()

    stored = desk.approve(dan, "Traffic(25)", digests["Traffic(25)"])

    assert stored["spec"]["requester"] == "dan"
    assert stored["spec"]["approval"]["digest"] == digests["Traffic(25)"]


def test_given_the_author_when_they_approve_then_it_is_refused(room: Guarded) -> None:
    alice = room.user("alice", "edit", "weir-approver", group=GROUP)
    bob = room.user("bob", "edit", "weir-approver", group=GROUP)
    carol = room.user("carol", "weir-approver", group=GROUP)
    room.create(alice)
    assert room.edit(bob, progressDeadline="5m") == "alice,bob"
    digest = room.release()["Traffic(25)"]

    for api, name in ((alice, "alice"), (bob, "bob")):
        with refused(403, f"user '{name}' changed Rollout 'digits'", "cannot approve", "another person must"):
            room.approve(api, "Traffic(25)", digest)
    assert room.approve(carol, "Traffic(25)", digest)


def test_given_an_author_named_by_git_when_they_approve_then_it_is_refused(room: Guarded) -> None:
    robot = room.user("argocd", "edit")
    carol = room.user("carol", "weir-approver", group=GROUP)
    dave = room.user("dave", "weir-approver", group=GROUP)
    robot.create(ROLLOUTS, room.manifest(annotations={"weir.dev/author": "carol , erin"}))
    digest = room.release()["Traffic(25)"]

    with refused(403, "user 'carol' changed Rollout 'digits'", "weir.dev/author"):
        room.approve(carol, "Traffic(25)", digest)
    assert room.approve(dave, "Traffic(25)", digest)


def test_given_an_author_who_takes_their_name_out_of_the_annotation_when_they_approve_then_it_is_refused(
    room: Guarded,
) -> None:
    robot = room.user("argocd", "edit")
    carol = room.user("carol", "edit", "weir-approver", group=GROUP)
    robot.create(ROLLOUTS, room.manifest(annotations={"weir.dev/author": "carol"}))

    assert room.annotate(carol, author=None) == "argocd,carol"
    digest = room.release()["Traffic(25)"]
    with refused(403, "user 'carol' changed Rollout 'digits'"):
        room.approve(carol, "Traffic(25)", digest)


def test_given_who_asked_for_the_release_when_they_approve_then_it_is_refused(desk: Guarded, dan: Api) -> None:
    digest = desk.release(requested_by="dan")["Traffic(25)"]
    with refused(403, "user 'dan' asked for this release of Rollout 'digits' and cannot approve it"):
        desk.approve(dan, "Traffic(25)", digest)


def test_given_who_has_approved_when_they_approve_again_then_it_is_refused(desk: Guarded, dan: Api) -> None:
    digest = desk.release(consents=["erin", "dan"])["Traffic(25)"]
    with refused(403, "user 'dan' has approved 'Traffic(25)' of Rollout 'digits' already"):
        desk.approve(dan, "Traffic(25)", digest)


def test_given_another_digest_when_approved_then_it_is_refused_and_the_way_out_is_named(
    desk: Guarded, dan: Api
) -> None:
    old = desk.release()
    now = desk.release()
    for stale in (old["Traffic(25)"], now["owner"]):
        with refused(403, "is not what approval 'Traffic(25)'", now["Traffic(25)"], "kubectl weir why digits"):
            desk.approve(dan, "Traffic(25)", stale)


def test_given_an_approval_that_is_not_there_when_approved_then_those_that_are_get_named(
    desk: Guarded, dan: Api
) -> None:
    digest = desk.release()["Traffic(25)"]
    with refused(403, "no approval named 'Promote'", "its approvals are 'Traffic(25)', 'owner'"):
        desk.approve(dan, "Promote", digest)


def test_given_no_release_when_approved_then_nothing_waits(room: Guarded) -> None:
    room.create(room.user("alice", "edit"))
    dan = room.user("dan", "weir-approver", group=GROUP)

    # At first the policies do not know the Rollout.
    told = eventually(lambda: room.refusal(dan, "Traffic(25)", ANY["digest"]), "the refusal")
    assert "waits for no approval named 'Traffic(25)'; it waits for none now" in told


def test_given_an_approver_outside_the_group_when_they_approve_then_the_group_is_named(desk: Guarded) -> None:
    digest = desk.release()["Traffic(25)"]
    for group in ("", "sre-readers", "dev"):
        outsider = desk.lab.api.acting_as("outsider", group)
        if not desk.may(outsider, "approve"):
            desk.user("outsider", "weir-approver")
        with refused(403, "approval 'Traffic(25)' of Rollout 'digits' is for group 'sre'", "'outsider' is not"):
            desk.approve(outsider, "Traffic(25)", digest)


def test_given_an_approval_for_holders_of_a_verb_when_approved_then_the_verb_on_that_rollout_counts(
    desk: Guarded, dan: Api
) -> None:
    digest = desk.release()["owner"]
    signer = desk.user("signer", "weir-approver")
    rule = {"apiGroups": ["weir.dev"], "resources": ["rollouts"], "resourceNames": ["digits"], "verbs": ["sign"]}
    desk.grant("signer", [rule], "sign", "digits")

    with refused(403, "approval 'owner' of Rollout 'digits' is for those with the verb sign on it"):
        desk.approve(dan, "owner", digest)
    assert desk.approve(signer, "owner", digest)


def test_given_one_of_the_group_without_the_verb_approve_when_they_approve_then_it_is_refused(desk: Guarded) -> None:
    digest = desk.release()["Traffic(25)"]
    member = desk.user("member", "weir-actor", group=GROUP)
    with refused(403, "user 'member' may not approve Rollout 'digits'"):
        desk.approve(member, "Traffic(25)", digest)


def test_given_a_service_account_with_every_right_when_it_approves_then_it_is_refused(desk: Guarded) -> None:
    digest = desk.release()["Traffic(25)"]
    name = f"system:serviceaccount:{desk.namespace}:agent"
    agent = desk.user(name, "weir-approver", group=GROUP)
    with refused(403, "a service account cannot approve; a person must"):
        desk.approve(agent, "Traffic(25)", digest)


def test_given_a_user_name_with_a_comma_when_they_approve_then_it_is_refused(desk: Guarded) -> None:
    digest = desk.release()["Traffic(25)"]
    odd = desk.user("dan,erin", "weir-approver", group=GROUP)
    with refused(403, "a user whose name has a comma cannot approve: 'dan,erin'"):
        desk.approve(odd, "Traffic(25)", digest)


def test_given_an_administrator_who_wrote_the_change_when_they_approve_then_even_they_are_refused(
    room: Guarded,
) -> None:
    root = room.lab.api.acting_as("root", "system:masters")
    room.create(root, approvals=[{"before": "Traffic(25)", "from": {"verb": "approve"}}])
    digest = room.release()["Traffic(25)"]
    with refused(403, "user 'root' changed Rollout 'digits'"):
        room.approve(root, "Traffic(25)", digest)


def test_given_two_rollouts_when_one_is_approved_then_only_its_own_approvals_count(room: Guarded) -> None:
    alice = room.user("alice", "edit", "weir-approver", group=GROUP)
    dan = room.user("dan", "weir-approver", group=GROUP)
    room.create(alice, "digits", approvals=[BEFORE_25])
    room.create(room.lab.api, "letters", approvals=[BEFORE_25, OWNER])
    digits = room.release("digits", consents=["dan"])
    letters = room.release("letters", requested_by="erin")

    assert room.approve(dan, "Traffic(25)", letters["Traffic(25)"], "letters")
    assert room.approve(alice, "Traffic(25)", letters["Traffic(25)"], "letters")
    with refused(403, "is not what approval 'Traffic(25)' of Rollout 'letters' is about now"):
        room.approve(dan, "Traffic(25)", digits["Traffic(25)"], "letters")
    with refused(403, "Rollout 'digits' waits for no approval named 'owner'"):
        room.approve(dan, "owner", letters["owner"], "digits")
    with refused(403, "user 'dan' has approved 'Traffic(25)' of Rollout 'digits' already"):
        room.approve(dan, "Traffic(25)", digits["Traffic(25)"], "digits")
