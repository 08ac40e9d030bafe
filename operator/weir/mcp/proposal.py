"""What an agent proposes, and the ActionRequest that it becomes."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from weir.api.actionrequest import ActionRequestSpec, request_labels
from weir.api.agentpermit import Permit
from weir.mcp.results import Expectation
from weir.runtime.resources import ACTION_REQUESTS, KubeObject

Name = Annotated[str, Field(min_length=1, max_length=253)]


class Seen(BaseModel):
    """Something that the agent saw and acts upon. It is written down, not believed."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=63, description="Name of the evidence, such as drift.")
    value: str = Field(default="", max_length=253, description="Value that was seen.")
    ref: str = Field(default="", max_length=512, description="Where: DataContract/orders, or a query.")
    digest: str | None = Field(default=None, max_length=80, description="Digest of what was seen.")


class Proposal(BaseModel):
    """An action that an agent wants under one of its permits. What does not belong to the action is left out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    permit: Name = Field(description="Permit of the AgentPolicy; it says which action this is. See get_headroom.")
    rollout: Name = Field(description="Rollout to act on.")
    reason: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Why, for the record.")
    expect: Expectation | None = Field(
        default=None,
        description="What must still be true when it is executed, as get_rollout showed it. Release, Promote, Retry, "
        "Skip, Resume and ShiftTraffic need `release`; a ShiftTraffic under maxStep needs `weight` too.",
    )
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="Of a ShiftTraffic: most percent for the candidate from now on; 100 lifts the limit."
    )
    version: Name | None = Field(
        default=None, description="ModelVersion of a Release; a Rollback goes back to the one that served last."
    )
    duration: Annotated[str, Field(max_length=32)] | None = Field(
        default=None, description="Length of a Pause, such as 30m; by default until Resume."
    )
    parameters: Annotated[dict[str, str], Field(max_length=16)] | None = Field(
        default=None, description="Parameters of a Retrain or Reallocate."
    )
    evidence: Annotated[list[Seen], Field(max_length=16)] | None = Field(
        default=None, description="What you saw and act upon."
    )
    caused_by: Name | None = Field(
        default=None, description="Name of the ActionRequest whose effect led to this one, where one did."
    )
    on_behalf_of: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="For whom you act, where it is not for yourself."
    )
    expires_after: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="It is not executed later than that after its creation; by default the permit's "
        "approval.expiresAfter, so that people have that time (1h where the policy does not say).",
    )


def spec_of(proposal: Proposal, permit: Permit, requester: str, caused_by: tuple[str, str] | None) -> ActionRequestSpec:
    """The spec of the request; ``caused_by`` is name and uid."""
    given = {
        "action": permit.action,
        "permit": permit.name,
        "rolloutRef": {"name": proposal.rollout},
        "requester": requester or None,
        "reason": proposal.reason,
        "expect": proposal.expect.model_dump(exclude_none=True) if proposal.expect is not None else None,
        "weight": proposal.weight,
        "version": proposal.version,
        "duration": proposal.duration,
        "parameters": proposal.parameters,
        "evidence": [seen.model_dump(exclude_none=True) for seen in proposal.evidence or ()] or None,
        "causedBy": {"name": caused_by[0], "uid": caused_by[1]} if caused_by is not None else None,
        "onBehalfOf": proposal.on_behalf_of,
        "expiresAfter": proposal.expires_after or permit.approval.expires_after,
    }
    return ActionRequestSpec.model_validate({key: value for key, value in given.items() if value is not None})


def withdrawal_of(request: KubeObject, requester: str, reason: str) -> ActionRequestSpec:
    """The spec of the request that withdraws another one."""
    meta, spec = request["metadata"], request["spec"]
    given: dict[str, Any] = {
        "action": "Withdraw",
        "rolloutRef": {"name": spec["rolloutRef"]["name"]},
        "requester": requester or None,
        "reason": reason,
        "request": {"name": meta["name"], "uid": meta["uid"]},
    }
    return ActionRequestSpec.model_validate({key: value for key, value in given.items() if value is not None})


def body_of(spec: ActionRequestSpec, name: str, namespace: str) -> KubeObject:
    """The ActionRequest as it is created."""
    return {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": request_labels(spec)},
        "spec": spec.to_dict(),
    }


def any_name(*parts: str) -> str:
    """A name that nobody else has; made here so that a lost answer can be looked up."""
    return f"{'-'.join(parts).lower()[:200].rstrip('-.')}-{uuid.uuid4().hex[:12]}"
