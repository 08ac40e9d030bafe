"""How much traffic the candidate may get next: a ramp that spends a budget of excess bad requests.

Whether to stop or to pass is the gates' business; the ramp only bounds what the next reaction time may cost. With the
budget B, the upper bound U of the candidate's share of bad requests and the base share p0 of stable, the weight w is
such that rate * reaction * w * (U - p0) <= B - spent. Without data U is 1, so that even a total outage of the
candidate in its first moments stays within B. Since U holds with probability 1 - level, so does, at every step, "the
expected excess of the next reaction time is at most what is left". When nothing affordable is left the weight is 0.

``spent`` is charged from above: what the candidate's requests had of bad answers is known, only what stable would have
made of the same requests is not, and the least that is compatible with stable's counts is credited.

Both bounds hold at all times at once and come from mixtures of Poisson likelihoods (valid for Bernoulli requests, since
1 + x <= e^x); counts are divided by ``dispersion``, exact for 1 and approximate beyond.

Simulated with the ratio gate, 30 s windows, reaction 60 s, a base share of 1 %, 200 releases a cell: at 100 requests a
second with a budget of 60 a good candidate passes after 4 minutes (8 % starve), a doubled share costs 28 excess bad
requests (95 %: 51, worst 55) and a total outage 45 (worst 58). Over 25 cells (10 to 1,000 a second) the worst release
cost 62.5 of 60, or 7.9 of 6: a promise about expected excess leaves the luck of the last step. Budgets below
``least_budget`` starve good candidates: with 40, a quarter.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, isfinite, lgamma, log, log1p, sqrt
from operator import add

_PRIOR_EVENTS = 1.0
_PRIOR_SHARE = 0.01
_RATES = tuple(2.0**k for k in range(-8, 6))
"""Mixture for the credit: the best rate is about sqrt(6 / variance of the scaled count)."""
_RATE_WEIGHTS = tuple(3.0 if 1 / 16 <= rate <= 1 else 1.0 for rate in _RATES)
"""More weight where budgets are tight: some 10 to 1,000 bad requests at comparable traffic."""
_LOG_RATE_WEIGHTS = tuple(log(weight / sum(_RATE_WEIGHTS)) for weight in _RATE_WEIGHTS)
_PRECISION = 1e-10
_FORMAT = struct.Struct(f"<q{len(_RATES)}d")
_LEAST_EXCESS = 1e-4
"""Excess share below which the bound is not believed to be: keeps a weight finite when U meets the base share."""


@dataclass(frozen=True)
class Limits:
    """What a single move may do: ``smallest`` weight other than 0, ``largest`` weight, growth by at most ``factor``.

    Weights are ratios 0-1. ``smallest`` is what the gateway can set and what still brings evidence.
    """

    smallest: float = 0.001
    largest: float = 0.5
    factor: float = 5.0

    def __post_init__(self) -> None:
        if not (0 < self.smallest <= self.largest <= 1 and self.factor > 1):
            raise ValueError("needs 0 < smallest <= largest <= 1 and factor > 1")


@dataclass(frozen=True)
class Exposure:
    """What the candidate has done to its requests so far, and what stable's answers in the same windows credit.

    ``bad``: the candidate's bad requests. ``credits``: for each rate of the mixture the sum over windows of stable's
    bad requests times ln(1 + rate * scale), where scale is that window's candidate / stable requests.
    """

    bad: int = 0
    credits: tuple[float, ...] = (0.0,) * len(_RATES)

    def __post_init__(self) -> None:
        if self.bad < 0 or len(self.credits) != len(_RATES) or not all(0 <= c < inf for c in self.credits):
            raise ValueError(f"impossible exposure: {self}")

    def add(self, stable_total: int, stable_bad: int, candidate_total: int, candidate_bad: int) -> Exposure:
        """With one more window. Where stable had no requests nothing is credited."""
        if not (0 <= stable_bad <= stable_total and 0 <= candidate_bad <= candidate_total):
            raise ValueError("counts must not be negative, nor bad requests more than all")
        scale = candidate_total / stable_total if stable_total else 0.0
        gained = (stable_bad * log1p(rate * scale) for rate in _RATES)
        return Exposure(self.bad + candidate_bad, tuple(map(add, self.credits, gained)))

    def encode(self) -> str:
        """As text that ``decode`` gives back exactly."""
        return base64.b64encode(_FORMAT.pack(self.bad, *self.credits)).decode("ascii")

    @staticmethod
    def decode(text: str) -> Exposure:
        """The exposure behind ``encode``'s text. ValueError for any other text."""
        try:
            bad, *credits = _FORMAT.unpack(base64.b64decode(text, validate=True))
        except struct.error as error:
            raise ValueError(f"not an exposure: {text!r}") from error
        return Exposure(bad, tuple(credits))


def upper_share(total: int, bad: int, *, level: float = 0.05, dispersion: float = 1.0) -> float:
    """Upper bound (ratio 0-1) of the share of bad requests behind these counts; 1 without any.

    P(the share of all windows is ever above it) <= ``level``. For harm that comes late use the counts of a trailing
    window: then it holds at each step for that window, not for all steps at once.
    """
    _check(total, bad, level, dispersion)
    requests, events = total / dispersion, bad / dispersion
    if requests == 0:
        return 1.0
    prior = _PRIOR_EVENTS / _PRIOR_SHARE
    # log of the mixture over shares ~ Gamma(1 event, 100 requests) against a fixed share u, convex in u
    fixed = (
        _PRIOR_EVENTS * log(prior)
        - lgamma(_PRIOR_EVENTS)
        + lgamma(_PRIOR_EVENTS + events)
        - (_PRIOR_EVENTS + events) * log(prior + requests)
    )
    bar = log(1 / level)

    def refuted(u: float) -> bool:
        return fixed + u * requests - _times_log(events, u) >= bar

    return _crossing(refuted, events / requests, 1.0) if events < requests and refuted(1.0) else 1.0


def upper_excess(exposure: Exposure, *, level: float = 0.05, dispersion: float = 1.0) -> float:
    """Upper bound of the bad requests that the candidate has cost so far, at least 0: what is charged to the budget.

    With probability 1 - ``level`` the candidate's bad requests beyond what stable's share, whatever it was in each
    window, would have given are never more than this. With stable's bad requests x_i, scaled by c_i, and B the sum of
    their scaled means, exp(sum x_i ln(1 + rate c_i) - rate B) has mean at most 1 for every rate > 0, whatever the
    weights were; the least B that the mixture over rates does not refute is credited.
    """
    _check(0, 0, level, dispersion)
    bar = log(1 / level)
    terms = [(log_weight + c / dispersion, rate / dispersion) for log_weight, c, rate in _credits(exposure)]

    def refuted(credit: float) -> bool:
        logs = [constant - slope * credit for constant, slope in terms]
        top = max(logs)
        return top + log(sum(exp(value - top) for value in logs)) >= bar

    # With this credit no term of the mixture exceeds 1, so it is never refuted.
    most = max(c / rate for _, c, rate in _credits(exposure))
    credited = _crossing(refuted, most, 0.0) if refuted(0.0) else 0.0
    return max(0.0, exposure.bad - credited)


def next_weight(
    budget: float,
    spent: float,
    *,
    rate: float,
    reaction: float,
    bound: float,
    base: float,
    current: float,
    limits: Limits = Limits(),
) -> float:
    """The candidate's next share of traffic (ratio 0-1), 0 when the budget affords none.

    ``budget`` and ``spent`` are excess bad requests (``upper_excess``); ``rate`` is all requests per second, both arms;
    ``reaction`` is the seconds from harm to rollback (scrape, window, write); ``bound`` is ``upper_share`` of the
    candidate and ``base`` stable's share of bad requests, best from below. ``current`` is the weight now, 0 at the
    start: the growth limit only applies to a weight that is there. Never raised to ``limits.smallest`` when less is
    affordable, so rate * reaction * weight * (bound - base) <= budget - spent always holds.
    """
    if not all(0 <= x < inf for x in (budget, spent, rate, reaction)) or not all(
        0 <= x <= 1 for x in (bound, base, current)
    ):
        raise ValueError("needs finite amounts that are not negative, and shares between 0 and 1")
    left = budget - spent
    if left <= 0:
        return 0.0
    ceiling = limits.largest if current == 0 else min(limits.largest, limits.factor * current)
    cost = rate * reaction * max(bound - base, _LEAST_EXCESS)
    weight = ceiling if cost * ceiling <= left else left / cost
    return weight if weight >= limits.smallest else 0.0


def least_budget(rate: float, reaction: float, base: float, needed: float, limits: Limits = Limits()) -> float:
    """Budget (excess bad requests) below which a good candidate starves: the smallest first step, and noise.

    ``needed`` is the candidate's requests until a Pass is to be expected (``feasibility``). A good candidate's charge
    wanders about 3 standard deviations above 0, 3 sqrt(2 base needed): its own bad requests and the credit's bound.
    """
    if not all(0 <= x < inf for x in (rate, reaction, base, needed)):
        raise ValueError("needs finite amounts that are not negative")
    return max(rate * reaction * limits.smallest, 3 * sqrt(2 * base * needed))


def _credits(exposure: Exposure) -> zip[tuple[float, float, float]]:
    return zip(_LOG_RATE_WEIGHTS, exposure.credits, _RATES, strict=True)


def _crossing(refuted: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where ``refuted`` turns true between a value that is not refuted and one that is; on the refuted side."""
    for _ in range(200):
        if abs(outside - inside) <= _PRECISION * max(inside, outside):
            break
        middle = (inside + outside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _times_log(count: float, share: float) -> float:
    if count == 0:
        return 0.0
    return count * log(share) if share > 0 else -inf


def _check(total: int, bad: int, level: float, dispersion: float) -> None:
    if not 0 <= bad <= total:
        raise ValueError(f"{bad} bad of {total} requests")
    if not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    if not (dispersion >= 1 and isfinite(dispersion)):
        raise ValueError(f"dispersion is 1 or more, not {dispersion}")
