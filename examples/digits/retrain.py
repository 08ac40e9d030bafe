"""Train a classifier on recent labelled traffic, as a Job inside the cluster would: small, and in numpy alone.

Recent traffic is what the load generator sends: the held-out rows, as the camera of the moment shows them. Three rows
in five are trained on, the others tell how good the result is.
"""

import hashlib
import json
import os
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import heldout
from .artifact import CLASSES, Classifier, Floats, Layer, to_bytes
from .load import BRIGHTEST, Inputs, changed
from .settings import log

MODEL = "digits"
ROUNDS = 400
RATE = 0.5
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Trained:
    """A model, and the share (0-1) of rows kept back from it that it gets right."""

    model: Classifier
    accuracy: float


def train(version: str, rows: heldout.HeldOut, inputs: Inputs) -> Trained:
    """Fit a softmax regression to rows as the camera shows them now; equal rows give equal models."""
    seen = np.array([changed(row, inputs) for row in rows.pixels.tolist()], dtype=np.float32)
    kept = np.arange(len(seen)) % 5 >= 3
    layer = _fit(seen[~kept], rows.labels[~kept])
    model = Classifier(MODEL, version, (layer,))
    right = model.predict(seen[kept]).labels == rows.labels[kept]
    return Trained(model, round(float(right.mean()), 4))


def _fit(rows: Floats, labels: Labels) -> Layer:
    """Gradient descent with momentum on the mean log loss."""
    features = rows / BRIGHTEST - 0.5
    wanted = np.eye(CLASSES, dtype=np.float32)[labels]
    weight = np.zeros((rows.shape[1], CLASSES), dtype=np.float32)
    bias = np.zeros(CLASSES, dtype=np.float32)
    pace, drift = np.zeros_like(weight), np.zeros_like(bias)
    for _ in range(ROUNDS):
        scores = features @ weight + bias
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (shares / shares.sum(axis=1, keepdims=True) - wanted) / np.float32(len(rows))
        pace = 0.9 * pace - RATE * (features.T @ error)
        drift = 0.9 * drift - RATE * error.sum(axis=0)
        weight, bias = weight + pace, bias + drift
    # The server multiplies pixels of 0 to 16, not features of -0.5 to 0.5.
    return Layer((weight / BRIGHTEST).astype(np.float32), (bias - 0.5 * weight.sum(axis=0)).astype(np.float32))


def annotate(job: str, notes: dict[str, str]) -> None:
    """Write annotations to this pod's own Job, where whoever follows it finds them."""
    address = f"{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    space = (_ACCOUNT / "namespace").read_text()
    request = urllib.request.Request(
        f"https://{address}/apis/batch/v1/namespaces/{space}/jobs/{job}",
        json.dumps({"metadata": {"annotations": notes}}).encode(),
        {
            "Authorization": f"Bearer {(_ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/merge-patch+json",
        },
        method="PATCH",
    )
    trusted = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=30, context=trusted):
        pass


def main(version: str, inputs: Inputs, out: Path, job: str | None) -> int:
    """Train, write the artifact, and tell the Job its digest and accuracy; return the exit code."""
    trained = train(version, heldout.read(Path(os.environ.get("HELDOUT_PATH", "/models/heldout.safetensors"))), inputs)
    content = to_bytes(trained.model)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    notes = {"digest": "sha256:" + hashlib.sha256(content).hexdigest(), "accuracy": str(trained.accuracy)}
    log("trained", version=version, file=str(out), **notes)
    if job is not None:
        annotate(job, notes)
    return 0
