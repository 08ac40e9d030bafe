"""What the book says of contracts and versions, and the checks that it asks for on behalf of a release."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.modelversion import ModelVersionSpec
from weir.contract.revision import Contract
from weir.controller.bindings import bind, fits
from weir.controller.contractbook import RECHECK, CheckWait, Pin, needed, pins
from weir.runtime.errors import Unavailable
from weir.runtime.resources import (
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    KubeObject,
    ObjectKey,
)

from .contractworld import SPACE, Control, World, document


@pytest.fixture
async def world() -> World:
    made = World()
    made.contract(schedule={"maxAge": "1h"})
    await Control(made).look()
    return made


def contract(world: World, name: str = "orders") -> Contract:
    found = world.book.contract(SPACE, name)
    assert found is not None
    return found


# --- reading --------------------------------------------------------------------------------------------------------


def test_given_an_accepted_contract_then_its_revision_is_at_hand_and_parsed_once(world: World) -> None:
    found = contract(world)

    assert found.current is not None
    assert found.current.digest == world.status()["digest"]
    assert found.current.document.table("orders") is not None
    assert contract(world) is found
    assert world.book.contract(SPACE, "nowhere") is None


def test_given_a_change_that_nobody_has_looked_at_then_nothing_is_current(world: World) -> None:
    world.contract(odcs=document("2.0.0"))

    found = contract(world)

    assert found.current is None
    assert "not looked at" in found.problem


def test_given_a_revision_that_is_not_shown_yet_then_nothing_is_current_until_it_is(world: World) -> None:
    (kept,) = world.cache.select(CONTROLLER_REVISIONS, SPACE)
    world.cache.discard(ObjectKey(CONTROLLER_REVISIONS, SPACE, kept["metadata"]["name"]))
    assert contract(world).current is None

    world.cache.put(CONTROLLER_REVISIONS, kept)

    assert contract(world).current is not None


async def bound(world: World, name: str, **contracts: Any) -> KubeObject:
    version = world.version(name, **contracts)
    binding = bind(version, world.book)
    assert binding is not None
    status = {"contracts": [entry.to_dict() for entry in binding.contracts]}
    return world.put(MODEL_VERSIONS, {**version, "status": status})


async def test_given_a_version_then_it_is_bound_to_what_was_current_and_stays_so(world: World) -> None:
    first = world.status()["digest"]
    version = await bound(world, "v1", trainedOn=["orders"], uses=["orders.amount"], imputed=["orders.label"])
    world.contract(odcs=document("2.0.0"))
    await Control(world).look()

    found = world.book.bound(version)

    assert found is not None
    assert [revision.digest for revision in found.trained_on] == [first]
    assert (found.served_from, found.uses, found.imputed) == (
        ("orders",),
        frozenset({"orders.amount"}),
        frozenset({"orders.label"}),
    )
    assert found.missing == ()
    again = bind(version, world.book)
    assert again is not None
    assert [entry.digest for entry in again.contracts] == [first]


async def test_given_one_contract_pinned_twice_then_each_pin_has_its_revision(world: World) -> None:
    first = world.status()["digest"]
    world.contract(odcs=document("2.0.0"))
    await Control(world).look()
    second = world.status()["digest"]

    version = await bound(world, "v1", trainedOn=[f"orders@{first}", f"orders@{second}"], request="orders")

    found = world.book.bound(version)
    assert found is not None
    assert found.request is not None
    assert found.request.digest == second
    assert [revision.digest for revision in found.trained_on] == [first, second]


async def test_given_a_name_beside_a_pin_of_the_same_contract_then_both_stay_what_they_were(world: World) -> None:
    first = world.status()["digest"]
    world.contract(odcs=document("2.0.0"))
    await Control(world).look()
    second = world.status()["digest"]
    version = await bound(world, "v1", trainedOn=[f"orders@{first}", "orders"])
    world.contract(odcs=document("3.0.0"))
    await Control(world).look()

    again, found = bind(version, world.book), world.book.bound(version)

    assert again is not None
    assert found is not None
    assert [entry.digest for entry in again.contracts] == [first, second]
    assert [revision.digest for revision in found.trained_on] == [first, second]


async def test_given_contracts_that_cannot_be_read_then_each_is_missing_with_its_reason(world: World) -> None:
    unknown = "sha256:" + "0" * 64
    version = await bound(world, "v1", trainedOn=["nowhere", f"orders@{unknown}"], servedFrom=["elsewhere"])

    found = world.book.bound(version)

    assert found is not None
    reasons = dict(found.missing)
    assert "no DataContract nowhere" in reasons["nowhere"]
    assert unknown in reasons["orders"]
    assert found.served_from == ("elsewhere",)
    binding = bind(version, world.book)
    assert binding is not None
    assert fits(version, binding, world.book, world.now).reason == "NoContract"


async def test_given_a_contract_that_was_deleted_then_what_was_bound_to_it_is_missing(world: World) -> None:
    version = await bound(world, "v1", trainedOn=["orders"])
    before = world.book.bound(version)
    assert before is not None
    assert before is world.book.bound(version)
    world.cache.discard(ObjectKey(DATA_CONTRACTS, SPACE, "orders"))

    await Control(world).look()

    found = world.book.bound(version)
    assert found is not None
    assert [name for name, _ in found.missing] == ["orders"]


async def test_given_a_version_without_contracts_then_it_is_bound_to_nothing(world: World) -> None:
    version = world.put(MODEL_VERSIONS, {"metadata": {"name": "v0"}, "spec": {**world.version("v1")["spec"]}})
    plain = {**version, "spec": {k: v for k, v in version["spec"].items() if k != "contracts"}}
    assert world.book.bound(plain) is None
    assert bind(plain, world.book) is None


def test_given_pins_then_each_counts_once(world: World) -> None:
    digest = "sha256:" + "0" * 64
    spec = world.version("v1", request="a", response=f"a@{digest}", trainedOn=["b", "b", "a"])["spec"]
    found = pins(ModelVersionSpec.model_validate(spec))
    wanted = [("Request", "a", ""), ("Response", "a", digest), ("TrainedOn", "b", ""), ("TrainedOn", "a", "")]
    assert found == tuple(Pin(*pin) for pin in wanted)  # type: ignore[arg-type]


def test_given_a_rollout_then_every_version_that_it_has_to_do_with_is_needed(world: World) -> None:
    rollout = world.rollout(
        version="v3", stable={"version": "v1"}, candidate={"version": "v2"}, retained=[{"version": "v0"}]
    )
    assert needed(rollout) == {"v0", "v1", "v2", "v3"}


async def test_given_users_then_they_are_found_by_any_role(world: World) -> None:
    for name, contracts in (("v1", {"trainedOn": ["orders"]}), ("v2", {"servedFrom": ["orders"]}), ("v3", {})):
        world.version(name, **contracts)
    rollout = world.rollout(version="v2")
    world.rollout("other", version="v3")

    assert [v["metadata"]["name"] for v in world.book.users(SPACE, "orders")] == ["v1", "v2"]
    assert list(world.book.rollouts(SPACE, "orders")) == [rollout]


# --- checks for a release ---------------------------------------------------------------------------------------------


class Release:
    """Release 3 of a Rollout, and an operator that follows the contract."""

    def __init__(self, world: World, number: int = 3) -> None:
        self.world, self.number = world, number
        self.rollout = world.rollout()

    async def ask(self) -> CheckWait:
        await Control(self.world).look()
        return await self.world.book.request_check(self.rollout, self.number, contract(self.world))


async def test_given_no_verdict_then_one_check_is_asked_for_and_waited_for(world: World) -> None:
    release = Release(world)

    first = await release.ask()
    second = await release.ask()

    assert first == second == CheckWait(world.names(CONTRACT_CHECKS)[0])
    assert len(world.names(CONTRACT_CHECKS)) == 1
    made = world.cache.get(CONTRACT_CHECKS, SPACE, first.check)
    assert made is not None
    assert (made["spec"]["purpose"], made["spec"]["for"]) == ("Release", "digits/3")
    assert made["metadata"]["ownerReferences"][0]["kind"] == "DataContract"


async def test_given_a_fresh_pass_then_nothing_is_asked_for_until_it_is_old(world: World) -> None:
    release = Release(world)
    wait = await release.ask()
    world.finish(wait.check)
    assert await release.ask() == CheckWait()

    world.now += 3600
    again = await release.ask()

    assert again.check not in ("", wait.check)


async def test_given_data_that_fails_then_it_is_checked_again_now_and_then(world: World) -> None:
    release = Release(world)
    wait = await release.ask()
    world.finish(wait.check, "Fail")

    assert await release.ask() == CheckWait(again=RECHECK)
    world.now += RECHECK
    again = await release.ask()
    assert again.check not in ("", wait.check)
    world.finish(again.check)
    assert await release.ask() == CheckWait()


async def test_given_another_revision_then_its_data_is_checked_at_once(world: World) -> None:
    release = Release(world)
    wait = await release.ask()
    world.finish(wait.check)
    world.contract(odcs=document("2.0.0"))

    again = await release.ask()

    assert again.check not in ("", wait.check)


async def test_given_a_check_that_runs_anyway_then_it_is_waited_for(world: World) -> None:
    world.check("scheduled")
    assert (await Release(world).ask()).check == "scheduled"
    assert world.names(CONTRACT_CHECKS) == ["scheduled"]


async def test_given_a_check_that_has_just_ended_then_what_the_contract_will_say_is_waited_for(world: World) -> None:
    release = Release(world)
    await release.ask()
    world.check("scheduled")
    world.finish("scheduled")

    wait = await world.book.request_check(release.rollout, 3, contract(world))

    assert wait.check != ""
    assert len(world.names(CONTRACT_CHECKS)) == 2
    assert await release.ask() == CheckWait()


async def test_given_a_check_of_some_servers_then_it_is_not_enough(world: World) -> None:
    world.check("part", servers=["lake"])
    assert (await Release(world).ask()).check != "part"


async def test_given_a_request_that_was_lost_then_the_next_one_has_the_same_name(world: World) -> None:
    release = Release(world)
    world.broken = lambda verb, resource, _: Unavailable("gone") if resource is CONTRACT_CHECKS else None
    with pytest.raises(Unavailable):
        await release.ask()
    world.broken = lambda *_: None
    first = (await release.ask()).check

    assert first.startswith("orders-r-")
    assert (await release.ask()).check == first


async def test_given_no_servers_then_there_is_nothing_to_wait_for() -> None:
    world = World()
    world.contract(servers=None)
    assert await Release(world).ask() == CheckWait()
