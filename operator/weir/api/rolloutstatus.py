"""Status of a Rollout: everything the release machine must remember, since its state is a pure function of it."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from weir.api.action import Asked, Ceiling, HandledRequest, Instead, Skip
from weir.api.approval import ApprovalStatus
from weir.api.base import ApiModel, Condition, Count, MapByName, MapByType, Message, Number, ShortText, Text, Time
from weir.api.evidencestatus import Counts, EvidenceStatus, GateNoise, NoiseStatus


class Phase(StrEnum):
    """Where the Rollout is, for people; programs read conditions."""

    PENDING = "Pending"
    PREFLIGHT = "Preflight"
    WARM_UP = "WarmUp"
    SHIFTING = "Shifting"
    BAKE = "Bake"
    PROMOTED = "Promoted"
    HELD = "Held"
    AWAITING_APPROVAL = "AwaitingApproval"
    PAUSED = "Paused"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class Verdict(StrEnum):
    """Answer of a gate; only Pass is a pass."""

    PASS = "Pass"
    FAIL = "Fail"
    INSUFFICIENT = "Insufficient"
    NO_DATA = "NoData"
    ERROR = "Error"
    CANCELLED = "Cancelled"


class Outcome(StrEnum):
    """How a release ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    REVERTED = "Reverted"
    DELETED = "Deleted"
    RESTORED = "Restored"
    DRILLED = "Drilled"


class VersionStatus(ApiModel):
    """A version as a release knows it."""

    version: ShortText = Field(description="version: name of the ModelVersion.")
    label: ShortText = Field(description="label: spec.version of the ModelVersion, on pods and metrics.")
    digest: ShortText = Field(description="digest of the ModelVersion.")
    revision: ShortText = Field(description="revision: identity of what runs, from digest and pod template.")
    pool: ShortText = Field(description="pool: name of its Deployment and Service.")
    served_until: Time | None = Field(
        default=None,
        description="servedUntil: when it last ceased to serve all traffic; absent where it never did.",
    )


class RetainedVersion(VersionStatus):
    """A version without traffic that is still kept."""

    warm_until: Time = Field(description="warmUntil: scaled to zero after this time.")


class StageStatus(ApiModel):
    """The stage a release is in."""

    index: Annotated[int, Field(ge=-1)] = Field(description="index of the stage in the plan; -1 is the warm-up.")
    name: ShortText = Field(description="name, such as WarmUp, Traffic(25) or Bake.")
    weight: Annotated[int, Field(ge=0, le=100)] = Field(description="weight that the stage wants for the candidate.")
    started_at: Time = Field(description="startedAt: when the stage was entered.")
    accepted_at: Time | None = Field(
        default=None, description="acceptedAt: when the gateway was first seen to have accepted the stage's weights."
    )
    evidence_from: Time | None = Field(
        default=None,
        description="evidenceFrom: when the data plane showed the stage's share; evidence counts from here.",
    )


class RampStatus(ApiModel):
    """Where a ramp stands."""

    weight: Annotated[int, Field(ge=0, le=100)] = Field(description="weight that the ramp asks for.")
    moved_at: Time = Field(description="movedAt: when the weight last changed.")
    spent: Number = Field(
        default=Decimal(0), description="spent: upper bound of the bad requests that the release has caused so far."
    )
    left: Number = Field(default=Decimal(0), description="left: what is left of the risk budget.")
    rate: Number = Field(default=Decimal(0), description="rate of requests a second, both arms.")
    bound: Number = Field(
        default=Decimal(1), description="bound: upper bound of the candidate's share of bad requests."
    )


class BudgetStatus(ApiModel):
    """The error budget of the whole service."""

    spent: Number = Field(
        default=Decimal(0), description="spent: share of the window's budget that is used (1 is all)."
    )
    burn_rates: Annotated[list[ShortText], Field(max_length=8)] = Field(
        default_factory=list, description="burnRates over several windows, such as '1h=0.8'; 1 spends exactly all."
    )
    release: Number = Field(
        default=Decimal(0), description="release: share of the window's budget that this release has used."
    )
    frozen: bool = Field(default=False, description="frozen: no release starts or advances.")
    message: Message = Field(default="", description="message for people.")
    at: Time | None = Field(default=None, description="at: when it was read.")

    @property
    def rates(self) -> list[tuple[str, float]]:
        """Spans and their burn rates, such as ("1h", 0.8); what cannot be read is left out."""
        found = list[tuple[str, float]]()
        for entry in self.burn_rates:
            span, _, rate = entry.partition("=")
            with suppress(ValueError):
                found.append((span, float(rate)))
        return found

    @property
    def burning(self) -> bool:
        """Whether it is spent faster than it comes back, in every span that is known."""
        return bool(self.rates) and min(rate for _, rate in self.rates) > 1


class GateStatus(ApiModel):
    """Answer of one gate and the evidence it stands on."""

    name: ShortText = Field(description="name of the gate.")
    verdict: Verdict = Field(
        default=Verdict.INSUFFICIENT, description="verdict: Pass, Fail, Insufficient, NoData, Error or Cancelled."
    )
    message: Message = Field(default="", description="message explains the verdict.")
    value: Number | None = Field(default=None, description="value that was compared, candidate's.")
    stable_value: Number | None = Field(default=None, description="stableValue in the same span.")
    effect: Number | None = Field(
        default=None, description="effect: ratio of the candidate's share of bad requests to stable's, as estimated."
    )
    effect_low: Number | None = Field(default=None, description="effectLow: lower end of the effect's interval.")
    effect_high: Number | None = Field(
        default=None, description="effectHigh: upper end of the effect's interval; absent while nothing bounds it."
    )
    e_fail: Number | None = Field(
        default=None, description="eFail: e-value against 'not worse than failAbove'; large means proven worse."
    )
    e_fail_bar: Number | None = Field(
        default=None, description="eFailBar: e-value at which the release is rolled back."
    )
    e_pass: Number | None = Field(
        default=None, description="ePass: e-value against 'worse than the tolerance'; large means proven good enough."
    )
    e_pass_bar: Number | None = Field(default=None, description="ePassBar: e-value at which the gate passes.")
    tolerance: Number | None = Field(
        default=None, description="tolerance: ratio to stable that this stage has to rule out for a Pass."
    )
    accept: Number | None = Field(
        default=None, description="accept: share of bad requests that this stage has to rule out, whatever stable's is."
    )
    windows: Count = Field(default=0, description="windows of this release behind the verdict.")
    comparative: bool = Field(default=True, description="comparative: whether stable served beside the candidate.")
    candidate: Counts = Field(default_factory=Counts, description="candidate's counts behind the verdict.")
    stable: Counts = Field(default_factory=Counts, description="stable's counts behind the verdict.")
    pending_candidate: Counts = Field(
        default_factory=Counts, description="pendingCandidate: counts since the last look."
    )
    pending_stable: Counts = Field(default_factory=Counts, description="pendingStable: counts since the last look.")
    window_start: Time | None = Field(default=None, description="windowStart of the evidence behind the verdict.")
    window_end: Time | None = Field(default=None, description="windowEnd: evidence is used up to here.")
    failures: Count = Field(default=0, description="failures: failed looks in this release.")
    successes: Count = Field(default=0, description="successes: passing looks in a row in this stage.")
    query: Annotated[str, Field(max_length=4096)] = Field(default="", description="query, or the metric that was read.")


class Hold(ApiModel):
    """Why the release does not move."""

    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")
    since: Time = Field(description="since when.")


class Pause(ApiModel):
    """Somebody paused the release."""

    since: Time = Field(description="since when.")
    until: Time | None = Field(default=None, description="until when; absent is until resumed.")
    by: ShortText = Field(default="", description="by whom.")
    reason: Message = Field(default="", description="reason they gave.")
    authority: Text | None = Field(default=None, description="authority of an agent: its permit, and who consented.")


class Ending(ApiModel):
    """A release on its way out: traffic goes back to stable first."""

    outcome: Outcome = Field(description="outcome the release will have.")
    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")
    since: Time = Field(description="since when.")
    by: ShortText = Field(default="weir", description="by whom.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")
    weight: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="weight that the candidate had when it began."
    )
    stable_at: Time | None = Field(
        default=None, description="stableAt: when the gateway was seen to have taken weight 0; absent before."
    )
    drain_until: Time | None = Field(default=None, description="drainUntil: set when the data plane shows weight 0.")


class Force(ApiModel):
    """Somebody asked to promote without waiting for gates, or to put an earlier version back."""

    by: ShortText = Field(description="by whom.")
    reason: Message = Field(description="reason they gave.")
    request: Text | None = Field(default=None, description="request: ActionRequest that asked, as NAME@DIGEST.")


class FailedRevision(ApiModel):
    """A candidate that will not be tried again until somebody asks."""

    revision: ShortText = Field(description="revision that failed.")
    version: ShortText = Field(description="version: its ModelVersion.")
    release: Count = Field(description="release in which it failed.")
    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")


class Measurement(ApiModel):
    """One look of one gate, with the inputs that reproduce its verdict."""

    gate: ShortText = Field(description="gate that looked.")
    verdict: Verdict = Field(description="verdict it gave.")
    candidate: Counts = Field(default_factory=Counts, description="candidate's counts.")
    stable: Counts = Field(default_factory=Counts, description="stable's counts.")
    value: Number | None = Field(default=None, description="value that was compared.")
    window_start: Time | None = Field(default=None, description="windowStart of the counts.")
    window_end: Time | None = Field(default=None, description="windowEnd of the counts.")
    effect: Number | None = Field(default=None, description="effect: ratio to stable, as estimated.")
    effect_low: Number | None = Field(default=None, description="effectLow: lower end of its interval.")
    effect_high: Number | None = Field(default=None, description="effectHigh: upper end of its interval.")
    e_fail: Number | None = Field(default=None, description="eFail: e-value against 'not worse than failAbove'.")
    e_fail_bar: Number | None = Field(default=None, description="eFailBar that it was compared with.")
    e_pass: Number | None = Field(default=None, description="ePass: e-value against 'worse than the tolerance'.")
    e_pass_bar: Number | None = Field(default=None, description="ePassBar that it was compared with.")
    tolerance: Number | None = Field(default=None, description="tolerance: ratio to stable to be ruled out.")
    accept: Number | None = Field(default=None, description="accept: share of bad requests to be ruled out.")
    comparative: bool = Field(default=True, description="comparative: whether stable served beside the candidate.")
    windows: Count = Field(default=0, description="windows of the release that were known then.")
    noise: Annotated[list[NoiseStatus], Field(max_length=4)] = Field(
        default_factory=list, description="noise that the evidence was discounted by."
    )


class ContractFindingStatus(ApiModel):
    """One thing that a DataContract says against the release."""

    contract: ShortText = Field(description="contract: the DataContract; empty where it is an agent's bundle.")
    rule: ShortText = Field(description="rule: R1 to R10, Check, Drift, Metadata, Document or Agent.")
    verdict: Verdict = Field(description="verdict: Fail, or NoData where nothing is known.")
    effect: Literal["BlockPromotion", "Pause", "Rollback", "RequireApproval", "Warn"] = Field(
        description="effect on the release."
    )
    since: Time = Field(description="since when it is so.")
    change: ShortText = Field(default="", description="change: what kind of difference, the ruleId of a waiver.")
    path: ShortText = Field(default="", description="path: where, such as OBJECT.PROPERTY or the name of a server.")
    rollback_at: Time | None = Field(
        default=None,
        description="rollbackAt: when traffic is put back unless it is repaired before, with the effect Rollback.",
    )
    awaited: bool = Field(default=False, description="awaited: a check that is under way will tell.")
    message: Message = Field(default="", description="message: what is wrong, and the way out.")


class ContractsStatus(ApiModel):
    """What the DataContracts of the versions say of the release."""

    verdict: Verdict = Field(description="verdict: Pass, Fail or NoData.")
    pins: Annotated[list[Text], Field(max_length=64)] = Field(
        default_factory=list, description="pins: the contracts that were looked at, as NAME@DIGEST."
    )
    findings: Annotated[list[ContractFindingStatus], Field(max_length=20)] = Field(
        default_factory=list, description="findings against the release, worst first."
    )


class DecisionEntry(ApiModel):
    """One decision of the machine and why."""

    at: Time = Field(description="at: when.")
    phase: Phase = Field(description="phase after the decision.")
    stage: ShortText = Field(default="", description="stage after the decision.")
    weight: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="weight of the candidate after it.")
    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")
    actor: ShortText = Field(default="weir", description="actor: who caused it.")
    request: Text | None = Field(
        default=None, description="request: ActionRequest that caused it, as NAME@DIGEST of its spec."
    )
    authority: Text | None = Field(
        default=None, description="authority: permit of the AgentPolicy that an agent acted under, and who consented."
    )
    evidence: Annotated[list[Measurement], Field(max_length=16)] = Field(
        default_factory=list, description="evidence it stands on."
    )
    contracts: ContractsStatus | None = Field(
        default=None, description="contracts: what they said then, where the decision looked at them."
    )


class ReleaseSummary(ApiModel):
    """A finished release."""

    release: Count = Field(description="release: number of the release.")
    candidate: VersionStatus = Field(description="candidate of the release.")
    outcome: Outcome = Field(description="outcome of the release.")
    reason: ShortText = Field(description="reason in CamelCase.")
    message: Message = Field(description="message for people.")
    started_at: Time = Field(description="startedAt: when it began.")
    finished_at: Time = Field(description="finishedAt: when it ended.")
    record: ShortText = Field(description="record: name of the RolloutRecord.")
    time_to_stable: Number | None = Field(
        default=None,
        description="timeToStable in seconds, from the decision to put the release back until the gateway had taken "
        "weight 0; absent where the candidate had no traffic.",
    )


class RolloutStatus(ApiModel):
    """What the Rollout is doing and what it must not forget."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    phase: Phase = Field(default=Phase.PENDING, description="phase, for people.")
    message: Message = Field(default="", description="message: what it is waiting for.")
    release: Count = Field(default=0, description="release: number of the current or last release.")
    release_started_at: Time | None = Field(
        default=None, description="releaseStartedAt: when the current release began."
    )
    stable: VersionStatus | None = Field(default=None, description="stable: the version that serves.")
    candidate: VersionStatus | None = Field(default=None, description="candidate: the version being rolled out.")
    stage: StageStatus | None = Field(default=None, description="stage of the current release.")
    weight: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="weight: percent of requests for the candidate."
    )
    verdict: ShortText = Field(default="", description="verdict: the worst of all gates.")
    gates: Annotated[list[GateStatus], Field(max_length=16, json_schema_extra=MapByName)] = Field(
        default_factory=list, description="gates and their evidence."
    )
    ramp: RampStatus | None = Field(default=None, description="ramp: where a ramp stands.")
    budget: BudgetStatus | None = Field(default=None, description="budget: error budget of the whole service.")
    noise: Annotated[list[GateNoise], Field(max_length=64)] = Field(
        default_factory=list, description="noise measured on stable's pods, kept for the next release."
    )
    contracts: ContractsStatus | None = Field(
        default=None, description="contracts: what the DataContracts of the versions say of the release."
    )
    rollbackable: bool | None = Field(
        default=None,
        description="rollbackable: whether the version before still fits the data and its clients; empty where no "
        "contract tells.",
    )
    hold: Hold | None = Field(default=None, description="hold: why the release does not move.")
    approvals: Annotated[list[ApprovalStatus], Field(max_length=8, json_schema_extra=MapByName)] = Field(
        default_factory=list, description="approvals of the current or last release, and who gave them."
    )
    requested_by: ShortText = Field(
        default="", description="requestedBy: who asked for the current release by an ActionRequest."
    )
    authors: Annotated[list[ShortText], Field(max_length=32)] = Field(
        default_factory=list,
        description="authors: who changed the Rollout for this release, as admission tells; they cannot approve.",
    )
    asked: Asked | None = Field(
        default=None, description="asked: a release that somebody asked for and that has not begun yet."
    )
    restoring: bool = Field(
        default=False, description="restoring: the candidate is an earlier version that a Rollback puts back."
    )
    skip: Skip | None = Field(default=None, description="skip: a stage that a person asked to leave.")
    instead: Instead | None = Field(
        default=None, description="instead: version that somebody asked to release in place of spec.versionRef's."
    )
    ceiling: Ceiling | None = Field(
        default=None, description="ceiling: most of the traffic that the candidate may have in this release."
    )
    kept_ceiling: Ceiling | None = Field(
        default=None, description="keptCeiling: limit of a person, under which an agent asked for a lower one."
    )
    lifted_at: Time | None = Field(
        default=None,
        description="liftedAt: when a ceiling was lifted last in this release; gates have all of maxWait from then.",
    )
    pause: Pause | None = Field(default=None, description="pause by a person.")
    paused_at: Time | None = Field(
        default=None, description="pausedAt: since when time does not count for the current release."
    )
    force: Force | None = Field(default=None, description="force: a promotion asked for by a person.")
    ending: Ending | None = Field(default=None, description="ending of the current release.")
    deadline: Time | None = Field(default=None, description="deadline for what the release waits for.")
    retained: Annotated[list[RetainedVersion], Field(max_length=24)] = Field(
        default_factory=list, description="retained versions without traffic, newest first."
    )
    failed: Annotated[list[FailedRevision], Field(max_length=10)] = Field(
        default_factory=list, description="failed candidates, newest first."
    )
    decisions: Annotated[list[DecisionEntry], Field(max_length=100)] = Field(
        default_factory=list, description="decisions of the current or last release."
    )
    history: Annotated[list[ReleaseSummary], Field(max_length=10)] = Field(
        default_factory=list, description="history of finished releases, newest first."
    )
    handled_requests: Annotated[list[HandledRequest], Field(max_length=20)] = Field(
        default_factory=list, description="handledRequests: ActionRequests that were executed or refused, newest first."
    )
    granularity: Text | None = Field(
        default=None, description="granularity of weights, where it is coarser than one percent."
    )
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=MapByType)] = Field(
        default_factory=list,
        description="conditions: Ready, Reconciling, Stalled, AwaitingApproval, Feasible, BudgetAvailable, "
        "ContractsHold.",
    )
    evidence: Annotated[list[EvidenceStatus], Field(max_length=16)] = Field(
        default_factory=list, description="evidence of comparisons in the current or last release."
    )
