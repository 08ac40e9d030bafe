"""`weir backtest`: what a Rollout's gates would have done in its own past, before anything is applied."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from weir.cli.failure import UNREADABLE

if TYPE_CHECKING:
    from weir.backtest.gather import Where
    from weir.backtest.history import History
    from weir.backtest.manifest import Manifest
    from weir.backtest.report import Report


def backtest(
    *,
    file: Annotated[str, typer.Option("--file", "-f", help="Manifest with the Rollout; - reads standard input.")],
    name: Annotated[str, typer.Option(help="Name of the Rollout, if the file holds several.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace; by default the manifest's.")] = "",
    since: Annotated[str, typer.Option(help="How far back to look, such as 30d or 12h.")] = "30d",
    prometheus: Annotated[str, typer.Option(help="URL of the Prometheus; by default the Rollout's.")] = "",
    pods: Annotated[
        list[str] | None, typer.Option(help="Regular expression of the pods' names; by default the Rollout's own.")
    ] = None,
    window: Annotated[str, typer.Option(help="Shortest window; at least two scrapes of Prometheus.")] = "30s",
    export: Annotated[Path | None, typer.Option(help="Write the counts to this file, too.")] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="Read the counts from such a file; no Prometheus is asked.")
    ] = None,
    releases: Annotated[int, typer.Option(min=1, max=10000, help="Pseudo releases of each kind.")] = 200,
    regression: Annotated[
        list[str] | None,
        typer.Option(help="Regression to try: x1.5, +20%, errors:x5, latency:x2, or 5% of requests. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw the result into this file, such as result.svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Play the Rollout's gates over its past: false rollbacks to expect, regressions seen, time to a Pass.

    Only reads. Exit code 2: the Rollout or its past cannot be read.
    """
    from weir.backtest.gather import Where
    from weir.backtest.history import write
    from weir.backtest.injection import DEFAULT, Regression
    from weir.backtest.manifest import length_of, load
    from weir.backtest.plot import NoPlotError, draw
    from weir.backtest.run import run

    if export is not None and from_file is not None:
        _refuse("use one of --export and --from: what is read from a file is there already")
    try:
        rollout = load(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"), name)
        tried = [found for text in regression or DEFAULT for found in Regression.parse(text)]
        where = Where(
            rollout.name,
            namespace or rollout.namespace,
            length_of(since),
            time.time(),
            length_of(window),
            tuple(pods or ()),
        )
        history = _from_file(from_file) if from_file is not None else _asked(rollout, where, prometheus)
        if export is not None:
            with export.open("w", encoding="utf-8") as out:
                write(history, out)
        told = _progress if sys.stderr.isatty() else _silence
        report = run(
            rollout.name, rollout.spec, history, releases=releases, regressions=tried, seed=seed, progress=told
        )
        if plot is not None:
            draw(report, plot)
    except (ValueError, OSError, NoPlotError) as error:
        _refuse(str(error))
    _print(report, as_json)


def _from_file(path: Path) -> History:
    from weir.backtest.history import read

    with path.open(encoding="utf-8") as lines:
        return read(lines)


def _asked(rollout: Manifest, where: Where, prometheus: str) -> History:
    from weir.backtest.gather import gather
    from weir.backtest.ranges import PrometheusRanges

    source = rollout.spec.metrics.prometheus
    address = prometheus or (source.address if source is not None else "")
    if not address:
        _refuse("the Rollout reads no Prometheus; give its URL with --prometheus, or counts with --from")
    with PrometheusRanges(address) as ranges:
        return gather(ranges, rollout.spec, where)


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from weir.backtest.table import show

    show(report, Console())


def _progress(done: int, of: int) -> None:
    if done == of or done % 20 == 0:
        typer.echo(f"\r{done} of {of} pseudo releases" + ("\n" if done == of else ""), nl=False, err=True)


def _silence(_done: int, _of: int) -> None:
    """Nobody watches."""


def _refuse(why: str) -> NoReturn:
    typer.echo(f"weir backtest: {why}", err=True)
    raise typer.Exit(UNREADABLE)
