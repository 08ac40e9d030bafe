"""Whatever agents ask, people answer and Rollouts do, in any order: the ledger keeps its promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.agent.ledgerworld import (
    ADA,
    AGENT,
    BOB,
    EVE,
    OTHER,
    World,
    condition,
    permits,
    releasing,
    rollout,
    spec_of,
)
from weir.agent.decide import decide
from weir.agent.decision import AgentDecision
from weir.agent.permits import length, slot_name, slot_of
from weir.agent.turn import FORWARD_ACTIONS, TEMPLATE_ACTIONS
from weir.api.action import SAFE_ACTIONS
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus, Grant
from weir.api.base import seconds
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.rolloutstatus import Outcome

ROLLOUTS = ("alpha", "beta", "gamma")
PEOPLE = (ADA, BOB, "cid", EVE, AGENT)
LIMITS: dict[str, Any] = {
    "bucket": {"capacity": 4, "refillEvery": "2m"},
    "exploration": {"maxTrafficPercent": 40, "maxShareHours": "0.2", "window": "1h"},
    "damping": {"penalty": 1000, "halfLife": "10m", "suppressAt": 2000, "reuseBelow": 500, "maxSuppress": "30m"},
    "loop": {"maxDepth": 2, "maxRepeats": 2, "window": "30m"},
    "concurrency": {"perTarget": 1, "total": 2},
}
POLICIES: dict[str, AgentPolicySpec] = {
    "plain": spec_of(),
    "strict": spec_of(**LIMITS),
    "audit": spec_of(**LIMITS, mode="Audit"),
    "narrow audit": spec_of(
        mode="Audit",
        permits=permits(shift={"bounds": {"maxTrafficPercent": 5}}, skip={"budget": {"limit": 1, "window": "1h"}}),
    ),
    "paused": spec_of(paused=True),
    "narrow": spec_of(
        selector={"names": ["alpha", "beta"]},
        permits=permits(shift={"bounds": {"maxStep": 5, "maxTrafficPercent": 15}}, skip={"rollouts": ["alpha"]}),
    ),
    "trial": spec_of(
        trial={
            "share": 50,
            "permits": [{"name": "shift", "action": "ShiftTraffic", "bounds": {"maxTrafficPercent": 12}}],
        }
    ),
}
PERMITS = {permit.name: permit for permit in POLICIES["plain"].permits}
ASKED = ("go-on", "shift", "skip", "release", "promote")
OUTER = ClusterAgentPolicySpec.model_validate(
    {
        "limits": [
            {"action": "Abort"},
            {"action": "Rollback"},
            {"action": "Pause"},
            {"action": "Resume"},
            {"action": "ShiftTraffic", "maxStep": 10, "maxTrafficPercent": 30},
            {"action": "Promote", "minTier": "Approve", "minQuorum": 2},
            {"action": "Skip", "maxPerHour": 6},
        ]
    }
)


def changes(after: AgentPolicyStatus, before: AgentPolicyStatus) -> dict[str, Any]:
    """Parts of the ledger that differ, as they are afterwards and were before."""
    parts = ((name, getattr(after, name), getattr(before, name)) for name in AgentPolicyStatus.model_fields)
    return {name: (new, old) for name, new, old in parts if new != old}


class Ledger(RuleBasedStateMachine):
    """The world under any interleaving; ``decide`` is called as often, and as late, as chance wants."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(spec_of(), releasing("alpha"), releasing("beta"), rollout("gamma"))
        self.approvals: dict[str, list[tuple[str, int]]] = {}

    @initialize(policy=st.sampled_from(sorted(POLICIES)))
    def begin(self, policy: str) -> None:
        self.world.spec = POLICIES[policy]

    # --- what happens ---

    @rule(permit=st.sampled_from(ASKED), by=st.sampled_from([AGENT, OTHER]), on=st.sampled_from(ROLLOUTS))
    def an_agent_asks(self, permit: str, by: str, on: str) -> None:
        more = self.world.rollouts[on].status.weight + 5
        weight: dict[str, Any] = {"weight": more} if permit == "shift" else {}
        self.world.ask(permit, by=by, on=on, **weight)

    @rule(
        permit=st.sampled_from([*ASKED, "stop", "hold", "back", "train", "none"]),
        by=st.sampled_from([AGENT, EVE, "mallory", None]),
        on=st.sampled_from(ROLLOUTS),
        weight=st.sampled_from([0, 8, 15, 31, 100]),
        expires=st.sampled_from(["1m", "1h"]),
        odd=st.sampled_from(["caused", "slot", "window", "", ""]),
    )
    def an_agent_tries(self, permit: str, by: str | None, on: str, weight: int, expires: str, odd: str) -> None:
        fields: dict[str, Any] = {"expiresAfter": expires}
        if permit == "shift":
            fields["weight"] = weight
        asked = [request for request in self.world.requests.values() if request.spec.permit]
        if odd == "caused" and asked:
            fields["causedBy"] = {"name": asked[-1].name, "uid": asked[-1].uid}
        if odd == "slot" and permit == "skip":
            fields["name"] = slot_name(PERMITS["skip"], self.world.now, 3 + len(self.world.requests))
        if odd == "window" and permit in ("skip", "back"):
            fields["name"] = f"{permit}-42-{len(self.world.requests)}"
        self.world.ask(permit, by=by, on=on, **fields)

    @precondition(lambda self: self.world.requests)
    @rule(action=st.sampled_from(["Approve", "Deny", "Override", "Withdraw"]), data=st.data())
    def somebody_answers(self, action: str, data: st.DataObject) -> None:
        asked = [uid for uid, request in self.world.requests.items() if request.spec.permit]
        if not asked:
            return
        uid, who = data.draw(st.sampled_from(asked[-6:])), data.draw(st.sampled_from(PEOPLE))
        digest = data.draw(st.sampled_from(["same", "same", "same", "other"]))
        wrong = {"digest": "sha256:" + "0" * 64} if digest == "other" else {}
        self.world.answer(action, uid, by=who, request=wrong)
        if action == "Approve" and not wrong:
            self.approvals.setdefault(uid, []).append((who, self.world.generation))

    @rule(
        on=st.sampled_from(ROLLOUTS), people=st.sampled_from([(ADA, BOB), (ADA,), (ADA, ADA), (ADA, AGENT), (EVE, BOB)])
    )
    def a_promotion_is_asked_for_and_agreed_to(self, on: str, people: tuple[str, ...]) -> None:
        uid = self.world.ask("promote", on=on)
        for who in people:
            self.world.answer("Approve", uid, by=who)
            self.approvals.setdefault(uid, []).append((who, self.world.generation))

    @rule(length=st.sampled_from([0.7, 5.0, 61.0, 301.0, 1900.0]))
    def time_passes(self, length: float) -> None:
        self.world.wait(length)

    @rule(times=st.integers(1, 3))
    def everybody_does_their_work(self, times: int) -> None:
        for _ in range(times):
            self.world.look()
            self.rollouts_act()

    @rule()
    def rollouts_act(self) -> None:
        self.world.execute()
        for request, grant in self.world.executed:
            self.check_executed(request, grant)
        self.world.executed.clear()

    @rule()
    def operator_dies_after_the_status(self) -> None:
        self.world.decide()

    @rule(
        what=st.sampled_from(["policy", "outer", "guardrails", "pause", "ok"]), policy=st.sampled_from(sorted(POLICIES))
    )
    def platform_people_change_something(self, what: str, policy: str) -> None:
        world = self.world
        match what:
            case "policy":
                world.wait(0.5)
                world.edit(POLICIES[policy])
            case "outer":
                world.outer = OUTER if world.outer is None else None
            case "guardrails":
                world.changes["guardrails"] = "weir-permits is missing"
            case "pause":
                world.changes["namespace_paused"] = True
            case _:
                world.changes.clear()

    @rule(on=st.sampled_from(ROLLOUTS), what=st.sampled_from(["stalls", "burns", "well", "promoted", "rolled back"]))
    def a_rollout_changes(self, on: str, what: str) -> None:
        world = self.world
        releasing_now = world.rollouts[on].status.candidate is not None
        match what:
            case "stalls":
                world.set(on, conditions=[condition("Stalled", "True")])
            case "burns":
                world.set(on, conditions=[condition("BudgetAvailable", "False")])
            case "well":
                world.set(on, conditions=[])
            case "promoted" | "rolled back" if releasing_now:
                world.finish(on, Outcome.PROMOTED if what == "promoted" else Outcome.ROLLED_BACK)

    @rule(good=st.booleans())
    def jobs_end(self, good: bool) -> None:
        kind = "Complete" if good else "Failed"
        for uid, made in list(self.world.objects.items()):
            if made is not None:
                meta = {**made["metadata"], "annotations": {"ml.example/digest": "sha256:" + "1" * 64}}
                ended = {"conditions": [{"type": kind, "status": "True"}]}
                self.world.objects[uid] = {**made, "metadata": meta, "status": ended}

    @rule()
    def finished_requests_are_deleted(self) -> None:
        for uid in [uid for uid, request in self.world.requests.items() if not request.open][:3]:
            del self.world.requests[uid]

    # --- what must hold ---

    def check_executed(self, request: Any, grant: Grant) -> None:
        """What a Rollout was made to do was allowed, by the policy that granted it."""
        if self.world.generation != grant.generation:
            return  # it was changed between the grant and now; the Rollout checks that
        assert self.world.spec is not None
        spec, permit = request.spec, next(p for p in self.world.spec.permits if p.name == request.spec.permit)
        assert permit.action == spec.action
        assert spec.requester in (AGENT, OTHER, EVE)
        assert permit.rollouts is None or spec.rollout_ref.name in permit.rollouts
        if (self.world.spec.mode) != "Enforce":
            return
        if permit.budget is not None:
            slot = slot_of(permit, request.name, request.created)
            assert slot is not None
            assert slot < permit.budget.limit
        if permit.approval.tier == "Approve":
            people = {by for by, made in self.approvals.get(request.uid, []) if made == grant.generation}
            valid = people - {AGENT, OTHER, EVE, spec.requester}
            assert set(grant.approved_by) <= valid
            assert len(set(grant.approved_by)) >= (permit.approval.quorum or 1)

    @invariant()
    def promises_hold(self) -> None:
        world = self.world
        first = decide(world.observe(), world.now)
        status = AgentPolicyStatus.model_validate(first.status.to_dict())
        self.decided_again_it_is_the_same(first, status)
        self.nothing_changes_before_the_next_look(first, status)
        self.nothing_is_granted_out_of_bounds(status)
        self.the_way_back_is_always_open(status)
        self.the_ledger_is_bounded(status)

    def decided_again_it_is_the_same(self, first: AgentDecision, stored: AgentPolicyStatus) -> None:
        assert stored == first.status
        again = decide(replace(self.world.observe(), status=stored), self.world.now)
        assert changes(again.status, stored) == {}
        assert [(r.uid, r.phase) for r in again.results] == [(r.uid, r.phase) for r in first.results]
        assert again.makes == first.makes
        assert again.notes == ()
        assert again.wake_at is None or (first.wake_at is not None and first.wake_at <= again.wake_at)

    def nothing_changes_before_the_next_look(self, first: AgentDecision, stored: AgentPolicyStatus) -> None:
        ends = first.wake_at - 0.002 if first.wake_at is not None else self.world.now + 1e6
        if ends > self.world.now:
            assert changes(decide(replace(self.world.observe(), status=stored), ends).status, stored) == {}

    def nothing_is_granted_out_of_bounds(self, status: AgentPolicyStatus) -> None:
        world = self.world
        assert world.spec is not None
        paused = world.spec.paused or world.changes.get("namespace_paused")
        for grant in status.granted:
            request = world.requests.get(grant.uid)
            if request is None or not request.open or grant.action in TEMPLATE_ACTIONS:
                continue
            if any(h.uid == grant.uid for h in world.rollouts[grant.rollout].status.handled_requests):
                continue
            assert not paused
            self.check_grant(grant, request, status)

    def check_grant(self, grant: Grant, request: Any, status: AgentPolicyStatus) -> None:
        world, spec = self.world, request.spec
        assert world.spec is not None
        permit = next(p for p in world.spec.permits if p.name == spec.permit)
        facts = world.rollouts[grant.rollout]
        now = facts.status.weight if facts.status.candidate is not None else 0
        back = spec.action in SAFE_ACTIONS or (spec.action == "ShiftTraffic" and spec.weight <= now)
        assert grant.until > world.now
        assert world.now < request.created + seconds(spec.expires_after)
        if world.outer is not None:
            limit = next(limit for limit in world.outer.limits if limit.action == spec.action)
            if not back and spec.action == "ShiftTraffic":
                assert spec.weight <= (limit.max_traffic_percent or 100)
            if limit.max_per_hour is not None:
                slot = slot_of(permit, request.name, request.created)
                assert slot is not None
                assert slot * 3600 < limit.max_per_hour * length(permit.budget)
            if limit.min_tier == "Approve":
                assert len(set(grant.approved_by)) >= (limit.min_quorum or 1)
        if permit.budget is not None and world.spec.mode == "Enforce":
            found = slot_of(permit, request.name, request.created)
            assert found is not None
            assert found < permit.budget.limit
        if back:
            return
        assert world.changes.get("guardrails") is None
        if world.spec.mode == "Audit":
            return
        if spec.action == "ShiftTraffic" and permit.bounds is not None:
            assert spec.weight <= (permit.bounds.max_traffic_percent or 100)
        others = [g for g in status.granted if g.rollout == grant.rollout and g.uid != grant.uid]
        others = [g for g in others if world.requests.get(g.uid) is not None and world.requests[g.uid].open]
        handled = {h.uid for h in facts.status.handled_requests}
        if not grant.overridden_by and not any(g.overridden_by for g in others):
            assert not [g for g in others if g.uid not in handled]
            blocked = [b for b in status.blocked if b.rollout == grant.rollout and b.action in ("", spec.action)]
            assert not blocked
            if spec.action in FORWARD_ACTIONS and world.spec.exploration is not None:
                known = [c for facts in world.rollouts.values() for c in facts.status.conditions]
                assert not any(c.type == "BudgetAvailable" and c.status != "True" for c in known)

    def the_way_back_is_always_open(self, status: AgentPolicyStatus) -> None:
        world = self.world
        assert world.spec is not None
        if world.spec.paused or world.changes.get("namespace_paused"):
            return
        standing = {grant.uid for grant in status.granted} | {denied.uid for denied in status.denied}
        names = world.spec.selector.names if world.spec.selector is not None else None
        for uid, request in world.requests.items():
            spec = request.spec
            if spec.action not in ("Abort", "Pause", "Rollback") or spec.permit is None or not request.open:
                continue
            if spec.requester not in (AGENT, OTHER, EVE) or (names is not None and spec.rollout_ref.name not in names):
                continue
            if world.now >= request.created + seconds(spec.expires_after):
                continue
            if any(h.uid == uid for h in world.rollouts[spec.rollout_ref.name].status.handled_requests):
                continue
            assert uid in standing
            denied = next((d for d in status.denied if d.uid == uid), None)
            assert denied is None or denied.reason in ("BudgetSlot", "Denied", "Withdrawn", "Paused", "NotPermitted")

    def the_ledger_is_bounded(self, status: AgentPolicyStatus) -> None:
        assert len(status.granted) <= 50
        assert len(status.waiting) <= 50
        assert len(status.denied) <= 50
        assert len(status.last) <= 50
        assert len(status.shadow_denials) <= 20
        assert status.bucket is None or 0 <= status.bucket.left <= 4


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
