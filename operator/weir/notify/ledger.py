"""What has been told, so that a restart or another leader does not tell it again.

For each destination: the ids of alerts that are settled (taken by the receiver, or given up), and a time up to which
everything counts as settled. That time moves on with a day's distance, which keeps the ledger small whatever happens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Annotated, Protocol

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from weir.notify.alerts import Alert
from weir.runtime.errors import NotFound
from weir.runtime.resources import CONFIG_MAPS, KubeObject, Resource

_log = logging.getLogger(__name__)

REACH = 86400.0
"""Seconds back for which alerts are still told, after the operator was down."""

MOST = 2000
"""Ids that are kept for a destination."""

LEDGER = "weir-operator-notified"
"""Name of the ConfigMap."""

_KEY = "told.json"
_FIELD_MANAGER = "weir-notify"


class Told(BaseModel):
    """One destination's: everything up to ``since`` is settled (seconds since the epoch), and later so are ``done``."""

    since: float
    done: Annotated[dict[str, float], Field(default_factory=dict)]
    """Id of an alert → when what it tells came to be."""


_CONTENT = TypeAdapter(dict[str, Told])


class Ledger:
    """What is settled, by destination."""

    def __init__(self, content: Mapping[str, Told] | None = None) -> None:
        self._told = dict(content or {})
        self.changed = False
        """Whether there is something to store."""

    def keep(self, destinations: Iterable[str], now: float) -> None:
        """Forgets other destinations; what became so before a new one was there is not told to it."""
        wanted = set(destinations)
        if wanted != self._told.keys():
            self.changed = True
        self._told = {name: self._told.get(name) or Told(since=now, done={}) for name in sorted(wanted)}

    @property
    def since(self) -> float:
        """Up to here everything is settled, for all destinations (seconds since the epoch)."""
        return min((told.since for told in self._told.values()), default=0.0)

    def settled(self, destination: str, alert: Alert) -> bool:
        """Whether that destination has it, or never will."""
        told = self._told.get(destination)
        return told is None or alert.at <= told.since or alert.id in told.done

    def settle(self, destination: str, alerts: Iterable[Alert], now: float) -> None:
        """Remembers that these need not be sent again."""
        told = self._told.get(destination)
        if told is None:
            return
        done = told.done | {alert.id: alert.at for alert in alerts}
        newest = sorted(done.values(), reverse=True)
        since = max(told.since, now - REACH, newest[MOST] if len(newest) > MOST else 0.0)
        self._told[destination] = Told(since=since, done={i: at for i, at in done.items() if at > since})
        self.changed = True

    def to_json(self) -> str:
        """What is stored."""
        return json.dumps({name: told.model_dump() for name, told in self._told.items()}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """What was stored. Raises ValueError."""
        return cls(_CONTENT.validate_json(text))


class Store(Protocol):
    """What is needed of the API client."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """One object, or NotFound."""
        ...

    async def apply(self, resource: Resource, body: KubeObject, *, field_manager: str | None = None) -> KubeObject:
        """Server-side apply."""
        ...


class LedgerStore:
    """The ledger as a ConfigMap beside the operator."""

    def __init__(self, store: Store, namespace: str, name: str = LEDGER) -> None:
        self._store, self._namespace, self._name = store, namespace, name

    async def load(self) -> Ledger:
        """What was stored last; an empty one where nothing was, or nothing that can be read. Raises ApiError."""
        try:
            obj = await self._store.get(CONFIG_MAPS, self._name, self._namespace)
        except NotFound:
            return Ledger()
        text = (obj.get("data") or {}).get(_KEY)
        if not text:
            return Ledger()
        try:
            return Ledger.from_json(text)
        except ValidationError:
            _log.warning(
                "what was told before cannot be read, only what is new is told", extra={"configmap": self._name}
            )
            return Ledger()

    async def save(self, ledger: Ledger) -> None:
        """Stores it as it is now. Raises ApiError, and then it counts as changed still."""
        body = {"metadata": {"name": self._name, "namespace": self._namespace}, "data": {_KEY: ledger.to_json()}}
        ledger.changed = False
        try:
            await self._store.apply(CONFIG_MAPS, body, field_manager=_FIELD_MANAGER)
        except BaseException:
            ledger.changed = True
            raise
