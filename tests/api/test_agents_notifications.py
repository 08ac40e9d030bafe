"""People are told what waits for them, and what stops agents: each once, also over a restart, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.guarded import Guarded
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from tests.api.harness.receiver import Receiver, receiving
from weir.runtime.resources import EVENTS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("telling")]

PROMOTE: Spec = {"name": "go", "action": "Promote", "approval": {"tier": "Approve", "quorum": 2}}
ABSENT = """
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: weir-never-installed
spec:
  failurePolicy: Fail
"""


@dataclass
class Telling:
    """An operator that tells a receiver, and expects the admission policies that ``guardrails`` holds."""

    lab: Lab
    receiver: Receiver
    guardrails: Path
    running: Operator = field(init=False)

    def __post_init__(self) -> None:
        self.lab.free_lease()
        self._start()

    def _start(self) -> None:
        environment = {**self.receiver.environment, "WEIR_GUARDRAILS": str(self.guardrails)}
        self.running = self.lab.operator("weir-told", environment=environment).wait_ready()

    def expect(self, more: str = "") -> None:
        """The next operator expects the chart's admission policies, and those besides."""
        self.running.stop()
        self.guardrails.write_text(self.lab.guardrails.read_text() + more)
        self._start()


@pytest.fixture(scope="module")
def telling(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    folder = tmp_path_factory.mktemp("telling")
    guardrails = folder / "guardrails.yaml"
    guardrails.write_text(lab.guardrails.read_text())
    with receiving(lab, folder) as receiver:
        made = Telling(lab, receiver, guardrails)
        yield made
        made.running.stop()


def events(case: Case, *reasons: str) -> dict[str, int]:
    """How often each of these Events was written."""
    found = [event["reason"] for event in case.lab.api.list(EVENTS, case.namespace)]
    return {reason: found.count(reason) for reason in reasons}


# --- what waits for people -------------------------------------------------------------------------------------------


def test_given_a_request_that_needs_consent_then_people_are_told_once_who_asks_for_what(
    slow: Case, telling: Telling
) -> None:
    agents, people = Agents(slow, [PROMOTE]), Guarded(slow.lab, slow.namespace)
    agents.wait_ready()
    name = agents.ask("go", expect={"release": 2}, reason="all gates pass")

    [told] = eventually(lambda: telling.receiver.of(slow.namespace, "awaitingapproval"), "people are told")

    assert told["source"] == f"/namespaces/{slow.namespace}/rollouts/digits"
    facts = told["data"]["facts"]
    asked = {"request": name, "action": "Promote", "permit": "go", "requester": agents.user, "quorum": "2"}
    assert asked.items() <= facts.items()
    seen = agents.wait_status(name, lambda status: status.get("digest"), "approvers can name it")
    assert facts["approvalDigest"] == seen["digest"]
    assert f"kubectl weir approve digits --request {name} --namespace {slow.namespace}" in told["data"]["text"]
    # One consent of two: it waits on, and that is no news.
    for person in ("dan", "erin"):
        consent = agents.answer("Approve", name, by=people.user(person, "weir-approver"))
        assert slow.answer(consent)["phase"] == "Succeeded"
    assert slow.answer(name)["phase"] == "Succeeded"
    kinds = ["promoted", "awaitingapproval", "promoted"]
    eventually(lambda: telling.receiver.kinds(slow.namespace)[-1:] == ["promoted"], "the promotion is told")
    assert telling.receiver.kinds(slow.namespace) == kinds
    assert events(slow, "ApprovalNeeded", "Approved", "ApprovalGranted") == {
        "ApprovalNeeded": 1,
        "Approved": 2,
        "ApprovalGranted": 1,
    }


# --- what stops agents -----------------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """Something that stops agents until it is over."""

    condition: str
    reason: str
    events: tuple[str, str]
    """What is told when it begins, and when it is over."""
    begin: Callable[[Agents, Telling], None]
    end: Callable[[Agents, Telling], None]
    spec: Spec = field(default_factory=dict)


def _patience(after: str) -> Spec:
    return {"onAgentSilent": [{"lease": "tuner", "after": after}], "ladder": ["Freeze"]}


def _fall_silent(agents: Agents, _: Telling) -> None:
    agents.change(fallback=_patience("1s"))


def _come_back(agents: Agents, _: Telling) -> None:
    agents.change(fallback=_patience("1h"))


def _others(agents: Agents) -> list[Case]:
    return [Case(agents.lab, agents.namespace, name) for name in ("letters", "signs")]


def _break(agents: Agents, _: Telling) -> None:
    for other in _others(agents):
        other.create_broken()


def _mend(agents: Agents, _: Telling) -> None:
    for other in _others(agents):
        other.mend()


TROUBLES = (
    Trouble(
        "AgentsAlive",
        "AgentSilent",
        ("AgentSilent", "FallbackOver"),
        _fall_silent,
        _come_back,
        {"fallback": _patience("1h")},
    ),
    Trouble("WithinBlastRadius", "TooMuchBroken", ("BlastRadiusExceeded", "BlastRadiusRestored"), _break, _mend),
    Trouble(
        "GuardrailsInstalled",
        "Missing",
        ("GuardrailsMissing", "GuardrailsInstalled"),
        begin=lambda _, telling: telling.expect(ABSENT),
        end=lambda _, telling: telling.expect(),
    ),
)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.condition)
def test_given_something_that_stops_agents_then_people_are_told_once_when_it_lasts_and_once_when_it_is_over(
    slow: Case, telling: Telling, trouble: Trouble
) -> None:
    agents = Agents(slow, [STOP], trouble.spec)
    agents.renew()
    agents.wait_ready()
    trouble.begin(agents, telling)
    began, over = trouble.events

    [told] = eventually(
        lambda: telling.receiver.of(slow.namespace, "agentsstopped"), "people are told of what lasts", within=120
    )

    condition = agents.condition(trouble.condition)
    assert (condition["status"], condition["reason"]) == ("False", trouble.reason)
    assert told["source"] == f"/namespaces/{slow.namespace}/agentpolicies/agents"
    facts = {"condition": trouble.condition, "reason": trouble.reason, "message": condition["message"]}
    assert told["data"]["facts"] == facts
    assert told["data"]["severity"] == "Error"
    assert events(slow, began, over) == {began: 1, over: 0}
    trouble.end(agents, telling)
    eventually(lambda: agents.condition(trouble.condition)["status"] == "True", "it is over", within=60)
    # What is told after it comes after it: nothing else of the agents is on the way.
    slow.act("Abort")
    eventually(lambda: "aborted" in telling.receiver.kinds(slow.namespace), "the abort is told")
    assert telling.receiver.kinds(slow.namespace).count("agentsstopped") == 1
    eventually(lambda: events(slow, over)[over], "it is told that it is over")
    assert events(slow, began, over) == {began: 1, over: 1}
