"""Tiles time into windows of counts, both arms or neither. Pure: a function of what was added and of ``now``.

All times are seconds since the epoch on the operator's own clock. Window k of a gate is [origin + k*width,
origin + (k+1)*width). Events belong to the window in which their pod was read *before* them, so a window holds what the
counters gained from the first read in it to the first read after it: a constant lag of less than one read interval.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from math import floor, inf

from weir.api.rolloutstatus import Counts
from weir.release.observation import Arm, Share, Window

MAX_KEPT = 256
MAX_ERROR = 900
"""Longest text of an error, in characters; it has to fit into the status."""


@dataclass(frozen=True)
class Progress:
    """How far one arm has been read.

    ``asked``: since then every pod of the arm was asked; ``read``: the latest answer of any of them. ``problem`` says
    why there is none; ``invalid`` that an answer was unusable as data, which spoils the window whatever others say.
    """

    asked: float = -inf
    read: float = -inf
    problem: str | None = None
    invalid: str | None = None


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
    return replace(second, start=first.start, candidate=first.candidate + second.candidate, stable=stable)


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


class CountWindows:
    """Windows of one gate that counts bad and all events of each arm.

    A window closes when every pod of each arm was asked at or after its end and each arm has an answer; pods that keep
    silent are left behind after ``grace`` seconds. If an arm has no usable answer the window is an error without
    counts; what the counters gained meanwhile is counted, for both arms alike, in the next window that closes.
    Windows that could only be closed together become one.
    """

    def __init__(
        self, gate: str, *, origin: float, width: float, start: float, arms: tuple[Arm, ...], grace: float, query: str
    ) -> None:
        self.gate = gate
        self._tiles = Tiles(origin, width, start)
        self._start = start
        self._arms = arms
        self._grace = grace
        self.query = query
        self._open: dict[int, dict[Arm, tuple[int, int]]] = {}
        self.kept = Kept()

    @property
    def deadline(self) -> float:
        """When the open window is closed at the latest."""
        return self._tiles.next_end + self._grace

    def add(self, arm: Arm, after: float, bad: int, total: int) -> None:
        """Count events that happened after ``after`` (the previous read of their pod)."""
        if after >= self._start:
            self._put(max(self._tiles.next, self._tiles.index(after)), arm, bad, total)

    def advance(self, now: float, progress: Mapping[Arm, Progress]) -> bool:
        """Close what can be closed; True when something was."""
        arms = [progress.get(arm, Progress()) for arm in self._arms]
        late = self._tiles.ended(now - self._grace)
        asked = self._tiles.ended(min(now, *(p.asked for p in arms)))
        read = self._tiles.ended(min(now, *(p.read for p in arms)))
        invalid = next((p.invalid for p in arms if p.invalid), None)
        before = self._tiles.next
        if invalid is not None:
            self._close_error(max(asked, late), invalid)
        else:
            self._close_counts(max(min(asked, read), min(late, read)))
            behind = min(arms, key=lambda p: p.read)
            self._close_error(late, behind.problem or "counters were not read in time")
        return self._tiles.next > before

    def _put(self, index: int, arm: Arm, bad: int, total: int) -> None:
        counts = self._open.setdefault(index, {})
        old = counts.get(arm, (0, 0))
        counts[arm] = (old[0] + bad, old[1] + total)

    def _take(self, last: int) -> dict[Arm, tuple[int, int]]:
        sums = dict.fromkeys(self._arms, (0, 0))
        for index in [i for i in self._open if i <= last]:
            for arm, (bad, total) in self._open.pop(index).items():
                sums[arm] = (sums[arm][0] + bad, sums[arm][1] + total)
        return sums

    def _close_counts(self, last: int) -> None:
        if last < self._tiles.next:
            return
        start, end = self._tiles.start(self._tiles.next), self._tiles.start(last + 1)
        self._tiles.next = last + 1
        counts = {}
        for arm, (bad, total) in self._take(last).items():
            # Two counters are not read at the same instant: what does not add up yet waits for the next window.
            sure = min(max(bad, 0), total)
            counts[arm] = Counts(bad=sure, total=total)
            if bad != sure:
                self._put(last + 1, arm, bad - sure, 0)
        self.kept.add(Window(self.gate, start, end, counts["candidate"], counts.get("stable"), query=self.query))

    def _close_error(self, last: int, error: str) -> None:
        if last < self._tiles.next:
            return
        start, end = self._tiles.start(self._tiles.next), self._tiles.start(last + 1)
        self._tiles.next = last + 1
        for arm, (bad, total) in self._take(last).items():
            self._put(last + 1, arm, bad, total)
        self.kept.add(Window(self.gate, start, end, error=error[:MAX_ERROR], query=self.query))


class ValueWindows:
    """Windows of one threshold gate: the first value read at or after a window's end is its value."""

    def __init__(self, gate: str, *, origin: float, width: float, start: float, grace: float, query: str) -> None:
        self.gate = gate
        self._tiles = Tiles(origin, width, start)
        self._grace = grace
        self._query = query
        self._problem = "the query was not answered in time"
        self.kept = Kept()

    @property
    def deadline(self) -> float:
        """When the open window is closed at the latest."""
        return self._tiles.next_end + self._grace

    @property
    def due(self) -> float:
        """When the next value is wanted."""
        return self._tiles.next_end

    def value(self, at: float, value: Decimal | None) -> bool:
        """A value read at that time (None: the query answered with nothing); True when a window was closed."""
        return self._close(self._tiles.ended(at), value, None)

    def failed(self, at: float, error: str, *, final: bool) -> bool:
        """The query failed; ``final`` when asking again would not help within this window."""
        self._problem = error
        return self._close(self._tiles.ended(at), None, error) if final else self.advance(at)

    def advance(self, now: float) -> bool:
        """Close windows that waited too long; True when something was closed."""
        return self._close(self._tiles.ended(now - self._grace), None, self._problem)

    def _close(self, last: int, value: Decimal | None, error: str | None) -> bool:
        if last < self._tiles.next:
            return False
        start, end = self._tiles.start(self._tiles.next), self._tiles.start(last + 1)
        self._tiles.next = last + 1
        self.kept.add(Window(self.gate, start, end, value=value, error=error and error[:MAX_ERROR], query=self._query))
        return True


class ShareMeter:
    """Requests of each arm since collection began, published only when both arms were read since the last time."""

    def __init__(self, arms: tuple[Arm, ...]) -> None:
        self._arms = arms
        self._counted: dict[Arm, int] = dict.fromkeys(arms, 0)
        self._published_at = -inf
        self.share: Share | None = None

    def add(self, arm: Arm, total: int) -> None:
        """Count requests."""
        self._counted[arm] += total

    def publish(self, progress: Mapping[Arm, Progress]) -> bool:
        """Update ``share`` if both arms moved on; True when it changed."""
        arms = [progress.get(arm, Progress()) for arm in self._arms]
        both = min(min(p.asked, p.read) for p in arms)
        if both <= self._published_at or any(p.invalid for p in arms):
            return False
        self._published_at = max(p.asked for p in arms)
        share = Share(self._counted["candidate"], self._counted.get("stable", 0))
        changed = share != self.share
        self.share = share
        return changed
