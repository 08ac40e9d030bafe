"""The past of a service as counts per pod in windows that tile time; kept in a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TextIO

FORMAT = "weir-backtest/1"
"""First field of the file's first line."""


class HistoryError(ValueError):
    """The history cannot be used; the message says where and why."""


class PodCounts(NamedTuple):
    """Counts of one pod in one window.

    ``slower``: timed requests slower than each of the history's edges. ``timed`` are all requests of the histogram.
    """

    total: int = 0
    bad: int = 0
    timed: int = 0
    slower: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """One window: from ``start`` (seconds since the epoch), the counts of every pod that could be read at both ends."""

    start: float
    pods: Mapping[str, PodCounts]


@dataclass(frozen=True)
class History:
    """Windows of ``width`` seconds in order of time, with gaps where nothing was read; ``edges`` in seconds."""

    width: float
    edges: tuple[float, ...] = ()
    moments: tuple[Moment, ...] = field(default_factory=tuple)

    def runs(self) -> tuple[tuple[int, int], ...]:
        """Spans of moments without a gap: index of the first, and of the one after the last."""
        breaks = [i + 1 for i, (a, b) in enumerate(pairwise(self.moments)) if b.start - a.start > 1.5 * self.width]
        ends = [0, *breaks, len(self.moments)]
        return tuple((a, b) for a, b in pairwise(ends) if b > a)

    def merged(self, windows: int) -> History:
        """The same past in windows that are that many times as wide; what is left of a run's end is dropped."""
        if windows == 1:
            return self
        wide: list[Moment] = []
        for first, last in self.runs():
            for at in range(first, last - windows + 1, windows):
                wide.append(_merged(self.moments[at : at + windows]))
        return History(self.width * windows, self.edges, tuple(wide))


def _merged(moments: Sequence[Moment]) -> Moment:
    """One window of several; of pods that were read in all of them."""
    pods: dict[str, PodCounts] = {}
    for name in moments[0].pods:
        counts = [m.pods[name] for m in moments if name in m.pods]
        if len(counts) == len(moments):
            pods[name] = summed(counts)
    return Moment(moments[0].start, pods)


def summed(counts: Iterable[PodCounts]) -> PodCounts:
    """Counts of several pods or windows together; all of them know the same edges."""
    total = bad = timed = 0
    slower: tuple[int, ...] = ()
    for c in counts:
        total += c.total
        bad += c.bad
        timed += c.timed
        slower = tuple(a + b for a, b in zip(slower, c.slower, strict=True)) if slower else c.slower
    return PodCounts(total, bad, timed, slower)


def write(history: History, file: TextIO) -> None:
    """Writes the history as JSON lines: what it is, then one line a window."""
    head = {"format": FORMAT, "width": history.width, "edges": list(history.edges)}
    file.write(json.dumps(head) + "\n")
    for moment in history.moments:
        pods = {name: _listed(counts) for name, counts in moment.pods.items()}
        file.write(json.dumps({"start": moment.start, "pods": pods}, separators=(",", ":")) + "\n")


def _listed(counts: PodCounts) -> list[Any]:
    return [counts.total, counts.bad, counts.timed, *counts.slower]


def read(lines: Iterable[str]) -> History:
    """The history that ``write`` wrote, or anybody else did. Raises HistoryError naming the line that is wrong."""
    numbered = enumerate(lines, 1)
    head = _object(*next(numbered, (1, "")))
    if head.get("format") != FORMAT:
        raise HistoryError(f'line 1 must be {{"format": "{FORMAT}", "width": SECONDS, "edges": [SECONDS, …]}}')
    try:
        width, edges = float(head["width"]), tuple(float(edge) for edge in head.get("edges", []))
    except (KeyError, TypeError, ValueError) as error:
        raise HistoryError(f"line 1: width and edges must be numbers of seconds ({error!r})") from None
    if not width > 0 or any(not a < b for a, b in pairwise((0.0, *edges))):
        raise HistoryError("line 1: width must be positive, and edges must rise")
    moments = tuple(_moments(numbered, len(edges)))
    if any(b.start - a.start < width * 0.999 for a, b in pairwise(moments)):
        raise HistoryError("windows overlap, or are not in order of time")
    return History(width, edges, moments)


def _moments(lines: Iterator[tuple[int, str]], edges: int) -> Iterator[Moment]:
    for number, line in lines:
        if not line.strip():
            continue
        fields = _object(number, line)
        try:
            pods = {str(name): _counts(values, edges) for name, values in fields["pods"].items()}
            yield Moment(float(fields["start"]), pods)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HistoryError(f"line {number}: {error}") from None


def _counts(values: Sequence[int], edges: int) -> PodCounts:
    if len(values) == 2:
        values = [*values, 0, *([0] * edges)]
    if len(values) != 3 + edges or not all(type(v) is int and v >= 0 for v in values):
        raise ValueError(
            f"a pod needs [total, bad] or [total, bad, timed, slower than each of {edges} edges]: {values}"
        )
    total, bad, timed, *slower = values
    if bad > total or any(b > a for a, b in pairwise((timed, *slower))):
        raise ValueError(f"more bad than all, or counts of slower requests that rise: {values}")
    return PodCounts(total, bad, timed, tuple(slower))


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise HistoryError(f"line {number} is no JSON object")
    return fields
