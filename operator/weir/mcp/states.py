"""Actions, and what is left to ask for, as the tools tell of them."""

from __future__ import annotations

from typing import cast

from weir.agent.headroom import Headroom, tokens
from weir.agent.permits import allows
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import Waiting
from weir.api.base import format_time
from weir.cli.agent_cluster import Agents
from weir.cli.failure import CliError
from weir.mcp.caller import Caller, Identity
from weir.mcp.denial import seconds_until
from weir.mcp.reading import moment
from weir.mcp.results import (
    MOST,
    ActionLine,
    ActionState,
    BlockFact,
    ConditionFact,
    HeadroomResult,
    ParameterFact,
    PermitRoom,
    Phase,
    quoted,
)
from weir.runtime.errors import Forbidden
from weir.runtime.resources import KubeObject
from weir.view.read import Node

_OPEN = ("New", "Pending", "Running")


def ended(request: KubeObject) -> bool:
    """Whether an ActionRequest has a final result."""
    return _phase(Node(request)) not in _OPEN


def state_of(request: KubeObject, agents: Agents | None) -> ActionState:
    """What became of an ActionRequest; with ``agents`` also what it waits for."""
    node = Node(request)
    uid, phase, action = node.text("metadata", "uid"), _phase(node), node.text("spec", "action")
    objects = [f"{made.text('kind')}/{made.text('name')}" for made in node.items("status", "created")]
    found = [w for w in agents.status.waiting if w.uid == uid] if agents is not None and phase in _OPEN else []
    waiting: Waiting | None = found[0] if found else None
    until = waiting.until if waiting is not None else None
    return ActionState(
        namespace=node.text("metadata", "namespace"),
        name=node.text("metadata", "name"),
        uid=uid,
        action=action,
        rollout=node.text("spec", "rolloutRef", "name"),
        permit=node.text("spec", "permit"),
        phase=phase,
        ended=phase not in _OPEN,
        waits_for=waiting.reason if waiting is not None else "",
        retry_after=seconds_until(until, agents.now) if until is not None and agents is not None else None,
        quorum=waiting.quorum if waiting is not None else 0,
        consents=len(waiting.consents) if waiting is not None else 0,
        digest=node.text("status", "digest"),
        created_at=moment(node.time("metadata", "creationTimestamp")),
        completed_at=moment(node.time("status", "completedAt")),
        made=objects if action != "Reallocate" else [],
        changed=objects if action == "Reallocate" else [],
        untrusted=quoted(
            message=node.text("status", "message"),
            waiting=waiting.message if waiting is not None else "",
            consents_by=[consent.by for consent in waiting.consents] if waiting is not None else (),
            reason=node.text("spec", "reason"),
            requester=node.text("spec", "requester"),
        ),
    )


async def ledger(caller: Caller, namespace: str) -> Agents | None:
    """What the AgentPolicy says of its requests; None where there is none, or it may not be read."""
    try:
        return await caller.agents(namespace, Identity("", caller.clock.now().timestamp()))
    except (CliError, Forbidden):
        return None


async def room(caller: Caller, namespace: str, permit: str) -> HeadroomResult:
    """What may be asked for now: under one permit, or under all.

    Raises:
        CliError: there is no AgentPolicy, or no such permit in it.
        ApiError: the API server does not answer, or refuses.
    """
    identity = await caller.identity()
    agents = await caller.agents(namespace, identity)
    wanted = {agents.permit(permit).name} if permit else {p.name for p in agents.policy.permits}
    permits = {p.name: p for p in agents.policy.permits} | dict(agents.in_force.permits)
    return HeadroomResult(
        namespace=agents.namespace,
        at=format_time(agents.now),
        operator_silent=agents.operator_silent,
        outer_hidden=agents.outer_hidden,
        stopped=agents.stopped(),
        tokens=tokens(agents.policy, agents.status, agents.now),
        permits=[
            _permit(row, permits[row.permit], agents.policy, identity)
            for row in agents.headroom()
            if row.permit in wanted
        ],
        own_open=_own(agents, identity.user),
        conditions=[
            ConditionFact(type=c.type, status=c.status, reason=c.reason, untrusted=quoted(message=c.message))
            for c in agents.status.conditions
        ],
    )


def _permit(row: Headroom, permit: Permit, policy: AgentPolicySpec, identity: Identity) -> PermitRoom:
    now, used_up = identity.now, row.left == 0 and row.resets_at is not None
    return PermitRoom(
        permit=row.permit,
        action=row.action,
        mine=allows(policy, permit, identity.user),
        usable=row.usable,
        mode=row.mode,
        used=row.used,
        limit=row.limit,
        remaining=row.left,
        resets_at=moment(row.resets_at),
        retry_after=seconds_until(row.resets_at, now) if used_up and row.resets_at is not None else None,
        tier=row.tier,
        quorum=row.quorum,
        rollouts=list(row.rollouts) or None,
        max_step=permit.bounds.max_step if permit.bounds is not None else None,
        max_traffic_percent=permit.bounds.max_traffic_percent if permit.bounds is not None else None,
        parameters=[
            ParameterFact(name=p.name, minimum=p.minimum, maximum=p.maximum, values=p.values, default=p.default)
            for p in permit.parameters or ()
        ]
        or None,
        evidence=permit.evidence,
        blocked=[
            BlockFact(
                rollout=entry.rollout,
                action=entry.action,
                reason=entry.reason,
                until=format_time(entry.until),
                retry_after=seconds_until(entry.until, now),
            )
            for entry in row.blocked[:MOST]
        ],
        closed=row.closed,
    )


def _own(agents: Agents, user: str) -> list[ActionLine]:
    mine = [node for node in map(Node, agents.requests) if user and node.text("spec", "requester") == user]
    return [
        ActionLine(
            name=node.text("metadata", "name"),
            permit=node.text("spec", "permit"),
            action=node.text("spec", "action"),
            rollout=node.text("spec", "rolloutRef", "name"),
            phase=_phase(node),
        )
        for node in mine
        if _phase(node) in _OPEN
    ][:MOST]


def _phase(request: Node) -> Phase:
    return cast(Phase, request.text("status", "phase") or "New")
