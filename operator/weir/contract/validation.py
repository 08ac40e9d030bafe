"""Whether a document is one of the Open Data Contract Standard 3, and if not, where and what to do.

The JSON Schema of v3.2 is that of the package ``open-data-contract-standard``. Two things differ from a plain run of
it. A property without ``logicalType`` is accepted, as the text of the standard says (the schema asks it for a ``map``).
And which fields are known is told from the schema and the type of the thing alone, so that a large document takes time
in proportion to its size, and one wrong value is told once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft201909Validator, ValidationError
from jsonschema.validators import extend

from weir.contract.document import OPERATORS, DocumentError, Path, parse, path_text
from weir.contract.loading import nested_too_deeply

_NEWEST = (3, 2)
_STRICT_SINCE = (3, 1)
"""Before it, the standard left room for fields of one's own."""
_VERSION = re.compile(r"v3\.([0-9]+)\.[0-9]+")
_LATER_OR_FORMER = frozenset({"additionalProperties", "unevaluatedProperties", "enum"})
"""What another minor version may well permit: fields and words that this one does not know."""
_TYPES = {
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong, or doubtful where ``warning``. ``hint``: the way out; ``key``: the name is to blame."""

    at: Path
    message: str
    hint: str = ""
    warning: bool = False
    key: bool = False


def problems(odcs: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the document is not accepted: path, what is there, what was expected. Empty where nothing is wrong.

    Takes about half a millisecond a property; call it off the event loop.
    """
    return _texts(odcs, (flaw for flaw in examine(odcs) if not flaw.warning))


def warnings(odcs: Mapping[str, Any]) -> tuple[str, ...]:
    """What is accepted and should be looked at: unknown minor versions, what is unknown in them, deprecated things."""
    return _texts(odcs, (flaw for flaw in examine(odcs) if flaw.warning))


def _texts(odcs: Any, flaws: Iterable[Flaw]) -> tuple[str, ...]:
    found = []
    for flaw in flaws:
        where = path_text(odcs, flaw.at)
        found.append((f"{where}: " if where else "") + flaw.message + (f" ({flaw.hint})" if flaw.hint else ""))
    return tuple(found)


def examine(odcs: Any) -> tuple[Flaw, ...]:
    """Everything that is wrong or doubtful, in the order of the document."""
    if not isinstance(odcs, Mapping):
        return (Flaw((), "a data contract must be a mapping of fields", "begin with `apiVersion: v3.2.0`"),)
    if nested_too_deeply(odcs):
        return (Flaw((), "nested too deeply", "no property needs more than 40 levels"),)
    standard = odcs.get("apiVersion")
    version = _VERSION.fullmatch(standard) if isinstance(standard, str) else None
    if not isinstance(standard, str) or version is None:
        message = f"is {_shown(standard)}; expected a version 3 of the standard" if standard else "is required"
        return (Flaw(("apiVersion",), message, "write `apiVersion: v3.2.0`"),)
    minor = (3, int(version[1]))
    lenient = not _STRICT_SINCE <= minor <= _NEWEST
    read = {**odcs, "apiVersion": "v3.2.0"}
    found: dict[Path, Flaw] = {}
    for error in _validator().iter_errors(read):
        for leaf in _leaves(error):
            if lenient and _is_of_another_version(leaf, minor):
                flaw = replace(_flaw(leaf), warning=True)
            elif leaf.instance is True and _is_sla_unit(tuple(leaf.absolute_path)):
                flaw = Flaw(tuple(leaf.absolute_path), "is true; read as 'y', years", "put the y in quotes", True)
            else:
                flaw = _flaw(leaf)
            # One place, one flaw: a value of another type is none of the words that are expected, either.
            if flaw.at not in found or (found[flaw.at].warning and not flaw.warning):
                found[flaw.at] = flaw
    kept = (flaw for flaw in found.values() if not _follows(flaw, found))
    ordered = sorted(kept, key=lambda flaw: _order(read, flaw.at))
    unread = () if any(not flaw.warning for flaw in ordered) else _unread(odcs)
    return (*_of_version(minor, standard), *ordered, *unread, *_deprecated(odcs))


def _follows(flaw: Flaw, found: Mapping[Path, Flaw]) -> bool:
    """Whether a field is unknown only because its thing has no right type, which is told already."""
    types = (found.get((*flaw.at[:-1], name)) for name in ("type", "logicalType"))
    return flaw.key and not flaw.warning and any(told is not None and not told.warning for told in types)


def _unread(odcs: Mapping[str, Any]) -> tuple[Flaw, ...]:
    """What the schema permits and cannot be read, such as an empty name."""
    try:
        parse(odcs)
    except DocumentError as error:
        return (Flaw(error.at, error.message),)
    return ()


def _of_version(minor: tuple[int, int], standard: str) -> Iterator[Flaw]:
    if minor > _NEWEST:
        message = f"{standard} is newer than v{_NEWEST[0]}.{_NEWEST[1]}, the newest version that Weir knows"
        yield Flaw(("apiVersion",), message, "what it adds is kept and not checked", warning=True)


def _deprecated(odcs: Mapping[str, Any]) -> Iterator[Flaw]:
    instead = {
        "slaDefaultElement": "name the `element` in each of `slaProperties`",
        "dataProduct": "use `authoritativeDefinitions` or `customProperties`",
    }
    for name, way in instead.items():
        if name in odcs:
            yield Flaw((name,), "is deprecated by the standard", way, warning=True, key=True)
    if isinstance(odcs.get("team"), list):
        yield Flaw(("team",), "as a list is deprecated by the standard", "put the list under `members`", warning=True)
    for at, quality in _qualities(odcs, ()):
        if "rule" in quality:
            yield Flaw((*at, "rule"), "is deprecated by the standard", "use `metric`", warning=True, key=True)


def _qualities(value: Any, at: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _qualities(entry, (*at, index))
    elif isinstance(value, Mapping):
        for key in ("schema", "properties", "items", "map", "key", "value"):
            yield from _qualities(value.get(key), (*at, key))
        quality = value.get("quality")
        for index, entry in enumerate(quality if isinstance(quality, list) else ()):
            if isinstance(entry, Mapping):
                yield (*at, "quality", index), entry


def _order(odcs: Any, at: Path) -> tuple[int, ...]:
    """Sorts paths as the document has them; a field that is absent comes last."""
    order = []
    for step in at:
        if isinstance(step, int):
            order.append(step)
        else:
            keys = list(odcs) if isinstance(odcs, Mapping) else []
            order.append(keys.index(step) if step in keys else len(keys))
        try:
            odcs = odcs[step]
        except (KeyError, IndexError, TypeError):
            odcs = None
    return tuple(order)


def _is_of_another_version(error: ValidationError, minor: tuple[int, int]) -> bool:
    if error.validator in _LATER_OR_FORMER:
        return error.absolute_path[0] != "kind" if error.absolute_path else True
    former_metric = error.validator == "required" and "rule" in error.instance and "metric" in error.message
    former_limit = isinstance(error.instance, bool) and str(error.path[-1] if error.path else "").startswith(
        "exclusive"
    )
    return minor < _STRICT_SINCE and (former_metric or former_limit)


def _is_sla_unit(at: Path) -> bool:
    return len(at) == 3 and at[0] == "slaProperties" and at[2] == "unit"


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """The errors that say what is wrong: those of the branch that was meant, where there are several."""
    if not error.context or _about_operators(error):
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for child in error.context:
        branches.setdefault(child.schema_path[0], []).append(child)
    # The branch that was meant is the one whose errors lie deepest: its type and its required fields are right.
    meant = max(branches.values(), key=lambda group: (min(len(child.path) for child in group), -len(group)))
    if all(child.validator == "type" and not child.path for group in branches.values() for child in group):
        yield error
        return
    for child in meant:
        yield from _leaves(child)


def _about_operators(error: ValidationError) -> bool:
    required = [branch.get("required") for branch in error.validator_value if isinstance(branch, dict)]
    return ["mustBe"] in required


def _flaw(error: ValidationError) -> Flaw:
    at: Path = tuple(error.absolute_path)
    match error.validator:
        case "required":
            missing = error.message.split("'")[1] if "'" in error.message else ""
            if missing == "map":
                return Flaw((*at, "map"), "is required where logicalType is map", "describe `key` and `value`")
            return Flaw((*at, missing), "is required", f"add `{missing}`")
        case "additionalProperties" | "unevaluatedProperties":
            return _unknown(error, at)
        case "type":
            return _type(error, at)
        case "enum":
            return _word(error, at)
        case "oneOf" if _about_operators(error):
            return _operators(error, at)
        case "oneOf" | "anyOf":
            branches = [_target(b["$ref"]) if "$ref" in b else b for b in error.validator_value]
            types = [branch.get("type") for branch in branches]
            expected = " or ".join(_TYPES[name] for name in types if isinstance(name, str) and name in _TYPES)
            return Flaw(at, f"is {_shown(error.instance)}; expected {expected or 'another form'}")
        case "maxProperties":
            return Flaw(at, "needs a `logicalType`, which says what the options mean", "add `logicalType`")
        case "pattern":
            return Flaw(at, f"is {_shown(error.instance)}; expected a text like {error.validator_value}")
        case "minItems" | "maxItems":
            least = "at least" if error.validator == "minItems" else "at most"
            return Flaw(at, f"has {len(error.instance)} entries; expected {least} {error.validator_value}")
        case "uniqueItems":
            return Flaw(at, "has the same entry twice", "remove one of the two")
        case "minimum" | "exclusiveMinimum":
            least = "at least" if error.validator == "minimum" else "more than"
            return Flaw(at, f"is {_shown(error.instance)}; expected {least} {error.validator_value}")
        case "not":
            return Flaw((*at, "from"), "is known here: it is the property itself", "remove `from`")
        case _:
            return Flaw(at, error.message)


def _type(error: ValidationError, at: Path) -> Flaw:
    wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    expected = " or ".join(_TYPES[name] for name in wanted)
    scalar = isinstance(error.instance, bool | int | float)
    hint = "put it in quotes" if "string" in wanted and scalar else ""
    return Flaw(at, f"is {_shown(error.instance)}; expected {expected}", hint)


def _word(error: ValidationError, at: Path) -> Flaw:
    words = [str(word) for word in error.validator_value]
    close = get_close_matches(str(error.instance), words, n=1)
    hint = f"did you mean {close[0]}?" if close else ""
    return Flaw(at, f"is {_shown(error.instance)}; expected one of {', '.join(words)}", hint)


def _operators(error: ValidationError, at: Path) -> Flaw:
    given = [name for name in OPERATORS if name in error.instance]
    wrong = [child for child in error.context or () if child.path]
    if len(given) == 1 and wrong:
        return _flaw(wrong[0])
    told = f"has {' and '.join(given)}" if given else "has no comparison"
    return Flaw(at, f"{told}; expected exactly one of {', '.join(OPERATORS)}")


def _unknown(error: ValidationError, at: Path) -> Flaw:
    name, known = error.message, _known(error.schema, error.instance)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"fields here: {', '.join(sorted(known))}"
    return Flaw((*at, name), "is not a field of the standard here", hint, key=True)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


@cache
def _schema() -> dict[str, Any]:
    """The JSON Schema of the standard, corrected where it contradicts the text."""
    text = files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    base = schema["$defs"]["SchemaBaseProperty"]
    for part in base["allOf"]:
        # `if` holds for an absent property, too: without this, a property without a type would have to be a map.
        for condition in (part.get("if", {}), *part.get("if", {}).get("anyOf", ())):
            if "properties" in condition:
                condition["required"] = ["logicalType"]
    untyped = {
        "properties": {
            "logicalTypeOptions": {"type": "object", "maxProperties": 0},
            "properties": {"type": "array", "items": {"$ref": "#/$defs/SchemaProperty"}},
            "items": {"$ref": "#/$defs/SchemaItemProperty"},
        }
    }
    base["allOf"].append({"if": {"not": {"required": ["logicalType"]}}, "then": untyped})
    return schema


@cache
def _target(reference: str) -> Any:
    """What a reference inside the schema points to; it has no others."""
    value: Any = _schema()
    for step in reference.removeprefix("#/").split("/"):
        value = value[step]
    return value


def _known(schema: Mapping[str, Any], instance: Mapping[str, Any]) -> set[str]:
    """The fields that the schema knows for a thing like this one, whether or not their values are right."""
    known = set(schema.get("properties", ()))
    if "$ref" in schema:
        known |= _known(_target(schema["$ref"]), instance)
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        known |= _known(part, instance)
    if "if" in schema and _meets(schema["if"], instance):
        known |= _known(schema.get("then", {}), instance)
    return known


def _meets(condition: Mapping[str, Any], instance: Mapping[str, Any]) -> bool:
    """Whether an ``if`` of the schema holds; it knows the few forms that the schema has."""
    for keyword, value in condition.items():
        match keyword:
            case "required":
                held = all(name in instance for name in value)
            case "properties":
                held = all(_is(instance[name], wanted) for name, wanted in value.items() if name in instance)
            case "anyOf":
                held = any(_meets(part, instance) for part in value)
            case "not":
                held = not _meets(value, instance)
            case _:
                raise NotImplementedError(f"the schema has a condition with {keyword}")
        if not held:
            return False
    return True


def _is(value: Any, wanted: Mapping[str, Any]) -> bool:
    return value == wanted["const"] if "const" in wanted else isinstance(value, str) and wanted == {"type": "string"}


def _reference(validator: Any, reference: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    yield from validator.descend(instance, _target(reference))


def _condition(validator: Any, condition: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict) and _meets(condition, instance):
        yield from validator.descend(instance, schema["then"], schema_path="then")


def _fields(_validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``additionalProperties`` and ``unevaluatedProperties``: an error for each unknown field, with it as message."""
    if allowed is False and isinstance(instance, dict):
        known = _known(schema, instance)
        yield from (ValidationError(str(name)) for name in instance if name not in known)


@cache
def _validator() -> Any:
    keywords = {
        "$ref": _reference,
        "if": _condition,
        "additionalProperties": _fields,
        "unevaluatedProperties": _fields,
    }
    return extend(Draft201909Validator, keywords)(_schema())
