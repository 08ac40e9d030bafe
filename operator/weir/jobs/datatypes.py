"""Whether a column has the type that the contract says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weir.contract.model import Column

from .outcome import Undecidable


def _number(dtype: Any) -> bool:
    return bool(dtype.is_numeric() and not dtype.is_boolean())


def _integer(dtype: Any) -> bool:
    return bool(dtype.is_integer() or (dtype.is_decimal() and dtype.scale == 0))


_ACCEPTED: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda t: t.is_string() or t.is_uuid(),
    "date": lambda t: t.is_date(),
    "timestamp": lambda t: t.is_timestamp(),
    "time": lambda t: t.is_time(),
    "number": _number,
    "integer": _integer,
    "boolean": lambda t: t.is_boolean(),
    "object": lambda t: t.is_struct() or t.is_map() or t.is_json(),
    "array": lambda t: t.is_array(),
    "map": lambda t: t.is_map() or t.is_struct() or t.is_json(),
    "vector": lambda t: t.is_array() and _number(t.value_type),
}


def logical(column: Column, dtype: Any) -> bool | None:
    """Whether the type in the data is one of the logical type; None where the contract names none."""
    if column.logical_type is None:
        return None
    return bool(_ACCEPTED[column.logical_type](dtype))


def physical(column: Column, dtype: Any, mapper: Any) -> bool:
    """Whether the type in the data is the physicalType, in the words of the engine (``mapper``: of its ibis compiler).

    Lengths of texts and precisions of times are not compared.

    Raises:
        Undecidable: the engine does not know the word.
    """
    try:
        wanted = mapper.from_string(column.physical_type)
    except Exception as error:
        raise Undecidable(f"the type {column.physical_type!r} is not known to the engine") from error
    if wanted.is_unknown():
        raise Undecidable(f"the type {column.physical_type!r} is not known to the engine")
    return _same(dtype, wanted)


def _same(dtype: Any, wanted: Any) -> bool:
    if wanted.is_string():
        return bool(dtype.is_string())
    if wanted.is_decimal():
        exact = wanted.precision in {None, dtype.precision} and wanted.scale in {None, dtype.scale}
        return bool(dtype.is_decimal() and exact) if dtype.is_decimal() else False
    if wanted.is_timestamp():
        return bool(dtype.is_timestamp() and (dtype.timezone is None) == (wanted.timezone is None))
    if wanted.is_array():
        return bool(dtype.is_array() and _same(dtype.value_type, wanted.value_type))
    return bool(dtype.copy(nullable=True) == wanted.copy(nullable=True))
