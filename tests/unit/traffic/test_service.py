import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.traffic.builders import A, B, C, backends, live_service, only
from tests.unit.workload.builders import endpoint_slice, owned, pod, rollout
from weir.release.plan import Stage, required_replicas
from weir.traffic.adapter import Backend, Seen, adapter_for
from weir.traffic.service import endpoints_by_pool, granularity, unfit_backends

VIEW = rollout(traffic={"service": {}})
ADAPTER = adapter_for(VIEW)


def world(counts: dict[str, int], service: dict[str, Any] | None = None, behind: dict[str, int] | None = None) -> Seen:
    pods = [pod(f"{pool}-{n}", pool) for pool, count in counts.items() for n in range(count)]
    names = [f"{pool}-{n}" for pool, count in (counts if behind is None else behind).items() for n in range(count)]
    addresses = {name: f"10.0.0.{index}" for index, name in enumerate(names)}
    return Seen(
        services={"digits": service} if service else {},
        slices=[endpoint_slice("digits", *names, addresses=addresses)],
        pods=pods,
    )


def written(shares: Any, objects: Seen) -> dict[str, Any]:
    return live_service(VIEW, only(ADAPTER.desired(VIEW, shares, objects)).body)


def test_given_one_version_when_it_has_all_then_the_service_selects_it() -> None:
    live = written(backends((A, 100)), world({A: 2}))
    assert live["spec"]["selector"] == {"weir.dev/pool": A}
    assert ADAPTER.desired(VIEW, backends((A, 100)), world({A: 2}, live)) == ()
    found = ADAPTER.observe(VIEW, world({A: 2}, live))
    assert (dict(found.weights), found.accepted, found.granularity, found.problem) == ({A: 100}, True, 1, None)


def test_given_two_versions_when_they_share_then_the_service_selects_both_and_says_how_coarse_it_is() -> None:
    shares = backends((A, 80), (B, 20))
    live = written(shares, world({A: 4, B: 1}))
    assert live["spec"]["selector"] == {"weir.dev/rollout": "digits"}
    found = ADAPTER.observe(VIEW, world({A: 4, B: 1}, live))
    assert (dict(found.weights), found.accepted, found.granularity) == ({A: 80, B: 20}, True, 20)
    assert endpoints_by_pool(VIEW, world({A: 4, B: 1}, live)) == {A: 4, B: 1}


def test_given_a_switch_when_endpoints_lag_then_it_is_not_accepted_yet() -> None:
    live = written(backends((A, 0), (B, 100)), world({A: 2, B: 2}))
    assert live["spec"]["selector"] == {"weir.dev/pool": B}
    assert not ADAPTER.observe(VIEW, world({A: 2, B: 2}, live, behind={A: 2})).accepted
    found = ADAPTER.observe(VIEW, world({A: 2, B: 2}, live, behind={B: 2}))
    assert (dict(found.weights), found.accepted, found.granularity) == ({A: 0, B: 100}, True, 1)


def test_given_warm_pods_of_a_third_version_when_two_shall_share_then_it_waits_but_going_back_never_does() -> None:
    objects = world({A: 4, B: 1, C: 1})
    problem = unfit_backends(VIEW, backends((A, 80), (B, 20)), objects)
    assert problem is not None
    assert problem.reason == "RetainedPodsServe"
    assert C in problem.message
    assert ADAPTER.desired(VIEW, backends((A, 80), (B, 20)), objects) == ()
    assert only(ADAPTER.desired(VIEW, backends((A, 100), (B, 0)), objects))


def test_given_a_third_version_comes_up_when_two_share_then_the_problem_is_seen() -> None:
    live = written(backends((A, 80), (B, 20)), world({A: 4, B: 1}))
    found = ADAPTER.observe(VIEW, world({A: 4, B: 1, C: 1}, live))
    assert found.problem is not None
    assert (found.accepted, found.problem.reason) == (False, "RetainedPodsServe")


def test_given_somebody_changed_the_selector_when_observed_then_the_note_is_not_believed() -> None:
    live = written(backends((A, 100), (B, 0)), world({A: 2, B: 2}))
    live["spec"]["selector"] = {"weir.dev/pool": B}
    assert dict(ADAPTER.observe(VIEW, world({A: 2, B: 2}, live)).weights) == {B: 100}
    assert only(ADAPTER.desired(VIEW, backends((A, 100), (B, 0)), world({A: 2, B: 2}, live)))
    live["metadata"]["annotations"]["weir.dev/weights"] = json.dumps(["nonsense"])
    assert dict(ADAPTER.observe(VIEW, world({A: 2, B: 2}, live)).weights) == {B: 100}


def test_given_a_service_of_somebody_else_when_planned_then_it_is_left_alone() -> None:
    objects = world({A: 1}, owned("Service", "digits", rollout("other"), spec={}))
    problem = ADAPTER.plan(VIEW, objects)
    assert problem is not None
    assert problem.reason == "ServiceClaimed"
    assert ADAPTER.desired(VIEW, backends((A, 100)), objects) == ()
    assert ADAPTER.observe(VIEW, objects).problem == problem


def test_given_a_pool_that_the_user_runs_when_switched_then_it_is_refused() -> None:
    problem = unfit_backends(VIEW, [Backend("mine", 100, "v", external=True)], world({}))
    assert problem is not None
    assert (problem.reason, problem.terminal) == ("ServiceSwitchNeedsPods", True)


def test_given_no_service_yet_when_observed_then_nothing_is_routed() -> None:
    found = ADAPTER.observe(VIEW, world({A: 1}))
    assert (dict(found.weights), found.accepted, found.problem) == ({}, False, None)


def planned(weight: int, replicas: int) -> int:
    """Pods of the candidate in a stage of that weight, beside a stable side that keeps all of its own."""
    spec = rollout(traffic={"service": {}}, replicas=replicas).spec
    return required_replicas(spec, Stage(f"Traffic({weight})", "Traffic", weight, 0.0))


@pytest.mark.parametrize(
    ("weight", "replicas", "candidate"),
    [(100, 4, 4), (20, 4, 1), (50, 4, 4), (1, 4, 1), (90, 4, 4), (25, 9, 3)],
)
def test_given_a_weight_when_planned_then_pods_give_about_that_share(
    weight: int, replicas: int, candidate: int
) -> None:
    assert planned(weight, replicas) == candidate


@given(st.integers(1, 50), st.integers(1, 1000))
def test_given_any_weight_up_to_half_when_planned_then_the_share_is_within_one_pod(weight: int, replicas: int) -> None:
    candidate = planned(weight, replicas)
    assert abs(100 * candidate / (replicas + candidate) - weight) <= granularity(replicas + candidate)
