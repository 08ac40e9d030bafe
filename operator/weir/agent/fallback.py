"""What Weir does by itself when agents, evidence or the policy are unknown: one step of a ladder after the other.

Only for Rollouts with a release that runs; one that puts an earlier version back is left alone. Every step is an
ActionRequest whose name follows from the Rollout, the release and the step, so it is asked for once. What got better
ends the ladder, but resumes nothing: only a person does. A person who resumes a frozen release, or has paused it, has
taken charge, and Weir does nothing more in that release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import NamedTuple

from weir.agent.decision import AgentNote, Proposal
from weir.agent.effective import Rejection, problems, rejection
from weir.agent.observation import AgentObservation, RolloutFacts
from weir.agent.permits import FALLBACK_PREFIX, SERVICE_ACCOUNT, selected
from weir.agent.pointless import runs
from weir.agent.signals import awaited_since, burning, known_budget
from weir.api.action import Action, HandledRequest
from weir.api.actionrequest import ActionRequestSpec, Expect
from weir.api.agentpolicy import Fallback, FallbackPolicy
from weir.api.agentstatus import AgentPolicyStatus, FallbackState
from weir.api.base import LocalRef, format_time, seconds
from weir.api.rolloutstatus import RolloutStatus, Verdict

ACTIONS: dict[Fallback, Action] = {"Freeze": "Pause", "StableOnly": "Abort", "LastKnownGood": "Rollback"}
"""What each step asks for."""

MOST_ROLLOUTS = 100
"""Rollouts at most that the status can remember; the others wait for their turn."""

_MAX_MESSAGE = 1024
_MAX_REASON = 512
_ASK_AGAIN = 30.0
"""Seconds after which a step that nothing came of is asked for once more."""
_NO_EVIDENCE = (Verdict.NO_DATA, Verdict.ERROR)


class Fallen(NamedTuple):
    """Rollouts on the ladder, what is asked for, what to tell people, and when to look again."""

    states: tuple[FallbackState, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    notes: tuple[AgentNote, ...] = ()
    wake_at: float | None = None


class Cause(NamedTuple):
    """Why a Rollout is on the ladder; ``due``: when its first step is."""

    reason: str
    message: str
    since: float
    due: float


def step(obs: AgentObservation, status: AgentPolicyStatus, now: float) -> Fallen:
    """The next step of the ladder for every Rollout that needs one. ``now`` is in seconds since the epoch."""
    policy = _policy(obs)
    if policy is None:
        return Fallen()
    turn = _Turn(obs, policy, {state.rollout: state for state in status.fallback}, round(now, 3))
    # Those that are on the ladder come first: they must not be forgotten for others.
    order = sorted(_rollouts(obs), key=lambda facts: (facts.name not in turn.before, facts.name))
    states = [state for facts in order if (state := turn.look(facts)) is not None]
    return Fallen(tuple(states), tuple(turn.proposals), tuple(turn.notes), min(turn.wakes, default=None))


def _policy(obs: AgentObservation) -> FallbackPolicy | None:
    """The ladder. Of a policy that cannot be read nothing is known, so nothing but the gentlest step is taken."""
    if obs.policy is not None:
        return obs.policy.fallback
    return FallbackPolicy(ladder=["Freeze"]) if obs.broken else None


def _rollouts(obs: AgentObservation) -> Iterator[RolloutFacts]:
    """Those that the policy is for; where it cannot be read, those that agents have acted on."""
    policy, ledger = obs.policy, obs.status
    known = {entry.rollout for entry in ledger.targets} | {entry.rollout for entry in ledger.granted}
    known |= {entry.rollout for entry in ledger.last} | {entry.rollout for entry in ledger.fallback}
    for facts in obs.rollouts.values():
        if facts.name in known if policy is None else selected(policy.selector, facts.name, facts.labels):
            yield facts


@dataclass
class _Turn:
    """One look at all Rollouts, and what comes of it."""

    obs: AgentObservation
    policy: FallbackPolicy
    before: dict[str, FallbackState]
    now: float
    proposals: list[Proposal] = field(default_factory=list)
    notes: list[AgentNote] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    looked: int = 0

    def look(self, facts: RolloutFacts) -> FallbackState | None:
        """Where the Rollout stands now; None where it is not on the ladder."""
        old = self.before.get(facts.name)
        if old is not None and old.release != facts.status.release:
            old = None
        if facts.status.restoring or self._in_hands(facts):
            if old is not None and old.step and not facts.status.restoring:
                self._tell(facts, "FallbackOver", "a person paused the release and decides what happens", warning=False)
            return None
        cause = self._cause(facts, old)
        if cause is None:
            if old is not None and old.step:
                why = f"{old.reason} is over{_left_paused(facts)}" if runs(facts.status) else "the release is over"
                self._tell(facts, "FallbackOver", why, warning=False)
            return None
        if self.looked >= MOST_ROLLOUTS:
            return None
        self.looked += 1
        return self._climb(facts, self._begun(facts, old, cause), cause)

    def _begun(self, facts: RolloutFacts, old: FallbackState | None, cause: Cause) -> FallbackState:
        release, since = facts.status.release, round(cause.since, 3)
        if old is None:
            return FallbackState(rollout=facts.name, release=release, reason=cause.reason, since=since)
        since = since if not old.step else old.since
        return old.model_copy(update={"reason": cause.reason, "since": since})

    def _climb(self, facts: RolloutFacts, state: FallbackState, cause: Cause) -> FallbackState | None:
        """The state after the step that is due now, if one is."""
        if state.step and self._resumed(facts, state):
            if not runs(facts.status):
                return None
            return _told(state, f"{cause.message}; somebody resumed the release, so Weir leaves it to them")
        due = cause.due if not state.step or state.step_at is None else self._after(state.step_at)
        if self.now < due:
            self.wakes.append(due)
            return self._ask(facts, _told(state, f"{cause.message}; the next step is due at {format_time(due)}"))
        upcoming = self._upcoming(facts, state)
        if upcoming is None:
            if not runs(facts.status) and "LastKnownGood" in self.policy.ladder[state.step :]:
                self._tell(facts, "FallbackOver", "the version that serves is healthy; it goes on", warning=False)
                return None
            return self._ask(facts, _told(state, f"{cause.message}; no step of the ladder is left"))
        taken = self.policy.ladder[upcoming]
        message = f"{cause.message}; step {upcoming + 1} of the ladder: {taken}"
        state = _told(state.model_copy(update={"step": upcoming + 1, "step_at": self.now}), message)
        self._tell(facts, state.reason, message)
        self.wakes.append(self._after(self.now))
        return self._ask(facts, state)

    def _upcoming(self, facts: RolloutFacts, state: FallbackState) -> int | None:
        """Index of the next step that makes sense now."""
        running, sick = runs(facts.status), unhealthy(facts.status, self.now)
        for index, taken in enumerate(self.policy.ladder):
            if index >= state.step and (sick if taken == "LastKnownGood" else running):
                return index
        return None

    def _after(self, at: float) -> float:
        return round(at + seconds(self.policy.step_after), 3)

    # What is wrong

    def _cause(self, facts: RolloutFacts, old: FallbackState | None) -> Cause | None:
        """What is unknown, and is to be acted on first: a policy that is broken now gives no more time to an agent."""
        if runs(facts.status):
            found = (self._broken(old), self._silent(facts), self._unknown(facts.status, old))
            return min((cause for cause in found if cause is not None), key=lambda cause: cause.due, default=None)
        # The ladder ended the release; it goes on while a step is left that needs none.
        if old is None or not old.step:
            return None
        asked = self.policy.ladder[old.step - 1 : old.step] == ["LastKnownGood"]
        waits = asked and self._handled(facts, old, "LastKnownGood") is None
        if not waits and "LastKnownGood" not in self.policy.ladder[old.step :]:
            return None
        if old.reason == "EvidenceUnknown":
            return Cause(old.reason, "the release had no evidence", old.since, old.since)
        return self._broken(old) or self._silent(facts)

    @cached_property
    def _rejection(self) -> Rejection | None:
        policy = self.obs.policy
        return rejection(self.obs, problems(policy, self.obs.outer) if policy is not None else ())

    def _broken(self, old: FallbackState | None) -> Cause | None:
        if self._rejection is None:
            return None
        since = old.since if old is not None and old.reason == "PolicyBroken" else self.now
        # A mistake can be mended before it stops anything.
        message = f"the AgentPolicy is not accepted: {self._rejection.problems[0]}"[:_MAX_REASON]
        return Cause("PolicyBroken", message, since, self._after(since))

    def _silent(self, facts: RolloutFacts) -> Cause | None:
        found, started = [], facts.status.release_started_at or facts.created
        for agent in self.policy.on_agent_silent or ():
            renewed = self.obs.heartbeats.get(agent.lease)
            # An agent that never was there has as much time from the start of the release, or of the policy.
            first = max(started, awaited_since(self.obs, self.now))
            begins = round((first if renewed is None else renewed) + seconds(agent.after), 3)
            if self.now < begins:
                self.wakes.append(begins)
                continue
            how = "was never renewed" if renewed is None else f"has not been renewed for {agent.after}"
            found.append((max(begins, started), f"an agent is silent: Lease {agent.lease} {how}"))
        if not found:
            return None
        begins, message = min(found)
        return Cause("AgentSilent", message, begins, begins)

    def _unknown(self, status: RolloutStatus, old: FallbackState | None) -> Cause | None:
        """No gate has evidence though the gateway has taken the weights, and people's consent is not waited for."""
        stage, gates, patience = status.stage, status.gates, self.policy.on_unknown_after
        if patience is None or stage is None or stage.accepted_at is None or not gates:
            return None
        looked = [gate for gate in gates if gate.window_end is not None]
        waits = any(entry.state == "Waiting" for entry in status.approvals)
        if waits or any(gate.verdict not in _NO_EVIDENCE for gate in looked):
            return None
        known = old if old is not None and old.reason == "EvidenceUnknown" else None
        since = known.since if known is not None else self.now if looked else stage.accepted_at
        due = round(since + seconds(patience), 3)
        if known is None and not looked and self.now < due:
            self.wakes.append(due)  # since when no gate has looked is in the Rollout's status; nothing to remember
            return None
        lasting = "no gate has evidence" if self.now < due else f"no gate has had evidence for {patience}"
        return Cause("EvidenceUnknown", lasting, since, due)

    # Who is in charge

    def _in_hands(self, facts: RolloutFacts) -> bool:
        """Whether a person has paused the Rollout."""
        pause = facts.status.pause
        if pause is None:
            return facts.spec.paused
        # What an agent does has the authority of a permit, also where no name tells that it is an agent's.
        program = pause.by == self.obs.identity or pause.by.startswith(SERVICE_ACCOUNT)
        return pause.authority is None and not program

    def _resumed(self, facts: RolloutFacts, state: FallbackState) -> bool:
        """Whether the last step was to freeze, that was done, and it is over."""
        if self.policy.ladder[min(state.step, len(self.policy.ladder)) - 1] != "Freeze" or _frozen(facts):
            return False
        done = self._handled(facts, state, "Freeze")
        return done is not None and done.phase == "Succeeded"

    # What is asked for

    def _ask(self, facts: RolloutFacts, state: FallbackState) -> FallbackState:
        """Asks for the step that was taken last, for as long as it has no effect and no answer.

        Returns the state, which says so where the API server refuses the request: nothing happens then.
        """
        if not state.step or state.step > len(self.policy.ladder):
            return state
        taken = self.policy.ladder[state.step - 1]
        over, candidate = not runs(facts.status), facts.status.candidate
        done = {"Freeze": over or _frozen(facts), "StableOnly": over}.get(taken, facts.status.restoring)
        if done or self._handled(facts, state, taken) is not None:
            return state
        name = self._name(facts, state, taken)
        self.wakes.append(self.now + _ASK_AGAIN)
        self.proposals.append(
            Proposal(
                name=name,
                spec=ActionRequestSpec(
                    action=ACTIONS[taken],
                    rollout_ref=LocalRef(name=facts.name),
                    reason=f"fallback {taken}: {state.message.partition(';')[0] or state.reason}"[:_MAX_REASON],
                    requester=self.obs.identity or None,
                    # A pause is for this candidate: it must not hold back the next one.
                    expect=Expect(
                        release=state.release,
                        candidate=candidate.digest if taken == "Freeze" and candidate is not None else None,
                    ),
                ),
            )
        )
        return self._refused(facts, state, name)

    def _refused(self, facts: RolloutFacts, state: FallbackState, name: str) -> FallbackState:
        """The state, and a warning once, where the API server does not take the request of that name."""
        why = self.obs.refused.get(name)
        if why is None:
            return state
        told, old = f"the API server does not take {name}", self.before.get(facts.name)
        if old is None or told not in old.message:
            self._tell(facts, "FallbackRefused", f"{told}: {why}")
        return _told(state, f"{state.message[:_MAX_REASON]}; {told}: {why}")

    def _earlier(self, facts: RolloutFacts, state: FallbackState, taken: Fallback) -> list[HandledRequest]:
        """Weir's own requests for that step in this release that have ended."""
        base, mine = _base(facts, state, taken), self.obs.identity
        named = [h for h in facts.status.handled_requests if h.name == base or h.name.startswith(f"{base}-")]
        return [h for h in named if not mine or h.by == mine]

    def _handled(self, facts: RolloutFacts, state: FallbackState, taken: Fallback) -> HandledRequest | None:
        """What became of the request for the step, if it was answered since the step was taken."""
        since = state.step_at or 0.0
        return next((h for h in self._earlier(facts, state, taken) if h.at >= since), None)

    def _name(self, facts: RolloutFacts, state: FallbackState, taken: Fallback) -> str:
        """Name of the request; with a number where it is not the first such step, or an agent has taken the name."""
        base, since = _base(facts, state, taken), state.step_at or 0.0
        times = 1 + sum(h.at < since for h in self._earlier(facts, state, taken))
        names = (base if number == 1 else f"{base}-{number}" for number in count(times))
        theirs = {request.name for request in self.obs.requests if request.spec.permit is not None}
        return next(name for name in names if name not in theirs)

    def _tell(self, facts: RolloutFacts, reason: str, message: str, *, warning: bool = True) -> None:
        self.notes.append(AgentNote(reason, message[:_MAX_MESSAGE], warning=warning, rollout=facts.name))


def unhealthy(status: RolloutStatus, now: float) -> bool:
    """Whether the version that serves harms: too few of its pods are ready, or it burns the error budget as known."""
    ready = next((c for c in status.conditions if c.type == "Ready"), None)
    held = status.hold is not None and status.hold.reason == "StableUnhealthy"
    return held or (ready is not None and ready.reason == "StableUnhealthy") or burning(known_budget(status, now))


def _frozen(facts: RolloutFacts) -> bool:
    return facts.status.pause is not None or facts.spec.paused


def _base(facts: RolloutFacts, state: FallbackState, taken: Fallback) -> str:
    return f"{FALLBACK_PREFIX}{facts.name}-{state.release}-{taken.lower()}"


def _left_paused(facts: RolloutFacts) -> str:
    if not _frozen(facts):
        return ""
    return f"; the release stays paused until somebody resumes it: kubectl weir resume {facts.name}"


def _told(state: FallbackState, message: str) -> FallbackState:
    return state.model_copy(update={"message": message[:_MAX_MESSAGE]})
