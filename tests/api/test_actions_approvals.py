"""Releases that need people's consent: they wait for it, and nobody can give it who must not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab, chart_objects
from weir.api.base import parse_time
from weir.runtime.resources import KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator", "people")]

STEPS: Spec = {
    "canary": {
        "steps": [{"weight": 20, "minDuration": "100ms"}, {"weight": 50, "minDuration": "100ms"}],
        "bake": "100ms",
    }
}
TWO: Spec = {"name": "canary", "before": "Traffic(50)", "from": {"group": "sre"}, "quorum": 2, "expiresAfter": "1h"}
ONE: Spec = {**TWO, "quorum": 1}
OTHER = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def people(lab: Lab) -> None:
    """Groups sre and dev may ask for everything."""
    lab.allow_actions("sre", "dev")


@pytest.fixture
def ada(lab: Lab) -> Api:
    """One of two who may approve."""
    return lab.api.acting_as("ada", "sre")


@pytest.fixture
def bob(lab: Lab) -> Api:
    """The other."""
    return lab.api.acting_as("bob", "sre")


def released(lab: Lab, *approvals: Spec, **changes: Any) -> Case:
    """v1 serves, v2 is being released by the administrator and comes to the approval."""
    case = Case(lab)
    case.version("v1")
    case.version("v2")
    # The first version of all needs the consent as well, unless it is declared only afterwards.
    case.create(strategy=STEPS, gates=None, **changes)
    case.wait_ready()
    case.patch(approvals=list(approvals), versionRef={"name": "v2"})
    return case


def approval(status: KubeObject) -> KubeObject:
    """The only approval of a status."""
    found = status.get("approvals") or [{}]
    assert len(found) == 1
    only: KubeObject = found[0]
    return only


def waiting(case: Case) -> KubeObject:
    """The status once the release waits for people."""
    return case.wait(lambda s: s["phase"] == "AwaitingApproval" and approval(s)["state"] == "Waiting", "it waits")


def denied(case: Case, approver: Api, said: str, digest: str = "") -> None:
    """An approval that the API server does not take, in the end for this reason: its policies lag behind a little."""
    about = {"name": "canary", "digest": digest or approval(case.status())["digest"]}

    def told() -> bool:
        try:
            case.act("Approve", by=approver, approval=about)
        except Failure as refusal:
            return said in refusal.message
        return False

    eventually(told, f"refused because: {said}", within=10)


def test_given_a_quorum_of_two_then_the_release_waits_for_both_and_the_record_names_them(
    lab: Lab, ada: Api, bob: Api
) -> None:
    case = released(lab, TWO)

    status = waiting(case)

    assert (status["weight"], status["stage"]["name"]) == (20, "Traffic(20)")
    found = approval(status)
    assert parse_time(found["deadline"]) - parse_time(found["since"]) == 3600
    condition = case.condition("AwaitingApproval")
    assert (condition["status"], condition["reason"]) == ("True", "WaitingForApproval")
    assert "2" in status["message"]
    assert "sre" in status["message"]

    assert case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded"
    case.wait(lambda s: [c["by"] for c in approval(s).get("consents", [])] == ["ada"], "one consent")
    assert case.status()["phase"] == "AwaitingApproval"
    name = case.approve("canary", by=bob)
    assert case.answer(name)["phase"] == "Succeeded"

    case.wait_ready()
    assert {label: weight for label, weight in case.weights().items() if weight} == {"v2": 100}
    assert case.condition("AwaitingApproval").get("status", "False") == "False"
    eventually(lambda: len(case.records()) == 2, "the record")
    record = case.records()[1]["spec"]
    assert [c["by"] for c in record["approvals"][0]["consents"]] == ["ada", "bob"]
    assert record["authors"] == [lab.api.user()]
    ties = {entry.get("request") for entry in record["decisions"] if entry["actor"] == "bob"}
    assert ties == {f"{name}@{case.request(name)['status']['digest']}"}


def test_given_nobody_who_consents_in_time_then_the_release_is_put_back(lab: Lab) -> None:
    case = released(lab, {**ONE, "expiresAfter": "2s"})
    case.wait_phase("RolledBack")
    eventually(lambda: len(case.records()) == 2, "the record")
    record = case.records()[1]["spec"]
    assert (record["outcome"], record["reason"]) == ("RolledBack", "ApprovalExpired")
    assert max(s["weight"] for s in _statuses(case) if s["release"] == 2) == 20


def test_given_a_promotion_by_request_then_it_waits_for_consents_all_the_same(lab: Lab, ada: Api, bob: Api) -> None:
    case = released(lab, {**ONE, "before": "Promote"})
    case.wait(lambda s: s.get("candidate"), "a release")
    case.act("Promote", by=bob)
    waiting(case)
    assert case.status()["stable"]["version"] == "v1"

    assert case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded"

    case.wait_ready()


def test_given_an_edit_of_the_plan_then_consents_are_void(lab: Lab, ada: Api, bob: Api) -> None:
    case = released(lab, TWO)
    before = approval(waiting(case))["digest"]
    assert case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded"

    canary = {**STEPS["canary"], "bake": "200ms"}
    case.patch(strategy={"canary": canary})

    case.wait(lambda s: approval(s)["digest"] != before, "another digest")
    assert approval(case.status()).get("consents", []) == []
    denied(case, bob, "digest", before)
    for person in (ada, bob):
        assert case.answer(case.approve("canary", by=person))["phase"] == "Succeeded"
    case.wait_ready()


def test_given_an_author_a_requester_or_the_wrong_group_then_the_api_server_refuses_the_consent(
    lab: Lab, ada: Api, bob: Api
) -> None:
    case = released(lab, ONE)
    waiting(case)
    denied(case, lab.api, "cannot approve")
    denied(case, lab.api.acting_as("eve", "dev"), "not among them")
    denied(case, ada, "digest", OTHER)
    case.act("Abort", by=bob)
    case.wait_phase("RolledBack")
    case.act("Retry", by=ada)
    assert waiting(case)["requestedBy"] == "ada"
    denied(case, ada, "asked for this release")

    assert case.answer(case.approve("canary", by=bob))["phase"] == "Succeeded"

    case.wait_ready()


def test_given_admission_that_lets_consents_pass_then_the_operator_refuses_what_does_not_count(
    lab: Lab, ada: Api, bob: Api
) -> None:
    case = released(lab, TWO)
    digest = approval(waiting(case))["digest"]
    with _without(lab, "weir-approvals"):
        # Until the API server has noticed, what would be refused is refused; dry runs leave nothing behind.
        eventually(lambda: _passes(case, lab.api, digest), "the policy is out of force", within=60)
        for by, about, said in (
            (lab.api, digest, "changed"),
            (ada, OTHER, "digest"),
        ):
            name = case.act("Approve", by=by, approval={"name": "canary", "digest": about})
            answer = case.answer(name)
            assert (answer["phase"], said in answer["message"]) == ("Refused", True), answer
        assert case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded"
        twice = case.answer(case.approve("canary", by=ada))
        assert twice["phase"] == "Refused", twice
        assert [c["by"] for c in approval(case.status())["consents"]] == ["ada"]
    assert case.status()["weight"] == 20


def test_given_an_api_server_that_vouches_for_nobody_then_no_consent_counts_until_it_does(
    lab: Lab, ada: Api, bob: Api
) -> None:
    with _without(lab, "weir-actions"):
        space = lab.make_namespace()
        eventually(lambda: _forges(lab, space), "the policy is out of force", within=60)
        case = released(lab, ONE)
        case.wait(lambda s: "not in force" in str(s.get("conditions")) + s["message"], "the problem is told")
        # In the name of another: nobody stops it, and nobody believes it.
        about = {"name": "canary", "digest": approval(case.status())["digest"]}
        answer = case.answer(case.act("Approve", by=bob, requester="carol", approval=about))
        assert answer["phase"] == "Refused", answer
        assert "not in force" in answer["message"]
        assert case.status()["weight"] == 20
    eventually(lambda: not _forges(lab, space), "the policy is in force again", within=60)

    def consented() -> bool:
        return bool(case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded")

    eventually(consented, "a consent counts", within=120, every=5)
    case.wait_ready()


def test_given_approvals_and_requests_that_are_done_with_then_nothing_is_asked_of_the_api_server(
    lab: Lab, ada: Api
) -> None:
    case = released(lab, ONE)
    waiting(case)
    assert case.answer(case.approve("canary", by=ada))["phase"] == "Succeeded"
    case.wait_ready()
    eventually(lambda: len(case.records()) == 2, "the record")
    time.sleep(11)  # Until even counts that nobody must remember have been stored.
    before = len(_audited(case))

    time.sleep(15)  # That nothing happens has no condition to wait for.

    assert _audited(case)[before:] == []


def _audited(case: Case) -> list[str]:
    """Requests of the operator about objects in the case's namespace, but its watches."""
    found = [entry for entry in case.lab.audit() if entry.get("objectRef", {}).get("namespace") == case.namespace]
    return [f"{entry['verb']} {entry['objectRef']}" for entry in found if entry["verb"] != "watch"]


@contextmanager
def _without(lab: Lab, policy: str) -> Iterator[None]:
    """Without one of the chart's validating policies in force."""
    kind = "ValidatingAdmissionPolicyBinding"
    [binding] = [o for o in chart_objects() if (o["kind"], o["metadata"]["name"]) == (kind, policy)]
    lab.server.kubectl("delete", kind, policy)
    try:
        yield
    finally:
        lab.apply(binding)


def _passes(case: Case, approver: Api, digest: str) -> bool:
    """Whether the API server would take this approval."""
    about = {"action": "Approve", "approval": {"name": "canary", "digest": digest}}
    return _tries(approver, case.namespace, case.name, about)


def _forges(lab: Lab, namespace: str) -> bool:
    """Whether the API server would take a request in the name of another."""
    return _tries(lab.api, namespace, "nobody", {"action": "Abort", "requester": "mallory"})


def _tries(api: Api, namespace: str, rollout: str, fields: Spec) -> bool:
    spec = {"rolloutRef": {"name": rollout}, "reason": "test", **fields}
    body = {"apiVersion": "weir.dev/v1alpha1", "kind": "ActionRequest", "metadata": {"name": "try"}, "spec": spec}
    try:
        api.call("POST", f"/apis/weir.dev/v1alpha1/namespaces/{namespace}/actionrequests", body, dryRun="All")
    except Failure:
        return False
    return True


def _statuses(case: Case) -> list[KubeObject]:
    return [r["status"] for r in case.lab.history.of(case.namespace, case.name) if r.get("status")]
