"""ActionRequests that no Rollout answers: those without one, those nobody can read, and those long finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import ValidationError

from weir.api.action import Action
from weir.api.actionrequest import ActionRequestSpec, ActionRequestStatus, action_digest
from weir.api.base import parse_time, seconds
from weir.controller.act import SOON, Actor
from weir.controller.declarations import first_error
from weir.controller.metrics import ReleaseMetrics
from weir.controller.observe import GRACE, answered_by, finished
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import Conflict, NotFound
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject, ObjectKey, Resource
from weir.runtime.telemetry import ReconcileScope

_LAG = 5.0
"""Seconds that the watches may be behind, and that clocks may differ."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a request: a status to write, or its deletion, or another look after ``again`` seconds."""

    status: ActionRequestStatus | None = None
    delete: bool = False
    again: float | None = None


def fate(request: KubeObject, rollout: KubeObject | None, now: float, keep_for: float) -> Fate:
    """What becomes of a request now. ``now`` in seconds since the epoch.

    ``rollout`` has the name that the request gives; finished ones are kept for ``keep_for`` seconds, 0 is for ever.
    """
    created = parse_time(request["metadata"]["creationTimestamp"])
    if finished(request):
        ended = (request.get("status") or {}).get("completedAt")
        return _until(parse_time(ended) if ended else created, keep_for, now) if keep_for else Fate()
    try:
        spec = ActionRequestSpec.model_validate(request["spec"])
    except ValidationError as error:
        return _ended("Refused", first_error(error), "", now)
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


def _until(since: float, length: float, now: float) -> Fate:
    due = since + length
    return Fate(delete=True) if now >= due else Fate(again=due - now)


def _ended(phase: Literal["Refused", "Expired"], message: str, digest: str, now: float) -> Fate:
    told = message[:1024]
    return Fate(status=ActionRequestStatus(phase=phase, message=told, completed_at=round(now, 3), digest=digest))


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
        if request["metadata"].get("deletionTimestamp") or ROLLOUTS in self._missing():
            return None
        name = str((request["spec"].get("rolloutRef") or {}).get("name") or "")
        found = fate(request, self._cache.get(ROLLOUTS, key.namespace, name), self._wall(), self._keep_for)
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
