"""A static file server for the artifacts: GET /models/<file>, with ranges and entity tags; no listing, no writes."""

import asyncio
import os
import signal
from pathlib import Path

from aiohttp import web
from pydantic import Field, ValidationError

from .settings import Settings, log, read_settings


class StoreSettings(Settings):
    """What to serve."""

    store_path: Path = Path("/models")
    bind_address: str = "0.0.0.0"
    port: int = Field(default=8080, ge=0, le=65535)


def create_app(path: Path) -> web.Application:
    """Return an application that serves the files below `path` at /models; links do not lead out of it."""
    app = web.Application()
    app.router.add_get("/healthz", _health)
    app.router.add_static("/models", path, show_index=False, follow_symlinks=False)
    return app


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"ready": True})


async def run(settings: StoreSettings) -> int:
    """Serve until SIGTERM or SIGINT; return 0."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    runner = web.AppRunner(create_app(settings.store_path), access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    await web.TCPSite(runner, settings.bind_address, settings.port).start()
    log("listening", port=runner.addresses[0][1], path=settings.store_path)
    await stop.wait()
    await runner.cleanup()
    return 0


def main() -> int:
    """Serve as the environment says; return the exit code."""
    try:
        settings = read_settings(StoreSettings, os.environ)
    except ValidationError as error:
        log("wrong setting", error=str(error))
        return 2
    return asyncio.run(run(settings))
