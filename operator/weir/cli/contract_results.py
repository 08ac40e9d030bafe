"""What a check found, for people, for programs, and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weir.cli.failure import REFUSED, WAITS

if TYPE_CHECKING:
    from weir.cli.printing import Printer
    from weir.contract.finding import Finding

CODES = {"Pass": 0, "Warn": 0, "Fail": REFUSED, "Unknown": WAITS}
"""Exit codes: an unknown verdict is none, so somebody has to look."""

_STYLES = {"Pass": "green", "Warn": "yellow", "Fail": "red", "Unknown": "yellow"}
_COLUMNS = ("VERDICT", "SERVER", "TABLE", "COLUMN", "RULE", "OBSERVED", "EXPECTED", "MESSAGE")
_SERVER = _COLUMNS.index("SERVER")


def show(printer: Printer, check: Mapping[str, Any]) -> int:
    """Prints a ContractCheck that has a result; returns the exit code."""
    status: Mapping[str, Any] = check.get("status") or {}
    verdict = str(status.get("verdict") or "Unknown")
    if not printer.text:
        metadata = {key: value for key, value in (check.get("metadata") or {}).items() if key != "managedFields"}
        printer.data({**check, "metadata": metadata})
        return CODES.get(verdict, WAITS)
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text.assemble((verdict, f"bold {_STYLES.get(verdict, '')}".strip()), f": {headline(status)}")]
    for server in status.get("servers") or ():
        parts.append(Text(f"  {_server(server)}"))
    results = status.get("results") or ()
    if results:
        parts += [Text(""), _table(results)]
    printer.show(Group(*parts))
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
    return f"of {total} rules {', '.join(told)}"


_COUNTED = {"passed": "passed", "failed": "failed", "unknown": "could not be checked", "warned": "warned"}


def _server(server: Mapping[str, Any]) -> str:
    rows = int(server.get("rows") or 0)
    counted = f"{rows:,} row{'' if rows == 1 else 's'}"
    return f"{server.get('name')}: {server.get('verdict')}, {server.get('passed') or 0} rules passed, {counted}"


def _table(results: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    rows = [_cells(result) for result in results]
    # A column that says nothing takes room from those that do.
    kept = [place for place, _ in enumerate(_COLUMNS) if any(row[place] != "-" for row in rows)]
    if len({row[_SERVER] for row in rows}) == 1:
        kept.remove(_SERVER)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in kept:
        table.add_column(_COLUMNS[place], overflow="fold", no_wrap=_COLUMNS[place] == "VERDICT")
    for row in rows:
        table.add_row(*(row[place] for place in kept), style=_STYLES.get(row[0], ""))
    return table


def _cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    named = str(result.get("name") or "")
    rule = str(result.get("rule") or "-")
    samples = result.get("samples") or ()
    message = str(result.get("message") or "")
    shown = f"{message} (such as {', '.join(map(str, samples))})" if samples else message
    return (
        str(result.get("verdict") or "-"),
        str(result.get("server") or "-"),
        str(result.get("table") or "-"),
        str(result.get("column") or "-"),
        f"{rule} ({named})" if named else rule,
        str(result.get("observed") or "-"),
        str(result.get("expected") or "-"),
        shown or "-",
    )


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
