"""Requests of agents: executed only while the AgentPolicy grants them, and never against what a person stopped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.cluster import Cluster
from tests.properties.invariants import settles
from tests.unit.release.scenario import do, outcome, releasing, serving
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.release.observation import Permission
from weir.release.requests import for_rollout

AGENT = "system:serviceaccount:team:drift-agent"
GRANTED = Permission("Granted")


def act(cluster: Cluster, action: str, standing: Permission | None = GRANTED, **fields: Any) -> str:
    """The agent asks, and the operator looks once; the result, or what the request waits for."""
    return do(cluster, action, standing=standing, permit="shift", requester=AGENT, **fields)


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (None, "Pending: waiting for the AgentPolicy to look at it"),
        (Permission("Waiting", "1 of 2 consents"), "Pending: 1 of 2 consents"),
        (Permission("Waiting"), "Pending: waiting for the AgentPolicy to grant it"),
        (Permission("Denied", "the cooldown lasts until noon"), "Refused: the cooldown lasts until noon"),
        (Permission("Denied"), "Refused: the AgentPolicy denies it under permit shift"),
        (
            Permission("Granted", until=0.0),
            "Pending: waiting for the AgentPolicy to grant it again: its grant has ended",
        ),
    ],
)
def test_given_an_agents_request_when_it_is_not_granted_then_nothing_happens(
    standing: Permission | None, told: str
) -> None:
    cluster = releasing("Traffic(50)")
    before = cluster.status.model_copy(update={"handled_requests": []})
    assert act(cluster, "Abort", standing) == told
    assert cluster.status.model_copy(update={"handled_requests": []}) == before


def test_given_a_request_that_waits_when_it_is_granted_then_it_is_executed_and_the_record_says_under_what() -> None:
    cluster = releasing("Traffic(50)")
    uid = cluster.ask(
        "ShiftTraffic",
        standing=Permission("Waiting", "1 of 2 consents", cluster.now + 5),
        permit="shift",
        rule="latency",
        weight=10,
    )
    decision = cluster.reconcile()
    (result,) = decision.desired.results
    assert (result.phase, result.digest) == ("Pending", action_digest(cluster.waiting[uid].spec))
    assert decision.wake_at == cluster.now + 5
    cluster.stands(uid, Permission("Granted", "approved by ada, bob", cluster.now + 60))
    cluster.reconcile()
    assert cluster.results[uid].startswith("Succeeded")
    authority = "permit shift; rule latency; approved by ada, bob"
    (entry,) = cluster.status.handled_requests
    assert entry.authority == authority
    assert cluster.status.ceiling is not None
    assert cluster.status.ceiling.authority == authority
    do(cluster, "Abort")
    settles(cluster)
    told = {d.reason: d.authority for d in cluster.records[2].decisions}
    assert told["TrafficLimited"] == authority
    assert told["Aborted"] is None
    assert "authority" not in cluster.records[2].to_dict()["decisions"][0]


def test_given_a_request_that_waits_for_its_grant_when_its_time_is_over_then_it_expires() -> None:
    cluster = releasing("Traffic(50)")
    uid = cluster.ask("Abort", standing=Permission("Waiting"), permit="stop", expiresAfter="60s")
    assert cluster.reconcile().wake_at == cluster.now + 10
    cluster.pass_time(60.0)
    cluster.reconcile()
    assert cluster.results[uid].startswith("Expired")


def test_given_expectations_that_no_longer_hold_when_a_grant_comes_late_then_it_is_refused() -> None:
    cluster = releasing("Traffic(50)")
    assert act(cluster, "Promote", expect={"release": 1}).startswith("Refused: expected release 1, but it is 2")


def test_given_a_pause_of_a_person_when_an_agent_wants_to_go_on_then_it_is_refused() -> None:
    cluster = releasing("Traffic(10)")
    do(cluster, "Pause", requester="ada")
    for action in ("Resume", "Promote"):
        assert act(cluster, action) == "Refused: ada paused the Rollout; only a person can undo that"
    assert cluster.status.pause is not None
    assert act(cluster, "Abort").startswith("Succeeded")


def test_given_a_pause_of_an_agent_when_it_resumes_then_the_release_goes_on() -> None:
    cluster = releasing("Traffic(10)")
    act(cluster, "Pause")
    assert act(cluster, "Resume") == "Succeeded: resumed"
    assert cluster.status.pause is None


def test_given_a_limit_of_a_person_when_an_agent_asks_for_more_then_it_is_refused_and_less_is_not() -> None:
    cluster = releasing("Traffic(50)")
    do(cluster, "ShiftTraffic", weight=20, requester="ada")
    for weight in (21, 100):
        told = act(cluster, "ShiftTraffic", weight=weight)
        assert told == "Refused: ada limited the traffic to 20 %; only a person can undo that"
    assert act(cluster, "Promote").startswith("Refused: the candidate is limited to 20 %")
    assert act(cluster, "ShiftTraffic", weight=10).startswith("Succeeded")
    assert cluster.status.weight == 10


def test_given_a_lower_limit_by_an_agent_when_it_lifts_it_then_that_of_the_person_is_there_again() -> None:
    cluster = releasing("Traffic(50)")
    do(cluster, "ShiftTraffic", weight=20, requester="ada")
    act(cluster, "ShiftTraffic", weight=10)
    assert act(cluster, "ShiftTraffic", weight=100).startswith("Refused: ada limited")
    assert act(cluster, "ShiftTraffic", weight=20).startswith("Succeeded")
    assert cluster.status.ceiling is not None
    assert (cluster.status.ceiling.weight, cluster.status.ceiling.by) == (20, "ada")
    assert do(cluster, "ShiftTraffic", weight=100, requester="bob").startswith("Succeeded")
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_limit_that_an_agent_has_not_seen_when_it_asks_for_more_then_it_looks_again_first() -> None:
    cluster = releasing("Traffic(50)")
    uid = cluster.ask("ShiftTraffic", standing=Permission("Waiting"), permit="shift", requester=AGENT, weight=40)
    cluster.pass_time(5.0)
    do(
        cluster,
        "ShiftTraffic",
        standing=GRANTED,
        permit="shift",
        requester="system:serviceaccount:team:guard",
        weight=5,
    )
    cluster.run(lambda: cluster.status.weight == 5)
    cluster.stands(uid, GRANTED)
    cluster.reconcile()

    assert cluster.results[uid] == (
        "Refused: system:serviceaccount:team:guard has limited the traffic to 5 % meanwhile; look again and create a "
        "new request once it is there"
    )
    assert act(cluster, "ShiftTraffic", weight=40).startswith("Succeeded")


def test_given_a_limit_that_traffic_is_still_on_its_way_to_when_an_agent_asks_for_more_then_it_is_no_way_back() -> None:
    cluster = releasing("Traffic(50)", replicas=4)
    cluster.ready("demo-v1.0", 2)
    act(cluster, "ShiftTraffic", weight=5)
    cluster.pass_time(5.0)
    assert cluster.status.weight == 50

    assert act(cluster, "ShiftTraffic", weight=40).startswith("Refused: ")
    assert act(cluster, "ShiftTraffic", weight=3).startswith("Succeeded")


def test_given_an_agents_older_request_when_a_person_stops_the_release_then_the_person_goes_first() -> None:
    cluster = releasing("Traffic(50)")
    agents = cluster.ask("Promote", age=5.0, standing=GRANTED, permit="promote", requester=AGENT)
    cluster.ask("Pause", requester="ada")
    cluster.reconcile()

    assert cluster.results[agents] == "Refused: ada paused the Rollout; only a person can undo that"


def test_given_an_agent_that_releases_a_version_when_it_is_promoted_then_the_record_says_under_what() -> None:
    cluster = serving()
    act(cluster, "Release", Permission("Granted", "approved by ada"), version="v2")
    settles(cluster)
    first = cluster.records[2].decisions[0]
    assert (first.actor, first.authority) == (AGENT, "permit shift; approved by ada")
    assert cluster.records[2].requested_by == AGENT


@pytest.mark.parametrize(
    ("action", "fields", "mine"),
    [
        ("Abort", {}, True),
        ("Release", {"version": "v2"}, True),
        ("ShiftTraffic", {"weight": 5}, True),
        ("Approve", {"approval": {"name": "switch", "digest": "sha256:" + "0" * 64}}, True),
        ("Approve", {"request": {"name": "other", "uid": "u"}}, False),
        ("Deny", {"request": {"name": "other", "uid": "u"}}, False),
        ("Override", {"request": {"name": "other", "uid": "u"}}, False),
        ("Withdraw", {"request": {"name": "other", "uid": "u"}}, False),
        ("Retrain", {"permit": "train"}, False),
        ("Reallocate", {"permit": "scale"}, False),
    ],
)
def test_given_any_request_when_the_rollout_looks_then_it_answers_only_those_that_are_its_own(
    action: str, fields: dict[str, Any], mine: bool
) -> None:
    spec = {"action": action, "rolloutRef": {"name": "demo"}, "reason": "because", **fields}
    assert for_rollout(ActionRequestSpec.model_validate(spec)) is mine
    cluster = serving()
    uid = cluster.ask(action, standing=GRANTED, **fields)
    decision = cluster.reconcile()
    assert bool([r for r in decision.desired.results if r.uid == uid]) is mine


def test_given_a_pause_of_a_person_when_an_agent_pauses_too_then_it_stays_the_persons_and_lasts_as_long_as_both() -> (
    None
):
    cluster = releasing("Traffic(10)")
    do(cluster, "Pause", requester="ada", duration="10m")
    begun = cluster.now
    act(cluster, "Pause", duration="20m")
    assert cluster.status.pause is not None
    assert (cluster.status.pause.by, cluster.status.pause.until) == ("ada", begun + 1200)
    assert act(cluster, "Resume").startswith("Refused: ada paused the Rollout")
    act(cluster, "Pause")
    assert cluster.status.pause.until is None
    assert do(cluster, "Resume", requester="bob") == "Succeeded: resumed"


def test_given_a_pause_of_a_person_when_an_agent_aborts_then_the_release_ends_and_the_pause_stays() -> None:
    for action in ("Abort", "Rollback"):
        cluster = releasing("Traffic(10)")
        do(cluster, "Pause", requester="ada")
        assert act(cluster, action).startswith("Succeeded")
        settles(cluster)
        assert cluster.status.candidate is None
        assert cluster.status.pause is not None
        cluster.release("v3")
        settles(cluster)
        assert cluster.status.release == 2


@pytest.mark.parametrize("fields", [{"permit": "shift"}, {"expect": {"candidate": "sha256:" + "2" * 64}}])
def test_given_no_release_when_somebody_but_a_person_pauses_one_then_nothing_stays_paused(
    fields: dict[str, Any],
) -> None:
    cluster = serving()
    assert do(cluster, "Pause", standing=GRANTED, requester=AGENT, **fields).startswith("Refused: ")
    assert cluster.status.pause is None
    assert do(cluster, "Pause", requester="ada").startswith("Succeeded"), "a person may hold back what comes next"


@pytest.mark.parametrize("of_agent", [True, False])
def test_given_a_release_that_is_put_back_when_it_is_paused_in_that_moment_then_nothing_stays_paused(
    of_agent: bool,
) -> None:
    cluster = releasing("Traffic(50)")
    assert cluster.status.candidate is not None
    about = {"permit": "shift"} if of_agent else {"expect": {"candidate": cluster.status.candidate.digest}}
    pause = cluster.ask("Pause", standing=GRANTED, requester=AGENT, **about)
    abort = cluster.ask("Abort", requester="ada")
    cluster.reconcile()
    assert cluster.results[abort].startswith("Succeeded")
    assert cluster.results[pause] == "Refused: release 2 puts a version back, which nothing pauses"
    assert cluster.status.pause is None
