"""What is simulated: every decider in every world, with the measures of each cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.decisions.deciders import NEVER, Fails, argo, first, peers, z_test
from benchmarks.decisions.measures import Estimate, Measures, measure, share
from benchmarks.decisions.ours import Gate, Past, decide, past_of
from benchmarks.decisions.scenarios import DELAYED_WORLDS, EIGHT_WORLDS, HARD_WORLDS, RATE_WORLDS
from benchmarks.decisions.worlds import PLAN, Arm, Effect, Releases, World, history, pods_of, simulate

OURS, STRICT = "Weir", "Weir, strict"
RATIOS = (1.0, 1.1, 1.2, 1.5, 2.0, 5.0)
HARD_RATIOS = (1.0, 1.1, 1.5, 2.0)
HARM_WINDOW = 30
"""Window at which a leak starts to harm: after 15 minutes."""
PATIENCE = 100
"""Windows that a release with a leak may take: 50 minutes."""
METRICS = 8
NULL_TIMES = 3
"""So many times as many releases where nothing is wrong, as the bound to keep is close."""


@dataclass(frozen=True)
class Row:
    """One cell: a decider in a world. ``harm`` is the ratio of bad requests, or what else the candidate does."""

    family: str
    world: str
    harm: str
    decider: str
    measures: Measures
    promoted: Estimate | None = None
    """Share of releases that were promoted, where the family asks for it."""


@dataclass(frozen=True)
class Run:
    """How much is simulated, and where progress is told."""

    replicates: int
    seed: int
    only: Sequence[str]
    say: Callable[[str], None]

    def worlds(self, worlds: Sequence[World]) -> Iterator[World]:
        """The worlds that are wanted: by name, or by a part of it that is no name."""
        names = {world.name for world in worlds} & set(self.only)
        parts = [part for part in self.only if part not in names]
        for world in worlds:
            if not self.only or world.name in names or any(part in world.name for part in parts):
                self.say(world.name)
                yield world

    def draw(self, world: World) -> tuple[Arm, Past]:
        """A world's history and its noise."""
        arm = history(world, self.replicates, self.seed)
        return arm, past_of(arm)


def rates(run: Run) -> Iterator[Row]:
    """Constant regressions of the rate of bad requests on the fixed ladder; more releases where nothing is wrong."""
    many = replace(run, replicates=NULL_TIMES * run.replicates)
    for world in run.worlds((*RATE_WORLDS, *HARD_WORLDS)):
        family = "rates" if world in RATE_WORLDS else "hard"
        arm, past = many.draw(world)
        some = np.arange(run.replicates)
        drawn = {True: (arm, past), False: (Arm(arm.total[some], arm.bad[some]), past.take(some))}
        null = simulate(world, Effect(), many.replicates, run.seed, past=arm)
        for ratio in RATIOS if world in RATE_WORLDS else HARD_RATIOS:
            harmless = ratio <= 1.1
            arm, past = drawn[harmless]
            size = many.replicates if harmless else run.replicates
            releases = null if ratio == 1.0 else simulate(world, Effect(ratio), size, run.seed, past=arm)
            outcome = decide(releases, past)
            for name, decider in peers(null).items():
                yield Row(family, world.name, f"{ratio:g}", name, measure(releases, decider(releases)))
            yield Row(family, world.name, f"{ratio:g}", OURS, measure(releases, outcome.fail))
            yield Row(family, world.name, f"{ratio:g}", STRICT, measure(releases, outcome.strict))


def delayed(run: Run) -> Iterator[Row]:
    """A leak that harms after 15 minutes. The others promote at the end of the ladder; Weir waits for a Pass."""
    for world in run.worlds(DELAYED_WORLDS):
        arm, past = run.draw(world)
        null = simulate(world, Effect(), run.replicates, run.seed, windows=PATIENCE, past=arm)
        for ratio in (2.0, 5.0):
            releases = simulate(world, Effect(ratio, HARM_WINDOW), run.replicates, run.seed, windows=PATIENCE, past=arm)
            on_ladder = _cut(releases)
            for name, decider in peers(_cut(null)).items():
                fail = decider(on_ladder)
                promoted = share(int((fail >= PLAN).sum()), len(fail))
                yield Row("delayed", world.name, f"{ratio:g}", name, measure(on_ladder, fail), promoted)
            outcome = decide(releases, past)
            for name, fail in ((OURS, outcome.fail), (STRICT, outcome.strict)):
                early = outcome.passed < fail
                ended = np.where(early, NEVER, fail)
                yield Row(
                    "delayed",
                    world.name,
                    f"{ratio:g}",
                    name,
                    measure(releases, ended, until=np.where(early, outcome.passed, PATIENCE - 1)),
                    share(int(early.sum()), len(early)),
                )


def _cut(releases: Releases) -> Releases:
    """The same releases, up to the end of the ladder."""
    arms = (releases.stable, releases.candidate, releases.served)
    stable, candidate, served = (Arm(arm.total[:, :PLAN], arm.bad[:, :PLAN]) for arm in arms)
    return replace(
        releases,
        weights=releases.weights[:PLAN],
        stable=stable,
        candidate=candidate,
        served=served,
        base=releases.base[:, :PLAN],
    )


def eight(run: Run) -> Iterator[Row]:
    """Eight metrics at once: one of them twice as bad, or all of them a fifth worse."""
    few = replace(run, replicates=max(40, run.replicates // 2))
    for world in few.worlds(EIGHT_WORLDS):
        worlds = [replace(world, name=f"{world.name}, metric {k}") for k in range(METRICS)]
        drawn = [few.draw(w) for w in worlds]
        for harm, ratios in {
            "none": [1.0] * METRICS,
            "one ×2": [2.0] + [1.0] * (METRICS - 1),
            "all ×1.1": [1.1] * METRICS,
            "all ×1.2": [1.2] * METRICS,
        }.items():
            metrics = [
                simulate(w, Effect(ratio), few.replicates, few.seed, past=arm)
                for w, ratio, (arm, _) in zip(worlds, ratios, drawn, strict=True)
            ]
            found = {
                "Argo, limit 3, on any": _any(argo(3, nan_fails=False), metrics),
                "z, peeked, on any": _any(z_test(0.05), metrics),
                "z, peeked, 5 %/8 on any": _any(z_test(0.05 / METRICS), metrics),
                **_together(metrics, [past for _, past in drawn]),
            }
            for name, fail in found.items():
                yield Row("eight", world.name, harm, name, measure(metrics[0], fail))


def _any(decider: Callable[[Releases], Fails], metrics: Sequence[Releases]) -> Fails:
    return np.asarray(np.min([decider(releases) for releases in metrics], axis=0))


def _together(metrics: Sequence[Releases], pasts: Sequence[Past]) -> dict[str, Fails]:
    """The operator's rule (the mean of the e-values), and what looking at each by itself would do."""
    gates = [Gate(past) for past in pasts]
    stable_pods, candidate_pods = pods_of(metrics[0].world, metrics[0].weights)
    size, windows = metrics[0].size, metrics[0].windows
    mean, any_of = np.zeros((size, windows), dtype=bool), np.zeros((size, windows), dtype=bool)
    for t in range(windows):
        pods = np.full(size, float(stable_pods[t])), np.full(size, float(candidate_pods[t]))
        for gate, releases in zip(gates, metrics, strict=True):
            stable, candidate = (Arm(a.total[:, t], a.bad[:, t]) for a in (releases.stable, releases.candidate))
            gate.add(stable, candidate, pods)
        logs = np.array([gate.log_fail() for gate in gates])
        mean[:, t] = np.logaddexp.reduce(logs, axis=0) - np.log(len(gates)) >= gates[0].bar()
        any_of[:, t] = logs.max(0) >= gates[0].bar()
    return {OURS: first(mean), "Weir's e-value on any": first(any_of)}
