"""One sample of a metric, whatever page or query it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from weir.evidence.errors import DataError


@dataclass(frozen=True)
class Sample:
    """A value and its labels, without the metric's name."""

    labels: Mapping[str, str]
    value: float


def counter_value(sample: Sample, metric: str) -> float:
    """The value of a counter.

    Raises DataError for NaN, infinity and negative numbers: no counter has those.
    """
    if not math.isfinite(sample.value) or sample.value < 0:
        labels = ", ".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
        raise DataError(f"{metric}{{{labels}}} is {sample.value}: a counter is a number from 0 up")
    return sample.value
