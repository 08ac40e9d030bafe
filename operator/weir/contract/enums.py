"""Permitted values whose type is not that of the property: no row has them, and every row with the right ones fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from weir.contract.document import Path
from weir.contract.model import Column, Document


def misfits(document: Document) -> Iterator[tuple[str, Path, str, str]]:
    """Each such value: path for people, path for programs (from ``spec`` on), what is wrong, way out."""
    for number, table in enumerate(document.tables):
        at: Path = ("spec", "odcs", "schema", number, "properties")
        yield from _of_columns(f"spec.odcs.schema[{table.name}].properties", at, table.columns)


def _of_columns(path: str, at: Path, columns: Sequence[Column]) -> Iterator[tuple[str, Path, str, str]]:
    for number, column in enumerate(columns):
        yield from _of_column(f"{path}[{column.name}]", (*at, number), column)


def _of_column(path: str, at: Path, column: Column) -> Iterator[tuple[str, Path, str, str]]:
    expected, fits = _FITTING.get(column.logical_type or "", ("", None))
    for value in column.enum if fits is not None else ():
        if fits is not None and not fits(value):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            message = f"the value {shown} is not {expected}, but logicalType is {column.logical_type}"
            yield f"{path}.enum", (*at, "enum"), message, _way_out(value, expected)
    yield from _of_columns(f"{path}.properties", (*at, "properties"), column.properties)
    if column.items is not None:
        yield from _of_column(f"{path}.items", (*at, "items"), column.items)


def _way_out(value: Any, expected: str) -> str:
    if expected != _TEXT:
        return f"write {expected}, or correct logicalType"
    if isinstance(value, bool):
        return "put the value in quotes as it is in the data, such as 'y', 'no' or 'true'"
    return "put the value in quotes as it is in the data"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


_TEXT = "a text"
_FITTING: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("string", "date", "timestamp", "time"), (_TEXT, _is_text)),
    "number": ("a number", _is_number),
    "integer": ("an integer", lambda value: _is_number(value) and value == int(value)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
}
"""For each logical type: what a value of it is, in words and as a test."""
