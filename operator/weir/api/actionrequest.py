"""ActionRequest: something that a person or a program asks a Rollout to do, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from weir.api.action import Action, Position
from weir.api.base import ApiModel, Count, Digest, Duration, LocalRef, Message, Name, Rule, ShortText, Time
from weir.api.modelversion import canonical, sha256


class Expect(ApiModel):
    """What must still be true when the action is executed; else it is refused."""

    release: Count | None = Field(default=None, description="release: number of the release.")
    stage: ShortText | None = Field(default=None, description="stage: name of the stage.")
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="weight of the candidate.")
    candidate: Digest | None = Field(default=None, description="candidate: digest of the version being rolled out.")


class Approving(ApiModel):
    """What an Approve consents to."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="name of the approval in the Rollout's status.approvals."
    )
    digest: Digest = Field(description="digest that it has there: what was looked at is what is approved.")


class ActionRequestSpec(ApiModel):
    """The action. It never changes: withdraw it by deleting it, or create another one."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("self == oldSelf", "an ActionRequest cannot be changed; create a new one", reason="FieldValueForbidden"),
        Rule(
            "!has(self.duration) || self.action == 'Pause'",
            "`duration` belongs to the action Pause",
            field_path=".duration",
        ),
        Rule(
            "!has(self.version) || self.action == 'Rollback'",
            "`version` belongs to the action Rollback",
            field_path=".version",
        ),
        Rule(
            "!has(self.notBefore) || self.action == 'Drill'",
            "`notBefore` belongs to the action Drill",
            field_path=".notBefore",
        ),
        Rule(
            "has(self.approval) == (self.action == 'Approve')",
            "`approval` is required by the action Approve and by no other",
        ),
    )
    action: Action = Field(
        description="action: Promote, Abort, Retry, Pause, Resume, Skip, Approve, Rollback or Drill."
    )
    rollout_ref: LocalRef = Field(description="rolloutRef: Rollout to act on.")
    reason: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="reason, for the record.")
    requester: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="requester: user who asks. Admission fills it in where it can, and refuses any name but the "
        "user's own.",
    )
    duration: Duration | None = Field(
        default=None, description="duration of a Pause; without it the pause lasts until Resume."
    )
    version: Name | None = Field(
        default=None, description="version: ModelVersion that a Rollback goes to; by default the one that served last."
    )
    not_before: Time | None = Field(
        default=None, description="notBefore: a Drill waits until then; `expiresAfter` counts from then."
    )
    approval: Approving | None = Field(default=None, description="approval that an Approve consents to.")
    expect: Expect | None = Field(default=None, description="expect: preconditions.")
    expires_after: Duration = Field(
        default="1h", description="expiresAfter its creation the action is not executed any more."
    )


class Effect(ApiModel):
    """What the action changed."""

    before: Position = Field(default_factory=Position, description="before: where the Rollout stood.")
    after: Position = Field(default_factory=Position, description="after: where the action left it.")


class ActionRequestStatus(ApiModel):
    """What became of it."""

    phase: Literal["Pending", "Succeeded", "Refused", "Expired"] | None = Field(
        default=None,
        description="phase: Pending (waits for its moment), Succeeded, Refused or Expired; absent until seen.",
    )
    message: Message = Field(default="", description="message for people.")
    completed_at: Time | None = Field(default=None, description="completedAt: when it was executed or refused.")
    digest: ShortText = Field(default="", description="digest of spec, as records name it.")
    effect: Effect | None = Field(default=None, description="effect: what it changed.")


def action_digest(spec: ActionRequestSpec) -> str:
    """Digest of an action (sha256 of its canonical JSON): ties records and approvals to exactly this request."""
    return sha256(canonical(spec.to_dict()))
