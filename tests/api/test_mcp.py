"""An agent with Weir's tools: the official client, the real server, the real admission policies, and no operator."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tests.api.harness.agents import Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import Lab
from tests.api.harness.mcptools import Toolbox
from tests.api.harness.process import ROOT
from weir.api.agentpolicy import POLICY_NAME
from weir.api.base import format_time, parse_time
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, KubeObject

pytestmark = pytest.mark.api

T = TypeVar("T")

LIMIT = 5
PERMITS: list[dict[str, Any]] = [
    {
        "name": "shift",
        "action": "ShiftTraffic",
        "bounds": {"maxStep": 10, "maxTrafficPercent": 50},
        "budget": {"limit": LIMIT, "window": "1h"},
    },
    {"name": "abort", "action": "Abort"},
    {"name": "plead", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}},
    {"name": "never", "action": "Skip", "approval": {"tier": "ManualOnly"}},
    {"name": "other", "action": "Resume", "rollouts": ["letters"]},
    {
        "name": "tune",
        "action": "Retrain",
        "template": "train",
        "parameters": [{"name": "epochs", "minimum": 1, "maximum": 9, "default": "3"}],
    },
]
TEMPLATE = {"name": "train", "action": "Retrain", "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}}
SHIFT: dict[str, Any] = {
    "permit": "shift",
    "rollout": "digits",
    "reason": "all is well",
    "weight": 20,
    "expect": {"release": 2, "weight": 10},
}


@contextmanager
def furnished(lab: Lab) -> Iterator[Toolbox]:
    """An agent in a namespace of its own, whose policy the API server knows."""
    case = Case(lab)
    case.version("v1")
    case.create()
    agents = Agents(case, PERMITS, {"templates": [TEMPLATE]})
    eventually(lambda: not agents.refusal("abort"), "the agent may ask")
    yield Toolbox(agents)
    lab.api.delete(AGENT_POLICIES, case.namespace, POLICY_NAME)


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[Toolbox]:
    """An agent that asks for nothing but simulations."""
    with furnished(lab) as made:
        yield made


@pytest.fixture
def toolbox(lab: Lab) -> Iterator[Toolbox]:
    """An agent of the test's own."""
    with furnished(lab) as made:
        yield made


def requests_of(toolbox: Toolbox) -> list[KubeObject]:
    """What is stored of the agent."""
    found = toolbox.agents.lab.api.list(ACTION_REQUESTS, toolbox.agents.namespace)
    return [request for request in found if request["spec"].get("requester") == toolbox.agents.user]


async def until(look: Callable[[], Awaitable[T]], what: str, *, within: float = 60.0) -> T:
    """The first true answer; what the policies know lags behind, and each call starts a server."""
    deadline = time.monotonic() + within
    while not (found := await look()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)
    return found


def test_given_a_review_of_oneself_when_it_is_answered_then_it_tells_the_time_of_the_api_server(lab: Lab) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = lab.api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert abs(parse_time(found["metadata"]["creationTimestamp"]) - time.time()) < 5


async def test_given_many_proposals_at_once_when_the_budget_is_less_then_exactly_the_budget_is_stored(
    toolbox: Toolbox,
) -> None:
    began = int(time.time()) // 3600
    async with toolbox.client() as client:
        answers = await asyncio.gather(*(client.call_tool("propose_action", {"proposal": SHIFT}) for _ in range(20)))
        room = await client.call_tool("get_headroom", {"permit": "shift"})
    if int(time.time()) // 3600 != began:
        pytest.skip("a window ended meanwhile")
    names = sorted(request["metadata"]["name"] for request in requests_of(toolbox))
    assert names == [f"shift-{began}-{slot}" for slot in range(LIMIT)]
    assert [answer.is_error for answer in answers].count(False) == LIMIT
    refused = [answer.structured_content for answer in answers if answer.is_error]
    for told in refused:
        assert told is not None
        [denial] = told["denials"]
        assert denial["rule"] == "BudgetSlot"
        assert denial["remaining"] == 0
        assert 0 < denial["retryAfter"] <= 3600
    assert room.structured_content is not None
    assert room.structured_content["permits"][0]["remaining"] == 0
    assert len(room.structured_content["ownOpen"]) == LIMIT


@pytest.mark.parametrize(
    ("changes", "rule", "field"),
    [
        ({"weight": 40}, "MaxStep", "spec.expect.weight"),
        ({"weight": 60, "expect": {"release": 2, "weight": 55}}, "MaxTrafficPercent", "spec.weight"),
        ({"expect": {"weight": 10}}, "ExpectRelease", "spec.expect.release"),
        ({"expect": {"release": 2}}, "ExpectWeight", "spec.expect.weight"),
        ({"permit": "never", "weight": None}, "ManualOnly", ""),
        ({"permit": "other", "weight": None}, "RolloutNotPermitted", ""),
        (
            {"permit": "tune", "weight": None, "expect": None, "parameters": {"epochs": "10"}},
            "ParameterBeyond",
            "spec.parameters.epochs",
        ),
        (
            {"permit": "tune", "weight": None, "expect": None, "parameters": {"shell": "rm"}},
            "ParameterUnknown",
            "spec.parameters.shell",
        ),
        ({"duration": "5m"}, "Schema", "spec.duration"),
    ],
)
async def test_given_a_proposal_beyond_the_policy_when_it_is_simulated_then_the_rule_and_the_field_are_told(
    shared: Toolbox, changes: dict[str, Any], rule: str, field: str
) -> None:
    proposal = {key: value for key, value in {**SHIFT, **changes}.items() if value is not None}
    found = await shared.told("simulate_action", proposal=proposal)
    assert found["allowed"] is False
    assert (rule, field) in [(denial["rule"], denial["field"]) for denial in found["denials"]]
    assert requests_of(shared) == []


async def test_given_a_proposal_within_the_policy_when_it_is_simulated_then_it_is_allowed_and_nothing_is_stored(
    shared: Toolbox,
) -> None:
    found = await shared.told(
        "simulate_action", proposal={"permit": "plead", "rollout": "digits", "reason": "x", "expect": {"release": 2}}
    )
    assert (found["allowed"], found["tier"], found["quorum"]) == (True, "Approve", 1)
    assert requests_of(shared) == []


async def test_given_a_cooldown_when_a_proposal_is_made_then_the_refusal_tells_the_rest_of_it(toolbox: Toolbox) -> None:
    end = time.time() + 600
    blocked = [{"rollout": "digits", "action": "ShiftTraffic", "until": format_time(end), "reason": "Cooldown"}]
    path = f"{AGENT_POLICIES.path(toolbox.agents.namespace, POLICY_NAME)}/status"
    toolbox.agents.lab.api.call("PATCH", path, {"status": {"blocked": blocked}}, "application/merge-patch+json")

    async def refused() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await toolbox.told("simulate_action", proposal=SHIFT))["denials"]
        return found

    denials = await until(refused, "the policies see the status")
    assert denials[0]["rule"] == "Cooldown"
    assert 500 < denials[0]["retryAfter"] <= 600


async def test_given_a_kill_switch_when_a_proposal_is_made_then_it_says_that_only_people_can_change_that(
    toolbox: Toolbox,
) -> None:
    toolbox.agents.change(paused=True)
    abort = {"permit": "abort", "rollout": "digits", "reason": "x"}

    async def stopped() -> bool:
        return not await toolbox.allowed(abort)

    await until(stopped, "the kill switch works")
    denial = (await toolbox.refused("propose_action", proposal=abort))[0]
    assert denial["rule"] == "Paused"
    assert "retryAfter" not in denial
    assert "Only people" in denial["advice"]


async def test_given_an_own_action_when_it_is_withdrawn_then_the_request_is_admitted_and_not_for_anothers(
    toolbox: Toolbox,
) -> None:
    proposed = await toolbox.told("propose_action", proposal=SHIFT)
    seen = await toolbox.told("get_action", name=proposed["name"])
    assert (seen["phase"], seen["uid"]) == ("New", proposed["uid"])
    withdrawn = await toolbox.told("withdraw_action", name=proposed["name"], reason="it got better")
    assert (
        toolbox.agents.lab.api.get(ACTION_REQUESTS, toolbox.agents.namespace, withdrawn["name"])["spec"]["request"][
            "uid"
        ]
        == seen["uid"]
    )

    body = {
        "metadata": {"name": "by-people", "namespace": toolbox.agents.namespace},
        "spec": {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "a person asks"},
    }
    toolbox.agents.lab.api.create(ACTION_REQUESTS, body)
    [denial, *_] = await toolbox.refused("withdraw_action", name="by-people", reason="I know better")
    assert denial["rule"] in ("NotYours", "NoPermitRequest")


def test_given_an_administrators_credentials_when_the_server_starts_then_it_refuses(lab: Lab) -> None:
    environment = {"KUBECONFIG": str(lab.server.kubeconfig), "PYTHONPATH": str(ROOT / "operator")}
    argv = [sys.executable, "-m", "weir.mcp"]
    ended = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    for right in ("approve rollouts.weir.dev", "impersonate users", "delete validatingadmissionpolicies"):
        assert right in ended.stderr
