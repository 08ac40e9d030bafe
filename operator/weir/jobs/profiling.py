"""Makes the profile of a table: what is counted runs in the engine that holds the data, in few passes.

One aggregate over all columns finds rows, nulls, distinct values and quantiles; a second one counts rows by bin. Each
text column without a reference needs a query of its own for its most frequent values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

import ibis

from weir.contract.model import Column
from weir.contract.profile import MAX_BINS, ColumnProfile, TableProfile

BINS = 10
TOP = 20
LONGEST = 64
"""Characters of the longest value that counts as a category."""

_CATEGORIES = 100_000
"""A text column with more distinct values has no categories, nor has one of which most rows are different."""

_AT_ONCE = 400
"""Aggregates of one query; some engines allow no more than about a thousand columns."""

_DIGITS = (9, 13, 17)
"""Significant digits of an edge: as many as tell all edges apart, such as milliseconds since 1970."""

_FEW_DIGITS = 3
"""Digits for a column with a classification, where an edge must not be anybody's value."""

_Kind = Literal["number", "text", "opaque"]


@dataclass(frozen=True)
class _Subject:
    """One column: its property, its value in the data, and how it is counted."""

    name: str
    value: Any
    missing: Any
    """True where the value is null or NaN."""
    kind: _Kind
    secret: bool
    reference: ColumnProfile | None


def profile_table(
    table: ibis.Table,
    columns: Sequence[Column],
    *,
    bins: int = BINS,
    reference: TableProfile | None = None,
    exact: bool = False,
) -> TableProfile:
    """Profiles of those columns that the table has, by the name of the property.

    A column that ``reference`` knows is counted in the reference's bins and by its listed values; it is left out where
    it has become text instead of numbers. Others get ``bins`` bins of about equal size (approximate quantiles), or
    their most frequent values. Columns with a classification get no values, and edges of three digits. ``exact``:
    count distinct values exactly.

    Raises what the engine raises when a query fails.
    """
    bins = max(2, min(bins, MAX_BINS))
    subjects = list(_subjects(table, columns, reference.columns if reference else {}))
    first = _ask(table, {"rows": table.count(), **dict(_overview(subjects, bins, exact))})
    rows = int(first["rows"] or 0)
    edges = {s.name: _edges(s, first.get(_label(s, "quantiles"))) for s in subjects if s.kind == "number"}
    second = _ask(table, dict(_counts(subjects, edges)))
    found = {}
    for subject in subjects:
        known = rows - int(first[_label(subject, "missing")] or 0)
        distinct = first.get(_label(subject, "distinct"))
        found[subject.name] = _column(table, subject, (rows, known, distinct), edges.get(subject.name, ()), second)
    return TableProfile(rows, found)


# --- What there is ---------------------------------------------------------------------------------------------------


def _subjects(
    table: ibis.Table, columns: Sequence[Column], references: Mapping[str, ColumnProfile]
) -> Iterator[_Subject]:
    exact, folded = set(table.columns), {name.lower(): name for name in table.columns}
    for column in columns:
        physical = column.physical if column.physical in exact else folded.get(column.physical.lower())
        if physical is None:
            continue
        subject = _subject(table[physical], column, references.get(column.name))
        if subject is not None:
            yield subject


def _subject(value: Any, column: Column, reference: ColumnProfile | None) -> _Subject | None:
    dtype, missing = value.type(), value.isnull()
    kind: _Kind = "opaque"
    if reference is not None and not reference.numeric and not dtype.is_nested():
        kind, value = "text", value.cast("string")
    elif dtype.is_numeric():
        if dtype.is_floating():
            missing |= value.isnan()
        kind, value = "number", value.cast("float64")
    elif dtype.is_date() or dtype.is_timestamp():
        kind, value = "number", value.cast("timestamp").epoch_seconds().cast("float64")
    elif dtype.is_boolean() or dtype.is_string():
        kind, value = "text", value.cast("string")
    if reference is not None and reference.numeric and kind != "number":
        return None
    return _Subject(column.name, value, missing, kind, bool(column.classification), reference)


def _overview(subjects: Sequence[_Subject], bins: int, exact: bool) -> Iterator[tuple[str, Any]]:
    shares = [i / bins for i in range(1, bins)]
    for subject in subjects:
        yield _label(subject, "missing"), subject.missing.sum()
        if not subject.value.type().is_nested():
            yield _label(subject, "distinct"), subject.value.nunique() if exact else subject.value.approx_nunique()
        if subject.kind == "number" and subject.reference is None:
            yield _label(subject, "quantiles"), subject.value.approx_quantile(shares, where=~subject.missing)


def _edges(subject: _Subject, quantiles: Any) -> tuple[str, ...]:
    if subject.reference is not None:
        return subject.reference.edges
    values = sorted({float(value) for value in quantiles or () if value is not None and isfinite(value)})
    texts: dict[float, str] = {}
    for digits in (_FEW_DIGITS,) if subject.secret else _DIGITS:
        texts = {float(text): text for text in (f"{value:.{digits}g}" for value in values)}
        if len(texts) == len(values):
            break
    return tuple(texts.values())


def _counts(subjects: Sequence[_Subject], edges: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Any]]:
    for subject in subjects:
        for i, edge in enumerate(edges.get(subject.name, ())):
            yield _label(subject, "within", i), (~subject.missing & (subject.value <= float(edge))).sum()
        if subject.kind == "text" and subject.reference is not None:
            for i, (value, _) in enumerate(subject.reference.top):
                yield _label(subject, "is", i), (subject.value == value).sum()


# --- What came out ---------------------------------------------------------------------------------------------------


def _column(
    table: ibis.Table,
    subject: _Subject,
    size: tuple[int, int, Any],
    edges: Sequence[str],
    counted: Mapping[str, Any],
) -> ColumnProfile:
    rows, known, approximate = size
    nulls = rows - known
    distinct = None if approximate is None else min(int(approximate), known)
    if subject.kind == "number":
        ends = [0, *(int(counted[_label(subject, "within", i)] or 0) for i in range(len(edges))), known]
        bins = list(zip((*edges, ""), (b - a for a, b in pairwise(ends)), strict=True))
        if subject.reference is None:
            # Interpolated quantiles may lie between the only two values that there are.
            bins = [*(pair for pair in bins[:-1] if pair[1]), bins[-1]]
        return ColumnProfile(nulls, distinct, tuple(edge for edge, _ in bins[:-1]), tuple(count for _, count in bins))
    if subject.reference is not None:
        values = [value for value, _ in subject.reference.top]
        top = tuple((value, int(counted.get(_label(subject, "is", i)) or 0)) for i, value in enumerate(values))
    else:
        top = _most_frequent(table, subject, known, distinct)
    return ColumnProfile(nulls, distinct, top=top, other=known - sum(count for _, count in top))


def _most_frequent(
    table: ibis.Table, subject: _Subject, known: int, distinct: int | None
) -> tuple[tuple[str, int], ...]:
    identifies = distinct is None or distinct > _CATEGORIES or (known > TOP * TOP and distinct > known / 2)
    if subject.secret or subject.kind != "text" or identifies:
        return ()
    short = table.select(value=subject.value).filter(lambda t: t.value.notnull() & (t.value.length() <= LONGEST))
    counted = short.group_by("value").aggregate(count=lambda t: t.count())
    found = counted.order_by(ibis.desc("count"), "value").limit(TOP).to_pyarrow().to_pylist()
    return tuple((str(row["value"]), int(row["count"])) for row in found)


def _label(subject: _Subject, what: str, number: int = 0) -> str:
    return f"{what}_{number}_{subject.name}"


def _ask(table: ibis.Table, aggregates: Mapping[str, Any]) -> dict[str, Any]:
    """The aggregates by name, under short names in the query: engines differ in what a column may be called."""
    found: dict[str, Any] = {}
    every = list(aggregates)
    for start in range(0, len(every), _AT_ONCE):
        names = every[start : start + _AT_ONCE]
        row = table.aggregate(**{f"a{i}": aggregates[name] for i, name in enumerate(names)}).to_pyarrow().to_pylist()[0]
        found |= {name: row[f"a{i}"] for i, name in enumerate(names)}
    return found
