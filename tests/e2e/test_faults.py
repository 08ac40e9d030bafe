"""What must not matter: the operator, the API server or Prometheus gone while a release is under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from devcluster.embedded import Embedded
from testbed import faults
from testbed.cluster import Cluster
from testbed.scenario import CANARY_STEPS, ERRORS, Release, Space, Spaces

PROMETHEUS = "http://prometheus.monitoring:9090"
API_SERVER_GONE = 8.0
PROMETHEUS_GONE = 120.0
"""Seconds."""


@dataclass(frozen=True)
class Outage:
    """A release that lost its metrics source: ``since`` when (seconds, monotonic), in which stage it was."""

    release: Release
    since: float
    stage: str
    weight: int


@pytest.fixture(scope="module")
def outage(spaces: Spaces) -> Iterator[Outage]:
    """Prometheus goes away in the middle of a release that asks it; the other tests run meanwhile."""
    source = {"prometheus": {"address": PROMETHEUS, "interval": "1s", "timeout": "2s"}}
    # Enough requests to ask for, so that it goes away before the gate has passed.
    space = spaces("no-prometheus", metrics=source, gates=[{**ERRORS, "minSamples": 60}])
    for label in ("v1", "v2"):
        space.version(label)
    space.traffic(30)
    space.serving("v1")
    space.used()
    release = space.release("v2")
    release.until("evidence", lambda look: look.stage == "Traffic(20)" and "evidenceFrom" in look.status["stage"])
    faults.scale_prometheus(space.cluster, 0)
    look = release.latest
    yield Outage(release, time.monotonic(), look.stage, look.weight)
    faults.scale_prometheus(space.cluster, 1)


@pytest.fixture(scope="module")
def space(spaces: Spaces) -> Space:
    """People use v1."""
    space = spaces("faults")
    for label in ("v1", "v2", "v3"):
        space.version(label)
    space.traffic()
    space.serving("v1")
    space.used()
    return space


def test_given_a_release_when_the_operator_is_killed_in_every_stage_then_each_step_is_taken_once(
    outage: Outage, space: Space
) -> None:
    space.serving("v1")
    space.reset()
    # Never the same pod twice, else the kubelet waits longer and longer before it starts it again.
    kills: list[Callable[[Cluster], None]] = [faults.kill_operator, faults.delete_operator] * 2

    release = space.release("v2")
    for stage, kill in zip(("WarmUp", "Traffic(20)", "Traffic(50)", "Bake"), kills, strict=True):
        release.in_stage(stage)
        kill(space.cluster)

    release.promoted(timeout=180)
    users = space.users()
    assert release.steps() == CANARY_STEPS
    assert release.weights() == [0, 20, 50, 100]
    assert users.failed == 0, users


def test_given_a_rollback_when_the_operator_is_killed_then_it_ends_as_without(outage: Outage, space: Space) -> None:
    space.serving("v2")
    release = space.release("v3")
    release.until("a rollback", lambda look: look.status.get("phase") == "RollingBack")

    faults.kill_operator(space.cluster)

    release.rolled_back()
    steps = [reason for reason, _ in release.steps()]
    assert steps.count("GateFailed") == 1, steps
    assert steps[-1] == "ReleaseRolledBack", steps
    users = space.users()
    assert space.more_users(users).of("v3") == users.of("v3")


def test_given_a_release_when_the_api_server_is_away_then_users_notice_nothing_and_it_completes(
    outage: Outage, space: Space
) -> None:
    if not isinstance(space.cluster.provider, Embedded):
        pytest.skip("only where the API server's process is ours to kill")
    space.serving("v2")
    space.reset()
    release = space.release("v1")
    release.in_stage("Traffic(20)")

    with faults.without_api_server(space.cluster):
        time.sleep(API_SERVER_GONE)

    release.promoted(timeout=180)
    users = space.users()
    assert users.failed == 0, users
    assert users.of("v1").answered > 0
    assert release.steps() == CANARY_STEPS


def test_given_a_release_when_prometheus_is_away_then_it_waits_and_completes_when_it_is_back(outage: Outage) -> None:
    release, space = outage.release, outage.release.space
    time.sleep(max(0.0, outage.since + PROMETHEUS_GONE - time.monotonic()))
    look = release.latest
    assert (look.stage, look.weight) == (outage.stage, outage.weight), look
    assert look.status.get("ending") is None, look
    assert [gate["verdict"] for gate in look.status["gates"]] == ["Error"], look
    assert "cannot be reached" in look.status["gates"][0]["message"], look

    faults.scale_prometheus(space.cluster, 1)

    release.promoted()
    assert release.steps() == CANARY_STEPS
    users = space.users()
    assert users.failed == 0, users
