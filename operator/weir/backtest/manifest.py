"""Reads a Rollout as its author wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from weir.api.base import seconds
from weir.api.rollout import RolloutSpec

_DAYS = re.compile(r"([0-9]+)([dw])")
_SECONDS = {"d": 86400.0, "w": 604800.0}


class ManifestError(ValueError):
    """The manifest cannot be used; the message says why, and names the field."""


@dataclass(frozen=True)
class Manifest:
    """A Rollout in a file."""

    name: str
    namespace: str
    spec: RolloutSpec


def load(text: str, name: str = "") -> Manifest:
    """The Rollout of that name in YAML of one or more documents; without a name the only one. Raises ManifestError."""
    try:
        documents = [d for d in yaml.safe_load_all(text) if isinstance(d, dict)]
    except yaml.YAMLError as error:
        raise ManifestError(f"no YAML: {error}") from error
    found = [
        d for d in documents if d.get("kind") == "Rollout" and str(d.get("apiVersion", "")).startswith("weir.dev/")
    ]
    chosen = [d for d in found if not name or _metadata(d).get("name") == name]
    if len(chosen) != 1:
        names = ", ".join(str(_metadata(d).get("name")) for d in found) or "none"
        raise ManifestError(f"need one Rollout of weir.dev, found: {names}" + ("" if name else "; name one of them"))
    metadata = _metadata(chosen[0])
    try:
        spec = RolloutSpec.model_validate(chosen[0].get("spec") or {})
    except ValidationError as error:
        wrong = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ManifestError(wrong) from error
    return Manifest(str(metadata.get("name") or "rollout"), str(metadata.get("namespace") or "default"), spec)


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def length_of(text: str) -> float:
    """Seconds of ``30d``, ``2w``, ``12h`` or ``1h30m``. Raises ValueError for anything else, and for nothing."""
    match = _DAYS.fullmatch(text)
    length = int(match[1]) * _SECONDS[match[2]] if match else seconds(text)
    if length <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return length
