"""Synthetic requests: to warm pods up before any live traffic, and to a preview that has none of its own."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import aiohttp

from weir.api.base import seconds
from weir.api.modelversion import ModelVersionSpec, WarmUp
from weir.release.observation import Problem
from weir.workload.writes import bounded

WARMUP_HEADER = "x-weir-warmup"
"""Header of warm-up requests, so that servers and log readers can leave them out."""
SETTLED_RATIO = 1.5
"""Latency has settled when the last quarter's median is at most this multiple of the quarter's before."""
SETTLED_FLOOR = 0.005
"""Seconds of difference that never count as unsettled: a ratio says nothing about answers that take a millisecond."""

_LIMIT = 3
_PARALLEL_PODS = 10
_MAX_ELEMENTS = 1_000_000
_TEXT_TYPE, _BOOL_TYPE = "BYTES", "BOOL"


@dataclass(frozen=True)
class PodAddress:
    """A ready pod, by name, address and the port that its model server listens on."""

    name: str
    ip: str
    port: int

    @property
    def base(self) -> str:
        """Base of its URLs."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{self.port}"


@dataclass(frozen=True)
class WarmUpResult:
    """``p50``: median latency in seconds of the last quarter of requests of the slowest pod; ``requests``: all sent."""

    ok: bool
    problem: Problem | None = None
    p50: float | None = None
    requests: int = 0


@dataclass(frozen=True)
class _Call:
    path: str
    body: bytes


class WarmUpError(Exception):
    """A warm-up that cannot go on; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def warm_up(
    session: aiohttp.ClientSession,
    pods: Sequence[PodAddress],
    content: ModelVersionSpec,
    clock: Callable[[], float] = time.perf_counter,
) -> WarmUpResult:
    """Send the version's warm-up requests to each pod until its latency settles.

    Each pod gets ``runtime.warmup.requests``, and up to three times as many while it is still getting faster. Every
    answer must be 2xx. A version without warm-up, or whose protocol gives none to guess, is warm at once.

    Args:
        session: how to send; its own time limits are replaced by the warm-up's.
        pods: the pods to warm; none is not a success.
        content: the ModelVersion's spec.
        clock: seconds, monotonic, fine-grained.
    """
    plan = content.runtime.warmup or WarmUp()
    if not _has_warm_up(content, plan):
        return WarmUpResult(ok=True)
    if not pods:
        return WarmUpResult(False, Problem("WarmUpNoPods", "no pod is ready for the warm-up"))
    gate = asyncio.Semaphore(_PARALLEL_PODS)

    async def one(pod: PodAddress) -> WarmUpResult:
        async with gate:
            return await _warm_pod(session, pod, content, plan, clock)

    results = await asyncio.gather(*(one(pod) for pod in pods))
    problem = next((result.problem for result in results if result.problem is not None), None)
    p50 = max((result.p50 for result in results if result.p50 is not None), default=None)
    return WarmUpResult(problem is None, problem, p50, sum(result.requests for result in results))


def _has_warm_up(content: ModelVersionSpec, plan: WarmUp) -> bool:
    # A plain HTTP server can be asked nothing without being told what.
    return plan.requests > 0 and not (content.runtime.protocol == "HTTP" and plan.path is None)


async def _warm_pod(
    session: aiohttp.ClientSession,
    pod: PodAddress,
    content: ModelVersionSpec,
    plan: WarmUp,
    clock: Callable[[], float],
) -> WarmUpResult:
    latencies: list[float] = []
    try:
        call = await _call_for(session, pod, content, plan)
        while not _settled(latencies, plan.requests):
            if len(latencies) >= _LIMIT * plan.requests:
                message = f"latency has not settled after {len(latencies)} requests to a pod"
                raise WarmUpError(Problem("WarmUpNotSettled", message))
            started = clock()
            await _send(session, pod, call, plan)
            latencies.append(clock() - started)
    except WarmUpError as failed:
        return WarmUpResult(False, failed.problem, requests=len(latencies))
    return WarmUpResult(True, None, median(_quarters(latencies)[1]), len(latencies))


def _settled(latencies: Sequence[float], wanted: int) -> bool:
    if len(latencies) < wanted:
        return False
    before, last = (median(quarter) for quarter in _quarters(latencies))
    return last <= max(SETTLED_RATIO * before, before + SETTLED_FLOOR)


def _quarters(latencies: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """The last quarter and the one before it; of very few numbers, the last one twice."""
    size = max(1, len(latencies) // 4)
    return latencies[-2 * size : -size] or latencies[-size:], latencies[-size:]


async def _send(session: aiohttp.ClientSession, pod: PodAddress, call: _Call, plan: WarmUp) -> None:
    headers = {WARMUP_HEADER: "true", "Content-Type": "application/json"}
    limit = aiohttp.ClientTimeout(total=seconds(plan.timeout))
    try:
        async with session.post(pod.base + call.path, data=call.body, headers=headers, timeout=limit) as answer:
            text = await answer.read()
            if not 200 <= answer.status < 300:
                said = text[:200].decode("utf-8", "replace")
                raise WarmUpError(Problem("WarmUpFailed", bounded(f"POST {call.path}: HTTP {answer.status}: {said}")))
    except TimeoutError as exc:
        raise WarmUpError(Problem("WarmUpFailed", f"POST {call.path}: no answer within {plan.timeout}")) from exc
    except aiohttp.ClientError as exc:
        # The text of the error holds the pod's address, which changes from pod to pod.
        raise WarmUpError(Problem("WarmUpFailed", f"POST {call.path}: {type(exc).__name__}")) from exc


async def _call_for(session: aiohttp.ClientSession, pod: PodAddress, content: ModelVersionSpec, plan: WarmUp) -> _Call:
    """What to POST: as the version says, else as its protocol suggests."""
    name = content.model_name
    if content.runtime.protocol == "OpenAI":
        chat = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        body = plan.body if plan.body is not None else json.dumps(chat)
        return _Call(plan.path or "/v1/chat/completions", body.encode())
    path = plan.path or f"/v2/models/{name}/infer"
    if plan.body is not None:
        return _Call(path, plan.body.encode())
    if content.runtime.protocol == "HTTP":
        return _Call(path, b"{}")
    metadata = await _metadata(session, pod, f"/v2/models/{name}", plan)
    return _Call(path, json.dumps(infer_request(metadata)).encode())


async def _metadata(session: aiohttp.ClientSession, pod: PodAddress, path: str, plan: WarmUp) -> Mapping[str, Any]:
    limit = aiohttp.ClientTimeout(total=seconds(plan.timeout))
    try:
        async with session.get(pod.base + path, timeout=limit, headers={WARMUP_HEADER: "true"}) as answer:
            text = await answer.read()
            status = answer.status
    except (TimeoutError, aiohttp.ClientError) as exc:
        raise WarmUpError(Problem("WarmUpFailed", f"GET {path}: {type(exc).__name__}")) from exc
    try:
        found = json.loads(text) if status == 200 else None
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        message = f"GET {path}: HTTP {status}, no Open Inference metadata; set runtime.warmup.body"
        raise WarmUpError(Problem("WarmUpNoMetadata", message))
    return found


def infer_request(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """An Open Inference request of zeros for a model's metadata; sizes that the model leaves open (-1) are one.

    Raises:
        WarmUpError: the metadata names no inputs (many servers leave them out), or far too large ones.
    """
    inputs = metadata.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        message = "the model's metadata names no inputs; set runtime.warmup.body"
        raise WarmUpError(Problem("WarmUpNoMetadata", message))
    return {"inputs": [_tensor(item) for item in inputs]}


def _tensor(item: Mapping[str, Any]) -> dict[str, Any]:
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in item.get("shape") or [1]]
    count = math.prod(shape)
    if count > _MAX_ELEMENTS:
        message = f"input {item.get('name')} has {count} elements; set runtime.warmup.body"
        raise WarmUpError(Problem("WarmUpNoMetadata", bounded(message)))
    datatype = str(item.get("datatype"))
    value: Any = 0
    if datatype == _TEXT_TYPE:
        value = ""
    elif datatype == _BOOL_TYPE:
        value = False
    elif datatype.startswith(("FP", "BF")):
        value = 0.0
    return {"name": item.get("name"), "shape": shape, "datatype": datatype, "data": [value] * count}


@dataclass
class Synthetic:
    """Steady synthetic traffic to the pods of a preview, round-robin; it counts as evidence, so it has no header.

    ``pods`` is asked before every request, so that pods may come and go. ``rate``: requests a second. Requests that the
    pods cannot keep up with are left out rather than piled up. ``sent`` and ``failed`` count for logs only: the judging
    is done on the servers' own numbers.
    """

    session: aiohttp.ClientSession
    content: ModelVersionSpec
    pods: Callable[[], Sequence[PodAddress]]
    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] = asyncio.sleep
    sent: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    problem: Problem | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _running: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _call: _Call | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin; does nothing while it runs, or where there is nothing to send."""
        plan = self.content.runtime.warmup or WarmUp()
        sendable = not (self.content.runtime.protocol == "HTTP" and plan.path is None)
        if self.rate > 0 and sendable and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="synthetic-traffic")

    async def stop(self) -> None:
        """End, and wait until nothing is in flight any more."""
        tasks = [*self._running, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        turn, due = 0, self.clock()
        while True:
            pods = self.pods()
            if pods and len(self._running) < max(1, math.ceil(self.rate)):
                task = asyncio.create_task(self._one(pods[turn % len(pods)]))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                turn += 1
            # Counted from the plan, not from now, so that the rate holds; what was missed is not made up for.
            due = max(due + 1 / self.rate, self.clock())
            await self.sleep(max(0.0, due - self.clock()))

    async def _one(self, pod: PodAddress) -> None:
        plan = self.content.runtime.warmup or WarmUp()
        try:
            if self._call is None:
                self._call = await _call_for(self.session, pod, self.content, plan)
            self.sent += 1
            limit = aiohttp.ClientTimeout(total=seconds(plan.timeout))
            headers = {"Content-Type": "application/json"}
            url = pod.base + self._call.path
            async with self.session.post(url, data=self._call.body, headers=headers, timeout=limit) as answer:
                await answer.read()
                self.failed += answer.status >= 500
        except WarmUpError as exc:
            self.problem = exc.problem
        except (TimeoutError, aiohttp.ClientError):
            self.failed += 1
