"""ClusterAgentPolicy: outer bounds of the platform's owners, which a namespace's AgentPolicy can only narrow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from weir.api.action import PermittedAction
from weir.api.agentpermit import Percent, Tier
from weir.api.base import ApiModel, Condition, Count, MapByType

MapByAction: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["action"]}


class OuterLimit(ApiModel):
    """The most that any namespace may allow of one action."""

    action: PermittedAction = Field(description="action that may be permitted.")
    max_step: Percent | None = Field(default=None, description="maxStep that a permit may have.")
    max_traffic_percent: Percent | None = Field(default=None, description="maxTrafficPercent that a permit may have.")
    max_per_hour: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="maxPerHour: most requests that a permit may allow in a window of an hour or longer, and less in a "
        "shorter one in proportion; it must have a budget.",
    )
    min_tier: Tier = Field(default="None", description="minTier: least approval tier.")
    min_quorum: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="minQuorum: least number of people where the tier is Approve."
    )


class ClusterAgentPolicySpec(ApiModel):
    """Outer bounds for all namespaces. An AgentPolicy can only narrow them."""

    paused: bool = Field(default=False, description="paused: no agent in the cluster may ask for anything.")
    limits: Annotated[list[OuterLimit], Field(min_length=1, max_length=16, json_schema_extra=MapByAction)] = Field(
        description="limits: actions that may be permitted at all, each with the most that may be allowed."
    )
    max_exploration_percent: Percent | None = Field(
        default=None, description="maxExplorationPercent: most traffic that exploration may give to unproven versions."
    )
    max_unhealthy_percent: Percent | None = Field(
        default=None, description="maxUnhealthyPercent that a policy's blastRadius may have."
    )
    require_fallback: bool = Field(default=False, description="requireFallback: every AgentPolicy must have one.")


class ClusterAgentPolicyStatus(ApiModel):
    """What Weir knows of the outer bounds."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=MapByType)] = Field(
        default_factory=list, description="conditions: Accepted, GuardrailsInstalled."
    )
    namespaces: Count = Field(default=0, description="namespaces that have an AgentPolicy.")
