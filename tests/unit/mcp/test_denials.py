"""Refusals in the words of the API server, and what they advise an agent to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.mcp.apiserver import denied
from weir.agent.headroom import Headroom
from weir.mcp.denial import Room, denials_of
from weir.mcp.results import Denial
from weir.runtime.errors import ApiError, error_from_response

ROOM = Room(Headroom("shift", "ShiftTraffic", "Enforce", 1, 6, 3600.0, "shift-0-1"), "digits", 0.0)


def answered(body: dict[str, Any]) -> ApiError:
    """The error that the client makes of an answer."""
    return error_from_response(body["code"], json.dumps(body).encode(), verb="POST", target="/actionrequests")


def by_policy(why: str, policy: str = "weir-permits") -> Denial:
    """What a program is told of an admission policy's refusal."""
    [denial] = denials_of(answered(denied(policy, why).body()), ROOM)
    return denial


@pytest.mark.parametrize(
    "rule",
    [
        "Paused",
        "NamespacePaused",
        "ClusterPaused",
        "PolicyDeleted",
        "NoSubject",
        "NoPermit",
        "SubjectNotPermitted",
        "RolloutNotPermitted",
        "ManualOnly",
        "OuterAction",
    ],
)
def test_given_a_refusal_that_only_people_can_lift_when_it_is_told_then_the_advice_is_not_to_repeat_it(
    rule: str,
) -> None:
    denial = by_policy(f"{rule}: so it is in namespace 'team'")
    assert (denial.rule, denial.retry_after) == (rule, None)
    assert denial.advice == "Only people can change that; do not repeat it."


@pytest.mark.parametrize("rule", ["MaxStep", "ExpectRelease", "ParameterBeyond", "ActionNotPermitted"])
def test_given_a_refusal_that_the_agent_can_mend_when_it_is_told_then_the_advice_is_to_correct_it(rule: str) -> None:
    assert by_policy(f"{rule}: spec.weight is too much").advice.startswith("Correct it")


@pytest.mark.parametrize("policy", ["weir-outer-bounds", "weir-permits"])
def test_given_a_policy_that_must_be_there_and_is_not_when_it_is_told_then_the_rule_says_so(policy: str) -> None:
    why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    denial = by_policy(why, policy)
    assert (denial.rule, denial.policy) == ("PolicyMissing", policy)
    assert "do not repeat it" in denial.advice


def test_given_a_namespace_that_is_being_deleted_when_it_is_told_then_it_is_no_lack_of_rights() -> None:
    why = "unable to create new content in namespace team because it is being terminated"
    cause = {"reason": "NamespaceTerminating", "message": "namespace team is being terminated"}
    body = {
        "kind": "Status",
        "status": "Failure",
        "code": 403,
        "reason": "Forbidden",
        "message": f'actionrequests.weir.dev "x" is forbidden: {why}',
        "details": {"causes": [{**cause, "field": "metadata.namespace"}]},
    }
    [denial] = denials_of(answered(body), ROOM)
    assert (denial.rule, denial.retry_after) == ("NamespaceEnding", None)
    assert denial.advice == "The namespace is being deleted. Only people can change that; do not repeat it."
