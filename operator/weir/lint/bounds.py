"""How long gates with a bound of their own (``max``, ``objective``) take to pass at a given rate of requests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from weir.api.base import seconds
from weir.api.gate import DEFAULT_COMPARISON, Gate
from weir.api.rollout import RolloutSpec
from weir.release.objective import shares
from weir.release.plan import RAMP, stages
from weir.release.terms import Terms
from weir.stats.feasibility import Claim, Step, Traffic, least_rate, wait
from weir.stats.noise import ASSUMED

_ALL = 0.999
"""Stands for all requests: a plan of ``weir.stats.feasibility`` leaves stable some."""

_BAKE = "Bake"
"""Name of the stage at all requests, before a promotion is final."""

_USUAL = 0.01
"""Share of bad requests of a service of which nothing is said."""


@dataclass(frozen=True)
class Load:
    """``rate`` requests a second for both versions together, of which stable spoils the share ``bad`` (0-1).

    Without ``bad``: one in a hundred where versions are compared, half of what the gate allows where it has a bound.
    """

    rate: float
    bad: float | None = None

    @property
    def compared(self) -> float:
        """The share to compare with."""
        return _USUAL if self.bad is None else self.bad

    def beside(self, bound: float) -> float:
        """The share to hold against a bound."""
        return bound / 2 if self.bad is None else self.bad


@dataclass(frozen=True)
class Late:
    """A gate that does not pass in time in a stage; seconds, requests a second and shares (0-1).

    ``hopeless``: stable itself breaks the ``bound``. ``preview``: the requests are synthetic.
    """

    gate: str
    stage: str
    max_wait: str
    needed: float
    rate: float
    least: float
    bad: float
    bound: float
    preview: bool = False

    @property
    def hopeless(self) -> bool:
        """Whether no candidate as good as stable would ever pass."""
        return self.bad > self.bound or math.isinf(self.needed)


@dataclass(frozen=True)
class _Exposure:
    """A stage: its requests a second (both versions), the weights up to it, and the weight that it leads to."""

    stage: str
    rate: float
    steps: tuple[Step, ...]
    next_weight: int
    preview: bool = False

    @property
    def candidate(self) -> float:
        """The candidate's requests a second."""
        return self.rate * self.steps[-1].weight


def late(spec: RolloutSpec, gate: Gate, load: Load) -> Late | None:
    """Where a gate with a bound is latest; None for other gates, and where all is in time."""
    if gate.objective is None and (gate.max is None or gate.template == "threshold"):
        return None
    # What a bake asks of an objective was proven before it: its evidence adds up, and the tolerance stays.
    found = (
        _max(gate, load, at) if gate.objective is None else _objective(spec, gate, load, at)
        for at in _exposures(spec, load)
        if gate.objective is None or at.stage != _BAKE
    )
    return max((one for one in found if one is not None), key=lambda one: one.needed, default=None)


def _exposures(spec: RolloutSpec, load: Load) -> Iterator[_Exposure]:
    """The stages whose requests are known; a ramp's weights follow the evidence, so nothing is said of them."""
    plan = stages(spec, first=False)
    before: tuple[Step, ...] = ()
    for index, stage in enumerate(plan):
        following = plan[index + 1].weight if index + 1 < len(plan) else 100
        if stage.kind == "Preview" and spec.strategy.blue_green is not None:
            synthetic = spec.strategy.blue_green.preview.requests_per_second
            if synthetic > 0:
                yield _Exposure(stage.name, synthetic, (Step(_ALL),), following, preview=True)
        elif stage.name != RAMP:
            weight = min(_ALL, stage.weight / 100)
            yield _Exposure(stage.name, load.rate, (*before, Step(weight)), following)
            before = (*before, Step(weight, stage.min_duration))


def _objective(spec: RolloutSpec, gate: Gate, load: Load, at: _Exposure) -> Late | None:
    """Evidence for an objective adds up over the release."""
    promised, tolerated = shares(gate, Terms.of(DEFAULT_COMPARISON, next_weight=at.next_weight))
    bad = load.beside(promised)
    traffic = Traffic(at.rate, bad, dispersion=ASSUMED.dispersion)
    claim = Claim(tolerance=None, accept_below=tolerated, alpha=float(spec.judgement.false_pass_rate))
    earlier = sum(step.seconds for step in at.steps[:-1])
    limit = seconds(gate.max_wait) + earlier
    needed = wait(traffic, claim, at.steps).ninety
    if needed <= limit:
        return None
    least = least_rate(traffic, claim, at.steps, limit)
    return Late(gate.name, at.stage, gate.max_wait, needed - earlier, at.rate, least, bad, tolerated, at.preview)


def _max(gate: Gate, load: Load, at: _Exposure) -> Late | None:
    """Each look takes whole intervals until it has ``minSamples``; every stage begins anew."""
    bound = float(gate.max or 0)
    bad, interval = load.beside(bound), gate.interval_seconds
    looks = math.ceil(gate.min_samples / (at.candidate * interval)) * gate.consecutive_success
    allowed = math.floor(seconds(gate.max_wait) / (interval * gate.consecutive_success))
    if allowed < 1:
        return None  # at no rate; maxWait is told to be short
    least = gate.min_samples / (allowed * interval * at.steps[-1].weight)
    if looks * interval <= seconds(gate.max_wait) and bad <= bound:
        return None
    return Late(gate.name, at.stage, gate.max_wait, looks * interval, at.rate, least, bad, bound, at.preview)
