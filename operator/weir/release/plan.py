"""The plan of a release: a strategy as a fixed list of stages, and the pods that each stage needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from weir.api.base import seconds
from weir.api.gate import Gate
from weir.api.rollout import Ramp, RolloutSpec
from weir.api.rolloutstatus import RolloutStatus

StageKind = Literal["Serve", "Restore", "Preview", "Traffic", "Bake"]

WARM_UP = "WarmUp"
"""Name of the stage before the plan: pods start and answer warm-up requests."""

RAMP = "Ramp"
"""Name of the one stage of a ramp; its weight moves while it lasts."""

LEAST_WEIGHT = 1
"""Smallest percent of requests that a version with traffic gets."""

_COUNTING = ("http-errors", "gateway-errors", "custom")


@dataclass(frozen=True)
class Stage:
    """One planned step: ``weight`` percent for the candidate during at least ``min_duration`` seconds.

    ``ahead``: percent that the pods are made ready for while the stage goes on at its weight; 0 is none beyond it.
    """

    name: str
    kind: StageKind
    weight: int
    min_duration: float
    ahead: int = 0

    @property
    def judged(self) -> bool:
        """Whether gates have a say.

        Always, but for the first version of all, which has nothing to fall back to, and for one that is put back.
        """
        return self.kind not in {"Serve", "Restore"}

    @property
    def comparative(self) -> bool:
        """Whether stable serves beside the candidate, so that the two can be compared."""
        return self.judged and self.weight < 100

    @property
    def splits(self) -> bool:
        """Whether both versions are to get requests of users."""
        return self.kind == "Traffic" or (self.kind == "Bake" and self.weight < 100)

    def under(self, most: int) -> Stage:
        """The stage with at most that percent of requests; the version that nobody else could replace keeps all."""
        if not self.judged or max(self.weight, self.ahead) <= most:
            return self
        weight, ahead = min(self.weight, most), min(self.ahead, most)
        return replace(self, weight=weight, ahead=ahead if ahead > weight else 0)


def stages(spec: RolloutSpec, *, first: bool, status: RolloutStatus | None = None) -> tuple[Stage, ...]:
    """Stages of a release under this spec; ``first``: there is no stable version yet, so all traffic comes at once.

    ``status`` says where a ramp stands, and whether an earlier version is put back; without it a ramp has not begun.
    """
    if status is not None and status.restoring:
        return (Stage("Restore", "Restore", 100, 0.0),)
    if first:
        return (Stage("Serve", "Serve", 100, 0.0),)
    if spec.strategy.canary is not None:
        canary = spec.strategy.canary
        steps = tuple(
            Stage(f"Traffic({s.weight})", "Traffic", s.weight, seconds(s.min_duration)) for s in canary.steps or ()
        )
        if canary.ramp is not None:
            steps = (_ramp(spec, canary.ramp, status or RolloutStatus()),)
        return (*steps, Stage("Bake", "Bake", 100, seconds(canary.bake)))
    if spec.strategy.blue_green is not None:
        blue_green = spec.strategy.blue_green
        return (
            Stage("Preview", "Preview", 0, seconds(blue_green.preview.min_duration)),
            Stage("Bake", "Bake", 100, seconds(blue_green.bake)),
        )
    raise ValueError("spec.strategy must set exactly one of canary and blueGreen")


def counting_gate(spec: RolloutSpec) -> Gate | None:
    """The gate whose bad requests a ramp charges to its budget: the first that counts some and compares with stable."""
    return next((g for g in spec.gates if g.template in _COUNTING and g.comparison is not None), None)


def least_weight(ramp: Ramp, rate: float) -> int:
    """Percent that a ramp gives while any budget is left, at ``rate`` requests a second of both arms (0: unknown).

    ``minWeight``, or less where a total outage at that weight would cost more than the whole budget in one reaction.
    """
    outage = rate * seconds(ramp.reaction)  # bad requests, if all of them were the candidate's
    if outage * ramp.min_weight <= 100 * ramp.risk_budget:
        return ramp.min_weight
    return max(LEAST_WEIGHT, math.floor(100 * ramp.risk_budget / outage))


def _ramp(spec: RolloutSpec, ramp: Ramp, status: RolloutStatus) -> Stage:
    dwell = seconds(ramp.min_dwell)
    if status.stage is not None and status.stage.name == RAMP:
        # A Service switch shifts traffic by pods, so there pods cannot come before the weight.
        running = status.ramp is not None and status.ending is None and spec.traffic.service is None
        asked = status.ramp.weight if status.ramp is not None and running else 0
        return Stage(RAMP, "Traffic", status.stage.weight, dwell, asked if asked > status.stage.weight else 0)
    gate = counting_gate(spec)
    known = [noise.rate for noise in status.noise if gate is not None and (noise.gate, noise.edge) == (gate.name, None)]
    return Stage(RAMP, "Traffic", least_weight(ramp, float(known[0]) if known else 0.0), dwell)


def real_share(spec: RolloutSpec, weight: int) -> int:
    """Percent of requests that a candidate of that weight really gets; behind a Service whole pods make it coarser."""
    if spec.traffic.service is None or not 0 < weight < 100:
        return weight
    pods = required_replicas(spec, Stage("", "Traffic", weight, 0.0))
    return max(weight, math.ceil(100 * pods / (pods + spec.replicas)))


def most_weight(spec: RolloutSpec, share: int) -> int:
    """Greatest weight (percent) with which a candidate really gets no more than that percent of requests."""
    return max(weight for weight in range(share + 1) if real_share(spec, weight) <= share)


def planned_replicas(spec: RolloutSpec, stage: Stage) -> int:
    """Candidate pods that the stage asks for: those for its weight, and those for the weight that it prepares."""
    needed = required_replicas(spec, stage)
    return max(needed, required_replicas(spec, replace(stage, weight=stage.ahead))) if stage.ahead else needed


def required_replicas(spec: RolloutSpec, stage: Stage) -> int:
    """Candidate pods that must be ready before the stage's weight may be set.

    With a gateway: the candidate's share of ``replicas``, rounded up; a preview is judged at full capacity. With a
    Service switch the share *is* the ratio of pods, beside a stable side that keeps all of its own.
    """
    if stage.kind == "Preview" or stage.weight >= 100:
        return spec.replicas
    carrying = max(1, math.ceil(spec.replicas * stage.weight / 100))
    if spec.traffic.service is not None:
        # Never fewer than can carry the weight: the ratio may round to less.
        return min(spec.replicas, max(carrying, round(stage.weight * spec.replicas / (100 - stage.weight))))
    return carrying
