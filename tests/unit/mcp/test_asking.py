"""Asking for actions: simulate, propose, withdraw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.mcp.apiserver import AGENT, NOON, FakeApi, Refusal, denied
from tests.unit.mcp.conftest import HandClock, Tools
from tests.unit.mcp.objects import DIGEST, PERMITS, WINDOW, at, policy, request

SHIFT = {
    "permit": "shift",
    "rollout": "digits",
    "reason": "drift",
    "weight": 20,
    "expect": {"release": 2, "weight": 10},
}
ABORT = {"permit": "abort", "rollout": "digits", "reason": "it burns"}


async def test_given_a_permit_with_a_budget_when_it_is_used_then_the_first_free_slot_is_taken(
    api: FakeApi, tools: Tools
) -> None:
    api.put("actionrequests", request(f"shift-{WINDOW}-0"))
    found = await tools("propose_action", proposal={**SHIFT, "evidence": [{"name": "drift", "value": "0.31"}]})
    assert (found["name"], found["phase"], found["action"]) == (f"shift-{WINDOW}-1", "New", "ShiftTraffic")
    stored = api.all("actionrequests")[-1]
    assert stored["metadata"]["labels"] == {"weir.dev/permit": "shift"}
    assert stored["spec"] == {
        "action": "ShiftTraffic",
        "permit": "shift",
        "rolloutRef": {"name": "digits"},
        "requester": AGENT,
        "reason": "drift",
        "weight": 20,
        "expect": {"release": 2, "weight": 10},
        "evidence": [{"name": "drift", "value": "0.31", "ref": ""}],
        "expiresAfter": "1h",
    }


async def test_given_a_permit_without_a_budget_when_it_is_used_twice_then_each_has_a_name_of_its_own(
    tools: Tools,
) -> None:
    first, second = await tools("propose_action", proposal=ABORT), await tools("propose_action", proposal=ABORT)
    assert first["name"].startswith("digits-abort-")
    assert first["name"] != second["name"]


async def test_given_many_agents_at_once_when_they_propose_then_exactly_the_budget_is_used(
    api: FakeApi, tools: Tools
) -> None:
    answers = await asyncio.gather(*(tools.raw("propose_action", proposal=SHIFT) for _ in range(8)))
    assert sorted(o["metadata"]["name"] for o in api.all("actionrequests")) == [f"shift-{WINDOW}-{n}" for n in range(3)]
    assert [answer.is_error for answer in answers].count(False) == 3
    for answer in answers:
        if answer.is_error:
            assert answer.structured_content is not None
            [denial] = answer.structured_content["denials"]
            assert (denial["rule"], denial["field"]) == ("BudgetSlot", "metadata.name")
            assert (denial["remaining"], denial["retryAfter"]) == (0, 3600)


async def test_given_a_used_up_budget_when_it_is_used_then_the_refusal_says_when_to_come_back(
    api: FakeApi, tools: Tools
) -> None:
    for slot in range(3):
        api.put("actionrequests", request(f"shift-{WINDOW}-{slot}"))
    api.now += 3000
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert (denial["rule"], denial["retryAfter"], denial["remaining"]) == ("BudgetSlot", 600, 0)
    assert len(api.all("actionrequests")) == 3


async def test_given_a_used_up_budget_in_audit_mode_when_it_is_used_then_a_slot_beyond_the_limit_is_taken(
    api: FakeApi, tools: Tools
) -> None:
    api.put("agentpolicies", policy([{**PERMITS[0], "mode": "Audit"}]))
    for slot in range(3):
        api.put("actionrequests", request(f"shift-{WINDOW}-{slot}"))
    assert (await tools("propose_action", proposal=SHIFT))["name"] == f"shift-{WINDOW}-3"


async def test_given_names_that_may_not_be_listed_when_an_agent_proposes_then_it_finds_the_free_slot_by_trying(
    api: FakeApi, tools: Tools
) -> None:
    for slot in range(2):
        api.put("actionrequests", request(f"shift-{WINDOW}-{slot}"))
    api.refusals["GET", "actionrequests"] = Refusal(403, 'User "x" cannot list resource', "Forbidden")
    assert (await tools("propose_action", proposal=SHIFT))["name"] == f"shift-{WINDOW}-2"


async def test_given_a_window_that_ends_meanwhile_when_an_agent_proposes_then_the_next_window_is_used(
    api: FakeApi, tools: Tools, clock: HandClock
) -> None:
    api.now = NOON + 3599

    def judge(body: dict[str, Any]) -> None:
        api.now, clock.seconds = NOON + 3601, 2
        if not body["metadata"]["name"].startswith(f"shift-{WINDOW + 1}-"):
            raise denied("weir-permits", f"BudgetSlot: name must be shift-{WINDOW + 1}-<0..2>")

    api.judge = judge
    assert (await tools("propose_action", proposal=SHIFT))["name"] == f"shift-{WINDOW + 1}-0"


@pytest.mark.parametrize("tool", ["propose_action", "simulate_action"])
async def test_given_an_admission_policy_that_refuses_when_a_proposal_is_made_then_the_rule_is_a_word(
    api: FakeApi, tools: Tools, tool: str
) -> None:
    def judge(_: dict[str, Any]) -> None:
        raise denied("weir-permits", "MaxStep: spec.weight may be at most 20, maxStep of the permit is 10")

    api.judge = judge
    if tool == "propose_action":
        denials = await tools.refused(tool, proposal=SHIFT)
    else:
        found = await tools(tool, proposal=SHIFT)
        assert found["allowed"] is False
        denials = found["denials"]
    [denial] = denials
    assert (denial["rule"], denial["policy"], denial["field"]) == ("MaxStep", "weir-permits", "spec.weight")
    assert (denial.get("retryAfter"), denial["remaining"]) == (None, 3)
    assert denial["untrusted"]["message"] == "spec.weight may be at most 20, maxStep of the permit is 10"


async def test_given_a_cooldown_when_a_proposal_is_made_then_the_refusal_says_how_long_it_lasts(
    api: FakeApi, tools: Tools
) -> None:
    blocked = [{"rollout": "digits", "action": "ShiftTraffic", "until": at(100), "reason": "Cooldown"}]
    api.put("agentpolicies", policy(status={"blocked": blocked}))

    def judge(_: dict[str, Any]) -> None:
        raise denied("weir-permits", "Cooldown: digits was acted on a moment ago")

    api.judge = judge
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert (denial["rule"], denial["retryAfter"]) == ("Cooldown", 100)


async def test_given_a_kill_switch_when_a_proposal_is_made_then_the_advice_is_not_to_repeat_it(
    api: FakeApi, tools: Tools
) -> None:
    api.put("agentpolicies", policy(paused=True))

    def judge(_: dict[str, Any]) -> None:
        raise denied("weir-permits", "Paused: spec.paused of its AgentPolicy is true")

    api.judge = judge
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert (denial["rule"], denial.get("retryAfter"), denial["field"]) == ("Paused", None, "")
    assert "do not repeat it" in denial["advice"]


async def test_given_several_policies_that_refuse_when_a_proposal_is_made_then_each_reason_is_told_once(
    api: FakeApi, tools: Tools
) -> None:
    causes = tuple(
        ("", f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {why}")
        for name, why in (("weir-permits", "MaxStep: too far"), ("weir-outer", "Paused: all agents stand still"))
    )

    def judge(_: dict[str, Any]) -> None:
        raise Refusal(422, f'actionrequests.weir.dev "x" is forbidden: {causes[0][1]}', "Invalid", (*causes, causes[0]))

    api.judge = judge
    found = await tools("simulate_action", proposal=SHIFT)
    assert [(d["rule"], d["policy"]) for d in found["denials"]] == [
        ("MaxStep", "weir-permits"),
        ("Paused", "weir-outer"),
    ]


async def test_given_a_schema_that_refuses_when_a_proposal_is_made_then_the_fields_are_named(
    api: FakeApi, tools: Tools
) -> None:
    def judge(_: dict[str, Any]) -> None:
        causes = (
            ("spec.duration", "Invalid value: `duration` belongs to the action Pause"),
            ("spec", "no good: at all"),
        )
        raise Refusal(422, 'ActionRequest.weir.dev "x" is invalid: []', "Invalid", causes)

    api.judge = judge
    found = await tools.refused("propose_action", proposal={**SHIFT, "duration": "5m"})
    assert [(denial["rule"], denial["field"]) for denial in found] == [("Schema", "spec.duration"), ("Schema", "spec")]
    assert found[1]["untrusted"]["message"] == "no good: at all"


@pytest.mark.parametrize(
    ("message", "rule", "retry"),
    [
        ('actionrequests.weir.dev is forbidden: User "x" cannot create resource "actionrequests"', "Rbac", None),
        ("actionrequests is forbidden: exceeded quota: agents, requested: 1, used: 9, limited: 9", "Quota", None),
        ('admission webhook "no.example" denied the request: not on Fridays', "Admission", None),
    ],
)
async def test_given_others_that_refuse_when_a_proposal_is_made_then_the_rule_says_who(
    api: FakeApi, tools: Tools, message: str, rule: str, retry: int | None
) -> None:
    api.refusals["POST", "actionrequests"] = Refusal(403, message, "Forbidden")
    [denial] = await tools.refused("propose_action", proposal=ABORT)
    assert (denial["rule"], denial.get("retryAfter")) == (rule, retry)


async def test_given_a_proposal_that_passes_when_it_is_simulated_then_nothing_is_stored_and_the_consent_is_told(
    api: FakeApi, tools: Tools
) -> None:
    proposal = {"permit": "promote", "rollout": "digits", "reason": "good", "expect": {"release": 2}}
    found = await tools("simulate_action", proposal=proposal)
    assert (found["allowed"], found["action"], found["tier"], found["quorum"]) == (True, "Promote", "Approve", 2)
    assert "Before it is executed" in found["note"]
    assert api.all("actionrequests") == []
    assert api.dry_runs == 1


async def test_given_a_used_up_budget_when_it_is_simulated_then_the_answer_is_no_and_nothing_is_asked(
    api: FakeApi, tools: Tools
) -> None:
    for slot in range(3):
        api.put("actionrequests", request(f"shift-{WINDOW}-{slot}"))
    found = await tools("simulate_action", proposal=SHIFT)
    assert (found["allowed"], found["remaining"], found["denials"][0]["retryAfter"]) == (False, 0, 3600)
    assert api.dry_runs == 0


async def test_given_an_answer_that_got_lost_when_an_agent_proposes_then_the_request_is_found_and_not_made_twice(
    api: FakeApi, tools: Tools
) -> None:
    api.lost = 1
    found = await tools("propose_action", proposal=SHIFT)
    assert found["name"] == f"shift-{WINDOW}-0"
    assert len(api.all("actionrequests")) == 1


@pytest.mark.parametrize("tool", ["propose_action", "simulate_action"])
async def test_given_an_api_server_that_is_down_when_a_proposal_is_made_then_that_is_no_judgement_of_it(
    api: FakeApi, tools: Tools, tool: str
) -> None:
    api.refusals["POST", "actionrequests"] = Refusal(503, "no etcd")
    [denial] = await tools.refused(tool, proposal=SHIFT)
    assert (denial["rule"], denial["retryAfter"]) == ("Unavailable", 5)
    assert "look before" in denial["advice"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"permit": "shift", "rollout": "digits"}, "proposal.reason"),
        ({**SHIFT, "wieght": 3}, "proposal.wieght"),
        ({**SHIFT, "weight": 101}, "proposal.weight"),
        ({**SHIFT, "requester": "somebody-else"}, "proposal.requester"),
        ({**SHIFT, "action": "Approve"}, "proposal.action"),
        ({**SHIFT, "reason": "x" * 513}, "proposal.reason"),
    ],
)
async def test_given_a_proposal_with_a_wrong_or_unknown_field_when_it_is_made_then_it_is_named_and_nothing_is_asked(
    api: FakeApi, tools: Tools, wrong: dict[str, Any], field: str
) -> None:
    [denial] = await tools.refused("propose_action", proposal=wrong)
    assert (denial["rule"], denial["field"]) == ("Schema", field)
    assert "http" not in str(denial)
    assert api.all("actionrequests") == []


async def test_given_fields_of_a_proposal_without_the_proposal_when_it_is_made_then_what_is_missing_is_named(
    tools: Tools,
) -> None:
    denials = await tools.refused("propose_action", **SHIFT)
    assert ("Schema", "proposal") in [(denial["rule"], denial["field"]) for denial in denials]


async def test_given_a_user_name_that_no_request_can_hold_when_a_proposal_is_made_then_the_field_is_named(
    api: FakeApi, tools: Tools
) -> None:
    api.user = "u" * 300
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert (denial["rule"], denial["field"]) == ("Schema", "requester")


async def test_given_a_tool_that_is_not_there_when_it_is_called_then_that_is_no_denial(tools: Tools) -> None:
    answer = await tools.raw("approve_action", name="shift")
    assert answer.is_error
    assert answer.structured_content is None


async def test_given_no_such_permit_when_it_is_used_then_the_refusal_says_which_there_are(
    api: FakeApi, tools: Tools
) -> None:
    [denial] = await tools.refused("propose_action", proposal={**ABORT, "permit": "nothing"})
    assert denial["rule"] == "NotFound"
    assert "shift" in denial["untrusted"]["message"]


async def test_given_no_agent_policy_when_a_proposal_is_made_then_it_is_refused(api: FakeApi, tools: Tools) -> None:
    api.objects["agentpolicies"].clear()
    [denial] = await tools.refused("propose_action", proposal=ABORT)
    assert denial["rule"] == "NotFound"
    assert "no AgentPolicy in namespace team" in denial["untrusted"]["message"]


async def test_given_a_name_that_another_took_when_the_answer_gets_lost_then_it_is_not_taken_for_ours(
    api: FakeApi, tools: Tools
) -> None:
    def judge(body: dict[str, Any]) -> None:
        api.put("actionrequests", request(body["metadata"]["name"], by="somebody-else"))
        raise Refusal(503, "no etcd")

    api.judge = judge
    [denial] = await tools.refused("propose_action", proposal=SHIFT)
    assert denial["rule"] == "Unavailable"


async def test_given_an_action_that_was_caused_by_another_when_it_is_proposed_then_the_cause_is_named_by_uid(
    api: FakeApi, tools: Tools
) -> None:
    api.put("actionrequests", request("first"))
    await tools("propose_action", proposal={**ABORT, "causedBy": "first"})
    assert api.all("actionrequests")[-1]["spec"]["causedBy"] == {"name": "first", "uid": "uid-first"}
    [denial] = await tools.refused("propose_action", proposal={**ABORT, "causedBy": "never"})
    assert denial["rule"] == "NotFound"


async def test_given_an_own_action_when_it_is_withdrawn_then_another_request_says_so(
    api: FakeApi, tools: Tools
) -> None:
    stored = api.put("actionrequests", {**request("shift-1"), "status": {"phase": "Pending"}})
    found = await tools("withdraw_action", name="shift-1", reason="it got better")
    assert found["action"] == "Withdraw"
    made = api.all("actionrequests")[-1]
    assert made["metadata"]["name"].startswith("withdraw-shift-1-")
    assert made["metadata"]["labels"] == {"weir.dev/answers": "uid-shift-1"}
    assert made["spec"] == {
        "action": "Withdraw",
        "rolloutRef": {"name": "digits"},
        "requester": AGENT,
        "reason": "it got better",
        "request": {"name": "shift-1", "uid": stored["metadata"]["uid"]},
        "expiresAfter": "1h",
    }


async def test_given_an_action_that_has_ended_when_it_is_withdrawn_then_it_is_refused(
    api: FakeApi, tools: Tools
) -> None:
    api.put("actionrequests", {**request("shift-1"), "status": {"phase": "Succeeded", "digest": DIGEST}})
    [denial] = await tools.refused("withdraw_action", name="shift-1", reason="oh")
    assert denial["rule"] == "Ended"
    assert len(api.all("actionrequests")) == 1


async def test_given_somebody_elses_action_when_it_is_withdrawn_then_the_api_server_refuses(
    api: FakeApi, tools: Tools
) -> None:
    api.put("actionrequests", request("shift-1", by="alice"))

    def judge(_: dict[str, Any]) -> None:
        raise denied("weir-answers", "NotYours: only who asked for it can withdraw it")

    api.judge = judge
    [denial] = await tools.refused("withdraw_action", name="shift-1", reason="oh")
    assert denial["rule"] == "NotYours"


@pytest.mark.parametrize(("given", "lasts"), [({}, "4h"), ({"expiresAfter": "10m"}, "10m")])
async def test_given_a_permit_that_people_have_hours_to_consent_to_when_it_is_proposed_then_the_request_lasts_as_long(
    api: FakeApi, tools: Tools, given: dict[str, str], lasts: str
) -> None:
    consent = {"tier": "Approve", "quorum": 1, "expiresAfter": "4h"}
    api.put("agentpolicies", policy([{"name": "promote", "action": "Promote", "approval": consent}]))
    wanted = {"permit": "promote", "rollout": "digits", "reason": "all pass", "expect": {"release": 2}, **given}
    await tools("propose_action", proposal=wanted)
    assert api.all("actionrequests")[-1]["spec"]["expiresAfter"] == lasts
