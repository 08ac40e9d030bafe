"""Commands that only look: status, get, why, history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir.cli.failure import INTERRUPTED, TIMED_OUT, CliError
from weir.cli.options import One, Place, command, length

if TYPE_CHECKING:
    from weir.cli.cluster import Cluster
    from weir.cli.goal import Reached
    from weir.cli.printing import Printer
    from weir.cli.watching import LinePainter, LivePainter
    from weir.view.model import RolloutInfo

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show every change.")]


@command(One)
def status(
    one: One,
    watch: Watch = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when ready, failed, or waiting for a person.")] = False,
    goal: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="ready|end|STAGE",
            help="What to wait for: ready, end (no release is running), or a stage such as 'Traffic(25)'.",
            show_default=False,
        ),
    ] = "",
    timeout: Annotated[str, typer.Option(help="How long to --wait, such as 90s or 30m; 0s is for ever.")] = "0s",
) -> int:
    """Show where a Rollout stands.

    Exit codes with --wait: 0 ready, 1 failed or rolled back, 3 timed out, 4 waits for a person.
    Without --wait: 0 if it could be read, whatever it says.
    """
    from weir.cli import cluster
    from weir.cli import goal as goals
    from weir.cli.watching import current, follow, info_of, stay

    seconds = length(timeout, "--timeout")
    wanted = goal or goals.READY
    printer = one.printer

    async def work(there: Cluster) -> int:
        rollout = await there.rollout(one.name)
        name = rollout["metadata"]["name"]
        if not (watch or wait or goal):
            requests, versions = await there.requests(name), await there.versions()
            _print(printer, info_of(rollout, requests, versions, leases=await there.leases()))
            return 0

        def done(info: RolloutInfo) -> Reached | None:
            return goals.reached(info, wanted) if wait or goal else None

        async with follow(there, name) as following:
            with painter(printer, live=watch) as shown:
                over = await stay(following, lambda: current(following, name), shown, done, seconds)
        return _conclude(printer, over, timeout)

    return cluster.run(one.where, work)


@command(Place)
def get(
    place: Place,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    watch: Watch = False,
) -> int:
    """List Rollouts."""
    from weir.cli import cluster
    from weir.cli.watching import every, follow, info_of, stay

    printer = place.printer

    async def work(there: Cluster) -> int:
        rollouts = await there.rollouts(everywhere=everywhere)
        if not watch:
            leases = await there.leases()
            _print_all(printer, [info_of(r, leases=leases) for r in rollouts], there.namespace, everywhere)
            return 0
        async with follow(there, everywhere=everywhere) as following:
            with _painters(printer, namespaces=everywhere) as shown:
                await stay(following, lambda: every(following), shown, lambda _: None, None)
        return INTERRUPTED

    return cluster.run(place.where, work)


@command(One)
def why(one: One) -> int:
    """Explain in plain words what a Rollout waits for, what was measured, and what would make it move."""
    from weir.cli import cluster
    from weir.cli.watching import info_of

    printer = one.printer

    async def work(there: Cluster) -> int:
        from weir.view.why import explain

        rollout = await there.rollout(one.name)
        requests = await there.requests(rollout["metadata"]["name"])
        explanation = explain(info_of(rollout, requests, await there.versions(), leases=await there.leases()))
        if printer.text:
            from weir.cli.show import why as shown

            printer.show(shown(explanation))
        else:
            printer.data(explanation.to_dict())
        return 0

    return cluster.run(one.where, work)


@command(One)
def history(
    one: One,
    release: Annotated[int | None, typer.Option(help="Show the decisions of this release.", min=1)] = None,
) -> int:
    """List finished releases, or the decisions of one of them."""
    from weir.cli import cluster
    from weir.cli.watching import info_of

    printer = one.printer

    async def work(there: Cluster) -> int:
        rollout = await there.rollout(one.name)
        name = rollout["metadata"]["name"]
        requests, records = await there.requests(name), await there.records(name)
        info = info_of(rollout, requests, records=records)
        if release is None:
            _print_history(printer, info)
        else:
            _print_release(printer, info, release)
        return 0

    return cluster.run(one.where, work)


def _conclude(printer: Printer, over: Reached | None, timeout: str) -> int:
    if over is None:
        printer.note(f"not within {timeout}")
        return TIMED_OUT
    printer.note(over.message)
    return over.code


def _print(printer: Printer, info: RolloutInfo) -> None:
    if printer.text:
        from weir.cli.show import status as shown

        printer.show(shown(info))
    else:
        printer.data(info.to_dict())


def _print_all(printer: Printer, infos: Sequence[RolloutInfo], namespace: str, everywhere: bool) -> None:
    if not printer.text:
        printer.data([info.to_dict() for info in infos])
    elif infos:
        from weir.cli.show import table

        printer.show(table(infos, namespaces=everywhere))
    else:
        place = "in any namespace" if everywhere else f"in namespace {namespace}; see all with -A"
        printer.note(f"no Rollout {place}")


def _print_history(printer: Printer, info: RolloutInfo) -> None:
    if printer.text:
        from weir.cli.show import history as shown

        printer.show(shown(info))
    else:
        told = info.to_dict()
        printer.data({key: told[key] for key in ("name", "namespace", "history", "requests") if key in told})


def _print_release(printer: Printer, info: RolloutInfo, release: int) -> None:
    """The decisions of one release: of the last one from the status, else from its record."""
    from weir.cli.decisions import table
    from weir.view.read import wire

    found = next((r for r in info.history if r.release == release), None)
    if found is None and info.release != release:
        known = ", ".join(str(r.release) for r in info.history) or "none"
        raise CliError(f"{info.name} has no release {release} that is still known; there is {known}")
    decisions = found.decisions if found is not None else ()
    if not decisions and info.release == release:
        decisions = info.decisions
    if not printer.text:
        entry = wire(found) if found is not None else {"release": release}
        printer.data({**entry, "decisions": wire(decisions)})
        return
    if not decisions:
        named = f" ({found.record})" if found is not None and found.record else ""
        raise CliError(f"the record of release {release}{named} cannot be read: deleted, or you may not read it")
    printer.show(table(decisions))


def painter(
    printer: Printer, *, live: bool, lines: Callable[[str], None] = typer.echo
) -> LivePainter[RolloutInfo] | LinePainter[RolloutInfo]:
    """Shows one Rollout as it changes.

    Args:
        printer: how to print.
        live: show the whole view where somebody watches.
        lines: where one line for each change goes otherwise.
    """
    from weir.cli.printing import line, on_terminal
    from weir.cli.watching import LinePainter, LivePainter

    if not printer.text and lines is typer.echo:
        return LinePainter(lambda info: {"": _timeless(info)}, lambda info, _: printer.stream(info.to_dict()))
    if live and on_terminal():
        from weir.cli.show import status as shown

        return LivePainter(printer, shown)
    return LinePainter(lambda info: {"": _timeless_line(info)}, lambda info, _: lines(line(info)))


def _painters(
    printer: Printer, *, namespaces: bool
) -> LivePainter[Sequence[RolloutInfo]] | LinePainter[Sequence[RolloutInfo]]:
    """Shows Rollouts as they change."""
    from weir.cli.printing import line, on_terminal
    from weir.cli.watching import LinePainter, LivePainter

    if printer.text and on_terminal():
        from weir.cli.show import table

        return LivePainter(printer, lambda infos: table(infos, namespaces=namespaces))

    def write(infos: Sequence[RolloutInfo], key: str) -> None:
        info = next(i for i in infos if _key(i) == key)
        if printer.text:
            typer.echo(line(info, namespaces=namespaces))
        else:
            printer.stream(info.to_dict())

    def parts(infos: Sequence[RolloutInfo]) -> dict[str, Any]:
        return {_key(info): _timeless_line(info) if printer.text else _timeless(info) for info in infos}

    return LinePainter(parts, write, lambda key: printer.note(f"{key} was deleted"))


def _key(info: RolloutInfo) -> str:
    return f"{info.namespace}/{info.name}"


def _timeless(info: RolloutInfo) -> Any:
    told = info.to_dict()
    told.pop("now", None)
    return told


def _timeless_line(info: RolloutInfo) -> str:
    from weir.cli.printing import line

    return line(info).partition("  ")[2]
