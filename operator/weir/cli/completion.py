"""Completion of names in the shell; quiet on every error, and quick."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Awaitable, Callable

import typer

from weir.cli.cluster import Cluster, Where, connected
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, DATA_CONTRACTS, MODEL_VERSIONS, ROLLOUTS, Resource

_SECONDS = 2.0
_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
# Cobra's directive NoFileComp, as kubectl reads it from a plugin's completion.
_NO_FILES = ":4"


def rollouts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of Rollouts in the namespace of the other options."""
    return _named(ctx, incomplete, ROLLOUTS)


def versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of ModelVersions in the namespace of the other options."""
    return _named(ctx, incomplete, MODEL_VERSIONS)


def contracts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of DataContracts in the namespace of the other options."""
    return _named(ctx, incomplete, DATA_CONTRACTS)


def requests(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of ActionRequests of agents that have not ended, in the namespace of the other options."""

    async def names(cluster: Cluster) -> list[str]:
        found = (await cluster.client.list(ACTION_REQUESTS, cluster.namespace)).items
        waiting = (r for r in found if (r.get("status") or {}).get("phase") in (None, "", "Pending", "Running"))
        return [r["metadata"]["name"] for r in waiting if (r.get("spec") or {}).get("permit")]

    return _beginning(_asked(ctx, names), incomplete)


def permits(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the permits of the AgentPolicy in the namespace of the other options."""

    async def names(cluster: Cluster) -> list[str]:
        found = (await cluster.client.list(AGENT_POLICIES, cluster.namespace)).items
        return [permit["name"] for policy in found for permit in policy["spec"]["permits"]]

    return _beginning(_asked(ctx, names), incomplete)


def _named(ctx: typer.Context, incomplete: str, resource: Resource) -> list[str]:
    async def names(cluster: Cluster) -> list[str]:
        return [r["metadata"]["name"] for r in (await cluster.client.list(resource, cluster.namespace)).items]

    return _beginning(_asked(ctx, names), incomplete)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of namespaces."""

    async def names(cluster: Cluster) -> list[str]:
        return [n["metadata"]["name"] for n in (await cluster.client.list(_NAMESPACES)).items]

    return _beginning(_asked(ctx, names), incomplete)


def contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Contexts of the kubeconfig."""
    with contextlib.suppress(Exception):
        return _beginning(list(_where(ctx).contexts()[0]), incomplete)
    return []


def _where(ctx: typer.Context) -> Where:
    given = {key: str(ctx.params.get(key) or "") for key in ("namespace", "context", "kubeconfig")}
    return Where(**given)


def _asked(ctx: typer.Context, names: Callable[[Cluster], Awaitable[list[str]]]) -> list[str]:
    async def ask() -> list[str]:
        async with asyncio.timeout(_SECONDS), connected(_where(ctx), seconds=_SECONDS) as cluster:
            return await names(cluster)

    # Whatever goes wrong, a traceback in the middle of somebody's command line is worse than no names.
    with contextlib.suppress(Exception):
        return asyncio.run(ask())
    return []


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def for_kubectl(app: Callable[..., None]) -> None:
    """Completes ``kubectl weir …``: kubectl runs the executable ``kubectl_complete-weir`` with the words so far.

    Prints one candidate a line (a tab, then its help), and last a directive.
    """
    # The last word is unfinished, or empty: then the line ends with a space.
    *words, last = ["weir", *(sys.argv[1:] or [""])]
    typed = shlex.join(words) + " " + (shlex.quote(last) if last else "")
    os.environ.update(
        _WEIR_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", _TYPER_COMPLETE_ARGS=typed
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        app(prog_name="weir", complete_var="_WEIR_COMPLETE")
    sys.stdout.write(out.getvalue().rstrip("\n") + ("\n" if out.getvalue().strip() else "") + _NO_FILES + "\n")
