"""``python -m benchmarks.decisions``: simulates every cell and writes the report.

About a quarter of an hour of one core at the default number of replicates; ``--quick`` takes less than a minute and
only shows that everything runs: a few worlds, and wide intervals.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.decisions.latency import latencies
from benchmarks.decisions.promotion import promotions
from benchmarks.decisions.report import Results, cells, markdown, pictures, promises
from benchmarks.decisions.study import Run, delayed, eight, rates

QUICK = 100
QUICK_WORLDS = (
    "independent 100 rps",
    "pods 1000 rps",
    "bursts of 5, 100 rps",
    "sticky users 100 rps",
    "pods 1000 rps, quiet history",
    "log-normal, classic buckets, 100 rps",
    "log-normal, native buckets, 100 rps",
)
FAMILIES = ("rates", "delayed", "eight", "latency", "promotion")


def simulate(replicates: int, seed: int, only: list[str], families: list[str]) -> Results:
    """Everything that is wanted."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}", file=sys.stderr, flush=True)

    run = Run(replicates, seed, only, say)
    rows = []
    for name, family in (("rates", rates), ("delayed", delayed), ("eight", eight), ("latency", latencies)):
        if name in families:
            rows += list(family(run))
    promoted = list(promotions(run)) if "promotion" in families else []
    say("done")
    return Results(rows, promoted, replicates, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 1 when a promise was not kept, else 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.decisions", description=__doc__)
    parser.add_argument("--replicates", type=int, default=2000, help="releases a cell")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} replicates, a few worlds")
    parser.add_argument("--only", default="", help="parts of the names of worlds, by semicolons")
    parser.add_argument("--families", default=",".join(FAMILIES), help="by commas")
    parser.add_argument("--docs", type=Path, help="directory for decisions.md and decisions/; else to standard output")
    arguments = parser.parse_args(argv)
    only = [part.strip() for part in arguments.only.split(";") if part.strip()]
    replicates = QUICK if arguments.quick else arguments.replicates
    if arguments.quick and not only:
        only = list(QUICK_WORLDS)
    results = simulate(replicates, arguments.seed, only, arguments.families.split(","))
    report = markdown(results)
    if arguments.docs is None:
        print(report)
    else:
        (arguments.docs / "decisions").mkdir(parents=True, exist_ok=True)
        (arguments.docs / "decisions.md").write_text(report)
        (arguments.docs / "decisions" / "cells.csv").write_text(cells(results))
        for name, picture in pictures(results).items():
            (arguments.docs / "decisions" / name).write_text(picture)
    return 1 if any(promise.kept is False for promise in promises(results)) else 0


if __name__ == "__main__":
    raise SystemExit(main())
