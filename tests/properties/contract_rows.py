"""Which rows a contract permits, worked out from the document itself and apart from Weir; contracts and rows to try."""

from __future__ import annotations

import copy
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

Odcs = dict[str, Any]
Row = dict[str, Any]
Data = dict[str, list[Row]]

NOW = 100
"""The time at which freshness is looked at, in days."""

OPERATORS: Mapping[str, Callable[[Fraction, Any], bool]] = {
    "mustBe": lambda n, v: n == v,
    "mustNotBe": lambda n, v: n != v,
    "mustBeGreaterThan": lambda n, v: n > v,
    "mustBeGreaterOrEqualTo": lambda n, v: n >= v,
    "mustBeLessThan": lambda n, v: n < v,
    "mustBeLessOrEqualTo": lambda n, v: n <= v,
    "mustBeBetween": lambda n, v: v[0] < n < v[1],
    "mustNotBeBetween": lambda n, v: n <= v[0] or n >= v[1],
}
_RANGES = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}


def accepts(data: Data, odcs: Odcs) -> bool:
    """Whether the contract permits the data."""
    return all(
        table["name"] in data and _table_accepts(data[table["name"]], table) for table in odcs["schema"]
    ) and all(_fresh(data, sla) for sla in odcs.get("slaProperties", ()))


def _table_accepts(rows: Sequence[Row], table: Odcs) -> bool:
    columns = table["properties"]
    keys = [column["name"] for column in columns if column.get("primaryKey")]
    return (
        all(column_accepts(row, column) for row in rows for column in columns)
        and all(_distinct(rows, [column["name"]]) for column in columns if column.get("unique"))
        and (not keys or _distinct(rows, keys))
        and all(_met(rule, rows, None) for rule in table.get("quality", ()))
        and all(_met(rule, rows, column["name"]) for column in columns for rule in column.get("quality", ()))
    )


def _distinct(rows: Sequence[Row], names: Sequence[str]) -> bool:
    seen = [repr([row.get(name) for name in names]) for row in rows if all(row.get(name) is not None for name in names)]
    return len(seen) == len(set(seen))


def column_accepts(row: Row, column: Odcs) -> bool:
    """Whether the column is there and its value is permitted."""
    name = column["name"]
    if name not in row:
        return False
    return value_accepts(row[name], column)


def value_accepts(value: Any, column: Odcs) -> bool:
    """Whether the value is permitted."""
    if value is None:
        return not (column.get("required") or column.get("primaryKey"))
    return _typed(value, column.get("logicalType")) and _within(value, column) and _shaped(value, column)


def _typed(value: Any, logical: str | None) -> bool:
    number = isinstance(value, int | Fraction) and not isinstance(value, bool)
    return {
        None: True,
        "integer": number and Fraction(value).denominator == 1 if number else False,
        "number": number,
        "string": isinstance(value, str),
        "date": isinstance(value, date),
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }[logical]


def _within(value: Any, column: Odcs) -> bool:
    options = column.get("logicalTypeOptions", {})
    valid = [entry["value"] for entry in column.get("enum", ())]
    if valid and not any(type(v) is type(value) and v == value for v in valid):
        return False
    if isinstance(value, bool) or not isinstance(value, int | Fraction | date):
        return True

    def meets(name: str, test: Callable[[Any, Any], bool]) -> bool:
        """A limit says nothing about values of another kind."""
        limit = options.get(name)
        limit = date.fromisoformat(limit) if isinstance(limit, str) else limit
        return limit is None or isinstance(limit, date) != isinstance(value, date) or test(value, limit)

    multiple = options.get("multipleOf")
    low, high = _RANGES.get(options.get("format", ""), (-math.inf, math.inf))
    return (
        meets("minimum", operator.ge)
        and meets("exclusiveMinimum", operator.gt)
        and meets("maximum", operator.le)
        and meets("exclusiveMaximum", operator.lt)
        and (multiple is None or isinstance(value, date) or (Fraction(value) / multiple).denominator == 1)
        and (isinstance(value, date) or low <= value <= high)
    )


def _shaped(value: Any, column: Odcs) -> bool:
    options = column.get("logicalTypeOptions", {})
    if isinstance(value, str):
        longest, pattern = options.get("maxLength"), options.get("pattern")
        return (
            len(value) >= options.get("minLength", 0)
            and (longest is None or len(value) <= longest)
            and (pattern is None or re.fullmatch(pattern, value) is not None)
        )
    if isinstance(value, list):
        most, items = options.get("maxItems"), column.get("items")
        return (
            len(value) >= options.get("minItems", 0)
            and (most is None or len(value) <= most)
            and (not options.get("uniqueItems") or len({repr(v) for v in value}) == len(value))
            and (items is None or all(value_accepts(v, items) for v in value))
        )
    if isinstance(value, dict):
        return all(column_accepts(value, member) for member in column.get("properties", ()))
    return True


def _met(rule: Odcs, rows: Sequence[Row], column: str | None) -> bool:
    if rule.get("severity") == "warning":
        return True
    if rule["metric"] == "rowCount":
        bad = len(rows)
    else:
        values = [row.get(column or "") for row in rows]
        bad = _bad(rule, values)
    measured = Fraction(100 * bad, len(rows) or 1) if rule.get("unit") == "percent" else Fraction(bad)
    return all(test(measured, rule[name]) for name, test in OPERATORS.items() if name in rule)


def _bad(rule: Odcs, values: Sequence[Any]) -> int:
    arguments = rule.get("arguments", {})
    match rule["metric"]:
        case "nullValues":
            return sum(value is None for value in values)
        case "missingValues":
            return sum(value is None or value in arguments.get("missingValues", ()) for value in values)
        case "invalidValues":
            return sum(value is not None and value not in arguments["validValues"] for value in values)
    there = [repr(value) for value in values if value is not None]
    return len(there) - len(set(there))


def _fresh(data: Data, sla: Odcs) -> bool:
    table, column = sla["element"].split(".")
    ages = [NOW - row[column] for row in data.get(table, ()) if isinstance(row.get(column), int)]
    days = Fraction(sla["value"]) / (24 if sla["unit"] == "h" else 1)
    return bool(ages) and min(ages) <= days


# Contracts and data.

_SMALL = st.integers(-3, 6)
_DAYS = st.dates(date(2024, 1, 1), date(2024, 1, 6)).map(date.isoformat)
_WORDS = st.sampled_from(["", "a", "b", "ab", "abc", "abcd"])


def _some(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Odcs]:
    return st.fixed_dictionaries({}, optional=dict(fields))


_OPTIONS: Mapping[str, st.SearchStrategy[Odcs]] = {
    "integer": _some(
        {
            "minimum": _SMALL,
            "exclusiveMinimum": _SMALL,
            "maximum": _SMALL,
            "exclusiveMaximum": _SMALL,
            "multipleOf": st.integers(1, 4),
            "format": st.sampled_from(sorted(_RANGES)),
        }
    ),
    "number": _some({"minimum": _SMALL, "exclusiveMinimum": _SMALL, "maximum": _SMALL, "exclusiveMaximum": _SMALL}),
    "string": _some(
        {
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 4),
            "pattern": st.sampled_from(["a.*", "[ab]*", ".*c"]),
        }
    ),
    "date": _some({"minimum": _DAYS, "exclusiveMinimum": _DAYS, "maximum": _DAYS, "exclusiveMaximum": _DAYS}),
    "array": _some({"minItems": st.integers(0, 2), "maxItems": st.integers(0, 3), "uniqueItems": st.booleans()}),
    "boolean": st.just({}),
    "object": st.just({}),
}
_LEAVES = ("integer", "number", "string", "date", "boolean")


def _rules(metrics: Sequence[str]) -> st.SearchStrategy[Odcs]:
    thresholds = st.one_of(
        st.tuples(st.sampled_from([o for o in OPERATORS if not o.endswith("Between")]), st.integers(0, 4)),
        st.tuples(
            st.sampled_from(["mustBeBetween", "mustNotBeBetween"]), st.lists(st.integers(0, 5), min_size=2, max_size=2)
        ),
    )

    def build(metric: str, bounds: Sequence[tuple[str, Any]], percent: bool, words: list[str], severity: str) -> Odcs:
        rule: Odcs = {"name": metric, "metric": metric, "severity": severity, **dict(bounds)}
        if percent and metric not in ("rowCount", "duplicateValues"):
            rule["unit"] = "percent"
        argument = {"missingValues": "missingValues", "invalidValues": "validValues"}.get(metric)
        return {**rule, "arguments": {argument: words}} if argument else rule

    return st.builds(
        build,
        st.sampled_from(metrics),
        st.lists(thresholds, min_size=1, max_size=2),
        st.booleans(),
        st.lists(_WORDS, max_size=3, unique=True),
        st.sampled_from(["error", "error", "warning"]),
    )


@st.composite
def columns(draw: st.DrawFn, name: str = "a", depth: int = 1) -> Odcs:
    """A property with any of its promises."""
    kind = draw(st.sampled_from([*_LEAVES, *(("array", "object") if depth else ())]))
    column: Odcs = {"name": name, "logicalType": kind, "logicalTypeOptions": draw(_OPTIONS[kind])}
    for flag, one_in in (("required", 2), ("unique", 4)) if depth else (("required", 2),):
        if draw(st.integers(1, one_in)) == 1:
            column[flag] = True
    if kind == "string" and draw(st.booleans()):
        column["enum"] = [{"value": v} for v in draw(st.lists(_WORDS, min_size=1, max_size=3, unique=True))]
    if kind == "array" and draw(st.booleans()):
        column["items"] = draw(columns(depth=0))
    if kind == "object":
        names = draw(st.lists(st.sampled_from("xy"), unique=True, max_size=2))
        column["properties"] = [draw(columns(member, depth=0)) for member in names]
    if depth and draw(st.integers(0, 3)) == 0:
        rules = _rules(["nullValues", "missingValues", "invalidValues", "duplicateValues"])
        column["quality"] = draw(st.lists(rules, max_size=2, unique_by=lambda rule: str(rule["name"])))
    if not depth or draw(st.integers(0, 4)):
        return column
    return {key: value for key, value in column.items() if key not in ("logicalType", "items", "properties")}


@st.composite
def tables(draw: st.DrawFn, name: str) -> Odcs:
    """A table with one or two columns and perhaps a key."""
    names = draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1, max_size=2))
    table: Odcs = {"name": name, "properties": [draw(columns(column)) for column in names]}
    for column in table["properties"]:
        if draw(st.integers(0, 5)) == 0:
            column["primaryKey"] = True
    if draw(st.integers(0, 3)) == 0:
        table["quality"] = [draw(_rules(["rowCount"]))]
    return table


@st.composite
def contracts(draw: st.DrawFn) -> Odcs:
    """A contract with one or two tables."""
    names = draw(st.lists(st.sampled_from(["t", "u"]), unique=True, min_size=1, max_size=2))
    odcs: Odcs = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "c",
        "version": "1",
        "schema": [draw(tables(name)) for name in names],
    }
    if draw(st.integers(0, 3)) == 0:
        unit, value = draw(st.sampled_from(["d", "h"])), draw(st.integers(1, 48))
        odcs["slaProperties"] = [{"property": "freshness", "value": value, "unit": unit, "element": "t.at"}]
    return odcs


@st.composite
def changed(draw: st.DrawFn, odcs: Odcs) -> Odcs:
    """The same contract with one promise, or two, that are others."""
    other = copy.deepcopy(odcs)
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        table = draw(st.sampled_from(other["schema"]))
        what = draw(st.sampled_from([*["column"] * 8, "table", "rows", "age"]))
        if what == "table" and len(other["schema"]) > 1:
            other["schema"].remove(table)
        elif what == "rows":
            table["quality"] = [draw(_rules(["rowCount"]))]
        elif what == "age" and "slaProperties" in other:
            other["slaProperties"][0]["value"] = draw(st.integers(1, 48))
        elif table["properties"]:
            place = draw(st.integers(0, len(table["properties"]) - 1))
            column = _option_changed(draw, table["properties"][place])
            table["properties"][place : place + 1] = [] if column is None else [column]
    return other


def _option_changed(draw: st.DrawFn, column: Odcs) -> Odcs | None:
    """The column with one difference where it has such a promise, or no column."""
    what = draw(st.sampled_from(["gone", "new", *["option", "option", "flag", "enum", "wide", "rules", "nested"] * 2]))
    if what == "gone":
        return None
    if what == "new":
        return draw(columns(column["name"]))
    if what == "wide" and column.get("logicalType") == "integer":
        return {**column, "logicalType": "number"}
    if what == "flag":
        flag = draw(st.sampled_from(["required", "unique", "primaryKey"]))
        return {**column, flag: not column.get(flag, False)}
    if what == "enum" and column.get("enum"):
        return {**column, "enum": [{"value": v} for v in draw(st.lists(_WORDS, min_size=1, max_size=4, unique=True))]}
    if what == "nested" and column.get("items"):
        return {**column, "items": _option_changed(draw, column["items"]) or column["items"]}
    if what == "nested" and column.get("properties"):
        first, *others = column["properties"]
        changed = _option_changed(draw, first)
        return {**column, "properties": [*([] if changed is None else [changed]), *others]}
    if what == "rules" and column.get("quality"):
        rules = _rules([column["quality"][0]["metric"]])
        return {**column, "quality": [draw(rules), *column["quality"][1:]]}
    if what == "option" and column.get("logicalType") in _OPTIONS:
        fresh = draw(_OPTIONS[column["logicalType"]])
        names = sorted({*fresh, *column["logicalTypeOptions"]})
        if names:
            name = draw(st.sampled_from(names))
            options = {key: value for key, value in column["logicalTypeOptions"].items() if key != name}
            return {**column, "logicalTypeOptions": {**options, **({name: fresh[name]} if name in fresh else {})}}
    return column


@st.composite
def data(draw: st.DrawFn, tighter: Odcs, looser: Odcs) -> Data:
    """Rows near the edges of both contracts, mostly ones whose values the first permits."""
    found: Data = {}
    for table in tighter["schema"]:
        known = {column["name"]: column for column in _columns_of(looser, table["name"])}
        rows: list[Row] = []
        for _ in range(draw(st.integers(0, 3))):
            row: Row = {"at": draw(st.integers(97, 100))}
            for column in [*table["properties"], *(c for c in known.values())]:
                pool = _pool(draw, column, known.get(column["name"]))
                good = [value for value in pool if column["name"] in row or value_accepts(value, column)]
                if column["name"] not in row:
                    row[column["name"]] = draw(st.sampled_from(good or pool))
            rows.append(row)
        found[table["name"]] = rows
    return found


def _columns_of(odcs: Odcs, table: str) -> list[Odcs]:
    return next((found["properties"] for found in odcs["schema"] if found["name"] == table), [])


def edges(*described: Odcs | None) -> list[Any]:
    """Values of which some are at the edges of what the columns permit."""
    numbers: set[Any] = {0, 1, Fraction(1, 2), -129, 128, 256}
    words: set[Any] = {"", "a", "ab", "abc", "abcd", "abcde"}
    days: set[Any] = set()
    for column in described:
        options = (column or {}).get("logicalTypeOptions", {})
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            edge = options.get(key)
            if isinstance(edge, str):
                days |= {date.fromordinal(date.fromisoformat(edge).toordinal() + step) for step in (-1, 0, 1)}
            elif edge is not None:
                numbers |= {edge - 1, edge, edge + 1, edge + Fraction(1, 2), edge - Fraction(1, 2)}
        numbers.add(options.get("multipleOf", 1))
        words |= {entry["value"] for entry in (column or {}).get("enum", ())}
    return [None, True, *sorted(numbers), *sorted(words), *sorted(days or {date(2024, 1, 3)})]


def _pool(draw: st.DrawFn, *described: Odcs | None) -> list[Any]:
    """The same, with arrays and objects of them."""
    leaves = edges(*described)
    kinds = {(column or {}).get("logicalType") for column in described}
    if kinds & {"array", "object"}:
        members = [*(c for column in described for c in (column or {}).get("properties", ()))]
        leaves += [draw(st.lists(st.sampled_from(leaves), max_size=3)) for _ in range(2)]
        leaves += [draw(st.lists(st.sampled_from([0, 1, 2, "a", "ab"]), max_size=3)) for _ in range(2)]
        leaves += [{m["name"]: draw(st.sampled_from(_pool(draw, {**m, "logicalType": None}))) for m in members}]
    return leaves


@st.composite
def twins(draw: st.DrawFn) -> tuple[Odcs, Odcs]:
    """Two columns of the same type, of which the second has one option or two that are others."""
    kind = draw(st.sampled_from(["integer", "number", "string", "date"]))
    first, fresh = draw(_OPTIONS[kind]), draw(_OPTIONS[kind])
    taken = draw(st.lists(st.sampled_from(sorted({*first, *fresh}) or ["none"]), min_size=1, max_size=2))
    kept = {key: value for key, value in first.items() if key not in taken}
    second = {**kept, **{key: value for key, value in fresh.items() if key in taken}}
    old, new = ({"name": "a", "logicalType": kind, "logicalTypeOptions": options} for options in (first, second))
    return old, new
