"""Watches: kopf streams the changes of the cluster into the cache; we hear of each change once.

The only module that imports kopf, and it uses kopf as a watch engine alone: no handlers with progress, no finalizers,
no patches, no peering. Two things kopf does not tell are read off its HTTP session: when a list is complete (so that
the cache counts as synced) and which objects a later list does not show any more (deleted while the stream was broken).
"""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import kopf

from .cache import Cache, EventType, StaleGuard, is_older
from .client import KubeClient
from .clock import Clock, SystemClock
from .errors import ApiError
from .metrics import Metrics
from .resources import WEIR_GROUP, KubeObject, Resource, key_of

_log = logging.getLogger(__name__)

_MISSING_RECHECK_SECONDS = 60.0
_RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_DOUBTS = 3
_STABLE_SECONDS = 60.0
_ERROR_BACKOFFS: tuple[float, ...] = (0.5, 1, 2, 4)
_END_SECONDS = 3.0
_END_TRIES = 25
_IDENTITY: Any = "weir"
_KOPF_HOME = str(Path(kopf.__file__).parent)

OnChange = Callable[[Resource, KubeObject, EventType], None]
"""Called on the event loop for each change, after the cache shows it; must be quick and must not raise."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind to watch, all of it or what a server-side label selector leaves.

    ``everywhere``: in the whole cluster also where only some namespaces are served.
    """

    resource: Resource
    label_selector: str | None = None
    everywhere: bool = False


@dataclass(slots=True)
class _Scope:
    """One stream of kopf: a kind, in one namespace or in all; and how far its lists have come."""

    resource: Resource
    namespace: str | None
    listed: bool = False
    list_version: str | None = None
    seen: set[tuple[str, str]] | None = None


class WatchSource:
    """Keeps `cache` equal to the cluster and reports changes, until `stop`.

    Kinds whose CRD is missing are left out (see `missing`) and picked up when it appears. A failing API server is
    waited for. Nothing here ever writes.
    """

    def __init__(
        self,
        client: KubeClient,
        watched: Sequence[Watched],
        cache: Cache,
        on_change: OnChange,
        *,
        namespaces: Collection[str] = (),
        guard: StaleGuard | None = None,
        install_signals: Callable[[], None] | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Prepare; nothing is requested yet.

        Args:
            client: whose connection and credentials the watches share.
            watched: the kinds.
            cache: filled and kept by this source alone.
            on_change: told about every change.
            namespaces: where to watch; empty means the whole cluster.
            guard: told about every end of an object.
            install_signals: called after each start of kopf, which takes SIGINT and SIGTERM for itself.
            clock: time, for the pauses.
            metrics: where to count.
        """
        self._client = client
        self._watched = tuple(watched)
        self._cache = cache
        self._on_change = on_change
        self._namespaces = tuple(sorted(namespaces))
        self._everywhere = frozenset(item.resource for item in watched if item.everywhere and namespaces)
        self._guard = guard
        self._install_signals = install_signals
        self._clock = clock if clock is not None else SystemClock()
        self._metrics = metrics if metrics is not None else Metrics()
        self._scopes: dict[str, _Scope] = {}
        self._doubts = 0
        self._stop = asyncio.Event()
        self._synced = asyncio.Event()
        self.missing: frozenset[Resource] = frozenset()
        """Watched kinds that the API server does not serve now."""

    # -- state --

    @property
    def synced(self) -> bool:
        """True once every kind that is served has been listed completely."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once `synced` is true."""
        await self._synced.wait()

    def stop(self) -> None:
        """Make `run` return soon."""
        self._stop.set()

    # -- life --

    async def run(self) -> None:
        """Watch until `stop`. Other tasks of the loop are left alone, also when kopf ends."""
        failures = 0
        while not self._stop.is_set():
            started = self._clock.monotonic()
            cause = await self._run_once()
            if self._stop.is_set():
                return
            self._metrics.watch_restarts.labels(cause).inc()
            if cause == "kinds":
                continue
            long_enough = self._clock.monotonic() - started > _STABLE_SECONDS
            failures = 0 if long_enough else failures
            await self._pause(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
            failures += 1

    async def _run_once(self) -> str:
        """Run kopf until it has to be started again; returns why."""
        try:
            served = await self._client.served(watched.resource for watched in self._watched)
            if self._doubtful(served):
                return "discovery"
            self._prepare(served)
            return await self._run_kopf([watched for watched in self._watched if watched.resource in served])
        except ApiError as exc:
            _log.warning("discovery failed: %s", exc)
            return "discovery"
        except Exception as exc:
            # kopf gives up after a few failed requests; an API server that restarts takes longer than that.
            _log.warning("the watch engine ended and will be started again: %r", exc)
            return "error"

    def _doubtful(self, served: frozenset[Resource]) -> bool:
        """Whether to ask again before believing that a kind is gone: an API server that starts may deny it first."""
        gone = {scope.resource for scope in self._scopes.values()} - served
        self._doubts = self._doubts + 1 if gone else 0
        if not 0 < self._doubts <= _DOUBTS:
            return False
        _log.warning("kinds not served any more, asking again: %s", sorted(kind.qualified_name for kind in gone))
        return True

    def _prepare(self, served: frozenset[Resource]) -> None:
        self.missing = frozenset(watched.resource for watched in self._watched) - served
        if self.missing:
            names = ", ".join(sorted(resource.qualified_name for resource in self.missing))
            _log.warning("not served by this cluster, watched once they are: %s", names)
        scopes: dict[str, _Scope] = {}
        for watched in self._watched:
            for namespace in self._spaces(watched.resource):
                path = watched.resource.path(namespace)
                if watched.resource in served:
                    scopes[path] = self._scopes.get(path) or _Scope(watched.resource, namespace)
        for path, scope in self._scopes.items():
            if path not in scopes:
                # The CRD is gone and its objects with it.
                self._prune(scope, set())
        self._scopes = scopes
        self._update_synced()

    def _spaces(self, resource: Resource) -> tuple[str | None, ...]:
        """Where a kind is watched; None is the whole cluster."""
        local = resource.namespaced and resource not in self._everywhere
        return self._namespaces if local and self._namespaces else (None,)

    async def _run_kopf(self, watched: Sequence[Watched]) -> str:
        registry = kopf.OperatorRegistry()
        stop = asyncio.Event()
        for item in watched:
            self._register(registry, item.resource)
        kopf.on.login(registry=registry, id="connect", retries=1)(self._login)
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=_settings(watched),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
            # Else kopf asks for the user's name, which a bare uid in a container does not have.
            identity=_IDENTITY,
        )
        self._take_signals_back()
        engine = asyncio.create_task(kopf.run_tasks(tasks, ignored=_ForeignTasks()), name="watch engine")
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop.wait())]
        if self.missing:
            ends.append(asyncio.create_task(self._wait_for_missing()))
        try:
            # Not the engine alone: when one of its tasks fails, kopf may wait for the others for ever.
            ended, _ = await asyncio.wait({engine, *tasks, *ends}, return_when=asyncio.FIRST_COMPLETED)
            failures = [task.exception() for task in ended if not task.cancelled() and task in tasks]
        finally:
            stop.set()
            await _end(engine)
            for task in ends:
                task.cancel()
        for failure in failures:
            if failure is not None:
                raise failure
        return "kinds" if ended & set(ends) else "ended"

    async def _wait_for_missing(self) -> bool:
        while True:
            await self._clock.sleep(_MISSING_RECHECK_SECONDS)
            with contextlib.suppress(ApiError):
                if await self._client.served(self.missing):
                    return True

    async def _pause(self, seconds: float) -> None:
        waits = [asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(self._stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def _take_signals_back(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if self._install_signals is not None:
            self._install_signals()

    # -- what kopf calls --

    def _register(self, registry: kopf.OperatorRegistry, resource: Resource) -> None:
        async def on_event(event: Any, **_: Any) -> None:
            self.deliver(resource, event["type"], event["object"])

        selector = {"group": resource.group, "version": resource.version, "plural": resource.plural}
        kopf.on.event(**selector, registry=registry, id=f"watch-{resource.plural}")(on_event)  # type: ignore[arg-type]

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        connection = self._client.connection
        connector = aiohttp.TCPConnector(limit=0, ssl=connection.ssl_context)
        session = aiohttp.ClientSession(
            connector=connector, middlewares=(self._tap,), proxy=connection.proxy, read_bufsize=2**21
        )
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    async def _tap(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Authorise each request of kopf with the current credentials, and read every list before kopf does."""
        request.headers.update(await self._client.credentials())
        name = self._client.connection.tls_server_name
        if name is not None:
            request.server_hostname = name
        response = await handler(request)
        path = request.url.path.removeprefix(urlsplit(self._client.connection.server).path.rstrip("/"))
        if path in self._scopes and response.status == 200 and "watch" not in request.url.query:
            # The body stays in the response, so kopf reads the same bytes again from memory.
            page = json.loads(await response.read())
            self.take_page(path, page, first="continue" not in request.url.query)
        elif response.status == 200 and any(path == resource.group_path for resource in self._everywhere):
            await self._widen(path, response)
        return response

    async def _widen(self, path: str, response: aiohttp.ClientResponse) -> None:
        """Tells kopf that kinds to watch everywhere are in no namespace, else it watches them only in those served."""
        plurals = {resource.plural for resource in self._everywhere if resource.group_path == path}
        answer = json.loads(await response.read())
        for item in answer.get("resources") or []:
            if item["name"] in plurals:
                item["namespaced"] = False
        response._body = json.dumps(answer).encode()

    # -- into the cache --

    def take_page(self, path: str, page: KubeObject, *, first: bool) -> None:
        """Take in one page of a list; after the last page drop what the list does not show and count it as complete."""
        scope = self._scopes[path]
        if first or scope.seen is None:
            scope.seen = set()
        for item in page.get("items") or []:
            item.setdefault("kind", scope.resource.kind)
            item.setdefault("apiVersion", scope.resource.api_version)
            key = key_of(scope.resource, item)
            scope.seen.add((key.namespace, key.name))
            self._put(scope.resource, item)
        meta = page.get("metadata") or {}
        if meta.get("continue"):
            return
        self._prune(scope, scope.seen)
        scope.seen, scope.listed, scope.list_version = None, True, meta.get("resourceVersion")
        self._metrics.watch_lists.labels(scope.resource.qualified_name).inc()
        self._update_synced()

    def deliver(self, resource: Resource, type_: str | None, obj: KubeObject) -> None:
        """Take in one event of a stream."""
        if type_ == "DELETED":
            if self._guard is not None:
                self._guard.deleted(resource, obj)
            dropped = self._cache.remove(resource, obj)
            if dropped is not None:
                self._tell(resource, dropped, EventType.DELETED)
        elif type_ is not None and not self._outdated(resource, obj):
            self._put(resource, obj)

    def _outdated(self, resource: Resource, obj: KubeObject) -> bool:
        """Whether a later list has already shown that this object is gone."""
        key = key_of(resource, obj)
        if self._cache.get(resource, key.namespace, key.name) is not None:
            return False
        scope = self._scopes.get(resource.path(None if self._spaces(resource) == (None,) else key.namespace))
        return (
            scope is not None
            and scope.list_version is not None
            and not is_older(scope.list_version, obj["metadata"].get("resourceVersion"))
        )

    def _put(self, resource: Resource, obj: KubeObject) -> None:
        kept, change = self._cache.put(resource, obj)
        if change is not None:
            self._tell(resource, kept, change)

    def _prune(self, scope: _Scope, seen: set[tuple[str, str]]) -> None:
        for key in self._cache.keys(scope.resource, scope.namespace):
            if (key.namespace, key.name) not in seen:
                dropped = self._cache.discard(key)
                if dropped is not None:
                    self._tell(scope.resource, dropped, EventType.DELETED)

    def _tell(self, resource: Resource, obj: KubeObject, change: EventType) -> None:
        self._metrics.watch_events.labels(resource.qualified_name, change.value).inc()
        try:
            self._on_change(resource, obj, change)
        except Exception:
            _log.exception("on_change failed for %s", key_of(resource, obj))

    def _update_synced(self) -> None:
        if all(scope.listed for scope in self._scopes.values()):
            self._synced.set()


def _settings(watched: Sequence[Watched]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # No CRD and namespace observers: fewer rights needed, and missing kinds are found by our own discovery.
    settings.scanning.disabled = True
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _ERROR_BACKOFFS
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = 290
    # The API server sends a bookmark each minute; a shorter limit would cut healthy streams.
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 0.5
    settings.watching.chunk_size = 500
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 30)
    settings.persistence.finalizer = f"{WEIR_GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=WEIR_GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=WEIR_GROUP)
    settings.execution.max_workers = 4
    # Else kopf kills the whole process when its own end takes long, also when we only start it again.
    settings.process.ultimate_exiting_timeout = None
    for item in watched:
        if item.label_selector is not None:
            place = (item.resource.group, item.resource.version, item.resource.plural)
            settings.watching.label_selectors[place] = item.label_selector
    return settings


async def _end(engine: asyncio.Task[None]) -> None:
    """Wait for kopf to end; after a while cancel what is left of it, again and again, and at last leave it behind."""
    await asyncio.wait({engine}, timeout=_END_SECONDS)
    foreign = _ForeignTasks()
    for _ in range(_END_TRIES):
        left = [task for task in asyncio.all_tasks() if task not in foreign]
        if engine.done() and not left:
            return
        for task in left:
            task.cancel()
        # A watcher that waits for a login which will never come can swallow the first cancellation.
        await asyncio.wait({engine, *left}, timeout=0.2)
    _log.error("the watch engine did not end, and is left behind")


class _ForeignTasks(Collection[Any]):
    """All tasks that are not kopf's: at its end kopf cancels every task that it is not told to ignore."""

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not str(code.co_filename).startswith(_KOPF_HOME)

    def __iter__(self) -> Iterator[Any]:
        return (task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
