"""What a decision is: the status to remember, the cluster to bring about, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from weir.api.action import HandledRequest
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import RolloutStatus


@dataclass(frozen=True)
class PoolIntent:
    """A pool that should exist with that many replicas. ``render``: its pods may be created from the current spec."""

    pool: str
    version: str
    revision: str
    replicas: int
    render: bool


@dataclass(frozen=True)
class Collect:
    """Which arms to gather evidence for: counts before ``since`` (seconds since the epoch) are ignored.

    ``stable`` is None where the stage gives stable no traffic. ``key`` changes with every stage, so that evidence of
    one stage or release never reaches another. ``judging`` is False while only the observed share is of interest.
    ``release`` is its number. Without a ``candidate`` there is none to count yet: only stable's noise is measured.
    """

    key: str
    candidate: str
    stable: str | None
    since: float
    judging: bool
    release: int = 0


@dataclass(frozen=True)
class RequestResult:
    """Result to write into an ActionRequest; ``handled`` is None while it is Pending. ``digest``: of its spec."""

    uid: str
    name: str
    phase: Literal["Pending", "Succeeded", "Refused", "Expired"]
    message: str
    handled: HandledRequest | None = None
    digest: str = ""


@dataclass(frozen=True)
class Desired:
    """The cluster that the decision wants. Applying it twice, or half and then again, ends in the same place."""

    finalizer: bool = True
    pools: tuple[PoolIntent, ...] = ()
    remove: tuple[str, ...] = ()
    """Pools to delete: without traffic, drained and scaled to zero."""
    weights: tuple[tuple[str, int], ...] | None = None
    """(pool, percent) in fixed order, stable first; None leaves the route alone."""
    warm_up: str | None = None
    """Pool whose pods get warm-up requests."""
    synthetic: str | None = None
    """Pool that gets synthetic preview traffic."""
    preview: str | None = None
    """Pool that the preview Service and hostname show."""
    collect: Collect | None = None
    record: RolloutRecordSpec | None = None
    results: tuple[RequestResult, ...] = ()


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event to write once: ``key`` makes it unique within the Rollout."""

    reason: str
    message: str
    key: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """Result of ``decide``: ``wake_at`` (seconds since the epoch) is when to decide again if nothing else happens."""

    status: RolloutStatus
    desired: Desired
    wake_at: float | None = None
    events: tuple[Event, ...] = field(default_factory=tuple)
