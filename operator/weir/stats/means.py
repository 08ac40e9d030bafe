"""Is a mean (a score, tokens, cost) of the candidate worse than stable's, or no worse than a margin?

Each window gives a sum and a count per arm, never a gauge's last value. With the difference D of the arms' means and
the information h = n0 n1 / (n0 + n1), S = sum h (D - margin) has variance sd^2 sum h, so the e-process of
``weir.stats.gauss`` applies to S / sd and V = sum h. The information, not the number of windows, is the clock: weights
and traffic may change. The spread ``sd`` of single observations is known (from a reference), or estimated from the
differences of the windows, s^2 = sum h (D - mean D)^2 / (windows - 1), which also sees noise between windows; that
needs ``LEAST_WINDOWS`` of them, before which there is no evidence. Simulated crossing of a nominal 5 %: 0.4-2.5 % with
a known spread, 1.3-4.6 % with an estimated one.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

from weir.stats.gauss import interval as gauss_interval
from weir.stats.gauss import log_positive

LEAST_WINDOWS = 10
"""Windows that it takes to estimate the spread: fewer make the approximation break its alpha."""

_TAU = 0.1
"""Differences that are looked for, in units of the spread of single observations."""

_FORMAT = struct.Struct("<qddd")
_LEAST_SPREAD = 1e-3
_LARGEST_SUM = 1e100

Worse = Literal["Higher", "Lower"]
"""Which way the metric gets worse."""


@dataclass(frozen=True)
class MeanState:
    """Evidence on the difference candidate - stable: ``windows`` used, ``information`` sum h, the weighted ``mean``
    of the differences and their weighted ``scatter`` sum h (D - mean)^2."""

    windows: int = 0
    information: float = 0.0
    mean: float = 0.0
    scatter: float = 0.0

    def add(self, stable_count: int, stable_sum: float, candidate_count: int, candidate_sum: float) -> MeanState:
        """With one more window; a window in which an arm had no observation tells nothing."""
        if min(stable_count, candidate_count) < 0 or not max(abs(stable_sum), abs(candidate_sum)) <= _LARGEST_SUM:
            raise ValueError(f"counts must not be negative and sums at most {_LARGEST_SUM}")
        if min(stable_count, candidate_count) == 0:
            return self
        weight = stable_count / (stable_count + candidate_count) * candidate_count
        difference = candidate_sum / candidate_count - stable_sum / stable_count
        information = self.information + weight
        before = difference - self.mean
        mean = self.mean + before * (weight / information)
        return MeanState(self.windows + 1, information, mean, self.scatter + weight * before * (difference - mean))

    def encode(self) -> str:
        """As text that ``decode`` gives back exactly."""
        return base64.b64encode(_FORMAT.pack(self.windows, self.information, self.mean, self.scatter)).decode()

    @staticmethod
    def decode(text: str) -> MeanState:
        """The state behind ``encode``'s text. ValueError for any other text."""
        try:
            return MeanState(*_FORMAT.unpack(base64.b64decode(text, validate=True)))
        except struct.error as error:
            raise ValueError(f"not a state of means: {text!r}") from error


def log_worse(state: MeanState, worse: Worse, *, margin: float = 0.0, sd: float | None = None) -> float:
    """Log e-value against "the candidate's mean is worse by at most ``margin``", in the metric's own unit.

    ``sd`` is the known spread of single observations; None estimates it.
    """
    return _log(state, _sign(worse) * state.mean - margin, sd)


def log_no_worse(state: MeanState, worse: Worse, *, margin: float, sd: float | None = None) -> float:
    """Log e-value against "the candidate's mean is worse by at least ``margin``" (> 0), in the metric's own unit."""
    return _log(state, margin - _sign(worse) * state.mean, sd)


def interval(state: MeanState, *, sd: float | None = None, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds that hold the difference candidate - stable at all times with probability 1 - ``alpha``."""
    spread = _spread(state, abs(state.mean), sd)
    if spread is None:
        return -inf, inf
    low, high = gauss_interval(state.mean / spread, state.information, _TAU, alpha)
    return low * spread, high * spread


def _log(state: MeanState, beyond: float, sd: float | None) -> float:
    spread = _spread(state, abs(beyond), sd)
    if spread is None:
        return 0.0
    return log_positive(beyond * state.information / spread, state.information, _TAU)


def _spread(state: MeanState, distance: float, sd: float | None) -> float | None:
    """The spread of single observations; None while it is unknown."""
    if sd is not None:
        if not 0 < sd < inf:
            raise ValueError(f"a known spread is positive, not {sd}")
        return sd
    if state.windows < LEAST_WINDOWS:
        return None
    # A metric that never varies has no spread; a small part of the distance stands in, so that nothing is divided by 0.
    return max(sqrt(state.scatter / (state.windows - 1)), _LEAST_SPREAD * distance) or 1.0


def _sign(worse: Worse) -> int:
    return 1 if worse == "Higher" else -1
