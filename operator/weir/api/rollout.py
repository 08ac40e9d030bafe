"""Rollout: which version should serve, how traffic moves to it, and what must be true on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.base import (
    AnyObject,
    ApiModel,
    Duration,
    Label,
    LocalRef,
    Name,
    OptionalDuration,
    Port,
    Rule,
    ShortText,
)
from weir.api.gate import Gate, Metrics

MapByName: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Step(ApiModel):
    """One rung of a canary."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="weight: percent of requests for the candidate.")
    min_duration: Duration = Field(
        default="1m", description="minDuration at this weight, counted from when the data plane shows it."
    )


class Canary(ApiModel):
    """Traffic moves in steps; each step must be passed by every gate."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.steps.all(s, self.steps.exists_one(t, t.weight == s.weight)) && "
            "self.steps.map(s, s.weight).isSorted()",
            "weights in `steps` must rise from step to step, such as 10, 25, 50; 100 is added at the end by itself",
            field_path=".steps",
        ),
    )
    steps: Annotated[list[Step], Field(min_length=1, max_length=20)] = Field(
        description="steps in rising order of weight."
    )
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
    matches: Annotated[list[AnyObject], Field(max_length=8)] | None = Field(
        default=None, description="matches of the rule, as in an HTTPRoute; by default every path."
    )
    route_ref: LocalRef | None = Field(
        default=None,
        description="routeRef: HTTPRoute that you keep. Without rules Weir fills them in; with rules that name the "
        "Rollout's stable Service Weir moves only the weights of its two backends.",
    )


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


class RolloutSpec(ApiModel):
    """What should serve and how it may get there. A release changes only `versionRef`."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.gates) || self.gates.all(g, has(self.metrics) && has(self.metrics.prometheus) || "
            "!(g.template in ['gateway-errors', 'custom', 'threshold']))",
            "gates of the templates gateway-errors, custom and threshold need `metrics.prometheus`",
            field_path=".gates",
        ),
        Rule(
            "!has(self.traffic.service) || !has(self.strategy.blueGreen) || !has(self.strategy.blueGreen.preview) || "
            "!has(self.strategy.blueGreen.preview.hostname)",
            "a preview hostname needs `traffic.gateway`; remove `strategy.blueGreen.preview.hostname`",
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
    gates: Annotated[list[Gate], Field(max_length=16, json_schema_extra=MapByName)] = Field(
        default_factory=list, description="gates that the candidate must pass; names are unique."
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
