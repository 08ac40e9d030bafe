from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.backtest.pasts import past
from weir.backtest import plot
from weir.backtest.history import write
from weir.cli.main import app

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: other}
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: digits, namespace: team}
spec:
  versionRef: {name: digits-v1}
  replicas: 6
  traffic: {gateway: {parentRefs: [{name: weir}]}}
  strategy: {canary: {steps: [{weight: 25}]}}
  gates: [{template: http-errors, maxWait: 5m}, {template: http-latency, maxWait: 5m}]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "rollout.yaml").write_text(MANIFEST)
    with (tmp_path / "past.jsonl").open("w") as out:
        write(past(120, latency=True), out)
    return tmp_path


def backtest(files: Path, *arguments: str) -> Any:
    given = ["backtest", "-f", str(files / "rollout.yaml"), "--from", str(files / "past.jsonl"), "--releases", "10"]
    return CliRunner().invoke(app, [*given, *arguments])


def test_given_a_file_of_counts_when_tested_then_tables_tell_what_would_have_happened(files: Path) -> None:
    result = backtest(files, "--regression", "x5")
    assert result.exit_code == 0, result.output
    for text in ("Backtest of Rollout digits", "10 pseudo releases", "as good", "errors ×5", "latency ×5", "maxWait"):
        assert text in result.output


def test_given_json_when_tested_then_rates_come_with_their_intervals(files: Path) -> None:
    result = backtest(files, "--regression", "errors:x5", "--json")
    found = json.loads(result.stdout)
    assert found["releases"] == 10
    assert set(found["harmless"]["rolled_back"]) == {"hits", "n", "share", "low", "high"}
    (regression,) = found["regressions"]
    assert regression["regression"] == "errors ×5"
    assert regression["rolled_back"]["share"] == 1.0
    assert {wait["gate"] for wait in found["waits"]} == {"http-errors", "http-latency"}


def test_given_the_same_seed_when_tested_twice_then_the_output_is_the_same(files: Path) -> None:
    assert (
        backtest(files, "--json", "--regression", "x2").stdout == backtest(files, "--json", "--regression", "x2").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--regression", "worse"], "no regression"),
        (["--since", "soon"], "soon"),
        (["--name", "other"], "need one Rollout"),
        (["--export", "x.jsonl"], "--export and --from"),
    ],
)
def test_given_arguments_that_are_wrong_when_tested_then_they_are_named(
    files: Path, arguments: list[str], said: str
) -> None:
    result = backtest(files, *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_given_no_prometheus_and_no_file_when_tested_then_it_says_how_to_name_one(files: Path) -> None:
    result = CliRunner().invoke(app, ["backtest", "-f", str(files / "rollout.yaml")])
    assert result.exit_code == 2
    assert "--prometheus" in result.output


def test_given_a_spec_that_is_wrong_when_tested_then_the_field_is_named(files: Path) -> None:
    (files / "rollout.yaml").write_text(MANIFEST.replace("replicas: 6", "replicas: many"))
    result = backtest(files)
    assert result.exit_code == 2
    assert "spec.replicas" in result.output


def test_given_no_matplotlib_when_a_plot_is_asked_for_then_it_says_what_to_install(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(plot, "import_module", missing)
    result = backtest(files, "--regression", "x5", "--plot", str(files / "out.svg"))
    assert result.exit_code == 2
    assert "matplotlib" in result.output


def test_given_matplotlib_when_a_plot_is_asked_for_then_equal_results_give_equal_files(files: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert backtest(files, "--regression", "x5", "--plot", str(files / name)).exit_code == 0
    assert (files / "one.svg").read_text() == (files / "two.svg").read_text()
    assert "errors ×5" in (files / "one.svg").read_text()
