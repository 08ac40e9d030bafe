"""Outer bounds: what they make stricter is told and kept to, also where the ClusterAgentPolicy may not be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.mcp.apiserver import FakeApi, Refusal, denied
from tests.unit.mcp.conftest import Tools
from tests.unit.mcp.objects import BUDGET, WINDOW, policy, request
from tests.unit.mcp.test_asking import ABORT, SHIFT

KubeObject = dict[str, Any]
STRICT = {"action": "ShiftTraffic", "maxStep": 5, "maxPerHour": 2, "minTier": "Approve", "minQuorum": 2}
NARROWED = "bounds.maxStep is 5; budget.limit is 2 in 1h; approval.tier is Approve"
SUMMARY = "ShiftTraffic; at most 2 in 1h; steps of at most 5 points; with the consent of 2"
NO_ABORT = "the ClusterAgentPolicy does not allow Abort"


def show(api: FakeApi, *limits: KubeObject, **spec: Any) -> None:
    """A ClusterAgentPolicy that the agent may read."""
    outer = {"kind": "ClusterAgentPolicy", "metadata": {"name": "agents"}, "spec": {"limits": list(limits), **spec}}
    api.put("clusteragentpolicies", outer, namespace="-")


def hide(api: FakeApi, *effective: KubeObject, conditions: Any = (), seen: int = 1, **spec: Any) -> None:
    """One that it may not read, as with a RoleBinding; ``effective``: what the operator says of permits."""
    for plural in ("clusteragentpolicies", "namespaces", "leases"):
        api.refusals["GET", plural] = Refusal(403, f'User "x" cannot get resource "{plural}"', "Forbidden")
    status = {"observedGeneration": seen, "effective": list(effective), "conditions": list(conditions)}
    api.put("agentpolicies", policy(status=status, **spec))


def told(name: str = "shift", narrowed: str = NARROWED, summary: str = SUMMARY) -> KubeObject:
    """What the operator says of a permit."""
    return {"name": name, "summary": summary, "narrowed": narrowed}


def paused(message: str) -> KubeObject:
    """A condition of the operator's."""
    since = "2026-11-22T08:00:00Z"
    fields = {"observedGeneration": 1, "lastTransitionTime": since, "reason": "Paused", "message": message}
    return {"type": "Ready", "status": "False", **fields}


@pytest.mark.parametrize("hidden", [False, True])
async def test_given_outer_bounds_when_headroom_is_asked_for_then_the_permit_is_shown_as_strict_as_they_make_it(
    api: FakeApi, tools: Tools, hidden: bool
) -> None:
    if hidden:
        hide(api, told())
    else:
        show(api, STRICT)
    found = await tools("get_headroom", permit="shift")
    [shift] = found["permits"]
    assert found["outerHidden"] is hidden
    assert (shift["maxStep"], shift["maxTrafficPercent"], shift["limit"], shift["remaining"]) == (5, 50, 2, 2)
    assert (shift["tier"], shift["quorum"]) == ("Approve", 2)


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
@pytest.mark.parametrize("hidden", [False, True])
async def test_given_a_budget_of_the_outer_bounds_that_is_used_up_when_an_agent_asks_then_nothing_is_stored(
    api: FakeApi, tools: Tools, hidden: bool, mode: str
) -> None:
    if hidden:
        hide(api, told(), mode=mode)
    else:
        show(api, STRICT)
        api.put("agentpolicies", policy(mode=mode))
    for slot in range(2):
        api.put("actionrequests", request(f"shift-{WINDOW}-{slot}"))
    found = await tools("simulate_action", proposal=SHIFT)
    assert (found["allowed"], found["remaining"], found["tier"], found["outerHidden"]) == (False, 0, "Approve", hidden)
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert (denial["rule"], denial["retryAfter"]) == ("BudgetSlot", 3600)
    assert len(api.all("actionrequests")) == 2


async def test_given_a_budget_of_the_outer_bounds_alone_when_an_agent_asks_then_the_name_is_one_of_its_slots(
    api: FakeApi, tools: Tools
) -> None:
    show(api, {"action": "Abort", "maxPerHour": 4})
    assert (await tools("propose_action", proposal=ABORT))["name"] == f"abort-{WINDOW}-0"


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("tool", ["propose_action", "simulate_action"])
async def test_given_outer_bounds_that_forbid_the_permit_when_an_agent_asks_then_it_is_told_to_ask_people(
    api: FakeApi, tools: Tools, tool: str, hidden: bool
) -> None:
    if hidden:
        hide(api, told("abort", NO_ABORT, f"nothing: {NO_ABORT}"))
    else:
        show(api, STRICT)
    found = await tools.raw(tool, proposal=ABORT)
    assert found.structured_content is not None
    [denial] = found.structured_content["denials"]
    assert (denial["rule"], denial.get("retryAfter")) == ("OuterAction", None)
    assert denial["advice"].startswith(f"T{NO_ABORT[1:]}. ")
    assert "do not repeat it" in denial["advice"]
    assert (api.all("actionrequests"), api.dry_runs) == ([], 0)


async def test_given_what_the_operator_says_of_an_older_policy_when_headroom_is_asked_for_then_it_does_not_count(
    api: FakeApi, tools: Tools
) -> None:
    hide(api, told(), seen=0)
    found = await tools("get_headroom", permit="shift")
    assert found["outerHidden"] is True
    assert (found["permits"][0]["limit"], found["permits"][0]["maxStep"]) == (BUDGET["limit"], 10)


async def test_given_a_kill_switch_that_may_not_be_read_when_headroom_is_asked_for_then_the_operators_word_is_told(
    api: FakeApi, tools: Tools
) -> None:
    message = "the ClusterAgentPolicy is paused: no agent in the cluster may ask for anything"
    hide(api, conditions=[paused(message)])
    found = await tools("get_headroom")
    assert found["stopped"] == message
    assert {(room["usable"], room["closed"]) for room in found["permits"]} == {(False, message)}

    def judge(_: KubeObject) -> None:
        raise denied("weir-outer-bounds", "ClusterPaused: all agents of this cluster are stopped")

    api.judge = judge
    [denial] = await tools.refused("propose_action", proposal=ABORT)
    assert denial["rule"] == "ClusterPaused"


async def test_given_switches_that_may_be_read_when_headroom_is_asked_for_then_an_old_word_of_the_operator_is_not_told(
    api: FakeApi, tools: Tools
) -> None:
    status = {"observedGeneration": 1, "conditions": [paused("the ClusterAgentPolicy is paused")]}
    api.put("agentpolicies", policy(status=status))
    found = await tools("get_headroom")
    assert (found["stopped"], found["outerHidden"]) == ("", False)


async def test_given_leases_that_may_not_be_read_when_an_agent_looks_then_nothing_is_said_of_the_operator(
    api: FakeApi, tools: Tools
) -> None:
    hide(api)
    assert "operatorSilent" not in await tools("get_headroom")
