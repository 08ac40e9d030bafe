"""Rules of an AgentPolicy: when they ask, how often, and what they ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.agent.planning import (
    AGENT,
    CALM,
    DRIFTED,
    FIRST,
    NOW,
    POLICY,
    RULE,
    SECOND,
    WEIR,
    WINDOW,
    Planner,
    asked,
    observed,
    planner,
    policy,
    rollout,
    state,
)
from weir.agent.effective import effective
from weir.agent.rules import SEEN_WITHIN, backoff, propose
from weir.api.actionrequest import ActionRequestSpec, OtherRequest
from weir.api.agentpolicy import Retry
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import LocalRef

# --- Asking ----------------------------------------------------------------------------------------------------------


def test_given_a_condition_that_does_not_hold_when_decided_then_nothing_is_asked_or_remembered() -> None:
    made = planner()
    made.signals = CALM
    found = made.decide()
    assert (found.states, found.proposals, found.notes) == ((), (), ())


def test_given_a_condition_that_holds_when_decided_then_one_request_with_its_evidence_is_asked_for() -> None:
    made = planner()
    (proposal,) = made.decide().proposals
    spec = proposal.spec
    assert proposal.name == FIRST
    assert (spec.action, spec.permit, spec.rule, spec.requester) == ("Retrain", "train", "drifted", WEIR)
    assert spec.rollout_ref.name == "ranker"
    assert spec.evidence is not None
    assert [(e.name, e.value, e.ref) for e in spec.evidence] == [
        ("drift", "name=amount contract=orders verdict=Fail distance=0.31", "Rollout/ranker")
    ]
    assert made.told == ["RuleAsks"]


def test_given_a_request_that_is_open_when_decided_again_then_nothing_more_is_asked() -> None:
    made = planner()
    made.decide()
    assert made.decide(30).proposals == ()
    assert made.decide(90_000).proposals == ()
    assert made.names == [FIRST]


def test_given_a_request_that_was_not_created_when_decided_again_then_the_same_name_is_asked_for() -> None:
    made = planner()
    made.lost = True
    names = [made.decide(after).proposals[0].name for after in (0, 5, 20)]
    assert names == [FIRST] * 3
    assert made.told == ["RuleAsks"]


def test_given_a_request_that_never_came_when_its_time_is_over_then_it_is_no_failure_and_asked_for_as_before() -> None:
    made = planner()
    made.lost = True
    made.decide()
    for _ in range(3):
        (proposal,) = made.decide(SEEN_WITHIN).proposals
        assert proposal.name == FIRST
    assert state(made).attempts == 0


def test_given_a_request_that_was_not_created_when_its_window_is_over_then_it_waits_before_another_name() -> None:
    made = planner()
    made.now = (NOW // WINDOW + 1) * WINDOW - 1
    made.lost = True
    made.decide()
    assert made.decide(2).proposals == (), "the first one may have been created and not been seen yet"
    (proposal,) = made.decide(SEEN_WITHIN).proposals
    assert proposal.name == f"train-{int(NOW // WINDOW) + 1}-0"


def test_given_an_agent_that_took_the_name_when_decided_then_the_next_slot_is_asked_for() -> None:
    made = planner()
    made.lost = True
    made.decide()
    theirs = ActionRequestSpec(
        action="Retrain", rollout_ref=LocalRef(name="ranker"), reason="mine", requester=AGENT, permit="train"
    )
    made.requests[FIRST] = asked(FIRST, theirs)
    (proposal,) = made.decide(5).proposals
    assert proposal.name == SECOND


def test_given_two_rollouts_when_both_drift_then_each_has_a_slot_of_its_own_and_a_third_waits_for_the_window() -> None:
    made = Planner(policy(RULE), rollout("a"), rollout("b"), rollout("c"))
    made.signals = DRIFTED
    found = made.decide()
    assert [(p.name, p.spec.rollout_ref.name) for p in found.proposals] == [(FIRST, "a"), (SECOND, "b")]
    waiting = found.states[2]
    assert waiting.rollout == "c"
    assert waiting.next_at == (NOW // WINDOW + 1) * WINDOW
    assert "used up" in waiting.message
    made.now = waiting.next_at
    assert [p.spec.rollout_ref.name for p in made.decide().proposals] == ["c"]


def test_given_a_permit_for_other_rollouts_when_the_condition_holds_then_the_rule_is_not_for_it() -> None:
    permits = [{**POLICY["permits"][0], "rollouts": ["other"]}]
    assert planner(permits=permits).decide().states == ()


def test_given_equal_arguments_when_decided_twice_then_the_answers_are_equal() -> None:
    made = planner()
    obs = observed(made.spec, *made.facts, signals={"ranker": DRIFTED})
    first, second = (propose(obs, AgentPolicyStatus(), effective(made.spec, None), NOW) for _ in range(2))
    assert first == second


# --- How long it must hold -------------------------------------------------------------------------------------------


def test_given_a_time_to_hold_when_it_is_not_over_then_the_rule_waits_and_wakes_then() -> None:
    made = planner({"for": "10m"})
    found = made.decide()
    assert (found.proposals, found.wake_at) == ((), NOW + 600)
    assert made.decide(599).proposals == ()
    assert len(made.decide(1).proposals) == 1


@pytest.mark.parametrize("gap", [CALM, {}])
def test_given_a_time_to_hold_when_the_condition_was_false_or_unknown_meanwhile_then_it_begins_again(
    gap: dict[str, Any],
) -> None:
    made = planner({"for": "10m"})
    made.decide()
    made.signals = gap
    made.decide(300)
    made.signals = DRIFTED
    assert made.decide(300).proposals == ()
    assert made.decide(599).proposals == ()
    assert len(made.decide(1).proposals) == 1


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("signals.budget.burning", '"budget" is not known'),
        ("signals.many.all(a, signals.many.all(b, signals.many.all(c, a + b + c >= 0)))", "budget exceeded"),
        ("signals.rollout > 3", "no matching overload"),
    ],
)
def test_given_a_condition_that_cannot_be_told_when_decided_then_nothing_is_asked_and_it_is_said(
    when: str, said: str
) -> None:
    made = planner({"when": when})
    made.signals = {"rollout": "ranker", "many": list(range(300))}
    assert made.decide().proposals == ()
    assert "cannot be told" in state(made).message
    assert said in state(made).message.lower()


# --- Hysteresis ------------------------------------------------------------------------------------------------------


def test_given_a_request_that_succeeded_when_the_condition_still_holds_then_the_rule_does_not_ask_again() -> None:
    made = planner()
    made.decide()
    made.end("Succeeded")
    for _ in range(5):
        assert made.decide(10_000).proposals == ()
    assert state(made).message == f"{FIRST} succeeded; asks again after: the condition is false"


def test_given_a_request_that_succeeded_when_the_condition_was_false_between_then_the_rule_asks_again() -> None:
    made = planner()
    made.decide()
    made.end("Succeeded")
    made.decide(10)
    made.signals = CALM
    assert made.decide(10).states == ()
    made.signals = DRIFTED
    assert [p.name for p in made.decide(10).proposals] == [SECOND]


def test_given_until_when_the_condition_was_only_false_then_the_rule_waits_for_until() -> None:
    level = {"when": "signals.level > 0.3", "until": "signals.level < 0.1"}
    made = planner(level)
    made.signals = {"level": 0.4}
    made.decide()
    made.end("Succeeded")
    for value in (0.4, 0.2, 0.4):
        made.signals = {"level": value}
        assert made.decide(10).proposals == ()
    made.signals = {}
    assert made.decide(10).proposals == (), "what is not known re-arms nothing"
    made.signals = {"level": 0.05}
    made.decide(10)
    made.signals = {"level": 0.4}
    assert [p.name for p in made.decide(10).proposals] == [SECOND]


# --- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Refused", "Expired", "Failed"])
def test_given_a_request_that_failed_when_the_backoff_is_over_then_the_rule_asks_again(phase: str) -> None:
    made = planner()
    made.decide()
    made.end(phase, "out of memory")
    found = made.decide(10)
    at = state(made).next_at
    assert at is not None
    assert made.now + 150 <= at <= made.now + 300
    assert (found.proposals, found.wake_at, state(made).attempts) == ((), at, 1)
    assert "out of memory" in state(made).message
    made.now = at
    assert [p.name for p in made.decide().proposals] == [SECOND]


def test_given_failures_in_a_row_when_there_are_too_many_then_the_circuit_opens_and_people_are_told() -> None:
    made = planner(permits=[{**POLICY["permits"][0], "budget": {"limit": 10, "window": "1h"}}])
    for _ in range(3):
        assert len(made.decide(600).proposals) == 1
        made.end("Failed")
        made.decide(10)
    opened = made.now
    assert state(made).open_until == opened + 7200
    assert made.told == ["RuleAsks"] * 3 + ["RuleCircuitOpen"]
    assert made.decide(7199).proposals == ()
    assert len(made.decide(1).proposals) == 1, "one attempt decides whether the circuit closes"
    made.end("Failed")
    made.decide(10)
    assert state(made).open_until == made.now + 7200


def test_given_an_open_circuit_when_the_attempt_after_it_succeeds_then_it_is_closed() -> None:
    made = planner(permits=[{**POLICY["permits"][0], "budget": {"limit": 10, "window": "1h"}}])
    for _ in range(3):
        made.decide(600)
        made.end("Failed")
        made.decide(10)
    made.decide(7200)
    made.end("Succeeded")
    made.decide(10)
    assert (state(made).attempts, state(made).open_until) == (0, None)


def test_given_a_person_who_denied_when_decided_then_the_rule_does_not_ask_again() -> None:
    made = planner()
    made.decide()
    answer = ActionRequestSpec(
        action="Deny",
        rollout_ref=LocalRef(name="ranker"),
        reason="no",
        request=OtherRequest(name=FIRST, uid=f"uid-{FIRST}"),
    )
    made.requests["no"] = asked("no", answer, "Succeeded")
    made.end("Refused", "denied")
    for _ in range(3):
        assert made.decide(10_000).proposals == ()
    assert "denied by a person" in state(made).message


def test_given_a_request_that_a_person_deleted_when_decided_then_the_rule_does_not_ask_again() -> None:
    made = planner()
    made.decide()
    made.decide(10)
    made.requests.clear()
    for _ in range(3):
        assert made.decide(10_000).proposals == ()
    assert "deleted" in state(made).message


def test_given_a_request_that_the_api_server_refuses_when_decided_then_it_is_a_failure_and_said() -> None:
    made = planner()
    made.lost = True
    made.decide()
    made.decide(1, refused={FIRST: "the cooldown lasts until noon"})
    assert state(made).attempts == 1
    assert "the cooldown lasts until noon" in state(made).message


@settings(deadline=None)
@given(
    attempts=st.integers(1, 40),
    first=st.integers(1, 7200),
    longest=st.integers(1, 100_000),
    seed=st.text(max_size=20),
)
def test_given_any_retry_when_backed_off_then_it_is_bounded_grows_and_is_the_same_each_time(
    attempts: int, first: int, longest: int, seed: str
) -> None:
    retry = Retry(backoff=f"{first}s", max_backoff=f"{longest}s")
    ideal = min(longest, first * 2 ** (attempts - 1))
    found = backoff(retry, attempts, seed)
    assert ideal / 2 - 0.001 <= found <= ideal <= longest
    assert found == backoff(retry, attempts, seed)
