"""Every verb, from the ActionRequest to its effect, its result and the record."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from tests.api.harness.api import Failure, eventually
from tests.api.harness.case import SLOW, Case
from tests.api.harness.lab import Lab
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


@pytest.fixture
def served(lab: Lab) -> Case:
    """v2 serves all traffic, v1 did before."""
    case = Case(lab)
    quick = {"canary": {"steps": [{"weight": 50, "minDuration": "100ms"}], "bake": "100ms"}}
    case.serve_first(strategy=quick, gates=None)
    case.release("v2")
    case.wait_ready()
    eventually(lambda: len(case.records()) == 2, "the record of release 2")
    return case


def succeeded(case: Case, name: str) -> KubeObject:
    """The answer to a request that must succeed, with all that an answer has."""
    answer = case.answer(name)
    assert answer["phase"] == "Succeeded", answer
    assert answer["message"]
    assert answer["completedAt"]
    spec = ActionRequestSpec.model_validate(case.request(name)["spec"])
    assert spec.requester == case.lab.api.user()
    assert answer["digest"] == action_digest(spec)
    assert answer["effect"]["before"]["release"] > 0
    return answer


def refused(case: Case, name: str, said: str) -> KubeObject:
    """The answer to a request that must be refused, with these words."""
    answer = case.answer(name)
    assert (answer["phase"], said in answer["message"]) == ("Refused", True), answer
    assert answer["effect"]["before"] == answer["effect"]["after"]
    return answer


def told(case: Case, name: str) -> list[str]:
    """Reasons of the decisions that this request caused, in the status or in a record."""
    request = case.request(name)
    tie = f"{name}@{request['status']['digest']}"
    logs = [case.status().get("decisions", []), *(record["spec"]["decisions"] for record in case.records())]
    found = [entry for log in logs for entry in log if entry.get("request") == tie]
    assert all(entry["actor"] == request["spec"]["requester"] for entry in found), found
    return sorted({entry["reason"] for entry in found})


def served_by(case: Case) -> dict[str, int]:
    """Version label → weight, of those that have traffic."""
    return {label: weight for label, weight in case.weights().items() if weight}


# --- each verb -------------------------------------------------------------------------------------------------------


def test_given_a_release_when_promoted_then_it_serves_without_waiting(slow: Case) -> None:
    name = slow.act("Promote")

    answer = succeeded(slow, name)
    slow.wait_ready()

    assert answer["effect"]["before"] | {"stage": "Traffic(20)", "weight": 20} == answer["effect"]["before"]
    assert served_by(slow) == {"v2": 100}
    eventually(lambda: len(slow.records()) == 2, "the record")
    assert slow.records()[1]["spec"]["outcome"] == "Promoted"
    assert told(slow, name) == ["PromoteRequested", "ReleasePromoted", "StageEntered"]


def test_given_a_release_when_aborted_then_it_is_put_back_and_stays_so_until_a_retry(slow: Case) -> None:
    name = slow.act("Abort")

    succeeded(slow, name)
    slow.wait_phase("RolledBack")

    assert served_by(slow) == {"v1": 100}
    eventually(lambda: len(slow.records()) == 2, "the record")
    record = slow.records()[1]["spec"]
    assert (record["outcome"], record["message"]) == ("Aborted", "test")
    assert told(slow, name) == ["Aborted", "ReleaseAborted"]
    assert slow.status()["release"] == 2

    again = slow.act("Retry")

    answer = succeeded(slow, again)
    assert answer["effect"]["before"]["phase"] == "RolledBack"
    slow.wait_for_stage("Traffic(20)")
    status = slow.status()
    assert (status["release"], status["candidate"]["version"]) == (3, "v2")
    assert status["requestedBy"] == slow.lab.api.user()


def test_given_a_release_when_paused_then_it_stays_until_resumed(slow: Case) -> None:
    stop = slow.act("Pause")
    answer = succeeded(slow, stop)
    assert (answer["effect"]["before"]["phase"], answer["effect"]["after"]["phase"]) == ("Shifting", "Paused")
    slow.wait_phase("Paused")
    assert slow.status()["pause"]["by"] == slow.lab.api.user()

    go_on = slow.act("Resume")

    succeeded(slow, go_on)
    slow.wait(lambda s: s["phase"] == "Shifting" and "pause" not in s, "shifting again")
    assert (told(slow, stop), told(slow, go_on)) == (["Paused"], ["Resumed"])


def test_given_a_pause_with_a_duration_then_it_ends_by_itself(slow: Case) -> None:
    succeeded(slow, slow.act("Pause", duration="1s"))
    slow.wait(lambda s: s["phase"] == "Shifting" and "pause" not in s, "shifting again")


def test_given_a_long_stage_when_skipped_then_the_next_one_begins_and_is_not_skipped_too(slow: Case) -> None:
    name = slow.act("Skip")

    answer = succeeded(slow, name)
    status = slow.wait_for_stage("Traffic(50)")

    assert answer["effect"]["before"]["stage"] == "Traffic(20)"
    assert "skip" not in status
    assert status["weight"] == 50
    assert told(slow, name)

    succeeded(slow, slow.act("Skip"))
    slow.wait_for_stage("Bake")
    succeeded(slow, slow.act("Skip"))
    slow.wait_ready()
    assert served_by(slow) == {"v2": 100}


def test_given_a_version_that_serves_when_rolled_back_then_the_one_before_serves_and_nothing_undoes_it(
    served: Case,
) -> None:
    name = served.act("Rollback")

    answer = succeeded(served, name)
    served.wait(lambda s: s["stable"]["version"] == "v1" and "candidate" not in s, "v1 serves again", within=60)

    assert served_by(served) == {"v1": 100}
    assert answer["effect"]["before"]["stable"] == "v2"
    eventually(lambda: len(served.records()) == 3, "the record")
    record = served.records()[2]["spec"]
    assert (record["outcome"], record["candidate"]["version"]) == ("Restored", "v1")
    assert record["requestedBy"] == served.lab.api.user()
    assert told(served, name)
    # spec still names v2: a change that has nothing to do with it must not bring v2 back.
    assert served.rollout()["spec"]["versionRef"]["name"] == "v2"
    served.patch(progressDeadline="3m")
    generation = served.rollout()["metadata"]["generation"]
    served.wait(lambda s: s["observedGeneration"] == generation, "the change of the spec is seen")
    status = served.status()
    assert (status["release"], status["stable"]["version"]) == (3, "v1")
    assert [failed["version"] for failed in status["failed"]] == ["v2"]
    assert served.condition("Ready")["status"] == "False"

    succeeded(served, served.act("Retry"))
    served.wait_ready(60)
    assert served_by(served) == {"v2": 100}


def test_given_a_rollout_that_is_paused_when_rolled_back_then_the_one_before_serves(served: Case) -> None:
    served.patch(paused=True)
    generation = served.rollout()["metadata"]["generation"]
    served.wait(lambda s: s["observedGeneration"] == generation, "the pause is seen")

    succeeded(served, served.act("Rollback", version="v1"))

    served.wait(lambda s: s["stable"]["version"] == "v1" and "candidate" not in s, "v1 serves again", within=60)
    assert served_by(served) == {"v1": 100}


def test_given_a_healthy_release_when_drilled_then_it_goes_back_is_timed_and_is_released_again(slow: Case) -> None:
    name = slow.act("Drill")

    answer = succeeded(slow, name)
    at_once = answer["effect"]["before"]
    assert (at_once["stage"], at_once["weight"]) == ("Traffic(20)", 20)
    eventually(lambda: len(slow.records()) == 2, "the record of the drill", within=60)
    record = slow.records()[1]["spec"]
    assert record["outcome"] == "Drilled"
    assert Decimal(0) < Decimal(record["timeToStable"]) < Decimal(30)
    assert told(slow, name)

    status = slow.wait_for_stage("Traffic(20)")

    assert (status["release"], status["candidate"]["version"]) == (3, "v2")
    assert status["history"][0]["timeToStable"] == record["timeToStable"]
    assert status.get("failed", []) == []


def test_given_a_drill_for_later_then_it_waits_and_says_so_until_its_time(slow: Case) -> None:
    begins = time.time() + 4
    name = slow.act("Drill", notBefore=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begins)))

    eventually(lambda: (slow.request(name).get("status") or {}).get("phase") == "Pending", "it waits")
    assert slow.request(name)["status"]["message"]
    assert slow.status()["release"] == 2

    succeeded(slow, name)
    assert time.time() >= begins - 1
    eventually(lambda: len(slow.records()) == 2, "the record of the drill", within=60)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_given_expectations_that_are_one_stage_old_then_the_request_is_refused(slow: Case) -> None:
    digest = slow.status()["candidate"]["digest"]
    other = "sha256:" + "0" * 64
    for expect, said in (
        ({"stage": "WarmUp"}, "expected stage WarmUp, but it is Traffic(20)"),
        ({"weight": 0}, "expected weight 0, but it is 20"),
        ({"release": 1}, "expected release 1, but it is 2"),
        ({"candidate": other}, "expected candidate"),
    ):
        refused(slow, slow.act("Promote", expect=expect), said)
    assert slow.status()["stage"]["name"] == "Traffic(20)"

    right = {"release": 2, "stage": "Traffic(20)", "weight": 20, "candidate": digest}
    succeeded(slow, slow.act("Abort", expect=right))


def test_given_nothing_that_an_action_could_act_on_then_it_is_refused_with_the_reason(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(strategy=SLOW, gates=None)
    for action, said in (
        ("Promote", "no candidate"),
        ("Abort", "no release"),
        ("Retry", "nothing to retry"),
        ("Resume", "not paused"),
        ("Skip", ""),
        ("Rollback", ""),
    ):
        answer = refused(case, case.act(action), said)
        assert answer["message"]


def test_given_a_request_that_was_executed_then_it_cannot_be_changed_nor_executed_again(slow: Case) -> None:
    name = slow.act("Pause")
    succeeded(slow, name)
    succeeded(slow, slow.act("Resume"))
    with pytest.raises(Failure, match="cannot be changed"):
        slow.lab.api.merge(ACTION_REQUESTS, slow.namespace, name, {"spec": {"reason": "another"}})
    labels = {"metadata": {"labels": {"touched": "yes"}}}
    slow.lab.api.merge(ACTION_REQUESTS, slow.namespace, name, labels)
    succeeded(slow, slow.act("Skip"))
    slow.wait_for_stage("Traffic(50)")
    assert "pause" not in slow.status()


def test_given_a_request_that_waits_when_it_is_deleted_then_it_is_withdrawn(slow: Case) -> None:
    begins = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    name = slow.act("Drill", notBefore=begins)
    eventually(lambda: (slow.request(name).get("status") or {}).get("phase") == "Pending", "it waits")

    slow.lab.api.delete(ACTION_REQUESTS, slow.namespace, name)

    # Another drill of the same moment shows that the moment has passed.
    later = slow.act("Drill", notBefore=begins, expect={"release": 1})
    assert slow.answer(later)["phase"] == "Refused"
    time.sleep(6)  # That nothing happens has no condition to wait for.
    assert slow.status()["release"] == 2
    assert slow.status().get("ending") is None


def test_given_a_drill_whose_moment_does_not_come_then_it_waits_and_expires(slow: Case) -> None:
    slow.lab.gateway.refuse(slow.namespace, slow.name, "not today")
    slow.wait(lambda s: "not today" in s["message"], "the weight is not in place any more")

    name = slow.act("Drill", expiresAfter="4s")

    eventually(lambda: (slow.request(name).get("status") or {}).get("phase") == "Pending", "it waits")
    answer = slow.answer(name)
    assert answer["phase"] == "Expired", answer
    assert slow.status()["release"] == 2
    slow.lab.gateway.accept(slow.namespace, slow.name)
