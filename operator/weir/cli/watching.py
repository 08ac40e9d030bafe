"""Staying with a Rollout while it changes: a live view on a terminal, a line for each change in a pipe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import typer

from weir.cli.cluster import Cluster, refers_to
from weir.cli.failure import CliError
from weir.cli.following import Followed, Following
from weir.cli.printing import Printer
from weir.runtime.resources import (
    ACTION_REQUESTS,
    LEASES,
    MODEL_VERSIONS,
    OPERATOR_LEASE,
    ROLLOUTS,
    KubeObject,
)
from weir.view.model import RolloutInfo

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

T = TypeVar("T")
R = TypeVar("R")
S_contra = TypeVar("S_contra", contravariant=True)

_TICK = 1.0
"""Seconds after which times in a view are old, without any change."""
_SHORTEST = 0.2
"""Seconds between two redraws at least."""


class Painter(Protocol[S_contra]):
    """Shows a state."""

    def paint(self, state: S_contra, trouble: str) -> None:
        """Show it; ``trouble``: why it may be old."""


class LivePainter(AbstractContextManager["LivePainter[T]"], Generic[T]):
    """Draws over what it drew before."""

    def __init__(self, printer: Printer, draw: Callable[[T], RenderableType]) -> None:
        self._printer, self._draw = printer, draw
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(console=self._printer.console(), auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def paint(self, state: T, trouble: str) -> None:
        """Draw it, and the trouble below."""
        from rich.console import Group
        from rich.text import Text

        drawn = self._draw(state)
        if self._live is not None:
            self._live.update(Group(drawn, Text(trouble, style="yellow")) if trouble else drawn, refresh=True)


class LinePainter(AbstractContextManager["LinePainter[T]"], Generic[T]):
    """Prints what differs from last time, part by part."""

    def __init__(
        self,
        parts: Callable[[T], dict[str, Any]],
        write: Callable[[T, str], None],
        gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is printed yet.

        Args:
            parts: what is compared, by key.
            write: told about each key that is new or differs.
            gone: told about each key that is not there any more.
        """
        self._parts, self._write, self._gone = parts, write, gone
        self._known: dict[str, Any] = {}
        self._trouble = ""

    def __exit__(self, *_error: object) -> None:
        """Nothing to undo."""

    def paint(self, state: T, trouble: str) -> None:
        """Print what changed."""
        if trouble != self._trouble:
            typer.echo(trouble or "the connection is back", err=True)
        self._trouble = trouble
        parts = self._parts(state)
        for key, value in parts.items():
            if self._known.get(key) != value:
                self._write(state, key)
        for key in self._known.keys() - parts.keys():
            self._gone(key)
        self._known = parts


async def stay(
    following: Following,
    look: Callable[[], T],
    painter: Painter[T],
    done: Callable[[T], R | None],
    seconds: float | None,
) -> R | None:
    """Show every state until one is done; None after so many seconds (None: never)."""
    ends = time.monotonic() + seconds if seconds is not None else None
    while True:
        state = look()
        painter.paint(state, following.trouble)
        over = done(state)
        if over is not None:
            return over
        left = ends - time.monotonic() if ends is not None else _TICK
        if left <= 0:
            return None
        await asyncio.sleep(min(left, _SHORTEST))
        await following.change(min(left, _TICK) - _SHORTEST)


def follow(cluster: Cluster, name: str = "", *, everywhere: bool = False, request: str = "") -> Following:
    """Follows one Rollout, or all of the namespace or the cluster, and what belongs to them.

    ``request``: of the ActionRequests only this one.
    """
    namespace = "" if everywhere else cluster.namespace
    wanted = [
        Followed(ROLLOUTS, namespace, name),
        Followed(ACTION_REQUESTS, namespace, request, optional=True),
        Followed(MODEL_VERSIONS, namespace, optional=True),
        Followed(LEASES, "", OPERATOR_LEASE, optional=True),
    ]
    return Following(cluster.client, wanted)


def info_of(
    rollout: KubeObject,
    requests: Sequence[KubeObject] = (),
    versions: Sequence[KubeObject] = (),
    records: Sequence[KubeObject] = (),
    leases: Sequence[KubeObject] = (),
) -> RolloutInfo:
    """The view of a Rollout now; of the other objects those of its namespace are taken."""
    namespace, name = rollout["metadata"].get("namespace"), rollout["metadata"]["name"]

    def near(objects: Sequence[KubeObject]) -> list[KubeObject]:
        return [o for o in objects if o["metadata"].get("namespace") == namespace]

    mine = [r for r in near(requests) if refers_to(r, name)]
    return RolloutInfo.of(
        rollout, requests=mine, records=records, versions=near(versions), now=time.time(), leases=leases
    )


def current(following: Following, name: str) -> RolloutInfo:
    """The view of the one Rollout that is followed.

    Raises:
        CliError: it is gone.
    """
    rollout = following.find(ROLLOUTS, name)
    if rollout is None:
        raise CliError(f"Rollout {name} was deleted", 1)
    requests, versions = following.objects(ACTION_REQUESTS), following.objects(MODEL_VERSIONS)
    return info_of(rollout, requests, versions, leases=following.objects(LEASES))


def every(following: Following) -> list[RolloutInfo]:
    """Views of all Rollouts that are followed."""
    requests, versions = following.objects(ACTION_REQUESTS), following.objects(MODEL_VERSIONS)
    leases = following.objects(LEASES)
    return [info_of(rollout, requests, versions, leases=leases) for rollout in following.objects(ROLLOUTS)]
