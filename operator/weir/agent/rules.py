"""The planner: rules that turn signals into ActionRequests, without any language model.

A rule that has asked is disarmed until its condition was false, or its ``until`` true (hysteresis), so one event leads
to one action. After a failure it asks again, later each time, and after too many in a row not at all for a while (the
circuit is open; afterwards one attempt decides whether it closes). What a person denied or deleted is not tried again.
All that this needs is in ``RuleState``, and the name of a request follows from it: decided twice, it is asked for once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from weir.agent import cel, proposals
from weir.agent.decision import AgentNote, Proposal
from weir.agent.effective import Effective, rejection
from weir.agent.observation import AgentObservation, AgentRequest, RolloutFacts
from weir.agent.permits import free_slot, selected, slot_name, slot_of, window
from weir.agent.signals import passing
from weir.agent.turn import direction, weight_of
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import AgentPolicySpec, Retry, SignalRule
from weir.api.agentstatus import AgentPolicyStatus, Past, RuleState
from weir.api.base import format_time, seconds

MOST_STATES = 200
"""What the status can remember; a rule of which nothing can be remembered waits, and asks for nothing."""

SEEN_WITHIN = 60.0
"""Seconds within which a request that was asked for is seen, or it was not created."""

_LOOK_AGAIN = 60.0
"""Seconds after which rules over the age of a candidate are looked at again: nothing else tells that time passes."""

_MAX_MESSAGE = 1024


class Planned(NamedTuple):
    """What the rules come to: where each stands, what to ask for, what to tell people, when to look again."""

    states: tuple[RuleState, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    notes: tuple[AgentNote, ...] = ()
    wake_at: float | None = None


def propose(obs: AgentObservation, status: AgentPolicyStatus, effective: Effective, now: float) -> Planned:
    """The next step of every rule with every selected Rollout.

    ``status``: where the rules stand, and what is blocked. ``now`` is in seconds since the epoch.
    """
    policy = obs.policy
    if policy is None:
        return Planned(tuple(status.rule_states))  # nothing is known of the rules, so nothing is forgotten
    planner = _Planner(obs, policy, status, effective, round(now, 3))
    known = {(state.rule, state.rollout): state for state in status.rule_states}
    pairs = [
        (rule, facts)
        for rule in policy.signal_rules or ()
        for name, facts in sorted(obs.rollouts.items())
        if selected(policy.selector, name, facts.labels) and planner.concerns(rule, name)
    ]
    found: dict[tuple[str, str], RuleState] = {}
    for rule, facts in sorted(pairs, key=lambda pair: (pair[0].name, pair[1].name) not in known):
        place = (rule.name, facts.name)
        if place in known or len(found) < MOST_STATES:
            state = planner.look(rule, facts, known.get(place) or RuleState(rule=rule.name, rollout=facts.name))
            if not _blank(state):
                found[place] = state
    states = tuple(found[place] for rule, facts in pairs if (place := (rule.name, facts.name)) in found)
    if any(path[0] == "candidates" for rule in policy.signal_rules or () for path in cel.named(rule.when)):
        planner.wake(now + _LOOK_AGAIN)
    return Planned(states, tuple(planner.proposals), tuple(planner.notes), min(planner.wakes, default=None))


def backoff(retry: Retry, attempts: int, seed: str) -> float:
    """Seconds to wait after that many failures: doubles each time, up to ``maxBackoff``.

    Half of it is left to chance (of ``seed``, so the same every time), lest all that failed at once try again at once.
    """
    longest = min(seconds(retry.max_backoff), seconds(retry.backoff) * 2.0 ** (attempts - 1))
    chance = int.from_bytes(sha256(seed.encode()).digest()[:8], "big") / 2**64
    return round(longest * (0.5 + 0.5 * chance), 3)


def _blank(state: RuleState) -> bool:
    """Whether there is nothing to remember."""
    return state == RuleState(rule=state.rule, rollout=state.rollout)


@dataclass
class _Planner:
    """One look at all rules, and what comes of it."""

    obs: AgentObservation
    policy: AgentPolicySpec
    status: AgentPolicyStatus
    effective: Effective
    now: float
    proposals: list[Proposal] = field(default_factory=list)
    notes: list[AgentNote] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    requests: dict[str, AgentRequest] = field(init=False)
    names: set[str] = field(init=False)
    """Names that are taken: those of requests that exist, or that were asked for."""
    _signals: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Learns which names are taken."""
        self.requests = {request.name: request for request in self.obs.requests}
        self.names = {*self.requests, *(state.request for state in self.status.rule_states)}

    def concerns(self, rule: SignalRule, rollout: str) -> bool:
        """Whether the rule's permit is for that Rollout."""
        permit = self._permit(rule)
        return permit is not None and (permit.rollouts is None or rollout in permit.rollouts)

    def look(self, rule: SignalRule, facts: RolloutFacts, state: RuleState) -> RuleState:
        """Where the rule stands with the Rollout now."""
        met, _ = self._met(rule, facts)
        state = self._followed(rule, facts, state)
        since = (state.true_since if state.true_since is not None else self.now) if met.holds else None
        state = _with(state, true_since=since)
        if not state.armed and self._over(rule, met, facts):
            state = _with(state, armed=True)
        if state.request:
            return state
        if met.holds:
            return self._due(rule, facts, state, since if since is not None else self.now)
        unknown = f"the condition cannot be told: {met.problem}" if met.holds is None else ""
        later = state.open_until or state.next_at
        self.wake(later)
        return state if later is not None and not unknown else _with(state, message=unknown)

    def _permit(self, rule: SignalRule) -> Permit | None:
        return next((permit for permit in self.policy.permits if permit.name == rule.then), None)

    def _met(self, rule: SignalRule, facts: RolloutFacts) -> tuple[cel.Answer, Mapping[str, Any]]:
        """Whether the condition holds, and what it was asked about."""
        permit = self._permit(rule)
        return proposals.met(rule.when, permit.action if permit is not None else "", self._signals_of(facts))

    def _signals_of(self, facts: RolloutFacts) -> Mapping[str, Any]:
        if facts.name not in self._signals:
            known = self.obs.signals.get(facts.name, {})
            self._signals[facts.name] = {**known, **passing(self.obs, facts, self.now)}
        return self._signals[facts.name]

    def _over(self, rule: SignalRule, met: cel.Answer, facts: RolloutFacts) -> bool:
        """Whether what the rule asked for is over, so that it may ask again."""
        if rule.until is None:
            return met.holds is False
        return cel.ask(rule.until, "signals", self._signals_of(facts)).holds is True

    # What became of the request

    def _followed(self, rule: SignalRule, facts: RolloutFacts, state: RuleState) -> RuleState:
        """The state after what became of the request that the rule asked for last."""
        name = state.request
        if not name:
            return _with(state, next_at=self._ahead(state.next_at), open_until=self._ahead(state.open_until))
        request = self.requests.get(name)
        if request is None:
            return self._unseen(rule, facts, state)
        if request.spec.rule != rule.name or request.spec.rollout_ref.name != facts.name:
            return _again(state)  # somebody else was faster with that name
        if request.open:
            return _with(state, next_at=None, message=f"{name} is {(request.phase or 'Pending').lower()}")
        if self._denied(request):
            return _declined(state, f"{name} was denied by a person")
        return self._ended(rule, facts, state, request.phase, request.message)

    def _unseen(self, rule: SignalRule, facts: RolloutFacts, state: RuleState) -> RuleState:
        """There is no request of that name: not yet, not any more, or never."""
        past, asked = self._past(state), state.next_at is not None
        if past is not None:
            return self._ended(rule, facts, state, past.phase, "")
        if not asked or state.next_at is None:
            return _declined(state, f"{state.request} was deleted before it ended")
        if state.request in self.obs.refused:
            return self._failed(rule, facts, state, f"{state.request} was refused: {self.obs.refused[state.request]}")
        permit = self.effective.permits.get(rule.then)
        current = permit is not None and slot_of(permit, state.request, self.now) is not None
        if self.now >= state.next_at:
            if not current:
                return _again(state)
            # The same name, for as long as it can be had: what is on its way cannot come twice.
            state = _with(state, next_at=round(self.now + SEEN_WITHIN, 3))
        self.wake(state.next_at)
        if permit is not None and current and not self._obstacle(rule, permit, facts):
            self._ask(rule, permit, facts, state.request)
        return state

    def _past(self, state: RuleState) -> Past | None:
        """What the ledger remembers of the request; a name can come again, so not what is older than the question."""
        asked = state.next_at - SEEN_WITHIN if state.next_at is not None else 0.0
        return next((past for past in self.obs.status.last if past.name == state.request and past.at >= asked), None)

    def _denied(self, request: AgentRequest) -> bool:
        return any(
            answer.spec.action == "Deny"
            and answer.phase == "Succeeded"
            and answer.spec.request is not None
            and answer.spec.request.uid == request.uid
            for answer in self.obs.requests
        )

    def _ended(self, rule: SignalRule, facts: RolloutFacts, state: RuleState, phase: str, message: str) -> RuleState:
        if phase == "Succeeded":
            done = f"{state.request} succeeded"
            return _with(state, request="", attempts=0, next_at=None, open_until=None, message=done)
        told = f": {message}" if message else ""
        return self._failed(rule, facts, state, f"{state.request} ended as {phase}{told}")

    def _failed(self, rule: SignalRule, facts: RolloutFacts, state: RuleState, why: str) -> RuleState:
        """One failure more: another attempt later, or none for long."""
        attempts = state.attempts + 1
        if attempts < rule.retry.attempts:
            at = round(self.now + backoff(rule.retry, attempts, f"{facts.uid}/{rule.name}/{attempts}"), 3)
            told = _joined(why, f"asks again at {format_time(at)} if the condition still holds")
            return _with(state, request="", attempts=attempts, next_at=at, message=told)
        until = round(self.now + seconds(rule.retry.open_for), 3)
        told = _joined(
            why, f"the circuit is open after {attempts} failures; asks for nothing until {format_time(until)}"
        )
        self._tell("RuleCircuitOpen", f"rule {rule.name}: {told}", facts, state.request, warning=True)
        return _with(state, request="", attempts=attempts, next_at=None, open_until=until, message=told)

    # Asking

    def _due(self, rule: SignalRule, facts: RolloutFacts, state: RuleState, since: float) -> RuleState:
        """Asks, if nothing is in the way; the condition holds."""
        for at in (state.open_until, state.next_at):
            if at is not None:
                self.wake(at)
                return state
        if not state.armed and not state.attempts:
            return _with(state, message=_joined(state.message.partition(";")[0], f"asks again after: {_end(rule)}"))
        ready = round(since + seconds(rule.hold_for), 3)
        if self.now < ready:
            self.wake(ready)
            return _with(state, message=f"asks at {format_time(ready)} if the condition still holds")
        permit = self.effective.permits.get(rule.then)
        if permit is None:
            return _with(state, message=self.effective.forbidden.get(rule.then, f"there is no permit {rule.then}"))
        why = self._obstacle(rule, permit, facts)
        if why:
            return _with(state, message=why)
        slot = free_slot(permit, self.names, self.now)
        if slot is None:
            ends = window(permit, self.now).ends
            self.wake(ends)
            return _with(state, next_at=ends, message=f"the budget of permit {permit.name} is used up until then")
        if (permit.mode or self.policy.mode) == "Audit":
            told = f"would ask for {permit.action} under the permit {permit.name}; the mode is Audit"
            self._tell("RuleWouldAsk", f"rule {rule.name} {told}", facts)
            return _with(state, armed=False, attempts=0, message=told)
        name = slot_name(permit, self.now, slot)
        self._ask(rule, permit, facts, name)
        self._tell("RuleAsks", f"rule {rule.name} asks for {permit.action} by {name}", facts, name)
        seen = round(self.now + SEEN_WITHIN, 3)
        self.wake(seen)
        told = f"{name} is asked for"
        return _with(state, request=name, armed=False, next_at=seen, open_until=None, message=told)

    def _obstacle(self, rule: SignalRule, permit: Permit, facts: RolloutFacts) -> str:
        """Why nothing may be asked for now; empty where it may. It passes without the rule's doing."""
        obs, weight = self.obs, weight_of(facts)
        safe = direction(permit.action, rule.weight, weight) == "Back"
        rejected = rejection(obs, self.effective.problems)
        if rejected is not None:
            return f"the policy is not accepted: {rejected.problems[0]}"[:_MAX_MESSAGE]
        if self.effective.paused or obs.namespace_paused:
            return "agents are paused, and rules with them"
        if "ManualOnly" in (permit.approval.tier, rule.risk):
            return f"{permit.action} is ManualOnly: only people may ask for it"
        if obs.guardrails is not None and not safe:
            return f"the guardrails are not as installed: {obs.guardrails}"[:_MAX_MESSAGE]
        for entry in self.status.blocked:
            here = entry.rollout == facts.name and entry.action in ("", permit.action)
            if here and entry.until > self.now and not safe:
                self.wake(entry.until)
                return f"{permit.action} is refused until {format_time(entry.until)}: {entry.message or entry.reason}"
        return proposals.cannot(obs, permit, facts)

    def _ask(self, rule: SignalRule, permit: Permit, facts: RolloutFacts, name: str) -> None:
        met, seen = self._met(rule, facts)
        if permit.action == "Release" and not met.holds:
            return  # asked for again, and no version meets the condition any more
        spec = proposals.request(self.obs, rule, permit, facts, seen)
        self.proposals.append(Proposal(name, spec))
        self.names.add(name)

    def _tell(
        self, reason: str, message: str, facts: RolloutFacts, request: str = "", *, warning: bool = False
    ) -> None:
        self.notes.append(AgentNote(reason, message[:_MAX_MESSAGE], warning, facts.name, request))

    def wake(self, at: float | None) -> None:
        """Asks for another look at that time, if it lies ahead."""
        if at is not None and at > self.now:
            self.wakes.append(at)

    def _ahead(self, at: float | None) -> float | None:
        return at if at is not None and at > self.now else None


def _with(state: RuleState, **changes: Any) -> RuleState:
    if "message" in changes:
        changes["message"] = str(changes["message"])[:_MAX_MESSAGE]
    return state.model_copy(update=changes)


def _again(state: RuleState) -> RuleState:
    """The request did not come about, through nobody's fault: as if the rule had not asked."""
    return _with(state, request="", armed=True, next_at=None)


def _declined(state: RuleState, why: str) -> RuleState:
    """A person does not want it; the rule stays disarmed."""
    return _with(state, request="", armed=False, attempts=0, next_at=None, open_until=None, message=why)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _end(rule: SignalRule) -> str:
    return rule.until if rule.until is not None else "the condition is false"
