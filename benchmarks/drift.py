"""``python -m benchmarks.drift``: false alarms, detection and return of the drift test, by the operator's functions.

Independent rows in ten bins of equal size and nulls; the reference is drawn anew for each series. Prints the tables of
docs/benchmarks.md ("Drift").
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.stats import distance, tolerance
from weir.stats.tolerance import Question, ToleranceState

Shares = NDArray[np.float64]

BINS = 10
TOLERANCE = 0.1
ALPHA = 0.01
TRUTH: Shares = np.array([*[1 / BINS] * BINS, 0.0])


def moved(far: float) -> Shares:
    """The truth, with a share ``far`` of its rows moved from the lowest bins to the highest ones."""
    shares, left = TRUTH.copy(), far
    for low in range(BINS // 2):
        taken = min(left, shares[low])
        shares[low] -= taken
        shares[BINS - 1 - low] += taken
        left -= taken
    if left > 1e-9:
        raise ValueError(f"cannot move {far} of the rows")
    return shares


@dataclass(frozen=True)
class Series:
    """One run: the test, and where its rows come from."""

    question: Question
    rng: np.random.Generator

    @staticmethod
    def drawn(rng: np.random.Generator, rows: int) -> Series:
        """With a reference of so many rows."""
        return Series(Question(_counts(rng, rows, TRUTH), TOLERANCE, alpha=ALPHA), rng)

    def run(self, state: ToleranceState, shares: Shares, batch: int) -> Iterator[ToleranceState]:
        """States after each further batch of that distribution."""
        while True:
            state = tolerance.step(self.question, state, _counts(self.rng, batch, shares))
            yield state


def _counts(rng: np.random.Generator, rows: int, shares: Shares) -> tuple[int, ...]:
    return tuple(int(count) for count in rng.multinomial(rows, shares))


def alarm(series: Series, shares: Shares, batch: int, batches: int, *, quiet: int = 0) -> int | None:
    """Rows from the beginning of the drift to the alarm; ``quiet`` batches without any come first. None without one."""
    state = tolerance.start(series.question)
    before = series.run(state, TRUTH, batch)
    for _ in range(quiet):
        state = next(before)
        if state.alarmed:
            return 0
    for number, later in enumerate(series.run(state, shares, batch), 1):
        if later.alarmed:
            return number * batch
        if number >= batches:
            return None
    return None


def back(series: Series, shares: Shares, batch: int, batches: int) -> int | None:
    """Rows from the repair to the verdict Pass, after half a block of drift; None without."""
    state = next(s for s in series.run(tolerance.start(series.question), moved(0.4), batch) if s.alarmed)
    for _ in range(series.question.block // (2 * batch)):
        state = next(series.run(state, moved(0.4), batch))
    for number, later in enumerate(series.run(state, shares, batch), 1):
        if not later.alarmed:
            return number * batch
        if number >= batches:
            return None
    return None


def _false_alarms(runs: int, seed: int) -> Iterator[str]:
    yield "| reference | rows a batch | batches | no drift | 5 % moved | 10 % moved, the tolerance |"
    yield "|---|---|---|---|---|---|"
    for rows, batch, batches in ((1_000, 200, 500), (10_000, 200, 500), (100_000, 20, 1000), (100_000, 20_000, 100)):
        cells = []
        for far in (0.0, TOLERANCE / 2, TOLERANCE):
            found = []
            for number in range(runs):
                series = Series.drawn(np.random.default_rng([seed, rows, batch, number]), rows)
                found.append(alarm(series, moved(far), batch, batches) is not None)
            cells.append(f"{np.mean(found):.1%}")
        yield f"| {rows:,} rows | {batch:,} | {batches:,} | " + " | ".join(cells) + " |"


def _detection(runs: int, seed: int) -> Iterator[str]:
    distances = (0.15, 0.2, 0.3, 0.4)
    yield (
        "| reference | rows a batch | quiet batches before | "
        + " | ".join(f"{far:.0%} moved" for far in distances)
        + " |"
    )
    yield "|---|---|---|" + "---|" * len(distances)
    for rows, batch, quiet in (
        (1_000, 200, 0),
        (10_000, 200, 0),
        (100_000, 20, 0),
        (100_000, 200, 0),
        (100_000, 200, 1000),
        (100_000, 20_000, 10),
        (100_000, 1_000_000, 10),
    ):
        cells = []
        for far in distances:
            most = max(20, 60_000 // batch)
            found = [
                alarm(
                    Series.drawn(np.random.default_rng([seed, rows, batch, int(far * 100), n]), rows),
                    moved(far),
                    batch,
                    most,
                    quiet=quiet,
                )
                for n in range(runs)
            ]
            cells.append(_rows(found))
        yield f"| {rows:,} rows | {batch:,} | {quiet:,} | " + " | ".join(cells) + " |"


def _return(runs: int, seed: int) -> Iterator[str]:
    yield "| reference | rows a batch | a block | no drift again | half the bound | at the bound: wrongly back |"
    yield "|---|---|---|---|---|---|"
    for rows, batch in ((1_000, 200), (10_000, 200), (100_000, 200), (100_000, 20_000)):
        cells = []
        for part in (0.0, 0.5, 1.0):
            found = []
            for number in range(runs):
                series = Series.drawn(np.random.default_rng([seed, rows, batch, number]), rows)
                blocks = max(1, series.question.block // batch + 1)
                # The first block still holds rows of the drift.
                most = 30 * blocks if part < 1 else 2 * blocks
                found.append(back(series, moved(min(0.5, part * series.question.bound)), batch, most))
            cells.append(_rows(found) if part < 1 else f"{np.mean([f is not None for f in found]):.1%}")
        block = Series.drawn(np.random.default_rng(seed), rows).question.block
        yield f"| {rows:,} rows | {batch:,} | {block:,} | " + " | ".join(cells) + " |"


def _rows(found: Sequence[int | None]) -> str:
    seen = [rows for rows in found if rows is not None]
    if len(seen) < len(found) / 2:
        return f"({len(seen) / len(found):.0%})"
    median = f"{int(np.median(seen)):,}"
    return median if len(seen) == len(found) else f"{median} ({len(seen) / len(found):.0%})"


def _thresholds(runs: int, seed: int) -> Iterator[str]:
    """What fixed thresholds do on the same rows without drift: any alarm within a hundred batches."""
    rules: dict[str, Callable[[Sequence[int], Sequence[int]], bool]] = {
        "PSI > 0.1": lambda p, q: distance.stability_index(p, q) > 0.1,
        "PSI > 0.25": lambda p, q: distance.stability_index(p, q) > 0.25,
        "Jensen-Shannon > 0.1": lambda p, q: distance.jensen_shannon(p, q) > 0.1,
        "Kolmogorov-Smirnov, p < 0.05": lambda p, q: (
            distance.kolmogorov_smirnov(p[:-1], q[:-1]) > 1.358 * (1 / sum(p) + 1 / sum(q)) ** 0.5
        ),
    }
    yield "| rule, on each batch | " + " | ".join(f"{batch} rows" for batch in (100, 200, 500, 2000)) + " |"
    yield "|---|---|---|---|---|"
    for name, rule in rules.items():
        cells = []
        for batch in (100, 200, 500, 2000):
            found = []
            for number in range(runs):
                rng = np.random.default_rng([seed, batch, number])
                reference = _counts(rng, 10_000, TRUTH)
                found.append(any(rule(_counts(rng, batch, TRUTH), reference) for _ in range(100)))
            cells.append(f"{np.mean(found):.0%}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.drift", description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for title, table in (
        ("Any false alarm", _false_alarms),
        ("Median rows until the alarm", _detection),
        ("Median rows until Pass", _return),
        ("Fixed thresholds: any alarm in 100 batches without drift", _thresholds),
    ):
        print(f"\n{title}:\n")
        for line in table(arguments.runs, arguments.seed):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
