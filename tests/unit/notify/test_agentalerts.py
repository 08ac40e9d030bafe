"""What a ledger tells people: requests that wait for them, and agents that are stopped."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.agentstatus import AgentConsent, AgentPolicyStatus, Grant, Waiting
from weir.api.base import Condition
from weir.notify.agentalerts import agent_alerts
from weir.notify.alerts import LASTING, Kind, Severity, Subject

NOW = 1_800_000_000.0
POLICY = Subject("team", "agents", "policy-uid")


def waiting(**changes: Any) -> Waiting:
    fields = {
        "uid": "u",
        "name": "go-494-0",
        "permit": "go",
        "action": "Promote",
        "rollout": "digits",
        "by": "system:serviceaccount:team:tuner",
        "reason": "ApprovalNeeded",
        "message": "needs 2 consents",
        "since": NOW,
        "until": NOW + 3600,
        "digest": "sha256:abc",
        "quorum": 2,
        "consents": [AgentConsent(by="ada", at=NOW, request="yes", generation=1)],
        **changes,
    }
    return Waiting(**fields)


def condition(kind: str, status: Any = "False", since: float = NOW) -> Condition:
    return Condition(type=kind, status=status, last_transition_time=since, reason="Because", message="it is so")


def test_given_a_request_that_needs_consent_then_people_are_told_how_to_give_and_refuse_it() -> None:
    [alert] = agent_alerts(POLICY, AgentPolicyStatus(waiting=[waiting()]))

    assert (alert.kind, alert.severity, alert.at) == (Kind.AWAITING_APPROVAL, Severity.WARNING, NOW)
    assert alert.subject == Subject("team", "digits", "policy-uid")
    assert "needs 1 of 2 consents" in alert.text
    assert "kubectl weir approve digits --request go-494-0 --namespace team" in alert.text
    assert "kubectl weir deny go-494-0 --namespace team" in alert.text
    assert alert.facts["deadline"] == "2027-01-15T09:00:00Z"
    assert (alert.facts["request"], alert.facts["approvalDigest"]) == ("go-494-0", "sha256:abc")


def test_given_one_more_consent_then_it_is_the_same_alert_and_another_request_is_another() -> None:
    def ident(entry: Waiting) -> str:
        return agent_alerts(POLICY, AgentPolicyStatus(waiting=[entry]))[0].id

    assert ident(waiting()) == ident(waiting(consents=[], message="needs 2"))
    assert ident(waiting()) != ident(waiting(uid="v"))


@pytest.mark.parametrize("reason", ["Cooldown", "Busy", "GuardrailsMissing"])
def test_given_a_request_that_waits_for_something_else_then_nobody_is_told(reason: str) -> None:
    assert agent_alerts(POLICY, AgentPolicyStatus(waiting=[waiting(reason=reason)])) == ()


@pytest.mark.parametrize("kind", ["WithinBlastRadius", "AgentsAlive", "GuardrailsInstalled", "Accepted"])
def test_given_agents_that_are_stopped_then_a_person_is_called_once_it_lasts(kind: str) -> None:
    [alert] = agent_alerts(POLICY, AgentPolicyStatus(conditions=[condition(kind), condition("Ready")]))
    assert (alert.kind, alert.severity, alert.lasting) == (Kind.AGENTS_STOPPED, Severity.ERROR, LASTING)
    assert alert.wait
    assert "it is so" in alert.text
    assert "kubectl weir agent explain --namespace team" in alert.text
    [later] = agent_alerts(POLICY, AgentPolicyStatus(conditions=[condition(kind, since=NOW + 60)]))
    assert later.id != alert.id


def granted(**changes: Any) -> Grant:
    fields = {
        "uid": "u",
        "name": "again-494-0",
        "permit": "again",
        "action": "Retry",
        "rollout": "digits",
        "by": "system:serviceaccount:team:tuner",
        "digest": "sha256:abc",
        "since": NOW,
        "until": NOW + 300,
        "generation": 1,
        **changes,
    }
    return Grant(**fields)


def test_given_a_grant_of_the_tier_notify_then_people_are_told_once_and_how_to_stop_agents() -> None:
    [alert] = agent_alerts(POLICY, AgentPolicyStatus(granted=[granted(notify=True), granted(uid="v")]))

    assert (alert.kind, alert.severity, alert.at, alert.wait) == (Kind.AGENT_ACTS, Severity.INFO, NOW, False)
    assert alert.subject == Subject("team", "digits", "policy-uid")
    assert alert.title == "team/digits: Retry by an agent"
    assert "kubectl weir agent pause --namespace team" in alert.text
    assert alert.facts["request"] == "again-494-0"
    [renewed] = agent_alerts(POLICY, AgentPolicyStatus(granted=[granted(notify=True, until=NOW + 600)]))
    assert renewed.id == alert.id


@pytest.mark.parametrize("status", ["True", "Unknown"])
def test_given_conditions_that_hold_then_nobody_is_told(status: str) -> None:
    assert agent_alerts(POLICY, AgentPolicyStatus(conditions=[condition("AgentsAlive", status)])) == ()


def test_given_a_policy_that_is_not_accepted_then_what_follows_is_told_and_one_that_is_narrowed_calls_nobody() -> None:
    [alert] = agent_alerts(POLICY, AgentPolicyStatus(conditions=[condition("Accepted")]))
    assert alert.title == (
        "Agents of team: the AgentPolicy is not accepted, so what agents ask for waits or is refused"
    )
    narrowed = condition("Accepted", "True").model_copy(update={"reason": "Narrowed"})
    assert agent_alerts(POLICY, AgentPolicyStatus(conditions=[narrowed])) == ()


def test_given_a_text_of_an_agent_then_it_cannot_fake_a_line() -> None:
    [alert] = agent_alerts(POLICY, AgentPolicyStatus(waiting=[waiting(by="eve\x1b[2K\u202e")]))
    assert "\x1b" not in alert.text
    assert "\u202e" not in alert.text
