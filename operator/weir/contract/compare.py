"""Every difference of two revisions of a contract, with its direction.

A contract is read as the set of data that it permits: it *tightens* when data that was permitted no longer is, it
*loosens* when data becomes permitted that was not. Rule ids stay the same between releases of Weir, since waivers name
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from weir.api.datacontract import Semantics
from weir.contract import direction as to
from weir.contract.finding import Change, Direction
from weir.contract.model import Column, Document, Sla, Table
from weir.contract.promises import quality_changes, told
from weir.contract.revision import Revision

TABLE = "schema-added-or-removed"
COLUMN = "property-added-or-removed"
PHYSICAL_NAME = "physical-name-changed"
REQUIRED = "required-changed"
UNIQUE = "unique-constraint-changed"
KEY = "key-constraint-changed"
TYPE = "type-changed"
VALUES = "validation-constraint-changed"
ENUM = "enum-constraint-changed"
FORMAT = "format-changed"
TIMEZONE = "timezone-changed"
VECTOR = "vector-shape-changed"
FRESHNESS = "freshness-changed"
RETENTION = "retention-changed"
SLA = "service-level-changed"
OPTION = "option-changed"
METADATA = "metadata-or-unknown-change"
SEMANTICS = "semantics-"
EMBEDDING = f"{SEMANTICS}embedding"

_MEANINGS = {
    "unit": "unit",
    "timezone": "timezone",
    "meaning_ref": "meaning-ref",
    "encoding": "encoding",
    "vocabulary_digest": "vocabulary-digest",
    "transform_digest": "transform-digest",
    "embedding": "embedding",
    "event_time": "event-time",
    "available_at": "available-at",
}
_UTC = frozenset({"UTC", "Etc/UTC", "Z", "GMT", "Etc/GMT"})

Item = TypeVar("Item")


def changes(old: Revision, new: Revision) -> tuple[Change, ...]:
    """What differs between two revisions, by path and rule; what has no bearing on data is ``untested`` or left out."""
    found = [
        *_tables(old.document, new.document),
        *_service_levels(old.document.slas, new.document.slas),
        *_semantics(old, new),
    ]
    return tuple(sorted(found, key=lambda c: (c.path, c.rule, c.direction, c.old, c.new)))


def is_widening(change: Change) -> bool:
    """Whether the change lets a number be where an integer was, and nothing else."""
    return change.rule == TYPE and (change.old, change.new) == ("integer", "number")


def _change(rule: str, path: str, direction: Direction, what: str, values: tuple[Any, Any]) -> Change:
    before, after = map(_text, values)
    said = told(what, before, after)
    return Change(rule, path, direction, before, after, f"{path}: {said}")


def _text(value: Any) -> str:
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(sorted(map(_text, value)))
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _pairs(old: Iterable[Item], new: Iterable[Item], name: Callable[[Item], str]) -> Iterator[tuple[str, Any, Any]]:
    """Entries of the same name, None where one side has none."""
    before, after = ({name(item): item for item in items} for items in (old, new))
    for key in before | after:
        yield key, before.get(key), after.get(key)


def _tables(old: Document, new: Document) -> Iterator[Change]:
    for name, before, after in _pairs(old.tables, new.tables, lambda table: table.name):
        if before is None or after is None:
            direction = to.of_flags(before is not None, after is not None)
            yield Change(TABLE, name, direction, _here(before), _here(after), f"table {name} {_gone(after)}")
        else:
            yield from _table(before, after)


def _table(old: Table, new: Table) -> Iterator[Change]:
    yield from _physical_name(new.name, old.physical, new.physical)
    if old.physical_type != new.physical_type:
        yield _change(METADATA, new.name, "untested", "kind of table", (old.physical_type, new.physical_type))
    yield from quality_changes(new.name, old.quality, new.quality)
    yield from _columns(new.name, old.columns, new.columns)
    yield from _keys(old, new)


def _columns(prefix: str, old: Sequence[Column], new: Sequence[Column]) -> Iterator[Change]:
    for name, before, after in _pairs(old, new, lambda column: column.name):
        path = f"{prefix}.{name}"
        if before is None or after is None:
            direction = to.of_flags(before is not None, after is not None)
            yield Change(COLUMN, path, direction, _here(before), _here(after), f"{path}: {_gone(after)}")
        elif before != after:
            yield from _column(path, before, after)


def _here(item: object) -> str:
    return "" if item is None else "present"


def _gone(after: object) -> str:
    return "removed" if after is None else "added"


def _column(path: str, old: Column, new: Column) -> Iterator[Change]:
    yield from _physical_name(path, old.physical, new.physical)
    for rule, what, before, after in (
        (REQUIRED, "required", old.required, new.required),
        (UNIQUE, "unique", old.unique, new.unique),
        (UNIQUE, "uniqueItems", old.unique_items, new.unique_items),
    ):
        if before != after:
            yield _change(rule, path, to.of_flags(before, after), what, (before, after))
    yield from _types(path, old, new)
    yield from _limits(path, old, new)
    yield from _texts(path, old, new)
    values = to.of_values(old.enum, new.enum)
    if values != "untested":
        yield _change(ENUM, path, values, "permitted values", (old.enum, new.enum))
    yield from _vector(path, old, new)
    yield from _options(path, old, new)
    if old.classification != new.classification:
        yield _change(METADATA, path, "untested", "classification", (old.classification, new.classification))
    yield from quality_changes(path, old.quality, new.quality)
    yield from _columns(path, old.properties, new.properties)
    yield from _elements(path, old, new)


def _physical_name(path: str, old: str, new: str) -> Iterator[Change]:
    if old != new:
        yield _change(PHYSICAL_NAME, path, "both", "physical name", (old, new))


def _types(path: str, old: Column, new: Column) -> Iterator[Change]:
    if old.logical_type != new.logical_type:
        direction = _of_words(old.logical_type or "", new.logical_type or "")
        if (old.logical_type, new.logical_type) == ("integer", "number"):
            direction = "loosens"
        yield _change(TYPE, path, direction, "logical type", (old.logical_type, new.logical_type))
    if old.physical_type != new.physical_type:
        # Names of types are no case of their own in any engine: varchar(10) is VARCHAR( 10 ).
        before, after = ("".join(name.split()).lower() for name in (old.physical_type, new.physical_type))
        yield _change(TYPE, path, _of_words(before, after), "physical type", (old.physical_type, new.physical_type))


def _of_words(old: str, new: str) -> Direction:
    """Of a word that excludes every other one."""
    if old == new:
        return "untested"
    return "both" if old and new else to.of_flags(bool(old), bool(new))


def _limits(path: str, old: Column, new: Column) -> Iterator[Change]:
    for lower in (True, False):
        before, after = _ends(old, lower), _ends(new, lower)
        if before != after:
            what = "lower limit" if lower else "upper limit"
            yield _change(VALUES, path, to.of_limits(old, new, lower=lower), what, (before, after))
    if old.multiple_of != new.multiple_of:
        integers = old.logical_type == new.logical_type == "integer"
        direction = to.of_multiples(old.multiple_of, new.multiple_of, integers=integers)
        yield _change(VALUES, path, direction, "multipleOf", (old.multiple_of, new.multiple_of))
    for what, lower, least, most in (
        ("minLength", True, old.min_length, new.min_length),
        ("maxLength", False, old.max_length, new.max_length),
        ("minItems", True, old.min_items, new.min_items),
        ("maxItems", False, old.max_items, new.max_items),
        ("minProperties", True, old.options.get("minProperties"), new.options.get("minProperties")),
        ("maxProperties", False, old.options.get("maxProperties"), new.options.get("maxProperties")),
    ):
        if least != most:
            yield _change(VALUES, path, to.of_numbers(least, most, lower=lower), what, (least, most))


def _ends(column: Column, lower: bool) -> str:
    """The limits of one side, for people: ``>= 0``."""
    inclusive, exclusive = (
        (column.minimum, column.exclusive_minimum) if lower else (column.maximum, column.exclusive_maximum)
    )
    sign = ">" if lower else "<"
    written = ((f"{sign}=", inclusive), (sign, exclusive))
    return " and ".join(f"{operator} {value}" for operator, value in written if value is not None)


def _texts(path: str, old: Column, new: Column) -> Iterator[Change]:
    if old.pattern != new.pattern:
        known = old.pattern is None or new.pattern is None
        direction = to.of_flags(old.pattern is not None, new.pattern is not None) if known else "undetermined"
        yield _change(VALUES, path, direction, "pattern", (old.pattern, new.pattern))
    if old.format != new.format:
        yield _change(FORMAT, path, to.of_formats(old, new), "format", (old.format, new.format))


def _vector(path: str, old: Column, new: Column) -> Iterator[Change]:
    if old.dimensions != new.dimensions:
        direction = _of_words(str(old.dimensions or ""), str(new.dimensions or ""))
        yield _change(VECTOR, path, direction, "dimensions", (old.dimensions, new.dimensions))
    if old.element_type != new.element_type:
        # The standard: float32 where none is written.
        direction = _of_words(old.element_type or "float32", new.element_type or "float32")
        yield _change(VECTOR, path, direction, "element type", (old.element_type, new.element_type))


def _options(path: str, old: Column, new: Column) -> Iterator[Change]:
    """Options without a field of their own; one that Weir does not know cannot be judged."""
    for name in sorted({*old.options, *new.options} - {"minProperties", "maxProperties"}):
        before, after = old.options.get(name), new.options.get(name)
        if before == after:
            continue
        rule, direction = _option(name, before, after)
        yield _change(rule, path, direction, name, (before, after))


def _option(name: str, old: Any, new: Any) -> tuple[str, Direction]:
    if name == "timezone":
        return TIMEZONE, "untested" if bool(old) == bool(new) else "both"
    if name == "defaultTimezone":
        before, after = ("UTC" if zone is None or zone in _UTC else zone for zone in (old, new))
        return TIMEZONE, "untested" if before == after else "both"
    if name == "required":
        before, after = set(old or ()), set(new or ())
        return REQUIRED, to.of_sets(gone=bool(after - before), came=bool(before - after))
    if name == "normalized":
        return EMBEDDING, "untested" if bool(old) == bool(new) else "both"
    if name in ("embeddingModel", "embeddingModelVersion"):
        return EMBEDDING, _of_statements(old, new)
    return (METADATA, "untested") if name == "distanceMetric" else (OPTION, "undetermined")


def _elements(path: str, old: Column, new: Column) -> Iterator[Change]:
    if old.items == new.items:
        return
    if old.items is None or new.items is None:
        direction = to.of_flags(old.items is not None, new.items is not None)
        before, after = (items and (items.logical_type or "described") for items in (old.items, new.items))
        yield _change(TYPE, path, direction, "type of elements", (before, after))
        return
    for change in _column(f"{path}[]", old.items, new.items):
        # Members of elements are at TABLE.COLUMN.MEMBER, as everywhere in Weir.
        inside = change.path.removeprefix(f"{path}[].")
        at = f"{path}.{inside}" if inside != change.path else change.path
        yield Change(
            change.rule, at, change.direction, change.old, change.new, change.message.replace(change.path, at, 1)
        )


def _keys(old: Table, new: Table) -> Iterator[Change]:
    """Of primary keys, which are unique as a whole while each of their columns must be there."""
    before, after = ({c.name for c in table.columns if c.primary_key} for table in (old, new))
    remain = {c.name for c in old.columns} & {c.name for c in new.columns}
    for name in before ^ after:
        direction = to.of_flags(name in before, name in after)
        if before and after:
            # Rows that differ only in this column are permitted while it is part of the key, and not without it.
            direction = "both" if name in remain else to.of_flags(name in after, name in before)
        elif name not in remain:
            continue
        yield _change(KEY, f"{new.name}.{name}", direction, "primary key", (name in before, name in after))
    for name, first, second in _pairs(old.columns, new.columns, lambda column: column.name):
        if first and second and first.primary_key_position != second.primary_key_position and name in before & after:
            positions = (first.primary_key_position, second.primary_key_position)
            yield _change(KEY, f"{new.name}.{name}", "untested", "position in the primary key", positions)


def _service_levels(old: Sequence[Sla], new: Sequence[Sla]) -> Iterator[Change]:
    names = {sla.property for sla in (*old, *new)}
    for name in names:
        before, after = ([sla for sla in slas if sla.property == name] for slas in (old, new))
        if len(before) == len(after) == 1 and before[0] != after[0]:
            yield _service_level(before[0], after[0])
            continue
        for _, first, second in _pairs(before, after, lambda sla: sla.element):
            if first != second:
                yield _service_level(first, second)


def _service_level(old: Sla | None, new: Sla | None) -> Change:
    known = new or old
    assert known is not None
    rule = {"freshness": FRESHNESS, "latency": FRESHNESS, "retention": RETENTION}.get(known.property, SLA)
    before, after = (f"{sla.value} {sla.unit}".strip() if sla and sla.value is not None else "" for sla in (old, new))
    if old and new and old.element != new.element:
        before, after = f"{before} of {old.element}", f"{after} of {new.element}"
    direction: Direction = "untested" if rule == SLA else _of_ages(rule, old, new)
    path = known.element or known.property
    return _change(rule, path, direction, known.property, (before, after))


def _of_ages(rule: str, old: Sla | None, new: Sla | None) -> Direction:
    """Of the age of the newest or the oldest row: a longer one permits more. Without an element nothing is checked."""
    first, second = (sla if sla and sla.element and sla.value is not None else None for sla in (old, new))
    if first is None or second is None:
        return to.of_flags(first is not None, second is not None)
    if first.element != second.element:
        return "both"
    # The standard writes m for the months of a retention, and people write it for the minutes of a freshness.
    months = {"m": "mo"} if rule == RETENTION else {}
    before, after = (to.seconds(sla.value, months.get(sla.unit, sla.unit)) for sla in (first, second))
    if before is None or after is None:
        return "undetermined"
    return to.of_sets(gone=after < before, came=after > before)


def _semantics(old: Revision, new: Revision) -> Iterator[Change]:
    before, after = ({path for path, _ in revision.document.paths()} for revision in (old, new))
    for path, first, second in _pairs(old.semantics, new.semantics, lambda semantics: semantics.property):
        if first != second and (path in before) == (path in after):
            yield from _meanings(path, first, second)


def _meanings(path: str, old: Semantics | None, new: Semantics | None) -> Iterator[Change]:
    for field, name in _MEANINGS.items():
        before, after = (_meaning(getattr(semantics, field, None)) for semantics in (old, new))
        if before != after:
            what = name.replace("-", " ")
            yield _change(f"{SEMANTICS}{name}", path, _of_statements(before, after), what, (before, after))


def _meaning(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value.model} ({value.dimensions})"


def _of_statements(old: Any, new: Any) -> Direction:
    """Of what a value means: another statement is another thing; where nothing was stated, nothing can be compared."""
    if old == new:
        return "untested"
    return "both" if old and new else "undetermined"
