"""A first contract from data: what the columns are, and what held in every row that was seen."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

MOST_VALUES = 20
"""Most values that are listed as all that is permitted."""

_PERSONAL = re.compile(
    r"(full|first|last|sur|user|nick)?names?|user|e?mail|(tele)?phone|tel|mobile|fax|address|street|zip(code)?|post(al|code)|"
    r"birth(day|date)?|dob|age|ssn|iban|bic|card|passport|licen[cs]e|ip|person|patient|customer|employee|gender|sex|race|"
    r"ethnicity|religion|nationality|contact|client|"
    r"kunden?(name|nummer|nr)?|(vor|nach|familien)?namen?|anschrift|adresse|strasse|telefon|geburts(datum|tag|ort)"
)
_KEYS = frozenset({"id", "key", "uuid", "guid", "code", "number", "nr", "no"})
"""Words in the names of columns that may identify a row."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_MARK = "weir-comment"
_LEAST_KEYS = 20
"""In fewer rows, that every value is another one is chance."""
_EXACT = 1 << 53
"""Beyond it, a number of JSON stands for several integers."""
_LEAST_DIMENSIONS = 16
"""Lists of fewer numbers are seldom embeddings."""
_ELEMENTS = frozenset({"float16", "float32", "float64", "int8", "uint8"})


@dataclass(frozen=True)
class Seen:
    """A column as the data has it. ``low`` and ``high``: least and greatest number, or length of a list.

    ``addresses``: values with an @. ``nans``: values that are NaN.
    """

    name: str
    dtype: Any
    nulls: int = 0
    distinct: int | None = None
    values: tuple[str, ...] = ()
    low: Any = None
    high: Any = None
    addresses: int = 0
    nans: int = 0
    rows: int = 0

    @property
    def named_personal(self) -> bool:
        """Whether the name speaks of a person."""
        return speaks_of_person(self.name)

    @property
    def personal(self) -> bool:
        """Whether the name speaks of a person, or most values look like e-mail addresses; none is ever written down."""
        return self.named_personal or 2 * self.addresses > self.rows - self.nulls

    @property
    def key(self) -> bool:
        """Whether the column may identify a row, by its name and its values."""
        named = self.dtype.is_uuid() or any(word.lower() in _KEYS for word in _WORDS.findall(self.name))
        return named and self.rows >= _LEAST_KEYS and self.distinct == self.rows


def speaks_of_person(name: str) -> bool:
    """Whether a word of the name is one of what people are called, have or are."""
    return any(_PERSONAL.fullmatch(word.lower()) for word in _WORDS.findall(name))


@dataclass(frozen=True)
class Drafted:
    """What the contract is made of."""

    name: str
    table: str
    server: Mapping[str, Any]
    roles: Sequence[str] = ("Features",)
    hints: Sequence[str] = ()
    physical: str = ""
    origin: str = ""
    rows: int = 0
    columns: tuple[Seen, ...] = ()


def look(table: Any, *, ranges: bool, enums: bool) -> tuple[int, tuple[Seen, ...]]:
    """Rows and columns of an ibis table: one pass for all of them, one more for each column that needs its values."""
    schema = table.schema()
    counts = table.aggregate(_aggregates(table, schema, ranges=ranges)).to_pyarrow().to_pylist()[0]
    rows = int(counts["rows"])
    columns = []
    for place, (name, dtype) in enumerate(schema.items()):
        distinct = counts.get(f"distinct_{place}")
        found = Seen(
            name=name,
            dtype=dtype,
            nulls=int(counts[f"nulls_{place}"] or 0),
            distinct=int(distinct) if distinct is not None else None,
            low=counts.get(f"low_{place}"),
            high=counts.get(f"high_{place}"),
            addresses=int(counts.get(f"addresses_{place}") or 0),
            nans=int(counts.get(f"nans_{place}") or 0),
            rows=rows,
        )
        few = found.distinct is not None and found.distinct <= MOST_VALUES and found.distinct * 2 <= rows - found.nulls
        if enums and dtype.is_string() and few and not found.personal and not found.addresses:
            found = replace(found, values=_values(table, name))
        columns.append(found)
    return rows, tuple(columns)


def _aggregates(table: Any, schema: Any, *, ranges: bool) -> dict[str, Any]:
    wanted = {"rows": table.count()}
    for place, (name, dtype) in enumerate(schema.items()):
        column = table[name]
        wanted[f"nulls_{place}"] = column.isnull().sum()
        if dtype.is_string() or dtype.is_integer() or dtype.is_uuid():
            # Exact: a key that is one but for a few rows is none.
            wanted[f"distinct_{place}"] = column.nunique()
        if dtype.is_string():
            wanted[f"addresses_{place}"] = column.contains("@").sum()
        if ranges and dtype.is_numeric() and not dtype.is_boolean():
            # NaN is greater than every number. As text, since DuckDB 2.0 takes isnan() of Parquet for false where the
            # file's statistics, which leave NaN out, know a greatest number.
            known = column.cast("string").lower() != "nan" if dtype.is_floating() else None
            wanted |= {f"low_{place}": column.min(where=known), f"high_{place}": column.max(where=known)}
            if known is not None:
                wanted[f"nans_{place}"] = (~known).sum()
        elif dtype.is_array():
            wanted |= {f"low_{place}": column.length().min(), f"high_{place}": column.length().max()}
    return wanted


def _values(table: Any, name: str) -> tuple[str, ...]:
    found = table.filter(table[name].notnull()).select(name).distinct().limit(MOST_VALUES + 1).to_pyarrow()
    values = sorted(str(value) for value in found.column(0).to_pylist())
    return tuple(values) if len(values) <= MOST_VALUES else ()


def manifest(drafted: Drafted) -> str:
    """The DataContract as YAML, with comments on what only people can know."""
    from weir.cli.contract_yaml import yaml_text

    table: dict[str, Any] = {"name": drafted.table}
    if drafted.physical and drafted.physical != drafted.table:
        table["physicalName"] = drafted.physical
    table |= {"logicalType": "object", "properties": [_property(column) for column in drafted.columns]}
    odcs = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": drafted.name,
        "version": "1.0.0",
        "status": "draft",
        "servers": [dict(drafted.server)],
        "schema": [table],
    }
    body = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataContract",
        "metadata": {"name": drafted.name},
        "spec": {"roles": list(drafted.roles), "odcs": odcs},
    }
    # One line an entry, however long: a comment must not go on in the next line.
    text = yaml_text(body, width=1 << 20)
    commented = re.sub(rf"^( *){_MARK}-[0-9]+: (.*)$", lambda m: f"{m[1]}# {_unquoted(m[2])}", text, flags=re.MULTILINE)
    counted = f"{drafted.rows:,} row{'' if drafted.rows == 1 else 's'}"
    head = [
        f"# Written by `kubectl weir contract init` from {' '.join(drafted.origin.split())} ({counted}).",
        "# It says what held in that data. Read every line: what is promised here, releases will be held to.",
    ]
    return "\n".join(head) + "\n" + commented + "".join(f"  # {hint}\n" for hint in drafted.hints)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def _property(seen: Seen) -> dict[str, Any]:
    found: dict[str, Any] = {"name": seen.name, **(_vector(seen) or _type(seen.dtype))}
    if seen.rows and not seen.nulls:
        found["required"] = True
    if seen.personal:
        found["classification"] = "restricted"
    options = {**found.pop("logicalTypeOptions", {}), **_range(seen)}
    if options:
        found["logicalTypeOptions"] = options
    if seen.values:
        found["enum"] = [{"value": value} for value in seen.values]
    for place, comment in enumerate(_comments(seen)):
        found[f"{_MARK}-{place}"] = comment
    return found


def _range(seen: Seen) -> dict[str, Any]:
    if seen.personal or seen.nans or not seen.dtype.is_numeric():
        return {}
    limits = {"minimum": _limit(seen.low), "maximum": _limit(seen.high)}
    return {key: value for key, value in limits.items() if value is not None}


def _limit(value: Any) -> int | float | None:
    """The number as JSON holds it, None where JSON does not hold it exactly: the limit would exclude the value."""
    if value is None or isinstance(value, int):
        return value if value is not None and abs(value) <= _EXACT else None
    found = float(value)
    if isinstance(value, Decimal) and (abs(found) > _EXACT or Decimal(repr(found)) != value):
        return None
    return found if math.isfinite(found) else None


def _comments(seen: Seen) -> Iterator[str]:
    if seen.key:
        yield "primaryKey: true  # every value is another one; say so if it identifies a row"
    if seen.personal:
        why = "the name speaks of a person" if seen.named_personal else "most values look like e-mail addresses"
        yield f"{why}: no value is ever shown; remove `classification` if it is not personal"
    elif seen.nans:
        yield f"{seen.nans:,} row{' is' if seen.nans == 1 else 's are'} NaN, which no limit permits; none is written"
    elif seen.dtype.is_numeric() and any(_inexact(value) for value in (seen.low, seen.high)):
        yield f"from {seen.low} to {seen.high}: where a contract cannot hold all digits, no limit is written"
    if seen.nulls and seen.rows:
        yield f"{100 * seen.nulls / seen.rows:.3g} % are null"


def _inexact(value: Any) -> bool:
    return value is not None and _limit(value) is None


def _type(dtype: Any) -> dict[str, Any]:
    """The logical type of an ibis type; without one where the standard has none."""
    if dtype.is_array():
        return _array(dtype)
    if dtype.is_struct():
        members = [{"name": name, **_type(member)} for name, member in dtype.items()]
        return {"logicalType": "object", "properties": members}
    for logical, fits in (
        ("boolean", dtype.is_boolean()),
        ("integer", dtype.is_integer() or (dtype.is_decimal() and dtype.scale == 0)),
        ("number", dtype.is_numeric()),
        ("timestamp", dtype.is_timestamp()),
        ("date", dtype.is_date()),
        ("time", dtype.is_time()),
        ("string", dtype.is_string() or dtype.is_uuid()),
        ("object", dtype.is_map() or dtype.is_json()),
    ):
        if fits:
            return {"logicalType": logical}
    return {}


def _array(dtype: Any) -> dict[str, Any]:
    items = _type(dtype.value_type)
    return {"logicalType": "array", **({"items": items} if items else {})}


def _vector(seen: Seen) -> dict[str, Any]:
    """An embedding: many numbers, in every row as many; empty for everything else."""
    if not seen.dtype.is_array() or seen.low is None or seen.low != seen.high or seen.low < _LEAST_DIMENSIONS:
        return {}
    element = str(seen.dtype.value_type).removeprefix("!")
    if element not in _ELEMENTS:
        return {}
    return {"logicalType": "vector", "logicalTypeOptions": {"dimensions": int(seen.low), "elementType": element}}
