"""Detects that somebody keeps undoing what Weir writes, so that the fight is named and stopped instead of fought."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from weir.api.modelversion import sha256
from weir.release.observation import Problem
from weir.runtime.resources import KubeObject, Resource
from weir.workload.writes import Write, bounded

_Key = tuple[Resource, str, str]


@dataclass
class Contest:
    """Counts repairs: writes of the very content that was written before. A converged object needs none.

    ``limit`` repairs within ``window`` seconds are a fight; it is over when ``window`` seconds passed without another.
    In memory only: after a restart a fight is found again as quickly. Not for concurrent use of one object.
    """

    clock: Callable[[], float]
    limit: int = 3
    window: float = 60.0
    _last: dict[_Key, str] = field(default_factory=dict)
    _repairs: defaultdict[_Key, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def wrote(self, write: Write) -> None:
        """Note a write that succeeded."""
        key, content = _key(write), sha256(json.dumps(write.body, sort_keys=True, default=str))
        if self._last.get(key) == content:
            self._repairs[key].append(self.clock())
        else:
            # Another content is progress: shares that move on are no fight.
            self._repairs.pop(key, None)
        self._last[key] = content

    def contested(self, write: Write) -> bool:
        """Whether this object is being fought over, so that it should be left alone for now."""
        repairs = self._repairs.get(_key(write))
        if not repairs:
            return False
        while repairs and repairs[0] <= self.clock() - self.window:
            repairs.popleft()
        return len(repairs) >= self.limit

    def forget(self, write: Write) -> None:
        """Drop what is known of an object that is gone."""
        self._last.pop(_key(write), None)
        self._repairs.pop(_key(write), None)


def _key(write: Write) -> _Key:
    return (write.resource, write.namespace, write.name)


def other_managers(obj: KubeObject, own: str, *path: str) -> tuple[str, ...]:
    """Field managers but ``own`` that hold the field at ``path``, such as "spec", "rules"; the latest first.

    ``obj`` must be fresh from the API server: cached objects carry no managedFields.
    """
    holders: list[tuple[str, str]] = []
    for entry in obj["metadata"].get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        for part in path:
            fields = fields.get(f"f:{part}") if isinstance(fields, dict) else None
            if fields is None:
                break
        else:
            if entry.get("manager") != own:
                holders.append((str(entry.get("time", "")), f"{entry.get('manager')} ({entry.get('operation')})"))
    return tuple(name for _, name in sorted(holders, reverse=True))


def conflict_problem(obj: KubeObject, write: Write, *path: str) -> Problem:
    """Who else writes the field, as a problem that tells the way out."""
    who = ", ".join(other_managers(obj, write.manager, *path)) or "somebody who does not say"
    field_name = ".".join(path)
    return Problem(
        "RouteConflict",
        bounded(
            f"{write.resource.kind} {write.name}: {field_name} is also written by {who}; let only one of the two do so"
        ),
    )
