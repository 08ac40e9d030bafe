"""The samples of contracts: data as they describe it keeps them, and each promise can be broken."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from weir.cli.main import app

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
NOW = dt.datetime.now(dt.UTC)
Row = dict[str, Any]


def weir(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["contract", *map(str, arguments)])


def applications() -> list[Row]:
    return [
        {
            "application_id": f"app-{i:06d}",
            "applied_at": (NOW - dt.timedelta(minutes=i)).isoformat(),
            "age": 18 + i % 60,
            "income": 20000.0 + i,
            "amount": 500.0 + i,
            "employment": ("employed", "self-employed", "retired", "none")[i % 4],
            "country": ("DE", "FR")[i % 2],
            "prior_loans": i % 4,
        }
        for i in range(1200)
    ]


def prompts() -> list[Row]:
    return [
        {
            "session_id": str(uuid.UUID(int=i)),
            "asked_at": (NOW - dt.timedelta(seconds=i)).isoformat(),
            "prompt": "How do I reset my password?",
            "language": ("de", "en", "fr")[i % 3],
            "temperature": 0.7,
            "max_tokens": 512,
        }
        for i in range(300)
    ]


def answers() -> list[Row]:
    return [
        {
            "session_id": str(uuid.UUID(int=i)),
            "answered_at": (NOW - dt.timedelta(seconds=i)).isoformat(),
            "text": "Open the settings.",
            "finish_reason": "stop",
            "safety": "safe",
            "output_tokens": 12,
        }
        for i in range(300)
    ]


SAMPLE = {
    "credit/contract-applications.yaml": ("serving/applications", applications),
    "assistant/contract-prompts.yaml": ("log/prompts", prompts),
    "assistant/contract-answers.yaml": ("log/answers", answers),
}


def checked(tmp_path: Path, sample: str, rows: list[Row]) -> Row:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = weir("check", "-f", SAMPLES / sample, "--data", f"{SAMPLE[sample][0]}={data}", "-o", "json")
    status: Row = json.loads(done.stdout)["status"]
    assert done.exit_code == {"Pass": 0, "Warn": 0, "Fail": 1, "Unknown": 4}[status["verdict"]]
    return status


@pytest.mark.parametrize("sample", SAMPLE)
def test_given_data_as_the_sample_describes_it_then_every_rule_is_checked_and_holds(
    tmp_path: Path, sample: str
) -> None:
    status = checked(tmp_path, sample, SAMPLE[sample][1]())
    assert (status["verdict"], status["results"]) == ("Pass", [])


@pytest.mark.parametrize(
    ("sample", "change", "rule", "column"),
    [
        ("credit/contract-applications.yaml", {"age": None}, "required", "age"),
        ("credit/contract-applications.yaml", {"amount": 0}, "exclusiveMinimum", "amount"),
        ("credit/contract-applications.yaml", {"country": "Germany"}, "pattern", "country"),
        ("credit/contract-applications.yaml", {"employment": "student"}, "enum", "employment"),
        ("credit/contract-applications.yaml", {"amount": 900000.0, "income": 1.0}, "sql", ""),
        ("assistant/contract-prompts.yaml", {"prompt": "x" * 16001}, "maxLength", "prompt"),
        ("assistant/contract-prompts.yaml", {"language": "xx"}, "enum", "language"),
        ("assistant/contract-answers.yaml", {"finish_reason": "exploded"}, "enum", "finish_reason"),
        ("assistant/contract-answers.yaml", {"output_tokens": 9000}, "maximum", "output_tokens"),
    ],
)
def test_given_one_row_that_breaks_a_promise_then_the_sample_finds_it(
    tmp_path: Path, sample: str, change: Row, rule: str, column: str
) -> None:
    rows = SAMPLE[sample][1]()
    rows[7] |= change
    status = checked(tmp_path, sample, rows)
    assert (rule, column) in [(r["rule"], r.get("column", "")) for r in status["results"] if r["verdict"] == "Fail"]


def _late(rows: list[Row]) -> None:
    for row in rows:
        row["asked_at"] = (NOW - dt.timedelta(hours=3)).isoformat()


def _cut_off(rows: list[Row]) -> None:
    for row in rows[::20]:
        row["finish_reason"] = "length"


@pytest.mark.parametrize(
    ("sample", "change", "rule"),
    [
        ("assistant/contract-prompts.yaml", _late, "freshness"),
        ("assistant/contract-answers.yaml", _cut_off, "sql"),
        ("credit/contract-applications.yaml", lambda rows: rows.__delitem__(slice(100, None)), "rowCount"),
    ],
)
def test_given_data_that_is_wrong_as_a_whole_then_the_sample_finds_it(
    tmp_path: Path, sample: str, change: Callable[[list[Row]], None], rule: str
) -> None:
    rows = SAMPLE[sample][1]()
    change(rows)
    failed = [r["rule"] for r in checked(tmp_path, sample, rows)["results"] if r["verdict"] == "Fail"]
    assert failed == [rule]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*/version.yaml")), ids=lambda path: path.parent.name)
def test_given_a_sample_of_a_version_then_it_pins_the_contracts_beside_it(path: Path) -> None:
    spec = yaml.safe_load(path.read_text())["spec"]["contracts"]
    known = {weir("digest", file).stdout.strip() for file in path.parent.glob("contract-*.yaml")}
    pinned = {spec["request"], spec["response"], *spec.get("trainedOn", [])}
    assert pinned <= known
    assert len(pinned) == 2


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*/contract-*.yaml")), ids=lambda path: path.stem)
def test_given_a_sample_of_a_contract_when_compared_with_itself_then_nothing_changed(path: Path) -> None:
    assert weir("diff", path, path).exit_code == 0
