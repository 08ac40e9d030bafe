"""Who the agent is for the API server, what time it is there, and what the agent may see."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from weir.api.base import parse_time
from weir.cli.agent_cluster import Agents, agents
from weir.cli.cluster import Cluster, Where
from weir.runtime.client import KubeClient
from weir.runtime.clock import Clock, SystemClock, micro_time
from weir.runtime.errors import ApiError
from weir.runtime.resources import LEASES, Resource

FIELD_MANAGER = "weir-mcp"
BEAT = 10.0
"""Seconds between two signs of life at least."""

_LOG = logging.getLogger(__name__)
_WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)


@dataclass(frozen=True)
class Identity:
    """Who asks, and when: ``now`` in seconds since the epoch by the API server's clock, which budgets go by."""

    user: str
    now: float


class Caller:
    """The API server as the agent's own credentials see it. What was read is not kept between two calls."""

    def __init__(self, client: KubeClient, where: Where, clock: Clock | None = None, *, heartbeat: str = "") -> None:
        """See the API server through ``client``.

        Args:
            client: with the agent's credentials.
            where: the namespace that is meant where a call names none.
            clock: for waiting, and for signs of life.
            heartbeat: Lease of that namespace that each call renews; empty is none.
        """
        self.client = client
        self.where = where
        self.clock = clock if clock is not None else SystemClock()
        self._heartbeat = heartbeat
        self._renewed = float("-inf")

    def cluster(self, namespace: str) -> Cluster:
        """What can be read in that namespace; empty is the agent's own."""
        return Cluster(self.client, replace(self.where, namespace=namespace or self.where.namespace))

    async def identity(self) -> Identity:
        """Who the API server takes us for.

        Raises:
            ApiError: it does not answer, or does not accept the credentials.
        """
        body = {"apiVersion": _WHO_AM_I.api_version, "kind": _WHO_AM_I.kind, "metadata": {}}
        answer = await self.client.create(_WHO_AM_I, body)
        told = (answer.get("metadata") or {}).get("creationTimestamp")
        user = ((answer.get("status") or {}).get("userInfo") or {}).get("username")
        return Identity(str(user or ""), parse_time(told) if told else self.clock.now().timestamp())

    async def alive(self) -> None:
        """The agent's sign of life: renew its Lease, unless that was done a moment ago. Never fails."""
        now = self.clock.monotonic()
        if not self._heartbeat or now - self._renewed < BEAT:
            return
        self._renewed = now
        patch = {"spec": {"renewTime": micro_time(self.clock.now())}}
        try:
            await self.client.merge_patch(LEASES, self._heartbeat, patch, self.where.namespace)
        except ApiError as error:
            _LOG.warning("cannot renew the Lease %s: %s", self._heartbeat, error)

    async def agents(self, namespace: str, identity: Identity) -> Agents:
        """The AgentPolicy of the namespace with what was asked for under it, at the API server's time.

        Raises:
            CliError: there is none, or it cannot be read.
            ApiError: the API server does not answer, or refuses.
        """
        return replace(await agents(self.cluster(namespace)), now=identity.now)
