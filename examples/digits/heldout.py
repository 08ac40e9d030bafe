"""The held-out rows that live traffic is drawn from: pixels and true labels that no version was trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from .artifact import PIXELS, ArtifactError


@dataclass(frozen=True)
class HeldOut:
    """Rows of 64 pixels (0-16) and the digit (0-9) that each one shows."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def to_bytes(rows: HeldOut) -> bytes:
    """Return the rows as a safetensors file; equal rows give equal bytes."""
    return bytes(save({"pixels": np.ascontiguousarray(rows.pixels), "labels": np.ascontiguousarray(rows.labels)}))


def read(path: Path) -> HeldOut:
    """Read the rows; raises ArtifactError when the file does not hold them."""
    try:
        tensors = load_file(path)
        rows = HeldOut(tensors["pixels"], tensors["labels"])
    except (OSError, SafetensorError, KeyError) as error:
        raise ArtifactError(f"{path}: no held-out rows: {error}") from error
    if rows.pixels.ndim != 2 or rows.pixels.shape != (len(rows.labels), PIXELS) or not len(rows.labels):
        raise ArtifactError(f"{path}: shapes {rows.pixels.shape} and {rows.labels.shape} are not rows with labels")
    return rows
