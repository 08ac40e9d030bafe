"""`weir replay`: recomputes the verdicts of a finished release from its sealed record."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from weir.cli.cluster import Where, connected
from weir.cli.failure import UNREADABLE, CliError, told

if TYPE_CHECKING:
    from weir.api.rolloutrecord import RolloutRecordSpec

Named = tuple[str, "RolloutRecordSpec"]


def replay(
    *,
    name: Annotated[str, typer.Argument(help="Name of a RolloutRecord in the cluster.")] = "",
    file: Annotated[str, typer.Option("--file", "-f", help="File with records; - reads standard input.")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of the record; by default the context's.")
    ] = "",
    kubeconfig: Annotated[str, typer.Option(help="File that says where the cluster is.")] = "",
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute every verdict of a release from the windows in its record, and check the record's hash and chain.

    Exit codes: 0 all that can be recomputed agrees, 1 something differs, 2 no readable record.
    """
    from weir.record.replay import RecordError, exit_code, load, replay_all, show
    from weir.record.replay import as_json as in_json
    from weir.runtime.errors import ApiError

    if bool(name) == bool(file):
        _refuse("name one record, or give a file with --file")
    try:
        if file:
            records = load(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
        else:
            records = asyncio.run(_from_cluster(name, Where(namespace, context, kubeconfig)))
        replays = replay_all(records)
    except ApiError as error:
        _refuse(str(told(error)))
    except (CliError, RecordError, OSError, UnicodeDecodeError) as error:
        _refuse(str(error))
    if not file:
        replays = [one for one in replays if one.name == name]
    if as_json:
        typer.echo(in_json(replays))
    else:
        show(replays, sys.stdout)
    raise typer.Exit(exit_code(replays))


async def _from_cluster(name: str, where: Where) -> list[Named]:
    """The record, and the one before it where it still exists."""
    from weir.record.replay import parsed
    from weir.runtime.errors import NotFound
    from weir.runtime.resources import ROLLOUT_RECORDS

    async with connected(where) as cluster:
        found = [parsed(await cluster.client.get(ROLLOUT_RECORDS, name, cluster.namespace))]
        before = _before(name, found[0][1].release)
        if before:
            with suppress(NotFound):
                found.append(parsed(await cluster.client.get(ROLLOUT_RECORDS, before, cluster.namespace)))
    return found


def _before(name: str, release: int) -> str:
    """Name of the record before that of this release; empty where names do not end with the release."""
    base, _, number = name.rpartition("-")
    return f"{base}-{release - 1}" if number == str(release) and release > 1 else ""


def _refuse(why: str) -> NoReturn:
    typer.echo(f"weir replay: {why}", err=True)
    raise typer.Exit(UNREADABLE)
