"""Leases that agents renew and objects that templates made are read one by one, and never trusted too far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.unit.runtime.fakes import FakeClock
from weir.api.agentpolicy import AgentPolicySpec
from weir.controller.agentlive import FRESH, GONE_AFTER, AgentLive, UnknownKind
from weir.runtime.client import KubeClient
from weir.runtime.clock import micro_time
from weir.runtime.errors import ApiError, Forbidden, NotFound, Unavailable
from weir.runtime.resources import LEASES, KubeObject, Resource

SPACE, JOB = "ml", ("batch/v1", "Job", "train-1")
POLICY = AgentPolicySpec.model_validate(
    {
        "subjects": [{"name": "tuner", "namespace": SPACE}],
        "permits": [{"name": "stop", "action": "Abort"}],
        "fallback": {
            "onAgentSilent": [{"lease": "tuner", "after": "60s"}],
            "ladder": ["Freeze"],
        },
    }
)


@dataclass
class Server:
    """Holds single objects, and counts who asks."""

    objects: dict[tuple[str, str], KubeObject] = field(default_factory=dict)
    error: ApiError | None = None
    reads: int = 0
    discoveries: int = 0
    kinds: list[dict[str, Any]] = field(default_factory=lambda: [{"name": "jobs", "kind": "Job", "namespaced": True}])
    reviews: list[Any] = field(default_factory=list)

    async def get(self, resource: Resource, name: str, namespace: str) -> KubeObject:
        assert namespace == SPACE
        self.reads += 1
        if self.error is not None:
            raise self.error
        if (resource.kind, name) not in self.objects:
            raise NotFound(name, status=404)
        return self.objects[resource.kind, name]

    async def get_path(self, path: str) -> KubeObject:
        self.discoveries += 1
        if path != "/apis/batch/v1":
            raise NotFound(path, status=404)
        return {"resources": self.kinds}

    async def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        self.reviews.append(body)
        if self.error is not None:
            raise self.error
        return {"status": {"userInfo": {"username": "system:serviceaccount:weir-system:weir"}}}

    def renew(self, at: float, version: str) -> None:
        moment = micro_time(datetime.fromtimestamp(at, UTC))
        meta = {"name": "tuner", "resourceVersion": version}
        self.objects[LEASES.kind, "tuner"] = {"metadata": meta, "spec": {"renewTime": moment}}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def live(server: Server, clock: FakeClock) -> AgentLive:
    return AgentLive(cast(KubeClient, server), clock)


def now(clock: FakeClock) -> float:
    return clock.now().timestamp()


async def test_given_a_lease_then_its_last_renewal_is_known(live: AgentLive, server: Server, clock: FakeClock) -> None:
    server.renew(now(clock) - 5, "1")
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": pytest.approx(now(clock) - 5, abs=0.01)}
    assert await live.heartbeats(SPACE, None) == {}


async def test_given_no_lease_or_one_that_nobody_renewed_then_there_is_no_sign_of_life(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": None}
    server.objects[LEASES.kind, "tuner"] = {"metadata": {"name": "tuner", "resourceVersion": "1"}, "spec": {}}
    await clock.advance(FRESH)
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": None}


async def test_given_a_renewal_in_the_future_then_it_counts_from_when_it_was_seen(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    server.renew(now(clock) + 3600, "1")
    first = now(clock)
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": first}
    await clock.advance(100)
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": first}
    server.renew(now(clock) + 3600, "2")
    await clock.advance(FRESH)
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": now(clock)}


async def test_given_a_lease_that_was_read_a_moment_ago_then_it_is_read_again_only_before_it_counts_as_silence(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    server.renew(now(clock) - 59, "1")
    await live.heartbeats(SPACE, POLICY)
    await live.heartbeats(SPACE, POLICY)
    assert server.reads == 1

    await clock.advance(1.5)
    server.renew(now(clock) - 0.5, "2")
    found = await live.heartbeats(SPACE, POLICY)
    assert server.reads == 2
    assert found == {"tuner": pytest.approx(now(clock) - 0.5, abs=0.01)}


async def test_given_no_right_to_read_a_lease_then_there_is_no_sign_of_life(live: AgentLive, server: Server) -> None:
    server.error = Forbidden("no", status=403)
    assert await live.heartbeats(SPACE, POLICY) == {"tuner": None}


async def test_given_an_api_server_that_is_away_then_nobody_is_called_silent(live: AgentLive, server: Server) -> None:
    server.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await live.heartbeats(SPACE, POLICY)


async def test_given_objects_then_those_that_were_made_and_are_gone_are_told_apart(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    server.objects["Job", "train-1"] = {"metadata": {"name": "train-1"}}
    lost, new, other = (("batch/v1", "Job", name) for name in ("lost", "new", "other"))
    server.objects["Job", "other"] = {"metadata": {"name": "other", "ownerReferences": [{"uid": "x"}]}}
    wanted = {"a": (JOB, True), "b": (lost, True), "c": (new, False), "d": (other, False)}
    here = {"a": {"metadata": {"name": "train-1"}}}
    assert await live.objects(SPACE, wanted) == here
    await clock.advance(GONE_AFTER - 0.1)
    assert await live.objects(SPACE, wanted) == here
    await clock.advance(0.1)
    assert await live.objects(SPACE, wanted) == {**here, "b": None}


async def test_given_an_object_that_is_missed_once_then_it_is_not_taken_for_gone(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    job = server.objects["Job", "train-1"] = {"metadata": {"name": "train-1"}}
    wanted = {"a": (JOB, True)}
    for _ in range(2):
        del server.objects["Job", "train-1"]
        assert await live.objects(SPACE, wanted) == {}
        await clock.advance(GONE_AFTER)
        server.objects["Job", "train-1"] = job
        assert await live.objects(SPACE, wanted) == {"a": job}
        await clock.advance(FRESH)


async def test_given_an_object_that_was_made_after_it_was_missed_then_it_is_not_gone_at_the_first_look(
    live: AgentLive, clock: FakeClock
) -> None:
    assert await live.objects(SPACE, {"a": (JOB, False)}) == {}
    await clock.advance(GONE_AFTER)
    live.wrote(SPACE, JOB, {"metadata": {"name": "train-1"}})
    await clock.advance(FRESH)
    assert await live.objects(SPACE, {"a": (JOB, True)}) == {}


async def test_given_a_kind_that_the_api_server_denies_then_what_was_made_is_not_taken_for_gone(
    live: AgentLive, clock: FakeClock
) -> None:
    other = ("argoproj.io/v1alpha1", "Workflow", "w")
    for _ in range(2):
        assert await live.objects(SPACE, {"a": (other, True), "b": (other, False)}) == {}
        await clock.advance(GONE_AFTER)


async def test_given_a_read_that_fails_then_the_last_one_counts(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    server.objects["Job", "train-1"] = {"metadata": {"name": "train-1"}}
    before = await live.objects(SPACE, {"a": (JOB, True)})
    server.error = Unavailable("away")
    await clock.advance(FRESH)
    assert await live.objects(SPACE, {"a": (JOB, True)}) == before
    live.forget(SPACE)
    assert await live.objects(SPACE, {"a": (JOB, True)}) == {}


async def test_given_kinds_then_they_are_asked_for_once_and_a_new_one_is_found(live: AgentLive, server: Server) -> None:
    for _ in range(3):
        assert (await live.resource("batch/v1", "Job")).qualified_name == "jobs.batch"
    assert server.discoveries == 1
    with pytest.raises(UnknownKind, match="CronJob"):
        await live.resource("batch/v1", "CronJob")
    server.kinds.append({"name": "cronjobs", "kind": "CronJob", "namespaced": True})
    assert (await live.resource("batch/v1", "CronJob")).plural == "cronjobs"


async def test_given_subresources_and_cluster_scoped_kinds_then_they_are_not_served_to_templates(
    live: AgentLive, server: Server
) -> None:
    server.kinds = [
        {"name": "jobs/status", "kind": "JobStatus", "namespaced": True},
        {"name": "nodes", "kind": "Node", "namespaced": False},
    ]
    for kind in ("JobStatus", "Node"):
        with pytest.raises(UnknownKind):
            await live.resource("batch/v1", kind)


async def test_given_the_operators_own_name_then_it_is_asked_for_once(live: AgentLive, server: Server) -> None:
    assert await live.identity() == "system:serviceaccount:weir-system:weir"
    assert await live.identity() == "system:serviceaccount:weir-system:weir"
    assert len(server.reviews) == 1


async def test_given_no_right_to_ask_for_it_then_it_is_unknown_until_it_is_asked_for_again(
    live: AgentLive, server: Server, clock: FakeClock
) -> None:
    server.error = Forbidden("no", status=403)
    assert await live.identity() == ""
    server.error = None
    assert await live.identity() == ""
    await clock.advance(60)
    assert await live.identity() == "system:serviceaccount:weir-system:weir"
    assert len(server.reviews) == 2
