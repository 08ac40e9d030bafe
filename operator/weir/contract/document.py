"""Reads an Open Data Contract Standard 3 document into the values that the rest of Weir works with.

A document that `weir.contract.validation` finds no problem in is always read. What the standard leaves out is left out
here, too: a rule that Weir does not know stays in the document, so that a check can say that it was not decided.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast, get_args

from weir.contract.loading import UnreadableText, load_yaml, nested_too_deeply
from weir.contract.model import (
    Column,
    Comparison,
    Document,
    LogicalType,
    OdcsServer,
    Quality,
    Scalar,
    Sla,
    Table,
)

__all__ = ["OPERATORS", "DocumentError", "Path", "UnreadableText", "load_yaml", "parse", "path_text"]

Path = tuple[str | int, ...]
"""Where in a document: names of fields and positions in lists."""

OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
LOGICAL_TYPES: frozenset[str] = frozenset(get_args(LogicalType))
_KINDS = ("library", "sql", "text", "custom")
_OPTION_FIELDS = frozenset(
    {
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minItems",
        "maxItems",
        "uniqueItems",
        "dimensions",
        "elementType",
    }
)
_FORMER_METRICS = {
    "nullCheck": "nullValues",
    "nullCount": "nullValues",
    "duplicateCheck": "duplicateValues",
    "duplicateCount": "duplicateValues",
    "uniqueCheck": "duplicateValues",
    "validValues": "invalidValues",
    "invalidCount": "invalidValues",
}
"""Names that ``rule`` had before v3.1 gave them to ``metric``."""


class DocumentError(ValueError):
    """The document cannot be read. ``path`` is for people (``schema[orders].properties[id]``), ``at`` for programs."""

    def __init__(self, path: str, message: str, at: Path = ()) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
        self.at = at


def path_text(odcs: Any, at: Path) -> str:
    """A path for people: entries of lists by their names, where they have one."""
    text, value = "", odcs
    for step in at:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
        if not isinstance(step, int):
            text += f".{step}"
            continue
        entry = value if isinstance(value, Mapping) else {}
        names = (entry.get(key) for key in ("name", "server", "property", "id"))
        text += f"[{next((name for name in names if isinstance(name, str) and name), step)}]"
    return text.removeprefix(".")


def parse(odcs: Mapping[str, Any]) -> Document:
    """The parts of a document that say which data is permitted and where it is.

    Numbers become Decimals without losing digits, except that integers of ``enum`` stay integers. The keys and values
    of a map are its members ``key`` and ``value``. A comparison with something else than numbers keeps its operator and
    has no values: it cannot be decided. A word of a later minor version (a logical type, a type of quality rule) reads
    as none, or as a custom rule of that engine.

    Raises:
        DocumentError: a required field is missing or has another type than the standard gives it.
    """
    if not isinstance(odcs, Mapping):
        raise DocumentError("", "a data contract must be a mapping of fields")
    if nested_too_deeply(odcs):
        raise DocumentError("", "nested too deeply")
    node = _Node(odcs, (), odcs)
    standard = node.text("apiVersion", required=True)
    if re.fullmatch(r"v3\.[0-9]+\.[0-9]+", standard) is None:
        raise node.error("apiVersion", f"must name a version 3 of the standard, such as v3.2.0, not {standard!r}")
    if node.text("kind", required=True) != "DataContract":
        raise node.error("kind", "must be DataContract")
    default_element = node.text("slaDefaultElement")
    document = Document(
        id=node.text("id", required=True),
        version=node.text("version", required=True),
        standard=standard,
        name=node.text("name"),
        status=node.text("status"),
        tables=tuple(_table(entry) for entry in node.entries("schema")),
        servers=tuple(_server(entry) for entry in node.entries("servers")),
        slas=tuple(_sla(entry, default_element) for entry in node.entries("slaProperties")),
    )
    return document


class _Node:
    """A mapping of the document that knows where it is, so that every error can say so."""

    def __init__(self, value: Mapping[str, Any], at: Path, root: Mapping[str, Any]) -> None:
        self.value = value
        self._at = at
        self._root = root

    def error(self, key: str, message: str) -> DocumentError:
        at = (*self._at, key) if key else self._at
        return DocumentError(path_text(self._root, at), message, at)

    def get(self, key: str) -> Any:
        return self.value.get(key)

    def text(self, key: str, *, required: bool = False) -> str:
        value = self.get(key)
        if value is None or value == "":
            if required:
                raise self.error(key, "is required")
            return ""
        if not isinstance(value, str):
            raise self.error(key, f"must be a text, not {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r}")
        return value

    def count(self, key: str) -> int | None:
        """An integer; 5.0 is one, as in JSON."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, f"must be an integer, not {value!r}")
        return value

    def number(self, key: str) -> Decimal | None:
        value = self.get(key)
        number = decimal(value)
        if value is not None and number is None:
            raise self.error(key, f"must be a number, not {value!r}")
        return number

    def limit(self, key: str, logical_type: str | None) -> Decimal | str | None:
        """A bound: a number of numbers, an ISO 8601 text of dates and times."""
        value = self.get(key)
        if isinstance(value, str) and logical_type not in ("integer", "number"):
            return value
        if value is not None and logical_type in ("date", "timestamp", "time"):
            raise self.error(key, f"must be a text such as '2024-01-31', not {value!r}")
        return self.number(key)

    def member(self, key: str) -> _Node | None:
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a mapping, not {value!r}")
        return _Node(value, (*self._at, key), self._root)

    def entries(self, key: str) -> Iterator[_Node]:
        value = self.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, not {value!r}")
        for index, entry in enumerate(value):
            node = _Node(entry, (*self._at, key, index), self._root)
            if not isinstance(entry, Mapping):
                raise node.error("", f"must be a mapping, not {entry!r}")
            yield node


def decimal(value: Any) -> Decimal | None:
    """A number of JSON with all its digits; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _table(node: _Node) -> Table:
    return Table(
        name=node.text("name", required=True),
        physical_name=node.text("physicalName"),
        physical_type=node.text("physicalType"),
        columns=tuple(_column(entry) for entry in node.entries("properties")),
        quality=tuple(_quality(entry) for entry in node.entries("quality")),
    )


def _column(node: _Node, name: str | None = None) -> Column:
    """A property; ``name`` is given where the standard asks for none (elements of arrays, keys and values of maps)."""
    written = node.text("logicalType")
    logical_type = cast("LogicalType", written) if written in LOGICAL_TYPES else None
    options = node.member("logicalTypeOptions") or _Node({}, (), {})
    items, position = node.member("items"), node.count("primaryKeyPosition")
    return Column(
        name=node.text("name", required=True) if name is None else name,
        physical_name=node.text("physicalName"),
        logical_type=logical_type,
        physical_type=node.text("physicalType"),
        required=node.flag("required"),
        unique=node.flag("unique"),
        primary_key=node.flag("primaryKey"),
        primary_key_position=position if position is not None else -1,
        classification=node.text("classification"),
        **_limits(options, logical_type),
        multiple_of=options.number("multipleOf"),
        min_length=options.count("minLength"),
        max_length=options.count("maxLength"),
        pattern=options.text("pattern") or None,
        format=options.text("format") or None,
        min_items=options.count("minItems"),
        max_items=options.count("maxItems"),
        unique_items=options.flag("uniqueItems"),
        enum=_enum(node),
        dimensions=options.count("dimensions"),
        element_type=options.text("elementType"),
        options={key: value for key, value in options.value.items() if key not in _OPTION_FIELDS},
        quality=tuple(_quality(entry) for entry in node.entries("quality")),
        items=_column(items, items.text("name")) if items is not None else None,
        properties=tuple(_members(node)),
    )


def _members(node: _Node) -> Iterator[Column]:
    yield from (_column(entry) for entry in node.entries("properties"))
    mapping = node.member("map")
    for side in ("key", "value"):
        member = mapping.member(side) if mapping is not None else None
        if member is not None:
            yield _column(member, side)


def _limits(options: _Node, logical_type: str | None) -> dict[str, Any]:
    """The four bounds. Before v3.1 ``exclusiveMinimum: true`` said that ``minimum`` itself is not permitted."""
    found: dict[str, Any] = {}
    for side in ("minimum", "maximum"):
        exclusive = f"exclusive{side.capitalize()}"
        limit = options.limit(side, logical_type)
        if isinstance(options.get(exclusive), bool):
            strict = options.flag(exclusive)
            found[side], found[f"exclusive_{side}"] = (None, limit) if strict else (limit, None)
        else:
            found[side], found[f"exclusive_{side}"] = limit, options.limit(exclusive, logical_type)
    return found


def _enum(node: _Node) -> tuple[Scalar, ...]:
    """Permitted values; null is no value, and whether it is permitted is what ``required`` says."""
    values: list[Scalar] = []
    for entry in node.entries("enum"):
        value = entry.get("value")
        if isinstance(value, str | bool) or (isinstance(value, int) and not isinstance(value, float)):
            values.append(value)
        elif isinstance(value, float) and math.isfinite(value):
            values.append(Decimal(str(value)))
        elif value is not None:
            raise entry.error("value", f"must be a text, a number or a boolean, not {value!r}")
    return tuple(values)


def _quality(node: _Node) -> Quality:
    written = node.text("type")
    kind = written or ("library" if node.get("metric") or node.get("rule") else "text")
    former = node.text("rule")
    arguments = node.member("arguments")
    valid = {"validValues": node.get("validValues")} if isinstance(node.get("validValues"), list) else {}
    return Quality(
        kind=cast("Any", kind) if kind in _KINDS else "custom",
        name=node.text("name") or node.text("id"),
        metric=node.text("metric") or _FORMER_METRICS.get(former, former),
        arguments=dict(arguments.value) if arguments is not None else valid,
        query=node.text("query"),
        comparisons=tuple(_comparisons(node)),
        unit="percent" if node.text("unit") in ("percent", "%") else "rows",
        dimension=node.text("dimension"),
        severity=node.text("severity"),
        engine=node.text("engine") if kind in _KINDS else written,
        implementation=node.get("implementation"),
        description=node.text("description"),
    )


def _comparisons(node: _Node) -> Iterator[Comparison]:
    for operator in OPERATORS:
        if operator not in node.value:
            continue
        value = node.get(operator)
        between = operator.endswith("Between")
        if between and not (isinstance(value, list) and len(value) == 2):
            raise node.error(operator, f"must be a list of two numbers, not {value!r}")
        numbers = [decimal(number) for number in (value if between else [value])]
        yield Comparison(operator, tuple(n for n in numbers if n is not None) if None not in numbers else ())


def _server(node: _Node) -> OdcsServer:
    name = node.text("server", required=True)
    fields = {key: value for key, value in node.value.items() if key not in ("server", "type")}
    return OdcsServer(name=name, type=node.text("type", required=True), fields=fields)


def _sla(node: _Node, default_element: str) -> Sla:
    return Sla(
        property=node.text("property", required=True),
        value=node.get("value"),
        # kubectl reads the unit of years, y without quotes, as true.
        unit="y" if node.get("unit") is True else node.text("unit"),
        element=node.text("element") or default_element,
    )
