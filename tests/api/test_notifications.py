"""The operator tells people: through a real API server, its own permissions, and over kills."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from devcluster.command import run
from devcluster.paths import Cache
from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import SYSTEM, Lab
from tests.api.harness.process import ROOT
from weir.notify.ledger import LEDGER
from weir.runtime.resources import CONFIG_MAPS

pytestmark = pytest.mark.api


class Receiver:
    """A webhook in a thread of its own; what it gets, in order."""

    def __init__(self) -> None:
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

    def kinds(self, namespace: str) -> list[str]:
        """Last words of the types of a namespace's events."""
        mine = [e for e in self.events if e["source"].startswith(f"/namespaces/{namespace}/")]
        return [e["type"].rpartition(".")[2] for e in mine]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def folder(receiver: Receiver, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the chart mounts, and the permissions that it gives, in the cluster."""
    values = {
        "enabled": True,
        "secretName": "weir-notifications",
        "cluster": "lab",
        "destinations": [
            {
                "name": "hook",
                "cloudEvents": {
                    "url": f"http://127.0.0.1:{receiver.port}/in",
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
    path = tmp_path_factory.mktemp("notifications")
    for name, files in (("config", objects[0]["data"]), ("secrets", {"token": "Bearer secret\n"})):
        (path / name).mkdir()
        for key, value in files.items():
            (path / name / key).write_text(value)
    return path


def test_given_releases_and_kills_then_each_end_and_wait_is_told_once(
    lab: Lab, receiver: Receiver, folder: Path
) -> None:
    environment = {"WEIR_NOTIFICATIONS": str(folder)}
    operator = lab.operator("weir-n0", environment=environment)
    operator.wait_ready()
    case = Case(lab)
    case.serve_first()
    eventually(lambda: receiver.kinds(case.namespace) == ["promoted"], "the first promotion is told")
    lab.traffic.bad[case.namespace, "v2"] = 0.9
    receiver.status = 503
    case.release("v2")
    case.wait_phase("RolledBack")
    operator.kill()
    receiver.status = 200
    lab.free_lease()

    second = lab.operator("weir-n1", environment=environment)
    eventually(lambda: receiver.kinds(case.namespace) == ["promoted", "rolledback"], "the rollback is told by the next")
    waiting = Case(lab)
    waiting.version("v1")
    waiting.create(approvals=[{"before": "Promote", "from": {"group": "sre"}}])
    eventually(lambda: receiver.kinds(waiting.namespace) == ["awaitingapproval"], "the wait for approval is told")
    eventually(lambda: _told(lab) == 3, "all is stored")
    second.kill()
    lab.free_lease()
    # Whoever ran on would serve the namespaces of later tests, too, beside operators that have a Lease of their own.
    with lab.operator("weir-n2", environment=environment) as third:
        third.wait_ready()
        other = Case(lab)
        other.serve_first()
        eventually(lambda: receiver.kinds(other.namespace) == ["promoted"], "the third operator tells")

    assert Counter(receiver.kinds(case.namespace)) == {"promoted": 1, "rolledback": 1}
    assert len({e["id"] for e in receiver.events}) == len(receiver.events)


def _told(lab: Lab) -> int:
    obj = lab.api.get(CONFIG_MAPS, SYSTEM, LEDGER)
    return len(json.loads(obj["data"]["told.json"])["hook"]["done"])
