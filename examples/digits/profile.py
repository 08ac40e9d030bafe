"""The reference profile: how the training data is distributed, in the form that a data contract refers to."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

INTENSITY = "images.intensity"
"""Mean of an image's pixels (0-16)."""
LABEL = "predictions.label"
"""The digit that the model answers, as text."""
BINS = 10


def describe(pixels: NDArray[Any], labels: Sequence[int]) -> dict[str, Any]:
    """Return the profile of images and of the digits that they show."""
    tables: dict[str, Any] = {}
    for path, column in ((INTENSITY, _numbers(pixels.mean(axis=1))), (LABEL, _values(labels))):
        table, name = path.split(".")
        tables[table] = {"rows": len(labels), "columns": {name: column}}
    return {"version": 1, "tables": tables}


def _numbers(values: NDArray[Any]) -> dict[str, Any]:
    """Ten bins of about equal size; a value on an edge belongs to the bin below it."""
    quantiles = np.quantile(values, [i / BINS for i in range(1, BINS)])
    edges = sorted({float(f"{quantile:.9g}") for quantile in quantiles})
    within = [0, *(int((values <= edge).sum()) for edge in edges), len(values)]
    counts = [after - before for before, after in pairwise(within)]
    return {"nulls": 0, "distinct": len(np.unique(values)), "edges": [repr(e) for e in edges], "counts": counts}


def _values(values: Sequence[int]) -> dict[str, Any]:
    counted = sorted(Counter(str(value) for value in values).items())
    return {"nulls": 0, "distinct": len(counted), "top": [[value, count] for value, count in counted], "other": 0}
