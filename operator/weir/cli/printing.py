"""How commands print: on a terminal, in a pipe, or as data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from weir.view.model import RolloutInfo

_PIPE_WIDTH = 80
_WIDEST = 2000


class Output(StrEnum):
    """Formats."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Printer:
    """Prints results to standard output, and what is only for people to standard error."""

    def __init__(self, output: Output = Output.TEXT, *, no_color: bool = False) -> None:
        self.output = output
        self._no_color = no_color or bool(os.environ.get("NO_COLOR"))

    @property
    def text(self) -> bool:
        """Whether people read it."""
        return self.output is Output.TEXT

    def console(self) -> Console:
        """A rich console for standard output."""
        from rich.console import Console

        return Console(no_color=self._no_color or None, highlight=False)

    def show(self, renderable: RenderableType) -> None:
        """Print what ``weir.cli.show`` made. In a pipe nothing is cut off, wrapped or padded: programs read lines."""
        console = self.console()
        if console.is_terminal or "COLUMNS" in os.environ:
            console.print(renderable)
            return
        from rich.measure import Measurement

        natural = Measurement.get(console, console.options.update_width(_WIDEST), renderable).maximum
        console.width = min(_WIDEST, max(_PIPE_WIDTH, natural))
        with console.capture() as captured:
            console.print(renderable)
        typer.echo("".join(line.rstrip() + "\n" for line in captured.get().splitlines()), nl=False)

    def data(self, found: Any) -> None:
        """Print data as JSON or YAML."""
        typer.echo(self._written(found), nl=self.output is Output.JSON)

    def stream(self, found: Any) -> None:
        """Print one of several documents: a line of JSON, or a YAML document."""
        if self.output is Output.JSON:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            typer.echo("---\n" + self._written(found), nl=False)

    def note(self, text: str) -> None:
        """Tell people something that is no result."""
        typer.echo(text, err=True)

    def _written(self, found: Any) -> str:
        if self.output is Output.JSON:
            return json.dumps(found, indent=2, ensure_ascii=False)
        import yaml

        return yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def on_terminal() -> bool:
    """Whether somebody watches the results."""
    return sys.stdout.isatty()


def can_ask() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def line(info: RolloutInfo, *, namespaces: bool = False) -> str:
    """A Rollout in one line, for logs and pipes."""
    name = f"{info.namespace}/{info.name}" if namespaces else info.name
    arms = [arm.shown for arm in (info.stable, info.candidate) if arm is not None]
    parts: Sequence[str] = (
        str(info.now).partition(".")[0].rpartition("T")[2] + "Z",
        name,
        info.phase or "Unseen",
        info.stage.name if info.stage is not None else "-",
        f"{info.weight}%",
        " -> ".join(arms) or "-",
        " ".join(info.message.split()),
    )
    return "  ".join(parts).rstrip()
