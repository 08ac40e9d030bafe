"""`weir contract profile`: the reference that drift is measured from, made on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weir.cli.failure import UNREADABLE, CliError

if TYPE_CHECKING:
    from weir.api.contractcheck import ContractCheckStatus

KEY = "profile.json"
_STRUCTURE = frozenset({"present", "type", "table", "profile", "file"})
"""Rules that tell whether the data is that of the contract at all; without it, a profile of it is no reference."""
_TOLD = 8


def profile(
    data: Annotated[
        list[str],
        typer.Argument(metavar="[SERVER/][TABLE=]PATH...", help="Files, as for `check --data`."),
    ],
    *,
    contract: Annotated[str, typer.Option("--contract", "-c", "-f", help="File with the contract.")],
    config_map: Annotated[
        str,
        typer.Option(metavar="NAME", help="Write the manifest of a ConfigMap of this name instead of JSON."),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; by default standard output.")
    ] = (None),
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --output.")] = False,
) -> None:
    """Write the profile of data: counts, bins and frequent values, at most 100 KB.

    As `reference.configMapRef` of the DataContract, it is what drift is measured from. Of columns with a
    `classification` it holds no values: only counts, and the edges of bins rounded to three digits. Exit code 2: the
    data or the contract cannot be read, a column is missing or has another type, or the file is there already.
    """
    from weir.cli.contract_file import refuse_existing

    try:
        refuse_existing(output, force=force)
        written = made(contract, data, config_map)
        if output is None:
            typer.echo(written, nl=False)
        else:
            output.write_text(written, encoding="utf-8")
    except CliError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.code) from None
    except OSError as error:
        typer.echo(f"error: {output}: {error.strerror or error}", err=True)
        raise typer.Exit(UNREADABLE) from None


def made(contract: str, given: list[str], config_map: str) -> str:
    """The profile as JSON, or in the manifest of a ConfigMap.

    Raises:
        CliError: the contract or the data cannot be read.
    """
    from weir.cli.contract_file import named, read
    from weir.cli.contract_local import parse_data, planned, result

    if config_map:
        named("--config-map", config_map)
    found = read(contract)
    data = parse_data(given, found.revision().document)
    with planned(found, data, (), purpose="Reference") as plan:
        status = result(plan)
    if not status.profile:
        raise CliError(f"there is no profile: {status.message or 'the data cannot be read'}")
    _fits(status)
    _warn(status.profile)
    pretty = json.dumps(json.loads(status.profile), separators=(",", ":"), ensure_ascii=False)
    if not config_map:
        return pretty + "\n"
    from weir.cli.contract_yaml import yaml_text

    name = config_map
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"weir.dev/contract": found.name}},
        "data": {KEY: pretty},
    }
    head = f"# Use it in the DataContract {found.name}: reference: {{configMapRef: {{name: {name}, key: {KEY}}}}}\n"
    return head + yaml_text(manifest)


def _fits(status: ContractCheckStatus) -> None:
    """Refuses data that is not that of the contract: what has no profile is never compared.

    Raises:
        CliError: a column is missing or has another type, or there are no rows.
    """
    wrong = [
        found.message
        for found in status.results
        # The type of a column that is missing is unknown; that it is missing is told already.
        if found.rule in _STRUCTURE
        and (found.verdict == "Fail" or (found.verdict == "Unknown" and found.rule != "type"))
    ]
    if wrong:
        more = f" (and {len(wrong) - _TOLD} more)" if len(wrong) > _TOLD else ""
        raise CliError(
            f"the data is no reference for this contract: {'; '.join(wrong[:_TOLD])}{more}. Give data with all "
            "columns; where some are absent by intent, name a server whose environment excludes them: "
            "SERVER/TABLE=PATH"
        )


def _warn(text: str) -> None:
    """Says whose values are about to be shown to everybody who may read the profile."""
    from weir.cli.contract_draft import speaks_of_person
    from weir.contract.profile import Profile

    told: list[str] = []
    personal: list[str] = []
    for table, profile in Profile.from_json(text).tables.items():
        for name, column in profile.columns.items():
            if column.top:
                told.append(f"{table}.{name}")
                if speaks_of_person(name) or any("@" in value for value, _ in column.top):
                    personal.append(f"{table}.{name}")
    if told:
        doubt = f"; {', '.join(personal)} look{'s' if len(personal) == 1 else ''} personal" if personal else ""
        way = "set `classification: restricted` in the contract for columns whose values nobody may see"
        typer.echo(f"warning: the profile holds values of {', '.join(told)}{doubt}; {way}", err=True)
