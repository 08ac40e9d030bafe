"""Asking for an action: simulate it, propose it, look at it, withdraw it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from weir.agent.permits import slot_name, window
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.api.agentpermit import Permit
from weir.cli.agent_cluster import Agents
from weir.mcp.caller import Caller, Identity
from weir.mcp.denial import Denied, Room, budget_used_up, denials_of, forbidden_outside
from weir.mcp.proposal import Proposal, any_name, body_of, spec_of, withdrawal_of
from weir.mcp.results import ActionState, Denial, Simulated
from weir.mcp.states import ended, ledger, state_of
from weir.runtime.errors import AlreadyExists, Forbidden, Invalid, NotFound, Unavailable
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

_MOST_TRIES = 32
"""Names that are tried: so many others would have to be faster, one after the other."""
_LOOK_AGAIN = 1.0
"""Seconds between two looks at an action that is waited for."""
_LATER = (
    "The API server would accept it. Before it is executed, the operator checks it again: preconditions, evidence, "
    "consent of people, and what else is in flight. A simulation reserves nothing."
)


@dataclass(frozen=True)
class _Asked:
    """A proposal that has been read: by whom, under which permit, at which time of the API server.

    ``permit``: as strict as the outer bounds, as far as they are known.
    """

    identity: Identity
    agents: Agents
    permit: Permit
    spec: ActionRequestSpec

    @property
    def room(self) -> Room:
        """What is left under the permit now."""
        row = next(row for row in self.agents.headroom() if row.permit == self.permit.name)
        return Room(row, self.spec.rollout_ref.name, self.agents.now)

    def at(self, now: float) -> _Asked:
        """The same at a later time."""
        return replace(self, agents=replace(self.agents, now=now))

    def without(self, name: str) -> _Asked:
        """The same, now that somebody else has a request of that name."""
        other: KubeObject = {"metadata": {"name": name}}
        return replace(self, agents=replace(self.agents, requests=(*self.agents.requests, other)))


async def simulate(caller: Caller, namespace: str, proposal: Proposal) -> Simulated:
    """What the API server says to the proposal in a dry run, through the real admission policies.

    Raises:
        CliError: there is no such permit, or no AgentPolicy.
        ApiError: the API server does not answer.
    """
    asked = await _read(caller, namespace, proposal)
    row = asked.room.row
    denials: tuple[Denial, ...] = ()
    name = _free_name(asked)
    if name is None:
        denials = (_no_name(asked),)
    else:
        body = body_of(asked.spec, name, asked.agents.namespace)
        try:
            await caller.client.create(ACTION_REQUESTS, body, dry_run=True)
        except AlreadyExists:
            pass  # Somebody took the name meanwhile: admission, which comes first, has let it pass.
        except (Forbidden, Invalid) as error:
            denials = denials_of(error, asked.room)
    return Simulated(
        allowed=not denials,
        action=asked.permit.action,
        tier=row.tier,
        quorum=row.quorum,
        remaining=row.left,
        outer_hidden=asked.agents.outer_hidden,
        denials=list(denials),
        note="" if denials else _LATER,
    )


async def propose(caller: Caller, namespace: str, proposal: Proposal) -> ActionState:
    """Create the ActionRequest, in the first slot of the budget that is free.

    Raises:
        Denied: the API server refused it, no slot is free, or the outer bounds leave nothing of the permit.
        CliError: there is no such permit, or no AgentPolicy.
        ApiError: the API server does not answer; nothing was stored as far as can be seen.
    """
    asked = await _read(caller, namespace, proposal)
    started, renewed = caller.clock.monotonic(), False
    for _ in range(_MOST_TRIES):
        name = _free_name(asked)
        if name is None:
            raise Denied(_no_name(asked))
        try:
            return state_of(await _stored(caller, body_of(asked.spec, name, asked.agents.namespace)), asked.agents)
        except AlreadyExists:
            asked = asked.without(name)
        except (Forbidden, Invalid) as error:
            # The API server tells whole seconds: it may be one later there than we think.
            now = asked.identity.now + caller.clock.monotonic() - started + 1
            if renewed or window(asked.permit, now).number == window(asked.permit, asked.agents.now).number:
                raise Denied(*denials_of(error, asked.room)) from error
            asked, renewed = asked.at(now), True
    raise Denied(Denial(rule="Contention", retry_after=5, advice="Too many ask at once. Wait, then ask again."))


async def look(caller: Caller, namespace: str, name: str, wait_seconds: float) -> ActionState:
    """The action as it is now, or once it has ended within ``wait_seconds``.

    Raises:
        ApiError: there is none, or the API server does not answer.
    """
    until = caller.clock.monotonic() + wait_seconds
    while True:
        found = await _get(caller, namespace, name)
        left = until - caller.clock.monotonic()
        if ended(found) or left <= 0:
            return state_of(found, await ledger(caller, namespace))
        await caller.clock.sleep(min(left, _LOOK_AGAIN))


async def withdraw(caller: Caller, namespace: str, name: str, reason: str) -> ActionState:
    """Ask that one's own action is not executed; the answer is the request that says so.

    Raises:
        Denied: it has ended.
        ApiError: there is none, it is somebody else's, or the API server does not answer.
    """
    identity, found = await asyncio.gather(caller.identity(), _get(caller, namespace, name))
    if ended(found):
        raise Denied(
            Denial(
                rule="Ended", advice="It has ended: there is nothing left to withdraw. See get_action for its result."
            )
        )
    spec = withdrawal_of(found, identity.user, reason)
    body = body_of(spec, any_name("withdraw", name), found["metadata"]["namespace"])
    return state_of(await _stored(caller, body), None)


async def _read(caller: Caller, namespace: str, proposal: Proposal) -> _Asked:
    identity = await caller.identity()
    agents = await caller.agents(namespace, identity)
    permit = agents.permit(proposal.permit)
    permit = agents.in_force.permits.get(permit.name, permit)
    caused_by = None
    if proposal.caused_by is not None:
        cause = await _get(caller, namespace, proposal.caused_by)
        caused_by = (cause["metadata"]["name"], cause["metadata"]["uid"])
    return _Asked(identity, agents, permit, spec_of(proposal, permit, identity.user, caused_by))


def _free_name(asked: _Asked) -> str | None:
    """A name for the request: the first free slot of the budget, or any where there is none; None: there is none."""
    permit, known = asked.permit, asked.agents.in_force
    if permit.name in known.forbidden:
        return None
    if permit.budget is None:
        return any_name(asked.spec.rollout_ref.name, permit.action)
    gone = {request["metadata"]["name"] for request in asked.agents.requests}
    most = permit.budget.limit
    if (permit.mode or asked.agents.policy.mode) == "Audit":
        # There a budget refuses nothing, and slots beyond its limit are only told; but the outer bounds hold.
        outer = known.outermost[permit.name].budget
        most = outer.limit if outer is not None else most + len(gone) + 1
    names = (slot_name(permit, asked.agents.now, slot) for slot in range(most))
    return next((name for name in names if name not in gone), None)


def _no_name(asked: _Asked) -> Denial:
    """Why no name is left: the API server need not be asked, and would let pass what the operator must refuse."""
    forbidden = asked.permit.name in asked.agents.in_force.forbidden
    return forbidden_outside(asked.room) if forbidden else budget_used_up(asked.room)


async def _stored(caller: Caller, body: KubeObject) -> KubeObject:
    """The request as it is stored now; a lost answer is looked up rather than asked for again."""
    try:
        return await caller.client.create(ACTION_REQUESTS, body)
    except Unavailable:
        try:
            found = await caller.client.get(ACTION_REQUESTS, body["metadata"]["name"], body["metadata"]["namespace"])
        except NotFound:
            found = None
        if found is None or not _same(found, body):
            raise
        return found


def _same(found: KubeObject, body: KubeObject) -> bool:
    digests = {action_digest(ActionRequestSpec.model_validate(request["spec"])) for request in (found, body)}
    return len(digests) == 1


async def _get(caller: Caller, namespace: str, name: str) -> KubeObject:
    return await caller.client.get(ACTION_REQUESTS, name, caller.cluster(namespace).namespace)
