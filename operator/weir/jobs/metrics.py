"""Metrics of the tables, and the contract's own rules over them in CEL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from weir.api.datacontract import MetricRule
from weir.api.datacontractstatus import CheckVerdict
from weir.contract.cel import RuleError
from weir.contract.metricrules import COLUMN_METRICS, holds

from .checks import Look
from .nodes import Node, nodes
from .outcome import Check, Outcome, unknown

_WORD = re.compile(r"\w+")


def values_of(table: str, into: dict[str, Any]) -> dict[str, Any]:
    """Where the metrics of a table are put, in a dict of tables: by metric and column, but for ``rowCount``."""
    values: dict[str, Any] = into.setdefault(table, {name: {} for name in COLUMN_METRICS})
    return values


def checks(look: Look, rules: Sequence[MetricRule], exact: bool, into: dict[str, Any]) -> Iterator[Check]:
    """Questions for the metrics that the rules mention; answers are put ``into`` a dict of tables.

    A question has no outcome of its own: it passes, and what cannot be measured is missing for the rules.
    """
    words = {word for rule in rules for word in _WORD.findall(rule.cel)}
    if look.table.name not in words and not any(look.table.name in rule.cel for rule in rules):
        return
    values = values_of(look.table.name, into)
    yield _measure(look, ("rowCount",), look.rows.count(), values)
    for node in nodes(look.table, look.source):
        if isinstance(node, Outcome) or node.value is None or node.column.name not in words:
            continue
        for name, expression in _expressions(node, exact).items():
            if name in words:
                yield _measure(look, (name, node.column.name), expression, values)


def _expressions(node: Node, exact: bool) -> Mapping[str, Any]:
    value = node.value
    found = {"nullCount": value.isnull().sum(), "nullRatio": value.isnull().mean()}
    if not node.dtype.is_nested():
        found["distinct"] = value.nunique() if exact else value.approx_nunique()
        found |= {"min": value.min(), "max": value.max()}
    if node.dtype.is_numeric() and not node.dtype.is_boolean():
        found["mean"] = value.mean()
    return found


def _measure(look: Look, path: tuple[str, ...], expression: Any, values: dict[str, Any]) -> Check:
    outcome = Outcome(METRIC, table=look.table.name, column=path[-1] if len(path) > 1 else "", name=path[0])

    def judge(answers: Sequence[Any]) -> Outcome:
        place = values
        for step in path[:-1]:
            place = place[step]
        if answers[0] is not None:
            place[path[-1]] = _plain(answers[0])
        return outcome

    return Check(outcome, judge, (expression,))


METRIC = "metric"
"""Rule of the outcomes of `checks`, which are not rules of the contract."""


def _plain(value: Any) -> Any:
    """A value as CEL knows it."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _plainly(problem: str) -> str:
    """What the engine of CEL says, in words; values of the data are left out."""
    if missing := _NO_KEY.match(problem):
        what = f'"{missing[1]}" is no table, metric or column that was measured'
        return f"{what}; a rule reads metrics.TABLE.rowCount or metrics.TABLE.METRIC.COLUMN"
    if "o matching overload" in problem:
        return "it compares or computes with values of different types, such as a whole number and 0.5"
    if place := _AT.match(problem):
        return f"it is no CEL that can be read, from character {place[1]} on"
    if _STATUS.match(problem) or problem.startswith("must be"):
        return problem
    return "it is a value and no condition: compare it with something, as in `metrics.TABLE.rowCount > 0`"


_NO_KEY = re.compile(r'NOT_FOUND: Key not found in map : "([^"]*)"')
_AT = re.compile(r"\d+:(\d+): Syntax error")
_STATUS = re.compile(r"[A-Z_]+: |\d+:\d+: ")


def judge(rules: Sequence[MetricRule], metrics: Mapping[str, Any]) -> Iterator[Outcome]:
    """The outcome of every rule on these metrics; one that names what was not measured is Unknown."""
    for rule in rules:
        outcome = Outcome("rule", name=rule.name, expected=rule.cel)
        try:
            fulfilled = holds(rule.cel, metrics)
        except RuleError as error:
            yield unknown(outcome, _plainly(str(error))[:300])
            continue
        if fulfilled:
            yield outcome
            continue
        verdict: CheckVerdict = "Warn" if rule.severity == "Warning" else "Fail"
        message = f"rule {rule.name}: {rule.message} ({rule.cel} does not hold)"
        yield replace(outcome, verdict=verdict, observed="false", message=message)
