"""Who may consent to, deny, overrule or withdraw what an agent asked for: the API server alone decides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.permits import Permits
from weir.api.agentpolicy import ANSWERS_LABEL
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

pytestmark = pytest.mark.api

ANSWERS = ("Approve", "Deny", "Override")


@pytest.fixture(scope="module")
def desk(lab: Lab) -> Permits:
    """A namespace with an AgentPolicy."""
    made = Permits(lab)
    made.govern()
    return made


@pytest.fixture(scope="module")
def dan(desk: Permits) -> Api:
    """May approve, deny and, as an admin of the namespace, override."""
    desk.user("dan", "admin")
    return desk.user("dan", "weir-approver")


@pytest.fixture
def asked(desk: Permits) -> KubeObject:
    """A Promote of the agent `tuner` that Weir has seen."""
    return seen(desk, desk.under(desk.tuner, "go", "Promote", expect={"release": 2}))


def seen(desk: Permits, request: KubeObject, digest: str = good.DIGEST, phase: str = "Pending") -> KubeObject:
    """Writes the status, as Weir would, and returns once the API server's policies know it."""
    name = request["metadata"]["name"]
    patch = {"status": {"phase": phase, "digest": digest}}
    stored = desk.lab.api.merge(ACTION_REQUESTS, desk.namespace, name, patch, status=True)
    probe = "sha256:" + "9" * 64
    known = (digest, phase) if "permit" in request["spec"] else ("NoPermitRequest: ",)
    eventually(
        lambda: any(words in refusal(desk, desk.lab.api, "Deny", stored, digest=probe) for words in known),
        f"the status of {name} is known",
    )
    return stored


def answer(
    desk: Permits, by: Api, action: str, to: KubeObject, rollout: str = "digits", *, dry_run: bool = True, **about: Any
) -> KubeObject:
    """Answers a request; ``None`` leaves out a field of what it is about; raises Failure."""
    meta = to["metadata"]
    digest = (to.get("status") or {}).get("digest") if action == "Approve" else None
    named = {"name": meta["name"], "uid": meta["uid"], "digest": digest, **about}
    request = {key: value for key, value in named.items() if value is not None}
    return desk.ask(by, action, rollout, request=request, dry_run=dry_run)


def refusal(desk: Permits, by: Api, action: str, to: KubeObject, **about: Any) -> str:
    """What an answer would be refused with; empty where it would be admitted."""
    try:
        answer(desk, by, action, to, **about)
    except Failure as failure:
        return failure.message
    return ""


@pytest.mark.parametrize("action", ANSWERS)
def test_given_a_person_with_the_right_when_they_answer_then_it_is_admitted(
    desk: Permits, dan: Api, asked: KubeObject, action: str
) -> None:
    assert answer(desk, dan, action, asked, dry_run=False)["spec"]["requester"] == "dan"


@pytest.mark.parametrize("action", ANSWERS)
def test_given_a_person_without_the_right_when_they_answer_then_the_verb_is_named(
    desk: Permits, asked: KubeObject, action: str
) -> None:
    with refused(403, f"user 'alice' may not {action.lower()} Rollout 'digits'"):
        answer(desk, desk.user("alice", "edit"), action, asked)


@pytest.mark.parametrize("action", ANSWERS)
def test_given_a_service_account_with_the_right_when_it_answers_then_it_is_refused(
    desk: Permits, asked: KubeObject, action: str
) -> None:
    desk.user("system:serviceaccount:default:robot", "weir-approver")
    robot = desk.user("system:serviceaccount:default:robot", "admin")
    for api in (robot, Api(desk.lab.kubeconfig)):
        with refused(403, f"a service account cannot {action.lower()}; a person must"):
            answer(desk, api, action, asked)


@pytest.mark.parametrize("action", ANSWERS)
def test_given_a_user_who_is_an_agent_and_an_approver_when_they_answer_then_it_is_refused(
    desk: Permits, asked: KubeObject, action: str
) -> None:
    desk.user("pipeline", "weir-approver")
    desk.user("pipeline", "admin")
    own = seen(desk, desk.under(desk.pipeline, "go", "Promote", expect={"release": 2}))
    for request in (asked, own):
        with pytest.raises(Failure, match=r"(?s)^403: .*(PermitNeeded: |OwnRequest: )"):
            answer(desk, desk.pipeline, action, request)


def test_given_who_asked_when_they_are_no_agent_any_more_then_they_cannot_answer_it_all_the_same(lab: Lab) -> None:
    room = Permits(lab)
    room.govern()
    room.user("pipeline", "weir-approver")
    own = seen(room, room.under(room.pipeline, "go", "Promote", expect={"release": 2}))
    room.govern(
        subjects=[{"name": "tuner", "namespace": room.namespace}], permits=[{"name": "stop", "action": "Abort"}]
    )
    for action in ("Approve", "Deny"):
        with refused(403, "OwnRequest: user 'pipeline' asked for ActionRequest", f"cannot {action.lower()} it"):
            answer(room, room.pipeline, action, own)


def test_given_another_digest_when_approved_then_it_is_refused(desk: Permits, dan: Api, asked: KubeObject) -> None:
    with refused(422, "DigestNeeded: an Approve needs spec.request.digest"):
        answer(desk, dan, "Approve", asked, digest=None)
    for action in ANSWERS:
        with refused(403, "OtherDigest: ", f"its digest is {good.DIGEST}; look again"):
            answer(desk, dan, action, asked, digest=good.OTHER_DIGEST)


def test_given_a_request_that_weir_has_not_seen_when_approved_then_there_is_nothing_to_approve(
    desk: Permits, dan: Api
) -> None:
    unseen = desk.under(desk.tuner, "go", "Promote", expect={"release": 2})
    told = eventually(lambda: refusal(desk, dan, "Approve", unseen, digest=good.DIGEST), "the request is known")
    assert "OtherDigest: " in told
    assert "it has none yet; wait until Weir has seen it" in told
    assert answer(desk, dan, "Deny", unseen)


def test_given_another_uid_or_rollout_when_answered_then_it_is_refused(
    desk: Permits, dan: Api, asked: KubeObject
) -> None:
    with refused(403, "OtherRequest: ActionRequest", "it is another one of the same name"):
        answer(desk, dan, "Approve", asked, uid="6f1c9f0e-0000-4000-8000-000000000000")
    with refused(403, "OtherRollout: ", "is for Rollout 'digits', so spec.rolloutRef must name that"):
        answer(desk, dan, "Approve", asked, "letters")


@pytest.mark.parametrize("phase", ["Succeeded", "Refused", "Expired", "Failed"])
def test_given_a_request_that_has_ended_when_answered_then_it_is_refused(
    desk: Permits, dan: Api, asked: KubeObject, phase: str
) -> None:
    ended = seen(desk, asked, phase=phase)
    for action in ANSWERS:
        with refused(403, "Ended: ActionRequest", f"has ended already: {phase}"):
            answer(desk, dan, action, ended)
    with refused(403, "Ended: "):
        answer(desk, desk.tuner, "Withdraw", ended)


def test_given_a_request_of_a_person_when_answered_then_it_waits_for_no_answer(desk: Permits, dan: Api) -> None:
    theirs = seen(desk, desk.ask(desk.user("oncall", "weir-actor"), "Pause"))
    for action in ANSWERS:
        with refused(403, "NoPermitRequest: ", "has no permit, so that it waits for no answer"):
            answer(desk, dan, action, theirs)


def test_given_ones_own_request_when_withdrawn_then_no_right_is_needed_and_nobody_else_can(
    desk: Permits, dan: Api, asked: KubeObject
) -> None:
    assert answer(desk, desk.tuner, "Withdraw", asked)
    for other in (dan, desk.pipeline):
        with refused(403, "NotYours: ", f"was asked for by '{desk.account}'; only they can withdraw it"):
            answer(desk, other, "Withdraw", asked)


def test_given_ones_own_request_without_a_permit_when_withdrawn_then_the_way_out_is_told(desk: Permits) -> None:
    oncall = desk.user("oncall", "weir-actor")
    theirs = seen(desk, desk.ask(oncall, "Pause"))
    with refused(403, "NoPermitRequest: ", "has no permit, so that it waits for no answer; to take it back, delete it"):
        answer(desk, oncall, "Withdraw", theirs)
    with refused(403, "NotYours: "):
        answer(desk, desk.tuner, "Withdraw", theirs)


def test_given_an_answer_when_it_is_edited_then_it_is_refused(desk: Permits, dan: Api, asked: KubeObject) -> None:
    name = answer(desk, dan, "Approve", asked, dry_run=False)["metadata"]["name"]
    for change in ({"action": "Override"}, {"requester": "erin"}, {"request": {"digest": good.OTHER_DIGEST}}):
        with refused(422, "an ActionRequest cannot be changed; create a new one"):
            desk.lab.api.merge(ACTION_REQUESTS, desk.namespace, name, {"spec": change})


def test_given_an_approve_with_another_name_as_requester_when_sent_then_it_is_refused(
    desk: Permits, dan: Api, asked: KubeObject
) -> None:
    about = {"name": asked["metadata"]["name"], "uid": asked["metadata"]["uid"], "digest": good.DIGEST}
    with refused(403, "spec.requester must be your own user name, 'dan', not 'erin'"):
        desk.ask(dan, "Approve", request=about, requester="erin", dry_run=True)


def test_given_an_approve_under_a_permit_when_sent_then_the_schema_refuses_it(
    desk: Permits, dan: Api, asked: KubeObject
) -> None:
    about = {"name": asked["metadata"]["name"], "uid": asked["metadata"]["uid"], "digest": good.DIGEST}
    for api in (dan, desk.tuner):
        with refused(422, "no permit is for Approve"):
            desk.ask(api, "Approve", request=about, permit="go", dry_run=True)


def test_given_a_request_that_is_not_there_when_answered_then_weir_answers_that(desk: Permits, dan: Api) -> None:
    # Admission cannot say that a parameter is missing without refusing people's requests where there is none.
    missing = {"metadata": {"name": "gone-1-1", "uid": "6f1c9f0e-0000-4000-8000-000000000000"}}
    assert answer(desk, dan, "Approve", missing, digest=good.DIGEST)


@pytest.mark.parametrize("value", [None, "6f1c9f0e-0000-4000-8000-000000000000"])
def test_given_a_stored_answer_when_its_label_changes_then_it_is_refused(
    desk: Permits, dan: Api, asked: KubeObject, value: str | None
) -> None:
    stored = answer(desk, dan, "Deny", asked, dry_run=False)
    assert stored["metadata"]["labels"] == {ANSWERS_LABEL: asked["metadata"]["uid"]}
    patch = {"metadata": {"labels": {ANSWERS_LABEL: value}}}
    with refused(422, "AnswersLabel: the label weir.dev/answers must be"):
        desk.lab.api.merge(ACTION_REQUESTS, desk.namespace, stored["metadata"]["name"], patch)


@pytest.mark.parametrize("action", ANSWERS)
def test_given_an_answer_that_weir_has_not_seen_when_somebody_deletes_it_then_it_is_refused(
    desk: Permits, dan: Api, asked: KubeObject, action: str
) -> None:
    stored = answer(desk, dan, action, asked, dry_run=False)
    name, alice = stored["metadata"]["name"], desk.user("alice", "edit")

    def delete(by: Api, name: str | None = name, **query: str) -> Any:
        return by.call("DELETE", ACTION_REQUESTS.path(desk.namespace, name), dryRun="All", **query)

    # Whoever may change labels may also name an owner that is gone.
    collector = desk.lab.api.acting_as("system:serviceaccount:kube-system:generic-garbage-collector")
    for by in (alice, dan, collector):
        with refused(403, f"AnswerUnseen: Weir has not looked at the {action} '{name}' yet"):
            delete(by)
    with refused(403, "AnswerUnseen: "):
        delete(alice, None, labelSelector=f"{ANSWERS_LABEL}={asked['metadata']['uid']}")
    assert delete(desk.lab.api)
    assert delete(alice, asked["metadata"]["name"])

    desk.lab.api.merge(ACTION_REQUESTS, desk.namespace, name, {"status": {"phase": "Succeeded"}}, status=True)
    assert delete(alice)


def test_given_an_answer_that_weir_has_not_seen_when_its_namespace_is_deleted_then_it_goes_with_it(lab: Lab) -> None:
    room = Permits(lab)
    room.govern()
    about = room.under(room.tuner, "go", "Promote", expect={"release": 2})
    name = answer(room, room.user("dan", "weir-approver"), "Deny", about, dry_run=False)["metadata"]["name"]
    lab.api.call("DELETE", f"/api/v1/namespaces/{room.namespace}")
    eventually(lambda: lab.api.find(ACTION_REQUESTS, room.namespace, name) is None, "the answer is gone")


def test_given_a_request_when_it_has_the_label_of_an_answer_then_it_is_refused(desk: Permits) -> None:
    with refused(422, "AnswersLabel: leave out the label weir.dev/answers, since there is no spec.request"):
        desk.under(desk.tuner, "stop", "Abort", meta={"labels": {ANSWERS_LABEL: "x"}}, dry_run=True)
