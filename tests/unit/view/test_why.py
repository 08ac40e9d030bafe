"""What is claimed in an explanation is true: estimates against what happens then, policies against the spec."""

from __future__ import annotations

import copy
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.view.rendering import info_of, printed
from tests.unit.view.situations import SITUATIONS, recorded
from tests.unit.view.world import World, make_spec
from weir.api.rolloutstatus import Verdict
from weir.cli.show.why import Command
from weir.release.contracts import KEPT
from weir.view.brief import waits_for
from weir.view.causes import CAUSES, steps
from weir.view.commands import VERBS
from weir.view.contracting import REASONS
from weir.view.model import RolloutInfo
from weir.view.outlook import outlook
from weir.view.why import explain

ROOT = Path(__file__).parents[3]


def look(world: World) -> RolloutInfo:
    return info_of(world.objects())


def test_given_evidence_on_its_way_then_the_time_it_takes_is_about_what_was_told() -> None:
    """Of candidates as good as stable half should pass within the lower end, nine of ten within the upper one."""
    served = World(rate=20.0, shares={"digits-v1": 0.01, "digits-v2": 0.01}).serve().reach("Traffic(10)")
    within = {"median": 0, "ninety": 0, "all": 0}
    for seed in range(10):
        world = served.clone()
        world.chance = random.Random(seed)
        world.wait(95)
        told = outlook(look(world), look(world).gates[0])
        if told is None:
            continue  # has passed already
        begun = world.now
        while _open(world) and world.now < begun + 7200:
            world.pass_time(30)
            world.turn()
        within["all"] += 1
        within["median"] += world.now - begun <= told.median + 30
        within["ninety"] += world.now - begun <= told.ninety + 30
    assert within["all"] >= 8
    assert 0.25 * within["all"] <= within["median"]
    assert 0.7 * within["all"] <= within["ninety"]


def _open(world: World) -> bool:
    """Whether the first step's gate has not passed; once it has, the next step may have begun."""
    stage, gate = world.status.stage, world.status.gates[0]
    return stage is not None and stage.name == "Traffic(10)" and gate.verdict != Verdict.PASS


def test_given_evidence_against_the_candidate_then_that_is_said_and_not_hidden_by_an_estimate() -> None:
    takes = explain(info_of(recorded("ramp-waits"))).takes or ""
    assert "If v2 is as good as v1, gate http-errors should pass in" in takes
    assert "so far the requests do not show that it is" in takes


def test_given_a_policy_of_rollback_then_that_is_said_of_the_end_of_max_wait() -> None:
    gates = [{"template": "http-errors", "onInsufficient": "Rollback"}]
    world = World(make_spec(gates=gates), rate=1.5).serve().reach("Traffic(10)").wait(200)
    told = explain(look(world)).takes or ""
    assert "Without a Pass of gate http-errors by" in told
    assert "the release is rolled back" in told
    world.wait(500)
    assert world.status.history[0].reason == "GateInsufficient"


def test_given_two_pauses_then_both_are_named() -> None:
    world = World(rate=60).serve().reach("Traffic(10)").wait(60)
    world.ask("Pause", requester="alice", reason="lunch")
    world.wait(20)
    world.edit(paused=True)
    world.wait(20)
    commands = [move.command for move in explain(look(world)).moves]
    assert any(command.startswith("kubectl weir resume") for command in commands)
    assert any('{"paused":false}' in command for command in commands)


def test_given_a_skip_under_way_then_it_is_noted() -> None:
    world = World(rate=60, silent=False).serve().reach("Traffic(10)").wait(20)
    world.stuck("digits-v1", 1)
    world.ask("Skip", requester="carol", reason="enough seen")
    world.wait(20)
    assert look(world).skip is not None
    assert any("carol asked to leave Traffic(10)" in note for note in explain(look(world)).notes)


def test_given_an_old_refusal_then_it_is_no_longer_mentioned() -> None:
    objects: dict[str, Any] = copy.deepcopy(recorded("request-refused"))
    assert explain(info_of(objects)).notes
    objects["now"] = "2027-01-15T12:00:00.000Z"
    assert not explain(info_of(objects)).notes


def test_given_the_reasons_that_the_documentation_explains_then_an_explanation_knows_them_too() -> None:
    text = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    listed = [
        reason
        for title in ("The spec", "The traffic", "The API server refuses a write")
        for row in re.findall(r"^\| (`.*?) \|", sections[title], re.MULTILINE)
        for reason in re.findall(r"`(\w+)`", row)
    ]
    assert len(listed) > 15
    assert set(listed) <= CAUSES.keys()


def test_given_every_reason_that_comes_from_contracts_then_the_documentation_and_an_explanation_know_it() -> None:
    text = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    section = text.split("\n## The data\n")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    assert listed == {*REASONS, KEPT}
    assert set(REASONS) <= CAUSES.keys()


def test_given_every_known_reason_then_its_steps_are_commands_for_this_rollout() -> None:
    info = info_of(recorded("low-traffic"))
    for reason, cause in CAUSES.items():
        for move in steps(info, cause.steps):
            assert not re.search(r"\{\w*\}|\{\{", move.command), reason
            assert not move.command or move.command.startswith("kubectl "), reason


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (
            "0 of 1 pods of v2 ready: container fetch was killed for exceeding its memory limit (exit code 137)",
            "memory",
        ),
        ("0 of 1 pods of v2 ready: 0/4 nodes are available: 4 Insufficient cpu", "no node has room"),
        ("warming up v2: POST /v2/models/digits/infer: HTTP 500: no", "warm-up"),
        ("warming up v2", "its pods are starting"),
        ("letting the gateway learn where v2 is", "its pods are starting"),
    ],
)
def test_given_pods_that_do_not_get_ready_then_the_headline_says_why(message: str, says: str) -> None:
    objects: dict[str, Any] = copy.deepcopy(recorded("pods-not-ready"))
    objects["rollout"]["status"]["message"] = message
    assert says in explain(info_of(objects)).headline


def test_given_several_approvals_at_once_then_each_command_names_its_own() -> None:
    approvals = [
        {"name": name, "before": "Traffic(25)", "from": {"group": name}, "quorum": 1} for name in ("sre", "legal")
    ]
    world = World(rate=60).serve()
    world.edit(approvals=approvals)
    world.reach("Traffic(10)").wait(200)
    commands = [move.command for move in explain(look(world)).moves if "approve" in move.command]
    assert commands == [
        f'kubectl weir approve digits -n team-a --approval {name} -m "REASON"' for name in ("sre", "legal")
    ]


def test_given_a_long_command_then_each_line_can_be_copied_and_joins_to_the_same() -> None:
    command = 'kubectl patch rollouts.weir.dev digits -n team-a --type merge -p \'{"spec":{"paused": false}}\''
    lines = printed(Command(command), 50).splitlines()
    assert all(len(line) <= 50 for line in lines)
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert " ".join(line.removesuffix("\\").strip() for line in lines) == command


def changed(name: str, **status: Any) -> RolloutInfo:
    """A recorded situation with other words in its status."""
    objects: dict[str, Any] = copy.deepcopy(recorded(name))
    objects["rollout"]["status"].update(status)
    return info_of(objects)


def test_given_any_situation_then_every_verb_has_the_reason_that_scripts_need() -> None:
    asked = [
        move.command
        for name in SITUATIONS
        for move in explain(info_of(recorded(name))).moves
        if move.command.startswith("kubectl weir") and move.command.split()[2] in VERBS
    ]
    assert {command.split()[2] for command in asked} >= {"abort", "approve", "promote", "resume", "retry", "skip"}
    assert all(command.endswith(' -m "REASON"') for command in asked)


def test_given_a_prometheus_that_cannot_be_reached_then_its_address_is_named_and_pods_are_not() -> None:
    gate = copy.deepcopy(recorded("metrics-broken"))["rollout"]["status"]["gates"][0]
    gate |= {"message": "Prometheus http://nowhere:9090 cannot be reached: no such host", "query": "x" * 400}
    found = explain(changed("metrics-broken", gates=[gate]))
    assert any("Correct spec.metrics.prometheus.address." in move.text for move in found.moves)
    assert not any("pods say" in move.text for move in found.moves)


def test_given_a_long_query_that_fails_then_only_its_beginning_is_shown() -> None:
    gate = copy.deepcopy(recorded("metrics-broken"))["rollout"]["status"]["gates"][0]
    gate |= {"message": "Prometheus answers 400: parse error", "query": "sum(" + "x" * 400}
    shown = next(m.text for m in explain(changed("metrics-broken", gates=[gate])).moves if "sum(" in m.text)
    assert "…" in shown
    assert "x" * 110 not in shown


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (
            "letting the data plane settle",
            "The gateway to put the new share into effect everywhere (1 s after it accepted it).",
        ),
        ("waiting for the request counters of both versions", "The request counters of both versions."),
    ],
)
def test_given_requests_that_are_not_judged_yet_then_what_has_to_come_is_said_plainly(message: str, says: str) -> None:
    stage = {**recorded("evidence-on-its-way")["rollout"]["status"]["stage"], "evidenceFrom": None}
    assert explain(changed("evidence-on-its-way", stage=stage, message=message)).waiting_for == (says,)


def test_given_the_last_share_then_no_word_of_a_tolerance_that_is_looser() -> None:
    early, last = (explain(info_of(recorded(name))).waiting_for[-1] for name in ("low-traffic", "ramp-waits"))
    assert "at this share of traffic more is tolerated" in early
    assert "more is tolerated" not in last


def test_given_a_version_that_is_missing_then_one_line_says_so_in_words() -> None:
    told = waits_for(info_of(recorded("version-missing")))
    assert told == "that ModelVersion to be created, or another one to be named"


def test_given_approvals_that_are_not_trusted_then_nobody_is_asked_to_give_one_now() -> None:
    found = explain(info_of(recorded("approvals-not-trusted")))
    assert not any("approve" in move.command.split() for move in found.moves)
    assert not any("may give it now" in text for text in found.evidence)


def test_given_an_approval_that_comes_later_then_a_skip_says_so_and_it_can_be_given_now() -> None:
    approval = {"name": "sre", "before": "Promote", "from": "group sre", "quorum": 1, "state": "Open"}
    found = explain(changed("evidence-on-its-way", approvals=[approval]))
    skip = next(move for move in found.moves if " skip " in move.command)
    assert skip.text.endswith("Approvals are still needed.")
    assert any("It is not given yet (0 of 1, from group sre). People may give it now." in t for t in found.evidence)
    assert found.moves[-1].command == 'kubectl weir approve digits -n team-a -m "REASON"'


@pytest.mark.parametrize("situation", ["promoted", "rolled back"])
def test_given_a_pause_while_no_release_runs_then_it_is_said_with_the_way_out(situation: str) -> None:
    world = World(rate=60).serve()
    if situation == "rolled back":
        world.reach("Traffic(10)").ask("Abort", requester="bob", reason="wrong answers")
        world.wait(200)
    world.ask("Pause", requester="alice", reason="a look first")
    world.wait(20)
    assert world.status.candidate is None
    told = explain(look(world))
    assert "alice paused the Rollout, so nothing is released until somebody lets it go on." in told.waiting_for
    assert any("resume" in (move.command or "") for move in told.moves)
    assert ("(paused)" in waits_for(look(world))) is (situation == "rolled back")
    if situation == "rolled back":
        uid = world.ask("Retry", requester="bob", reason="again")
        world.wait(20)
        done = next(entry for entry in world.status.handled_requests if entry.uid == uid)
        assert done.message == "v2 will be released again once the pause is over"
