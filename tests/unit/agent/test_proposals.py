"""What rules ask for: the request that fits the action, and the evidence that it states."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.planning import DIGEST, NOW, RULE, model, observed, policy, releasing, rollout, version
from weir.agent import proposals
from weir.agent.observation import AgentObservation, MadeVersion, RolloutFacts
from weir.agent.proposals import cannot, evidence, expect, met, shown
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import SignalRule
from weir.api.modelversion import canonical, sha256
from weir.api.rolloutstatus import Ending, FailedRevision, Outcome, Pause

MADE = tuple(MadeVersion(f"m{n}", "ranker", f"r{n}", NOW + n) for n in range(3))


def permit(action: str, **changes: Any) -> Permit:
    return Permit.model_validate({"name": "p", "action": action, **changes})


def world(facts: RolloutFacts, **changes: Any) -> AgentObservation:
    versions = {name: model(name) for name in ("v1", "v2", "m0", "m1", "m2")}
    return observed(policy(), facts, **{"made": MADE, "versions": versions, **changes})


def request(action: str, facts: RolloutFacts, rule: dict[str, Any] | None = None, **changes: Any) -> ActionRequestSpec:
    asks = SignalRule.model_validate({**RULE, "then": "p", **(rule or {})})
    signals = {"candidates": [{"name": "m1"}]}
    return proposals.request(world(facts), asks, permit(action, **changes), facts, signals)


@pytest.mark.parametrize(
    ("when", "version"),
    [
        ("true", "m2"),
        ("signals.candidates.exists(c, c.value > 0.9)", "m1"),
        ("signals.candidates.exists(c, c.name == 'm0')", "m0"),
    ],
)
def test_given_versions_that_wait_when_asked_which_meets_a_condition_then_the_newest_that_does_so_alone(
    when: str, version: str
) -> None:
    waiting = [{"name": "m0", "value": 0.95}, {"name": "m1", "value": 0.92}, {"name": "m2", "value": 0.11}]
    answer, seen = met(when, "Release", {"candidates": waiting, "weight": 0})
    assert answer.holds is True
    assert [c["name"] for c in seen["candidates"]] == [version]
    assert seen["weight"] == 0
    assert met(when, "Retrain", {"candidates": waiting})[1] == {"candidates": waiting}, "of others all are looked at"


def test_given_versions_of_which_none_meets_a_condition_when_asked_then_it_does_not_hold_or_cannot_be_told() -> None:
    waiting = {"candidates": [{"name": "m0", "value": 0.1}, {"name": "m1"}]}
    assert met("signals.candidates.exists(c, has(c.value) && c.value > 0.9)", "Release", waiting)[0].holds is False
    assert met("signals.candidates.exists(c, c.value > 0.9)", "Release", waiting)[0].holds is None
    assert met("size(signals.candidates) == 0", "Release", {"candidates": []})[0].holds is True


def test_given_a_version_that_meets_the_condition_when_its_release_is_asked_for_then_it_waits_as_long_as_consent() -> (
    None
):
    spec = request("Release", rollout(), approval={"tier": "Approve", "quorum": 1, "expiresAfter": "4h"})
    assert (spec.version, spec.expires_after) == ("m1", "4h")
    assert spec.expect is not None
    assert spec.expect.release == 1


def test_given_a_shift_under_a_largest_step_when_asked_for_then_it_states_the_weight_that_it_saw() -> None:
    facts = releasing()
    stepped = request("ShiftTraffic", facts, {"weight": 5}, bounds={"maxStep": 10})
    assert stepped.weight == 5
    assert stepped.expect is not None
    assert (stepped.expect.release, stepped.expect.weight, stepped.expect.candidate) == (7, 10, DIGEST)
    free = request("ShiftTraffic", facts, {"weight": 5})
    assert free.expect is not None
    assert free.expect.weight is None, "a weight that moves meanwhile is no reason to refuse"


def test_given_a_skip_when_asked_for_then_it_names_the_stage() -> None:
    found = expect(permit("Skip"), releasing())
    assert found is not None
    assert (found.stage, found.candidate) == ("Traffic(10)", DIGEST)


def test_given_a_template_when_asked_for_then_it_expects_no_release_and_has_the_rule_s_parameters() -> None:
    spec = request("Retrain", releasing(), {"parameters": {"retries": "1"}}, template="train")
    assert (spec.expect, spec.parameters) == (None, {"retries": "1"})


@pytest.mark.parametrize(("reason", "expected"), [("data moved", "data moved"), ("", f"rule drifted: {RULE['when']}")])
def test_given_a_rule_when_it_asks_then_its_reason_is_said(reason: str, expected: str) -> None:
    assert request("Abort", releasing(), {"reason": reason}).reason == expected


def test_given_a_very_long_condition_when_it_asks_then_the_reason_still_fits() -> None:
    assert len(request("Abort", releasing(), {"when": "true || " * 200 + "true"}).reason) == 512


FAILED = FailedRevision(revision="r2", version="v1", release=6, reason="GateFailed", message="m")
ENDING = Ending(outcome=Outcome.ABORTED, reason="r", message="m", since=NOW)


@pytest.mark.parametrize(
    ("action", "facts", "possible"),
    [
        ("Abort", rollout(), False),
        ("Abort", releasing(), True),
        ("Abort", releasing(ending=ENDING), False),
        ("Promote", rollout(), False),
        ("ShiftTraffic", rollout(), False),
        ("Skip", releasing(), True),
        ("Retry", releasing(), False),
        ("Retry", rollout(), False),
        ("Retry", rollout(failed=[FAILED]), True),
        ("Pause", rollout(), False),
        ("Pause", releasing(pause=Pause(since=NOW)), False),
        ("Pause", releasing(), True),
        ("Resume", releasing(), False),
        ("Resume", releasing(pause=Pause(since=NOW)), True),
        ("Rollback", rollout(), True),
        ("Release", rollout(), True),
    ],
)
def test_given_a_rollout_when_an_action_makes_no_sense_then_it_is_said(
    action: str, facts: RolloutFacts, possible: bool
) -> None:
    assert (cannot(world(facts), permit(action), facts) == "") is possible


def test_given_no_version_of_a_retrain_when_a_release_is_asked_for_then_it_makes_no_sense() -> None:
    assert "no ModelVersion" in cannot(world(rollout(), made=()), permit("Release"), rollout())
    tried = rollout(candidate=version("m1"), stable=version("m0"))
    assert cannot(world(tried), permit("Release"), tried) == "", "m2 is left"


# --- Evidence --------------------------------------------------------------------------------------------------------


def test_given_a_condition_when_it_asks_then_each_signal_that_it_names_is_stated_once_with_its_digest() -> None:
    signals = {"drift": [], "weight": 10, "budget": {"spent": 0.5, "rates": [{"span": "1h", "rate": 2.0}]}, "held": "X"}
    when = (
        "size(signals.drift) == 0 && signals.weight > 5 && signals.weight < 50 && signals.budget.spent > 0.1 && "
        "signals['held'] != 'signals.phase' && has(signals.missing)"
    )
    found = evidence(when, "ranker", signals)
    assert [(e.name, e.value) for e in found] == [
        ("drift", "none"),
        ("weight", "10"),
        ("budget-spent", "0.5"),
        ("held", "X"),
    ]
    assert found[1].digest == sha256(canonical(10))
    assert {e.ref for e in found} == {"Rollout/ranker"}


def test_given_names_in_humps_when_stated_then_they_are_labels_and_values_are_cut_but_not_their_digest() -> None:
    agents = [f"agent-{number}" for number in range(100)]
    (found,) = evidence("size(signals.silentAgents) > 1", "ranker", {"silentAgents": agents})
    assert found.name == "silent-agents"
    assert len(found.value) == 253
    assert found.digest == sha256(canonical(agents))


def test_given_very_many_signals_when_stated_then_no_more_than_a_request_can_hold() -> None:
    signals = {f"s{number}": number for number in range(40)}
    when = " && ".join(f"signals.{name} >= 0" for name in signals)
    assert len(evidence(when, "ranker", signals)) == 16


def test_given_candidates_with_evaluations_when_shown_then_what_was_measured_is_told_too() -> None:
    candidate = {"name": "v2", "age": 0.5, "evaluations": [{"name": "accuracy", "value": 0.97}]}
    assert shown([candidate]) == "name=v2 age=0.5 evaluations=[name=accuracy value=0.97]"
    assert shown({**candidate, "evaluations": []}) == "name=v2 age=0.5"
