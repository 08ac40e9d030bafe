"""Regressions put into counts of the past: what the candidate's pods would have shown, had the version been worse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from random import Random
from typing import Literal

from weir.backtest.chance import binomial
from weir.backtest.history import PodCounts

_TEXT = re.compile(
    r"(?:(?P<kind>errors|latency):)?(?:\+(?P<more>[0-9.]+)%|[x×](?P<factor>[0-9.]+)|(?P<share>[0-9.]+)%)"
)


@dataclass(frozen=True)
class Regression:
    """What got worse: errors so many times as frequent (or a fixed share of all requests), or durations as long."""

    kind: Literal["errors", "latency"]
    factor: float = 1.0
    share: float | None = None

    def __str__(self) -> str:
        return f"errors {self.share * 100:.3g} %" if self.share is not None else f"{self.kind} ×{self.factor:g}"

    @staticmethod
    def parse(text: str) -> tuple[Regression, ...]:
        """``x1.5`` or ``+20%`` for errors and latency alike, ``errors:x5``, ``latency:+20%``, ``5%`` of requests.

        Raises ValueError for anything else.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no regression such as 'x1.5', '+20%', 'errors:x5', 'latency:x2' or '5%'")
        if match["share"] is not None:
            share = float(match["share"]) / 100
            if match["kind"] == "latency" or not 0.0 < share <= 1.0:
                raise ValueError(f"{text!r}: a share is of failed requests, above 0 and up to 100 %")
            return (Regression("errors", share=share),)
        factor = 1 + float(match["more"]) / 100 if match["more"] is not None else float(match["factor"])
        if not 1.0 < factor <= 1000.0:
            raise ValueError(f"{text!r}: a regression is more than 1 and at most 1000 times as bad")
        kinds: tuple[Literal["errors", "latency"], ...] = ("errors", "latency")
        return tuple(Regression(kind, factor) for kind in kinds if match["kind"] in (None, kind))


DEFAULT = ("+20%", "x1.5", "x2", "x5", "5%")
"""Regressions that are tried unless the user names others."""


def injected(
    regression: Regression, counts: PodCounts, usual: float, edges: Sequence[float], chance: Random
) -> PodCounts:
    """The pod's counts had its version been worse; the rest of its luck stays as it was.

    ``usual``: share of bad requests (0-1) of all pods around that time, from which a factor takes how many to add, so
    that the added ones follow the service's own ups and downs but come one by one.
    """
    if regression.kind == "errors":
        more = regression.share if regression.share is not None else (regression.factor - 1) * usual
        rest = max(1e-9, 1 - usual)
        good = counts.total - counts.bad
        return counts._replace(bad=counts.bad + binomial(chance, good, min(1.0, more / rest)))
    return counts._replace(slower=_slower(counts, edges, regression.factor, chance))


def _slower(counts: PodCounts, edges: Sequence[float], factor: float, chance: Random) -> tuple[int, ...]:
    """Requests slower than each edge, had every request lasted ``factor`` times as long.

    Within a bucket durations are taken to be even on a logarithmic scale; the first bucket to begin at half its edge.
    A request beyond the last edge stays there.
    """
    lows = (edges[0] / 2, *edges[:-1])
    above = (counts.timed, *counts.slower)
    slower = list(counts.slower)
    for bucket, (low, high) in enumerate(zip(lows, edges, strict=True)):
        left = above[bucket] - above[bucket + 1]
        passed = left
        for place in range(bucket, len(edges)):
            # Of those that passed the edge before, how many pass this one, too?
            earlier = 1.0 if place == bucket else _beyond(low, high, factor, edges[place - 1])
            if earlier <= 0.0 or passed <= 0:
                break
            passed = binomial(chance, passed, _beyond(low, high, factor, edges[place]) / earlier)
            slower[place] += passed
    assert all(a >= b for a, b in pairwise(slower))
    return tuple(slower)


def _beyond(low: float, high: float, factor: float, edge: float) -> float:
    """Share of requests between ``low`` and ``high`` that last longer than ``edge`` when they take ``factor`` times."""
    if edge <= low * factor:
        return 1.0
    if edge >= high * factor:
        return 0.0
    return log(high * factor / edge) / log(high / low)
