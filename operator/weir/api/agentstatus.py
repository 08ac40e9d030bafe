"""Status of an AgentPolicy: the one ledger of what its agents were granted, refused, and are waiting for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from weir.api.base import ApiModel, Condition, Count, MapByName, MapByType, Message, Number, ShortText, Text, Time

MapByUid: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]}
MapByRollout: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["rollout"]}

MOST_OPEN = 50
"""Requests at most that are granted, that wait, or that are refused and not ended yet; others are looked at later."""

MOST_LAST = 50
"""Ended actions that are remembered."""


class AgentConsent(ApiModel):
    """One person's answer to a request."""

    by: ShortText = Field(description="by whom.")
    at: Time = Field(description="at: when.")
    request: ShortText = Field(description="request: name of the ActionRequest that says so.")
    generation: Count = Field(description="generation of the policy then; a consent to an older one is void.")


class Grant(ApiModel):
    """A request that may be executed now: the lease of its Rollout."""

    uid: ShortText = Field(description="uid of the ActionRequest.")
    name: ShortText = Field(description="name of the ActionRequest.")
    permit: ShortText = Field(description="permit that it acts under.")
    action: ShortText = Field(description="action.")
    rollout: ShortText = Field(description="rollout that it acts on.")
    by: ShortText = Field(description="by whom it was asked for.")
    priority: Count = Field(default=0, description="priority of the requester.")
    digest: ShortText = Field(description="digest of the ActionRequest's spec.")
    since: Time = Field(description="since when.")
    until: Time = Field(description="until: not executed by then, the grant is void.")
    generation: Count = Field(description="generation of the policy that granted it.")
    consents: Annotated[list[AgentConsent], Field(max_length=10)] = Field(
        default_factory=list, description="consents that it stands on."
    )
    overridden_by: ShortText = Field(default="", description="overriddenBy: person who overruled a wait.")
    notify: bool = Field(default=False, description="notify: people are told of it (tier Notify).")
    agent: Text = Field(default="", description="agent: version of the agent that served then, as NAME@DIGEST.")

    @property
    def approved_by(self) -> list[str]:
        """People who consented."""
        return [consent.by for consent in self.consents]


class Waiting(ApiModel):
    """A request that may not be executed yet."""

    uid: ShortText = Field(description="uid of the ActionRequest.")
    name: ShortText = Field(description="name of the ActionRequest.")
    permit: ShortText = Field(description="permit that it acts under.")
    action: ShortText = Field(description="action.")
    rollout: ShortText = Field(description="rollout that it acts on.")
    by: ShortText = Field(description="by whom it was asked for.")
    reason: ShortText = Field(description="reason: one word for programs, such as ApprovalNeeded or Cooldown.")
    message: Message = Field(description="message: what it waits for.")
    since: Time = Field(description="since when.")
    asked_since: Time | None = Field(
        default=None,
        description="askedSince: since when people are asked for their consent, whatever it waits for now.",
    )
    until: Time | None = Field(default=None, description="until: next time at which this can change by itself.")
    digest: ShortText = Field(description="digest of the ActionRequest's spec; an Approve names it.")
    quorum: Count = Field(default=0, description="quorum: how many people must consent.")
    consents: Annotated[list[AgentConsent], Field(max_length=10)] = Field(
        default_factory=list, description="consents so far."
    )
    overridden_by: ShortText = Field(default="", description="overriddenBy: person who overruled waits.")


class Denied(ApiModel):
    """A request that will not be executed; kept until its own status says so."""

    uid: ShortText = Field(description="uid of the ActionRequest.")
    name: ShortText = Field(description="name of the ActionRequest.")
    reason: ShortText = Field(description="reason: one word for programs.")
    message: Message = Field(description="message for people.")
    at: Time = Field(description="at: when.")


class Blocked(ApiModel):
    """Requests that the API server refuses until a time; it reads this."""

    rollout: ShortText = Field(description="rollout.")
    action: ShortText = Field(default="", description="action; empty is every action but the safe ones.")
    until: Time = Field(description="until when.")
    reason: ShortText = Field(description="reason: Cooldown, Damped or Repeated.")
    message: Message = Field(default="", description="message for people.")


class ActionFailures(ApiModel):
    """How often in a row an action failed on a Rollout."""

    action: ShortText = Field(description="action.")
    count: Count = Field(description="count in a row.")


class Target(ApiModel):
    """What is remembered of a Rollout that agents act on."""

    rollout: ShortText = Field(description="rollout.")
    failures: Annotated[list[ActionFailures], Field(max_length=10)] = Field(
        default_factory=list, description="failures in a row, by action."
    )
    penalty: Number | None = Field(default=None, description="penalty of reversals at `penaltyAt`.")
    penalty_at: Time | None = Field(default=None, description="penaltyAt: when the penalty was that.")
    suppressed_at: Time | None = Field(default=None, description="suppressedAt: since when actions are refused.")
    direction: Literal["Forward", "Back", ""] = Field(
        default="", description="direction of the last action: Forward (more traffic) or Back."
    )


class Past(ApiModel):
    """An action that has ended."""

    uid: ShortText = Field(description="uid of the ActionRequest.")
    name: ShortText = Field(description="name of the ActionRequest.")
    permit: ShortText = Field(description="permit that it acted under.")
    action: ShortText = Field(description="action.")
    rollout: ShortText = Field(description="rollout that it acted on.")
    by: ShortText = Field(description="by whom it was asked for.")
    agent: Text = Field(default="", description="agent: version of the agent that served then, as NAME@DIGEST.")
    phase: ShortText = Field(description="phase: how it ended.")
    at: Time = Field(description="at: when it ended.")
    state: ShortText = Field(default="", description="state of the Rollout before: release, stage and weight.")
    outcome: Literal["", "Good", "Bad"] = Field(
        default="", description="outcome: what the release came to after it, once that is known."
    )


class ShadowDenial(ApiModel):
    """Something that an Audit mode let pass, or a trial judged otherwise."""

    name: ShortText = Field(description="name of the ActionRequest.")
    permit: ShortText = Field(description="permit.")
    by: ShortText = Field(description="by whom.")
    reason: ShortText = Field(description="reason: one word for programs.")
    message: Message = Field(description="message: what would have been said.")
    at: Time = Field(description="at: when.")
    trial: bool = Field(default=False, description="trial: it is the policy on trial that would have refused.")


class RuleState(ApiModel):
    """Where a rule stands with a Rollout."""

    rule: ShortText = Field(description="rule.")
    rollout: ShortText = Field(description="rollout.")
    true_since: Time | None = Field(default=None, description="trueSince: since when its condition holds.")
    armed: bool = Field(default=True, description="armed: whether it may ask; false after it asked, until `until`.")
    request: ShortText = Field(
        default="", description="request: ActionRequest that it asked for and that has not ended."
    )
    attempts: Count = Field(default=0, description="attempts that failed or were refused, in a row.")
    next_at: Time | None = Field(default=None, description="nextAt: not before that time does it ask again.")
    open_until: Time | None = Field(default=None, description="openUntil: it asks for nothing until then.")
    message: Message = Field(default="", description="message: why it could not be evaluated, or asks for nothing.")


class FallbackState(ApiModel):
    """A Rollout whose agents, evidence or policy are unknown."""

    rollout: ShortText = Field(description="rollout.")
    release: Count = Field(default=0, description="release that it began in.")
    reason: ShortText = Field(description="reason: AgentSilent, EvidenceUnknown or PolicyBroken.")
    message: Message = Field(default="", description="message for people.")
    since: Time = Field(description="since when.")
    step: Count = Field(default=0, description="step of the ladder that was taken last, from 1.")
    step_at: Time | None = Field(default=None, description="stepAt: when it was taken.")


class Tokens(ApiModel):
    """The bucket."""

    left: Number = Field(description="left: tokens at `at`.")
    at: Time = Field(description="at: when it was that many.")


class Explored(ApiModel):
    """What unproven versions have had of the window's budget."""

    since: Time = Field(description="since: begin of the window.")
    share_hours: Number = Field(description="shareHours used in it until `at`.")
    at: Time = Field(description="at: when it was that much.")
    percent: Count = Field(default=0, description="percent of traffic that they have now, added up over the Rollouts.")


class EffectivePermit(ApiModel):
    """A permit as it is in force, after the outer bounds."""

    name: ShortText = Field(description="name of the permit.")
    summary: Text = Field(description="summary of its limits, for people.")
    narrowed: Text = Field(default="", description="narrowed: what the ClusterAgentPolicy made stricter.")
    used: Count = Field(default=0, description="used: requests in the current window.")
    resets_at: Time | None = Field(default=None, description="resetsAt: when the next window begins.")


class AgentPolicyStatus(ApiModel):
    """What Weir knows of the policy, and what it decided under it."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    observed_since: Time | None = Field(
        default=None, description="observedSince: when that generation was seen first; what people said before is void."
    )
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=MapByType)] = Field(
        default_factory=list,
        description="conditions: Accepted, GuardrailsInstalled, AgentsAlive, WithinBlastRadius, Ready.",
    )
    effective: Annotated[list[EffectivePermit], Field(max_length=32, json_schema_extra=MapByName)] = Field(
        default_factory=list, description="effective permits, after the ClusterAgentPolicy."
    )
    granted: Annotated[list[Grant], Field(max_length=50, json_schema_extra=MapByUid)] = Field(
        default_factory=list, description="granted requests that have not ended."
    )
    waiting: Annotated[list[Waiting], Field(max_length=50, json_schema_extra=MapByUid)] = Field(
        default_factory=list, description="waiting requests."
    )
    denied: Annotated[list[Denied], Field(max_length=50, json_schema_extra=MapByUid)] = Field(
        default_factory=list, description="denied requests that have not ended."
    )
    blocked: Annotated[list[Blocked], Field(max_length=100)] = Field(
        default_factory=list, description="blocked: what the API server refuses until a time."
    )
    targets: Annotated[list[Target], Field(max_length=100, json_schema_extra=MapByRollout)] = Field(
        default_factory=list, description="targets: what is remembered of each Rollout."
    )
    last: Annotated[list[Past], Field(max_length=50, json_schema_extra=MapByUid)] = Field(
        default_factory=list, description="last actions that ended, newest first."
    )
    shadow_denials: Annotated[list[ShadowDenial], Field(max_length=20)] = Field(
        default_factory=list, description="shadowDenials: what an Audit mode let pass, newest first."
    )
    shadow_denied: Count = Field(default=0, description="shadowDenied: how many there were.")
    bucket: Tokens | None = Field(default=None, description="bucket of tokens.")
    exploration: Explored | None = Field(default=None, description="exploration budget.")
    rule_states: Annotated[list[RuleState], Field(max_length=200)] = Field(
        default_factory=list, alias="rules", description="rules: where each stands with each Rollout."
    )
    fallback: Annotated[list[FallbackState], Field(max_length=100, json_schema_extra=MapByRollout)] = Field(
        default_factory=list, description="fallback: Rollouts on the ladder."
    )
    message: Message = Field(default="", description="message: what is going on, for people.")
