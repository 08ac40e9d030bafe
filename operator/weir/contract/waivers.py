"""Waivers: somebody answered for one incompatibility until a time."""

from __future__ import annotations

from collections.abc import Iterable

from weir.api.base import format_time
from weir.api.datacontract import Waiver
from weir.contract.revision import Contract


def waiver_for(contracts: Iterable[Contract | None], rule_id: str, path: str) -> Waiver | None:
    """The waiver of that rule at that path in any of the contracts: the one that lasts longest."""
    found = [
        waiver
        for contract in contracts
        if contract is not None
        for waiver in contract.spec.compatibility.waivers or ()
        if (waiver.rule_id, waiver.path) == (rule_id, path)
    ]
    return max(found, key=lambda waiver: waiver.expires, default=None)


def holds(waiver: Waiver | None, now: float) -> bool:
    """Whether there is a waiver that still counts."""
    return waiver is not None and now < waiver.expires


def accepted(waiver: Waiver) -> str:
    """Who answers for it and until when, as a sentence."""
    return f"{waiver.approved_by} accepted it until {format_time(waiver.expires)}: {waiver.reason}"


def lapsed(waiver: Waiver) -> str:
    """That it no longer counts, as a sentence."""
    return f"The waiver of {waiver.approved_by} expired at {format_time(waiver.expires)}."


def advice(contract: str, rule_id: str, path: str) -> str:
    """The waiver to write, as part of a sentence."""
    return f"add a waiver (ruleId {rule_id}, path {path}) to spec.compatibility.waivers of the DataContract {contract}"
