"""An agent with Weir's tools, a real operator, and a person: from looking at a release to what came of an action."""

from __future__ import annotations

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import Api
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.mcptools import Toolbox

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

PROMOTE: Spec = {"name": "go", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}}


@pytest.fixture
def toolbox(slow: Case) -> Toolbox:
    """v2 has 20 % of the traffic; the agent may stop it, and promote it with a person's consent."""
    agents = Agents(slow, [STOP, PROMOTE])
    agents.wait_ready()
    return Toolbox(agents)


async def test_given_a_release_that_runs_when_an_agent_stops_it_then_it_sees_the_result(toolbox: Toolbox) -> None:
    seen = await toolbox.told("get_rollout", name="digits")
    assert (seen["stage"], seen["weight"], seen["candidate"]["name"]) == ("Traffic(20)", 20, "v2")
    proposed = await toolbox.told(
        "propose_action",
        proposal={"permit": "stop", "rollout": "digits", "reason": "it drifts", "expect": seen["expect"]},
    )
    done = await toolbox.told("get_action", name=proposed["name"], wait_seconds=60)
    assert (done["phase"], done["ended"]) == ("Succeeded", True)
    toolbox.agents.case.wait_phase("RolledBack")
    told = await toolbox.told("list_rollouts")
    assert [(line["name"], line["weight"]) for line in told["rollouts"]] == [("digits", 0)]


async def test_given_an_action_that_needs_consent_when_a_person_gives_it_then_the_agent_sees_what_it_waited_for(
    toolbox: Toolbox, lab: Lab
) -> None:
    lab.allow_actions("sre")
    ada: Api = lab.api.acting_as("ada", "sre")
    seen = await toolbox.told("get_rollout", name="digits")
    expect = {"release": seen["expect"]["release"]}
    proposal = {"permit": "go", "rollout": "digits", "reason": "all is well", "expect": expect}
    name = (await toolbox.told("propose_action", proposal=proposal))["name"]
    toolbox.agents.wait_status(name, lambda s: s.get("phase") == "Pending" and s.get("digest"), "it waits")
    waits = await toolbox.told("get_action", name=name)
    assert (waits["phase"], waits["waitsFor"], waits["quorum"], waits["consents"]) == (
        "Pending",
        "ApprovalNeeded",
        1,
        0,
    )
    room = await toolbox.told("get_headroom", permit="go")
    assert [line["name"] for line in room["ownOpen"]] == [name]

    toolbox.agents.answer("Approve", name, by=ada)

    done = await toolbox.told("get_action", name=name, wait_seconds=60)
    assert (done["phase"], done["digest"]) == ("Succeeded", waits["digest"])


async def test_given_an_action_that_waits_when_its_agent_withdraws_it_then_it_ends_without_effect(
    toolbox: Toolbox,
) -> None:
    seen = await toolbox.told("get_rollout", name="digits")
    expect = {"release": seen["expect"]["release"]}
    proposal = {"permit": "go", "rollout": "digits", "reason": "all is well", "expect": expect}
    name = (await toolbox.told("propose_action", proposal=proposal))["name"]
    toolbox.agents.wait_status(name, lambda s: s.get("phase") == "Pending", "it waits")

    withdrawn = await toolbox.told("withdraw_action", name=name, reason="the numbers were old")

    assert (await toolbox.told("get_action", name=withdrawn["name"], wait_seconds=60))["phase"] == "Succeeded"
    done = await toolbox.told("get_action", name=name, wait_seconds=60)
    assert done["phase"] == "Refused"
    assert toolbox.agents.case.status()["weight"] == 20
