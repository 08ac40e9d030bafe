"""A canary under live traffic: a good version is promoted, a bad one put back, and it stays put back."""

from __future__ import annotations

import pytest

from testbed import faults
from testbed.cluster import wait_for
from testbed.scenario import CANARY_STEPS, Space, Spaces


@pytest.fixture(scope="module")
def space(spaces: Spaces) -> Space:
    """People use v1; v2 is better, v3 answers about one request in eight with an error."""
    space = spaces("canary")
    for label in ("v1", "v2", "v3"):
        space.version(label)
    space.traffic()
    space.serving("v1")
    space.used()
    return space


def test_given_users_when_a_good_version_is_released_then_it_is_promoted_and_no_request_fails(space: Space) -> None:
    space.serving("v1")
    space.reset()

    release = space.release("v2")

    bake = release.in_stage("Bake")
    old, new = bake.status["stable"]["pool"], bake.status["candidate"]["pool"]
    candidates = space.pods(new)
    release.promoted()
    wait_for("the old version scaled down", lambda: not space.pods(old))
    users = space.more_users(space.users())
    print(f"good canary: {users.failed} of {users.sent} requests failed")
    assert users.failed == 0, users
    assert users.of("v2").answered > 0
    assert release.weights() == [0, 20, 50, 100]
    assert release.steps() == CANARY_STEPS
    assert len(candidates) == 2
    assert space.pods(new) == candidates, "promotion must not make pods anew"
    space.cluster.kubectl("wait", "--for=condition=Ready", "rollouts.weir.dev/digits", "-n", space.name, "--timeout=5s")


def test_given_users_when_a_bad_version_is_released_then_it_is_put_back_and_gets_no_more_requests(
    space: Space,
) -> None:
    space.serving("v2")
    space.reset()

    release = space.release("v3")

    release.rolled_back()
    users = space.users()
    exposed = users.of("v3")
    print(
        f"bad canary: v3 answered {exposed.answered} of {users.sent} requests, {exposed.failed} with an error, "
        f"in {release.exposure():.1f} s from its first share to none"
    )
    assert exposed.failed > 0, users
    assert users.failed == exposed.failed, f"only the candidate may fail: {users}"
    assert space.more_users(users).of("v3") == exposed
    assert [reason for reason, _ in release.steps()][-2:] == ["GateFailed", "ReleaseRolledBack"]


def test_given_a_failed_version_when_labels_change_and_the_operator_restarts_then_it_is_not_tried_again(
    space: Space,
) -> None:
    space.serving("v2")
    release = space.release("v3")
    number = release.rolled_back().status["release"]

    space.cluster.kubectl("annotate", "rollouts.weir.dev/digits", "-n", space.name, "note=look", "--overwrite")
    space.cluster.kubectl("label", "rollouts.weir.dev/digits", "-n", space.name, "team=vision", "--overwrite")
    faults.restart_operator(space.cluster)

    # A harmless change shows that the operator has looked at the Rollout since it started.
    space.configure(rollback={"keepFor": "3s", "drain": "2s"})
    look = space.release("v3").until("a look", lambda at: at.status.get("phase") is not None)
    assert look.status["release"] == number, look
    assert look.status["phase"] == "RolledBack", look


def test_given_a_failed_version_when_a_retry_is_requested_then_a_new_release_starts(space: Space) -> None:
    space.serving("v2")
    release = space.release("v3")
    number = release.rolled_back().status["release"]

    retried = release.again("the upstream bug is fixed")

    retried.until("a new release", lambda look: look.status["release"] == number + 1)
    # Back to what serves: the release ends, and nothing failed.
    reverted = space.release("v2")
    reverted.promoted()
    assert retried.record()["outcome"] == "Reverted"


def test_given_a_release_under_way_when_another_version_is_named_then_the_newer_one_wins(space: Space) -> None:
    space.version("v4", weights="v2")
    space.serving("v2")
    space.reset()
    first = space.release("v1")
    first.in_stage("Traffic(20)")

    second = space.release("v4")

    second.promoted()
    users = space.users()
    assert first.record()["outcome"] == "Superseded"
    assert second.weights() == [0, 20, 50, 100]
    assert users.failed == 0, users


def test_given_a_release_under_way_when_the_rollout_is_deleted_then_traffic_goes_back_before_it_goes(
    space: Space,
) -> None:
    space.version("v5", weights="v2")
    space.serving("v1")
    release = space.release("v5")
    release.in_stage("Traffic(50)")
    space.reset()

    space.cluster.kubectl("delete", "rollouts.weir.dev/digits", "-n", space.name, "--wait=false")

    gone = space.journal.wait(space.name, "digits", "gone", lambda look: look.gone, since=release.mark)
    last = release.looks()[-2]
    assert (last.weight, last.status.get("candidate")) == (0, None), last
    record = release.record()
    assert record["outcome"] == "Deleted"
    failures = [failure for failure in space.users().summary["failures"] if failure["t"] < gone.at]
    assert not failures, failures
