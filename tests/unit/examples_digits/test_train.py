import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn (examples/digits/requirements-train.txt)")

from examples.digits import heldout, train
from examples.digits.artifact import read_digest, read_model
from weir.contract.profile import Profile


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models")
    train.write_all(out)
    return out


@pytest.fixture(scope="module")
def index(models: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((models / "index.json").read_text())
    return described


def test_given_the_three_versions_when_scored_on_held_out_rows_then_v2_beats_v1_and_v3_is_bad(
    index: dict[str, Any],
) -> None:
    accuracy = {entry["version"]: entry["heldOutAccuracy"] for entry in index["versions"]}
    assert list(accuracy) == ["v1", "v2", "v3"]
    assert 0.92 < accuracy["v1"] < 0.96 < accuracy["v2"]
    assert 0.3 < accuracy["v3"] < 0.75


def test_given_held_out_rows_when_asked_one_by_one_then_only_v3_fails_and_on_a_realistic_share(
    models: Path, index: dict[str, Any]
) -> None:
    rows = heldout.read(models / "heldout.safetensors")
    for entry in index["versions"]:
        result = train.score(read_model(models / entry["file"]), rows)
        assert result.failed_share == entry["heldOutFailedShare"]
        assert (0.05 < result.failed_share < 0.3) if entry["version"] == "v3" else result.failed_share == 0


def test_given_the_index_when_compared_with_the_files_then_digests_and_sizes_are_true(
    models: Path, index: dict[str, Any]
) -> None:
    for entry in [*index["versions"], index["heldOut"]]:
        path = models / entry["file"]
        assert entry["digest"] == read_digest(path)
        assert entry["sizeBytes"] == path.stat().st_size
    assert [read_model(models / entry["file"]).version for entry in index["versions"]] == ["v1", "v2", "v3"]


def test_given_the_same_libraries_when_trained_again_then_every_byte_is_the_same(models: Path, tmp_path: Path) -> None:
    train.write_all(tmp_path)

    def digests(root: Path) -> dict[str, str]:
        files = [path for path in root.rglob("*") if path.is_file()]
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(tmp_path) == digests(models)
    assert len(digests(models)) == 6


def test_given_the_split_when_compared_then_no_held_out_row_was_trained_on() -> None:
    data = train.read_data()
    trained = {row.tobytes() for row in data.pixels.astype("uint8")}
    assert not trained & {row.tobytes() for row in data.held_out.pixels}
    assert len(data.labels) + len(data.held_out.labels) == 1797


def test_given_training_when_done_then_the_profile_is_that_of_the_training_rows(
    models: Path, index: dict[str, Any]
) -> None:
    profile = Profile.from_json((models / "profile.json").read_bytes())
    intensity, label = profile.column("images.intensity"), profile.column("predictions.label")
    assert intensity is not None
    assert label is not None
    assert intensity.rows.total == label.rows.total == index["trainingRows"]
    assert min(intensity.counts) > index["trainingRows"] / 20
    assert len(label.top) == 10
    assert index["profile"]["digest"] == read_digest(models / "profile.json")
