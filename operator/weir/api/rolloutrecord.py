"""RolloutRecord: the sealed account of one finished release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from weir.api.base import ApiModel, Count, Message, Rule, ShortText, Time
from weir.api.evidencestatus import EvidenceStatus
from weir.api.gate import Gate
from weir.api.rollout import Judgement
from weir.api.rolloutstatus import DecisionEntry, Outcome, VersionStatus


class RolloutRecordSpec(ApiModel):
    """What happened, decided on which evidence; never changes once written."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("self == oldSelf", "a RolloutRecord is sealed and cannot be changed", reason="FieldValueForbidden"),
    )
    rollout: ShortText = Field(description="rollout that released.")
    rollout_uid: ShortText = Field(description="rolloutUid: its unique identifier.")
    release: Count = Field(description="release: number of the release.")
    outcome: Outcome = Field(description="outcome of the release.")
    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")
    stable: VersionStatus | None = Field(default=None, description="stable after the release.")
    candidate: VersionStatus = Field(description="candidate of the release.")
    started_at: Time = Field(description="startedAt: when it began.")
    finished_at: Time = Field(description="finishedAt: when it ended.")
    gates: Annotated[list[Gate], Field(max_length=16)] = Field(
        default_factory=list, description="gates as they were configured."
    )
    decisions: Annotated[list[DecisionEntry], Field(max_length=100)] = Field(
        default_factory=list, description="decisions with their evidence."
    )
    judgement: Judgement = Field(default_factory=Judgement, description="judgement as it was configured.")
    evidence: Annotated[list[EvidenceStatus], Field(max_length=16)] = Field(
        default_factory=list, description="evidence of comparisons: the windows from which verdicts are recomputed."
    )
    previous_hash: ShortText = Field(
        default="", description="previousHash: hash of the previous record of this Rollout."
    )
    hash: ShortText = Field(description="hash of this record's content, previousHash included.")
