"""Objects that are followed as they change: list, then watch; list again when the stream breaks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from weir.runtime.resources import KubeObject, Resource

if TYPE_CHECKING:
    import aiohttp

    from weir.runtime.client import KubeClient

_STREAM_SECONDS = 300
"""How long the API server keeps a stream open; it is asked for."""
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
_RELIST_SECONDS = 3.0
"""Time between lists where the user may list but not watch."""


@dataclass(frozen=True)
class Followed:
    """A kind in a namespace (empty: in all), or one object of it; ``optional``: nothing where it may not be read."""

    resource: Resource
    namespace: str
    name: str = ""
    optional: bool = False

    @property
    def selector(self) -> str | None:
        """Field selector of the one object."""
        return f"metadata.name={self.name}" if self.name else None


class Following:
    """Keeps a copy of what is followed while its ``async with`` block runs."""

    def __init__(self, client: KubeClient, wanted: Sequence[Followed]) -> None:
        self._client = client
        self._wanted = tuple(wanted)
        self._objects: dict[Resource, dict[tuple[str, str], KubeObject]] = {f.resource: {} for f in wanted}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble = ""
        """Why the copy may be old; empty while all streams are open."""

    async def __aenter__(self) -> Self:
        import aiohttp

        connection = self._client.connection
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=connection.ssl_context))
        try:
            # What is there is known before the first look; errors of the first lists are the caller's.
            versions = [await self._first(followed) for followed in self._wanted]
        except BaseException:
            await self._session.close()
            raise
        self._tasks = [
            asyncio.create_task(self._keep(followed, version))
            for followed, version in zip(self._wanted, versions, strict=True)
            if version is not None
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def objects(self, resource: Resource) -> list[KubeObject]:
        """What there is now, by namespace and name."""
        return [item for _, item in sorted(self._objects[resource].items())]

    def find(self, resource: Resource, name: str) -> KubeObject | None:
        """One object by name, where one namespace is followed."""
        return next((item for (_, known), item in self._objects[resource].items() if known == name), None)

    async def change(self, seconds: float) -> bool:
        """Wait for the next change, no longer than that; returns whether there was one.

        Raises:
            ApiError: what cannot be followed any more.
        """
        for task in self._tasks:
            if task.done():
                task.result()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _first(self, followed: Followed) -> str | None:
        from weir.runtime.errors import Forbidden, NotFound

        try:
            return await self._list(followed)
        except (Forbidden, NotFound):
            if followed.optional:
                return None
            raise

    async def _list(self, followed: Followed) -> str:
        listing = await self._client.list(
            followed.resource, followed.namespace or None, field_selector=followed.selector
        )
        found = {_key(item): item for item in listing.items}
        if found != self._objects[followed.resource]:
            self._objects[followed.resource] = found
            self._changed.set()
        return listing.resource_version

    async def _keep(self, followed: Followed, version: str) -> None:
        """Follow for ever."""
        from weir.runtime.errors import Expired, Forbidden, Unauthorized, Unavailable

        failures = 0
        while True:
            opened = time.monotonic()
            try:
                if not version:
                    version = await self._list(followed)
                async for reached in self._stream(followed, version):
                    version, failures = reached, 0
            except (Expired, Unauthorized):
                # A list reads the credentials anew where they have run out.
                version = ""
            except Forbidden:
                await asyncio.sleep(_RELIST_SECONDS)
                version = ""
            except Unavailable as error:
                self.trouble, version = f"the connection is lost, trying again: {error.message}", ""
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
            # Something between may end streams as soon as they begin.
            await asyncio.sleep(max(0.0, opened + _RETRY_SECONDS[0] - time.monotonic()))

    async def _stream(self, followed: Followed, version: str) -> AsyncIterator[str]:
        """Applies changes after ``version`` until the stream ends; yields the version that was reached."""
        async for event in self._events(followed, version):
            item = event["object"]
            version = str(item["metadata"]["resourceVersion"])
            if event["type"] == "DELETED":
                self._objects[followed.resource].pop(_key(item), None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._objects[followed.resource][_key(item)] = item
            if event["type"] != "BOOKMARK":
                self._changed.set()
            yield version

    async def _events(self, followed: Followed, version: str) -> AsyncIterator[dict[str, Any]]:
        import aiohttp

        from weir.runtime.errors import Unavailable, error_from_response

        path = followed.resource.path(followed.namespace or None)
        try:
            async with _Answer(self._session, self._client, path, followed.selector, version) as answer:
                if answer.status >= 400:
                    raise error_from_response(answer.status, await answer.read(), verb="WATCH", target=path)
                self.trouble = ""
                async for line in _lines(answer):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = int(event["object"].get("code") or 500)
                        raise error_from_response(
                            status, json.dumps(event["object"]).encode(), verb="WATCH", target=path
                        )
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{path}: {error or type(error).__name__}", reason="ConnectionError") from error


class _Answer:
    """One open stream."""

    def __init__(
        self, session: aiohttp.ClientSession, client: KubeClient, path: str, selector: str | None, version: str
    ) -> None:
        self._session, self._client, self._path = session, client, path
        self._query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_STREAM_SECONDS),
            "resourceVersion": version,
        }
        if selector is not None:
            self._query["fieldSelector"] = selector

    async def __aenter__(self) -> aiohttp.ClientResponse:
        import aiohttp

        connection = self._client.connection
        headers = await self._client.credentials()
        headers["Accept"] = "application/json"
        self._response = await self._session.get(
            connection.server + self._path,
            params=self._query,
            headers=headers,
            proxy=connection.proxy,
            server_hostname=connection.tls_server_name,
            # A dead connection is noticed at the latest when the stream should have ended.
            timeout=aiohttp.ClientTimeout(sock_connect=10.0, total=_STREAM_SECONDS + 30.0),
        )
        return self._response

    async def __aexit__(self, *_error: object) -> None:
        self._response.close()


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines of any length: aiohttp's own readline refuses those beyond 64 KiB, and a Rollout may be larger."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


def _key(item: KubeObject) -> tuple[str, str]:
    meta = item["metadata"]
    return meta.get("namespace") or "", meta["name"]
