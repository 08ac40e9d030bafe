"""Documents of DataContracts: read, judged off the event loop, and kept as revisions that versions can be bound to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from weir.api.datacontract import DataContractSpec, Source
from weir.api.distribution import ConfigMapKey
from weir.contract.consistency import inconsistencies
from weir.contract.digest import contract_digest
from weir.contract.document import DocumentError, UnreadableText, load_yaml, parse
from weir.contract.revision import Revision
from weir.contract.validation import problems, warnings
from weir.controller.contractbook import ContractBook, digest_of
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, Conflict, NotFound
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    KubeObject,
    ObjectKey,
    key_of,
)
from weir.runtime.sources import DigestMismatch, SourceError, check_digest, fetch_document
from weir.workload.checkjob import ANNOTATION_DIGEST, contract_labels, kept_name, owned, owner_reference

ANNOTATION_VERSION = "weir.dev/version"
ANNOTATION_SOURCE = "weir.dev/source-digest"
KEEP = 10
"""Revisions of a contract that are kept at least; those that a ModelVersion names are kept besides."""

_RETRY = 60.0
"""Seconds after which a document that could not be read is read again."""
_SHOWN = 5

_FETCH_SECONDS = 20.0
"""Seconds for a document from outside the cluster; less than a reconcile has."""


class DocumentRefused(Exception):
    """The document does not count. ``again``: seconds after which it may, None where only a change of it helps."""

    def __init__(self, reason: str, message: str, again: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.again = again


@dataclass(frozen=True)
class Accepted:
    """A document that counts: its revision, the name under which it is kept, and what to look at all the same."""

    revision: Revision
    kept: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Judged:
    revision: Revision
    odcs: Mapping[str, Any]
    warnings: tuple[str, ...]


class Revisions:
    """Turns the spec of a DataContract into a kept revision. Each generation is judged once, in a thread."""

    def __init__(
        self, client: KubeClient, cache: Cache, guard: StaleGuard, book: ContractBook, sources: Sequence[str] = ()
    ) -> None:
        """``sources``: URL prefixes of registries and repositories that documents may be read from."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._book = book
        self._sources = sources
        # One thread: many contracts at once must not take the processor from the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="contracts")
        self._judged: dict[str, tuple[int, _Judged | DocumentRefused]] = {}

    async def accept(self, obj: KubeObject, spec: DataContractSpec) -> Accepted:
        """The revision that the spec asks for, kept.

        Raises:
            DocumentRefused: it does not count; the message names the field and the way out.
            ApiError: it could not be kept.
        """
        judged = await self._judge(obj, spec)
        self._refuse_reuse(obj, judged.revision)
        name = await self._keep(obj, spec, judged)
        self._book.learn(obj["metadata"]["namespace"], judged.revision)
        return Accepted(judged.revision, name, judged.warnings)

    def forget(self, uid: str) -> None:
        """The DataContract is gone."""
        self._judged.pop(uid, None)

    def close(self) -> None:
        """Ends the thread; what it is doing is finished in vain."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _judge(self, obj: KubeObject, spec: DataContractSpec) -> _Judged:
        meta = obj["metadata"]
        generation = int(meta.get("generation", 1))
        known = self._judged.get(meta["uid"])
        if known is None or known[0] != generation:
            odcs = spec.odcs if spec.odcs is not None else await self._document(obj, spec)
            loop = asyncio.get_running_loop()
            known = (generation, await loop.run_in_executor(self._thread, _judge, meta["name"], spec, odcs))
            self._judged[meta["uid"]] = known
        if isinstance(known[1], DocumentRefused):
            raise known[1]
        return known[1]

    # --- reading ---

    async def _document(self, obj: KubeObject, spec: DataContractSpec) -> Mapping[str, Any]:
        """The document behind ``source``. Its bytes are pinned, so what was kept once is never read again."""
        assert spec.source is not None
        meta = obj["metadata"]
        for kept in self._book.kept(meta["namespace"], meta["name"]):
            if (kept["metadata"].get("annotations") or {}).get(ANNOTATION_SOURCE) == spec.source.digest:
                odcs: Mapping[str, Any] = kept["data"]["odcs"]
                return odcs
        raw = await self._bytes(meta["namespace"], spec.source)
        try:
            check_digest(raw, spec.source.digest)
        except DigestMismatch as error:
            raise DocumentRefused(error.reason, f"spec.source.digest: {error}", _RETRY) from None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _loaded, raw)

    async def _bytes(self, namespace: str, source: Source) -> bytes:
        if source.config_map_ref is not None:
            return await self.config_map(namespace, source.config_map_ref, "spec.source.configMapRef")
        try:
            return await fetch_document(source, self._sources, _FETCH_SECONDS)
        except SourceError as error:
            again = _RETRY if error.transient or isinstance(error, DigestMismatch) else None
            raise DocumentRefused(error.reason, f"spec.source: {error}", again) from None

    async def config_map(self, namespace: str, place: ConfigMapKey, field: str) -> bytes:
        """The bytes of a key of a ConfigMap; raises DocumentRefused, which names the field, or ApiError."""
        try:
            found = await self._client.get(CONFIG_MAPS, place.name, namespace)
        except NotFound:
            message = f"{field}.name: there is no ConfigMap {place.name} in this namespace"
            raise DocumentRefused("SourceNotFound", message, _RETRY) from None
        text = (found.get("data") or {}).get(place.key)
        if text is None:
            message = f"{field}.key: ConfigMap {place.name} has no key {place.key} under `data`"
            raise DocumentRefused("SourceNotFound", message, _RETRY)
        return str(text).encode()

    # --- keeping ---

    def _refuse_reuse(self, obj: KubeObject, revision: Revision) -> None:
        meta = obj["metadata"]
        for kept in self._book.kept(meta["namespace"], meta["name"]):
            version = (kept["metadata"].get("annotations") or {}).get(ANNOTATION_VERSION)
            if version == revision.document.version and digest_of(kept) != revision.digest:
                raise DocumentRefused(
                    "VersionReused",
                    f"spec.odcs.version: version {version} is kept already with other content ({digest_of(kept)}): "
                    "a version of a contract never changes; raise `version` together with the change",
                )

    async def _keep(self, obj: KubeObject, spec: DataContractSpec, judged: _Judged) -> str:
        meta, revision = obj["metadata"], judged.revision
        kept = self._book.kept(meta["namespace"], meta["name"])
        found = next((r for r in kept if digest_of(r) == revision.digest), None)
        if found is not None:
            return str(found["metadata"]["name"])
        name = kept_name(meta["name"], revision.digest.removeprefix("sha256:")[:10])
        annotations = {ANNOTATION_DIGEST: revision.digest, ANNOTATION_VERSION: revision.document.version}
        if spec.source is not None:
            annotations[ANNOTATION_SOURCE] = spec.source.digest
        data: dict[str, Any] = {"odcs": judged.odcs}
        if revision.semantics:
            data["semantics"] = [entry.to_dict() for entry in revision.semantics]
        body = {
            "apiVersion": CONTROLLER_REVISIONS.api_version,
            "kind": CONTROLLER_REVISIONS.kind,
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": contract_labels(meta["name"]),
                "annotations": annotations,
                "ownerReferences": [owner_reference(DATA_CONTRACTS, obj)],
            },
            "data": data,
            "revision": max((int(r.get("revision", 0)) for r in kept), default=0) + 1,
        }
        try:
            answer = await self._client.create(CONTROLLER_REVISIONS, body)
        except AlreadyExists:
            answer = await self._client.get(CONTROLLER_REVISIONS, name, meta["namespace"])
            if not owned(answer, obj):
                # Of a contract of this name that was deleted: it goes, too, and then there is room.
                raise Conflict(f"ControllerRevision {name} belongs to another object") from None
        self._guard.wrote(CONTROLLER_REVISIONS, answer)
        return name

    async def prune(self, obj: KubeObject, current: str) -> None:
        """Deletes revisions that nobody needs; ``current``: the digest that counts now."""
        meta = obj["metadata"]
        kept = self._book.kept(meta["namespace"], meta["name"])
        if len(kept) <= KEEP:
            return
        pinned = self._pinned(meta["namespace"], meta["name"]) | {current}
        for old in kept[:-KEEP]:
            if digest_of(old) not in pinned:
                with suppress(NotFound, Conflict):
                    old_meta = old["metadata"]
                    await self._client.delete(
                        CONTROLLER_REVISIONS, old_meta["name"], old_meta["namespace"], uid=old_meta["uid"]
                    )
                self._guard.forget(key_of(CONTROLLER_REVISIONS, old))
                self._book.forget(meta["namespace"], meta["name"], digest_of(old))

    def _pinned(self, namespace: str, contract: str) -> set[str]:
        """Digests that some ModelVersion is bound to, or names."""
        found = set()
        for version in self._cache.select(MODEL_VERSIONS, namespace):
            for entry in (version.get("status") or {}).get("contracts") or ():
                if entry["name"] == contract:
                    found.add(str(entry["digest"]))
            named = version["spec"].get("contracts") or {}
            texts = [named.get("request"), named.get("response"), *(named.get("trainedOn") or ())]
            found |= {str(text).partition("@")[2] for text in texts if str(text).startswith(f"{contract}@")}
        return found

    def pending(self, obj: KubeObject, name: str) -> bool:
        """Whether the cache does not show the revision that was kept just now."""
        return self._guard.is_stale(ObjectKey(CONTROLLER_REVISIONS, obj["metadata"]["namespace"], name))


def _loaded(raw: bytes) -> Mapping[str, Any]:
    try:
        odcs = load_yaml(raw.decode())
    except (UnreadableText, UnicodeDecodeError) as error:
        raise DocumentRefused("InvalidDocument", f"spec.source: {error}", _RETRY) from None
    if not isinstance(odcs, Mapping):
        raise DocumentRefused("InvalidDocument", "spec.source: the document must be a mapping of fields")
    return odcs


def _judge(name: str, spec: DataContractSpec, odcs: Mapping[str, Any]) -> _Judged | DocumentRefused:
    """Everything that takes time in proportion to the document; runs in a thread."""
    found = problems(odcs)
    if found:
        return DocumentRefused("InvalidDocument", _several("spec.odcs.", found))
    try:
        document = parse(odcs)
        digest = contract_digest(odcs, spec.semantics or ())
    except (DocumentError, ValueError) as error:
        return DocumentRefused("InvalidDocument", f"spec.odcs: {error}")
    wrong = inconsistencies(spec, document)
    if wrong:
        return DocumentRefused("Inconsistent", _several("", wrong))
    revision = Revision(name, digest, document, tuple(spec.semantics or ()))
    return _Judged(revision, odcs, warnings(odcs))


def _several(prefix: str, found: tuple[str, ...]) -> str:
    """The first few problems in one text."""
    text = "; ".join(f"{prefix}{problem}" for problem in found[:_SHOWN])
    return text + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
