"""The fallback: without evidence or a policy, and through any course of events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.agent.ladder import FREEZE, LADDER, NO_DATA, Ladder
from tests.unit.agent.planning import NOW, POLICY, observed, policy, releasing
from weir.agent import fallback
from weir.agent.fallback import Fallen
from weir.agent.signals import silent
from weir.api.agentstatus import AgentPolicyStatus, Target
from weir.api.approval import ApprovalStatus
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, OuterLimit
from weir.api.rolloutstatus import GateStatus, Verdict

# --- Evidence --------------------------------------------------------------------------------------------------------


def test_given_gates_without_evidence_when_it_lasts_then_the_release_is_frozen() -> None:
    ladder = Ladder(releasing(gates=NO_DATA), onAgentSilent=None)
    assert ladder.decide().proposals == ()
    assert ladder.state.step == 0
    assert ladder.decide(1199).proposals == ()
    (freeze,) = ladder.decide(1).proposals
    assert (freeze.spec.action, ladder.state.reason) == ("Pause", "EvidenceUnknown")


def test_given_gates_that_have_never_looked_when_it_lasts_then_it_counts_from_the_first_traffic() -> None:
    ladder = Ladder(releasing(gates=[GateStatus(name="errors")]), onAgentSilent=None)
    found = ladder.decide()
    assert (found.states, found.wake_at) == ((), NOW - 500 + 1200)
    assert [p.spec.action for p in ladder.decide(700).proposals] == ["Pause"]


def test_given_evidence_that_comes_back_when_it_was_missing_then_the_time_begins_again() -> None:
    ladder = Ladder(releasing(gates=NO_DATA), onAgentSilent=None)
    ladder.decide()
    ladder.change(gates=[GateStatus(name="errors", verdict=Verdict.PASS, window_end=NOW)])
    assert ladder.decide(1000).states == ()
    ladder.change(gates=NO_DATA)
    assert ladder.decide(500).proposals == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"gates": [*NO_DATA, GateStatus(name="latency", verdict=Verdict.INSUFFICIENT, window_end=NOW)]},
        {"gates": []},
        {"stage": None},
        {
            "approvals": [
                ApprovalStatus.model_validate(
                    {"name": "a", "before": "Promote", "from": "sre", "state": "Waiting", "digest": "d"}
                )
            ]
        },
    ],
    ids=["one gate has some", "no gates", "no stage", "people are waited for"],
)
def test_given_a_release_that_is_not_in_the_dark_when_time_goes_on_then_nothing_happens(
    changes: dict[str, Any],
) -> None:
    ladder = Ladder(releasing(**{"gates": NO_DATA, **changes}), onAgentSilent=None)
    for _ in range(3):
        assert ladder.decide(10_000).proposals == ()


# --- The policy ------------------------------------------------------------------------------------------------------


def test_given_a_policy_that_is_not_accepted_when_nobody_mends_it_then_the_release_is_frozen_after_a_while() -> None:
    ladder = Ladder()
    broken = {"permits": [{**POLICY["permits"][1], "bounds": {"maxStep": 1}}], "templates": None}
    ladder.spec = policy(fallback=LADDER, **broken)
    ladder.decide()
    ladder.renewed = NOW + 10_000
    assert ladder.decide(599).proposals == ()
    assert [p.spec.action for p in ladder.decide(1).proposals] == ["Pause"]
    assert ladder.state.reason == "PolicyBroken"
    assert "bounds" in ladder.state.message


def test_given_a_silent_agent_when_the_policy_breaks_as_well_then_that_gives_it_no_more_time() -> None:
    ladder = Ladder()
    ladder.decide(299)
    ladder.more = {"outer_broken": "spec.limits: required"}
    ladder.decide()
    assert ladder.asked == []
    ladder.decide(1)
    assert ladder.asked == [FREEZE]
    assert ladder.state.reason == "AgentSilent"


def test_given_a_policy_that_is_mended_in_time_when_decided_then_nothing_has_happened() -> None:
    ladder = Ladder()
    good = ladder.spec
    ladder.renewed = NOW + 10_000
    ladder.more = {"outer_broken": "spec.limits: required"}
    ladder.decide()
    ladder.more = {}
    ladder.spec = good
    assert ladder.decide(10_000).states == ()
    assert ladder.told == []


def test_given_a_policy_that_is_only_narrowed_when_time_goes_on_then_nothing_happens() -> None:
    ladder = Ladder()
    ladder.renewed = NOW + 10_000
    ladder.more = {"outer": ClusterAgentPolicySpec(limits=[OuterLimit(action="Abort")])}
    ladder.decide()
    assert ladder.decide(10_000).states == ()
    assert ladder.told == []


def test_given_a_policy_that_cannot_be_read_when_time_goes_on_then_only_what_agents_touched_is_frozen() -> None:
    ladder = Ladder()
    ladder.spec, ladder.more = None, {"broken": "spec.permits: required"}
    assert ladder.decide(10_000) == Fallen(), "no agent has acted on it"
    ladder.status = AgentPolicyStatus(targets=[Target(rollout="ranker")])
    ladder.decide()
    for _ in range(5):
        ladder.decide(1000)
    assert ladder.asked == [FREEZE], "its ladder is not known, so nothing but the gentlest step is taken"


def test_given_a_policy_that_cannot_be_read_when_an_agent_has_paused_the_release_then_the_ladder_is_begun() -> None:
    ladder = Ladder()
    ladder.spec, ladder.more = None, {"broken": "spec.permits: required"}
    ladder.status = AgentPolicyStatus(targets=[Target(rollout="ranker")])
    ladder.pause("bot-1", "permit hold")
    ladder.decide()
    ladder.decide(1000)
    assert (ladder.state.step, ladder.asked) == (1, []), "it is paused already"


def test_given_no_policy_at_all_when_decided_then_nothing_happens() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.spec = None
    assert ladder.decide(1000) == Fallen()


def test_given_a_policy_without_a_fallback_when_decided_then_nothing_happens() -> None:
    ladder = Ladder()
    ladder.spec = policy()
    assert ladder.decide(10_000) == Fallen()


@pytest.mark.parametrize(("renewed", "expected"), [(NOW, ()), (NOW - 300, ("agent",)), (None, ("agent",))])
def test_given_heartbeats_when_asked_who_is_silent_then_those_that_are_late_or_missing(
    renewed: float | None, expected: tuple[str, ...]
) -> None:
    known = AgentPolicyStatus(observed_generation=1, observed_since=NOW - 300)
    obs = observed(policy(fallback=LADDER), heartbeats={"agent": renewed}, status=known)
    assert silent(obs, NOW) == expected


# --- All together ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["nothing", "renew", "resume", "stick", "free", "dark", "light"]),
            st.sampled_from([0.0, 1.0, 299.0, 301.0, 601.0, 2000.0]),
        ),
        max_size=30,
    )
)
def test_given_any_course_of_events_when_decided_then_steps_keep_their_order_and_their_time(
    events: list[tuple[str, float]],
) -> None:
    ladder = Ladder()
    for event, after in events:
        if event == "renew":
            ladder.renewed = ladder.now + after
        elif event == "resume":
            ladder.change(pause=None)
        elif event in ("stick", "free"):
            ladder.stuck = event == "stick"
        elif event in ("dark", "light") and ladder.facts.status.candidate is not None:
            verdict = Verdict.NO_DATA if event == "dark" else Verdict.PASS
            ladder.change(gates=[GateStatus(name="errors", verdict=verdict, window_end=ladder.now)])
        before = {state.rollout: state for state in ladder.status.fallback}.get("ranker")
        known = {entry.name for entry in ladder.facts.status.handled_requests}
        found = ladder.decide(after)
        now = {state.rollout: state for state in found.states}.get("ranker")
        assert len(found.proposals) <= 1
        if now is not None and before is not None and now.step > before.step and before.step_at is not None:
            assert now.step == before.step + 1
            assert now.step_at is not None
            assert now.step_at >= before.step_at + 600
        for name in (p.name for p in found.proposals):
            assert now is not None
            assert now.step
            assert name not in known, "what was carried out is not asked for again"
        obs = observed(ladder.spec, ladder.facts, status=ladder.status, heartbeats={"agent": ladder.renewed})
        again = fallback.step(obs, ladder.status, ladder.now)
        assert again == fallback.step(obs, ladder.status, ladder.now)
        assert [n.reason for n in again.notes] in ([], ["FallbackOver"])
