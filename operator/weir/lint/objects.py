"""The objects of our kinds in a document, each judged by itself: names, schema, rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import ValidationError

from weir.api import API_VERSION, GROUP
from weir.api.base import ApiModel
from weir.api.crds import object_schema
from weir.api.kinds import KINDS, Kind
from weir.api.schema import VALIDATIONS, Schema
from weir.lint.cel import matches
from weir.lint.defaults import with_defaults
from weir.lint.document import Document
from weir.lint.finding import Finding, Path, Severity, path_text
from weir.lint.rules import broken_rules
from weir.lint.structure import Flaw, flaws

_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_GENERATED = "xxxxx"
"""Stands for what the API server appends to ``generateName``."""

_STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}
_WRITTEN_BY_THE_SERVER = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of metadata that come with ``kubectl get -o yaml``; they are not checked."""

_METADATA: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 253},
        "generateName": {"type": "string", "maxLength": 253},
        "namespace": {"type": "string", "maxLength": 63},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        **dict.fromkeys(_WRITTEN_BY_THE_SERVER, _ANYTHING),
    },
}


@dataclass
class LintedObject:
    """One object of ours. ``value`` has the defaults filled in; ``sound`` once nothing is wrong with it by itself."""

    document: Document
    kind: Kind
    value: dict[str, Any]
    sound: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name; that which it begins with where the API server completes it."""
        metadata = self._metadata
        return str(metadata.get("name") or metadata.get("generateName") or "")

    @property
    def namespace(self) -> str:
        """Its namespace; empty where it is left to whoever applies the file."""
        return str(self._metadata.get("namespace") or "")

    @property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.value.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def subject(self) -> str:
        """Kind and name."""
        return f"{self.kind.name}/{self.name or '?'}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.document.file}:{self.document.mark(('metadata', 'name')).line}"

    @property
    def model(self) -> ApiModel | None:
        """The spec as the operator reads it; None while something is wrong with it."""
        if not self.sound:
            return None
        try:
            return self.kind.spec.model_validate(self.value.get("spec"))
        except ValidationError:
            return None

    def at(self, *path: str | int) -> Any:
        """The value at that place; None where there is none."""
        value: Any = self.value
        for step in path:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return value

    def warn(self, code: str, path: Path, message: str, hint: str = "") -> None:
        """Adds a warning."""
        self.add(Flaw(path, code, message, hint, warning=True))

    def add(self, flaw: Flaw) -> None:
        """Adds a finding."""
        severity = Severity.WARNING if flaw.warning else Severity.ERROR
        mark = self.document.mark(flaw.path, key=flaw.key)
        subject, path = self.subject, path_text(flaw.path)
        self.findings.append(
            Finding(self.document.file, mark, severity, flaw.code, subject, path, flaw.message, flaw.hint)
        )


def objects(document: Document) -> Iterator[LintedObject | Finding]:
    """Objects of our group in the document, judged by themselves, and findings about what only claims to be one."""
    value = document.value
    if not isinstance(value, dict):
        return
    if isinstance(value.get("items"), list) and str(value.get("kind", "")).endswith("List"):
        for index in range(len(value["items"])):
            yield from objects(document.part(("items", index)))
        return
    kind, api_version = value.get("kind"), value.get("apiVersion")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return
    if api_version == API_VERSION and kind in _KINDS:
        yield _judged(document, _KINDS[kind], value)
    elif api_version.split("/")[0] == GROUP or (kind in _KINDS and _resembles(api_version)):
        yield _no_kind(document, api_version, kind)


def _resembles(api_version: str) -> bool:
    return bool(get_close_matches(api_version, [API_VERSION], cutoff=0.8))


def _no_kind(document: Document, api_version: str, kind: str) -> Finding:
    if api_version != API_VERSION:
        path, message, hint = "apiVersion", f"no version {api_version} of {kind}", f"write {API_VERSION}"
    else:
        close = get_close_matches(kind, _KINDS, n=1)
        path, message = "kind", f"no kind {kind} in {GROUP}"
        hint = f"did you mean {close[0]}?" if close else "kinds: " + ", ".join(_KINDS)
    metadata = document.value.get("metadata")
    subject = f"{kind}/{metadata.get('name', '?') if isinstance(metadata, dict) else '?'}"
    return Finding(document.file, document.mark((path,)), Severity.ERROR, "kind", subject, path, message, hint)


@cache
def schema_of(kind: str) -> Schema:
    """Schema of whole objects as users write them: what is in ``status`` is not theirs, so anything goes."""
    schema = object_schema(_KINDS[kind])
    properties = {**schema["properties"], "metadata": _METADATA, "status": _ANYTHING}
    return {**schema, "properties": properties, "required": ["metadata", "spec"]}


def _judged(document: Document, kind: Kind, value: dict[str, Any]) -> LintedObject:
    schema = schema_of(kind.name)
    found = list(flaws(schema, value))
    # Defaults are for the walk of rules and for whoever reads the object; where types are wrong they change nothing.
    linted = LintedObject(document, kind, with_defaults(schema, value))
    found += _naming(linted)
    refused = [flaw.path for flaw in found if not flaw.warning and flaw.code != "unknown-field"]
    found += broken_rules({**schema, VALIDATIONS: []}, linted.value, refused)
    if all(path[:1] != ("metadata",) for path in refused):
        found += _about_names(schema, linted)
    linted.sound = not any(not flaw.warning for flaw in found)
    for flaw in found:
        linted.add(flaw)
    return linted


def _naming(linted: LintedObject) -> Sequence[Flaw]:
    name, prefix = linted.at("metadata", "name"), linted.at("metadata", "generateName")
    if not isinstance(linted.at("metadata"), dict):
        return ()
    if name is None and prefix is None:
        return (Flaw(("metadata", "name"), "metadata", "Required value", "set `name` or `generateName`"),)
    given = name if name is not None else f"{prefix}{_GENERATED}"
    if isinstance(given, str) and not matches(given, _NAME):
        message = f"{given!r} is no name for an object"
        hint = "lower-case letters, digits, '-' and '.', and a letter or digit at both ends"
        return (Flaw(("metadata", "name" if name is not None else "generateName"), "metadata", message, hint),)
    return ()


def _about_names(schema: Schema, linted: LintedObject) -> Iterator[Flaw]:
    """Rules of a whole object, which look at its name only."""
    metadata = linted.at("metadata") or {}
    name = metadata.get("name") or f"{metadata.get('generateName', '')}{_GENERATED}"
    for flaw in broken_rules({VALIDATIONS: schema.get(VALIDATIONS, ())}, {"metadata": {"name": name}}, ()):
        yield Flaw(("metadata", "name"), flaw.code, flaw.message)
