"""Rules over the metrics of the checks, in CEL: compiled here, so that what is accepted can also be evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

METRICS = "metrics"
"""The one variable of a rule: ``metrics.OBJECT.METRIC``, and ``metrics.OBJECT.METRIC.PROPERTY``."""

TABLE_METRICS = ("rowCount",)
"""Metrics of a table, as ``metrics.OBJECT.NAME``."""
COLUMN_METRICS = ("nullCount", "nullRatio", "distinct", "min", "max", "mean")
"""Metrics of a property, as ``metrics.OBJECT.NAME.PROPERTY``."""
_NUMBERS = frozenset(COLUMN_METRICS) - {"min", "max"}

_QUOTED = r"""(?:"[^"\\]*"|'[^'\\]*')"""
_STEP = rf"""\s*(?:\.\s*\w+(?!\w*\s*\()|\[\s*{_QUOTED}\s*\])"""
"""One step into a map; a name before a bracket is a function."""
_NAMED = re.compile(rf"""(?<![\w.])metrics(?P<steps>(?:{_STEP})*)|{_QUOTED}""")
_NAME = re.compile(rf"""\w+|{_QUOTED}""")


class RuleError(Exception):
    """The rule cannot be compiled or evaluated; the message is one line."""


@lru_cache(maxsize=1)
def _environment() -> Any:
    return cel.NewEnv(variables={METRICS: cel.Type.DYN})


@lru_cache(maxsize=512)
def compiled(expression: str) -> Any:
    """The compiled rule.

    Raises:
        RuleError: it is no CEL, names something else than ``metrics``, or cannot be true or false.
    """
    try:
        rule = _environment().compile(expression)
    except RuntimeError as error:
        raise RuleError(_one_line(str(error))) from None
    if rule.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise RuleError(f"must be true or false, and is of type {rule.return_type()}")
    return rule


def metric_paths(expression: str) -> Iterator[tuple[str, ...]]:
    """What a rule names of ``metrics``, such as ``("orders", "nullRatio", "email")``; texts in quotes are no names.

    A path ends where the rule computes the next step.
    """
    for found in _NAMED.finditer(expression):
        steps = tuple(step.strip("\"'") for step in _NAME.findall(found["steps"] or ""))
        if steps:
            yield steps


def is_number(expression: str) -> bool:
    """Whether the rule is nothing but a metric that is a number, so no condition."""
    found = _NAMED.fullmatch(expression.strip())
    names = next(metric_paths(expression), ()) if found is not None else ()
    return (len(names) == 2 and names[1] in TABLE_METRICS) or (len(names) == 3 and names[1] in _NUMBERS)


def holds(expression: str, metrics: Any) -> bool:
    """Whether the rule holds.

    Raises:
        RuleError: it cannot be told, for example because it names a metric that was not measured.
    """
    answer = compiled(expression).eval(data={METRICS: metrics}).value()
    if not isinstance(answer, bool):
        raise RuleError(_one_line(str(answer)))
    return answer


def _one_line(message: str) -> str:
    """What the engine says, without the picture of the expression below it."""
    first = message.splitlines()[0]
    return first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: <input>:")
