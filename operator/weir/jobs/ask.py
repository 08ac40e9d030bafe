"""Asks a table all its checks: one query for all aggregates, and one each for what needs its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .outcome import Check, Outcome, Undecidable, unknown

MOST_AT_ONCE = 400
"""Aggregates in one query; engines need much longer to plan a query with thousands."""


@dataclass(frozen=True)
class Deadline:
    """The end of the time for all checks, in seconds of a monotonic clock."""

    at: float
    clock: Callable[[], float] = time.monotonic

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            Undecidable: there are none.
        """
        left = self.at - self.clock()
        if left <= 0:
            raise Undecidable("the time limit was reached: raise engine.timeout")
        return left


def ask(table: Any, rules: Iterable[Check | Outcome], deadline: Deadline, sampled: bool = False) -> Iterator[Outcome]:
    """The outcome of every rule; one that fails to be evaluated is Unknown and does not touch the others."""
    together: list[Check] = []
    for rule in rules:
        if isinstance(rule, Outcome):
            yield rule
        elif rule.alone:
            # What has a query of its own looks at every row.
            yield _finish(rule, _alone(rule.alone, deadline), deadline, sampled=False)
        else:
            together.append(rule)
    for batch in _batches(together):
        for check, values in _aggregates(table, batch, deadline):
            yield _finish(check, values, deadline, sampled)


def _batches(checks: Sequence[Check]) -> Iterator[list[Check]]:
    batch: list[Check] = []
    size = 0
    for check in checks:
        if batch and size + len(check.aggregates) > MOST_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(check)
        size += len(check.aggregates)
    if batch:
        yield batch


def _aggregates(
    table: Any, checks: Sequence[Check], deadline: Deadline
) -> Iterator[tuple[Check, tuple[Any, ...] | Exception]]:
    """Values of each check, in one query; where that fails, halves are asked until the broken ones stand alone."""
    # By operation: expressions themselves have no equality, it would be a new expression.
    names: dict[Any, str] = {}
    wanted: dict[str, Any] = {}
    for expression in (expression for check in checks for expression in check.aggregates):
        name = names.setdefault(expression.op(), f"a{len(names)}")
        wanted[name] = expression
    try:
        answers = dict(zip(wanted, _row(table.aggregate(**wanted), deadline), strict=True))
    except Exception as error:
        if len(checks) == 1 or _hopeless(error):
            yield from ((check, error) for check in checks)
            return
        middle = len(checks) // 2
        yield from _aggregates(table, checks[:middle], deadline)
        yield from _aggregates(table, checks[middle:], deadline)
        return
    for check in checks:
        yield check, tuple(answers[names[expression.op()]] for expression in check.aggregates)


def _hopeless(error: Exception) -> bool:
    """Whether fewer questions would fail as well: the time is over, or the server is gone."""
    return isinstance(error, Undecidable) or type(error).__name__ in {"InterruptException", "OperationalError"}


def _row(table: Any, deadline: Deadline) -> tuple[Any, ...]:
    deadline.left()
    rows = table.to_pyarrow().to_pylist()
    if len(rows) != 1:
        raise Undecidable(f"the query gave {len(rows)} rows instead of one")
    return tuple(rows[0].values())


def _alone(tables: Sequence[Any], deadline: Deadline) -> tuple[Any, ...] | Exception:
    try:
        first, *more = (_row(table, deadline) for table in tables)
        return (
            tuple(map(sum, zip(*([value or 0 for value in row] for row in (first, *more)), strict=True)))
            if more
            else first
        )
    except Exception as error:
        return error


def _finish(check: Check, values: tuple[Any, ...] | Exception, deadline: Deadline, sampled: bool) -> Outcome:
    if isinstance(values, Exception):
        return unknown(check.outcome, values)
    try:
        outcome = check.judge(values)
        if sampled and outcome.verdict in {"Fail", "Warn"}:
            outcome = replace(outcome, message=f"{outcome.message} (in a sample of the rows)")
        if check.samples is None or outcome.verdict not in {"Fail", "Warn"}:
            return outcome
    except Exception as error:
        return unknown(check.outcome, error)
    try:
        deadline.left()
        found = check.samples.to_pyarrow()["value"].to_pylist()
    except Exception:
        return outcome  # The verdict stands without its samples.
    return replace(outcome, samples=tuple(str(value) for value in found))
