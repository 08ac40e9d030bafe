"""One stream of counters for the arms of a release, and what is filled from it. Pure; the tasks bring the readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from weir.evidence.checkpoint import Amounts, Standing, add
from weir.evidence.counters import Counters, Increment, Series, Values
from weir.evidence.errors import DataError, ReadError
from weir.evidence.templates import Reading, bad_code
from weir.evidence.tiles import Progress
from weir.evidence.windows import CountWindows, ShareMeter
from weir.release.observation import Arm


@dataclass
class _Source:
    """One thing that is asked for an arm's counters: a pod, or a query."""

    asked: float = -inf
    read: float = -inf
    found: bool = False
    problem: str | None = None
    invalid: bool = False


Judge = Callable[[Series, Values], Amounts]
"""What the counters of a series mean: all events, then the bad ones, or those slower than each edge, or a sum."""


@dataclass(eq=False)
class Feed:
    """One stream of counters for the arms of a release, and the windows and the share that are filled from it."""

    counters: Counters
    judge: Judge
    metric: str
    windows: list[CountWindows] = field(default_factory=list)
    share: ShareMeter | None = None
    sources: dict[Arm, dict[str, _Source]] = field(default_factory=dict)
    edges: dict[Arm, set[tuple[float, ...]]] = field(default_factory=dict)
    flaw: str | None = None
    owner: Callable[[Series], str] | None = None
    """Which arm a series is of, where one unit counts for both."""
    _units: dict[Arm, set[str]] = field(default_factory=dict)

    def expect(self, arm: Arm, names: Iterable[str]) -> None:
        """From now on these sources (pods) are asked for the arm; others no longer hold a window open."""
        old = self.sources.get(arm, {})
        self.sources[arm] = {name: old.get(name) or _Source() for name in names}
        self._units[arm] = {unit for unit in self._units.get(arm, ()) if unit not in old or unit in self.sources[arm]}

    def count(
        self,
        arms: Iterable[Arm],
        unit: str,
        at: float,
        values: Mapping[Series, Values],
        *,
        born: float | None = None,
        process: float | None = None,
    ) -> None:
        """Count what a unit gained, by what its counters say at ``at``. Raises DataError as ``Counters.read`` does."""
        arms = tuple(arms)
        new = [arm for arm in arms if unit not in self._units.get(arm, ())]
        known = any(windows.awaits(arm, unit) for windows in self.windows for arm in new)
        gained = self.counters.read(unit, at, values, born=born, process=process, known=known)
        for arm in new:
            self._units.setdefault(arm, set()).add(unit)
            standing = self.standing(arm).get(unit)
            if known and standing is not None:
                for windows in self.windows:
                    windows.catch_up(arm, unit, standing, rebase=self.counters.rebase)
        for increment in gained:
            for arm in arms:
                if self.owner is None or self.owner(increment.series) == arm:
                    self._add(arm, unit, increment)

    def _add(self, arm: Arm, unit: str, increment: Increment) -> None:
        amounts = self.judge(increment.series, increment.amounts)
        for windows in self.windows:
            windows.add(arm, increment.after, amounts, unit)
        if self.share is not None:
            self.share.add(arm, round(amounts[0]))

    def standing(self, arm: Arm) -> dict[str, Standing]:
        """What the counters of an arm's units said when last read; units that have not settled are left out."""
        found = {}
        for unit in sorted(self._units.get(arm, ())):
            state = self.counters.standing(unit)
            if state is not None:
                series, process = state
                amounts: Amounts = ()
                for name, values in series.items():
                    if self.owner is None or self.owner(name) == arm:
                        amounts = add(amounts, self.judge(name, values))
                found[unit] = Standing(amounts, process)
        return found

    def read(self, arm: Arm, source: str, at: float, reading: Reading) -> None:
        """A source was read at ``at``."""
        state = self.sources.get(arm, {}).get(source)
        if state is not None:
            state.asked = state.read = at
            state.found = state.found or reading.found
            state.problem, state.invalid = None, False
        self.edges.setdefault(arm, set()).update(reading.edges)
        self.flaw = reading.flaw or self.flaw

    def failed(self, arm: Arm, source: str, at: float, error: ReadError) -> None:
        """A source was asked at ``at`` and gave nothing that can be used."""
        state = self.sources.get(arm, {}).get(source)
        if state is not None:
            state.asked = at
            state.problem, state.invalid = str(error), isinstance(error, DataError)

    def progress(self, arm: Arm, pool: str) -> Progress:
        """How far an arm has been read."""
        states = self.sources.get(arm, {})
        if not states:
            return Progress(problem=f"no pods of {arm} '{pool}' are known")
        asked = min(state.asked for state in states.values())
        named = [f"{name}: {s.problem}" if len(states) > 1 else s.problem for name, s in states.items() if s.problem]
        broken = next((s.problem for s in states.values() if s.invalid), None)
        if broken:
            return Progress(asked, -inf, invalid=f"metrics of {arm} '{pool}' are unusable: {broken}")
        read = max(state.read for state in states.values())
        if read > -inf and not any(state.found for state in states.values()):
            return Progress(asked, -inf, f"there is no metric {self.metric} of {arm} '{pool}' (spec.metrics.names)")
        answered = sum(1 for state in states.values() if state.read > -inf and state.problem is None)
        problem = f"no metrics of {arm} '{pool}': {named[0]}" if named else None
        return Progress(asked, read, problem, units=answered)

    def comparable(self, progress: Mapping[Arm, Progress]) -> Mapping[Arm, Progress]:
        """Progress for judging: counts that a gate cannot use, or that mean different things, are invalid."""
        flaw, layouts = self.flaw, set().union(*self.edges.values())
        if len(layouts) > 1:
            told = "; ".join(
                f"{arm} {' or '.join(map(_seconds, sorted(layouts)))}" for arm, layouts in self.edges.items() if layouts
            )
            flaw = f"pods have different histogram bucket edges, so latencies cannot be compared: {told}"
        if flaw is None:
            return progress
        return {arm: Progress(p.asked, p.read, p.problem, p.invalid or flaw) for arm, p in progress.items()}

    def lenient(self, progress: Mapping[Arm, Progress]) -> Mapping[Arm, Progress]:
        """For the share, an arm that was read and has not counted anything yet has served nothing."""
        lenient = {}
        for arm, state in progress.items():
            sources = self.sources.get(arm, {}).values()
            read = max((s.read for s in sources), default=-inf)
            lenient[arm] = Progress(state.asked, read, state.problem, state.invalid)
        return lenient

    def known(self) -> bool:
        """Whether the metric exists on any arm."""
        return any(state.found for states in self.sources.values() for state in states.values())


def _seconds(edges: tuple[float, ...]) -> str:
    return ", ".join(f"{edge:g} s" for edge in edges)


def by_code(series: Series, values: Values) -> Amounts:
    """Requests, and those that the server failed; the series begins with the status code."""
    return values[0], values[0] if bad_code(series[0]) else 0


def by_bucket(_: Series, values: Values) -> Amounts:
    """Requests, and those slower than each edge; the values are all requests, then those within each edge."""
    return values[0], *(values[0] - within for within in values[1:])


def bad_or_total(series: Series, values: Values) -> Amounts:
    """All events, or bad ones: two queries, read one after the other."""
    return (0, values[0]) if series[0] == "bad" else (values[0], 0)


def count_and_sum(_: Series, values: Values) -> Amounts:
    """Events and the sum over them."""
    return values
