"""A small API server over HTTP: lists, watches, creates, and refuses what a test tells it to refuse."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

KubeObject = dict[str, Any]
USER = "alice"


@dataclass(frozen=True)
class Refusal:
    """An answer of 400 or more."""

    code: int
    message: str
    reason: str = ""

    def body(self) -> KubeObject:
        """The Status object."""
        return {
            "kind": "Status",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
        }


@dataclass
class FakeApi:
    """Objects by plural; ``refusals`` by (method or WATCH, plural), ``created`` is told about every new object.

    ``admits``: why an object is not created, None where it is.
    """

    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    created: Callable[[KubeObject], None] = lambda _: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    kinds: tuple[str, ...] = (
        *("rollouts", "actionrequests", "rolloutrecords", "modelversions", "namespaces", "leases"),
        *("agentpolicies", "clusteragentpolicies"),
    )
    admits: Callable[[KubeObject], Refusal | None] = lambda _: None

    def __post_init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], KubeObject]] = {kind: {} for kind in self.kinds}
        self._log: list[tuple[int, str, str, KubeObject]] = []
        self._numbers = itertools.count(1)
        self._version = 0
        self._changed = threading.Condition()
        self._ended = False
        api = self

        class Handler(_Handler):
            fake = api

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self, target: Path, namespace: str = "team") -> Path:
        """Writes a kubeconfig with the contexts ``here`` (this server) and ``there`` (nothing listens)."""
        contexts = [
            {"name": "here", "context": {"cluster": "fake", "user": USER, "namespace": namespace}},
            {"name": "there", "context": {"cluster": "dead", "user": USER}},
        ]
        clusters = [
            {"name": "fake", "cluster": {"server": self.url}},
            {"name": "dead", "cluster": {"server": "http://127.0.0.1:9"}},
        ]
        users = [{"name": USER, "user": {"token": "secret"}}]
        document = {"current-context": "here", "contexts": contexts, "clusters": clusters, "users": users}
        target.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **document}))
        return target

    def stop(self) -> None:
        """End all streams and the server."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def put(self, plural: str, item: KubeObject) -> KubeObject:
        """Add or replace an object, as if somebody else had written it."""
        with self._changed:
            self._version += 1
            item = copy.deepcopy(item)
            meta = item["metadata"]
            meta.setdefault("namespace", "team")
            meta.setdefault("uid", f"uid-{meta['name']}")
            meta["resourceVersion"] = str(self._version)
            key = (meta["namespace"], meta["name"])
            event = "MODIFIED" if key in self._objects[plural] else "ADDED"
            self._objects[plural][key] = item
            self._log.append((self._version, plural, event, item))
            self._changed.notify_all()
        return item

    def delete(self, plural: str, name: str, namespace: str = "team") -> None:
        """Remove an object."""
        with self._changed:
            self._version += 1
            item = copy.deepcopy(self._objects[plural].pop((namespace, name)))
            item["metadata"]["resourceVersion"] = str(self._version)
            self._log.append((self._version, plural, "DELETED", item))
            self._changed.notify_all()

    def all(self, plural: str) -> list[KubeObject]:
        """Objects of a kind."""
        return list(self._objects[plural].values())

    def list(self, plural: str, namespace: str, name: str) -> KubeObject:
        """A list as the API server gives it."""
        with self._changed:
            found = [
                item
                for (place, known), item in sorted(self._objects[plural].items())
                if namespace in ("", place) and name in ("", known)
            ]
            return {"kind": "List", "metadata": {"resourceVersion": str(self._version)}, "items": found}

    def create(self, plural: str, namespace: str, body: KubeObject) -> KubeObject:
        """Create an object, with a name made from generateName."""
        meta = body["metadata"]
        meta.setdefault("name", f"{meta.get('generateName', '')}{next(self._numbers)}")
        meta["namespace"] = namespace
        meta["creationTimestamp"] = "2026-11-21T08:00:00Z"
        stored = self.put(plural, body)
        self.created(stored)
        return stored

    def events(self, plural: str, namespace: str, name: str, after: int) -> Any:
        """Changes after a version, for ever."""
        while True:
            with self._changed:
                new = [entry for entry in self._log if entry[0] > after]
                if not new and not self._ended:
                    self._changed.wait(0.2)
                if self._ended:
                    return
            for version, kind, event, item in new:
                after = version
                meta = item["metadata"]
                if kind == plural and namespace in ("", meta["namespace"]) and name in ("", meta["name"]):
                    yield {"type": event, "object": item}

    def cut(self) -> int:
        """The version of the newest change."""
        return self._version


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeApi

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _place(self) -> tuple[str, str, str]:
        """Plural, namespace and name."""
        parts = urlsplit(self.path).path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        return (rest[0] if rest else ""), namespace, (rest[1] if len(rest) > 1 else "")

    def _answer(self, body: KubeObject, code: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refused(self, method: str, plural: str) -> bool:
        self.fake.asked.append((method, plural))
        refusal = self.fake.refusals.get((method, plural))
        if refusal is not None:
            self._answer(refusal.body(), refusal.code)
        return refusal is not None

    def do_GET(self) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        plural, namespace, name = self._place()
        watch = query.get("watch") == "1"
        if self._refused("WATCH" if watch else "GET", plural):
            return
        if plural not in self.fake.kinds:
            self._answer(Refusal(404, "404 page not found", "NotFound").body(), 404)
            return
        selected = query.get("fieldSelector", "").removeprefix("metadata.name=")
        if watch:
            self._stream(plural, namespace, selected, int(query["resourceVersion"]))
        elif name:
            found = self.fake.list(plural, namespace, name)["items"]
            missing = Refusal(404, f'{plural}.weir.dev "{name}" not found', "NotFound")
            self._answer(found[0] if found else missing.body(), 200 if found else 404)
        else:
            self._answer(self.fake.list(plural, namespace, selected))

    def _stream(self, plural: str, namespace: str, name: str, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in self.fake.events(plural, namespace, name, after):
                self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()
        except OSError:
            return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        plural, namespace, _ = self._place()
        if self._refused("POST", plural):
            return
        if plural == "selfsubjectreviews":
            self._answer({**body, "status": {"userInfo": {"username": USER}}}, 201)
            return
        if plural not in self.fake.kinds:
            self._answer(Refusal(404, "404 page not found", "NotFound").body(), 404)
            return
        refusal = self.fake.admits(body) or self._taken(plural, namespace, body["metadata"].get("name"))
        if refusal is not None:
            self._answer(refusal.body(), refusal.code)
        elif "dryRun=All" in urlsplit(self.path).query:
            self._answer(body, 201)
        else:
            self._answer(self.fake.create(plural, namespace, body), 201)

    def _taken(self, plural: str, namespace: str, name: str | None) -> Refusal | None:
        if not name or not self.fake.list(plural, namespace, name)["items"]:
            return None
        return Refusal(409, f'{plural}.weir.dev "{name}" already exists', "AlreadyExists")

    def do_PATCH(self) -> None:
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        plural, namespace, name = self._place()
        if self._refused("PATCH", plural):
            return
        [found] = self.fake.list(plural, namespace, name)["items"]
        merged = {**found, **{key: {**found.get(key, {}), **value} for key, value in patch.items()}}
        self._answer(self.fake.put(plural, merged))
