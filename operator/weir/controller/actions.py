"""ActionRequests that nobody else answers: those without a Rollout, those nobody can read, and those long finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import ValidationError

from weir.api.action import Action
from weir.api.actionrequest import ActionRequestSpec, ActionRequestStatus, Made, action_digest
from weir.api.agentpolicy import POLICY_NAME
from weir.api.base import parse_time, seconds
from weir.controller.act import SOON, Actor
from weir.controller.agentstanding import NO_POLICY, answered_by_policy, in_force
from weir.controller.declarations import first_error
from weir.controller.metrics import ReleaseMetrics
from weir.controller.observe import GRACE, answered_by, finished
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import Conflict, NotFound
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, ROLLOUTS, KubeObject, ObjectKey, Resource
from weir.runtime.telemetry import ReconcileScope

_LAG = 5.0
"""Seconds that the watches may be behind, and that clocks may differ."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a request: a status to write, or its deletion, or another look after ``again`` seconds."""

    status: ActionRequestStatus | None = None
    delete: bool = False
    again: float | None = None


def fate(
    request: KubeObject, rollout: KubeObject | None, now: float, keep_for: float, policy: KubeObject | None = None
) -> Fate:
    """What becomes of a request now. ``now`` in seconds since the epoch.

    ``rollout`` has the name that the request gives, ``policy`` is the AgentPolicy of its namespace; finished ones are
    kept for ``keep_for`` seconds (0 is for ever), and at least as long as their names count for a budget.
    """
    created = parse_time(request["metadata"]["creationTimestamp"])
    if finished(request):
        ended = (request.get("status") or {}).get("completedAt")
        since = parse_time(ended) if ended else created
        return _until(max(since + keep_for, created + _counts_for(request, policy)), now) if keep_for else Fate()
    try:
        spec = ActionRequestSpec.model_validate(request["spec"])
    except ValidationError as error:
        return _ended("Refused", first_error(error), "", now)
    if answered_by_policy(request):
        return Fate() if in_force(policy) else _abandoned(request, action_digest(spec), now)
    if answered_by(rollout, request):
        return Fate()
    expires = max(created, spec.not_before or created) + seconds(spec.expires_after)
    if now >= expires:
        return _ended("Expired", f"not executed within {spec.expires_after}", action_digest(spec), now)
    patience = created + GRACE + _LAG
    if now < patience:
        return Fate(again=min(expires, patience) - now)
    name = spec.rollout_ref.name
    told = f"there is no Rollout named {name} in this namespace"
    if rollout is not None:
        told = f"the Rollout {name} was created after this request; if you mean it, create a new request"
    return _ended("Refused", told, action_digest(spec), now)


def _counts_for(request: KubeObject, policy: KubeObject | None) -> float:
    """Seconds from its creation for which the name of an agent's request keeps another from taking its slot."""
    named = request["spec"].get("permit")
    if named is None or policy is None:
        return 0.0
    spec = policy["spec"]
    permits = [*(spec.get("permits") or ()), *((spec.get("trial") or {}).get("permits") or ())]
    budgets = [permit.get("budget") for permit in permits if permit.get("name") == named]
    return max((seconds(budget.get("window", "1h")) for budget in budgets if budget), default=0.0)


def _until(due: float, now: float) -> Fate:
    return Fate(delete=True) if now >= due else Fate(again=due - now)


def _abandoned(request: KubeObject, digest: str, now: float) -> Fate:
    """There is no policy that would answer; what a template made stays, and the request says what that is."""
    status = request.get("status") or {}
    if status.get("phase") != "Running":
        return _ended("Refused", NO_POLICY, digest, now)
    created = [Made.model_validate(made) for made in status.get("created") or ()]
    what = f"{created[0].kind} {created[0].name}" if created else "what it made"
    return _ended("Failed", f"the AgentPolicy is gone; {what} goes on, and nobody follows it", digest, now, created)


def _ended(
    phase: Literal["Refused", "Expired", "Failed"], message: str, digest: str, now: float, created: Sequence[Made] = ()
) -> Fate:
    ended = ActionRequestStatus(
        phase=phase,
        message=message[:1024],
        completed_at=round(now, 3),
        digest=digest,
        created=list(created) or None,
    )
    return Fate(status=ended)


class RequestReconciler:
    """Writes only requests that no Rollout answers; those that one does are written by its reconciler alone."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        metrics: ReleaseMetrics,
        missing: Callable[[], frozenset[Resource]],
        keep_for: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``keep_for``: seconds that finished requests are kept, 0 for ever; ``wall``: seconds since the epoch."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._actor = actor
        self._metrics = metrics
        self._missing = missing
        self._keep_for = keep_for
        self._wall = wall

    async def __call__(self, key: ObjectKey, _scope: ReconcileScope) -> float | None:
        """One look; returns the seconds until time alone changes anything."""
        request = self._cache.get(ACTION_REQUESTS, key.namespace, key.name)
        if request is None:
            self._guard.forget(key)
            return None
        if self._guard.is_stale(key):
            return SOON
        if request["metadata"].get("deletionTimestamp") or {ROLLOUTS, AGENT_POLICIES} & self._missing():
            return None
        name = str((request["spec"].get("rolloutRef") or {}).get("name") or "")
        rollout = self._cache.get(ROLLOUTS, key.namespace, name)
        policy = self._cache.get(AGENT_POLICIES, key.namespace, POLICY_NAME)
        found = fate(request, rollout, self._wall(), self._keep_for, policy)
        if found.status is not None:
            with suppress(NotFound):
                await self._actor.status(request, found.status.to_dict(), ACTION_REQUESTS)
                self._metrics.request_ended(key.namespace, _action(request), str(found.status.phase))
        elif found.delete:
            with suppress(NotFound, Conflict):  # it is gone, or another has its name now
                await self._client.delete(ACTION_REQUESTS, key.name, key.namespace, uid=request["metadata"]["uid"])
            self._guard.forget(key)
        return found.again


def _action(request: KubeObject) -> str:
    asked = str(request["spec"].get("action") or "")
    return asked if asked in get_args(Action) else "unknown"
