"""Columns of a table and what is nested in them, as places that a rule can be asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from weir.contract.model import Column, Table

from .outcome import Outcome
from .tables import Source

Predicate = Callable[[Any], Any]
"""From an ibis value to an ibis truth value."""


@dataclass(frozen=True)
class Node:
    """One property of a table in the data.

    ``path`` is the property's path in the table. ``rows_where`` makes a condition over rows from a condition over
    values: some value of this node in the row meets it. ``value`` is the column itself, None for what is nested.
    ``shown``: its values may appear in samples.
    """

    path: str
    column: Column
    dtype: Any
    rows_where: Callable[[Predicate], Any]
    value: Any = None
    text: Any = None
    shown: bool = True


def nodes(table: Table, source: Source) -> Iterator[Node | Outcome]:
    """Every property of the table, members and elements included; an outcome for one that cannot be reached."""
    for column in table.columns:
        name = source.column(column.physical)
        if name is None:
            yield Outcome(
                "present",
                "Fail",
                table.name,
                column.name,
                expected="the column exists",
                observed="there is no such column",
                message=f"{table.name}.{column.name}: the column {column.physical!r} is missing in the data",
            )
            continue
        value = source.table[name]
        text = source.table[source.texts[name]] if name in source.texts else None
        yield from _walk(table.name, _top(column, value, text))


def _top(column: Column, value: Any, text: Any) -> Node:
    return Node(
        column.name,
        column,
        value.type(),
        lambda predicate: predicate(value),
        value,
        text,
        shown=not column.classification,
    )


def _walk(table: str, node: Node) -> Iterator[Node | Outcome]:
    yield node
    column, dtype = node.column, node.dtype
    if column.properties:
        for member in column.properties:
            child = _member(node, member)
            if child is not None:
                yield from _walk(table, child)
            else:
                yield _absent(table, node, member)
    if column.items is not None and dtype.is_array():
        element = replace(
            node,
            path=f"{node.path}[]",
            column=column.items,
            dtype=dtype.value_type,
            rows_where=lambda predicate: node.rows_where(lambda value: _some(value, predicate)),
            value=None,
            text=None,
            shown=False,
        )
        yield from _walk(table, element)


def _some(array: Any, predicate: Predicate) -> Any:
    return array.filter(predicate).length() > 0


def _member(node: Node, member: Column) -> Node | None:
    dtype = node.dtype
    base = replace(
        node,
        path=f"{node.path}.{member.name}",
        column=member,
        value=None,
        text=None,
        shown=False,
    )
    if dtype.is_struct() and member.physical in dtype.names:
        name = member.physical
        return replace(
            base,
            dtype=dtype[name],
            # A member of an object that is null itself is not missing: the object's own `required` speaks of that.
            rows_where=lambda predicate: node.rows_where(lambda value: value.notnull() & predicate(value[name])),
        )
    if dtype.is_map() and member.name in {"key", "value"}:
        keys = member.name == "key"
        return replace(
            base,
            dtype=dtype.key_type if keys else dtype.value_type,
            rows_where=lambda predicate: node.rows_where(
                lambda value: _some(value.keys() if keys else value.values(), predicate)
            ),
        )
    return None


def _absent(table: str, node: Node, member: Column) -> Outcome:
    path = f"{node.path}.{member.name}"
    if node.dtype.is_struct():
        return Outcome(
            "present",
            "Fail",
            table,
            path,
            expected="the member exists",
            observed="there is no such member",
            message=f"{table}.{path}: the member {member.physical!r} is missing in the data",
        )
    return Outcome(
        "present",
        "Unknown",
        table,
        path,
        observed=f"type {node.dtype}",
        message=f"{table}.{path}: members of type {node.dtype} cannot be looked into",
    )
