"""An AgentPolicy and what belongs to it, as a cluster has them."""

from __future__ import annotations

from typing import Any

from tests.unit.mcp.apiserver import AGENT, NOON
from weir.api.base import format_time

KubeObject = dict[str, Any]
WINDOW = int(NOON) // 3600
DIGEST = "sha256:" + "b" * 64
BUDGET = {"limit": 3, "window": "1h"}


def permit(name: str, action: str, **fields: Any) -> KubeObject:
    """A permit."""
    return {"name": name, "action": action, **fields}


PERMITS = [
    permit("shift", "ShiftTraffic", budget=BUDGET, bounds={"maxStep": 10, "maxTrafficPercent": 50}),
    permit("abort", "Abort"),
    permit("promote", "Promote", approval={"tier": "Approve", "quorum": 2}, rollouts=["digits"]),
    permit(
        "tune",
        "Retrain",
        template="train",
        budget=BUDGET,
        parameters=[{"name": "epochs", "minimum": 1, "maximum": 9, "default": "3"}],
        subjects=["other"],
    ),
]


def policy(permits: list[KubeObject] | None = None, status: KubeObject | None = None, **spec: Any) -> KubeObject:
    """The AgentPolicy of the namespace."""
    subjects = [{"kind": "ServiceAccount", "namespace": "team", "name": name} for name in ("tuner", "other")]
    template = {"name": "train", "action": "Retrain", "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}}
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "agents", "generation": 1},
        "spec": {"subjects": subjects, "permits": permits or PERMITS, "templates": [template], **spec},
        "status": status or {},
    }


def request(name: str, action: str = "ShiftTraffic", *, by: str = AGENT, **spec: Any) -> KubeObject:
    """An ActionRequest that nobody has looked at yet."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ActionRequest",
        "metadata": {"name": name},
        "spec": {
            "action": action,
            "permit": "shift",
            "rolloutRef": {"name": "digits"},
            "requester": by,
            "reason": "because",
            **spec,
        },
    }


def at(seconds: float) -> str:
    """So many seconds after noon."""
    return format_time(NOON + seconds)
