"""Reads the past that a Rollout's backtest needs from its Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from weir.api.rollout import RolloutSpec
from weir.backtest.history import History, HistoryError
from weir.backtest.ranges import Ranges, Wanted, fetch, spread
from weir.backtest.run import needs, planned, window
from weir.evidence.templates import escape
from weir.workload.identity import pod_pattern

EPISODES = 48
"""Spans of the past that are read where all of it would be more: thirty days of every pod are too much to read."""

_LAG = 60.0
"""Seconds before now that are left out: the newest samples may not all be there yet."""


@dataclass(frozen=True)
class Where:
    """Whose past, and how much of it: ``since`` seconds before ``now``, in windows of at least ``shortest`` seconds.

    ``pods``: regular expressions of names; without any those of the Rollout itself.
    """

    name: str
    namespace: str
    since: float
    now: float
    shortest: float
    pods: tuple[str, ...] = ()


def gather(ranges: Ranges, spec: RolloutSpec, where: Where) -> History:
    """Counts of the pods in up to ``EPISODES`` spans, each long enough for one release and the noise before it.

    Raises HistoryError when nothing is there that the gates could look at.
    """
    width = window(spec, where.shortest)
    errors, latency = needs(spec)
    if not errors and not latency:
        raise HistoryError("no gate of template http-errors or http-latency, so no requests can be counted by pod")
    # Which edges there are changes nothing about how long a release takes.
    plan = planned(spec, width, (float("inf"),))
    length = (plan.before + plan.length + 1) * width
    wanted = Wanted(
        escape(where.namespace),
        tuple(_quoted(pattern) for pattern in where.pods) or (pod_pattern(where.name),),
        spec.metrics.names,
        errors=errors,
        latency=latency,
    )
    return fetch(ranges, wanted, spread(where.now - _LAG, where.since, length, EPISODES), width)


def _quoted(pattern: str) -> str:
    """A regular expression inside a PromQL string."""
    return pattern.replace("\\", "\\\\").replace('"', '\\"')
