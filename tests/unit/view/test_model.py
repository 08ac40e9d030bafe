"""The view model: it reads whatever an object says, and never fails on what it does not say."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.view.rendering import info_of, printed
from tests.unit.view.situations import SITUATIONS, recorded
from weir.api.base import format_time, parse_time
from weir.cli.show import history, status, table, why
from weir.view.brief import waits_for
from weir.view.model import LEASE_OLD, RolloutInfo, operator_silent
from weir.view.read import Moment, Node
from weir.view.why import explain

ODD: list[Any] = [
    None,
    "",
    "odd [bold]",
    -1,
    10**400,
    1.5,
    float("nan"),
    True,
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    "9999999999",
]
NAMES = sorted(SITUATIONS)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a value."""
    if isinstance(value, dict):
        return [p for key in value for p in [(*path, key), *_paths(value[key], (*path, key))]]
    if isinstance(value, list):
        return [p for i, item in enumerate(value) for p in [(*path, i), *_paths(item, (*path, i))]]
    return []


def _holder(objects: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        try:
            objects = objects[key]
        except (KeyError, IndexError, TypeError):
            return None
    return objects


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_given_objects_with_holes_and_odd_values_then_every_view_of_them_is_shown(data: st.DataObject) -> None:
    objects = copy.deepcopy(recorded(data.draw(st.sampled_from(NAMES))))
    paths = [p for p in _paths(objects) if p[0] in ("rollout", "requests", "records", "versions") and len(p) > 1]
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=12)):
        holder, odd = _holder(objects, path), data.draw(st.sampled_from([*ODD, "delete"]))
        try:
            if odd == "delete":
                del holder[path[-1]]
            else:
                holder[path[-1]] = odd
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    info = info_of(objects)
    explanation = explain(info)
    assert explanation.headline
    json.dumps([info.to_dict(), explanation.to_dict()])
    for shown in (status(info), why(explanation), table([info]), history(info)):
        printed(shown)
    waits_for(info)


@pytest.mark.parametrize("rollout", [{}, {"metadata": None}, {"status": []}, {"spec": "x", "status": {}}])
def test_given_next_to_nothing_then_the_view_says_that_nobody_has_looked(rollout: dict[str, Any]) -> None:
    info = RolloutInfo.of(rollout, now=100.0)
    assert info.silence is not None
    assert "No operator has looked" in explain(info).headline


def _at(name: str, **changes: Any) -> RolloutInfo:
    """A situation with other metadata or status fields (dotted paths with __)."""
    objects = copy.deepcopy(recorded(name))
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = objects
        for key in parents:
            holder = holder[key]
        holder[last] = value
    return info_of(objects)


def test_given_a_change_seconds_ago_then_the_operator_is_not_called_silent() -> None:
    objects = copy.deepcopy(recorded("operator-silent"))
    changed = objects["rollout"]["metadata"]["managedFields"][0]["time"]
    soon = RolloutInfo.of(objects["rollout"], now=(Node({"t": changed}).time("t") or 0) + 5)
    assert (soon.behind, soon.silence) == (True, None)
    later = RolloutInfo.of(objects["rollout"], now=(Node({"t": changed}).time("t") or 0) + 20)
    assert later.silence is not None
    assert later.silence.what == "Change"
    assert str(later.silence.since) == changed


def test_given_a_request_that_nobody_answers_then_the_operator_is_silent() -> None:
    objects = copy.deepcopy(recorded("evidence-on-its-way"))
    request = {
        "metadata": {"name": "abort-1", "uid": "u1", "creationTimestamp": objects["now"]},
        "spec": {"action": "Abort", "rolloutRef": {"name": "digits"}, "requester": "bob"},
    }
    now = (Node(objects).time("now") or Moment(0)) + 60
    silent = RolloutInfo.of(objects["rollout"], [request], now=now)
    assert silent.silence is not None
    assert (silent.silence.what, silent.silence.name) == ("Request", "abort-1")
    assert "abort-1" in explain(silent).headline
    answered = {**request, "status": {"phase": "Pending", "message": "waiting for a release"}}
    assert RolloutInfo.of(objects["rollout"], [answered], now=now).silence is None


def test_given_a_deadline_that_passed_without_a_deed_then_the_operator_is_silent_but_not_in_a_pause() -> None:
    passed = "2027-01-15T09:00:00.000Z"
    late = _at("pods-not-ready", rollout__status__deadline=passed, now="2027-01-15T09:02:00.000Z")
    assert late.silence is not None
    assert late.silence.what == "Deadline"

    held = _at("paused", rollout__status__deadline=passed)
    assert held.silence is None


def test_given_a_lease_that_nobody_renews_when_looked_at_then_what_is_shown_may_be_old_and_it_says_so() -> None:
    objects = recorded("evidence-on-its-way")
    now = objects["now"] if isinstance(objects["now"], float) else parse_time(objects["now"])

    def seen(age: float) -> RolloutInfo:
        lease = {"metadata": {"name": "weir-operator"}, "spec": {"renewTime": format_time(now - age)}}
        return RolloutInfo.of(objects["rollout"], objects["requests"], now=now, leases=[lease])

    assert seen(20).silence is None
    old = seen(200)
    assert old.silence is not None
    assert old.silence.what == "Lease"
    assert explain(old).headline.startswith("No operator has shown a sign of life for 3 min")
    assert "(may be out of date)" in printed(status(old))


def test_given_requests_of_other_rollouts_then_they_are_left_out_and_the_status_knows_results_first() -> None:
    objects = copy.deepcopy(recorded("request-refused"))
    other = copy.deepcopy(objects["requests"][0])
    other["spec"]["rolloutRef"]["name"] = "letters"
    del objects["requests"][0]["status"]
    objects["requests"].append(other)
    info = info_of(objects)
    assert [(r.name, r.phase) for r in info.requests] == [("promote-001", "Refused")]
    assert info.pending_requests == ()
    assert info.last_request is not None


def test_given_records_then_the_history_reaches_further_back_than_the_status() -> None:
    objects = copy.deepcopy(recorded("promoted"))
    objects["rollout"]["status"]["history"] = objects["rollout"]["status"]["history"][:1]
    assert [r.release for r in info_of(objects).history] == [2, 1]
    objects["records"][0]["spec"]["rolloutUid"] = "another-rollout-of-that-name"
    assert [r.release for r in info_of(objects).history] == [2]


def test_given_a_release_in_the_middle_then_the_ladder_shows_where() -> None:
    ladder = [(r.name, r.state, r.approvals) for r in info_of(recorded("waits-for-approval")).ladder]
    assert ladder == [
        ("WarmUp", "Done", ()),
        ("Traffic(10)", "Current", ()),
        ("Traffic(25)", "Next", ("sre",)),
        ("Traffic(50)", "Next", ()),
        ("Bake", "Next", ()),
        ("Promote", "Next", ("Promote",)),
    ]


def test_given_a_version_that_does_not_exist_then_the_view_knows_it_only_if_versions_were_read() -> None:
    objects = recorded("version-missing")
    assert info_of(objects).wanted_exists is False
    unread = RolloutInfo.of(objects["rollout"], now=Node(objects).time("now") or 0)
    assert unread.wanted_exists is None


def test_given_a_time_then_data_shows_it_as_the_api_does() -> None:
    data = info_of(recorded("paused")).to_dict()
    assert data["pause"]["until"] == "2027-01-15T11:01:11.000Z"
    assert data["stable"]["label"] == "v1"
    assert "hold" not in data


@pytest.mark.parametrize(
    ("leases", "silent"),
    [
        ([], None),
        ([{"spec": {}}], None),
        ([{"spec": {"renewTime": format_time(1000.0)}}], False),
        ([{"spec": {"renewTime": format_time(1000.0 - LEASE_OLD - 1)}}], True),
        ([{"spec": {"renewTime": format_time(at)}} for at in (1000.0 - LEASE_OLD - 1, 1000.0)], False),
    ],
)
def test_given_leases_then_an_operator_is_silent_or_not_and_without_any_that_is_not_known(
    leases: list[dict[str, Any]], silent: bool | None
) -> None:
    assert operator_silent(leases, 1000.0) is silent
