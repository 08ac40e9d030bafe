"""What a stage asks of a comparison, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from weir.api.evidencestatus import NoiseStatus
from weir.api.gate import Comparison
from weir.stats.noise import ASSUMED, Noise
from weir.stats.ratio import Effect

LOOSER = (2, 4, 10, 20, 50, 100)
"""Looser tolerances that evidence is kept for: those of steps before 50, 25, 10, 5, 2 and 1 percent."""


@dataclass(frozen=True)
class Terms:
    """What a stage asks of a comparison.

    ``tolerance``: ratio to stable that a Pass rules out; ``accept``: share of bad requests (0-1) that a Pass may rule
    out instead.
    """

    tolerance: float
    accept: float

    @staticmethod
    def of(comparison: Comparison, *, next_weight: int) -> Terms:
        """Terms before ``next_weight`` percent of requests: there, no more harm than ``passBelow`` does at 100."""
        scale = 100 / max(1, next_weight)
        (tolerance,) = tolerances(comparison.pass_below, (scale,))
        return Terms(tolerance, round(min(0.5, float(comparison.accept_below) * scale), 6))


def tolerances(pass_below: Decimal, scales: Sequence[float]) -> tuple[float, ...]:
    """Ratios to stable that do as much harm at 1/scale of the traffic as ``pass_below`` does at all of it."""
    return tuple(round(1.0 + (float(pass_below) - 1.0) * scale, 6) for scale in scales)


@dataclass(frozen=True)
class Proof:
    """Logs of e-values: ``fail`` against "not worse", ``passed`` against "worse than the tolerance".

    ``effect`` is the ratio to stable in the series that shows most harm, whose number is ``place``; ``lacking`` is the
    number of the series that is furthest from a Pass.
    """

    fail: float
    passed: float
    effect: Effect | None
    place: int = 0
    lacking: int = 0


def noise_of(status: NoiseStatus) -> Noise:
    """Noise as it is stored."""
    return Noise(float(status.dispersion), float(status.fast), float(status.slow), float(status.correlation))


def noise_status(noise: Noise) -> NoiseStatus:
    """Noise as it is stored: four significant digits, and what is computed is computed from these."""

    def short(value: float) -> Decimal:
        return Decimal(f"{value:.4g}")

    return NoiseStatus(
        dispersion=short(noise.dispersion),
        fast=short(noise.fast),
        slow=short(noise.slow),
        correlation=short(noise.correlation),
    )


@dataclass(frozen=True)
class Heard:
    """Noise of one series: the one to count with, and what was measured on stable's pods in this release alone."""

    effective: NoiseStatus
    live: NoiseStatus | None = None


def heard(noise: Noise | None, before: Noise | None, measured: Noise | None) -> Heard:
    """``noise`` as reckoned for a window; where nothing could be, that known from ``before``, or assumed."""
    reckoned = noise or (before or ASSUMED).rounded()
    return Heard(noise_status(reckoned), noise_status(measured) if measured is not None else None)
