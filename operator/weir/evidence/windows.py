"""Tiles time into windows of counts, both arms or neither. Pure: a function of what was added and of ``now``.

All times are seconds since the epoch on the operator's own clock. Window k of a gate is [origin + k*width,
origin + (k+1)*width). Events belong to the window in which their pod was read *before* them, so a window holds what the
counters gained from the first read in it to the first read after it: a constant lag of less than one read interval.

A Prometheus adds the time since its last scrape to that lag. So a window of such a source is at least as long as a
scrape and a read (``least``), that every pod which serves shows something new in it; and what its first scrape in a
stage shows is the baseline, that nothing of the weights before can count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from math import inf

from weir.api.evidencestatus import Counts
from weir.evidence.checkpoint import Amounts, Resumption, Standing, add, encode, less, missed
from weir.evidence.noise import GateNoise
from weir.evidence.tiles import MAX_ERROR, Kept, Plan, Progress, Tiles
from weir.release.observation import Arm, Edge, Share, Window


class CountWindows:
    """Windows of one gate that counts bad and all events of each arm.

    A window closes when every pod of each arm was asked at or after its end and each arm has an answer; pods that keep
    silent are left behind after ``grace`` seconds. If an arm has no usable answer the window is an error without
    counts; what the counters gained meanwhile is counted, for both arms alike, in the next window that closes.
    Windows that could only be closed together become one, and so do ``least`` tiles of a source that is slower.
    """

    def __init__(self, plan: Plan, *, arms: tuple[Arm, ...]) -> None:
        """Begins at ``plan.start``."""
        self.gate = plan.gate
        self._plan = plan
        self._tiles = Tiles(plan.origin, plan.width, plan.start)
        self._start = plan.start
        self._arms = arms
        self._open: dict[int, dict[Arm, dict[str, Amounts]]] = {}
        self._resumed: Resumption | None = None
        self._patient_until = plan.start + plan.grace
        self.least = 1
        """Tiles that a window has at least, so that each pod's counters can move in it."""
        self.noise: GateNoise | None = None
        """Measured on the counts of stable's units."""
        self.edges: tuple[float, ...] = ()
        """Edges in seconds, of a gate that compares whole latency distributions."""
        self.standing: Callable[[Arm], Mapping[str, Standing]] = lambda _: {}
        """What the counters of an arm say now."""
        self.kept = Kept()

    def resume(self, resumed: Resumption, now: float) -> None:
        """Go on from where an earlier collection left off, instead of from the start."""
        self._resumed = resumed
        self._tiles.next = max(0, self._tiles.index(resumed.end))
        self._patient_until = now + self._plan.grace

    @property
    def question(self) -> str:
        """Identifies what is counted."""
        return self._plan.question

    @property
    def deadline(self) -> float:
        """When the open window is closed at the latest."""
        return max(self._tiles.start(self._tiles.next + self.least) + self._plan.grace, self._patient_until)

    def add(self, arm: Arm, after: float, amounts: Amounts, unit: str = "") -> None:
        """Count events of a unit that happened after ``after`` (its previous read).

        The stream may carry an arm that is not counted here: noise is measured on stable's pods alone.
        """
        if arm in self._arms and after >= self._start:
            self._put(max(self._tiles.next, self._tiles.index(after)), arm, unit, amounts)

    def awaits(self, arm: Arm, unit: str) -> bool:
        """Whether it is known what the unit had counted when an earlier collection left off."""
        return self._resumed is not None and unit in self._resumed.standings.get(arm, {})

    def catch_up(self, arm: Arm, unit: str, now: Standing, *, rebase: bool) -> None:
        """A unit was read for the first time: count what it gained since an earlier collection left off."""
        before = self._resumed.standings.get(arm, {}).pop(unit, None) if self._resumed is not None else None
        if self._resumed is not None and before is not None:
            index = max(self._tiles.next, self._tiles.index(self._resumed.end))
            self._put(index, arm, unit, missed(before, now, rebase=rebase))

    def advance(self, now: float, progress: Mapping[Arm, Progress]) -> bool:
        """Close what can be closed; True when something was."""
        arms = {arm: progress.get(arm, Progress()) for arm in self._arms}
        late = self._tiles.ended(now - self._plan.grace) if now >= self._patient_until else -1
        asked = self._tiles.ended(min(now, *(p.asked for p in arms.values())))
        read = self._tiles.ended(min(now, *(p.read for p in arms.values())))
        invalid = next((p.invalid for p in arms.values() if p.invalid), None)
        before = self._tiles.next
        if invalid is not None:
            self._close_error(max(asked, late), invalid)
        else:
            ready = max(min(asked, read), min(late, read))
            if ready + 1 - before >= self.least:
                self._close_counts(ready, arms)
            if late > ready:
                behind = min(arms.values(), key=lambda p: p.read)
                self._close_error(late, behind.problem or "counters were not read in time")
        return self._tiles.next > before

    def _put(self, index: int, arm: Arm, unit: str, amounts: Amounts) -> None:
        units = self._open.setdefault(index, {}).setdefault(arm, {})
        units[unit] = add(units.get(unit, ()), amounts)

    def _take(self, last: int) -> dict[Arm, dict[str, Amounts]]:
        """What was counted up to that window; a number of bad events beyond all is left for the next one."""
        taken: dict[Arm, dict[str, Amounts]] = {arm: {} for arm in self._arms}
        for index in [i for i in self._open if i <= last]:
            for arm, units in self._open.pop(index).items():
                for unit, amounts in units.items():
                    taken[arm][unit] = add(taken[arm].get(unit, ()), amounts)
        return taken

    def _close_counts(self, last: int, progress: Mapping[Arm, Progress]) -> None:
        if last < self._tiles.next:
            return
        start, end = self._tiles.start(self._tiles.next), self._tiles.start(last + 1)
        self._tiles.next = last + 1
        taken = self._take(last)
        sums = {arm: self._sure(last + 1, arm, units) for arm, units in taken.items()}
        if self.noise is not None and "stable" in taken:
            self.noise.add(start, end, taken["stable"], self.edges)
        if "candidate" in sums:
            self.kept.add(self._window(start, end, sums, progress))

    def _sure(self, following: int, arm: Arm, units: Mapping[str, Amounts]) -> Amounts:
        """Sum over units. Two counters are not read at the same instant: bad events beyond all wait for a window."""
        sums: Amounts = ()
        for amounts in units.values():
            sums = add(sums, amounts)
        if self._plan.measure != "bad" or len(sums) < 2:
            return sums
        total, bad = sums
        sure = min(max(bad, 0), total)
        if bad != sure:
            self._put(following, arm, max(units, key=lambda unit: units[unit][1]), (0, bad - sure))
        return (total, sure)

    def _window(self, start: float, end: float, sums: Mapping[Arm, Amounts], read: Mapping[Arm, Progress]) -> Window:
        mine, stable = self._padded(sums["candidate"]), self._padded(sums.get("stable", ()))
        bad, noise = self._plan.measure == "bad", self.noise if self._plan.measure == "bad" else None
        found = Window(
            self.gate,
            start,
            end,
            _counts(mine, bad=bad),
            _counts(stable, bad=bad) if "stable" in sums else None,
            query=self._plan.query,
            candidate_pods=max(1, read["candidate"].units),
            stable_pods=max(1, read["stable"].units) if "stable" in read else 1,
            noise=noise.now() if noise is not None else None,
            history=noise.history.get(None) if noise is not None else None,
            measured=noise.measured() if noise is not None else None,
            edges=self._edges(mine, stable),
            counters=self._counters(end),
        )
        return replace(found, candidate_sum=mine[1], stable_sum=stable[1]) if self._plan.measure == "sum" else found

    def _padded(self, amounts: Amounts) -> Amounts:
        return add(amounts, (0,) * (1 + (len(self.edges) if self._plan.measure == "slower" else 1)))

    def _edges(self, mine: Amounts, stable: Amounts) -> tuple[Edge, ...]:
        if self._plan.measure != "slower":
            return ()
        noise = self.noise or GateNoise(self._plan.width)
        return tuple(
            Edge(
                above,
                round(mine[i]),
                round(stable[i]),
                noise=noise.now(above) if self.noise is not None else None,
                history=noise.history.get(above),
                measured=noise.measured(above),
            )
            for i, above in enumerate(self.edges, start=1)
        )

    def _counters(self, end: float) -> str:
        """What the counters said at the end of the last window: now, less what is counted but not told yet."""
        standings: dict[Arm, dict[str, Standing]] = {}
        for arm in self._arms:
            standings[arm] = {}
            for unit, standing in self.standing(arm).items():
                told = standing.amounts
                for counted in self._open.values():
                    told = less(told, counted.get(arm, {}).get(unit, ()))
                standings[arm][unit] = Standing(told, standing.process)
            for unit, standing in self._resumed.standings.get(arm, {}).items() if self._resumed is not None else ():
                standings[arm].setdefault(unit, standing)
        return encode(self.question, end, standings)

    def _close_error(self, last: int, error: str) -> None:
        if last < self._tiles.next:
            return
        start, end = self._tiles.start(self._tiles.next), self._tiles.start(last + 1)
        self._tiles.next = last + 1
        for arm, units in self._take(last).items():
            for unit, amounts in units.items():
                self._put(last + 1, arm, unit, amounts)
        window = Window(self.gate, start, end, error=error[:MAX_ERROR], query=self._plan.query)
        self.kept.add(replace(window, counters=self._counters(end)))


def _counts(amounts: Amounts, *, bad: bool) -> Counts:
    return Counts(bad=round(amounts[1]) if bad else 0, total=round(amounts[0]))


class ValueWindows:
    """Windows of one threshold gate: the first value read at or after a window's end is its value."""

    def __init__(self, plan: Plan) -> None:
        self.gate = plan.gate
        self._tiles = Tiles(plan.origin, plan.width, plan.start)
        self._grace = plan.grace
        self._query = plan.query
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
