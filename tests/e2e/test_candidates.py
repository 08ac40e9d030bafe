"""Candidates that never become fit to serve: no request reaches them, and the Rollout says why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from testbed import digits
from testbed.scenario import Release, Space, Spaces


@dataclass(frozen=True)
class Broken:
    """A version that cannot serve, by what is wrong with it; ``says``: what the Rollout's message must hold."""

    says: str
    runtime: dict[str, Any] = field(default_factory=dict)
    artifact: dict[str, Any] = field(default_factory=dict)


BROKEN = {
    "crashes": Broken(r"container model exits with code 2", {"args": ["no-such-part"]}),
    "never-ready": Broken(r"0 of 1 pods", {"env": [{"name": "SLOW_START_SECONDS", "value": "3600"}]}),
    "out-of-memory": Broken(
        r"container model was killed for exceeding its memory limit", {"resources": {"limits": {"memory": "16Mi"}}}
    ),
    "no-image": Broken(r"localhost/no-such-image:1", {"image": "localhost/no-such-image:1"}),
    "wrong-digest": Broken(r"expected sha256:0{64} got sha256:", artifact={"digest": "sha256:" + "0" * 64}),
    "no-artifact": Broken(r"no-such-file", artifact={"file": "no-such-file.safetensors"}),
}


@pytest.fixture(scope="module")
def releases(spaces: Spaces) -> dict[str, Release]:
    """All of them at once, each over a version whose pods the user runs."""
    space = spaces("candidates", replicas=1, progressDeadline="25s")
    space.cluster.apply(*digits.server(space.name, "v1"))
    digits.ready(space.cluster, space.name, digits.SERVER)
    space.external("stable", digits.SERVER)
    for name, broken in BROKEN.items():
        space.version(name, weights="v1", artifact=broken.artifact, **broken.runtime)
    for name in BROKEN:
        space.release("stable", name)
    for name in BROKEN:
        space.journal.wait(space.name, name, "ready", lambda look: look.true("Ready"))
    return {name: space.release(name, name) for name in BROKEN}


@pytest.mark.parametrize("name", BROKEN)
def test_given_a_candidate_that_cannot_serve_then_it_gets_no_request_and_the_rollout_says_why(
    releases: dict[str, Release], name: str
) -> None:
    release = releases[name]
    broken = BROKEN[name]

    look = release.rolled_back()

    assert release.weights() == [0]
    message = look.condition("Stalled")["message"]
    assert re.search(broken.says, message), message
    assert "no progress within 25s" in message
    pool = release.record()["candidate"]["pool"]
    assert not _routed(release.space, name, pool)
    assert [reason for reason, _ in release.steps()] == [
        "ReleaseStarted",
        "ProgressDeadlineExceeded",
        "ReleaseRolledBack",
    ]


def test_given_a_release_under_way_when_its_namespace_is_deleted_then_it_does_not_hold_it_up(
    releases: dict[str, Release],
) -> None:
    release = releases["never-ready"]
    number = release.rolled_back().status["release"]
    release.again("once more").until("a new release", lambda look: look.status["release"] == number + 1)

    release.space.cluster.kubectl("delete", "namespace", release.space.name, "--timeout=90s", timeout=100)


def _routed(space: Space, name: str, pool: str) -> bool:
    route = space.route(name) or {"spec": {}}
    backends = [backend for rule in route["spec"].get("rules") or [] for backend in rule.get("backendRefs") or []]
    return any(backend["name"] == pool and backend.get("weight", 1) > 0 for backend in backends)
