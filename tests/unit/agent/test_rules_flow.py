"""From drift to a release, through the whole decision: the planner asks, a template runs, people approve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.agent.planning import CALM, DIGEST, DRIFTED, NOW, POLICY, RULE, WEIR, asked, model, observed, policy
from tests.unit.agent.planning import rollout as resting
from weir.agent.decide import decide
from weir.agent.decision import AgentDecision
from weir.agent.observation import AgentRequest, MadeVersion
from weir.api.actionrequest import ActionRequestSpec, OtherRequest, action_digest
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import LocalRef
from weir.api.modelversion import ModelVersionSpec

PERSON = "ada@example.com"
RELEASE_RULE: dict[str, Any] = {
    "name": "new",
    "when": "size(signals.candidates) > 0",
    "then": "release",
    "reason": "a version was trained on new data",
}


class World:
    """The namespace, as the controller and the cluster bring it about."""

    def __init__(self) -> None:
        """One Rollout that serves v1, and nothing asked for."""
        self.spec = policy(RULE, RELEASE_RULE, permits=POLICY["permits"])
        self.now = NOW
        self.status = AgentPolicyStatus()
        self.requests: dict[str, AgentRequest] = {}
        self.objects: dict[str, dict[str, Any] | None] = {}
        self.versions: dict[str, ModelVersionSpec] = {"v1": model("v1")}
        self.made: tuple[MadeVersion, ...] = ()
        self.signals = CALM

    def decide(self, after: float = 1.0) -> AgentDecision:
        """Decides, and does what was decided."""
        self.now += after
        obs = observed(
            self.spec,
            resting(),
            status=self.status,
            requests=tuple(self.requests.values()),
            objects=self.objects,
            versions=self.versions,
            made=self.made,
            signals={"ranker": self.signals},
        )
        found = decide(obs, self.now)
        self.status = found.status
        for result in found.results:
            old = self.requests[result.name]
            self.requests[result.name] = replace(old, phase=result.phase, message=result.message)
        for proposal in found.proposals:
            self.create(proposal.name, proposal.spec)
        for wanted in found.makes:
            manifest = wanted.manifest
            if manifest["kind"] == "ModelVersion":
                self.versions[wanted.request] = ModelVersionSpec.model_validate(manifest["spec"])
                self.made = (MadeVersion(wanted.request, "ranker", wanted.request, self.now),)
            else:
                self.objects.setdefault(wanted.uid, dict(manifest))
        return found

    def create(self, name: str, spec: ActionRequestSpec) -> None:
        """An ActionRequest that the API server takes."""
        known = asked(name, spec)
        self.requests.setdefault(name, replace(known, created=self.now, digest=action_digest(spec)))


def test_given_drift_when_everything_goes_well_then_a_new_version_is_released_with_the_consent_of_a_person() -> None:
    world = World()
    world.decide()
    assert not world.requests
    world.signals = DRIFTED
    world.decide()
    (train,) = world.requests
    for _ in range(3):
        world.decide()
    assert world.requests[train].phase == "Running"
    (job,) = world.objects.values()
    assert job is not None
    assert job["kind"] == "Job"

    job["metadata"]["annotations"] = {"ml.example/digest": DIGEST}
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    for _ in range(4):
        world.decide(600)
    assert world.requests[train].phase == "Succeeded"
    assert world.versions[train].artifact is not None

    release = next(name for name in world.requests if name != train)
    spec = world.requests[release].spec
    assert (spec.action, spec.version, spec.rule, spec.requester) == ("Release", train, "new", WEIR)
    (waiting,) = world.status.waiting
    assert (waiting.name, waiting.reason, waiting.quorum) == (release, "ApprovalNeeded", 1)

    approve = ActionRequestSpec(
        action="Approve",
        rollout_ref=LocalRef(name="ranker"),
        reason="looks good",
        requester=PERSON,
        request=OtherRequest(name=release, uid=f"uid-{release}", digest=waiting.digest),
    )
    world.create("ok", approve)
    for _ in range(3):
        world.decide()
    (grant,) = world.status.granted
    assert (grant.name, grant.approved_by) == (release, [PERSON])
    assert len(world.requests) == 3, "one event, one action"


def test_given_two_new_versions_when_a_rule_looks_for_good_ones_then_the_one_that_met_its_condition_is_asked_for() -> (
    None
):
    world = World()
    good = "signals.candidates.exists(c, c.evaluations.exists(e, e.metric == 'accuracy' && e.value > 0.9))"
    world.spec = policy({**RELEASE_RULE, "when": good})
    for place, (name, accuracy) in enumerate((("a", "0.95"), ("b", "0.11"))):
        measured = [{"name": "held-out", "dataset": "d", "metric": "accuracy", "value": accuracy}]
        world.versions[name] = model(name, evaluations=measured)
        world.made = (*world.made, MadeVersion(name, "ranker", f"request-{name}", NOW + place))
    world.decide()
    (asked_for,) = world.requests.values()
    assert asked_for.spec.version == "a"
    assert asked_for.spec.evidence is not None
    (stated,) = asked_for.spec.evidence
    assert "name=a" in stated.value
    assert "name=b" not in stated.value, "the other one is no evidence"

    world.requests.clear()
    del world.versions["a"]
    for _ in range(3):
        assert world.decide().proposals == (), "nothing is asked for again that no version meets any more"


def test_given_a_job_that_fails_when_decided_then_the_rule_tries_again_and_stops_when_it_fails_too_often() -> None:
    world = World()
    world.signals = DRIFTED
    for _ in range(200):
        for uid, found in world.objects.items():
            if found is not None:
                world.objects[uid] = {**found, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
        world.decide(60)
    phases = [request.phase for request in world.requests.values()]
    assert len(phases) >= 3
    assert set(phases) <= {"Failed", "Running", "Pending", ""}
    (state,) = world.status.rule_states
    assert state.open_until is not None
    assert "circuit is open" in state.message
