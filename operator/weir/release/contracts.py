"""What DataContracts do to a release: nothing starts or advances while one of them forbids it, and some put it back.

What they say is worked out in ``weir.contract.standing``; here it is remembered (since when), and acted upon. Whatever
puts an earlier version back, and a promotion that a person forces, never waits for a contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weir.api.base import format_time
from weir.api.rolloutstatus import ContractFindingStatus, ContractsStatus, Outcome, Verdict
from weir.contract.finding import Effect, Finding, Standing
from weir.release.decision import Event
from weir.release.observation import Problem
from weir.release.phase import PENDING, phase
from weir.release.turn import Turn

CONDITION = "ContractsHold"
"""Type of the condition, on Rollouts of versions that name contracts."""

KEPT = "ContractsKept"
"""Its reason while nothing is said against the version."""

_MOST, _MOST_PINS = 20, 64
_VERDICTS = {"Pass": Verdict.PASS, "Fail": Verdict.FAIL, "Unknown": Verdict.NO_DATA}
_RANK = ("Rollback", "Pause", "BlockPromotion", "RequireApproval", "Warn")

Key = tuple[str, str, str, str, Verdict]


@dataclass(frozen=True)
class Assessment:
    """Whether the contracts are kept, and the first thing that says otherwise."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def _key(finding: ContractFindingStatus) -> Key:
    """What makes a finding the same as before: its text may change with every check."""
    return (finding.contract, finding.rule, finding.change, finding.path, finding.verdict)


def _rank(finding: ContractFindingStatus) -> tuple[int, bool, str, str, str]:
    worst = _RANK.index(finding.effect)
    return (worst, finding.verdict is not Verdict.FAIL, finding.contract, finding.rule, finding.path)


def _about(turn: Turn) -> Standing | None:
    """What contracts say of the version that is rolled out, else of the one that serves; None while nobody knows."""
    version = turn.status.candidate or turn.status.stable
    if not turn.obs.contracts or version is None:
        return Standing()
    return turn.obs.contracts.get(version.version)


def unread(turn: Turn) -> bool:
    """Whether the contracts of the version could not be read yet, as just after a start of the operator."""
    return turn.view.spec.contracts.mode != "Ignore" and _about(turn) is None


def look(turn: Turn) -> None:
    """Brings ``status.contracts`` up to date and tells of changes; what ended a release stays until it is closed."""
    if turn.status.ending is not None or (not turn.obs.contracts and turn.status.contracts is None):
        return
    standing, mode = _about(turn), turn.view.spec.contracts.mode
    if mode == "Ignore" or standing == Standing():
        turn.set(contracts=None, rollbackable=None)
        return
    if standing is None:
        return  # until it can be told, all stays as it was
    before = turn.status.contracts
    known = {_key(f): f.since for f in before.findings} if before is not None else {}
    splits = _splits(turn)
    concerns = (f for f in standing.findings if f.rule != "R4" or splits)
    found = sorted((_stored(turn, f, known) for f in concerns), key=_rank)[:_MOST]
    told = ContractsStatus(verdict=worst(found), pins=list(standing.pins[:_MOST_PINS]), findings=found)
    turn.set(contracts=told, rollbackable=standing.rollbackable)
    turn.wake(standing.changes_at)
    _tell(turn, before, told)


def _stored(turn: Turn, finding: Finding, known: dict[Key, float]) -> ContractFindingStatus:
    effect: Effect = "Warn" if turn.view.spec.contracts.mode == "Warn" else finding.effect
    made = ContractFindingStatus(
        contract=finding.contract,
        rule=finding.rule,
        verdict=_VERDICTS[finding.judgement],
        effect=effect,
        since=turn.now,
        change=finding.change[:253],
        path=finding.path[:253],
        awaited=finding.awaited,
        message=finding.message[:1024],
    )
    since = known.get(_key(made), turn.now)
    back = round(since + finding.grace, 3) if effect == "Rollback" else None
    return made.model_copy(update={"since": since, "rollback_at": back})


def _splits(turn: Turn) -> bool:
    """Whether two versions share the traffic in a stage that is still to come, or in the one that runs."""
    if turn.status.candidate is None or turn.status.stable is None:
        return False
    at = turn.status.stage.index if turn.status.stage is not None else 0
    ahead = [stage.under(turn.most) for stage in turn.plan[max(0, at) :]]
    return any(stage.splits and 0 < stage.weight < 100 for stage in ahead)


def forbids_split(turn: Turn) -> bool:
    """Whether contracts forbid that the two versions share the traffic, as far as anybody knows."""
    standing = _about(turn)
    enforced = turn.view.spec.contracts.mode == "Enforce"
    return enforced and standing is not None and any(f.rule == "R4" and f.effect != "Warn" for f in standing.findings)


def worst(found: Sequence[ContractFindingStatus]) -> Verdict:
    """Fail where anything fails, NoData where something is not known, else Pass."""
    verdicts = {finding.verdict for finding in found}
    return next((v for v in (Verdict.FAIL, Verdict.NO_DATA) if v in verdicts), Verdict.PASS)


def assess(contracts: ContractsStatus | None) -> Assessment | None:
    """What the condition says; None where no contract has to do with the version."""
    if contracts is None:
        return None
    against = [f for f in contracts.findings if f.verdict is contracts.verdict]
    if contracts.verdict is Verdict.PASS or not against:
        names = ", ".join(pin.partition("@")[0] for pin in contracts.pins)
        return Assessment("True", KEPT, f"nothing is wrong by the contracts {names}")
    first = against[0]
    reason = PENDING if all(f.awaited for f in against) else reason_of(next(f for f in against if not f.awaited))
    return Assessment("False" if contracts.verdict is Verdict.FAIL else "Unknown", reason, _more(first, len(against)))


def _more(first: ContractFindingStatus, count: int) -> str:
    rest = f" (and {count - 1} more in status.contracts)" if count > 1 else ""
    return f"{first.message}{rest}"


def reason_of(finding: ContractFindingStatus) -> str:
    """One CamelCase word for what the finding is about: the reason of holds, conditions and endings."""
    if finding.rule == "R4":
        return "ContractForbidsSplit"
    if finding.rule == "Agent":
        return "AgentIncompatible"
    if finding.effect == "RequireApproval":
        return "WaiverNeeded"
    if finding.verdict is Verdict.NO_DATA:
        return PENDING if finding.awaited else "ContractUnknown"
    return {"Check": "ContractFailed", "Drift": "DataDrifted"}.get(finding.rule, "ContractIncompatible")


def _tell(turn: Turn, before: ContractsStatus | None, now: ContractsStatus) -> None:
    """Says once when contracts cease to be kept or are kept again: in the log of a running release, else as Event."""
    old, new = assess(before), assess(now)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return
    if new.status == "True" and old is None:
        return
    warning = new.status != "True" and new.reason != PENDING
    if turn.status.candidate is not None:
        turn.note(phase(turn), new.reason, new.message, warning=warning, contracts=True)
    elif new.status != "True" or old is not None:
        since = min((f.since for f in now.findings), default=turn.now)
        turn.events.append(Event(new.reason, new.message[:1024], f"contracts/{new.status}/{since}", warning))


def _exempt(turn: Turn) -> bool:
    """Whether contracts have no say: a person forces the promotion. Whatever is put back is forced, too."""
    return turn.status.force is not None


def open_findings(turn: Turn) -> list[ContractFindingStatus]:
    """Findings that forbid the running release to start, advance and end well, the worst first."""
    status = turn.status
    if status.contracts is None or status.candidate is None or _exempt(turn):
        return []
    return [finding for finding in status.contracts.findings if finding.effect != "Warn"]


def blocking(turn: Turn) -> Problem | None:
    """Why the release may not advance; None where it may."""
    found = open_findings(turn)
    return _problem(found) if found else None


def before_pods(turn: Turn) -> Problem | None:
    """Why not even the candidate's pods are to be made; what pods tell, and a check that runs, is no reason."""
    found = [f for f in open_findings(turn) if f.rule != "Metadata" and not f.awaited]
    return _problem(found) if found else None


def waits(turn: Turn) -> bool:
    """Whether nothing of the candidate is to be made yet because of contracts."""
    return not _exempt(turn) and (unread(turn) or before_pods(turn) is not None)


def forbids(turn: Turn, *, hold: bool = True) -> bool:
    """Whether contracts forbid to go on; ``hold``: then says so."""
    problem = blocking(turn)
    if problem is not None:
        if hold:
            turn.hold(problem)
        return True
    if unread(turn) and not _exempt(turn):
        turn.say("reading the data contracts of the version")
        return True
    return False


def _problem(found: Sequence[ContractFindingStatus]) -> Problem:
    """The worst finding as what holds the release, with what will become of it."""
    urgent = [f for f in found if not f.awaited] or list(found)
    first = urgent[0]
    told = _more(first, len(found))
    if first.rollback_at is not None:
        told = f"{told}; the release is put back at {format_time(first.rollback_at)} unless it is repaired before"
    return Problem(reason_of(first), told)


def expire(turn: Turn) -> bool:
    """Ends a release in which a finding has lasted longer than its contract's grace; paused or not, as gates do.

    Not before the candidate has got anything, nor where there is no version to go back to: there it is only held.
    """
    stage = turn.stage
    if stage is None or not stage.judged or turn.status.stable is None:
        return False
    due = [(f.rollback_at, f) for f in open_findings(turn) if f.rollback_at is not None]
    late = [f for at, f in due if at <= turn.now]
    if late:
        turn.end(Outcome.ROLLED_BACK, reason_of(late[0]), late[0].message)
        return True
    turn.wake(min((at for at, _ in due), default=None))
    return False
