"""`weir replay`: recomputes the verdicts of a finished release from its sealed record."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from weir.api.rolloutrecord import RolloutRecordSpec

UNREADABLE = 2
"""Exit code when there is no readable record."""

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
            place = namespace or _namespace(kubeconfig or None, context or None)
            records = asyncio.run(_from_cluster(name, place, kubeconfig or None, context or None))
        replays = replay_all(records)
    except (RecordError, ApiError, OSError, UnicodeDecodeError) as error:
        _refuse(str(error))
    if not file:
        replays = [one for one in replays if one.name == name]
    if as_json:
        typer.echo(in_json(replays))
    else:
        show(replays, sys.stdout)
    raise typer.Exit(exit_code(replays))


async def _from_cluster(name: str, namespace: str, kubeconfig: str | None, context: str | None) -> list[Named]:
    """The record, and the one before it where it still exists."""
    from weir.record.replay import parsed
    from weir.runtime.client import KubeClient
    from weir.runtime.errors import NotFound
    from weir.runtime.resources import ROLLOUT_RECORDS

    async with await KubeClient.connect(kubeconfig=kubeconfig, context=context) as client:
        found = [parsed(await client.get(ROLLOUT_RECORDS, name, namespace))]
        before = _before(name, found[0][1].release)
        if before:
            with suppress(NotFound):
                found.append(parsed(await client.get(ROLLOUT_RECORDS, before, namespace)))
    return found


def _namespace(kubeconfig: str | None, context: str | None) -> str:
    """Namespace that the kubeconfig's context stands for; `default` without one."""
    from kubernetes.aio.config import ConfigException, list_kube_config_contexts

    try:
        contexts, active = list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except ConfigException:
        return "default"
    chosen = next((c for c in contexts if c["name"] == context), active) or {}
    return str(chosen.get("context", {}).get("namespace") or "default")


def _before(name: str, release: int) -> str:
    """Name of the record before that of this release; empty where names do not end with the release."""
    base, _, number = name.rpartition("-")
    return f"{base}-{release - 1}" if number == str(release) and release > 1 else ""


def _refuse(why: str) -> NoReturn:
    typer.echo(f"weir replay: {why}", err=True)
    raise typer.Exit(UNREADABLE)
