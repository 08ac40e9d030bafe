"""Rollout: which version should serve, how traffic moves to it, and what must be true on the way."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.approval import Approval
from weir.api.base import (
    AnyObject,
    ApiModel,
    Duration,
    Label,
    LocalRef,
    Name,
    OptionalDuration,
    Port,
    Ratio,
    Rule,
    ShortText,
)
from weir.api.gate import Gate, Metrics, Query
from weir.api.routematch import RouteMatch


class Step(ApiModel):
    """One rung of a canary."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="weight: percent of requests for the candidate.")
    min_duration: Duration = Field(
        default="1m", description="minDuration at this weight, counted from when the data plane shows it."
    )


class Ramp(ApiModel):
    """Traffic moves as fast as the risk allows: the weight follows the evidence instead of a ladder."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.minWeight <= self.maxWeight",
            "`minWeight` must not be greater than `maxWeight`",
            field_path=".minWeight",
        ),
    )
    risk_budget: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        description="riskBudget: bad requests that the release may cause beyond those that stable would have had. When "
        "it is spent the candidate's weight goes to 0."
    )
    reaction: Duration = Field(
        default="60s", description="reaction: time from harm to its end: metrics, decision and the gateway together."
    )
    min_weight: Annotated[int, Field(ge=1, le=50)] = Field(
        default=1,
        description="minWeight: percent of requests to begin with, and never fewer while budget is left, unless an "
        "outage at it would cost the whole budget.",
    )
    max_weight: Annotated[int, Field(ge=1, le=90)] = Field(
        default=50, description="maxWeight: percent of requests at most, until every gate passed; stable is compared."
    )
    min_dwell: Duration = Field(default="1m", description="minDwell at a weight before the next.")


class Canary(ApiModel):
    """Traffic moves in steps, each of which must be passed by every gate, or on a ramp."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("has(self.steps) != has(self.ramp)", "set exactly one of `steps` and `ramp`"),
        Rule(
            "!has(self.steps) || self.steps.all(s, self.steps.exists_one(t, t.weight == s.weight)) && "
            "self.steps.map(s, s.weight).isSorted()",
            "weights in `steps` must rise from step to step, such as 10, 25, 50; 100 is added at the end by itself",
            field_path=".steps",
        ),
    )
    steps: Annotated[list[Step], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="steps in rising order of weight."
    )
    ramp: Ramp | None = Field(default=None, description="ramp: weights that follow the evidence within a risk budget.")
    bake: Duration = Field(
        default="1m",
        description="bake: time at 100 percent with the old version still warm, before the promotion is final.",
    )


class Preview(ApiModel):
    """How the candidate can be reached before the switch."""

    hostname: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="hostname of the preview route; without it only the preview Service exists."
    )
    min_duration: Duration = Field(default="30s", description="minDuration of the preview, under synthetic traffic.")
    requests_per_second: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=10, description="requestsPerSecond of synthetic traffic to the preview; 0 leaves it to you."
    )


class BlueGreen(ApiModel):
    """The candidate is judged at full capacity on a preview, then takes all traffic in one atomic switch."""

    preview: Preview = Field(default_factory=Preview, description="preview of the candidate.")
    bake: Duration = Field(
        default="1m",
        description="bake: time after the switch with the old version still warm, before the promotion is final.",
    )


class Strategy(ApiModel):
    """How traffic moves; exactly one."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.canary) != has(self.blueGreen)",
            "set exactly one of `canary` and `blueGreen`",
        ),
    )
    canary: Canary | None = Field(default=None, description="canary: shares of traffic in steps.")
    blue_green: BlueGreen | None = Field(default=None, description="blueGreen: preview, then one switch.")


class ParentRef(ApiModel):
    """A Gateway, as in the Gateway API."""

    name: Name = Field(description="name of the Gateway.")
    namespace: Name | None = Field(default=None, description="namespace of the Gateway; by default the Rollout's.")
    section_name: Label | None = Field(default=None, description="sectionName: listener of the Gateway.")
    port: Port | None = Field(default=None, description="port of the listener.")


class Gateway(ApiModel):
    """Weighted routing by a Gateway API HTTPRoute."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.parentRefs) != has(self.routeRef)",
            "set exactly one of `parentRefs` (Weir owns the HTTPRoute) and `routeRef` (you keep it)",
        ),
        Rule(
            "!has(self.routeRef) || !has(self.hostnames)",
            "`hostnames` belong to the HTTPRoute that you keep; remove them here",
            field_path=".hostnames",
        ),
    )
    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)] | None = Field(
        default=None, description="parentRefs: Gateways for the HTTPRoute that Weir creates and owns."
    )
    hostnames: Annotated[list[ShortText], Field(max_length=16)] | None = Field(
        default=None, description="hostnames of the owned HTTPRoute."
    )
    matches: Annotated[list[RouteMatch], Field(max_length=8)] | None = Field(
        default=None, description="matches of the rule, as in an HTTPRoute; by default every path."
    )
    route_ref: LocalRef | None = Field(
        default=None,
        description="routeRef: HTTPRoute that you keep. Without rules Weir fills them in; with rules that name the "
        "Rollout's stable Service Weir moves only the weights of its two backends.",
    )

    @property
    def route_matches(self) -> list[dict[str, Any]] | None:
        """``matches`` as an HTTPRoute has them."""
        return [match.to_dict() for match in self.matches] if self.matches is not None else None


class ServiceSwitch(ApiModel):
    """Shares by the number of pods behind one Service, for clusters without a gateway; granularity is one pod."""

    name: Name | None = Field(
        default=None, description="name of the Service that Weir keeps; by default the Rollout's name."
    )


class Traffic(ApiModel):
    """What moves requests; exactly one."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("has(self.gateway) != has(self.service)", "set exactly one of `gateway` and `service`"),
    )
    gateway: Gateway | None = Field(default=None, description="gateway: an HTTPRoute with weights.")
    service: ServiceSwitch | None = Field(default=None, description="service: one Service, shares by number of pods.")


class Rollback(ApiModel):
    """What happens around putting traffic back."""

    keep_for: OptionalDuration = Field(
        default="10m", description="keepFor: how long the previous version stays warm after a promotion."
    )
    drain: OptionalDuration = Field(default="5s", description="drain: time between weight 0 and scaling down.")
    history_limit: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="historyLimit: versions that stay, scaled to zero."
    )
    on_stable_unhealthy: Literal["Hold", "FixForward"] = Field(
        default="Hold",
        description="onStableUnhealthy: Hold a release, or FixForward (drop comparisons with stable and go on by "
        "absolute bounds).",
    )


class Judgement(ApiModel):
    """How sure the comparisons with stable have to be."""

    rules: ClassVar[Sequence[Rule]] = tuple(
        Rule(
            f"double(self.{field}) > 0.0 && double(self.{field}) <= 0.5",
            f"`{field}` must be greater than '0' and at most '0.5', such as '0.05' for one release in twenty",
            field_path=f".{field}",
        )
        for field in ("falseRollbackRate", "falsePassRate")
    )
    false_rollback_rate: Ratio = Field(
        default=Decimal("0.05"),
        description="falseRollbackRate: share of harmless releases (0-1) that may be rolled back by comparisons.",
    )
    false_pass_rate: Ratio = Field(
        default=Decimal("0.05"),
        description="falsePassRate: share of releases beyond the tolerance (0-1) that a gate may pass.",
    )
    bar: Literal["Calibrated", "Strict"] = Field(
        default="Calibrated",
        description="bar: Calibrated decides earlier, its rate holds in the simulations that docs/decisions.md shows; "
        "Strict holds by theorem (Ville's inequality) as far as the noise model holds.",
    )


class ErrorBudget(ApiModel):
    """Objective of the whole service; while its budget is spent no release starts or advances."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "double(self.objective) > 0.0 && double(self.objective) < 1.0",
            "`objective` of the service is a share of good requests between '0' and '1', such as '0.999'",
            field_path=".objective",
        ),
        Rule(
            "duration(self.window) >= duration('1h')",
            "`window` must be at least '1h', such as '720h' for thirty days",
            field_path=".window",
        ),
        Rule(
            "double(self.releaseShare) > 0.0",
            "`releaseShare` must be greater than '0', such as '0.1' for a tenth of the budget",
            field_path=".releaseShare",
        ),
        Rule(
            "has(self.bad) == has(self.total)",
            "set both `bad` and `total`, or neither to count the requests of all pods of the Rollout",
        ),
    )
    objective: Ratio = Field(description="objective: share of good requests (0-1) over the window, such as '0.999'.")
    window: Duration = Field(default="720h", description="window of the objective.")
    release_share: Ratio = Field(
        default=Decimal("0.1"),
        description="releaseShare: share of the window's budget (0-1) that one release may spend; then it is rolled "
        "back.",
    )
    on_spent: Literal["Freeze", "Warn"] = Field(
        default="Freeze",
        description="onSpent: Freeze (no release starts or advances while the budget is spent or burns too fast), or "
        "only Warn by condition and metric.",
    )
    bad: Query | None = Field(
        default=None,
        description="bad: PromQL selector of a counter of bad requests of the whole service, without a range.",
    )
    total: Query | None = Field(
        default=None, description="total: PromQL selector of a counter of all requests of the whole service."
    )


class ContractPolicy(ApiModel):
    """What DataContracts of the versions may do to releases of this Rollout."""

    mode: Literal["Enforce", "Warn", "Ignore"] = Field(
        default="Enforce", description="mode: Enforce what the contracts say, only Warn, or Ignore them."
    )


class RolloutSpec(ApiModel):
    """What should serve and how it may get there. A release changes only `versionRef`."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.gates) || self.gates.all(g, has(self.metrics) && has(self.metrics.prometheus) || "
            "!(g.template in ['gateway-errors', 'custom', 'mean', 'threshold']))",
            "gates of the templates gateway-errors, custom, mean and threshold need `metrics.prometheus`",
            field_path=".gates",
        ),
        Rule(
            "!has(self.gates) || self.gates.all(g, self.gates.exists_one(h, "
            "(has(h.name) ? h.name : h.template) == (has(g.name) ? g.name : g.template)))",
            "names of gates must differ; give each gate of the same template a `name`",
            field_path=".gates",
        ),
        Rule(
            "!has(self.errorBudget) || has(self.metrics) && has(self.metrics.prometheus)",
            "`errorBudget` needs `metrics.prometheus`, which remembers the window's requests",
            field_path=".errorBudget",
        ),
        Rule(
            "!has(self.strategy.canary) || !has(self.strategy.canary.ramp) || has(self.gates) && "
            "self.gates.exists(g, g.template in ['http-errors', 'gateway-errors', 'custom'] && !has(g.max) && "
            "!has(g.objective))",
            "`ramp` needs a gate of template http-errors, gateway-errors or custom that compares with stable "
            "(no `max`, no `objective`): it counts that gate's bad requests",
            field_path=".strategy.canary.ramp",
        ),
        Rule(
            "!has(self.traffic.service) || !has(self.strategy.blueGreen) || !has(self.strategy.blueGreen.preview) || "
            "!has(self.strategy.blueGreen.preview.hostname)",
            "a preview hostname needs `traffic.gateway`; remove `strategy.blueGreen.preview.hostname`",
        ),
        Rule(
            "!has(self.approvals) || self.approvals.all(a, self.approvals.exists_one(b, "
            "(has(b.name) ? b.name : b.before) == (has(a.name) ? a.name : a.before)))",
            "names of approvals must differ; give each approval with the same `before` a `name`",
            field_path=".approvals",
        ),
    )
    version_ref: LocalRef = Field(description="versionRef: ModelVersion that should serve.")
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="replicas at full traffic.")
    template: AnyObject | None = Field(
        default=None,
        description="template: pod template into which the version's runtime is merged (container `model`); checked by "
        "a dry run.",
    )
    traffic: Traffic = Field(description="traffic: what moves requests.")
    strategy: Strategy = Field(description="strategy: how they move.")
    gates: Annotated[list[Gate], Field(max_length=16)] = Field(
        default_factory=list, description="gates that the candidate must pass; names are unique."
    )
    judgement: Judgement = Field(
        default_factory=Judgement, description="judgement: how sure comparisons with stable have to be."
    )
    error_budget: ErrorBudget | None = Field(
        default=None, description="errorBudget of the whole service, which freezes releases while it is spent."
    )
    approvals: Annotated[list[Approval], Field(max_length=8)] = Field(
        default_factory=list, description="approvals that a release needs from people on its way."
    )
    contracts: ContractPolicy = Field(
        default_factory=ContractPolicy, description="contracts: what DataContracts of the versions may do to releases."
    )
    metrics: Metrics = Field(default_factory=Metrics, description="metrics: where evidence comes from.")
    rollback: Rollback = Field(
        default_factory=Rollback, description="rollback: what happens around putting traffic back."
    )
    progress_deadline: Duration = Field(
        default="10m",
        description="progressDeadline for pods to become ready and for traffic to show its share; then the release is "
        "rolled back.",
    )
    paused: bool = Field(default=False, description="paused: no release starts or advances; safety checks go on.")
