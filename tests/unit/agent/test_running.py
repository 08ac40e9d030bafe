"""Retrain and Reallocate, from the grant to what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import World, permits, spec_of
from tests.unit.agent.planning import model
from weir.agent.observation import MadeVersion

SCALE: dict[str, Any] = {
    "name": "scale",
    "action": "Reallocate",
    "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "batch"}, "spec": {"replicas": 0}},
    "succeeded": "object.status.replicas == 0",
    "failed": "false",
    "timeout": "10m",
}


def ended(world: World, uid: str, kind: str = "Complete") -> None:
    """The Job has ended."""
    made = world.objects[uid]
    assert made is not None
    meta = {**made["metadata"], "annotations": {"ml.example/digest": "sha256:" + "1" * 64}}
    world.objects[uid] = {**made, "metadata": meta, "status": {"conditions": [{"type": kind, "status": "True"}]}}


def phase(world: World, uid: str) -> tuple[str, str]:
    return world.requests[uid].phase, world.requests[uid].message


def test_given_a_granted_retrain_then_its_job_is_made_once_followed_and_becomes_a_modelversion() -> None:
    world = World()
    uid = world.ask("train", parameters={"retries": "4"})

    first = world.look()
    assert [(made.verb, made.manifest["kind"], made.request) for made in first.makes] == [("Create", "Job", "train-r0")]
    assert first.makes[0].manifest["spec"]["backoffLimit"] == 4
    assert [(result.phase, result.created) for result in first.results] == [
        ("Running", (("batch/v1", "Job", "train-r0"),))
    ]
    second = world.look()
    assert second.makes == ()
    assert phase(world, uid)[0] == "Running"
    assert world.look().results == ()

    ended(world, uid)
    third = world.look()
    assert [made.manifest["kind"] for made in third.makes] == ["ModelVersion"]
    assert third.makes[0].manifest["spec"]["version"] == "train-r0"
    assert phase(world, uid)[0] == "Running"
    last = world.look()

    assert phase(world, uid) == ("Succeeded", "ModelVersion train-r0 came of it")
    assert last.results[0].created[1] == ("weir.dev/v1alpha1", "ModelVersion", "train-r0")
    world.look()
    assert world.status.granted == []
    (past,) = world.status.last
    assert (past.phase, past.outcome) == ("Succeeded", "Good")


def test_given_a_crash_before_the_job_is_made_then_it_is_made_under_the_same_name() -> None:
    world = World()
    world.ask("train")
    lost = world.decide()

    again = world.look()

    assert lost.makes == again.makes
    assert lost.results == again.results


def test_given_a_job_that_was_made_though_its_result_was_lost_then_it_is_followed() -> None:
    world = World()
    uid = world.ask("train")
    lost = world.decide()
    world.objects[uid] = {**lost.makes[0].manifest, "status": {}}

    again = world.look()

    assert again.makes == ()
    assert phase(world, uid)[0] == "Running"
    assert again.results[0].created == (("batch/v1", "Job", "train-r0"),)


def test_given_a_version_that_an_earlier_request_of_that_name_made_then_it_is_not_taken_for_the_result() -> None:
    world = World()
    old = model("v1", version="train-again")
    world.made.append(MadeVersion("train-again", "ranker", "train-again", world.now - 3600))
    world.changes["versions"] = {"v1": model("v1"), "train-again": old}
    uid = world.ask("train", name="train-again")

    decision = world.look()

    assert decision.makes == ()
    assert phase(world, uid)[0] == "Failed"
    assert "there is a ModelVersion train-again already" in phase(world, uid)[1]


def test_given_a_job_that_fails_then_the_request_has_failed_and_it_counts_as_a_failure() -> None:
    world = World(spec_of(permits=permits(train={"cooldown": {"base": "10m"}})))
    uid = world.ask("train")
    world.look()
    ended(world, uid, "Failed")
    world.look()
    world.look()

    assert phase(world, uid) == ("Failed", "Job train-r0 has failed")
    assert world.status.targets[0].failures[0].count == 1
    assert world.status.blocked[0].until == world.now + 1200


def test_given_a_job_that_is_gone_or_too_late_then_the_request_has_failed() -> None:
    for trouble in ("gone", "late"):
        world = World()
        uid = world.ask("train")
        decision = world.look()
        decision = world.look()
        assert decision.wake_at == world.now + 6 * 3600
        if trouble == "gone":
            world.objects[uid] = None
        else:
            world.wait("6h")
        world.look()
        assert phase(world, uid)[0] == "Failed"


def test_given_a_job_that_cannot_be_read_now_then_nothing_is_decided_of_it() -> None:
    world = World()
    uid = world.ask("train")
    world.look()
    world.look()
    before = phase(world, uid)
    del world.objects[uid]

    decision = world.look()

    assert decision.results == ()
    assert decision.makes == ()
    assert decision.wake_at == world.now + 30
    assert phase(world, uid) == before


def test_given_a_job_that_nobody_can_read_any_more_when_its_time_is_over_then_the_request_has_failed() -> None:
    world = World()
    uid = world.ask("train")
    world.look()
    world.look()
    del world.objects[uid]
    end = world.now + 6 * 3600
    world.wait("5h59m50s")

    assert world.look().wake_at == end
    assert phase(world, uid)[0] == "Running"
    world.wait("10s")
    decision = world.look()

    assert decision.makes == ()
    assert [result.created for result in decision.results] == [(("batch/v1", "Job", "train-r0"),)]
    assert phase(world, uid) == (
        "Failed",
        "Job train-r0 cannot be read, and 6h are over; look yourself what became of it",
    )
    world.look()
    assert world.status.granted == []


def test_given_an_object_that_the_api_server_refuses_then_the_request_has_failed() -> None:
    world = World()
    uid = world.ask("train")
    world.look()
    world.changes["refused"] = {uid: "spec.template: Required value"}
    world.look()

    assert phase(world, uid) == (
        "Failed",
        "the API server does not take what the template makes: spec.template: Required value",
    )


def test_given_a_running_job_then_neither_a_pause_nor_a_changed_policy_forgets_it() -> None:
    world = World()
    uid = world.ask("train")
    world.look()
    world.edit(spec_of(paused=True))
    world.look()
    assert phase(world, uid)[0] == "Running"
    world.spec = None
    world.look()
    assert phase(world, uid)[0] == "Running"

    world.edit(spec_of())
    ended(world, uid)
    world.look()
    world.look()

    assert phase(world, uid)[0] == "Succeeded"


def test_given_a_retrain_that_waits_or_is_denied_or_grows_old_then_its_status_says_so() -> None:
    world = World(spec_of(permits=permits(train={"approval": {"tier": "Approve", "quorum": 1}})))
    waits, denied = world.ask("train", expiresAfter="5m"), world.ask("train", by="mallory")
    world.look()
    assert phase(world, waits)[0] == "Pending"
    assert "kubectl weir approve" in phase(world, waits)[1]
    assert phase(world, denied) == ("Refused", "mallory may not use the permit train")

    world.wait("5m")
    world.look()

    assert phase(world, waits) == ("Expired", "not executed within 5m; create a new request")
    world.look()
    assert world.status.waiting == world.status.denied == []


def test_given_a_template_that_makes_no_sense_any_more_then_the_request_has_failed() -> None:
    world = World()
    uid = world.ask("train")
    world.set(stable=None)
    world.look()

    assert phase(world, uid)[0] == "Failed"


@pytest.mark.parametrize(("replicas", "expected"), [(0, "Succeeded"), (3, "Running")])
def test_given_a_reallocate_then_it_patches_and_is_followed(replicas: int, expected: str) -> None:
    scale = {"name": "scale", "action": "Reallocate", "template": "scale"}
    world = World(spec_of(permits=[scale], templates=[SCALE]))
    uid = world.ask("scale")

    decision = world.look()
    assert decision.makes == ()
    assert decision.results[0].created == (("apps/v1", "Deployment", "batch"),)
    assert phase(world, uid) == ("Running", "Deployment batch is being changed")
    decision = world.look()
    assert [(made.verb, made.manifest["metadata"]["name"]) for made in decision.makes] == [("Patch", "batch")]
    assert phase(world, uid) == ("Running", "Deployment batch is changed")
    world.objects[uid] = {"kind": "Deployment", "metadata": {"name": "batch"}, "status": {"replicas": replicas}}
    world.look()

    assert phase(world, uid)[0] == expected
