"""`weir agent`: what agents may do, what they asked for, and the switch that stops them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir.cli import completion
from weir.cli.failure import INTERRUPTED, CliError
from weir.cli.options import Place, Pursued, command, length
from weir.cli.pursuing import Patience, follow_up, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weir.cli.agent_cluster import Agents
    from weir.cli.agent_rows import AgentAction
    from weir.cli.cluster import Cluster
    from weir.cli.following import Following
    from weir.cli.printing import Printer
    from weir.cli.watching import LinePainter, LivePainter
    from weir.runtime.resources import KubeObject

agent = typer.Typer(
    name="agent",
    help="Agents: what they may do, what they asked for, and the switch that stops them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@command(Place)
def headroom(
    place: Place,
    permit: Annotated[
        str,
        typer.Argument(
            metavar="PERMIT",
            help="Permit of the AgentPolicy; by default all.",
            autocompletion=completion.permits,
            show_default=False,
        ),
    ] = "",
) -> int:
    """Show what agents may still ask for: used, left, until when, what is blocked, and the next free name."""
    from weir.cli import cluster

    async def work(there: Cluster) -> int:
        from weir.cli.agent_cluster import agents

        found = await agents(there)
        if permit:
            found.permit(permit)
        rows = [row for row in found.headroom() if permit in ("", row.permit)]
        if place.printer.text:
            from weir.cli.agent_show import headroom as shown

            place.printer.show(shown(found, rows))
        else:
            _warn(place.printer, found)
            place.printer.data([row.to_dict() for row in rows])
        return 0

    return cluster.run(place.where, work)


@command(Place)
def explain(place: Place) -> int:
    """Explain the AgentPolicy in plain words: who may ask for what, and what the ClusterAgentPolicy narrowed."""
    from weir.cli import cluster

    async def work(there: Cluster) -> int:
        from weir.cli.agent_cluster import agents
        from weir.cli.agent_words import explain as words

        told = words(await agents(there))
        if place.printer.text:
            from weir.cli.agent_show import explanation

            place.printer.show(explanation(told))
        else:
            place.printer.data(told.to_dict())
        return 0

    return cluster.run(place.where, work)


@command(Place)
def actions(
    place: Place,
    ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show every change.")] = False,
) -> int:
    """List what agents asked for: under which permit, what it waits for, and how to answer."""
    from weir.cli import cluster
    from weir.cli.agent_rows import actions as rows

    async def work(there: Cluster) -> int:
        from weir.cli.agent_cluster import ledger, requests
        from weir.cli.following import Followed, Following
        from weir.cli.watching import stay
        from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES

        _tell_silence(place.printer, await there.leases(), time.time())
        if not watch:
            _print(place.printer, rows(await requests(there), await ledger(there), ended=ended), there.namespace)
            return 0
        wanted = [
            Followed(ACTION_REQUESTS, there.namespace),
            Followed(AGENT_POLICIES, there.namespace, optional=True),
        ]
        async with Following(there.client, wanted) as following:
            with _painter(place.printer) as shown:
                await stay(following, lambda: _followed(following, ended=ended), shown, lambda _: None, None)
        return INTERRUPTED

    return cluster.run(place.where, work)


def _followed(following: Following, *, ended: bool) -> list[AgentAction]:
    from weir.api.agentpolicy import POLICY_NAME
    from weir.cli.agent_cluster import ledger_of
    from weir.cli.agent_rows import actions as rows
    from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES

    policy = following.find(AGENT_POLICIES, POLICY_NAME)
    return rows(following.objects(ACTION_REQUESTS), ledger_of(policy) if policy is not None else None, ended=ended)


@command(Pursued)
def ask(
    asked: Pursued,
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="PERMIT", help="Permit of the AgentPolicy.", autocompletion=completion.permits),
    ],
    rollout: Annotated[
        str,
        typer.Argument(
            metavar="ROLLOUT",
            help="Rollout to act on; may be left out where the namespace has only one.",
            autocompletion=completion.rollouts,
            show_default=False,
        ),
    ] = "",
    weight: Annotated[
        int | None, typer.Option(help="Most percent of requests for the candidate (ShiftTraffic).", min=0, max=100)
    ] = None,
    version: Annotated[
        str, typer.Option(help="ModelVersion to release, or to go back to.", metavar="NAME", show_default=False)
    ] = "",
    duration: Annotated[str, typer.Option("--for", help="How long to pause, such as 30m.", show_default=False)] = "",
    param: Annotated[
        list[str] | None, typer.Option(help="Parameter of a template. Repeatable.", metavar="NAME=VALUE")
    ] = None,
    evidence: Annotated[
        list[str] | None, typer.Option(help="What you saw, for the record. Repeatable.", metavar="NAME=VALUE")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only ask the API server whether it would admit the request.")
    ] = False,
) -> int:
    """Ask for an action under a permit, as an agent: takes a free slot, and says where the Rollout stands."""
    from weir.cli import cluster
    from weir.cli.agent_ask import Wanted, body, create
    from weir.cli.asking import Ask, looked

    fields = {
        "weight": weight,
        "version": version or None,
        "duration": duration or None,
        "parameters": _pairs(param, "--param") or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    saw = _pairs(evidence, "--evidence")
    patience = Patience(length(asked.timeout, "--timeout"))

    async def work(there: Cluster) -> int:
        from weir.cli.agent_cluster import agents

        found = await agents(there)
        permit = found.permit(name)
        _warn(asked.printer, found)
        info = await looked(there, await there.rollout(rollout), permit.action)
        why = Wanted(reason(asked), asked.expires_after, given, saw)
        made = body(permit, info, await there.user(), why)
        request = await create(there, found, permit, made, dry_run=dry_run)
        if dry_run:
            return _would(asked.printer, request)
        return await follow_up(asked, there, Ask(permit.action, given), request, patience)

    return cluster.run(asked.where, work)


Everywhere = Annotated[
    bool,
    typer.Option("--cluster", help="In all namespaces. Needs the rights to get and to patch clusteragentpolicies."),
]


@command(Place)
def pause(place: Place, everywhere: Everywhere = False) -> int:
    """Stop all agents at once, also while the operator is down. People act as before.

    Needs the rights to get and to patch agentpolicies, which admins of the namespace have.
    """
    return _switch(place, paused=True, everywhere=everywhere)


@command(Place)
def resume(place: Place, everywhere: Everywhere = False) -> int:
    """Let agents act again, within their limits."""
    return _switch(place, paused=False, everywhere=everywhere)


for _command in (headroom, actions, explain, ask, pause, resume):
    agent.command()(_command)


def _switch(place: Place, *, paused: bool, everywhere: bool) -> int:
    from weir.cli import cluster

    async def work(there: Cluster) -> int:
        from weir.cli.agent_cluster import outer_policy, policy, set_paused

        found = await (outer_policy(there, paused=paused) if everywhere else policy(there))
        changed = bool((found.get("spec") or {}).get("paused")) is not paused
        if changed:
            found = await set_paused(there, found, paused)
        if not place.printer.text:
            found["metadata"].pop("managedFields", None)
            place.printer.data(found)
            return 0
        typer.echo(await _switched(there, paused=paused, everywhere=everywhere, changed=changed))
        return 0

    return cluster.run(place.where, work)


async def _switched(there: Cluster, *, paused: bool, everywhere: bool, changed: bool) -> str:
    """What is true now, and what else may keep agents from acting."""
    where = "in the whole cluster" if everywhere else f"in namespace {there.namespace}"
    already = "" if changed else " already"
    git = "if Git owns the policy, change it there as well: the next sync sets `paused` to what Git says"
    if paused:
        return f"agents are stopped{already} {where}; {await _refused(there)}, and people act as before; {git}"
    others = "" if everywhere else await _others(there)
    if others:
        return (
            f"the AgentPolicy {where} is not paused{' any more' if changed else ''}, but agents stay stopped: {others}"
        )
    return f"agents may act{already or ' again'} {where}; {git}" if changed else f"agents may act already {where}"


async def _refused(there: Cluster) -> str:
    """What becomes of requests that wait."""
    from weir.view.model import operator_silent, unled_since
    from weir.view.words import duration

    now, leases = time.time(), await there.leases()
    if operator_silent(leases, now) is None:
        return (
            "an operator refuses what waits, but whether one runs cannot be seen from here (have somebody look who may "
            "list Leases in all namespaces: `kubectl get leases -A`; or, to be sure, delete those ActionRequests)"
        )
    since = unled_since(leases, now)
    if since is None:
        return "what waits is refused"
    return (
        f"no operator has shown a sign of life for {duration(now - since)}, so what waits is refused only when it is "
        "back and sees that agents are still stopped (to be sure, delete those ActionRequests)"
    )


def _warn(printer: Printer, found: Agents) -> None:
    from weir.cli.agent_words import warnings

    for warning in warnings(found):
        printer.note(f"warning: {warning}")


def _tell_silence(printer: Printer, leases: Sequence[KubeObject], now: float) -> None:
    from weir.cli.agent_words import silent
    from weir.view.model import unled_since

    since = unled_since(leases, now)
    if since is not None:
        printer.note(f"warning: {silent(since, now)}")


async def _others(there: Cluster) -> str:
    from weir.cli.agent_cluster import agents

    return (await agents(there)).stopped()


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise CliError(f"{option}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _would(printer: Printer, request: dict[str, Any]) -> int:
    if printer.text:
        typer.echo(f"the API server would admit {request['metadata'].get('name') or 'it'}; nothing was asked for")
    else:
        request["metadata"].pop("managedFields", None)
        printer.data(request)
    return 0


def _print(printer: Printer, found: Sequence[AgentAction], namespace: str) -> None:
    if not printer.text:
        printer.data([action.to_dict() for action in found])
    elif found:
        from weir.cli.agent_show import actions as shown

        printer.show(shown(found, time.time()))
    else:
        printer.note(f"no request of agents is open in namespace {namespace}; see those that ended with --all")


def _painter(printer: Printer) -> LivePainter[list[AgentAction]] | LinePainter[list[AgentAction]]:
    """Shows requests as they change."""
    from weir.cli.printing import on_terminal
    from weir.cli.watching import LinePainter, LivePainter

    if printer.text and on_terminal():
        from weir.cli.agent_show import actions as shown

        return LivePainter(printer, lambda found: shown(found, time.time()))

    def write(found: list[AgentAction], name: str) -> None:
        action = next(a for a in found if a.name == name)
        if printer.text:
            typer.echo(action.line)
        else:
            printer.stream(action.to_dict())

    return LinePainter(lambda found: {a.name: a for a in found}, write)
