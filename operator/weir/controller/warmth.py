"""Warm-ups and synthetic traffic in the background: started when a decision asks for them, stopped when none does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from weir.api.modelversion import ModelVersionSpec
from weir.release.observation import Problem
from weir.runtime.resources import ObjectKey
from weir.workload.warmup import WARMUP_HEADER, PodAddress, Synthetic, WarmUpResult, warm_up

_log = logging.getLogger(__name__)

RETRY = 2.0
"""Seconds between a failed warm-up and the next."""

_METADATA_TIMEOUT = 10.0
_METADATA_BYTES = 1 << 20


@dataclass
class _Warming:
    pool: str
    task: asyncio.Task[WarmUpResult] | None = None
    done: bool = False
    problem: Problem | None = None
    metadata: Mapping[str, Any] | None = None


async def described(
    session: aiohttp.ClientSession, pod: PodAddress, content: ModelVersionSpec
) -> Mapping[str, Any] | None:
    """What the model server says of its model (Open Inference Protocol); None where it says nothing readable.

    Only asked where the version declares its requests or answers, and its server speaks that protocol. A server that
    does not tell proves nothing, so there is no error.
    """
    declared = content.contracts is not None and (content.contracts.request or content.contracts.response)
    if not declared or content.runtime.protocol != "OpenInference":
        return None
    path = f"/v2/models/{content.model_name}"
    limit = aiohttp.ClientTimeout(total=_METADATA_TIMEOUT)
    said = ""
    try:
        async with session.get(pod.base + path, timeout=limit, headers={WARMUP_HEADER: "true"}) as answer:
            text = await answer.content.read(_METADATA_BYTES)
            found = json.loads(text) if answer.status == 200 else None
            said = f"HTTP {answer.status}"
    except (TimeoutError, aiohttp.ClientError, ValueError, RecursionError) as error:
        found, said = None, type(error).__name__
    if isinstance(found, Mapping):
        return found
    _log.info("the model does not describe itself", extra={"pod": pod.name, "path": path, "answer": said})
    return None


@dataclass
class _Preview:
    pool: str
    traffic: Synthetic


class Warmth:
    """At most one warm-up and one preview's traffic per Rollout; ``woken`` is told when a warm-up ends."""

    def __init__(self, session: aiohttp.ClientSession, woken: Callable[[ObjectKey], None]) -> None:
        """``session``: how to send."""
        self._session = session
        self._woken = woken
        self._warming: dict[ObjectKey, _Warming] = {}
        self._previews: dict[ObjectKey, _Preview] = {}

    def warmed(self, key: ObjectKey) -> frozenset[str]:
        """Pools of the Rollout that were warmed up."""
        warming = self._warming.get(key)
        return frozenset({warming.pool}) if warming is not None and warming.done else frozenset()

    def problem(self, key: ObjectKey) -> Problem | None:
        """Why the last warm-up failed."""
        warming = self._warming.get(key)
        return warming.problem if warming is not None else None

    def metadata(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """What the pool that was warmed up says of its model, as ``described``."""
        warming = self._warming.get(key)
        return warming.metadata if warming is not None and warming.done else None

    def want(self, key: ObjectKey, pool: str, pods: Sequence[PodAddress], content: ModelVersionSpec) -> None:
        """Warms the pods of a pool up, unless that is done or under way."""
        warming = self._warming.get(key)
        if warming is None or warming.pool != pool:
            self._cancel(warming)
            warming = self._warming[key] = _Warming(pool)
        if warming.done or (warming.task is not None and not warming.task.done()):
            return
        task = asyncio.create_task(self._warm(warming, pods, content), name=f"warm-up {pool}")
        warming.task = task
        task.add_done_callback(lambda ended: self._ended(key, warming, ended))

    async def _warm(self, warming: _Warming, pods: Sequence[PodAddress], content: ModelVersionSpec) -> WarmUpResult:
        result = await warm_up(self._session, pods, content)
        if result.ok and pods:
            warming.metadata = await described(self._session, pods[0], content)
        return result

    def _ended(self, key: ObjectKey, warming: _Warming, task: asyncio.Task[WarmUpResult]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            warming.problem = Problem("WarmUpFailed", f"the warm-up broke off: {error!r}"[:300])
        else:
            warming.done, warming.problem = task.result().ok, task.result().problem
        delay = 0.0 if warming.done else RETRY
        asyncio.get_running_loop().call_later(delay, self._woken, key)

    def preview(
        self,
        key: ObjectKey,
        pool: str,
        pods: Callable[[], Sequence[PodAddress]],
        content: ModelVersionSpec,
        rate: float,
    ) -> None:
        """Keeps synthetic traffic on a preview; ``rate`` in requests a second."""
        running = self._previews.get(key)
        if running is not None and running.pool == pool:
            return
        if running is not None:
            self._stop(running)
        traffic = Synthetic(self._session, content, pods, rate)
        traffic.start()
        self._previews[key] = _Preview(pool, traffic)

    def cool(self, key: ObjectKey) -> None:
        """No warm-up is wanted any more; its result is forgotten."""
        self._cancel(self._warming.pop(key, None))

    def no_preview(self, key: ObjectKey) -> None:
        """No preview is wanted any more."""
        running = self._previews.pop(key, None)
        if running is not None:
            self._stop(running)

    def _stop(self, preview: _Preview) -> None:
        stopping = asyncio.ensure_future(preview.traffic.stop())
        stopping.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    @staticmethod
    def _cancel(warming: _Warming | None) -> None:
        if warming is not None and warming.task is not None:
            warming.task.cancel()
