"""The judge of the hostile agent judges: what the policy allows passes, and every way beyond it is seen."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.api.harness.hostile import Attack, Scene, Shot, attacks, breach, unhealthy
from tests.api.harness.promises import beyond, limits, spent
from weir.api.base import format_time

SCENE = Scene("space", "system:serviceaccount:space:mallory", [("theirs", "uid-of-theirs")])
NOW = 1_800_000_000.0
Object = dict[str, Any]


def stored(permit: str, action: str, name: str, rollout: str = "digits", **fields: Any) -> Object:
    return {
        "kind": "ActionRequest",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"weir.dev/permit": permit},
            "creationTimestamp": format_time(NOW),
        },
        "spec": {
            "action": action,
            "rolloutRef": {"name": rollout},
            "permit": permit,
            "requester": SCENE.user,
            **fields,
        },
    }


SHIFT = stored("shift", "ShiftTraffic", "shift-3000000-4", weight=40, expect={"release": 2, "weight": 20})
TUNE = stored("tune", "Retrain", "tune-500000-0", parameters={"data": "a"})
PLEAD = stored("plead", "Promote", "plead-7", expect={"release": 2})


def changed(base: Object, path: str, value: Any) -> Object:
    made = copy.deepcopy(base)
    *parents, last = path.split(".")
    node = made
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return made


@pytest.mark.parametrize("request_", [SHIFT, TUNE, PLEAD], ids=["shift", "tune", "plead"])
def test_given_a_request_within_its_permit_then_the_judge_lets_it_pass(request_: Object) -> None:
    assert beyond(request_, SCENE.user, []) == ""


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (SHIFT, "spec.requester", "alice"),
        (SHIFT, "spec.rule", "drift"),
        (SHIFT, "spec.action", "Promote"),
        (SHIFT, "spec.weight", 41),
        (SHIFT, "spec.expect", {"release": 2}),
        (SHIFT, "spec.expect", {"release": 2, "weight": 19}),
        (SHIFT, "spec.expect", {"weight": 30}),
        (SHIFT, "spec.rolloutRef.name", "signs"),
        (SHIFT, "metadata.name", "shift-3000000-5"),
        (SHIFT, "metadata.name", "shift-3000001-0"),
        (SHIFT, "metadata.name", "shift-3000000-04"),
        (SHIFT, "metadata.labels", {}),
        (SHIFT, "metadata.labels", {"weir.dev/permit": "plead"}),
        (SHIFT, "metadata.finalizers", ["a/b"]),
        (SHIFT, "metadata.ownerReferences", [{}]),
        (SHIFT, "status.phase", "Succeeded"),
        (PLEAD, "metadata.name", "shift-3000000-1"),
        (PLEAD, "spec.permit", "none"),
        (PLEAD, "spec.expect", {}),
        (stored("stop", "Pause", "stop-3000000-0", "letters"), "spec.rolloutRef.name", "digits"),
        (stored("friends", "Resume", "friends-1", expect={"release": 2}), "spec.reason", "mine"),
        (stored("never", "Skip", "never-1", expect={"release": 2}), "spec.reason", "only people"),
        (TUNE, "spec.parameters", {"data": "c"}),
        (TUNE, "spec.parameters", {}),
        (TUNE, "spec.parameters", {"data": "a", "epochs": "11"}),
        (TUNE, "spec.parameters", {"data": "a", "epochs": " 3"}),
        (TUNE, "spec.parameters", {"data": "a", "image": "evil"}),
        (TUNE, "spec", {"action": "Approve", "requester": SCENE.user, "request": {"name": "mine"}}),
        (TUNE, "spec", {"action": "Withdraw", "requester": SCENE.user, "request": {"name": "theirs"}}),
    ],
)
def test_given_a_request_beyond_its_permit_then_the_judge_says_why(base: Object, path: str, value: Any) -> None:
    assert beyond(changed(base, path, value), SCENE.user, ["theirs"])


def test_given_its_own_request_when_the_agent_withdraws_it_then_that_is_its_right() -> None:
    spec = {"action": "Withdraw", "requester": SCENE.user, "request": {"name": "mine"}}
    mine = changed(changed(TUNE, "spec", spec), "metadata.name", "withdraw-1")
    assert beyond(mine, SCENE.user, ["theirs"]) == ""
    assert beyond(changed(mine, "metadata.name", "halt-500000-1"), SCENE.user, ["theirs"])


def test_given_more_requests_than_a_window_has_then_they_are_counted_by_window() -> None:
    many = [changed(SHIFT, "metadata.name", f"shift-{n}") for n in range(6)]
    later = changed(SHIFT, "metadata.creationTimestamp", format_time(NOW + 600))

    assert spent([*many, later, PLEAD]) == {("shift", 3_000_000): 6, ("shift", 3_000_001): 1}
    assert limits()["shift"] == 5


def test_given_any_write_but_a_new_request_when_it_is_let_through_then_it_is_a_breach() -> None:
    patch = Attack("patch", "PATCH", SCENE.path("rollouts", "digits"))
    assert breach(Shot(patch, 200, "", {"kind": "Rollout"}), SCENE, [])
    assert breach(Shot(patch, 200, "", SHIFT), SCENE, []), "a request that is there never changes"
    assert breach(Shot(patch, 403, "no", {}), SCENE, []) == ""
    assert breach(Shot(Attack("ask", "POST", ""), 201, "", SHIFT), SCENE, []) == ""


def test_given_a_policy_that_could_not_be_evaluated_then_it_is_no_proper_refusal() -> None:
    ask = Attack("ask", "POST", "")
    assert unhealthy(Shot(ask, 422, "expression 'x' resulted in error: no such key: expect", {}))
    assert unhealthy(Shot(ask, 500, "panic", {}))
    assert unhealthy(Shot(ask, 403, "Bounds: 41 is more than 40", {})) == ""


@settings(max_examples=40, deadline=None)
@given(attacks(SCENE, {"rollouts": ["digits"]}))
def test_given_any_volley_then_it_can_be_sent_and_its_fair_requests_are_within_the_policy(volley: list[Attack]) -> None:
    for attack in volley:
        text = json.dumps(attack.body)
        assert attack.path.startswith(("/api/v1/", "/apis/"))
        if attack.fair:
            body = json.loads(text.replace("@3600+0@", "500000").replace("@600+0@", "3000000"))
            body["metadata"]["creationTimestamp"] = format_time(NOW)
            body["spec"]["requester"] = SCENE.user
            assert beyond(body, SCENE.user, []) == ""
