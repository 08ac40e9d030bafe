"""AgentPolicies: what the operator would not accept, limits that nobody can use, and what RBAC beside them gives."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.api.cases import DELETE, edited
from weir.api import API_VERSION
from weir.lint import Finding, Severity, Source, lint

SUBJECT = {"kind": "ServiceAccount", "namespace": "agents", "name": "oncall"}
POLICY: dict[str, Any] = {
    "subjects": [SUBJECT],
    "permits": [
        {"name": "tune", "action": "ShiftTraffic", "budget": {"limit": 3, "window": "1h"}, "evidence": ["http-errors"]},
        {"name": "stop", "action": "Abort", "budget": {"limit": 30, "window": "1h"}},
    ],
    "fallback": {"onAgentSilent": [{"lease": "oncall"}]},
}
ROLLOUT: dict[str, Any] = {
    "versionRef": {"name": "digits-1"},
    "traffic": {"service": {}},
    "replicas": 10,
    "strategy": {"canary": {"steps": [{"weight": 10}]}},
    "gates": [{"template": "http-errors"}],
}
TRAIN = {
    "name": "train",
    "action": "Retrain",
    "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {}}},
    "result": {"modelVersion": {"artifact.digest": "${object.metadata.annotations.digest}"}},
}


def manifest(kind: str, spec: dict[str, Any], name: str = "agents", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def found(*manifests: dict[str, Any]) -> list[Finding]:
    """Findings of the manifests, all in one file."""
    return list(lint([Source("f.yaml", yaml.safe_dump_all(manifests))]).findings)


def told(findings: list[Finding]) -> list[tuple[str, str, Severity]]:
    return [(finding.code, finding.path, finding.severity) for finding in findings]


def test_given_a_sensible_policy_then_nothing_is_found() -> None:
    assert found(manifest("AgentPolicy", POLICY), manifest("Rollout", ROLLOUT, "digits")) == []


PERMIT = "spec.permits[0]"
ABORT = {"name": "stop", "action": "Abort", "budget": {"limit": 30}}


@pytest.mark.parametrize(
    ("changes", "code", "path", "said"),
    [
        (
            {"permits.0.bounds": {"maxStep": 30, "maxTrafficPercent": 20}},
            "policy",
            f"{PERMIT}.bounds.maxStep",
            "30 is more than maxTrafficPercent 20",
        ),
        ({"permits.0.name": "fallback-9"}, "policy", f"{PERMIT}.name", "for the fallback's requests; take another one"),
        ({"permits.0.subjects": ["nobody"]}, "policy", f"{PERMIT}.subjects", "nobody is not one of spec.subjects"),
        (
            {"bucket": {"capacity": 2, "refillEvery": "1m"}, "permits.0.cost": 3},
            "policy",
            f"{PERMIT}.cost",
            "3 is more than the bucket can hold",
        ),
        (
            {"rules": [{"name": "slow", "when": "signals.weight >", "then": "tune", "weight": 5}]},
            "policy",
            "spec.rules[0].when",
            "Syntax error",
        ),
        (
            {"rules": [{"name": "slow", "when": "true", "until": "sygnals.x", "then": "tune", "weight": 5}]},
            "policy",
            "spec.rules[0].until",
            "undeclared reference to 'sygnals",
        ),
        (
            {"templates": [{**TRAIN, "failed": "object.status.failed +"}]},
            "policy",
            "spec.templates[0].failed",
            "Syntax error",
        ),
        (
            {"templates": [{**TRAIN, "object": {"apiVersion": "v1", "kind": "Secret", "data": {}}}]},
            "policy",
            "spec.templates[0].object",
            "no template may make or change a Secret of v1",
        ),
        (
            {"templates": [{**TRAIN, "result": {"modelVersion": {"artifact.digest": "${parameters.x}"}}}]},
            "policy",
            "spec.templates[0].result.modelVersion",
            "x",
        ),
    ],
)
def test_given_what_the_operator_does_not_accept_then_it_is_an_error_with_its_place(
    changes: dict[str, Any], code: str, path: str, said: str
) -> None:
    findings = found(manifest("AgentPolicy", edited(POLICY, changes)))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    assert told(errors) == [(code, path, Severity.ERROR)]
    assert said in errors[0].message


@pytest.mark.parametrize(
    ("changes", "code", "path", "said"),
    [
        ({"permits.0.budget": DELETE}, "no-budget", PERMIT, "tune can be asked for without end"),
        ({"permits.1.budget": DELETE}, "no-budget", "spec.permits[1]", "stop can be asked for without end"),
        (
            {"permits": [{"name": "go", "action": "Skip", "budget": {"limit": 1}}]},
            "no-way-back",
            "spec.permits",
            "Skip",
        ),
        ({"fallback": DELETE}, "no-fallback", "spec", "nothing happens when an agent falls silent"),
        ({"fallback": {}}, "no-fallback", "spec.fallback", "starts only where the policy itself is broken"),
        (
            {"permits.0.approval": {"tier": "ManualOnly"}},
            "never",
            f"{PERMIT}.approval.tier",
            "no agent can act under tune",
        ),
        (
            {"permits.0.approval": {"tier": "Approve", "quorum": 4}},
            "quorum",
            f"{PERMIT}.approval.quorum",
            "4 different people",
        ),
        (
            {"permits.0.rollouts": ["digits"], "permits.0.cooldown": {"base": "40m"}},
            "never",
            f"{PERMIT}.budget.limit",
            "allows 3 in 1h, and the other limits at most 2",
        ),
        (
            {"bucket": {"capacity": 4, "refillEvery": "1h"}, "permits.0.cost": 3},
            "never",
            f"{PERMIT}.budget.limit",
            "allows 3 in 1h, and the other limits at most 1",
        ),
    ],
)
def test_given_what_is_seldom_meant_then_it_is_a_warning(
    changes: dict[str, Any], code: str, path: str, said: str
) -> None:
    findings = found(manifest("AgentPolicy", edited(POLICY, changes)))
    assert told(findings) == [(code, path, Severity.WARNING)]
    assert said in findings[0].message


@pytest.mark.parametrize(
    "changes",
    [
        {"permits.0.rollouts": ["digits", "faces"], "permits.0.cooldown": {"base": "40m"}},
        {"permits.0.cooldown": {"base": "40m"}},
        {"permits.0.rollouts": ["digits"], "permits.0.cooldown": {"base": "30m"}},
        {"bucket": {"capacity": 2, "refillEvery": "1h"}, "permits.0.cost": 1},
        {"permits.0.approval": {"tier": "Approve", "quorum": 3}},
        {"permits": [ABORT], "fallback": DELETE},
        {
            "bucket": {"capacity": 2, "refillEvery": "1h"},
            "permits": [{"name": "stop", "action": "Abort", "budget": {"limit": 30}}],
        },
        {"fallback": {"onUnknownAfter": "10m"}},
    ],
)
def test_given_limits_that_can_be_used_then_nothing_is_found(changes: dict[str, Any]) -> None:
    assert found(manifest("AgentPolicy", edited(POLICY, changes))) == []


def test_given_outer_bounds_in_the_files_when_the_policy_is_wider_then_the_field_is_named() -> None:
    limits = [{"action": "ShiftTraffic", "maxPerHour": 2}]
    outer = manifest("ClusterAgentPolicy", {"limits": limits, "requireFallback": True})
    findings = found(manifest("AgentPolicy", edited(POLICY, {"fallback": DELETE})), outer)
    errors = {finding.path: finding.message for finding in findings if finding.code == "policy"}
    assert set(errors) == {"spec.permits[0]", "spec.permits[1]", "spec.fallback"}
    assert errors["spec.permits[0]"] == "wider than the ClusterAgentPolicy: budget.limit is 2 in 1h"
    assert "does not allow Abort" in errors["spec.permits[1]"]
    assert errors["spec.fallback"] == "required by the ClusterAgentPolicy"


@pytest.mark.parametrize(
    ("rollout", "metadata", "changes", "codes"),
    [
        ({"gates": [{"template": "http-latency"}]}, {}, {}, ["unknown-gate"]),
        ({"gates": [{"template": "http-latency", "name": "http-errors"}]}, {}, {}, []),
        ({"gates": [{"template": "http-latency"}]}, {}, {"permits.0.rollouts": ["digits"]}, ["unknown-gate"]),
        ({"gates": [{"template": "http-latency"}]}, {}, {"selector": {"matchLabels": {"team": "a"}}}, []),
        (
            {"gates": [{"template": "http-latency"}]},
            {"labels": {"team": "a"}},
            {"selector": {"matchLabels": {"team": "a"}}},
            ["unknown-gate"],
        ),
        ({"gates": [{"template": "http-latency"}]}, {"namespace": "other"}, {}, []),
    ],
)
def test_given_evidence_then_it_must_be_a_gate_of_each_rollout_that_is_selected(
    rollout: dict[str, Any], metadata: dict[str, Any], changes: dict[str, Any], codes: list[str]
) -> None:
    policy = manifest("AgentPolicy", edited(POLICY, changes), namespace="team")
    there = manifest("Rollout", edited(ROLLOUT, rollout), "digits", **{"namespace": "team", **metadata})
    assert [finding.code for finding in found(policy, there)] == codes


def test_given_a_rollout_that_is_not_in_the_files_then_permits_and_subjects_that_name_it_are_told() -> None:
    changes = {
        "selector": {"names": ["digits", "digts"]},
        "permits.0.rollouts": ["digts"],
        "permits.0.evidence": DELETE,
        "subjects.0.rollout": "driver",
    }
    findings = found(manifest("AgentPolicy", edited(POLICY, changes)), manifest("Rollout", ROLLOUT, "digits"))
    assert sorted(told(findings)) == [
        ("unknown-reference", "spec.permits[0].rollouts[0]", Severity.WARNING),
        ("unknown-reference", "spec.selector.names[1]", Severity.WARNING),
        ("unknown-reference", "spec.subjects[0].rollout", Severity.WARNING),
    ]


REQUEST = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "slow", "permit": "stop"}
DENIAL = {
    "action": "Deny",
    "rolloutRef": {"name": "digits"},
    "reason": "no",
    "request": {"name": "stop-1", "uid": "u-1"},
}


@pytest.mark.parametrize(
    ("spec", "labels", "expected"),
    [
        (REQUEST, {"weir.dev/permit": "stop"}, []),
        (REQUEST, {}, [("request-label", "metadata", Severity.WARNING)]),
        (REQUEST, {"weir.dev/permit": "tune"}, [("request-label", "metadata.labels.weir.dev/permit", Severity.ERROR)]),
        (
            edited(REQUEST, {"permit": DELETE}),
            {"weir.dev/permit": "stop"},
            [("request-label", "metadata.labels.weir.dev/permit", Severity.ERROR)],
        ),
        (edited(REQUEST, {"permit": DELETE}), {}, []),
        (DENIAL, {"weir.dev/answers": "u-1"}, []),
        (DENIAL, {}, [("request-label", "metadata", Severity.WARNING)]),
        (DENIAL, {"weir.dev/answers": "u-2"}, [("request-label", "metadata.labels.weir.dev/answers", Severity.ERROR)]),
    ],
)
def test_given_a_request_then_its_label_repeats_the_permit(
    spec: dict[str, Any], labels: dict[str, str], expected: list[Any]
) -> None:
    findings = found(manifest("ActionRequest", spec, "stop-1", **({"labels": labels} if labels else {})))
    assert [(f.code, f.path.removesuffix(".labels"), f.severity) for f in findings] == expected


def binding(role: str, kind: str = "ClusterRole", subject: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "agents"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [subject or SUBJECT],
    }


def role(*rules: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "own"},
        "rules": list(rules),
    }


ASK = {"apiGroups": ["weir.dev"], "resources": ["actionrequests"], "verbs": ["get", "list", "watch", "create"]}
AS_USER = {"kind": "User", "name": "system:serviceaccount:agents:oncall"}


@pytest.mark.parametrize(
    ("rbac", "codes"),
    [
        ([], []),
        ([binding("weir-agent")], []),
        ([binding("weir-agent", subject=AS_USER)], []),
        ([binding("weir-agent", subject={**SUBJECT, "name": "other"})], ["no-rights"]),
        ([binding("weir-agent", subject={**SUBJECT, "namespace": "other"})], ["no-rights"]),
        ([binding("edit")], ["wide-rights"]),
        ([binding("weir-actor")], ["wide-rights"]),
        ([binding("own", "Role"), role(ASK)], []),
        ([binding("own", "Role"), role(ASK, {**ASK, "resources": ["rollouts"], "verbs": ["abort"]})], ["wide-rights"]),
        ([binding("own", "Role"), role({**ASK, "apiGroups": ["*"], "verbs": ["*"]})], ["wide-rights"]),
        ([binding("own", "Role"), role({**ASK, "apiGroups": ["apps"], "verbs": ["*"]})], []),
        ([binding("own", "Role"), role("nonsense", {"apiGroups": [["weir.dev"]], "verbs": 3})], []),
    ],
)
def test_given_rbac_in_the_same_file_then_subjects_must_be_able_to_ask_and_to_do_no_more(
    rbac: list[dict[str, Any]], codes: list[str]
) -> None:
    assert [finding.code for finding in found(manifest("AgentPolicy", POLICY), *rbac)] == codes


def test_given_too_many_rights_then_they_are_named() -> None:
    wide = role(ASK, {"apiGroups": ["weir.dev"], "resources": ["rollouts"], "verbs": ["get", "abort", "patch"]})
    [finding] = found(manifest("AgentPolicy", POLICY), binding("own", "Role"), wide)
    assert finding.message == (
        "RoleBinding agents gives ServiceAccount agents/oncall more than an agent needs: abort rollouts, patch rollouts"
    )
