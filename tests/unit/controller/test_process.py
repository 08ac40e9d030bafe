"""The operator process as it is put together."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.unit.controller.agentworld import SCOPE
from tests.unit.controller.test_agentstanding import grant, policy, request, rollout
from weir.controller.agentobserve import NO_OUTER, Live
from weir.controller.main import Process
from weir.controller.settings import Settings
from weir.runtime.client import KubeClient
from weir.runtime.errors import Unavailable
from weir.runtime.metrics import Metrics
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    ROLLOUTS,
    ObjectKey,
    Resource,
)


class Away:
    """An API server that does not answer."""

    fence: Any = None

    async def get(self, *_: Any) -> Any:
        raise Unavailable("away")


@pytest.mark.parametrize(
    ("required", "missing", "told"),
    [("false", frozenset(), ""), ("true", frozenset(), NO_OUTER), ("false", {CLUSTER_AGENT_POLICIES}, "not serve")],
    ids=["free", "required", "not-served"],
)
def test_given_outer_bounds_that_are_required_or_not_served_then_decisions_know(
    required: str, missing: frozenset[Resource], told: str
) -> None:
    settings = Settings.from_environment({"WEIR_REQUIRE_CLUSTER_POLICY": required})
    process = Process(settings, cast(KubeClient, Away()), cast(Any, None), Metrics())
    process.source.missing = frozenset(missing)
    found = process.agents.policy._observer.observe(policy(), Live()).outer_broken
    assert (told in found, bool(found)) == (True, bool(told))


@pytest.mark.parametrize(
    ("action", "looked", "again"),
    [("Promote", None, 5.0), ("Promote", 60.0, 5.0), ("Promote", 0.0, 0.0), ("Abort", 60.0, 60.0)],
)
async def test_given_a_grant_that_cannot_be_confirmed_then_the_rollout_is_looked_at_and_soon_again(
    monkeypatch: pytest.MonkeyPatch, action: str, looked: float | None, again: float
) -> None:
    process = Process(Settings.from_environment({}), cast(KubeClient, Away()), cast(Any, None), Metrics())
    granted = policy(granted=[grant(action=action, rollout="digits", name="stop-1-0")])
    process.cache.put(ROLLOUTS, rollout())
    process.cache.put(AGENT_POLICIES, granted)
    process.cache.put(ACTION_REQUESTS, request(permit="stop", action=action))

    async def look(*_: Any) -> float | None:
        return looked

    monkeypatch.setattr(process, "_rollouts", look)
    assert await process.controllers[ROLLOUTS]._reconcile(ObjectKey(ROLLOUTS, "team", "digits"), SCOPE) == again
