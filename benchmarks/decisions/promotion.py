"""Releases whose weight follows the operator's own verdicts: a step ends when its time is over and the gate passes.

So a good candidate takes longer where evidence is slow, and nothing is promoted that was not proven good enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.deciders import NEVER, Fails
from benchmarks.decisions.measures import Estimate, mean, median, share
from benchmarks.decisions.ours import Gate, Past, Settings
from benchmarks.decisions.scenarios import PROMOTION_WORLDS
from benchmarks.decisions.study import Run
from benchmarks.decisions.worlds import (
    LADDER,
    STEP_WINDOWS,
    WINDOW,
    Arm,
    Effect,
    Service,
    World,
    base_rates,
    generator,
    pods_of,
)

DEADLINE = 120
"""Windows: one hour."""
RATIOS = (1.0, 1.2, 1.5, 2.0)
_PASS = -float(np.log(0.05))


@dataclass(frozen=True)
class Promotion:
    """One cell. ``minutes``: median time to the promotion, of those promoted; ``excess_bad``: mean number of bad
    requests beyond those that stable would have had in the candidate's place."""

    world: str
    harm: str
    promoted: Estimate
    rolled_back: Estimate
    undecided: Estimate
    minutes: Estimate
    excess_bad: Estimate


def promotions(run: Run) -> Iterator[Promotion]:
    """All cells, with a fifth of the replicates."""
    size = max(20, run.replicates // 5)
    for world in run.worlds(PROMOTION_WORLDS):
        _, past = replace(run, replicates=size).draw(world)
        for ratio in RATIOS:
            yield _cell(world, ratio, past, size, run.seed)


@dataclass
class _Progress:
    """Where each release is: its step, since which window, and how it ended."""

    step: NDArray[np.int64]
    since: NDArray[np.int64]
    fail: Fails
    promoted: Fails

    @classmethod
    def start(cls, size: int) -> _Progress:
        zeros = np.zeros(size, dtype=np.int64)
        return cls(zeros.copy(), zeros.copy(), np.full(size, NEVER), np.full(size, NEVER))

    @property
    def running(self) -> NDArray[np.bool_]:
        return np.asarray((self.fail == NEVER) & (self.promoted == NEVER))

    def look(self, t: int, gate: Gate) -> None:
        """After window ``t``: roll back, go one step on, or stay."""
        running = self.running
        failed = running & (gate.log_fail() >= gate.bar())
        self.fail[failed] = t
        scale = np.append(1 / np.array(LADDER[1:]), 1.0)[self.step]
        ready = running & ~failed & (t + 1 - self.since >= STEP_WINDOWS)
        if not ready.any():
            return
        passed = ready & (gate.log_pass(scale) >= _PASS)
        last = self.step == len(LADDER) - 1
        self.promoted[passed & last] = t
        self.step += passed & ~last
        self.since[passed] = t + 1


def _cell(world: World, ratio: float, past: Past, size: int, seed: int) -> Promotion:
    base = base_rates(world, generator(world, seed, "base"), size, DEADLINE)
    rate = base * Effect(ratio).factor(DEADLINE)
    arms = [Service(world, generator(world, seed, stream), size) for stream in ("stable", "candidate")]
    gate, progress, excess = Gate(past, Settings(steps=True)), _Progress.start(size), np.zeros(size)
    for t in range(DEADLINE):
        running = progress.running
        if not running.any():
            break
        weights = np.array(LADDER)[progress.step]
        pods = pods_of(world, weights)
        stable = Arm(*arms[0].serve(1 - weights, pods[0], base[:, t]))
        candidate = Arm(*arms[1].serve(weights, pods[1], rate[:, t]))
        excess += np.where(running, candidate.total.sum(1) * (rate[:, t] - base[:, t]), 0.0)
        gate.add(stable, candidate, (pods[0].astype(float), pods[1].astype(float)), running)
        progress.look(t, gate)
    promoted, failed = progress.promoted != NEVER, progress.fail != NEVER
    return Promotion(
        world.name,
        f"{ratio:g}",
        share(int(promoted.sum()), size),
        share(int(failed.sum()), size),
        share(int((~promoted & ~failed).sum()), size),
        median((progress.promoted[promoted] + 1) * WINDOW / 60),
        mean(excess, np.random.default_rng(0)),
    )
