"""Reading objects as a cluster gives them: whatever is missing or odd reads as absent, and nothing raises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from weir.api.base import format_time, parse_time, seconds

_LATEST = 253402300799.0
"""The last second of the year 9999: later times cannot be written."""


class Moment(float):
    """A time in seconds since the epoch; a type of its own so that it is written as a time."""

    def __str__(self) -> str:
        return format_time(self)


@dataclass(frozen=True)
class Node:
    """A value somewhere in an object."""

    value: Any = None

    def at(self, *path: str) -> Node:
        """What lies at that path; an empty node where nothing does."""
        value = self.value
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return Node(value)

    @property
    def there(self) -> bool:
        """Whether it is an object with fields."""
        return isinstance(self.value, Mapping) and bool(self.value)

    def has(self, *path: str) -> bool:
        """Whether something lies at that path, be it empty."""
        return self.at(*path).value is not None

    def text(self, *path: str) -> str:
        """Text there; empty where there is none."""
        value = self.at(*path).value
        if isinstance(value, bool):
            return ""
        return str(value) if isinstance(value, str | int | float) else ""

    def flag(self, *path: str) -> bool:
        """Whether it says true."""
        return self.at(*path).value is True

    def number(self, *path: str) -> float | None:
        """A finite number, also one that is written as text."""
        value = self.at(*path).value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return None
        return found if math.isfinite(found) else None

    def count(self, *path: str) -> int | None:
        """A whole number that is not negative."""
        found = self.number(*path)
        return int(found) if found is not None and 0 <= found < 1e18 else None

    def time(self, *path: str) -> Moment | None:
        """A time after 1970."""
        value = self.at(*path).value
        try:
            # YAML readers make a datetime of an unquoted time.
            found = value.timestamp() if isinstance(value, datetime) else parse_time(value)
        except (ValueError, TypeError, OverflowError, OSError):
            return None
        if isinstance(value, bool) or not math.isfinite(found) or not 0 < found < _LATEST:
            return None
        return Moment(found)

    def span(self, *path: str) -> float | None:
        """Seconds of a duration such as ``5m``."""
        try:
            return seconds(self.text(*path))
        except ValueError:
            return None

    def items(self, *path: str) -> tuple[Node, ...]:
        """Objects of a list; what is no object is left out."""
        value = self.at(*path).value
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return ()
        return tuple(Node(item) for item in value if isinstance(item, Mapping))

    def texts(self, *path: str) -> tuple[str, ...]:
        """Texts of a list."""
        value = self.at(*path).value
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return ()
        return tuple(item for item in value if isinstance(item, str))


def wire(value: Any) -> Any:
    """What JSON and YAML show of a view: camelCase, times as text, absent and empty fields left out."""
    if isinstance(value, Moment):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f.name, wire(getattr(value, f.name))) for f in dataclasses.fields(value))
        return {_camel(name): found for name, found in fields if found not in (None, "", [], {})}
    if isinstance(value, Mapping):
        return {str(key): wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
