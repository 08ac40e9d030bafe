"""Kubernetes Events for people: one for each transition, under a name that makes a second write of it a no-op."""

import logging
import uuid
from typing import Literal, Protocol

from .clock import Clock, SystemClock, micro_time
from .errors import AlreadyExists, ApiError
from .metrics import Metrics
from .resources import EVENTS, KubeObject, Resource

_log = logging.getLogger(__name__)

_NAMES = uuid.UUID("6d0c1f3e-5a3b-4d0e-9a53-2f8f6a1c7b90")
_NOTE_BYTES = 1024
_WORD_CHARS = 128
TRACEPARENT_ANNOTATION = "weir.dev/traceparent"
"""The annotation that ties an Event to the trace in which it was written."""


class EventStore(Protocol):
    """What the writer needs of the API client."""

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create, or AlreadyExists."""
        ...


class EventWriter:
    """Writes Events on behalf of one controller. A failure is logged and counted, never raised."""

    def __init__(
        self,
        store: EventStore,
        *,
        controller: str,
        instance: str,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._controller = controller
        self._instance = instance[:_WORD_CHARS]
        self._clock = clock if clock is not None else SystemClock()
        self._counter = (metrics if metrics is not None else Metrics()).events

    async def emit(
        self,
        regarding: KubeObject,
        *,
        reason: str,
        action: str,
        note: str,
        key: str,
        type_: Literal["Normal", "Warning"] = "Normal",
        related: KubeObject | None = None,
        traceparent: str | None = None,
    ) -> bool:
        """Write one Event.

        Args:
            regarding: the object that the Event is about, with apiVersion, kind and metadata.
            reason: why, in CamelCase.
            action: what was done, in CamelCase.
            note: for people; cut at 1 kB.
            key: tells this transition from others with the same reason (release and stage, say).
            type_: `Warning` asks for a person's attention.
            related: another object that took part.
            traceparent: W3C trace context of the reconcile.

        Returns:
            True when the Event exists now, written now or before.
        """
        body = self._body(regarding, reason=reason, action=action, note=note, key=key)
        body["type"] = type_
        if related is not None:
            body["related"] = _reference(related)
        if traceparent is not None:
            body["metadata"]["annotations"] = {TRACEPARENT_ANNOTATION: traceparent}
        try:
            await self._store.create(EVENTS, body)
        except AlreadyExists:
            self._counter.labels("repeated").inc()
        except ApiError as exc:
            self._counter.labels("failed").inc()
            _log.warning("event %s for %s was not written: %s", reason, regarding["metadata"].get("name"), exc)
            return False
        else:
            self._counter.labels("written").inc()
        return True

    def _body(self, regarding: KubeObject, *, reason: str, action: str, note: str, key: str) -> KubeObject:
        meta = regarding["metadata"]
        name = event_name(meta["name"], meta.get("uid") or "", reason, key)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            # Events about cluster-scoped objects live in the namespace `default`, by convention.
            "metadata": {"name": name, "namespace": meta.get("namespace") or "default"},
            "eventTime": micro_time(self._clock.now()),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action[:_WORD_CHARS],
            "reason": reason[:_WORD_CHARS],
            "regarding": _reference(regarding),
            "note": cut(note),
        }


def event_name(object_name: str, uid: str, reason: str, key: str) -> str:
    """The name of the Event for this transition of the object with this uid; the same transition has the same name."""
    identity = uuid.uuid5(_NAMES, "\n".join((uid, reason, key)))
    return f"{object_name[:200].rstrip('.-')}.{identity.hex}"


def cut(note: str) -> str:
    """`note`, at most 1 kB of UTF-8; a cut is marked by an ellipsis."""
    raw = note.encode()
    if len(raw) <= _NOTE_BYTES:
        return note
    return raw[: _NOTE_BYTES - 3].decode("utf-8", "ignore") + "…"


def _reference(obj: KubeObject) -> KubeObject:
    meta = obj["metadata"]
    fields = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "name": meta["name"],
        "namespace": meta.get("namespace"),
        "uid": meta.get("uid"),
    }
    return {field: value for field, value in fields.items() if value}
