"""What agents may still ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.agent.headroom import Headroom, headroom, stopped, tokens
from weir.agent.permits import slot_name, slot_of
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import format_time
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec

NOW = 1_800_000_000.0
"""The first second of an hour."""

TUNE = {"name": "tune", "action": "ShiftTraffic", "budget": {"limit": 3, "window": "1h"}}


def policy(*permits: dict[str, Any], **spec: Any) -> AgentPolicySpec:
    subjects = [{"kind": "User", "name": "agent"}]
    return AgentPolicySpec.model_validate({"subjects": subjects, "permits": list(permits), **spec})


def outer(*limits: dict[str, Any], **spec: Any) -> ClusterAgentPolicySpec:
    return ClusterAgentPolicySpec.model_validate({"limits": list(limits), **spec})


def blocked(**entry: Any) -> AgentPolicyStatus:
    said = {"rollout": "digits", "until": format_time(NOW + 60), "reason": "Cooldown", **entry}
    return AgentPolicyStatus.model_validate({"blocked": [said]})


def row(
    *names: str, spec: AgentPolicySpec | None = None, status: AgentPolicyStatus | None = None, **other: Any
) -> Headroom:
    """The first permit's."""
    return headroom(spec or policy(TUNE), status or AgentPolicyStatus(), names, NOW, **other)[0]


@given(
    slots=st.sets(st.integers(0, 4)),
    other=st.lists(st.sampled_from(["tune-1-0", "tune-500000-00", "tune-500000-7", "tune-500000-", "tune-499999-1"])),
    later=st.floats(0, 3599),
)
def test_given_any_names_then_used_and_left_are_the_limit_and_the_next_name_is_the_lowest_free_slot(
    slots: set[int], other: list[str], later: float
) -> None:
    permit = policy({**TUNE, "budget": {"limit": 5, "window": "1h"}})
    names = [slot_name(permit.permits[0], NOW, slot) for slot in slots]
    [found] = headroom(permit, AgentPolicyStatus(), names + other, NOW + later)
    assert (found.used, found.left) == (len(slots), 5 - len(slots))
    assert found.resets_at == NOW + 3600
    free = min(set(range(5)) - slots, default=None)
    assert found.next_name == ("" if free is None else f"tune-500000-{free}")
    assert found.usable == (free is not None)
    assert free is None or slot_of(permit.permits[0], found.next_name, NOW + later) == free


def test_given_a_new_window_then_the_old_ones_requests_do_not_count() -> None:
    names = [slot_name(policy(TUNE).permits[0], NOW, slot) for slot in range(3)]
    assert row(*names).left == 0
    [later] = headroom(policy(TUNE), AgentPolicyStatus(), names, NOW + 3600)
    assert (later.used, later.next_name) == (0, "tune-500001-0")


def test_given_no_budget_then_there_is_no_limit_and_no_name() -> None:
    found = row("stop-1", spec=policy({"name": "stop", "action": "Abort"}))
    assert (found.left, found.limit, found.resets_at, found.next_name, found.usable) == (None, None, None, "", True)


def test_given_a_used_up_budget_in_audit_then_a_request_may_still_be_made() -> None:
    names = [slot_name(policy(TUNE).permits[0], NOW, slot) for slot in range(3)]
    assert not row(*names).usable
    assert row(*names, spec=policy(TUNE, mode="Audit")).usable
    assert not row(*names, spec=policy({**TUNE, "mode": "Enforce"}, mode="Audit")).usable


@pytest.mark.parametrize(
    ("entry", "permit", "told"),
    [
        ({}, {}, True),
        ({"action": "ShiftTraffic"}, {}, True),
        ({"action": "Promote"}, {}, False),
        ({"until": format_time(NOW)}, {}, False),
        ({}, {"rollouts": ["digits", "faces"]}, True),
        ({}, {"rollouts": ["faces"]}, False),
        ({}, {"action": "Abort"}, False),
        ({}, {"action": "Pause"}, False),
        ({}, {"action": "Rollback"}, False),
    ],
)
def test_given_a_block_then_it_is_told_where_it_refuses_the_action(
    entry: dict[str, Any], permit: dict[str, Any], told: bool
) -> None:
    found = row(spec=policy({**TUNE, **permit}), status=blocked(**entry))
    assert bool(found.blocked) == told


@pytest.mark.parametrize(
    ("spec", "others", "said"),
    [
        (policy(TUNE), {}, ""),
        (policy(TUNE), {"outer": outer({"action": "ShiftTraffic"})}, ""),
        (policy(TUNE, paused=True), {}, "the AgentPolicy is paused"),
        (policy(TUNE), {"namespace_paused": True}, "label weir.dev/agents=paused"),
        (policy(TUNE), {"outer": outer({"action": "ShiftTraffic"}, paused=True)}, "the ClusterAgentPolicy is paused"),
        (policy(TUNE), {"outer": outer({"action": "Abort"})}, "does not allow ShiftTraffic"),
        (policy({**TUNE, "approval": {"tier": "ManualOnly"}}), {}, "only people may do it"),
        (policy(TUNE), {"outer": outer({"action": "ShiftTraffic", "minTier": "ManualOnly"})}, "only people may do it"),
    ],
)
def test_given_a_closed_permit_then_it_says_why_and_nothing_is_usable(
    spec: AgentPolicySpec, others: dict[str, Any], said: str
) -> None:
    found = row(spec=spec, **others)
    assert (found.closed == "") == (said == "")
    assert said in found.closed
    assert found.usable == (said == "")


def test_given_outer_bounds_then_the_row_is_as_strict_as_they_are() -> None:
    limit = {"action": "ShiftTraffic", "maxPerHour": 2, "minTier": "Approve", "minQuorum": 2}
    found = row(outer=outer(limit))
    assert (found.limit, found.tier, found.quorum) == (2, "Approve", 2)


def test_given_a_bucket_then_its_tokens_come_back_with_time_up_to_its_capacity() -> None:
    spec = policy(TUNE, bucket={"capacity": 5, "refillEvery": "10m"})
    status = AgentPolicyStatus.model_validate({"bucket": {"left": "1.5", "at": format_time(NOW)}})
    assert tokens(spec, AgentPolicyStatus(), NOW) == 5
    assert tokens(spec, status, NOW + 300) == 2
    assert tokens(spec, status, NOW + 36000) == 5
    assert tokens(policy(TUNE), status, NOW) is None


def test_given_several_kill_switches_then_the_widest_is_told() -> None:
    paused = policy(TUNE, paused=True)
    assert "ClusterAgentPolicy" in stopped(paused, outer({"action": "Abort"}, paused=True), namespace_paused=True)
    assert "namespace has the label" in stopped(paused, None, namespace_paused=True)


def test_given_a_row_when_it_is_written_for_programs_then_absent_values_are_left_out() -> None:
    status = blocked(action="ShiftTraffic", message="too early")
    assert row(status=status).to_dict() == {
        "permit": "tune",
        "action": "ShiftTraffic",
        "mode": "Enforce",
        "used": 0,
        "limit": 3,
        "left": 3,
        "resetsAt": format_time(NOW + 3600),
        "nextName": "tune-500000-0",
        "tier": "None",
        "blocked": [entry.to_dict() for entry in status.blocked],
        "usable": True,
    }
