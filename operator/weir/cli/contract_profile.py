"""`weir contract profile`: the reference that drift is measured from, made on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from weir.cli.failure import UNREADABLE, CliError

KEY = "profile.json"


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
) -> None:
    """Write the profile of data: bins, nulls and top values, at most 100 KB, nothing of columns with a classification.

    As `reference.configMapRef` of the DataContract, it is what drift is measured from. Exit code 2: the data or the
    contract cannot be read.
    """
    try:
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
    from weir.cli.contract_file import object_name, read
    from weir.cli.contract_local import parse_data, planned, result

    found = read(contract)
    data = parse_data(given, found.revision().document)
    with planned(found, data, (), purpose="Reference") as plan:
        status = result(plan)
    if not status.profile:
        raise CliError(f"there is no profile: {status.message or 'the data cannot be read'}")
    pretty = json.dumps(json.loads(status.profile), separators=(",", ":"), ensure_ascii=False)
    if not config_map:
        return pretty + "\n"
    import yaml

    name = object_name(config_map)
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"weir.dev/contract": found.name}},
        "data": {KEY: pretty},
    }
    head = f"# Use it in the DataContract {found.name}: reference: {{configMapRef: {{name: {name}, key: {KEY}}}}}\n"
    return head + str(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120))
