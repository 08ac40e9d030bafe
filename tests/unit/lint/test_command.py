"""`weir lint` on files: what is read, how it is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from weir.cli.lint import lint

app = typer.Typer()
app.command()(lint)

GOOD = """apiVersion: weir.dev/v1alpha1
kind: ActionRequest
metadata: {generateName: abort-digits-}
spec:
  action: Abort
  rolloutRef: {name: digits}
  reason: "100 % wrong: no, really"
"""
BAD = GOOD.replace("Abort", "Abrot").replace("reason", "raison")
DOUBTFUL = """apiVersion: weir.dev/v1alpha1
kind: ModelVersion
metadata: {name: digits}
spec: {model: digits, version: v1, runtime: {image: "digits:1"}}
"""
OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n"


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    files = {
        "good.yaml": GOOD,
        "deep/bad.yml": BAD,
        "other.yaml": OTHER,
        "deep/bad.txt": BAD,
        "chart.yaml": "a: {{ x }}",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_given_a_folder_when_linted_then_every_manifest_of_ours_below_is_read(folder: Path) -> None:
    result = run(folder)

    assert result.exit_code == 1
    where = f"{folder}/deep/bad.yml"
    assert result.stdout.splitlines() == [
        f"{where}:4:1: error: ActionRequest/abort-digits- spec.reason: Required value (set `reason`) [required]",
        f'{where}:5:11: error: ActionRequest/abort-digits- spec.action: Unsupported value: "Abrot": supported values: '
        '"Release", "Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "ShiftTraffic", "Rollback", "Drill", '
        '"Retrain", "Reallocate", "Approve", "Deny", "Override", "Withdraw" (did you mean Abort?) [value]',
        f"{where}:7:3: error: ActionRequest/abort-digits- spec.raison: unknown field `raison` (did you mean `reason`?) "
        "[unknown-field]",
        "2 objects in 2 files: 3 errors, 0 warnings",
    ]


def test_given_a_good_file_when_linted_then_the_exit_code_is_0(folder: Path) -> None:
    result = run(folder / "good.yaml", folder / "other.yaml")
    assert (result.exit_code, result.stdout) == (0, "1 object in 2 files: 0 errors, 0 warnings\n")


def test_given_one_file_by_two_names_when_linted_then_it_is_read_once(folder: Path) -> None:
    assert "1 object in 1 file" in run(folder / "good.yaml", folder / "good.yaml").stdout


def test_given_files_without_an_object_of_ours_when_linted_then_that_is_told(folder: Path) -> None:
    result = run(folder / "other.yaml")
    assert (result.exit_code, result.stdout) == (0, "no objects of weir.dev and no data contracts in 1 file\n")


def test_given_a_contract_of_the_standard_alone_in_a_folder_then_it_is_read(tmp_path: Path) -> None:
    text = "apiVersion: v3.2.0\nkind: DataContract\nid: orders\nversion: 1.0.0\nstatus: active\nschem: []\n"
    (tmp_path / "orders.yaml").write_text(text)

    result = run(tmp_path)

    assert result.exit_code == 1
    assert result.stdout.startswith(f"{tmp_path}/orders.yaml:6:1: error: DataContract/orders schem: ")


def test_given_a_waiver_that_has_expired_by_now_then_it_is_told(tmp_path: Path) -> None:
    waiver = "{ruleId: type-changed, path: a.b, reason: r, approvedBy: ada, expires: '%s-01-01T00:00:00Z'}"
    text = (
        "apiVersion: weir.dev/v1alpha1\nkind: DataContract\nmetadata: {name: orders}\nspec:\n  roles: [Features]\n"
        "  odcs: {apiVersion: v3.2.0, kind: DataContract, id: orders, version: 1.0.0, status: active}\n"
        f"  compatibility: {{waivers: [{waiver}]}}\n"
    )

    assert "waivers[0].expires: expired at 2020-01-01" in run("-", stdin=text % 2020).stdout
    assert "0 errors, 0 warnings" in run("-", stdin=text % 9000).stdout


def test_given_standard_input_when_linted_then_findings_name_it() -> None:
    result = run("-", stdin=GOOD + "---\n" + BAD)
    assert result.exit_code == 1
    assert result.stdout.startswith("<stdin>:12:1: error: ")


def test_given_warnings_when_linted_then_only_strict_makes_them_errors(tmp_path: Path) -> None:
    (tmp_path / "version.yaml").write_text(DOUBTFUL)

    assert run(tmp_path).exit_code == 0
    assert ":4:53: warning: ModelVersion/digits spec.runtime.image: " in run(tmp_path).stdout
    assert run(tmp_path, "--strict").exit_code == 1
    assert run(tmp_path, "--strict", "--ignore", "image-tag").exit_code == 0


def test_given_a_file_that_cannot_be_read_when_linted_then_the_others_are_and_the_exit_code_is_2(folder: Path) -> None:
    (folder / "binary.yaml").write_bytes(b"weir.dev/\xff")

    result = run(folder, folder / "missing.yaml")

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"weir lint: {folder}/binary.yaml: is no UTF-8 text",
        f"weir lint: {folder}/missing.yaml: No such file or directory",
    ]
    assert "3 errors" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ignore", "nothing"), "no code nothing; codes are"),
        (("--rate", "0"), "--rate 0 is no number of requests a second"),
        (("--rate", "inf"), "--rate inf is no number of requests a second"),
        (("--rate", "1", "--errors", "many"), "--errors many is no share; write 1% or 0.01"),
        (("--rate", "1", "--errors", "100%"), "--errors 100% is no share of requests"),
    ],
)
def test_given_an_option_without_meaning_then_the_exit_code_is_2(
    folder: Path, options: tuple[str, ...], said: str
) -> None:
    result = run(folder, *options)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("share", ["2%", "0.02"])
def test_given_a_rate_when_linted_then_feasibility_is_checked_with_the_share_of_errors(
    tmp_path: Path, share: str
) -> None:
    text = """apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: digits}
spec:
  versionRef: {name: digits-1}
  traffic: {gateway: {parentRefs: [{name: web}]}}
  strategy: {canary: {steps: [{weight: 10}]}}
  gates: [{template: http-errors}]
"""
    (tmp_path / "rollout.yaml").write_text(text)

    result = run(tmp_path, "--rate", "3", "--errors", share)

    assert result.exit_code == 0
    assert "at 3 requests a second, 2 % of stable's bad" in result.stdout
    assert result.stdout.count("[not-feasible]") == 1


def test_given_json_when_linted_then_programs_can_read_it(folder: Path) -> None:
    content = json.loads(run(folder, "-o", "json").stdout)

    assert content["summary"] == {"files": 2, "objects": 2, "errors": 3, "warnings": 0}
    assert content["findings"][0] == {
        "file": f"{folder}/deep/bad.yml",
        "line": 4,
        "column": 1,
        "severity": "error",
        "code": "required",
        "subject": "ActionRequest/abort-digits-",
        "path": "spec.reason",
        "message": "Required value",
        "hint": "set `reason`",
    }


def test_given_github_when_linted_then_annotations_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a,b.yaml").write_text(GOOD.replace("action: Abort", 'action: "10%"'))

    first, summary = run(tmp_path, "-o", "github").stdout.splitlines()

    place = f"{tmp_path}/a%2Cb.yaml"
    assert first.startswith(f"::error file={place},line=5,col=11,title=weir lint%3A value::ActionRequest/")
    assert 'Unsupported value: "10%25"' in first
    assert summary == "1 object in 1 file: 1 error, 0 warnings"


def test_given_sarif_when_linted_then_every_result_has_its_rule_and_place(folder: Path) -> None:
    content = json.loads(run(folder, "-o", "sarif").stdout)

    (sarif,) = content["runs"]
    assert content["version"] == "2.1.0"
    assert {result["ruleId"] for result in sarif["results"]} == {
        rule["id"] for rule in sarif["tool"]["driver"]["rules"]
    }
    place = sarif["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("deep/bad.yml")
    assert place["region"] == {"startLine": 4, "startColumn": 1}
