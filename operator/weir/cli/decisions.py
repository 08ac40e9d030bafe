"""The decision log of one release, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from weir.view.parts import DecisionLine


def table(decisions: Sequence[DecisionLine]) -> Table:
    """One line for each decision, the oldest first."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("WHEN", "STAGE", "WEIGHT", "BY", "REASON"):
        shown.add_column(column, no_wrap=True)
    shown.add_column("MESSAGE", overflow="fold")
    for one in decisions:
        when = str(one.at).partition(".")[0] + "Z" if one.at is not None else "-"
        shown.add_row(when, one.stage or "-", f"{one.weight}%", one.actor or "-", one.reason, one.message)
    return shown
