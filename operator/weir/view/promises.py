"""What a DataContract promises of its data, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from weir.contract.model import Column, Document, Quality, Table
from weir.view.read import Node
from weir.view.words import duration, percent, things

_MOST_COLUMNS = 40

_ROLES = {
    "TrainingInput": "training data",
    "ServingInput": "requests",
    "Features": "features",
    "Label": "labels",
    "Prediction": "predictions",
}
_COMPARED = {
    "mustBe": "is",
    "mustNotBe": "is not",
    "mustBeGreaterThan": "is more than",
    "mustBeGreaterOrEqualTo": "is at least",
    "mustBeLessThan": "is less than",
    "mustBeLessOrEqualTo": "is at most",
    "mustBeBetween": "is between (both excluded)",
    "mustNotBeBetween": "is not between",
}
_METRICS = {
    "nullValues": "nulls",
    "missingValues": "missing values",
    "invalidValues": "invalid values",
    "duplicateValues": "duplicates",
    "rowCount": "rows",
}


def promises(node: Node, document: Document) -> Iterator[str]:
    """One line for everything; lines of properties begin with blanks. ``node``: the DataContract."""
    title = document.name or document.id
    roles = ", ".join(_ROLES.get(role, role) for role in node.texts("spec", "roles"))
    yield f"{title}, version {document.version}" + (f": describes {roles}." if roles else ".")
    left = _MOST_COLUMNS
    for table in document.tables:
        yield from _table(table, left)
        left = max(0, left - len(table.columns))
    yield from _freshness(node)
    for rule in node.items("spec", "rules"):
        yield f"Rule {rule.text('name')}: {rule.text('cel')}"
    for drift in node.items("spec", "drift"):
        yield (
            f"Drift {drift.text('name')}: {drift.text('property')} stays within {_share(drift, 'tolerance', 0.1)} of "
            "the reference (share of rows that would have to be others)."
        )
    yield from _parity(node)
    for leakage in node.items("spec", "leakage"):
        most = leakage.number("maxSharedRatio") or 0.0
        share = f"at most {percent(most)} of the rows" if most else "no row"
        yield (
            f"Leakage {leakage.text('name')}: {share} of {leakage.text('object')} in {leakage.text('other')} "
            f"may be in {leakage.text('training')}, too."
        )
    for meaning in node.items("spec", "semantics"):
        told = [f"{key} {meaning.text(key)}" for key in ("unit", "timezone", "encoding") if meaning.text(key)]
        if told:
            yield f"{meaning.text('property')} means: {', '.join(told)}."


def _freshness(node: Node) -> Iterator[str]:
    freshness = node.at("spec", "freshness")
    fails = freshness.span("failAfter")
    if fails is not None:
        warns = freshness.span("warnAfter")
        early = f" (a warning after {duration(warns)})" if warns else ""
        yield f"The newest {freshness.text('element')} is at most {duration(fails)} old{early}."


def _parity(node: Node) -> Iterator[str]:
    parity = node.at("spec", "parity")
    sides = f"{parity.text('training')} and {parity.text('serving')}"
    for profile in parity.items("profile"):
        within = _share(profile, "tolerance", 0.1)
        yield f"Parity: {profile.text('property')} differs by at most {within} between {sides}."
    replay = parity.at("rowReplay")
    if replay.there:
        most = percent(replay.number("maxMismatchRatio") or 0.0)
        yield f"Parity: of the rows of {replay.text('object')} in {sides}, at most {most} differ."


def _share(node: Node, key: str, default: float) -> str:
    found = node.number(key)
    return percent(found if found is not None else default)


def _table(table: Table, left: int) -> Iterator[str]:
    yield f"{table.name} has {things(len(table.columns), 'property', 'properties')}:"
    for column in table.columns[:left]:
        yield f"  {column.name}: {', '.join(_column(column))}"
    if len(table.columns) > left:
        yield f"  and {len(table.columns) - left} more"
    for quality in table.quality:
        yield f"  {_quality(quality)}"


def _column(column: Column) -> Iterator[str]:
    yield column.logical_type or column.physical_type or "any type"
    if column.primary_key:
        yield "primary key"
    elif column.required:
        yield "always there"
    if column.unique and not column.primary_key:
        yield "unique"
    yield from _limits(column)
    if column.enum:
        values = ", ".join(str(value) for value in column.enum[:6])
        yield f"one of {values}" + (f" and {len(column.enum) - 6} more" if len(column.enum) > 6 else "")
    if column.pattern:
        yield f"matches {column.pattern}"
    if column.dimensions:
        yield f"{column.dimensions} dimensions"
    if column.classification:
        yield f"{column.classification} (its values are never shown)"
    for quality in column.quality:
        yield _quality(quality)


def _limits(column: Column) -> Iterator[str]:
    for limit, words in (
        (column.minimum, "at least {}"),
        (column.exclusive_minimum, "more than {}"),
        (column.maximum, "at most {}"),
        (column.exclusive_maximum, "less than {}"),
        (column.multiple_of, "a multiple of {}"),
        (column.min_length, "at least {} characters"),
        (column.max_length, "at most {} characters"),
        (column.min_items, "at least {} items"),
        (column.max_items, "at most {} items"),
    ):
        if limit is not None:
            yield words.format(limit)


def _quality(quality: Quality) -> str:
    what = _METRICS.get(quality.metric, quality.metric)
    if what:
        what = f"{'share' if quality.unit == 'percent' else 'number'} of {what}"
    else:
        what = {"sql": "what the SQL query gives", "text": "a text for people"}.get(quality.kind, "a rule")
    unit = " %" if quality.unit == "percent" else ""
    bounds = " and ".join(
        f"{_COMPARED.get(c.operator, c.operator)} {' and '.join(str(v) for v in c.values)}{unit}"
        for c in quality.comparisons
    )
    name = f"{quality.name}: " if quality.name else ""
    return f"{name}{what} {bounds}".rstrip()
