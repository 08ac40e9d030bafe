"""What a sealed record says of data contracts, held against the decisions that it is said to have led to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import DecisionEntry, Outcome, Phase
from weir.release.contracts import reason_of, worst

_ADVANCES = ("StageEntered", "ReleasePromoted")
_ENDS = ("ContractFailed", "DataDrifted", "ContractIncompatible", "ContractUnknown")


@dataclass(frozen=True)
class ContractDecision:
    """One decision as recorded, and as the findings that are recorded with it demand; ``wrong``: how they differ."""

    entry: DecisionEntry
    recorded: str
    recomputed: str
    wrong: str = ""


def contract_decisions(record: RolloutRecordSpec) -> Iterator[ContractDecision]:
    """Every decision of the log that looked at contracts."""
    forced = record.outcome is Outcome.RESTORED
    for entry in record.decisions:
        forced = forced or entry.reason in ("PromoteRequested", "RollbackRequested")
        found = _decided(entry, forced=forced)
        if found is not None:
            yield found


def _decided(entry: DecisionEntry, *, forced: bool) -> ContractDecision | None:
    told = entry.contracts
    if told is None:
        return None
    verdict = worst(told.findings)
    if verdict is not told.verdict:
        wrong = f"verdict {told.verdict}, recomputed {verdict}"
        return ContractDecision(entry, str(told.verdict), str(verdict), wrong)
    if entry.reason in _ADVANCES:
        against = [f for f in told.findings if f.effect != "Warn"]
        if not against or forced:
            return ContractDecision(entry, "goes on", "goes on")
        first = against[0]
        return ContractDecision(
            entry, "goes on", "stays", f"{first.contract} asked for {first.effect}: {first.message}"[:300]
        )
    if entry.phase is Phase.ROLLING_BACK and entry.reason in _ENDS:
        late = [f for f in told.findings if f.rollback_at is not None and f.rollback_at <= entry.at]
        if any(reason_of(finding) == entry.reason for finding in late):
            return ContractDecision(entry, "put back", "put back")
        return ContractDecision(entry, "put back", "stays", "no finding had lasted beyond its grace")
    return ContractDecision(entry, str(told.verdict), str(verdict))
