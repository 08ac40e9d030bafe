"""The ClusterAgentPolicy: it only gets a status; what it bounds is decided with each namespace's AgentPolicy."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import ValidationError

from weir.api.agentpolicy import POLICY_NAME
from weir.api.assessment import Assessment
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, ClusterAgentPolicyStatus
from weir.controller.act import SOON, Actor
from weir.controller.declarations import conditions, first_error
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.errors import NotFound
from weir.runtime.resources import AGENT_POLICIES, KubeObject, ObjectKey
from weir.runtime.telemetry import ReconcileScope


class ClusterAgentReconciler:
    """Says whether the outer bounds are accepted and enforced, and how many namespaces they bound."""

    def __init__(
        self,
        *,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        guardrails: Callable[[], str | None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``guardrails``: what is wrong with the admission policies; ``wall``: seconds since the epoch."""
        self._cache = cache
        self._guard = guard
        self._actor = actor
        self._guardrails = guardrails
        self._wall = wall

    async def __call__(self, key: ObjectKey, _scope: ReconcileScope) -> float | None:
        """One look."""
        obj = self._cache.get(*key)
        if obj is None:
            self._guard.forget(key)
            return None
        if self._guard.is_stale(key):
            return SOON
        status = self._status(obj)
        if status != (obj.get("status") or {}):
            try:
                await self._actor.status(obj, status, key.resource)
            except NotFound:
                return None
        return None

    def _status(self, obj: KubeObject) -> dict[str, object]:
        generation, now = obj["metadata"].get("generation", 1), self._wall()
        old = ClusterAgentPolicyStatus.model_validate(obj.get("status") or {})
        accepted = Assessment("Accepted", "True", "Accepted", "it bounds the AgentPolicy of every namespace")
        try:
            ClusterAgentPolicySpec.model_validate(obj["spec"])
        except ValidationError as error:
            accepted = Assessment("Accepted", "False", "InvalidSpec", first_error(error)[:1024])
        problem = self._guardrails()
        installed = Assessment("GuardrailsInstalled", "True", "Installed", "the API server enforces it")
        if problem is not None:
            installed = Assessment("GuardrailsInstalled", "False", "GuardrailsMissing", problem)
        policies = [key for key in self._cache.keys(AGENT_POLICIES) if key.name == POLICY_NAME]
        return ClusterAgentPolicyStatus(
            observed_generation=generation,
            conditions=conditions(old.conditions, [accepted, installed], generation, now),
            namespaces=len(policies),
        ).to_dict()
