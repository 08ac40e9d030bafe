"""Good objects of every kind: small ones, and ones that set everything."""

from __future__ import annotations

from tests.api.objects_agents import CLUSTER_POLICY, CLUSTER_POLICY_FULL, POLICY, POLICY_FULL, Spec

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER_DIGEST = "sha256:" + "fedcba9876543210" * 4
TIME = "2026-01-02T03:04:05.678Z"

MODEL_VERSION: Spec = {"model": "digits", "version": "1.0.0", "runtime": {"image": "registry.example/digits:1"}}

MODEL_VERSION_FULL: Spec = {
    "model": "digits",
    "version": "2.0.0-rc_1",
    "artifact": {
        "uri": "s3://models/digits/2",
        "digest": DIGEST,
        "signature": "s3://models/digits/2.sigstore",
        "credentials": {"name": "models-read"},
    },
    "runtime": {
        "image": "registry.example/digits@" + DIGEST,
        "command": ["serve"],
        "args": ["--workers", "2"],
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "EMPTY"}],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}},
        "port": 9000,
        "protocol": "OpenInference",
        "modelName": "digits",
        "warmup": {"requests": 5, "path": "/v2/models/digits/infer", "body": "{}", "timeout": "5s"},
    },
    "bundle": [
        {"kind": "Tokenizer", "name": "tokens", "uri": "s3://models/tokens", "digest": DIGEST},
        {"kind": "Config", "name": "tokens", "uri": "s3://models/config", "digest": DIGEST},
    ],
    "compatibleWith": [{"model": "letters", "versions": ["1.0", "2.*"]}, {"model": "signs", "digests": [DIGEST]}],
    "provenance": {
        "code": "https://git.example/digits@4f2c",
        "data": [{"name": "digits", "snapshot": "2026-01-01", "digest": DIGEST, "interval": "2025-01-01/P1Y"}],
        "features": [{"name": "pixels", "revision": "7"}],
        "hyperparameters": {"alpha": "0.1", "solver": "lbfgs"},
        "seed": 42,
        "environment": "requirements.txt@4f2c",
        "parents": ["digits-1"],
    },
    "contracts": {
        "request": "digits-in",
        "response": "digits-out@" + DIGEST,
        "trainedOn": ["digits-data@" + DIGEST],
        "servedFrom": ["digits-data"],
        "uses": ["digits.pixels"],
        "imputed": ["digits.pen"],
    },
    "evaluations": [
        {"name": "held-out", "dataset": "digits", "metric": "accuracy", "value": "0.97", "interval": "0.95-0.99"}
    ],
    "support": {"deprecatedAfter": TIME, "retiredAfter": TIME, "replacedBy": "digits-3"},
}

MODEL_VERSION_SERVICE: Spec = {"model": "digits", "version": "1", "runtime": {"serviceRef": {"name": "digits-v1"}}}

ROLLOUT: Spec = {
    "versionRef": {"name": "digits-1"},
    "traffic": {"service": {}},
    "strategy": {"canary": {"steps": [{"weight": 50}]}},
}

HTTP_GATE: Spec = {"name": "errors", "template": "http-errors", "max": "0.05"}
LATENCY_GATE: Spec = {"name": "latency", "template": "http-latency", "over": "250ms", "max": "0.05"}
CUSTOM_GATE: Spec = {"name": "custom", "template": "custom", "bad": "bad_total", "total": "all_total", "max": "0.1"}
COMPARED_GATE: Spec = {
    "name": "compared",
    "template": "http-errors",
    "compare": {
        "failAbove": "1.2",
        "passBelow": "2",
        "ignoreBelow": "0.002",
        "acceptBelow": "0.01",
        "weight": 3,
        "hardStop": True,
    },
}
MEAN_GATE: Spec = {
    "name": "cost",
    "template": "mean",
    "sum": "tokens_sum",
    "count": "tokens_count",
    "worse": "Lower",
    "compare": {"passBelow": "1.2"},
}
OBJECTIVE_GATE: Spec = {"name": "promise", "template": "http-errors", "objective": "0.999", "onNoData": "Rollback"}
THRESHOLD_GATE: Spec = {"name": "queue", "template": "threshold", "query": "queue_depth", "min": "-1", "max": "100"}

ROLLOUT_GATEWAY: Spec = {
    "versionRef": {"name": "digits-1"},
    "replicas": 3,
    "template": {"spec": {"containers": [{"name": "model", "resources": {}}]}},
    "traffic": {
        "gateway": {
            "parentRefs": [{"name": "web", "namespace": "gateways", "sectionName": "http", "port": 80}],
            "hostnames": ["digits.example.com"],
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        }
    },
    "strategy": {
        "canary": {
            "steps": [{"weight": 10, "minDuration": "30s"}, {"weight": 25}, {"weight": 100, "minDuration": "1h30m"}],
            "bake": "5m",
        }
    },
    "gates": [
        HTTP_GATE,
        LATENCY_GATE,
        CUSTOM_GATE,
        THRESHOLD_GATE,
        COMPARED_GATE,
        MEAN_GATE,
        OBJECTIVE_GATE,
        {"template": "http-latency"},
    ],
    "judgement": {"falseRollbackRate": "0.01", "falsePassRate": "0.02", "bar": "Strict"},
    "errorBudget": {"objective": "0.999", "window": "168h", "releaseShare": "0.05", "onSpent": "Warn"},
    "metrics": {
        "prometheus": {"address": "http://prometheus.monitoring:9090", "interval": "5s", "timeout": "2s"},
        "names": {"requests": "requests_total"},
    },
    "rollback": {"keepFor": "0s", "drain": "1s", "historyLimit": 0, "onStableUnhealthy": "FixForward"},
    "progressDeadline": "3m",
    "paused": True,
}

ROLLOUT_RAMP: Spec = {
    "versionRef": {"name": "digits-1"},
    "traffic": {"gateway": {"parentRefs": [{"name": "web"}]}},
    "strategy": {
        "canary": {
            "ramp": {"riskBudget": 60, "reaction": "30s", "minWeight": 2, "maxWeight": 10, "minDwell": "20s"},
            "bake": "5m",
        }
    },
    "gates": [{"template": "http-errors"}],
}

ROLLOUT_BLUE_GREEN: Spec = {
    "versionRef": {"name": "digits-1"},
    "traffic": {"gateway": {"routeRef": {"name": "digits"}}},
    "strategy": {"blueGreen": {"preview": {"hostname": "preview.digits.example.com"}}},
    "gates": [HTTP_GATE],
    "metrics": {"scrape": {"port": 9090, "path": "/metrics", "interval": "1s"}},
}

ROLLOUT_APPROVALS: Spec = {
    **ROLLOUT,
    "approvals": [
        {"before": "Traffic(25)", "from": {"group": "sre"}, "quorum": 2, "expiresAfter": "4h"},
        {"name": "owner", "before": "Promote", "from": {"verb": "approve"}},
        {"before": "Switch", "from": {"group": "sre"}},
    ],
}

ROLLOUT_BLUE_GREEN_EMPTY: Spec = {**ROLLOUT, "strategy": {"blueGreen": {}}}

VERSION_STATUS: Spec = {
    "version": "digits-2",
    "label": "2.0.0",
    "digest": DIGEST,
    "revision": "abc123",
    "pool": "digits-abc123",
}

RECORD: Spec = {
    "rollout": "digits",
    "rolloutUid": "6f1c9f0e-0000-4000-8000-000000000000",
    "release": 3,
    "outcome": "RolledBack",
    "reason": "GateFailed",
    "message": "errors: 12 of 100 requests failed",
    "candidate": VERSION_STATUS,
    "startedAt": TIME,
    "finishedAt": TIME,
    "gates": [HTTP_GATE],
    "decisions": [
        {
            "at": TIME,
            "phase": "RollingBack",
            "reason": "GateFailed",
            "message": "errors failed",
            "evidence": [
                {"gate": "errors", "verdict": "Fail", "candidate": {"bad": 12, "total": 100}, "value": "0.12"}
            ],
        }
    ],
    "hash": DIGEST,
}

ACTION: Spec = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "wrong labels"}
ACTION_PAUSE: Spec = {
    "action": "Pause",
    "rolloutRef": {"name": "digits"},
    "reason": "on-call wants to look",
    "requester": "ada",
    "duration": "15m",
    "expect": {"release": 3, "stage": "Traffic(25)", "weight": 25},
}
ACTION_SKIP: Spec = {**ACTION, "action": "Skip", "expect": {"candidate": DIGEST}}
ACTION_ROLLBACK: Spec = {**ACTION, "action": "Rollback", "version": "digits-1"}
ACTION_DRILL: Spec = {**ACTION, "action": "Drill", "notBefore": TIME, "expiresAfter": "2h"}
ACTION_APPROVE: Spec = {
    **ACTION,
    "action": "Approve",
    "approval": {"name": "Traffic(25)", "digest": DIGEST},
}

ACTION_RELEASE: Spec = {**ACTION, "action": "Release", "version": "digits-2"}
ACTION_SHIFT: Spec = {
    **ACTION,
    "action": "ShiftTraffic",
    "weight": 30,
    "permit": "shift",
    "rule": "errors",
    "evidence": [{"name": "errors", "value": "0.2", "ref": "Rollout/digits", "digest": DIGEST}, {"name": "seen"}],
    "causedBy": {"name": "tune-1-0", "uid": "6f1c9f0e-0000-4000-8000-000000000000", "digest": DIGEST},
    "onBehalfOf": "ada",
    "expect": {"release": 3, "weight": 20},
}
ACTION_RETRAIN: Spec = {**ACTION, "action": "Retrain", "permit": "tune", "parameters": {"epochs": "5"}}
ACTION_DENY: Spec = {
    **ACTION,
    "action": "Deny",
    "request": {"name": "shift-1-0", "uid": "6f1c9f0e-0000-4000-8000-000000000000"},
}

ODCS: Spec = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "orders",
    "version": "1.0.0",
    "status": "active",
    "description": {"purpose": "what was ordered", "usage": "features"},
    "servers": [
        {"server": "lake", "type": "s3", "location": "s3://lake/orders/*.parquet", "format": "parquet"},
        {"server": "feed", "type": "local", "path": "orders/*.parquet", "format": "parquet"},
    ],
    "schema": [
        {
            "name": "orders",
            "physicalName": "orders",
            "properties": [
                {"name": "id", "logicalType": "integer", "required": True, "primaryKey": True},
                {"name": "amount", "logicalType": "number", "logicalTypeOptions": {"minimum": 0.5}},
                {"name": "label", "logicalType": "string"},
                {"name": "at", "logicalType": "timestamp"},
                {"name": "place", "logicalType": "object", "properties": [{"name": "zone"}]},
            ],
        }
    ],
    "customProperties": [{"property": "owner", "value": None}],
}

CONTRACT: Spec = {"odcs": ODCS, "roles": ["Features"]}

CONTRACT_FULL: Spec = {
    "odcs": ODCS,
    "roles": ["TrainingInput", "ServingInput", "Features", "Label", "Prediction"],
    "environments": [{"name": "training"}, {"name": "serving", "exclude": ["orders.label"]}],
    "engine": {
        "image": "registry.example/checks:1",
        "resources": {"limits": {"memory": "1Gi"}},
        "timeout": "5m",
        "serviceAccountName": "checks",
        "sampling": {"rows": 100000, "seed": 7},
        "exact": True,
        "failingSamples": 5,
    },
    "servers": [
        {
            "name": "lake",
            "odcsServer": "lake",
            "environment": "training",
            "secretRef": {"name": "lake-read"},
            "partition": "dt = '{{date}}'",
        },
        {"name": "feed", "odcsServer": "feed", "environment": "serving", "volume": {"claimName": "orders"}},
    ],
    "schedule": {"cron": "0 * * * *", "maxAge": "2h"},
    "freshness": {"element": "orders.at", "warnAfter": "1h", "failAfter": "1h30m"},
    "drift": [
        {"name": "amount", "property": "orders.amount", "tolerance": "0.05", "alpha": "0.001", "minSamples": 500},
        {"name": "label", "property": "orders.label", "source": "Live"},
    ],
    "reference": {"server": "lake"},
    "live": {"metric": "orders_value", "interval": "30s"},
    "parity": {
        "training": "lake",
        "serving": "feed",
        "profile": [{"property": "orders.amount", "tolerance": "0.1"}],
        "rowReplay": {
            "object": "orders",
            "joinKey": ["id"],
            "properties": ["amount"],
            "tolerance": "0.001",
            "maxMismatchRatio": "0.01",
        },
    },
    "leakage": [
        {
            "name": "seen",
            "object": "orders",
            "training": "lake",
            "other": "feed",
            "key": ["id"],
            "maxSharedRatio": "0.001",
        }
    ],
    "semantics": [
        {
            "property": "orders.amount",
            "unit": "EUR",
            "timezone": "Europe/Berlin",
            "meaningRef": "https://glossary.example/amount",
            "encoding": "utf-8",
            "vocabularyDigest": DIGEST,
            "transformDigest": DIGEST,
            "embedding": {"model": "e5", "dimensions": 384},
            "eventTime": "orders.at",
            "availableAt": "orders.at",
        }
    ],
    "rules": [
        {
            "name": "few-nulls",
            "cel": "metrics.orders.nullRatio.amount < 0.01",
            "message": "too many nulls",
            "severity": "Warning",
        }
    ],
    "compatibility": {
        "mode": "FullTransitive",
        "against": ["ServedBy"],
        "allow": ["Widening"],
        "onUnknown": "Block",
        "waivers": [{"ruleId": "R3", "path": "orders.label", "reason": "agreed", "approvedBy": "ada", "expires": TIME}],
    },
    "enforcement": {"onFail": "Rollback", "onUnknown": "Warn", "onDrift": "Pause", "grace": "10m"},
}

CONTRACT_SOURCE: Spec = {
    "source": {"configMapRef": {"name": "orders"}, "digest": DIGEST},
    "roles": ["TrainingInput"],
    "drift": [{"name": "amount", "property": "orders.amount"}],
    "reference": {"configMapRef": {"name": "orders-profile", "key": "profile.json"}},
}

CONTRACT_GIT: Spec = {
    "source": {
        "git": {"url": "https://git.example/contracts.git", "revision": "v1.0.0", "path": "orders.yaml"},
        "digest": DIGEST,
    },
    "roles": ["TrainingInput"],
}

CHECK: Spec = {"contractRef": {"name": "orders"}}

CHECK_FULL: Spec = {
    "contractRef": {"name": "orders"},
    "servers": ["lake", "feed"],
    "purpose": "Release",
    "for": "digits/3",
}

GOOD: tuple[tuple[str, str, Spec], ...] = (
    ("ModelVersion", "minimal", MODEL_VERSION),
    ("ModelVersion", "full", MODEL_VERSION_FULL),
    ("ModelVersion", "service", MODEL_VERSION_SERVICE),
    ("Rollout", "minimal", ROLLOUT),
    ("Rollout", "gateway", ROLLOUT_GATEWAY),
    ("Rollout", "ramp", ROLLOUT_RAMP),
    ("Rollout", "blue-green", ROLLOUT_BLUE_GREEN),
    ("Rollout", "blue-green-empty", ROLLOUT_BLUE_GREEN_EMPTY),
    ("Rollout", "approvals", ROLLOUT_APPROVALS),
    ("RolloutRecord", "record", RECORD),
    ("ActionRequest", "abort", ACTION),
    ("ActionRequest", "pause", ACTION_PAUSE),
    ("ActionRequest", "skip", ACTION_SKIP),
    ("ActionRequest", "rollback", ACTION_ROLLBACK),
    ("ActionRequest", "drill", ACTION_DRILL),
    ("ActionRequest", "approve", ACTION_APPROVE),
    ("ActionRequest", "release", ACTION_RELEASE),
    ("ActionRequest", "shift", ACTION_SHIFT),
    ("ActionRequest", "retrain", ACTION_RETRAIN),
    ("ActionRequest", "deny", ACTION_DENY),
    ("DataContract", "minimal", CONTRACT),
    ("DataContract", "full", CONTRACT_FULL),
    ("DataContract", "source", CONTRACT_SOURCE),
    ("DataContract", "git", CONTRACT_GIT),
    ("ContractCheck", "minimal", CHECK),
    ("ContractCheck", "full", CHECK_FULL),
    ("AgentPolicy", "minimal", POLICY),
    ("AgentPolicy", "full", POLICY_FULL),
    ("ClusterAgentPolicy", "minimal", CLUSTER_POLICY),
    ("ClusterAgentPolicy", "full", CLUSTER_POLICY_FULL),
)
