"""A thin asynchronous client of the API server: dicts in, dicts out, errors as types.

It builds on the `kubernetes` package's configuration and connections, not on its models and not on its patch methods
(which send a JSON patch as a merge patch).
"""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from multidict import CIMultiDict

from . import kubeconfig as kubeconfigs
from .errors import Expired, Fenced, NotFound, Unauthorized, Unavailable, error_from_response
from .metrics import Metrics
from .resources import LEASES, KubeObject, Resource

DEFAULT_TIMEOUT = 10.0
"""Seconds for one request, connection and answer together."""

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"

Subresource = Literal["status", "scale"]
Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of one list, and the version of the collection that it shows."""

    items: list[KubeObject]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how to reach it, for users of the same credentials (the watches)."""

    server: str
    ssl_context: ssl.SSLContext
    tls_server_name: str | None
    proxy: str | None


class KubeClient:
    """The API server, seen through a handful of verbs.

    Every method raises a subclass of `ApiError`; none retries. `fence`, when set, is asked before every write (but
    those to Leases) for how many seconds the leadership still lasts: at zero the write is refused, else it waits no
    longer than that.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        field_manager: str = "weir",
        request_seconds: float = DEFAULT_TIMEOUT,
        metrics: Metrics | None = None,
        reload: Callable[[], Awaitable[Configuration]] | None = None,
        stands_in: kubeconfigs.Headers = (),
    ) -> None:
        self._configuration = configuration
        self._api = ApiClient(configuration)
        self._field_manager = field_manager
        self._timeout = request_seconds
        self._metrics = metrics if metrics is not None else Metrics()
        self._reload = reload
        self._stands_in = stands_in
        self.fence: Callable[[], float] | None = None

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        field_manager: str = "weir",
        request_seconds: float = DEFAULT_TIMEOUT,
        metrics: Metrics | None = None,
    ) -> Self:
        """A client for the cluster of `kubeconfig`, else $KUBECONFIG, else the pod's own, else ~/.kube/config.

        Raises:
            ApiError: no usable configuration was found; the message says where it looked.
        """

        async def load() -> Configuration:
            return await kubeconfigs.load(kubeconfig, context)

        return cls(
            await load(),
            field_manager=field_manager,
            request_seconds=request_seconds,
            metrics=metrics,
            reload=load,
            stands_in=kubeconfigs.stands_in(kubeconfig, context),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._api.rest_client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @property
    def connection(self) -> Connection:
        """Address and TLS settings of the API server."""
        conf = self._configuration
        return Connection(conf.host, self._api.rest_client.ssl_context, conf.tls_server_name, conf.proxy)

    async def credentials(self) -> CIMultiDict[str]:
        """Headers that say who asks, now: rotated tokens are read anew. One name may occur more than once."""
        setting = (await self._configuration.auth_settings()).get("BearerToken")
        token = [("Authorization", str(setting["value"]))] if setting and setting.get("value") else []
        return CIMultiDict([*token, *self._stands_in])

    # -- reading --

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """One object."""
        return await self._call("GET", resource, resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
    ) -> Listing:
        """All objects of a namespace (or of all), page by page; a list that expires midway is taken again whole."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        try:
            return await self._list_pages(resource, namespace, query, page_size)
        except Expired:
            return await self._list_pages(resource, namespace, query, 0)

    async def _list_pages(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str | None], page_size: int
    ) -> Listing:
        items: list[KubeObject] = []
        token: str | None = None
        while True:
            paging = {"limit": str(page_size) if page_size else None, "continue": token}
            page = await self._call("GET", resource, resource.path(namespace), query={**query, **paging})
            for item in page.get("items") or []:
                # Items of a list carry neither kind nor apiVersion.
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
                items.append(item)
            meta = page.get("metadata") or {}
            token = meta.get("continue") or None
            if token is None:
                return Listing(items, str(meta.get("resourceVersion") or ""))

    async def get_path(self, path: str) -> KubeObject:
        """The JSON object at a path of the API server, for discovery and version."""
        return await self._call("GET", None, path)

    async def served(self, resources: Iterable[Resource]) -> frozenset[Resource]:
        """Those of `resources` that the API server serves now (a missing CRD is simply not among them)."""
        wanted = list(resources)
        plurals: dict[str, set[str]] = {}
        for path in {resource.group_path for resource in wanted}:
            try:
                answer = await self.get_path(path)
            except NotFound:
                answer = {}
            plurals[path] = {item["name"] for item in answer.get("resources") or []}
        return frozenset(resource for resource in wanted if resource.plural in plurals[resource.group_path])

    # -- writing --

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create `body`; its metadata names it (or its generateName)."""
        query = self._write_query(dry_run)
        path = resource.path(body["metadata"].get("namespace"))
        return await self._call("POST", resource, path, query=query, body=body)

    async def apply(
        self,
        resource: Resource,
        body: KubeObject,
        *,
        field_manager: str | None = None,
        force: bool = True,
        subresource: Subresource | None = None,
        dry_run: bool = False,
    ) -> KubeObject:
        """Server-side apply: state everything this manager wants; what it stated before and leaves out now is removed.

        Raises:
            FieldConflict: without `force`, when another manager holds one of the fields.
        """
        meta = body["metadata"]
        query = self._write_query(dry_run, field_manager) | {"force": "true" if force else "false"}
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        stated = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._call("PATCH", resource, path, query=query, body=stated, content_type=_APPLY)

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: KubeObject,
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        resource_version: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> KubeObject:
        """Merge `patch` (None removes a field); with `resource_version`, `Conflict` if the object has changed since."""
        body = dict(patch)
        if resource_version is not None:
            body["metadata"] = {**(patch.get("metadata") or {}), "resourceVersion": resource_version}
        path = resource.path(namespace, name, subresource)
        query = self._write_query(dry_run, field_manager)
        return await self._call("PATCH", resource, path, query=query, body=body, content_type=_MERGE)

    async def json_patch(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        namespace: str | None = None,
        *,
        subresource: Subresource | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> KubeObject:
        """Apply RFC 6902 operations, all or none; a `test` that does not hold is a `Conflict`."""
        path = resource.path(namespace, name, subresource)
        query = self._write_query(dry_run, field_manager)
        return await self._call("PATCH", resource, path, query=query, body=[*operations], content_type=_JSON_PATCH)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Propagation = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> None:
        """Delete one object; `uid` and `resource_version` make sure that it is the one meant (else `Conflict`)."""
        guards = {"uid": uid, "resourceVersion": resource_version}
        body: KubeObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {field: value for field, value in guards.items() if value is not None},
        }
        query = {"dryRun": "All" if dry_run else None}
        await self._call("DELETE", resource, resource.path(namespace, name), query=query, body=body)

    def _write_query(self, dry_run: bool, field_manager: str | None = None) -> dict[str, str | None]:
        return {
            "fieldManager": field_manager or self._field_manager,
            # A misspelt field must fail here, not be dropped by the API server without a word.
            "fieldValidation": "Strict",
            "dryRun": "All" if dry_run else None,
        }

    # -- the wire --

    async def _call(
        self,
        method: str,
        resource: Resource | None,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Any = None,
        content_type: str = _JSON,
    ) -> KubeObject:
        seconds = self._seconds_allowed(method, resource, path)
        parameters = tuple((name, value) for name, value in (query or {}).items() if value is not None)
        label = resource.qualified_name if resource else "discovery"
        request = _Request(method, path, label, parameters, body, content_type, seconds)
        try:
            return await self._send(request)
        except Unauthorized:
            if self._reload is None:
                raise
            # Tokens from a plugin or a rotated file expire; ask for new ones once.
            await self._reconnect()
            return await self._send(request)

    def _seconds_allowed(self, method: str, resource: Resource | None, path: str) -> float:
        if method == "GET" or resource == LEASES or self.fence is None:
            return self._timeout
        left = self.fence()
        if left <= 0:
            raise Fenced(f"{method} {path}: not sent, this process is not the leader", reason="NotLeader")
        return min(self._timeout, left)

    async def _reconnect(self) -> None:
        assert self._reload is not None
        fresh, old = await self._reload(), self._api
        self._configuration, self._api = fresh, ApiClient(fresh)
        await old.rest_client.close()

    async def _send(self, request: "_Request") -> KubeObject:
        started, code = time.monotonic(), "error"
        try:
            status, headers, answer = await self._exchange(request)
            code = str(status)
        except TimeoutError as exc:
            code = "timeout"
            raise Unavailable(f"{request}: no answer within {request.seconds:g} s", reason="Timeout") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise Unavailable(f"{request}: {exc or type(exc).__name__}", reason="ConnectionError") from exc
        finally:
            self._metrics.requests.labels(request.method, request.label, code).inc()
            duration = time.monotonic() - started
            self._metrics.request_seconds.labels(request.method, request.label).observe(duration)
        if status >= 400:
            raise error_from_response(
                status,
                answer,
                verb=request.method,
                target=request.path,
                content_type=request.content_type,
                retry_after=headers.get("Retry-After"),
            )
        return _parse(answer, status, str(request))

    async def _exchange(self, request: "_Request") -> tuple[int, Mapping[str, str], bytes]:
        async with asyncio.timeout(request.seconds):
            # The body stays out of here: the generator's serialiser walks every value of it for nothing.
            _, url, known, _, _ = await self._api.param_serialize(
                request.method,
                request.path,
                query_params=list(request.query),
                header_params={"Content-Type": request.content_type, "Accept": _JSON},
            )
            headers = CIMultiDict([*known.items(), *(await self.credentials()).items()])
            timeout = aiohttp.ClientTimeout(total=request.seconds)
            send: Any = self._api.rest_client.request
            response = await send(request.method, url, headers=headers, body=request.body, _request_timeout=timeout)
            try:
                return response.status, response.headers, await response.read()
            finally:
                response.response.release()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    label: str
    query: tuple[tuple[str, str], ...]
    body: Any
    content_type: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _parse(answer: bytes, status: int, what: str) -> KubeObject:
    try:
        parsed = json.loads(answer)
    except ValueError as exc:
        raise Unavailable(f"{what}: the answer is not JSON", status=status, reason="BadAnswer") from exc
    if not isinstance(parsed, dict):
        raise Unavailable(f"{what}: the answer is not an object", status=status, reason="BadAnswer")
    return parsed
