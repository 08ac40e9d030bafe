"""What the status keeps for evidence is what evidence asks for."""

from __future__ import annotations

from decimal import Decimal

from weir.api.evidencestatus import EvidenceStatus, GateNoise, NoiseStatus, SeriesStatus
from weir.api.rolloutstatus import GateStatus, RolloutStatus
from weir.evidence.stored import Stored
from weir.stats.noise import Noise


def test_given_a_status_when_evidence_goes_on_then_it_gets_what_belongs_together() -> None:
    status = RolloutStatus(
        gates=[GateStatus(name="errors", window_end=1_800_000_010.0), GateStatus(name="new"), GateStatus(name="bound")],
        evidence=[
            EvidenceStatus(
                gate="errors", counters="stamp@1;c a=@1", series=[SeriesStatus(noise=NoiseStatus(slow=Decimal("0.3")))]
            ),
            EvidenceStatus(
                gate="new",
                counters="stamp@2;c a=@1",
                edges=[Decimal("0.1"), Decimal("0.25")],
                series=[SeriesStatus(), SeriesStatus(noise=NoiseStatus(dispersion=Decimal(3)))],
            ),
            EvidenceStatus(gate="bound"),
        ],
        noise=[
            GateNoise(gate="errors", dispersion=Decimal("1.5"), slow=Decimal("0.04"), windows=12),
            GateNoise(gate="new", edge=Decimal("0.25"), fast=Decimal("0.1"), correlation=Decimal("0.8"), windows=40),
            GateNoise(gate="bound", windows=0),
        ],
    )
    assert Stored.of(status) == Stored(
        resume={"errors": (1_800_000_010.0, "stamp@1;c a=@1")},
        remembered={"errors": {None: Noise(1.5, 0.0, 0.04, 0.0)}, "new": {0.25: Noise(1.0, 0.1, 0.0, 0.8)}},
        reckoned={"errors": {None: Noise(slow=0.3)}, "new": {0.1: Noise(), 0.25: Noise(3.0)}},
        edges={"new": (0.1, 0.25)},
    )


def test_given_an_empty_status_when_evidence_begins_then_nothing_is_known() -> None:
    assert Stored.of(RolloutStatus()) == Stored()
