"""Rollouts as a cluster has them, in the states that commands tell apart."""

from __future__ import annotations

from typing import Any

KubeObject = dict[str, Any]

DIGEST = "sha256:" + "a" * 64
V1 = {"version": "v1", "label": "v1", "digest": DIGEST, "revision": "r1", "pool": "digits-r1"}
V2 = {"version": "v2", "label": "v2", "digest": DIGEST, "revision": "r2", "pool": "digits-r2"}


def condition(kind: str, value: str = "True", reason: str = "Because", message: str = "") -> KubeObject:
    """A condition of the current generation."""
    at = "2026-11-21T08:00:00Z"
    return {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": at}


def rollout(name: str = "digits", *, wants: str = "v2", generation: int = 1, **status: Any) -> KubeObject:
    """A Rollout with that status."""
    spec = {
        "versionRef": {"name": wants},
        "traffic": {"service": {}},
        "strategy": {"canary": {"steps": [{"weight": 10}, {"weight": 25}]}},
    }
    found = {"observedGeneration": generation, "release": 1, "stable": V1, **status}
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "generation": generation, "creationTimestamp": "2026-11-21T07:00:00Z"},
        "spec": spec,
        "status": {key: value for key, value in found.items() if value is not None},
    }


def shifting(name: str = "digits", *, stage: str = "Traffic(10)", weight: int = 10, **status: Any) -> KubeObject:
    """Release 2 is at a stage."""
    at = "2026-11-21T08:00:00Z"
    found = {
        "phase": "Shifting",
        "message": "waiting for the gates",
        "release": 2,
        "releaseStartedAt": at,
        "candidate": V2,
        "weight": weight,
        "stage": {"index": 0, "name": stage, "weight": weight, "startedAt": at, "evidenceFrom": at},
        "conditions": [condition("Ready", "False"), condition("Reconciling")],
    }
    return rollout(name, **{**found, **status})


def serving(name: str = "digits", *, wants: str = "v1", **status: Any) -> KubeObject:
    """Nothing is being released; v1 serves."""
    found = {"phase": "Promoted", "message": "v1 serves", "conditions": [condition("Ready")]}
    return rollout(name, wants=wants, **{**found, **status})


def ended(release: int, outcome: str, message: str = "why", **fields: Any) -> KubeObject:
    """A finished release in status.history."""
    return {
        "release": release,
        "candidate": V2,
        "outcome": outcome,
        "reason": "Because",
        "message": message,
        "startedAt": "2026-11-21T08:00:00Z",
        "finishedAt": "2026-11-21T08:10:00Z",
        "record": f"digits-{release}",
        **fields,
    }


def rolled_back(name: str = "digits") -> KubeObject:
    """Release 2 was put back."""
    return rollout(
        name,
        phase="RolledBack",
        message="v2 failed: errors",
        release=2,
        history=[ended(2, "RolledBack", "errors")],
        conditions=[condition("Ready", "False"), condition("Stalled", message="v2 failed: errors")],
    )
