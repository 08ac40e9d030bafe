"""kill -9 after every single write that an action causes: the effect happens once, and the answer is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.lineage import Lineage, each_cut
from weir.runtime.resources import ACTION_REQUESTS, EVENTS

pytestmark = pytest.mark.api

_LINEAGES = 6
"""More than there are processors: most of the time they wait for pods and gateways to settle."""
_SLOW: Spec = {
    "canary": {
        "steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}],
        "bake": "100ms",
    }
}
_QUICK: Spec = {"canary": {"steps": [{"weight": 50, "minDuration": "100ms"}], "bake": "100ms"}}
_APPROVAL: Spec = {"name": "sre", "before": "Traffic(50)", "from": {"group": "sre"}}


# --- where each verb begins, and where it ends -----------------------------------------------------------------------


def _in_stage(case: Case, stage: str, release: int = 2) -> bool:
    """Whether the stage has begun, and its weight is in the route."""
    status = case.status()
    state = status.get("stage") or {}
    begun = (state.get("name"), status.get("release")) == (stage, release) and not status.get("ending")
    return begun and case.weights().get("v2") == state["weight"] == status["weight"]


def _standing(position: dict[str, Any]) -> dict[str, Any]:
    """A position without the stage and its weight: how far a decision gets depends on when pods and route were seen."""
    return {name: value for name, value in position.items() if name not in ("stage", "weight")}


def _answered(case: Case, phase: str) -> bool:
    return case.status().get("phase") == phase


def _ready(case: Case) -> bool:
    return len(case.records()) == 2 and case.condition("Ready").get("status") == "True"


def _restored(case: Case) -> bool:
    status = case.status()
    settled = status["stable"]["version"] == "v1" and not status.get("candidate")
    return settled and len(case.records()) == 3 and case.weights().get("v2", 0) == 0


def _shifting(case: Case) -> None:
    """v2 has 20 % for ten minutes."""
    case.create(strategy=_SLOW, gates=None)
    case.wait_ready()
    eventually(lambda: len(case.records()) == 1, "the record of release 1")
    case.release("v2")
    eventually(lambda: _in_stage(case, "Traffic(20)"), f"{case.name}: Traffic(20)", within=60)


def _aborted(case: Case) -> None:
    _shifting(case)
    case.answer(case.act("Abort", name=f"{case.name}-before"))
    eventually(lambda: _answered(case, "RolledBack") and len(case.records()) == 2, f"{case.name}: aborted", within=60)


def _paused(case: Case) -> None:
    _shifting(case)
    case.answer(case.act("Pause", name=f"{case.name}-before"))
    case.wait_phase("Paused")


def _asked(case: Case) -> None:
    """v2 waits for a consent."""
    quick = [{"weight": 20, "minDuration": "100ms"}, {"weight": 50, "minDuration": "10m"}]
    case.create(strategy={"canary": {"steps": quick, "bake": "100ms"}}, gates=None)
    case.wait_ready()
    eventually(lambda: len(case.records()) == 1, "the record of release 1")
    case.patch(approvals=[_APPROVAL], versionRef={"name": "v2"})
    case.wait_phase("AwaitingApproval", within=60)


def _served(case: Case) -> None:
    """v2 serves."""
    case.create(strategy=_QUICK, gates=None)
    case.wait_ready()
    case.release("v2")
    eventually(lambda: case.status()["stable"]["version"] == "v2" and _ready(case), f"{case.name}: v2", within=60)


@dataclass(frozen=True)
class Story:
    """A verb, from where it begins to where its effect has ended."""

    verb: str
    begin: Callable[[Case], None]
    ended: Callable[[Case], bool]

    def act(self, case: Case) -> str:
        """Asks for it."""
        name = self.request(case)
        if self.verb == "Approve":
            return case.approve("sre", by=case.lab.api.acting_as("ada", "sre"), name=name)
        return case.act(self.verb, name=name)

    def request(self, case: Case) -> str:
        """The request's name."""
        return f"{case.name}-act"

    def finished(self, case: Case) -> bool:
        """Whether there is an answer and the effect has come to its end."""
        phase = (case.request(self.request(case)).get("status") or {}).get("phase", "Pending")
        return phase != "Pending" and self.ended(case)


STORIES = (
    Story("Promote", _shifting, _ready),
    Story("Abort", _shifting, lambda case: _answered(case, "RolledBack") and len(case.records()) == 2),
    Story("Retry", _aborted, lambda case: _in_stage(case, "Traffic(20)", release=3)),
    Story("Pause", _shifting, lambda case: _answered(case, "Paused")),
    Story("Resume", _paused, lambda case: _in_stage(case, "Traffic(20)") and _answered(case, "Shifting")),
    Story("Skip", _shifting, lambda case: _in_stage(case, "Traffic(50)")),
    Story("Approve", _asked, lambda case: _in_stage(case, "Traffic(50)")),
    Story("Rollback", _served, _restored),
    Story("Drill", _shifting, lambda case: _in_stage(case, "Traffic(20)", release=3) and len(case.records()) == 2),
)


# --- cutting them off ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One story, cut off after write number ``k``; 0 is the one that nobody cut off."""

    story: Story
    k: int
    killed: bool
    case: Case
    writes: tuple[tuple[str, str], ...]

    def told(self) -> dict[str, Any]:
        """Everything that must not depend on where it was cut off."""
        status, request = self.case.status(), self.case.request(self.story.request(self.case))
        answer, uid = request["status"], request["metadata"]["uid"]
        tie = f"{request['metadata']['name']}@{answer['digest']}"
        logs = [record["spec"]["decisions"] for record in self.case.records()]
        if status.get("candidate"):
            logs.append(status["decisions"])
        candidate = status.get("candidate") or {}
        return {
            "answer": (answer["phase"], *(_standing(answer["effect"][when]) for when in ("before", "after"))),
            "remembered": sum(entry["uid"] == uid for entry in status["handledRequests"]),
            "decisions": [[(entry["reason"], entry["stage"]) for entry in log] for log in logs],
            "caused": Counter(entry["reason"] for log in logs for entry in log if entry.get("request") == tie),
            "outcomes": [record["spec"]["outcome"] for record in self.case.records()],
            "history": [past["outcome"] for past in status["history"]],
            "now": (status["release"], status["phase"], (status.get("stage") or {}).get("name"), status["weight"]),
            "versions": (status["stable"]["version"], candidate.get("version")),
            "failed": [failed["version"] for failed in status.get("failed", [])],
            "traffic": {label: weight for label, weight in self.case.weights().items() if weight},
        }


@pytest.fixture(scope="module")
def lineages(lab: Lab) -> Iterator[list[Lineage]]:
    """Operators that may be killed, each with a namespace of its own."""
    lab.allow_actions("sre")
    made = [Lineage(lab, number) for number in range(_LINEAGES)]
    for lineage in made:
        first = Case(lab, lineage.namespace)
        first.version("v1")
        first.version("v2")
    yield made
    for lineage in made:
        lineage.stop()


def _run(lab: Lab, lineage: Lineage, story: Story, k: int) -> Result:
    case = Case(lab, lineage.namespace, f"{story.verb.lower()}{k}")
    story.begin(case)
    found = lineage.cut(k, lambda: story.act(case), lambda: story.finished(case), case.name)
    return Result(story, k, found.killed, case, found.writes)


@pytest.fixture(scope="module")
def results(lab: Lab, lineages: list[Lineage]) -> dict[str, list[Future[Result]]]:
    """By verb: its story as it is, and cut off after its first, second, third … write."""
    return each_cut(
        lineages, {story.verb: story for story in STORIES}, lambda lineage, story, k: _run(lab, lineage, story, k)
    )


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.verb)
def test_given_a_kill_after_each_write_of_an_action_then_effect_and_answer_are_as_without_one(
    lab: Lab, results: dict[str, list[Future[Result]]], story: Story
) -> None:
    whole, *cut = [future.result() for future in results[story.verb]]
    wanted = whole.told()
    assert wanted["answer"][0] == "Succeeded", wanted
    assert wanted["remembered"] == 1
    assert wanted["caused"], wanted
    assert all(count == 1 for count in wanted["caused"].values()), wanted
    assert sum(result.killed for result in cut) >= 2

    for result in cut:
        assert result.told() == wanted, (result.k, result.writes[-1:])
        events = [e for e in lab.api.list(EVENTS, result.case.namespace) if e["regarding"]["name"] == result.case.name]
        said = Counter((event["reason"], event["note"]) for event in events if event["reason"] in wanted["caused"])
        assert all(count == 1 for count in said.values()), (result.k, said)


def test_given_kills_in_the_midst_of_many_requests_then_each_is_handled_once(lab: Lab, lineages: list[Lineage]) -> None:
    case, lineage = Case(lab, lineages[0].namespace, "many"), lineages[0]
    _shifting(case)
    asked: list[str] = []

    def ask() -> None:
        verbs = ("Pause", "Resume", "Skip", "Promote", "Retry") * 12
        stay = {"expect": {"stage": "Traffic(20)"}}
        with ThreadPoolExecutor(4) as pool:
            asked.extend(pool.map(lambda verb: case.act(verb, **(stay if verb in ("Skip", "Promote") else {})), verbs))

    def answered() -> bool:
        mine = [
            request for request in lab.api.list(ACTION_REQUESTS, case.namespace) if request["metadata"]["name"] in asked
        ]
        return all((request.get("status") or {}).get("phase", "Pending") != "Pending" for request in mine)

    kills = [lineage.cut(k, ask, answered, "many").killed for k in (7, 30, 45)]

    assert all(kills)
    handled = {entry["name"]: entry for entry in case.handled()}
    assert handled.keys() == set(asked)
    for name in asked:
        answer = case.request(name)["status"]
        assert (answer["phase"], answer["completedAt"]) == (handled[name]["phase"], handled[name]["at"])
    skipped = [e for e in handled.values() if (e["action"], e["phase"]) == ("Skip", "Succeeded")]
    assert len(skipped) <= 1
