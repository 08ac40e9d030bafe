"""Commands that ask for something: each creates an ActionRequest and follows it."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated

import typer

from weir.cli import completion
from weir.cli.failure import CliError
from weir.cli.options import Asked, command, length
from weir.cli.pursuing import Patience, follow_up, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from weir.api.action import Action
    from weir.cli.asking import Ask
    from weir.cli.cluster import Cluster
    from weir.view.model import RolloutInfo


@command(Asked)
def release(
    asked: Asked,
    version: Annotated[
        str,
        typer.Argument(
            metavar="MODELVERSION",
            help="Name of the ModelVersion to release.",
            autocompletion=completion.versions,
            show_default=False,
        ),
    ],
) -> int:
    """Release another version than spec.versionRef names, through every stage and gate."""
    return _simple(asked, "Release", version=version)


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
def shift(
    asked: Asked,
    to: Annotated[
        int, typer.Option("--to", min=0, max=100, metavar="PERCENT", help="Most percent; 100 lifts the limit.")
    ],
) -> int:
    """Limit how much of the traffic the candidate may have in this release. It never gives more than the plan."""
    return _simple(asked, "ShiftTraffic", weight=to)


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
    request: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="ActionRequest of an agent to agree to, instead of a release.",
            autocompletion=completion.requests,
            show_default=False,
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed in a pipe.")] = False,
) -> int:
    """Show what a release or an agent needs consent for, and give yours."""
    if request:
        from weir.cli.agent_answer import answer

        _only_of_releases(asked, approval)
        return answer(asked, "Approve", request, rollout=asked.name, yes=yes)
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


def _only_of_releases(asked: Asked, approval: str) -> None:
    """Refuses what says nothing of a request of an agent: its digest is what is agreed to.

    Raises:
        CliError: such an option was given.
    """
    given = [field for field in dataclasses.fields(Asked) if field.name in Asked.__annotations__]
    named = [field.name for field in given if getattr(asked, field.name) != field.default]
    if named := [*(["approval"] if approval else []), *named]:
        options = ", ".join("--" + name.replace("_", "-") for name in named)
        raise CliError(f"{options}: not with --request, where the digest of the request is what is agreed to")


def _simple(asked: Asked, action: Action, **fields: str | int | None) -> int:
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


def _run(asked: Asked, made: Callable[[RolloutInfo, str], Ask]) -> int:
    from weir.cli import asking, cluster
    from weir.cli.watching import info_of

    patience = Patience(length(asked.timeout, "--timeout"))

    async def work(there: Cluster) -> int:
        found = await there.rollout(asked.name)
        user = await there.user()
        ask = made(info_of(found), user)
        info = await asking.looked(there, found, ask.action)
        request = await asking.create(there, asking.body(ask, asked, info, user, reason(asked)))
        return await follow_up(asked, there, ask, request, patience)

    return cluster.run(asked.where, work)
