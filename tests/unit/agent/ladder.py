"""A Rollout on the fallback's ladder, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.agent.planning import NOW, WEIR, observed, policy, releasing
from weir.agent import fallback
from weir.agent.fallback import Fallen
from weir.agent.observation import RolloutFacts
from weir.api.action import HandledRequest
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus, FallbackState
from weir.api.rolloutstatus import BudgetStatus, GateStatus, Pause, Verdict

LADDER: dict[str, Any] = {
    "onAgentSilent": [{"lease": "agent", "after": "5m"}],
    "onUnknownAfter": "20m",
    "ladder": ["Freeze", "StableOnly", "LastKnownGood"],
    "stepAfter": "10m",
}
FREEZE = "fallback-ranker-7-freeze"
NO_DATA = [GateStatus(name="errors", verdict=Verdict.NO_DATA, window_end=NOW - 30)]
BURNING = BudgetStatus(burn_rates=["5m=3", "1h=2"], at=NOW)


class Ladder:
    """Decides again and again; what it asked for is executed at once, unless ``stuck``."""

    def __init__(self, facts: RolloutFacts | None = None, **changes: Any) -> None:
        """An agent that renewed its Lease just now."""
        self.spec: AgentPolicySpec | None = policy(fallback={**LADDER, **changes})
        self.facts = facts or releasing()
        self.renewed: float | None = NOW
        self.now = NOW
        self.stuck = False
        self.status = AgentPolicyStatus(observed_generation=1, observed_since=NOW - 86400)
        self.told: list[str] = []
        self.asked: list[str] = []
        self.more: dict[str, Any] = {}

    def decide(self, after: float = 0.0) -> Fallen:
        """The next decision, some seconds later."""
        self.now += after
        obs = observed(self.spec, self.facts, status=self.status, heartbeats={"agent": self.renewed}, **self.more)
        found = fallback.step(obs, self.status, self.now)
        self.status = self.status.model_copy(update={"fallback": list(found.states)})
        self.told += [note.reason for note in found.notes]
        for proposal in found.proposals:
            if proposal.name not in self.asked:
                self.asked.append(proposal.name)
            if not self.stuck:
                self._execute(proposal.name, proposal.spec.action)
        return found

    def change(self, **status: Any) -> None:
        """The Rollout's status becomes another one."""
        self.facts = replace(self.facts, status=self.facts.status.model_copy(update=status))

    def _execute(self, name: str, action: str) -> None:
        if action == "Pause":
            self.pause(WEIR)
        elif action == "Abort":
            self.change(candidate=None, stage=None, weight=0, gates=[], pause=None)
        self.answer(name, action, "Succeeded")

    def answer(self, name: str, action: str, phase: str, by: str = WEIR) -> None:
        """The Rollout has handled a request."""
        entry = HandledRequest.model_validate(
            {"uid": name, "name": name, "action": action, "phase": phase, "at": self.now, "by": by}
        )
        self.change(handled_requests=[entry, *self.facts.status.handled_requests])

    def pause(self, by: str, authority: str | None = None) -> None:
        """Somebody pauses the Rollout; an agent by the authority of a permit."""
        self.change(pause=Pause(since=self.now, by=by, authority=authority))

    @property
    def state(self) -> FallbackState:
        """Where the Rollout stands on the ladder."""
        (only,) = self.status.fallback
        return only
