"""What the status keeps for the collection of evidence, beyond the life of an operator and of a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.api.evidencestatus import EvidenceStatus, NoiseStatus
from weir.api.rolloutstatus import RolloutStatus
from weir.evidence.noise import KnownByGate
from weir.stats.noise import Noise


@dataclass(frozen=True)
class Stored:
    """By gate: where its evidence stands, what is known of stable's noise, and the edges that it compares.

    ``resume`` holds the end of the gate's last window (seconds since the epoch) and what the counters said then.
    ``remembered`` is the noise that earlier releases measured, ``reckoned`` the one that this release reckons with.
    """

    resume: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    remembered: KnownByGate = field(default_factory=dict)
    reckoned: KnownByGate = field(default_factory=dict)
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @staticmethod
    def of(status: RolloutStatus) -> Stored:
        """What a status keeps."""
        ends = {gate.name: gate.window_end for gate in status.gates if gate.window_end is not None}
        remembered: dict[str, dict[float | None, Noise]] = {}
        for kept in status.noise:
            if kept.windows:
                edge = None if kept.edge is None else float(kept.edge)
                remembered.setdefault(kept.gate, {})[edge] = _noise(kept)
        return Stored(
            {e.gate: (ends[e.gate], e.counters) for e in status.evidence if e.counters and e.gate in ends},
            remembered,
            {e.gate: _reckoned(e) for e in status.evidence if e.series},
            {e.gate: tuple(map(float, e.edges)) for e in status.evidence if e.edges},
        )


def _reckoned(evidence: EvidenceStatus) -> dict[float | None, Noise]:
    edges: list[float | None] = [float(edge) for edge in evidence.edges] or [None]
    return {edge: _noise(series.noise) for edge, series in zip(edges, evidence.series, strict=False)}


def _noise(kept: NoiseStatus) -> Noise:
    return Noise(float(kept.dispersion), float(kept.fast), float(kept.slow), float(kept.correlation))
