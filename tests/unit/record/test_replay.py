from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from tests.unit.record.releases import ERRORS, LATENCY, MEAN, OBJECTIVE, PLAIN, released, releasing_to
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.record.replay import RecordError, Replay, load, main, replay, replay_all, show
from weir.release.ledger import parse
from weir.release.observation import Permission
from weir.release.record import record_hash
from weir.stats.noise import Noise
from weir.stats.ratio import RatioState

ALL = (ERRORS, LATENCY, PLAIN, OBJECTIVE, MEAN)


def findings(found: Replay, kind: str) -> list[str]:
    return [f"{c.decision.split()[-1]} {c.gate}: {c.detail}" for c in found.checks if c.finding == kind]


def resealed(record: RolloutRecordSpec, fields: dict[str, Any]) -> RolloutRecordSpec:
    """The record with other content and a hash that fits it."""
    changed = RolloutRecordSpec.model_validate({**record.to_dict(), **fields, "hash": ""})
    return changed.model_copy(update={"hash": record_hash(changed)})


def document(record: RolloutRecordSpec, name: str = "demo-uid-1-2") -> dict[str, Any]:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "RolloutRecord",
        "metadata": {"name": name},
        "spec": record.to_dict(),
    }


def test_given_a_good_release_with_gates_of_every_kind_when_replayed_then_every_verdict_agrees() -> None:
    record = released(*ALL)
    found = replay("demo", record)
    assert record.outcome == "Promoted"
    assert findings(found, "differs") == []
    judged = [c for c in found.checks if c.finding == "agrees" and c.recorded == "Pass"]
    assert {c.gate for c in judged} == {"http-errors", "http-latency", "plain", "objective", "score"}


@pytest.mark.parametrize("gates", [(ERRORS,), (LATENCY,), (ERRORS, LATENCY), (OBJECTIVE, ERRORS), (MEAN,)])
def test_given_a_bad_release_when_replayed_then_its_fail_is_recomputed(gates: tuple[dict[str, Any], ...]) -> None:
    record = released(*gates, factor=6.0)
    found = replay("demo", record)
    assert (record.outcome, record.reason) == ("RolledBack", "GateFailed")
    assert findings(found, "differs") == []
    fails = [c for c in found.checks if c.recorded == "Fail"]
    assert fails
    assert all(c.recomputed == "Fail" and c.finding == "agrees" for c in fails)


@pytest.mark.parametrize("gates", [(ERRORS,), (LATENCY, ERRORS)])
def test_given_a_candidate_that_turns_bad_at_full_traffic_when_replayed_then_its_fail_without_stable_is_recomputed(
    gates: tuple[dict[str, Any], ...],
) -> None:
    record = released(*gates, factor=20.0, worse_in="Bake")
    found = replay("demo", record)
    assert (record.outcome, record.reason) == ("RolledBack", "GateFailed")
    assert findings(found, "differs") == []
    (entry,) = (e for e in record.decisions if e.reason == "GateFailed")
    assert not any(m.comparative for m in entry.evidence)
    assert {c.finding for c in found.checks if c.recorded == "Fail"} == {"agrees"}


@pytest.mark.parametrize("factor", [1.0, 8.0])
def test_given_a_ramp_when_replayed_then_every_move_is_recomputed(factor: float) -> None:
    record = released(ERRORS, strategy={"canary": {"ramp": {"riskBudget": 500}, "bake": "30s"}}, factor=factor)
    found = replay("demo", record)
    assert record.outcome == ("Promoted" if factor == 1.0 else "RolledBack")
    assert findings(found, "differs") == []
    assert any(c.gate and c.finding == "agrees" for c in found.checks)


def test_given_noise_that_changes_during_the_release_when_replayed_then_each_verdict_is_recomputed_with_its_own() -> (
    None
):
    noise = lambda number: Noise(1.0 + min(number, 9) // 4, 0.01 * (min(number, 9) // 3), 0.0, 0.8)  # noqa: E731
    record = released(ERRORS, LATENCY, noise=noise)
    found = replay("demo", record)
    assert findings(found, "differs") == []
    assert len({str(m.noise) for entry in record.decisions for m in entry.evidence if m.windows}) > 1


def test_given_more_windows_than_are_listed_when_replayed_then_early_verdicts_are_said_to_lie_behind_a_checkpoint() -> (
    None
):
    noise = lambda number: Noise(1.0 + min(number, 30) // 10, 0.0, 0.01)  # noqa: E731
    record = released(ERRORS, min_duration="1500s", noise=noise)
    assert record.evidence[0].dropped > 0
    found = replay("demo", record)
    assert findings(found, "differs") == []
    behind = [c for c in found.checks if "checkpoint" in c.detail]
    assert [c.recorded for c in behind] == ["Pass"]
    assert [c.recorded for c in found.checks if c.gate and c.finding == "agrees"][-1] == "a state"


@pytest.mark.parametrize("seed", range(12))
def test_given_any_release_with_gaps_and_changing_noise_when_replayed_then_nothing_differs(seed: int) -> None:
    chance = Random(seed)
    gates = chance.sample(ALL, chance.randint(1, len(ALL)))
    level = chance.choice((0.0, 0.02, 0.2))
    noise = lambda number: Noise(1.0 + level * number, level / 10, level / 20, 0.7) if number % 5 else None  # noqa: E731
    record = released(
        *({**gate, "interval": chance.choice(("5s", "10s", "20s"))} for gate in gates),
        factor=chance.choice((0.5, 1.0, 1.4, 2.0, 5.0)),
        share=chance.choice((0.0005, 0.02, 0.2)),
        gaps=0.2,
        noise=noise,
        chance=chance,
    )
    assert findings(replay("demo", record), "differs") == []


def test_given_a_count_that_was_changed_when_replayed_then_hash_and_verdict_differ() -> None:
    record = released(ERRORS)
    seen = record.evidence[0]
    entries = seen.windows.split(";")
    entries[0] = entries[0].rsplit(":", 1)[0] + ":333"
    changed = seen.model_copy(update={"windows": ";".join(entries)})
    tampered = record.model_copy(update={"evidence": [changed]})
    found = findings(replay("demo", tampered), "differs")
    assert found[0].startswith("hash")
    assert any("state" in line or "end http-errors" in line for line in found)
    assert any("StageEntered http-errors" in line and "e_pass" in line for line in found)


def test_given_a_verdict_that_was_changed_and_sealed_anew_when_replayed_then_the_verdict_differs() -> None:
    record = released(ERRORS, factor=6.0)
    fields = record.to_dict()
    entry = next(e for e in fields["decisions"] if e["reason"] == "GateFailed")
    entry["evidence"][0]["verdict"] = "Pass"
    found = replay("demo", resealed(record, {"decisions": fields["decisions"]}))
    assert findings(found, "differs") == ["GateFailed http-errors: verdict Pass, recomputed Fail"]


def test_given_an_e_value_that_was_changed_and_sealed_anew_when_replayed_then_it_differs() -> None:
    record = released(ERRORS)
    fields = record.to_dict()
    entry = next(e for e in fields["decisions"] if e["evidence"])
    entry["evidence"][0]["ePass"] = "1000000"
    found = findings(replay("demo", resealed(record, {"decisions": fields["decisions"]})), "differs")
    assert len(found) == 1
    assert "e_pass 1000000" in found[0]


@pytest.mark.parametrize(("change", "agrees"), [(1e-9, True), (0.01, False)])
def test_given_a_state_that_is_off_when_replayed_then_only_rounding_is_let_pass(change: float, agrees: bool) -> None:
    record = released(ERRORS)
    seen = record.evidence[0]
    fail, *rest = seen.series[0].state.split("|")
    state = RatioState.decode(fail)
    moved = "|".join([replace(state, evidence=state.evidence + change).encode(), *rest])
    changed = seen.model_copy(update={"series": [seen.series[0].model_copy(update={"state": moved})]})
    found = replay("demo", resealed(record, {"evidence": [changed.to_dict()]}))
    assert found.agrees is agrees


def test_given_windows_that_are_missing_when_replayed_then_it_says_so() -> None:
    record = released(ERRORS)
    seen = record.evidence[0]
    short = seen.model_copy(update={"windows": seen.windows.split(";")[0]})
    found = findings(replay("demo", resealed(record, {"evidence": [short.to_dict()]})), "differs")
    assert any("lacks some" in line for line in found)


def test_given_a_plain_bound_that_was_moved_when_replayed_then_its_verdict_differs() -> None:
    record = released(PLAIN)
    gates = [{**gate.to_dict(), "max": "0.001"} for gate in record.gates]
    found = findings(replay("demo", resealed(record, {"gates": gates})), "differs")
    assert any("plain: verdict Pass, recomputed Fail" in line for line in found)


def test_given_a_comparison_that_was_changed_when_replayed_then_nothing_is_recomputed_for_another_question() -> None:
    record = released(ERRORS)
    gates = [{**gate.to_dict(), "compare": {"failAbove": "2", "passBelow": "3"}} for gate in record.gates]
    found = replay("demo", resealed(record, {"gates": gates}))
    assert any("another question" in line for line in findings(found, "not recomputed"))


def test_given_two_records_when_the_first_is_exchanged_then_the_chain_is_broken() -> None:
    second = released(ERRORS)
    first = second.model_copy(update={"release": 1, "hash": "sha256:other"})
    found = replay_all([("first", first), ("second", second)])
    assert any(line.startswith("previousHash") for line in findings(found[1], "differs"))
    whole = replay_all([("first", first.model_copy(update={"hash": second.previous_hash})), ("second", second)])
    assert whole[1].agrees


def test_given_a_file_when_replayed_from_the_command_line_then_the_exit_code_tells(tmp_path: Path, capsys: Any) -> None:
    record = released(ERRORS)
    path = tmp_path / "record.yaml"
    path.write_text(yaml.safe_dump(document(record)))
    assert main([str(path)]) == 0
    assert "all that can be recomputed agrees" in capsys.readouterr().out
    path.write_text(json.dumps(document(record.model_copy(update={"message": "another"}))))
    assert main([str(path)]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert main([]) == 2


@pytest.mark.parametrize(
    "text", ["", "a: [", "kind: Rollout", "kind: RolloutRecord", "kind: RolloutRecord\nspec: {release: no}"]
)
def test_given_what_is_no_record_when_loaded_then_it_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        load(text)


def test_given_a_list_of_records_when_loaded_then_all_are_there() -> None:
    record = released(ERRORS)
    listing = {"kind": "List", "items": [document(record, "a"), document(record, "b"), {"kind": "Rollout"}]}
    assert [name for name, _ in load(yaml.safe_dump(listing))] == ["a", "b"]


def test_given_a_record_through_yaml_when_replayed_then_it_is_as_it_was_sealed() -> None:
    record = released(*ALL)
    ((_, loaded),) = load(yaml.safe_dump(document(record)))
    assert loaded == record
    out = io.StringIO()
    show(replay_all([("demo", loaded)]), out)
    assert out.getvalue().startswith("demo: all that can be recomputed agrees")
    assert parse(loaded.evidence[0].windows)


@pytest.mark.parametrize("stage", ["Traffic(50)", "Bake"])
@pytest.mark.parametrize("factor", [1.0, 6.0])
def test_given_a_release_that_was_limited_when_replayed_then_it_tells_by_whom_and_every_verdict_agrees(
    stage: str, factor: float
) -> None:
    cluster = releasing_to(stage, ERRORS, LATENCY, OBJECTIVE)
    cluster.ask("ShiftTraffic", weight=20, permit="shift", requester="robot", standing=Permission("Granted", "by ada"))
    cluster.factor = factor
    until = cluster.now + 600
    cluster.run(lambda: cluster.status.candidate is None or cluster.now > until, limit=4000)
    if factor == 1.0:
        cluster.ask("ShiftTraffic", weight=100)
        cluster.run(lambda: cluster.status.candidate is None and len(cluster.records) == 2, limit=4000)
    cluster.run(lambda: len(cluster.records) == 2)
    record = cluster.records[2]
    assert record.outcome == ("Promoted" if factor == 1.0 else "RolledBack")
    limited = next(d for d in record.decisions if d.reason == "TrafficLimited")
    assert (limited.actor, limited.weight, limited.authority) == ("robot", 20, "permit shift; by ada")
    assert findings(replay("demo", record), "differs") == []
