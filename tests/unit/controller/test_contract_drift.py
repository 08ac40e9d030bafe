"""Drift of a contract's data by its checks: one reference, every check counted once."""

from __future__ import annotations

import pytest

from weir.controller.driftwatch import RETRY
from weir.runtime.resources import CONFIG_MAPS, CONTRACT_CHECKS, ObjectKey

from .contractworld import DRIFT, SPACE, WATCHED, Control, World, profile


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def control(world: World) -> Control:
    return Control(world)


async def test_given_drift_is_watched_then_checks_are_counted_once_against_one_reference(
    world: World, control: Control
) -> None:
    world.contract(**DRIFT)
    await control.look()
    (reference,) = world.names(CONTRACT_CHECKS)
    check = world.cache.get(CONTRACT_CHECKS, SPACE, reference)
    assert check is not None
    assert (check["spec"]["purpose"], check["spec"]["servers"]) == ("Reference", ["lake"])
    await control.look()
    assert world.condition("DriftFree")["reason"] == "ReferencePending"

    world.finish(reference, profile=profile(2500, 2500, 2500, 2500))
    await control.look()
    (kept,) = world.names(CONFIG_MAPS)
    assert world.status()["reference"]["configMap"] == kept
    assert world.condition("DriftFree")["reason"] == "NotEnoughData"

    world.now += 10
    world.check("near")
    world.finish("near", profile=profile(2500, 2510, 2490, 2500))
    await control.look()
    first = world.status()["drift"]
    assert first[0]["verdict"] == "Pass"
    await control.look()
    await Control(world).look()
    assert world.status()["drift"] == first

    world.now += 10
    world.check("far")
    world.finish("far", profile=profile(0, 0, 0, 9000))
    await Control(world).look()
    assert world.condition("DriftFree")["status"] == "False"
    assert world.status()["drift"][0]["source"] == "far"
    assert world.names(CONFIG_MAPS) == [kept]


async def test_given_a_check_of_the_references_own_data_then_it_is_no_evidence_about_other_data(
    world: World, control: Control
) -> None:
    feed = {"name": "feed", "odcsServer": "feed"}
    world.contract(servers=[{"name": "lake", "odcsServer": "lake"}, feed], **DRIFT)
    await control.look()
    world.finish(world.names(CONTRACT_CHECKS)[0], profile=profile(2500, 2500, 2500, 2500))
    world.now += 1
    world.check("of-the-lake", servers=["lake"])
    world.finish("of-the-lake", profile=profile(2500, 2500, 2500, 2500))

    await control.look()

    assert world.condition("DriftFree")["reason"] == "NotEnoughData"
    assert world.status()["drift"] == []


async def test_given_two_checks_that_ended_between_two_looks_then_both_are_counted(
    world: World, control: Control
) -> None:
    world.contract(**DRIFT)
    await control.look()
    world.finish(world.names(CONTRACT_CHECKS)[0], profile=profile(2500, 2500, 2500, 2500))
    for name in ("a", "b"):
        world.now += 1
        world.check(name)
        world.finish(name, profile=profile(250, 250, 250, 250))

    await control.look()

    (entry,) = world.status()["drift"]
    assert (entry["samples"], entry["source"]) == (2000, "b")


async def test_given_a_reference_that_fails_then_it_is_made_again_after_a_while(world: World, control: Control) -> None:
    world.contract(**DRIFT)
    await control.look()
    (name,) = world.names(CONTRACT_CHECKS)
    world.finish(name, "Unknown", message="lake cannot be reached")
    again = await control.look()
    assert "lake cannot be reached" in world.condition("DriftFree")["message"]
    assert again is not None
    assert again <= RETRY

    world.now += RETRY
    await control.look()
    assert world.names(CONTRACT_CHECKS) == []
    await control.look()

    assert world.names(CONTRACT_CHECKS) == [name]


async def test_given_somebody_elses_check_of_that_name_then_it_makes_no_reference(
    world: World, control: Control
) -> None:
    world.contract(**DRIFT)
    await control.look()
    (name,) = world.names(CONTRACT_CHECKS)
    world.cache.discard(ObjectKey(CONTRACT_CHECKS, SPACE, name))
    world.check(name)
    world.finish(name, profile=profile(1, 1, 1, 1))

    await control.look()

    assert world.condition("DriftFree")["reason"] == "ReferenceFailed"
    assert "reference" not in world.status()


async def test_given_a_reference_in_a_config_map_then_it_is_read_and_kept(world: World, control: Control) -> None:
    world.contract(drift=[WATCHED], reference={"configMapRef": {"name": "mine", "key": "profile.json"}})
    await control.look()
    assert world.condition("DriftFree")["reason"] == "ReferenceNotFound"

    world.put(CONFIG_MAPS, {"metadata": {"name": "mine"}, "data": {"profile.json": profile(1, 2, 3, 4)}})
    await control.look()

    assert world.status()["reference"]["rows"] == 10
    assert world.status()["reference"]["configMap"].startswith("orders-reference-")
