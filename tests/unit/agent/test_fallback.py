"""The fallback: when agents, evidence or the policy are unknown, a ladder is climbed, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.agent.ladder import BURNING, FREEZE, Ladder
from tests.unit.agent.planning import AGENT, NOW, WEIR, asked, releasing, rollout, version
from weir.agent.fallback import Fallen
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import Condition, LocalRef
from weir.api.rolloutstatus import Ending, Hold, Outcome

ENDING = Ending(outcome=Outcome.ABORTED, reason="Aborted", message="m", since=NOW)

# --- Agents ----------------------------------------------------------------------------------------------------------


def test_given_an_agent_that_renews_its_lease_when_decided_then_nothing_happens_and_it_wakes_in_time() -> None:
    found = Ladder().decide()
    assert (found.states, found.proposals, found.notes, found.wake_at) == ((), (), (), NOW + 300)


def test_given_an_agent_that_falls_silent_when_time_goes_on_then_the_ladder_is_climbed_one_step_at_a_time() -> None:
    ladder = Ladder()
    assert ladder.decide(299).proposals == ()
    (freeze,) = ladder.decide(1).proposals
    assert (freeze.name, freeze.spec.action, freeze.spec.requester) == (FREEZE, "Pause", WEIR)
    assert freeze.spec.permit is None
    assert freeze.spec.duration is None
    assert freeze.spec.expect is not None
    assert freeze.spec.expect.release == 7
    assert "Lease agent" in freeze.spec.reason
    assert ladder.decide(1).wake_at == NOW + 900
    assert ladder.decide(598).proposals == ()
    (abort,) = ladder.decide(1).proposals
    assert (abort.name, abort.spec.action) == ("fallback-ranker-7-stableonly", "Abort")
    assert ladder.told == ["AgentSilent", "AgentSilent"]


def test_given_no_release_when_an_agent_is_silent_then_nothing_happens() -> None:
    ladder = Ladder(rollout())
    assert ladder.decide(10_000).proposals == ()
    assert ladder.status.fallback == []


def test_given_an_earlier_version_that_is_put_back_when_an_agent_is_silent_then_it_goes_on() -> None:
    assert Ladder(releasing(restoring=True)).decide(10_000) == Fallen()


def test_given_a_lease_that_never_was_when_a_release_starts_then_the_agent_has_time_from_there() -> None:
    ladder = Ladder(releasing(release_started_at=NOW))
    ladder.renewed = None
    assert ladder.decide(299).proposals == ()
    assert len(ladder.decide(1).proposals) == 1


def test_given_the_agent_comes_back_when_the_release_is_frozen_then_it_stays_so_and_people_are_told() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.renewed = ladder.now + 10
    found = ladder.decide(20)
    assert (found.states, found.proposals) == ((), ())
    assert ladder.told == ["AgentSilent", "FallbackOver"]
    assert "kubectl weir resume ranker" in found.notes[0].message
    assert ladder.decide(1).notes == ()


def test_given_an_agent_that_is_silent_again_in_one_release_when_decided_then_it_is_frozen_again() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.renewed = ladder.now + 10
    ladder.decide(20)
    ladder.change(pause=None)
    (again,) = ladder.decide(400).proposals
    assert again.name == f"{FREEZE}-2"


def test_given_somebody_who_resumes_a_frozen_release_when_the_agent_is_still_silent_then_it_is_theirs() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.change(pause=None)
    for _ in range(5):
        assert ladder.decide(10_000).proposals == ()
    assert "resumed" in ladder.state.message
    ladder.change(candidate=None)
    assert ladder.decide(1).states == ()
    assert ladder.decide(10_000).proposals == (), "nor is the version that was promoted rolled back"


@pytest.mark.parametrize(
    ("by", "authority", "waits"),
    [
        ("ada@example.com", None, True),
        ("bot-1", "permit hold", False),
        (AGENT, None, False),
        ("system:serviceaccount:x:y", None, False),
    ],
)
def test_given_a_release_that_somebody_paused_when_an_agent_is_silent_then_a_person_is_left_alone(
    by: str, authority: str | None, waits: bool
) -> None:
    ladder = Ladder()
    ladder.pause(by, authority)
    ladder.decide(300)
    found = ladder.decide(600)
    assert (found.proposals == ()) is waits
    if not waits:
        assert ladder.asked == ["fallback-ranker-7-stableonly"], "it was frozen already"


def test_given_a_rollout_paused_in_its_spec_when_an_agent_is_silent_then_it_is_left_alone() -> None:
    facts = releasing()
    ladder = Ladder(replace(facts, spec=facts.spec.model_copy(update={"paused": True})))
    assert ladder.decide(10_000) == Fallen()


def test_given_a_person_who_pauses_a_frozen_release_when_decided_then_the_ladder_is_over() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.pause("ada@example.com")
    assert ladder.decide(600).states == ()
    assert ladder.told == ["AgentSilent", "FallbackOver"]


# --- Steps -----------------------------------------------------------------------------------------------------------


def test_given_a_step_that_was_not_carried_out_when_decided_again_then_the_same_name_is_asked_for() -> None:
    ladder = Ladder()
    ladder.stuck = True
    for after in (300, 1, 100):
        found = ladder.decide(after)
        assert [p.name for p in found.proposals] == [FREEZE]
        assert found.wake_at is not None
        assert found.wake_at <= ladder.now + 30
    assert ladder.told == ["AgentSilent"]


def test_given_an_agent_that_took_the_names_beforehand_when_a_step_is_due_then_it_gets_another_name() -> None:
    ladder = Ladder()
    theirs = ActionRequestSpec(action="Abort", rollout_ref=LocalRef(name="ranker"), reason="trap", permit="stop")
    ladder.more = {"requests": (asked(FREEZE, theirs, "Succeeded"), asked(f"{FREEZE}-2", theirs))}
    assert [p.name for p in ladder.decide(300).proposals] == [f"{FREEZE}-3"]


def test_given_an_agent_whose_own_request_has_the_name_when_it_was_executed_then_the_step_still_comes() -> None:
    ladder = Ladder()
    ladder.stuck = True
    ladder.decide(300)
    ladder.answer(FREEZE, "Resume", "Succeeded", by=AGENT)
    assert [p.spec.action for p in ladder.decide(1).proposals] == ["Pause"]


def test_given_a_step_that_was_refused_when_decided_again_then_the_next_one_comes_in_its_time() -> None:
    ladder = Ladder()
    ladder.stuck = True
    ladder.decide(300)
    ladder.answer(FREEZE, "Pause", "Refused")
    assert ladder.decide(599).proposals == ()
    assert [p.spec.action for p in ladder.decide(1).proposals] == ["Abort"]


def test_given_a_release_that_ends_by_itself_when_the_ladder_was_begun_then_it_is_over() -> None:
    ladder = Ladder(ladder=["Freeze", "StableOnly"])
    ladder.decide(300)
    ladder.change(
        ending=Ending(outcome=Outcome.ROLLED_BACK, reason="GateFailed", message="", since=ladder.now), pause=None
    )
    assert ladder.decide(600).proposals == ()
    assert ladder.status.fallback == []
    assert ladder.told == ["AgentSilent", "FallbackOver"]


def test_given_another_release_when_the_ladder_was_begun_in_the_one_before_then_it_begins_anew() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.change(pause=None, release=8, release_started_at=ladder.now + 50, handled_requests=[])
    assert [p.name for p in ladder.decide(60).proposals] == ["fallback-ranker-8-freeze"]
    assert (ladder.state.release, ladder.state.step) == (8, 1)


@pytest.mark.parametrize(
    ("sick", "reason"),
    [({"budget": BURNING}, "burns"), ({"hold": Hold(reason="StableUnhealthy", message="", since=NOW)}, "pods")],
)
def test_given_a_stable_version_that_is_unhealthy_when_the_candidate_is_gone_then_the_one_before_is_put_back(
    sick: dict[str, Any], reason: str
) -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.decide(600)
    ladder.change(**sick)
    assert ladder.decide(599).proposals == (), reason
    (back,) = ladder.decide(1).proposals
    assert (back.name, back.spec.action, back.spec.version) == ("fallback-ranker-7-lastknowngood", "Rollback", None)
    ladder.change(release=8, restoring=True, candidate=version("v0"))
    assert ladder.decide(10_000) == Fallen()


def test_given_a_stable_version_that_is_healthy_when_the_candidate_is_gone_then_nothing_is_put_back() -> None:
    ladder = Ladder()
    for after in (300, 600, 600):
        ladder.decide(after)
    assert ladder.asked == [FREEZE, "fallback-ranker-7-stableonly"]
    assert ladder.status.fallback == []
    assert ladder.told[-1] == "FallbackOver"
    ladder.change(budget=BURNING)
    assert ladder.decide(10_000).proposals == ()


def test_given_burn_rates_that_nobody_has_read_since_when_the_candidate_is_gone_then_nothing_is_put_back() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.decide(600)
    unknown = {"type": "BudgetAvailable", "status": "Unknown", "lastTransitionTime": NOW, "reason": "r", "message": ""}
    ladder.change(budget=BURNING, conditions=[Condition.model_validate(unknown)])
    assert ladder.decide(600).proposals == ()
    assert ladder.told[-1] == "FallbackOver"


def test_given_a_rollback_that_was_not_created_when_decided_again_then_it_is_asked_for_again() -> None:
    ladder = Ladder()
    ladder.decide(300)
    ladder.decide(600)
    ladder.change(budget=BURNING)
    ladder.stuck = True
    for after in (600, 30, 3000):
        assert [p.spec.action for p in ladder.decide(after).proposals] == ["Rollback"]
    ladder.answer("fallback-ranker-7-lastknowngood", "Rollback", "Refused")
    assert ladder.decide(30).states == ()


@pytest.mark.parametrize("over", [{"ending": ENDING}, {"candidate": None, "stage": None, "weight": 0}])
def test_given_a_freeze_that_was_not_carried_out_when_the_release_is_over_then_it_is_not_asked_for(
    over: dict[str, Any],
) -> None:
    ladder = Ladder()
    ladder.stuck = True
    (freeze,) = ladder.decide(300).proposals
    assert freeze.spec.expect is not None
    assert ladder.facts.status.candidate is not None
    assert freeze.spec.expect.candidate == ladder.facts.status.candidate.digest

    ladder.change(**over)

    assert ladder.decide(30).proposals == ()


def test_given_a_policy_that_is_new_when_a_release_runs_for_long_then_a_lease_that_never_was_has_its_time() -> None:
    ladder = Ladder()
    ladder.renewed = None
    ladder.status = AgentPolicyStatus(observed_generation=1, observed_since=NOW)

    assert ladder.decide(299).proposals == ()
    assert len(ladder.decide(1).proposals) == 1
