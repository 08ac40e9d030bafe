"""ActionRequest: something that a person or a program asks a Rollout to do, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from weir.api.action import Action, Position
from weir.api.agentpolicy import ANSWERS_LABEL, PERMIT_LABEL
from weir.api.base import (
    ApiModel,
    Count,
    Digest,
    Duration,
    Label,
    LocalRef,
    MapByName,
    Message,
    Name,
    Rule,
    ShortText,
    StringMap,
    Time,
)
from weir.api.modelversion import canonical, sha256


class Expect(ApiModel):
    """What must still be true when the action is executed; else it is refused."""

    release: Count | None = Field(default=None, description="release: number of the release.")
    stage: ShortText | None = Field(default=None, description="stage: name of the stage.")
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="weight of the candidate.")
    candidate: Digest | None = Field(
        default=None,
        description="candidate: digest of the version being rolled out; for a Retry or Promote while none is, of the "
        "version that is wanted.",
    )


class Approving(ApiModel):
    """What an Approve consents to."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="name of the approval in the Rollout's status.approvals."
    )
    digest: Digest = Field(description="digest that it has there: what was looked at is what is approved.")


class OtherRequest(ApiModel):
    """Another ActionRequest, so exactly that no other can be meant: a request never changes."""

    name: Name = Field(description="name of the ActionRequest.")
    uid: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="uid of the ActionRequest.")
    digest: Digest | None = Field(
        default=None, description="digest that its status has: what was looked at is what is approved."
    )


class StatedEvidence(ApiModel):
    """Something that the requester saw and acts upon. It is written down, not believed."""

    name: Label = Field(description="name of the evidence, such as drift.")
    value: ShortText = Field(default="", description="value that was seen.")
    ref: Annotated[str, Field(max_length=512)] = Field(
        default="", description="ref: where it was seen, such as DataContract/orders or a query."
    )
    digest: Digest | None = Field(default=None, description="digest of what was seen.")


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
            "has(self.version) ? self.action in ['Release', 'Rollback'] : self.action != 'Release'",
            "`version` is required by the action Release, and belongs else to Rollback alone",
            field_path=".version",
        ),
        Rule(
            "!has(self.notBefore) || self.action == 'Drill'",
            "`notBefore` belongs to the action Drill",
            field_path=".notBefore",
        ),
        Rule(
            "has(self.approval) ? self.action == 'Approve' && !has(self.request) "
            ": has(self.request) == (self.action in ['Approve', 'Deny', 'Override', 'Withdraw'])",
            "an Approve needs exactly one of `approval` and `request`; Deny, Override and Withdraw need `request`; no "
            "other action has either",
        ),
        Rule(
            "has(self.weight) == (self.action == 'ShiftTraffic')",
            "`weight` is required by the action ShiftTraffic and by no other",
            field_path=".weight",
        ),
        Rule(
            "!has(self.parameters) || self.action in ['Retrain', 'Reallocate']",
            "`parameters` belong to the actions Retrain and Reallocate",
            field_path=".parameters",
        ),
        Rule(
            "!has(self.permit) || !(self.action in ['Approve', 'Deny', 'Override', 'Withdraw', 'Drill'])",
            "no permit is for Approve, Deny, Override, Withdraw or Drill; leave `permit` out",
            field_path=".permit",
        ),
        Rule(
            "!(self.action in ['Retrain', 'Reallocate']) || has(self.permit)",
            "`permit` is required by Retrain and Reallocate: their templates are in the AgentPolicy",
            field_path=".permit",
        ),
        Rule("!has(self.rule) || has(self.permit)", "`rule` needs a `permit`", field_path=".rule"),
    )
    action: Action = Field(
        description="action: Release, Promote, Abort, Retry, Pause, Resume, Skip, ShiftTraffic, Rollback or Drill; "
        "Retrain or Reallocate; Approve, Deny, Override or Withdraw."
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
        default=None,
        description="version: ModelVersion that a Release releases in place of the one that spec.versionRef names, "
        "through every stage and gate; or that a Rollback goes to, by default the one that served last.",
    )
    not_before: Time | None = Field(
        default=None, description="notBefore: a Drill waits until then; `expiresAfter` counts from then."
    )
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="weight: most percent of requests that the candidate may have from now on in this release; the "
        "plan goes on below it. 100 lifts the limit. ShiftTraffic never gives more than the plan does.",
    )
    parameters: StringMap | None = Field(
        default=None, description="parameters of the template that a Retrain or Reallocate runs."
    )
    permit: Label | None = Field(
        default=None,
        description="permit of the namespace's AgentPolicy that the requester acts under. Agents must name one; the "
        "label weir.dev/permit repeats it.",
    )
    rule: Label | None = Field(
        default=None, description="rule of the AgentPolicy that asks; only Weir itself may set it."
    )
    evidence: Annotated[list[StatedEvidence], Field(max_length=16, json_schema_extra=MapByName)] | None = Field(
        default=None, description="evidence that the requester acts upon."
    )
    caused_by: OtherRequest | None = Field(
        default=None, description="causedBy: ActionRequest whose effect led to this one."
    )
    on_behalf_of: ShortText | None = Field(
        default=None, description="onBehalfOf: for whom the requester says to act; written down, not believed."
    )
    request: OtherRequest | None = Field(
        default=None, description="request: ActionRequest that an Approve, Deny, Override or Withdraw is about."
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


class Made(ApiModel):
    """An object that an action made."""

    api_version: ShortText = Field(description="apiVersion of the object.")
    kind: ShortText = Field(description="kind of the object.")
    name: ShortText = Field(description="name of the object, in the same namespace.")


class ActionRequestStatus(ApiModel):
    """What became of it."""

    phase: Literal["Pending", "Running", "Succeeded", "Refused", "Expired", "Failed"] | None = Field(
        default=None,
        description="phase: Pending (waits for its moment), Running (a template is followed), Succeeded, Refused, "
        "Expired or Failed; absent until seen.",
    )
    message: Message = Field(default="", description="message for people.")
    completed_at: Time | None = Field(default=None, description="completedAt: when it was executed or refused.")
    digest: ShortText = Field(default="", description="digest of spec, as records name it.")
    effect: Effect | None = Field(default=None, description="effect: what it changed.")
    created: Annotated[list[Made], Field(max_length=4)] | None = Field(
        default=None,
        description="created: objects that a template made or, for a Reallocate, changed; and the ModelVersion that "
        "came of it.",
    )


def request_labels(spec: ActionRequestSpec) -> dict[str, str]:
    """Labels that an ActionRequest must have, which repeat its spec: the admission policies select by them."""
    labels = {PERMIT_LABEL: spec.permit} if spec.permit is not None else {}
    return labels | ({ANSWERS_LABEL: spec.request.uid} if spec.request is not None else {})


def action_digest(spec: ActionRequestSpec) -> str:
    """Digest of an action (sha256 of its canonical JSON): ties records and approvals to exactly this request."""
    return sha256(canonical(spec.to_dict()))
