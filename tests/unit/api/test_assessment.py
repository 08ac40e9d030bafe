"""What is said of policies by reading them alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from tests.api.cases import edited
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.assessment import assess_agent_policy


def _policy(changes: dict[str, Any] | None = None) -> tuple[str, str, str, str]:
    (found,) = assess_agent_policy(AgentPolicySpec.model_validate(edited(good.POLICY_FULL, changes or {})))
    return found


def test_given_a_consistent_policy_then_it_is_accepted_and_says_what_is_not_enforced() -> None:
    kind, status, reason, message = _policy({"paused": True})

    assert (kind, status, reason) == ("Accepted", "True", "SchemaOnly")
    assert message == (
        "accepted, but not enforced yet: subjects, actions, selector, exploration, concurrency, damping, loop, "
        "blastRadius, fallback, override, rules, paused"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"actions.1.approval": {"tier": "ManualOnly"}},
            "spec.rules[drift].action: Rollback is ManualOnly, so no rule can ask for it",
        ),
        (
            {"actions.0.bounds.maxStep": 60},
            "spec.actions[Promote].bounds.maxStep: 60 is more than maxTrafficPercent 50",
        ),
        (
            {"actions.0.cooldown": {"base": "2h"}},
            "spec.actions[Promote].cooldown.base: longer than budget.window, so the budget is never used",
        ),
    ],
)
def test_given_an_inconsistent_policy_then_the_field_is_named(changes: dict[str, Any], message: str) -> None:
    assert _policy(changes) == ("Accepted", "False", "Inconsistent", message)


def test_given_very_many_problems_then_the_message_still_fits_a_condition() -> None:
    forbidden = {**good.POLICY_FULL["actions"][1], "approval": {"tier": "ManualOnly"}}
    rule = good.POLICY_FULL["rules"][0]
    many = [{**rule, "name": f"rule-{i}"} for i in range(32)]

    status, message = _policy({"actions.1": forbidden, "rules": many})[1::2]

    assert status == "False"
    assert len(message) == 1024
