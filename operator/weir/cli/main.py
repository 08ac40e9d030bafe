"""All commands. Everything heavy is imported by the command that needs it: `fetch` starts with every pod."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from weir import __version__
from weir.cli import act, agent_answer, look
from weir.cli.agent import agent
from weir.cli.backtest import backtest
from weir.cli.contract import contract
from weir.cli.lint import lint
from weir.cli.replay import replay

_PROGRAM = Path(sys.argv[0]).name
# kubectl completes its plugins in its own way; what `--install-completion` writes is for the name `weir`.
_PLUGIN = _PROGRAM.startswith("kubectl-")

app = typer.Typer(
    name="weir",
    help="Progressive delivery for machine-learning models on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=not _PLUGIN,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in (
    ("Look", (look.status, look.get, look.why, look.history)),
    (
        "Act",
        (
            act.release,
            act.approve,
            act.promote,
            act.abort,
            act.pause,
            act.resume,
            act.skip,
            act.shift,
            act.retry,
            act.rollback,
            act.drill,
            agent_answer.deny,
            agent_answer.override,
            agent_answer.withdraw,
        ),
    ),
    ("Check", (lint, backtest, replay)),
):
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(agent, rich_help_panel="Act")
app.add_typer(contract, rich_help_panel="Check")


@app.command(hidden=True)
def operator() -> None:
    """Run the operator until it is told to stop."""
    from weir.controller.main import run

    raise SystemExit(run())


@app.command(rich_help_panel="Check")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command(hidden=True)
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


def main() -> None:
    """Runs as `weir`, as the plugin `kubectl weir`, or as what completes that plugin's words."""
    if _PROGRAM.startswith("kubectl_complete"):
        from weir.cli.completion import for_kubectl

        for_kubectl(app)
        return
    app(prog_name="kubectl weir" if _PLUGIN else "weir")


if __name__ == "__main__":
    main()
