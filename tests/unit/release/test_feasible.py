"""Whether gates can pass in time, and whether the arms are what they are taken for: told before anything is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.properties.cluster import Cluster
from tests.properties.invariants import settles
from tests.properties.specs import gate
from tests.unit.release.scenario import conditions, outcome, releasing, serving
from weir.api.rolloutstatus import Phase
from weir.release.decide import decide
from weir.release.observation import Share
from weir.release.plan import Stage
from weir.release.traffic import mismatch


def compared(**fields: str) -> dict[str, object]:
    return gate("compared", max=None, **fields)


def wait(cluster: Cluster, times: int) -> None:
    for _ in range(times):
        cluster.pass_time(10)
        cluster.reconcile()


def test_given_a_gate_with_a_bound_of_its_own_when_a_release_runs_then_nothing_is_foretold() -> None:
    assert "Feasible" not in conditions(releasing().status)


def test_given_a_comparison_when_no_traffic_was_seen_then_the_condition_says_that_it_cannot_know() -> None:
    told = conditions(serving(gates=[compared()]).status)["Feasible"]
    assert (told.status, told.reason) == ("Unknown", "NoTraffic")


def test_given_enough_traffic_when_a_release_runs_then_the_time_to_pass_is_told_and_remembered_for_the_next() -> None:
    cluster = releasing(gates=[compared(maxWait="20m")])
    wait(cluster, 6)
    told = conditions(cluster.status)["Feasible"]
    assert (told.status, told.reason) == ("True", "InTime")
    assert "every stage should pass within" in told.message
    assert "NotFeasible" not in cluster.events
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")
    cluster.release("v3")
    cluster.reconcile()
    told = conditions(cluster.status)["Feasible"]
    assert told.status != "Unknown", "the last release's traffic says so before this one has any"
    assert "requests a second" in told.message


def test_given_a_wait_that_is_too_short_when_traffic_is_known_then_people_are_warned_once_with_a_way_out() -> None:
    cluster = releasing(gates=[compared(maxWait="11s")])
    wait(cluster, 6)
    told = conditions(cluster.status)["Feasible"]
    assert (told.status, told.reason) == ("False", "NotFeasible")
    assert "and its maxWait is 11s" in told.message
    assert "requests a second would do; raise maxWait" in told.message
    wait(cluster, 3)
    assert cluster.events.count("NotFeasible") == 1


@pytest.mark.parametrize(
    ("share", "weight", "broken"),
    [
        (None, 50, False),
        (Share(0, 0), 50, False),
        (Share(5, 5), 10, False),
        (Share(1000, 9000), 10, False),
        (Share(1200, 8800), 10, False),
        (Share(2000, 8000), 10, True),
        (Share(0, 2000), 10, True),
        (Share(100_000, 0), 100, False),
    ],
)
def test_given_shares_of_requests_when_they_contradict_the_weight_beyond_chance_then_routing_is_called_broken(
    share: Share | None, weight: int, broken: bool
) -> None:
    assert bool(mismatch(share, Stage("Traffic", "Traffic", weight, 10.0))) is broken


def test_given_routing_that_breaks_while_gates_are_judged_then_the_release_holds_until_it_is_right() -> None:
    cluster = releasing()
    wait(cluster, 2)
    obs = replace(cluster.observe(), share=Share(4000, 6000))
    held = decide(cluster.view, cluster.status, obs, cluster.now)
    assert held.status.hold is not None
    assert (held.status.hold.reason, held.status.phase) == ("SampleRatioMismatch", Phase.HELD)
    assert "40.0% of 10000 requests instead of 10 %" in held.status.hold.message
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_ramp_when_its_budget_is_smaller_than_chance_then_people_are_told_before_it_rolls_a_good_one_back() -> (
    None
):
    ramp = {"riskBudget": 3, "reaction": "10s", "minDwell": "10s", "maxWeight": 20}
    cluster = releasing("Ramp", gates=[compared(maxWait="2h")], strategy={"canary": {"ramp": ramp, "bake": "30s"}})
    wait(cluster, 4)
    told = conditions(cluster.status)["Feasible"]
    assert (told.status, told.reason) == ("False", "RiskBudgetSmall")
    assert "riskBudget 3 is smaller than chance" in told.message
