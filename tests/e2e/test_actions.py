"""People at the wheel of a real release under live traffic: approvals, rollback after a promotion, drills."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from testbed.cluster import ROOT, CommandFailed, wait_for
from testbed.scenario import CANARY_STEPS, Space, Spaces, User

GRACE = User("grace", ("risk",))
HEDY = User("hedy", ("risk",))
EVE = User("eve", ("interns",))
_REASON = "what the test is about"


@pytest.fixture(scope="module")
def space(spaces: Spaces) -> Space:
    """People use v1; v2 is better. Users may ask for actions; who may do what is for each test."""
    space = spaces("actions", rollback={"keepFor": "1h", "drain": "2s"})
    for label in ("v1", "v2"):
        space.version(label)
    for user in (GRACE, HEDY, EVE):
        _bind(space, user.name, "weir-approver")
    space.traffic()
    space.serving("v1")
    space.used()
    return space


def test_given_approvals_when_two_of_the_group_consent_then_the_release_goes_on_and_never_before(space: Space) -> None:
    asked = {"before": "Traffic(50)", "from": {"group": "risk"}, "quorum": 2}
    space.configure(approvals=[asked])
    space.serving("v1")
    release = space.release("v2")
    look = release.until("a wait for people", lambda look: look.true("AwaitingApproval"))
    author = look.rollout["metadata"]["annotations"]["weir.dev/changed-by"]

    with pytest.raises(CommandFailed, match="changed"):
        release.approve(User(author, ("risk", "system:masters")), "Traffic(50)")
    with pytest.raises(CommandFailed, match="'risk'"):
        release.approve(EVE, "Traffic(50)")
    assert release.approve(GRACE, "Traffic(50)") == "Succeeded"
    with pytest.raises(CommandFailed, match="already"):
        release.approve(GRACE, "Traffic(50)")
    waiting = release.until("one consent", lambda look: "1 of 2" in look.message)
    assert waiting.weight == 20
    assert _weir(space, "why", "digits").count("1 of 2") >= 1
    assert release.approve(HEDY, "Traffic(50)") == "Succeeded"

    release.promoted()
    assert release.weights() == [0, 20, 50, 100]
    record = release.record()
    assert [c["by"] for a in record["approvals"] for c in a["consents"]] == ["grace", "hedy"]
    assert record["authors"] == [author]
    space.configure(approvals=[])


def test_given_a_promoted_version_when_somebody_rolls_back_then_the_old_one_serves_and_no_request_fails(
    space: Space,
) -> None:
    space.serving("v1")
    release = space.release("v2")
    release.promoted()
    space.reset()

    print(_weir(space, "rollback", "digits", "--reason", _REASON, "--wait"))

    look = release.until("v1 again", lambda at: _stable(at.status) == "v1" and not at.status.get("candidate"))
    assert look.rollout["spec"]["versionRef"]["name"] == "digits-v2", "what Git says is nobody's to change"
    users = space.more_users(space.users())
    assert users.failed == 0, users
    found = wait_for("a record", lambda: [r for r in _records(space) if r["outcome"] == "Restored"])
    assert found[-1]["candidate"]["label"] == "v1"
    again = release.again("the cause is found")
    again.promoted()
    assert [reason for reason, _ in again.steps()] == [reason for reason, _ in CANARY_STEPS]


def test_given_a_healthy_candidate_when_a_drill_is_held_then_it_is_put_back_measured_and_released_again(
    space: Space,
) -> None:
    steps = [{"weight": 20, "minDuration": "8s"}, {"weight": 50, "minDuration": "3s"}]
    space.serving("v1")
    space.configure(strategy={"canary": {"steps": steps, "bake": "3s"}})
    release = space.release("v2")
    release.in_stage("Traffic(20)")
    space.reset()

    assert release.act("Drill", _REASON) == "Succeeded"

    found = wait_for("a record", lambda: [r for r in _records(space) if r["outcome"] == "Drilled"])
    print(f"drill: stable had all traffic again after {found[-1]['timeToStable']} s")
    assert 0 < float(found[-1]["timeToStable"]) < 30
    release.promoted()
    assert space.users().failed == 0, space.users()


def _bind(space: Space, user: str, role: str) -> None:
    space.cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{user}-{role}", "namespace": space.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }
    )


def _weir(space: Space, *words: str) -> str:
    """What the command line prints."""
    command = ["env", f"PYTHONPATH={ROOT / 'operator'}", sys.executable, "-m", "weir.cli.main", *words]
    return space.cluster.run(*command, "-n", space.name, timeout=180)


def _stable(status: dict[str, Any]) -> str:
    return str((status.get("stable") or {}).get("label", ""))


def _records(space: Space) -> list[dict[str, Any]]:
    found = json.loads(space.cluster.kubectl("get", "rolloutrecords", "-n", space.name, "-o", "json"))["items"]
    return sorted((item["spec"] for item in found), key=lambda spec: int(spec["release"]))
