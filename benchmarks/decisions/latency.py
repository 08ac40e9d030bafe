"""Slower candidates: several shapes of latency and layouts of histogram buckets.

Requests are drawn into the buckets of the layout; a pod's latencies are all multiplied by its own slowly changing
factor where there is pod noise. Weir compares shares of slow requests at the edges that ``weir.stats.order`` chooses
from stable's law; the others see the 99th percentile as a dashboard interpolates it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, ndtr

from benchmarks.decisions.batchnoise import Floats
from benchmarks.decisions.deciders import NEVER, Fails, first, mann_whitney
from benchmarks.decisions.measures import measure
from benchmarks.decisions.ours import Gate, past_of
from benchmarks.decisions.study import OURS, STRICT, Row, Run
from benchmarks.decisions.worlds import WINDOW, Arm, Counts, Effect, Releases, World, generator, ladder, pods_of
from weir.stats import order

Law = Callable[[Floats], Floats]
"""Share of requests that take at most so many seconds."""

CLASSIC = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NATIVE = tuple(0.01 * 2 ** (k / 8) for k in range(80))
COARSE = (0.05, 0.25, 1.0)
LAYOUTS = {"classic buckets": CLASSIC, "native buckets": NATIVE, "three buckets": COARSE}

SHAPES: dict[str, Law] = {
    "log-normal": lambda x: ndtr(np.log(x / 0.1) / 0.5),
    "heavy tail": lambda x: ndtr(np.log(x / 0.05)),
    "cache hits": lambda x: 0.9 * gammainc(4, x / 0.005) + 0.1 * gammainc(16, x / 0.025),
}
SHIFTS = ("×1", "×1.05", "×1.1", "×1.25", "×1.5", "2 % take 10×")
HISTORY = 60
"""Windows before the release."""
PODS = 10
MARGIN = 1.1
ALLOWED = 1.2
"""A threshold on the 99th percentile: so many times stable's, as the dashboard showed it before."""


@dataclass(frozen=True)
class Service:
    """A shape, a layout, requests a second, and the standard deviation of a pod's log latency."""

    shape: str
    layout: str
    rps: float
    pod_sigma: float = 0.0

    @property
    def name(self) -> str:
        """For the report."""
        pods = ", pods 5 %" if self.pod_sigma else ""
        return f"{self.shape}, {self.layout}, {self.rps:g} rps{pods}"


SERVICES = (
    Service("log-normal", "classic buckets", 100),
    Service("log-normal", "native buckets", 100),
    Service("log-normal", "three buckets", 100),
    Service("heavy tail", "classic buckets", 100),
    Service("heavy tail", "native buckets", 100),
    Service("cache hits", "classic buckets", 100),
    Service("cache hits", "native buckets", 100),
    Service("log-normal", "native buckets", 1000),
    Service("log-normal", "classic buckets", 1000, 0.05),
    Service("log-normal", "native buckets", 1000, 0.05),
)


def latencies(run: Run) -> Iterator[Row]:
    """All cells; a tenth of the replicates, as every bucket is drawn."""
    size = max(20, run.replicates // 10)
    for service in SERVICES:
        if run.only and not any(part in service.name for part in run.only):
            continue
        run.say(service.name)
        drawing = _Drawing(service, size, run.seed)
        past = drawing.draw("history", "×1", np.ones(HISTORY), np.full(HISTORY, PODS))
        for shift in SHIFTS:
            yield from _cell(drawing, shift, _pairs(service), past)


def _pairs(service: Service) -> tuple[order.EdgePair, ...]:
    """The operator's choice, from a long look at stable."""
    edges = LAYOUTS[service.layout]
    shares = np.diff(np.concatenate([[0.0], SHAPES[service.shape](np.array(edges)), [1.0]]))
    counts = [int(n) for n in np.round(shares * 1e5)]
    return order.pair_up(edges, order.choose(edges, counts), MARGIN, at_least=False)


@dataclass(frozen=True)
class _Drawing:
    """Draws the requests of a service."""

    service: Service
    size: int
    seed: int

    @property
    def world(self) -> World:
        return World(self.service.name, self.service.rps)

    @property
    def edges(self) -> Floats:
        return np.array(LAYOUTS[self.service.layout])

    def draw(self, stream: str, shift: str, share: Floats, pods: NDArray[np.int64]) -> Counts:
        """Counts, [release, window, pod, bucket]."""
        service = self.service
        rng = generator(self.world, self.seed, stream)
        result = np.zeros((self.size, len(share), PODS, len(self.edges) + 1), dtype=np.int64)
        level, rho = rng.standard_normal((self.size, PODS)), exp(-0.25)
        for t, part in enumerate(share):
            present = np.arange(PODS) < pods[t]
            total = rng.poisson(np.where(present, service.rps * WINDOW * part / pods[t], 0.0), (self.size, PODS))
            factor = np.exp(service.pod_sigma * level)
            level = rho * level + (1 - rho * rho) ** 0.5 * rng.standard_normal(level.shape)
            result[:, t] = rng.multinomial(total, _shares(SHAPES[service.shape], self.edges, factor, shift))
        return result


def _cell(drawing: _Drawing, shift: str, pairs: tuple[order.EdgePair, ...], past: Counts) -> Iterator[Row]:
    weights = ladder()
    pods = pods_of(drawing.world, weights)
    stable = drawing.draw("stable", "×1", 1 - weights, pods[0])
    candidate = drawing.draw("candidate", shift, weights, pods[1])
    served = Arm(candidate.sum(3), _above(candidate, pairs[-1].candidate))
    base = np.zeros((drawing.size, len(weights)))
    releases = Releases(drawing.world, Effect(), weights, served, served, served, served, base)
    allowed = ALLOWED * float(_p99(past.sum((0, 1, 2)), drawing.edges))
    by_window = {name: _p99(arm.sum(2), drawing.edges) for name, arm in (("stable", stable), ("candidate", candidate))}
    minutes = candidate.sum(2)[:, ::2] + candidate.sum(2)[:, 1::2]
    slower = (_p99(minutes, drawing.edges) > allowed).cumsum(1) > 3
    found: dict[str, Fails] = {
        "Argo on p99, limit 3": np.where(slower.any(1), 2 * slower.argmax(1) + 1, NEVER),
        "Kayenta on p99": mann_whitney(by_window["stable"], by_window["candidate"]),
        **_ours(stable, candidate, pairs, past, pods),
    }
    for name, fail in found.items():
        yield Row("latency", drawing.service.name, shift, name, measure(releases, fail))


def _ours(
    stable: Counts,
    candidate: Counts,
    pairs: tuple[order.EdgePair, ...],
    past: Counts,
    pods: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Fails]:
    gates = [Gate(past_of(Arm(past.sum(3), _above(past, pair.stable)))) for pair in pairs]
    size, windows = stable.shape[:2]
    fail, strict = np.zeros((size, windows), dtype=bool), np.zeros((size, windows), dtype=bool)
    for t in range(windows):
        both = (np.full(size, float(pods[0][t])), np.full(size, float(pods[1][t])))
        for gate, pair in zip(gates, pairs, strict=True):
            a, b = stable[:, t], candidate[:, t]
            gate.add(Arm(a.sum(2), _above(a, pair.stable)), Arm(b.sum(2), _above(b, pair.candidate)), both)
        log_mean = np.logaddexp.reduce([gate.log_fail() for gate in gates], axis=0) - np.log(len(gates))
        fail[:, t] = log_mean >= gates[0].bar()
        strict[:, t] = log_mean >= gates[0].bar(strict=True)
    return {OURS: first(fail), STRICT: first(strict)}


def _above(counts: Counts, edge: int) -> Counts:
    return np.asarray(counts[..., edge + 1 :].sum(-1))


def _shares(law: Law, edges: Floats, factor: Floats, shift: str) -> Floats:
    """Probability of each bucket, [release, pod, bucket]."""
    if np.ptp(factor) == 0:
        factor = factor[:1, :1]
    at = edges / factor[..., None]
    if shift.startswith("×"):
        below = law(at / float(shift[1:]))
    else:
        below = 0.98 * law(at) + 0.02 * law(at / 10)
    whole = np.concatenate([np.zeros((*below.shape[:-1], 1)), below, np.ones((*below.shape[:-1], 1))], axis=-1)
    return np.diff(whole, axis=-1)


def _p99(counts: Counts, edges: Floats) -> Floats:
    """The 99th percentile as ``histogram_quantile`` interpolates it, over the last axis; NaN without requests."""
    below = counts.cumsum(-1)
    rank = 0.99 * below[..., -1:]
    bucket = np.minimum((below < rank).sum(-1), len(edges) - 1)
    lower = np.where(bucket > 0, edges[np.maximum(bucket - 1, 0)], 0.0)
    before = np.where(bucket > 0, np.take_along_axis(below, np.maximum(bucket - 1, 0)[..., None], -1)[..., 0], 0)
    inside = np.take_along_axis(counts, bucket[..., None], -1)[..., 0]
    part = np.clip((rank[..., 0] - before) / np.maximum(inside, 1), 0.0, 1.0)
    return np.where(below[..., -1] > 0, lower + (edges[bucket] - lower) * part, np.nan)
