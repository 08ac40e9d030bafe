"""What people are told: what is new in the ledger, each thing once."""

from __future__ import annotations

from weir.agent.conditions import BLAST_RADIUS, GUARDRAILS, condition
from weir.agent.turn import Turn
from weir.api.agentstatus import AgentPolicyStatus, Grant


def tell(turn: Turn, new: AgentPolicyStatus) -> None:
    """Notes for everything by which the new status differs from the old one."""
    old = turn.old
    _conditions(turn, new)
    asked = {entry.uid for entry in old.waiting if entry.asked_since is not None}
    for entry in new.waiting:
        if entry.reason == "ApprovalNeeded" and entry.uid not in asked:
            told = f"{entry.by} asks for {entry.action}: {entry.message}"
            turn.note("ApprovalNeeded", told, warning=True, rollout=entry.rollout, request=entry.name)
    known = {entry.uid for entry in old.granted}
    for grant in new.granted:
        if grant.uid not in known:
            _granted(turn, grant)
    refused = {entry.uid for entry in old.denied}
    for denied in new.denied:
        request = turn.requests.get(denied.uid)
        if denied.uid not in refused and request is not None:
            told = f"{request.spec.action} for {request.spec.requester} is refused: {denied.message}"
            name = request.spec.rollout_ref.name
            turn.note("RequestDenied", told, warning=True, rollout=name, request=denied.name)
    seen = {(entry.name, entry.reason, entry.trial) for entry in old.shadow_denials}
    for shadow in new.shadow_denials:
        if (shadow.name, shadow.reason, shadow.trial) not in seen:
            who = "the policy on trial" if shadow.trial else "the policy, were it enforced,"
            turn.note("ShadowDenied", f"{who} would have stopped {shadow.name}: {shadow.message}", request=shadow.name)


def _granted(turn: Turn, grant: Grant) -> None:
    request = turn.requests.get(grant.uid)
    what = f"{grant.action} for {grant.by} under the permit {grant.permit}"
    if grant.consents:
        people = ", ".join(grant.approved_by)
        told = f"{what}, with the consent of {people}"
        turn.note("ApprovalGranted", told, rollout=grant.rollout, request=grant.name)
    elif grant.notify:
        reason = f": {request.spec.reason}" if request is not None else ""
        turn.note("AgentActs", f"{what}{reason}", rollout=grant.rollout, request=grant.name)


def _conditions(turn: Turn, new: AgentPolicyStatus) -> None:
    """People are called when automation stops, or nothing guards it, and told when that is over."""
    for kind, bad, good in (
        (BLAST_RADIUS, "BlastRadiusExceeded", "BlastRadiusRestored"),
        (GUARDRAILS, "GuardrailsMissing", "GuardrailsInstalled"),
    ):
        before, after = condition(turn.old.conditions, kind), condition(new.conditions, kind)
        if after is None or (before.status if before is not None else "True") == after.status:
            continue
        failed = after.status != "True"
        turn.note(bad if failed else good, after.message, warning=failed)
