"""A quick table of the operator's decider in the worlds of the report: to choose its constants."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from benchmarks.decisions.measures import measure
from benchmarks.decisions.ours import Settings, decide, past_of
from benchmarks.decisions.scenarios import HARD_WORLDS, RATE_WORLDS
from benchmarks.decisions.worlds import Effect, history, simulate


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of the names of worlds, by semicolons")
    parser.add_argument("--ratios", default="1,1.1,1.5,2")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("settings", nargs="*", help="NAME=VALUE of ours.Settings")
    arguments = parser.parse_args()
    changes: dict[str, Any] = {}
    for text in arguments.settings:
        name, value = text.split("=")
        changes[name] = type(getattr(Settings(), name))(float(value))
    settings = replace(Settings(), **changes)
    wanted = [part for part in arguments.only.split(";") if part]
    print(f"{'world':40s} ratio  rolled back % (95 %)     exposed    bad  minutes  passed %  seconds")
    for world in (*RATE_WORLDS, *HARD_WORLDS):
        if wanted and not any(part in world.name for part in wanted):
            continue
        past = history(world, arguments.replicates, arguments.seed)
        noise = past_of(past)
        for ratio in (float(part) for part in arguments.ratios.split(",")):
            began = time.monotonic()
            releases = simulate(
                world, Effect(ratio), arguments.replicates, arguments.seed, windows=arguments.windows, past=past
            )
            outcome = decide(releases, noise, settings)
            m = measure(releases, outcome.fail)
            passed = float((outcome.passed < outcome.fail).mean() * 100)
            failed = f"{m.failed.value * 100:5.1f} ({m.failed.low * 100:4.1f}-{m.failed.high * 100:4.1f})"
            exposed = f"{m.exposed.value:10.0f} {m.exposed_bad.value:6.0f}"
            times = f"{m.minutes:8.1f} {passed:8.1f} {time.monotonic() - began:8.1f}"
            print(f"{world.name:40s} {ratio:5.2f}  {failed:20s} {exposed} {times}", flush=True)


if __name__ == "__main__":
    main()
