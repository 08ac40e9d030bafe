"""How fast a service uses up the error budget of its objective, from counts.

With an objective of 99.9 % the budget is the 0.1 % of the window's requests that may be bad. The burn rate of a span is
its share of bad requests over that share: at 1 the budget lasts exactly the window. A pair of a long and a short span
fires when both burn faster than its factor: the long one says that it matters, the short one that it goes on. The
usual three pairs (1 h and 5 min above 14.4, 6 h and 30 min above 6, 3 d and 6 h above 1, for 30 days) use 2 %, 5 % and
10 % of the budget in the long span; for other windows the spans scale and the factors stay.

Pairs also fire by chance. Simulated over 24 h from a cold start, a look every 5 minutes, a service at exactly 99.9 %:
some pair fires in 55 % (36 requests an hour) to 96 % (36,000) of the days. So each pair also counts as ``certain`` only
when the log e-value against "no faster than the factor" (``weir.stats.absolute``) crosses ln(1/alpha): 0 to 0.5 % of
those days, while ten times the allowed share is certain after 8.7 h at 36 requests an hour, 10 minutes at 3,600.
Meant for a whole service; a candidate's slice is judged by gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log

from weir.stats.absolute import log_above

ALPHA = 0.01
"""Chance to call a burn certain that is none, at any one look."""

_SHARES = ((0.02, 1 / 720, 1 / 12), (0.05, 1 / 120, 1 / 12), (0.1, 1 / 10, 1 / 12))


@dataclass(frozen=True)
class Counts:
    """Requests of the whole service in a span of time."""

    total: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.total:
            raise ValueError(f"{self.bad} bad of {self.total} requests")


@dataclass(frozen=True)
class Pair:
    """A long and a short span in seconds that must both burn faster than ``factor`` times the sustainable rate."""

    long: float
    short: float
    factor: float


@dataclass(frozen=True)
class Burning:
    """What a pair of spans shows: the burn rate of each, whether it fires, and whether that is more than chance."""

    pair: Pair
    long: float
    short: float
    fires: bool
    certain: bool


def pairs(window: float) -> tuple[Pair, ...]:
    """The three pairs for an objective over ``window`` seconds, the fastest first."""
    if not 0 < window < inf:
        raise ValueError(f"a window of {window} s")
    return tuple(
        Pair(long=window * long, short=window * long * short, factor=share / long) for share, long, short in _SHARES
    )


def rate(objective: float, counts: Counts) -> float:
    """Burn rate: 1 uses up the budget in exactly the objective's window; 0 without requests.

    ``objective`` is the share of good requests, 0-1 exclusive.
    """
    return counts.bad / counts.total / allowed(objective) if counts.total else 0.0


def burning(objective: float, window: float, counted: Callable[[float], Counts], alpha: float = ALPHA) -> list[Burning]:
    """Each pair's burn rates; ``counted`` gives the service's counts of the last so many seconds."""
    result = []
    for pair in pairs(window):
        long, short = counted(pair.long), counted(pair.short)
        rates = rate(objective, long), rate(objective, short)
        fires = min(rates) > pair.factor
        bound = min(1.0, pair.factor * allowed(objective))
        certain = fires and log_above(bound, long.total, long.bad) >= log(1 / alpha)
        result.append(Burning(pair, *rates, fires=fires, certain=certain))
    return result


def budget_spent(objective: float, counts: Counts) -> float:
    """Share of the error budget that the window's counts have used: from 1 on nothing is left; 0 without requests.

    ``counts`` are those of the objective's whole window, so this is the burn rate over the window.
    """
    return rate(objective, counts)


def budget_left(objective: float, counts: Counts) -> float:
    """Bad requests that the window may still have, never below 0."""
    return max(0.0, allowed(objective) * counts.total - counts.bad)


def release_budget(objective: float, counts: Counts, share: float = 0.02) -> float:
    """Excess bad requests that one release may cost: ``share`` (0-1) of the window's budget, at most what is left."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    return min(share * allowed(objective) * counts.total, budget_left(objective, counts))


def allowed(objective: float) -> float:
    """The share of requests (0-1) that may be bad under an objective. ValueError unless it is between 0 and 1."""
    if not 0 < objective < 1:
        raise ValueError(f"an objective is a share of good requests between 0 and 1, not {objective}")
    return 1 - objective
