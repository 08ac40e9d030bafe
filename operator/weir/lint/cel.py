"""Evaluates the CEL rules of our schemas: the API server's language, without an API server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

from cel_expr_python import cel

Self = Literal["any", "time"]
"""What ``self`` is: JSON, or a point in time (a datetime in UTC)."""

TRANSITION = "oldSelf"
"""A rule that names it compares with what is stored; there is nothing stored here."""

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
"""Stands for all times before it: the engine does not take the first ones, and rules look at later years only."""


class RuleError(Exception):
    """The rule could not be evaluated on this object; the message is the engine's."""


def _is_sorted(values: Sequence[Any]) -> bool:
    return all(left <= right for left, right in pairwise(values))


def _extensions() -> list[Any]:
    """Functions that Kubernetes adds to CEL, as far as our rules use them."""
    member = cel.Overload(
        "list_is_sorted",
        return_type=cel.Type.BOOL,
        parameters=[cel.Type.List(cel.Type.DYN)],
        is_member=True,
        impl=_is_sorted,
    )
    return [cel.FunctionDecl("isSorted", [member])]


@lru_cache(maxsize=2)
def _environment(what: Self) -> Any:
    return cel.NewEnv(
        variables={"self": cel.Type.TIMESTAMP if what == "time" else cel.Type.DYN}, functions=_extensions()
    )


@lru_cache(maxsize=1024)
def _compiled(expression: str, what: Self) -> Any:
    try:
        return _environment(what).compile(expression)
    except RuntimeError as error:
        raise RuleError(str(error)) from error


def holds(expression: str, value: Any, what: Self = "any") -> bool:
    """Whether the rule holds for ``self``. Raises RuleError when it cannot be told."""
    result = _compiled(expression, what).eval(data={"self": value})
    answer = result.value()
    if not isinstance(answer, bool):
        raise RuleError(str(answer))
    return answer


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern (RE2, as in the API server) is found in the text."""
    return holds("self.text.matches(self.pattern)", {"text": text, "pattern": pattern})
