import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from weir.runtime import watch
from weir.runtime.cache import Cache, EventType, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.metrics import Metrics
from weir.runtime.resources import CONFIG_MAPS, HTTP_ROUTES, PODS, KubeObject, ObjectKey, Resource
from weir.runtime.watch import Watched, WatchSource

from .fakes import until

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


def config_map(name: str, version: int, **data: str) -> KubeObject:
    meta = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


class ApiServer:
    """Discovery, lists and watch streams of a few kinds, over real HTTP."""

    def __init__(self) -> None:
        # Without `namespaces` in discovery kopf would wait for ever, silently.
        self.kinds: dict[str, list[Resource]] = {"/api/v1": [CONFIG_MAPS, PODS, NAMESPACES]}
        self.objects: dict[str, list[KubeObject]] = defaultdict(list)
        self.streams: dict[str, list[asyncio.Queue[Any]]] = defaultdict(list)
        self.queries: list[tuple[str, dict[str, str]]] = []
        self.tokens: set[str | None] = set()
        self.refuse = False
        self.forbidden: set[str] = set()
        self.version = 100

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        self.tokens.add(request.headers.get("Authorization"))
        if self.refuse:
            return web.json_response({"kind": "Status", "code": 503}, status=503)
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            names = sorted({kind.group for kinds in self.kinds.values() for kind in kinds if kind.group})
            groups = [
                {"name": n, "preferredVersion": {"version": "v1"}, "versions": [{"version": "v1"}]} for n in names
            ]
            return web.json_response({"groups": groups})
        if path in self.kinds:
            return web.json_response({"resources": [self._describe(kind) for kind in self.kinds[path]]})
        if path in {
            kind.path(namespace) for kinds in self.kinds.values() for kind in kinds for namespace in (None, "ml")
        }:
            if path in self.forbidden:
                return web.json_response({"kind": "Status", "code": 403, "message": "cannot list"}, status=403)
            self.queries.append((path, dict(request.query)))
            return await self._stream(request, path) if "watch" in request.query else self._list(path)
        return web.Response(status=404, text="404 page not found")

    def _describe(self, kind: Resource) -> dict[str, Any]:
        verbs = ["list", "watch", "get", "patch"]
        return {
            "name": kind.plural,
            "singularName": "",
            "kind": kind.kind,
            "namespaced": kind.namespaced,
            "verbs": verbs,
        }

    def _list(self, path: str) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": self.objects[path]})

    async def _stream(self, request: web.Request, path: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        events: asyncio.Queue[Any] = asyncio.Queue()
        self.streams[path].append(events)
        while (event := await events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    def send(self, path: str, type_: str, obj: KubeObject) -> None:
        self.streams[path][-1].put_nowait({"type": type_, "object": obj})

    def hang_up(self) -> None:
        for streams in self.streams.values():
            for events in streams:
                events.put_nowait(None)


class Seen:
    def __init__(self) -> None:
        self.changes: list[tuple[str, str, EventType]] = []

    def __call__(self, resource: Resource, obj: KubeObject, change: EventType) -> None:
        self.changes.append((resource.plural, obj["metadata"]["name"], change))


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[ApiServer, KubeClient]]:
    api = ApiServer()
    app = web.Application()
    app.router.add_get("/{tail:.*}", api.handle)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        configuration.api_key["BearerToken"] = "Bearer secret"
        async with KubeClient(configuration) as client:
            yield api, client
        api.hang_up()


@asynccontextmanager
async def started(source: WatchSource) -> AsyncIterator[asyncio.Task[None]]:
    run = asyncio.create_task(source.run())
    try:
        yield run
    finally:
        source.stop()
        async with asyncio.timeout(5):
            await run


CM = "/api/v1/configmaps"


async def test_given_objects_and_a_missing_kind_when_started_then_it_syncs_follows_and_stops(metrics: Metrics) -> None:
    async with api_server() as (api, client):
        api.objects[CM] = [config_map("a", 1)]
        cache, seen = Cache(), Seen()
        wanted = [Watched(CONFIG_MAPS, "weir=1"), Watched(PODS), Watched(HTTP_ROUTES)]
        source = WatchSource(client, wanted, cache, seen, metrics=metrics)
        bystander = asyncio.create_task(asyncio.sleep(60))
        async with started(source):
            async with asyncio.timeout(3):
                await source.wait_synced()
            assert source.missing == {HTTP_ROUTES}
            assert seen.changes == [("configmaps", "a", EventType.ADDED)]
            await until(lambda: api.streams[CM])
            api.send(CM, "ADDED", config_map("b", 101))
            api.send(CM, "MODIFIED", config_map("a", 102, k="v"))
            api.send(CM, "DELETED", config_map("b", 103))
            await until(lambda: len(seen.changes) == 4)
            assert cache.get(CONFIG_MAPS, "ml", "b") is None
            assert (cache.get(CONFIG_MAPS, "ml", "a") or {})["data"] == {"k": "v"}
        # Events of different objects are handled side by side: only the order within one object is certain.
        assert [change for _, name, change in seen.changes if name == "a"] == [EventType.ADDED, EventType.MODIFIED]
        assert [change for _, name, change in seen.changes if name == "b"] == [EventType.ADDED, EventType.DELETED]
        assert api.tokens == {"Bearer secret"}
        assert all(query["labelSelector"] == "weir=1" for path, query in api.queries if path == CM)
        assert not bystander.done(), "kopf must end its own tasks only"
        bystander.cancel()


async def test_given_a_broken_stream_when_listed_again_then_objects_deleted_meanwhile_are_dropped(
    metrics: Metrics,
) -> None:
    async with api_server() as (api, client):
        api.objects[CM] = [config_map("a", 1), config_map("b", 2)]
        cache, seen = Cache(), Seen()
        source = WatchSource(client, [Watched(CONFIG_MAPS)], cache, seen, metrics=metrics)
        async with started(source):
            await until(lambda: api.streams[CM])
            api.objects[CM] = [config_map("a", 1)]
            api.version = 200
            api.streams[CM][-1].put_nowait({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
            await until(lambda: len(seen.changes) == 3)
        assert seen.changes[2] == ("configmaps", "b", EventType.DELETED)
        assert metrics.registry.get_sample_value("watch_lists_total", {"resource": "configmaps"}) == 2


async def test_given_a_kind_that_appears_when_rechecked_then_it_is_watched_without_a_restart_of_the_process(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    monkeypatch.setattr(watch, "_MISSING_RECHECK_SECONDS", 0.05)
    async with api_server() as (api, client):
        cache, seen = Cache(), Seen()
        source = WatchSource(client, [Watched(CONFIG_MAPS), Watched(HTTP_ROUTES)], cache, seen, metrics=metrics)
        async with started(source):
            await until(lambda: source.synced)
            route = {"metadata": {"name": "r", "namespace": "ml", "uid": "u", "resourceVersion": "5"}}
            api.objects[HTTP_ROUTES.path()] = [route]
            api.kinds[HTTP_ROUTES.group_path] = [HTTP_ROUTES]
            await until(lambda: cache.get(HTTP_ROUTES, "ml", "r"))
        assert source.missing == frozenset()
        assert seen.changes == [("httproutes", "r", EventType.ADDED)]


async def test_given_a_server_that_is_down_when_it_comes_up_then_the_watches_start(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    monkeypatch.setattr(watch, "_RESTART_SECONDS", (0.02,))
    async with api_server() as (api, client):
        api.refuse = True
        source = WatchSource(client, [Watched(CONFIG_MAPS)], Cache(), Seen(), namespaces=["ml"], metrics=metrics)

        def restarts() -> float:
            return metrics.registry.get_sample_value("watch_restarts_total", {"cause": "discovery"}) or 0.0

        async with started(source):
            await until(lambda: restarts() >= 2)
            assert not source.synced
            api.refuse = False
            await until(lambda: source.synced)
        assert {path for path, _ in api.queries} == {"/api/v1/namespaces/ml/configmaps"}


async def test_given_a_kind_to_watch_everywhere_then_the_namespaces_served_do_not_limit_it(metrics: Metrics) -> None:
    async with api_server() as (api, client):
        watched = [Watched(CONFIG_MAPS), Watched(PODS, everywhere=True)]
        source = WatchSource(client, watched, Cache(), Seen(), namespaces=["ml"], metrics=metrics)

        async with started(source):
            await until(lambda: source.synced)

        assert {path for path, _ in api.queries} == {"/api/v1/namespaces/ml/configmaps", "/api/v1/pods"}


async def test_given_a_right_that_is_missing_when_it_is_granted_then_the_engine_has_recovered_by_itself(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    # One kind that fails takes the whole of kopf down, and its other watchers then hang in a login that never comes.
    monkeypatch.setattr(watch, "_RESTART_SECONDS", (0.02,))
    monkeypatch.setattr(watch, "_ERROR_BACKOFFS", (0.01,))
    monkeypatch.setattr(watch, "_END_SECONDS", 0.05)
    async with api_server() as (api, client):
        api.forbidden = {PODS.path()}
        api.objects[CM] = [config_map("a", 1)]
        cache = Cache()
        source = WatchSource(client, [Watched(CONFIG_MAPS), Watched(PODS)], cache, Seen(), metrics=metrics)

        def restarts() -> float:
            return metrics.registry.get_sample_value("watch_restarts_total", {"cause": "error"}) or 0.0

        async with started(source):
            await until(lambda: restarts() >= 2, 5.0)
            assert not source.synced
            assert cache.get(CONFIG_MAPS, "ml", "a") is not None
            api.forbidden = set()
            await until(lambda: source.synced)
            await until(lambda: api.streams[PODS.path()])
            api.send(PODS.path(), "ADDED", config_map("p", 101))
            await until(lambda: cache.get(PODS, "ml", "p"))


async def test_given_a_kind_that_the_server_denies_when_it_just_started_then_its_objects_are_kept_for_a_while(
    metrics: Metrics,
) -> None:
    async with api_server() as (_api, client):
        cache, seen = Cache(), Seen()
        source = WatchSource(client, [Watched(CONFIG_MAPS), Watched(HTTP_ROUTES)], cache, seen, metrics=metrics)
        source._prepare(frozenset({CONFIG_MAPS, HTTP_ROUTES}))
        source.deliver(HTTP_ROUTES, "ADDED", config_map("r", 5))
        for _ in range(3):
            assert await source._run_once() == "discovery"
        assert cache.get(HTTP_ROUTES, "ml", "r") is not None
        assert not source._doubtful(frozenset({CONFIG_MAPS}))
        source._prepare(frozenset({CONFIG_MAPS}))
        assert seen.changes[-1] == ("httproutes", "r", EventType.DELETED)
        assert source.missing == {HTTP_ROUTES}


class TestIntake:
    """Pages and events, without HTTP."""

    def source(self, cache: Cache, seen: Seen, guard: StaleGuard | None = None) -> WatchSource:
        configuration = Configuration()
        configuration.host = "http://127.0.0.1:1"
        client = KubeClient(configuration)
        source = WatchSource(client, [Watched(CONFIG_MAPS)], cache, seen, guard=guard)
        source._prepare(frozenset({CONFIG_MAPS}))
        return source

    async def test_given_pages_when_taken_then_synced_and_pruned_only_after_the_last(self) -> None:
        cache, seen = Cache(), Seen()
        source = self.source(cache, seen)
        cache.put(CONFIG_MAPS, config_map("ghost", 1))
        first = {"metadata": {"continue": "c", "resourceVersion": "9"}, "items": [config_map("a", 2)]}
        source.take_page(CM, first, first=True)
        assert not source.synced
        assert cache.get(CONFIG_MAPS, "ml", "ghost") is not None
        source.take_page(CM, {"metadata": {"resourceVersion": "9"}, "items": [config_map("b", 3)]}, first=False)
        assert source.synced
        assert cache.get(CONFIG_MAPS, "ml", "ghost") is None
        assert [change[1:] for change in seen.changes] == [
            ("a", EventType.ADDED),
            ("b", EventType.ADDED),
            ("ghost", EventType.DELETED),
        ]

    async def test_given_a_list_without_the_object_when_an_older_event_of_it_comes_late_then_it_stays_gone(
        self,
    ) -> None:
        cache, seen = Cache(), Seen()
        source = self.source(cache, seen)
        source.take_page(CM, {"metadata": {"resourceVersion": "50"}, "items": []}, first=True)
        source.deliver(CONFIG_MAPS, "MODIFIED", config_map("a", 40))
        assert cache.get(CONFIG_MAPS, "ml", "a") is None
        source.deliver(CONFIG_MAPS, "ADDED", config_map("a", 60))
        assert seen.changes == [("configmaps", "a", EventType.ADDED)]

    async def test_given_an_unchanged_object_when_delivered_again_then_nobody_is_told(self) -> None:
        cache, seen = Cache(), Seen()
        source = self.source(cache, seen)
        source.deliver(CONFIG_MAPS, "ADDED", config_map("a", 1))
        source.deliver(CONFIG_MAPS, "MODIFIED", config_map("a", 1))
        source.deliver(CONFIG_MAPS, None, config_map("a", 1))
        assert len(seen.changes) == 1

    async def test_given_a_listener_that_fails_when_told_then_the_cache_is_right_all_the_same(self) -> None:
        cache = Cache()

        def fail(*_: object) -> None:
            raise ValueError("listener")

        source = self.source(cache, fail)  # type: ignore[arg-type]
        source.deliver(CONFIG_MAPS, "ADDED", config_map("a", 1))
        assert cache.get(CONFIG_MAPS, "ml", "a") is not None

    async def test_given_an_end_that_the_cache_never_held_when_delivered_then_the_guard_hears_of_it(self) -> None:
        cache = Cache()
        guard = StaleGuard(cache)
        source = self.source(cache, Seen(), guard)
        guard.wrote(CONFIG_MAPS, config_map("a", 5))
        source.deliver(CONFIG_MAPS, "DELETED", config_map("a", 6))
        assert not guard.is_stale(ObjectKey(CONFIG_MAPS, "ml", "a"))
