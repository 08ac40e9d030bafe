"""Guardrails: whether the API server really vouches for who asks, which consents depend on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from weir.api import API_VERSION
from weir.runtime.clock import Clock, SystemClock
from weir.runtime.errors import ApiError, Expired, Fenced, Throttled, Unauthorized, Unavailable
from weir.runtime.resources import ACTION_REQUESTS, KubeObject, Resource
from weir.workload.writes import bounded

REQUESTER_RULE = "spec.requester must be your own user name"
"""What the admission policy for ActionRequests says of a forged requester."""

FORGED = "weir.dev/nobody"
"""A user that nobody is: an ActionRequest in this name must be refused."""

EVERY = 60.0
"""Seconds between two checks of a namespace, as long as somebody asks."""

LASTS = 90.0
"""Seconds that an answer holds: long enough for the next check to end, whoever asks meanwhile."""

PATIENCE = 1.0
"""Seconds within which an answer usually comes: a decision waits so long for the first, rather than to distrust."""

_AGAIN = 5.0
"""Seconds after which a check that got no answer is made again."""

_UNCHECKED = "it is being checked whether the API server vouches for requesters"
_OPEN = (
    "the API server takes an ActionRequest in somebody else's name: Weir's admission policies are not in force "
    "in this namespace; install them (in the chart: admission.actions)"
)
_PASSING = (Unavailable, Throttled, Fenced, Expired, Unauthorized)
"""Answers that say nothing about admission."""


class Creating(Protocol):
    """What the probe needs of the API client."""

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create, or only try to."""
        ...


@dataclass
class _Known:
    """What is known of one namespace; times are on the monotonic clock."""

    problem: str | None = _UNCHECKED
    settled: bool = False
    until: float = -inf
    asked: float = -inf
    due: float = -inf
    task: asyncio.Task[None] | None = None


class AdmissionProbe:
    """Tries, without effect, to create an ActionRequest in somebody else's name; only a refusal is right.

    Checks run beside the loop, and only where somebody asks. ``woken`` is told the namespace when the answer changes.
    All methods belong to the event loop.
    """

    def __init__(self, client: Creating, woken: Callable[[str], None], clock: Clock | None = None) -> None:
        """Checks nothing yet."""
        self._client = client
        self._woken = woken
        self._clock = clock if clock is not None else SystemClock()
        self._known: dict[str, _Known] = {}

    def problem(self, namespace: str) -> str | None:
        """Why requesters in that namespace cannot be trusted, for people; None where they can.

        Starts a check when the last is old; until the first answer, and where the last one is too old, there is a
        problem: nobody is trusted on a guess.
        """
        known, now = self._known.setdefault(namespace, _Known()), self._clock.monotonic()
        if known.settled and now >= known.until:
            known.problem, known.settled = _UNCHECKED, False
        if known.task is None and now >= known.due:
            known.due, known.asked = now + EVERY, now
            known.task = asyncio.create_task(self._check(namespace, known), name=f"admission probe {namespace}")
        return known.problem

    def open(self, namespace: str) -> bool:
        """Whether the last check got through in somebody else's name."""
        known = self._known.get(namespace)
        return known is not None and known.settled and known.problem == _OPEN

    def settled(self, namespace: str) -> bool:
        """Whether ``problem`` is an answer, rather than that there is none yet."""
        known = self._known.get(namespace)
        return known is not None and known.settled

    def imminent(self, namespace: str) -> bool:
        """Whether the first answer is still to come, and was asked for only just now."""
        known = self._known.get(namespace)
        if known is None or known.settled or known.task is None:
            return False
        return self._clock.monotonic() < known.asked + PATIENCE

    async def _check(self, namespace: str, known: _Known) -> None:
        before = (known.problem, known.settled)
        try:
            known.problem, known.settled = await self._ask(namespace), True
            known.until = self._clock.monotonic() + LASTS
        except _PASSING as error:
            known.due = self._clock.monotonic() + _AGAIN
            if not known.settled:
                known.problem = bounded(
                    f"it could not be checked whether the API server vouches for requesters: {error}"
                )
        finally:
            known.task = None
        if (known.problem, known.settled) != before:
            self._woken(namespace)

    async def _ask(self, namespace: str) -> str | None:
        """The problem, if there is one. Raises ApiError where the answer says nothing."""
        try:
            await self._client.create(ACTION_REQUESTS, _forged(namespace), dry_run=True)
        except _PASSING:
            raise
        except ApiError as error:
            if REQUESTER_RULE in error.message:
                return None
            return bounded(f"it cannot be checked whether the API server vouches for requesters: {error.message}")
        return _OPEN


def _forged(namespace: str) -> KubeObject:
    return {
        "apiVersion": API_VERSION,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": "weir-admission-probe", "namespace": namespace},
        "spec": {
            "action": "Abort",
            "rolloutRef": {"name": "weir-admission-probe"},
            "reason": "checks that nobody can ask in another's name",
            "requester": FORGED,
        },
    }
