"""The model server: Open Inference Protocol V2 over HTTP, Prometheus metrics, true labels that arrive later."""

import asyncio
import json
import os
import random
import signal
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from pydantic import Field, ValidationError

from . import protocol
from .artifact import ArtifactError, Classifier, find_file, read_digest, read_model
from .settings import Settings, log, read_settings
from .telemetry import INFER, INFER_VERSION, Metrics

WARMUP_HEADER = "x-weir-warmup"
VERSION_HEADER = "x-model-version"
INSTANCE_HEADER = "x-model-instance"
REMEMBERED_REQUESTS = 10_000
SHUTDOWN_SECONDS = 20.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServerSettings(Settings):
    """How to serve one version; without `model_version` the artifact's own version is used."""

    model_name: str = "digits"
    model_version: str | None = None
    model_path: Path = Path("/mnt/models")
    profile_path: Path = Field(
        default=Path("/models/profile.json"), description="reference profile; without the file nothing is counted by it"
    )
    bind_address: str = "0.0.0.0"
    port: int = Field(default=8080, ge=0, le=65535)
    drain_seconds: float = Field(default=5.0, ge=0, description="seconds to keep serving after SIGTERM")
    slow_start_seconds: float = Field(default=0.0, ge=0, description="seconds before the model is loaded")
    fail_share: float = Field(default=0.0, ge=0, le=1, description="ratio of users' requests answered 500")
    fail_burst: float = Field(default=1.0, ge=1, description="mean number of such requests in a row; 1: independent")
    delay_ms: float = Field(default=0.0, ge=0, description="milliseconds added to every inference")


class ModelServer:
    """One model behind HTTP. Not ready until `load` is done; `start_draining` makes it unready but keeps it serving."""

    def __init__(self, settings: ServerSettings, chance: Callable[[], float] = random.random) -> None:
        self.metrics = Metrics()
        self.version = settings.model_version or ""
        self._settings = settings
        self._chance = chance
        self._model: Classifier | None = None
        self._draining = False
        self._recent: OrderedDict[str, list[int]] = OrderedDict()
        self._failed = False

    @property
    def ready(self) -> bool:
        """True when new traffic is welcome."""
        return self._model is not None and not self._draining

    async def load(self) -> None:
        """Read the artifact; raises ArtifactError."""
        await asyncio.sleep(self._settings.slow_start_seconds)
        path = find_file(self._settings.model_path)
        model, digest = read_model(path), read_digest(path)
        self.version = self.version or model.version
        self.metrics.set_model(self._settings.model_name, self.version, digest)
        if self._settings.profile_path.is_file():
            self._count_distributions(self._settings.profile_path)
        self._model = model
        log("loaded", model=self._settings.model_name, version=self.version, digest=digest)

    def _count_distributions(self, path: Path) -> None:
        try:
            self.metrics.count_distributions(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path}: {error}") from error

    def start_draining(self) -> None:
        """Become unready; requests are still answered, and each answer asks the caller to open a new connection."""
        self._draining = True

    def create_app(self) -> web.Application:
        """Return the HTTP application."""
        app = web.Application(middlewares=[self._finish], client_max_size=4 * 1024 * 1024)
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            app.router.add_get(prefix, self._model_metadata)
            app.router.add_get(f"{prefix}/ready", self._model_ready)
        app.router.add_post(INFER, self._infer)
        app.router.add_post(INFER_VERSION, self._infer)
        app.router.add_get("/v2", self._server_metadata)
        app.router.add_get("/v2/health/live", self._live)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_post("/feedback", self._feedback)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _finish(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, error.reason)
        response.headers[VERSION_HEADER] = self.version
        # A gateway in front chooses the pod; labels must come back to the one that made the prediction.
        own = request.transport.get_extra_info("sockname") if request.transport else None
        if own:
            response.headers[INSTANCE_HEADER] = f"[{own[0]}]:{own[1]}" if ":" in own[0] else f"{own[0]}:{own[1]}"
        if self._draining:
            # Else the gateway may send its next request on a pooled connection just as it is closed.
            response.force_close()
        return response

    async def _infer(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        warmup = request.headers.get(WARMUP_HEADER, "").lower() == "true"
        path = INFER_VERSION if "version" in request.match_info else INFER
        try:
            response = await self._answer(request, warmup)
        except protocol.RequestError as error:
            response = _error(400, str(error))
        except web.HTTPException as error:
            response = _error(error.status, error.reason)
        except (ConnectionError, web.RequestPayloadError):
            response = _error(400, "body: the caller hung up before its end")
        except Exception as error:
            log("failed", path=request.path, version=self.version, error=f"{type(error).__name__}: {error}")
            response = _error(500, f"{type(error).__name__}: {error}")
        self.metrics.count_request(path, response.status, time.perf_counter() - started, warmup=warmup)
        return response

    async def _answer(self, request: web.Request, warmup: bool) -> web.Response:
        name = self._require_model(request)
        parsed, rows = protocol.parse_infer(await request.read())
        if self._model is None:
            raise web.HTTPServiceUnavailable(reason="the model is not loaded yet")
        if self._settings.delay_ms:
            await asyncio.sleep(self._settings.delay_ms / 1000)
        if not warmup:
            self.metrics.observe_inputs(rows)
        prediction = self._model.predict(rows)
        if not warmup and self._fails():
            raise RuntimeError("failed on request of FAIL_SHARE")
        request_id = parsed.id or str(uuid.uuid4())
        if not warmup:
            predicted = prediction.labels.tolist()
            self.metrics.count_predictions(predicted)
            self._remember(request_id, predicted)
        body = protocol.infer_response(parsed, request_id, name, self.version, prediction)
        return web.json_response(body)

    def _fails(self) -> bool:
        """Whether this request fails on purpose: the share of requests that do, in runs of the set mean length."""
        share, burst = self._settings.fail_share, self._settings.fail_burst
        begins = share / (burst * (1 - share) + share)
        # A run ends after each request with probability 1 / burst, and then another may begin at once.
        likely = 1 - (1 - begins) / burst if self._failed and share else begins
        self._failed = self._chance() < likely
        return self._failed

    def _remember(self, request_id: str, predicted: list[int]) -> None:
        self._recent[request_id] = predicted
        if len(self._recent) > REMEMBERED_REQUESTS:
            self._recent.popitem(last=False)

    async def _feedback(self, request: web.Request) -> web.Response:
        try:
            feedback = protocol.parse_feedback(await request.read())
        except protocol.RequestError as error:
            return _error(400, str(error))
        true = feedback.labels()
        predicted = self._recent.get(feedback.id)
        if predicted is None:
            self.metrics.count_unmatched_feedback()
            return _error(404, f"id: no recent prediction {feedback.id!r} without a label")
        if len(predicted) != len(true):
            return _error(400, f"label: {len(true)} labels for {len(predicted)} rows")
        # Forgotten once labelled, so that a label sent twice is counted once.
        del self._recent[feedback.id]
        right = sum(a == b for a, b in zip(predicted, true, strict=True))
        self.metrics.count_feedback(right=right, wrong=len(true) - right)
        return web.json_response({"id": feedback.id, "correct": right == len(true)})

    async def _model_metadata(self, request: web.Request) -> web.Response:
        return web.json_response(protocol.model_metadata(self._require_model(request), self.version))

    async def _model_ready(self, request: web.Request) -> web.Response:
        name = self._require_model(request)
        return web.json_response({"name": name, "ready": self.ready}, status=200 if self.ready else 503)

    async def _server_metadata(self, _request: web.Request) -> web.Response:
        return web.json_response(protocol.server_metadata())

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": self.ready}, status=200 if self.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.metrics.registry), headers={"Content-Type": content_type})

    def _require_model(self, request: web.Request) -> str:
        """Return the model's name; raises HTTPNotFound unless the path names what is served here."""
        name, version = request.match_info["model"], request.match_info.get("version")
        if name != self._settings.model_name:
            raise web.HTTPNotFound(reason=f"model {_safe(name)} is not served here")
        if version is not None and version != self.version:
            raise web.HTTPNotFound(reason=f"model {name} has no version {_safe(version)} here")
        return name


async def run(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 1 when the model cannot be loaded.

    After the signal: unready at once, serving for `drain_seconds`, then requests in flight are finished.
    """
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    server = ModelServer(settings)
    runner = web.AppRunner(server.create_app(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, settings.bind_address, settings.port, backlog=1024).start()
    log("listening", port=runner.addresses[0][1])
    loading, stopping = asyncio.create_task(server.load()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            await stopping
            server.start_draining()
            log("draining", seconds=settings.drain_seconds)
            await asyncio.sleep(settings.drain_seconds)
    except ArtifactError as error:
        log("not loaded", error=str(error))
        return 1
    finally:
        loading.cancel()
        stopping.cancel()
        await runner.cleanup()
    log("stopped")
    return 0


def main() -> int:
    """Serve as the environment says; return the exit code."""
    try:
        settings = read_settings(ServerSettings, os.environ)
    except ValidationError as error:
        log("wrong setting", error=protocol.describe(error))
        return 2
    return asyncio.run(run(settings))


def _error(status: int, message: str) -> web.Response:
    body: dict[str, Any] = {"error": message}
    return web.json_response(body, status=status)


def _safe(text: str) -> str:
    # An HTTP reason phrase must be one line.
    return json.dumps(text)
