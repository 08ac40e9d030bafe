"""What rules find: outcomes, how they are said, and the errors that make a rule Unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weir.api.contractcheck import RuleResult
from weir.api.datacontractstatus import CheckVerdict

WORST_FIRST: tuple[CheckVerdict, ...] = ("Fail", "Unknown", "Warn", "Pass")

_EXPLAINED = {
    "BinderException",
    "CatalogException",
    "ParserException",
    "SyntaxException",
    "SyntaxError",
    "UndefinedColumn",
    "UndefinedTable",
    "UndefinedFunction",
    "InsufficientPrivilege",
    "OperationNotDefinedError",
    "UnsupportedOperationError",
    "UnsupportedBackendType",
    "SignatureValidationError",
}
"""Errors whose text speaks of names and types only, never of values."""

_NOT_CONVERTED = "a value could not be converted, such as a text to a number; a query must answer with one number"
_UNREADABLE = frozenset({"InvalidInputException", "IOException", "SerializationException", "Error"})
"""What DuckDB raises over a damaged file, besides other things."""
MAYBE_DAMAGED = "the engine cannot work with a value, or a file is damaged"

_MEANINGS = {
    "OutOfMemoryException": "memory ran out: raise the memory limit in engine.resources, or the space for spilling",
    "InterruptException": "the time limit was reached: raise engine.timeout",
    "ConversionException": _NOT_CONVERTED,
    "InvalidTextRepresentation": _NOT_CONVERTED,
    "OperationalError": "the server cannot be reached, or refused the login",
    "ConnectionTimeout": "the server did not answer in time",
    "QueryCanceled": "the time limit was reached: raise engine.timeout",
    "MemoryError": "memory ran out: raise the memory limit in engine.resources",
    "PermissionException": "it reads something outside the data of the contract",
    "PermissionError": "the file may not be read",
    "NoTable": "the server has no such table",
}


NO_COLUMN = "the column is missing in the data"
"""Why a rule of a column that is not there is Unknown."""


class Undecidable(Exception):
    """A rule cannot be judged; the message says why, without values of the data."""


class Unreadable(Undecidable):
    """A file is damaged or is not of its format; the message names it."""


class NoTable(Exception):
    """The engine has no such table."""


_KIND = re.compile(r"^\w+ Error: ")
"""What DuckDB puts before its messages."""


def maybe_damaged(error: BaseException) -> bool:
    """Whether DuckDB may have met a damaged file."""
    return "duckdb" in type(error).__module__ and type(error).__name__ in _UNREADABLE


def reason(error: BaseException) -> str:
    """Why a rule could not be judged, in a few words: no values, no credentials."""
    if isinstance(error, Undecidable):
        return str(error)
    if maybe_damaged(error):
        return MAYBE_DAMAGED
    for kind in type(error).__mro__:
        if kind.__name__ in _MEANINGS:
            return _MEANINGS[kind.__name__]
    name = type(error).__name__
    if name in _EXPLAINED and str(error).strip():
        said = _KIND.sub("", str(error).strip().splitlines()[0])
        return f"the engine refuses it: {said[:200]}"
    return f"the engine reported {name}"


@dataclass(frozen=True)
class Outcome:
    """What one rule found. ``expected``, ``observed`` and ``message`` are for people."""

    rule: str
    verdict: CheckVerdict = "Pass"
    table: str = ""
    column: str = ""
    name: str = ""
    expected: str = ""
    observed: str = ""
    message: str = ""
    samples: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """``TABLE.COLUMN``, or what of it there is."""
        return ".".join(part for part in (self.table, self.column) if part)

    def result(self, server: str) -> RuleResult:
        """As the ContractCheck holds it; long texts are cut."""
        return RuleResult(
            server=server,
            table=self.table[:253],
            column=self.column[:253],
            rule=self.rule[:253],
            name=self.name[:253],
            verdict=self.verdict,
            expected=self.expected[:1024],
            observed=self.observed[:1024],
            message=self.message[:1024],
            samples=[sample[:253] for sample in self.samples[:20]] or None,
        )


def unknown(outcome: Outcome, error: BaseException | str) -> Outcome:
    """The rule of ``outcome`` as Unknown, with the reason."""
    why = error if isinstance(error, str) else reason(error)
    subject = f"{outcome.place}: " if outcome.place else ""
    return replace(
        outcome,
        verdict="Unknown",
        message=f"{subject}the rule {outcome.name or outcome.rule} could not be checked: {why}",
    )


Judge = Callable[[Sequence[Any]], Outcome]
"""Makes an outcome of the values of a check, in the order of its expressions."""


@dataclass(frozen=True)
class Check:
    """One rule as a question to a table.

    ``outcome`` names the rule. ``aggregates`` are ibis reductions, asked with those of all other checks in one query;
    ``alone`` are ibis tables of one row instead, for what needs queries of its own: their rows are added up. ``judge``
    gets the values.
    ``samples`` is an ibis table with one column of values that break the rule, None where they must not be shown.
    """

    outcome: Outcome
    judge: Judge
    aggregates: tuple[Any, ...] = ()
    alone: tuple[Any, ...] = ()
    samples: Any = None


@dataclass
class Report:
    """Outcomes of one server, collected while it is checked."""

    server: str
    outcomes: list[Outcome] = field(default_factory=list)
    rows: int = 0
    dataset: str = ""

    def worst(self) -> CheckVerdict:
        """The worst verdict; Unknown where nothing was checked."""
        found = {outcome.verdict for outcome in self.outcomes}
        return next((verdict for verdict in WORST_FIRST if verdict in found), "Unknown")

    def count(self, verdict: CheckVerdict) -> int:
        """How many rules came out so."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)


def number(value: Any) -> str:
    """A number for people: at most six significant digits, whole numbers whole."""
    return (
        format(value, ".6g") if isinstance(value, float) and not value.is_integer() else str(value).removesuffix(".0")
    )
