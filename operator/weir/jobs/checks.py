"""The rules that a document states of its columns, as checks on a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from typing import Any

from weir.contract.model import Column, Table

from . import datatypes
from .literals import literal
from .nodes import Node, Predicate, nodes
from .outcome import NO_COLUMN, Check, Outcome, Undecidable, unknown
from .patterns import FORMATS, safe
from .tables import Source

IGNORED_OPTIONS = frozenset({"timezone", "defaultTimezone"})
"""Options that say how to read values, and permit or forbid none."""
ROWS_AT_ONCE = 20_000_000
"""Rows whose keys are grouped at once in DuckDB; their groups need less than the space for spilling."""
_NATIVE_FORMATS = ("date", "timestamp", "time", "boolean", "object", "array", "map", "vector")
_INTEGER_FORMATS = {
    f"{sign}{bits}": (0 if sign == "u" else -(2 ** (bits - 1)), 2 ** (bits if sign == "u" else bits - 1) - 1)
    for sign in "iu"
    for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True)
class Look:
    """One look at a table.

    ``source``: its rows, or a sample of them (``sampled``). ``count``: rows of the whole table. ``samples``: how many
    broken values may be shown (0: none). ``mapper``: reads type names of the engine.
    """

    table: Table
    source: Source
    sampled: bool = False
    count: int = 0
    samples: int = 0
    mapper: Any = None

    @property
    def rows(self) -> Any:
        """The ibis table."""
        return self.source.table


@dataclass(frozen=True)
class Ban:
    """Values that a rule does not permit: the condition that finds them, what they are, and what is expected."""

    rule: str
    predicate: Predicate
    what: str
    expected: str
    nan: bool = False
    """Whether it bans NaN, too, which is then counted on its own: it is neither below nor above."""


def checks(look: Look) -> Iterator[Check | Outcome]:
    """Everything that the document says of the table's columns; outcomes for what needs no look at the rows."""
    for node in nodes(look.table, look.source):
        if isinstance(node, Outcome):
            yield node
            yield from _of_missing(look, node)
            continue
        yield from _rules(look, node)
    yield from _keys(look)


def _of_missing(look: Look, missing: Outcome) -> Iterator[Outcome]:
    """The rules of a column that is not there: nobody may take them for passed."""
    column = look.table.column(missing.column)
    if column is None:
        return  # Members of an object are named by their own path.
    base = replace(missing, verdict="Pass", expected="", observed="", message="")
    for rule, stated in _stated(column):
        if stated:
            yield unknown(replace(base, rule=rule), NO_COLUMN)


def _stated(column: Column) -> Iterator[tuple[str, bool]]:
    yield "type", column.logical_type is not None
    yield "required", column.required
    yield "primaryKey", column.primary_key
    yield "unique", column.unique and not column.primary_key
    yield "minimum", column.minimum is not None
    yield "exclusiveMinimum", column.exclusive_minimum is not None
    yield "maximum", column.maximum is not None
    yield "exclusiveMaximum", column.exclusive_maximum is not None
    yield "multipleOf", column.multiple_of is not None
    yield "minLength", column.min_length is not None
    yield "maxLength", column.max_length is not None
    yield "pattern", column.pattern is not None
    yield "enum", bool(column.enum)
    yield "minItems", column.min_items is not None or column.dimensions is not None
    yield "maxItems", column.max_items is not None or column.dimensions is not None
    yield "uniqueItems", column.unique_items
    yield "format", column.format is not None


def broken_rows(look: Look, node: Node, ban: Ban) -> Check | Outcome:
    """A check that no row of the table has a value that is banned."""
    outcome = Outcome(ban.rule, table=look.table.name, column=node.path, expected=ban.expected)
    try:
        condition = node.rows_where(ban.predicate)
        count = look.rows.count(where=condition)
    except Exception as error:
        return unknown(outcome, error)
    shown = None
    if look.samples and node.shown and node.value is not None and ban.rule not in {"required", "primaryKey"}:
        written = node.text if node.text is not None else node.value
        shown = look.rows.filter(condition).select(value=written).distinct().limit(look.samples)
    counts: tuple[Any, ...] = (count, look.rows.count())
    if ban.nan and node.dtype.is_floating():
        counts = (*counts, look.rows.count(where=node.rows_where(lambda v: v.isnan())))
    return Check(outcome, lambda values: counted(outcome, values, ban.what), counts, samples=shown)


def counted(outcome: Outcome, values: Sequence[Any], what: str) -> Outcome:
    """Pass without broken rows, else Fail with their number. A third value: how many of them are NaN."""
    broken, rows = int(values[0] or 0), int(values[1] or 0)
    if not broken:
        return outcome
    nan = int(values[2] or 0) if len(values) > 2 else 0
    observed = f"{broken} of {rows} rows {what}"
    if nan:
        observed = f"{nan} of {rows} rows are NaN, which is no number"
        observed += f"; {broken - nan} of {rows} rows {what}" if broken > nan else ""
    message = f"{outcome.place}: {observed}; the contract requires {outcome.expected}"
    return replace(outcome, verdict="Fail", observed=observed, message=message)


def _rules(look: Look, node: Node) -> Iterator[Check | Outcome]:
    column = node.column
    yield from _types(look, node)
    if column.required:
        yield broken_rows(look, node, Ban("required", lambda v: v.isnull(), "are null", "a value"))
    if column.primary_key and node.value is not None:
        yield broken_rows(look, node, Ban("primaryKey", lambda v: v.isnull(), "are null", "a value in the primary key"))
    for ban in _limits(node):
        yield broken_rows(look, node, ban)
    yield from _options(look, node)
    if column.unique and not column.primary_key:
        yield duplicates(look, (node,), "unique")


def _types(look: Look, node: Node) -> Iterator[Check | Outcome]:
    column = node.column
    base = Outcome("type", table=look.table.name, column=node.path)
    if node.text is not None:
        # The file holds text: every text must be one of the type.
        text = node.text
        kind = column.logical_type
        ban = Ban("type", lambda v: v.isnull() & text.notnull(), f"are no {kind}", f"the type {kind}")
        yield broken_rows(look, node, ban)
        return
    fits = datatypes.logical(column, node.dtype)
    if fits is not None:
        yield _typed(base, fits, str(node.dtype), str(column.logical_type))
    if column.physical_type and (look.source.native or fits is None) and look.mapper is not None:
        base = replace(base, rule="physicalType")
        try:
            yield _typed(
                base, datatypes.physical(column, node.dtype, look.mapper), str(node.dtype), column.physical_type
            )
        except Undecidable as error:
            yield unknown(base, error)


def _typed(outcome: Outcome, fits: bool, observed: str, expected: str) -> Outcome:
    expected = f"the type {expected}"
    if fits:
        return replace(outcome, expected=expected, observed=observed)
    message = f"{outcome.place}: the column is of type {observed}; the contract requires {expected}"
    return replace(outcome, verdict="Fail", expected=expected, observed=f"type {observed}", message=message)


def _number(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _limits(node: Node) -> Iterator[Ban]:
    column, dtype = node.column, node.dtype
    bounds = (
        ("minimum", column.minimum, lambda v, b: v < b, "below", ">="),
        ("exclusiveMinimum", column.exclusive_minimum, lambda v, b: v <= b, "not above", ">"),
        ("maximum", column.maximum, lambda v, b: v > b, "above", "<="),
        ("exclusiveMaximum", column.exclusive_maximum, lambda v, b: v >= b, "not below", "<"),
    )
    for rule, bound, breaks, what, sign in bounds:
        if bound is not None:
            said = _number(bound)
            yield Ban(rule, _outside(dtype, bound, breaks), f"are {what} {said}", f"values {sign} {said}", nan=True)
    if column.multiple_of is not None:
        said = _number(column.multiple_of)
        predicate = _no_multiple(dtype, column.multiple_of)
        yield Ban("multipleOf", predicate, f"are no multiple of {said}", f"multiples of {said}", nan=True)
    lengths = (("minLength", column.min_length, "shorter", ">="), ("maxLength", column.max_length, "longer", "<="))
    for rule, length, what, sign in lengths:
        if length is not None:
            predicate = _length(dtype, length, rule == "minLength")
            yield Ban(rule, predicate, f"are {what} than {length} characters", f"lengths {sign} {length}")
    if column.pattern is not None:
        predicate = _mismatch(dtype, column.pattern)
        yield Ban("pattern", predicate, "do not match the pattern", f"the pattern {column.pattern}")
    if column.enum:
        listed = ", ".join(_number(value) for value in column.enum[:20]) + (", …" if len(column.enum) > 20 else "")
        yield Ban("enum", _not_in(dtype, column), "have another value", f"one of {listed}")
    yield from _items(node)


def _items(node: Node) -> Iterator[Ban]:
    column = node.column
    least, most = column.min_items, column.max_items
    if column.dimensions is not None:
        least = most = column.dimensions
    sized = _sized(node.dtype)
    if least is not None:
        what, expected = f"have fewer than {least} items", f"at least {least} items"
        yield Ban("minItems", lambda v: sized(v) < least, what, expected)
    if most is not None:
        yield Ban("maxItems", lambda v: sized(v) > most, f"have more than {most} items", f"at most {most} items")
    if column.unique_items:
        yield Ban("uniqueItems", lambda v: v.unique().length() < sized(v), "have an item twice", "unique items")


def _sized(dtype: Any) -> Predicate:
    return (lambda v: v.length()) if dtype.is_array() else _undecided(f"values of type {dtype} have no items")


def _outside(dtype: Any, bound: Any, breaks: Any) -> Predicate:
    def predicate(value: Any) -> Any:
        broken = breaks(value, literal(bound, dtype))
        # A float that is no number is within no bounds, whichever way the engine orders it.
        return broken | value.isnan() if dtype.is_floating() else broken

    if dtype.is_string():
        return _undecided(f"the values are texts, and have no order as {type(bound).__name__}")
    return predicate


def _undecided(why: str) -> Predicate:
    def predicate(_value: Any) -> Any:
        raise Undecidable(why)

    return predicate


def _no_multiple(dtype: Any, factor: Decimal) -> Predicate:
    if not dtype.is_numeric() or factor == 0:
        return _undecided(f"values of type {dtype} are no multiples of {factor}")
    if dtype.is_integer() and factor == int(factor):
        return lambda v: v % int(factor) != 0
    size = abs(float(factor))

    def predicate(value: Any) -> Any:
        # Floats hit no decimal factor exactly: a billionth of the factor is rounding, from either side.
        rest = (value.cast("float64") % size).abs()
        return (rest > size * 1e-9) & (size - rest > size * 1e-9) | rest.isnan()

    return predicate


def _text(value: Any) -> Any:
    return value if value.type().is_string() else value.cast("string")


def _length(dtype: Any, length: int, least: bool) -> Predicate:
    if dtype.is_array():
        return (lambda v: v.length() < length) if least else (lambda v: v.length() > length)
    return (lambda v: _text(v).length() < length) if least else (lambda v: _text(v).length() > length)


def _mismatch(dtype: Any, pattern: str) -> Predicate:
    if dtype.is_nested():
        return _undecided(f"values of type {dtype} have no text")

    def predicate(value: Any) -> Any:
        return ~_text(value).re_search(safe(pattern))

    return predicate


def _not_in(dtype: Any, column: Column) -> Predicate:
    return lambda v: ~v.isin([literal(value, dtype) for value in column.enum])


def _options(look: Look, node: Node) -> Iterator[Check | Outcome]:
    column, dtype = node.column, node.dtype
    for option, value in column.options.items():
        if option == "required" and dtype.is_struct() and isinstance(value, list):
            for member in (str(name) for name in value):
                if member in dtype.names:
                    inner = replace(node, path=f"{node.path}.{member}", value=None)
                    where = _member_null(member)
                    yield broken_rows(look, inner, Ban("required", where, "are null", "a value"))
                else:
                    text = f"{look.table.name}.{node.path}.{member}: the member is missing in the data"
                    yield Outcome("present", "Fail", look.table.name, f"{node.path}.{member}", message=text)
        elif option not in IGNORED_OPTIONS:
            base = Outcome(option, table=look.table.name, column=node.path, expected=str(value)[:200])
            yield unknown(base, "the option is not supported")
    if column.format is not None:
        yield from _format(look, node, column.format)


def _member_null(member: str) -> Predicate:
    return lambda v: v.notnull() & v[member].isnull()


def _format(look: Look, node: Node, form: str) -> Iterator[Check | Outcome]:
    outcome = Outcome("format", table=look.table.name, column=node.path, expected=f"the format {form}")
    kind = node.column.logical_type
    if kind in _NATIVE_FORMATS and node.text is None:
        return  # The values are no texts any more: how they were written cannot be wrong.
    if form in _INTEGER_FORMATS and node.dtype.is_integer():
        least, most = _INTEGER_FORMATS[form]
        ban = Ban("format", lambda v: (v < least) | (v > most), f"do not fit {form}", outcome.expected)
        yield broken_rows(look, node, ban)
    elif form in {"f32", "f64"} and node.dtype.is_numeric():
        yield outcome
    elif form in FORMATS and node.dtype.is_string():
        ban = Ban("format", lambda v: ~v.re_search(FORMATS[form]), f"are no {form}", outcome.expected)
        yield broken_rows(look, node, ban)
    elif node.text is None or form.lower() not in {"yyyy-mm-dd", "iso8601", "hh:mm:ss"}:
        yield unknown(outcome, "the format is not supported; say it as a pattern")


def duplicates(look: Look, members: tuple[Node, ...], rule: str) -> Check | Outcome:
    """A check that no two rows have the same values; rows with a null are left out.

    Exact: an approximate count of distinct values could prove neither. The groups are spilled to disk as needed.
    """
    path = ", ".join(node.path for node in members)
    outcome = Outcome(rule, table=look.table.name, column=path, expected="no value twice")
    if look.sampled:
        return unknown(outcome, "it needs every row, and engine.sampling looks at a sample")
    if any(node.value is None for node in members):
        return unknown(outcome, "uniqueness of nested values is not supported")
    keys = {f"k{number}": node.value for number, node in enumerate(members)}
    try:
        counts = repeated(look, keys)
    except Exception as error:
        return unknown(outcome, error)
    shown = None
    if look.samples and len(members) == 1 and members[0].shown:
        kept = look.rows.select(value=members[0].value)
        kept = kept.filter(kept.value.notnull())
        groups = kept.group_by("value").aggregate(n=kept.count())
        shown = groups.filter(groups.n > 1).select("value").limit(look.samples)

    def judge(values: Sequence[Any]) -> Outcome:
        return counted(outcome, values, "repeat a value of another row")

    return Check(outcome, judge, alone=counts, samples=shown)


def repeated(look: Look, keys: dict[str, Any]) -> tuple[Any, ...]:
    """Ibis tables of one row: ``extra``, the rows beyond the first of each key, and ``rows``, those with a key.

    In DuckDB a large table is grouped in several passes over its keys, each with the keys of some hashes, so that the
    space for spilling is enough whatever the table's size.
    """
    kept = look.rows.select(**keys)
    for name in keys:
        kept = kept.filter(kept[name].notnull())
    passes = -(-look.count // ROWS_AT_ONCE) if look.source.in_pod else 1
    if passes <= 1:
        return (_repeated(kept, list(keys)),)
    mixed = reduce(lambda a, b: a ^ b, (kept[name].hash() for name in keys)) % passes
    # Hashes may be negative, and the least of them has no absolute value.
    bucket = (mixed + passes) % passes
    return tuple(_repeated(kept.filter(bucket == number), list(keys)) for number in range(passes))


def _repeated(kept: Any, keys: list[str]) -> Any:
    groups = kept.group_by(keys).aggregate(n=kept.count())
    return groups.aggregate(extra=(groups.n - 1).sum(), rows=groups.n.sum())


def _keys(look: Look) -> Iterator[Check | Outcome]:
    found = [node for node in nodes(look.table, look.source) if isinstance(node, Node) and node.column.primary_key]
    members = sorted(
        (node for node in found if node.value is not None), key=lambda node: node.column.primary_key_position
    )
    wanted = [column for column in look.table.columns if column.primary_key]
    if members and len(members) == len(wanted):
        yield duplicates(look, tuple(members), "primaryKey")
