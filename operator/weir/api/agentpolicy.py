"""AgentPolicy: which agents may ask for which action, within which bounds, and what happens when they fall silent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.base import (
    ApiModel,
    Condition,
    Duration,
    Label,
    MapByName,
    MapByType,
    Name,
    Number,
    OptionalDuration,
    Rule,
    StringMap,
    Text,
)

MapByAction: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["action"]}
MapBySubject: dict[str, Any] = {
    "x-kubernetes-list-type": "map",
    # Namespace has a default, as a key of a list-map must when it is optional.
    "x-kubernetes-list-map-keys": ["kind", "namespace", "name"],
}
Set: dict[str, Any] = {"x-kubernetes-list-type": "set"}
Percent = Annotated[int, Field(ge=0, le=100)]
AgentAction = Literal[
    "Promote",
    "Abort",
    "Retry",
    "Pause",
    "Resume",
    "Skip",
    "Approve",
    "Rollback",
    "Retrain",
    "Reallocate",
    "ShiftTraffic",
]
Fallback = Literal["Freeze", "StableOnly", "LastKnownGood"]


class Subject(ApiModel):
    """An agent, as the API server knows it."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "(self.kind == 'ServiceAccount') == (self.namespace != '')",
            "`namespace` is required by the kind ServiceAccount and by no other",
            field_path=".namespace",
        ),
    )
    kind: Literal["ServiceAccount", "User", "Group"] = Field(
        default="ServiceAccount", description="kind: ServiceAccount, User or Group."
    )
    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="name of the subject.")
    namespace: Annotated[str, Field(max_length=63)] = Field(
        default="", description="namespace of the ServiceAccount; empty for other kinds."
    )
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="priority: who wins when two agents want the same target; higher wins."
    )


class RolloutSelector(ApiModel):
    """Rollouts of the namespace that the policy is for; both parts must hold."""

    names: Annotated[list[Name], Field(max_length=64, json_schema_extra=Set)] | None = Field(
        default=None, description="names of Rollouts."
    )
    match_labels: StringMap | None = Field(default=None, description="matchLabels that a Rollout must carry.")


class Bounds(ApiModel):
    """Hard limits of one action."""

    max_step: Percent | None = Field(
        default=None, description="maxStep: percentage points of traffic that one action may add."
    )
    max_traffic_percent: Percent | None = Field(
        default=None, description="maxTrafficPercent that a candidate may have after the action."
    )
    max_gpus: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="maxGpus that the action may take."
    )
    max_cost_per_day: Number | None = Field(
        default=None, description="maxCostPerDay that the action may cause, in your own currency."
    )


class Budget(ApiModel):
    """How often an action may be asked for."""

    limit: Annotated[int, Field(ge=1, le=1000)] = Field(description="limit of actions in a window.")
    window: Duration = Field(default="1h", description="window that the limit is for; windows follow one another.")


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


class Approval(ApiModel):
    """Whose consent an action needs."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "(self.tier == 'Approve') == has(self.quorum)",
            "`quorum` is required by the tier Approve and by no other",
            field_path=".quorum",
        ),
    )
    tier: Literal["None", "Notify", "Approve", "ManualOnly"] = Field(
        default="Approve",
        description="tier: None, Notify (tell people), Approve (people must agree) or ManualOnly (no agent at all).",
    )
    quorum: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="quorum: how many people must agree."
    )
    verb: Label = Field(default="approve", description="verb on actionrequests that an approver must hold in RBAC.")
    expires_after: Duration = Field(default="1h", description="expiresAfter: an approval older than this is void.")
    exclude_requester: bool = Field(
        default=True, description="excludeRequester: nobody approves what they asked for themselves."
    )


class Permit(ApiModel):
    """One action that the subjects may ask for; what is not listed is refused."""

    action: AgentAction = Field(description="action that is allowed.")
    bounds: Bounds = Field(default_factory=Bounds, description="bounds of the action.")
    budget: Budget | None = Field(default=None, description="budget of the action.")
    cooldown: Cooldown | None = Field(default=None, description="cooldown between two actions on one target.")
    approval: Approval = Field(
        default_factory=lambda: Approval(tier="None"), description="approval that the action needs."
    )
    evidence: Annotated[list[Label], Field(max_length=16, json_schema_extra=Set)] | None = Field(
        default=None, description="evidence: gates whose verdict must be Pass when the action is executed."
    )


class SignalRule(ApiModel):
    """Turns a signal into an action, without any language model."""

    name: Label = Field(description="name of the rule.")
    when: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="when: CEL expression over signals, such as signals.drift.maxPsi > 0.25."
    )
    hold_for: OptionalDuration = Field(
        default="0s", alias="for", description="for: how long it must be true before the action is asked for."
    )
    action: AgentAction = Field(description="action to ask for; one of `actions`.")
    reason: Text = Field(default="", description="reason that is written into the ActionRequest.")


class Exploration(ApiModel):
    """How much traffic versions may get that have not proven themselves."""

    max_traffic_percent: Percent = Field(description="maxTrafficPercent on such versions at any time.")
    max_requests: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="maxRequests to such versions in a window."
    )
    window: Duration = Field(default="24h", description="window that maxRequests is for.")


class Concurrency(ApiModel):
    """How many actions may be in flight."""

    per_target: Annotated[int, Field(ge=1, le=10)] = Field(default=1, description="perTarget: actions on one Rollout.")
    total: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="total: actions under this policy.")


class Damping(ApiModel):
    """Stops agents that go back and forth: each reversal adds a penalty that halves with time."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.reuseBelow < self.suppressAt",
            "`reuseBelow` must be less than `suppressAt`",
            field_path=".reuseBelow",
        ),
    )
    penalty: Annotated[int, Field(ge=1, le=100_000)] = Field(default=1000, description="penalty of one reversal.")
    half_life: Duration = Field(default="15m", description="halfLife of the penalty.")
    suppress_at: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=6000, description="suppressAt this penalty actions on the target are refused."
    )
    reuse_below: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=750, description="reuseBelow this penalty they are accepted again."
    )
    max_suppress: Duration = Field(default="1h", description="maxSuppress: longest refusal.")


class Loop(ApiModel):
    """Stops actions that cause each other without end."""

    max_depth: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="maxDepth of a chain of actions that caused one another."
    )
    max_repeats: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="maxRepeats of one action on one target in the same state."
    )
    window: Duration = Field(default="1h", description="window in which repeats count.")


class BlastRadius(ApiModel):
    """Stops automation when too much is broken at once; then people decide."""

    max_unhealthy_percent: Percent = Field(
        default=40, description="maxUnhealthyPercent of the selected Rollouts; above it only safe actions are accepted."
    )
    max_affected_percent: Percent = Field(
        default=20, description="maxAffectedPercent of the selected Rollouts that may be acted on at once."
    )


class AgentSilent(ApiModel):
    """What happens when no agent was heard of."""

    after: Duration = Field(description="after this time without a sign of life.")
    action: Fallback = Field(default="Freeze", description="action: Freeze, StableOnly or LastKnownGood.")


class FallbackPolicy(ApiModel):
    """What Weir does by itself when agents, evidence or the policy are unknown."""

    on_agent_silent: AgentSilent | None = Field(
        default=None, description="onAgentSilent: what happens when no agent was heard of."
    )
    on_unknown: Fallback = Field(default="Freeze", description="onUnknown: what happens without evidence.")
    ladder: Annotated[list[Fallback], Field(max_length=3, json_schema_extra=Set)] | None = Field(
        default=None, description="ladder of further steps, taken in turn while the state stays unknown."
    )


class Override(ApiModel):
    """How a person overrules damping and cooldowns."""

    verb: Label = Field(default="override", description="verb on actionrequests that the person must hold in RBAC.")


class AgentPolicySpec(ApiModel):
    """What agents may do. Going back to a known-good version is never rationed, whatever the budgets say."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.rules) || self.rules.all(r, self.actions.exists(a, a.action == r.action))",
            "`action` of each of `rules` must be one of `actions`",
            field_path=".rules",
        ),
    )
    mode: Literal["Audit", "Enforce"] = Field(
        default="Enforce", description="mode: Enforce, or Audit (write down what would have been refused)."
    )
    paused: bool = Field(default=False, description="paused: the subjects may ask for nothing.")
    subjects: Annotated[list[Subject], Field(min_length=1, max_length=32, json_schema_extra=MapBySubject)] = Field(
        description="subjects: the agents that the policy is for."
    )
    selector: RolloutSelector | None = Field(default=None, description="selector of Rollouts; by default all.")
    actions: Annotated[list[Permit], Field(min_length=1, max_length=16, json_schema_extra=MapByAction)] = Field(
        description="actions that are allowed, each with its limits."
    )
    signal_rules: Annotated[list[SignalRule], Field(max_length=64, json_schema_extra=MapByName)] | None = Field(
        default=None, alias="rules", description="rules that turn signals into actions."
    )
    exploration: Exploration | None = Field(default=None, description="exploration of unproven versions.")
    concurrency: Concurrency = Field(default_factory=Concurrency, description="concurrency of actions.")
    damping: Damping | None = Field(default=None, description="damping of reversals.")
    loop: Loop | None = Field(default=None, description="loop detection.")
    blast_radius: BlastRadius | None = Field(default=None, description="blastRadius limits.")
    fallback: FallbackPolicy | None = Field(default=None, description="fallback without agents or evidence.")
    override: Override | None = Field(default=None, description="override by people.")
    retention: Duration = Field(default="720h", description="retention of finished ActionRequests.")


class AgentPolicyStatus(ApiModel):
    """What Weir knows of the policy."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=MapByType)] = Field(
        default_factory=list, description="conditions: Accepted."
    )
