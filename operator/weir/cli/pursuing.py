"""What follows once something was asked for: waiting for the answer, then for the effect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from weir.cli.failure import TIMED_OUT, CliError
from weir.cli.options import Pursued

if TYPE_CHECKING:
    from weir.api.action import Action
    from weir.cli.asking import Ask
    from weir.cli.cluster import Cluster
    from weir.cli.following import Following
    from weir.runtime.resources import KubeObject

_OVER_WITH_THE_RESULT = ("Retrain", "Reallocate", "Deny", "Override", "Withdraw")
"""Actions that change nothing of the Rollout itself."""


def reason(asked: Pursued) -> str:
    """The reason that was given, or that somebody types now.

    Raises:
        CliError: there is none, and nobody can be asked.
    """
    from weir.cli.printing import can_ask

    if asked.reason.strip():
        return asked.reason.strip()
    if not can_ask():
        raise CliError("say why with -m REASON; it goes into the record")
    given: str = typer.prompt("Reason", err=True)
    return given.strip()


async def follow_up(asked: Pursued, there: Cluster, ask: Ask, request: KubeObject, patience: Patience) -> int:
    """Follow a request to its result and, where that is wanted, to its effect; the exit code."""
    from weir.cli.watching import follow

    name, rollout = request["metadata"]["name"], request["spec"]["rolloutRef"]["name"]
    asked.printer.note(f"asked {_whom(ask.action, rollout)}: actionrequest {name}")
    if asked.wait is False:
        _show(asked, request, name)
        return 0
    patience.begin()
    async with follow(there, rollout, request=name) as followed:
        return await _pursue(asked, followed, ask, request, patience)


def _whom(action: Action, rollout: str) -> str:
    if action in _OVER_WITH_THE_RESULT:
        return f"for {action} on {rollout}"
    return f"{rollout} to {'shift traffic' if action == 'ShiftTraffic' else action.lower()}"


async def _pursue(asked: Pursued, followed: Following, ask: Ask, request: KubeObject, patience: Patience) -> int:
    from weir.cli import asking
    from weir.cli.look import painter
    from weir.cli.printing import on_terminal

    printer = asked.printer
    answer = await asking.result(followed, request, printer.note, patience.left)
    if answer.over is None:
        return _late(asked, answer.request, "has no result yet")
    wait = asked.wait if asked.wait is not None else on_terminal() and printer.text
    if answer.over.code or not wait or ask.action in _OVER_WITH_THE_RESULT:
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


def _late(asked: Pursued, request: KubeObject, what: str) -> int:
    name, place = request["metadata"]["name"], request["metadata"]["namespace"]
    asked.printer.note(f"not within {asked.timeout}: {name} {what}; see it with: kubectl get areq {name} -n {place}")
    if not asked.printer.text:
        asked.printer.data(request)
    return TIMED_OUT


def _show(asked: Pursued, request: KubeObject, text: str) -> None:
    if asked.printer.text:
        typer.echo(text)
    else:
        request.get("metadata", {}).pop("managedFields", None)
        asked.printer.data(request)
