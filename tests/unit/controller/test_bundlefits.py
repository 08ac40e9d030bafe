"""Agents' bundles, from objects as the watches show them."""

from __future__ import annotations

from typing import Any

import pytest

from weir.agent.bundles import Fit
from weir.controller.bundlefits import BundleFits, rollouts_concerned
from weir.runtime.cache import Cache
from weir.runtime.resources import AGENT_POLICIES, MODEL_VERSIONS, ROLLOUTS, Resource

AGENT = {"name": "tuner", "namespace": "agents", "rollout": "tuner"}
RUNTIME = {"image": "registry.example/a:1"}


class World:
    """A namespace with an agent that is served by the Rollout ``tuner`` and drives ``digits``."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.fits = BundleFits(self.cache)
        self.policy(subjects=[AGENT])
        self.version("digits-1", "digits")
        self.version("digits-2", "digits")
        self.version("tuner-1", "tuner", compatibleWith=[{"model": "digits", "versions": ["digits-1"]}])
        self.rollout("digits", stable="digits-1")
        self.rollout("tuner", stable="tuner-1")

    def put(self, resource: Resource, name: str, spec: Any, **more: Any) -> None:
        meta = {"name": name, "namespace": "ml", "uid": f"{resource.plural}/{name}", "resourceVersion": "1"}
        self.cache.put(resource, {"metadata": meta, "spec": spec, **more})

    def policy(self, **spec: Any) -> None:
        self.put(AGENT_POLICIES, "agents", {"permits": [{"name": "halt", "action": "Abort"}], **spec})

    def version(self, name: str, model: str, **spec: Any) -> None:
        self.put(MODEL_VERSIONS, name, {"model": model, "version": name, "runtime": RUNTIME, **spec})

    def rollout(self, name: str, **arms: str) -> None:
        self.put(ROLLOUTS, name, {}, status={arm: {"version": version} for arm, version in arms.items()})

    def said(self, rollout: str, version: str) -> list[str]:
        return [f"{f.judgement} {f.change}" for f in self.fits.of("ml", rollout, version).findings]


@pytest.fixture
def world() -> World:
    return World()


def test_given_an_agent_that_is_served_by_a_rollout_then_both_sides_are_told_what_does_not_fit(world: World) -> None:
    assert world.said("digits", "digits-1") == []
    assert world.said("digits", "digits-2") == ["Fail tuner-1/digits-2"]
    world.rollout("digits", stable="digits-1", candidate="digits-2")
    assert world.said("tuner", "tuner-1") == ["Fail tuner-1/digits-2"]


def test_given_no_policy_or_no_subject_with_a_rollout_then_bundles_have_no_say(world: World) -> None:
    assert world.fits.of("elsewhere", "digits", "digits-2") == Fit()
    world.policy(subjects=[{"name": "tuner", "namespace": "agents"}])
    assert world.fits.of("ml", "digits", "digits-2") == Fit()
    assert rollouts_concerned(world.cache, "ml", "digits") == frozenset()


def test_given_a_policy_that_cannot_be_read_then_it_holds_no_release_since_no_agent_may_act_under_it(
    world: World,
) -> None:
    world.policy(subjects=[{**AGENT, "kind": "Robot"}])
    assert world.fits.of("ml", "digits", "digits-2") == Fit()


def test_given_a_rollout_that_is_not_there_then_nothing_is_said(world: World) -> None:
    assert world.fits.of("ml", "letters", "digits-2") == Fit()


def test_given_a_version_that_is_gone_or_cannot_be_read_then_that_is_not_known(world: World) -> None:
    assert world.said("digits", "digits-9") == ["Unknown tuner-1/digits-9"]
    world.put(MODEL_VERSIONS, "broken", {"model": "digits"})
    assert world.said("digits", "broken") == ["Unknown tuner-1/broken"]


def test_given_a_version_of_the_same_name_made_anew_then_its_own_content_counts(world: World) -> None:
    assert world.said("digits", "digits-1") == []
    meta = {"name": "tuner-1", "namespace": "ml", "uid": "another", "resourceVersion": "2"}
    spec = {"model": "tuner", "version": "tuner-1", "runtime": RUNTIME}
    world.cache.put(MODEL_VERSIONS, {"metadata": meta, "spec": spec})
    assert world.said("digits", "digits-1") == ["Fail tuner-1/digits-1"]


def test_given_a_change_on_one_side_then_the_other_is_to_be_looked_at_again(world: World) -> None:
    assert rollouts_concerned(world.cache, "ml", "tuner") == {"digits"}
    assert rollouts_concerned(world.cache, "ml", "digits") == {"tuner"}
