"""A step of the ladder that the API server does not take: people are told, since nothing happens."""

from __future__ import annotations

from tests.unit.agent.ladder import FREEZE, Ladder

QUOTA = "exceeded quota: team, requested: count/actionrequests.weir.dev=1"


def test_given_a_step_that_the_api_server_refuses_then_the_state_says_so_and_people_are_told_once() -> None:
    ladder = Ladder()
    ladder.stuck = True
    ladder.decide(300)
    assert "does not take" not in ladder.state.message

    ladder.more = {"refused": {FREEZE: QUOTA}}
    first = ladder.decide(1)
    told = ladder.state
    second = ladder.decide(30)

    assert told.message.endswith(f"; the API server does not take {FREEZE}: {QUOTA}")
    assert told.message.startswith("an agent is silent: ")
    (note,) = first.notes
    assert (note.reason, note.warning, note.rollout) == ("FallbackRefused", True, "ranker")
    assert QUOTA in note.message
    # Nothing new to write, and it is still wanted: the shell asks for it again after a while.
    assert second.notes == ()
    assert ladder.state == told
    assert [proposal.name for proposal in second.proposals] == [FREEZE]


def test_given_a_refused_step_when_it_is_taken_at_last_then_the_state_says_no_more_of_it() -> None:
    ladder = Ladder()
    ladder.stuck = True
    ladder.decide(300)
    ladder.more = {"refused": {FREEZE: QUOTA}}
    ladder.decide(1)

    ladder.stuck = False
    ladder.decide(30)
    ladder.decide(1)

    assert "does not take" not in ladder.state.message
    assert ladder.told == ["AgentSilent", "FallbackRefused"]


def test_given_a_long_refusal_then_the_marker_is_kept_and_people_are_told_once() -> None:
    ladder = Ladder()
    ladder.stuck = True
    ladder.decide(300)
    ladder.more = {"refused": {FREEZE: "x" * 2000}}
    ladder.decide(1)
    ladder.decide(1)

    assert len(ladder.state.message) == 1024
    assert ladder.told == ["AgentSilent", "FallbackRefused"]
