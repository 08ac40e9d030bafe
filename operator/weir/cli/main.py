"""Commands of the image. Everything heavy is imported by the command that needs it: `fetch` starts with every pod."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from weir import __version__
from weir.cli.backtest import backtest
from weir.cli.replay import replay

app = typer.Typer(
    name="weir",
    help="Progressive delivery for machine-learning models on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(backtest)
app.command()(replay)


@app.command()
def operator() -> None:
    """Run the operator until it is told to stop."""
    from weir.controller.main import run

    raise SystemExit(run())


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def fetch(
    uri: Annotated[str, typer.Option(help="Address of the weights: http(s)://, s3://, oci:// or pvc://.")],
    digest: Annotated[str, typer.Option(help="Digest that they must have, sha256:…")],
    dest: Annotated[Path, typer.Option(help="Folder to bring them to.")],
    source: Annotated[Path, typer.Option(help="Where the claim of a pvc:// address is mounted.")] = Path("/mnt/source"),
    termination_log: Annotated[Path, typer.Option(help="File for the last words, if it exists.")] = Path(
        "/dev/termination-log"
    ),
) -> None:
    """Bring weights into a folder, and check them.

    Exit codes: 3 wrong digest, 4 not found, 5 unreachable, 6 invalid, 7 forbidden.
    """
    from weir.workload.fetch import ArtifactError
    from weir.workload.fetch import fetch as bring

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        bring(uri, digest, dest, os.environ, source)
    except ArtifactError as exc:
        _last_words(str(exc), termination_log)
        raise typer.Exit(exc.exit_code) from exc


def _last_words(message: str, termination_log: Path) -> None:
    """Say it where Kubernetes shows it; the log's end is its fallback."""
    typer.echo(message, err=True)
    if termination_log.exists():
        termination_log.write_text(message)


if __name__ == "__main__":
    app()
