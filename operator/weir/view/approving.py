"""Why a release waits for people."""

from __future__ import annotations

from weir.view import moves
from weir.view.evidence import new_name
from weir.view.explanation import Explanation, Move
from weir.view.model import RolloutInfo
from weir.view.people import Approval
from weir.view.standing import evidence, first_up, place
from weir.view.words import ago, when


def approving(info: RolloutInfo) -> Explanation:
    """It stands before an approval."""
    new, waiting = new_name(info), info.waiting_approvals
    first = waiting[0]
    given = [
        f"{c.by} has consented to {a.name}{f', {ago(c.at, info.now)}' if c.at else ''}."
        for a in waiting
        for c in a.consents
    ]
    limits = [a.deadline for a in waiting if a.deadline is not None]
    takes = "There is no deadline for it."
    if limits:
        takes = f"Until {when(min(limits), info.now)} at the latest; without consent the release is put back then."
    return Explanation(
        headline=f"{new} waits for people: {needed(first)} before {before(first)}. {first_up(place(info))}.",
        waiting_for=tuple(f"Approval {a.name}: {needed(a)}, from: {a.people}." for a in waiting),
        evidence=(*given, *evidence(info)),
        moves=(
            moves.by_itself("As soon as enough people have consented, it goes on."),
            *(moves.approve(info, a) for a in waiting),
            moves.abort(info),
        ),
        takes=takes,
    )


def ahead(info: RolloutInfo) -> tuple[str, ...]:
    """Approvals that the release will need later on."""
    now = " People may give it now." if _trusted(info) else ""
    return tuple(
        f"Later on, before {before(a)}, {needed(a)} (approval {a.name}). It is not given yet "
        f"({len(a.consents)} of {a.quorum}, from {a.people}).{now}"
        for a in _later(info)
    )


def ahead_moves(info: RolloutInfo) -> tuple[Move, ...]:
    """How to give them already."""
    return tuple(moves.approve(info, a) for a in _later(info)) if _trusted(info) else ()


def _later(info: RolloutInfo) -> tuple[Approval, ...]:
    return tuple(a for a in info.approvals if a.state == "Open" and a.missing)


def _trusted(info: RolloutInfo) -> bool:
    return info.hold is None or info.hold.reason != "AdmissionPolicyMissing"


def needed(approval: Approval) -> str:
    """How many people are still needed."""
    if approval.quorum == 1:
        return "the consent of one person is needed"
    if not approval.consents:
        return f"the consent of {approval.quorum} people is needed"
    more = "one more person" if approval.missing == 1 else f"{approval.missing} more people"
    return f"the consent of {more} is needed ({len(approval.consents)} of {approval.quorum} given)"


def before(approval: Approval) -> str:
    """What may not happen without it."""
    if approval.before == "Promote":
        return "the promotion is final"
    if approval.before == "Switch":
        return "it gets all requests"
    return f"it gets {approval.before.removeprefix('Traffic(').removesuffix(')')} % of the requests"
