"""Rules over the metrics of the checks, in CEL: compiled here, so that what is accepted can also be evaluated."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cel_expr_python import cel

METRICS = "metrics"
"""The one variable of a rule: ``metrics.OBJECT.METRIC``, and ``metrics.OBJECT.METRIC.PROPERTY``."""


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
