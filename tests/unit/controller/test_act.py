"""Writing what a decision wants, against a client that a test can break."""

from typing import Any

import pytest

from tests.unit.workload.builders import rollout, version_spec
from weir.api.action import HandledRequest
from weir.api.rolloutstatus import RolloutStatus, VersionStatus
from weir.controller.act import MOST_WAITING, Actor, Scene, write_problem
from weir.controller.memory import Memory
from weir.controller.observe import Observer, Versions
from weir.release.decision import Desired, PoolIntent, RequestResult
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.errors import ApiError, Conflict, Forbidden, Invalid
from weir.runtime.resources import ACTION_REQUESTS, DEPLOYMENTS, GATEWAYS, HTTP_ROUTES, KubeObject, Resource

POOL, OLD = "digits-new", "digits-old"


class Client:
    """Takes every apply but those of kinds in ``refuse``."""

    def __init__(self) -> None:
        self.refuse: dict[Resource, ApiError] = {}
        self.applied: list[tuple[str, str]] = []
        self.bodies: list[KubeObject] = []

    async def apply(self, resource: Resource, body: KubeObject, **options: Any) -> KubeObject:
        self.applied.append((resource.kind, options["field_manager"]))
        self.bodies.append(body)
        if resource in self.refuse:
            raise self.refuse[resource]
        meta = {**body["metadata"], "resourceVersion": "8", "uid": "u"}
        return {**body, "metadata": meta}


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def cache() -> Cache:
    filled = Cache()
    ready = {"conditions": [{"type": "Programmed", "status": "True"}]}
    web = {"name": "web", "namespace": "infra", "uid": "g", "resourceVersion": "1"}
    filled.put(GATEWAYS, {"metadata": web, "spec": {"gatewayClassName": "x"}, "status": ready})
    return filled


@pytest.fixture
def actor(client: Client, cache: Cache) -> Actor:
    guard = StaleGuard(cache, patience=0.0)
    return Actor(client, cache, guard, Observer(cache, lambda: 0.0, frozenset), "weir:1")  # type: ignore[arg-type]


def scene(cache: Cache) -> Scene:
    view = rollout()
    arms = {
        name: VersionStatus(version=name, label=name, digest="sha256:1", revision=f"r-{name}", pool=pool)
        for name, pool in (("old", OLD), ("new", POOL))
    }
    memory = Memory(status=RolloutStatus(release=2, stable=arms["old"], candidate=arms["new"]))
    contents = {name: version_spec() for name in arms}
    seen = Observer(cache, lambda: 0.0, frozenset).seen(view)
    before = RolloutStatus()
    return Scene(view, {"metadata": {"name": "digits"}}, before, Versions(contents, "v1", None, None), seen, memory)


def wanted(weight: int = 25) -> Desired:
    intent = PoolIntent(POOL, "new", "r-new", 1, True)
    return Desired(pools=(intent,), weights=((OLD, 100 - weight), (POOL, weight)))


async def test_given_a_deployment_that_is_refused_then_it_is_not_scaled_and_the_first_refusal_is_told(
    actor: Actor, client: Client, cache: Cache
) -> None:
    client.refuse[DEPLOYMENTS] = Invalid("PATCH /x: spec.template: limits[cpu] is negative", status=422)
    here = scene(cache)

    await actor.cluster(here, wanted())

    assert [manager for kind, manager in client.applied if kind == "Deployment"] == ["weir-workload"]
    problem = write_problem(here.memory)
    assert problem is not None
    assert problem.reason == "DeploymentRejected"
    assert "limits[cpu]" in problem.message


async def test_given_a_refused_write_when_it_is_looked_at_again_then_it_is_not_tried_again_at_once(
    actor: Actor, client: Client, cache: Cache
) -> None:
    client.refuse[DEPLOYMENTS] = Invalid("PATCH /x: no", status=422)
    here = scene(cache)
    await actor.cluster(here, wanted())
    client.applied.clear()

    await actor.cluster(here, wanted())

    assert "Deployment" not in [kind for kind, _ in client.applied]
    assert write_problem(here.memory) is not None


async def test_given_a_refused_write_when_it_is_not_wanted_any_more_then_its_problem_is_forgotten(
    actor: Actor, client: Client, cache: Cache
) -> None:
    client.refuse[DEPLOYMENTS] = Invalid("PATCH /x: no", status=422)
    here = scene(cache)
    await actor.cluster(here, wanted())

    await actor.cluster(here, Desired(weights=((OLD, 100),)))

    assert write_problem(here.memory) is None


async def test_given_a_deployment_that_cannot_be_written_then_traffic_is_moved_all_the_same(
    actor: Actor, client: Client, cache: Cache
) -> None:
    client.refuse[DEPLOYMENTS] = Forbidden('PATCH /x: cannot patch resource "deployments"', status=403)
    here = scene(cache)

    with pytest.raises(Forbidden):
        await actor.cluster(here, wanted(weight=0))

    assert "HTTPRoute" in [kind for kind, _ in client.applied]
    problem = write_problem(here.memory, "Deployment")
    assert problem is not None
    assert problem.reason == "Forbidden"
    assert write_problem(here.memory, HTTP_ROUTES.kind) is None


def answered(uid: str) -> Desired:
    fields = {"uid": uid, "name": "stop", "action": "Abort", "phase": "Succeeded", "message": "done", "at": 1.0}
    entry = HandledRequest.model_validate(fields)
    return Desired(results=(RequestResult(uid, "stop", "Succeeded", "done", entry),))


def request(uid: str, version: str = "7") -> KubeObject:
    view = rollout()
    meta = {"name": "stop", "namespace": view.namespace, "uid": uid, "resourceVersion": version}
    return {"metadata": meta, "spec": {"action": "Abort"}}


async def test_given_an_answer_then_it_is_written_once_and_only_to_the_very_request(client: Client) -> None:
    cache = Cache()
    actor = Actor(client, cache, StaleGuard(cache), Observer(cache, lambda: 0.0, frozenset), "weir:1")  # type: ignore[arg-type]
    cache.put(ACTION_REQUESTS, request("u"))

    await actor.results(rollout(), answered("u"))
    # The watches have not shown our write yet: what the cache says is from before.
    await actor.results(rollout(), answered("u"))

    [body] = client.bodies
    assert (body["metadata"]["uid"], body["metadata"]["resourceVersion"]) == ("u", "7")
    assert body["status"]["phase"] == "Succeeded"


async def test_given_a_flood_of_waiting_requests_then_final_answers_come_first_and_the_turn_ends_soon(
    client: Client,
) -> None:
    cache = Cache()
    actor = Actor(client, cache, StaleGuard(cache), Observer(cache, lambda: 0.0, frozenset), "weir:1")  # type: ignore[arg-type]
    flood = [RequestResult(f"u{n}", f"plea-{n}", "Pending", "it waits for a person") for n in range(400)]
    for result in flood:
        made = request(result.uid)
        cache.put(ACTION_REQUESTS, {**made, "metadata": {**made["metadata"], "name": result.name}})
    cache.put(ACTION_REQUESTS, request("u"))
    turn = Desired(results=(*flood, *answered("u").results))

    await actor.results(rollout(), turn)
    assert [body["status"]["phase"] for body in client.bodies] == ["Succeeded", *["Pending"] * MOST_WAITING]
    await actor.results(rollout(), turn)
    told = {body["metadata"]["uid"] for body in client.bodies}
    assert len(told) == 1 + 2 * MOST_WAITING, "each turn tells others"


async def test_given_a_namesake_or_nobody_then_an_answer_is_not_written(
    client: Client, actor: Actor, cache: Cache
) -> None:
    await actor.results(rollout(), answered("u"))
    cache.put(ACTION_REQUESTS, request("another"))
    await actor.results(rollout(), answered("u"))
    assert client.bodies == []


async def test_given_a_request_that_somebody_else_changed_then_the_other_answers_are_written_all_the_same(
    client: Client, actor: Actor, cache: Cache
) -> None:
    cache.put(ACTION_REQUESTS, request("u"))
    client.refuse[ACTION_REQUESTS] = Conflict("PATCH /x: the object has been modified", status=409)
    await actor.results(rollout(), answered("u"))
    assert len(client.bodies) == 1
