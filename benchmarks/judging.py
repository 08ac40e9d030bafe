"""``python -m benchmarks.judging``: what it costs to judge a tick of many releases, in seconds of one core."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from weir.api.evidencestatus import Counts, EvidenceStatus
from weir.api.gate import Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import GateStatus
from weir.release.gates import fresh, judge
from weir.release.observation import Window
from weir.stats.noise import Noise, NoiseMeter

WORLDS: Mapping[str, Noise | None] = {
    "independent requests": Noise(),
    "bursts": Noise(dispersion=3.0),
    "bursts, pods that differ for minutes": Noise(2.0, 0.04, 0.0, 0.8),
    "the same, and pods that differ for hours": Noise(2.0, 0.04, 0.02, 0.8),
    "nothing measured": None,
}
_GATES = [Gate.model_validate({"name": f"errors-{n}", "template": "http-errors"}) for n in range(3)]
_PODS = 10


@dataclass
class _Release:
    states: dict[str, GateStatus]
    evidence: dict[str, EvidenceStatus]

    def look(self, windows: list[Window]) -> None:
        found = judge(_GATES, self.states, self.evidence, windows, judgement=Judgement())
        self.states = {state.name: state for state in found.gates}
        self.evidence = {seen.gate: seen for seen in found.evidence}


def windows(number: int, rng: random.Random, noise: Noise | None) -> list[Window]:
    """One window of every gate."""
    start = number * 30.0
    return [
        Window(
            gate.name,
            start,
            start + 30,
            Counts(bad=rng.randrange(8), total=500),
            Counts(bad=rng.randrange(40), total=2500),
            candidate_pods=2,
            stable_pods=_PODS,
            noise=noise,
        )
        for gate in _GATES
    ]


def measure(releases: int, noise: Noise | None, seed: int) -> float:
    """Seconds of one core for a tick in which every gate of every release has a new window."""
    rng = random.Random(seed)
    running = [_Release({g.name: fresh(g) for g in _GATES}, {}) for _ in range(releases)]
    for number in range(5):
        for release in running:
            release.look(windows(number, rng, noise))
    ticks = []
    for number in range(5, 10):
        fed = [windows(number, rng, noise) for _ in running]
        began = time.process_time()
        for release, found in zip(running, fed, strict=True):
            release.look(found)
        ticks.append(time.process_time() - began)
    return min(ticks)


def measure_noise(meters: int, seed: int) -> float:
    """Seconds of one core for a tick in which every meter of noise takes a window, and every other one fits."""
    rng = random.Random(seed)
    known = [NoiseMeter() for _ in range(meters)]
    for _ in range(20):
        for meter in known:
            meter.add({f"pod-{n}": (250, rng.randrange(5)) for n in range(_PODS)})
    fed = [{f"pod-{n}": (250, rng.randrange(5)) for n in range(_PODS)} for _ in known]
    began = time.process_time()
    for place, (meter, pods) in enumerate(zip(known, fed, strict=True)):
        meter.add(pods)
        if place % 2:
            meter.fit()
    return time.process_time() - began


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.judging", description=__doc__)
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{arguments.releases} releases with 3 gates each, {_PODS} pods of stable: seconds of one core for a tick")
    for name, noise in WORLDS.items():
        print(f"  judge, {name:45s} {measure(arguments.releases, noise, arguments.seed):.3f}", flush=True)
    print(f"  measure noise {'':40s} {measure_noise(3 * arguments.releases, arguments.seed):.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
