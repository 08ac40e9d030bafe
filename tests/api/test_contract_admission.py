"""Who may ask for checks of data, and who may write their results: the API server alone decides, for no operator runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.contracts import Contracts
from tests.api.harness.guarded import Guarded, refused
from tests.api.harness.lab import ACCOUNT, SYSTEM, Lab
from weir.runtime.resources import CONTRACT_CHECKS
from weir.workload.checkjob import MAX_CHECK_NAME

pytestmark = pytest.mark.api

RESULT: dict[str, Any] = {
    "digest": "sha256:" + "1" * 64,
    "verdict": "Pass",
    "startedAt": "2026-11-21T10:00:00Z",
    "finishedAt": "2026-11-21T10:00:02Z",
}
ONLY_THE_POD = "only that pod writes its result"


@pytest.fixture(scope="module")
def room(lab: Lab) -> Contracts:
    """A namespace whose account weir-check has the chart's role, as the operator binds it."""
    made = Contracts(lab)
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "weir-check", "namespace": made.namespace}
    for space in (made.namespace, SYSTEM):
        binding = {
            "metadata": {"name": "weir-check", "namespace": space},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "weir-check"},
            "subjects": [subject, {**subject, "namespace": SYSTEM, "name": "weir-check"}],
        }
        lab.api.call("POST", f"/apis/{group}/v1/namespaces/{space}/rolebindings", binding)
    check = made.ask("in-force")
    eventually(lambda: _written(made, made.as_pod("in-force-abcde"), check), "the role of the pods")
    return made


@pytest.fixture(scope="module")
def desk(room: Contracts) -> Guarded:
    """The people of that namespace."""
    return Guarded(room.lab, room.namespace)


def _written(room: Contracts, by: Api, check: str) -> bool:
    try:
        write(room, by, check)
    except Failure as failure:
        if "contractchecks/status" in failure.message and "cannot patch" in failure.message:
            return False
        raise
    return True


def write(room: Contracts, by: Api, check: str, **fields: Any) -> Any:
    """Writes a result; raises Failure."""
    return by.merge(CONTRACT_CHECKS, room.namespace, check, {"status": {**RESULT, **fields}}, status=True)


@pytest.fixture
def check(room: Contracts) -> str:
    """A check without a result."""
    return room.ask()


def test_given_the_pod_of_the_check_when_it_writes_then_it_is_stored(room: Contracts, check: str) -> None:
    assert write(room, room.as_pod(f"{check}-x7k2p"), check)["status"]["verdict"] == "Pass"


@pytest.mark.parametrize(
    "pod",
    [
        lambda check: f"other-{check}-x7k2p",
        lambda check: f"{check}-other-x7k2p",
        lambda check: f"{check}-x7k2",
        lambda check: check,
        lambda check: "",
    ],
    ids=["another name before", "a check whose name is longer", "too short", "no suffix", "no name"],
)
def test_given_another_pod_when_it_writes_then_it_is_refused(
    room: Contracts, check: str, pod: Callable[[str], str]
) -> None:
    with refused(403, ONLY_THE_POD):
        write(room, room.as_pod(pod(check)), check)


def test_given_the_token_of_the_account_without_a_pod_then_it_is_refused(room: Contracts, check: str) -> None:
    account = room.lab.api.acting_as(f"system:serviceaccount:{room.namespace}:weir-check")
    with refused(403, ONLY_THE_POD):
        write(room, account, check)


def test_given_a_pod_of_that_name_in_another_namespace_then_it_is_refused(room: Contracts, check: str) -> None:
    with refused(403, ONLY_THE_POD):
        write(room, room.as_pod(f"{check}-x7k2p", namespace=SYSTEM), check)


def test_given_an_administrator_when_they_write_a_result_then_it_is_refused(room: Contracts, check: str) -> None:
    with refused(403, ONLY_THE_POD):
        write(room, room.lab.api, check)


def test_given_the_operator_when_it_writes_a_result_then_rbac_refuses(room: Contracts, check: str) -> None:
    with refused(403, "contractchecks/status"):
        write(room, Api(room.lab.kubeconfig), check)


def test_given_a_result_when_it_is_written_again_then_only_the_same_is_taken(room: Contracts, check: str) -> None:
    pod = room.as_pod(f"{check}-x7k2p")
    write(room, pod, check, verdict="Fail")

    with refused(403, "written once"):
        write(room, pod, check, verdict="Pass")
    with refused(403, "written once"):
        pod.merge(CONTRACT_CHECKS, room.namespace, check, {"status": None}, status=True)
    assert write(room, pod, check, verdict="Fail")


@pytest.mark.parametrize("purpose", ["Schedule", "Release", "Reference"])
def test_given_a_person_when_they_ask_in_weirs_name_then_it_is_refused(room: Contracts, purpose: str) -> None:
    with refused(403, f"spec.purpose {purpose} is for checks that Weir asks for itself"):
        room.ask(purpose=purpose)


@pytest.mark.parametrize("purpose", ["Request", "Schedule", "Release", "Reference"])
def test_given_the_operator_when_it_asks_then_every_purpose_is_its_own(room: Contracts, purpose: str) -> None:
    assert room.ask(purpose=purpose, by=Api(room.lab.kubeconfig))


def test_given_an_account_of_the_operators_name_elsewhere_then_it_is_a_person_like_others(room: Contracts) -> None:
    other = room.lab.api.acting_as(f"system:serviceaccount:{room.namespace}:{ACCOUNT}", "system:masters")
    with refused(403, "leave it out"):
        room.ask(purpose="Schedule", by=other)


def test_given_a_name_that_kubernetes_would_cut_then_it_is_refused(room: Contracts) -> None:
    assert room.ask("a" * MAX_CHECK_NAME)
    with refused(422, f"at most {MAX_CHECK_NAME} characters"):
        room.ask("a" * (MAX_CHECK_NAME + 1))


def test_given_an_editor_then_they_may_ask_and_withdraw_but_write_no_result(room: Contracts, desk: Guarded) -> None:
    editor = desk.user("eddie", "edit")

    check = room.ask(by=editor)

    with refused(403, "contractchecks/status"):
        write(room, editor, check)
    editor.delete(CONTRACT_CHECKS, room.namespace, check)


def test_given_a_reader_then_they_see_checks_and_ask_for_none(room: Contracts, desk: Guarded, check: str) -> None:
    desk.bind("reader", {"kind": "ClusterRole", "name": "view"})
    reader = room.lab.api.acting_as("reader")
    eventually(lambda: desk.may(reader, "get"), "role view of reader")

    assert reader.get(CONTRACT_CHECKS, room.namespace, check)
    with refused(403, "cannot create resource"):
        room.ask(by=reader)


def test_given_the_policy_then_the_api_server_finds_nothing_wrong_with_its_expressions(lab: Lab) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/weir-protect-checks"

    def checked() -> Any:
        policy = lab.api.call("GET", path)
        status = policy.get("status") or {}
        return status if status.get("observedGeneration") == policy["metadata"]["generation"] else None

    status = eventually(checked, "the policy is type-checked")
    assert not (status.get("typeChecking") or {}).get("expressionWarnings"), status
