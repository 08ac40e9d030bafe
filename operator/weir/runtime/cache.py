"""What the watches know of the cluster: trimmed objects with indexes, and a guard against stale reads."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from .clock import Clock, SystemClock
from .metrics import Metrics
from .resources import PODS, KubeObject, ObjectKey, Resource, key_of

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_META = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
)
_POD_STATUS = ("phase", "reason", "message", "podIP", "startTime")
_CONDITION = ("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER = ("name", "ready", "started", "restartCount", "state", "lastState")


class EventType(StrEnum):
    """What happened to an object, as the cache saw it (not as the stream named it)."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    STATUS = "STATUS"
    """Only `status` changed: the echo of a controller's own report, usually."""
    DELETED = "DELETED"


def trim(obj: KubeObject) -> KubeObject:
    """`obj` without managedFields and last-applied annotation."""
    meta = {field: value for field, value in obj["metadata"].items() if field != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return {**obj, "metadata": meta}


def trim_pod(obj: KubeObject) -> KubeObject:
    """Of a Pod only identity, owners, phase, address, conditions and the states of its containers."""
    status = obj.get("status") or {}
    kept = _pick(status, _POD_STATUS)
    kept["conditions"] = [_pick(condition, _CONDITION) for condition in status.get("conditions") or []]
    for field in ("initContainerStatuses", "containerStatuses"):
        kept[field] = [_pick(container, _CONTAINER) for container in status.get(field) or []]
    return {
        "apiVersion": obj.get("apiVersion", PODS.api_version),
        "kind": obj.get("kind", PODS.kind),
        "metadata": _pick(obj["metadata"], _POD_META),
        "status": kept,
    }


def _pick(source: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    return {field: source[field] for field in fields if field in source}


def is_older(version: str | None, than: str | None) -> bool:
    """Whether one resourceVersion of a kind is older than another; those that are no integers are only told apart."""
    if version is None or than is None:
        return version is None and than is not None
    if version.isdecimal() and than.isdecimal():
        return int(version) < int(than)
    return version != than


def _version(obj: KubeObject) -> str | None:
    version = obj["metadata"].get("resourceVersion")
    return str(version) if version is not None else None


class Cache:
    """Objects by key, with indexes. What it returns is shared: read, never change."""

    def __init__(
        self,
        trimmers: Mapping[Resource, Callable[[KubeObject], KubeObject]] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._trimmers = {PODS: trim_pod} if trimmers is None else dict(trimmers)
        self._objects: dict[Resource, dict[tuple[str, str], KubeObject]] = defaultdict(dict)
        self._by_label: dict[tuple[Resource, str, str], set[tuple[str, str]]] = defaultdict(set)
        self._by_owner: dict[tuple[Resource, str], set[tuple[str, str]]] = defaultdict(set)
        self._gauge = (metrics if metrics is not None else Metrics()).cached_objects

    def get(self, resource: Resource, namespace: str | None, name: str) -> KubeObject | None:
        """The object of that name, or None."""
        return self._objects[resource].get((namespace or "", name))

    def select(
        self, resource: Resource, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[KubeObject]:
        """Objects of a kind that carry all `labels`, of one namespace or of all, sorted by namespace and name."""
        objects = self._objects[resource]
        names: Iterable[tuple[str, str]] = objects
        if labels:
            sets = [self._by_label.get((resource, label, value), set()) for label, value in labels.items()]
            names = set.intersection(*sorted(sets, key=len))
        return [objects[name] for name in sorted(names) if namespace is None or name[0] == namespace]

    def owned_by(self, resource: Resource, uid: str) -> list[KubeObject]:
        """Objects of a kind with an ownerReference to `uid`, sorted by namespace and name."""
        objects = self._objects[resource]
        return [objects[name] for name in sorted(self._by_owner.get((resource, uid), ()))]

    def keys(self, resource: Resource, namespace: str | None = None) -> Iterator[ObjectKey]:
        """Keys of a kind, of one namespace or of all; a snapshot."""
        for space, name in list(self._objects[resource]):
            if namespace is None or space == namespace:
                yield ObjectKey(resource, space, name)

    def put(self, resource: Resource, obj: KubeObject) -> tuple[KubeObject, EventType | None]:
        """Store `obj` unless it is older than what is there; returns what is stored now, and the change if any."""
        kept = self._trimmers.get(resource, trim)(obj)
        key = key_of(resource, kept)
        name = (key.namespace, key.name)
        old = self._objects[resource].get(name)
        if old is not None and is_older(_version(kept), _version(old)):
            return old, None
        if old is not None:
            self._unindex(resource, name, old)
        self._objects[resource][name] = kept
        self._index(resource, name, kept)
        self._gauge.labels(resource.qualified_name).set(len(self._objects[resource]))
        return kept, _change(old, kept)

    def remove(self, resource: Resource, obj: KubeObject) -> KubeObject | None:
        """Drop the object if it is the one that was deleted; returns what was dropped.

        A late DELETED of an earlier object of the same name (another uid) drops nothing.
        """
        key = key_of(resource, obj)
        old = self._objects[resource].get((key.namespace, key.name))
        if old is None or old["metadata"].get("uid") != obj["metadata"].get("uid"):
            return None
        return self.discard(key)

    def discard(self, key: ObjectKey) -> KubeObject | None:
        """Drop whatever is stored under `key`; returns it."""
        name = (key.namespace, key.name)
        old = self._objects[key.resource].pop(name, None)
        if old is not None:
            self._unindex(key.resource, name, old)
            self._gauge.labels(key.resource.qualified_name).set(len(self._objects[key.resource]))
        return old

    def _index(self, resource: Resource, name: tuple[str, str], obj: KubeObject) -> None:
        for entry, index in self._entries(resource, obj):
            index[entry].add(name)

    def _unindex(self, resource: Resource, name: tuple[str, str], obj: KubeObject) -> None:
        for entry, index in self._entries(resource, obj):
            index[entry].discard(name)
            if not index[entry]:
                del index[entry]

    def _entries(self, resource: Resource, obj: KubeObject) -> Iterator[tuple[Any, dict[Any, set[tuple[str, str]]]]]:
        meta = obj["metadata"]
        for label, value in (meta.get("labels") or {}).items():
            yield (resource, label, value), self._by_label
        for uid in {owner["uid"] for owner in meta.get("ownerReferences") or []}:
            yield (resource, uid), self._by_owner


def _change(old: KubeObject | None, new: KubeObject) -> EventType | None:
    if old is None or old["metadata"].get("uid") != new["metadata"].get("uid"):
        return EventType.ADDED
    if _content(old) != _content(new):
        return EventType.MODIFIED
    return EventType.STATUS if old.get("status") != new.get("status") else None


def _content(obj: KubeObject) -> KubeObject:
    meta = {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
    return {**obj, "metadata": meta, "status": None}


class StaleGuard:
    """Remembers our last write to each object until the cache shows it.

    While `is_stale` says yes, a decision would be made on a state from before our own write: look again shortly after
    (50 ms is usual). After `patience` seconds the guard gives up, so that a lost event cannot stop the work for ever.
    """

    def __init__(
        self, cache: Cache, patience: float = 10.0, clock: Clock | None = None, metrics: Metrics | None = None
    ) -> None:
        self._cache = cache
        self._patience = patience
        self._clock = clock if clock is not None else SystemClock()
        self._skips = (metrics if metrics is not None else Metrics()).stale_cache_skips
        self._written: dict[ObjectKey, tuple[str, float]] = {}

    def wrote(self, resource: Resource, answer: KubeObject) -> None:
        """Remember the answer to our own create, apply or patch."""
        meta, key = answer["metadata"], key_of(resource, answer)
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            # This write let the object go; no cache will ever show it.
            self._written.pop(key, None)
            return
        self._written[key] = (str(meta["resourceVersion"]), self._clock.monotonic() + self._patience)

    def deleted(self, resource: Resource, obj: KubeObject) -> None:
        """The watches showed the end of `obj`."""
        key = key_of(resource, obj)
        written = self._written.get(key)
        if written is not None and not is_older(_version(obj), written[0]):
            del self._written[key]

    def is_stale(self, key: ObjectKey) -> bool:
        """Whether the cache has not shown our last write to `key` yet."""
        written = self._written.get(key)
        if written is None:
            return False
        version, give_up = written
        cached = self._cache.get(*key)
        seen = cached is not None and not is_older(_version(cached), version)
        if seen or self._clock.monotonic() >= give_up:
            del self._written[key]
            return False
        self._skips.labels(key.resource.qualified_name).inc()
        return True

    def forget(self, key: ObjectKey) -> None:
        """Drop what is remembered of `key` (after our own delete)."""
        self._written.pop(key, None)
