"""Limits of the traffic, and releases of another version than the spec names."""

from __future__ import annotations

import pytest

from tests.api.harness.api import Failure, eventually
from tests.api.harness.case import SLOW, Case, Spec
from tests.api.harness.lab import Lab
from tests.api.test_actions import refused, served_by, succeeded, told
from weir.runtime.resources import MODEL_VERSIONS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

QUICK: Spec = {"canary": {"steps": [{"weight": 50, "minDuration": "100ms"}], "bake": "100ms"}}


@pytest.fixture
def serving(lab: Lab) -> Case:
    """v1 serves."""
    case = Case(lab)
    case.serve_first(strategy=QUICK, gates=None)
    return case


def test_given_a_release_when_its_traffic_is_limited_then_the_route_follows_and_lifting_it_gives_it_back(
    slow: Case,
) -> None:
    name = slow.act("ShiftTraffic", weight=5)

    answer = succeeded(slow, name)
    eventually(lambda: served_by(slow) == {"v1": 95, "v2": 5}, "the route has it")
    slow.wait_reason("CeilingSet")
    assert (answer["effect"]["before"]["weight"], answer["effect"]["after"]["weight"]) == (20, 5)
    assert told(slow, name) == ["TrafficLimited"]
    assert slow.status()["ceiling"]["by"] == slow.lab.api.user()
    assert slow.status()["phase"] == "Held"

    succeeded(slow, slow.act("ShiftTraffic", weight=100))
    slow.wait_for_stage("Traffic(20)")
    assert "ceiling" not in slow.status()
    refused(slow, slow.act("ShiftTraffic", weight=100), "no limit to lift")

    succeeded(slow, slow.act("ShiftTraffic", weight=0))
    eventually(lambda: served_by(slow) == {"v1": 100}, "the route has it")
    succeeded(slow, slow.act("Promote"))
    slow.wait_ready()
    assert served_by(slow) == {"v2": 100}


def test_given_a_weight_that_is_no_percentage_when_asked_for_then_the_api_server_refuses_it(slow: Case) -> None:
    for weight in (-1, 101):
        with pytest.raises(Failure, match="weight"):
            slow.act("ShiftTraffic", weight=weight)


def test_given_another_version_when_its_release_is_asked_for_then_it_serves_and_the_spec_stays_as_it_is(
    serving: Case,
) -> None:
    name = serving.act("Release", version="v2")

    succeeded(serving, name)
    serving.wait(lambda s: s["stable"]["version"] == "v2" and "candidate" not in s, "v2 serves", within=60)
    eventually(lambda: serving.condition("Ready")["status"] == "True", "it is ready")

    assert serving.rollout()["spec"]["versionRef"]["name"] == "v1"
    assert "set spec.versionRef to v2" in serving.condition("Ready")["message"]
    assert told(serving, name) == ["ReleaseStarted"]
    eventually(lambda: len(serving.records()) == 2, "the record")
    assert serving.records()[1]["spec"]["requestedBy"] == serving.lab.api.user()
    # Any other change of the spec changes nothing about it.
    serving.patch(progressDeadline="3m")
    generation = serving.rollout()["metadata"]["generation"]
    serving.wait(lambda s: s["observedGeneration"] == generation, "the change of the spec is seen")
    assert (serving.status()["release"], serving.status()["stable"]["version"]) == (2, "v2")

    serving.patch(versionRef={"name": "v2"})
    serving.wait(lambda s: "instead" not in s, "the spec says the same")
    assert serving.status()["release"] == 2
    assert serving.condition("Ready")["status"] == "True"


def test_given_a_version_that_comes_after_its_request_when_both_are_applied_then_it_is_released(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(strategy=QUICK, gates=None)
    name = case.act("Release", version="v3")
    eventually(lambda: (case.request(name).get("status") or {}).get("phase") == "Pending", "it waits")
    assert case.request(name)["status"]["digest"]

    case.version("v3")

    succeeded(case, name)
    case.wait(lambda s: s["stable"]["version"] == "v3", "v3 serves", within=60)


def test_given_a_release_of_another_version_when_it_is_rolled_back_then_the_spec_is_followed_again(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(strategy=SLOW, gates=None)
    succeeded(case, case.act("Release", version="v2"))
    case.wait_for_stage("Traffic(20)")
    refused(case, case.act("Release", version="v2"), "is running; abort it first")

    succeeded(case, case.act("Rollback"))

    case.wait_ready(60)
    assert served_by(case) == {"v1": 100}
    assert "instead" not in case.status()
    refused(case, case.act("Release", version="v2"), "set spec.versionRef to v2 and ask for a Retry")
    assert case.status()["release"] == 2


def test_given_a_version_that_serves_in_place_of_the_specs_when_deleted_then_that_is_refused(serving: Case) -> None:
    succeeded(serving, serving.act("Release", version="v2"))
    serving.wait(lambda s: s["stable"]["version"] == "v2" and "candidate" not in s, "v2 serves", within=60)

    with pytest.raises(Failure, match="in use"):
        serving.lab.api.delete(MODEL_VERSIONS, serving.namespace, "v2")
