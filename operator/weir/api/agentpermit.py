"""Permits of an AgentPolicy: one action that agents may ask for, with its bounds, budget, cooldown and approval."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.action import PermittedAction
from weir.api.base import ApiModel, Duration, Label, MapByName, Name, Number, Rule, ShortText

Set: dict[str, Any] = {"x-kubernetes-list-type": "set"}
Percent = Annotated[int, Field(ge=0, le=100)]
Mode = Literal["Audit", "Enforce"]
"""Enforce refuses; Audit lets pass and writes down what would have been refused."""

Tier = Literal["None", "Notify", "Approve", "ManualOnly"]
"""How much people have to do with an action, from nothing to everything."""

TIERS: tuple[Tier, ...] = ("None", "Notify", "Approve", "ManualOnly")
"""From the least to the most careful."""


class Bounds(ApiModel):
    """Hard limits of a ShiftTraffic or Promote."""

    max_step: Percent | None = Field(
        default=None,
        description="maxStep: percentage points of traffic that one ShiftTraffic may give back; it must state "
        "expect.weight.",
    )
    max_traffic_percent: Percent | None = Field(
        default=None,
        description="maxTrafficPercent that a candidate may have after the action. Below 100 nothing can be promoted.",
    )


class ParameterBounds(ApiModel):
    """What a parameter of a template may be. Without bounds any text may be given."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.values) || !(has(self.minimum) || has(self.maximum))",
            "set `values`, or `minimum` and `maximum`, not both",
            field_path=".values",
        ),
    )
    name: Label = Field(description="name of the parameter.")
    minimum: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] | None = Field(
        default=None, description="minimum: the parameter is a whole number of at least this."
    )
    maximum: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] | None = Field(
        default=None, description="maximum: the parameter is a whole number of at most this."
    )
    values: Annotated[list[ShortText], Field(min_length=1, max_length=32, json_schema_extra=Set)] | None = Field(
        default=None, description="values that are allowed."
    )
    default: ShortText | None = Field(
        default=None, description="default: value where the request gives none; without it one must be given."
    )


class Budget(ApiModel):
    """How often an action may be asked for. The API server counts, also while the operator is down."""

    limit: Annotated[int, Field(ge=1, le=1000)] = Field(description="limit of requests in a window.")
    window: Duration = Field(
        default="1h",
        description="window that the limit is for, in whole seconds; windows follow one another from the epoch.",
    )


class Cooldown(ApiModel):
    """Time between two actions on one target; grows after each failure."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "duration(self.base) <= duration(self.max)",
            "`base` must not be longer than `max`",
            field_path=".base",
        ),
        Rule(
            "double(self.factor) >= 1.0",
            "`factor` must be at least '1': a cooldown never shrinks after a failure",
            field_path=".factor",
        ),
    )
    base: Duration = Field(default="10m", description="base: time after an action that went well.")
    max: Duration = Field(default="6h", description="max: longest time.")
    factor: Number = Field(default=Decimal(2), description="factor by which each failure in a row lengthens it.")


class Consent(ApiModel):
    """Whose consent an action needs. Who asked for it cannot give it, and no program can."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "(self.tier == 'Approve') == has(self.quorum)",
            "`quorum` is required by the tier Approve and by no other",
            field_path=".quorum",
        ),
    )
    tier: Tier = Field(
        default="None",
        description="tier: None, Notify (tell people), Approve (holders of the verb approve on the Rollout agree) "
        "or ManualOnly (no agent at all).",
    )
    quorum: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="quorum: how many people must agree; one Deny is final."
    )
    expires_after: Duration = Field(
        default="1h", description="expiresAfter: a request that waits so long is refused, and an older consent is void."
    )


class Permit(ApiModel):
    """One action that agents may ask for; what no permit allows is refused."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.template) == (self.action in ['Retrain', 'Reallocate'])",
            "`template` is required by Retrain and Reallocate and by no other action",
            field_path=".template",
        ),
        Rule(
            "!has(self.parameters) || has(self.template)",
            "`parameters` belong to Retrain and Reallocate",
            field_path=".parameters",
        ),
        Rule(
            "!(self.action in ['Abort', 'Pause', 'Rollback']) || "
            "!has(self.cooldown) && (!has(self.approval) || self.approval.tier in ['None', 'Notify'])",
            "Abort, Pause and Rollback lead back to safety: they have no cooldown and wait for nobody",
        ),
        Rule(
            "!(self.action in ['Abort', 'Pause', 'Rollback']) || !has(self.budget) || "
            "self.budget.limit * 3600 >= duration(self.budget.window).getSeconds()",
            "the budget of Abort, Pause and Rollback must allow at least one in an hour",
            field_path=".budget",
        ),
    )
    name: Label = Field(description="name of the permit; a request names it in `permit`.")
    action: PermittedAction = Field(description="action that is allowed.")
    mode: Mode | None = Field(default=None, description="mode of this permit's limits; by default that of the policy.")
    subjects: Annotated[list[ShortText], Field(min_length=1, max_length=32, json_schema_extra=Set)] | None = Field(
        default=None, description="subjects: names of those of the policy that may use it; by default all."
    )
    rollouts: Annotated[list[Name], Field(min_length=1, max_length=64, json_schema_extra=Set)] | None = Field(
        default=None, description="rollouts that it is for; by default all that the policy is for."
    )
    bounds: Bounds | None = Field(default=None, description="bounds of a ShiftTraffic or Promote.")
    parameters: Annotated[list[ParameterBounds], Field(max_length=16, json_schema_extra=MapByName)] | None = Field(
        default=None, description="parameters that a request may give; others are refused."
    )
    template: Label | None = Field(default=None, description="template that a Retrain or Reallocate runs.")
    budget: Budget | None = Field(default=None, description="budget of requests, counted by the API server.")
    cost: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="cost: tokens that one action takes from the policy's bucket."
    )
    cooldown: Cooldown | None = Field(default=None, description="cooldown between two actions on one Rollout.")
    approval: Consent = Field(default_factory=Consent, description="approval that the action needs.")
    evidence: Annotated[list[Label], Field(max_length=16, json_schema_extra=Set)] | None = Field(
        default=None, description="evidence: gates whose verdict must be Pass when the action is executed."
    )
