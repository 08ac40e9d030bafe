"""A DataContract in plain words."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from weir.cli.show.why import lines, moves, section
from weir.view.contract import ContractExplanation


def contract(told: ContractExplanation) -> RenderableType:
    """The explanation as paragraphs and lists; what is wrong comes before what is promised."""
    parts: list[RenderableType] = [Text(told.headline, style="bold")]
    parts += section("What is wrong", lines(told.wrong))
    parts += section("It promises", [Text(f"  {line}") for line in told.promises])
    if told.pin:
        parts += section("Pin it in a ModelVersion as", [Text(f"  {told.pin}", overflow="fold", no_wrap=True)])
    parts += section("Used by", lines(told.used_by or ("nobody yet: no ModelVersion names it",)))
    parts += section("What it does to releases", lines(told.effects))
    parts += section("Next check", lines(told.next))
    parts += section("What you can do", moves(told.moves))
    return Group(*parts)
