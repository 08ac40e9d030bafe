"""A model whose answers are known by hand, and requests for it."""

from typing import Any

import numpy as np

from examples.digits import heldout
from examples.digits.artifact import CLASSES, PIXELS, AcceptedRange, Classifier, Layer


def brightest_pixel_model(version: str = "v1", accepted: AcceptedRange | None = None) -> Classifier:
    """The answer is the number (0-9) of the brightest of the first ten pixels."""
    weight = np.zeros((PIXELS, CLASSES), np.float32)
    weight[np.arange(CLASSES), np.arange(CLASSES)] = 1.0
    return Classifier("digits", version, (Layer(weight, np.zeros(CLASSES, np.float32)),), accepted)


def dark_range(brightest: int) -> AcceptedRange:
    """A strict range that refuses every pixel above `brightest`."""
    return AcceptedRange(np.zeros(PIXELS, np.float32), np.full(PIXELS, brightest, np.float32))


def row(digit: int, brightness: int = 16) -> list[int]:
    """Pixels for which `brightest_pixel_model` answers `digit`."""
    return [brightness if pixel == digit else 0 for pixel in range(PIXELS)]


def infer_body(*digits: int, brightness: int = 16, **more: Any) -> dict[str, Any]:
    data = [pixel for digit in digits for pixel in row(digit, brightness)]
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [len(digits), PIXELS], "data": data}
    return {"inputs": [tensor], **more}


def held_out() -> heldout.HeldOut:
    """One row for each digit."""
    rows = np.array([row(digit) for digit in range(CLASSES)], np.uint8)
    return heldout.HeldOut(rows, np.arange(CLASSES, dtype=np.uint8))
