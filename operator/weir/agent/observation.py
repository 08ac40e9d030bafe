"""Everything that a decision under an AgentPolicy may look at. Times are in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus


@dataclass(frozen=True)
class AgentRequest:
    """An ActionRequest that the policy has to do with: it names a permit, or answers one that does.

    ``phase``: of its status, empty until somebody wrote it. ``ended_at``: when it ended, None while it is open.
    ``groups`` is not known: who belongs to a group is admission's to check, so a group subject matches by
    ``spec.requester`` never, and the operator trusts the permit there.
    """

    uid: str
    name: str
    spec: ActionRequestSpec
    created: float
    digest: str
    phase: str = ""
    message: str = ""
    ended_at: float | None = None
    deleting: bool = False

    @property
    def open(self) -> bool:
        """Whether it has no final result yet."""
        return self.phase in ("", "Pending", "Running")


@dataclass(frozen=True)
class RolloutFacts:
    """A Rollout of the namespace as agents' actions need it."""

    name: str
    uid: str
    labels: Mapping[str, str]
    spec: RolloutSpec
    status: RolloutStatus
    created: float = 0.0


@dataclass(frozen=True)
class MadeVersion:
    """A ModelVersion that came of a Retrain, as its labels say. ``created`` is in seconds since the epoch."""

    name: str
    rollout: str
    request: str
    created: float


@dataclass(frozen=True)
class AgentObservation:
    """What is known of a namespace's agents now.

    ``policy`` is None where the object cannot be read (``broken`` says why). ``guardrails``: what is wrong with the
    admission policies, None where they are as installed. ``heartbeats``: last renewal of each Lease that the fallback
    names, None where there is no such Lease. ``objects``: what templates made, by uid of the request; None where it is
    gone. ``signals``: what planner rules look at, by Rollout. ``versions``: ModelVersions by name; ``made``: those of
    them that a Retrain made.
    """

    generation: int
    policy: AgentPolicySpec | None
    status: AgentPolicyStatus
    broken: str = ""
    outer: ClusterAgentPolicySpec | None = None
    outer_broken: str = ""
    namespace_paused: bool = False
    guardrails: str | None = None
    requests: tuple[AgentRequest, ...] = ()
    rollouts: Mapping[str, RolloutFacts] = field(default_factory=dict)
    heartbeats: Mapping[str, float | None] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    signals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, ModelVersionSpec] = field(default_factory=dict)
    made: tuple[MadeVersion, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why the API server did not take what the last decision wanted to create: by the proposal's name, or, of what a
    template makes, by uid of the request. Told for as long as it is asked for."""
    identity: str = ""
    """User name of the operator itself, which is the requester of what rules and the fallback ask for."""
