"""What a template made stays known whatever becomes of its policy, and what it changed is changed once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controller.agentworld import ME, SPACE, T0, World
from tests.unit.controller.test_agents import granted
from tests.unit.controller.test_agentstanding import policy
from weir.agent.decision import AgentResult, Make
from weir.api.agentstatus import AgentPolicyStatus
from weir.controller.actions import fate
from weir.controller.agentact import REALLOCATED_BY
from weir.runtime.errors import Unavailable
from weir.runtime.resources import JOBS, KubeObject, ObjectKey

JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "train-1"}
FLOW = ("argoproj.io/v1alpha1", "Workflow", "train-1")
VERSION = ("weir.dev/v1alpha1", "ModelVersion", "train-1")
RUNNING = {"phase": "Running", "message": "runs", "created": [JOB]}


@pytest.fixture
def world() -> World:
    made = World()
    made.policy()
    made.rollout()
    return made


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ((), [JOB]),
        ((FLOW,), [JOB]),
        ((FLOW, VERSION), [JOB, dict(zip(("apiVersion", "kind", "name"), VERSION, strict=True))]),
    ],
    ids=["template-gone", "template-edited", "version"],
)
@pytest.mark.parametrize("phase", ["Running", "Failed"])
async def test_given_a_result_that_names_other_objects_then_what_was_made_stays_in_the_status(
    world: World, created: tuple[Any, ...], expected: list[Any], phase: Any
) -> None:
    world.request("train-1", "Retrain", permit="train", status=RUNNING)
    world.decide(results=(AgentResult("uid-train-1", "train-1", phase, "edited", "sha256:x", created),))

    await world.look()
    await world.look()

    assert (world.status("train-1")["phase"], world.status("train-1")["created"]) == (phase, expected)


async def test_given_a_result_that_is_written_already_then_it_is_not_written_again(world: World) -> None:
    status = {**RUNNING, "digest": "sha256:x"}
    world.request("train-1", "Retrain", permit="train", status=status)
    world.decide(results=(AgentResult("uid-train-1", "train-1", "Running", "runs", "sha256:x", (FLOW,)),))
    await world.look()
    assert world.writes == []


@pytest.mark.parametrize("there", [None, policy(meta={"deletionTimestamp": "2027-01-15T08:00:00Z"})])
def test_given_a_template_that_runs_when_its_policy_is_gone_then_the_request_says_what_goes_on(
    world: World, there: KubeObject | None
) -> None:
    request = world.request("train-1", "Retrain", permit="train", requester=ME, status=RUNNING)

    ended = fate(request, None, T0 + 60, 0.0, there).status

    assert ended is not None
    assert ended.phase == "Failed"
    assert ended.message == "the AgentPolicy is gone; Job train-1 goes on, and nobody follows it"
    assert ended.completed_at == T0 + 60
    assert ended.to_dict()["created"] == [JOB]


@pytest.mark.parametrize("status", [{}, {"phase": "Pending"}])
def test_given_a_template_that_did_not_begin_when_its_policy_is_gone_then_the_request_is_refused(
    world: World, status: Any
) -> None:
    request = world.request("train-1", "Retrain", permit="train", requester=ME, status=status)
    ended = fate(request, None, T0 + 60, 0.0, None).status
    assert ended is not None
    assert (ended.phase, ended.created) == ("Refused", None)


# --- Reallocate --------------------------------------------------------------------------------------------------------


def patch(name: str = "scale-1") -> Make:
    meta = {"name": "batch", "labels": {"not": "taken"}}
    content = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"suspend": True}}
    return Make(f"uid-{name}", name, "Patch", content)


def target(world: World, *, suspend: bool, **meta: Any) -> KubeObject:
    labels = {"team": "a"}
    return world.put(
        JOBS,
        {"metadata": {"name": "batch", "namespace": SPACE, "labels": labels, **meta}, "spec": {"suspend": suspend}},
    )


def patched(world: World) -> KubeObject:
    found = world.cache.get(JOBS, SPACE, "batch")
    assert found is not None
    return found


async def test_given_a_patch_then_the_target_says_for_which_request_and_keeps_the_rest(world: World) -> None:
    target(world, suspend=False, annotations={"mine": "x"})
    world.decide(makes=(patch(),))
    await world.look()

    meta = patched(world)["metadata"]
    assert patched(world)["spec"] == {"suspend": True}
    assert meta["annotations"] == {"mine": "x", REALLOCATED_BY: "uid-scale-1"}
    assert meta["labels"] == {"team": "a"}


async def test_given_a_patch_that_was_done_before_a_restart_then_what_a_person_set_back_stays_so(world: World) -> None:
    target(world, suspend=False)
    world.request("scale-1", "Reallocate", permit="scale")
    world.decide(makes=(patch(),))
    await world.look()
    world.put(JOBS, {**patched(world), "spec": {"suspend": False}}, same=True)
    world.writes.clear()

    again = World(cache=world.cache)
    again._numbers = world._numbers
    changed = AgentResult("uid-scale-1", "scale-1", "Running", "Job batch is changed")
    again.decide(makes=(patch(),), results=(changed,))
    await again.look()

    assert [write[0] for write in again.writes] == ["status"]
    assert again.status("scale-1")["message"] == "Job batch is changed"
    assert patched(again)["spec"] == {"suspend": False}

    # Another request may change it once more.
    again.decide(makes=(patch("scale-2"),))
    await again.look()
    assert patched(again)["spec"] == {"suspend": True}
    assert patched(again)["metadata"]["annotations"] == {REALLOCATED_BY: "uid-scale-2"}


async def test_given_a_target_that_somebody_changes_at_that_moment_then_the_patch_is_tried_on_what_it_is_then(
    world: World,
) -> None:
    target(world, suspend=False)
    meddled: list[KubeObject] = []

    def meddle(verb: str, resource: Any, _: str) -> None:
        if (verb, resource) == ("patch", JOBS) and not meddled:
            meddled.append(world.put(JOBS, {**patched(world), "status": {"x": 1}}, same=True))

    world.broken = meddle
    world.decide(makes=(patch(),))
    assert await world.look() == 0.5
    assert patched(world)["spec"] == {"suspend": False}
    world.elapsed += 0.5
    await world.look()
    assert (patched(world)["spec"], patched(world)["status"]) == ({"suspend": True}, {"x": 1})


async def test_given_a_patch_that_fails_then_nobody_is_told_that_it_is_done(world: World) -> None:
    target(world, suspend=False)
    changing = {**RUNNING, "message": "Job batch is being changed", "created": [{**JOB, "name": "batch"}]}
    world.request("scale-1", "Reallocate", permit="scale", status=changing)
    changed = AgentResult("uid-scale-1", "scale-1", "Running", "Job batch is changed")
    ledger = AgentPolicyStatus(granted=[granted("uid-scale-1", permit="scale", action="Reallocate")])
    world.decide(ledger, makes=(patch(),), results=(changed,))
    world.broken = lambda verb, *_: Unavailable("away") if verb == "patch" else None

    await world.look()

    assert world.status("scale-1") == changing
    assert ObjectKey(JOBS, SPACE, "batch") in world.cache.keys(JOBS, SPACE)
