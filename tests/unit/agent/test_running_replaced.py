"""A template that runs while its policy is replaced or edited, and a Reallocate that is cut off: nothing is done twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.ledgerworld import World, permits, spec_of
from tests.unit.agent.test_running import SCALE, ended, phase
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus

SCALE_PERMIT: dict[str, Any] = {"name": "scale", "action": "Reallocate", "template": "scale"}
LEFT = "Job train-r0 goes on, and nobody follows it"


def training() -> tuple[World, str]:
    """A Retrain that runs."""
    world = World()
    uid = world.ask("train", expiresAfter="5m")
    world.look()
    world.look()
    assert phase(world, uid)[0] == "Running"
    return world, uid


def replace(world: World, spec: AgentPolicySpec) -> None:
    """Somebody deletes the policy and creates another one: its ledger is empty."""
    world.edit(spec)
    world.status = AgentPolicyStatus()


@pytest.mark.parametrize(
    ("changes", "after", "why"),
    [
        ({}, "5m", "its grant is gone: not executed within 5m; create a new request"),
        ({"paused": True}, 1.0, "its grant is gone: "),
        ({"permits": permits(train={"approval": {"tier": "Approve"}})}, 1.0, "its grant is gone: waiting for"),
        ({"permits": permits()[:-1], "templates": None}, 1.0, "its grant is gone: the AgentPolicy has no permit train"),
    ],
    ids=["expired", "paused", "needs-consent", "no-permit"],
)
def test_given_a_running_job_when_another_policy_would_not_let_it_begin_then_the_request_says_that_it_goes_on(
    changes: dict[str, Any], after: str | float, why: str
) -> None:
    world, uid = training()
    replace(world, spec_of(**changes))
    world.wait(after)

    decision = world.look()

    assert phase(world, uid)[0] == "Failed"
    assert phase(world, uid)[1].startswith(why)
    assert phase(world, uid)[1].endswith(LEFT)
    # The ledger is written before the result, so a policy that was read too early cannot end anything.
    assert decision.status.waiting == []
    assert world.denied(uid) is not None
    assert "ApprovalNeeded" not in world.told()
    world.look()
    assert world.denied(uid) is None


def test_given_a_running_job_when_another_policy_lets_it_run_then_it_is_followed_to_its_end() -> None:
    world, uid = training()
    replace(world, spec_of())
    world.look()
    assert phase(world, uid)[0] == "Running"

    ended(world, uid)
    world.look()
    world.look()

    assert phase(world, uid)[0] == "Succeeded"


def test_given_a_running_job_when_its_permit_is_renamed_then_the_request_says_that_it_goes_on() -> None:
    world, uid = training()
    world.edit(spec_of(permits=permits(train={"name": "learn"})))

    world.look()

    assert phase(world, uid) == ("Failed", f"the AgentPolicy has no template for Retrain under train; {LEFT}")


def reallocating() -> tuple[World, str]:
    """A Reallocate whose intent is stored, and then the operator is killed."""
    world = World(spec_of(permits=[SCALE_PERMIT], templates=[SCALE]))
    uid = world.ask("scale", expiresAfter="5m")
    assert world.look().makes == ()
    world.objects[uid] = {"kind": "Deployment", "metadata": {"name": "batch"}, "status": {"replicas": 3}}
    return world, uid


def test_given_a_reallocate_that_is_cut_off_at_its_patch_when_time_has_passed_then_it_is_neither_judged_nor_expired() -> (
    None
):
    world, uid = reallocating()
    world.edit(spec_of(permits=[SCALE_PERMIT], templates=[SCALE], paused=True))
    world.wait("10m")

    lost = world.decide()
    again = world.look()

    assert [made.verb for made in lost.makes] == ["Patch"]
    assert again.makes == lost.makes
    assert phase(world, uid) == ("Running", "Deployment batch is changed")


def test_given_a_reallocate_that_is_done_when_somebody_sets_it_back_then_it_is_not_done_again() -> None:
    world, uid = reallocating()
    world.look()
    for replicas in (0, 3):
        world.objects[uid] = {"kind": "Deployment", "metadata": {"name": "batch"}, "status": {"replicas": replicas}}
        assert world.decide().makes == ()
    assert phase(world, uid)[0] == "Running"


def test_given_a_target_that_is_not_there_then_that_is_found_out_by_the_patch() -> None:
    for there in (True, False):
        world, uid = reallocating()
        if there:
            world.objects[uid] = None
        else:
            del world.objects[uid]
        assert [made.verb for made in world.decide().makes] == ["Patch"]
