"""What no watch shows: the Leases that agents renew, and the objects that templates made, of any kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from weir.api.agentpolicy import AgentPolicySpec
from weir.api.base import parse_time, seconds
from weir.runtime.client import KubeClient
from weir.runtime.clock import Clock, SystemClock
from weir.runtime.errors import ApiError, Forbidden, NotFound
from weir.runtime.resources import LEASES, SELF_SUBJECT_REVIEWS, KubeObject, Resource

_log = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds that what was read counts as new: a policy that is looked at often must not burden the API server."""

_KINDS_LAST = 600.0
"""Seconds that the API server's answer about a kind counts."""

_UNNAMED = 60.0
"""Seconds after which the API server is asked again for the operator's own name."""

READ_WITHIN = 5.0
"""Seconds for everything that one look reads: what cannot be read by then must not stop the ledger."""

GONE_AFTER = 5.0
"""Seconds after which an object that was made is missed for good: an API server that starts denies what is there."""

Made = tuple[str, str, str]
"""apiVersion, kind and name of an object in the policy's namespace."""


class UnknownKind(Exception):
    """The API server serves no such namespaced kind; the message says so to people."""


@dataclass
class _Read:
    """One object as it was read last; None where it does not exist. ``at`` is on the monotonic clock."""

    obj: KubeObject | None
    at: float


@dataclass
class _Beat:
    """A Lease's last renewal as its holder says, and when another resourceVersion was first seen."""

    version: str
    seen: float


@dataclass
class _Space:
    """What was read in one namespace."""

    objects: dict[Made, _Read] = field(default_factory=dict)
    missed: dict[Made, float] = field(default_factory=dict)
    """Since when the API server says that there is no such object, on the monotonic clock."""
    beats: dict[str, _Beat] = field(default_factory=dict)


def owners(obj: Mapping[str, Any]) -> set[str]:
    """UIDs of those that an object belongs to."""
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []}


class AgentLive:
    """Reads single objects. All methods belong to the event loop."""

    def __init__(self, client: KubeClient, clock: Clock | None = None) -> None:
        """Has read nothing yet."""
        self._client = client
        self._clock = clock if clock is not None else SystemClock()
        self._spaces: dict[str, _Space] = {}
        self._kinds: dict[str, tuple[float, dict[str, Resource]]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._identity = ""
        self._asks_at = -inf

    async def identity(self) -> str:
        """User name of the operator itself; empty where the API server does not tell. Raises ApiError."""
        if not self._identity and self._clock.monotonic() >= self._asks_at:
            try:
                answer = await self._client.create(SELF_SUBJECT_REVIEWS, {"metadata": {}, **_KIND})
                self._identity = str(answer["status"]["userInfo"]["username"])
            except (Forbidden, NotFound) as error:
                _log.warning("the operator's own user name is not known: %s", error)
                self._asks_at = self._clock.monotonic() + _UNNAMED
        return self._identity

    # --- Leases ---

    async def heartbeats(self, namespace: str, policy: AgentPolicySpec | None) -> dict[str, float | None]:
        """Last renewal (seconds since the epoch) of each Lease that the fallback names.

        A renewal that its holder dates into the future counts from when it was seen: an agent's clock must not keep it
        alive. While a Lease cannot be read, time stands still for it: what was read last counts.

        Raises:
            ApiError: one cannot be read, and never was.
        """
        fallback = policy.fallback if policy is not None else None
        patience: dict[str, float] = {}
        for silent in (fallback.on_agent_silent or ()) if fallback is not None else ():
            patience[silent.lease] = min(seconds(silent.after), patience.get(silent.lease, inf))
        beats = await asyncio.gather(*(self._heartbeat(namespace, name, after) for name, after in patience.items()))
        return dict(zip(patience, beats, strict=True))

    async def _heartbeat(self, namespace: str, name: str, after: float) -> float | None:
        space, made = self._spaces.setdefault(namespace, _Space()), (LEASES.api_version, LEASES.kind, name)
        try:
            async with asyncio.timeout(READ_WITHIN if made in space.objects else None):
                beat = self._beat(namespace, name, await self._lease(namespace, made))
                if self._clock.now().timestamp() >= (beat or 0.0) + after:
                    # Nobody is called silent for what was read a moment ago.
                    beat = self._beat(namespace, name, await self._lease(namespace, made, anew=True))
        except (ApiError, TimeoutError) as error:
            last = space.objects.get(made)
            if last is None:
                raise
            _log.warning("the Lease %s/%s cannot be read now: %s", namespace, name, _why(error))
            beat = self._beat(namespace, name, last.obj)
            return None if beat is None else beat + self._clock.monotonic() - last.at
        return beat

    def _beat(self, namespace: str, name: str, lease: KubeObject | None) -> float | None:
        renewed = ((lease or {}).get("spec") or {}).get("renewTime")
        if lease is None or not renewed:
            return None
        beats, version = self._spaces.setdefault(namespace, _Space()).beats, str(lease["metadata"]["resourceVersion"])
        beat = beats.get(name)
        if beat is None or beat.version != version:
            beat = beats[name] = _Beat(version, self._clock.now().timestamp())
        return min(parse_time(renewed), beat.seen)

    async def _lease(self, namespace: str, made: Made, *, anew: bool = False) -> KubeObject | None:
        try:
            return await self._object(namespace, made, LEASES, anew=anew)
        except Forbidden as error:
            # Without the right to read it nobody knows whether the agent lives, and the ladder is for just that.
            _log.warning("the Lease %s/%s cannot be read: %s", namespace, made[2], error)
            return None

    # --- what templates made ---

    async def objects(
        self, namespace: str, wanted: Mapping[str, tuple[Made, bool]]
    ) -> dict[str, Mapping[str, Any] | None]:
        """The objects by uid of their request; ``wanted`` says of each whether it was seen to be made.

        None where one that was made is gone. One that was not made yet, belongs to somebody else, or cannot be read
        now, is left out.
        """
        names = list({made: None for made, _ in wanted.values()})
        reads = await asyncio.gather(*(self._followed(namespace, made) for made in names))
        self._drop(namespace, set(names))
        now = dict(zip(names, reads, strict=True))
        found: dict[str, Mapping[str, Any] | None] = {}
        for uid, (made, known) in wanted.items():
            read = now[made]
            if read is not None and (known or (read.obj is not None and uid in owners(read.obj))):
                found[uid] = read.obj
        return found

    async def _followed(self, namespace: str, made: Made) -> _Read | None:
        """The object as far as it is known; None where it is not known whether there is one."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                obj = await self._object(namespace, made, await self.resource(made[0], made[1]))
        except (ApiError, UnknownKind, TimeoutError) as error:
            _log.warning("%s %s/%s cannot be followed: %s", made[1], namespace, made[2], _why(error))
            last = self._spaces.setdefault(namespace, _Space()).objects.get(made)
            return last if last is not None and last.obj is not None else None
        space, now = self._spaces.setdefault(namespace, _Space()), self._clock.monotonic()
        if obj is not None:
            space.missed.pop(made, None)
        elif now < space.missed.setdefault(made, now) + GONE_AFTER:
            return None
        return _Read(obj, now)

    def wrote(self, namespace: str, made: Made, obj: KubeObject) -> None:
        """What the API server answered to our own write of an object."""
        space = self._spaces.setdefault(namespace, _Space())
        space.objects[made] = _Read(obj, self._clock.monotonic())
        space.missed.pop(made, None)

    def _drop(self, namespace: str, wanted: Iterable[Made]) -> None:
        space, keep = self._spaces.setdefault(namespace, _Space()), set(wanted)
        space.objects = {made: read for made, read in space.objects.items() if made in keep or made[1] == LEASES.kind}
        space.missed = {made: since for made, since in space.missed.items() if made in keep}

    async def resource(self, api_version: str, kind: str) -> Resource:
        """The resource that serves a namespaced kind. Raises UnknownKind, or ApiError."""
        async with self._asking.setdefault(api_version, asyncio.Lock()):
            now, known = self._clock.monotonic(), self._kinds.get(api_version)
            if known is None or now >= known[0] or kind not in known[1]:
                known = (now + _KINDS_LAST, await self._served(api_version))
                self._kinds[api_version] = known
        found = known[1].get(kind)
        if found is None:
            raise UnknownKind(f"the API server serves no namespaced kind {kind} of {api_version}")
        return found

    async def _served(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = Resource(group, version, "", "").group_path
        try:
            answer = await self._client.get_path(path)
        except NotFound:
            return {}
        return {
            item["kind"]: Resource(group, version, item["name"], item["kind"])
            for item in answer.get("resources") or []
            if item.get("namespaced") and "/" not in item["name"]
        }

    async def _object(self, namespace: str, made: Made, resource: Resource, *, anew: bool = False) -> KubeObject | None:
        """An object as it is now, or (unless ``anew``) was a moment ago. Raises ApiError."""
        space, now = self._spaces.setdefault(namespace, _Space()), self._clock.monotonic()
        known = space.objects.get(made)
        if known is not None and not anew and now < known.at + FRESH:
            return known.obj
        try:
            obj: KubeObject | None = await self._client.get(resource, made[2], namespace)
        except NotFound:
            obj = None
        space.objects[made] = _Read(obj, now)
        return obj

    def forget(self, namespace: str) -> None:
        """The policy of that namespace is gone."""
        self._spaces.pop(namespace, None)


def _why(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)


_KIND = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
