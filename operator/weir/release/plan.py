"""The plan of a release: a strategy as a fixed list of stages, and the pods that each stage needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from weir.api.base import seconds
from weir.api.rollout import RolloutSpec

StageKind = Literal["Serve", "Preview", "Traffic", "Bake"]

WARM_UP = "WarmUp"
"""Name of the stage before the plan: pods start and answer warm-up requests."""


@dataclass(frozen=True)
class Stage:
    """One planned step: ``weight`` percent for the candidate during at least ``min_duration`` seconds."""

    name: str
    kind: StageKind
    weight: int
    min_duration: float

    @property
    def judged(self) -> bool:
        """Whether gates have a say: always, but for the first version of all, which has nothing to fall back to."""
        return self.kind != "Serve"

    @property
    def comparative(self) -> bool:
        """Whether stable serves beside the candidate, so that the two can be compared."""
        return self.kind == "Traffic" and self.weight < 100


def stages(spec: RolloutSpec, *, first: bool) -> tuple[Stage, ...]:
    """Stages of a release under this spec; ``first``: there is no stable version yet, so all traffic comes at once."""
    if first:
        return (Stage("Serve", "Serve", 100, 0.0),)
    if spec.strategy.canary is not None:
        canary = spec.strategy.canary
        steps = tuple(Stage(f"Traffic({s.weight})", "Traffic", s.weight, seconds(s.min_duration)) for s in canary.steps)
        return (*steps, Stage("Bake", "Bake", 100, seconds(canary.bake)))
    if spec.strategy.blue_green is not None:
        blue_green = spec.strategy.blue_green
        return (
            Stage("Preview", "Preview", 0, seconds(blue_green.preview.min_duration)),
            Stage("Bake", "Bake", 100, seconds(blue_green.bake)),
        )
    raise ValueError("spec.strategy must set exactly one of canary and blueGreen")


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
