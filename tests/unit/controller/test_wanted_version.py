"""Which version a Rollout is to release, as the watches show it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.specs import make_spec
from weir.api.action import Instead
from weir.api.actionrequest import ActionRequestSpec
from weir.api.rolloutstatus import RolloutStatus, VersionStatus
from weir.controller.contractbook import needed
from weir.controller.declarations import in_use
from weir.controller.observe import Observer
from weir.release.observation import Problem, Request, RolloutView, Target
from weir.runtime.cache import Cache
from weir.runtime.resources import MODEL_VERSIONS

VIEW = RolloutView("digits", "ml", "u1", 1, make_spec(versionRef={"name": "v1"}))
INSTEAD = Instead(version="v2", ref="v1", by="ada", since=1.0)


def version(name: str, **spec: Any) -> dict[str, Any]:
    runtime = {"image": f"registry.test/{name}:1", "port": 8080}
    meta = {"name": name, "namespace": "ml", "uid": name, "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"model": "digits", "version": f"label-{name}", "runtime": runtime, **spec}}


@pytest.fixture
def observer() -> Observer:
    cache = Cache()
    for name in ("v1", "v2"):
        cache.put(MODEL_VERSIONS, version(name))
    cache.put(MODEL_VERSIONS, version("v3", support={"retiredAfter": "2020-01-01T00:00:00Z"}))
    return Observer(cache, lambda: 1_800_000_000.0, frozenset)


def release(name: str, action: str = "Release") -> Request:
    spec = {"action": action, "rolloutRef": {"name": "digits"}, "reason": "because", "version": name}
    return Request(name, name, ActionRequestSpec.model_validate(spec))


def test_given_nothing_that_was_asked_for_when_looked_at_then_the_spec_says_what_is_wanted(observer: Observer) -> None:
    found = observer.versions(VIEW, RolloutStatus())
    assert found.wanted == "v1"
    assert found.target is not None
    assert (found.target.version, found.target.label) == ("v1", "label-v1")


def test_given_another_version_that_was_asked_for_when_looked_at_then_it_is_wanted_and_both_are_known(
    observer: Observer,
) -> None:
    found = observer.versions(VIEW, RolloutStatus(instead=INSTEAD))
    assert found.wanted == "v2"
    assert found.target is not None
    assert found.target.version == "v2"
    assert found.contents.keys() == {"v1", "v2"}


def test_given_a_spec_that_names_another_version_since_when_looked_at_then_the_spec_is_right(
    observer: Observer,
) -> None:
    found = observer.versions(VIEW, RolloutStatus(instead=INSTEAD.model_copy(update={"ref": "v0"})))
    assert found.wanted == "v1"


def test_given_a_version_that_was_asked_for_and_is_gone_when_looked_at_then_that_is_told(observer: Observer) -> None:
    gone = RolloutStatus(instead=INSTEAD.model_copy(update={"version": "v9"}))
    assert observer.versions(VIEW, gone).problem == Problem(
        "ModelVersionNotFound", "no ModelVersion v9 in this namespace (asked for in place of v1)"
    )


def test_given_requests_for_versions_when_looked_at_then_each_release_gets_its_offer(observer: Observer) -> None:
    asked = [release("v2"), release("v3"), release("v9"), release("v1", "Rollback")]
    offers = observer.offered(VIEW, RolloutStatus(), asked)
    assert offers.keys() == {"v2", "v3", "v9"}
    assert isinstance(offers["v2"], Target)
    assert [o.reason for o in offers.values() if isinstance(o, Problem)] == [
        "ModelVersionRetired",
        "ModelVersionNotFound",
    ]


def test_given_a_version_that_was_asked_for_when_somebody_would_delete_it_then_it_is_in_use() -> None:
    stable = VersionStatus(version="v0", label="v0", digest="d", revision="r", pool="p")
    status = RolloutStatus(instead=INSTEAD, stable=stable).to_dict()
    rollout = {"metadata": {"name": "digits"}, "spec": {"versionRef": {"name": "v1"}}, "status": status}
    assert [name for name in ("v0", "v1", "v2", "v3") if in_use(name, [rollout])] == ["v0", "v1", "v2"]
    assert needed(rollout) == {"v0", "v1", "v2"}
