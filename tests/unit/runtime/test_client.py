import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from weir.runtime import errors
from weir.runtime.client import KubeClient
from weir.runtime.metrics import Metrics
from weir.runtime.resources import CONFIG_MAPS, GATEWAY_CLASSES, HTTP_ROUTES, LEASES, PODS, ROLLOUTS

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An HTTP server that records each request and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any, str]] = []
        self.answers: list[web.Response | Answer] = []
        self.authorization: list[str | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.authorization.append(request.headers.get("Authorization"))
        self.requests.append(
            (
                request.method,
                request.path,
                dict(request.query),
                json.loads(text) if text else None,
                request.headers["Content-Type"],
            )
        )
        answer = self.answers.pop(0) if self.answers else web.json_response({"metadata": {"resourceVersion": "1"}})
        return answer if isinstance(answer, web.Response) else await answer(request)


def status(code: int, reason: str = "", message: str = "", causes: list[dict[str, str]] | None = None) -> web.Response:
    details: dict[str, Any] = {"causes": causes} if causes else {}
    body = {"kind": "Status", "reason": reason, "message": message, "code": code, "details": details}
    return web.json_response(body, status=code)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with TestServer(app) as running:
        yield server, str(running.make_url("")).rstrip("/")


@pytest.fixture
async def client(server: tuple[Server, str], metrics: Metrics) -> AsyncIterator[KubeClient]:
    configuration = Configuration()
    configuration.host = server[1]
    async with KubeClient(configuration, request_seconds=0.3, metrics=metrics) as client:
        yield client


OBJECT = {"metadata": {"name": "x", "namespace": "ml"}, "spec": {"a": 1}}


async def test_given_an_intent_when_applied_then_the_request_is_a_forced_apply_of_this_manager(
    server: tuple[Server, str], client: KubeClient
) -> None:
    await client.apply(ROLLOUTS, OBJECT, field_manager="weir-traffic", subresource="status", dry_run=True)
    method, path, query, body, content_type = server[0].requests[0]
    assert (method, path) == ("PATCH", "/apis/weir.dev/v1alpha1/namespaces/ml/rollouts/x/status")
    assert content_type == "application/apply-patch+yaml"
    assert query == {"fieldManager": "weir-traffic", "force": "true", "dryRun": "All", "fieldValidation": "Strict"}
    assert body == {"apiVersion": "weir.dev/v1alpha1", "kind": "Rollout", **OBJECT}


async def test_given_nulls_and_a_guard_when_merged_then_both_reach_the_server(
    server: tuple[Server, str], client: KubeClient
) -> None:
    patch = {"metadata": {"labels": {"a": None}}, "data": {"k": None}}
    await client.merge_patch(CONFIG_MAPS, "x", patch, "ml", resource_version="7")
    _, path, _, body, content_type = server[0].requests[0]
    assert path == "/api/v1/namespaces/ml/configmaps/x"
    assert content_type == "application/merge-patch+json"
    assert body == {"metadata": {"labels": {"a": None}, "resourceVersion": "7"}, "data": {"k": None}}


async def test_given_operations_when_json_patched_then_a_json_patch_is_sent(
    server: tuple[Server, str], client: KubeClient
) -> None:
    operations = [{"op": "test", "path": "/a", "value": 1}]
    await client.json_patch(HTTP_ROUTES, "x", operations, "ml")
    _, _, _, body, content_type = server[0].requests[0]
    assert (body, content_type) == (operations, "application/json-patch+json")


async def test_given_a_uid_when_deleted_then_it_is_a_precondition(
    server: tuple[Server, str], client: KubeClient
) -> None:
    await client.delete(PODS, "x", "ml", propagation="Foreground", uid="u")
    method, _, _, body, _ = server[0].requests[0]
    assert method == "DELETE"
    assert (body["propagationPolicy"], body["preconditions"]) == ("Foreground", {"uid": "u"})


async def test_given_a_long_list_when_listed_then_pages_are_joined_and_kinds_filled_in(
    server: tuple[Server, str], client: KubeClient
) -> None:
    server[0].answers = [
        web.json_response({"metadata": {"continue": "next", "resourceVersion": "5"}, "items": [{"metadata": {}}]}),
        web.json_response({"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {}}]}),
    ]
    listing = await client.list(PODS, "ml", label_selector="a=b", page_size=1)
    assert [item["kind"] for item in listing.items] == ["Pod", "Pod"]
    assert listing.resource_version == "5"
    assert server[0].requests[1][2] == {"labelSelector": "a=b", "limit": "1", "continue": "next"}


async def test_given_a_token_that_expires_midway_when_listed_then_the_list_is_taken_again_whole(
    server: tuple[Server, str], client: KubeClient
) -> None:
    first = {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "a"}}]}
    server[0].answers = [web.json_response(first), status(410, "Expired"), web.json_response(whole)]
    listing = await client.list(PODS, page_size=1)
    assert len(listing.items) == 1
    assert server[0].requests[2][1:3] == ("/api/v1/pods", {})


GENERIC_422 = "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    ("answer", "expected", "terminal"),
    [
        (status(404, "NotFound", "pods x not found"), errors.NotFound, False),
        (web.Response(status=404, text="404 page not found"), errors.NotFound, False),
        (status(409, "Conflict", "the object has been modified"), errors.Conflict, False),
        (status(409, "AlreadyExists", "exists"), errors.AlreadyExists, False),
        (
            status(
                409, "Conflict", "Apply failed", [{"reason": "FieldManagerConflict", "field": ".a", "message": "m"}]
            ),
            errors.FieldConflict,
            False,
        ),
        (status(400, "BadRequest", "bad"), errors.Invalid, True),
        (status(422, "Invalid", "is invalid", [{"field": "spec.a", "message": "too big"}]), errors.Invalid, True),
        (status(403, "Forbidden", "cannot patch resource"), errors.Forbidden, False),
        (
            status(422, "Invalid", "'p' denied request: failed to find resource referenced by paramKind: 'Kind=A'"),
            errors.Starting,
            False,
        ),
        (status(422, "Invalid", "paramKind kind `A` not yet synced to use for admission"), errors.Starting, False),
        (
            status(403, "Forbidden", "is forbidden", [{"reason": "NamespaceTerminating", "message": "terminating"}]),
            errors.NamespaceEnding,
            False,
        ),
        (status(410, "Expired"), errors.Expired, False),
        (status(429, "TooManyRequests"), errors.Throttled, False),
        (status(500, "InternalError", "boom"), errors.Unavailable, False),
        (web.Response(status=503, text="<html>"), errors.Unavailable, False),
        (status(500, "", "failed to create typed patch object (x): .spec.z: not declared"), errors.Invalid, True),
        (web.Response(status=200, text="<html>"), errors.Unavailable, False),
        (web.Response(status=200, text="[]"), errors.Unavailable, False),
    ],
)
async def test_given_an_answer_when_applying_then_the_error_says_what_to_do(
    server: tuple[Server, str],
    client: KubeClient,
    answer: web.Response,
    expected: type[errors.ApiError],
    terminal: bool,
) -> None:
    server[0].answers = [answer]
    with pytest.raises(errors.ApiError) as caught:
        await client.apply(ROLLOUTS, OBJECT)
    assert type(caught.value) is expected
    assert caught.value.terminal is terminal
    assert "PATCH /apis/weir.dev/v1alpha1/namespaces/ml/rollouts/x" in caught.value.message


async def test_given_a_failed_test_when_json_patched_then_it_is_a_conflict_but_a_schema_error_is_not(
    server: tuple[Server, str], client: KubeClient
) -> None:
    causes = [{"field": "spec.a", "message": "too big"}]
    server[0].answers = [
        status(422, "Invalid", GENERIC_422),
        status(422, "Invalid", 'Rollout "x" is invalid', causes),
        status(422, "Invalid", GENERIC_422),
    ]
    with pytest.raises(errors.Conflict):
        await client.json_patch(ROLLOUTS, "x", [], "ml")
    with pytest.raises(errors.Invalid) as caught:
        await client.json_patch(ROLLOUTS, "x", [], "ml")
    assert caught.value.causes == ("spec.a: too big",)
    assert "spec.a: too big" in caught.value.message
    with pytest.raises(errors.Invalid):
        await client.merge_patch(ROLLOUTS, "x", {}, "ml")


async def test_given_a_busy_server_when_it_names_a_time_then_the_error_carries_it(
    server: tuple[Server, str], client: KubeClient
) -> None:
    server[0].answers = [web.json_response({}, status=429, headers={"Retry-After": "7"})]
    with pytest.raises(errors.Throttled) as caught:
        await client.get(PODS, "x", "ml")
    assert caught.value.retry_after == 7.0


async def test_given_a_server_that_hangs_when_asked_then_the_request_ends_at_its_limit(
    server: tuple[Server, str], client: KubeClient, metrics: Metrics
) -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.json_response({})

    server[0].answers = [hang]
    with pytest.raises(errors.Unavailable) as caught:
        await client.get(PODS, "x", "ml")
    assert caught.value.reason == "Timeout"
    labels = {"method": "GET", "resource": "pods", "code": "timeout"}
    assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1


async def test_given_no_server_when_asked_then_it_is_unavailable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    async with KubeClient(configuration) as client:
        with pytest.raises(errors.Unavailable) as caught:
            await client.get(PODS, "x", "ml")
    assert caught.value.reason == "ConnectionError"


async def test_given_requests_when_answered_then_they_are_counted_by_method_resource_and_code(
    server: tuple[Server, str], client: KubeClient, metrics: Metrics
) -> None:
    server[0].answers = [web.json_response({}), status(404)]
    await client.get(ROLLOUTS, "x", "ml")
    with pytest.raises(errors.NotFound):
        await client.get(ROLLOUTS, "x", "ml")
    for code in ("200", "404"):
        labels = {"method": "GET", "resource": "rollouts.weir.dev", "code": code}
        assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1


async def test_given_lost_leadership_when_writing_then_nothing_is_sent_but_reads_and_leases_are(
    server: tuple[Server, str], client: KubeClient
) -> None:
    client.fence = lambda: 0.0
    with pytest.raises(errors.Fenced):
        await client.apply(ROLLOUTS, OBJECT)
    with pytest.raises(errors.Fenced):
        await client.delete(PODS, "x", "ml")
    assert server[0].requests == []
    await client.get(PODS, "x", "ml")
    await client.merge_patch(LEASES, "x", {}, "ml")
    client.fence = lambda: 5.0
    await client.apply(ROLLOUTS, OBJECT)
    assert len(server[0].requests) == 3


async def test_given_an_expired_token_when_refused_then_it_is_loaded_again_once(server: tuple[Server, str]) -> None:
    tokens = iter(["old", "new"])

    async def load() -> Configuration:
        configuration = Configuration()
        configuration.host = server[1]
        configuration.api_key["BearerToken"] = f"Bearer {next(tokens)}"
        return configuration

    server[0].answers = [status(401, "Unauthorized"), web.json_response({"ok": True})]
    async with KubeClient(await load(), reload=load) as client:
        assert await client.get(PODS, "x", "ml") == {"ok": True}
        assert dict(await client.credentials()) == {"Authorization": "Bearer new"}
    assert server[0].authorization == ["Bearer old", "Bearer new"]


async def test_given_missing_groups_and_kinds_when_discovered_then_only_the_served_are_named(
    server: tuple[Server, str], client: KubeClient
) -> None:
    async def discover(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/v1":
            return web.json_response({"resources": [{"name": "pods"}, {"name": "pods/log"}]})
        return web.Response(status=404, text="404 page not found")

    server[0].answers = [discover, discover]
    assert await client.served([PODS, CONFIG_MAPS, HTTP_ROUTES, GATEWAY_CLASSES]) == {PODS}


async def test_given_a_kubeconfig_when_connecting_then_the_named_context_is_used(tmp_path: Path) -> None:
    path = tmp_path / "config"
    clusters = [{"name": name, "cluster": {"server": f"http://{name}.invalid"}} for name in ("one", "two")]
    contexts = [{"name": name, "context": {"cluster": name, "user": "u"}} for name in ("one", "two")]
    users = [{"name": "u", "user": {"token": "t"}}]
    config = {"clusters": clusters, "contexts": contexts, "users": users, "current-context": "one"}
    path.write_text(json.dumps(config))
    async with await KubeClient.connect(kubeconfig=str(path), context="two") as client:
        assert client.connection.server == "http://two.invalid"
        assert dict(await client.credentials()) == {"Authorization": "Bearer t"}
    assert json.loads(path.read_text()) == config


def a_kubeconfig(path: Path, url: str, user: dict[str, Any]) -> str:
    """A kubeconfig with that user for the API server at `url`."""
    config = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user}],
        "current-context": "c",
    }
    path.write_text(json.dumps(config))
    return str(path)


async def test_given_a_user_who_stands_in_for_another_when_asked_then_every_request_says_so(
    server: tuple[Server, str], tmp_path: Path
) -> None:
    seen: list[list[tuple[str, str]]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        names = [(k, v) for k, v in request.headers.items() if k.startswith(("Impersonate", "Authorization"))]
        seen.append(names)
        return web.json_response({"metadata": {"resourceVersion": "1"}})

    server[0].answers += [answer, answer]
    user = {
        "token": "t",
        "as": "bob",
        "as-uid": "7",
        "as-groups": ["ml", "oncall"],
        "as-user-extra": {"scopes/x": ["a"]},
    }
    async with await KubeClient.connect(kubeconfig=a_kubeconfig(tmp_path / "config", server[1], user)) as client:
        await client.get(PODS, "x", "ml")
        await client.create(PODS, {**OBJECT})
        assert (await client.credentials()).getall("Impersonate-Group") == ["ml", "oncall"]
    told = [
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "ml"),
        ("Impersonate-Group", "oncall"),
        ("Impersonate-Extra-scopes%2Fx", "a"),
    ]
    assert [sorted(names) for names in seen] == [sorted(told)] * 2


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"as-groups": ["ml"]}, "but no `as`"),
        ({"as": {"name": "bob"}}, "as must be text"),
        ({"as": "bob", "as-groups": [1]}, "as-groups must be text"),
        ({"as": "bob", "as-user-extra": ["a"]}, "stands in for"),
    ],
)
async def test_given_a_user_who_stands_in_for_nobody_known_when_connecting_then_it_is_refused(
    tmp_path: Path, user: dict[str, Any], said: str
) -> None:
    with pytest.raises(errors.ApiError, match=said):
        await KubeClient.connect(kubeconfig=a_kubeconfig(tmp_path / "config", "http://one.invalid", user))


async def test_given_no_kubeconfig_when_connecting_then_the_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ApiError, match="nowhere"):
        await KubeClient.connect(kubeconfig=str(tmp_path / "nowhere"))


def test_given_a_namespaced_kind_when_named_without_namespace_then_the_path_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a namespace"):
        PODS.path(None, "x")
    assert GATEWAY_CLASSES.path(None, "x") == "/apis/gateway.networking.k8s.io/v1/gatewayclasses/x"
