"""Rules of an AgentPolicy: what keeps them from asking, and that one event leads to one action."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.agent.planning import (
    CALM,
    DRIFTED,
    FIRST,
    NOW,
    POLICY,
    RULE,
    SECOND,
    WEIR,
    Planner,
    observed,
    planner,
    policy,
    releasing,
    rollout,
    state,
)
from weir.agent.effective import effective
from weir.agent.rules import MOST_STATES, propose
from weir.api.agentstatus import AgentPolicyStatus, Blocked, RuleState
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, OuterLimit

# --- What is in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"namespace_paused": True}, "paused"),
        ({"guardrails": "binding x is missing"}, "binding x is missing"),
        ({"outer_broken": "spec.limits: too many"}, "spec.limits: too many"),
    ],
)
def test_given_something_in_the_way_when_the_condition_holds_then_nothing_is_asked_until_it_is_gone(
    changes: dict[str, Any], said: str
) -> None:
    made = planner()
    found = made.decide(**changes)
    assert found.proposals == ()
    assert said in state(made).message
    assert len(made.decide(1).proposals) == 1


def test_given_outer_bounds_that_narrow_another_permit_when_the_condition_holds_then_it_is_asked() -> None:
    spec = policy(RULE)
    asked = next(permit.action for permit in spec.permits if permit.name == RULE["then"])
    outer = ClusterAgentPolicySpec(limits=[OuterLimit(action=asked)])
    obs = observed(spec, rollout(), signals={"ranker": DRIFTED}, outer=outer)
    assert effective(spec, outer).wider
    assert len(propose(obs, AgentPolicyStatus(), effective(spec, outer), NOW).proposals) == 1


def test_given_a_contradiction_when_the_condition_holds_then_nothing_is_asked_not_even_what_is_safe() -> None:
    stop, gone = {**RULE, "then": "stop"}, {**RULE, "name": "other", "then": "gone"}
    for rules, asks in (((stop,), 1), ((stop, gone), 0)):
        spec = policy(*rules)
        obs = observed(spec, releasing(), signals={"ranker": DRIFTED})
        found = propose(obs, AgentPolicyStatus(), effective(spec, None), NOW)
        assert len(found.proposals) == asks
    assert "there is no permit gone" in found.states[0].message


def test_given_a_paused_policy_when_the_condition_holds_then_nothing_is_asked() -> None:
    made = planner(paused=True)
    assert made.decide().proposals == ()
    assert "paused" in state(made).message


def test_given_a_tier_of_people_alone_when_the_condition_holds_then_nothing_is_asked() -> None:
    made = planner({"risk": "ManualOnly"})
    assert made.decide().proposals == ()
    assert "ManualOnly" in state(made).message


def test_given_outer_bounds_without_the_action_when_the_condition_holds_then_nothing_is_asked() -> None:
    spec = policy(RULE)
    outer = ClusterAgentPolicySpec(limits=[OuterLimit(action="Abort")])
    obs = observed(spec, rollout(), signals={"ranker": DRIFTED}, outer=outer)
    found = propose(obs, AgentPolicyStatus(), effective(spec, outer), NOW)
    assert found.proposals == ()
    assert "ClusterAgentPolicy" in found.states[0].message


def test_given_a_block_by_the_ledger_when_the_condition_holds_then_it_waits_until_the_block_ends() -> None:
    made = planner()
    made.status = made.status.model_copy(
        update={"blocked": [Blocked(rollout="ranker", action="Retrain", until=NOW + 50, reason="Cooldown")]}
    )
    found = made.decide()
    assert (found.proposals, found.wake_at) == ((), NOW + 50)
    assert len(made.decide(50).proposals) == 1


def test_given_a_safe_action_when_it_is_blocked_and_guardrails_are_missing_then_it_is_asked_for_all_the_same() -> None:
    stop = {"name": "stopping", "when": "signals.weight > 5", "then": "stop"}
    spec = policy(stop)
    blocked = AgentPolicyStatus(blocked=[Blocked(rollout="ranker", until=NOW + 50, reason="Damped")])
    obs = observed(spec, releasing(), signals={"ranker": {"weight": 10}}, guardrails="gone", status=blocked)
    (proposal,) = propose(obs, blocked, effective(spec, None), NOW).proposals
    assert proposal.spec.action == "Abort"
    assert proposal.spec.expect is not None
    assert proposal.spec.expect.release == 7


@pytest.mark.parametrize("where", ["policy", "permit"])
def test_given_the_mode_audit_when_the_condition_holds_then_it_is_told_once_and_nothing_is_asked(where: str) -> None:
    changes: dict[str, Any] = (
        {"mode": "Audit"} if where == "policy" else {"permits": [{**POLICY["permits"][0], "mode": "Audit"}]}
    )
    made = planner(**changes)
    for _ in range(3):
        assert made.decide(60).proposals == ()
    assert made.told == ["RuleWouldAsk"]


def test_given_a_policy_that_cannot_be_read_when_decided_then_what_was_asked_is_not_forgotten() -> None:
    known = AgentPolicyStatus(rule_states=[RuleState(rule="drifted", rollout="ranker", request=FIRST, armed=False)])
    obs = observed(None, rollout(), broken="spec: unreadable")
    assert propose(obs, known, effective(policy(RULE), None), NOW).states == tuple(known.rule_states)


def test_given_more_rollouts_than_can_be_remembered_when_decided_then_the_rest_asks_for_nothing() -> None:
    facts = [rollout(f"r{number:03}") for number in range(MOST_STATES + 20)]
    made = Planner(policy(RULE, permits=[{**POLICY["permits"][0], "budget": {"limit": 1000}}]), *facts)
    made.signals = DRIFTED
    found = made.decide()
    assert len(found.states) == len(found.proposals) == MOST_STATES
    assert made.decide(10).proposals == ()


# --- All together ----------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["drift", "calm", "unknown", "succeed", "fail", "lose", "find", "delete", "refuse"]),
        st.sampled_from([0.0, 1.0, 61.0, 400.0, 4000.0, 8000.0]),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(events=EVENTS)
def test_given_any_course_of_events_when_decided_then_one_event_leads_to_one_action(
    events: list[tuple[str, float]],
) -> None:
    """Between two requests the condition was false, or the first one failed or never came."""
    made = planner(permits=[{**POLICY["permits"][0], "budget": {"limit": 100, "window": "1h"}}])
    may_ask, last = True, ""
    for event, after in events:
        refused: dict[str, str] = {}
        if event in ("drift", "calm", "unknown"):
            made.signals = {"drift": DRIFTED, "calm": CALM, "unknown": {}}[event]
        elif event in ("succeed", "fail"):
            made.end("Succeeded" if event == "succeed" else "Failed")
        elif event in ("lose", "find"):
            made.lost = event == "lose"
        elif event == "delete":
            made.requests = {name: r for name, r in made.requests.items() if not r.open}
        elif event == "refuse" and last and last not in made.requests:
            refused = {last: "no"}
        before = {s.rule: s for s in made.status.rule_states}.get("drifted")
        opened = before is not None and before.open_until is not None and before.open_until > made.now + after
        ended = made.requests.get(last)
        failed = (ended is not None and ended.phase == "Failed") or last in refused
        gone = ended is None and before is not None and before.next_at is not None
        found = made.decide(after, refused=refused)
        may_ask = may_ask or made.signals == CALM or failed or gone
        assert sum(request.open for request in made.requests.values()) <= 1
        for proposal in found.proposals:
            assert made.signals == DRIFTED or proposal.name == last, "only a condition that holds asks"
            if proposal.name != last or last not in made.requests:
                assert may_ask
            assert not opened
            last, may_ask = proposal.name, False


def test_given_a_rule_with_a_name_taken_by_a_lost_request_when_another_rule_asks_then_it_gets_another_slot() -> None:
    made = planner({}, {"name": "again"})
    made.lost = True
    first = {p.name: p.spec.rule for p in made.decide().proposals}
    assert first == {FIRST: "drifted", SECOND: "again"}
    assert {p.name: p.spec.rule for p in made.decide(5).proposals} == first


def test_given_rules_over_the_age_of_candidates_when_decided_then_time_alone_wakes_them() -> None:
    made = planner({"when": "signals.candidates.exists(c, c.age > 60.0)", "then": "release"})
    assert made.decide().wake_at == NOW + 60


def test_given_a_ledger_that_remembers_the_end_when_the_request_is_gone_then_it_is_not_asked_for_again() -> None:
    made = planner()
    made.decide()
    made.decide(1)
    past = {
        "uid": "u", "name": FIRST, "permit": "train", "action": "Retrain", "rollout": "ranker", "by": WEIR,
        "phase": "Succeeded", "at": made.now,
    }  # fmt: skip
    made.requests.clear()
    made.status = AgentPolicyStatus.model_validate({**made.status.to_dict(), "last": [past]})
    made.decide(10)
    assert state(made).message.startswith(f"{FIRST} succeeded")
    assert made.decide(10_000).proposals == ()
