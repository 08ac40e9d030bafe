"""A DataContract from its document to its verdicts, with a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.base import format_time
from weir.controller.checkledger import PATIENCE
from weir.controller.revisions import KEEP
from weir.runtime.errors import ApiError, Conflict, Unavailable
from weir.runtime.resources import (
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    JOBS,
    MODEL_VERSIONS,
    PODS,
    KubeObject,
    ObjectKey,
)

from .contractworld import DRIFT, SPACE, T0, Control, World, document


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def control(world: World) -> Control:
    return Control(world)


async def test_given_a_good_document_then_it_is_kept_and_a_second_look_writes_nothing(
    world: World, control: Control
) -> None:
    world.contract()

    await control.look()

    assert world.condition("Accepted")["status"] == "True"
    assert len(world.names(CONTROLLER_REVISIONS)) == 1
    written = list(world.writes)
    await control.look()
    await Control(world).look()
    assert world.writes == written


@pytest.mark.parametrize("crash", range(1, 6))
async def test_given_a_crash_after_any_write_then_the_next_process_ends_in_the_same_place(crash: int) -> None:
    async def life(limit: int) -> KubeObject:
        world, done = World(), 0

        def broken(*_: Any) -> ApiError | None:
            nonlocal done
            done += 1
            return Unavailable("gone") if done > limit else None

        world.contract(schedule={"cron": "0 * * * *"}, **DRIFT)
        world.broken = broken
        while True:
            try:
                await Control(world).look()
            except ApiError:
                done, limit = 0, 1000
            else:
                world.broken = lambda *_: None
                await Control(world).look()  # a check that it asked for itself stands otherwise the next time
                return {"checks": world.names(CONTRACT_CHECKS), "status": world.status()}

    assert await life(crash) == await life(1000)


async def test_given_a_document_that_is_refused_then_what_was_accepted_stays_written_down(
    world: World, control: Control
) -> None:
    world.contract()
    await control.look()
    before = world.status()

    world.contract(odcs=document("2.0.0") | {"schema": [{"name": 7}]})
    await control.look()

    assert world.condition("Accepted")["reason"] == "InvalidDocument"
    assert world.condition("DataValid")["reason"] == "NotAccepted"
    assert world.status()["digest"] == before["digest"]
    assert world.book.contract(SPACE, "orders").current is None  # type: ignore[union-attr]
    assert before["revision"] in world.condition("Ready")["message"]


async def test_given_a_spec_that_is_none_then_the_field_is_named(world: World, control: Control) -> None:
    world.contract(roles="all")
    await control.look()
    accepted = world.condition("Accepted")
    assert (accepted["reason"], "spec.roles" in accepted["message"]) == ("InvalidSpec", True)


async def test_given_a_kept_version_with_other_content_then_it_is_refused(world: World, control: Control) -> None:
    world.contract()
    await control.look()

    world.contract(odcs=document(required=True))
    await control.look()

    assert world.condition("Accepted")["reason"] == "VersionReused"
    world.contract(odcs=document("1.0.1", required=True))
    await control.look()
    assert world.condition("Accepted")["status"] == "True"


async def test_given_the_revision_of_a_deleted_namesake_then_it_is_waited_for(world: World, control: Control) -> None:
    world.contract()
    await control.look()
    revision = world.cache.select(CONTROLLER_REVISIONS, SPACE)[0]
    world.cache.discard(ObjectKey(DATA_CONTRACTS, SPACE, "orders"))
    world.contract()

    with pytest.raises(Conflict):
        await Control(world).look()

    world.cache.discard(ObjectKey(CONTROLLER_REVISIONS, SPACE, revision["metadata"]["name"]))
    await Control(world).look()
    assert world.condition("Accepted")["status"] == "True"


async def test_given_many_versions_then_ten_are_kept_and_those_that_a_version_is_bound_to(
    world: World, control: Control
) -> None:
    world.contract(odcs=document("0.0.0"))
    await control.look()
    first = world.status()
    version = world.version("v1", trainedOn=["orders"])
    pin = {"role": "TrainedOn", "name": "orders", "digest": first["digest"]}
    world.put(MODEL_VERSIONS, {**version, "status": {"contracts": [pin]}})

    for number in range(1, KEEP + 5):
        world.contract(odcs=document(f"0.0.{number}"))
        await control.look()

    names = world.names(CONTROLLER_REVISIONS)
    assert len(names) == KEEP + 1
    assert first["revision"] in names


async def test_given_a_schedule_then_each_time_is_served_once_also_by_the_next_process(
    world: World, control: Control
) -> None:
    world.contract(schedule={"cron": "0 * * * *", "maxAge": "26h"})
    again = await control.look()
    assert world.names(CONTRACT_CHECKS) == []
    assert again is not None
    assert 0 < again <= 3600

    world.now += again
    await control.look()
    (name,) = world.names(CONTRACT_CHECKS)
    await Control(world).look()

    assert world.names(CONTRACT_CHECKS) == [name]
    assert name.startswith("orders-20")
    assert world.status()["checkedSlot"] == format_time(world.now)


async def test_given_a_day_without_an_operator_then_one_check_is_made(world: World, control: Control) -> None:
    world.contract(schedule={"cron": "0 * * * *"})
    await control.look()

    world.now += 86400
    await Control(world).look()
    await Control(world).look()

    assert len(world.names(CONTRACT_CHECKS)) == 1


async def test_given_a_check_that_runs_when_the_next_is_due_then_none_is_added(world: World, control: Control) -> None:
    world.contract(schedule={"cron": "0 * * * *"})
    await control.look()
    world.check("asked")

    world.now += 3600
    await control.look()

    assert world.names(CONTRACT_CHECKS) == ["asked"]
    assert world.status()["checkedSlot"]


async def test_given_results_then_verdict_condition_event_and_metrics_follow_and_time_takes_them_back(
    world: World, control: Control
) -> None:
    world.contract(schedule={"maxAge": "1h"})
    await control.look()
    world.check("a")
    await control.look()
    assert world.status()["checks"][0]["reason"] == "Queued"

    world.now += 5
    world.finish("a")
    again = await control.look()
    assert (world.condition("DataValid")["status"], again) == ("True", 3600)
    assert control.metric("weir_contract_verdict", verdict="Pass") == 1
    assert control.metric("weir_contract_checks_total", verdict="Pass") == 1
    assert control.metric("weir_contract_check_seconds_sum") == 2
    await control.look()
    assert control.metric("weir_contract_checks_total", verdict="Pass") == 1

    world.now += 3600
    await control.look()

    assert world.condition("DataValid")["reason"] == "StaleCheck"
    assert control.metric("weir_contract_verdict", verdict="Unknown") == 1
    assert world.told("orders") == ["Accepted", "NotInUse", "RulesHold", "StaleCheck"]


def job(world: World, name: str, **status: Any) -> None:
    digest = world.status()["digest"]
    meta = {"name": name, "labels": {"weir.dev/contract": "orders"}, "annotations": {"weir.dev/digest": digest}}
    world.put(JOBS, {"metadata": meta, "status": {"startTime": format_time(world.now), **status}})


def ended(kind: str, reason: str, at: float) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": format_time(at)}


async def test_given_a_job_that_fails_then_its_pods_are_asked_once_also_by_the_next_process(
    world: World, control: Control
) -> None:
    world.contract()
    await control.look()
    world.check("a")
    job(world, "a", ready=1, conditions=[ended("Failed", "BackoffLimitExceeded", world.now)])
    world.pods = [
        {
            "metadata": {"creationTimestamp": format_time(world.now)},
            "status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
        }
    ]
    again = await control.look()
    assert again == 5

    world.now += 5
    await control.look()
    await control.look()
    await Control(world).look()

    assert world.condition("DataValid")["reason"] == "OutOfMemory"
    assert [what for what, _ in world.reads].count(PODS) == 1
    assert world.status()["checks"][0]["digest"] == world.status()["digest"]


async def test_given_a_pod_that_does_not_start_then_it_is_said_and_time_out_remembers_it(
    world: World, control: Control
) -> None:
    world.contract()
    await control.look()
    world.check("a")
    job(world, "a")
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    world.pods = [
        {
            "metadata": {"creationTimestamp": format_time(world.now)},
            "status": {"containerStatuses": [{"state": waiting}]},
        }
    ]
    assert await control.look() == PATIENCE

    world.now += PATIENCE
    assert await control.look() == PATIENCE
    assert world.status()["checks"][0]["reason"] == "ImagePullBackOff"
    await control.look()
    assert [what for what, _ in world.reads].count(PODS) == 1

    world.pods = []
    job(world, "a", conditions=[ended("Failed", "DeadlineExceeded", world.now - 60)])
    await control.look()

    found = world.condition("DataValid")
    assert found["reason"] == "CheckTimedOut"
    assert "no such image" in found["message"]


async def test_given_many_checks_then_the_last_five_stay_and_never_one_that_runs(
    world: World, control: Control
) -> None:
    world.contract()
    await control.look()
    world.check("runs")
    for number in range(8):
        world.now += 1
        world.check(f"c{number}")
        world.finish(f"c{number}")

    await control.look()

    assert world.names(CONTRACT_CHECKS) == ["c3", "c4", "c5", "c6", "c7", "runs"]


async def test_given_a_version_in_use_that_the_change_breaks_then_the_contract_says_which(
    world: World, control: Control
) -> None:
    world.contract(odcs=document(required=True))
    await control.look()
    version = world.version("v1", trainedOn=["orders"])
    pin = {"role": "TrainedOn", "name": "orders", "digest": world.status()["digest"]}
    world.put(MODEL_VERSIONS, {**version, "status": {"contracts": [pin]}})
    world.rollout(stable={"version": "v1", "pool": "p"})
    await control.look()
    assert world.condition("Compatible")["status"] == "True"
    assert world.status()["usedBy"] == ["v1"]

    world.contract(odcs=document("2.0.0", required=False))
    await control.look()

    found = world.condition("Compatible")
    assert found["status"] == "False"
    assert "v1" in found["message"]
    (entry,) = world.status()["compatibility"]
    assert (entry["version"], entry["verdict"], entry["rule"]) == ("v1", "Fail", "R6")


async def test_given_a_contract_that_is_gone_then_nothing_of_it_is_left_in_memory(
    world: World, control: Control
) -> None:
    world.contract()
    await control.look()
    assert control.metric("weir_contract_verdict", verdict="Unknown") == 1
    world.cache.discard(ObjectKey(DATA_CONTRACTS, SPACE, "orders"))

    assert await control.look() is None

    assert control.metric("weir_contract_verdict", verdict="Unknown") is None


def test_given_the_clock_of_the_tests_then_it_is_on_the_hour() -> None:
    assert T0 % 3600 == 0
