"""A backtest's report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from weir.api.base import format_time
from weir.backtest.report import Rate, Report, Result, duration


def show(report: Report, console: Console) -> None:
    """Prints the report."""
    console.print(Group(*_parts(report)))


def _parts(report: Report) -> Iterator[RenderableType]:
    past = report.past
    yield Text(f"Backtest of Rollout {report.rollout}", style="bold")
    windows = f"{past.windows} windows of {past.width:g} s, {_day(past.start)} to {_day(past.end)}"
    traffic = f"up to {past.pods} pods, {past.rate:.3g} requests a second, {past.share * 100:.3g} % bad"
    yield Text(f"{report.releases} pseudo releases{_regressed(report)} on {windows}: {traffic}")
    played = ", ".join(f"{s.weight} % by {s.candidate} of {s.pods} pods" for s in report.stages)
    yield Text(f"Pods of the stable version played the candidate: {played}")
    for gate, why in report.skipped.items():
        yield Text(f"Not played: gate {gate}: {why}", style="yellow")
    yield Text()
    yield _results(report)
    yield Text()
    yield _waits(report)


def _regressed(report: Report) -> str:
    fewer = {result.rolled_back.n for result in report.regressions} - {report.releases}
    return f" ({', '.join(map(str, sorted(fewer)))} with each regression)" if fewer else ""


def _results(report: Report) -> Table:
    table = Table(title="What the gates would have done (in brackets: 95 % interval)", title_justify="left")
    for heading in ("candidate", "rolled back", "promoted", "held"):
        table.add_column(heading)
    for heading in ("after", "requests", "bad, slow"):
        table.add_column(heading, justify="right")
    for result in (report.harmless, *report.regressions):
        table.add_row(*_row(result), style=None if result.regression else "bold")
    policies = sum(result.by_policy.hits for result in (report.harmless, *report.regressions))
    notes = (
        "after: median time, of a good candidate until promoted, else until rolled back; then its requests till then"
    )
    table.caption = notes + (
        f"\n{policies} more were rolled back by policy, without a Pass in time" if policies else ""
    )
    table.caption_justify = "left"
    return table


def _row(result: Result) -> tuple[str, ...]:
    after = result.seconds_to_roll_back if result.regression else result.seconds_to_promote
    return (
        result.regression or "as good",
        _share(result.rolled_back),
        _share(result.promoted),
        f"{result.undecided.share * 100:.0f} %",
        duration(after),
        _count(result.requests_to_roll_back),
        _count(result.harmed_to_roll_back),
    )


def _share(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.share * 100:.3g} % ({low * 100:.0f}–{high * 100:.0f})"


def _waits(report: Report) -> Table:
    table = Table(title="How long a good candidate waits for a Pass, at the stage's own weight", title_justify="left")
    for heading in ("stage", "gate"):
        table.add_column(heading)
    for heading in ("half", "90 %", "maxWait"):
        table.add_column(heading, justify="right")
    table.add_column("fits")
    for wait in report.waits:
        times = (duration(wait.median), duration(wait.ninety), duration(wait.longest))
        table.add_row(wait.stage, wait.gate, *times, "yes" if wait.fits else "[red]no[/red]")
    return table


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _day(at: float) -> str:
    return format_time(at)[:16].replace("T", " ")
