"""A small API server in the event loop of the test: objects, dry runs, names that are taken, and what a test refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from weir.api.base import format_time

KubeObject = dict[str, Any]
AGENT = "system:serviceaccount:team:tuner"
NAMESPACE = "team"
NOON = 1_795_348_800.0
"""2026-11-22T12:00:00Z, a whole hour since the epoch."""
_CLUSTERWIDE = "-"


@dataclass(frozen=True)
class Refusal(Exception):
    """An answer of 400 or more; the API server ends it with a Status object."""

    code: int
    message: str
    reason: str = ""
    causes: tuple[tuple[str, str], ...] = ()

    def body(self) -> KubeObject:
        """The Status object."""
        causes = [{"field": where, "message": message} for where, message in self.causes]
        return {
            "kind": "Status",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "details": {"causes": [{k: v for k, v in cause.items() if v} for cause in causes]},
        }


def denied(policy: str, why: str, name: str = "x") -> Refusal:
    """The answer where an admission policy refuses."""
    said = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}"
    return Refusal(403, f'actionrequests.weir.dev "{name}" is forbidden: {said}', "Forbidden", (("", said),))


@dataclass
class FakeApi:
    """Objects by plural.

    ``judge`` is asked before every create of an ActionRequest, dry or not, and raises a Refusal. ``refusals``: answers
    to (method, plural), each used as often as asked. ``lost``: how many answers to creates get lost although the object
    was stored. ``rights``: what SelfSubjectAccessReviews allow. ``now``: its clock.
    """

    judge: Callable[[KubeObject], None] = lambda _: None
    created: Callable[[KubeObject], None] = lambda _: None
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    rights: set[str] = field(default_factory=set)
    user: str = AGENT
    now: float = NOON
    lost: int = 0
    dry_runs: int = 0
    objects: dict[str, dict[tuple[str, str], KubeObject]] = field(default_factory=dict)
    url: str = ""

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        sockets: Any = site._server
        self.url = f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close all connections."""
        await self._runner.cleanup()

    def kubeconfig(self, target: Path) -> Path:
        """Writes a kubeconfig for this server."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "fake", "user": "agent", "namespace": NAMESPACE}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "agent", "user": {"token": "secret"}}],
        }
        target.write_text(yaml.safe_dump(document))
        return target

    def put(self, plural: str, item: KubeObject, namespace: str = NAMESPACE) -> KubeObject:
        """Add or replace an object, as if somebody else had written it."""
        item = copy.deepcopy(item)
        meta = item["metadata"]
        meta.setdefault("namespace", namespace)
        meta.setdefault("uid", f"uid-{meta['name']}")
        meta.setdefault("creationTimestamp", format_time(self.now))
        self.objects.setdefault(plural, {})[namespace, meta["name"]] = item
        return item

    def all(self, plural: str) -> list[KubeObject]:
        """Objects of a kind."""
        return list(self.objects.get(plural, {}).values())

    async def _handle(self, request: web.Request) -> web.Response:
        parts = request.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = _CLUSTERWIDE
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name = rest[0], rest[1] if len(rest) > 1 else ""
        try:
            if (request.method, plural) in self.refusals:
                raise self.refusals[request.method, plural]
            if request.method == "GET":
                return web.json_response(self._get(plural, namespace, name))
            body = await request.json()
            if request.method == "PATCH":
                found = self._get(plural, namespace, name)
                self.put(plural, {**found, "spec": {**found.get("spec", {}), **body["spec"]}}, namespace)
                return web.json_response(self._get(plural, namespace, name))
            made = self._create(plural, namespace, body, dry="dryRun" in request.query)
            if plural == "actionrequests" and self.lost and "dryRun" not in request.query:
                self.lost -= 1
                return web.Response(status=504, text="the gateway gave up")
            return web.json_response(made, status=201)
        except Refusal as refusal:
            return web.json_response(refusal.body(), status=refusal.code)

    def _get(self, plural: str, namespace: str, name: str) -> KubeObject:
        found = self.objects.get(plural, {})
        if not name:
            items: Iterable[KubeObject] = (o for (place, _), o in found.items() if namespace in (_CLUSTERWIDE, place))
            return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": list(items)}
        if (namespace, name) not in found:
            raise Refusal(404, f'{plural}.weir.dev "{name}" not found', "NotFound")
        return found[namespace, name]

    def _create(self, plural: str, namespace: str, body: KubeObject, *, dry: bool) -> KubeObject:
        if plural == "selfsubjectreviews":
            body["metadata"] = {"creationTimestamp": format_time(self.now)[:-5] + "Z"}
            return {**body, "status": {"userInfo": {"username": self.user}}}
        if plural == "selfsubjectaccessreviews":
            asked = body["spec"]["resourceAttributes"]
            return {**body, "status": {"allowed": f"{asked['verb']} {asked['resource']}" in self.rights}}
        self.dry_runs += dry
        self.judge(body)
        name = body["metadata"]["name"]
        if (namespace, name) in self.objects.get(plural, {}):
            raise Refusal(409, f'{plural}.weir.dev "{name}" already exists', "AlreadyExists")
        if dry:
            return body
        stored = self.put(plural, body, namespace)
        self.created(stored)
        return stored
