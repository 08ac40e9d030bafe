"""The vectorised twin says what the operator's own code says."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal

import numpy as np
import pytest

from benchmarks.decisions.batch import Filter, Window, log_above, log_below
from benchmarks.decisions.batchnoise import Meter, Noises, assess, constant
from benchmarks.decisions.ours import NoiseProtocol, past_of
from benchmarks.decisions.worlds import Arm, Effect, Releases, World, history, pods_of, simulate
from weir.stats import absolute, ratio
from weir.stats import noise as noises
from weir.stats.noise import Noise, NoiseMeter
from weir.stats.ratio import Arms, Ratios

WORLDS = (
    World("independent", 100),
    World("few requests", 2),
    World("pods", 1000, pod_sigma=0.3),
    World("bursts", 100, cluster=5),
    World("many errors", 100, base=0.3, pod_sigma=0.2, pod_tau=40),
    World("gaps", 100, gaps=0.2, late=0.2, resets=0.05),
    World("one pod", 100, pods=1, cluster=5),
)
NOISES = (Noise(), Noise(1.0, 0.09, 0.0, 0.8), Noise(9.0), Noise(3.0, 0.04, 0.02, 0.7), Noise(1.0, 0.0, 0.05, 0.0))


def _meter(arm: Arm, release: int) -> NoiseMeter:
    meter = NoiseMeter()
    for total, bad in zip(arm.total[release], arm.bad[release], strict=True):
        meter.add({str(pod): (int(n), int(x)) for pod, (n, x) in enumerate(zip(total, bad, strict=True))})
    return meter


def _windows(releases: Releases) -> list[Window]:
    sums = [a.sum(2).astype(float) for arm in (releases.stable, releases.candidate) for a in (arm.total, arm.bad)]
    pods = [np.broadcast_to(p.astype(float), sums[0].shape) for p in pods_of(releases.world, releases.weights)]
    return [Window(*(array[:, t] for array in (*sums, *pods))) for t in range(releases.windows)]


def _arms(windows: list[Window], release: int) -> list[Arms]:
    return [Arms(*(int(getattr(window, field.name)[release]) for field in fields(window))) for window in windows]


def _one(found: Noises, release: int) -> list[float]:
    return [float(array[release]) for array in (found.dispersion, found.fast, found.slow, found.correlation)]


def _same(noise: Noise) -> object:
    return pytest.approx([noise.dispersion, noise.fast, noise.slow, noise.correlation], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_given_any_history_then_the_batch_fits_the_same_noise(world: World) -> None:
    past = history(world, 6, seed=3)
    batch = Meter(6)
    for t in range(past.total.shape[1]):
        batch.add(past.total[:, t].astype(float), past.bad[:, t].astype(float))
    fits = batch.fit()
    for release in range(6):
        fit = _meter(past, release).fit()
        assert (fit is not None) == batch.known[release]
        if fit is not None:
            assert _one(fits, release) == _same(fit)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("past", ["same", "quiet", "none"])
@pytest.mark.parametrize("windows", [0, 3, 6, 9, 40])
def test_given_any_release_then_the_batch_assesses_the_same_noise(
    world: World, past: Literal["same", "quiet", "none"], windows: int
) -> None:
    world = replace(world, history=past)
    releases = simulate(world, Effect(), 6, seed=11)
    stable = Arm(releases.stable.total[:, :windows], releases.stable.bad[:, :windows])
    live = Meter(6)
    for t in range(windows):
        live.add(stable.total[:, t].astype(float), stable.bad[:, t].astype(float))
    known = past_of(releases.history)
    found = assess(known.noise, known.known, live)
    for release in range(6):
        own = noises.assess(_meter(releases.history, release).fit(), _meter(stable, release))
        assert _one(found, release) == _same(own)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_given_any_release_then_the_batch_finds_the_same_evidence(world: World, noise: Noise) -> None:
    ratios = Ratios()
    releases = simulate(world, Effect(1.3), 4, seed=5)
    windows = _windows(releases)
    state = Filter(ratios, 4)
    constants = constant(noise, 4)
    for window in windows:
        state.step(window, constants)
    for release in range(4):
        own = ratio.replay(ratios, noise, _arms(windows, release))
        assert state.log_worse[release] == pytest.approx(ratio.log_worse(own), abs=1e-6)
        no_worse = ratio.log_no_worse(ratios, own, ratios.pass_below)
        assert state.log_no_worse(ratios.pass_below)[release] == pytest.approx(no_worse, abs=1e-6)


def test_given_noises_then_rounding_agrees_with_the_operator() -> None:
    for noise in (Noise(), Noise(1.0001, 0.01, 1e-7, 0.3), Noise(7.3, 0.0, 0.2, 0.5)):
        assert _one(constant(noise, 1).rounded(), 0) == _same(noise.rounded())


def test_given_a_noisy_release_then_the_protocol_only_widens_the_history() -> None:
    world = World("pods", 1000, pod_sigma=0.3, history="quiet")
    releases = simulate(world, Effect(), 20, seed=7)
    protocol = NoiseProtocol(past_of(releases.history))
    found = [protocol.add(releases.stable.total[:, t], releases.stable.bad[:, t]) for t in range(12)]
    assert np.all(found[-1].fast >= found[0].fast)
    assert np.median(found[-1].fast) > np.median(found[0].fast)


@pytest.mark.parametrize("dispersion", [1.0, 4.5])
def test_given_sums_then_the_absolute_evidence_is_the_same(dispersion: float) -> None:
    sums = [(0, 0), (100, 0), (10_000, 30), (10_000, 9_000)]
    total, bad = (np.array(values, dtype=float) for values in zip(*sums, strict=True))
    above = log_above(0.001, total, bad, np.full(4, dispersion))
    below = log_below(np.full(4, 0.005), total, bad, np.full(4, dispersion))
    assert above == pytest.approx([absolute.log_above(0.001, n, x, dispersion) for n, x in sums])
    assert below == pytest.approx([absolute.log_below(0.005, n, x, dispersion) for n, x in sums])
