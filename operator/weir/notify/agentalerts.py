"""What people are to be told of a namespace's agents, as a pure function of the ledger: what waits, what is done."""

from __future__ import annotations

from collections.abc import Iterator

from weir.api.agentstatus import AgentPolicyStatus, Grant, Waiting
from weir.notify.alerts import LASTING, Alert, Kind, Severity, Subject, alert, moment

APPROVAL_NEEDED = "ApprovalNeeded"
"""Reason of a request that waits for consents."""

_CALLS = {
    "WithinBlastRadius": "too much is unhealthy, so agents may only go back to safety",
    "AgentsAlive": "an agent gives no sign of life",
    "GuardrailsInstalled": "the admission policies that bound agents are not in force",
    "Accepted": "the AgentPolicy is not accepted, so what agents ask for waits or is refused",
}
"""Conditions of an AgentPolicy that call a person while they are False, and what that means."""


def agent_alerts(subject: Subject, status: AgentPolicyStatus) -> tuple[Alert, ...]:
    """Everything that is to be told of that ledger, also what surely was told before. ``subject``: the AgentPolicy."""
    waiting = (_approval(subject, entry) for entry in status.waiting if entry.reason == APPROVAL_NEEDED)
    acts = (_acts(subject, grant) for grant in status.granted if grant.notify)
    return (*waiting, *acts, *_calls(subject, status))


def _acts(policy: Subject, grant: Grant) -> Alert:
    rollout = Subject(policy.namespace, grant.rollout, policy.uid)
    facts = {"request": grant.name, "action": grant.action, "permit": grant.permit, "requester": grant.by}
    lines = [
        f"{grant.by} acts under the permit {grant.permit}, by the request {grant.name}.",
        f"To look: {rollout.command('why')}",
        f"To stop all agents of the namespace: kubectl weir agent pause --namespace {policy.namespace}",
    ]
    return alert(
        rollout,
        Kind.AGENT_ACTS,
        Severity.INFO,
        (grant.uid,),
        at=grant.since,
        title=f"{policy.namespace}/{grant.rollout}: {grant.action} by an agent",
        lines=lines,
        facts=facts,
    )


def _approval(policy: Subject, entry: Waiting) -> Alert:
    rollout = Subject(policy.namespace, entry.rollout, policy.uid)
    missing = max(0, entry.quorum - len(entry.consents))
    facts = {
        "request": entry.name,
        "action": entry.action,
        "permit": entry.permit,
        "requester": entry.by,
        "quorum": str(entry.quorum),
        "consents": str(len(entry.consents)),
        "approvalDigest": entry.digest,
        "message": entry.message,
    }
    until = ""
    if entry.until is not None:
        facts["deadline"] = moment(entry.until)
        until = f" It waits until {facts['deadline']}."
    place = f"{policy.namespace}/{entry.rollout}"
    answer = f"{entry.rollout} --request {entry.name} --namespace {policy.namespace}"
    lines = [
        f"{entry.by} asks for {entry.action} under the permit {entry.permit}, and needs {missing} of {entry.quorum} "
        f"consents.{until}",
        f'To consent: kubectl weir approve {answer} -m "REASON"',
        f'To refuse: kubectl weir deny {entry.name} --namespace {policy.namespace} -m "REASON"',
        f"To look first: {rollout.command('why')}",
    ]
    return alert(
        rollout,
        Kind.AWAITING_APPROVAL,
        Severity.WARNING,
        (entry.uid, entry.digest),
        at=entry.since,
        title=f"{place}: {entry.action} by an agent waits for approval",
        lines=lines,
        facts=facts,
    )


def _calls(subject: Subject, status: AgentPolicyStatus) -> Iterator[Alert]:
    for condition in status.conditions:
        meaning = _CALLS.get(condition.type)
        if condition.status != "False" or meaning is None:
            continue
        facts = {"condition": condition.type, "reason": condition.reason, "message": condition.message}
        since = condition.last_transition_time
        yield alert(
            subject,
            Kind.AGENTS_STOPPED,
            Severity.ERROR,
            (condition.type, moment(since)),
            at=since,
            title=f"Agents of {subject.namespace}: {meaning}",
            lines=[condition.message, f"What would help: kubectl weir agent explain --namespace {subject.namespace}"],
            facts=facts,
            lasting=LASTING,
        )
