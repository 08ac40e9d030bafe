"""Windows, slots and subjects of permits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.ledgerworld import AGENT, EVE, spec_of
from weir.agent.permits import allows, free_slot, in_share, selected, slot_name, slot_of, subject_of, taken, window
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import RolloutSelector

TUNE = Permit.model_validate({"name": "tune", "action": "Skip", "budget": {"limit": 3, "window": "10m"}})
FREE = Permit.model_validate({"name": "stop", "action": "Abort"})


@given(st.floats(0, 4e9), st.integers(0, 999))
def test_given_any_time_then_a_slot_is_found_again_by_its_name_in_its_own_window_alone(at: float, slot: int) -> None:
    number, begins, ends = window(TUNE, at)
    name = slot_name(TUNE, at, slot)

    assert begins <= int(at) < ends
    assert name == f"tune-{number}-{slot}"
    assert slot_of(TUNE, name, at) == slot
    assert slot_of(TUNE, name, ends) is None
    assert slot_of(TUNE, name, begins - 1) is None


@pytest.mark.parametrize(
    "name", ["tune-2-01", "tune-2-", "tune-2--1", "tune-2-1x", "tune-2-+1", "tune-2-१", "other-2-1", "tune-2-1-1"]
)
def test_given_a_name_that_is_no_slot_then_it_is_none(name: str) -> None:
    assert slot_of(TUNE, name, 1200) is None


def test_given_used_slots_then_the_lowest_free_one_is_next_until_none_is_left() -> None:
    names = ["tune-2-0", "tune-2-2", "tune-1-1", "stop-2-1"]

    assert taken(TUNE, names, 1200) == {0, 2}
    assert free_slot(TUNE, names, 1200) == 1
    assert free_slot(TUNE, [*names, "tune-2-1"], 1200) is None
    assert free_slot(FREE, ["stop-0-0", "stop-0-1"], 1200) == 2


def test_given_many_requests_then_a_share_of_them_is_in_and_stays_in_as_the_share_grows() -> None:
    uids = [f"uid-{i}" for i in range(2000)]
    shares = [{uid for uid in uids if in_share(uid, share)} for share in (0, 20, 60, 100)]

    assert shares[0] == set()
    assert 300 < len(shares[1]) < 500
    assert shares[1] < shares[2] < shares[3] == set(uids)


def test_given_subjects_then_only_they_may_use_a_permit_and_a_group_is_left_to_admission() -> None:
    policy = spec_of()
    by_name = {permit.name: permit for permit in policy.permits}

    assert allows(policy, by_name["stop"], AGENT)
    assert allows(policy, by_name["stop"], EVE)
    assert allows(policy, by_name["release"], AGENT)
    assert not allows(policy, by_name["release"], EVE)  # the permit names its subjects
    assert not allows(policy, by_name["stop"], "agent")  # a ServiceAccount's name is no user's
    assert not allows(policy, by_name["stop"], None)
    assert subject_of(policy, "mallory") is None
    grouped = spec_of(subjects=[{"kind": "Group", "name": "robots"}])
    assert allows(grouped, by_name["stop"], "mallory")


def test_given_a_selector_then_names_and_labels_must_both_fit() -> None:
    both = RolloutSelector.model_validate({"names": ["a"], "matchLabels": {"team": "ml"}})

    assert selected(None, "b", {})
    assert selected(both, "a", {"team": "ml", "x": "y"})
    assert not selected(both, "b", {"team": "ml"})
    assert not selected(both, "a", {"team": "web"})
