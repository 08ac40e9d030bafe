"""kill -9 after every single write that an agent's action causes: it is executed once, and all ends the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.harness.agents import Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.lineage import Lineage, each_cut
from weir.runtime.resources import ACTION_REQUESTS, JOBS, MODEL_VERSIONS, KubeObject

pytestmark = pytest.mark.api

_LINEAGES = 3
_SLOW: Spec = {
    "canary": {
        "steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}],
        "bake": "100ms",
    }
}
_PERMITS: list[Spec] = [
    {"name": "stop", "action": "Abort"},
    {"name": "go", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}},
    {"name": "train", "action": "Retrain", "template": "job"},
    {"name": "more", "action": "Reallocate", "template": "workers"},
    {"name": "hold", "action": "Pause", "budget": {"limit": 100, "window": "1h"}},
]
_POD: Spec = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "registry.example/train"}]}
_JOB: Spec = {
    "name": "job",
    "action": "Retrain",
    # No pod runs: a test says how it ends.
    "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": True, "template": {"spec": _POD}}},
    "result": {"modelVersion": {"runtime.image": "registry.example/digits:${request.name}"}},
}
_WORKERS: Spec = {
    "name": "workers",
    "action": "Reallocate",
    "object": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "${rollout.name}-workers"},
        "spec": {"parallelism": 4},
    },
    # Also once a person has set it back.
    "succeeded": "object.metadata.generation > 1",
}
_POLICY: Spec = {
    "templates": [_JOB, _WORKERS],
    # Many releases end badly here, on purpose.
    "blastRadius": {"maxUnhealthyPercent": 100, "maxAffectedPercent": 100},
    "concurrency": {"total": 50},
}


@dataclass
class Ground:
    """One lineage of operators, and the agents of its namespace."""

    lineage: Lineage
    agents: Agents

    def on(self, case: Case) -> Agents:
        """The same agents, acting on another Rollout."""
        self.agents.case = case
        return self.agents


def _shifting(case: Case) -> None:
    """v2 has 20 % for ten minutes."""
    case.create(strategy=_SLOW, gates=None)
    case.wait_ready()
    eventually(lambda: len(case.records()) == 1, "the record of release 1")
    case.release("v2")
    case.wait(lambda s: s["weight"] == 20 and case.weights().get("v2") == 20, "Traffic(20)", within=60)


def _asked(ground: Ground, case: Case) -> None:
    _shifting(case)
    name = ground.on(case).ask("go", name=f"{case.name}-ask", expect={"release": 2})
    ground.agents.wait_status(name, lambda s: s.get("digest"), "it waits")


def _serving(ground: Ground, case: Case) -> None:
    case.create(strategy=_SLOW, gates=None)
    case.wait_ready()


def _rule(ground: Ground, case: Case) -> str:
    """Makes a rule whose condition holds for this Rollout; returns nothing that could be asked for by name."""
    rule = {"name": case.name, "when": f"signals.rollout == '{case.name}' && signals.weight >= 20", "then": "hold"}
    ground.agents.change(rules=[rule])
    return ""


def _approve(ground: Ground, case: Case) -> str:
    ada = case.lab.api.acting_as("ada", "sre")
    ground.on(case).answer("Approve", f"{case.name}-ask", by=ada, name=f"{case.name}-yes")
    return f"{case.name}-ask"


def _train(ground: Ground, case: Case) -> str:
    return ground.on(case).ask("train", name=f"{case.name}-ask")


def _working(ground: Ground, case: Case) -> None:
    _serving(ground, case)
    meta = {"name": f"{case.name}-workers", "namespace": case.namespace}
    case.lab.api.create(JOBS, {**_JOB["object"], "metadata": meta})


def _workers(case: Case) -> tuple[int, int]:
    """Workers that are wanted, and how often somebody has said so; nothing where there are none."""
    job = case.lab.api.find(JOBS, case.namespace, f"{case.name}-workers")
    return (job["spec"]["parallelism"], job["metadata"]["generation"]) if job is not None else (0, 0)


def _set_back(case: Case) -> bool:
    """Whether it was changed, and set back by a person; who sees the change first sets it back."""
    if _workers(case) == (4, 2):
        case.lab.api.merge(JOBS, case.namespace, f"{case.name}-workers", {"spec": {"parallelism": 1}})
    return _workers(case)[1] > 2


def _trained(case: Case) -> bool:
    """Whether a version came of it; ends the Job as its controller would."""
    job = case.lab.api.find(JOBS, case.namespace, f"{case.name}-ask")
    if job is not None and not any(c["type"] == "Complete" for c in job["status"].get("conditions") or ()):
        now = "2030-01-01T00:00:00Z"
        moment = {"status": "True", "lastTransitionTime": now, "lastProbeTime": now, "reason": "r", "message": ""}
        conditions = [{"type": kind, **moment} for kind in ("SuccessCriteriaMet", "Complete")]
        status = {"startTime": now, "completionTime": now, "conditions": conditions}
        case.lab.api.merge(JOBS, case.namespace, f"{case.name}-ask", {"status": status}, status=True)
    return case.lab.api.find(MODEL_VERSIONS, case.namespace, f"{case.name}-ask") is not None


@dataclass(frozen=True)
class Story:
    """Something that agents do, from where it begins to where its effect has ended."""

    name: str
    begin: Callable[[Ground, Case], None]
    act: Callable[[Ground, Case], str]
    ended: Callable[[Case], bool]

    def requests(self, case: Case) -> list[KubeObject]:
        """The requests under a permit that are about the Rollout."""
        found = case.lab.api.list(ACTION_REQUESTS, case.namespace, "weir.dev/permit")
        return [r for r in found if r["spec"]["rolloutRef"]["name"] == case.name]

    def finished(self, ground: Ground, case: Case) -> bool:
        """Whether everything has its answer, the effect has ended, and the ledger remembers it and waits for nothing."""
        asked = {r["metadata"]["uid"] for r in self.requests(case)}
        about = [
            r
            for r in case.lab.api.list(ACTION_REQUESTS, case.namespace)
            if r["spec"]["rolloutRef"]["name"] == case.name
        ]
        phases = {(r.get("status") or {}).get("phase", "Pending") for r in about}
        ledger = ground.agents.ledger()
        last, left = ({entry["uid"] for part in parts for entry in ledger.get(part) or ()} for parts in (_ENDED, _OPEN))
        settled = bool(asked) and asked <= last and not asked & left
        return self.ended(case) and settled and not {"Pending", "Running"} & phases


_ENDED = ("last",)
_OPEN = ("granted", "waiting", "denied")


STORIES = (
    Story(
        "abort",
        lambda _, case: _shifting(case),
        lambda ground, case: ground.on(case).ask("stop", name=f"{case.name}-ask"),
        lambda case: case.status()["phase"] == "RolledBack" and len(case.records()) == 2,
    ),
    Story(
        "approve",
        _asked,
        _approve,
        lambda case: case.status()["stable"]["version"] == "v2" and len(case.records()) == 2,
    ),
    Story("train", _serving, _train, _trained),
    Story("more", _working, lambda ground, case: ground.on(case).ask("more", name=f"{case.name}-ask"), _set_back),
    Story("rule", lambda _, case: _shifting(case), _rule, lambda case: case.status()["phase"] == "Paused"),
)


@dataclass(frozen=True)
class Result:
    """One story, cut off after write number ``k``; 0 is the one that nobody cut off."""

    story: Story
    k: int
    killed: bool
    case: Case
    writes: tuple[tuple[str, str], ...]
    ledger: KubeObject

    def told(self) -> dict[str, Any]:
        """Everything that must not depend on where it was cut off."""
        status, requests, lab = self.case.status(), self.story.requests(self.case), self.case.lab
        uids = {r["metadata"]["uid"] for r in requests}
        jobs = [j for j in lab.api.list(JOBS, self.case.namespace) if j["metadata"]["name"] == f"{self.case.name}-ask"]
        made = lab.api.list(MODEL_VERSIONS, self.case.namespace, f"weir.dev/made-for={self.case.name}")
        return {
            "answers": sorted((r["spec"]["action"], r["status"]["phase"]) for r in requests),
            "executed": sorted(e["action"] for e in self.case.handled() if e["uid"] in uids),
            "remembered": sorted(e["action"] for e in self.ledger["last"] if e["uid"] in uids),
            "jobs": len(jobs),
            "versions": len(made),
            "workers": _workers(self.case),
            "outcomes": [record["spec"]["outcome"] for record in self.case.records()],
            "now": (status["release"], status["phase"], status["weight"], status["stable"]["version"]),
        }


@pytest.fixture(scope="module")
def grounds(lab: Lab) -> Iterator[list[Ground]]:
    """Operators that may be killed, each with a namespace of its own."""
    lab.allow_actions("sre")
    made = []
    for number in range(_LINEAGES):
        lineage = Lineage(lab, number)
        first = Case(lab, lineage.namespace)
        first.version("v1")
        first.version("v2")
        made.append(Ground(lineage, Agents(first, _PERMITS, _POLICY)))
    yield made
    for ground in made:
        ground.lineage.stop()


def _run(lab: Lab, ground: Ground, story: Story, k: int) -> Result:
    case = Case(lab, ground.lineage.namespace, f"{story.name}{k}")
    story.begin(ground, case)
    found = ground.lineage.cut(k, lambda: story.act(ground, case), lambda: story.finished(ground, case), case.name)
    return Result(story, k, found.killed, case, found.writes, ground.agents.ledger())


@pytest.fixture(scope="module")
def results(lab: Lab, grounds: list[Ground]) -> dict[str, list[Future[Result]]]:
    """By name: its story as it is, and cut off after its first, second, third … write."""
    return each_cut(
        grounds, {story.name: story for story in STORIES}, lambda ground, story, k: _run(lab, ground, story, k)
    )


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_given_a_kill_after_each_write_then_everything_happens_once_and_ends_the_same(
    results: dict[str, list[Future[Result]]], story: Story
) -> None:
    whole, *cut = [future.result() for future in results[story.name]]
    wanted = whole.told()
    assert {phase for _, phase in wanted["answers"]} == {"Succeeded"}, wanted
    assert len(wanted["remembered"]) == len(wanted["answers"]) == 1
    assert len(wanted["executed"]) == (0 if story.name in ("train", "more") else 1)
    assert wanted["workers"] == ((1, 3) if story.name == "more" else (0, 0))
    assert (wanted["jobs"], wanted["versions"]) == ((1, 1) if story.name == "train" else (0, 0))
    assert sum(result.killed for result in cut) >= 2

    for result in cut:
        assert result.told() == wanted, (result.k, result.writes[-1:])
