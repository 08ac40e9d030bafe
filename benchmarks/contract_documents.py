"""``python -m benchmarks.contract_documents``: what reading a large contract costs, and how long the loop stands still.

Costs are seconds of one core, the best of several rounds, so that other work on the machine hardly counts. Then each
step runs in a thread as in the operator, beside an event loop that notes the longest time between two of its turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable

from tests.unit.contract.documents import wide
from weir.contract.digest import contract_digest
from weir.contract.document import load_yaml, parse
from weir.contract.validation import examine

_TURN = 0.001
"""Seconds that the loop sleeps between two turns."""


def cost(rounds: int, work: Callable[[], object]) -> float:
    """Milliseconds of one core in the best round."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times) * 1000


async def standstill(work: Callable[[], object]) -> float:
    """Longest time in milliseconds between two turns of the loop while the work is done in a thread."""
    longest = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        before = time.perf_counter()
        while not done.is_set():
            await asyncio.sleep(_TURN)
            now = time.perf_counter()
            longest = max(longest, now - before - _TURN)
            before = now

    watching = asyncio.create_task(watch())
    await asyncio.to_thread(work)
    done.set()
    await watching
    return longest * 1000


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.contract_documents", description=__doc__)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    odcs = wide(arguments.columns)
    text = json.dumps(odcs)
    examine(wide(1))  # reads the schema of the standard, once in a process
    print(f"{arguments.columns} columns, {len(text) / 1024:.0f} KiB of JSON; best of {arguments.rounds} rounds")
    print(f"{'':<14}{'cost':>10}{'loop stands still':>20}")
    for name, work in (
        ("nothing", lambda: time.sleep(0.2)),
        ("read as YAML", lambda: load_yaml(text)),
        ("validate", lambda: examine(odcs)),
        ("parse", lambda: parse(odcs)),
        ("digest", lambda: contract_digest(odcs)),
    ):
        still = min(asyncio.run(standstill(work)) for _ in range(arguments.rounds))
        print(f"{name:<14}{cost(arguments.rounds, work):7.1f} ms{still:17.1f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
