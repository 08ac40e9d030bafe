"""AgentPolicy: which agents may ask for which action, within which bounds, and what happens when they fall silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.action import TemplateAction
from weir.api.agentpermit import Mode, Percent, Permit, Set, Tier
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import (
    AnyObject,
    ApiModel,
    Duration,
    Label,
    MapByName,
    Name,
    Number,
    OptionalDuration,
    Rule,
    StringMap,
    Text,
)

__all__ = ["POLICY_NAME", "AgentPolicySpec", "AgentPolicyStatus"]

POLICY_NAME = "agents"
"""The one name of an AgentPolicy, and of the ClusterAgentPolicy: the admission policies look for it by name."""

PERMIT_LABEL = "weir.dev/permit"
"""Label of an ActionRequest that repeats ``spec.permit``: the admission policies select by it."""

ANSWERS_LABEL = "weir.dev/answers"
"""Label of an ActionRequest that repeats ``spec.request.uid``, likewise."""

PAUSED_LABEL = "weir.dev/agents"
"""Label of a namespace; with the value ``paused`` no agent may ask for anything there."""

MapBySubject: dict[str, Any] = {
    "x-kubernetes-list-type": "map",
    # Namespace has a default, as a key of a list-map must when it is optional.
    "x-kubernetes-list-map-keys": ["kind", "namespace", "name"],
}
Fallback = Literal["Freeze", "StableOnly", "LastKnownGood"]


class Subject(ApiModel):
    """An agent, as the API server knows it."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "(self.kind == 'ServiceAccount') == (self.namespace != '')",
            "`namespace` is required by the kind ServiceAccount and by no other",
            field_path=".namespace",
        ),
        # Else a policy could take every right from people, from Kubernetes, and from whoever could mend it.
        Rule(
            "self.kind == 'ServiceAccount' || !self.name.startsWith('system:') || self.kind == 'Group' && "
            "self.name.startsWith('system:serviceaccounts:') && !self.name.startsWith('system:serviceaccounts:kube-')",
            "a name that starts with system: is not an agent's; of those only the group of a namespace's service "
            "accounts, such as system:serviceaccounts:agents, can be a subject",
            field_path=".name",
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
    rollout: Name | None = Field(
        default=None,
        description="rollout of this namespace that serves the agent itself. Its ModelVersions must then say in "
        "compatibleWith which models they may drive.",
    )


class RolloutSelector(ApiModel):
    """Rollouts of the namespace that the policy is for; both parts must hold."""

    names: Annotated[list[Name], Field(max_length=64, json_schema_extra=Set)] | None = Field(
        default=None, description="names of Rollouts."
    )
    match_labels: StringMap | None = Field(
        default=None,
        description="matchLabels that a Rollout must carry. Only the operator can check labels; the API server checks "
        "names alone.",
    )


class TemplateResult(ApiModel):
    """What comes of a template that has succeeded."""

    model_version: StringMap | None = Field(
        default=None,
        description="modelVersion: fields of the new ModelVersion's spec that come from the parameters or the finished "
        "object, by their path, such as artifact.digest; each value is a text with ${...} as in `object`, or with "
        "${object.PATH} of the finished object.",
    )
    base: Literal["Stable", "Candidate"] = Field(
        default="Stable", description="base: ModelVersion of the Rollout that all other fields are taken from."
    )


class Template(ApiModel):
    """An object that an action creates, and how it is followed to its end."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.result) || self.action == 'Retrain'",
            "`result` belongs to Retrain",
            field_path=".result",
        ),
    )
    name: Label = Field(description="name of the template.")
    action: TemplateAction = Field(description="action that it is for.")
    object: AnyObject = Field(
        description="object to create or, for a Reallocate, to patch: apiVersion, kind and spec. Texts may hold "
        "${parameters.NAME}, ${request.name}, ${rollout.name}, ${stable.version} and ${candidate.version}. A text that "
        "is nothing but one such place becomes a number where the value is one. Name and namespace are set by Weir, "
        "but for a Reallocate, which names what it patches."
    )
    succeeded: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        default="object.status.conditions.exists(c, c.type == 'Complete' && c.status == 'True')",
        description="succeeded: CEL over `object`, true once it has ended well.",
    )
    failed: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        default="object.status.conditions.exists(c, c.type == 'Failed' && c.status == 'True')",
        description="failed: CEL over `object`, true once it has ended badly.",
    )
    timeout: Duration = Field(default="6h", description="timeout: after that it counts as failed.")
    result: TemplateResult | None = Field(default=None, description="result: the ModelVersion that a Retrain makes.")


class Retry(ApiModel):
    """What a rule does after its action was refused or failed."""

    attempts: Annotated[int, Field(ge=1, le=20)] = Field(default=3, description="attempts until the circuit opens.")
    backoff: Duration = Field(default="5m", description="backoff before the second attempt; doubles with each one.")
    max_backoff: Duration = Field(default="2h", description="maxBackoff: longest wait between two attempts.")
    open_for: Duration = Field(
        default="24h", description="openFor: how long the circuit stays open: the rule asks for nothing meanwhile."
    )


class SignalRule(ApiModel):
    """Turns a signal into an action, without any language model."""

    name: Label = Field(description="name of the rule.")
    when: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="when: CEL over `signals` of one Rollout, such as signals.drift.exists(d, d.distance > 0.2)."
    )
    hold_for: OptionalDuration = Field(
        default="0s", alias="for", description="for: how long it must be true before the action is asked for."
    )
    until: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        default=None,
        description="until: CEL; once the rule has asked, it asks again only after this was true (hysteresis). By "
        "default after `when` was false.",
    )
    then: Label = Field(description="then: permit under which the action is asked for.")
    risk: Tier | None = Field(
        default=None, description="risk: approval that it needs at least, where the permit asks for less."
    )
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="weight of a ShiftTraffic.")
    parameters: StringMap | None = Field(default=None, description="parameters of a Retrain or Reallocate.")
    reason: Text = Field(default="", description="reason that is written into the ActionRequest.")
    retry: Retry = Field(default_factory=Retry, description="retry: what happens after a failure.")


class Exploration(ApiModel):
    """How much traffic agents may give to versions that have not proven themselves. None while an SLO burns."""

    max_traffic_percent: Percent = Field(description="maxTrafficPercent on such versions at any time.")
    max_share_hours: Number | None = Field(
        default=None,
        description="maxShareHours in a window: hours times share of traffic, added up over the Rollouts; 10 % for "
        "five hours are '0.5'.",
    )
    window: Duration = Field(default="24h", description="window that maxShareHours is for.")


class Bucket(ApiModel):
    """A token bucket that all permits of the policy share; each action takes its cost."""

    capacity: Annotated[int, Field(ge=1, le=10_000)] = Field(description="capacity: tokens at most.")
    refill_every: Duration = Field(description="refillEvery: time in which one token comes back.")


class Concurrency(ApiModel):
    """How many actions may be in flight."""

    per_target: Annotated[int, Field(ge=1, le=10)] = Field(default=1, description="perTarget: actions on one Rollout.")
    total: Annotated[int, Field(ge=1, le=50)] = Field(
        default=5,
        description="total: actions under this policy, and releases that agents began or moved until they end.",
    )


class Damping(ApiModel):
    """Stops agents that go back and forth: each reversal adds a penalty that halves with time (RFC 2439)."""

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
        default=3000, description="suppressAt this penalty actions on the target are refused."
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
        default=2, description="maxRepeats of one action on one Rollout in the same state."
    )
    window: Duration = Field(default="1h", description="window in which repeats count.")


class BlastRadius(ApiModel):
    """Stops automation when too much is broken at once; then people decide."""

    max_unhealthy_percent: Percent = Field(
        default=40,
        description="maxUnhealthyPercent of the selected Rollouts; above it only safe actions are accepted, "
        "but a single one is never too many.",
    )
    max_affected_percent: Percent = Field(
        default=20,
        description="maxAffectedPercent of the selected Rollouts that may be acted on at once; one always may. A "
        "release that an agent began or moved counts until it ends.",
    )


class AgentSilent(ApiModel):
    """The sign of life that agents give."""

    lease: Name = Field(description="lease: Lease in this namespace that the agent renews.")
    after: Duration = Field(default="5m", description="after this time without a renewal the agent counts as silent.")


def _gentle() -> list[Fallback]:
    return ["Freeze", "StableOnly"]


class FallbackPolicy(ApiModel):
    """What Weir does by itself when agents, evidence or the policy are unknown, one step after the other."""

    on_agent_silent: Annotated[list[AgentSilent], Field(max_length=8)] | None = Field(
        default=None, description="onAgentSilent: agents whose silence starts the ladder, while a release runs."
    )
    on_unknown_after: Duration | None = Field(
        default=None,
        description="onUnknownAfter: a release whose gates have had no evidence for so long starts the ladder.",
    )
    ladder: Annotated[list[Fallback], Field(min_length=1, max_length=3, json_schema_extra=Set)] = Field(
        default_factory=_gentle,
        description="ladder of steps: Freeze (pause the release), StableOnly (all traffic to the version that serves), "
        "LastKnownGood (back to the version that served before, where the one that serves is unhealthy).",
    )
    step_after: Duration = Field(
        default="10m", description="stepAfter: time from one step to the next while nothing gets better."
    )


class Trial(ApiModel):
    """A policy change on trial: other limits for a share of the requests."""

    share: Percent = Field(
        description="share of requests, in percent, that are judged by `permits` of the trial; what it says of the "
        "others is only written down."
    )
    permits: Annotated[list[Permit], Field(min_length=1, max_length=32, json_schema_extra=MapByName)] = Field(
        description="permits that replace those of the same name. They cannot allow what those refuse."
    )


class AgentPolicySpec(ApiModel):
    """What agents may do. Going back to a known-good version is never slowed down, whatever the limits say."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.rules) || self.rules.all(r, self.permits.exists(p, p.name == r.then))",
            "`then` of each of `rules` must name one of `permits`",
            field_path=".rules",
        ),
        Rule(
            "self.permits.all(p, !has(p.template) || has(self.templates) && "
            "self.templates.exists(t, t.name == p.template && t.action == p.action))",
            "`template` of each of `permits` must name one of `templates` for the same action",
            field_path=".permits",
        ),
    )
    mode: Mode = Field(
        default="Enforce", description="mode: Enforce, or Audit (write down what would have been refused)."
    )
    paused: bool = Field(default=False, description="paused: the subjects may ask for nothing. The kill switch.")
    subjects: Annotated[list[Subject], Field(min_length=1, max_length=32, json_schema_extra=MapBySubject)] = Field(
        description="subjects: the agents that the policy is for. They can change nothing but by ActionRequests."
    )
    selector: RolloutSelector | None = Field(default=None, description="selector of Rollouts; by default all.")
    permits: Annotated[list[Permit], Field(min_length=1, max_length=32, json_schema_extra=MapByName)] = Field(
        description="permits: actions that are allowed, each with its limits."
    )
    templates: Annotated[list[Template], Field(max_length=16, json_schema_extra=MapByName)] | None = Field(
        default=None, description="templates that Retrain and Reallocate run."
    )
    signal_rules: Annotated[list[SignalRule], Field(max_length=32, json_schema_extra=MapByName)] | None = Field(
        default=None, alias="rules", description="rules that turn signals into actions."
    )
    bucket: Bucket | None = Field(default=None, description="bucket of tokens that all permits share.")
    exploration: Exploration | None = Field(default=None, description="exploration of unproven versions.")
    concurrency: Concurrency = Field(default_factory=Concurrency, description="concurrency of actions.")
    damping: Damping = Field(default_factory=Damping, description="damping of reversals.")
    loop: Loop = Field(default_factory=Loop, description="loop detection.")
    blast_radius: BlastRadius = Field(default_factory=BlastRadius, description="blastRadius limits.")
    fallback: FallbackPolicy | None = Field(default=None, description="fallback without agents or evidence.")
    trial: Trial | None = Field(default=None, description="trial of a change of the policy.")
