"""Each limit of a permit: what it stops, what it says, and whether an Audit lets it pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.agent.ledgerworld import AGENT, BOB, OTHER, World, condition, permits, releasing, rollout, spec_of
from tests.unit.agent.planning import WEIR
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.rolloutstatus import FailedRevision, GateStatus, Pause, Verdict

RULE = {"name": "drift", "when": "signals.phase == 'Never'", "then": "skip"}


def asked(world: World, permit: str, **fields: Any) -> str:
    """Where a new request stands after one look."""
    uid = world.ask(permit, **fields)
    world.look()
    return world.standing(uid)


def outer(**changes: Any) -> ClusterAgentPolicySpec:
    return ClusterAgentPolicySpec.model_validate({"limits": [{"action": "Abort"}], **changes})


@pytest.mark.parametrize(
    ("changes", "request_", "reason"),
    [
        ({}, {"permit": "skip", "by": "mallory"}, "NotPermitted"),
        ({}, {"permit": "skip", "by": None}, "UnknownRequester"),
        ({}, {"permit": "release", "by": OTHER}, "NotPermitted"),
        ({}, {"permit": "skip", "action": "Promote"}, "NotPermitted"),
        ({}, {"permit": "nothing", "action": "Skip"}, "NotPermitted"),
        ({}, {"permit": "skip", "by": WEIR}, "NotPermitted"),
        ({}, {"permit": "skip", "rule": "drift"}, "NotPermitted"),
        ({}, {"permit": "skip", "by": WEIR, "rule": "gone"}, "NotPermitted"),
        ({"permits": permits(skip={"rollouts": ["other"]})}, {"permit": "skip"}, "NotPermitted"),
        ({"selector": {"names": ["other"]}}, {"permit": "skip"}, "NotPermitted"),
        ({"selector": {"matchLabels": {"a": "b"}}}, {"permit": "skip"}, "NotPermitted"),
        ({"permits": permits(skip={"approval": {"tier": "ManualOnly"}})}, {"permit": "skip"}, "ManualOnly"),
        ({}, {"permit": "skip", "expect": None}, "ExpectationMissing"),
        ({}, {"permit": "shift", "weight": 20, "expect": {"release": 7}}, "ExpectationMissing"),
        ({"paused": True}, {"permit": "skip"}, "Paused"),
        ({"paused": True}, {"permit": "stop"}, "Paused"),
        ({}, {"permit": "back", "version": "v3"}, "RollbackVersion"),
    ],
)
@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
def test_given_what_no_mode_allows_then_it_is_denied_in_both(
    mode: str, changes: dict[str, Any], request_: dict[str, Any], reason: str
) -> None:
    world = World(spec_of(rules=[RULE], **changes, mode=mode))

    assert asked(world, **request_) == f"!{reason}"
    assert world.status.shadow_denials == []


SOFT: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (
        {},
        {"permit": "skip", "name": "skip-1-0"},
        "!BudgetSlot",
        "the budget is 3 in 10m: the name must have been skip-",
    ),
    (
        {},
        {"permit": "shift", "weight": 60, "expect": {"release": 7, "weight": 50}},
        "!Bounds",
        "weight 60 is more than maxTrafficPercent 50",
    ),
    ({}, {"permit": "shift", "weight": 31}, "!Bounds", "10 to 31 is more than maxStep 20"),
    ({}, {"permit": "train", "parameters": {"retries": "6"}}, "!Parameters", "at most 5"),
    ({}, {"permit": "train", "parameters": {"gpus": "1"}}, "!Parameters", "no parameter gpus"),
    (
        {"permits": permits(skip={"evidence": ["errors"]})},
        {"permit": "skip"},
        "Evidence",
        "the gate errors says Insufficient; it must be Pass",
    ),
    (
        {"permits": permits(skip={"evidence": ["speed"]})},
        {"permit": "skip"},
        "Evidence",
        "there is no verdict of a gate speed",
    ),
    (
        {"exploration": {"maxTrafficPercent": 15}},
        {"permit": "shift", "weight": 20},
        "!Exploration",
        "at most 15 %, not 20 %",
    ),
    (
        {"exploration": {"maxTrafficPercent": 15}, "permits": permits(promote={"approval": {}})},
        {"permit": "promote"},
        "!Exploration",
        "at most 15 %, not 100 %",
    ),
    (
        {
            "subjects": [{"name": "agent", "namespace": "ml", "rollout": "ranker"}],
            "permits": permits(release={"subjects": None}),
        },
        {"permit": "skip"},
        "!Unfit",
        "serves the agent itself",
    ),
]


@pytest.mark.parametrize(("changes", "request_", "standing", "message"), SOFT)
def test_given_a_soft_limit_then_it_stops_and_says_why(
    changes: dict[str, Any], request_: dict[str, Any], standing: str, message: str
) -> None:
    world = World(spec_of(**changes))
    uid = world.ask(**request_)

    world.look()

    assert world.standing(uid) == standing
    assert message in world.message(uid)


@pytest.mark.parametrize(("changes", "request_", "standing", "message"), SOFT)
@pytest.mark.parametrize("place", ["policy", "permit"])
def test_given_an_audit_then_a_soft_limit_is_only_written_down_once(
    place: str, changes: dict[str, Any], request_: dict[str, Any], standing: str, message: str
) -> None:
    known = changes.get("permits", permits())
    audited = [{**p, "mode": "Audit" if place == "permit" and p["name"] == request_["permit"] else None} for p in known]
    world = World(spec_of(**{**changes, "permits": audited, "mode": "Audit" if place == "policy" else "Enforce"}))
    uid = world.ask(**request_)

    world.look()
    world.look()

    assert world.standing(uid) == "Granted"
    mine = [entry for entry in world.status.shadow_denials if entry.reason == standing.strip("!")]
    assert len(mine) == 1
    assert message in mine[0].message
    assert world.status.shadow_denied == len(world.status.shadow_denials)
    assert "ShadowDenied" in world.told()


@pytest.mark.parametrize(
    "permit",
    [
        {"permit": "stop"},
        {"permit": "back"},
        {"permit": "hold"},
        {"permit": "shift", "weight": 5},
        {"permit": "shift", "weight": 10},
    ],
)
@pytest.mark.parametrize(
    "trouble",
    [
        lambda world: world.changes.update(guardrails="weir-permits is missing"),
        lambda world: world.changes.update(outer_broken="spec.limits: missing"),
        lambda world: world.edit(spec_of(permits=permits(skip={"bounds": {"maxStep": 1}}))),
        lambda world: world.edit(spec_of(permits=permits(shift={"bounds": {"maxStep": 60, "maxTrafficPercent": 5}}))),
        lambda world: (
            world.edit(spec_of(bucket={"capacity": 2, "refillEvery": "1h"}, permits=permits(skip={"cost": 2})))
            or asked(world, "skip")
        ),
        lambda world: world.edit(spec_of(exploration={"maxTrafficPercent": 0, "maxShareHours": "0"})),
        lambda world: world.set(conditions=[condition("BudgetAvailable", "False")]),
        lambda world: (
            world.edit(
                spec_of(concurrency={"total": 1}, blastRadius={"maxAffectedPercent": 0, "maxUnhealthyPercent": 0})
            )
            or asked(world, "skip")
        ),
        lambda world: world.edit(
            spec_of(permits=permits(shift={"approval": {"tier": "Approve", "quorum": 9}, "bounds": None}))
        ),
        lambda world: world.edit(spec_of(loop={"maxDepth": 1, "maxRepeats": 1, "window": "1h"})),
    ],
)
def test_given_any_trouble_then_what_leads_back_is_granted_at_once(
    trouble: Callable[[World], Any], permit: dict[str, Any]
) -> None:
    world = World()
    trouble(world)

    assert asked(world, **permit) == "Granted"


CONTRADICTION = permits(skip={"bounds": {"maxStep": 1}})
PROBLEM = "spec.permits[skip].bounds: Skip gives nobody a share of traffic"


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
def test_given_a_contradiction_then_whatever_is_not_safe_waits_until_it_is_mended(mode: str) -> None:
    world = World(spec_of(permits=CONTRADICTION, mode=mode))
    skip = world.ask("skip")
    beyond = world.ask("shift", weight=90)
    world.look()
    for uid in (skip, beyond):
        assert world.standing(uid) == "PolicyNotAccepted"
        assert PROBLEM in world.message(uid)
    assert world.status.shadow_denials == []

    world.edit(spec_of())
    world.look()

    assert world.standing(skip) == "Granted"
    assert world.standing(beyond) == "!Bounds"


def test_given_a_contradiction_then_what_was_granted_waits_and_nobody_can_overrule_it() -> None:
    world = World()
    uid = world.ask("skip")
    world.look()
    assert world.standing(uid) == "Granted"
    world.edit(spec_of(permits=CONTRADICTION))
    world.look()
    assert world.standing(uid) == "PolicyNotAccepted"
    world.wait("10s")
    world.answer("Override", uid)
    world.look()

    assert world.standing(uid) == "PolicyNotAccepted"


def test_given_a_contradiction_then_who_is_no_subject_is_refused_all_the_same() -> None:
    assert asked(World(spec_of(permits=CONTRADICTION)), "skip", by="mallory") == "!NotPermitted"


def test_given_a_required_fallback_that_is_absent_then_actions_wait_and_one_that_is_there_is_enough() -> None:
    world = World()
    world.outer = ClusterAgentPolicySpec.model_validate({"limits": [{"action": "Skip"}], "requireFallback": True})
    uid = world.ask("skip")
    world.look()
    assert world.standing(uid) == "PolicyNotAccepted"
    world.edit(spec_of(fallback={}))
    world.look()

    assert world.standing(uid) == "Granted"


def test_given_outer_bounds_that_narrow_the_policy_then_what_is_within_them_is_granted() -> None:
    world = World()
    limits = [{"action": "ShiftTraffic", "maxStep": 5}, {"action": "Promote", "maxTrafficPercent": 90}]
    world.outer = ClusterAgentPolicySpec.model_validate({"limits": limits})

    assert asked(world, "shift", weight=16) == "!Bounds"
    assert asked(world, "promote") == "!Bounds"
    assert asked(world, "skip") == "!NotPermitted"
    assert asked(world, "shift", weight=15) == "Granted"


def test_given_no_guardrails_then_forward_actions_wait_and_those_asked_for_meanwhile_are_refused_afterwards() -> None:
    world = World()
    early = world.ask("promote")
    world.look()
    world.wait("10s")
    world.changes["guardrails"] = "weir-permits is missing"
    world.look()
    world.wait("10s")
    late = world.ask("skip")
    world.look()
    assert world.standing(early) == world.standing(late) == "GuardrailsMissing"

    world.changes["guardrails"] = None
    world.look()

    assert world.standing(early) == "ApprovalNeeded"
    assert world.standing(late) == "!GuardrailsMissing"
    assert [reason for reason in world.told() if reason.startswith("Guardrails")] == [
        "GuardrailsMissing",
        "GuardrailsInstalled",
    ]


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
def test_given_outer_bounds_then_no_mode_lets_anything_pass_them(mode: str) -> None:
    world = World(spec_of(mode=mode))
    world.outer = ClusterAgentPolicySpec.model_validate(
        {
            "limits": [
                {"action": "Skip", "maxPerHour": 6},
                {"action": "ShiftTraffic", "maxStep": 5},
                {"action": "Resume", "minTier": "Approve"},
                {"action": "Abort"},
            ]
        }
    )
    over = world.ask("skip")
    world.requests.pop(over)

    assert asked(world, "shift", weight=16) == "!Bounds"
    assert asked(world, "go-on") == "ApprovalNeeded"
    assert asked(world, "release") == "!NotPermitted"
    assert asked(world, "skip", name=over.split("-", 2)[2].removesuffix("0") + "1") == "!BudgetSlot"
    assert asked(world, "stop") == "Granted"


def test_given_an_audit_stricter_than_the_outer_bounds_then_it_lets_pass_only_what_those_allow() -> None:
    strict = permits(
        shift={"bounds": {"maxTrafficPercent": 5}},
        skip={"budget": {"limit": 1, "window": "1h"}},
        promote={"approval": {"tier": "Approve", "quorum": 3}},
    )
    world = World(spec_of(mode="Audit", permits=strict, concurrency={"perTarget": 9}))
    world.outer = ClusterAgentPolicySpec.model_validate(
        {
            "limits": [
                {"action": "ShiftTraffic", "maxTrafficPercent": 30},
                {"action": "Skip", "maxPerHour": 3},
                {"action": "Promote", "minTier": "Approve", "minQuorum": 2},
            ]
        }
    )

    assert asked(world, "shift", weight=30) == "Granted"
    assert asked(world, "shift", weight=31) == "!Bounds"
    assert [asked(world, "skip") for _ in range(4)] == ["Granted", "Granted", "Granted", "!BudgetSlot"]
    uid = world.ask("promote")
    for person in ("ada", BOB):
        world.look()
        assert world.standing(uid) == "ApprovalNeeded"
        world.answer("Approve", uid, by=person)
    world.look()
    assert world.standing(uid) == "Granted"
    assert {entry.reason for entry in world.status.shadow_denials} >= {"Bounds", "BudgetSlot", "ApprovalNeeded"}


def test_given_a_paused_namespace_or_cluster_then_everything_is_denied() -> None:
    for changes in ({"namespace_paused": True}, {"outer": outer(paused=True)}):
        world = World()
        world.changes.update(changes)
        assert asked(world, "stop") == "!Paused"


def test_given_a_policy_that_cannot_be_read_then_everything_is_denied_and_says_so() -> None:
    world = World()
    world.spec = None
    uid = world.ask("stop", action="Abort")

    world.look()

    assert world.standing(uid) == "!NotPermitted"
    assert world.message(uid) == "the AgentPolicy cannot be read, so nothing is permitted: spec.permits: missing"


def test_given_a_gate_that_passes_then_the_evidence_is_there() -> None:
    world = World(spec_of(permits=permits(skip={"evidence": ["errors"]})))
    world.set(gates=[GateStatus(name="errors", verdict=Verdict.PASS)])

    assert asked(world, "skip") == "Granted"


@pytest.mark.parametrize(
    ("verdict", "told"),
    [(Verdict.PASS, "no release runs, so there is no verdict of a gate errors"), (Verdict.FAIL, "")],
)
def test_given_a_release_that_is_over_then_its_verdicts_are_no_evidence(verdict: Verdict, told: str) -> None:
    paused = Pause(since=0.0, by=AGENT, authority="permit hold")
    gates = [GateStatus(name="errors", verdict=verdict)]
    world = World(spec_of(permits=permits(go_on={"evidence": ["errors"]})), rollout(pause=paused, gates=gates))
    uid = world.ask("go-on")

    world.look()

    assert world.standing(uid) == "Evidence"
    assert told in world.message(uid)
    assert "says Fail" not in world.message(uid)


def test_given_a_chain_of_causes_then_it_ends_at_the_greatest_depth() -> None:
    world = World(spec_of(loop={"maxDepth": 2, "maxRepeats": 9, "window": "1h"}))
    chain = [world.ask("hold")]
    for _ in range(2):
        cause = {"name": world.requests[chain[-1]].name, "uid": chain[-1]}
        chain.append(world.ask("go-on", causedBy=cause))
        world.run()

    assert world.requests[chain[1]].phase == "Succeeded"
    assert world.requests[chain[2]].phase == "Refused"
    assert "more than 2 actions" in world.requests[chain[2]].message


def test_given_causes_in_a_circle_then_they_are_followed_once() -> None:
    world = World()
    name, uid = f"skip-r{len(world.requests)}", f"uid-{len(world.requests)}-skip-r{len(world.requests)}"

    assert asked(world, "go-on", name=name, causedBy={"name": name, "uid": uid}) == "Granted"


def test_given_a_bucket_then_it_empties_and_fills_again_and_the_first_in_line_drinks_first() -> None:
    world = World(
        spec_of(
            bucket={"capacity": 3, "refillEvery": "1m"},
            concurrency={"perTarget": 9, "total": 9},
            permits=permits(go_on={"cost": 1}),
        )
    )
    first, second = world.ask("skip"), world.ask("skip")
    third = world.ask("go-on", by=OTHER)
    world.look()
    assert (world.standing(first), world.standing(second), world.standing(third)) == ("Granted", "Bucket", "Bucket")

    world.wait("1m")
    world.look()

    assert (world.standing(second), world.standing(third)) == ("Granted", "Bucket")
    world.wait("59s")
    world.look()
    assert world.standing(third) == "Bucket"
    world.wait("1s")
    world.look()
    assert world.standing(third) == "Granted"


def test_given_an_empty_bucket_then_an_override_takes_no_more_than_is_there() -> None:
    world = World(spec_of(bucket={"capacity": 2, "refillEvery": "1h"}))
    world.ask("skip")
    world.run()
    uid = world.ask("skip")
    world.look()
    assert world.standing(uid) == "Bucket"

    world.answer("Override", uid)
    world.look()

    assert world.standing(uid) == "Granted"
    assert world.status.bucket is not None
    assert world.status.bucket.left == 0


def test_given_a_grant_that_is_taken_back_then_its_tokens_come_back_once() -> None:
    world = World(spec_of(bucket={"capacity": 9, "refillEvery": "8h"}, exploration={"maxTrafficPercent": 100}))
    uid = world.ask("skip")
    for burns, left in (("True", 7), ("False", 9), ("False", 9), ("True", 7)):
        world.set(conditions=[condition("BudgetAvailable", burns)])
        world.look()
        assert world.status.bucket is not None
        assert world.status.bucket.left == left
    assert world.standing(uid) == "Granted"


@pytest.mark.parametrize(("broken", "standing"), [(0, "Granted"), (1, "Granted"), (2, "Granted"), (3, "BlastRadius")])
def test_given_many_unhealthy_rollouts_then_only_too_many_stop_automation(broken: int, standing: str) -> None:
    names = ("a", "b", "c", "d", "e")
    world = World(spec_of(), *(releasing(name) for name in names))
    for name in names[:broken]:
        world.set(name, conditions=[condition("Stalled", "True", "RolledBack")])

    assert asked(world, "skip", on="e") == standing
    if standing == "BlastRadius":
        assert asked(world, "stop", on="e") == "Granted"
        assert world.told().count("BlastRadiusExceeded") == 1


def test_given_one_rollout_then_its_own_trouble_does_not_stop_what_could_mend_it() -> None:
    world = World(spec_of(), rollout())
    world.set(conditions=[condition("Stalled", "True", "RolledBack")])

    assert asked(world, "release") == "Granted"


def test_given_a_share_of_affected_rollouts_then_others_wait_but_one_always_may() -> None:
    world = World(spec_of(blastRadius={"maxAffectedPercent": 50}), *(releasing(name) for name in ("a", "b", "c")))
    first, second = world.ask("skip", on="a"), world.ask("skip", on="b")

    world.look()

    assert (world.standing(first), world.standing(second)) == ("Granted", "BlastRadius")
    assert world.message(second) == "1 of 3 Rollouts may be acted on at once"


def test_given_an_agent_and_a_person_then_the_person_s_own_requests_are_no_business_of_the_policy() -> None:
    world = World(spec_of(paused=True))
    uid = world._create("promote-by-hand", action="Promote", rolloutRef={"name": "ranker"}, requester=BOB)

    world.look()

    assert world.standing(uid) == ""
    assert world.requests[uid].phase == ""


def test_given_a_rule_then_weir_may_ask_under_its_permit_and_its_risk_raises_the_tier() -> None:
    policy: Callable[..., AgentPolicySpec] = lambda risk: spec_of(rules=[{**RULE, "risk": risk}])  # noqa: E731

    assert asked(World(policy(None)), "skip", by=WEIR, rule="drift") == "Granted"
    assert asked(World(policy("Approve")), "skip", by=WEIR, rule="drift") == "ApprovalNeeded"
    assert asked(World(policy("ManualOnly")), "skip", by=WEIR, rule="drift") == "!ManualOnly"
    assert asked(World(policy("Approve")), "skip", by=AGENT) == "Granted"


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
@pytest.mark.parametrize(
    ("permit", "fields", "told"),
    [
        ("shift", {"weight": 10}, "no release runs, so there is nothing for ShiftTraffic"),
        ("skip", {}, "no release runs, so there is nothing for Skip"),
        ("promote", {}, "no release runs, so there is nothing for Promote"),
        ("go-on", {}, "no release runs, and the Rollout is not paused"),
        ("again", {}, "v1, the version that is wanted, has not failed; there is nothing to retry"),
    ],
)
def test_given_no_release_then_what_needs_one_is_refused_and_waits_for_no_gate_and_nobody(
    mode: str, permit: str, fields: dict[str, Any], told: str
) -> None:
    needs = {"evidence": ["errors"], "approval": {"tier": "Approve", "quorum": 1}}
    own = permits(**{name.replace("-", "_"): needs for name in ("shift", "skip", "promote", "go-on")})
    again = {"name": "again", "action": "Retry", "approval": needs["approval"]}
    world = World(spec_of(permits=[*own, again], mode=mode), rollout())

    uid = world.ask(permit, **fields)
    world.look()

    assert (world.standing(uid), world.message(uid)) == ("!NothingToDo", told)


def test_given_a_look_that_is_older_than_what_the_agent_saw_then_its_request_is_not_refused_for_good() -> None:
    world = World(spec_of(permits=permits(skip={"evidence": ["errors"]})), rollout())
    release = world.rollouts["ranker"].status.release

    assert asked(world, "skip", expect={"release": release + 1}) == "Evidence"


def test_given_a_version_that_failed_or_a_pause_then_a_retry_and_a_resume_have_something_to_do() -> None:
    failed = FailedRevision(revision="r1", version="v1", release=1, reason="GateFailed", message="m")
    paused = Pause(since=0.0, by=AGENT, authority="permit hold")
    world = World(
        spec_of(permits=[*permits(), {"name": "again", "action": "Retry"}]), rollout(failed=[failed], pause=paused)
    )
    world.ask("again")
    world.look()
    assert [grant.action for grant in world.status.granted] == ["Retry"]
    assert asked(world, "go-on") == "Concurrency"
