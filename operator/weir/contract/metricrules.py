"""Rules over the metrics of the checks, in CEL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weir.contract import cel

METRICS = "metrics"
"""The one variable of a rule: ``metrics.OBJECT.METRIC``, and ``metrics.OBJECT.METRIC.PROPERTY``."""

TABLE_METRICS = ("rowCount",)
"""Metrics of a table, as ``metrics.OBJECT.NAME``."""
COLUMN_METRICS = ("nullCount", "nullRatio", "distinct", "min", "max", "mean")
"""Metrics of a property, as ``metrics.OBJECT.NAME.PROPERTY``."""
_NUMBERS = frozenset(COLUMN_METRICS) - {"min", "max"}


def compiled(expression: str) -> Any:
    """The compiled rule.

    Raises:
        RuleError: it is no CEL, names something else than ``metrics``, or cannot be true or false.
    """
    return cel.compiled(expression, METRICS)


def metric_paths(expression: str) -> Iterator[tuple[str, ...]]:
    """What a rule names of ``metrics``, such as ``("orders", "nullRatio", "email")``; texts in quotes are no names.

    A path ends where the rule computes the next step.
    """
    return cel.paths(expression, METRICS)


def is_number(expression: str) -> bool:
    """Whether the rule is nothing but a metric that is a number, so no condition."""
    names = next(metric_paths(expression), ()) if cel.is_path(expression, METRICS) else ()
    return (len(names) == 2 and names[1] in TABLE_METRICS) or (len(names) == 3 and names[1] in _NUMBERS)


def holds(expression: str, metrics: Any) -> bool:
    """Whether the rule holds.

    Raises:
        RuleError: it cannot be told, for example because it names a metric that was not measured.
    """
    return cel.holds(expression, METRICS, metrics)
