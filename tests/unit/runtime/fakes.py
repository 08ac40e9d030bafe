"""A clock that tests own, and an API server small enough to reason about."""

import asyncio
import copy
import datetime
import itertools
from collections.abc import Callable
from typing import Any

from weir.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from weir.runtime.resources import KubeObject, ObjectKey, Resource


async def settle() -> None:
    """Let every task run that can run now."""
    for _ in range(30):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], seconds: float = 3.0) -> None:
    """Return once `condition` holds; TimeoutError after `seconds` of real time."""
    async with asyncio.timeout(seconds):
        # What is waited for happens in another process or library, which sets no event of ours.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class FakeClock:
    """Time that stands still until a test advances it."""

    def __init__(self, wall_offset: float = 0.0, shared: "FakeClock | None" = None) -> None:
        self._elapsed = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._shared = shared
        self.wall_offset = wall_offset

    def monotonic(self) -> float:
        return self._shared.monotonic() if self._shared else self._elapsed

    def now(self) -> datetime.datetime:
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return start + datetime.timedelta(seconds=self.monotonic() + self.wall_offset)

    async def sleep(self, seconds: float) -> None:
        if self._shared:
            await self._shared.sleep(seconds)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + max(0.0, seconds), next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Go forward, waking sleepers in the order of their deadlines and letting each run."""
        await settle()
        end = self._elapsed + seconds
        while due := sorted(entry for entry in self._sleepers if entry[0] <= end and not entry[2].done()):
            deadline, _, future = due[0]
            self._sleepers = [entry for entry in self._sleepers if entry[2] is not future and not entry[2].done()]
            self._elapsed = max(self._elapsed, deadline)
            future.set_result(None)
            await settle()
        self._elapsed = end
        await settle()


class FakeStore:
    """Objects with resourceVersions; `outage` makes every call fail or hang."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, KubeObject] = {}
        self.writes: list[tuple[str, KubeObject]] = []
        self.outage: ApiError | None = None
        self.hang: asyncio.Event | None = None
        self._versions = itertools.count(1)

    async def _arrive(self) -> None:
        await asyncio.sleep(0)
        if self.hang is not None:
            await self.hang.wait()
        if self.outage is not None:
            raise self.outage

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        await self._arrive()
        key = ObjectKey(resource, namespace or "", name)
        if key not in self.objects:
            raise NotFound(name, status=404)
        return copy.deepcopy(self.objects[key])

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        await self._arrive()
        key = ObjectKey(resource, body["metadata"].get("namespace") or "", body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists(key.name, status=409)
        return self._store("create", key, copy.deepcopy(body))

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: KubeObject,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
    ) -> KubeObject:
        await self._arrive()
        key = ObjectKey(resource, namespace or "", name)
        stored = copy.deepcopy(self.objects[key])
        if resource_version not in {None, stored["metadata"]["resourceVersion"]}:
            raise Conflict(name, status=409)
        _merge(stored, patch)
        return self._store("patch", key, stored)

    def _store(self, verb: str, key: ObjectKey, obj: KubeObject) -> KubeObject:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[key] = obj
        self.writes.append((verb, copy.deepcopy(obj)))
        return copy.deepcopy(obj)


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for field, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(field), dict):
            _merge(target[field], value)
        else:
            target[field] = value
