"""The explanation of one Rollout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weir.view.explanation import Explanation, Move

_QUOTE = "'"


def why(explanation: Explanation) -> RenderableType:
    """The explanation as paragraphs and lists, commands on lines of their own."""
    parts: list[RenderableType] = [Text(explanation.headline, style="bold")]
    for note in explanation.notes:
        parts += [Text(""), Text(f"Note: {note}", style="yellow")]
    parts += section("It waits for", lines(explanation.waiting_for))
    parts += section("What is known", lines(explanation.evidence))
    parts += section(_title(explanation), moves(explanation.moves))
    parts += section("How long", lines((explanation.takes or "").splitlines()))
    return Group(*parts)


def _title(explanation: Explanation) -> str:
    return "What makes it move" if explanation.waiting_for else "What you can do"


def section(title: str, content: Sequence[RenderableType]) -> list[RenderableType]:
    """A title and what is below it; nothing where that is nothing."""
    return [Text(""), Text(title, style="bold cyan"), *content] if content else []


def lines(texts: Iterable[str]) -> list[RenderableType]:
    """Each text with a dash before it."""
    return [_item(Text(text)) for text in texts]


def _item(*content: RenderableType) -> RenderableType:
    """Something with a dash before it and a margin below the dash."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row("  -", Group(*content))
    return grid


def moves(offered: Sequence[Move]) -> list[RenderableType]:
    """What happens by itself, and what one can do, with the commands."""
    alone = [_item(Text(move.text)) for move in offered if move.by_itself]
    asked = [_item(Text(move.text), *_command(move)) for move in offered if not move.by_itself]
    if alone and asked:
        return [Text("  By itself:"), *alone, Text("  You can:"), *asked]
    return [*alone, *asked]


def _command(move: Move) -> list[RenderableType]:
    return [Padding(Command(move.command), (0, 0, 0, 2))] if move.command else []


class Command:
    """A shell command that can be copied at any width: where it is too long, lines end with a backslash."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        folded = list(_folded(_words(self._command), options.max_width))
        for place, line in enumerate(folded):
            yield Text(line + (" \\" if place + 1 < len(folded) else ""), style="green", overflow="fold")


def _words(command: str) -> Iterator[str]:
    """Words of a shell command; what is in single quotes stays together."""
    word: list[str] = []
    for part in command.split(" "):
        word.append(part)
        if " ".join(word).count(_QUOTE) % 2 == 0:
            yield " ".join(word)
            word = []
    if word:
        yield " ".join(word)


def _folded(words: Iterable[str], width: int) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width - 2:
            yield line
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    yield line
