"""What the API server does to an object before it judges it: unknown fields go, defaults come."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from weir.api.schema import Schema


def with_defaults(schema: Schema, value: Any) -> Any:
    """A copy of the value with defaults filled in, and without fields that are unknown or null."""
    if isinstance(value, dict) and schema.get("type") == "object":
        return _object(schema, value)
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(schema["items"], item) for item in value]
    return deepcopy(value)


def _object(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    keeps = "x-kubernetes-preserve-unknown-fields" in schema
    result = {}
    for name, child in value.items():
        if name in known:
            if child is not None:
                result[name] = with_defaults(known[name], child)
        elif isinstance(rest, dict):
            result[name] = with_defaults(rest, child)
        elif keeps:
            result[name] = deepcopy(child)
    for name, child in known.items():
        if name not in result and "default" in child:
            result[name] = with_defaults(child, child["default"])
    return result
