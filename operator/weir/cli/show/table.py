"""Many Rollouts, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from weir.cli.show.style import style_of
from weir.view.brief import waits_for
from weir.view.model import RolloutInfo
from weir.view.words import duration


def table(infos: Sequence[RolloutInfo], *, namespaces: bool = False) -> RenderableType:
    """One line for each Rollout; ``namespaces``: with a column for the namespace."""
    # Expanded, so that only the last column gives way where the terminal is narrow.
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    if namespaces:
        found.add_column("NAMESPACE", no_wrap=True)
    for name in ("NAME", "PHASE", "VERSION", "SHARE", "STEP"):
        found.add_column(name, no_wrap=True)
    found.add_column("SINCE", no_wrap=True, justify="right")
    found.add_column("WAITS FOR", no_wrap=True, overflow="ellipsis", ratio=1)
    for info in infos:
        row: list[str | Text] = [
            info.name,
            Text(info.phase or "-", style=style_of(info.phase)),
            _versions(info),
            _share(info),
        ]
        row += [info.stage.name if info.stage is not None else "-", _since(info), waits_for(info) or "-"]
        cells = [info.namespace, *row] if namespaces else row
        found.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return found


def _versions(info: RolloutInfo) -> str:
    old = info.stable.shown if info.stable is not None else ""
    new = info.candidate.shown if info.candidate is not None else ""
    return f"{old or '-'} > {new}" if new else old or "-"


def _share(info: RolloutInfo) -> str:
    return f"{info.weight} %" if info.candidate is not None else "-"


def _since(info: RolloutInfo) -> str:
    """How long the release has run, or been over."""
    if info.candidate is not None:
        at = info.release_started_at
    else:
        at = info.history[0].finished_at if info.history else info.created_at
    return duration(info.now - at) if at is not None else "-"
