"""What contracts say, from objects as the watches show them; asking for checks; and what a live model says of itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from tests.properties.specs import make_spec
from weir.api.base import format_time
from weir.api.modelversion import ModelVersionSpec
from weir.api.rolloutstatus import Ending, Outcome, RetainedVersion, RolloutStatus, VersionStatus
from weir.contract.finding import Standing
from weir.contract.revision import Contract
from weir.controller.contractbook import CheckWait, ContractBook
from weir.controller.standings import Standings
from weir.controller.warmth import Warmth, described
from weir.release.observation import RolloutView, Target
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import Fenced, Forbidden
from weir.runtime.resources import (
    AGENT_POLICIES,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    ROLLOUTS,
    ObjectKey,
)
from weir.workload.checkjob import ANNOTATION_DIGEST, LABEL_CONTRACT
from weir.workload.warmup import PodAddress

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "a" * 64
ROLLOUT = {"metadata": {"name": "demo", "namespace": "ml", "uid": "u1"}}


def document(**column: Any) -> dict[str, Any]:
    properties = [{"name": "price", "logicalType": "number", "required": True, **column}]
    schema = [{"name": "orders", "logicalType": "object", "properties": properties}]
    head = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "orders", "version": "1.0.0", "status": "active"}
    return {**head, "schema": schema}


@dataclass
class Book(ContractBook):
    """The real one, but that checks are only noted."""

    cache: Cache = field(default_factory=Cache)
    asked: list[tuple[int, str]] = field(default_factory=list)
    answer: CheckWait | Exception = field(default_factory=CheckWait)

    def __post_init__(self) -> None:
        super().__init__(cast(KubeClient, None), self.cache, StaleGuard(self.cache), lambda: NOW)

    async def request_check(self, rollout: dict[str, Any], release: int, contract: Contract) -> CheckWait:
        self.asked.append((release, contract.name))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class World:
    """A namespace with the DataContract ``orders`` and the versions that a test wants."""

    book: Book = field(default_factory=Book)
    now: float = NOW
    version: int = 1

    def __post_init__(self) -> None:
        self.standings = Standings(self.book.cache, self.book, lambda: self.now)
        self.revision(DIGEST)
        self.contract()

    def _meta(self, name: str, **more: Any) -> dict[str, Any]:
        self.version += 1
        return {"name": name, "namespace": "ml", "uid": name, "resourceVersion": str(self.version), **more}

    def revision(self, digest: str, **column: Any) -> None:
        meta = self._meta(
            f"orders-{digest[7:17]}",
            labels={LABEL_CONTRACT: "orders"},
            annotations={ANNOTATION_DIGEST: digest},
            ownerReferences=[{"uid": "orders", "kind": "DataContract", "name": "orders"}],
        )
        kept = {"metadata": meta, "revision": self.version, "data": {"odcs": document(**column)}}
        self.book.cache.put(CONTROLLER_REVISIONS, kept)

    def contract(
        self, digest: str = DIGEST, seen: int = 1, verdict: str = "Pass", accepted: str = "True", **spec: Any
    ) -> None:
        check = {"name": "lake", "check": "orders-1", "verdict": verdict, "digest": digest}
        accepts = {"type": "Accepted", "status": accepted, "reason": "A", "message": "no", "lastTransitionTime": NOW}
        status = {
            "observedGeneration": seen,
            "digest": digest,
            "checks": [{**check, "finishedAt": format_time(NOW - 60)}],
            "conditions": [accepts],
        }
        servers = [{"name": "lake", "odcsServer": "lake"}]
        made = {"odcs": document(), "roles": ["Features"], "servers": servers, **spec}
        self.book.cache.put(
            DATA_CONTRACTS, {"metadata": self._meta("orders", generation=1), "spec": made, "status": status}
        )

    def model(
        self,
        name: str,
        contracts: dict[str, Any] | None = None,
        *,
        seen: int = 1,
        role: str = "TrainedOn",
        digest: str = DIGEST,
    ) -> None:
        spec: dict[str, Any] = {"model": "m", "version": name, "runtime": {"image": "i"}}
        if contracts is not None:
            spec["contracts"] = contracts
        uses = [{"role": role, "name": "orders", "digest": digest}] if contracts else []
        self.book.cache.put(
            MODEL_VERSIONS,
            {
                "metadata": self._meta(name, generation=1),
                "spec": spec,
                "status": {"observedGeneration": seen, "contracts": uses},
            },
        )

    def of(
        self, status: RolloutStatus, target: str | None = None, mode: str = "Enforce", metadata: Any = None
    ) -> dict[str, Standing | None]:
        view = RolloutView("demo", "ml", "u1", 1, make_spec(contracts={"mode": mode}))
        wanted = Target(target, target, "d", f"r-{target}", f"p-{target}") if target is not None else None
        return self.standings.of(view, status, wanted, metadata)


TRAINED = {"trainedOn": ["orders"]}


def arm(name: str) -> VersionStatus:
    return VersionStatus(version=name, label=name, digest="d", revision=f"r-{name}", pool=f"p-{name}")


def running(candidate: str = "v2", stable: str | None = "v1", **changes: Any) -> RolloutStatus:
    served = arm(stable) if stable is not None else None
    return RolloutStatus(release=3, candidate=arm(candidate), stable=served, **changes)


@pytest.fixture
def world() -> World:
    made = World()
    made.model("v1", TRAINED)
    made.model("v2", TRAINED)
    return made


# --- What is said ----------------------------------------------------------------------------------------------------


def test_given_versions_without_contracts_then_nothing_is_worked_out() -> None:
    world = World()
    world.model("v1")
    world.model("v2")
    assert world.of(running()) == {}


def test_given_a_rollout_that_ignores_contracts_then_nothing_is_worked_out(world: World) -> None:
    assert world.of(running(), mode="Ignore") == {}


def test_given_a_release_then_both_its_version_and_the_serving_one_are_told_of(world: World) -> None:
    found = world.of(running())
    assert set(found) == {"v1", "v2"}
    for told in found.values():
        assert told is not None
        assert told.findings == ()
        assert told.pins == (f"orders@{DIGEST}",)


def test_given_no_release_when_a_version_is_wanted_then_it_is_told_of_before_it_starts(world: World) -> None:
    world.contract(verdict="Fail")
    idle = RolloutStatus(release=2, stable=arm("v1"))
    found = world.of(idle, target="v2")
    assert found["v2"] is not None
    assert found["v2"].awaited == ("orders",)
    assert found["v1"] is not None
    assert found["v1"].awaited == (), "nothing that serves waits"


def test_given_a_version_that_names_none_over_one_that_does_then_it_is_told_of_as_well(world: World) -> None:
    world.model("v3")
    assert set(world.of(running("v3"))) == {"v1", "v3"}


def test_given_an_agent_that_drives_the_rollout_then_what_its_bundle_does_not_know_is_said(world: World) -> None:
    policy = {
        "subjects": [{"name": "tuner", "namespace": "agents", "rollout": "tuner"}],
        "permits": [{"name": "halt", "action": "Abort"}],
    }
    put = world.book.cache.put
    put(AGENT_POLICIES, {"metadata": world._meta("agents"), "spec": policy})
    for rollout, version in (("demo", "v3"), ("tuner", "agent")):
        put(ROLLOUTS, {"metadata": world._meta(rollout), "spec": {}, "status": {"stable": {"version": version}}})
    world.model("agent")
    world.model("v3")
    world.model("v4")

    found = world.of(running("v4", "v3"))
    assert {name: [f.rule for f in told.findings] for name, told in found.items() if told} == {
        "v3": ["Agent"],
        "v4": ["Agent"],
    }
    assert world.of(running("v4", "v3"))["v4"] is found["v4"], "worked out once"
    made = {"model": "tuner", "version": "agent", "runtime": {"image": "i"}, "compatibleWith": [{"model": "m"}]}
    put(MODEL_VERSIONS, {"metadata": {**world._meta("agent"), "uid": "anew"}, "spec": made})
    again = world.of(running("v4", "v3"))["v4"]
    assert again is not None
    assert again.findings == ()
    assert [pin.partition("@")[0] for pin in again.pins] == ["ModelVersion/agent"]
    assert world.of(running("v4", "v3"), mode="Ignore") == {}


def test_given_a_version_over_itself_with_another_template_then_it_is_told_of_once(world: World) -> None:
    found = world.of(running("v1", "v1"))
    assert set(found) == {"v1"}
    assert found["v1"] is not None
    assert found["v1"].splittable


def test_given_data_that_changed_when_a_version_has_served_then_the_way_back_is_told(world: World) -> None:
    looser = "sha256:" + "b" * 64
    world.revision(looser, required=False)
    world.contract(looser)
    world.model("v2", TRAINED, digest=looser)
    kept = RetainedVersion(**arm("v1").model_dump() | {"served_until": NOW - 60}, warm_until=NOW)
    found = world.of(RolloutStatus(release=2, stable=arm("v2"), retained=[kept]))
    assert found["v2"] is not None
    assert found["v2"].rollbackable is False
    assert [f.rule for f in found["v2"].findings] == ["R5"]


def test_given_nothing_changed_then_the_same_standing_is_given_again_until_time_changes_it(world: World) -> None:
    first = world.of(running())["v2"]
    assert world.of(running())["v2"] is first
    world.now += 26 * 3600
    later = world.of(running())["v2"]
    assert later is not None
    assert later is not first
    assert later.awaited == ("orders",), "the verdict has grown too old"


def test_given_a_new_verdict_then_the_standing_is_another(world: World) -> None:
    assert world.of(running())["v2"] is not None
    world.contract(verdict="Fail")
    found = world.of(running())["v2"]
    assert found is not None
    assert [f.judgement for f in found.findings] == ["Fail"]


# --- Not known yet ---------------------------------------------------------------------------------------------------


def test_given_a_version_or_a_contract_that_weir_has_not_looked_at_then_nothing_is_said_yet(world: World) -> None:
    world.model("v2", TRAINED, seen=0)
    found = world.of(running())
    assert found["v2"] is None
    assert found["v1"] is not None
    world.model("v2", TRAINED)
    world.contract(seen=0)
    assert world.of(running()) == {"v2": None, "v1": None}


def test_given_a_revision_that_is_about_to_be_kept_then_nothing_is_said_yet(world: World) -> None:
    world.contract("sha256:" + "c" * 64)
    assert world.of(running())["v2"] is None


def test_given_a_contract_that_is_not_accepted_then_that_is_said(world: World) -> None:
    world.contract(accepted="False")
    found = world.of(running())["v2"]
    assert found is not None
    assert [f.rule for f in found.findings] == ["Document"]


def test_given_a_contract_that_does_not_exist_then_that_is_said() -> None:
    world = World()
    world.model("v1")
    world.model("v2", {"trainedOn": ["nowhere"]})
    found = world.of(running())["v2"]
    assert found is not None
    assert [(f.rule, f.contract) for f in found.findings] == [("Document", "nowhere")]


def test_given_a_version_that_is_gone_then_nothing_is_said_of_it(world: World) -> None:
    assert world.of(running("v9"))["v9"] is None


# --- What the live model says ----------------------------------------------------------------------------------------


def test_given_a_model_that_contradicts_its_request_contract_then_that_is_said(world: World) -> None:
    world.model("v2", {"request": "orders"}, role="Request")
    metadata = {"inputs": [{"name": "price", "datatype": "BYTES", "shape": [-1, 1]}], "outputs": []}
    found = world.of(running(), metadata=metadata)["v2"]
    assert found is not None
    assert [(f.rule, f.effect) for f in found.findings] == [("Metadata", "BlockPromotion")]
    fits = {"inputs": [{"name": "price", "datatype": "FP64", "shape": [-1, 1]}], "outputs": []}
    found = world.of(running(), metadata=fits)["v2"]
    assert found is not None
    assert found.findings == ()
    silent = world.of(running())["v2"]
    assert silent is not None
    assert silent.findings == (), "a server that does not tell proves nothing"


# --- Checks ----------------------------------------------------------------------------------------------------------


def ask(world: World, status: RolloutStatus) -> float | None:
    return asyncio.run(world.standings.ask(ROLLOUT, status, world.of(status)))


def test_given_data_that_must_be_checked_then_the_release_asks_for_it(world: World) -> None:
    assert ask(world, running()) is None
    assert world.book.asked == []
    world.contract(verdict="Fail")
    world.book.answer = CheckWait("orders-r-1", again=42.0)
    assert ask(world, running()) == 42.0
    assert world.book.asked == [(3, "orders")]


@pytest.mark.parametrize(
    "status",
    [
        RolloutStatus(release=3, stable=arm("v1")),
        running(restoring=True),
        running(ending=Ending(outcome=Outcome.ABORTED, reason="Aborted", message="", since=NOW)),
    ],
)
def test_given_no_release_that_waits_then_nobody_asks(world: World, status: RolloutStatus) -> None:
    world.contract(verdict="Fail")
    assert ask(world, status) is None
    assert world.book.asked == []


def test_given_an_api_server_that_does_not_take_the_check_then_the_release_goes_on_being_looked_after(
    world: World,
) -> None:
    world.contract(verdict="Fail")
    world.book.answer = Forbidden("no")
    assert ask(world, running()) == 30.0
    world.book.answer = Fenced("not the leader")
    with pytest.raises(Fenced):
        ask(world, running())


# --- The request to a pod --------------------------------------------------------------------------------------------

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[aiohttp.ClientSession, PodAddress]]:
    app = web.Application()
    app.router.add_get("/v2/models/m", answer)
    app.router.add_post("/v2/models/m/infer", _inferred)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield session, PodAddress("pod", "127.0.0.1", port)
    await runner.cleanup()


async def _inferred(_request: web.Request) -> web.Response:
    return web.json_response({"outputs": []})


def content(**changes: Any) -> ModelVersionSpec:
    runtime = {"image": "i", "warmup": {"requests": 4, "body": "{}"}, **changes.pop("runtime", {})}
    fields = {"model": "m", "version": "v2", "runtime": runtime, "contracts": {"request": "orders"}, **changes}
    return ModelVersionSpec.model_validate(fields)


def told(answer: Answer, version: ModelVersionSpec) -> Any:
    async def run() -> Any:
        async with serving(answer) as (session, pod):
            return await described(session, pod, version)

    return asyncio.run(run())


async def fine(_request: web.Request) -> web.Response:
    return web.json_response({"name": "m", "inputs": []})


def test_given_a_server_that_describes_its_model_then_that_is_read() -> None:
    assert told(fine, content()) == {"name": "m", "inputs": []}


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=404),
        web.Response(text="no JSON"),
        web.Response(text="[1]", content_type="application/json"),
        web.Response(body=b'{"inputs": "' + b"x" * (2 << 20) + b'"}'),
        web.Response(status=500, text=json.dumps({"inputs": []})),
    ],
    ids=["404", "text", "list", "huge", "500"],
)
def test_given_a_server_that_does_not_describe_its_model_then_nothing_is_said(answer: web.Response) -> None:
    async def say(_request: web.Request) -> web.Response:
        return web.Response(status=answer.status, body=answer.body)

    assert told(say, content()) is None


@pytest.mark.parametrize(
    "changes",
    [{"contracts": {"trainedOn": ["orders"]}}, {"contracts": None}, {"runtime": {"protocol": "OpenAI"}}],
)
def test_given_nothing_declared_or_another_protocol_then_nobody_is_asked(changes: dict[str, Any]) -> None:
    asked = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return await fine(request)

    assert told(note, content(**changes)) is None
    assert asked == []


def test_given_no_server_at_all_then_nothing_is_said() -> None:
    async def run() -> Any:
        async with aiohttp.ClientSession() as session:
            return await described(session, PodAddress("pod", "127.0.0.1", 9), content())

    assert asyncio.run(run()) is None


def test_given_a_warm_up_then_the_description_is_there_as_soon_as_it_is_done_and_goes_with_it() -> None:
    async def run() -> None:
        key = ObjectKey(ROLLOUTS, "ml", "demo")
        woken = asyncio.Event()
        async with serving(fine) as (session, pod):
            warmth = Warmth(session, lambda _key: woken.set())
            warmth.want(key, "pool", [pod], content())
            assert warmth.metadata(key) is None
            await asyncio.wait_for(woken.wait(), 20)
            assert warmth.warmed(key) == {"pool"}
            assert warmth.metadata(key) == {"name": "m", "inputs": []}
            warmth.cool(key)
            assert warmth.metadata(key) is None

    asyncio.run(run())
