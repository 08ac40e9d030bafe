"""CEL with one variable: compiled here, so that what is accepted can also be evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

_QUOTED = r"""(?:"[^"\\]*"|'[^'\\]*')"""
_STEP = rf"""\s*(?:\.\s*\w+(?!\w*\s*\()|\[\s*{_QUOTED}\s*\])"""
"""One step into a map; a name before a bracket is a function."""
_NAME = re.compile(rf"""\w+|{_QUOTED}""")


class RuleError(Exception):
    """The expression cannot be compiled or evaluated; the message is one line."""


@lru_cache(maxsize=8)
def _environment(variable: str) -> Any:
    return cel.NewEnv(variables={variable: cel.Type.DYN})


@lru_cache(maxsize=8)
def _named(variable: str) -> re.Pattern[str]:
    return re.compile(rf"""(?<![\w.]){variable}(?P<steps>(?:{_STEP})*)|{_QUOTED}""")


@lru_cache(maxsize=1024)
def compiled(expression: str, variable: str) -> Any:
    """The compiled expression.

    Raises:
        RuleError: it is no CEL, names something else than ``variable``, or cannot be true or false.
    """
    try:
        rule = _environment(variable).compile(expression)
    except RuntimeError as error:
        raise RuleError(_one_line(str(error))) from None
    if rule.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise RuleError(f"must be true or false, and is of type {rule.return_type()}")
    return rule


def paths(expression: str, variable: str) -> Iterator[tuple[str, ...]]:
    """What an expression names of ``variable``, such as ``("orders", "nullRatio")``; texts in quotes are no names.

    A path ends where the expression computes the next step.
    """
    for found in _named(variable).finditer(expression):
        steps = tuple(step.strip("\"'") for step in _NAME.findall(found["steps"] or ""))
        if steps:
            yield steps


def is_path(expression: str, variable: str) -> bool:
    """Whether the expression is nothing but a path, so no condition."""
    found = _named(variable).fullmatch(expression.strip())
    return found is not None and bool(found["steps"])


def holds(expression: str, variable: str, value: Any) -> bool:
    """Whether the expression holds for a value of JSON types.

    Raises:
        RuleError: it cannot be told, for example because it names what is not there, or takes too many steps.
    """
    try:
        answer = compiled(expression, variable).eval(data={variable: value}).value()
    except RuntimeError as error:
        # The engine stops an expression that goes round too often.
        raise RuleError(_one_line(str(error))) from None
    if not isinstance(answer, bool):
        raise RuleError(_one_line(str(answer)))
    return answer


def _one_line(message: str) -> str:
    """What the engine says, without the picture of the expression below it."""
    first = message.splitlines()[0]
    return first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: <input>:")
