"""Leader election with a coordination.k8s.io Lease, so that at most one process writes.

A candidate never compares wall clocks: it watches whether the record changes, by its own monotonic clock, and takes
over when the record has stood still for the whole lease. The leader counts its lease from before the request that
renewed it, and stops earlier (at the renew deadline) than anybody may take over.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .clock import Clock, SystemClock, micro_time
from .errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from .metrics import Metrics
from .resources import LEASES, KubeObject, Resource

_log = logging.getLogger(__name__)

_CALL_SECONDS = 5.0
_RELEASE_SECONDS = 2.0


class LeaseStore(Protocol):
    """What the elector needs of the API client."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """One object, or NotFound."""
        ...

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create, or AlreadyExists."""
        ...

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: KubeObject,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
    ) -> KubeObject:
        """Merge, or Conflict when `resource_version` is not the stored one."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Durations in seconds: `lease` > `renew_deadline` > `retry` * 1.2.

    Attributes:
        lease: how long others wait after the last change of the record before they take over.
        renew_deadline: how long the leader works on without having renewed.
        retry: how often everybody tries; up to 20 % is added at random.
    """

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease > self.renew_deadline > self.retry * 1.2 > 0:
            raise ValueError(f"need lease > renew deadline > retry * 1.2 > 0, not {self}")


class LeaderElector:
    """One candidate for one Lease. `run` waits for the leadership, then keeps it until it is lost or released.

    `identity` must be unique to the process; whoever finds it in the Lease takes the Lease for its own.
    """

    def __init__(
        self,
        store: LeaseStore,
        *,
        name: str,
        namespace: str,
        identity: str,
        on_lost: Callable[[], None],
        timing: LeaseTiming | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self.timing = timing if timing is not None else LeaseTiming()
        self.elected = asyncio.Event()
        """Set once this process has become the leader."""
        self._store = store
        self._on_lost = on_lost
        self._clock = clock if clock is not None else SystemClock()
        self._chance = chance
        self._gauge = (metrics if metrics is not None else Metrics()).leader.labels(name)
        self._gauge.set(0)
        self._leading = False
        self._renewed = float("-inf")
        self._record: tuple[object, ...] | None = None
        self._record_changed = 0.0
        self._in_touch = False
        self._tried = False
        self._released = False

    @property
    def is_leader(self) -> bool:
        """True while this process may act; judged by the clock, so it turns false even if no task got to run."""
        return self._leading and self._clock.monotonic() < self._renewed + self.timing.renew_deadline

    @property
    def in_touch(self) -> bool:
        """True when the last attempt reached the API server: a leader, or a standby that knows who leads."""
        return self._in_touch

    def seconds_left(self) -> float:
        """How long a write that starts now may take before somebody else may lead; 0 forbids writing."""
        return max(0.0, self._renewed + self.timing.lease - self._clock.monotonic()) if self.is_leader else 0.0

    async def run(self) -> None:
        """Campaign, then hold; returns after `release`, or after the leadership was lost and `on_lost` was called."""
        while not self._leading and not self._released:
            await self._attempt(min(_CALL_SECONDS, self.timing.renew_deadline / 2))
            if not self._leading:
                await self._pause()
        while not self._released:
            await self._pause()
            if self._released:
                return
            left = self._renewed + self.timing.renew_deadline - self._clock.monotonic()
            if left > 0:
                await self._attempt(min(_CALL_SECONDS, left))
            if not self._released and not self.is_leader:
                self._step_down()
                _log.error("leadership of %s/%s lost", self.namespace, self.name)
                self._on_lost()
                return

    async def release(self) -> None:
        """Give the leadership up, so that a standby takes over at its next try; call after the last write."""
        held, self._released = self.is_leader, True
        self._step_down()
        if not held:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                try:
                    await self._vacate()
                except Conflict:
                    # A renewal that was still on its way came first.
                    await self._vacate()
        except (ApiError, TimeoutError) as exc:
            _log.warning("could not release the lease, it will expire: %s", exc)

    async def _vacate(self) -> None:
        lease = await self._store.get(LEASES, self.name, self.namespace)
        if (lease.get("spec") or {}).get("holderIdentity") == self.identity:
            await self._write({"holderIdentity": "", "leaseDurationSeconds": 1}, lease)

    async def _pause(self) -> None:
        await self._clock.sleep(self.timing.retry * (1.0 + 0.2 * self._chance()))

    async def _attempt(self, seconds: float) -> None:
        call = asyncio.create_task(self._acquire_or_renew())
        limit = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({call, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise Unavailable(f"no answer within {seconds:g} s")
            call.result()
            self._in_touch = True
        except Conflict:
            # Somebody wrote between our read and our write; the next try sees who.
            self._in_touch = True
        except ApiError as exc:
            self._in_touch = False
            _log.warning("lease %s/%s: %s", self.namespace, self.name, exc)
        finally:
            call.cancel()
            limit.cancel()

    async def _acquire_or_renew(self) -> None:
        try:
            lease = await self._store.get(LEASES, self.name, self.namespace)
        except NotFound:
            await self._create()
            return
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        self._watch_record(spec)
        if holder == self.identity:
            # Also when we do not lead yet: the answer to our own successful write was lost.
            await self._take(lease, {})
        elif self._leading:
            # Somebody else holds it: stop at once, do not wait for the deadline.
            self._step_down()
        elif not holder or self._expired(spec):
            transitions = int(spec.get("leaseTransitions") or 0) + 1
            now = micro_time(self._clock.now())
            await self._take(lease, {"acquireTime": now, "leaseTransitions": transitions})

    def _watch_record(self, spec: KubeObject) -> None:
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._record:
            self._record, self._record_changed = record, self._clock.monotonic()

    def _expired(self, spec: KubeObject) -> bool:
        duration = max(self.timing.lease, float(spec.get("leaseDurationSeconds") or 0))
        return self._clock.monotonic() - self._record_changed >= duration

    async def _create(self) -> None:
        started, now = self._clock.monotonic(), micro_time(self._clock.now())
        spec = self._own_spec(now) | {"acquireTime": now, "leaseTransitions": 0}
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }
        try:
            await self._store.create(LEASES, body)
        except AlreadyExists:
            return
        self._won(started)

    async def _take(self, lease: KubeObject, extra: KubeObject) -> None:
        started = self._clock.monotonic()
        await self._write(self._own_spec(micro_time(self._clock.now())) | extra, lease)
        self._won(started)

    def _own_spec(self, now: str) -> KubeObject:
        return {"holderIdentity": self.identity, "leaseDurationSeconds": round(self.timing.lease), "renewTime": now}

    async def _write(self, spec: KubeObject, lease: KubeObject) -> None:
        version = lease["metadata"]["resourceVersion"]
        await self._store.merge_patch(LEASES, self.name, {"spec": spec}, self.namespace, resource_version=version)

    def _won(self, started: float) -> None:
        if self._released:
            return
        self._renewed = started
        if not self._leading:
            self._leading = True
            self._gauge.set(1)
            self.elected.set()
            _log.info("leading %s/%s as %s", self.namespace, self.name, self.identity)

    def _step_down(self) -> None:
        self._leading = False
        self._gauge.set(0)
