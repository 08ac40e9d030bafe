"""Asking under a permit, as an agent does: a request with the name of a free slot, admitted by the API server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weir.cli import asking
from weir.cli.cluster import Cluster
from weir.cli.failure import REFUSED, CliError
from weir.runtime.resources import ACTION_REQUESTS, KubeObject
from weir.view.words import when

if TYPE_CHECKING:
    from weir.agent.headroom import Headroom
    from weir.api.agentpermit import Permit
    from weir.cli.agent_cluster import Agents
    from weir.view.model import RolloutInfo

_SLOTS = re.compile(r"name must be (?P<window>\S+-[0-9]+)-<0\.\.(?P<last>[0-9]+)>")
"""What the API server says of a name that is no slot of the present window, by its own clock."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for. ``fields``: those of the spec that belong to the action alone.

    ``expires_after``: empty is as long as people have to consent under the permit.
    """

    reason: str
    expires_after: str
    fields: Mapping[str, Any]
    evidence: Mapping[str, str]


def body(permit: Permit, info: RolloutInfo, user: str, wanted: Wanted) -> KubeObject:
    """The ActionRequest but for its name."""
    from weir.api.actionrequest import request_labels

    spec = asking.spec_of(
        {
            "action": permit.action,
            "rolloutRef": {"name": info.name},
            "permit": permit.name,
            "reason": wanted.reason,
            "requester": user or None,
            "expect": _expect(permit, info),
            "expiresAfter": wanted.expires_after or permit.approval.expires_after,
            "evidence": [{"name": name, "value": value} for name, value in wanted.evidence.items()] or None,
            **wanted.fields,
        }
    )
    return {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"namespace": info.namespace, "labels": request_labels(spec)},
        "spec": spec.to_dict(),
    }


def _expect(permit: Permit, info: RolloutInfo) -> dict[str, Any] | None:
    """Where the Rollout stands, as far as the action depends on it: agents must say what they saw."""
    if permit.template is not None:
        return None
    expect = asking.seen(permit.action, info)
    if permit.action == "ShiftTraffic":
        # By it the API server knows how large the step is, and that less traffic than now is a safe action.
        expect["weight"] = info.weight
    return expect


async def create(there: Cluster, agents: Agents, permit: Permit, made: KubeObject, *, dry_run: bool) -> KubeObject:
    """The request as the API server stored it, or would (``dry_run``), in the first slot that is free.

    Raises:
        CliError: the permit is closed or used up, or the API server refuses the request.
    """
    from weir.runtime.errors import AlreadyExists

    names, other_window = _free(agents, permit), False
    while names:
        name, *names = names
        try:
            return await asking.create(there, _named(made, name, permit), dry_run=dry_run)
        except CliError as refused:
            if name and isinstance(refused.__cause__, AlreadyExists):
                continue
            # This machine's clock is not the API server's, and the window is another one there.
            others = [] if other_window else _slots(str(refused))
            if not others:
                raise
            names, other_window = others, True
    raise CliError(f"every slot of {permit.name} was taken meanwhile; try again", REFUSED)


def _free(agents: Agents, permit: Permit) -> list[str]:
    """Names that a request may have now, the lowest slot first; an empty one stands for any.

    Raises:
        CliError: none may be made.
    """
    from weir.agent.permits import slot_name

    row = next(row for row in agents.headroom() if row.permit == permit.name)
    if row.closed:
        raise CliError(f"nobody can act under {permit.name} now: {row.closed}", REFUSED)
    if not row.usable:
        raise CliError(_used_up(row, agents.now), REFUSED)
    if row.limit is None or not row.next_name:
        return [""]
    taken = {request["metadata"]["name"] for request in agents.requests}
    return [name for slot in range(row.limit) if (name := slot_name(permit, agents.now, slot)) not in taken]


def _used_up(row: Headroom, now: float) -> str:
    again = f"; again from {when(row.resets_at, now)}" if row.resets_at is not None else ""
    return f"the budget of {row.permit} is used up: {row.used} of {row.limit}{again}"


def _named(made: KubeObject, name: str, permit: Permit) -> KubeObject:
    naming = {"name": name} if name else {"generateName": f"{permit.name}-"}
    return {**made, "metadata": {**made["metadata"], **naming}}


def _slots(refusal: str) -> list[str]:
    """Names that the API server would take, as its refusal tells them."""
    found = _SLOTS.search(refusal)
    if found is None:
        return []
    return [f"{found['window']}-{slot}" for slot in range(int(found["last"]) + 1)]
