"""Checks a value against a structural schema, in the API server's words where it has any."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from weir.api.schema import Schema
from weir.lint.cel import EARLIEST, matches
from weir.lint.finding import Path, path_text

CHECKED = frozenset(
    {"type", "format", "enum", "required", "properties", "items", "additionalProperties", "pattern"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"}
    | {"x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
)
"""Keys of a schema that are understood here."""

_FEW_FIELDS = 12
"""So many fields are listed where nothing resembles an unknown one."""

_FEW_HOMES = 2
"""A field that exists in more places than this may be meant for any of them."""


@dataclass(frozen=True)
class Flaw:
    """Something wrong with an object. ``key``: the key is to blame, not the value."""

    path: Path
    code: str
    message: str
    hint: str = ""
    key: bool = False
    warning: bool = False


def flaws(schema: Schema, value: Any, path: Path = (), *, root: Schema | None = None) -> Iterator[Flaw]:
    """Everything that the schema refuses, and fields without a value; ``root`` is where stray fields may belong."""
    wrong = _wrong_type(schema, value)
    if wrong is not None:
        yield Flaw(path, "type", *wrong)
        return
    if isinstance(value, dict):
        yield from _object(schema, value, path, root or schema)
    elif isinstance(value, list):
        if "items" not in schema:
            return
        yield from _array(schema, value, path, root or schema)
    else:
        yield from _scalar(schema, value, path)


def _object(schema: Schema, value: Mapping[str, Any], path: Path, root: Schema) -> Iterator[Flaw]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if value.get(name) is None and "default" not in known.get(name, {}):
            yield Flaw((*path, name), "required", "Required value", f"set `{name}`")
    for name, child in value.items():
        place = (*path, name)
        if name in known:
            if child is not None:
                yield from flaws(known[name], child, place, root=root)
            elif name not in schema.get("required", ()):
                yield Flaw(place, "empty-field", "has no value, so it counts as absent", "give it one", True, True)
        elif isinstance(rest, dict):
            yield from flaws(rest, child, place, root=root)
        elif "x-kubernetes-preserve-unknown-fields" not in schema:
            yield Flaw(place, "unknown-field", f"unknown field `{name}`", _meant(name, known, path, root), True)
    yield from _size(schema, "Properties", len(value), path, "must have {} {} fields")


def _meant(name: str, known: Mapping[str, Any], path: Path, root: Schema) -> str:
    """What the author of an unknown field may have meant."""
    lower = {field.lower(): field for field in known}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.7)
    if close:
        return f"did you mean `{lower[close[0]]}`?"
    homes: dict[str, list[str]] = {}
    for field, home in _homes(root, ()):
        if home != path_text(path) and home not in homes.setdefault(field, []):
            homes[field].append(home)
    elsewhere = name if name in homes else next(iter(get_close_matches(name, homes, n=1, cutoff=0.8)), None)
    if elsewhere is not None and len(homes[elsewhere]) <= _FEW_HOMES:
        what = "it" if elsewhere == name else f"`{elsewhere}`"
        return f"{what} is a field of " + " and of ".join(f"`{home}`" for home in homes[elsewhere])
    return "fields here: " + ", ".join(sorted(known)) if 0 < len(known) <= _FEW_FIELDS else "remove it"


def _homes(schema: Schema, path: Path) -> Iterator[tuple[str, str]]:
    """Every field below, and what it is a field of."""
    for field, child in schema.get("properties", {}).items():
        yield field, path_text(path)
        if field != "status":
            yield from _homes(child, (*path, field))
    if "items" in schema:
        yield from _homes(schema["items"], (*path[:-1], f"{path[-1]}[]"))


def _array(schema: Schema, value: list[Any], path: Path, root: Schema) -> Iterator[Flaw]:
    items = schema["items"]
    for index, item in enumerate(value):
        yield from flaws(items, item, (*path, index), root=root)
    yield from _size(schema, "Items", len(value), path, "must have {} {} items")
    yield from _duplicates(schema, value, path)


def _duplicates(schema: Schema, value: list[Any], path: Path) -> Iterator[Flaw]:
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        keys = schema["x-kubernetes-list-map-keys"]
        fields = schema["items"]["properties"]
        defaults = {key: fields.get(key, {}).get("default") for key in keys}
        names = [{k: e.get(k, defaults[k]) for k in keys} if isinstance(e, dict) else None for e in value]
    elif kind == "set":
        names = list(value)
    else:
        return
    seen: list[str] = []
    for index, name in enumerate(names):
        if name is None:
            continue
        text = json.dumps(name, sort_keys=True)
        if text in seen:
            shown = ", ".join(map(str, name.values())) if isinstance(name, dict) else name
            hint = f"entry {seen.index(text)} of the list has the same"
            yield Flaw((*path, index), "value", f"Duplicate value: {shown}", hint)
        seen.append(text)


def _scalar(schema: Schema, value: Any, path: Path) -> Iterator[Flaw]:
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(json.dumps(entry) for entry in schema["enum"])
        close = get_close_matches(str(value), schema["enum"], n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else ""
        yield Flaw(path, "value", f"Unsupported value: {json.dumps(value)}: supported values: {allowed}", hint)
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield Flaw(path, "value", f"should be greater than or equal to {schema['minimum']}", f"it is {value}")
        if value > schema.get("maximum", value):
            yield Flaw(path, "value", f"should be less than or equal to {schema['maximum']}", f"it is {value}")


def _text(schema: Schema, value: str, path: Path) -> Iterator[Flaw]:
    if len(value) > schema.get("maxLength", len(value)):
        yield Flaw(path, "value", f"Too long: may not be more than {schema['maxLength']} bytes", f"it has {len(value)}")
    if len(value) < schema.get("minLength", 0):
        yield Flaw(path, "value", f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not matches(value, schema["pattern"]):
        yield Flaw(path, "value", f"should match '{schema['pattern']}'", schema.get("description", "").rstrip("."))


def _size(schema: Schema, what: str, size: int, path: Path, message: str) -> Iterator[Flaw]:
    checks: tuple[tuple[str, str, Callable[[int], bool]], ...] = (
        ("min", "at least", lambda bound: size < bound),
        ("max", "at most", lambda bound: size > bound),
    )
    for which, text, broken in checks:
        bound = schema.get(f"{which}{what}")
        if bound is not None and broken(bound):
            yield Flaw(path, "value", message.format(text, bound), f"it has {size}")


_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
}


def _wrong_type(schema: Schema, value: Any) -> tuple[str, str] | None:
    """Message and way out where the value is not of the schema's type."""
    wanted = schema.get("type", "")
    if schema.get("x-kubernetes-int-or-string"):
        fits, wanted = isinstance(value, str) or _integral(value), "string or integer"
    elif not wanted:
        return None
    else:
        fits = isinstance(value, _KINDS[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
        fits = fits and (wanted != "integer" or _integral(value))
    if not fits:
        return f"must be of type {wanted}, not {_name(value)}", _remedy(wanted, value)
    if schema.get("format") == "date-time" and time_of(value) is None:
        return f"{json.dumps(value)} must be of type date-time", "such as '2030-12-31T23:59:59Z'"
    return None


def _integral(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float) and not value.is_integer():
        return "number"
    return next(name for name, kinds in _KINDS.items() if isinstance(value, kinds))


def _remedy(wanted: str, value: Any) -> str:
    if wanted == "string" and isinstance(value, bool | int | float):
        return "write it in quotes"
    if wanted in {"integer", "number", "boolean"} and isinstance(value, str):
        return "write it without quotes" if _plain(wanted, value) else ""
    if wanted == "array" and value is not None:
        return "begin each entry with `- `"
    return "remove the `- `" if wanted == "object" and isinstance(value, list) else ""


def _plain(wanted: str, text: str) -> bool:
    if wanted == "boolean":
        return text in {"true", "false"}
    try:
        return _integral(float(text)) or wanted == "number"
    except ValueError:
        return False


def time_of(text: str) -> datetime | None:
    """The point in time that an RFC 3339 text names; EARLIEST for the distant past, None for what is no time."""
    try:
        # Python has no year 0.
        found = datetime.fromisoformat(("0001" + text[4:] if text.startswith("0000") else text).upper())
    except ValueError:
        return None
    if found.tzinfo is None or len(text) < len("0000-00-00T00:00:00Z") or text[10] not in "Tt":
        return None
    return EARLIEST if found.year < EARLIEST.year else found
