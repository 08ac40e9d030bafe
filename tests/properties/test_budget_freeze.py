"""At every single point of a release the error budget goes: what it stops stands still, and goes on once it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.properties.budgeted import Service
from tests.properties.cluster import Cluster
from tests.properties.invariants import check, settles, watched
from tests.properties.specs import blue_green, canary, make_spec, ramp
from weir.api.rolloutstatus import Outcome, RolloutStatus
from weir.release.budget import FRESH
from weir.release.decision import Decision
from weir.release.observation import Observation

STRATEGIES = {
    "canary": canary(10, 50, min_duration="10s", bake="10s"),
    "blue/green": blue_green(min_duration="10s", bake="10s"),
    "ramp": ramp(minDwell="10s"),
}


def spent(cluster: Service) -> None:
    cluster.spend(1.2)


def burning(cluster: Service) -> None:
    cluster.recent = dict.fromkeys((300.0, 1800.0, 3600.0), 50_000.0)


def silent(cluster: Service) -> None:
    cluster.fail("Prometheus x cannot be reached")
    cluster.pass_time(FRESH + 1)


def restarted(cluster: Service) -> None:
    cluster.restart()
    cluster.pass_time(FRESH + 1)


TROUBLES: tuple[Callable[[Service], None], ...] = (spent, burning, silent, restarted)


def frozen(cluster: Cluster, before: RolloutStatus, obs: Observation, decision: Decision) -> None:
    """Every promise of the machine, and nothing starts, advances or is promoted."""
    check(cluster, before, obs, decision)
    after = decision.status
    assert after.release == before.release, "a release started"
    assert (after.candidate is None) == (before.candidate is None), "a release ended"
    assert after.ending is None, "a release was given up"
    if before.stage is not None and after.stage is not None:
        assert after.stage.index <= before.stage.index, f"from {before.stage.name} to {after.stage.name}"
        assert after.stage.weight <= before.stage.weight, "the weight of the stage rose"


def turn(cluster: Service) -> None:
    """A healthy world goes on for as long as the operator would wait, ten seconds at most."""
    decision = cluster.reconcile()
    cluster.all_ready()
    cluster.accept()
    wait = 10.0 if decision.wake_at is None else decision.wake_at - cluster.now
    cluster.pass_time(min(10.0, max(0.1, wait)))


def points(strategy: dict[str, Any]) -> Iterator[Service]:
    """The cluster before each turn of a release of v2 over v1."""
    gates = [{"name": "errors", "template": "http-errors"}]
    budget = {"objective": "0.999"}
    cluster = Service(make_spec(strategy=strategy, gates=gates, errorBudget=budget, progressDeadline="1h"))
    watched(cluster)
    cluster.run()
    cluster.release("v2")
    for _ in range(60):
        yield cluster.clone()
        turn(cluster)
        if cluster.status.release == 2 and cluster.status.candidate is None:
            return
    pytest.fail(f"not promoted after 60 turns: {cluster.status.message}")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_given_any_point_of_a_release_when_the_budget_goes_then_nothing_starts_or_advances_until_it_is_back(
    strategy: str, trouble: Callable[[Service], None]
) -> None:
    count = 0
    for number, cluster in enumerate(points(STRATEGIES[strategy])):
        count += 1
        trouble(cluster)
        cluster.watch = frozen
        for _ in range(8):
            turn(cluster)
        assert cluster.status.hold is not None, f"point {number} says nothing of the freeze"
        assert cluster.status.hold.reason in ("ErrorBudgetSpent", "BudgetUnknown")
        if number % 5 == 0:
            cluster.watch = check
            cluster.answer()
            cluster.spend(0.5)
            settles(cluster)
            assert cluster.records[2].outcome is Outcome.PROMOTED
    assert count > 5
