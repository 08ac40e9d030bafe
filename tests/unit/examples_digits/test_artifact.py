import json
from pathlib import Path

import numpy as np
import pytest

from examples.digits import heldout
from examples.digits.artifact import (
    ArtifactError,
    Classifier,
    Layer,
    PredictionError,
    find_file,
    read_digest,
    read_model,
    to_bytes,
)
from tests.unit.examples_digits.samples import brightest_pixel_model, dark_range, held_out, row


def test_given_an_artifact_when_read_back_then_name_version_and_answers_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(to_bytes(brightest_pixel_model("v9", dark_range(16))))
    model = read_model(path)
    assert (model.name, model.version) == ("digits", "v9")
    assert model.predict(np.array([row(3), row(8)], np.float32)).labels.tolist() == [3, 8]
    assert model.accepted is not None


def test_given_a_hidden_layer_when_predicting_then_negative_values_are_cut_to_zero() -> None:
    negative = Layer(-np.eye(64, dtype=np.float32), np.zeros(64, np.float32))
    model = Classifier("digits", "v1", (negative, *brightest_pixel_model().layers))
    answer = model.predict(np.array([row(5)], np.float32))
    assert answer.probabilities[0] == pytest.approx(np.full(10, 0.1))


def test_given_equal_models_when_written_then_the_bytes_are_equal() -> None:
    assert to_bytes(brightest_pixel_model()) == to_bytes(brightest_pixel_model())
    assert to_bytes(brightest_pixel_model()) != to_bytes(brightest_pixel_model("v2"))


def test_given_a_strict_model_when_a_pixel_is_outside_its_range_then_the_error_names_row_and_pixel() -> None:
    model = brightest_pixel_model(accepted=dark_range(10))
    rows = np.array([row(1, brightness=10), row(2, brightness=11)], np.float32)
    assert model.predict(rows[:1]).labels.tolist() == [1]
    with pytest.raises(PredictionError, match=r"row 1: pixel 2 is 11, outside the training range 0 to 10"):
        model.predict(rows)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 64, to_bytes(brightest_pixel_model())[:-5]])
def test_given_a_broken_file_when_read_then_an_artifact_error_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"broken\.safetensors"):
        read_model(path)


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ((), "0 layers"),
        ((Layer(np.zeros((63, 10), np.float32), np.zeros(10, np.float32)),), "layer 0"),
        ((Layer(np.zeros((64, 9), np.float32), np.zeros(9, np.float32)),), "end in 9 labels"),
        ((Layer(np.zeros((64, 10), np.float32), np.zeros(7, np.float32)),), "layer 0"),
    ],
)
def test_given_wrong_shapes_when_read_then_the_error_says_which(
    tmp_path: Path, layers: tuple[Layer, ...], problem: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(to_bytes(Classifier("digits", "v1", layers)))
    with pytest.raises(ArtifactError, match=problem):
        read_model(path)


def test_given_a_file_without_a_model_when_read_then_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    path.write_bytes(heldout.to_bytes(held_out()))
    with pytest.raises(ArtifactError, match="not a digits classifier"):
        read_model(path)


def test_given_a_directory_when_looking_for_the_artifact_then_exactly_one_file_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="found 0"):
        find_file(tmp_path)
    first = tmp_path / "deep" / "model.safetensors"
    first.parent.mkdir()
    first.write_bytes(b"a")
    assert find_file(tmp_path) == find_file(first) == first
    (tmp_path / "other.safetensors").write_bytes(b"b")
    with pytest.raises(ArtifactError, match="found 2"):
        find_file(tmp_path)


def test_given_a_file_when_digested_then_it_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert read_digest(tmp_path / "f") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_given_held_out_rows_when_read_back_then_they_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "heldout.safetensors"
    path.write_bytes(heldout.to_bytes(held_out()))
    rows = heldout.read(path)
    assert json.dumps(rows.pixels.tolist()) == json.dumps(held_out().pixels.tolist())
    assert rows.labels.tolist() == list(range(10))
    path.write_bytes(to_bytes(brightest_pixel_model()))
    with pytest.raises(ArtifactError, match="no held-out rows"):
        heldout.read(path)
