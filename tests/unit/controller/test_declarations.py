from typing import Any

import pytest

from tests.unit.workload.builders import model_version
from weir.controller.declarations import in_use, modelversion_status, serves, support_changes_in

NOW = 1_800_000_000.0


def rollout(name: str, wanted: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"versionRef": {"name": wanted}}, "status": status}


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == kind)


def test_given_rollouts_then_a_version_is_in_use_where_it_is_wanted_serves_is_tried_or_kept() -> None:
    rollouts = [
        rollout("wants", "v1"),
        rollout("serves", "v2", stable={"version": "v1"}),
        rollout("tries", "v2", candidate={"version": "v1"}),
        rollout("keeps", "v2", retained=[{"version": "v1"}]),
        rollout("has-nothing-to-do-with-it", "v2", stable={"version": "v3"}),
    ]

    assert in_use("v1", rollouts) == ("keeps", "serves", "tries", "wants")
    assert serves("v1", rollouts)
    assert not serves("v2", rollouts)


def test_given_a_version_then_its_status_tells_digest_and_users() -> None:
    status = modelversion_status(model_version(), ["digits"], True, NOW)

    assert status["stage"] == "Serving"
    assert status["servedBy"] == ["digits"]
    assert status["digest"].startswith("sha256:")
    assert condition(status, "Ready")["message"] == "used by digits"
    assert condition(status, "Complete")["status"] == "False"


def test_given_the_status_that_was_written_then_the_next_look_makes_the_same() -> None:
    obj = model_version()
    obj["status"] = modelversion_status(obj, ["digits"], True, NOW)

    assert modelversion_status(obj, ["digits"], True, NOW + 3600) == obj["status"]


@pytest.mark.parametrize(
    ("support", "stage"),
    [
        ({"deprecatedAfter": "2027-01-15T07:59:59Z"}, "Deprecated"),
        ({"deprecatedAfter": "2027-01-15T08:00:01Z"}, "Serving"),
        ({"deprecatedAfter": "2027-01-01T00:00:00Z", "retiredAfter": "2027-01-15T08:00:00Z"}, "Retired"),
    ],
)
def test_given_the_end_of_support_then_the_stage_follows_the_clock(support: dict[str, str], stage: str) -> None:
    assert modelversion_status(model_version(support=support), [], True, NOW)["stage"] == stage


def test_given_ends_of_support_then_the_next_of_them_is_waited_for() -> None:
    support = {"deprecatedAfter": "2027-01-15T08:00:10Z", "retiredAfter": "2027-01-15T09:00:00Z"}
    version = model_version(support=support)

    assert support_changes_in(version, NOW) == 10.0
    assert support_changes_in(version, NOW + 10) == 3590.0
    assert support_changes_in(version, NOW + 3600) is None
    assert support_changes_in(model_version(), NOW) is None


def test_given_a_version_that_cannot_be_read_then_the_field_is_named() -> None:
    obj = model_version()
    obj["spec"]["runtime"]["port"] = "many"

    ready = condition(modelversion_status(obj, [], False, NOW), "Ready")

    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "spec.runtime.port" in ready["message"]


def test_given_a_version_that_is_bound_then_it_stays_bound_whatever_becomes_of_its_spec() -> None:
    obj = model_version()
    pin = {"role": "TrainedOn", "name": "orders", "digest": "sha256:" + "a" * 64}
    obj["status"] = {"contracts": [pin]}
    assert modelversion_status(obj, [], False, NOW)["contracts"] == [pin]

    obj["spec"]["runtime"]["port"] = "many"

    assert modelversion_status(obj, [], False, NOW)["contracts"] == [pin]
