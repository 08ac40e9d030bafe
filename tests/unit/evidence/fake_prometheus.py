"""A Prometheus on loopback that says what a test wants."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

Answer = tuple[int, str, bytes]


def vector(*rows: tuple[dict[str, str], str]) -> Answer:
    """An answer with those series."""
    result = [{"metric": labels, "value": [1700000000.0, value]} for labels, value in rows]
    return (
        200,
        "application/json",
        json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode(),
    )


def matrix(*rows: tuple[dict[str, str], list[tuple[float, float]]]) -> Answer:
    """An answer with those series over time."""
    result = [{"metric": labels, "values": [[at, str(value)] for at, value in points]} for labels, points in rows]
    data = {"resultType": "matrix", "result": result}
    return 200, "application/json", json.dumps({"status": "success", "data": data}).encode()


def scalar(value: str) -> Answer:
    """An answer with one number."""
    data = {"resultType": "scalar", "result": [1700000000.0, value]}
    return 200, "application/json", json.dumps({"status": "success", "data": data}).encode()


class FakePrometheus:
    """Answers /api/v1/query by calling ``respond`` with the query, and /api/v1/query_range likewise.

    ``respond_range`` gets the query, start, end (seconds since the epoch) and step (seconds). Queries of raw samples
    are answered by ``samples``.
    """

    def __init__(self, respond: Callable[[str], Answer]) -> None:
        self.respond = respond
        self.respond_range: Callable[[str, float, float, float], Answer] = lambda *_: matrix()
        self.samples = matrix()
        self.queries: list[str] = []
        self.ranges: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
                query = asked.get("query", "")
                if "query_range" in self.path:
                    outer.ranges.append(query)
                    answer = outer.respond_range(query, *(float(asked[name]) for name in ("start", "end", "step")))
                elif query.endswith("m]"):
                    outer.ranges.append(query)
                    answer = outer.samples
                else:
                    outer.queries.append(query)
                    answer = outer.respond(query)
                status, kind, body = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status == 302:
                    self.send_header("Location", "https://login.example.test/")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
