"""The AgentPolicy in plain words, and the switch that stops agents."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import yaml

from tests.unit.cli.agents import AGENT, outer, policy, request, slots
from tests.unit.cli.apiserver import FakeApi, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import condition, rollout
from weir.api.agentpolicy import PAUSED_LABEL
from weir.api.base import format_time


def test_given_a_policy_when_it_is_explained_then_it_says_who_may_what_and_what_happens_without_them(
    api: FakeApi, run: Run
) -> None:
    rules = [{"name": "slow", "when": "signals.weight > 50", "then": "tune", "weight": 10, "for": "5m"}]
    fallback = {"onAgentSilent": [{"lease": "oncall", "after": "3m"}], "onUnknownAfter": "20m"}
    shadow = {
        "name": "tune-1",
        "permit": "tune",
        "by": AGENT,
        "reason": "Cooldown",
        "message": "6 min too early",
        "at": "2026-11-21T08:00:00Z",
    }
    status = {"shadowDenials": [shadow], "shadowDenied": 4, "conditions": [condition("Ready", message="all is well")]}
    api.put("agentpolicies", policy(rules=rules, fallback=fallback, status=status))
    api.put("clusteragentpolicies", outer())
    result = run("agent", "explain")
    assert result.exit_code == 0
    told = result.stdout
    for said in (
        "Agents may act in namespace team under 3 permits; everything else is refused by the API server.",
        "ServiceAccount agents/oncall, priority 5",
        "tune: ShiftTraffic; at most 3 in 1h; steps of at most 10 points (3 of 3 left for ",
        "ship: Promote; with the consent of 2",
        "slow: when signals.weight > 50 for 5m, asks under tune",
        "it starts when the Lease oncall was not renewed for 3m while a release runs",
        "at once: pause the release",
        "then, 10m later: put all traffic back to the version that serves",
        "nothing of this policy was narrowed",
        "tune-1 by agents/oncall, Cooldown: 6 min too early",
        "and 3 others before",
    ):
        assert said in told
    assert "Ready is True (Because) for " in told


def test_given_outer_bounds_when_the_policy_is_explained_then_it_says_what_they_narrowed_and_forbid(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    limits = [{"action": "ShiftTraffic", "maxStep": 5}, {"action": "Abort"}]
    api.put("clusteragentpolicies", outer(limits=limits, maxUnhealthyPercent=1))
    told = run("agent", "explain").stdout
    assert told.startswith("Agents may act in namespace team under 2 permits, narrowed by the ClusterAgentPolicy;")
    assert "What is wrong" not in told
    assert "tune was narrowed: bounds.maxStep is 5" in told
    assert "ship: nothing, since the ClusterAgentPolicy does not allow Promote" in told
    assert "spec.blastRadius.maxUnhealthyPercent: 1 is the most allowed" in told


NOT_ACCEPTED = (
    "The AgentPolicy in namespace team is not accepted: until it is mended, what agents ask for waits, but for the way "
    "back, and its rules ask for nothing."
)


def test_given_a_contradiction_when_the_policy_is_explained_then_it_says_what_follows_from_it(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy(rules=[{"name": "slow", "when": "true", "then": "gone"}], fallback={}))
    told = run("agent", "explain").stdout
    assert told.startswith(NOT_ACCEPTED)
    assert "spec.rules[slow].then: there is no permit gone." in told
    assert "If that lasts for 10m, the fallback begins for releases that run." in told


def test_given_a_reason_that_only_the_operator_can_see_when_explained_then_its_word_counts_while_it_is_current(
    api: FakeApi, run: Run
) -> None:
    refused = condition("Accepted", "False", message="spec.fallback: required by the ClusterAgentPolicy")
    api.put("agentpolicies", policy(status={"conditions": [refused]}))
    api.refusals[("GET", "clusteragentpolicies")] = Refusal(403, "no", "Forbidden")
    told = run("agent", "explain").stdout
    assert told.startswith(NOT_ACCEPTED)
    assert "spec.fallback: required by the ClusterAgentPolicy." in told
    api.put("agentpolicies", policy(status={"conditions": [refused], "observedGeneration": 3}))
    assert run("agent", "explain").stdout.startswith("Agents may act in namespace team under 3 permits;")


def test_given_outer_bounds_that_may_not_be_read_when_explained_then_the_operators_word_is_told(
    api: FakeApi, run: Run
) -> None:
    effective = [{"name": "tune", "summary": "ShiftTraffic", "narrowed": "bounds.maxStep is 5"}]
    api.put("agentpolicies", policy(status={"effective": effective}))
    api.refusals[("GET", "clusteragentpolicies")] = Refusal(403, "no", "Forbidden")
    told = run("agent", "explain").stdout
    assert "you may not read the ClusterAgentPolicy" in told
    assert "tune: bounds.maxStep is 5" in told


@pytest.mark.parametrize(
    ("seen", "said"),
    [(None, "The operator has never looked at the policy"), (3, "has not looked at generation 4 yet")],
)
def test_given_an_operator_that_is_behind_when_explained_then_it_says_so(
    api: FakeApi, run: Run, seen: int | None, said: str
) -> None:
    found = policy()
    found["status"] = {"observedGeneration": seen} if seen else {}
    api.put("agentpolicies", found)
    told = yaml.safe_load(run("agent", "explain", "-o", "yaml").stdout)
    assert told["parts"][0]["title"] == "What is wrong"
    assert said in told["parts"][0]["lines"][0]


def test_given_agents_when_they_are_paused_and_resumed_then_the_switch_moves_and_nothing_else(
    api: FakeApi, run: Run
) -> None:
    before = api.put("agentpolicies", policy())["spec"]
    api.put("leases", lease(5.0))
    result = run("agent", "pause")
    assert result.exit_code == 0
    assert result.stdout.startswith("agents are stopped in namespace team; what waits is refused")
    assert api.all("agentpolicies")[0]["spec"] == {**before, "paused": True}
    assert "stopped already" in run("agent", "pause").stdout
    assert run("agent", "resume").stdout.startswith("agents may act again in namespace team")
    assert api.all("agentpolicies")[0]["spec"] == {**before, "paused": False}
    assert api.asked.count(("PATCH", "agentpolicies")) == 2


def test_given_the_cluster_when_agents_are_paused_then_a_resume_of_the_namespace_says_they_stay_stopped(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy(paused=True))
    api.put("clusteragentpolicies", outer())
    assert "in the whole cluster" in run("agent", "pause", "--cluster").stdout
    assert api.all("clusteragentpolicies")[0]["spec"]["paused"] is True
    told = run("agent", "resume").stdout
    assert "is not paused any more, but agents stay stopped: the ClusterAgentPolicy is paused" in told


def test_given_somebody_without_the_right_when_they_pause_then_it_says_who_may(api: FakeApi, run: Run) -> None:
    api.put("agentpolicies", policy())
    message = 'agentpolicies.weir.dev "agents" is forbidden: User "eve" cannot patch resource "agentpolicies" in API group "weir.dev" in the namespace "team"'
    api.refusals[("PATCH", "agentpolicies")] = Refusal(403, message, "Forbidden")
    result = run("agent", "pause")
    assert result.exit_code == 1
    assert "you (eve) may not patch agentpolicies in namespace team" in result.stderr
    assert "admins of the namespace" in result.stderr


@pytest.mark.parametrize(
    ("verb", "way"),
    [
        (
            "pause",
            "to stop the agents of all namespaces now: kubectl label namespaces --all --overwrite LABEL=paused\n",
        ),
        ("resume", "if a label has stopped the agents of all namespaces: kubectl label namespaces --all LABEL-\n"),
    ],
)
def test_given_no_outer_policy_when_the_switch_of_the_cluster_is_thrown_then_the_way_that_works_is_told(
    api: FakeApi, run: Run, verb: str, way: str
) -> None:
    result = run("agent", verb, "--cluster")
    assert result.exit_code == 2
    missing = "error: there is no ClusterAgentPolicy, which has this switch; "
    assert result.stderr == missing + way.replace("LABEL", PAUSED_LABEL)


def lease(age: float) -> dict[str, Any]:
    """The operator's Lease, last renewed so many seconds ago."""
    spec = {"renewTime": format_time(time.time() - age)}
    return {"metadata": {"name": "weir-operator", "namespace": "weir-system"}, "spec": spec}


@pytest.mark.parametrize(("age", "silent"), [(5.0, False), (300.0, True)])
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["headroom"],
        ["headroom", "-o", "json"],
        ["actions"],
        ["ask", "stop", "digits", "-m", "x", "--dry-run"],
    ],
)
def test_given_an_operator_that_renews_no_lease_when_agents_are_looked_at_then_a_warning_says_so(
    api: FakeApi, run: Run, arguments: list[str], age: float, silent: bool
) -> None:
    api.put("agentpolicies", policy())
    api.put("rollouts", rollout())
    api.put("leases", lease(age))
    result = run("agent", *arguments)
    assert result.exit_code == 0
    first = (result.stderr or result.stdout).lower()
    assert first.startswith("warning: no operator has shown a sign of life for 5 min") == silent


def test_given_a_silent_operator_when_agents_are_paused_then_it_is_said_that_what_waits_is_not_refused_yet(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("leases", lease(300.0))
    told = run("agent", "pause").stdout
    assert "what waits is refused only when it is back and sees that agents are still stopped" in told
    assert "delete those ActionRequests" in told


def test_given_leases_that_may_not_be_read_when_agents_are_paused_then_it_does_not_promise_that_what_waits_is_refused(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("leases", lease(300.0))
    api.refusals[("GET", "leases")] = Refusal(403, "no", "Forbidden")
    result = run("agent", "pause")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "agents are stopped in namespace team; an operator refuses what waits, but whether "
    )
    assert "cannot be seen from here" in result.stdout
    assert "delete those ActionRequests" in result.stdout


def test_given_admission_policies_that_are_missing_when_agents_are_looked_at_then_it_does_not_promise_refusals(
    api: FakeApi, run: Run
) -> None:
    missing = condition("GuardrailsInstalled", "False", message="weir-permits is not there")
    api.put("agentpolicies", policy(status={"conditions": [missing]}))
    explained = run("agent", "explain").stdout
    warning = "Warning: The API server may let more pass than the policy does. weir-permits is not there."
    assert explained.startswith(warning)
    assert "Agents may do nothing in namespace team but safe actions, under 3 permits" in explained
    assert "everything else is refused by the API server" not in explained
    assert run("agent", "headroom").stdout.startswith(warning)


def test_given_a_policy_that_is_not_accepted_when_headroom_is_asked_for_then_it_begins_with_that(
    api: FakeApi, run: Run
) -> None:
    why = "spec.fallback: required by the ClusterAgentPolicy"
    api.put("agentpolicies", policy(status={"conditions": [condition("Accepted", "False", message=why)]}))
    assert run("agent", "headroom").stdout.startswith(f"Warning: The AgentPolicy is not accepted. {why}.")


def test_given_everything_that_a_policy_can_say_when_it_is_explained_then_it_is_told_in_plain_words(
    api: FakeApi, run: Run
) -> None:
    now = time.time()
    later, before = format_time(now + 3600), format_time(now - 600)
    permits = [
        {
            "name": "tune",
            "action": "ShiftTraffic",
            "mode": "Enforce",
            "subjects": ["oncall"],
            "rollouts": ["digits"],
            "budget": {"limit": 3, "window": "8760h"},
        },
        {"name": "skip", "action": "Skip", "approval": {"tier": "ManualOnly"}},
    ]
    trial = {"share": 20, "permits": [{**permits[0], "bounds": {"maxStep": 5}}]}
    rules = [
        {"name": "slow", "when": "signals.weight > 50", "then": "tune", "weight": 10},
        {"name": "late", "when": "signals.weight > 60", "then": "tune", "weight": 20},
    ]
    states = [
        {"rule": "slow", "rollout": "digits", "attempts": 3, "openUntil": later, "message": "the circuit is open"},
        {"rule": "late", "rollout": "digits", "message": '"weight" is not known'},
        {"rule": "late", "rollout": "faces", "request": "tune-1-0"},
    ]
    fallen = {"rollout": "digits", "release": 2, "reason": "AgentSilent", "since": before, "step": 2, "stepAt": before}
    api.put(
        "agentpolicies",
        policy(
            *permits,
            mode="Audit",
            bucket={"capacity": 9, "refillEvery": "5m"},
            exploration={"maxTrafficPercent": 25, "maxShareHours": "1.5", "window": "12h"},
            fallback={"ladder": ["LastKnownGood"]},
            trial=trial,
            rules=rules,
            status={"rules": states, "fallback": [fallen]},
        ),
    )
    told = run("agent", "explain").stdout
    for said in (
        "Agents may act in namespace team under 2 permits. Limits are only watched (Audit)",
        "; only for oncall; only on digits (3 of 3 left for ",
        "skip: Skip; by people alone",
        "9 tokens, one more every 5m",
        "get 25 % of traffic at most, and 1.5 hours of all traffic in 12h",
        "slow on digits: asks for nothing until ",
        " after 3 failures",
        'late on digits: "weight" is not known',
        "late on faces: has asked: tune-1-0",
        "at once: put the version back that served before, if the one that serves is unhealthy",
        "now on digits: AgentSilent since ",
        "2 steps taken",
        "none: there is no ClusterAgentPolicy",
        "20 % of requests are judged by it as well",
        "tune: ShiftTraffic; at most 3 in 8760h; steps of at most 5 points",
    ):
        assert said in told, said


def test_given_no_fallback_when_the_policy_is_explained_then_it_says_what_that_means(api: FakeApi, run: Run) -> None:
    api.put("agentpolicies", policy())
    assert "nothing: there is no `fallback`" in run("agent", "explain").stdout


def test_given_closed_permits_when_headroom_is_asked_for_then_each_says_why(api: FakeApi, run: Run) -> None:
    first, second, third = slots()
    api.put("agentpolicies", policy(mode="Audit"))
    api.put("clusteragentpolicies", outer(limits=[{"action": "ShiftTraffic"}, {"action": "Abort"}]))
    for name in (first, second, third):
        api.put("actionrequests", request(name))
    lines = run("agent", "headroom").stdout.splitlines()
    assert re.fullmatch(r"tune +ShiftTraffic +Audit +3 of 3 +in .* +- +any", lines[1])
    assert lines[-1] == "ship: closed, the ClusterAgentPolicy does not allow Promote."


def test_given_the_switch_when_it_is_thrown_for_a_program_then_the_policy_is_printed(api: FakeApi, run: Run) -> None:
    api.put("agentpolicies", policy())
    assert json.loads(run("agent", "pause", "-o", "json").stdout)["spec"]["paused"] is True
    assert "may act already" not in run("agent", "resume").stdout
    assert run("agent", "resume").stdout == "agents may act already in namespace team\n"
