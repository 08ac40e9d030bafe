"""Actions on a Rollout: the verbs, and what the Rollout remembers of those that were executed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weir.api.base import ApiModel, Count, Message, ShortText, Text, Time

ReleaseAction = Literal["Release", "Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "ShiftTraffic", "Rollback"]
"""What changes a release; executed by the Rollout, as is a Drill."""

TemplateAction = Literal["Retrain", "Reallocate"]
"""What runs a template of the AgentPolicy; followed to its end by the policy."""

Answer = Literal["Approve", "Deny", "Override", "Withdraw"]
"""What somebody says of another ActionRequest; Approve also of a release."""

PermittedAction = Literal[ReleaseAction, TemplateAction]
"""What an agent may do under a permit."""

Action = Literal[ReleaseAction, "Drill", TemplateAction, Answer]
"""Each is also, in lower case, the RBAC verb on ``rollouts`` that its requester must hold, but for two cases.

An agent holds none of them: it acts under a permit of the AgentPolicy. And everybody may withdraw what they asked for.
"""

SAFE_ACTIONS: frozenset[str] = frozenset({"Abort", "Pause", "Rollback"})
"""Back to what is known to be good, or no further: never slowed down by cooldown, damping or approval."""

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
    authority: Text | None = Field(
        default=None, description="authority: permit of the AgentPolicy that an agent acted under, and who consented."
    )
    before: Position = Field(default_factory=Position, description="before: where the Rollout stood.")
    after: Position = Field(default_factory=Position, description="after: where the action left it.")


class Skip(ApiModel):
    """Somebody asked to leave a stage without waiting for its time and its gates."""

    stage: ShortText = Field(description="stage to leave.")
    since: Time = Field(description="since when.")
    by: ShortText = Field(description="by whom.")
    reason: Message = Field(default="", description="reason they gave.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")


class Ceiling(ApiModel):
    """Somebody limited the candidate's weight; the plan goes on below it, and waits where it needs more."""

    weight: Annotated[int, Field(ge=0, le=99)] = Field(description="weight: most percent of requests.")
    since: Time = Field(description="since when.")
    by: ShortText = Field(description="by whom.")
    reason: Message = Field(default="", description="reason they gave.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")
    authority: Text | None = Field(default=None, description="authority of an agent: its permit, and who consented.")


class Instead(ApiModel):
    """Somebody asked to release another version than spec.versionRef names; holds until spec.versionRef changes."""

    version: ShortText = Field(description="version: ModelVersion that was asked for.")
    ref: ShortText = Field(description="ref: what spec.versionRef named then.")
    by: ShortText = Field(description="by whom.")
    since: Time = Field(description="since when.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")
    authority: Text | None = Field(default=None, description="authority of an agent: its permit, and who consented.")


class Asked(ApiModel):
    """A release that somebody asked for and that has not begun yet."""

    revision: ShortText = Field(description="revision to release.")
    by: ShortText = Field(description="by whom.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")
    authority: Text | None = Field(default=None, description="authority of an agent: its permit, and who consented.")
