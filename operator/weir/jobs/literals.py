"""Values of a contract as constants of the type that a column has in the data."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import ibis

from .outcome import Undecidable


def literal(value: Any, dtype: Any) -> Any:
    """An ibis constant that compares with a column of this type.

    Raises:
        Undecidable: a value of the contract does not fit the column's type.
    """
    try:
        return _literal(value, dtype)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Undecidable(f"{value!s} in the contract does not fit the column's type {dtype}") from error


def _literal(value: Any, dtype: Any) -> Any:
    if dtype.is_boolean():
        if isinstance(value, bool) or str(value).lower() in {"true", "false"}:
            return ibis.literal(str(value).lower() == "true")
        raise ValueError
    if dtype.is_floating():
        return ibis.literal(float(value))
    if dtype.is_integer() or dtype.is_decimal():
        number = Decimal(str(value))
        return ibis.literal(int(number)) if number == int(number) else ibis.literal(float(number))
    if dtype.is_date():
        return ibis.literal(date.fromisoformat(str(value)[:10]))
    if dtype.is_timestamp():
        return ibis.literal(_instant(str(value), dtype.timezone is not None))
    if dtype.is_time():
        return ibis.literal(time.fromisoformat(str(value)))
    if dtype.is_string() or dtype.is_uuid():
        if isinstance(value, bool):
            return ibis.literal(str(value).lower())
        return ibis.literal(format(value, "f") if isinstance(value, Decimal) else str(value))
    raise Undecidable(f"values of type {dtype} cannot be compared")


def _instant(text: str, aware: bool) -> datetime:
    """A time of the contract; without an offset it is in UTC, as are columns without one."""
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    instant = instant.astimezone(UTC)
    return instant if aware else instant.replace(tzinfo=None)
