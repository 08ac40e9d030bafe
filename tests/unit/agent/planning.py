"""A namespace with one Rollout, for tests of the planner, the fallback and the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.agent.effective import effective
from weir.agent.observation import AgentObservation, AgentRequest, RolloutFacts
from weir.agent.rules import Planned, propose
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus, RuleState
from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import GateStatus, RolloutStatus, StageStatus, Verdict, VersionStatus

NOW = 1_700_000_000.0
WEIR = "system:serviceaccount:weir-system:weir"
AGENT = "system:serviceaccount:ml:agent"
DIGEST = "sha256:" + "0123456789abcdef" * 4

WINDOW = 3600.0
"""Seconds of the permit `train`."""

FIRST = f"train-{int(NOW // WINDOW)}-0"
SECOND = f"train-{int(NOW // WINDOW)}-1"

RETRAIN_TEMPLATE: dict[str, Any] = {
    "name": "train",
    "action": "Retrain",
    "object": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {"team": "ml"}},
        "spec": {
            "backoffLimit": "${parameters.retries}",
            "template": {
                "spec": {
                    "containers": [{"name": "train", "args": ["--base", "${stable.version}", "--for=${rollout.name}"]}]
                }
            },
        },
    },
    "result": {
        "modelVersion": {
            "artifact.uri": "s3://models/${request.name}",
            "artifact.digest": "${object.metadata.annotations['ml.example/digest']}",
        }
    },
}

POLICY: dict[str, Any] = {
    "subjects": [{"name": "agent", "namespace": "ml"}],
    "permits": [
        {
            "name": "train",
            "action": "Retrain",
            "template": "train",
            "parameters": [{"name": "retries", "minimum": 0, "maximum": 5, "default": "2"}],
            "budget": {"limit": 2, "window": "1h"},
        },
        {"name": "stop", "action": "Abort"},
        {"name": "shift", "action": "ShiftTraffic", "bounds": {"maxStep": 10}},
        {"name": "release", "action": "Release", "approval": {"tier": "Approve", "quorum": 1, "expiresAfter": "4h"}},
    ],
    "templates": [RETRAIN_TEMPLATE],
}

RULE: dict[str, Any] = {
    "name": "drifted",
    "when": "signals.drift.exists(d, d.verdict == 'Fail')",
    "then": "train",
    "retry": {"attempts": 3, "backoff": "5m", "maxBackoff": "8m", "openFor": "2h"},
}

DRIFTED: dict[str, Any] = {"drift": [{"name": "amount", "contract": "orders", "verdict": "Fail", "distance": 0.31}]}
CALM: dict[str, Any] = {"drift": []}


def policy(*rules: Mapping[str, Any], **changes: Any) -> AgentPolicySpec:
    """The policy above with those rules."""
    return AgentPolicySpec.model_validate({**POLICY, "rules": list(rules) or None, **changes})


def version(name: str) -> VersionStatus:
    """A version that serves or is being rolled out."""
    return VersionStatus(version=name, label=name, digest=DIGEST, revision=name, pool=name)


def model(label: str, **changes: Any) -> ModelVersionSpec:
    """A ModelVersion."""
    content: dict[str, Any] = {
        "model": "ranker",
        "version": label,
        "runtime": {"image": "registry.example/ranker:1"},
        "artifact": {"uri": f"s3://models/{label}", "digest": DIGEST, "signature": "s3://signature"},
    }
    return ModelVersionSpec.model_validate({**content, **changes})


def rollout(name: str = "ranker", **status: Any) -> RolloutFacts:
    """A Rollout that serves v1 and rolls nothing out, unless ``status`` says so."""
    known: dict[str, Any] = {"stable": version("v1"), "release": 1, "release_started_at": NOW - 1000, **status}
    spec = RolloutSpec.model_validate(
        {
            "versionRef": {"name": "v1"},
            "traffic": {"service": {"name": name, "port": 80}},
            "strategy": {"canary": {"steps": [{"weight": 10}]}},
        }
    )
    return RolloutFacts(name=name, uid=f"uid-{name}", labels={}, spec=spec, status=RolloutStatus(**known))


def releasing(name: str = "ranker", **status: Any) -> RolloutFacts:
    """A Rollout whose release 7 is at ten percent, with one gate that has evidence."""
    stage = StageStatus(index=0, name="Traffic(10)", weight=10, started_at=NOW - 600, accepted_at=NOW - 500)
    known: dict[str, Any] = {
        "candidate": version("v2"),
        "release": 7,
        "weight": 10,
        "stage": stage,
        "gates": [GateStatus(name="errors", verdict=Verdict.INSUFFICIENT, window_end=NOW - 30)],
    }
    return rollout(name, **{**known, **status})


def observed(spec: AgentPolicySpec | None, *facts: RolloutFacts, **changes: Any) -> AgentObservation:
    """What is known of a namespace with those Rollouts."""
    known: dict[str, Any] = {
        "generation": 1,
        "policy": spec,
        "status": AgentPolicyStatus(),
        "rollouts": {entry.name: entry for entry in facts},
        "versions": {"v1": model("v1"), "v2": model("v2")},
        "identity": WEIR,
    }
    return AgentObservation(**{**known, **changes})


def asked(name: str, spec: ActionRequestSpec, phase: str = "", message: str = "", uid: str = "") -> AgentRequest:
    """An ActionRequest that exists."""
    return AgentRequest(uid or f"uid-{name}", name, spec, NOW, DIGEST, phase, message)


class Planner:
    """Decides again and again, as the controller does: what it asked for exists, unless ``lost``."""

    def __init__(self, spec: AgentPolicySpec, *facts: RolloutFacts) -> None:
        """Nothing has been decided yet; every signal is calm."""
        self.spec = spec
        self.facts = facts or (rollout(),)
        self.now = NOW
        self.signals: Mapping[str, Any] = CALM
        self.status = AgentPolicyStatus()
        self.requests: dict[str, AgentRequest] = {}
        self.lost = False
        self.told: list[str] = []
        self.changes: dict[str, Any] = {}

    def decide(self, after: float = 0.0, **changes: Any) -> Planned:
        """The next decision, some seconds later."""
        self.now += after
        obs = observed(self.spec, *self.facts, status=self.status, requests=tuple(self.requests.values()))
        obs = replace(obs, signals={facts.name: self.signals for facts in self.facts}, **{**self.changes, **changes})
        found = propose(obs, self.status, effective(self.spec, None), self.now)
        self.status = self.status.model_copy(update={"rule_states": list(found.states)})
        self.told += [note.reason for note in found.notes]
        for proposal in found.proposals:
            if not self.lost and proposal.name not in self.requests:
                self.requests[proposal.name] = replace(asked(proposal.name, proposal.spec), created=self.now)
        return found

    def end(self, phase: str, message: str = "") -> None:
        """Every open request ends."""
        for name, request in self.requests.items():
            if request.open:
                self.requests[name] = replace(request, phase=phase, message=message)

    @property
    def names(self) -> Sequence[str]:
        """Names of all requests that were created."""
        return list(self.requests)


def planner(*changed: dict[str, Any], **changes: Any) -> Planner:
    """A planner with the rule over drift, changed, whose condition holds."""
    made = Planner(policy(*({**RULE, **change} for change in changed or ({},)), **changes))
    made.signals = DRIFTED
    return made


def state(made: Planner) -> RuleState:
    (only,) = made.status.rule_states
    return only
