"""How long a good candidate waits for each gate's Pass in each stage, by formula from the traffic of the past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, inf

from weir.api.gate import Gate
from weir.api.rollout import Judgement, RolloutSpec
from weir.backtest.history import History, PodCounts, summed
from weir.backtest.report import Wait
from weir.backtest.splits import Split
from weir.backtest.trial import Playable, Stage
from weir.release.terms import Terms
from weir.stats.feasibility import Claim, Step, Traffic, wait
from weir.stats.noise import ASSUMED, Noise, NoiseMeter
from weir.stats.order import choose

_LONG_ENOUGH = 2000
"""Windows of the past from which rates and noise are taken."""

_MOST_BAD = 0.99


def waits(
    spec: RolloutSpec, plan: Sequence[Stage], gates: Sequence[Playable], history: History, drawn: Sequence[Split]
) -> tuple[Wait, ...]:
    """For each stage and gate; at the stage's own weight and pods, not those that the past was played with.

    What earlier stages proved is left out, so it rather is sooner. Pods that differ for hours do not delay a Pass.
    """
    pods = {pod for split in drawn for pod in split.pods}
    moments = history.moments[-_LONG_ENOUGH:]
    seconds = len(moments) * history.width
    counts = summed(c for m in moments for pod, c in m.pods.items() if pod in pods)
    found = []
    for stage in plan:
        for playable in gates:
            worst = (0.0, 0.0)
            for edge in _edges(playable, history, counts):
                total, bad = (counts.total, counts.bad) if edge < 0 else (counts.timed, counts.slower[edge])
                noise = _noise(history, pods, edge) or ASSUMED
                base = min(_MOST_BAD, bad / total) if total else 0.0
                traffic = Traffic(
                    rate=total / seconds,
                    base=base,
                    dispersion=noise.dispersion,
                    fast=noise.fast,
                    correlation=noise.correlation,
                    window=history.width * playable.windows,
                    stable_pods=spec.replicas,
                    candidate_pods=max(1, ceil(spec.replicas * stage.weight / 100)),
                )
                worst = max(worst, _wait(playable.gate, stage, traffic, spec.judgement), key=lambda w: w[1])
            found.append(Wait(stage.name, playable.gate.name, *worst, stage.longest))
    return tuple(found)


def _edges(playable: Playable, history: History, counts: PodCounts) -> Iterator[int]:
    """Questions of a gate: the bad requests (-1), or those slower than an edge."""
    if playable.gate.template != "http-latency":
        yield -1
    elif playable.edge is not None:
        yield playable.edge
    else:
        above = (counts.timed, *counts.slower, 0)
        yield from choose(history.edges, [a - b for a, b in pairwise(above)])


def _wait(gate: Gate, stage: Stage, traffic: Traffic, judgement: Judgement) -> tuple[float, float]:
    weight = stage.weight / 100
    least = gate.min_samples / (traffic.rate * weight) if traffic.rate else inf
    if gate.max is not None:
        looks = max(least, gate.interval_seconds) * gate.consecutive_success
        return (looks, looks) if traffic.base <= gate.max else (inf, inf)
    comparison = gate.comparison
    terms = Terms.of(comparison, next_weight=stage.next_weight) if comparison is not None else None
    alpha = float(judgement.false_pass_rate)
    if terms is not None:
        # The e-values of both claims are averaged, so the one that holds has to be twice as large.
        claim = Claim(terms.tolerance, terms.accept, alpha / 2)
    else:
        promised = float(1 - (gate.objective or 0))
        claim = Claim(None, min(0.5, promised * 100 / stage.next_weight), alpha)
    expected = wait(traffic, claim, [Step(min(weight, 0.99))])
    return max(expected.median, least), max(expected.ninety, least)


def _noise(history: History, pods: set[str], edge: int) -> Noise | None:
    meter = NoiseMeter()
    for moment in history.moments[-_LONG_ENOUGH:]:
        counts = {pod: c for pod, c in moment.pods.items() if pod in pods}
        meter.add({p: (c.total, c.bad) if edge < 0 else (c.timed, c.slower[edge]) for p, c in counts.items()})
    return meter.fit()
