"""What a comparison stands on, as the status of a Rollout keeps it: counts, noise, and checkpoints of evidence."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from weir.api.base import ApiModel, Count, Number, ShortText


class Counts(ApiModel):
    """Bad and all events of one arm in some span of time."""

    bad: Count = Field(default=0, description="bad events.")
    total: Count = Field(default=0, description="total events.")

    def __add__(self, other: Counts) -> Counts:
        """Counts of two spans that do not overlap."""
        return Counts(bad=self.bad + other.bad, total=self.total + other.total)


class NoiseStatus(ApiModel):
    """How much the requests of equal pods differ by themselves; evidence is discounted by it."""

    dispersion: Number = Field(
        default=Decimal(1), description="dispersion: variance of bad requests relative to independent ones (bursts)."
    )
    fast: Number = Field(
        default=Decimal(0), description="fast: variance of a pod's log rate of bad requests that changes quickly."
    )
    slow: Number = Field(default=Decimal(0), description="slow: variance of a pod's log rate that stays.")
    correlation: Number = Field(
        default=Decimal(0), description="correlation of the fast part from one window to the next (0-1)."
    )


class SeriesStatus(ApiModel):
    """Checkpoint of one share that is compared: a function of the windows, stored so that a restart goes on."""

    noise: NoiseStatus = Field(default_factory=NoiseStatus, description="noise that the state was computed with.")
    measured: NoiseStatus | None = Field(
        default=None, description="measured: noise of stable's pods in this release alone, once there is enough to say."
    )
    state: Annotated[str, Field(max_length=8192)] = Field(
        default="", description="state after all windows, as numbers in base64."
    )
    base: Annotated[str, Field(max_length=8192)] = Field(
        default="", description="base: state before the first of the windows that are still listed; empty at the start."
    )


class EvidenceStatus(ApiModel):
    """What a comparison stands on: the windows it has seen in this release, and the state that follows from them."""

    gate: ShortText = Field(description="gate that compares.")
    question: ShortText = Field(default="", description="question: identifies what is compared; another starts anew.")
    candidate: Counts = Field(default_factory=Counts, description="candidate's counts in this release.")
    stable: Counts = Field(default_factory=Counts, description="stable's counts in this release.")
    span: Number = Field(default=Decimal(0), description="span of all windows in seconds.")
    choosing: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="choosing: stable's histogram so far, from which edges will be chosen."
    )
    edges: Annotated[list[Number], Field(max_length=4)] = Field(
        default_factory=list, description="edges in seconds: requests slower than each are compared; empty for errors."
    )
    candidate_edges: Annotated[list[Number], Field(max_length=4)] = Field(
        default_factory=list,
        description="candidateEdges in seconds: the candidate's requests are counted above these; later than `edges` "
        "by at least failAbove where buckets are close, else the same.",
    )
    dropped: Count = Field(default=0, description="dropped: windows before the first that is listed.")
    windows: Annotated[str, Field(max_length=65536)] = Field(
        default="",
        description="windows as stableTotal,candidateTotal,stablePods,candidatePods and stableBad:candidateBad for "
        "each edge, separated by ';'.",
    )
    series: Annotated[list[SeriesStatus], Field(max_length=4)] = Field(
        default_factory=list, description="series: state of each compared share."
    )
    counters: Annotated[str, Field(max_length=32768)] = Field(
        default="", description="counters of each pod at windowEnd, so that a restart counts on from there."
    )


class GateNoise(NoiseStatus):
    """Noise that a gate measured on stable's pods, kept for the next release."""

    gate: ShortText = Field(description="gate that measured it.")
    edge: Number | None = Field(default=None, description="edge in seconds, of a latency distribution.")
    windows: Count = Field(default=0, description="windows that it was measured in; 0 is not measured.")
    rate: Number = Field(default=Decimal(0), description="rate of requests a second, both arms.")
    share: Number = Field(default=Decimal(0), description="share of stable's requests that were bad (0-1).")
