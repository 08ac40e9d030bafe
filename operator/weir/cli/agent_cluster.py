"""What a namespace's agents may do and have asked for, as the cluster has it."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from weir.cli.cluster import Cluster, not_installed
from weir.cli.failure import REFUSED, CliError, told
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    KubeObject,
    Resource,
)

if TYPE_CHECKING:
    from weir.agent.effective import Effective
    from weir.agent.headroom import Headroom
    from weir.api.agentpermit import Permit
    from weir.api.agentpolicy import AgentPolicySpec
    from weir.api.agentstatus import AgentPolicyStatus, EffectivePermit
    from weir.api.base import ApiModel, Condition
    from weir.api.clusteragentpolicy import ClusterAgentPolicySpec

    M = TypeVar("M", bound=ApiModel)

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_SHOWN = 8
_NOTHING = "nothing: "
"""So the operator begins the summary of a permit that the outer bounds forbid."""
_NARROWED = re.compile(
    r"\b(?P<part>bounds|budget|approval)(?:\.(?P<field>maxStep|maxTrafficPercent|limit|tier|quorum))? is (?P<value>\w+)"
    r"(?: in (?P<window>\w+))?"
)
"""What the operator says that the outer bounds made stricter: fields of the permit, and what each is now."""
_QUORUM = re.compile(r"with the consent of (?P<quorum>\d+)")


@dataclass(frozen=True)
class Agents:
    """An AgentPolicy and what belongs to it.

    ``outer`` is None where there is no ClusterAgentPolicy, or where it may not be read: then ``outer_hidden``.
    ``namespace_paused`` is None where the namespace may not be read. ``requests``: ActionRequests of the namespace.
    ``leases``: those of the operators, as far as they may be read. ``now``: seconds since the epoch.
    """

    namespace: str
    generation: int
    policy: AgentPolicySpec
    status: AgentPolicyStatus
    outer: ClusterAgentPolicySpec | None = None
    outer_hidden: bool = False
    namespace_paused: bool | None = False
    requests: tuple[KubeObject, ...] = ()
    leases: tuple[KubeObject, ...] = ()
    now: float = 0.0

    def headroom(self) -> list[Headroom]:
        """What is left of each permit."""
        from weir.agent.headroom import headroom

        names = [request["metadata"]["name"] for request in self.requests]
        known, stopped = self.in_force, self.stopped()
        permits = [known.permits.get(own.name, own) for own in self.policy.permits]
        policy = self.policy.model_copy(update={"permits": permits})
        rows = headroom(policy, self.status, names, self.now, outer=self.outer)
        return [replace(row, closed=stopped or known.forbidden.get(row.permit) or row.closed) for row in rows]

    @property
    def in_force(self) -> Effective:
        """The policy as strict as the outer bounds; where those are hidden, as the operator wrote it down last."""
        from weir.agent.effective import effective

        known = effective(self.policy, self.outer)
        if not self.outer_hidden or self.status.observed_generation != self.generation:
            return known
        told = {entry.name: entry for entry in self.status.effective if entry.narrowed}
        forbidden = {name: entry.narrowed for name, entry in told.items() if entry.summary.startswith(_NOTHING)}
        return replace(
            known,
            permits={name: _narrowed(p, told.get(name)) for name, p in known.permits.items() if name not in forbidden},
            forbidden=forbidden,
            outermost={name: _narrowed(permit, told.get(name)) for name, permit in known.outermost.items()},
        )

    def stopped(self) -> str:
        """Which kill switch is on; empty where none is. Of one that may not be read the operator's word is taken."""
        from weir.agent.headroom import stopped

        seen = stopped(self.policy, self.outer, namespace_paused=bool(self.namespace_paused))
        if seen or not (self.outer_hidden or self.namespace_paused is None):
            return seen
        ready = self.says("Ready")
        return ready.message if ready is not None and ready.reason == "Paused" else ""

    @property
    def silent_since(self) -> float | None:
        """When an operator last gave a sign of life, if that is too long ago."""
        from weir.view.model import unled_since

        return unled_since(self.leases, self.now)

    @property
    def operator_silent(self) -> bool | None:
        """Whether that is too long ago; None where it cannot be told, such as without the right to read Leases."""
        from weir.view.model import operator_silent

        return operator_silent(self.leases, self.now)

    def says(self, condition: str) -> Condition | None:
        """The condition, if it is False and about the policy as it is now."""
        current = self.status.conditions if self.status.observed_generation == self.generation else ()
        return next((c for c in current if (c.type, c.status) == (condition, "False")), None)

    def permit(self, name: str) -> Permit:
        """The permit of that name.

        Raises:
            CliError: there is none; says what could have been meant.
        """
        found = next((permit for permit in self.policy.permits if permit.name == name), None)
        if found is None:
            raise CliError(_no_such("permit", name, [p.name for p in self.policy.permits], "in the AgentPolicy"))
        return found


async def agents(there: Cluster) -> Agents:
    """The agents of the namespace.

    Raises:
        CliError: there is no AgentPolicy, or it cannot be read.
    """
    from weir.api.agentpolicy import PAUSED_LABEL, AgentPolicySpec
    from weir.api.agentstatus import AgentPolicyStatus

    found = await policy(there)
    (outer, hidden), labels = await _outer(there), await _labels(there)
    return Agents(
        namespace=there.namespace,
        generation=int(found["metadata"].get("generation") or 0),
        policy=_read(AgentPolicySpec, found, "spec"),
        status=_read(AgentPolicyStatus, found, "status"),
        outer=outer,
        outer_hidden=hidden,
        namespace_paused=None if labels is None else labels.get(PAUSED_LABEL) == "paused",
        requests=tuple(await requests(there)),
        leases=tuple(await there.leases()),
        now=time.time(),
    )


async def policy(there: Cluster) -> KubeObject:
    """The AgentPolicy as it is stored.

    Raises:
        CliError: there is none.
    """
    from weir.api.agentpolicy import POLICY_NAME
    from weir.runtime.errors import NotFound

    try:
        return await there.client.get(AGENT_POLICIES, POLICY_NAME, there.namespace)
    except NotFound:
        raise CliError(await _no_policy(there)) from None


async def ledger(there: Cluster) -> AgentPolicyStatus | None:
    """What the operator has decided about requests; None where there is no policy, or it may not be read."""
    from weir.api.agentpolicy import POLICY_NAME
    from weir.runtime.errors import Forbidden, NotFound

    with suppress(Forbidden, NotFound):
        return ledger_of(await there.client.get(AGENT_POLICIES, POLICY_NAME, there.namespace))
    return None


def ledger_of(found: KubeObject) -> AgentPolicyStatus:
    """Status of an AgentPolicy.

    Raises:
        CliError: it cannot be read.
    """
    from weir.api.agentstatus import AgentPolicyStatus

    return _read(AgentPolicyStatus, found, "status")


async def set_paused(there: Cluster, found: KubeObject, paused: bool) -> KubeObject:
    """Throw the switch of an AgentPolicy or of the ClusterAgentPolicy.

    Raises:
        CliError: one may not; says who may, and what else stops agents.
    """
    from weir.runtime.errors import Forbidden

    outer = found.get("kind") == CLUSTER_AGENT_POLICIES.kind
    resource = CLUSTER_AGENT_POLICIES if outer else AGENT_POLICIES
    namespace = None if outer else there.namespace
    try:
        return await there.client.merge_patch(
            resource, found["metadata"]["name"], {"spec": {"paused": paused}}, namespace
        )
    except Forbidden as error:
        whose = "the platform's administrators" if outer else "admins of the namespace (ClusterRole admin)"
        raise CliError(f"{told(error)}; {whose} may throw this switch", REFUSED) from error


async def outer_policy(there: Cluster, *, paused: bool) -> KubeObject:
    """The ClusterAgentPolicy as it is stored, to be paused or not.

    Raises:
        CliError: there is none; says what else does that.
    """
    from weir.api.agentpolicy import PAUSED_LABEL, POLICY_NAME
    from weir.runtime.errors import NotFound

    try:
        return await there.client.get(CLUSTER_AGENT_POLICIES, POLICY_NAME)
    except NotFound:
        label = "kubectl label namespaces --all"
        if paused:
            way = f"to stop the agents of all namespaces now: {label} --overwrite {PAUSED_LABEL}=paused"
        else:
            way = f"if a label has stopped the agents of all namespaces: {label} {PAUSED_LABEL}-"
        raise CliError(f"there is no ClusterAgentPolicy, which has this switch; {way}") from None


async def requests(there: Cluster) -> list[KubeObject]:
    """All ActionRequests of the namespace; none where they may not be read."""
    from weir.runtime.errors import Forbidden, NotFound

    with suppress(Forbidden, NotFound):
        return (await there.client.list(ACTION_REQUESTS, there.namespace)).items
    return []


async def request_of(there: Cluster, name: str) -> KubeObject:
    """The ActionRequest of that name.

    Raises:
        CliError: there is none, or it is none of an agent.
    """
    from weir.runtime.errors import NotFound

    try:
        found = await there.client.get(ACTION_REQUESTS, name, there.namespace)
    except NotFound:
        names = [r["metadata"]["name"] for r in await requests(there) if (r.get("spec") or {}).get("permit")]
        raise CliError(_no_such("ActionRequest", name, names, f"in namespace {there.namespace}")) from None
    if not (found.get("spec") or {}).get("permit"):
        raise CliError(
            f"{name} was not asked for under a permit, so nobody has to agree to it; "
            "see the requests of agents with: kubectl weir agent actions",
            REFUSED,
        )
    return found


async def _outer(there: Cluster) -> tuple[ClusterAgentPolicySpec | None, bool]:
    """The outer bounds, and whether they may not be read."""
    from weir.api.agentpolicy import POLICY_NAME
    from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
    from weir.runtime.errors import Forbidden, NotFound

    try:
        found = await there.client.get(CLUSTER_AGENT_POLICIES, POLICY_NAME)
    except NotFound:
        return None, False
    except Forbidden:
        return None, True
    return _read(ClusterAgentPolicySpec, found, "spec"), False


async def _labels(there: Cluster) -> dict[str, str] | None:
    """Labels of the namespace; None where it may not be read."""
    from weir.runtime.errors import Forbidden, NotFound

    try:
        found = await there.client.get(NAMESPACES, there.namespace)
    except NotFound:
        return {}
    except Forbidden:
        return None
    return dict(found["metadata"].get("labels") or {})


def _narrowed(permit: Permit, told: EffectivePermit | None) -> Permit:
    """The permit with what the outer bounds made stricter, as the operator says; they may not be read themselves."""
    if told is None:
        return permit
    given = permit.to_dict()
    for found in _NARROWED.finditer(told.narrowed):
        value, part = found["value"], given.setdefault(found["part"], {})
        part[found["field"] or "limit"] = int(value) if value.isdecimal() else value
        if found["window"]:
            part["window"] = found["window"]
    if "approval." in told.narrowed:
        # Of a tier and a quorum that are both new, only the tier is told there.
        quorum = _QUORUM.search(told.summary)
        given["approval"].pop("quorum", None)
        given["approval"] |= {"tier": "Approve", "quorum": int(quorum["quorum"])} if quorum is not None else {}
    return type(permit).model_validate(given)


async def _no_policy(there: Cluster) -> str:
    from weir.runtime.errors import ApiError, NotFound

    missing = f"no AgentPolicy in namespace {there.namespace}, so agents may ask for nothing there"
    try:
        places = sorted(i["metadata"]["namespace"] for i in (await there.client.list(AGENT_POLICIES)).items)
    except NotFound:
        return not_installed(there.where)
    except ApiError:
        places = []
    return f"{missing}; there is one in {', '.join(places[:_SHOWN])}: use -n {places[0]}" if places else missing


def _read(model: type[M], found: KubeObject, part: str) -> M:
    from pydantic import ValidationError

    try:
        return model.model_validate(found.get(part) or {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in (part, *first["loc"]))
        raise CliError(f"the {found.get('kind', 'AgentPolicy')} cannot be read: {place}: {first['msg']}") from None


def _no_such(what: str, name: str, there: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    missing = f"no {what} {name!r} {where}"
    if near:
        return f"{missing}; did you mean {' or '.join(near)}?"
    return f"{missing}; there is {', '.join(sorted(there)[:_SHOWN])}" if there else missing
