"""RolloutRecord: the sealed account of one finished release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from weir.api.approval import ApprovalStatus
from weir.api.base import ApiModel, Count, Message, Number, Rule, ShortText, Time
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
    approvals: Annotated[list[ApprovalStatus], Field(max_length=8)] | None = Field(
        default=None, description="approvals that the release needed, and who gave them."
    )
    requested_by: ShortText | None = Field(
        default=None, description="requestedBy: who asked for the release by an ActionRequest."
    )
    authors: Annotated[list[ShortText], Field(max_length=32)] | None = Field(
        default=None, description="authors: who changed the Rollout for this release, as far as admission knows."
    )
    time_to_stable: Number | None = Field(
        default=None,
        description="timeToStable in seconds, from the decision to put the release back until the gateway had taken "
        "weight 0; absent where the candidate had no traffic.",
    )
    previous_hash: ShortText = Field(
        default="", description="previousHash: hash of the previous record of this Rollout."
    )
    hash: ShortText = Field(description="hash of this record's content, previousHash included.")
