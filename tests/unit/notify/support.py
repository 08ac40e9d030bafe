"""Alerts, destinations and receivers for the tests of notifications."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.unit.runtime.fakes import FakeStore
from weir.notify.alerts import Alert, Kind, Severity, Subject
from weir.notify.config import Destination, Target, Template
from weir.notify.ledger import LedgerStore
from weir.notify.sender import Message, Undelivered
from weir.notify.templates import Templates
from weir.runtime.resources import KubeObject, ObjectKey, Resource

DEMO = Subject("team", "demo", "uid-1")


def alert(number: int = 1, *, at: float = 1_800_000_000.0, **changes: Any) -> Alert:
    """An alert of its own for every number."""
    made = Alert(
        id=f"id-{number:04}",
        kind=Kind.PROMOTED,
        severity=Severity.INFO,
        subject=DEMO,
        at=at,
        title=f"team/demo: v{number} was promoted",
        text=f"Release {number}: v{number} serves all traffic.",
        facts={"release": str(number), "version": f"v{number}"},
    )
    return replace(made, **changes)


def destination(name: str = "chat", **changes: Any) -> Destination:
    """A webhook; ``changes`` in their wire form."""
    return Destination.model_validate({"name": name, "cloudEvents": {"url": "http://127.0.0.1:9/"}, **changes})


def service(url: str, name: str = "chat", **changes: Any) -> Target:
    """A destination that apprise serves."""
    fields = {"name": name, "apprise": {"urlKey": "url"}, "timeout": "5s", **changes}
    return Target(Destination.model_validate(fields), url)


def own_texts(**templates: Template) -> Templates:
    """Templates by kind."""
    return Templates({Kind(kind) if kind != "default" else "default": given for kind, given in templates.items()})


class Recorder:
    """A way to a destination that notes what it sent; ``failures`` are raised first."""

    most = 100

    def __init__(self, *failures: Exception) -> None:
        self.sent: list[Message] = []
        self.attempts = 0
        self.failures = list(failures)
        self.gate: asyncio.Event | None = None

    async def send(self, message: Message) -> None:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)

    @property
    def ids(self) -> list[str]:
        """Ids of all alerts that were sent, in their order."""
        return [each.id for message in self.sent for each in message.alerts]


class Down:
    """A way to a destination that never answers well."""

    most = 100

    async def send(self, message: Message) -> None:
        raise Undelivered("no connection")


class Ledgers(FakeStore):
    """An API server with server-side apply, as far as one ConfigMap needs it."""

    async def apply(self, resource: Resource, body: KubeObject, *, field_manager: str | None = None) -> KubeObject:
        await self._arrive()
        meta = body["metadata"]
        return self._store("apply", ObjectKey(resource, meta["namespace"], meta["name"]), copy.deepcopy(body))

    @property
    def told(self) -> dict[str, Any]:
        """What is stored."""
        (obj,) = self.objects.values()
        found: dict[str, Any] = json.loads(obj["data"]["told.json"])
        return found

    def ledger(self) -> LedgerStore:
        return LedgerStore(self, "weir-system")


class Folder:
    """The mounted files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "config").mkdir()
        (path / "secrets").mkdir()

    def write(self, config: dict[str, Any] | str, **secrets: str) -> Path:
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        (self.path / "config" / "config.yaml").write_text(text)
        for key, value in secrets.items():
            (self.path / "secrets" / key.replace("_", "-")).write_text(value)
        return self.path


Until = Callable[..., Any]
