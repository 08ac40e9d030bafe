"""Everything of the operator that deals with agents, put together."""

from __future__ import annotations

from collections.abc import Callable

from weir.api.agentpolicy import POLICY_NAME
from weir.controller.act import Actor
from weir.controller.agentact import AgentActor
from weir.controller.agentcluster import ClusterAgentReconciler
from weir.controller.agentlive import AgentLive
from weir.controller.agentmetrics import AgentMetrics
from weir.controller.agentobserve import AgentObserver
from weir.controller.agents import AgentReconciler
from weir.controller.contractbook import ContractBook
from weir.controller.guardrailcheck import GuardrailCheck
from weir.controller.settings import Settings
from weir.notify.notifier import Notifier
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.events import EventWriter
from weir.runtime.metrics import Metrics
from weir.runtime.resources import (
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    MODEL_VERSIONS,
    ObjectKey,
    Resource,
)


class AgentControl:
    """Reconciles AgentPolicies (``policy``) and the ClusterAgentPolicy (``cluster``); ``run`` it beside the loop."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        book: ContractBook,
        notifier: Notifier,
        settings: Settings,
        metrics: Metrics,
        missing: Callable[[], frozenset[Resource]],
        add: Callable[[ObjectKey], None],
    ) -> None:
        """``missing``: kinds that are not served; ``add``: puts an object in line."""
        self._cache = cache
        self._add = add
        shown = AgentMetrics(metrics.registry)
        self._check = GuardrailCheck(
            client, settings.guardrails, self.wake, shown=shown.guardrails.set, namespaces=settings.namespaces
        )
        live = AgentLive(client)
        agents = AgentActor(
            client=client,
            cache=cache,
            guard=guard,
            actor=actor,
            live=live,
            events=EventWriter(client, controller="weir.dev/agents", instance=settings.identity, metrics=metrics),
            # What comes of a Retrain is a ModelVersion.
            kinds=(*settings.template_kinds, MODEL_VERSIONS.qualified_name),
        )
        self.policy = AgentReconciler(
            cache=cache,
            guard=guard,
            observer=AgentObserver(
                cache,
                book,
                lambda: self._check.problem,
                missing=missing,
                outer_required=settings.require_cluster_policy,
            ),
            live=live,
            actor=actor,
            agents=agents,
            notifier=notifier,
            metrics=shown,
            # A decision that takes guardrails for missing refuses what was asked for meanwhile.
            ready=lambda: self._check.settled,
        )
        self.cluster = ClusterAgentReconciler(
            cache=cache, guard=guard, actor=actor, guardrails=lambda: self._check.problem
        )

    def wake(self) -> None:
        """Every policy is looked at again."""
        for resource in (AGENT_POLICIES, CLUSTER_AGENT_POLICIES):
            for key in self._cache.keys(resource):
                if key.name == POLICY_NAME:
                    self._add(key)

    async def run(self) -> None:
        """Looks after the guardrails until cancelled."""
        await self._check.run()
