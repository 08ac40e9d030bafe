"""Contracts of the model ``digits`` as people meet them, and what its two versions are bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.unit.contract.parties import bound, check, contract, revision
from weir.contract.model import Column
from weir.contract.revision import Bound, Contract, Revision

INTENSITY = Column("intensity", logical_type="number", required=True)
SCANNER = Column("scanner", logical_type="string", pattern="[a-z]+")
MODE = Column("mode", logical_type="string", enum=("fast", "exact"))


@dataclass(frozen=True)
class Parties:
    """Both versions and their contracts."""

    contracts: Mapping[str, Contract]
    candidate: Bound
    stable: Bound


def _features(*columns: Column) -> Revision:
    return revision("digits-features", *columns, table="digits")


FEATURES = _features(INTENSITY, SCANNER)


def _parties(found: Contract, candidate: Bound, stable: Bound) -> Parties:
    return Parties({found.name: found}, candidate, stable)


def _trained(found: Contract, new: Revision = FEATURES, old: Revision = FEATURES) -> Parties:
    return _parties(found, bound("digits-v2", new), bound("digits-v1", old))


def checked(verdict: str, at: float, message: str) -> Parties:
    """The last check of the only server, at that time (seconds since the epoch)."""
    entry = check("lake", verdict, at, FEATURES.digest, message, check="digits-features-202601140800")
    return _trained(contract(FEATURES, servers=("lake",), checks=(entry,)))


def drifting(verdict: str, at: float) -> Parties:
    """Drift puts the release back after ten minutes."""
    message = (
        "digits.intensity: data drift: 31 % of rows would have to change to look like the reference (tolerance 10 %); "
        "most moved: above 12.5, 9 % \u2192 34 %. It passes again when 1,000 rows in a row look like the reference"
    )
    series = {"key": "intensity", "verdict": verdict, "message": message}
    found = contract(
        FEATURES,
        drifted=(series,),
        drift=[{"name": "intensity", "property": "digits.intensity"}],
        reference={"server": "training"},
        enforcement={"onDrift": "Rollback", "grace": "10m"},
    )
    return _trained(found)


def changed_pattern() -> Parties:
    """Of two patterns nobody can tell which permits more."""
    return _trained(contract(_features(INTENSITY, replace(SCANNER, pattern="[a-z0-9]+"))))


def looser_data() -> Parties:
    """What was required may be missing now."""
    return _trained(contract(_features(replace(INTENSITY, required=False), SCANNER)))


def new_data() -> Parties:
    """The new version was trained on the data as it is now, the old one on what it was before."""
    now = _features(replace(INTENSITY, required=False), SCANNER)
    return _trained(contract(now), new=now)


def wider_requests() -> Parties:
    """The new version takes one more value."""
    old = revision("digits-request", MODE, table="request")
    new = revision("digits-request", replace(MODE, enum=("fast", "exact", "draft")), table="request")
    return _parties(contract(new), Bound("digits-v2", request=new), Bound("digits-v1", request=old))
