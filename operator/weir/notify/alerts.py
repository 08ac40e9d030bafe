"""What people are to be told of a Rollout, as a pure function of its status: how releases ended, and what waits.

The same status gives the same alerts under the same ids, so that one that was told is known again after a restart, and
one that was not told because the operator died is told by the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from weir.api.approval import ApprovalStatus
from weir.api.rolloutstatus import Outcome, Phase, ReleaseSummary, RolloutStatus, Verdict


class Kind(StrEnum):
    """What an alert is about: the outcome of a release, what an agent does, or a wait for a person."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    REVERTED = "Reverted"
    RESTORED = "Restored"
    DRILLED = "Drilled"
    AWAITING_APPROVAL = "AwaitingApproval"
    HELD = "Held"
    STALLED = "Stalled"
    AGENT_ACTS = "AgentActs"
    AGENTS_STOPPED = "AgentsStopped"


class Severity(StrEnum):
    """How much it matters, least first."""

    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"

    @property
    def rank(self) -> int:
        """Larger matters more."""
        return list(Severity).index(self)


LASTING = 30.0
"""Seconds that a problem must last before it is told: two objects that are created together pass through some."""

PASSING = 300.0
"""The same for one that may pass by itself, such as a version that does not exist yet."""

_ENDS: Mapping[Outcome, tuple[Kind, Severity, str]] = MappingProxyType(
    {
        Outcome.PROMOTED: (Kind.PROMOTED, Severity.INFO, "was promoted"),
        Outcome.ROLLED_BACK: (Kind.ROLLED_BACK, Severity.ERROR, "was rolled back"),
        Outcome.ABORTED: (Kind.ABORTED, Severity.WARNING, "was aborted"),
        Outcome.SUPERSEDED: (Kind.SUPERSEDED, Severity.INFO, "was superseded"),
        Outcome.REVERTED: (Kind.REVERTED, Severity.INFO, "was withdrawn"),
        Outcome.RESTORED: (Kind.RESTORED, Severity.WARNING, "was put back into service"),
        Outcome.DRILLED: (Kind.DRILLED, Severity.INFO, "was rolled back as a drill"),
    }
)

_INVALID = "InvalidSpec"
_RETRIED = (Outcome.ROLLED_BACK, Outcome.ABORTED)
_OPEN_VERDICTS = (Verdict.PASS, Verdict.CANCELLED)


@dataclass(frozen=True)
class Subject:
    """The Rollout that alerts are about."""

    namespace: str
    name: str
    uid: str

    def command(self, verb: str) -> str:
        """The command that does this to it."""
        reason = "" if verb in ("why", "history") else ' -m "REASON"'
        return f"kubectl weir {verb} {self.name} --namespace {self.namespace}{reason}"


@dataclass(frozen=True)
class Alert:
    """One message for people. Equal things have equal ids, for ever.

    ``at`` is when it became so (seconds since the epoch). ``lasting``: seconds that it must last before it is told.
    ``title`` is one line. ``facts`` are names and values, for templates and programs; all text is without control
    characters.
    """

    id: str
    kind: Kind
    severity: Severity
    subject: Subject
    at: float
    title: str
    text: str
    facts: Mapping[str, str]
    lasting: float = 0.0

    @property
    def wait(self) -> bool:
        """Whether somebody is waited for; else it tells what has happened."""
        return self.kind in (Kind.AWAITING_APPROVAL, Kind.HELD, Kind.STALLED, Kind.AGENTS_STOPPED)


def alerts(subject: Subject, status: RolloutStatus, since: float = 0.0) -> tuple[Alert, ...]:
    """Everything that is to be told of that status, also what surely was told before; oldest releases first.

    Releases that ended up to ``since`` (seconds since the epoch) are left out.
    """
    ends = (_end(subject, status, s) for s in reversed(status.history) if s.finished_at > since)
    return (*(alert for alert in ends if alert is not None), *_waits(subject, status))


def _end(subject: Subject, status: RolloutStatus, summary: ReleaseSummary) -> Alert | None:
    told = _ENDS.get(summary.outcome)
    if told is None:  # of a Rollout that is deleted nobody needs to hear
        return None
    kind, severity, what = told
    label = summary.candidate.label
    facts = {
        "release": str(summary.release),
        "version": label,
        "modelVersion": summary.candidate.version,
        "digest": summary.candidate.digest,
        "outcome": str(summary.outcome),
        "reason": summary.reason,
        "message": summary.message,
        "startedAt": moment(summary.started_at),
        "finishedAt": moment(summary.finished_at),
        "duration": span(summary.finished_at - summary.started_at),
        "record": summary.record,
    }
    if summary.time_to_stable is not None:
        facts["timeToStable"] = span(float(summary.time_to_stable))
    lines = [f"Release {summary.release}: {summary.message.rstrip('.')}."]
    if summary.release == status.release:
        facts |= _last_release(status, summary)
        if summary.outcome is not Outcome.PROMOTED and status.stable is not None and status.candidate is None:
            lines.append(f"{status.stable.label} serves.")
    if summary.outcome in _RETRIED:
        lines.append(f"It is not tried again by itself. To try again: {subject.command('retry')}")
    title = f"{subject.namespace}/{subject.name}: {label} {what}"
    key = (str(summary.release), str(summary.outcome))
    return alert(subject, kind, severity, key, at=summary.finished_at, title=title, lines=lines, facts=facts)


def _last_release(status: RolloutStatus, summary: ReleaseSummary) -> dict[str, str]:
    """What the status still knows only of the release that ended last."""
    facts = {}
    if status.stable is not None:
        facts["stable"] = status.stable.label
    # Whoever caused the end is in the decisions that belong to it.
    reasons = (f"Release{summary.outcome}", summary.reason)
    actors = [d.actor for d in status.decisions if d.reason in reasons and d.actor not in ("", "weir")]
    if actors:
        facts["by"] = actors[-1]
    open_gates = [g for g in status.gates if g.verdict not in _OPEN_VERDICTS]
    if open_gates and summary.outcome is not Outcome.PROMOTED:
        facts["gates"] = "; ".join(f"{g.name}: {g.verdict}, {g.message}" for g in open_gates)
    return facts


def _waits(subject: Subject, status: RolloutStatus) -> Iterator[Alert]:
    if status.candidate is not None and status.ending is None:
        for approval in status.approvals:
            if approval.state == "Waiting":
                yield _approval(subject, status, approval)
    problem = _problem(status)
    if problem is None:
        return
    facts = _place(status) | {"reason": problem.reason, "message": problem.message}
    where = f"{subject.namespace}/{subject.name}"
    if status.phase is Phase.HELD and status.candidate is not None:
        kind, severity = Kind.HELD, Severity.WARNING
        title = f"{where}: {status.candidate.label} is held at {facts['stage']}: {problem.reason}"
        # Not by its time: a hold that comes and goes within a stage is one wait.
        key = (str(status.release), facts["stage"], problem.reason)
    else:
        kind, severity = Kind.STALLED, Severity.ERROR if problem.terminal else Severity.WARNING
        title = f"{where} is stalled: {problem.reason}"
        key = (str(status.release), str(status.observed_generation), problem.reason)
    lines = [problem.message, f"What would help: {subject.command('why')}"]
    lasting = LASTING if problem.terminal else PASSING
    yield alert(subject, kind, severity, key, at=problem.since, title=title, lines=lines, facts=facts, lasting=lasting)


@dataclass(frozen=True)
class _Problem:
    """Why nothing moves, since when, and whether somebody must act (else it may pass)."""

    reason: str
    message: str
    since: float
    terminal: bool


def _problem(status: RolloutStatus) -> _Problem | None:
    stalled = next((c for c in status.conditions if c.type == "Stalled" and c.status == "True"), None)
    if stalled is not None and stalled.reason == _INVALID:  # all else in the status is from before
        return _Problem(stalled.reason, stalled.message, stalled.last_transition_time, terminal=True)
    if status.phase in (Phase.PAUSED, Phase.AWAITING_APPROVAL, Phase.ROLLING_BACK):
        return None  # somebody wants it so, or is told already
    hold = status.hold
    if hold is not None:
        return _Problem(hold.reason, hold.message, hold.since, terminal=stalled is not None)
    if stalled is None or status.phase is Phase.ROLLED_BACK:
        return None  # what was put back is told as an end
    return _Problem(stalled.reason, stalled.message, stalled.last_transition_time, terminal=True)


def _approval(subject: Subject, status: RolloutStatus, approval: ApprovalStatus) -> Alert:
    since = approval.since or status.release_started_at or 0.0
    given, label = len(approval.consents), status.candidate.label if status.candidate else ""
    command = subject.command("approve")
    facts = _place(status) | {
        "approval": approval.name,
        "before": approval.before,
        "from": approval.approvers,
        "quorum": str(approval.quorum),
        "consents": str(given),
        "approvalDigest": approval.digest,
        "message": status.message,
    }
    until = ""
    if approval.deadline is not None:
        facts["deadline"] = moment(approval.deadline)
        until = f" Without it the release is put back at {facts['deadline']}."
    missing = max(0, approval.quorum - given)
    lines = [
        f"Release {status.release} waits before {approval.before} for {missing} of {approval.quorum} consents, "
        f"from {approval.approvers}.{until}",
        f"To consent: {command}",
        f"To look first: {subject.command('why')}",
    ]
    title = f"{subject.namespace}/{subject.name}: {label} waits for approval {approval.name}"
    key = (str(status.release), approval.name, approval.digest)
    return alert(
        subject, Kind.AWAITING_APPROVAL, Severity.WARNING, key, at=since, title=title, lines=lines, facts=facts
    )


def _place(status: RolloutStatus) -> dict[str, str]:
    """Where the running release stands."""
    facts = {"release": str(status.release), "phase": str(status.phase), "weight": str(status.weight)}
    facts["stage"] = status.stage.name if status.stage is not None else ""
    if status.stable is not None:
        facts["stable"] = status.stable.label
    if status.candidate is not None:
        facts["version"] = status.candidate.label
        facts["modelVersion"] = status.candidate.version
        facts["digest"] = status.candidate.digest
    return facts


def alert(
    subject: Subject,
    kind: Kind,
    severity: Severity,
    key: tuple[str, ...],
    *,
    at: float,
    title: str,
    lines: list[str],
    facts: Mapping[str, str],
    lasting: float = 0.0,
) -> Alert:
    """An alert of that kind; ``key`` tells it from others of the subject's, for ever."""
    identity = sha256("\n".join((subject.uid, kind, *key)).encode()).hexdigest()[:32]
    return Alert(
        id=identity,
        kind=kind,
        severity=severity,
        subject=subject,
        at=at,
        title=one_line(title),
        text="\n".join(clean(line) for line in lines),
        facts=MappingProxyType({name: clean(value) for name, value in facts.items()}),
        lasting=lasting,
    )


def clean(text: str) -> str:
    """Text without control and format characters, which could fake other lines; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def one_line(text: str) -> str:
    """Text on one line, for subjects of e-mails and the like."""
    return " ".join(clean(text).split())


def moment(at: float) -> str:
    """A time (seconds since the epoch) as people and programs read it, to the second, in UTC."""
    return datetime.fromtimestamp(round(at), UTC).isoformat().replace("+00:00", "Z")


def span(length: float) -> str:
    """A length of time in seconds, such as 1:05:00."""
    return str(timedelta(seconds=max(0, round(length))))
