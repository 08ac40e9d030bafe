"""The API server and the operator read the same policy in the same way: what one refuses, the other does not execute."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.api.harness.api import Api, Failure
from tests.api.harness.lab import Lab
from tests.api.harness.permits import JOB, PERMITS, Permits
from tests.unit.agent.ledgerworld import World
from tests.unit.agent.planning import releasing
from weir.agent.permits import slot_name
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import AgentPolicySpec

pytestmark = pytest.mark.api

STATIC = {"NotPermitted", "ExpectationMissing", "BudgetSlot", "Parameters", "Bounds", "ManualOnly"}
"""Reasons of the operator's for what can be told by policy and request alone, which is all that admission sees."""

SOUND = [permit for permit in PERMITS if permit["name"] != "half"]
"""Without the one that contradicts itself, which the operator alone finds: it then lets all but ways back wait."""

BUDGETED = [Permit.model_validate(permit) for permit in SOUND if "budget" in permit]
ACTIONS = sorted({permit["action"] for permit in SOUND})
MOSTLY = st.sampled_from([True] * 12 + [False])
WEIGHTS = st.one_of(st.integers(0, 100), st.sampled_from((49, 50, 51)))
VALUES = st.sampled_from(
    ("1", "3", "10", "11", "0", "-1", "+3", "03", "3.0", " 3", "1e1", "9" * 13, "small", "all", "")
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """What an agent might ask for; mostly the right action of a permit, and something else about it may be wrong."""
    permit = draw(st.sampled_from([*SOUND, *(p for p in SOUND if {"bounds", "parameters"} & p.keys())]))
    action = permit["action"] if draw(MOSTLY) else draw(st.sampled_from(ACTIONS))
    expect = {"release": 7} if draw(MOSTLY) else {}
    if draw(MOSTLY):
        expect["weight"] = draw(WEIGHTS)
    fields: dict[str, Any] = {"expect": expect} if expect else {}
    if action == "ShiftTraffic":
        fields["weight"] = draw(WEIGHTS)
    if action == "Release":
        fields["version"] = "v2"
    if action == "Retrain":
        fields["parameters"] = {
            **({"data": "small"} if draw(MOSTLY) else {}),
            **draw(st.dictionaries(st.sampled_from(("epochs", "epochs", "data", "note", "gpus")), VALUES, max_size=2)),
        }
    return {
        "permit": permit["name"] if draw(MOSTLY) else "none",
        "action": action,
        "rollout": "digits" if draw(MOSTLY) else draw(st.sampled_from(("letters", "signs"))),
        "agent": "tuner" if draw(MOSTLY) else draw(st.sampled_from(("pipeline", "mallory"))),
        "slot": draw(st.sampled_from((0, 0, 1, 2, 3, 99, 100, None))),
        "days": 0 if draw(MOSTLY) else draw(st.sampled_from((1, -1))),
        "fields": fields,
    }


@pytest.fixture(scope="module")
def room(lab: Lab) -> Permits:
    """The policy without its group: the operator cannot know who is in one."""
    made = Permits(lab)
    made.govern(subjects=made.spec()["subjects"][:2], permits=SOUND)
    return made


@pytest.fixture(scope="module")
def agents(room: Permits) -> dict[str, Api]:
    """Those who ask; `mallory` is no subject."""
    return {"tuner": room.tuner, "pipeline": room.pipeline, "mallory": room.agent("mallory")}


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(asked=requests())
def test_given_any_request_when_the_api_server_and_the_operator_judge_it_then_they_agree(
    room: Permits, agents: dict[str, Api], asked: dict[str, Any]
) -> None:
    permit = next((permit for permit in BUDGETED if permit.name == asked["permit"]), None)
    now = time.time()
    name = f"{asked['permit']}-free"
    if permit is not None and asked["slot"] is not None:
        name = slot_name(permit, now + asked["days"] * 86400, asked["slot"])
    refusal = _admission(room, agents[asked["agent"]], asked, name)
    reasons = _operator(room, asked, name, now)

    event(refusal.partition("denied request: ")[2].partition(":")[0] or "admitted")
    if refusal:
        assert reasons & STATIC, f"admitted by the operator alone: {refusal}"
    else:
        assert not reasons & STATIC, f"refused by the operator alone: {reasons}"


def _admission(room: Permits, by: Api, asked: dict[str, Any], name: str) -> str:
    permit, action, rollout = (asked[key] for key in ("permit", "action", "rollout"))
    try:
        room.under(by, permit, action, rollout, name=name, dry_run=True, **asked["fields"])
    except Failure as failure:
        told = failure.message
    else:
        return ""
    assert "weir-permits" in told
    assert "resulted in error" not in told
    return told


def _operator(room: Permits, asked: dict[str, Any], name: str, now: float) -> set[str]:
    spec = room.spec(subjects=room.spec()["subjects"][:2], permits=SOUND, templates=[JOB])
    world = World(AgentPolicySpec.model_validate(spec), *(releasing(known) for known in ("digits", "letters", "signs")))
    world.now = now
    user = {"tuner": room.account}.get(asked["agent"], asked["agent"])
    known = {"action": asked["action"], "on": asked["rollout"], "by": user, "name": name}
    world.ask(asked["permit"], **{"expect": None, **known, **asked["fields"]})
    return {entry.reason for entry in world.decide().status.denied}
