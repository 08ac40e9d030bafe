"""What a check found, for people, for programs, and as an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weir.cli.failure import REFUSED, UNREADABLE, WAITS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

    from weir.cli.printing import Printer
    from weir.contract.finding import Finding

CODES = {"Pass": 0, "Warn": 0, "Fail": REFUSED, "Unknown": WAITS}
"""Exit codes: an unknown verdict is none, so somebody has to look."""

_STYLES = {"Pass": "green", "Warn": "yellow", "Fail": "red", "Unknown": "yellow"}
_COLUMNS = ("VERDICT", "SERVER", "TABLE", "COLUMN", "RULE", "OBSERVED", "EXPECTED", "MESSAGE")
_SERVER = _COLUMNS.index("SERVER")


_WIDEST = 10_000
_UNREADABLE_RULE = "file"
"""Rule of a result that says that the data itself cannot be read."""
_WITH_SAMPLES = frozenset(
    (
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "enum",
        "format",
        "type",
        "unique",
        "invalidValues",
    )
)
"""Rules that single values of a column break."""
_NO_SAMPLES = (
    "Values that break a rule are not shown. To see some, set spec.engine.failingSamples, such as 5, in the contract; "
    "those of a column with a classification stay hidden."
)


def show(printer: Printer, check: Mapping[str, Any]) -> int:
    """Prints a ContractCheck that has a result; returns the exit code."""
    status: Mapping[str, Any] = check.get("status") or {}
    verdict = str(status.get("verdict") or "Unknown")
    if not printer.text:
        metadata = {key: value for key, value in (check.get("metadata") or {}).items() if key != "managedFields"}
        printer.data({**check, "metadata": metadata})
        return _code(status, verdict)
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text.assemble((verdict, f"bold {_STYLES.get(verdict, '')}".strip()), f": {headline(status)}")]
    for server in status.get("servers") or ():
        parts.append(Text(f"  {_server(server)}"))
    results = status.get("results") or ()
    if results:
        parts += [Text(""), _Results(results)]
        if any(_may_have_samples(result) for result in results):
            parts += [Text(""), Text(_NO_SAMPLES)]
    printer.show(Group(*parts))
    return _code(status, verdict)


def _code(status: Mapping[str, Any], verdict: str) -> int:
    if verdict == "Unknown" and any(result.get("rule") == _UNREADABLE_RULE for result in status.get("results") or ()):
        return UNREADABLE
    return CODES.get(verdict, WAITS)


def headline(status: Mapping[str, Any]) -> str:
    """What came out, in one sentence."""
    counts = {key: sum(int(s.get(key) or 0) for s in status.get("servers") or ()) for key in _COUNTED}
    total = sum(counts.values())
    if not total:
        return str(status.get("message") or "nothing was checked")
    told = [f"{counts[key]} {words}" for key, words in _COUNTED.items() if counts[key] and key != "passed"]
    if not told:
        return "the rule passed" if total == 1 else f"all {total} rules passed"
    return f"of {total} rules {', '.join(told)}" if total > 1 else f"the rule {told[0].removeprefix('1 ')}"


_COUNTED = {"passed": "passed", "failed": "failed", "unknown": "could not be checked", "warned": "warned"}


def _server(server: Mapping[str, Any]) -> str:
    rows = int(server.get("rows") or 0)
    counted = f"{rows:,} row{'' if rows == 1 else 's'}"
    return f"{server.get('name')}: {server.get('verdict')}, {server.get('passed') or 0} rules passed, {counted}"


class _Results:
    """The results as a table where it has room without folding, else as one block a result."""

    def __init__(self, results: Sequence[Mapping[str, Any]]) -> None:
        self._results = results
        self._table = _table(results)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement.get(console, options, self._table)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement

        wide = options.update_width(_WIDEST)
        if Measurement.get(console, wide, self._table).maximum <= options.max_width:
            yield self._table
            return
        several = len({result.get("server") for result in self._results}) > 1
        for result in self._results:
            yield from _block(result, several)


def _table(results: Sequence[Mapping[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    rows = [_cells(result) for result in results]
    # A column that says nothing takes room from those that do.
    kept = [place for place, _ in enumerate(_COLUMNS) if any(row[place] != "-" for row in rows)]
    if len({row[_SERVER] for row in rows}) == 1 and _SERVER in kept:
        kept.remove(_SERVER)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in kept:
        table.add_column(_COLUMNS[place], overflow="fold", no_wrap=_COLUMNS[place] == "VERDICT")
    for row in rows:
        table.add_row(*(Text(cell) for cell in (row[place] for place in kept)), style=_STYLES.get(row[0], ""))
    return table


def _block(result: Mapping[str, Any], several: bool) -> Iterator[RenderableType]:
    """One result: where and which rule in the first line, then what is wrong."""
    from rich.padding import Padding
    from rich.text import Text

    verdict = str(result.get("verdict") or "-")
    named = _rule(result)
    where = f"{result.get('server')}: {_place(result)}" if several else _place(result)
    yield Text.assemble((verdict, _STYLES.get(verdict, "")), "  ", (where, "bold"), "  " if where else "", named)
    told = _message(result) or f"{result.get('observed') or '-'}; expected {result.get('expected') or '-'}"
    yield Padding(Text(told + _such_as(result)), (0, 0, 0, 4))


def _cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    observed, expected = str(result.get("observed") or ""), str(result.get("expected") or "")
    message = _message(result)
    if observed and expected and message == f"{observed}; the contract requires {expected}":
        message = ""  # Both have a column of their own.
    return (
        str(result.get("verdict") or "-"),
        str(result.get("server") or "-"),
        str(result.get("table") or "-"),
        str(result.get("column") or "-"),
        _rule(result),
        observed or "-",
        expected or "-",
        f"{message}{_such_as(result)}".strip() or "-",
    )


def _rule(result: Mapping[str, Any]) -> str:
    rule, named = str(result.get("rule") or "-"), str(result.get("name") or "")
    return f"{rule} ({named})" if named else rule


def _place(result: Mapping[str, Any]) -> str:
    return ".".join(str(result[key]) for key in ("table", "column") if result.get(key))


def _message(result: Mapping[str, Any]) -> str:
    """The message without what stands before it: the place and the name of the rule."""
    message = str(result.get("message") or "")
    if place := _place(result):
        message = message.removeprefix(f"{place}: ")
    called = result.get("name") or result.get("rule")
    return message.removeprefix(f"the rule {called} ")


def _such_as(result: Mapping[str, Any]) -> str:
    samples = result.get("samples") or ()
    return f" (such as {', '.join(map(str, samples))})" if samples else ""


def _may_have_samples(result: Mapping[str, Any]) -> bool:
    if result.get("verdict") not in ("Fail", "Warn") or result.get("samples"):
        return False
    return result.get("rule") in _WITH_SAMPLES and " rows " in str(result.get("observed") or "")


def show_findings(printer: Printer, found: Sequence[Finding], what: str) -> int:
    """Prints how a model's signature and a contract differ; returns the exit code."""
    failed = [finding for finding in found if finding.judgement == "Fail"]
    verdict = "Fail" if failed else "Warn" if found else "Pass"
    if not printer.text:
        from dataclasses import asdict

        printer.data({"verdict": verdict, "findings": [asdict(finding) for finding in found]})
        return CODES[verdict]
    from rich.console import Group
    from rich.text import Text

    said = {"Pass": f"{what} fits the contract", "Warn": f"{what} fits, as far as the contract says"}.get(
        verdict, f"{what} does not fit the contract"
    )
    parts: list[Any] = [Text.assemble((verdict, f"bold {_STYLES[verdict]}"), f": {said}")]
    parts += [Text(f"  - {finding.message}") for finding in found]
    printer.show(Group(*parts))
    return CODES[verdict]
