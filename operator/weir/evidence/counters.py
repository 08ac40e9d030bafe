"""From raw counters to increments: baselines, restarts, missed reads. Pure; time is an argument.

A unit is what is read as a whole (a pod, a gateway's instance): a series that a unit did not have when it was last read
started from zero since then. Every event is counted at most once, and exactly once when nothing is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weir.evidence.errors import DataError

Series = tuple[str, ...]
"""Identity of counters that restart together, such as the labels of one histogram."""

Values = tuple[float, ...]
"""Counters of one series, all of them non-decreasing until a restart."""


@dataclass(frozen=True)
class Increment:
    """Events of one series, seen now, that happened after ``after`` (the time of the unit's previous read)."""

    series: Series
    amounts: Values
    after: float


@dataclass
class _Unit:
    read_at: float
    baseline: dict[Series, Values]
    settled: bool
    process: float | None = None
    past: set[float] = field(default_factory=set)


class Counters:
    """Raw counters of all units of one release.

    ``on_drop``: a counter that falls was restarted and counts from zero (``restart``); or it is a sum over pods, one of
    which has gone, and only becomes the new baseline (``rebase``): counted from zero it would count events twice.
    ``settle``: the source shows counters with a delay (Prometheus): the first *change* of a unit is the baseline, since
    an unchanged value may be older than the collection. ``whole``: counters count events; else they are sums.
    """

    def __init__(
        self, *, on_drop: Literal["restart", "rebase"] = "restart", settle: bool = False, whole: bool = True
    ) -> None:
        self.rebase = on_drop == "rebase"
        self._settle = settle
        self._whole = whole
        self._units: dict[str, _Unit] = {}

    def read(
        self,
        unit: str,
        at: float,
        values: Mapping[Series, Values],
        *,
        born: float | None = None,
        process: float | None = None,
        known: bool = False,
    ) -> tuple[Increment, ...]:
        """Increments since the unit's previous read.

        ``born``: when the unit is known not to have existed yet; without it the first read is a baseline and counts
        for nothing. ``known``: such a baseline need not settle, for what the unit had counted when the collection was
        last at work is known. ``process`` identifies the process that answered; another one starts from zero. Raises
        DataError when an earlier process answers again: several share the port, and their counters cannot be told
        apart.
        """
        state = self._units.get(unit)
        if state is None:
            if born is None:
                self._units[unit] = _Unit(at, dict(values), known or not self._settle, process)
                return ()
            state = self._units[unit] = _Unit(born, {}, True, process)
        if not state.settled:
            state.settled = any(state.baseline.get(series) != now for series, now in values.items())
            state.baseline, state.read_at = dict(values), at
            return ()
        self._restarted(unit, state, process)
        found = []
        for series, now in values.items():
            amounts = self._gained(state.baseline.get(series), now)
            if any(amounts):
                found.append(Increment(series, amounts, state.read_at))
        # Series that vanished keep their baseline: a page that lost one for a moment must not count it again.
        state.baseline.update(values)
        state.read_at = at
        return tuple(found)

    def standing(self, unit: str) -> tuple[Mapping[Series, Values], float | None] | None:
        """What a unit's counters said when last read, and the process that answered; None before they settled."""
        state = self._units.get(unit)
        if state is None or not state.settled:
            return None
        return {series: self._counted(values) for series, values in state.baseline.items()}, state.process

    def _restarted(self, unit: str, state: _Unit, process: float | None) -> None:
        if process is None or process == state.process:
            return
        if process in state.past:
            raise DataError(
                f"several processes answer on the metrics port of {unit}, each with counters of its own;"
                " serve one page for all of them (prometheus_client: multiprocess mode)"
            )
        if state.process is not None:
            state.past.add(state.process)
            state.baseline = {}
        state.process = process

    def _gained(self, before: Values | None, now: Values) -> Values:
        if before is None:
            return self._counted(now)
        if any(value < old for value, old in zip(now, before, strict=True)):
            return (0,) * len(now) if self.rebase else self._counted(now)
        # Rounding each reading rather than the difference keeps the sum over all reads exact.
        return tuple(a - b for a, b in zip(self._counted(now), self._counted(before), strict=True))

    def _counted(self, values: Values) -> Values:
        return tuple(round(value) for value in values) if self._whole else values
