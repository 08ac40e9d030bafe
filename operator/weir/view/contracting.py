"""Why DataContracts hold a release, and what they say of the version that serves."""

from __future__ import annotations

from weir.view import moves
from weir.view.causes import CAUSES, steps
from weir.view.commands import kubectl, weir
from weir.view.contracts import ContractFinding, Contracts
from weir.view.evidence import new_name, old_name
from weir.view.explanation import Explanation, Move
from weir.view.model import RolloutInfo
from weir.view.standing import evidence, first_up, place
from weir.view.words import ago, duration, sentence, when

REASONS = (
    "ContractFailed",
    "DataDrifted",
    "ContractIncompatible",
    "AgentIncompatible",
    "ContractUnknown",
    "ContractCheckPending",
    "ContractForbidsSplit",
    "WaiverNeeded",
)
"""Reasons of holds that come from contracts, and from what agents may drive."""

_GOES_ON = {
    "ContractCheckPending": "the check has found nothing wrong",
    "ContractUnknown": "a check has found nothing wrong",
    "ContractForbidsSplit": "the strategy no longer splits the traffic, or the contracts fit",
    "WaiverNeeded": "there is a waiver, or the contracts fit",
}
_SHOWN = 3


def contract_held(info: RolloutInfo) -> Explanation:
    """The explanation of a release that a contract holds."""
    hold, new, told = info.hold, new_name(info), info.contracts
    assert hold is not None
    found = told.blocking if told is not None else ()
    since = f" for {duration(info.now - hold.since)}" if hold.since is not None else ""
    verb = "has waited" if hold.reason == "ContractCheckPending" else "has been held"
    return Explanation(
        headline=f"The release of {new} {verb}{since}: {CAUSES[hold.reason].means}. {first_up(place(info))}.",
        waiting_for=_wanted(found) or (sentence(hold.message),),
        evidence=(*_ages(info, found), *evidence(info)),
        moves=(
            moves.by_itself(f"When {_GOES_ON.get(hold.reason, 'that is repaired')}, it goes on by itself."),
            *_look(info, told),
            *steps(info, CAUSES[hold.reason].steps),
            _all_the_same(info),
            moves.abort(info),
        ),
        takes=_takes(info, found),
    )


def _wanted(found: tuple[ContractFinding, ...]) -> tuple[str, ...]:
    shown = tuple(sentence(finding.message) for finding in found[:_SHOWN])
    more = len(found) - len(shown)
    return (*shown, f"And {more} more, in status.contracts.findings.") if more else shown


def _ages(info: RolloutInfo, found: tuple[ContractFinding, ...]) -> tuple[str, ...]:
    """Since when the worst of them is so."""
    first = next((f for f in found if f.since is not None), None)
    if first is None or first.since is None:
        return ()
    source = f"The contract {first.contract} has said so" if first.contract else "It has been so"
    return (f"{source} since {when(first.since, info.now)}.",)


def _look(info: RolloutInfo, told: Contracts | None) -> tuple[Move, ...]:
    """How to see what a contract says, rule by rule."""
    names = told.concerned[:_SHOWN] if told is not None else ()
    return tuple(Move(f"See what {name} says, rule by rule.", explain_contract(info, name)) for name in names)


def explain_contract(info: RolloutInfo, name: str) -> str:
    """The command that explains a contract."""
    return kubectl(info, f"weir contract explain {name}")


def _all_the_same(info: RolloutInfo) -> Move:
    approvals = " Approvals are still needed." if any(a.state != "Granted" for a in info.approvals) else ""
    text = f"Release {new_name(info)} all the same, without gates and contracts. You take the risk.{approvals}"
    return Move(text, weir(info, "promote"))


def _takes(info: RolloutInfo, found: tuple[ContractFinding, ...]) -> str:
    backs = [f.rollback_at for f in found if f.rollback_at is not None]
    if backs and info.weight and info.stable is not None:
        at = min(backs)
        if at <= info.now:
            return "The grace is over; the release is put back at the next look."
        return f"At {when(at, info.now)} all requests go back to {old_name(info)}, unless it is repaired before."
    if any(f.effect == "Pause" for f in found):
        return "It does not move until that is repaired. Time does not count for any deadline meanwhile."
    if info.hold is not None and info.hold.reason == "ContractCheckPending":
        return "As long as the check takes, mostly some minutes."
    return "It does not move until that is repaired, or somebody decides; there is no deadline for it."


def contract_notes(info: RolloutInfo) -> tuple[str, ...]:
    """What contracts warn of, beside everything else."""
    if info.contracts is None:
        return ()
    warned = [f for f in info.contracts.findings if not f.blocks and not (f.word == "Warn" and f.rule == "R4")]
    told = [
        f"{'A contract' if f.contract else 'An agent'} warns: {sentence(_short(f.message))}"
        for f in warned[:_SHOWN]
        if f.message
    ]
    more = len(warned) - _SHOWN
    return (*told, f"And {more} more warnings of contracts.") if more > 0 else tuple(told)


def _short(message: str) -> str:
    """Without the way out, which is in the status."""
    return message.partition(" Way out:")[0]


def against_serving(info: RolloutInfo) -> ContractFinding | None:
    """The worst thing that a contract says against the version that serves; None where it says nothing."""
    if info.contracts is None or info.contracts.word not in ("Fail", "Unknown"):
        return None
    return next((f for f in info.contracts.findings if f.word == info.contracts.word), None)


def serving_moves(info: RolloutInfo) -> tuple[Move, ...]:
    """What to do about the data of the version that serves."""
    return _look(info, info.contracts)


def serving_evidence(info: RolloutInfo, finding: ContractFinding) -> tuple[str, ...]:
    """Since when it is so."""
    begun = f" {ago(finding.since, info.now)}" if finding.since is not None else ""
    source = f"The contract {finding.contract} began to say so" if finding.contract else "It began to be so"
    return (f"{sentence(finding.message)}", f"{source}{begun}.")
