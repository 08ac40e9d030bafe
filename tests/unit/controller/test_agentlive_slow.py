"""Reads that hang or fail: what cannot be read now holds up nothing, and nobody is called silent or gone for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.unit.controller.test_agentlive import JOB, POLICY, SPACE, Server, now
from tests.unit.runtime.fakes import FakeClock
from weir.controller.agentlive import FRESH, AgentLive
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError, Unavailable
from weir.runtime.resources import KubeObject, Resource


@dataclass
class Slow(Server):
    """Does not answer at all to who asks for an object of these names."""

    hang: set[str] = field(default_factory=set)
    at_once: int = 0
    most: int = 0

    async def get(self, resource: Resource, name: str, namespace: str) -> KubeObject:
        if name not in self.hang:
            return await super().get(resource, name, namespace)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.Event().wait()
        finally:
            self.at_once -= 1
        raise AssertionError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr("weir.controller.agentlive.READ_WITHIN", 0.02)
    return Slow()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def live(server: Slow, clock: FakeClock) -> AgentLive:
    return AgentLive(cast(KubeClient, server), clock)


async def within(reads: Any) -> Any:
    return await asyncio.wait_for(reads, 5.0)


async def test_given_objects_that_no_answer_comes_for_then_they_are_read_at_once_and_left_out(
    live: AgentLive, server: Slow
) -> None:
    others = {f"u{n}": (("batch/v1", "Job", f"slow-{n}"), True) for n in range(20)}
    server.hang = {made[2] for made, _ in others.values()}
    job = server.objects["Job", "train-1"] = {"metadata": {"name": "train-1"}}

    assert await within(live.objects(SPACE, {**others, "a": (JOB, True)})) == {"a": job}
    assert (server.most, server.at_once, server.discoveries) == (20, 0, 1)


async def test_given_two_requests_for_one_object_then_it_is_read_once(live: AgentLive, server: Slow) -> None:
    job = server.objects["Job", "train-1"] = {"metadata": {"name": "train-1"}}
    assert await live.objects(SPACE, {"a": (JOB, True), "b": (JOB, True)}) == {"a": job, "b": job}
    assert server.reads == 1


@pytest.mark.parametrize("error", [None, Unavailable("away")], ids=["hangs", "fails"])
async def test_given_a_lease_that_cannot_be_read_any_more_then_time_stands_still_for_it(
    live: AgentLive, server: Slow, clock: FakeClock, error: ApiError | None
) -> None:
    server.renew(now(clock) - 5, "1")
    await live.heartbeats(SPACE, POLICY)
    server.error, server.hang = error, {"tuner"} if error is None else set()

    await clock.advance(600)
    found = await within(live.heartbeats(SPACE, POLICY))

    # It was renewed five seconds before it was read last: its agent is as silent as it was then.
    assert found == {"tuner": pytest.approx(now(clock) - 5, abs=0.01)}
    server.error, server.hang = None, set()
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": pytest.approx(now(clock) - 605, abs=0.01)}


async def test_given_an_agent_that_was_silent_when_its_lease_could_be_read_then_it_stays_so(
    live: AgentLive, server: Slow, clock: FakeClock
) -> None:
    server.renew(now(clock) - 90, "1")
    await live.heartbeats(SPACE, POLICY)
    server.hang = {"tuner"}
    await clock.advance(FRESH)

    found = await within(live.heartbeats(SPACE, POLICY))

    assert now(clock) - found["tuner"] == pytest.approx(90, abs=0.01)
