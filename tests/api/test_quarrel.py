"""Two agents that pull at one release: they are damped, people are told, and people stay in charge."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.harness.agents import ACCOUNT, Agents, account
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from weir.runtime.resources import EVENTS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

PERMITS: list[Spec] = [
    {"name": "more", "action": "ShiftTraffic", "subjects": ["bold"]},
    {"name": "less", "action": "ShiftTraffic", "subjects": [ACCOUNT]},
]
WIDE: Spec = {
    "damping": {"penalty": 1000, "halfLife": "30m", "suppressAt": 2500, "reuseBelow": 750, "maxSuppress": "2h"},
    "loop": {"maxDepth": 3, "maxRepeats": 100, "window": "1h"},
    "blastRadius": {"maxUnhealthyPercent": 100, "maxAffectedPercent": 100},
}


def _fate(agents: Agents, by: Api, permit: str, weight: int, seen: int) -> str:
    """What became of a ShiftTraffic: its phase, or Damped where it waits or is refused because of that.

    ``seen``: weight of the candidate, which the agent waits for and states: that is how less is known to be less.
    """
    agents.case.wait(lambda status: status["weight"] == seen, f"weight {seen}")
    try:
        name = agents.ask(permit, by=by, weight=weight, expect={"release": 2, "weight": seen})
    except Failure as failure:
        return "Damped" if failure.message.find("Damped: ") >= 0 else failure.message

    def settled() -> str:
        status = agents.case.request(name).get("status") or {}
        if status.get("phase", "Pending") != "Pending":
            return str(status["phase"])
        waits = [entry["reason"] for entry in agents.ledger().get("waiting", []) if entry["name"] == name]
        return "Damped" if waits == ["Damped"] else ""

    return eventually(settled, f"the fate of {name}")


def test_given_two_agents_that_pull_at_one_release_then_they_are_damped_and_people_are_told(
    slow: Case, lab: Lab
) -> None:
    lab.allow_actions("sre")
    bold = account(lab, slow.namespace, "bold")
    subjects = [{"name": name, "namespace": slow.namespace} for name in (ACCOUNT, "bold")]
    agents = Agents(slow, PERMITS, {**WIDE, "subjects": subjects})
    agents.wait_ready()

    done: list[str] = []
    for turn in range(12):
        by, permit, weight, seen = (agents.tuner, "less", 5, 20) if turn % 2 == 0 else (bold, "more", 100, 5)
        done.append(f"{permit} {_fate(agents, by, permit, weight, seen)}")
        if not done[-1].endswith(" Succeeded"):
            break

    assert done == ["less Succeeded", "more Succeeded"] * ((len(done) - 1) // 2) + ["less Succeeded", "more Damped"]
    assert 4 <= len(done) <= 6, "three reversals are enough"
    [target] = agents.ledger()["targets"]
    assert target["suppressedAt"]
    told = eventually(lambda: _events(agents, "Damped"), "people are told")
    assert "went back and forth" in told[0]
    blocked = eventually(lambda: agents.ledger().get("blocked"), "the API server is told, too")
    assert blocked[0]["reason"] == "Damped"
    # Less traffic is never held up, and people are not concerned.
    assert _fate(agents, agents.tuner, "less", 0, 5) == "Succeeded"
    slow.wait(lambda status: status["weight"] == 0, "no traffic for v2")
    ada = lab.api.acting_as("ada", "sre")
    for action, fields in (("ShiftTraffic", {"weight": 100}), ("Abort", {})):
        assert slow.answer(slow.act(action, by=ada, **fields))["phase"] == "Succeeded"


def _events(agents: Agents, reason: str) -> list[Any]:
    found = agents.lab.api.list(EVENTS, agents.namespace)
    return [event.get("note", "") for event in found if event.get("reason") == reason]
