"""`weir contract`: what contracts promise, whether data keeps it, and what a change would break.

Engines and validators are imported by the command that needs them: `weir --help` knows none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir.cli.contract_check import check
from weir.cli.contract_diff import diff
from weir.cli.contract_explain import explain
from weir.cli.contract_init import init
from weir.cli.contract_profile import profile
from weir.cli.failure import CliError

contract = typer.Typer(
    name="contract",
    help="Data contracts: write one from data, check data against it, see what a change breaks.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (check, diff, explain, init, profile):
    contract.command()(_command)


@contract.command()
def digest(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File with the contract; - reads standard input.")],
    name: Annotated[str, typer.Option(help="Name of the DataContract, if the file holds several.")] = "",
) -> None:
    """Print NAME@sha256:…, as a ModelVersion pins a contract."""
    from weir.cli.contract_file import read

    try:
        typer.echo(read(file, name).revision().pin)
    except CliError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.code) from None


@contract.command(hidden=True)
def run(
    plan: Annotated[Path, typer.Option(help="File that says what to check.")],
) -> None:
    """Check data as a plan says and write the result to the ContractCheck; what the check pod does."""
    from weir.jobs.main import main

    raise typer.Exit(main(plan))
