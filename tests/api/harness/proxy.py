"""A way to the API server that counts writes, and after a given number of them calls somebody before it answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host", "content-encoding"}


@dataclass
class Proxy:
    """Plain HTTP on loopback, to the API server at ``target``; credentials pass through.

    Writes to Leases are not counted. The counted write has happened when ``reached`` is called, and its answer never
    gets to the client if ``reached`` kills it: the harshest moment for a crash.
    """

    target: str
    writes: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every write since ``expect``."""

    def __post_init__(self) -> None:
        self._limit = 0
        self._reached: Callable[[], None] = lambda: None
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def expect(self, limit: int, reached: Callable[[], None]) -> None:
        """Counts from zero; calls ``reached`` once, after write number ``limit``; 0 never."""
        self.writes = []
        self._limit, self._reached = limit, reached

    def stop(self) -> None:
        """Listen no more."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(5)

    def _run(self, started: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._ending = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=True) as self._session:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._pass)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._port = runner.addresses[0][1]
            started.set()
            await self._ending.wait()
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        body = await request.read()
        url = self.target + request.raw_path
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            if request.method != "GET" and "/leases" not in request.path:
                content = await answer.read()
                self._count(request)
                return web.Response(status=answer.status, body=content, headers=_kept(answer))
            passed = web.StreamResponse(status=answer.status, headers=_kept(answer))
            await passed.prepare(request)
            # Whoever was killed reads no more.
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for chunk in answer.content.iter_any():
                    await passed.write(chunk)
                await passed.write_eof()
            return passed

    def _count(self, request: web.Request) -> None:
        self.writes.append((request.method, request.path))
        if len(self.writes) == self._limit:
            self._reached()


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
