"""A receiver of notifications, and what an operator needs to send them there."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from devcluster.command import run
from devcluster.paths import Cache
from tests.api.harness.lab import SYSTEM, Lab
from tests.api.harness.process import ROOT
from weir.notify.ledger import LEDGER
from weir.runtime.resources import CONFIG_MAPS


class Receiver:
    """A webhook in a thread of its own; what it gets, in order."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where the operator finds the configuration that leads here."""
        self.environment = {"WEIR_NOTIFICATIONS": str(folder)}
        self.events: list[dict[str, Any]] = []
        self.status = 200
        self._loop = asyncio.new_event_loop()
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/in", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def _take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            assert request.headers["Authorization"] == "Bearer secret"
            self.events.append(json.loads(await request.read()))
        return web.Response(status=self.status)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def of(self, namespace: str, kind: str = "") -> list[dict[str, Any]]:
        """Events of a namespace, or those whose type ends with that word."""
        mine = [e for e in self.events if e["source"].startswith(f"/namespaces/{namespace}/")]
        return [e for e in mine if not kind or _kind(e) == kind]

    def kinds(self, namespace: str) -> list[str]:
        """Last words of the types of a namespace's events."""
        return [_kind(event) for event in self.of(namespace)]


def _kind(event: dict[str, Any]) -> str:
    return str(event["type"].rpartition(".")[2])


@contextmanager
def receiving(lab: Lab, folder: Path) -> Iterator[Receiver]:
    """A receiver that nobody has told anything, and in the folder the files that the chart mounts."""
    receiver = Receiver(folder)
    try:
        _mount(lab, receiver.port, folder)
        if lab.api.find(CONFIG_MAPS, SYSTEM, LEDGER) is not None:
            lab.api.delete(CONFIG_MAPS, SYSTEM, LEDGER)
        yield receiver
    finally:
        receiver.stop()


def _mount(lab: Lab, port: int, folder: Path) -> None:
    """The configuration in the folder, and the permissions in the cluster."""
    values = {
        "enabled": True,
        "secretName": "weir-notifications",
        "cluster": "lab",
        "destinations": [
            {
                "name": "hook",
                "cloudEvents": {
                    "url": f"http://127.0.0.1:{port}/in",
                    "headers": [{"name": "Authorization", "key": "token"}],
                },
                "rate": {"burst": 50, "perMinute": 600},
            }
        ],
    }
    helm, chart = Cache.default().bin / "helm", str(ROOT / "charts" / "weir")
    words = ["--namespace", SYSTEM, "--set-json", f"notifications={json.dumps(values)}"]
    text = run([str(helm), "template", "weir", chart, *words, "--show-only", "templates/notifications.yaml"])
    objects = [o for o in yaml.safe_load_all(text) if o]
    lab.apply(*objects)
    for name, files in (("config", objects[0]["data"]), ("secrets", {"token": "Bearer secret\n"})):
        (folder / name).mkdir()
        for key, value in files.items():
            (folder / name / key).write_text(value)
