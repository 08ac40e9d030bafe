"""`kubectl weir agent` as agents and people use it: their own credentials, the chart's policies, a real operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.test_command_line import Person, person
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

TUNE: Spec = {
    "name": "tune",
    "action": "ShiftTraffic",
    "bounds": {"maxStep": 70},
    "budget": {"limit": 3, "window": "24h"},
}
SHIP: Spec = {"name": "ship", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}}


@pytest.fixture
def agents(slow: Case) -> Iterator[Agents]:
    """An agent with a policy that is in force."""
    made = Agents(slow, (STOP, TUNE, SHIP), {"bucket": {"capacity": 1, "refillEvery": "8760h"}})
    made.wait_ready()
    yield made
    slow.lab.api.delete(AGENT_POLICIES, made.namespace, POLICY_NAME)


@pytest.fixture
def tuner(agents: Agents) -> Person:
    """The agent, with nothing but its token."""
    found = Person(agents.lab, agents.tuner.kubeconfig, agents.namespace)
    eventually(lambda: ask(found, "tune", "--weight", "90", "--dry-run")[0] == 0, "the agent may ask")
    return found


def ask(who: Person, permit: str, *options: str) -> tuple[int, str]:
    """Exit code and what was said."""
    done = who.weir("agent", "ask", permit, "-m", "test", *options)
    return done.returncode, done.stdout + done.stderr


def test_given_an_agent_when_it_asks_by_the_command_line_then_it_takes_a_slot_and_the_effect_is_seen(
    agents: Agents, tuner: Person, slow: Case
) -> None:
    code, said = ask(tuner, "tune", "--weight", "5", "--evidence", "p99=840ms", "--timeout", "60s")
    assert (code, "Succeeded: " in said) == (0, True), said
    slow.wait(lambda s: s["weight"] == 5, "the candidate has 5 %")
    row = json.loads(tuner.weir("agent", "headroom", "tune", "-o", "json").stdout)[0]
    assert (row["used"], row["left"], row["nextName"]) == (1, 2, agents.name("tune", 1))
    [action] = json.loads(tuner.weir("agent", "actions", "--all", "-o", "json").stdout)
    assert (action["name"], action["action"], action["phase"]) == (agents.name("tune"), "ShiftTraffic 5 %", "Succeeded")
    stored = agents.lab.api.get(ACTION_REQUESTS, agents.namespace, agents.name("tune"))
    assert stored["spec"]["requester"] == agents.user
    explained = tuner.weir("agent", "explain").stdout
    assert "Agents may act in namespace" in explained
    assert "tune: ShiftTraffic; at most 3 in 24h; steps of at most 70 points (2 of 3 left for " in explained


def test_given_a_limit_when_an_agent_asks_beyond_it_then_it_is_told_in_the_words_of_the_api_server(
    tuner: Person, slow: Case
) -> None:
    code, said = ask(tuner, "tune", "--weight", "95")
    assert code == 1
    assert "error: refused: MaxStep: from spec.expect.weight 20 to spec.weight 95 is more than 70" in said
    stopped = tuner.weir("abort", slow.name, "-m", "past the policy")
    assert stopped.returncode == 1
    assert re.search("PermitNeeded: |may not abort", stopped.stderr), "two policies refuse it; either may be told first"


def test_given_what_needs_consent_when_a_person_gives_it_by_the_command_line_then_it_is_executed(
    agents: Agents, tuner: Person, slow: Case
) -> None:
    code, said = ask(tuner, "ship", "--no-wait")
    name = said.splitlines()[-1] if code else said.split()[-1]
    ada = person(slow, "ada", ["weir-approver"])
    eventually(
        lambda: f"kubectl weir approve --request {name}" in ada.weir("agent", "actions").stdout, "it waits for people"
    )
    assert tuner.weir("approve", "--request", name, "-m", "I agree with myself", "-y").returncode == 1
    given = ada.weir("approve", "--request", name, "-m", "looked at it", "-y")
    assert (given.returncode, "digest" in given.stderr) == (0, True), given.stderr
    agents.wait_status(name, lambda s: s.get("phase") == "Succeeded", "executed")


def test_given_a_request_that_waits_when_it_is_overruled_denied_or_withdrawn_then_so_it_ends(
    agents: Agents, tuner: Person, slow: Case
) -> None:
    grace = person(slow, "grace", ["weir-admin", "weir-approver"])
    assert ask(tuner, "tune", "--weight", "90", "--timeout", "60s")[0] == 0, "takes the only token"
    second, third = agents.name("tune", 1), agents.name("tune", 2)
    for name, weight in ((second, "80"), (third, "70")):
        assert ask(tuner, "tune", "--weight", weight, "--no-wait")[0] == 0
        agents.wait_status(name, lambda s: "tokens" in s.get("message", ""), "waits for the bucket")
    overruled = grace.weir("override", second, "-m", "this once", "-y")
    assert overruled.returncode == 0, overruled.stderr
    agents.wait_status(second, lambda s: s.get("phase") == "Succeeded", "executed")
    assert grace.weir("withdraw", third, "-m", "not mine").returncode == 1
    assert tuner.weir("withdraw", third, "-m", "no more").returncode == 0
    agents.wait_status(third, lambda s: s.get("phase") == "Refused", "withdrawn")
    code, said = ask(tuner, "ship", "--no-wait")
    assert code == 0
    name = said.split()[-1]
    agents.wait_status(name, lambda s: s.get("phase") == "Pending", "waits")
    assert grace.weir("deny", name, "-m", "not today").returncode == 0
    agents.wait_status(name, lambda s: s.get("phase") == "Refused", "denied")


def test_given_the_switch_when_an_admin_throws_it_then_agents_are_refused_until_it_is_thrown_back(
    tuner: Person, slow: Case
) -> None:
    admin = person(slow, "frank", ["weir-admin", "weir-view"])
    denied = tuner.weir("agent", "pause")
    assert denied.returncode == 1
    assert "may throw this switch" in denied.stderr
    assert "agents are stopped in namespace" in admin.weir("agent", "pause").stdout
    refused = partial(ask, tuner, "stop", "--dry-run")
    eventually(lambda: re.search("is paused|Paused: ", refused()[1]) is not None, "agents are refused")
    assert admin.weir("agent", "resume").stdout.startswith("agents may act again")
    eventually(lambda: refused()[0] == 0, "agents may ask again")
