"""An open-loop load generator: held-out rows at a steady rate, however slow the answers are; nothing is retried."""

import asyncio
import json
import os
import random
import signal
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from pydantic import Field, ValidationError, field_validator

from .artifact import ArtifactError
from .heldout import HeldOut, read
from .protocol import INPUT, OUTPUT_LABEL, describe
from .server import INSTANCE_HEADER, VERSION_HEADER
from .settings import Settings, log, read_settings
from .tally import NO_VERSION, Outcome, Tally
from .telemetry import BUCKETS

Inputs = Literal["heldout", "brighter", "inverted"]
BRIGHTEST, BRIGHTER = 16, 4


def changed(pixels: list[int], inputs: Inputs) -> list[int]:
    """Return the image as a changed camera would send it; the digit that it shows stays the same."""
    if inputs == "brighter":
        return [min(BRIGHTEST, pixel + BRIGHTER) for pixel in pixels]
    return [BRIGHTEST - pixel for pixel in pixels] if inputs == "inverted" else pixels


class LoadSettings(Settings):
    """Where to send what. `target_url` is the gateway, `host_header` the hostname that its route matches."""

    target_url: str
    host_header: str | None = None
    model_name: str = "digits"
    rate: float = Field(default=20.0, gt=0, le=10_000, description="requests per second")
    burst: float = Field(
        default=1.0, ge=1, le=1000, description="mean number of requests due at once; 1: evenly spaced"
    )
    heldout_path: Path = Path("/models/heldout.safetensors")
    inputs: Inputs = Field(default="heldout", description="what becomes of the held-out rows; see POST /inputs")
    feedback_share: float = Field(default=0.5, ge=0, le=1, description="ratio of answers that get their true label")
    feedback_delay_seconds: float = Field(default=2.0, ge=0)
    timeout_seconds: float = Field(default=10.0, gt=0)
    max_in_flight: int = Field(default=2000, gt=0, description="above it a due request fails as client_saturated")
    reuse_connections: bool = Field(default=True, description="false: a new connection for every request")
    seed: int = 7
    control_address: str = "0.0.0.0"
    control_port: int = Field(default=8081, ge=0, le=65535)
    duration_seconds: float = Field(default=0.0, ge=0, description="0 = until SIGTERM")

    @field_validator("target_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be like http://gateway:8000")
        return value.rstrip("/")


class LoadGenerator:
    """Sends requests when they are due and counts what comes back; see `Tally` for the sums."""

    def __init__(self, settings: LoadSettings, rows: HeldOut) -> None:
        self.total = Tally()
        self.since = time.time()
        self._settings = settings
        self._labels: list[int] = rows.labels.tolist()
        self._pixels: list[list[int]] = rows.pixels.tolist()
        self._inputs: Inputs = settings.inputs
        self._random = random.Random(settings.seed)
        self._run = uuid.uuid4().hex[:8]
        self._number = 0
        self._second = Tally()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._labelled: dict[str, int] = {"sent": 0, "accepted": 0, "failed": 0}
        self._registry = CollectorRegistry()
        text = "Requests finished, by the version that answered and the status or the reason of the failure."
        self._requests = Counter("load_requests", text, ("version", "status"), registry=self._registry)
        self._wrong = Counter("load_wrong_answers", "Wrong labels.", ("version",), registry=self._registry)
        text = "Time from the moment a request was due."
        self._duration = Histogram("load_request_seconds", text, buckets=BUCKETS, registry=self._registry)

    def create_app(self) -> web.Application:
        """Return the control application: GET /metrics, GET /summary, POST /reset, POST /inputs/{inputs}."""
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/summary", self._get_summary)
        app.router.add_post("/reset", self._post_reset)
        app.router.add_post(f"/inputs/{{inputs:{'|'.join(get_args(Inputs))}}}", self._post_inputs)
        return app

    def summary(self) -> dict[str, Any]:
        """Return the sums since the start or the last reset, with the last failures."""
        return {
            "since": round(self.since, 3),
            "seconds": round(time.time() - self.since, 3),
            "rate": self._settings.rate,
            "inputs": self._inputs,
            "in_flight": self._in_flight,
            **self.total.describe(),
            "feedback": dict(self._labelled),
            "failures": list(self.total.failures),
        }

    async def send_until(self, stop: asyncio.Event) -> None:
        """Send at the set rate until `stop`; then wait for what is in flight."""
        settings = self._settings
        timeout = aiohttp.ClientTimeout(total=settings.timeout_seconds)
        reporter = asyncio.create_task(self._report_each_second())
        connector = aiohttp.TCPConnector(limit=0, force_close=not settings.reuse_connections)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            started = time.monotonic()
            sent = 0
            while not stop.is_set():
                due = started + sent / settings.rate
                wait = due - time.monotonic()
                if await _wait(stop, wait):
                    break
                for _ in range(self._burst()):
                    self._send(session, due)
                    sent += 1
            # Labels still to come are dropped; answers still to come are not.
            await _finish([task for task in self._tasks if task.get_name() == "infer"])
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        reporter.cancel()
        self._print_second()

    def _burst(self) -> int:
        """How many requests are due at once: of a geometric law, such that the rate stays what was set."""
        size = 1
        while self._settings.burst > 1 and self._random.random() > 1 / self._settings.burst:
            size += 1
        return size

    def _send(self, session: aiohttp.ClientSession, due: float) -> None:
        self._number += 1
        request_id = f"{self._run}-{self._number}"
        self.total.sent += 1
        self._second.sent += 1
        if self._in_flight >= self._settings.max_in_flight:
            self._count(self.total, Outcome(time.time(), request_id, NO_VERSION, None, None, reason="client_saturated"))
            return
        self._in_flight += 1
        self._start(
            self._request(session, request_id, self._random.randrange(len(self._labels)), due, self.total), "infer"
        )

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(
        self, session: aiohttp.ClientSession, request_id: str, row: int, due: float, total: Tally
    ) -> None:
        # `total` is the tally the request was sent under: a reset must not mix two runs.
        url = f"{self._settings.target_url}/v2/models/{self._settings.model_name}/infer"
        pixels = changed(self._pixels[row], self._inputs)
        tensor = {"name": INPUT, "datatype": "UINT8", "shape": [1, len(pixels)], "data": pixels}
        body = {"id": request_id, "inputs": [tensor], "outputs": [{"name": OUTPUT_LABEL}]}
        version, status, wrong, reason, instance, detail = NO_VERSION, None, False, None, None, ""
        try:
            async with session.post(url, json=body, headers=self._headers()) as response:
                version, status = response.headers.get(VERSION_HEADER, NO_VERSION), response.status
                instance = response.headers.get(INSTANCE_HEADER)
                content = await response.read()
            if status == 200:
                wrong = json.loads(content)["outputs"][0]["data"] != [self._labels[row]]
            else:
                reason, detail = f"http_{status}", content[:200].decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason, detail = type(error).__name__, str(error)[:200]
        except (ValueError, LookupError, TypeError):
            reason = "not_an_answer"
        finally:
            self._in_flight -= 1
        seconds = time.monotonic() - due
        self._count(total, Outcome(time.time(), request_id, version, status, seconds, wrong, reason, detail))
        if reason is None and self._random.random() < self._settings.feedback_share:
            url = f"http://{instance}" if instance else self._settings.target_url
            self._start(self._label(session, url, request_id, self._labels[row]), "label")

    async def _label(self, session: aiohttp.ClientSession, url: str, request_id: str, label: int) -> None:
        await asyncio.sleep(self._settings.feedback_delay_seconds)
        self._labelled["sent"] += 1
        try:
            async with session.post(f"{url}/feedback", json={"id": request_id, "label": label}) as response:
                await response.read()
                accepted = response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            # Pods come and go while labels are on their way: no user waits for this request.
            accepted = False
        self._labelled["accepted" if accepted else "failed"] += 1

    def _headers(self) -> dict[str, str]:
        return {"Host": self._settings.host_header} if self._settings.host_header else {}

    def _count(self, total: Tally, outcome: Outcome) -> None:
        total.add(outcome)
        self._second.add(outcome)
        self._requests.labels(outcome.version, outcome.reason or str(outcome.status)).inc()
        if outcome.seconds is not None:
            self._duration.observe(outcome.seconds)
        if outcome.wrong:
            self._wrong.labels(outcome.version).inc()

    async def _report_each_second(self) -> None:
        started, number = time.monotonic(), 0
        while True:
            number += 1
            await asyncio.sleep(started + number - time.monotonic())
            self._print_second()

    def _print_second(self) -> None:
        second, self._second = self._second, Tally()
        print(json.dumps({"t": round(time.time(), 3), **second.describe()}), flush=True)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _get_summary(self, _request: web.Request) -> web.Response:
        return web.json_response(self.summary())

    async def _post_reset(self, _request: web.Request) -> web.Response:
        before = self.summary()
        self.total, self.since = Tally(), time.time()
        self._labelled = {"sent": 0, "accepted": 0, "failed": 0}
        return web.json_response(before)

    async def _post_inputs(self, request: web.Request) -> web.Response:
        self._inputs = cast("Inputs", request.match_info["inputs"])
        return web.json_response({"inputs": self._inputs})


async def run(settings: LoadSettings) -> int:
    """Generate load until SIGTERM, SIGINT or the set duration; print the summary last; return 0."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if settings.duration_seconds:
        loop.call_later(settings.duration_seconds, stop.set)
    generator = LoadGenerator(settings, read(settings.heldout_path))
    runner = web.AppRunner(generator.create_app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, settings.control_address, settings.control_port).start()
    log("listening", port=runner.addresses[0][1])
    await generator.send_until(stop)
    await runner.cleanup()
    print(json.dumps({"summary": generator.summary()}), flush=True)
    return 0


def main() -> int:
    """Generate load as the environment says; return the exit code."""
    try:
        return asyncio.run(run(read_settings(LoadSettings, os.environ)))
    except ValidationError as error:
        log("wrong setting", error=describe(error))
    except ArtifactError as error:
        log("no rows to send", error=str(error))
    return 2


async def _wait(stop: asyncio.Event, seconds: float) -> bool:
    """Return True as soon as `stop` is set, False after `seconds`; always lets other tasks run."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False


async def _finish(tasks: list[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
