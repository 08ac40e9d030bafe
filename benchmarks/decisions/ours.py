"""The operator's gate over many releases: the noise protocol, the evidence of Fail and Pass, and the bars.

At every window the noise is what ``weir.stats.noise.assess`` says of the history and of the release's own stable pods.
When it changed, the release is judged anew from its first window; else one window is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.batch import Filter, Window, log_above, log_below
from benchmarks.decisions.batchnoise import Flags, Floats, Meter, Noises, assess
from benchmarks.decisions.deciders import NEVER, Fails
from benchmarks.decisions.worlds import PLAN, Arm, Counts, Releases, pods_of
from weir.api.gate import Comparison
from weir.evidence.noise import FIT_EVERY
from weir.release.rates import ratios
from weir.stats.ratio import CAP, Ratios, bar

_DEFAULT = Comparison()


class Past(NamedTuple):
    """The noise of each release's history, and whether there was one."""

    noise: Noises
    known: Flags

    def take(self, rows: NDArray[np.intp]) -> Past:
        """Of some releases."""
        return Past(self.noise.take(rows), self.known[rows])


@dataclass(frozen=True)
class Settings:
    """What can be tried; the operator's values are the defaults."""

    fail_above: float = float(_DEFAULT.fail_above)
    pass_below: float = float(_DEFAULT.pass_below)
    ignore_below: float = float(_DEFAULT.ignore_below)
    accept_below: float = float(_DEFAULT.accept_below)
    alpha: float = 0.05
    cap: float = CAP
    replay: bool = True
    """Judge the whole release anew when the noise changed; else only the windows to come."""

    steps: bool = False
    """Ask for the looser tolerances of earlier steps as well; without them the evidence is the same, but for those."""

    @property
    def ratios(self) -> Ratios:
        """The questions asked of the candidate."""
        if self.steps:
            return ratios(Decimal(str(self.fail_above)), Decimal(str(self.pass_below)))
        return Ratios(self.fail_above, self.pass_below)


def past_of(arm: Arm) -> Past:
    """The noise of each history."""
    meter = Meter(len(arm.total))
    for t in range(arm.total.shape[1]):
        meter.add(arm.total[:, t].astype(float), arm.bad[:, t].astype(float))
    return Past(meter.fit(), meter.known)


class NoiseProtocol:
    """Which noise a release is judged by at each window."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._live = Meter(len(past.known))
        self._seen = 0
        self._noise = assess(*past, self._live)

    def add(self, total: Counts, bad: Counts) -> Noises:
        """The noise after one more window of the stable pods, [release, pod]."""
        self._live.add(total.astype(float), bad.astype(float))
        self._seen += 1
        if self._seen % FIT_EVERY == 0:
            self._noise = assess(*self._past, self._live)
        return self._noise


class Gate:
    """One comparison with stable in many releases."""

    def __init__(self, past: Past, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        size = len(past.known)
        self._protocol = NoiseProtocol(past)
        self._state = Filter(self._settings.ratios, size)
        self._windows: list[Window] = []
        self._noise: Noises | None = None
        self._requests, self._bad = np.zeros(size), np.zeros(size)
        self.windows = np.zeros(size)
        """Windows with requests of both arms."""

    def add(self, stable: Arm, candidate: Arm, pods: tuple[Floats, Floats], running: Flags | None = None) -> None:
        """One window, [release, pod]; releases that are not ``running`` need no exact evidence any more."""
        sums = (array.sum(1).astype(float) for arm in (stable, candidate) for array in (arm.total, arm.bad))
        window = Window(*sums, *(np.asarray(p, dtype=float) for p in pods))
        noise, before = self._protocol.add(stable.total, stable.bad), self._noise
        self._windows.append(window)
        self._noise = noise
        counted = (window.stable_total > 0) & (window.candidate_total > 0)
        self.windows += counted
        self._requests += np.where(counted, window.candidate_total, 0)
        self._bad += np.where(counted, window.candidate_bad, 0)
        self._state.step(window, noise, self._settings.cap)
        if before is not None and self._settings.replay:
            changed = noise.differs(before)
            rows = np.flatnonzero(changed if running is None else changed & running)
            if len(rows):
                self._state.put(rows, self._replayed(rows, noise.take(rows)))

    def _replayed(self, rows: NDArray[np.intp], noise: Noises) -> Filter:
        state = Filter(self._settings.ratios, len(rows))
        for window in self._windows:
            state.step(window.take(rows), noise, self._settings.cap)
        return state

    def log_fail(self) -> Floats:
        """Log e-value of "worse than stable, and worse than what is ignored"."""
        above = log_above(self._settings.ignore_below, self._requests, self._bad, self._dispersion())
        return np.minimum(self._state.log_worse, above)

    def log_pass(self, scale: Floats | float = 1.0) -> Floats:
        """Log e-value of "less harm than is tolerated", before a step to 1/``scale`` of the traffic."""
        settings = self._settings
        scales = np.broadcast_to(np.asarray(scale, dtype=float), self._requests.shape)
        no_worse = np.zeros(self._requests.shape)
        for value in np.unique(scales):
            at = scales == value
            tolerance = round(1 + (settings.pass_below - 1) * float(value), 6)
            no_worse[at] = self._state.log_no_worse(tolerance)[at]
        accepted = np.minimum(0.5, settings.accept_below * scales)
        below = log_below(accepted, self._requests, self._bad, self._dispersion())
        return np.logaddexp(no_worse, below) - log(2)

    def bar(self, *, strict: bool = False) -> Floats:
        """Log e-value at which a release is rolled back now."""
        bars = {int(n): bar(self._settings.alpha, int(n), strict=strict) for n in np.unique(self.windows)}
        return np.array([bars[int(n)] for n in self.windows])

    def _dispersion(self) -> Floats:
        return self._noise.dispersion if self._noise is not None else np.ones(len(self.windows))


@dataclass(frozen=True)
class Outcome:
    """Window of the first Fail, with the default and the strict bar, and of the first Pass; else ``NEVER``."""

    fail: Fails
    strict: Fails
    passed: Fails


def decide(releases: Releases, past: Past | None = None, settings: Settings | None = None) -> Outcome:
    """Every release on the fixed ladder. A Pass is one at the end of the ladder or later."""
    gate = Gate(past or past_of(releases.history), settings)
    fail, strict, passed = (np.full(releases.size, NEVER) for _ in range(3))
    stable_pods, candidate_pods = pods_of(releases.world, releases.weights)
    for t in range(releases.windows):
        arms = [Arm(arm.total[:, t], arm.bad[:, t]) for arm in (releases.stable, releases.candidate)]
        pods = np.full(releases.size, float(stable_pods[t])), np.full(releases.size, float(candidate_pods[t]))
        gate.add(arms[0], arms[1], pods, strict == NEVER)
        evidence = gate.log_fail()
        fail[(evidence >= gate.bar()) & (fail == NEVER)] = t
        strict[(evidence >= gate.bar(strict=True)) & (strict == NEVER)] = t
        if t >= min(PLAN, releases.windows) - 1:
            passed[(gate.log_pass() >= -log(0.05)) & (passed == NEVER)] = t
    return Outcome(fail, strict, passed)
