"""A thousand people at one wheel: everybody gets one answer, and only what is allowed happens."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.release.record import record_hash
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

pytestmark = pytest.mark.api

_MANY = 1000
_AT_ONCE = 8
_STEPS: Spec = {
    "canary": {
        "steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}],
        "bake": "10m",
    }
}
_HERE: Spec = {"release": 2, "stage": "Traffic(20)"}
_MIX: tuple[tuple[str, Spec], ...] = (
    ("Pause", {}),
    ("Skip", {"expect": _HERE}),
    ("Resume", {}),
    ("Promote", {"expect": {"release": 2, "stage": "Bake"}}),
    ("Skip", {"expect": {"stage": "Bake"}}),
    ("Retry", {}),
    ("Drill", {"expect": {"release": 3}}),
    ("Rollback", {"expect": {"release": 1}}),
)
"""Verb and fields, one after the other; every fiftieth request is an Abort."""


@dataclass
class Flood:
    """What came of it."""

    case: Case
    requests: list[KubeObject]
    handled: list[KubeObject]
    """Entries of status.handledRequests in the order in which they appeared."""
    counted: float
    writes: float
    seconds: float
    neighbour: float
    """Seconds until the answer to a request for another Rollout, asked for in the middle of it."""
    cpu: float
    """CPU seconds of the operator."""
    cut_off: float
    """Reconciles that took too long."""


def _ask(case: Case, number: int) -> str:
    action, fields = ("Abort", {}) if number % 50 == 49 else _MIX[number % len(_MIX)]
    return case.act(action, name=f"r{number}", **fields)


def _writes(operator: Operator) -> float:
    found = operator.samples("rest_client_requests_total")
    return sum(
        n
        for labels, n in found.items()
        if dict(labels)["method"] != "GET" and not dict(labels)["resource"].startswith("leases")
    )


def _answered(lab: Lab, case: Case) -> list[KubeObject]:
    """The requests, once each has its answer."""
    found = [r for r in lab.api.list(ACTION_REQUESTS, case.namespace) if r["metadata"]["name"].startswith("r")]
    open_ones = [r for r in found if (r.get("status") or {}).get("phase", "Pending") == "Pending"]
    return found if not open_ones else []


@pytest.fixture(scope="module")
def flood(lab: Lab, operator: Operator) -> Flood:
    """A thousand requests for one Rollout, as fast as eight can ask."""
    case, neighbour = Case(lab), Case(lab)
    for each in (case, neighbour):
        each.serve_first(strategy=_STEPS, gates=None)
        each.release("v2")
    for each in (case, neighbour):
        each.wait(lambda _, of=each: of.weights().get("v2") == 20, "20 % in the route")
    before, used, began = _writes(operator), operator.cpu_seconds(), time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = pool.map(lambda number: _ask(case, number), range(_MANY))
        eventually(lambda: case.status().get("handledRequests"), "the first answers")
        since = time.monotonic()
        assert neighbour.answer(neighbour.act("Pause"), within=60)["phase"] == "Succeeded"
        waited = time.monotonic() - since
        assert len(list(asked)) == _MANY
    requests = eventually(lambda: _answered(lab, case), "an answer to each", within=300, every=1)
    took = time.monotonic() - began
    cpu = operator.cpu_seconds() - used
    cut_off = operator.metric("controller_runtime_reconcile_timeouts_total")
    counted = operator.metric("weir_action_requests_total", namespace=case.namespace)
    written = _writes(operator) - before
    return Flood(case, requests, case.handled(), counted, written, took, waited, cpu, cut_off)


def test_given_a_thousand_requests_then_each_has_one_answer_and_was_handled_once(flood: Flood) -> None:
    assert len(flood.requests) == _MANY
    assert flood.counted == _MANY
    handled = {entry["uid"]: entry for entry in flood.handled}
    assert len(handled) == _MANY
    for request in flood.requests:
        entry, answer = handled[request["metadata"]["uid"]], request["status"]
        assert answer["phase"] == entry["phase"]
        assert answer["message"] == entry.get("message", "")
        assert answer["effect"] == {"before": entry["before"], "after": entry["after"]}
        assert answer["completedAt"] == entry["at"]


def test_given_a_thousand_requests_then_only_what_was_allowed_where_it_was_asked_happened(flood: Flood) -> None:
    specs = {request["metadata"]["uid"]: request["spec"] for request in flood.requests}
    done: Counter[tuple[str, int, str]] = Counter()
    for entry in flood.handled:
        if entry["phase"] != "Succeeded":
            continue
        before = entry["before"]
        for field, wanted in (specs[entry["uid"]].get("expect") or {}).items():
            assert before.get(field, "") == wanted, entry
        done[entry["action"], before["release"], before.get("stage", "")] += 1
        if entry["action"] == "Abort":
            assert before["candidate"], entry
            assert before["phase"] != "RollingBack", entry
            assert entry["after"]["phase"] in ("RollingBack", "RolledBack"), entry
        elif entry["action"] == "Retry":
            assert not before.get("candidate"), entry
            assert before["phase"] == "RolledBack", entry
    assert {action for action, _, _ in done} >= {"Abort", "Retry", "Pause", "Resume"}
    aborted = Counter(release for action, release, _ in done.elements() if action == "Abort")
    assert max(aborted.values()) == 1, aborted
    assert all(count == 1 for (action, _, _), count in done.items() if action in ("Skip", "Drill")), done


def test_given_a_thousand_requests_then_those_of_one_decision_say_the_same_of_where_it_led(flood: Flood) -> None:
    by_decision: dict[str, list[KubeObject]] = {}
    for entry in flood.handled:
        by_decision.setdefault(entry["at"], []).append(entry)
    assert max(len(entries) for entries in by_decision.values()) <= 20
    for entries in by_decision.values():
        assert all(entry["after"] == entries[0]["after"] for entry in entries), entries


def test_given_a_thousand_requests_then_releases_and_records_are_whole(flood: Flood) -> None:
    case = flood.case
    status = case.wait(lambda s: not s.get("ending"), "nothing is on its way back")
    finished = status["release"] - (1 if status.get("candidate") else 0)
    eventually(lambda: len(case.records()) == finished, "a record of each finished release")
    contents = [RolloutRecordSpec.model_validate(record["spec"]) for record in case.records()]
    assert [content.release for content in contents] == list(range(1, finished + 1))
    previous = ""
    for content in contents:
        assert content.previous_hash == previous
        assert record_hash(content) == content.hash
        previous = content.hash
    outcomes = Counter(str(content.outcome) for content in contents[1:])
    aborts = [e for e in flood.handled if (e["action"], e["phase"]) == ("Abort", "Succeeded")]
    assert outcomes["Aborted"] >= len(aborts)
    assert {label: weight for label, weight in case.weights().items() if weight}.keys() <= {"v1", "v2"}


def test_given_a_thousand_requests_then_the_operator_goes_on_with_others(flood: Flood) -> None:
    measured = (
        f"{flood.seconds:.1f} s, {flood.writes:g} writes, {flood.cpu:.1f} CPU s, neighbour {flood.neighbour:.2f} s"
    )
    # One write for each answer; beside them statuses, each with up to twenty answers, and what the effects cause.
    assert flood.writes < 2 * _MANY, measured
    assert flood.neighbour < 20, measured
    assert flood.cut_off == 0, measured
