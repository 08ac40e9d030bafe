"""What stops agents at once, and what older clusters do not do for them: the API server alone decides."""

from __future__ import annotations

import pytest

from tests.api.harness.api import Api, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.permits import Permits, labelled
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import AGENT_POLICIES, KubeObject

pytestmark = pytest.mark.api


@pytest.fixture
def room(lab: Lab) -> Permits:
    """A namespace with an AgentPolicy of its own."""
    made = Permits(lab)
    made.govern()
    return made


# --- kill switches -------------------------------------------------------------------------------------------------


def test_given_no_policy_when_asked_then_it_is_refused_and_people_are_not(room: Permits) -> None:
    room.lab.api.delete(AGENT_POLICIES, room.namespace, POLICY_NAME)

    told = eventually(lambda: room.refused(room.tuner, "stop", "Abort"), "the policy is gone")

    assert "weir-permits" in told
    assert "no params found" in told
    assert room.ask(room.user("oncall", "weir-actor"), "Abort")


def test_given_a_policy_that_is_being_deleted_when_asked_then_it_is_refused(room: Permits) -> None:
    room.lab.api.merge(AGENT_POLICIES, room.namespace, POLICY_NAME, {"metadata": {"finalizers": ["example.com/stays"]}})
    room.lab.api.delete(AGENT_POLICIES, room.namespace, POLICY_NAME)

    told = eventually(lambda: room.refused(room.tuner, "stop", "Abort"), "the policy is being deleted")

    assert "PolicyDeleted: " in told
    room.lab.api.merge(AGENT_POLICIES, room.namespace, POLICY_NAME, {"metadata": {"finalizers": None}})


def test_given_a_paused_policy_when_asked_then_even_the_way_back_is_for_people_alone(room: Permits) -> None:
    room.govern(paused=True)

    assert "Paused: the agents of namespace" in room.refused(room.tuner, "stop", "Abort")
    assert "Paused: " in room.refused(Api(room.lab.kubeconfig), "stop", "Abort", rule="errors")
    assert room.ask(room.user("oncall", "weir-actor"), "Abort")


def test_given_a_namespace_with_the_label_when_asked_then_its_agents_are_stopped(room: Permits) -> None:
    path = f"/api/v1/namespaces/{room.namespace}"
    for value, word in (("paused", "NamespacePaused: "), (None, ""), ("other", "")):
        patch = {"metadata": {"labels": {"weir.dev/agents": value}}}
        room.lab.api.call("PATCH", path, patch, "application/merge-patch+json")
        eventually(lambda word=word: _answered(room, word), f"the label with the value {value} is known")


def _answered(room: Permits, word: str) -> bool:
    told = room.refused(room.tuner, "stop", "Abort")
    return word in told if word else told == ""


# --- older clusters --------------------------------------------------------------------------------------------------


def test_given_a_cluster_that_stamps_nothing_when_a_client_leaves_out_label_or_requester_then_it_is_refused(
    room: Permits,
) -> None:
    # Before 1.36 there is no MutatingAdmissionPolicy, so that the chart renders none.
    path = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
    binding = room.lab.api.call("GET", f"{path}/weir-actions")
    room.lab.api.call("DELETE", f"{path}/weir-actions")
    try:
        eventually(lambda: room.refused(room.tuner, "stop", "Abort"), "nothing is stamped")
        own = {"requester": room.account}
        with refused(403, "spec.requester must be your own user name"):
            room.under(room.tuner, "stop", "Abort", meta=labelled("stop"), dry_run=True)
        for meta in ({}, {"labels": {}}, labelled("go"), labelled("")):
            with refused(422, "PermitLabel: the label weir.dev/permit must be 'stop', as spec.permit is"):
                room.under(room.tuner, "stop", "Abort", meta=meta, dry_run=True, **own)
        assert room.under(room.tuner, "stop", "Abort", meta=labelled("stop"), dry_run=True, **own)
        with refused(403, "ActionNotPermitted: "):
            room.under(room.tuner, "stop", "Pause", meta=labelled("stop"), dry_run=True, **own)
    finally:
        meta = {key: binding["metadata"][key] for key in ("name", "labels")}
        room.lab.api.call("POST", path, {**binding, "metadata": meta})
        eventually(lambda: room.refused(room.tuner, "stop", "Abort") == "", "labels are stamped again")


def test_given_the_charts_policies_when_the_api_server_checks_their_types_then_it_warns_of_nothing(lab: Lab) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked() -> bool:
        return all(_generation(policy) for policy in lab.api.call("GET", path)["items"])

    eventually(checked, "all policies are checked")
    for policy in lab.api.call("GET", path)["items"]:
        assert policy["status"].get("typeChecking", {}).get("expressionWarnings") is None, policy["metadata"]["name"]


def _generation(policy: KubeObject) -> bool:
    return bool((policy.get("status") or {}).get("observedGeneration") == policy["metadata"]["generation"])
