"""Simulated services: what the pods of both arms count, window by window, in many releases at once.

A world fixes the traffic and the noise; an effect fixes what the candidate does to the rate of bad requests. All
numbers come from one seed, drawn in separate streams for the history, the stable arm and the candidate, so that cells
of one world differ by nothing but the effect.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import exp
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Indexed [release, window, pod]."""
Rates = NDArray[np.float64]

WINDOW = 30.0
"""Seconds of one window."""
LADDER = (0.01, 0.05, 0.25, 0.50)
"""Shares of the traffic that the candidate gets, step by step."""
STEP_WINDOWS = 10
"""Windows of one step."""
PLAN = len(LADDER) * STEP_WINDOWS
"""Windows of the ladder: 20 minutes."""


@dataclass(frozen=True)
class World:
    """A service and its noise.

    ``rps`` is requests a second of the whole service and ``base`` the mean share of bad ones. ``pod_sigma`` is the
    standard deviation of a pod's log rate and ``pod_tau`` its correlation time in windows. ``cluster`` is the mean size
    of bursts (geometric). ``users_rate`` > 0 makes traffic sticky: each user sends so many requests a window to one
    pod, and bad requests belong to few users. ``gaps``: share of windows that are lost; ``late``: share of a window's
    counts that are scraped with the next one (differs by pod); ``resets``: chance that a pod restarts in a window and
    loses what it counted since the last scrape.
    """

    name: str
    rps: float
    base: float = 0.01
    pod_sigma: float = 0.0
    pod_tau: float = 4.0
    cluster: float = 1.0
    moving: bool = False
    users_rate: float = 0.0
    gaps: float = 0.0
    late: float = 0.0
    resets: float = 0.0
    pods: int = 10
    history: Literal["same", "none", "quiet"] = "same"
    history_windows: int = 240


@dataclass(frozen=True)
class Effect:
    """What the candidate does: from window ``starts`` on its rate is ``ratio`` times the base rate."""

    ratio: float = 1.0
    starts: int = 0

    def factor(self, windows: int) -> Rates:
        """By window."""
        return np.where(np.arange(windows) >= self.starts, self.ratio, 1.0)


@dataclass(frozen=True)
class Arm:
    """Counts of the pods of one arm."""

    total: Counts
    bad: Counts


@dataclass(frozen=True)
class Releases:
    """Many simulated releases of one world and effect.

    ``served`` is what the candidate did, ``candidate`` what was measured of it; they differ where scrapes fail.
    ``weights`` and ``candidate_pods`` are those of the ladder, by window; ``base`` is the true base rate,
    [release, window].
    """

    world: World
    effect: Effect
    weights: Rates
    history: Arm
    stable: Arm
    candidate: Arm
    served: Arm
    base: Rates

    @property
    def windows(self) -> int:
        """Windows up to the deadline."""
        return len(self.weights)

    @property
    def size(self) -> int:
        """Number of releases."""
        return len(self.base)


def ladder(windows: int = PLAN) -> Rates:
    """The ladder, held at its last weight up to the deadline."""
    return np.array([LADDER[min(t // STEP_WINDOWS, len(LADDER) - 1)] for t in range(windows)])


def pods_of(world: World, weights: Rates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pods of stable and candidate: in proportion to the weight, at least one each."""
    candidate = np.maximum(1, np.round(weights * world.pods)).astype(np.int64)
    return np.maximum(1, world.pods - candidate), candidate


def generator(world: World, seed: int, stream: str) -> np.random.Generator:
    """Random numbers of their own for each world and stream."""
    return np.random.default_rng([seed, zlib.crc32(world.name.encode()), zlib.crc32(stream.encode())])


class Service:
    """One arm of many releases, window after window."""

    def __init__(self, world: World, rng: np.random.Generator, size: int, *, quiet: bool = False) -> None:
        self._world, self._rng = world, rng
        shape = (size, world.pods)
        self._level = rng.standard_normal(shape) if world.pod_sigma > 0 and not quiet else None
        self._mass, self._shape = np.zeros(shape), np.zeros(shape)
        self._users = world.users_rate > 0 and not quiet
        self._cluster = 1.0 if quiet else world.cluster

    def serve(self, share: Rates, pods: NDArray[np.int64], rate: Rates) -> tuple[Counts, Counts]:
        """(total, bad) of each pod, [release, pod], in one window: shares of the traffic, pods and rate, [release]."""
        world, rng = self._world, self._rng
        present = np.arange(world.pods) < pods[:, None]
        expected = np.where(present, (world.rps * WINDOW * share / np.maximum(pods, 1))[:, None], 0.0)
        total = rng.poisson(expected)
        rates = np.repeat(rate[:, None], world.pods, axis=1)
        if self._level is not None:
            sigma, rho = world.pod_sigma, exp(-1 / world.pod_tau)
            rates *= np.exp(sigma * self._level - sigma**2 / 2)
            self._level = rho * self._level + (1 - rho * rho) ** 0.5 * rng.standard_normal(self._level.shape)
        if self._users:
            rates *= self._user_factor(expected)
        return total, _bad(rng, total, np.minimum(rates, 1.0), self._cluster)

    def _user_factor(self, expected: Rates) -> Rates:
        """Mean rate of the users on each pod relative to all users: a stationary gamma process."""
        wanted = _USER_SHAPE * expected / self._world.users_rate
        # Users who leave take their part of the pod's rate with them (beta thinning); others arrive (gamma sums).
        staying = np.minimum(self._shape * _USER_STAY, wanted)
        some = staying > 0
        kept = self._rng.beta(
            np.where(some, staying, 1.0), np.where(some, np.maximum(self._shape - staying, 1e-9), 1.0)
        )
        self._mass = np.where(some, self._mass * kept, 0.0) + self._rng.gamma(np.maximum(wanted - staying, 0.0))
        self._shape = wanted
        return self._mass / np.maximum(wanted, 1e-12)


def history(world: World, size: int, seed: int) -> Arm:
    """What the stable pods counted before the release; a quiet history has the traffic but not the noise."""
    windows = 0 if world.history == "none" else world.history_windows
    rng = generator(world, seed, "history")
    base = base_rates(world, rng, size, windows)
    service = Service(world, rng, size, quiet=world.history == "quiet")
    return _collect(world, service, np.ones(windows), np.full(windows, world.pods), base)


def simulate(
    world: World, effect: Effect, size: int, seed: int, *, windows: int = PLAN, past: Arm | None = None
) -> Releases:
    """Releases of ``windows`` windows; ``past`` reuses a history that was already drawn."""
    weights = ladder(windows)
    stable_pods, candidate_pods = pods_of(world, weights)
    base = base_rates(world, generator(world, seed, "base"), size, windows)
    harmed = base * effect.factor(windows)
    rng = generator(world, seed, "stable")
    stable = _collect(world, Service(world, rng, size), 1 - weights, stable_pods, base)
    stable = _scrape(world, rng, stable)
    rng = generator(world, seed, "candidate")
    served = _collect(world, Service(world, rng, size), weights, candidate_pods, harmed)
    stable, candidate = _lose_windows(world, generator(world, seed, "gaps"), stable, _scrape(world, rng, served))
    before = history(world, size, seed) if past is None else past
    return Releases(world, effect, weights, before, stable, candidate, served, base)


def base_rates(world: World, rng: np.random.Generator, size: int, windows: int) -> Rates:
    """A constant base rate, or one that swings between half and twice within 40 minutes, from a random phase."""
    if not world.moving:
        return np.full((size, windows), world.base)
    phase = rng.uniform(0, 2 * np.pi, (size, 1))
    return np.asarray(world.base * 2 ** np.sin(phase + np.arange(windows) * (2 * np.pi / 80)))


def _collect(world: World, service: Service, share: Rates, pods: NDArray[np.int64], rate: Rates) -> Arm:
    size, windows = rate.shape
    total = np.zeros((size, windows, world.pods), dtype=np.int64)
    bad = np.zeros_like(total)
    for t in range(windows):
        total[:, t], bad[:, t] = service.serve(np.full(size, share[t]), np.full(size, pods[t]), rate[:, t])
    return Arm(total, bad)


_USER_SHAPE = 0.2
"""Shape of the gamma law of one user's rate: a fifth of the users see nearly all of the bad requests."""
_USER_STAY = exp(-1 / 20)
"""Share of a pod's users that stay from one window to the next: sessions of ten minutes."""


def _bad(rng: np.random.Generator, total: Counts, rate: Rates, cluster: float) -> Counts:
    if cluster <= 1:
        return rng.binomial(total, rate)
    starts = rng.poisson(total * rate / cluster)
    more = rng.negative_binomial(np.maximum(starts, 1), 1 / cluster)
    return np.minimum(total, np.where(starts > 0, starts + more, 0))


def _scrape(world: World, rng: np.random.Generator, arm: Arm) -> Arm:
    """What is measured of an arm whose pods restart, or answer the scrape late."""
    total, bad = arm.total, arm.bad
    if world.resets > 0:
        total, bad = _reset(world, rng, total, bad)
    if world.late > 0:
        total, bad = _delay(world, rng, total, bad)
    return Arm(total, bad)


def _reset(world: World, rng: np.random.Generator, total: Counts, bad: Counts) -> tuple[Counts, Counts]:
    """A restart loses what was counted between the last scrape and the end of the process: up to half a window."""
    kept = np.where(rng.random(total.shape) < world.resets, rng.uniform(0.5, 1.0, total.shape), 1.0)
    good = rng.binomial(total - bad, kept)
    left = rng.binomial(bad, kept)
    return good + left, left


def _delay(world: World, rng: np.random.Generator, total: Counts, bad: Counts) -> tuple[Counts, Counts]:
    """A part of each window's counts is seen with the next window."""
    share = rng.uniform(0, 2 * world.late, total.shape)
    good_later = rng.binomial(total - bad, share)
    bad_later = rng.binomial(bad, share)
    bad = bad - bad_later
    good = total - bad - bad_later - good_later
    bad[:, 1:] += bad_later[:, :-1]
    good[:, 1:] += good_later[:, :-1]
    return good + bad, bad


def _lose_windows(world: World, rng: np.random.Generator, stable: Arm, candidate: Arm) -> tuple[Arm, Arm]:
    """Windows without a scrape of both arms count for neither; half of the gaps are merged with the next window."""
    if world.gaps <= 0:
        return stable, candidate
    arrays = [array.copy() for array in (stable.total, stable.bad, candidate.total, candidate.bad)]
    replicates, windows, _ = arrays[0].shape
    lost = rng.random((replicates, windows)) < world.gaps
    merged = lost & (rng.random((replicates, windows)) < 0.5)
    for array in arrays:
        for t in range(windows):
            if t + 1 < windows:
                array[merged[:, t], t + 1] += array[merged[:, t], t]
            array[lost[:, t], t] = 0
    return Arm(arrays[0], arrays[1]), Arm(arrays[2], arrays[3])
