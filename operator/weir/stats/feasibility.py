"""How long a Pass of a good candidate will take, before the release begins.

A good candidate's evidence grows like a random walk: for every bad event of either arm by the divergence

    KL = t ln(t / u) + (1 - t) ln((1 - t) / (1 - u)),    t = w,  u = w r / (1 - w + w r),

where w is the weight and r the tolerance (the candidate's part of the bad events if it is as good as stable, and if it
is r times as bad). The bar is ln(1/alpha) plus what the mixture over ratios costs, and the time to reach it has an
inverse Gaussian law, whose median and 90 % point are what is told here. Against simulation (tolerances 1.1 to 2,
weights 5 to 50 %): the median within 20 %, the 90 % point within 20 %. For ``accept_below`` it is the divergence of
the base share from the bound for every request of the candidate, against ``weir.stats.absolute``. Bursts divide the
events; effects of pods add to the variance of a window's log ratio and are a model, good for an order of magnitude.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, erfc, exp, inf, isfinite, lgamma, log, log1p, sqrt

from weir.stats.absolute import log_below

_MIXTURE_COST = 1.2
"""Nats that not knowing the true ratio costs, by simulation."""

_HALVINGS = 100
_STEADIEST = 200.0
"""Shape beyond which the law is as good as a point."""

_LEAST_THINNING = 0.25
_MOST_REQUESTS = 2**60
_FEW = 16
"""Bad requests below which each number of them is looked at by itself."""


@dataclass(frozen=True)
class Traffic:
    """``rate`` requests per second of both arms, of which stable spoils the share ``base`` (0-1).

    The noise is that of ``weir.stats.noise``: ``dispersion`` of bursts (1: none); ``fast`` and ``slow`` variance of a
    pod's log rate, ``correlation`` of the fast part between windows of ``window`` seconds; ``pods`` of each arm.
    """

    rate: float
    base: float
    dispersion: float = 1.0
    fast: float = 0.0
    slow: float = 0.0
    correlation: float = 0.0
    window: float = 30.0
    stable_pods: int = 1
    candidate_pods: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rate < inf and 0 <= self.base < 1 and self.dispersion >= 1):
            raise ValueError(f"impossible traffic: {self}")
        if min(self.fast, self.slow) < 0 or not (0 <= self.correlation < 1 and 0 < self.window < inf):
            raise ValueError(f"impossible noise: {self}")
        if min(self.stable_pods, self.candidate_pods) < 1:
            raise ValueError("an arm without pods")


@dataclass(frozen=True)
class Claim:
    """What a Pass has to prove at ``alpha``: either of "less than ``tolerance`` times stable's rate" (a ratio above 1)
    and "a smaller share than ``accept_below``" (0-1), whichever is proven first; None leaves one out."""

    tolerance: float | None = 1.5
    accept_below: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 1 < self.tolerance < inf:
            raise ValueError(f"a tolerance is a ratio above 1, not {self.tolerance}")
        if self.accept_below is not None and not 0 < self.accept_below < 1:
            raise ValueError(f"a share is between 0 and 1, not {self.accept_below}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is between 0 and 1, not {self.alpha}")


@dataclass(frozen=True)
class Step:
    """A ``weight`` (0-1) held for ``seconds``; the last one of a plan is held as long as it takes."""

    weight: float
    seconds: float = inf

    def __post_init__(self) -> None:
        if not (0 <= self.weight < 1 and self.seconds >= 0):
            raise ValueError(f"impossible step: {self}")


@dataclass(frozen=True)
class Wait:
    """Seconds until half and until 90 % of good candidates pass; infinite when that cannot be expected at all."""

    median: float
    ninety: float

    def windows(self, width: float) -> tuple[float, float]:
        """The same in whole windows of ``width`` seconds."""
        return _whole(self.median / width), _whole(self.ninety / width)


def wait(traffic: Traffic, claim: Claim, plan: Sequence[Step]) -> Wait:
    """Time until a Pass of a candidate that is as good as stable, from the start of the plan's first step."""
    waits = []
    if claim.tolerance is not None:
        waits.append(_wait_ratio(traffic, claim.tolerance, claim.alpha, plan))
    if claim.accept_below is not None:
        waits.append(_wait_below(traffic, claim.accept_below, claim.alpha, plan))
    return Wait(min((w.median for w in waits), default=inf), min((w.ninety for w in waits), default=inf))


def least_rate(traffic: Traffic, claim: Claim, plan: Sequence[Step], deadline: float) -> float:
    """Requests per second from which 90 % of good candidates pass within ``deadline`` seconds; inf for none.

    All else stays as in ``traffic``.
    """
    low, high = 1e-9, 1e12
    if wait(replace(traffic, rate=high), claim, plan).ninety > deadline:
        return inf
    for _ in range(_HALVINGS):
        middle = sqrt(low * high)
        if wait(replace(traffic, rate=middle), claim, plan).ninety > deadline:
            low = middle
        else:
            high = middle
    return high


def divergence(share: float, other: float) -> float:
    """Nats per event by which counts of the ``share`` tell themselves from the ``other`` share (both 0-1)."""
    parts = ((share, other), (1 - share, 1 - other))
    return max(0.0, sum(p * log(p / q) if q > 0 else inf for p, q in parts if p > 0))


def _wait_ratio(traffic: Traffic, tolerance: float, alpha: float, plan: Sequence[Step]) -> Wait:
    """In units of information on the log ratio (1 / variance): nats = distance^2 / 2 * information."""
    distance = log(tolerance) ** 2 / 2
    both = 1 / traffic.stable_pods + 1 / traffic.candidate_pods
    lasting = traffic.fast * both * (1 + traffic.correlation) / (1 - traffic.correlation)
    # many bad requests vary less than their mean, so each tells more
    events = traffic.rate * traffic.base / (traffic.dispersion * max(_LEAST_THINNING, 1 - traffic.base))

    def gain(weight: float) -> float:
        at_tolerance = weight * tolerance / (1 - weight + weight * tolerance)
        independent = events * divergence(weight, at_tolerance) / distance
        return independent / (1 + independent * lasting * traffic.window) if independent > 0 else 0.0

    def seconds(nats: float) -> float:
        variance = distance / nats - traffic.slow * both
        return _reached(plan, gain, 1 / variance) if variance > 0 else inf

    bar = log(1 / alpha) + _MIXTURE_COST
    return Wait(*(seconds(bar * _quantile(part, bar / 2)) for part in (0.5, 0.9)))


def _wait_below(traffic: Traffic, bound: float, alpha: float, plan: Sequence[Step]) -> Wait:
    def gain(weight: float) -> float:
        return traffic.rate * weight / traffic.dispersion

    needed = (_requests_below(traffic.base, bound, alpha, part) for part in (0.5, 0.9))
    return Wait(*(_reached(plan, gain, requests) for requests in needed))


@lru_cache(maxsize=256)
def _requests_below(base: float, bound: float, alpha: float, part: float) -> float:
    """The candidate's requests until this part of good candidates is proven to be below the bound."""
    nats = divergence(base, bound)
    if base >= bound or nats <= 0:
        return inf
    # log odds ratio; a base of 0 has no variance
    odds = log(bound / base) + log1p(-base) - log1p(-bound) if base > 0 else 0.0
    variance = base * (1 - base) * odds * odds
    bar = log(1 / alpha) + _MIXTURE_COST
    shape = min(_STEADIEST, bar * nats / variance) if variance > 0 else _STEADIEST
    walk = bar * _quantile(part, shape) / nats
    # With few bad requests the steps are too coarse for a law of walks.
    counted = _first_passage(base, bound, alpha, part)
    return walk if counted is None else counted


def _first_passage(base: float, bound: float, alpha: float, part: float) -> float | None:
    """Requests until this part is proven, exactly, if so with less than ``_FEW`` bad requests.

    With k bad requests the proof takes n_k requests, and who has more than k by then goes on to n_(k+1).
    """
    alive, passed, before = [1.0] + [0.0] * (_FEW - 1), 0.0, 0
    for bad in range(_FEW):
        needed = _requests_with(bad, bound, alpha)
        arriving = [_poisson(k, (needed - before) * base) for k in range(_FEW)]
        alive = [sum(alive[i] * arriving[k - i] for i in range(k + 1)) for k in range(_FEW)]
        passed += alive[bad]
        if passed >= part:
            return needed
        alive[bad], before = 0.0, needed
    return None


def _requests_with(bad: int, bound: float, alpha: float) -> int:
    """Requests that prove a share below the bound when ``bad`` of them are."""
    high = bad + 1
    while log_below(bound, high, bad) < log(1 / alpha) and high < _MOST_REQUESTS:
        high *= 2
    return bisect_left(range(high), log(1 / alpha), lo=bad, key=lambda n: log_below(bound, n, bad))


def _poisson(count: int, mean: float) -> float:
    if mean == 0:
        return 1.0 if count == 0 else 0.0
    return exp(count * log(mean) - mean - lgamma(count + 1))


def _reached(plan: Sequence[Step], gain: Callable[[float], float], target: float) -> float:
    """Seconds until the gains per second of the plan's weights add up to the target."""
    elapsed = 0.0
    for number, step in enumerate(plan):
        speed = gain(step.weight)
        last = number == len(plan) - 1
        if speed > 0 and (last or speed * step.seconds >= target):
            return elapsed + target / speed
        target -= speed * step.seconds if speed > 0 else 0.0
        elapsed += step.seconds
    return inf


def _quantile(part: float, shape: float) -> float:
    """Quantile of the inverse Gaussian law of mean 1, by bisection."""
    low, high = 0.0, 100.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _below(middle, shape) < part:
            low = middle
        else:
            high = middle
    return high


def _below(x: float, shape: float) -> float:
    root = sqrt(shape / x)
    return _normal(root * (x - 1)) + exp(2 * shape) * _normal(-root * (x + 1))


def _normal(z: float) -> float:
    return erfc(-z / sqrt(2)) / 2


def _whole(number: float) -> float:
    return ceil(number) if isfinite(number) else number
