"""One turn of the policy: the ledger while it is being worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from weir.agent import health
from weir.agent.decision import AgentNote, AgentResult, Make
from weir.agent.effective import Effective, Rejection, rejection
from weir.agent.observation import AgentObservation, AgentRequest, RolloutFacts
from weir.agent.permits import selected, subject_of
from weir.api.action import SAFE_ACTIONS, HandledRequest, TemplateAction
from weir.api.agentpermit import Mode, Permit
from weir.api.agentpolicy import AgentPolicySpec, SignalRule
from weir.api.agentstatus import (
    MOST_OPEN,
    AgentPolicyStatus,
    Blocked,
    Denied,
    Explored,
    Grant,
    Past,
    ShadowDenial,
    Target,
    Tokens,
    Waiting,
)

Direction = Literal["Forward", "Back", ""]

TEMPLATE_ACTIONS: frozenset[str] = frozenset(get_args(TemplateAction))
"""Actions that the policy itself follows to their end."""

FORWARD_ACTIONS: frozenset[str] = frozenset({"Release", "Promote", "Skip", "Resume", "Retry", "ShiftTraffic"})
"""Actions that give a candidate more traffic, or let it get more."""

RULES_FIRST = 2000
"""Priority of what a rule asks for: above every agent's."""

PEOPLE_FIRST = 3000
"""Priority of what a person has overruled a wait for."""

_MAX_MESSAGE = 1024


@dataclass
class Turn:
    """Mutable only within one call of ``decide``; nothing of it outlives the call.

    ``granted``, ``waiting``, ``denied`` and ``targets`` are the ledger's lists by uid or by name of the Rollout. Open
    requests that the ledger does not know yet are entered into ``waiting`` first.
    """

    obs: AgentObservation
    policy: AgentPolicySpec
    effective: Effective
    now: float
    old: AgentPolicyStatus
    requests: Mapping[str, AgentRequest]
    granted: dict[str, Grant]
    waiting: dict[str, Waiting]
    denied: dict[str, Denied]
    targets: dict[str, Target]
    last: list[Past]
    blocked: list[Blocked]
    shadow_denials: list[ShadowDenial]
    bucket: Tokens | None
    exploration: Explored | None
    shadow_denied: int = 0
    held: dict[str, Grant] = field(default_factory=dict)
    """What is under way, as far as the evaluation has come."""
    thirsty: str = ""
    """Name of the request that waits for nothing but tokens: those after it must not drink them away."""
    results: list[AgentResult] = field(default_factory=list)
    notes: list[AgentNote] = field(default_factory=list)
    makes: list[Make] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)

    def wake(self, at: float | None) -> None:
        """Asks for another look at that time (seconds since the epoch)."""
        if at is not None and at > self.now:
            self.wakes.append(at)

    def note(self, reason: str, message: str, *, warning: bool = False, rollout: str = "", request: str = "") -> None:
        """Tells people something, once: call it only where something changes."""
        self.notes.append(AgentNote(reason, message[:_MAX_MESSAGE], warning, rollout, request))

    def rollout(self, name: str) -> RolloutFacts | None:
        """The Rollout of that name."""
        return self.obs.rollouts.get(name)

    @cached_property
    def rejection(self) -> Rejection | None:
        """Why the policy is not accepted; None where it is."""
        return rejection(self.obs, self.effective.problems)

    @cached_property
    def observed_since(self) -> float:
        """Since when this generation of the policy is known (seconds since the epoch)."""
        same = self.old.observed_generation == self.obs.generation
        return self.old.observed_since or 0.0 if same else self.now

    @cached_property
    def selected(self) -> tuple[RolloutFacts, ...]:
        """Rollouts that the policy is for, by name."""
        known = sorted(self.obs.rollouts.items())
        return tuple(facts for name, facts in known if selected(self.policy.selector, name, facts.labels))

    @cached_property
    def unhealthy(self) -> tuple[str, ...]:
        """Names of those of them that are not well."""
        return tuple(facts.name for facts in self.selected if health.unhealthy(facts))

    @cached_property
    def burning(self) -> str:
        """The first of them whose error budget burns or is not known; empty where there is none."""
        return next((facts.name for facts in self.selected if health.burning(facts)), "")

    @cached_property
    def handled(self) -> Mapping[tuple[str, str], HandledRequest]:
        """What the Rollouts say that they did, by name of the Rollout and uid of the request."""
        known = ((facts, entry) for facts in self.obs.rollouts.values() for entry in facts.status.handled_requests)
        return {(facts.name, entry.uid): entry for facts, entry in known}

    @property
    def most_at_once(self) -> int:
        """Actions that may be under way; room in the ledger is kept for those that lead back to safety."""
        return min(self.policy.concurrency.total, MOST_OPEN - 10)

    @property
    def most_touched(self) -> int:
        """Rollouts that may be acted on at once; one always may."""
        return max(1, len(self.selected) * self.effective.blast_radius.max_affected_percent // 100)

    def mode(self, permit: Permit) -> Mode:
        """Whether the soft limits of a permit refuse, or only write down."""
        return permit.mode or self.policy.mode

    def rule(self, request: AgentRequest) -> SignalRule | None:
        """The rule of the policy that asked; None where none did, or it is gone."""
        rules = self.policy.signal_rules or ()
        return next((rule for rule in rules if rule.name == request.spec.rule), None)

    def deny(self, request: AgentRequest, reason: str, message: str) -> None:
        """The request will not be executed; final."""
        self.granted.pop(request.uid, None)
        self.waiting.pop(request.uid, None)
        entry = Denied(uid=request.uid, name=request.name, reason=reason, message=message[:_MAX_MESSAGE], at=self.now)
        self.denied[request.uid] = entry

    def result(
        self,
        request: AgentRequest,
        phase: Literal["Pending", "Running", "Succeeded", "Refused", "Expired", "Failed"],
        message: str,
        created: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        """Says what becomes of a request that the policy answers itself, where its status does not say so yet."""
        told = message[:_MAX_MESSAGE]
        if (request.phase, request.message) != (phase, told):
            self.results.append(AgentResult(request.uid, request.name, phase, told, request.digest, created))


def weight_of(facts: RolloutFacts | None) -> int:
    """Percent of requests that the candidate of a Rollout has now."""
    return facts.status.weight if facts is not None and facts.status.candidate is not None else 0


def state_of(facts: RolloutFacts | None) -> str:
    """Where a Rollout stands, in one word, for the detection of loops."""
    if facts is None:
        return "0//0"
    status = facts.status
    return position(status.release, status.stage.name if status.stage is not None else "", status.weight)


def position(release: int, stage: str, weight: int) -> str:
    """Release, stage and weight in one word."""
    return f"{release}/{stage[:200]}/{weight}"


def release_in(state: str) -> int:
    """Number of the release in such a word."""
    return int(state.split("/", 1)[0] or 0)


def direction(action: str, weight: int | None, now: int) -> Direction:
    """Whether an action leads to more traffic for a candidate or back; ``now``: percent that it has, or may keep."""
    if action == "ShiftTraffic":
        return "Back" if weight is not None and weight <= now else "Forward"
    if action in SAFE_ACTIONS:
        return "Back"
    return "Forward" if action in FORWARD_ACTIONS else ""


def is_safe(turn: Turn, request: AgentRequest) -> bool:
    """Whether the action leads back to what is known to be good, or no further: then nothing slows it down."""
    spec, facts = request.spec, turn.rollout(request.spec.rollout_ref.name)
    ceiling = facts.status.ceiling if facts is not None else None
    # To raise a limit that somebody set leads forward, also while the traffic is still on its way down to it.
    keeps = min(weight_of(facts), ceiling.weight if ceiling is not None else 100)
    return direction(spec.action, spec.weight, keeps) == "Back"


def priority(turn: Turn, request: AgentRequest, overridden_by: str = "") -> int:
    """Who goes first: people, then rules, then agents as the policy ranks them."""
    if overridden_by:
        return PEOPLE_FIRST
    if request.spec.rule is not None:
        return RULES_FIRST
    subject = subject_of(turn.policy, request.spec.requester)
    return subject.priority if subject is not None else 0
