"""How time is tiled: bounds of windows, how far the arms were read, and windows that wait to be taken. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import floor, inf
from typing import Literal

from weir.release.observation import Window

MAX_KEPT = 256
MAX_ERROR = 900
"""Longest text of an error, in characters; it has to fit into the status."""


@dataclass(frozen=True)
class Progress:
    """How far one arm has been read.

    ``asked``: since then every pod of the arm was asked; ``read``: the latest answer of any of them. ``problem`` says
    why there is none; ``invalid`` that an answer was unusable as data, which spoils the window whatever others say.
    ``units``: pods that answered.
    """

    asked: float = -inf
    read: float = -inf
    problem: str | None = None
    invalid: str | None = None
    units: int = 0


@dataclass(frozen=True)
class Plan:
    """What a gate counts, and in which windows (seconds since the epoch and seconds).

    ``measure``: bad events; events slower than each edge; or a sum over all events. ``question`` identifies what is
    counted, so that a restart never goes on with the counts of something else.
    """

    gate: str
    origin: float
    start: float
    width: float
    grace: float
    query: str = ""
    question: str = ""
    measure: Literal["bad", "slower", "sum"] = "bad"


class Kept:
    """Closed windows until acknowledged. Beyond ``MAX_KEPT`` the two oldest become one, so no count is lost."""

    def __init__(self) -> None:
        self._windows: deque[Window] = deque()

    def add(self, window: Window) -> None:
        """Keep a window later than all others."""
        self._windows.append(window)
        if len(self._windows) > MAX_KEPT:
            first, second = self._windows.popleft(), self._windows.popleft()
            self._windows.appendleft(_merged(first, second))

    def after(self, end: float) -> tuple[Window, ...]:
        """Windows that end later than ``end``; the others are acknowledged by this and dropped."""
        while self._windows and self._windows[0].end <= end:
            self._windows.popleft()
        return tuple(self._windows)


def _merged(first: Window, second: Window) -> Window:
    if first.error is not None or first.value is not None:
        return replace(second, start=first.start)
    if second.error is not None:
        return replace(first, end=second.end)
    stable = first.stable + second.stable if first.stable is not None and second.stable is not None else None
    slower = {edge.above: edge for edge in first.edges}
    edges = tuple(
        replace(
            edge,
            candidate=edge.candidate + slower[edge.above].candidate,
            stable=edge.stable + slower[edge.above].stable,
        )
        if edge.above in slower
        else edge
        for edge in second.edges
    )
    return replace(
        second,
        start=first.start,
        candidate=first.candidate + second.candidate,
        stable=stable,
        edges=edges or first.edges,
        candidate_sum=first.candidate_sum + second.candidate_sum,
        stable_sum=first.stable_sum + second.stable_sum,
    )


class Tiles:
    """Boundaries of windows, rounded to milliseconds as they are stored, so that a stored end is this very end."""

    def __init__(self, origin: float, width: float, start: float) -> None:
        self._origin = round(origin, 3)
        self._width = width
        self.next = max(0, floor((start - self._origin) / width))

    def start(self, index: int) -> float:
        """Start of a window; also the end of the one before it."""
        return round(self._origin + index * self._width, 3)

    def index(self, time: float) -> int:
        """The window that ``time`` falls in; -1 for any time before the first."""
        if time < self._origin:
            return -1
        guess = max(0, floor((time - self._origin) / self._width))
        if self.start(guess) > time:
            return guess - 1
        return guess + 1 if self.start(guess + 1) <= time else guess

    def ended(self, time: float) -> int:
        """The last window that has ended at ``time``; -1 when none has."""
        return self.index(time) - 1 if time >= self._origin else -1

    @property
    def next_end(self) -> float:
        """When the open window ends."""
        return self.start(self.next + 1)
