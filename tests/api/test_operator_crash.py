"""kill -9 after every single write of a release: whoever comes next ends in the same place by the same way."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import Lab
from tests.api.harness.lineage import Lineage
from weir.runtime.resources import EVENTS, KubeObject

pytestmark = pytest.mark.api

_LINEAGES = 6
"""More than there are processors: most of the time they wait for pods and gateways to settle."""
_MOST_WRITES = 60
_STEPS = {
    "canary": {"steps": [{"weight": 20, "minDuration": "100ms"}, {"weight": 50, "minDuration": "100ms"}], "bake": "1s"}
}
_GATE = {"name": "queue", "template": "threshold", "query": "queue_depth", "max": "100", "interval": "300ms"}


@dataclass(frozen=True)
class Result:
    """One release, cut off after write number ``k``, or not at all where it had fewer."""

    k: int
    killed: bool
    case: Case
    last_write: tuple[str, str]


def cut_off(lineage: Lineage, lab: Lab, k: int) -> Result:
    """A release, cut off after its k-th write and finished by the next operator."""
    case = Case(lab, lineage.namespace, f"r{k}")
    case.create(strategy=_STEPS, gates=[_GATE])
    case.wait_ready()
    eventually(lambda: len(case.records()) == 1, "the record of release 1")
    found = lineage.cut(k, lambda: case.release("v2"), lambda: _finished(case), case.name)
    return Result(k, found.killed, case, found.writes[-1])


def _finished(case: Case) -> bool:
    return len(case.records()) == 2 and case.condition("Ready").get("status") == "True" and case.weights() != {}


@pytest.fixture(scope="module")
def results(lab: Lab) -> list[Result]:
    """Releases cut off after their first, second, third … write, until they have no more writes to cut off after."""
    lab.prometheus.values["queue_depth"] = 7.0

    def live(number: int) -> list[Result]:
        lineage = Lineage(lab, number)
        first = Case(lab, lineage.namespace)
        first.version("v1")
        first.version("v2")
        found: list[Result] = []
        for k in range(number + 1, _MOST_WRITES, _LINEAGES):
            found.append(cut_off(lineage, lab, k))
            if not found[-1].killed:
                break
        lineage.stop()
        return found

    with ThreadPoolExecutor(_LINEAGES) as pool:
        return sorted((r for found in pool.map(live, range(_LINEAGES)) for r in found), key=lambda result: result.k)


def test_given_a_kill_after_each_write_then_the_release_ends_as_without_one(results: list[Result]) -> None:
    assert sum(result.killed for result in results) > 10
    reference = [result for result in results if not result.killed]
    assert reference

    for result in results:
        status = result.case.status()
        assert status["phase"] == "Promoted", result
        assert status["stable"]["version"] == "v2", result
        assert status["release"] == 2, result
        assert {v: w for v, w in result.case.weights().items() if w} == {"v2": 100}, result


def test_given_a_kill_after_each_write_then_the_record_tells_the_same_stages(results: list[Result]) -> None:
    wanted = _story(next(result for result in results if not result.killed))
    assert [stage for _, stage in wanted] == ["WarmUp", "Traffic(20)", "Traffic(50)", "Bake", "Bake"]

    for result in results:
        assert _story(result) == wanted, result


def test_given_a_kill_after_each_write_then_there_is_one_record_and_no_event_twice(
    lab: Lab, results: list[Result]
) -> None:
    for result in results:
        records = [record["spec"]["release"] for record in result.case.records()]
        assert records == [1, 2], result
        said = Counter((event["reason"], event["note"]) for event in _events(lab, result.case))
        assert all(count == 1 for count in said.values()), (result, said)


def test_given_a_kill_after_each_write_then_weight_never_goes_back(lab: Lab, results: list[Result]) -> None:
    for result in results:
        seen = [r["status"] for r in lab.history.of(result.case.namespace, result.case.name) if r.get("status")]
        weights = [s["weight"] for s in seen if s.get("release") == 2 and s.get("candidate")]
        assert weights == sorted(weights), (result, weights)


def _story(result: Result) -> list[tuple[str, str]]:
    decisions = result.case.records()[1]["spec"]["decisions"]
    return [(entry["reason"], entry["stage"]) for entry in decisions]


def _events(lab: Lab, case: Case) -> list[KubeObject]:
    return [e for e in lab.api.list(EVENTS, case.namespace) if e["regarding"]["name"] == case.name]
