"""Agents act within their policy: from the request under a permit to its effect, its answer and the ledger."""

from __future__ import annotations

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import Api, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import USER, Lab
from tests.api.harness.outer import bounded
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    EVENTS,
    NAMESPACES,
    KubeObject,
)

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

PROMOTE: Spec = {"name": "go", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}}


@pytest.fixture(scope="module")
def ada(lab: Lab) -> Api:
    """A person who may do everything to Rollouts."""
    lab.allow_actions("sre")
    return lab.api.acting_as("ada", "sre")


def granted_then(agents: Agents, name: str) -> KubeObject:
    """The one entry of what has ended in the ledger."""
    return eventually(
        lambda: next((entry for entry in agents.ledger().get("last", []) if entry["name"] == name), None),
        f"the ledger remembers {name}",
    )


def test_given_a_permit_when_an_agent_aborts_then_it_is_granted_executed_and_remembered(slow: Case) -> None:
    agents = Agents(slow, [{**STOP, "budget": {"limit": 100, "window": "100h"}}])
    agents.wait_ready()

    name = agents.ask("stop", name=agents.name("stop"))

    answer = slow.answer(name)
    assert answer["phase"] == "Succeeded", answer
    slow.wait_phase("RolledBack")
    past = eventually(lambda: agents.ledger().get("last"), "the ledger remembers it")
    assert [(entry["name"], entry["permit"], entry["by"]) for entry in past] == [(name, "stop", agents.user)]
    assert not agents.ledger().get("granted")


# --- people ------------------------------------------------------------------------------------------------------------


def test_given_an_action_that_needs_consent_then_it_waits_until_a_person_gives_it(slow: Case, ada: Api) -> None:
    agents = Agents(slow, [PROMOTE])
    agents.wait_ready()
    name = agents.ask("go", expect={"release": 2})

    waits = agents.wait_status(name, lambda s: s.get("phase") == "Pending" and s.get("digest"), "it waits")
    assert "consent" in waits["message"]
    [entry] = eventually(lambda: agents.ledger().get("waiting"), "the ledger says so")
    assert (entry["reason"], entry["quorum"]) == ("ApprovalNeeded", 1)
    assert slow.status()["weight"] == 20

    consent = agents.answer("Approve", name, by=ada)

    given = slow.answer(consent)
    assert given["phase"] == "Succeeded", given
    assert slow.answer(name)["phase"] == "Succeeded"
    slow.wait_ready()
    assert granted_then(agents, name)["phase"] == "Succeeded"
    handled = next(entry for entry in slow.handled() if entry["name"] == name)
    assert "ada" in handled.get("authority", "")


def test_given_a_person_who_denies_it_then_that_is_final(slow: Case, ada: Api) -> None:
    agents = Agents(slow, [PROMOTE])
    agents.wait_ready()
    name = agents.ask("go", expect={"release": 2})
    agents.wait_status(name, lambda s: s.get("digest"), "it waits")

    denial = agents.answer("Deny", name, by=ada)

    given = slow.answer(denial)
    assert given["phase"] == "Succeeded", given
    refused = slow.answer(name)
    assert refused["phase"] == "Refused"
    assert "ada" in refused["message"]
    assert slow.status()["weight"] == 20


# --- the kill switch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["policy", "namespace", "gone"])
def test_given_a_kill_switch_then_what_waits_is_never_executed(slow: Case, ada: Api, lab: Lab, switch: str) -> None:
    agents = Agents(slow, [PROMOTE])
    agents.wait_ready()
    name = agents.ask("go", expect={"release": 2})
    agents.wait_status(name, lambda s: s.get("digest"), "it waits")

    if switch == "policy":
        agents.change(paused=True)
    elif switch == "namespace":
        label = {"metadata": {"labels": {"weir.dev/agents": "paused"}}}
        lab.api.merge(NAMESPACES, None, agents.namespace, label)
    else:
        lab.api.delete(AGENT_POLICIES, agents.namespace, POLICY_NAME)

    if switch == "gone":
        assert "no AgentPolicy" in slow.answer(name)["message"]
    else:
        agents.wait_status(name, lambda s: "paused" in s.get("message", "").lower(), "it is stopped")
    eventually(lambda: agents.refusal("go", expect={"release": 2}), "admission knows it, too")
    assert slow.status()["weight"] == 20


# --- the planner ---------------------------------------------------------------------------------------------------------


def test_given_a_rule_whose_condition_holds_then_weir_asks_once_and_states_why(slow: Case) -> None:
    # So long that no window ends meanwhile.
    hold = {"name": "hold", "action": "Pause", "budget": {"limit": 100, "window": "100h"}}
    rule = {"name": "far-enough", "when": "signals.weight >= 20", "then": "hold", "reason": "it has gone far enough"}
    agents = Agents(slow, [hold], {"rules": [rule]})

    slow.wait_phase("Paused")

    asked = agents.lab.api.list(ACTION_REQUESTS, agents.namespace, "weir.dev/permit=hold")
    [request] = asked
    assert request["metadata"]["name"] == agents.name("hold")
    spec = request["spec"]
    assert (spec["rule"], spec["requester"], spec["reason"]) == ("far-enough", USER, "it has gone far enough")
    assert {"weight": "20"}.items() <= {e["name"].rpartition("-")[2]: e["value"] for e in spec["evidence"]}.items()
    assert slow.answer(request["metadata"]["name"])["phase"] == "Succeeded"
    granted_then(agents, request["metadata"]["name"])
    assert len(agents.lab.api.list(ACTION_REQUESTS, agents.namespace, "weir.dev/permit=hold")) == 1


# --- without agents --------------------------------------------------------------------------------------------------------


def test_given_an_agent_that_falls_silent_then_the_release_is_frozen_and_then_put_back(slow: Case) -> None:
    fallback = {"ladder": ["Freeze", "StableOnly"], "stepAfter": "5s"}
    agents = Agents(slow, [STOP], {"fallback": {**fallback, "onAgentSilent": [{"lease": "tuner", "after": "1h"}]}})
    agents.renew()
    agents.wait_ready()
    assert slow.status()["phase"] == "Shifting"
    # Only now: however slow the machine is, its time is not over before this.
    agents.change(fallback={"onAgentSilent": [{"lease": "tuner", "after": "5s"}]})
    agents.renew()

    slow.wait_phase("Paused", within=60)
    slow.wait_phase("RolledBack", within=60)

    asked = agents.lab.api.list(ACTION_REQUESTS, agents.namespace)
    names = sorted(r["metadata"]["name"] for r in asked)
    assert names == ["fallback-digits-2-freeze", "fallback-digits-2-stableonly"]
    assert {r["spec"]["requester"] for r in asked} == {USER}
    told = {event["reason"] for event in agents.lab.api.list(EVENTS, agents.namespace)}
    assert {reason for reason in told if reason.startswith(("Fallback", "Agent"))}, told


# --- outer bounds ----------------------------------------------------------------------------------------------------------


def test_given_outer_bounds_then_a_policy_that_was_there_before_is_narrowed_and_told(slow: Case, lab: Lab) -> None:
    agents = Agents(slow, [STOP, PROMOTE])
    agents.wait_ready()
    waits = agents.ask("go", expect={"release": 2})
    agents.wait_status(waits, lambda s: s.get("digest"), "it waits")

    with bounded(lab, {"limits": [{"action": "Abort"}]}):
        refused = slow.answer(waits)
        bounds = eventually(
            lambda: lab.api.get(CLUSTER_AGENT_POLICIES, None, POLICY_NAME).get("status") or {}, "its status"
        )
        [accepted] = [c for c in agents.ledger()["conditions"] if c["type"] == "Accepted"]

    assert refused["phase"] == "Refused"
    assert "ClusterAgentPolicy" in refused["message"]
    assert bounds["namespaces"] >= 1
    assert {c["type"]: c["status"] for c in bounds["conditions"]} == {"Accepted": "True", "GuardrailsInstalled": "True"}
    assert (accepted["status"], accepted["reason"]) == ("True", "Narrowed")


# --- at rest ---------------------------------------------------------------------------------------------------------------


def test_given_a_policy_with_everything_and_nothing_that_happens_then_nothing_is_written(slow: Case) -> None:
    agents = Agents(
        slow,
        [{**STOP, "budget": {"limit": 2, "window": "1h"}}, {**PROMOTE, "cooldown": {}}],
        {
            "rules": [{"name": "never", "when": "signals.weight > 90", "then": "stop"}],
            "bucket": {"capacity": 10, "refillEvery": "1s"},
            "exploration": {"maxTrafficPercent": 50, "maxShareHours": "5"},
            "fallback": {"onAgentSilent": [{"lease": "tuner", "after": "1h"}], "onUnknownAfter": "1h"},
        },
    )
    agents.renew()
    agents.wait_ready()
    waits = agents.ask("go", expect={"release": 2})
    agents.wait_status(waits, lambda s: s.get("digest"), "it waits")

    def writes() -> int:
        return sum(
            entry["verb"] in ("patch", "create", "update") and entry["objectRef"].get("namespace") == agents.namespace
            for entry in slow.lab.audit()
            if entry["objectRef"]["resource"] in ("agentpolicies", "actionrequests", "events")
        )

    counts: list[int] = []

    def still() -> bool:
        counts.append(writes())
        return len(counts) > 8 and counts[-1] == counts[-8]

    # Eight looks, two seconds apart.
    eventually(still, "sixteen seconds without a write", within=60, every=2)
