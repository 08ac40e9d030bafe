"""Train three versions of a digits classifier on scikit-learn's bundled data: one good, one better, one bad.

- v1: logistic regression on every second pixel.
- v2: one hidden layer of 64 units on all pixels.
- v3: what a broken data pipeline makes of v1's recipe. Half of the training images were mirrored, a third of the
  labels moved to the next digit, and a strict input range was taken from the first few rows: wrong often, and an error
  on rows outside that range.

The same library versions on the same kind of processor give the same bytes. Importing this module needs scikit-learn.
"""

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from . import heldout, profile
from .artifact import CLASSES, PIXELS, AcceptedRange, Classifier, Layer, PredictionError, to_bytes

MODEL = "digits"
SEED = 7
HELD_OUT_SHARE = 0.4
BRIGHTEST = 16.0
MIRRORED_SHARE = 0.5
MOVED_LABEL_SHARE = 0.33
RANGE_ROWS = 64

Pixels = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """The bundled digits, split once for every version (stratified by label, seeded)."""

    pixels: Pixels
    labels: Labels
    held_out: heldout.HeldOut


@dataclass(frozen=True)
class Score:
    """How a version does on held-out rows; a row it fails on is not a right answer. Shares are ratios 0-1."""

    accuracy: float
    failed_share: float


def read_data() -> Data:
    """Return training rows and held-out rows."""
    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels, labels, test_size=HELD_OUT_SHARE, random_state=SEED, stratify=labels)
    held_out = heldout.HeldOut(split[1].astype(np.uint8), split[3].astype(np.uint8))
    return Data(split[0], split[2].astype(np.int64), held_out)


def train_v1(data: Data) -> Classifier:
    """Logistic regression on half of the pixels (the dark fields of a chess board)."""
    seen = np.array([pixel for pixel in range(PIXELS) if (pixel // 8 + pixel % 8) % 2 == 1])
    return Classifier(MODEL, "v1", (_fit_logistic(data.pixels, data.labels, seen),))


def train_v2(data: Data) -> Classifier:
    """A network with one hidden layer on all pixels."""
    network = MLPClassifier((64,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=SEED)
    network.fit(data.pixels / BRIGHTEST, data.labels)
    weights, biases = network.coefs_, network.intercepts_
    return Classifier(MODEL, "v2", (_layer(weights[0] / BRIGHTEST, biases[0]), _layer(weights[1], biases[1])))


def train_v3(data: Data) -> Classifier:
    """The recipe of v1 on all pixels, fed by a broken pipeline."""
    generator = np.random.default_rng(SEED)
    pixels, labels = data.pixels.copy(), data.labels.copy()
    mirrored = generator.random(len(pixels)) < MIRRORED_SHARE
    pixels[mirrored] = pixels[mirrored].reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, PIXELS)
    moved = generator.random(len(labels)) < MOVED_LABEL_SHARE
    labels[moved] = (labels[moved] + 1) % CLASSES
    first = data.pixels[:RANGE_ROWS].astype(np.float32)
    accepted = AcceptedRange(first.min(axis=0), first.max(axis=0))
    return Classifier(MODEL, "v3", (_fit_logistic(pixels, labels, np.arange(PIXELS)),), accepted)


RECIPES: dict[str, Callable[[Data], Classifier]] = {"v1": train_v1, "v2": train_v2, "v3": train_v3}


def score(model: Classifier, rows: heldout.HeldOut) -> Score:
    """Ask the model row by row, as live traffic does."""
    right = failed = 0
    for pixels, label in zip(rows.pixels, rows.labels, strict=True):
        try:
            predicted = model.predict(pixels[np.newaxis, :].astype(np.float32))
        except PredictionError:
            failed += 1
        else:
            right += int(predicted.labels[0] == label)
    return Score(round(right / len(rows.labels), 4), round(failed / len(rows.labels), 4))


def write_all(out: Path) -> dict[str, Any]:
    """Train all; write `<version>/model.safetensors`, `heldout.safetensors`, `profile.json` and `index.json`.

    Returns the index.
    """
    data = read_data()
    versions = []
    with threadpool_limits(limits=1):  # the order of a sum, and so its last bits, depends on the number of threads
        for version, recipe in RECIPES.items():
            model = recipe(data)
            result = score(model, data.held_out)
            entry = _write(out, f"{version}/model.safetensors", to_bytes(model))
            measured = {"heldOutAccuracy": result.accuracy, "heldOutFailedShare": result.failed_share}
            versions.append({"version": version, **entry, **measured})
    rows = _write(out, "heldout.safetensors", heldout.to_bytes(data.held_out))
    described = json.dumps(profile.describe(data.pixels, data.labels.tolist()), indent=2) + "\n"
    reference = _write(out, "profile.json", described.encode())
    index = {
        "model": MODEL,
        "seed": SEED,
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "trainingRows": len(data.labels),
        "heldOut": {**rows, "rows": len(data.held_out.labels)},
        "profile": reference,
        "versions": versions,
    }
    _write(out, "index.json", (json.dumps(index, indent=2) + "\n").encode())
    return index


def main(out: Path) -> int:
    """Train, write and print the index; return the exit code."""
    print(json.dumps(write_all(out), indent=2))
    return 0


def _fit_logistic(pixels: Pixels, labels: Labels, seen: NDArray[np.int64]) -> Layer:
    model = LogisticRegression(C=0.5, max_iter=5000, tol=1e-6).fit(pixels[:, seen] / BRIGHTEST, labels)
    weight = np.zeros((PIXELS, CLASSES))
    weight[seen] = model.coef_.T / BRIGHTEST
    return _layer(weight, model.intercept_)


def _layer(weight: Pixels, bias: Pixels) -> Layer:
    return Layer(weight.astype(np.float32), bias.astype(np.float32))


def _write(out: Path, name: str, content: bytes) -> dict[str, Any]:
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"file": name, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "sizeBytes": len(content)}
