"""Actions on a Rollout: the verbs, and what the Rollout remembers of those that were executed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weir.api.base import ApiModel, Count, Message, ShortText, Text, Time

Action = Literal["Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "Approve", "Rollback", "Drill"]
"""Each is also, in lower case, the RBAC verb on ``rollouts`` that its requester must hold."""

Ended = Literal["Succeeded", "Refused", "Expired"]
"""How an ActionRequest ends; each is final."""


class Position(ApiModel):
    """Where a Rollout stands."""

    release: Count = Field(default=0, description="release: number of the current or last release.")
    phase: ShortText = Field(default="", description="phase of the Rollout.")
    stage: ShortText = Field(default="", description="stage of the release.")
    weight: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="weight: percent of requests for the candidate."
    )
    stable: ShortText = Field(default="", description="stable: label of the version that serves.")
    candidate: ShortText = Field(default="", description="candidate: label of the version being rolled out.")


class HandledRequest(ApiModel):
    """An executed or refused ActionRequest, stored in the same write as its effect, so that it happens once."""

    uid: ShortText = Field(description="uid of the ActionRequest.")
    name: ShortText = Field(description="name of the ActionRequest.")
    action: ShortText = Field(description="action that was asked for.")
    by: ShortText = Field(default="", description="by whom.")
    phase: Ended = Field(description="phase: Succeeded, Refused or Expired.")
    message: Message = Field(default="", description="message for people.")
    at: Time = Field(description="at: when it was executed or refused.")
    digest: ShortText = Field(default="", description="digest of the ActionRequest's spec.")
    before: Position = Field(default_factory=Position, description="before: where the Rollout stood.")
    after: Position = Field(default_factory=Position, description="after: where the action left it.")


class Skip(ApiModel):
    """Somebody asked to leave a stage without waiting for its time and its gates."""

    stage: ShortText = Field(description="stage to leave.")
    since: Time = Field(description="since when.")
    by: ShortText = Field(description="by whom.")
    reason: Message = Field(default="", description="reason they gave.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")


class Asked(ApiModel):
    """A release that somebody asked for and that has not begun yet."""

    revision: ShortText = Field(description="revision to release.")
    by: ShortText = Field(description="by whom.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")
