"""Commands that ask for something: each creates an ActionRequest and follows it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from weir.cli.failure import TIMED_OUT, CliError
from weir.cli.options import Asked, command, length

if TYPE_CHECKING:
    from collections.abc import Callable

    from weir.api.action import Action
    from weir.cli.asking import Ask
    from weir.cli.cluster import Cluster
    from weir.cli.following import Following
    from weir.runtime.resources import KubeObject
    from weir.view.model import RolloutInfo


@command(Asked)
def promote(asked: Asked) -> int:
    """Go on to 100 % without waiting for gates and stage times. Capacity comes first; approvals are still needed."""
    return _simple(asked, "Promote")


@command(Asked)
def abort(asked: Asked) -> int:
    """Put the candidate back. It stays out until somebody asks for a retry."""
    return _simple(asked, "Abort")


@command(Asked)
def retry(asked: Asked) -> int:
    """Let a candidate that failed or was aborted be released again."""
    return _simple(asked, "Retry")


@command(Asked)
def pause(
    asked: Asked,
    duration: Annotated[
        str, typer.Option("--for", help="How long, such as 30m; by default until resumed.", show_default=False)
    ] = "",
) -> int:
    """Keep a release from going on. Safety checks go on, and may still put it back."""
    return _simple(asked, "Pause", duration=duration or None)


@command(Asked)
def resume(asked: Asked) -> int:
    """End a pause."""
    return _simple(asked, "Resume")


@command(Asked)
def skip(asked: Asked) -> int:
    """Leave the current stage without waiting for its time and its gates. A Fail still puts the release back."""
    return _simple(asked, "Skip")


@command(Asked)
def rollback(
    asked: Asked,
    to: Annotated[
        str, typer.Option(help="ModelVersion to go back to; by default the one before.", show_default=False)
    ] = "",
) -> int:
    """Put an earlier version back. While a release runs this aborts it."""
    return _simple(asked, "Rollback", version=to or None)


@command(Asked)
def drill(
    asked: Asked,
    not_before: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="A time such as 2026-11-22T10:00:00Z, or a time from now such as 2h.",
            show_default=False,
        ),
    ] = "",
) -> int:
    """Put a healthy candidate back on purpose, to measure how long that takes. Then it is released again."""
    return _simple(asked, "Drill", notBefore=_moment(not_before))


@command(Asked)
def approve(
    asked: Asked,
    approval: Annotated[
        str, typer.Option(help="Which approval, if several are open.", show_default=False, metavar="NAME")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed in a pipe.")] = False,
) -> int:
    """Show what a release needs consent for, and give yours."""
    from weir.cli.asking import Ask
    from weir.cli.consent import card, chosen
    from weir.cli.printing import can_ask

    def made(info: RolloutInfo, user: str) -> Ask:
        found = chosen(info, approval)
        if not yes and not can_ask():
            raise CliError("nobody can be asked here: look with `kubectl weir status`, then say --yes")
        if asked.printer.text or not yes:
            typer.echo(card(info, found, user), err=True)
        if not yes and not typer.confirm(f"Approve as {user or 'yourself'}?", err=True):
            raise CliError("nothing was approved", 1)
        return Ask("Approve", {"approval": {"name": found.name, "digest": found.digest}})

    return _run(asked, made)


def _simple(asked: Asked, action: Action, **fields: str | None) -> int:
    from weir.cli.asking import Ask

    given = {name: value for name, value in fields.items() if value is not None}
    return _run(asked, lambda _info, _user: Ask(action, given))


def _moment(text: str) -> str | None:
    """The time that an option names, or that lies so far from now."""
    from weir.api.base import format_time, parse_time

    if not text:
        return None
    if text[0].isdigit() and text[-1] in "hms" and "T" not in text:
        return format_time(time.time() + (length(text, "--not-before") or 0.0))
    try:
        return format_time(parse_time(text))
    except ValueError:
        raise CliError(
            f"--not-before: {text!r} is no time such as 2026-11-22T10:00:00Z, and no duration such as 2h"
        ) from None


def _reason(asked: Asked) -> str:
    from weir.cli.printing import can_ask

    if asked.reason.strip():
        return asked.reason.strip()
    if not can_ask():
        raise CliError("say why with -m REASON; it goes into the record")
    given: str = typer.prompt("Reason", err=True)
    return given.strip()


def _run(asked: Asked, made: Callable[[RolloutInfo, str], Ask]) -> int:
    from weir.cli import asking, cluster
    from weir.cli.watching import follow, info_of

    patience = Patience(length(asked.timeout, "--timeout"))

    async def work(there: Cluster) -> int:
        info = info_of(await there.rollout(asked.name))
        user = await there.user()
        ask = made(info, user)
        request = await asking.create(there, asking.body(ask, asked, info, user, _reason(asked)))
        asked.printer.note(f"asked {info.name} to {ask.action.lower()}: actionrequest {request['metadata']['name']}")
        if asked.wait is False:
            _show(asked, request, request["metadata"]["name"])
            return 0
        patience.begin()
        async with follow(there, info.name, request=request["metadata"]["name"]) as followed:
            return await _follow(asked, followed, ask, request, patience)

    return cluster.run(asked.where, work)


async def _follow(asked: Asked, followed: Following, ask: Ask, request: KubeObject, patience: Patience) -> int:
    from weir.cli import asking
    from weir.cli.look import painter
    from weir.cli.printing import on_terminal

    printer = asked.printer
    answer = await asking.result(followed, request, printer.note, patience.left)
    if answer.over is None:
        return _late(asked, answer.request, "has no result yet")
    wait = asked.wait if asked.wait is not None else on_terminal() and printer.text
    if answer.over.code or not wait:
        _show(asked, answer.request, answer.over.message)
        return answer.over.code
    printer.note(answer.over.message)
    with painter(printer, live=True, lines=printer.note) as shown:
        over = await asking.effective(followed, ask, answer.request, shown, patience.left)
    if over is None:
        return _late(asked, answer.request, "was accepted, but what it asks for has not happened yet")
    _show(asked, answer.request, over.message or answer.over.message)
    return over.code


class Patience:
    """How long to wait, all in all; None for ever."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._ends = seconds, 0.0

    def begin(self) -> None:
        """The time runs from now."""
        self._ends = time.monotonic() + (self._seconds or 0.0)

    @property
    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self._seconds is None else max(0.0, self._ends - time.monotonic())


def _late(asked: Asked, request: KubeObject, what: str) -> int:
    name, place = request["metadata"]["name"], request["metadata"]["namespace"]
    asked.printer.note(f"not within {asked.timeout}: {name} {what}; see it with: kubectl get areq {name} -n {place}")
    if not asked.printer.text:
        asked.printer.data(request)
    return TIMED_OUT


def _show(asked: Asked, request: KubeObject, text: str) -> None:
    if asked.printer.text:
        typer.echo(text)
    else:
        request.get("metadata", {}).pop("managedFields", None)
        asked.printer.data(request)
