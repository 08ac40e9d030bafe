"""Why RE2, the matcher of checks, takes a pattern or does not."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cel_expr_python import cel

_PREFIX = "invalid regular expression: "


@lru_cache(maxsize=1)
def _matcher() -> Any:
    return cel.NewEnv(variables={"p": cel.Type.STRING}).compile("''.matches(p)")


@lru_cache(maxsize=1024)
def refusal(pattern: str) -> str:
    """What RE2 says of a pattern that it does not take, such as ``missing ]: [0-9``; empty for one that it takes."""
    # CEL's matches is RE2; the answer to a pattern that it cannot compile is an error instead of true or false.
    answer = _matcher().eval(data={"p": pattern}).value()
    return "" if isinstance(answer, bool) else str(answer).splitlines()[0].partition(_PREFIX)[2] or "it cannot be read"
