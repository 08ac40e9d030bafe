"""A namespace whose agents ask, whose people answer, and whose Rollouts do what is granted; nothing else is modelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.unit.agent.planning import AGENT, NOW, RETRAIN_TEMPLATE, WEIR, model, releasing, rollout, version
from weir.agent.decide import decide
from weir.agent.decision import AgentDecision, AgentNote
from weir.agent.observation import AgentObservation, AgentRequest, MadeVersion, RolloutFacts
from weir.agent.permits import slot_name, slot_of
from weir.agent.turn import TEMPLATE_ACTIONS
from weir.api.action import HandledRequest, Position
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus, Denied, Grant, Waiting
from weir.api.base import Condition, seconds
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.rolloutstatus import Outcome, Pause, ReleaseSummary, RolloutStatus, StageStatus

OTHER = "system:serviceaccount:ml:other"
ADA, BOB, EVE = "ada", "bob", "eve"

POLICY: dict[str, Any] = {
    "subjects": [
        {"name": "agent", "namespace": "ml", "priority": 10},
        {"name": "other", "namespace": "ml"},
        {"kind": "User", "name": EVE},
    ],
    "permits": [
        {"name": "stop", "action": "Abort"},
        {"name": "back", "action": "Rollback", "budget": {"limit": 2, "window": "1h"}},
        {"name": "hold", "action": "Pause"},
        {"name": "go-on", "action": "Resume"},
        {"name": "shift", "action": "ShiftTraffic", "bounds": {"maxStep": 20, "maxTrafficPercent": 50}},
        {"name": "skip", "action": "Skip", "budget": {"limit": 3, "window": "10m"}, "cost": 2},
        {"name": "promote", "action": "Promote", "approval": {"tier": "Approve", "quorum": 2, "expiresAfter": "30m"}},
        {
            "name": "release",
            "action": "Release",
            "cooldown": {"base": "10m", "max": "1h", "factor": "2"},
            "subjects": ["agent"],
        },
        {
            "name": "train",
            "action": "Retrain",
            "template": "train",
            "parameters": [{"name": "retries", "minimum": 0, "maximum": 5, "default": "2"}],
        },
    ],
    "templates": [RETRAIN_TEMPLATE],
    "blastRadius": {"maxUnhealthyPercent": 40, "maxAffectedPercent": 100},
}
"""One permit for most actions, without limits that come from elsewhere."""


def spec_of(base: Mapping[str, Any] = POLICY, **changes: Any) -> AgentPolicySpec:
    """The policy, with changes at its top level."""
    return AgentPolicySpec.model_validate({**base, **changes})


def permits(**changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The permits above, with changes to those of a name ('-' is written '_')."""
    known = {name.replace("_", "-"): change for name, change in changes.items()}
    return [{**permit, **known.get(permit["name"], {})} for permit in POLICY["permits"]]


def condition(kind: str, status: str, reason: str = "Because") -> Condition:
    """A condition of a Rollout."""
    return Condition.model_validate(
        {"type": kind, "status": status, "lastTransitionTime": NOW, "reason": reason, "message": reason}
    )


class World:
    """Time stands still but for ``wait``; ``look`` is one reconcile, with everything it wants done unless ``lazy``."""

    def __init__(self, spec: AgentPolicySpec | None = None, *facts: RolloutFacts) -> None:
        """Nothing has been decided yet."""
        self.now = NOW
        self.spec: AgentPolicySpec | None = spec if spec is not None else spec_of()
        self.generation = 1
        self.outer: ClusterAgentPolicySpec | None = None
        self.changes: dict[str, Any] = {}
        self.rollouts = {entry.name: entry for entry in facts or (releasing(),)}
        self.requests: dict[str, AgentRequest] = {}
        self.status = AgentPolicyStatus()
        self.objects: dict[str, Mapping[str, Any] | None] = {}
        self.made: list[MadeVersion] = []
        self.notes: list[AgentNote] = []
        self.executed: list[tuple[AgentRequest, Grant]] = []

    # --- people and agents ---

    def ask(self, permit: str, *, by: str | None = AGENT, on: str = "ranker", name: str = "", **fields: Any) -> str:
        """An agent's request under a permit, as admission would take it; returns its uid."""
        own = next((p for p in self.spec.permits if p.name == permit), None) if self.spec is not None else None
        action = fields.pop("action", own.action if own is not None else "Abort")
        if action not in ("Abort", "Pause", "Rollback", *TEMPLATE_ACTIONS) and "expect" not in fields:
            fields["expect"] = {"release": self.rollouts[on].status.release, "weight": self.rollouts[on].status.weight}
        if action == "Release":
            fields.setdefault("version", "v2")
        return self._create(
            name or self._free_name(permit),
            action=action,
            rolloutRef={"name": on},
            requester=by,
            permit=permit,
            **fields,
        )

    def answer(self, action: str, uid: str, *, by: str = ADA, **fields: Any) -> str:
        """Somebody's answer to a request; returns its own uid."""
        about = self.requests[uid]
        other = {"name": about.name, "uid": uid, "digest": about.digest, **fields.pop("request", {})}
        on = fields.pop("on", about.spec.rollout_ref.name)
        return self._create(
            f"answer-{len(self.requests)}",
            action=action,
            rolloutRef={"name": on},
            requester=by,
            request=other,
            **fields,
        )

    def _free_name(self, permit: str) -> str:
        own = next((p for p in self.spec.permits if p.name == permit), None) if self.spec is not None else None
        names = {request.name for request in self.requests.values()}
        if own is None or own.budget is None:
            return f"{permit}-r{len(self.requests)}"
        return next(name for slot in range(1001) if (name := slot_name(own, self.now, slot)) not in names)

    def _create(self, name: str, **fields: Any) -> str:
        known = {key: value for key, value in {"reason": "because", **fields}.items() if value is not None}
        spec = ActionRequestSpec.model_validate(known)
        uid = f"uid-{len(self.requests)}-{name}"
        created = float(int(self.now))  # the API server's clock has whole seconds
        self.requests[uid] = AgentRequest(uid, name, spec, created, action_digest(spec))
        return uid

    def edit(self, spec: AgentPolicySpec | None) -> None:
        """Somebody changes the policy."""
        self.spec, self.generation = spec, self.generation + 1

    def set(self, on: str = "ranker", **status: Any) -> None:
        """The Rollout has moved."""
        facts = self.rollouts[on]
        self.rollouts[on] = replace(facts, status=facts.status.model_copy(update=status))

    # --- the operator ---

    def observe(self) -> AgentObservation:
        """What the shell would show."""
        return AgentObservation(
            **{
                "generation": self.generation,
                "policy": self.spec,
                "broken": "" if self.spec is not None else "spec.permits: missing",
                "status": self.status,
                "outer": self.outer,
                "requests": tuple(self.requests.values()),
                "rollouts": dict(self.rollouts),
                "objects": dict(self.objects),
                "versions": {"v1": model("v1"), "v2": model("v2")},
                "made": tuple(self.made),
                "identity": WEIR,
                **self.changes,
            }
        )

    def decide(self) -> AgentDecision:
        """One decision, stored as the API server would; whatever else it wants is not done."""
        decision = decide(self.observe(), self.now)
        self.status = AgentPolicyStatus.model_validate(decision.status.to_dict())
        self.notes += decision.notes
        return decision

    def look(self) -> AgentDecision:
        """One reconcile of the policy, with the results that it writes."""
        decision = self.decide()
        for made in decision.makes:
            if made.manifest["kind"] == "ModelVersion":
                self.made.append(MadeVersion(made.manifest["metadata"]["name"], "ranker", made.request, self.now))
            else:
                self.objects[made.uid] = {**made.manifest, "status": {}}
        for proposal in decision.proposals:
            if proposal.name not in {request.name for request in self.requests.values()}:
                self._create(proposal.name, **proposal.spec.to_dict())
        for result in decision.results:
            ended = self.now if result.phase not in ("Pending", "Running") else None
            self._write(result.uid, result.phase, result.message, ended)
        return decision

    def run(self) -> None:
        """The Rollouts do what is granted, and the policy sees it."""
        for _ in range(5):
            before = (self.status, dict(self.requests), dict(self.rollouts))
            self.look()
            self.execute()
            if before == (self.status, self.requests, self.rollouts):
                return

    def wait(self, duration: str | float) -> None:
        """Time passes, and nobody looks."""
        self.now = round(self.now + (duration if isinstance(duration, float) else seconds(duration)), 3)

    def _write(self, uid: str, phase: str, message: str, ended_at: float | None) -> None:
        self.requests[uid] = replace(self.requests[uid], phase=phase, message=message, ended_at=ended_at)

    # --- the Rollouts ---

    def execute(self) -> None:
        """Every Rollout executes what it was granted, refuses what was denied, and lets the rest expire."""
        for uid, request in list(self.requests.items()):
            if not request.open or request.spec.permit is None or request.spec.action in TEMPLATE_ACTIONS:
                continue
            denied, grant = self.denied(uid), self.granted(uid)
            if self.now >= request.created + seconds(request.spec.expires_after):
                self._handle(request, "Expired", "too late")
            elif self.status.observed_generation != self.generation:
                continue
            elif denied is not None:
                self._handle(request, "Refused", denied.message)
            elif grant is not None and self.now < grant.until:
                self._handle(request, *self._do(request))
                if self.requests[uid].phase == "Succeeded":
                    self.executed.append((request, grant))

    def _handle(self, request: AgentRequest, phase: Any, message: str) -> None:
        name = request.spec.rollout_ref.name
        facts = self.rollouts.get(name)
        if facts is not None:
            status = facts.status
            before = Position(
                release=self._before[0] if phase == "Succeeded" else status.release,
                stage=self._before[1] if phase == "Succeeded" else status.stage.name if status.stage else "",
                weight=self._before[2] if phase == "Succeeded" else status.weight,
            )
            done = HandledRequest(
                uid=request.uid, name=request.name, action=request.spec.action, phase=phase, at=self.now, before=before
            )
            self.set(name, handled_requests=[done, *status.handled_requests][:20])
        self._write(request.uid, phase, message, self.now)

    def _do(self, request: AgentRequest) -> tuple[str, str]:
        spec, name = request.spec, request.spec.rollout_ref.name
        status = self.rollouts[name].status
        self._before = (status.release, status.stage.name if status.stage else "", status.weight)
        if spec.expect is not None and spec.expect.release not in (None, status.release):
            return "Refused", "it is another release now"
        if spec.action in ("Release", "Retry"):
            if status.candidate is not None:
                return "Refused", "a release is running"
            self.set(name, **begun(status, self.now))
            return "Succeeded", "released"
        if status.candidate is None:
            return "Refused", "there is no release"
        match spec.action:
            case "Abort" | "Rollback":
                self.finish(name, Outcome.ABORTED)
            case "Promote":
                self.finish(name, Outcome.PROMOTED)
            case "ShiftTraffic":
                self.set(name, weight=min(spec.weight or 0, 99))
            case "Skip":
                self.set(name, weight=50)
            case "Pause":
                self.set(name, pause=Pause(since=self.now))
            case "Resume":
                self.set(name, pause=None)
        return "Succeeded", "done"

    def finish(self, on: str = "ranker", outcome: Outcome = Outcome.PROMOTED) -> None:
        """The release of a Rollout ends."""
        status = self.rollouts[on].status
        summary = ReleaseSummary(
            release=status.release,
            candidate=version("v2"),
            outcome=outcome,
            reason="Because",
            message="",
            started_at=NOW,
            finished_at=self.now,
            record="",
        )
        self.set(on, candidate=None, stage=None, weight=0, gates=[], history=[summary, *status.history][:10])

    # --- looking ---

    def granted(self, uid: str) -> Grant | None:
        """The grant of a request."""
        return next((entry for entry in self.status.granted if entry.uid == uid), None)

    def waiting(self, uid: str) -> Waiting | None:
        """What a request waits for."""
        return next((entry for entry in self.status.waiting if entry.uid == uid), None)

    def denied(self, uid: str) -> Denied | None:
        """Why a request is refused."""
        return next((entry for entry in self.status.denied if entry.uid == uid), None)

    def standing(self, uid: str) -> str:
        """Where a request stands in the ledger, in one word: Granted, what it waits for, or why it is refused."""
        if self.granted(uid) is not None:
            return "Granted"
        waiting, denied = self.waiting(uid), self.denied(uid)
        return waiting.reason if waiting is not None else f"!{denied.reason}" if denied is not None else ""

    def message(self, uid: str) -> str:
        """What is said of a request in the ledger."""
        entry = self.waiting(uid) or self.denied(uid)
        return entry.message if entry is not None else ""

    def told(self) -> Sequence[str]:
        """Reasons of everything that people were told."""
        return [note.reason for note in self.notes]


def begun(status: RolloutStatus, now: float) -> dict[str, Any]:
    """Status of a Rollout whose next release has begun, at ten percent."""
    stage = StageStatus(index=0, name="Traffic(10)", weight=10, started_at=now)
    return {"candidate": version("v2"), "release": status.release + 1, "weight": 10, "stage": stage}


__all__ = [
    "ADA",
    "AGENT",
    "BOB",
    "EVE",
    "OTHER",
    "World",
    "condition",
    "permits",
    "releasing",
    "rollout",
    "slot_of",
    "spec_of",
]
