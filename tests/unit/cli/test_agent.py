"""What agents may do and what they asked for: `weir agent headroom` and `actions`."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import typer

from tests.unit.cli.agents import outer, policy, request, slots, waiting
from tests.unit.cli.apiserver import FakeApi
from tests.unit.cli.conftest import Run
from weir.api.base import format_time


def test_given_used_slots_when_headroom_is_asked_for_then_it_says_what_is_left_and_the_next_name(
    api: FakeApi, run: Run
) -> None:
    first, second, third = slots()
    blocked = {
        "rollout": "digits",
        "action": "",
        "until": format_time(time.time() + 900),
        "reason": "Damped",
        "message": "it went back and forth",
    }
    api.put("agentpolicies", policy(status={"blocked": [blocked]}, bucket={"capacity": 7, "refillEvery": "1m"}))
    api.put("actionrequests", request(first))
    api.put("actionrequests", request(third))
    result = run("agent", "headroom")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert re.fullmatch(rf"tune +ShiftTraffic +Enforce +2 of 3 +in .* +- +{second}", lines[1])
    assert re.fullmatch(r"stop +Abort +Enforce +no budget +- +- +any", lines[2])
    assert re.fullmatch(r"ship +Promote +Enforce +no budget +- +2 people +any", lines[3])
    assert lines[4] == "Tokens left in the bucket: 7.0."
    assert lines[5].startswith("digits: nothing but safe actions until ")
    assert lines[5].endswith("Damped: it went back and forth")


def test_given_a_cooldown_when_headroom_is_asked_for_then_its_time_is_told_once(api: FakeApi, run: Run) -> None:
    until = format_time(time.time() + 900)
    told = f"ShiftTraffic on digits cools down until {until} after 2 failures in a row"
    entry = {"rollout": "digits", "action": "ShiftTraffic", "until": until, "reason": "Cooldown", "message": told}
    api.put("agentpolicies", policy(status={"blocked": [entry]}))
    line = run("agent", "headroom").stdout.splitlines()[-1]
    assert re.fullmatch(
        r"digits: no ShiftTraffic until [0-9: -]+ UTC \(in 15 min\), Cooldown after 2 failures in a row", line
    )


def test_given_one_permit_when_headroom_is_asked_for_as_json_then_it_is_that_of_the_permit(
    api: FakeApi, run: Run
) -> None:
    first, second, third = slots()
    api.put("agentpolicies", policy())
    for name in (first, second, third):
        api.put("actionrequests", request(name))
    [row] = json.loads(run("agent", "headroom", "tune", "-o", "json").stdout)
    assert row["used"] == row["limit"] == 3
    assert (row["left"], row["usable"], "nextName" in row) == (0, False, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": {"paused": True}}, "the AgentPolicy is paused"),
        ({"outer": {"paused": True}}, "the ClusterAgentPolicy is paused"),
        ({"labels": {"weir.dev/agents": "paused"}}, "the namespace has the label weir.dev/agents=paused"),
    ],
)
def test_given_a_kill_switch_when_headroom_is_asked_for_then_it_says_which(
    api: FakeApi, run: Run, change: dict[str, Any], said: str
) -> None:
    api.put("agentpolicies", policy(**change.get("policy", {})))
    api.put("clusteragentpolicies", outer(**change.get("outer", {})))
    api.put("namespaces", {"metadata": {"name": "team", "namespace": "", "labels": change.get("labels", {})}})
    result = run("agent", "headroom")
    assert result.stdout.startswith(f"All agents are stopped: {said}")
    assert all(line.endswith("closed") for line in result.stdout.splitlines()[2:])


@pytest.mark.parametrize(
    ("there", "arguments", "said"),
    [
        (None, ["headroom"], "no AgentPolicy in namespace team, so agents may ask for nothing there"),
        ("other", ["headroom"], "there is one in other: use -n other"),
        ("team", ["headroom", "tun"], "no permit 'tun' in the AgentPolicy; did you mean tune?"),
        ("team", ["headroom", "xyz"], "no permit 'xyz' in the AgentPolicy; there is ship, stop, tune"),
    ],
)
def test_given_what_is_not_there_when_headroom_is_asked_for_then_the_way_out_is_told(
    api: FakeApi, run: Run, there: str | None, arguments: list[str], said: str
) -> None:
    if there is not None:
        found = policy()
        found["metadata"]["namespace"] = there
        api.put("agentpolicies", found)
    result = run("agent", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_given_a_policy_that_cannot_be_read_when_headroom_is_asked_for_then_the_field_is_named(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy({"name": "tune", "action": "Dance"}))
    result = run("agent", "headroom")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the AgentPolicy cannot be read: spec.permits.0.action: ")


def test_given_a_request_that_waits_for_people_when_actions_are_listed_then_it_says_how_to_answer(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    api.put("actionrequests", request("ship-1", phase="Pending", message="waits"))
    api.put("actionrequests", request("ship-0", phase="Succeeded", message="done"))
    api.put("actionrequests", request("by-a-person", permit=None))
    result = run("agent", "actions")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert re.fullmatch(
        r"ship-1 +digits +Promote +ship +agents/oncall +Pending +\d.* +1 of 2 people have agreed", lines[1]
    )
    assert lines[2:] == [
        "",
        "To answer:",
        "  kubectl weir approve --request ship-1 -n team -m REASON",
        "  kubectl weir deny ship-1 -n team -m REASON",
    ]


def test_given_a_request_that_waits_for_something_else_then_overruling_it_is_offered(api: FakeApi, run: Run) -> None:
    entry = waiting("ship-1", reason="BlastRadius", message="too much is unhealthy", quorum=0, consents=[])
    api.put("agentpolicies", policy(status={"waiting": [entry]}))
    api.put("actionrequests", request("ship-1", phase="Pending"))
    assert run("agent", "actions").stdout.splitlines()[-2:] == [
        "  kubectl weir override ship-1 -n team -m REASON",
        "  kubectl weir deny ship-1 -n team -m REASON",
    ]


def test_given_ended_requests_and_the_fallback_when_all_are_listed_as_json_then_open_ones_come_first(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("actionrequests", request("old", phase="Refused", message="no"))
    api.put("actionrequests", request("fallback-digits-3-1", permit=None, action="Pause", phase="Succeeded"))
    api.put("actionrequests", request("shift", action="ShiftTraffic", weight=5, permit="tune", rule="slow"))
    found = json.loads(run("agent", "actions", "--all", "-o", "json").stdout)
    assert [(one["name"], one["phase"]) for one in found] == [
        ("shift", "New"),
        ("fallback-digits-3-1", "Succeeded"),
        ("old", "Refused"),
    ]
    assert (found[0]["action"], found[0]["rule"]) == ("ShiftTraffic 5 %", "slow")


def test_given_no_open_request_when_actions_are_listed_then_it_says_so(api: FakeApi, run: Run) -> None:
    api.put("agentpolicies", policy())
    result = run("agent", "actions")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no request of agents is open in namespace team; see those that ended with --all\n"


def test_given_hostile_text_when_actions_are_listed_then_it_cannot_steer_the_terminal(api: FakeApi, run: Run) -> None:
    api.put("agentpolicies", policy())
    api.put("actionrequests", request("ship-1", phase="Pending", message="x\x1b[2J\nApproved by root"))
    result = run("agent", "actions")
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2


def test_given_watch_in_a_pipe_when_a_request_changes_then_there_is_a_line_for_each_change(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("agentpolicies", policy())
    api.put("actionrequests", request("ship-1"))
    echo, told = typer.echo, []

    def change_then_end(text: str, **how: Any) -> None:
        """The first line is answered by a change, the second by Ctrl-C."""
        echo(text, **how)
        told.append(text)
        if len(told) == 2:
            raise KeyboardInterrupt
        api.put("actionrequests", request("ship-1", phase="Pending", message="waits for two people"))

    monkeypatch.setattr(typer, "echo", change_then_end)
    assert run("agent", "actions", "-w").exit_code == 130
    assert told == [
        "ship-1  digits  Promote  ship  New",
        "ship-1  digits  Promote  ship  Pending  waits for two people",
    ]
