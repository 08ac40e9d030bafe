"""ActionRequest: something that a person or a program asks a Rollout to do, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from weir.api.base import ApiModel, Count, Duration, LocalRef, Message, Rule, ShortText, Time

Action = Literal["Promote", "Abort", "Retry", "Pause", "Resume"]


class Expect(ApiModel):
    """What must still be true when the action is executed; else it is refused."""

    release: Count | None = Field(default=None, description="release: number of the release.")
    stage: ShortText | None = Field(default=None, description="stage: name of the stage.")
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="weight of the candidate.")


class ActionRequestSpec(ApiModel):
    """The action. It never changes: withdraw it by deleting it, or create another one."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("self == oldSelf", "an ActionRequest cannot be changed; create a new one", reason="FieldValueForbidden"),
        Rule(
            "!has(self.duration) || self.action == 'Pause'",
            "`duration` belongs to the action Pause",
            field_path=".duration",
        ),
    )
    action: Action = Field(description="action: Promote, Abort, Retry, Pause or Resume.")
    rollout_ref: LocalRef = Field(description="rolloutRef: Rollout to act on.")
    reason: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="reason, for the record.")
    requester: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="requester, as the client claims it; for the record."
    )
    duration: Duration | None = Field(
        default=None, description="duration of a Pause; without it the pause lasts until Resume."
    )
    expect: Expect | None = Field(default=None, description="expect: preconditions.")


class ActionRequestStatus(ApiModel):
    """What became of it."""

    phase: Literal["Succeeded", "Refused"] | None = Field(
        default=None, description="phase: Succeeded or Refused; absent while pending."
    )
    message: Message = Field(default="", description="message for people.")
    completed_at: Time | None = Field(default=None, description="completedAt: when it was executed or refused.")
