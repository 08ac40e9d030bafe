"""One turn of the machine: the status while it is being worked out, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from weir.api.action import Skip
from weir.api.gate import Gate
from weir.api.rolloutstatus import (
    DecisionEntry,
    Ending,
    FailedRevision,
    Force,
    Hold,
    Measurement,
    Outcome,
    Phase,
    RampStatus,
    RolloutStatus,
    StageStatus,
    VersionStatus,
)
from weir.release.capacity import carried
from weir.release.comparison import remembered
from weir.release.decision import Event, RequestResult
from weir.release.gates import fresh, measurement
from weir.release.observation import Observation, Problem, RolloutView, Target
from weir.release.plan import RAMP, WARM_UP, Stage, most_weight, stages

STICKY = (Outcome.ROLLED_BACK, Outcome.ABORTED)
"""Outcomes after which the same candidate is not tried again until somebody asks."""

_MAX_DECISIONS = 100
_MAX_MESSAGE = 1024


@dataclass(frozen=True)
class Cause:
    """Who is behind a decision: Weir itself, or somebody by an ActionRequest (NAME@DIGEST).

    ``authority``: what an agent acts under: its permit, and who consented; None for people.
    """

    by: str = "weir"
    request: str | None = None
    authority: str | None = None

    @staticmethod
    def of(asked: Force | Skip | Ending | None) -> Cause:
        """Who asked for it; Weir where nobody did."""
        return Cause(asked.by, asked.request) if asked is not None else WEIR


WEIR = Cause()


@dataclass
class Turn:
    """Mutable only within one call of ``decide``; nothing of it outlives the call."""

    view: RolloutView
    status: RolloutStatus
    obs: Observation
    now: float
    events: list[Event] = field(default_factory=list)
    results: list[RequestResult] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    held: Hold | None = None
    """The hold that the turn began with: a reason that is met again has been there since then."""
    seen: Observation = field(default_factory=Observation)
    """What was really observed; ``obs`` leaves out what is about a version that is no longer wanted."""

    def __post_init__(self) -> None:
        self.held, self.seen = self.status.hold, self.obs

    def set(self, **fields: Any) -> None:
        """Changes fields of the status."""
        self.status = self.status.model_copy(update=fields)

    def note(
        self,
        phase: Phase,
        reason: str,
        message: str,
        *,
        cause: Cause = WEIR,
        evidence: Sequence[Measurement] = (),
        contracts: bool = False,
        warning: bool = False,
    ) -> None:
        """Appends to the decision log and says it as an Event; the log keeps its first half and its newest half.

        ``contracts``: what they say now is one of the things that the decision stands on.
        """
        stage = self.status.stage.name if self.status.stage else ""
        entry = DecisionEntry(
            at=self.now,
            phase=phase,
            stage=stage,
            weight=self.status.weight,
            reason=reason,
            message=message[:_MAX_MESSAGE],
            actor=cause.by,
            request=cause.request,
            authority=cause.authority,
            evidence=list(evidence),
            contracts=self.status.contracts if contracts else None,
        )
        log = list(self.status.decisions)
        if len(log) >= _MAX_DECISIONS:
            del log[_MAX_DECISIONS // 2]
        self.set(decisions=[*log, entry])
        key = f"{self.status.release}/{len(log)}/{reason}"  # the same decision taken again makes the same Event
        self.events.append(Event(reason, message[:_MAX_MESSAGE], key, warning))

    def settle_log(self) -> None:
        """Gives the newest entry of this turn the weight that the turn ended with: the weight after the decision."""
        status = self.status
        if not self.events or status.candidate is None or not status.decisions:
            return
        last = status.decisions[-1]
        if last.weight != status.weight:
            self.set(decisions=[*status.decisions[:-1], last.model_copy(update={"weight": status.weight})])

    def after(self, length: float) -> float:
        """The time ``length`` seconds from now, in whole milliseconds: what is stored must be what is meant."""
        return round(self.now + length, 3)

    def wake(self, at: float | None) -> None:
        """Asks to be called again at that time, if it lies ahead."""
        if at is not None and at > self.now:
            self.wakes.append(at)

    def say(self, message: str) -> None:
        """Tells people what is being waited for."""
        self.set(message=message[:_MAX_MESSAGE])

    def hold(self, problem: Problem) -> None:
        """Stops advancing for that reason; its start is kept while the reason stays."""
        message = problem.message[:_MAX_MESSAGE]
        old = self.status.hold or self.held
        since = old.since if old is not None and old.reason == problem.reason else self.now
        self.set(hold=Hold(reason=problem.reason, message=message, since=since), message=message)

    def release_hold(self) -> None:
        """Nothing is in the way any more."""
        self.set(hold=None)

    # What the plan says

    @property
    def plan(self) -> tuple[Stage, ...]:
        """Stages of the current release."""
        return stages(self.view.spec, first=self.status.stable is None, status=self.status)

    @property
    def stage(self) -> Stage | None:
        """The stage the release is in, with no more weight than somebody's limit leaves; None during warm-up."""
        planned = self.planned
        return planned.under(self.most) if planned is not None else None

    @property
    def most(self) -> int:
        """Greatest weight (percent) that somebody's limit leaves to the candidate; 100 without one."""
        ceiling = self.status.ceiling
        return most_weight(self.view.spec, ceiling.weight) if ceiling is not None else 100

    @property
    def planned(self) -> Stage | None:
        """The stage the release is in as it is planned, None during warm-up.

        Where the plan became shorter and the release has not found its place in it yet, the last stage.
        """
        if self.status.stage is None or self.status.stage.index < 0:
            return None
        plan = self.plan
        return plan[min(self.status.stage.index, len(plan) - 1)]

    @property
    def paused(self) -> bool:
        """Whether somebody, or a contract, paused the Rollout; an earlier version is put back all the same."""
        return (self.paused_by_people or self.paused_by_contract) and not self.status.restoring

    @property
    def paused_by_people(self) -> bool:
        """Whether somebody paused the Rollout, in its spec or by a request."""
        return (self.view.spec.paused or self.status.pause is not None) and not self.status.restoring

    @property
    def paused_by_contract(self) -> bool:
        """Whether a DataContract stops the clock of the running release; a forced promotion does not wait for any."""
        status = self.status
        if status.contracts is None or status.candidate is None or status.force is not None:
            return False
        return any(finding.effect == "Pause" for finding in status.contracts.findings)

    @property
    def candidate_carries(self) -> int:
        """Percent of full traffic that the candidate's ready pods can carry."""
        return self._carries(self.status.candidate)

    @property
    def stable_carries(self) -> int:
        """Percent of full traffic that stable's ready pods can carry."""
        return self._carries(self.status.stable)

    def _carries(self, version: VersionStatus | None) -> int:
        return carried(self.obs.pool(version.pool), self.view.spec.replicas) if version is not None else 0

    @property
    def stable_unhealthy(self) -> bool:
        """Whether stable has too few ready pods for its share of the traffic."""
        return self.status.stable is not None and self.stable_carries < 100 - self.status.weight

    def compares(self, stage: Stage) -> bool:
        """Whether the candidate is compared with stable in that stage; never with a broken one when fixing forward."""
        return stage.comparative and not self._drops_comparisons

    @property
    def _drops_comparisons(self) -> bool:
        return self.view.spec.rollback.on_stable_unhealthy == "FixForward" and self.stable_unhealthy

    @property
    def next_weight(self) -> int:
        """Percent of requests in the stage after the current one, 100 after the last."""
        index, plan = self.status.stage.index if self.status.stage else 0, self.plan
        return plan[index + 1].weight if index + 1 < len(plan) else 100

    def gates(self, stage: Stage) -> tuple[Gate, ...]:
        """Gates that have something to ask in that stage."""
        if not stage.judged:
            return ()
        return tuple(g for g in self.view.spec.gates if g.comparison is None or not self._drops_comparisons)

    @property
    def mover(self) -> Cause:
        """Who made the release leave its stage: whoever forces the promotion or skips the stage, else Weir."""
        skip = self.status.skip if self.skipped else None
        return Cause.of(self.status.force or skip)

    @property
    def skipped(self) -> bool:
        """Whether somebody asked to leave the stage that the release is in."""
        skip, stage = self.status.skip, self.status.stage
        return skip is not None and stage is not None and skip.stage == stage.name

    @property
    def measurements(self) -> list[Measurement]:
        """What the gates have measured, for the log."""
        seen = {e.gate: e for e in self.status.evidence}
        return [measurement(g, seen.get(g.name)) for g in self.status.gates]

    # Moves

    def start(self, target: Target, *, cause: Cause = WEIR, restore: Force | None = None) -> None:
        """Begins a release of the target; ``restore``: it is an earlier version that somebody wants back at once."""
        asked, known = self.status.asked, [r for r in self.status.retained if r.revision == target.revision]
        if asked is not None and asked.revision == target.revision and cause == WEIR:
            cause = Cause(asked.by, asked.request, asked.authority)
        candidate = VersionStatus(
            version=target.version,
            label=target.label,
            digest=target.digest,
            revision=target.revision,
            pool=target.pool,
            served_until=known[0].served_until if known else None,
        )
        self.set(
            release=self.status.release + 1,
            release_started_at=self.now,
            candidate=candidate,
            stage=StageStatus(index=-1, name=WARM_UP, weight=0, started_at=self.now),
            weight=0,
            gates=[],
            evidence=[],
            noise=remembered(self.status.evidence, self.status.noise),
            approvals=[],
            requested_by="" if cause == WEIR else cause.by,
            authors=[],
            asked=None,
            restoring=restore is not None,
            decisions=[],
            hold=None,
            force=restore,
            skip=None,
            ceiling=None,
            kept_ceiling=None,
            lifted_at=None,
            ending=None,
            ramp=None,
            retained=[r for r in self.status.retained if r.revision != target.revision],
            deadline=None,
        )
        stable = self.status.stable
        over = f" over {stable.label}" if stable is not None else ", the first version"
        verb = "puts back" if restore is not None else "of"
        told = f"release {self.status.release} {verb} {target.label}{over}"
        instead = self.status.instead
        if instead is not None and instead.version == target.version:
            told += f", in place of {instead.ref}, which spec.versionRef names"
        self.note(Phase.PREFLIGHT, "ReleaseStarted", told, cause=cause)

    def enter(self, index: int, deadline: float, *, why: str = "") -> None:
        """Enters a stage of the plan: evidence starts anew, failed looks of the release are kept."""
        stage, cause = self.plan[index], self.mover
        evidence = self.measurements
        before = {g.name: g for g in self.status.gates}
        self.set(
            stage=StageStatus(index=index, name=stage.name, weight=stage.weight, started_at=self.now),
            gates=[fresh(gate, before.get(gate.name)) for gate in self.gates(stage)],
            hold=None,
            skip=None,
            deadline=deadline,
        )
        if stage.name == RAMP:
            self.set(ramp=RampStatus(weight=stage.weight, moved_at=self.now))
        phase = Phase.BAKE if stage.kind == "Bake" else Phase.SHIFTING
        reached = f"{why}entering {stage.name}: {stage.weight} % of requests to {self._label}"
        self.note(phase, "StageEntered", reached, evidence=evidence, contracts=not why, cause=cause)

    def stand_down(self) -> None:
        """The release no longer stands before what it waited for people: the wait and its deadline are over."""
        idle = {"state": "Open", "since": None, "deadline": None}
        waits = [a.model_copy(update=idle) if a.state == "Waiting" else a for a in self.status.approvals]
        self.set(approvals=waits)

    def end(self, outcome: Outcome, reason: str, message: str, *, cause: Cause = WEIR) -> None:
        """Begins to end the release: traffic goes back to stable before anything else."""
        ending = Ending(
            outcome=outcome,
            reason=reason,
            message=message[:_MAX_MESSAGE],
            since=self.now,
            by=cause.by,
            request=cause.request,
            weight=self.status.weight,
        )
        self.set(ending=ending, hold=None, force=None, skip=None, deadline=None)
        self.stand_down()
        candidate = self.status.candidate
        if outcome in STICKY and candidate is not None and not self.status.restoring:
            failed = FailedRevision(
                revision=candidate.revision,
                version=candidate.version,
                release=self.status.release,
                reason=reason,
                message=message[:_MAX_MESSAGE],
            )
            others = [f for f in self.status.failed if f.revision != candidate.revision]
            self.set(failed=[failed, *others][:10])
        evidence = self.measurements
        warning = outcome in STICKY
        self.note(Phase.ROLLING_BACK, reason, message, evidence=evidence, contracts=True, warning=warning, cause=cause)

    @property
    def _label(self) -> str:
        return self.status.candidate.label if self.status.candidate else ""
