"""The pictures of the report as SVG text: the same bytes for the same results."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_OURS = "#0b57d0"
_COLOURS = (
    "#8c8c8c",
    "#b07aa1",
    "#d37295",
    "#e15759",
    "#9c755f",
    "#c9a227",
    "#76b7b2",
    "#59a14f",
    "#f28e2b",
    "#0b57d0",
)
_STYLE: Any = {
    "svg.hashsalt": "weir",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _drawn(width: float, height: float, draw: Callable[[Any], None]) -> str:
    """A figure of so many inches as SVG, without a date."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _colour(name: str, names: Sequence[str]) -> str:
    return _OURS if name == "Weir" else _COLOURS[list(names).index(name) % len(_COLOURS)]


def strip(title: str, rows: Mapping[str, Sequence[tuple[float, bool]]], limit: float) -> str:
    """Shares (0-1) as points, full or hollow, one row a name, with a line at ``limit``."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(limit, color="#e15759", linewidth=1)
        for place, (name, points) in enumerate(rows.items()):
            tint = _colour(name, list(rows))
            for full in (True, False):
                shares = [share for share, kind in points if kind is full]
                face = tint if full else "none"
                axes.scatter(shares, [place] * len(shares), s=22, facecolors=face, edgecolors=tint, alpha=0.75)
        axes.set_xscale("function", functions=(_root, _square))
        axes.set_xlim(0, 1.02)
        axes.set_xticks(
            [0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 1], ["0", "1 %", "5 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
        )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set_title(title, loc="left")

    return _drawn(8, 0.6 + 0.32 * len(rows), draw)


def _root(shares: Any) -> Any:
    return abs(shares) ** 0.5


def _square(roots: Any) -> Any:
    return roots**2


Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name → points."""


def curves(
    title: str, panels: Mapping[str, Series], names: Sequence[str], dashed: Mapping[str, Collection[str]]
) -> str:
    """Panels side by side with requests over ratios; both axes are logarithmic.

    ``names`` fix the colours; ``dashed``: panel → names that are drawn as dashed lines.
    """

    def draw(figure: Any) -> None:
        figure.suptitle(title, x=0.01, ha="left")
        lines: dict[str, Any] = {}
        for axes, (world, series) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for name, points in series.items():
                xs, ys = zip(*points, strict=True)
                width = 2.6 if name == "Weir" else 1.2
                style = "--" if name in dashed[world] else "-"
                (line,) = axes.plot(xs, ys, style, color=_colour(name, names), linewidth=width, marker=".")
                lines.setdefault(name, line)
            axes.set(xscale="log", yscale="log", title=world, xlabel="rate of bad requests, candidate : stable")
            axes.set_xticks(xs, [f"×{x:g}" for x in xs])
            axes.minorticks_off()
            axes.set_ylabel("requests")
            axes.grid(visible=True, axis="y", color="#e4e4e4")
        figure.legend(lines.values(), lines.keys(), loc="outside lower left", ncols=4, frameon=False)

    return _drawn(max(7, 3.6 * len(panels)), 4, draw)


def stacked(title: str, rows: Mapping[str, tuple[float, float, float]], labels: tuple[str, str, str]) -> str:
    """Three shares (0-1) a row."""

    def draw(figure: Any) -> None:
        axes, left = figure.subplots(), [0.0] * len(rows)
        for place, (label, tint) in enumerate(zip(labels, ("#59a14f", "#e15759", "#bab0ac"), strict=True)):
            shares = [row[place] for row in rows.values()]
            axes.barh(range(len(rows)), shares, left=left, color=tint, label=label, height=0.75)
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.invert_yaxis()
        axes.set_title(title, loc="left")
        figure.legend(loc="outside lower left", ncols=3, frameon=False)

    return _drawn(8, 1 + 0.22 * len(rows), draw)
