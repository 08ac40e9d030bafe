"""Live drift: read at its interval while versions serve, judged for each version, and dropped with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest

from tests.api import objects as good
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.profile import BinCounts
from weir.controller.driftwatch import DriftWatch, Found, Scene
from weir.controller.revisions import Revisions
from weir.evidence.fingerprints import Increments, Live, Target
from weir.evidence.pods import ArmPods, Pod
from weir.runtime.resources import CONFIG_MAPS, DATA_CONTRACTS, ROLLOUTS

from .contractworld import SPACE, Control, World, profile

PLACE = (SPACE, "orders")
SPEC: Mapping[str, Any] = {
    "drift": [
        {"name": "amount", "property": "orders.amount", "tolerance": "0.1", "minSamples": 100, "source": "Live"},
        {"name": "label", "property": "orders.label", "source": "Live"},
    ],
    "reference": {"configMapRef": {"name": "mine", "key": "profile.json"}},
    "live": {"interval": "1m"},
}


class Servers:
    """What model servers count, and what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[list[Target]] = []
        self.forgotten: list[tuple[str, str]] = []
        self.gained: dict[str, tuple[int, ...]] = {}
        self.problems: dict[str, str] = {}

    async def read(self, targets: Iterable[Target]) -> Increments:
        self.asked.append(list(targets))
        counts = {Live(PLACE, v, "orders.amount"): BinCounts(rows) for v, rows in self.gained.items()}
        return Increments(counts, {(PLACE, version): why for version, why in self.problems.items()})

    def forget(self, place: tuple[str, str]) -> None:
        self.forgotten.append(place)


class Pods:
    """An observer that sees one pod for each arm, or none."""

    def __init__(self, running: bool = True) -> None:
        self.running = running

    def versions(self, *_: Any) -> None:
        return None

    def arms(self, _view: Any, status: Any, _versions: Any) -> ArmPods:
        one = (Pod("p", "10.0.0.1", 8080),) if self.running else ()
        return ArmPods(stable=one if status.stable else (), candidate=one if status.candidate else ())


class Lab:
    """A contract with a reference, two versions that use it, and a Rollout that serves the first."""

    def __init__(self) -> None:
        self.world = World()
        self.servers = Servers()
        self.drift = DriftWatch(
            client=self.world.client,
            book=self.world.book,
            revisions=Revisions(self.world.client, self.world.cache, self.world.guard, self.world.book),
            observer=cast("Any", Pods()),
            reader=cast("Any", self.servers),
        )
        self.old = DataContractStatus()

    async def start(self) -> None:
        even = profile(2500, 2500, 2500, 2500)
        self.world.put(CONFIG_MAPS, {"metadata": {"name": "mine"}, "data": {"profile.json": even}})
        self.world.contract(**SPEC)
        await Control(self.world).look()
        for name in ("v1", "v2"):
            self.world.version(name, trainedOn=["orders"])
        self.serve(stable="v1")

    def serve(self, **arms: str) -> None:
        status = {
            arm: {
                "version": name,
                "label": name,
                "pool": f"digits-{name}",
                "revision": "r",
                "digest": "sha256:" + "0" * 64,
            }
            for arm, name in arms.items()
        }
        old = self.world.cache.get(ROLLOUTS, SPACE, "digits")
        spec = {**good.ROLLOUT, "versionRef": {"name": "v1"}} if old is None else old["spec"]
        self.world.put(ROLLOUTS, {"metadata": {"name": "digits"}, "spec": spec, "status": status})

    async def look(self) -> Found:
        obj = self.world.cache.get(DATA_CONTRACTS, SPACE, "orders")
        assert obj is not None
        spec = DataContractSpec.model_validate(obj["spec"])
        digest = self.world.status()["digest"]
        found = await self.drift.look(Scene(obj, spec, digest, self.old, (), self.world.now))
        self.old = self.old.model_copy(update={"drift": list(found.drift), "reference": found.reference})
        return found


@pytest.fixture
async def lab() -> Lab:
    made = Lab()
    await made.start()
    return made


async def test_given_a_version_that_serves_then_its_pods_are_read_at_the_interval(lab: Lab) -> None:
    lab.servers.gained = {"v1": (250, 250, 250, 250, 0)}
    first = await lab.look()
    assert first.wake_at == lab.world.now + 60
    ((target,),) = lab.servers.asked
    assert (target.version, target.pool, list(target.references)) == ("v1", "digits-v1", ["orders.amount"])

    lab.world.now += 59
    between = await lab.look()
    assert between.drift == first.drift
    assert len(lab.servers.asked) == 1

    lab.world.now += 1
    second = await lab.look()
    assert len(lab.servers.asked) == 2
    amount = next(entry for entry in second.drift if entry.key == "amount/v1")
    assert (amount.verdict, amount.samples) == ("Pass", 2000)


async def test_given_a_candidate_whose_inputs_differ_then_it_alone_drifts(lab: Lab) -> None:
    lab.serve(stable="v1", candidate="v2")
    lab.servers.gained = {"v1": (500, 500, 500, 500, 0), "v2": (0, 0, 0, 2000, 0)}

    found = await lab.look()

    verdicts = {entry.key: entry.verdict for entry in found.drift}
    assert (verdicts["amount/v1"], verdicts["amount/v2"]) == ("Pass", "Fail")


async def test_given_a_property_that_the_reference_lacks_then_nothing_is_claimed_of_it(lab: Lab) -> None:
    found = await lab.look()

    (label,) = [entry for entry in found.drift if entry.key == "label/v1"]
    assert (label.verdict, "reference" in label.message) == ("Unknown", True)
    lab.world.now += 60
    assert [e for e in (await lab.look()).drift if e.key == "label/v1"] == [label]


async def test_given_pods_that_do_not_count_then_it_is_unknown_and_told_once(lab: Lab) -> None:
    lab.servers.problems = {"v1": "p: no weir_feature_value"}
    first = await lab.look()
    (amount,) = [entry for entry in first.drift if entry.key == "amount/v1"]
    assert (amount.verdict, "no weir_feature_value" in amount.message) == ("Unknown", True)

    lab.world.now += 60
    assert (await lab.look()).drift == first.drift


async def test_given_a_version_that_serves_no_longer_then_its_series_go(lab: Lab) -> None:
    lab.serve(stable="v1", candidate="v2")
    lab.servers.gained = {"v1": (5, 5, 5, 5, 0), "v2": (5, 5, 5, 5, 0)}
    await lab.look()

    lab.serve(stable="v2")
    lab.world.now += 60
    assert {entry.key for entry in (await lab.look()).drift} == {"amount/v2", "label/v2"}

    lab.serve()
    found = await lab.look()
    assert (found.drift, found.wake_at) == ((), None)
    assert lab.servers.forgotten == [PLACE]


async def test_given_a_version_whose_pods_do_not_run_yet_then_they_are_looked_for_again(lab: Lab) -> None:
    lab.drift._observer = cast("Any", Pods(running=False))

    found = await lab.look()

    assert found.wake_at == lab.world.now + 60


async def test_given_a_restart_then_what_was_counted_stays_counted(lab: Lab) -> None:
    lab.servers.gained = {"v1": (250, 250, 250, 250, 0)}
    await lab.look()

    other = Lab()
    other.world, other.old = lab.world, lab.old
    other.drift = DriftWatch(
        client=lab.world.client,
        book=lab.world.book,
        revisions=Revisions(lab.world.client, lab.world.cache, lab.world.guard, lab.world.book),
        observer=cast("Any", Pods()),
        reader=cast("Any", lab.servers),
    )
    lab.servers.gained = {}
    found = await other.look()

    assert [entry.samples for entry in found.drift if entry.key == "amount/v1"] == [1000]
