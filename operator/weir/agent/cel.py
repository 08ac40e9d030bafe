"""CEL of an AgentPolicy: conditions over ``signals`` of a Rollout, and over the ``object`` that a template made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weir.contract import cel
from weir.contract.cel import RuleError

Variable = Literal["signals", "object"]

_NO_KEY = re.compile(r'NOT_FOUND: Key not found in map : "([^"]*)"')
_CODE = re.compile(r"^[A-Z_]+: ")
"""What the engine calls the kind of an error, which says nothing to people."""


@dataclass(frozen=True)
class Answer:
    """What a condition comes to; ``holds`` is None where it cannot be told, and ``problem`` then says why."""

    holds: bool | None
    problem: str = ""


def ask(expression: str, variable: Variable, value: Mapping[str, Any]) -> Answer:
    """Whether the condition holds. What is not known, does not compile, or runs too long never holds."""
    try:
        return Answer(cel.holds(expression, variable, value))
    except RuleError as error:
        return Answer(None, _CODE.sub("", _NO_KEY.sub(r'"\1" is not known', str(error))))


def problem(expression: str, variable: Variable) -> str:
    """Why the condition is none, in a few words; empty where it is one."""
    try:
        cel.compiled(expression, variable)
    except RuleError as error:
        return str(error)
    return ""


def named(expression: str) -> tuple[tuple[str, ...], ...]:
    """The signals that a condition looks at, each once, in the order it names them."""
    return tuple(dict.fromkeys(cel.paths(expression, "signals")))
