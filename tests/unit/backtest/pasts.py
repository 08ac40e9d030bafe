"""Pasts of a service, made up with a seed: quiet, with noisy pods, with bursts."""

from __future__ import annotations

from math import exp, sqrt
from random import Random

from weir.backtest.chance import binomial
from weir.backtest.history import History, Moment, PodCounts

START = 1_790_000_000.0
WIDTH = 30.0
EDGES = (0.05, 0.1, 0.25, 0.5)
WITHIN = (0.3, 0.75, 0.95, 0.99)
"""Share of requests within each of EDGES."""


def pod_name(number: int, pool: str = "digits-0a1b2c3d") -> str:
    return f"{pool}-5f7d9-pod{number:02}"


def past(
    windows: int,
    *,
    pods: int = 6,
    rate: float = 20.0,
    share: float = 0.01,
    spread: float = 0.0,
    burst: int = 1,
    latency: bool = False,
    seed: int = 1,
) -> History:
    """``rate``: requests a second of each pod; ``share`` of them bad; ``spread``: of a pod's log rate, for two minutes;
    ``burst``: mean number of bad requests that come together."""
    chance = Random(seed)
    total = round(rate * WIDTH)
    effects = [chance.gauss(0, spread) for _ in range(pods)]
    keep = exp(-WIDTH / 120)
    moments = []
    for number in range(windows):
        counts = {}
        for pod in range(pods):
            effects[pod] = keep * effects[pod] + sqrt(1 - keep * keep) * chance.gauss(0, spread)
            p = share * exp(effects[pod] - spread * spread / 2)
            bad = sum(_burst(chance, burst) for _ in range(binomial(chance, total, p / burst)))
            slower = _slower(chance, total) if latency else ()
            counts[pod_name(pod)] = PodCounts(total, min(bad, total), total if latency else 0, slower)
        moments.append(Moment(START + number * WIDTH, counts))
    return History(WIDTH, EDGES if latency else (), tuple(moments))


def _burst(chance: Random, mean: int) -> int:
    """Geometric, at least 1."""
    size = 1
    while chance.random() > 1 / mean:
        size += 1
    return size


def _slower(chance: Random, total: int) -> tuple[int, ...]:
    left, before, found = total, 1.0, []
    for within in WITHIN:
        left = binomial(chance, left, (1 - within) / before)
        before = 1 - within
        found.append(left)
    return tuple(found)
