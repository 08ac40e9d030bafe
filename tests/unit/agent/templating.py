"""Templates that tests fill in and check: a Reallocate beside the Retrain of `planning`."""

from __future__ import annotations

from typing import Any

from tests.unit.agent.planning import DIGEST, NOW, asked
from weir.agent.observation import AgentRequest
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentstatus import Grant
from weir.api.base import LocalRef

SCALE: dict[str, Any] = {
    "name": "scale",
    "action": "Reallocate",
    "object": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "features-for-${rollout.name}"},
        "spec": {"replicas": "${parameters.replicas}"},
    },
    "succeeded": "object.status.readyReplicas == object.spec.replicas",
    "failed": "false",
}
SCALE_PERMIT: dict[str, Any] = {
    "name": "scale",
    "action": "Reallocate",
    "template": "scale",
    "parameters": [{"name": "replicas", "minimum": 1, "maximum": 9}],
}
FINISHED: dict[str, Any] = {
    "kind": "Job",
    "metadata": {"name": "train-1-0", "annotations": {"ml.example/digest": DIGEST, "ml.example/accuracy": "0.97"}},
    "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
}


def template(base: dict[str, Any], **object_changes: Any) -> dict[str, Any]:
    """A template whose object is changed."""
    return {**base, "object": {**base["object"], **object_changes}}


def request(action: str = "Retrain", permit: str = "train", name: str = "train-1-0", **given: str) -> AgentRequest:
    spec = ActionRequestSpec.model_validate(
        {
            "action": action,
            "rolloutRef": LocalRef(name="ranker"),
            "reason": "drift",
            "permit": permit,
            "parameters": given or None,
        }
    )
    return asked(name, spec, uid="uid-1")


def grant(permit: str = "train") -> Grant:
    return Grant.model_validate(
        {
            "uid": "uid-1", "name": "train-1-0", "permit": permit, "action": "Retrain", "rollout": "ranker", "by": "a",
            "digest": DIGEST, "since": NOW, "until": NOW + 60, "generation": 1,
        }
    )  # fmt: skip
