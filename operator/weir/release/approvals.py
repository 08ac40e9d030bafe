"""Approvals: no weight and no promotion that needs people's consent comes without it.

A consent is bound to the digest of what is approved, so it is void as soon as the release, its version or the plan and
gates on its way are others. Whoever asked for the release or changed it cannot give one, nor can a program. Admission
enforces the same while the operator is down; where its policies are not in force, no consent counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.api.actionrequest import Approving
from weir.api.approval import PROMOTE, Approval, ApprovalStatus, Consent
from weir.api.base import format_time, seconds
from weir.api.modelversion import canonical, sha256
from weir.api.rolloutstatus import Outcome, RolloutStatus
from weir.release.observation import Problem, RolloutView
from weir.release.phase import phase
from weir.release.plan import most_weight, real_share
from weir.release.turn import WEIR, Cause, Turn

SERVICE_ACCOUNT = "system:serviceaccount:"
"""Prefix of the user names of programs, which cannot approve."""

_MOST_AUTHORS = 32


def digest(view: RolloutView, status: RolloutStatus, approval: Approval) -> str:
    """Digest of what is approved: the release, its version, and the plan and gates on its way."""
    spec, candidate = view.spec, status.candidate
    content = {
        "rollout": view.uid,
        "release": status.release,
        "candidate": candidate.digest if candidate is not None else "",
        "revision": candidate.revision if candidate is not None else "",
        "stable": status.stable.revision if status.stable is not None else "",
        "approval": approval.to_dict(),
        "strategy": spec.strategy.to_dict(),
        "gates": [gate.to_dict() for gate in spec.gates],
        "judgement": spec.judgement.to_dict(),
    }
    return sha256(canonical(content))


def refresh(turn: Turn) -> None:
    """Brings ``status.approvals`` of a running release up to date: void consents go, states follow from the rest."""
    status, target = turn.status, turn.obs.target
    if status.candidate is None or status.ending is not None or status.restoring:
        return
    if target is not None and target.revision != status.candidate.revision:
        return  # about to be superseded: spec is another release's
    authors = list(dict.fromkeys([*turn.view.authors, *status.authors]))[:_MOST_AUTHORS]
    if authors != status.authors:
        turn.set(authors=authors)
    known = {entry.name: entry for entry in status.approvals}
    asked = turn.view.spec.approvals
    for name in known.keys() - {approval.key for approval in asked}:
        _tell(turn, "ApprovalRemoved", f"{name} is no longer asked for: spec.approvals was changed", warning=True)
    turn.set(approvals=[_current(turn, approval, known.get(approval.key)) for approval in asked])


def _current(turn: Turn, approval: Approval, old: ApprovalStatus | None) -> ApprovalStatus:
    wanted = digest(turn.view, turn.status, approval)
    if old is None or old.digest != wanted:
        if old is not None and old.consents:
            told = f"consents before {old.before} are void: what they approved was changed"
            _tell(turn, "ConsentsVoid", told, warning=True)
        return ApprovalStatus(
            name=approval.key,
            before=approval.before,
            approvers=str(approval.approvers),
            quorum=approval.quorum,
            digest=wanted,
        )
    if old.used_at is not None:
        return old
    if turn.obs.admission_open and old.consents:
        told = (
            f"consents before {old.before} are void: anybody could have given them in another's name; give them again"
        )
        _tell(turn, "ConsentsVoid", told, warning=True)
        return _stated(old.model_copy(update={"consents": []}))
    lasts = seconds(approval.expires_after)
    kept = [consent for consent in old.consents if consent.at + lasts > turn.now]
    if len(kept) < len(old.consents):
        gone = ", ".join(consent.by for consent in old.consents if consent not in kept)
        told = f"the consent of {gone} before {old.before} is older than {approval.expires_after}"
        _tell(turn, "ConsentsVoid", told, warning=True)
    for consent in kept:
        turn.wake(consent.at + lasts)
    entry = _stated(old.model_copy(update={"consents": kept}))
    turn.wake(entry.deadline)
    return entry


def _stated(entry: ApprovalStatus) -> ApprovalStatus:
    """With the state that follows from the rest; what is granted is not waited for."""
    if len(entry.consents) >= entry.quorum:
        return entry.model_copy(update={"state": "Granted", "since": None, "deadline": None})
    return entry.model_copy(update={"state": "Waiting" if entry.since is not None else "Open"})


def objection(turn: Turn, asked: Approving | None, requester: str | None) -> str | None:
    """Why that consent cannot be taken; None where it can."""
    status = turn.status
    if asked is None or status.candidate is None or status.ending is not None or status.restoring:
        return "there is no release that could be approved"
    if turn.obs.admission_problem is not None:
        return f"consents cannot be trusted now: {turn.obs.admission_problem}"
    if not requester:
        return "spec.requester does not say who approves"
    if requester.startswith(SERVICE_ACCOUNT):
        return f"{requester} is a program; only a person can approve"
    entry = next((entry for entry in status.approvals if entry.name == asked.name), None)
    if entry is None:
        return f"the release needs no approval {asked.name}; status.approvals lists those that it needs"
    if entry.digest != asked.digest:
        return f"what was approved is no longer what is asked for: the digest of {entry.name} is now {entry.digest}"
    if requester in {*turn.view.authors, *status.authors}:
        return f"{requester} changed the Rollout for this release; somebody else must approve it"
    if requester == status.requested_by:
        return f"{requester} asked for this release; somebody else must approve it"
    if requester in {consent.by for consent in entry.consents}:
        return f"{requester} has approved {entry.name} already; it needs {entry.quorum} different people"
    if entry.state == "Granted":
        return f"{entry.name} is granted already"
    return None


def consent(turn: Turn, name: str, request: str, cause: Cause) -> str:
    """Takes a consent that nothing is objected to; returns what it means. ``request``: name of its ActionRequest."""
    entry = next(entry for entry in turn.status.approvals if entry.name == name)
    given = Consent(by=cause.by, at=turn.now, request=request)
    new = _stated(entry.model_copy(update={"consents": [*entry.consents, given]}))
    turn.set(approvals=[new if entry.name == name else entry for entry in turn.status.approvals])
    told = f"{len(new.consents)} of {new.quorum} consents before {new.before}, by {cause.by}"
    _tell(turn, "Approved", told, cause=cause)
    if new.state == "Granted":
        people = ", ".join(consent.by for consent in new.consents)
        _tell(turn, "ApprovalGranted", f"{new.before} is approved by {people}", cause=cause)
    return told


def ceiling(turn: Turn) -> int:
    """Greatest percent of requests that needs no consent that is missing; ``PROMOTE`` where none is missing."""
    if turn.status.restoring:
        return PROMOTE
    least = min((approval.threshold for approval in _missing(turn, PROMOTE)), default=PROMOTE + 1)
    return PROMOTE if least > PROMOTE else most_weight(turn.view.spec, least - 1)


def permits(turn: Turn, weight: int) -> bool:
    """Whether the candidate may get that weight (percent, or ``PROMOTE``); else waits for people, or holds.

    Called where nothing else is in the way. From then on the wait has a deadline.
    """
    threshold = real_share(turn.view.spec, weight)
    if turn.status.restoring or all(approval.threshold > threshold for approval in turn.view.spec.approvals):
        return True
    problem = turn.obs.admission_problem
    if problem is not None:
        turn.hold(Problem("AdmissionPolicyMissing", f"consents cannot be trusted: {problem}"))
        return False
    missing = {approval.key: approval for approval in _missing(turn, threshold)}
    if not missing:
        return True
    entries = []
    for entry in turn.status.approvals:
        if entry.name in missing and entry.state == "Open":
            deadline = turn.after(seconds(missing[entry.name].expires_after))
            entry = entry.model_copy(update={"state": "Waiting", "since": turn.now, "deadline": deadline})
            _tell(turn, "ApprovalNeeded", waits_for(turn, [entry]), warning=True)
        entries.append(entry)
    turn.set(approvals=entries)
    waiting = [entry for entry in entries if entry.name in missing]
    for entry in waiting:
        turn.wake(entry.deadline)
    turn.say(waits_for(turn, waiting))
    return False


def _missing(turn: Turn, threshold: int) -> list[Approval]:
    trusted = turn.obs.admission_problem is None
    granted = {entry.name for entry in turn.status.approvals if entry.state == "Granted" and trusted}
    return [a for a in turn.view.spec.approvals if a.threshold <= threshold and a.key not in granted]


def waits_for(turn: Turn, entries: Sequence[ApprovalStatus]) -> str:
    """What people have to do for those approvals, and until when."""
    waits = []
    for entry in entries:
        until = f", until {format_time(entry.deadline)}" if entry.deadline is not None else ""
        given = f"{len(entry.consents)} of {entry.quorum} given by {entry.approvers}"
        waits.append(f"consent before {entry.before} ({given}){until}")
    return f"waiting for {' and '.join(waits)}; `kubectl weir approve {turn.view.name}`"


def pass_by(turn: Turn, weight: int) -> None:
    """The release goes past every approval up to that weight: their consents no longer grow too old."""
    threshold = real_share(turn.view.spec, weight)
    passed = {approval.key for approval in turn.view.spec.approvals if approval.threshold <= threshold}
    entries = [
        e.model_copy(update={"used_at": turn.now}) if e.name in passed and e.used_at is None else e
        for e in turn.status.approvals
    ]
    turn.set(approvals=entries)


def awaited(turn: Turn) -> list[ApprovalStatus]:
    """Approvals that a running release waits for."""
    if turn.status.candidate is None or turn.status.ending is not None:
        return []
    return [entry for entry in turn.status.approvals if entry.state == "Waiting"]


def answered_at(turn: Turn) -> float:
    """When the newest consent of the release came (seconds since the epoch); 0 without any."""
    return max((consent.at for entry in turn.status.approvals for consent in entry.consents), default=0.0)


def expire(turn: Turn) -> bool:
    """Ends a release that has waited for people for too long; never during a pause."""
    late = [e for e in awaited(turn) if e.deadline is not None and e.deadline <= turn.now]
    if turn.paused or not late:
        return False
    entry = late[0]
    told = f"{len(entry.consents)} of {entry.quorum} consents before {entry.before} came in time"
    turn.end(Outcome.ROLLED_BACK, "ApprovalExpired", f"{told}; {entry.approvers} could have given them")
    return True


def _tell(turn: Turn, reason: str, message: str, *, cause: Cause = WEIR, warning: bool = False) -> None:
    turn.note(phase(turn), reason, message, cause=cause, warning=warning)
