"""Outer bounds of the platform's owners: no AgentPolicy goes beyond them, nor does what is asked under an older one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.cases import DELETE, edited
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.outer import bound, bounded, unbound
from tests.api.harness.permits import Permits, Spec
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import AGENT_POLICIES

pytestmark = pytest.mark.api

OUTER: Spec = {
    "limits": [
        {"action": "ShiftTraffic", "maxStep": 10, "maxTrafficPercent": 40, "maxPerHour": 6},
        {"action": "Retrain", "minTier": "Approve", "minQuorum": 2},
        {"action": "Rollback", "minTier": "Approve", "minQuorum": 3, "maxPerHour": 30},
        {"action": "Pause"},
        {"action": "Promote", "maxTrafficPercent": 100},
        {"action": "Skip", "minTier": "ManualOnly"},
    ],
    "maxExplorationPercent": 5,
    "maxUnhealthyPercent": 30,
    "requireFallback": True,
}
WITHIN: Spec = {
    "permits": [
        {
            "name": "shift",
            "action": "ShiftTraffic",
            "bounds": {"maxStep": 10, "maxTrafficPercent": 40},
            "budget": {"limit": 1, "window": "10m"},
        },
        {
            "name": "tune",
            "action": "Retrain",
            "template": "train",
            "approval": {"tier": "Approve", "quorum": 2},
        },
        {"name": "back", "action": "Rollback", "budget": {"limit": 30, "window": "1h"}},
        {"name": "go", "action": "Promote"},
        {"name": "skip", "action": "Skip", "approval": {"tier": "ManualOnly"}},
    ],
    "exploration": {"maxTrafficPercent": 5},
    "blastRadius": {"maxUnhealthyPercent": 30},
    "fallback": {"onUnknownAfter": "10m"},
}
SHIFT, TUNE, BACK, GO = (f"permits.{place}" for place in range(4))
TRIAL: Spec = {"share": 10, "permits": [{**WITHIN["permits"][0], "bounds": {"maxStep": 11, "maxTrafficPercent": 40}}]}
WIDER: tuple[tuple[dict[str, Any], str], ...] = (
    ({f"{GO}.action": "Abort"}, "OuterAction: the ClusterAgentPolicy allows no agent the action Abort of permit 'go'"),
    ({f"{SHIFT}.bounds.maxStep": 11}, "OuterStep: bounds.maxStep of permit 'shift' must be at most 10"),
    ({f"{SHIFT}.bounds.maxStep": DELETE}, "OuterStep: "),
    ({f"{SHIFT}.bounds.maxTrafficPercent": 41}, "OuterTrafficPercent: .*permit 'shift' must be at most 40"),
    ({f"{SHIFT}.bounds": DELETE}, "OuterTrafficPercent: "),
    ({f"{SHIFT}.budget.limit": 2}, "OuterBudget: permit 'shift' needs a budget of at most 6 in an hour"),
    ({f"{SHIFT}.budget.window": "9m59s"}, "OuterBudget: "),
    ({f"{SHIFT}.budget.window": "10ms"}, "OuterBudget: "),
    ({f"{SHIFT}.budget": {"limit": 7, "window": "24h"}}, "OuterBudget: "),
    ({f"{SHIFT}.budget": {"limit": 7, "window": "8760h"}}, "OuterBudget: "),
    ({f"{SHIFT}.budget": DELETE}, "OuterBudget: "),
    ({f"{BACK}.budget.limit": 31}, "OuterBudget: permit 'back'"),
    ({f"{TUNE}.approval": DELETE}, "OuterTier: approval.tier of permit 'tune' must be at least Approve"),
    ({f"{TUNE}.approval": {"tier": "Notify"}}, "OuterTier: "),
    (
        {"permits.4.approval": {"tier": "Approve", "quorum": 9}},
        "OuterTier: .*permit 'skip' must be at least ManualOnly",
    ),
    ({f"{TUNE}.approval.quorum": 1}, "OuterQuorum: approval.quorum of permit 'tune' must be at least 2"),
    ({"trial": TRIAL}, "OuterStep: bounds.maxStep of permit 'shift'"),
    ({"exploration.maxTrafficPercent": 6}, "OuterExploration: spec.exploration.maxTrafficPercent must be at most 5"),
    (
        {"blastRadius.maxUnhealthyPercent": 31},
        "OuterBlastRadius: spec.blastRadius.maxUnhealthyPercent must be at most 30",
    ),
    ({"blastRadius": DELETE}, "OuterBlastRadius: "),
    ({"fallback": DELETE}, "OuterFallback: spec.fallback is required by the ClusterAgentPolicy"),
)
NARROWER: tuple[dict[str, Any], ...] = (
    {},
    {f"{SHIFT}.bounds.maxStep": 0},
    {f"{SHIFT}.budget": {"limit": 6, "window": "1h"}},
    {f"{SHIFT}.budget": {"limit": 6, "window": "24h"}},
    {f"{TUNE}.approval": {"tier": "ManualOnly"}},
    {"exploration": DELETE},
    {"selector": {"names": ["digits"]}},
)


@pytest.fixture(scope="module")
def wide(lab: Lab) -> Permits:
    """A namespace whose AgentPolicy is older than the outer bounds and wider."""
    made = Permits(lab)
    made.govern()
    return made


@pytest.fixture(scope="module")
def older(lab: Lab) -> Permits:
    """Another one."""
    made = Permits(lab)
    made.govern()
    return made


@pytest.fixture(scope="module")
def room(lab: Lab, wide: Permits, older: Permits) -> Iterator[Permits]:
    """Outer bounds in force, and a namespace whose AgentPolicy is within them."""
    made = Permits(lab)
    made.govern(**WITHIN)
    with bounded(lab, OUTER):
        told(wide, "OuterAction: ")
        yield made


def told(wide: Permits, word: str) -> None:
    """Until the API server's policies answer a request with that."""
    eventually(lambda: word in wide.refused(wide.tuner, "stop", "Abort"), f"{word}is known")


def tried(room: Permits, changes: dict[str, Any], by: Api | None = None) -> Any:
    """Writes the policy of the room without effect; raises Failure."""
    body = room.lab.api.get(AGENT_POLICIES, room.namespace, POLICY_NAME)
    spec = edited(room.spec(**WITHIN), changes)
    path = AGENT_POLICIES.path(room.namespace, POLICY_NAME)
    return (by or room.lab.api).call("PUT", path, {**body, "spec": spec}, dryRun="All", fieldValidation="Strict")


# --- the AgentPolicy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"), WIDER, ids=[words.split(":")[0] + str(n) for n, (_, words) in enumerate(WIDER)]
)
def test_given_outer_bounds_when_a_policy_is_wider_then_it_is_refused_and_the_field_is_named(
    room: Permits, changes: dict[str, Any], words: str
) -> None:
    for by in (room.lab.api, room.user("chief", "admin")):
        with pytest.raises(Failure, match=f"(?s)^403: .*{words}"):
            tried(room, changes, by)


@pytest.mark.parametrize("changes", NARROWER, ids=lambda changes: "+".join(changes) or "as wide")
def test_given_outer_bounds_when_a_policy_is_no_wider_then_it_is_admitted(
    room: Permits, changes: dict[str, Any]
) -> None:
    assert tried(room, changes)


def test_given_a_policy_that_is_wider_when_it_is_stopped_then_that_is_admitted_and_letting_go_is_not(
    room: Permits, older: Permits
) -> None:
    api, where = older.lab.api, (AGENT_POLICIES, older.namespace, POLICY_NAME)
    assert api.merge(*where, {"metadata": {"annotations": {"seen": "yes"}}})
    with refused(403, "OuterAction: "):
        api.merge(*where, {"spec": {"mode": "Audit"}})
    assert api.merge(*where, {"spec": {"paused": True}})["spec"]["paused"]
    with refused(403, "OuterAction: "):
        api.merge(*where, {"spec": {"paused": False}})


def test_given_outer_bounds_when_a_new_policy_is_wider_then_it_is_refused(lab: Lab, room: Permits) -> None:
    fresh = Permits(lab)
    with refused(403, "OuterAction: "):
        fresh.write(fresh.spec())
    fresh.govern(**WITHIN)


# --- requests --------------------------------------------------------------------------------------------------------


def test_given_an_older_and_wider_policy_when_asked_beyond_the_outer_bounds_then_it_is_refused(
    lab: Lab, room: Permits
) -> None:
    old = Permits(lab)
    unbound(lab)
    old.govern()
    bound(lab, OUTER)
    told(old, "OuterAction: ")
    look: dict[str, Any] = {"release": 2, "weight": 20}

    def refusal(permit: str, action: str, **fields: Any) -> str:
        return old.refused(old.tuner, permit, action, **{"expect": look, **fields})

    assert "OuterAction: the ClusterAgentPolicy allows no agent the spec.action Abort" in refusal("stop", "Abort")
    assert "MaxStep: from spec.expect.weight 20 to spec.weight 31" in refusal("shift", "ShiftTraffic", weight=31)
    fields = {"weight": 41, "expect": {"release": 2, "weight": 40}}
    assert "MaxTrafficPercent: spec.weight 41 is more than 40" in refusal("shift", "ShiftTraffic", **fields)
    assert refusal("shift", "ShiftTraffic", weight=30) == ""
    # Mode Audit is no way around them.
    assert "MaxTrafficPercent: " in refusal("tried", "ShiftTraffic", weight=90)
    assert refusal("go", "Promote") == ""


def test_given_a_paused_cluster_when_asked_then_no_agent_may_and_people_may(
    lab: Lab, room: Permits, wide: Permits
) -> None:
    bound(lab, {**OUTER, "paused": True})
    told(wide, "ClusterPaused: ")

    refusal = room.refused(room.tuner, "go", "Promote", expect={"release": 2})

    assert "ClusterPaused: all agents of this cluster are stopped" in refusal
    assert room.ask(room.user("oncall", "weir-actor"), "Abort")
    bound(lab, OUTER)
    told(wide, "OuterAction: ")


def test_given_a_cluster_that_demands_outer_bounds_when_there_are_none_then_no_agent_may_ask(lab: Lab) -> None:
    bare = Permits(lab)
    unbound(lab)
    bare.govern()
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/weir-outer-bounds"

    def demand(action: str) -> None:
        patch = {"spec": {"paramRef": {"parameterNotFoundAction": action}}}
        lab.api.call("PATCH", path, patch, "application/merge-patch+json")

    # As the chart renders it with admission.agents.requireClusterPolicy.
    demand("Deny")
    try:
        refusal = eventually(lambda: bare.refused(bare.tuner, "stop", "Abort"), "the demand is known")
    finally:
        demand("Allow")
    assert "weir-outer-bounds" in refusal
    assert "no params found" in refusal
    eventually(lambda: bare.refused(bare.tuner, "stop", "Abort") == "", "the demand is gone")
