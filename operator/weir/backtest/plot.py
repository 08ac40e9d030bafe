"""A backtest's report as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from weir.backtest.report import Rate, Report, Result

_ROLLED_BACK, _PROMOTED, _REST = "#c0392b", "#2e7d32", "#b0b0b0"


class NoPlotError(Exception):
    """There is nothing to draw with; the message says what to install."""


def draw(report: Report, path: Path) -> None:
    """Writes the picture; its format is that of the file's name, such as ``.svg``. Equal reports give equal files.

    Raises NoPlotError without matplotlib, OSError when the file cannot be written, ValueError for an unknown format.
    """
    try:
        matplotlib: Any = import_module("matplotlib")
        matplotlib.use("agg")
        pyplot: Any = import_module("matplotlib.pyplot")
    except ImportError as error:
        raise NoPlotError("plots need matplotlib: pip install 'weir-operator[plot]'") from error
    with matplotlib.rc_context({"svg.hashsalt": "weir", "svg.fonttype": "none", "font.size": 9}):
        results = (report.harmless, *report.regressions)
        figure, (left, right) = pyplot.subplots(
            1, 2, figsize=(10, 1.4 + 0.42 * len(results)), sharey=True, layout="constrained"
        )
        try:
            _shares(left, results)
            _exposure(right, results)
            figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
            figure.suptitle(f"{report.rollout}: pseudo releases over the past", x=0.01, ha="left")
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        finally:
            pyplot.close(figure)


def _shares(axes: Any, results: Sequence[Result]) -> None:
    """Bars of how the releases ended, with the interval of what was rolled back."""
    places = list(range(len(results)))
    back = [_percent(r.rolled_back) + _percent(r.by_policy) for r in results]
    promoted = [_percent(r.promoted) for r in results]
    axes.barh(places, back, color=_ROLLED_BACK, label="rolled back")
    axes.barh(places, promoted, left=back, color=_PROMOTED, label="promoted")
    rest = [100 - b - p for b, p in zip(back, promoted, strict=True)]
    axes.barh(places, rest, left=[b + p for b, p in zip(back, promoted, strict=True)], color=_REST, label="held")
    for place, result in zip(places, results, strict=True):
        low, high = result.rolled_back.interval
        axes.plot([low * 100, high * 100], [place, place], color="black", linewidth=1.2)
    axes.set_yticks(places, [r.regression or "as good as stable" for r in results])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of releases; black: 95 % interval of what the gates rolled back")


def _exposure(axes: Any, results: Sequence[Result]) -> None:
    """What a regression cost before it was rolled back."""
    seen = [(place, r) for place, r in enumerate(results) if r.regression and r.harmed_to_roll_back]
    axes.set_xlabel("bad or slow requests until rolled back (median)")
    if not seen:
        axes.text(0.5, 0.5, "no regression was rolled back", ha="center", transform=axes.transAxes)
        return
    counts = [max(1.0, r.harmed_to_roll_back or 1.0) for _, r in seen]
    axes.barh([place for place, _ in seen], counts, color=_ROLLED_BACK)
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(counts) * 15)
    for (place, result), count in zip(seen, counts, strict=True):
        minutes = (result.seconds_to_roll_back or 0.0) / 60
        axes.text(count * 1.1, place, f"{count:,.0f} in {minutes:.3g} min", va="center")


def _percent(rate: Rate) -> float:
    return rate.share * 100
