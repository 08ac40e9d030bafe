"""What is simulated is what the operator does: its own gates judge the same windows at the same window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.decisions.ours import decide
from benchmarks.decisions.worlds import WINDOW, Arm, Effect, Releases, World, pods_of, simulate
from weir.api.evidencestatus import Counts
from weir.api.gate import Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import Verdict
from weir.evidence.noise import GateNoise, measured
from weir.release.gates import fresh, judge
from weir.release.observation import Window

GATE = Gate.model_validate({"name": "errors", "template": "http-errors", "minSamples": 1})
WORLDS = (
    World("independent", 100),
    World("pods", 1000, pod_sigma=0.3),
    World("pods, no history", 1000, pod_sigma=0.3, history="none"),
    World("bursts", 100, cluster=5, history="quiet"),
)


def _amounts(arm: Arm, release: int, t: int) -> dict[str, tuple[float, ...]]:
    pods = zip(arm.total[release, t], arm.bad[release, t], strict=True)
    return {str(pod): (float(n), float(x)) for pod, (n, x) in enumerate(pods) if n}


def _windows(releases: Releases, release: int) -> Iterator[Window]:
    noise = GateNoise(WINDOW)
    past = releases.history
    noise.learn(measured((_amounts(past, release, t), ()) for t in range(past.total.shape[1])))
    stable_pods, candidate_pods = pods_of(releases.world, releases.weights)
    for t in range(releases.windows):
        start = t * WINDOW
        noise.add(start, start + WINDOW, _amounts(releases.stable, release, t))
        candidate, stable = (
            Counts(total=int(arm.total[release, t].sum()), bad=int(arm.bad[release, t].sum()))
            for arm in (releases.candidate, releases.stable)
        )
        yield Window(
            "errors",
            start,
            start + WINDOW,
            candidate,
            stable,
            candidate_pods=int(candidate_pods[t]),
            stable_pods=int(stable_pods[t]),
            noise=noise.now(),
            measured=noise.measured(),
        )


def _failed(releases: Releases, release: int) -> int | None:
    states, evidence = {GATE.name: fresh(GATE)}, {}
    for t, window in enumerate(_windows(releases, release)):
        judged = judge([GATE], states, evidence, [window], judgement=Judgement())
        states, evidence = {GATE.name: judged.gates[0]}, {e.gate: e for e in judged.evidence}
        if judged.gates[0].verdict is Verdict.FAIL:
            return t
    return None


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_given_a_bad_release_then_the_operators_gate_fails_at_the_simulated_window(world: World) -> None:
    releases = simulate(world, Effect(2.0), 3, seed=31)
    simulated = decide(releases).fail
    for release in range(3):
        failed = _failed(releases, release)
        assert (failed if failed is not None else simulated.max()) == simulated[release]
