"""The decision log of one release, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from weir.view.parts import DecisionLine
from weir.view.words import acting

_MOST_OF_A_NAME = 24
"""Letters of a user's name on one line."""


def table(decisions: Sequence[DecisionLine]) -> Table:
    """One line for each decision, the oldest first."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("WHEN", "STAGE", "WEIGHT"):
        shown.add_column(column, no_wrap=True)
    # The name of an agent is long, and must not push out what it did.
    shown.add_column("BY", overflow="fold", max_width=_MOST_OF_A_NAME)
    shown.add_column("REASON", no_wrap=True)
    shown.add_column("MESSAGE", overflow="fold")
    for one in decisions:
        when = str(one.at).partition(".")[0] + "Z" if one.at is not None else "-"
        told = f"{one.message}{acting(one.authority)}"
        shown.add_row(when, one.stage or "-", f"{one.weight}%", one.actor or "-", one.reason, told)
    return shown
