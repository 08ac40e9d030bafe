"""An AgentPolicy that is gone: nobody is called for what was wrong with it."""

from __future__ import annotations

from tests.unit.controller.agentworld import SPACE, World
from weir.api.agentpolicy import POLICY_NAME
from weir.notify.alerts import Subject
from weir.runtime.resources import AGENT_POLICIES


async def test_given_a_policy_that_is_deleted_then_nobody_is_called_for_it_any_more() -> None:
    world = World()
    policy = world.policy()
    await world.look()
    assert world.told.forgotten == []

    world.cache.remove(AGENT_POLICIES, policy)
    await world.look()

    assert world.told.forgotten == [Subject(SPACE, POLICY_NAME, policy["metadata"]["uid"])]


async def test_given_a_policy_that_was_replaced_between_two_looks_then_only_the_new_one_counts() -> None:
    world = World()
    before = world.policy()
    await world.look()

    world.cache.remove(AGENT_POLICIES, before)
    after = {**before, "metadata": {**before["metadata"], "uid": "another"}}
    world.put(AGENT_POLICIES, after)
    await world.look()

    assert world.told.forgotten == [Subject(SPACE, POLICY_NAME, before["metadata"]["uid"])]
    assert len(world.seen) == 2
