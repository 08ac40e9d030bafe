from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.record.releases import ERRORS, released
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.cli.cluster import Where
from weir.cli.main import app
from weir.runtime.client import KubeClient
from weir.runtime.errors import NotFound

RECORD = released(ERRORS)


def document(name: str, record: RolloutRecordSpec) -> dict[str, Any]:
    return {"kind": "RolloutRecord", "metadata": {"name": name}, "spec": record.to_dict()}


class Cluster:
    """An API server that has those records in the namespace ``team``."""

    def __init__(self, **records: RolloutRecordSpec) -> None:
        self.records = {name.replace("_", "-"): record for name, record in records.items()}

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, _resource: object, name: str, namespace: str) -> dict[str, Any]:
        if namespace != "team" or name not in self.records:
            raise NotFound(f"rolloutrecords {name} not found")
        return document(name, self.records[name])


def replay(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, *arguments: str) -> Any:
    async def connect(**_: object) -> Cluster:
        return cluster

    monkeypatch.setattr(KubeClient, "connect", connect)
    monkeypatch.setattr(Where, "resolved", lambda where: where)
    return CliRunner().invoke(app, ["replay", *arguments])


def test_given_a_record_in_the_cluster_when_replayed_then_it_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    result = replay(monkeypatch, Cluster(demo_2=RECORD), "demo-2", "-n", "team")
    assert result.exit_code == 0, result.output
    assert "demo-2: all that can be recomputed agrees" in result.output


def test_given_the_record_before_it_when_replayed_then_the_chain_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    first = RECORD.model_copy(update={"release": 1})
    result = replay(monkeypatch, Cluster(demo_1=first, demo_2=RECORD), "demo-2", "-n", "team", "--json")
    (found,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [c["decision"] for c in found["checks"] if c["finding"] == "differs"] == ["previousHash"]


def test_given_no_such_record_when_replayed_then_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    result = replay(monkeypatch, Cluster(), "demo-9", "-n", "team")
    assert result.exit_code == 2
    assert "demo-9 not found" in result.output


def test_given_a_file_when_replayed_then_its_records_are_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "records.yaml"
    changed = RECORD.model_copy(update={"message": "another"})
    path.write_text(yaml.safe_dump_all([document("good", RECORD), document("bad", changed)]))
    result = replay(monkeypatch, Cluster(), "-f", str(path))
    assert result.exit_code == 1
    assert "good: all that can be recomputed agrees" in result.output
    assert "bad: DIFFERS" in result.output


@pytest.mark.parametrize("arguments", [[], ["demo-2", "-f", "records.yaml"], ["-f", "/nowhere/records.yaml"]])
def test_given_arguments_that_make_no_sense_when_replayed_then_they_are_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    assert replay(monkeypatch, Cluster(), *arguments).exit_code == 2
