"""Situations as text, as a terminal without colour shows them."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType

from weir.cli.show import status, why
from weir.view.model import RolloutInfo
from weir.view.read import Node
from weir.view.why import explain


def info_of(objects: dict[str, Any]) -> RolloutInfo:
    """The view of a recorded situation at its time."""
    now = Node(objects).time("now")
    assert now is not None
    return RolloutInfo.of(objects["rollout"], objects["requests"], objects["records"], objects["versions"], now)


def printed(content: RenderableType, width: int = 100, *, colour: bool = False) -> str:
    """What the terminal shows, without blanks at the ends of lines."""
    console = Console(
        width=width,
        file=io.StringIO(),
        color_system="truecolor" if colour else None,
        force_terminal=colour,
        no_color=not colour,
    )
    console.print(content)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def transcripts(objects: dict[str, Any], width: int = 100) -> dict[str, str]:
    """Everything that is kept of a situation: ``why`` and ``status``."""
    info = info_of(objects)
    return {"why": printed(why(explain(info)), width), "status": printed(status(info), width)}
