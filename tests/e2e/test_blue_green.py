"""Blue/green under live traffic: judged on a preview, one switch, and back at once when users do worse than it."""

from __future__ import annotations

import pytest

from testbed.cluster import wait_for
from testbed.scenario import BLUE_GREEN, ERRORS, Space, Spaces, through
from weir.api.base import parse_time
from weir.api.base import seconds as seconds_of

BACK_WITHIN = 5.0
"""Seconds, beside the gate's interval, from the first failing requests to none for the candidate."""


@pytest.fixture(scope="module")
def space(spaces: Spaces) -> Space:
    """People use v1; v3 answers the synthetic requests of a preview, but one in eight of theirs with an error."""
    space = spaces("blue-green", strategy=BLUE_GREEN, rollback={"keepFor": "2s", "drain": "2s"})
    for label in ("v1", "v2", "v3"):
        space.version(label)
    space.traffic()
    space.serving("v1")
    space.used()
    return space


def test_given_users_when_a_good_version_is_previewed_then_one_switch_moves_them_and_no_request_fails(
    space: Space,
) -> None:
    space.serving("v1")
    space.reset()

    release = space.release("v2")

    preview = release.in_stage("Preview")
    seen_in_preview = None
    while release.latest.stage == "Preview":
        users = space.users()
        if release.latest.stage == "Preview":
            seen_in_preview = users
    assert seen_in_preview is not None
    assert seen_in_preview.of("v2").answered == 0, f"users reached the preview: {seen_in_preview}"
    release.promoted()
    wait_for("the old version scaled down", lambda: not space.pods(preview.status["stable"]["pool"]))
    users = space.more_users(space.users())
    print(f"good blue/green: {users.failed} of {users.sent} requests failed")
    assert users.failed == 0, users
    assert release.weights() == [0, 100]
    assert release.steps() == through("Preview", "Bake")


def test_given_a_version_that_fails_only_for_users_when_it_was_switched_to_then_it_is_switched_back_at_once(
    space: Space,
) -> None:
    space.serving("v2")
    space.reset()

    release = space.release("v3")

    release.rolled_back()
    record = release.record()
    assert ("StageEntered", "Bake") in release.steps(), "it passed its preview"
    failed = next(entry for entry in record["decisions"] if entry["reason"] == "GateFailed")
    window = next(item for item in failed["evidence"] if item["verdict"] == "Fail")
    back = release.until("drained", lambda look: bool((look.status.get("ending") or {}).get("drainUntil")))
    seconds = back.at - parse_time(window["windowStart"])
    users = space.users()
    exposed = users.of("v3")
    print(
        f"bad blue/green: v3 answered {exposed.answered} of {users.sent} requests, {exposed.failed} with an error; "
        f"back {seconds:.1f} s after the start of the window that failed"
    )
    assert seconds <= BACK_WITHIN + seconds_of(ERRORS["interval"])
    assert release.weights()[:3] == [0, 100, 0]
    assert users.failed == exposed.failed, f"only the candidate may fail: {users}"
    assert space.more_users(users).of("v3") == exposed
