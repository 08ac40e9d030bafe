"""The HTTP endpoints for the kubelet and Prometheus: /healthz, /readyz, /metrics.

/healthz never asks the API server: an operator must not be restarted because somebody else is down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from .clock import Clock, SystemClock

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""

_LAG_INTERVAL = 0.5


class LoopLag:
    """Measures how late the event loop runs what is due."""

    def __init__(self, limit: float = 5.0, clock: Clock | None = None) -> None:
        self._limit = limit
        self._clock = clock if clock is not None else SystemClock()
        self._due = self._clock.monotonic()
        self.last = 0.0
        """Lag of the last measurement in seconds."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = self._clock.monotonic() + _LAG_INTERVAL
            await self._clock.sleep(_LAG_INTERVAL)
            self.last = max(0.0, self._clock.monotonic() - self._due)

    def check(self) -> str | None:
        """Wrong when the last measurement, or the one that is overdue, exceeds the limit."""
        lag = max(self.last, self._clock.monotonic() - self._due)
        return f"the event loop lags {lag:.1f} s (limit {self._limit:g} s)" if lag > self._limit else None


def reconcile_check(name: str, oldest_running: Callable[[], float], deadline: float) -> Check:
    """Wrong when the oldest reconcile runs for more than twice its deadline: cutting it off did not work."""

    def check() -> str | None:
        age = oldest_running()
        return f"{name}: a reconcile runs for {age:.0f} s" if age > 2 * deadline else None

    return check


def ready_check(synced: Callable[[], bool], leader: Callable[[], bool], standby: Callable[[], bool]) -> Check:
    """Wrong until the caches are synced and this process leads or stands by."""

    def check() -> str | None:
        if not synced():
            return "the caches are not synced"
        return None if leader() or standby() else "neither leader nor standby"

    return check


@dataclass(slots=True)
class HealthServer:
    """Serves the three endpoints; `port` 0 picks a free one (see `port` after `start`)."""

    registry: CollectorRegistry
    healthy: Sequence[Check]
    ready: Sequence[Check]
    host: str = "0.0.0.0"
    port: int = 8080
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._answer_health)
        app.router.add_get("/readyz", self._answer_ready)
        app.router.add_get("/metrics", self._answer_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer_health(self, _request: web.Request) -> web.Response:
        return _verdict(self.healthy)

    async def _answer_ready(self, _request: web.Request) -> web.Response:
        return _verdict(self.ready)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Rendering thousands of series takes tens of milliseconds, which the event loop can spare.
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})


def _verdict(checks: Sequence[Check]) -> web.Response:
    wrong = [problem for check in checks if (problem := check()) is not None]
    return web.Response(text="\n".join(wrong) or "ok", status=503 if wrong else 200)
