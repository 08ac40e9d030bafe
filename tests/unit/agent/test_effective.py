"""The policy after the outer bounds, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.agent.ledgerworld import permits, spec_of
from weir.agent.effective import effective, problems, summary, wider
from weir.agent.permits import length
from weir.api.agentpermit import TIERS, Bounds, Budget, Permit
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, OuterLimit

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples" / "agents"
ALL = ("Abort", "Rollback", "Pause", "Resume", "ShiftTraffic", "Skip", "Promote", "Release", "Retrain")


def outer(*limits: dict[str, Any], **changes: Any) -> ClusterAgentPolicySpec:
    """Outer bounds; actions that are not named are allowed without limits."""
    named = {limit["action"] for limit in limits}
    rest = [{"action": action} for action in ALL if action not in named]
    return ClusterAgentPolicySpec.model_validate({"limits": [*limits, *rest], **changes})


def test_given_no_outer_bounds_then_the_policy_is_in_force_as_it_is() -> None:
    policy = spec_of()
    found = effective(policy, None)

    assert list(found.permits.values()) == policy.permits
    assert not found.forbidden
    assert not found.narrowed
    assert found.problems == ()
    assert found.wider == ()


def test_given_outer_bounds_then_each_limit_is_the_stricter_of_both() -> None:
    found = effective(
        spec_of(),
        outer(
            {"action": "ShiftTraffic", "maxStep": 30, "maxTrafficPercent": 10},
            {"action": "Skip", "maxPerHour": 12},
            {"action": "Resume", "maxPerHour": 4, "minTier": "Approve", "minQuorum": 2},
            {"action": "Promote", "minQuorum": 3},
        ),
    )

    shift, skip, resume, promote = (found.permits[name] for name in ("shift", "skip", "go-on", "promote"))
    assert shift.bounds == Bounds(max_step=20, max_traffic_percent=10)
    assert skip.budget is not None
    assert (skip.budget.limit, skip.budget.window) == (2, "10m")
    assert resume.budget is not None
    assert (resume.budget.limit, resume.budget.window) == (4, "1h")
    assert (resume.approval.tier, resume.approval.quorum) == ("Approve", 2)
    assert promote.approval.quorum == 3
    assert found.narrowed["shift"] == ("bounds.maxTrafficPercent is 10",)
    assert "stop" not in found.narrowed


def test_given_an_action_that_the_outer_bounds_leave_out_then_it_is_forbidden() -> None:
    bounds = ClusterAgentPolicySpec.model_validate({"limits": [{"action": "Abort"}]})
    found = effective(spec_of(), bounds)

    assert list(found.permits) == ["stop"]
    assert found.forbidden["release"] == "the ClusterAgentPolicy does not allow Release"


def test_given_a_budget_too_short_for_the_outer_bounds_then_it_is_forbidden_but_one_way_back_is_left() -> None:
    short = {"budget": {"limit": 1, "window": "10m"}}
    found = effective(
        spec_of(permits=permits(skip=short, stop=short)),
        outer({"action": "Skip", "maxPerHour": 2}, {"action": "Abort", "maxPerHour": 2}),
    )

    assert "skip" in found.forbidden
    assert found.permits["stop"].budget is not None
    assert found.permits["stop"].budget.limit == 1


@pytest.mark.parametrize(
    ("limit", "window", "left"),
    [(1000, "8760h", 4), (5, "2h", 4), (4, "24h", 4), (4, "1h", 4), (3, "30m", 2), (1, "15m", 1)],
)
def test_given_a_most_per_hour_then_no_window_allows_more_at_once_than_an_hour_does(
    limit: int, window: str, left: int
) -> None:
    budget = {"limit": limit, "window": window}
    policy, bounds = spec_of(permits=permits(skip={"budget": budget})), outer({"action": "Skip", "maxPerHour": 4})
    found = effective(policy, bounds)

    assert found.permits["skip"].budget == Budget(limit=left, window=window)
    assert found.outermost["skip"].budget == Budget(limit={"30m": 2, "15m": 1}.get(window, 4), window=window)
    assert bool(found.wider) == (left < limit)


@pytest.mark.parametrize("name", ["cautious", "permissive", "retrain"])
def test_given_the_samples_then_each_policy_is_within_the_outer_bounds(name: str) -> None:
    def spec(file: str, kind: str) -> Any:
        objects = yaml.safe_load_all((SAMPLES / f"{file}.yaml").read_text())
        return next(obj["spec"] for obj in objects if obj["kind"] == kind)

    bounds = ClusterAgentPolicySpec.model_validate(spec("cluster", "ClusterAgentPolicy"))
    policy = AgentPolicySpec.model_validate(spec(name, "AgentPolicy"))

    assert wider(policy, bounds) == ()


def test_given_a_way_back_in_a_long_window_when_it_is_narrowed_then_one_in_each_hour_is_left() -> None:
    back = {"budget": {"limit": 200, "window": "24h"}}
    found = effective(spec_of(permits=permits(stop=back)), outer({"action": "Abort", "maxPerHour": 5}))

    assert found.permits["stop"].budget == Budget(limit=24, window="24h")
    assert found.narrowed["stop"] == ("budget.limit is 24 in 24h",)


def test_given_a_least_tier_then_what_leads_back_to_safety_still_waits_for_nobody() -> None:
    found = effective(spec_of(), outer({"action": "Abort", "minTier": "Approve"}))

    assert found.permits["stop"].approval.tier == "None"


def test_given_a_pause_on_either_side_or_tighter_blast_radius_then_it_holds() -> None:
    assert effective(spec_of(paused=True), None).paused
    assert effective(spec_of(), outer(paused=True)).paused
    found = effective(spec_of(), outer(maxUnhealthyPercent=15, maxExplorationPercent=5))
    assert found.blast_radius.max_unhealthy_percent == 15
    assert found.exploration is not None
    assert found.exploration.max_traffic_percent == 5


limits = st.builds(
    OuterLimit,
    action=st.just("ShiftTraffic"),
    max_step=st.none() | st.integers(0, 100),
    max_traffic_percent=st.none() | st.integers(0, 100),
    max_per_hour=st.none() | st.integers(1, 50),
    min_tier=st.sampled_from(TIERS),
    min_quorum=st.none() | st.integers(1, 10),
)
owns = st.fixed_dictionaries(
    {"name": st.just("shift"), "action": st.just("ShiftTraffic")},
    optional={
        "bounds": st.fixed_dictionaries(
            {}, optional={"maxStep": st.integers(0, 100), "maxTrafficPercent": st.integers(0, 100)}
        ),
        "budget": st.fixed_dictionaries(
            {"limit": st.integers(1, 1000), "window": st.sampled_from(["1m", "1h", "24h"])}
        ),
        "approval": st.sampled_from([{"tier": "Notify"}, {"tier": "Approve", "quorum": 2}]),
    },
)


def _percent(most: int | None) -> int:
    return 100 if most is None else most


@settings(deadline=None)
@given(owns, limits)
def test_given_any_two_policies_then_what_is_in_force_is_wider_than_neither(
    own: dict[str, Any], limit: OuterLimit
) -> None:
    permit = Permit.model_validate(own)
    found = effective(spec_of(permits=[own], templates=None), ClusterAgentPolicySpec(limits=[limit]))
    force = found.permits.get("shift")
    if force is None:
        assert "shift" in found.forbidden
        return
    mine, both = permit.bounds or Bounds(), force.bounds or Bounds()
    for name in ("max_step", "max_traffic_percent"):
        given_most = [most for most in (getattr(mine, name), getattr(limit, name)) if most is not None]
        assert _percent(getattr(both, name)) == min(given_most, default=100)
    if permit.budget is not None:
        assert force.budget is not None
        assert force.budget.limit <= permit.budget.limit
    if limit.max_per_hour is not None:
        assert force.budget is not None
        assert force.budget.limit * 3600 <= limit.max_per_hour * min(length(force.budget), 3600)
    assert TIERS.index(force.approval.tier) == max(TIERS.index(permit.approval.tier), TIERS.index(limit.min_tier))
    if force.approval.tier == "Approve":
        assert force.approval.quorum is not None
        assert force.approval.quorum >= max(permit.approval.quorum or 1, limit.min_quorum or 1)
    assert bool(found.narrowed) == (force != permit) == bool(found.wider)
    assert found.problems == problems(spec_of(permits=[own], templates=None), None)


RULE = {"name": "drift", "when": "signals.phase == 'Promoted'", "then": "stop"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"permits": permits(promote={"approval": {"tier": "ManualOnly"}}), "rules": [{**RULE, "then": "promote"}]},
            "spec.rules[drift].then: promote is ManualOnly, so no rule can ask for it",
        ),
        (
            {"rules": [{**RULE, "then": "shift"}]},
            "spec.rules[drift].weight: required by ShiftTraffic and by no other action",
        ),
        ({"rules": [{**RULE, "parameters": {"a": "1"}}]}, "spec.rules[drift].parameters: Abort has no parameters"),
        ({"rules": [{**RULE, "then": "gone"}]}, "spec.rules[drift].then: there is no permit gone"),
        (
            {"permits": permits(shift={"bounds": {"maxStep": 60, "maxTrafficPercent": 50}})},
            "spec.permits[shift].bounds.maxStep: 60 is more than maxTrafficPercent 50",
        ),
        (
            {"permits": permits(skip={"bounds": {"maxStep": 5}})},
            "spec.permits[skip].bounds: Skip gives nobody a share of traffic",
        ),
        (
            {"permits": permits(promote={"bounds": {"maxTrafficPercent": 50}})},
            "spec.permits[promote].bounds.maxTrafficPercent: below 100 nothing can be promoted",
        ),
        (
            {"permits": permits(stop={"subjects": ["nobody"]})},
            "spec.permits[stop].subjects: nobody is not one of spec.subjects",
        ),
        (
            {"permits": permits(stop={"rollouts": ["b"]}), "selector": {"names": ["a"]}},
            "spec.permits[stop].rollouts: b is not one of spec.selector.names",
        ),
        *(
            (
                {"permits": [*permits(), {"name": name, "action": "Pause"}]},
                f"spec.permits[{name}].name: names that begin with fallback- are for the fallback's requests; "
                "take another one",
            )
            for name in ("fallback", "fallback-ranker")
        ),
        (
            {"permits": permits(skip={"budget": {"limit": 1, "window": "10ms"}})},
            "spec.permits[skip].budget.window: must be at least 1s",
        ),
        *(
            (
                {"permits": permits(**{permit: {"evidence": ["errors"]}})},
                f"spec.permits[{permit}].evidence: gates judge a release that runs, and {action} needs none; remove it",
            )
            for permit, action in (("release", "Release"), ("train", "Retrain"))
        ),
        (
            {
                "trial": {
                    "share": 10,
                    "permits": [{"name": "release", "action": "Release", "evidence": ["errors"]}],
                }
            },
            "spec.trial.permits[release].evidence: gates judge a release that runs, and Release needs none; remove it",
        ),
        (
            {"bucket": {"capacity": 1, "refillEvery": "1m"}},
            "spec.permits[skip].cost: 2 is more than the bucket can hold (1)",
        ),
        (
            {
                "permits": permits(
                    train={"parameters": [{"name": "retries", "minimum": 3, "maximum": 1, "default": "2"}]}
                )
            },
            "spec.permits[train].parameters[retries]: minimum 3 is more than maximum 1",
        ),
        (
            {"trial": {"share": 10, "permits": [{"name": "stop", "action": "Pause"}]}},
            "spec.trial.permits[stop]: `permits` has none of that name for Pause",
        ),
        (
            {
                "trial": {
                    "share": 10,
                    "permits": [{"name": "skip", "action": "Skip", "budget": {"limit": 1, "window": "1h"}}],
                }
            },
            "spec.trial.permits[skip].budget.window: must be that of the permit, since names of requests come from it",
        ),
    ],
)
def test_given_a_contradiction_then_the_field_is_named(changes: dict[str, Any], problem: str) -> None:
    assert problem in problems(spec_of(**changes), None)


def test_given_a_policy_wider_than_the_outer_bounds_then_every_place_is_named_and_it_is_accepted() -> None:
    on_trial = {"share": 10, "permits": [{"name": "shift", "action": "ShiftTraffic", "bounds": {"maxStep": 2}}]}
    policy = spec_of(exploration={"maxTrafficPercent": 30}, trial=on_trial)
    bounds = outer({"action": "ShiftTraffic", "maxStep": 1}, maxExplorationPercent=5, maxUnhealthyPercent=10)

    assert wider(policy, bounds) == (
        "spec.permits[shift]: bounds.maxStep is 1",
        "spec.trial.permits[shift]: bounds.maxStep is 1",
        "spec.exploration.maxTrafficPercent: 5 is the most allowed",
        "spec.blastRadius.maxUnhealthyPercent: 10 is the most allowed",
    )
    assert problems(policy, bounds) == ()


def test_given_a_fallback_that_is_required_and_absent_then_it_is_a_problem_and_not_narrowed() -> None:
    bounds = outer(requireFallback=True)

    assert problems(spec_of(), bounds) == ("spec.fallback: required by the ClusterAgentPolicy",)
    assert problems(spec_of(fallback={}), bounds) == ()
    assert wider(spec_of(), bounds) == ()


def test_given_outer_bounds_of_a_hundred_percent_then_nothing_is_wider() -> None:
    everything = outer({"action": "ShiftTraffic", "maxStep": 100, "maxTrafficPercent": 100})

    assert wider(spec_of(permits=permits(shift={"bounds": None})), everything) == ()


def test_given_a_template_that_could_never_run_then_it_is_a_problem() -> None:
    broken = {
        "name": "train",
        "action": "Retrain",
        "object": {"apiVersion": "batch/v1", "kind": "Job"},
        "failed": "object.",
    }

    assert any(text.startswith("spec.templates[train].failed") for text in problems(spec_of(templates=[broken]), None))


def test_given_a_permit_then_its_limits_are_told_in_one_sentence() -> None:
    by_name = {permit.name: permit for permit in spec_of().permits}

    assert summary(by_name["skip"]) == "Skip; at most 3 in 10m"
    assert summary(by_name["shift"]) == "ShiftTraffic; steps of at most 20 points; at most 50 % of traffic"
    assert summary(by_name["promote"]) == "Promote; with the consent of 2"
    assert summary(by_name["release"]) == "Release; 10m to 1h between two on one Rollout"
