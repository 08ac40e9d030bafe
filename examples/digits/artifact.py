"""The model artifact: one safetensors file (plain tensors, nothing in it can run) and how to predict with it.

Tensors: `layers.N.weight` [inputs, outputs] and `layers.N.bias` [outputs]; a ReLU between layers, a softmax
after the last.
`accepted.minimum` and `accepted.maximum` [inputs], when present, make the model strict: see `Classifier.predict`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Floats = NDArray[np.float32]
PIXELS = 64
CLASSES = 10
# One key only: safetensors keeps its metadata in no fixed order, and the artifact's bytes must be reproducible.
METADATA_KEY = "model"


class ArtifactError(Exception):
    """The file is missing, is not a safetensors file, or does not hold a classifier."""


class PredictionError(Exception):
    """The model itself cannot answer for this row."""


@dataclass(frozen=True)
class Layer:
    """One affine step: `x @ weight + bias`."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class AcceptedRange:
    """The least and greatest value of each pixel (0-16) that the model saw when it was trained."""

    minimum: Floats
    maximum: Floats


@dataclass(frozen=True)
class Prediction:
    """The label (0-9) of each row, and the probability (0-1) of each label for each row."""

    labels: NDArray[np.int64]
    probabilities: Floats


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of 8x8 images; `name` and `version` are what training called it."""

    name: str
    version: str
    layers: tuple[Layer, ...]
    accepted: AcceptedRange | None = None

    def predict(self, rows: Floats) -> Prediction:
        """Return the answer for rows of 64 pixels (0-16).

        Raises PredictionError when the model is strict and a pixel is outside what it was trained on.
        """
        if self.accepted is not None:
            _check_range(rows, self.accepted)
        values = rows
        for layer in self.layers[:-1]:
            values = np.maximum(values @ layer.weight + layer.bias, np.float32(0))
        scores = values @ self.layers[-1].weight + self.layers[-1].bias
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return Prediction(scores.argmax(axis=1), shares)


def _check_range(rows: Floats, accepted: AcceptedRange) -> None:
    outside = (rows < accepted.minimum) | (rows > accepted.maximum)
    if outside.any():
        row, pixel = np.argwhere(outside)[0]
        raise PredictionError(
            f"row {row}: pixel {pixel} is {rows[row, pixel]:g}, "
            f"outside the training range {accepted.minimum[pixel]:g} to {accepted.maximum[pixel]:g}"
        )


def to_bytes(model: Classifier) -> bytes:
    """Return the artifact of a model; equal models give equal bytes."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for number, layer in enumerate(model.layers):
        tensors[f"layers.{number}.weight"] = np.ascontiguousarray(layer.weight, dtype=np.float32)
        tensors[f"layers.{number}.bias"] = np.ascontiguousarray(layer.bias, dtype=np.float32)
    if model.accepted is not None:
        tensors["accepted.minimum"] = np.ascontiguousarray(model.accepted.minimum, dtype=np.float32)
        tensors["accepted.maximum"] = np.ascontiguousarray(model.accepted.maximum, dtype=np.float32)
    described = json.dumps({"name": model.name, "version": model.version}, sort_keys=True)
    return bytes(save(tensors, metadata={METADATA_KEY: described}))


def find_file(path: Path) -> Path:
    """Return the artifact at `path`: the file itself, or the only *.safetensors file below a directory.

    Raises ArtifactError when there is none, or more than one.
    """
    if path.is_file():
        return path
    found = sorted(path.glob("**/*.safetensors"))
    if len(found) != 1:
        raise ArtifactError(f"expected one *.safetensors file at {path}, found {len(found)}")
    return found[0]


def read_digest(path: Path) -> str:
    """Return `sha256:<hex>` of the file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def read_model(path: Path) -> Classifier:
    """Read an artifact file; raises ArtifactError when it does not hold a classifier of 64 pixels and 10 labels."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            described = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise ArtifactError(f"{path}: {error}") from error
    count = sum(name.endswith(".weight") for name in tensors)
    try:
        layers = tuple(Layer(tensors[f"layers.{n}.weight"], tensors[f"layers.{n}.bias"]) for n in range(count))
        accepted = None
        if "accepted.minimum" in tensors:
            accepted = AcceptedRange(tensors["accepted.minimum"], tensors["accepted.maximum"])
        model = Classifier(str(described["name"]), str(described["version"]), layers, accepted)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not a digits classifier: {error!r} is missing or wrong") from error
    _check_shapes(path, model)
    return model


def _check_shapes(path: Path, model: Classifier) -> None:
    width = PIXELS
    for number, layer in enumerate(model.layers):
        if layer.weight.ndim != 2 or layer.weight.shape[0] != width or layer.bias.shape != layer.weight.shape[1:]:
            raise ArtifactError(f"{path}: layer {number} has shapes {layer.weight.shape} and {layer.bias.shape}")
        width = layer.weight.shape[1]
    if not model.layers or width != CLASSES:
        raise ArtifactError(f"{path}: {len(model.layers)} layers that end in {width} labels, expected {CLASSES} labels")
    if model.accepted is not None and not model.accepted.minimum.shape == model.accepted.maximum.shape == (PIXELS,):
        raise ArtifactError(f"{path}: the accepted range must name {PIXELS} pixels")
