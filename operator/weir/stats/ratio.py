"""Is the candidate's rate of bad events higher than the stable version's? An e-process on the ratio of the two rates.

Every window of both arms is conditioned on its sum of bad events, so the baseline may move as it likes; with
independent requests the e-value is then exact for any traffic weights (expectation at most 1 while the null holds, at
every stopping time). Pod effects and bursts enter through a random-effects filter (``ratiofilter``), which makes it a
model that was checked by simulation rather than a theorem. All logarithms are natural; the unit of time is the window.
"""

from __future__ import annotations

import base64
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, inf, log, log1p, sqrt

from weir.stats import ratiofilter
from weir.stats.noise import Noise
from weir.stats.ratiofilter import Effects

CAP = 2.0
"""Most that one window can add to the evidence of Fail, in nats: no single freak window rolls back."""
MAX_GRID = 24
"""Ratios at most, which bounds the size of the state."""
CALIBRATED = 0.55
PLAN = 40
FIRST = 4
EARLY = 3.7
"""See ``bar``."""

_LOWER = (0.4, 0.55, 0.7, 0.82, 0.91, 0.97)
"""Ratios below ``fail_above``, as parts of it: what a candidate that is no worse may be."""
_UPPER_STEPS = 6
_UPPER_FIRST, _UPPER_LAST = 1.3, 5.0
"""Ratios above ``fail_above``, as multiples of it. A candidate ten times as bad is found by the last as quickly."""


_HALVINGS = 7
"""Bisections of a gap of the grid for an end of the interval: to a part in 250 of it, more than its digits show."""
_STICKY = 20.0
"""Variance of a pod's log rate times its requests a window, up to which it may be due to its users."""
_BY_CHANCE = 1.2
_LEAST_THINNING = 0.5
_LOWER_SHARE = 1.4
"""The ratio that is assumed when the share of the lower arm is told from the sum: between both nulls."""


@dataclass(frozen=True)
class Arms:
    """Counts of one window: requests (or other events) and the bad ones of both arms, and their ready pods."""

    stable_total: int
    stable_bad: int
    candidate_total: int
    candidate_bad: int
    stable_pods: int = 1
    candidate_pods: int = 1

    def __post_init__(self) -> None:
        if min(self.stable_total, self.stable_bad, self.candidate_total, self.candidate_bad) < 0:
            raise ValueError(f"negative count: {self}")
        if min(self.stable_pods, self.candidate_pods) < 1:
            raise ValueError(f"an arm without pods: {self}")


@dataclass(frozen=True)
class Ratios:
    """The questions: proven worse than ``fail_above``? proven better than ``pass_below`` or one of ``tolerances``?

    All are ratios of the candidate's rate to the stable version's. One grid of assumed ratios serves them all.
    """

    fail_above: float = 1.1
    pass_below: float = 1.5
    tolerances: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.fail_above < inf:
            raise ValueError(f"fail_above must be a positive number, not {self.fail_above}")
        if not self.fail_above <= self.pass_below < inf:
            raise ValueError(f"pass_below must be at least fail_above, not {self.pass_below}")
        if any(not self.pass_below <= tolerance < inf for tolerance in self.tolerances):
            raise ValueError(f"a tolerance must be at least pass_below: {self.tolerances}")
        if len(self.grid) > MAX_GRID:
            raise ValueError(f"too many tolerances: {len(self.tolerances)}")

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """Every assumed ratio, ascending."""
        lower = (self.fail_above * part for part in _LOWER)
        return tuple(sorted({*lower, self.fail_above, self.pass_below, *self.tolerances, *self.worse}))

    @cached_property
    def worse(self) -> tuple[float, ...]:
        """The ratios that a bad candidate is assumed to have."""
        first, last = sqrt(log(_UPPER_FIRST)), sqrt(log(_UPPER_LAST))
        width = (last - first) / (_UPPER_STEPS - 1)
        return tuple(self.fail_above * exp((first + width * i) ** 2) for i in range(_UPPER_STEPS))

    @cached_property
    def _logs(self) -> tuple[float, ...]:
        return tuple(log(ratio) for ratio in self.grid)

    @cached_property
    def _null(self) -> int:
        return self.grid.index(self.fail_above)

    @cached_property
    def _worse(self) -> tuple[int, ...]:
        return tuple(self.grid.index(ratio) for ratio in self.worse)


@dataclass(frozen=True)
class RatioState:
    """Evidence so far, for each ratio of ``grid``.

    ``windows`` counts those with requests of both arms and anything bad. ``effects`` is empty where no pod noise is
    known. ``share``: for how many pods one of the candidate's counts. ``evidence`` is the log e-value of Fail,
    ``uncapped`` the same without ``CAP``.
    """

    noise: Noise
    grid: tuple[float, ...]
    log_likelihoods: tuple[float, ...]
    effects: tuple[Effects, ...]
    pods: tuple[int, int] | None = None
    share: float = 1.0
    windows: int = 0
    evidence: float = 0.0
    uncapped: float = 0.0
    stable_total: int = 0
    stable_bad: int = 0
    candidate_total: int = 0
    candidate_bad: int = 0

    def encode(self) -> str:
        """As text (base64 of little-endian 64-bit numbers, less than 2,500 characters), exactly."""
        noise = self.noise
        counts = (self.stable_total, self.stable_bad, self.candidate_total, self.candidate_bad)
        head = (*(self.pods or (0, 0)), self.windows, *counts)
        floats = [noise.dispersion, noise.fast, noise.slow, noise.correlation, self.share, self.evidence, self.uncapped]
        floats += self.grid
        floats += self.log_likelihoods
        for effects in self.effects:
            floats += effects
        packed = struct.pack(f"<BB7q{len(floats)}d", len(self.grid), bool(self.effects), *head, *floats)
        return base64.b64encode(packed).decode("ascii")

    @staticmethod
    def decode(text: str) -> RatioState:
        """The state that was encoded. Raises ValueError for any other text."""
        packed = base64.b64decode(text, validate=True)
        try:
            points, moving = struct.unpack_from("<BB", packed)
            floats = 7 + points * (7 if moving else 2)
            _, _, *numbers = struct.unpack(f"<BB7q{floats}d", packed)
        except struct.error as error:
            raise ValueError(f"not the evidence of a ratio: {error}") from error
        stable_pods, candidate_pods, windows, *counts = numbers[:7]
        values = [float(number) for number in numbers[7:]]
        share, evidence, uncapped = values[4:7]
        grid, likelihoods, rest = values[7 : 7 + points], values[7 + points : 7 + 2 * points], values[7 + 2 * points :]
        return RatioState(
            Noise(*values[:4]),
            tuple(grid),
            tuple(likelihoods),
            tuple((a, b, c, d, e) for a, b, c, d, e in zip(*[iter(rest)] * 5, strict=True)),
            (stable_pods, candidate_pods) if stable_pods else None,
            share,
            windows,
            evidence,
            uncapped,
            *counts,
        )


@dataclass(frozen=True)
class Effect:
    """An estimate with its interval; ``high`` may be infinite."""

    estimate: float
    low: float
    high: float


def start(ratios: Ratios, noise: Noise) -> RatioState:
    """No evidence yet."""
    return RatioState(noise, ratios.grid, (0.0,) * len(ratios.grid), ())


def step(ratios: Ratios, state: RatioState, arms: Arms) -> RatioState:
    """The evidence after one more window. Raises ValueError where the state was made with other ratios."""
    if state.grid != ratios.grid:
        raise ValueError("the evidence was gathered for other ratios")
    pods, share = (arms.stable_pods, arms.candidate_pods), _share(state, arms)
    effects = _evolved(state, pods, share)
    bad = arms.stable_bad + arms.candidate_bad
    if not (arms.stable_total and arms.candidate_total and bad):
        return replace(state, effects=effects, pods=pods, share=share)
    dispersion = state.noise.dispersion * _thinning(arms)
    candidate, stable = arms.candidate_bad / dispersion, arms.stable_bad / dispersion
    log_traffic = log(arms.candidate_total / arms.stable_total)
    likelihoods = []
    if effects:
        learnt = []
        for log_ratio, likelihood, before in zip(ratios._logs, state.log_likelihoods, effects, strict=True):
            gained, after = ratiofilter.observe(before, log_traffic + log_ratio, candidate, stable)
            likelihoods.append(likelihood + gained)
            learnt.append(after)
        effects = tuple(learnt)
    else:
        for log_ratio, likelihood in zip(ratios._logs, state.log_likelihoods, strict=True):
            likelihoods.append(likelihood + ratiofilter.binomial(log_traffic + log_ratio, candidate, stable))
    uncapped = _log_mean(likelihoods, ratios._worse) - likelihoods[ratios._null]
    return RatioState(
        state.noise,
        state.grid,
        tuple(likelihoods),
        effects,
        pods,
        share,
        state.windows + 1,
        state.evidence + min(CAP, uncapped - state.uncapped),
        uncapped,
        state.stable_total + arms.stable_total,
        state.stable_bad + arms.stable_bad,
        state.candidate_total + arms.candidate_total,
        state.candidate_bad + arms.candidate_bad,
    )


def replay(ratios: Ratios, noise: Noise, arms: Iterable[Arms], base: RatioState | None = None) -> RatioState:
    """The evidence of all windows recomputed with ``noise``.

    ``base``: evidence of older windows, which are no longer at hand; it stays as it was, and its knowledge of the pods
    is widened to the new noise.
    """
    state = start(ratios, noise) if base is None else _renoised(base, noise)
    for window in arms:
        state = step(ratios, state, window)
    return state


def log_worse(state: RatioState) -> float:
    """Log e-value against "the ratio is at most ``fail_above``"; every window added at most ``CAP`` nats."""
    return state.evidence


def log_no_worse(ratios: Ratios, state: RatioState, tolerance: float) -> float:
    """Log e-value against "the ratio is at least ``tolerance``".

    A tolerance between two ratios of the grid is answered by the lower one, which proves more. Nothing is proven before
    window ``FIRST``, as stable's own pods have not been looked at: after a quiet history a noisy release would pass by
    chance (28 % of releases with bursts at a ratio of 1.5, against 2 %). Raises ValueError below ``pass_below``.
    """
    if not tolerance >= ratios.pass_below:
        raise ValueError(f"no evidence is kept for a tolerance of {tolerance}, only from {ratios.pass_below}")
    null = bisect_right(state.grid, tolerance) - 1
    proven = _log_mean(state.log_likelihoods, range(null)) - state.log_likelihoods[null]
    return proven if state.windows >= FIRST else min(0.0, proven)


def bar(alpha: float, windows: int, *, strict: bool) -> float:
    """Log e-value at which Fail is called after ``windows`` windows, for a rate of false rollbacks of ``alpha`` (0-1).

    ``strict``: ln(1/alpha), a theorem (Ville's inequality) where the noise is known. Otherwise it was calibrated by
    simulation: lower by ``CALIBRATED`` nats for plans of up to ``PLAN`` windows, from where it rises to the strict bar
    at twice as many; and higher by ``EARLY`` nats before window ``FIRST``, when stable's own pods are first
    looked at: three windows, of ``CAP`` nats at most, cannot reach it.
    """
    if strict:
        return -log(alpha)
    beyond = min(1.0, max(0.0, log(max(windows, 1) / PLAN) / log(2.0)))
    return -log(alpha) - CALIBRATED * (1.0 - beyond) + (EARLY if windows < FIRST else 0.0)


def interval(ratios: Ratios, state: RatioState, level: float = 0.95) -> Effect:
    """The likeliest ratio, and all ratios that the evidence does not exclude at ``level`` (0-1) after any window.

    A ratio is excluded when the mean likelihood of all ratios is ``1 / (1 - level)`` times its own. Between the points
    of the grid the log likelihood is a parabola through three of them. An end beyond the grid is 0 or infinite.
    """
    if state.windows == 0:
        return Effect(1.0, 0.0, inf)
    logs, values = ratios._logs, state.log_likelihoods
    threshold = _log_mean(values, range(len(values))) + log1p(-level)
    inside = [i for i, value in enumerate(values) if value >= threshold]
    first, last = inside[0], inside[-1]
    best = max(range(len(values)), key=values.__getitem__)
    low = 0.0 if first == 0 else exp(_crossed(logs, values, first - 1, threshold))
    high = inf if last == len(values) - 1 else exp(_crossed(logs, values, last, threshold))
    estimate = 0.0 if best == 0 and state.candidate_bad == 0 else exp(_peak(logs, values, best))
    return Effect(estimate, low, high)


def _crossed(xs: Sequence[float], ys: Sequence[float], i: int, level: float) -> float:
    """Where the parabola around the gap after point ``i`` has the value ``level`` that lies between the gap's ends."""
    low, high, rising = xs[i], xs[i + 1], ys[i] < ys[i + 1]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (_between(middle, xs, ys) < level) is rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _between(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The parabola through the three points around ``x``."""
    i = min(max(bisect_left(xs, x) - 1, 0), len(xs) - 3)
    a, b, c = xs[i : i + 3]
    slope = (ys[i + 1] - ys[i]) / (b - a)
    bend = ((ys[i + 2] - ys[i + 1]) / (c - b) - slope) / (c - a)
    return ys[i] + (x - a) * (slope + (x - b) * bend)


def _peak(xs: Sequence[float], ys: Sequence[float], i: int) -> float:
    """The top of the parabola around the highest point ``i``; the point itself at either end."""
    if i in {0, len(xs) - 1}:
        return xs[i]
    before, after = xs[i] - xs[i - 1], xs[i + 1] - xs[i]
    rise, fall = (ys[i] - ys[i - 1]) / before, (ys[i + 1] - ys[i]) / after
    bend = (rise - fall) / (before + after)
    return xs[i] if bend <= 0.0 else (xs[i - 1] + xs[i]) / 2 + rise / (2 * bend)


def _share(state: RatioState, arms: Arms) -> float:
    """For how many pods one of the candidate's counts (at most 1), as it has less traffic than one of stable's.

    Pods may differ by the users they hold rather than by themselves, and then those with less traffic differ more. As
    much of the variance is taken for that as users with ``_STICKY`` requests a window could cause (false rollbacks with
    sticky users 4 %, else 9 %; 10 % more requests exposed where it is the pods). It stays as it was where it would
    change by chance only, for each change is taken as new users, of whom nothing is known.
    """
    variance = state.noise.fast + state.noise.slow
    if variance <= 0.0 or not arms.stable_total or not arms.candidate_total:
        return state.share
    each = arms.stable_total / arms.stable_pods
    thinner = max(1.0, each / (arms.candidate_total / arms.candidate_pods))
    share = 1.0 / (1.0 + min(1.0, _STICKY / (each * variance)) * (thinner - 1.0))
    close = state.pods is not None and 1.0 / _BY_CHANCE < share / state.share < _BY_CHANCE
    return state.share if close else share


def _evolved(state: RatioState, pods: tuple[int, int], share: float) -> tuple[Effects, ...]:
    noise = state.noise
    if noise.fast <= 0.0 and noise.slow <= 0.0:
        return ()
    now = (pods[0], pods[1] * share)
    if state.pods is None:
        return (ratiofilter.begin(noise, now),) * len(state.grid)
    before = (state.pods[0], state.pods[1] * state.share)
    return tuple(ratiofilter.evolve(effects, noise, before, now) for effects in state.effects)


def _renoised(state: RatioState, noise: Noise) -> RatioState:
    """The state with its unknown pod effects scaled to another noise."""
    if state.pods is None:
        return replace(state, noise=noise)
    if not state.effects:
        fresh = ratiofilter.begin(noise, (state.pods[0], state.pods[1] * state.share))
        moving = noise.fast > 0.0 or noise.slow > 0.0
        return replace(state, noise=noise, effects=(fresh,) * len(state.grid) if moving else ())
    fast = noise.fast / state.noise.fast if state.noise.fast > 0.0 else 1.0
    slow = noise.slow / state.noise.slow if state.noise.slow > 0.0 else 1.0
    scaled = tuple((m, s, v * fast, w * slow, c * sqrt(fast * slow)) for m, s, v, w, c in state.effects)
    return replace(state, noise=noise, effects=scaled)


def _thinning(arms: Arms) -> float:
    """How much less than its mean a count of bad events varies where many events are bad (at most 1).

    By what the sum of bad events says of the arm with the lower share, so it does not look at who had them. Up to a
    share of 5 % nothing is taken, which leaves the theorem as it is; above, that is what keeps expectations at most 1
    (enumerated for shares to 60 % and traffic of 1 : 20 to 20 : 1).
    """
    bad = arms.stable_bad + arms.candidate_bad
    share = bad / (arms.stable_total + _LOWER_SHARE * arms.candidate_total)
    return max(_LEAST_THINNING, min(1.0, 1.05 * (1.0 - share)))


def _log_mean(values: Sequence[float], places: Sequence[int]) -> float:
    chosen = [values[i] for i in places]
    most = max(chosen)
    return most + log(sum([exp(value - most) for value in chosen]) / len(chosen))
