"""Walks an object and evaluates the rules of its schema, as the API server does after it filled in the defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from weir.api.schema import VALIDATIONS, Schema
from weir.lint import cel
from weir.lint.finding import Path
from weir.lint.structure import Flaw, time_of

_FIELD = re.compile(r"[.]([A-Za-z0-9_]+)")


def broken_rules(schema: Schema, value: Any, flawed: Sequence[Path], path: Path = ()) -> Iterator[Flaw]:
    """Rules that the defaulted value breaks.

    ``flawed``: places that the schema refuses already; rules of what holds such a place are not asked, since their
    answer would be about a value that nobody meant. Rules about changes (``oldSelf``) are not asked at all.
    """
    parts = _children(schema, value, path)
    below = [flaw for child, described, place in parts for flaw in broken_rules(described, child, flawed, place)]
    yield from below
    spoilt = any(place[: len(path)] == path for place in flawed)
    for rule in schema.get(VALIDATIONS, ()):
        if spoilt or cel.TRANSITION in rule["rule"]:
            continue
        place = (*path, *_FIELD.findall(rule.get("fieldPath", "")))
        try:
            if not _holds(schema, rule["rule"], value):
                yield Flaw(place, "rule", rule["message"])
        except cel.RuleError as error:
            if not below:  # else the reason has been told
                yield Flaw(place, "rule", f"a rule cannot be evaluated: {error}")


def _holds(schema: Schema, rule: str, value: Any) -> bool:
    if schema.get("format") == "date-time":
        time = time_of(value)
        return time is not None and cel.holds(rule, time, "time")
    return cel.holds(rule, value)


def _children(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Any, Schema, Path]]:
    """Value, schema and place of every part that the schema describes."""
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for name, child in value.items():
            described = known.get(name, rest)
            if isinstance(described, dict):
                yield child, described, (*path, name)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield item, schema["items"], (*path, index)
