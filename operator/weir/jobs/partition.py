"""The partition of a server: a SQL condition, taken apart into comparisons that cannot do anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import ibis
import sqlglot
from sqlglot import expressions as exp

from .outcome import Undecidable

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_COMPARISONS: Mapping[type[exp.Expr], Callable[[Any, Any], Any]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.Like: lambda a, b: a.like(b.op().value),
}


def filled(condition: str, now: float) -> str:
    """The condition with ``{{date}}`` (YYYY-MM-DD, UTC) and ``{{hour}}`` (HH) of ``now``, a Unix time.

    Raises:
        Undecidable: it names another variable.
    """
    at = datetime.fromtimestamp(now, UTC)
    values = {"date": at.strftime("%Y-%m-%d"), "hour": at.strftime("%H")}

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise Undecidable(f"partition: unknown variable {match[1]!r}; there are {{{{date}}}} and {{{{hour}}}}")
        return values[match[1]]

    return _VARIABLE.sub(value, condition)


def predicate(table: Any, condition: str, now: float) -> Any:
    """The condition as an ibis expression over ``table``.

    Comparisons of columns with constants, AND, OR, NOT, IN, BETWEEN, LIKE and IS NULL; nothing else, so there is no
    function, no subquery and no statement that it could hide.

    Raises:
        Undecidable: it holds something else, or a column that is not there.
    """
    try:
        parsed = sqlglot.parse(f"SELECT 1 WHERE {filled(condition, now)}")
    except sqlglot.errors.SqlglotError as error:
        raise Undecidable("partition is not a SQL condition") from error
    select = parsed[0]
    given = {name for name, value in select.args.items() if value} if isinstance(select, exp.Select) else set()
    if len(parsed) != 1 or select is None or given != {"expressions", "where"}:
        raise Undecidable("partition is not a SQL condition")
    return _boolean(table, select.args["where"].this)


def _boolean(table: Any, node: exp.Expr) -> Any:
    match node:
        case exp.Paren():
            return _boolean(table, node.this)
        case exp.And():
            return _boolean(table, node.left) & _boolean(table, node.right)
        case exp.Or():
            return _boolean(table, node.left) | _boolean(table, node.right)
        case exp.Not():
            return ~_boolean(table, node.this)
        case exp.Is() if isinstance(node.expression, exp.Null):
            return _column(table, node.this).isnull()
        case exp.In() if node.expressions and not node.args.get("query"):
            column = _column(table, node.this)
            return column.isin([_constant(value, column) for value in node.expressions])
        case exp.Between():
            column = _column(table, node.this)
            return column.between(_constant(node.args["low"], column), _constant(node.args["high"], column))
    compare = _COMPARISONS.get(type(node))
    if compare is None:
        raise Undecidable(f"partition may compare columns with constants; {node.key.upper()} is not allowed in it")
    left, right = node.this, node.expression
    if isinstance(left, exp.Column):
        column = _column(table, left)
        return compare(column, _constant(right, column))
    column = _column(table, right)
    return compare(_constant(left, column), column)


def _column(table: Any, node: exp.Expr) -> Any:
    if not isinstance(node, exp.Column) or node.table:
        raise Undecidable("partition may compare columns with constants, and nothing else")
    if node.name not in table.columns:
        raise Undecidable(f"partition names the column {node.name!r}, which the data does not have")
    return table[node.name]


def _constant(node: exp.Expr, column: Any) -> Any:
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        node = node.this
    negative = isinstance(node, exp.Neg)
    if negative:
        node = node.this
    if isinstance(node, exp.Boolean):
        return ibis.literal(bool(node.this))
    if not isinstance(node, exp.Literal):
        raise Undecidable("partition may compare columns with constants, and nothing else")
    value = ("-" if negative else "") + node.name
    if column.type().is_string():
        return ibis.literal(value)
    return ibis.literal(value).cast(column.type())
