"""Good policies for agents: small ones, and ones that set everything."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

POLICY: Spec = {
    "subjects": [{"name": "tuner", "namespace": "agents"}],
    "permits": [{"name": "back", "action": "Rollback"}],
}

POLICY_FULL: Spec = {
    "mode": "Audit",
    "paused": False,
    "subjects": [
        {"kind": "ServiceAccount", "name": "tuner", "namespace": "agents", "priority": 10, "rollout": "assistant"},
        {"kind": "ServiceAccount", "name": "tuner", "namespace": "agents-2"},
        {"kind": "Group", "name": "agents"},
        {"kind": "Group", "name": "system:serviceaccounts:agents-3"},
        {"kind": "User", "name": "pipeline"},
    ],
    "selector": {"names": ["digits", "letters"], "matchLabels": {"team": "vision"}},
    "permits": [
        {
            "name": "shift",
            "action": "ShiftTraffic",
            "mode": "Enforce",
            "subjects": ["tuner"],
            "rollouts": ["digits"],
            "bounds": {"maxStep": 20, "maxTrafficPercent": 50},
            "budget": {"limit": 5, "window": "10m"},
            "cost": 2,
            "cooldown": {"base": "10m", "max": "1h", "factor": "1.5"},
            "approval": {"tier": "Approve", "quorum": 2, "expiresAfter": "30m"},
            "evidence": ["errors"],
        },
        {"name": "back", "action": "Rollback", "budget": {"limit": 60, "window": "1h"}},
        {
            "name": "tune",
            "action": "Retrain",
            "template": "train",
            "parameters": [
                {"name": "epochs", "minimum": 1, "maximum": 50, "default": "5"},
                {"name": "data", "values": ["small", "large"]},
                {"name": "note"},
            ],
        },
        {"name": "grow", "action": "Reallocate", "template": "scale", "approval": {"tier": "Notify"}},
    ],
    "templates": [
        {
            "name": "train",
            "action": "Retrain",
            "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0}},
            "succeeded": "object.status.succeeded > 0",
            "failed": "object.status.failed > 0",
            "timeout": "2h",
            "result": {
                "modelVersion": {"artifact.digest": "${object.metadata.annotations['digest']}"},
                "base": "Candidate",
            },
        },
        {
            "name": "scale",
            "action": "Reallocate",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pool"}, "spec": {}},
        },
    ],
    "rules": [
        {
            "name": "drift",
            "when": "signals.drift.exists(d, d.distance > 0.2)",
            "for": "5m",
            "until": "signals.drift.all(d, d.distance < 0.1)",
            "then": "tune",
            "risk": "Approve",
            "parameters": {"data": "large", "note": "drift"},
            "reason": "the data has changed",
            "retry": {"attempts": 2, "backoff": "1m", "maxBackoff": "1h", "openFor": "12h"},
        },
        {"name": "errors", "when": "signals.weight > 50", "then": "shift", "weight": 20},
    ],
    "bucket": {"capacity": 10, "refillEvery": "6m"},
    "exploration": {"maxTrafficPercent": 10, "maxShareHours": "0.5", "window": "24h"},
    "concurrency": {"perTarget": 1, "total": 3},
    "damping": {"penalty": 1000, "halfLife": "15m", "suppressAt": 6000, "reuseBelow": 750, "maxSuppress": "1h"},
    "loop": {"maxDepth": 3, "maxRepeats": 2, "window": "1h"},
    "blastRadius": {"maxUnhealthyPercent": 40, "maxAffectedPercent": 20},
    "fallback": {
        "onAgentSilent": [{"lease": "tuner", "after": "10m"}],
        "onUnknownAfter": "15m",
        "ladder": ["Freeze", "StableOnly", "LastKnownGood"],
        "stepAfter": "5m",
    },
    "trial": {"share": 10, "permits": [{"name": "back", "action": "Rollback", "budget": {"limit": 30}}]},
}

CLUSTER_POLICY: Spec = {"limits": [{"action": "Rollback"}]}

CLUSTER_POLICY_FULL: Spec = {
    "paused": False,
    "limits": [
        {"action": "ShiftTraffic", "maxStep": 20, "maxTrafficPercent": 50, "maxPerHour": 10, "minTier": "Notify"},
        {"action": "Retrain", "minTier": "Approve", "minQuorum": 2},
        {"action": "Promote", "minTier": "ManualOnly"},
    ],
    "maxExplorationPercent": 20,
    "maxUnhealthyPercent": 30,
    "requireFallback": True,
}
