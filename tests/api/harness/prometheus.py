"""A Prometheus that never scraped anything: its counters advance by the weights of the routes, as live traffic would."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlparse

from tests.api.harness.api import Api, Mirror
from tests.api.harness.gateway import FakeGateway, weights
from weir.runtime.resources import PODS, KubeObject
from weir.workload.manifests import LABEL_POOL, LABEL_VERSION

Mode = Literal["ok", "html", "slow", "nan", "missing", "several"]
_MATCHER = re.compile(r'(\w+)=~"([^"]*)"')


@dataclass
class Traffic:
    """Requests per route, spread over the pods behind it; ``bad`` says which share of a version's answers is a 5xx."""

    gateway: FakeGateway
    kubeconfig: Path
    rate: float = 400.0
    """Requests a second of each route."""
    bad: dict[tuple[str, str], float] = field(default_factory=dict)
    """(namespace, version label) → share of bad answers (0-1)."""

    def __post_init__(self) -> None:
        self.pods = Mirror(Api(self.kubeconfig), PODS, selector=LABEL_POOL)
        self._good: dict[tuple[str, str], float] = {}
        self._bad: dict[tuple[str, str], float] = {}
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def counters(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(namespace, pod) → good and bad answers so far, after advancing to now."""
        with self._lock:
            now = time.monotonic()
            elapsed, self._at = now - self._at, now
            pods = self.pods.objects()
            by_pool: dict[tuple[str, str], list[KubeObject]] = {}
            for pod in pods:
                meta = pod["metadata"]
                by_pool.setdefault((meta["namespace"], meta["labels"][LABEL_POOL]), []).append(pod)
            for route in self.gateway.routes.objects():
                self._advance(route, by_pool, elapsed)
            names = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods]
            return {name: (int(self._good.get(name, 0)), int(self._bad.get(name, 0))) for name in names}

    def _advance(self, route: KubeObject, by_pool: dict[tuple[str, str], list[KubeObject]], elapsed: float) -> None:
        namespace, shares = route["metadata"]["namespace"], weights(route)
        total = sum(shares.values())
        for pool, weight in shares.items():
            serving = [pod for pod in by_pool.get((namespace, pool), []) if _ready(pod)]
            for pod in serving:
                count = self.rate * elapsed * weight / total / len(serving)
                name, version = pod["metadata"]["name"], pod["metadata"]["labels"][LABEL_VERSION]
                ratio = self.bad.get((namespace, version), 0.0)
                self._good[namespace, name] = self._good.get((namespace, name), 0.0) + count * (1 - ratio)
                self._bad[namespace, name] = self._bad.get((namespace, name), 0.0) + count * ratio

    def stop(self) -> None:
        """Follow no more."""
        self.pods.stop()


def _ready(pod: KubeObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class FakePrometheus:
    """Serves any number of Prometheus addresses: ``address("x")`` behaves as ``modes["x"]`` says, well by default.

    Queries of a threshold gate answer ``values[query]``.
    """

    def __init__(self, traffic: Traffic) -> None:
        self.modes: dict[str, Mode] = {}
        self.values: dict[str, float] = {}
        self.asked: dict[str, int] = {}
        """Address name → queries so far."""
        self._traffic = traffic
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlparse(self.path)
                name = url.path.split("/")[1]
                outer.asked[name] = outer.asked.get(name, 0) + 1
                mode = outer.modes.get(name, "ok")
                if mode == "slow":
                    outer._released.wait(20)
                status, kind, body = outer._answer(mode, parse_qs(url.query).get("query", [""])[0])
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def address(self, name: str = "main") -> str:
        """URL of one of the addresses."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def stop(self) -> None:
        """Listen no more."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, mode: Mode, query: str) -> tuple[int, str, bytes]:
        if mode == "html":
            return 200, "text/html", b"<!doctype html><title>Sign in</title>"
        if mode == "missing":
            return 404, "text/plain", b"404 page not found"
        if query in self.values:
            rows = [self._row({}, self.values[query])]
        else:
            rows = list(self._requests(query, mode))
        result = {"status": "success", "data": {"resultType": "vector", "result": rows}}
        return 200, "application/json", json.dumps(result).encode()

    def _requests(self, query: str, mode: Mode) -> Iterator[dict[str, Any]]:
        matchers = {label: re.compile(pattern) for label, pattern in _MATCHER.findall(query)}
        for (namespace, pod), (good, bad) in self._traffic.counters().items():
            wanted = {"namespace": namespace, "pod": pod}
            if not all(matchers[label].fullmatch(value) for label, value in wanted.items() if label in matchers):
                continue
            for code, count in (("200", good), ("500", bad)):
                labels = {**wanted, "job": "pods", "instance": "a", "code": code}
                yield self._row(labels, "NaN" if mode == "nan" else count)
                if mode == "several":
                    yield self._row({**labels, "instance": "b"}, count)

    @staticmethod
    def _row(labels: dict[str, str], value: float | str) -> dict[str, Any]:
        return {"metric": labels, "value": [time.time(), str(value)]}
