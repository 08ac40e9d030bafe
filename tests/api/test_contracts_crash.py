"""kill -9 after every single write of a contract's and a check's life: whoever comes next ends in the same place."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.harness.contracts import Contracts, profile
from tests.api.harness.lab import Lab
from tests.api.harness.lineage import Lineage
from weir.runtime.resources import CONFIG_MAPS, CONTRACT_CHECKS, EVENTS, MODEL_VERSIONS, PODS

pytestmark = pytest.mark.api

_LINEAGES = 3
_MOST_WRITES = 60
_WATCHED = {"name": "amount", "property": "orders.amount", "tolerance": "0.1", "minSamples": 100}
_EVEN = profile(2500, 2500, 2500, 2500)


@dataclass
class Life:
    """A contract with a reference profile, a version bound to it, and one check that a person asked for."""

    room: Contracts
    name: str
    plans: dict[str, set[str]] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """Name of the check."""
        return f"{self.name}-asked"

    def begin(self) -> None:
        """Creates everything at once."""
        self.room.create(self.name, drift=[_WATCHED], reference={"server": "lake"})
        self.room.version(f"{self.name}-v1", trainedOn=[self.name])
        self.room.ask(self.asked, self.name)

    def play(self) -> bool:
        """Plays every pod that runs; whether everything is as it should be in the end."""
        for check in self.checks():
            self._finish(check["metadata"]["name"], bool((check.get("status") or {}).get("verdict")))
        status = self.room.status(self.name)
        drift = status.get("drift") or [{}]
        bound = self.room.condition("Compatible", f"{self.name}-v1", MODEL_VERSIONS).get("status") == "True"
        return bound and drift[0].get("source") == self.asked and self.settled(status) and self.ended()

    def settled(self, status: dict[str, Any]) -> bool:
        """Whether every condition is True."""
        found = {c["type"]: c["status"] for c in status.get("conditions") or []}
        return bool(found) and set(found.values()) == {"True"} and status.get("usedBy") == [f"{self.name}-v1"]

    def ended(self) -> bool:
        """Whether every Job of its checks is over; the operator does not wait for that, a result is enough for it."""
        return all((job.get("status") or {}).get("completionTime") for job in self.jobs())

    def jobs(self) -> list[dict[str, Any]]:
        """Jobs of its checks."""
        names = {check["metadata"]["name"] for check in self.checks()}
        return [job for name, job in self.room.jobs().items() if name in names]

    def checks(self) -> list[dict[str, Any]]:
        """Its checks."""
        found = self.room.checks().values()
        return [check for check in found if check["spec"]["contractRef"]["name"] == self.name]

    def _finish(self, check: str, done: bool) -> None:
        pods = self.room.lab.api.list(PODS, self.room.namespace, f"batch.kubernetes.io/job-name={check}")
        for pod in pods:
            name = pod["metadata"]["name"]
            plan = self.room.lab.api.get(CONFIG_MAPS, self.room.namespace, check)
            self.plans.setdefault(check, set()).add(plan["metadata"]["uid"])
            if not done:
                status = self.room.result(check, profile=_EVEN)
                by = self.room.as_pod(name)
                by.merge(CONTRACT_CHECKS, self.room.namespace, check, {"status": status}, status=True)
            if (pod.get("status") or {}).get("phase") == "Running":
                self.room.end(name)


@dataclass(frozen=True)
class Result:
    """One life, cut off after write number ``k``, or not at all where it had fewer."""

    k: int
    killed: bool
    life: Life
    writes: tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def results(lab: Lab) -> list[Result]:
    """Lives cut off after their first, second, third … write, until they have no more writes to cut off after."""

    def live(number: int) -> list[Result]:
        lineage = Lineage(lab, number)
        room = Contracts(lab, lineage.namespace)
        found: list[Result] = []
        for k in range(number + 1, _MOST_WRITES, _LINEAGES):
            life = Life(room, f"c{k}")
            cut = lineage.cut(k, life.begin, life.play, life.name)
            found.append(Result(k, cut.killed, life, cut.writes))
            if not cut.killed:
                break
        lineage.stop()
        return found

    with ThreadPoolExecutor(_LINEAGES) as pool:
        return sorted((r for found in pool.map(live, range(_LINEAGES)) for r in found), key=lambda result: result.k)


def test_given_a_kill_after_each_write_then_each_check_ran_once_by_one_plan(results: list[Result]) -> None:
    assert sum(result.killed for result in results) > 12
    assert any(not result.killed for result in results)
    for result in results:
        life = result.life
        names = {check["metadata"]["name"] for check in life.checks()}
        digest = life.room.status(life.name)["digest"].removeprefix("sha256:")
        assert names == {life.asked, f"{life.name}-ref-{digest[:10]}"}, result
        assert all(len(uids) == 1 for uids in life.plans.values()), result
        assert [job["status"].get("succeeded") for job in life.jobs()] == [1, 1], result


def test_given_a_kill_after_each_write_then_one_revision_and_one_reference_are_kept(results: list[Result]) -> None:
    for result in results:
        life = result.life
        status = life.room.status(life.name)
        kept = [
            r["metadata"]["name"] for r in life.room.revisions() if r["metadata"]["name"].startswith(life.name + "-")
        ]
        assert kept == [status["revision"]], result
        maps = life.room.lab.api.list(CONFIG_MAPS, life.room.namespace, f"weir.dev/contract={life.name}")
        references = [m["metadata"]["name"] for m in maps if "-reference-" in m["metadata"]["name"]]
        assert references == [status["reference"]["configMap"]], result


def test_given_a_kill_after_each_write_then_the_data_is_counted_once(results: list[Result]) -> None:
    for result in results:
        (entry,) = result.life.room.status(result.life.name)["drift"]
        assert entry["samples"] == 10000, (result, entry)


def test_given_a_kill_after_each_write_then_no_event_is_told_twice(lab: Lab, results: list[Result]) -> None:
    for result in results:
        life = result.life
        events = [e for e in lab.api.list(EVENTS, life.room.namespace) if e["regarding"]["name"] == life.name]
        said = Counter((event["action"], event["note"]) for event in events)
        assert said, result
        assert all(count == 1 for count in said.values()), (result, said)
