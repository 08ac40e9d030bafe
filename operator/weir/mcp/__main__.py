"""``python -m weir.mcp``: serve the agent's tools, with the credentials that this process has."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from weir.cli.cluster import Where
from weir.cli.failure import INTERRUPTED, REFUSED, UNREADABLE, CliError, told
from weir.mcp.caller import FIELD_MANAGER, Caller
from weir.mcp.rights import excessive
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SHORTEST_TOKEN = 16


def _tell(text: str) -> None:
    # Standard output belongs to the protocol.
    print(f"weir-mcp: {text}", file=sys.stderr, flush=True)


@app.command()
def serve(
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace; by default the context's.")] = "",
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    kubeconfig: Annotated[str, typer.Option(help="File that says where the cluster is; by default KUBECONFIG.")] = "",
    http: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Serve HTTP on this loopback address; by default standard input."),
    ] = "",
    token_file: Annotated[
        str, typer.Option(help="File with a token that HTTP clients must send as `Authorization: Bearer TOKEN`.")
    ] = "",
    heartbeat: Annotated[
        str, typer.Option(metavar="LEASE", help="Lease to renew with each call of a tool: the agent's sign of life.")
    ] = "",
    allow_broad_rights: Annotated[
        bool, typer.Option("--allow-broad-rights", help="Only warn where the credentials may do what no agent should.")
    ] = False,
) -> None:
    """Serve Weir's tools to an agent over the Model Context Protocol, with the agent's own credentials."""
    where = Where(namespace, context, kubeconfig)
    try:
        asyncio.run(_serve(where, http, token_file, heartbeat, allow_broad_rights=allow_broad_rights))
    except CliError as error:
        _tell(str(error))
        raise typer.Exit(error.code) from error
    except ApiError as error:
        _tell(str(told(error)))
        raise typer.Exit(UNREADABLE) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _serve(where: Where, http: str, token_file: str, heartbeat: str, *, allow_broad_rights: bool) -> None:
    try:
        from weir.mcp.server import build, listening, serve_http, web
    except ModuleNotFoundError as error:
        raise CliError(f"{error.name} is not installed: pip install 'weir-operator[mcp]'") from error

    token = _token(token_file)
    if token and not http:
        raise CliError("--token-file is for HTTP clients: give --http HOST:PORT too")
    bound = listening(*_address(http)) if http else None
    found = where.resolved()
    client = await KubeClient.connect(
        kubeconfig=found.kubeconfig or None, context=found.context or None, field_manager=FIELD_MANAGER
    )
    async with client:
        caller = Caller(client, found, heartbeat=heartbeat)
        await _checked(caller, allow=allow_broad_rights)
        server = build(caller)
        if bound is None:
            await server.run_stdio_async()
        else:
            await serve_http(web(server, token), bound, _tell)


async def _checked(caller: Caller, *, allow: bool) -> None:
    """Say who we are; refuse to hand out rights that no agent should have."""
    identity = await caller.identity()
    namespace = caller.where.namespace
    _tell(f"acts as {identity.user or 'an unknown user'} in namespace {namespace}")
    broad = await excessive(caller.client, namespace)
    if not broad:
        return
    shown = f"{identity.user} may do what no agent should: {', '.join(map(str, broad))}"
    if not allow:
        raise CliError(
            f"{shown}. Give the agent a service account of its own with the ClusterRole weir-agent, or start with "
            "--allow-broad-rights",
            REFUSED,
        )
    _tell(f"WARNING: {shown}. The guardrails cannot hold such an agent")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise CliError(f"--http: {text!r} is no address such as 127.0.0.1:8931")
    return host.strip("[]"), int(port)


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"--token-file: cannot read {file}: {error}") from error
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise CliError(f"--token-file: {file} needs one line of at least {_SHORTEST_TOKEN} printable ASCII characters")
    return token


def main() -> None:
    """Entry point of ``weir-mcp``."""
    app(prog_name="weir-mcp")


if __name__ == "__main__":
    main()
