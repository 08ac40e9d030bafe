"""The kustomize base is what the chart renders; the samples are objects that Weir accepts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from weir.api.agentpolicy import AgentPolicySpec
from weir.api.datacontract import DataContractSpec
from weir.api.kinds import KINDS

from .conftest import ROOT

SAMPLES = sorted((ROOT / "manifests" / "samples").rglob("*.yaml"))
SPECS = {kind.name: kind.spec for kind in KINDS}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hack" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def objects(path: Path) -> Iterator[dict[str, Any]]:
    yield from (obj for obj in yaml.safe_load_all(path.read_text()) if obj)


def own_objects() -> list[Any]:
    found = [(path, obj) for path in SAMPLES for obj in objects(path) if obj.get("kind") in SPECS]
    return [pytest.param(path, obj, id=str(path.relative_to(ROOT / "manifests" / "samples"))) for path, obj in found]


def test_generated_copies_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    stale = [name for name in ("chart_crds", "render_manifests") if script(name).main(["--check"]) != 0]
    assert stale == [], capsys.readouterr().err


def test_a_stale_a_missing_and_an_orphaned_copy_are_noticed_and_mended(tmp_path: Path) -> None:
    chart_crds = script("chart_crds")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for folder, name, text in ((source, "a", "1"), (source, "b", "2"), (target, "b", "old"), (target, "c", "3")):
        (folder / f"{name}.yaml").write_text(text)
    assert [path.name for path in chart_crds.stale(source, target)] == ["a.yaml", "b.yaml", "c.yaml"]
    chart_crds.copy(source, target)
    assert chart_crds.stale(source, target) == []
    assert {path.name: path.read_text() for path in target.iterdir()} == {"a.yaml": "1", "b.yaml": "2"}


def test_the_base_holds_nothing_that_only_helm_understands() -> None:
    for path in [*(ROOT / "manifests" / "base").glob("*.yaml"), *(ROOT / "manifests" / "overlays").rglob("*.yaml")]:
        assert "helm.sh/" not in path.read_text()
        assert "managed-by: Helm" not in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "manifests").rglob("kustomization.yaml")), ids=lambda p: p.parent.name)
def test_every_file_that_a_kustomization_names_exists(path: Path) -> None:
    resources = yaml.safe_load(path.read_text())["resources"]
    assert [name for name in resources if not (path.parent / name).exists()] == []


def test_samples_cover_every_kind_that_a_user_writes() -> None:
    kinds = {param.values[1]["kind"] for param in own_objects()}
    assert kinds == {kind.name for kind in KINDS if not kind.written_by_weir}


@pytest.mark.parametrize(("path", "obj"), own_objects())
def test_a_sample_is_valid_and_has_no_unknown_field(path: Path, obj: dict[str, Any]) -> None:
    spec = SPECS[obj["kind"]].model_validate(obj["spec"])
    assert unknown(obj["spec"], spec) == []
    # A budget counts by names.
    any_name = obj["kind"] in {"ActionRequest", "ContractCheck"} and "permit" not in obj["spec"]
    assert ("generateName" in obj["metadata"]) == any_name


def unknown(given: Any, model: Any, path: str = "spec") -> list[str]:
    """Fields of an object that its model does not have."""
    if isinstance(given, list) and isinstance(model, list | tuple):
        return [f for i, (g, m) in enumerate(zip(given, model, strict=True)) for f in unknown(g, m, f"{path}[{i}]")]
    if not isinstance(given, dict) or not isinstance(model, BaseModel):
        return []
    fields = {field.alias or name: name for name, field in type(model).model_fields.items()}
    missing = [f"{path}.{key}" for key in given if key not in fields]
    known = [unknown(given[key], getattr(model, fields[key]), f"{path}.{key}") for key in given if key in fields]
    return missing + [field for found in known for field in found]


def test_an_unknown_field_in_a_sample_would_be_noticed() -> None:
    permit = {"name": "stop", "action": "Abort", "budgets": {}}
    known = {"subjects": [{"kind": "User", "name": "a"}], "permits": [permit]}
    policy = AgentPolicySpec.model_validate({**known, "mod": "Audit"})
    assert unknown({**known, "mod": "x"}, policy) == ["spec.mod", "spec.permits[0].budgets"]
    contract = DataContractSpec.model_validate({"roles": ["Label"], "odcs": {"id": "x", "schema": []}})
    assert unknown({"roles": ["Label"], "odcs": {"id": "x", "schema": []}}, contract) == []


@pytest.mark.parametrize(("path", "obj"), own_objects())
def test_what_a_sample_refers_to_is_among_the_samples(path: Path, obj: dict[str, Any]) -> None:
    named = {(o["kind"], o["metadata"]["name"]) for p in SAMPLES for o in objects(p) if "name" in o.get("metadata", {})}
    spec = obj["spec"]
    if obj["kind"] == "Rollout":
        assert ("ModelVersion", spec["versionRef"]["name"]) in named
    if obj["kind"] == "ActionRequest":
        assert ("Rollout", spec["rolloutRef"]["name"]) in named
    if obj["kind"] == "ContractCheck":
        assert ("DataContract", spec["contractRef"]["name"]) in named
    if obj["kind"] == "ModelVersion" and "artifact" in spec:
        assert ("Service", spec["artifact"]["uri"].removeprefix("http://").split("/")[0]) in named
