"""Quality rules of a document: library metrics and SQL, compared with what the rule demands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.operations as ops
from sqlglot import expressions as exp

from weir.api.datacontractstatus import CheckVerdict
from weir.contract.model import Comparison, Document, Quality, Table

from . import sqlguard
from .checks import Look, repeated
from .literals import literal
from .nodes import Node, Predicate, nodes
from .outcome import NO_COLUMN, Check, Outcome, Undecidable, number, unknown
from .patterns import safe
from .tables import Source

LENIENT = frozenset({"info", "warning", "low", "minor", "trivial"})
"""Severities that make a failure a warning."""

_LONGEST_NAME = 80
"""Characters of a query that stand for its name."""
_SIGNS: Mapping[str, str] = {
    "mustBe": "=",
    "mustNotBe": "other than",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": ">=",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "<=",
    "mustBeBetween": "between",
    "mustNotBeBetween": "not between",
}


def holds(value: float, comparison: Comparison) -> bool:
    """Whether the value meets the comparison; ``between`` leaves both ends out.

    Raises:
        Undecidable: the comparison has no numbers, or is of a later version of the standard.
    """
    if not comparison.values:
        raise Undecidable(f"{comparison.operator} is not followed by a number")
    first, last = float(comparison.values[0]), float(comparison.values[-1])
    answers = {
        "mustBe": value == first,
        "mustNotBe": value != first,
        "mustBeGreaterThan": value > first,
        "mustBeGreaterOrEqualTo": value >= first,
        "mustBeLessThan": value < first,
        "mustBeLessOrEqualTo": value <= first,
        "mustBeBetween": first < value < last,
        "mustNotBeBetween": not first < value < last,
    }
    if comparison.operator not in answers:
        raise Undecidable(f"the operator {comparison.operator!r} is not known")
    return answers[comparison.operator]


def demanded(rule: Quality) -> str:
    """What the rule demands, for people."""
    sides = [
        f"{_SIGNS.get(c.operator, c.operator)} {' and '.join(format(value, 'f') for value in c.values)}"
        for c in rule.comparisons
    ]
    return " and ".join(sides) + (" percent" if rule.unit == "percent" and rule.kind == "library" else "")


def judged(outcome: Outcome, rule: Quality, value: float, what: str) -> Outcome:
    """The outcome of a value: Fail, or Warn by the rule's severity, where a comparison does not hold."""
    if not rule.comparisons:
        raise Undecidable("the rule has no operator such as mustBe")
    # Every comparison, so that one that cannot be decided is not hidden by another that does not hold.
    held = [holds(value, comparison) for comparison in rule.comparisons]
    if all(held):
        return replace(outcome, observed=number(value))
    observed = f"{number(value)}{what}"
    subject = f"{outcome.place}: " if outcome.place else ""
    message = f"{subject}{outcome.name or outcome.rule} is {observed}; the contract requires {outcome.expected}"
    if rule.description.strip():
        message += f" ({' '.join(rule.description.split())[:200]})"
    verdict: CheckVerdict = "Warn" if rule.severity.lower() in LENIENT else "Fail"
    return replace(outcome, verdict=verdict, observed=observed, message=message)


def may_be_empty(table: Table) -> bool:
    """Whether a rule of the table for its number of rows passes with none."""
    for rule in table.quality:
        if rule.kind == "library" and rule.metric == "rowCount" and rule.comparisons:
            with suppress(Undecidable):
                if all(holds(0.0, comparison) for comparison in rule.comparisons):
                    return True
    return False


def checks(look: Look, document: Document, sources: Callable[[str], Source]) -> Iterator[Check | Outcome]:
    """The quality rules of a table and its columns. ``sources``: rows of another table of the same server."""
    for rule in look.table.quality:
        yield from _rule(look, None, rule, document, sources)
    for node in nodes(look.table, look.source):
        if isinstance(node, Node):
            for rule in node.column.quality:
                yield from _rule(look, node, rule, document, sources)
        else:
            yield from _of_missing(look, node)


def _of_missing(look: Look, missing: Outcome) -> Iterator[Outcome]:
    column = look.table.column(missing.column)
    for rule in column.quality if column is not None else ():
        if rule.kind != "text":
            kind = (rule.metric if rule.kind == "library" else rule.kind) or "library"
            outcome = Outcome(kind, table=look.table.name, column=missing.column, name=_name(rule))
            yield unknown(replace(outcome, expected=demanded(rule)), NO_COLUMN)


def _rule(
    look: Look, node: Node | None, rule: Quality, document: Document, sources: Callable[[str], Source]
) -> Iterator[Check | Outcome]:
    if rule.kind == "text":
        return  # Words for people: there is nothing to count.
    path = node.path if node is not None else ""
    kind = rule.metric if rule.kind == "library" else rule.kind
    outcome = Outcome(kind or "library", table=look.table.name, column=path, name=_name(rule), expected=demanded(rule))
    try:
        if rule.kind == "sql":
            yield _sql(look, node, rule, outcome, document=document, sources=sources)
        elif rule.kind == "library":
            yield _library(look, node, rule, outcome)
        else:
            yield unknown(outcome, f"rules of the engine {rule.engine or 'custom'} are not supported")
    except Exception as error:
        yield unknown(outcome, error)


def _name(rule: Quality) -> str:
    """The rule's name; a query without one is called by its own text, since a table may have several."""
    query = " ".join(rule.query.split()) if rule.kind == "sql" else ""
    return rule.name or (query if len(query) <= _LONGEST_NAME else f"{query[:_LONGEST_NAME]}…")


def _library(look: Look, node: Node | None, rule: Quality, outcome: Outcome) -> Check:
    if look.sampled and not _zero_only(rule) and (rule.unit == "rows" or rule.metric == "duplicateValues"):
        raise Undecidable("it needs every row, and engine.sampling looks at a sample")
    if rule.metric == "rowCount":
        return Check(outcome, lambda values: judged(outcome, rule, float(values[0]), " rows"), (look.rows.count(),))
    if rule.metric == "duplicateValues":
        return _duplicates(look, node, rule, outcome)
    if node is None:
        raise Undecidable(f"the metric {rule.metric!r} belongs to a property")
    condition = node.rows_where(_predicate(node, rule))
    shown = None
    if look.samples and node.shown and node.value is not None and rule.metric == "invalidValues":
        shown = look.rows.filter(condition).select(value=node.value).distinct().limit(look.samples)
    counts = (look.rows.count(where=condition), look.rows.count())
    return Check(outcome, lambda values: _share(outcome, rule, values), counts, samples=shown)


def _share(outcome: Outcome, rule: Quality, values: Sequence[Any]) -> Outcome:
    found, rows = float(values[0] or 0), float(values[1] or 0)
    if rule.unit == "percent":
        return judged(outcome, rule, 100.0 * found / rows if rows else 0.0, " percent of rows")
    return judged(outcome, rule, found, f" of {number(rows)} rows")


def _zero_only(rule: Quality) -> bool:
    return (
        rule.metric in {"nullValues", "missingValues", "invalidValues"}
        and bool(rule.comparisons)
        and all(c.operator == "mustBe" and c.values == (Decimal(0),) for c in rule.comparisons)
    )


def _predicate(node: Node, rule: Quality) -> Predicate:
    arguments = rule.arguments
    if rule.metric == "nullValues":
        return lambda v: v.isnull()
    if rule.metric == "missingValues":
        listed = arguments.get("missingValues", [None, ""])
        return lambda v: _missing(v, listed if isinstance(listed, list) else [listed])
    if rule.metric == "invalidValues":
        valid, pattern = arguments.get("validValues"), arguments.get("pattern")
        if valid is None and pattern is None:
            raise Undecidable("invalidValues needs validValues or a pattern in its arguments")
        return lambda v: _invalid(v, valid, pattern)
    raise Undecidable(f"the metric {rule.metric!r} is not known")


def _missing(value: Any, listed: Sequence[Any]) -> Any:
    missing = value.isnull() if None in listed else ibis.literal(False)
    present = [entry for entry in listed if entry is not None]
    texts = value.type().is_string()
    comparable = [entry for entry in present if texts or not isinstance(entry, str) or _fits(entry, value.type())]
    return missing | value.isin([literal(entry, value.type()) for entry in comparable]) if comparable else missing


def _fits(entry: Any, dtype: Any) -> bool:
    """Whether a text such as N/A could be a value of a column that holds no texts."""
    try:
        literal(entry, dtype)
    except Undecidable:
        return False
    return True


def _invalid(value: Any, valid: Any, pattern: Any) -> Any:
    invalid = ibis.literal(False)
    if valid is not None:
        invalid = invalid | ~value.isin([literal(entry, value.type()) for entry in valid if entry is not None])
    if pattern is not None:
        text = value if value.type().is_string() else value.cast("string")
        invalid = invalid | ~text.re_search(safe(str(pattern)))
    return value.notnull() & invalid


def _duplicates(look: Look, node: Node | None, rule: Quality, outcome: Outcome) -> Check:
    if node is not None:
        if node.value is None:
            raise Undecidable("duplicates of nested values are not supported")
        keys = {"k0": node.value}
    else:
        keys = {f"k{i}": look.rows[_physical(look, str(name))] for i, name in enumerate(_properties(rule))}
    return Check(outcome, lambda values: _share(outcome, rule, values), alone=repeated(look, keys))


def _properties(rule: Quality) -> Sequence[Any]:
    properties = rule.arguments.get("properties")
    if not isinstance(properties, list) or not properties:
        raise Undecidable("duplicateValues of a table needs properties in its arguments")
    return properties


def _physical(look: Look, name: str) -> str:
    column = look.table.column(name)
    physical = look.source.column(column.physical if column is not None else name)
    if physical is None:
        raise Undecidable(f"the data has no column {name!r}")
    return physical


def _sql(
    look: Look,
    node: Node | None,
    rule: Quality,
    outcome: Outcome,
    *,
    document: Document,
    sources: Callable[[str], Source],
) -> Check:
    if not rule.comparisons:
        raise Undecidable("the rule has no operator such as mustBe")
    backend = look.source.table.get_backend()
    dialect = str(backend.dialect.__name__).lower()
    column = (look.source.column(node.column.physical) or "") if node is not None and node.value is not None else ""
    query = sqlguard.filled(rule.query, look.table.name, column, dialect)
    known = sqlguard.names((table.name, table.physical) for table in document.tables)
    guarded = sqlguard.guard(query, dialect, known)
    quoted = {name: exp.to_identifier(sqlguard.PREFIX + name, quoted=True).sql(dialect) for name in guarded.tables}
    rows = [f"{quoted[name]} AS ({backend.compile(sources(name).rows)})" for name in sorted(guarded.tables)]
    value = exp.column(exp.to_identifier(sqlguard.VALUE, quoted=True))
    asked = exp.select(exp.alias_(exp.cast(value, "double"), sqlguard.VALUE, quoted=True))
    # Two rows are enough to see that the answer is not one value.
    asked = asked.from_(guarded.query.subquery("answer")).limit(2)
    text = (f"WITH {', '.join(rows)} " if rows else "") + asked.sql(dialect)
    answer = ops.SQLQueryResult(query=text, schema=ibis.schema({sqlguard.VALUE: "float64"}), source=backend).to_expr()

    def judge(values: Sequence[Any]) -> Outcome:
        if values[0] is None:
            raise Undecidable("the query answered NULL")
        return judged(outcome, rule, float(values[0]), "")

    return Check(outcome, judge, alone=(answer,))
