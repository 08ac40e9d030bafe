"""What must be true of every decision, whatever happened before it: the promises of the release machine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.properties.cluster import Cluster
from tests.properties.contracted import CONTRACTS
from tests.properties.ramps import ramp_keeps_its_limits
from tests.properties.steered import STEERED
from tests.properties.wishes import WISHES, Witness, note
from weir.api.actionrequest import ActionRequestSpec
from weir.api.base import seconds
from weir.api.evidencestatus import Counts
from weir.api.rolloutstatus import Outcome, Phase, RolloutStatus
from weir.release.capacity import carried
from weir.release.decide import decide
from weir.release.decision import Decision
from weir.release.durable import significant
from weir.release.observation import Observation, Request, Window
from weir.release.plan import Stage, stages
from weir.release.record import record_hash

Attempt = tuple[int, int, float | None]
"""(release, index of the stage, since when its weights are accepted): its evidence belongs together."""


@dataclass
class Ledger:
    """What an honest observer wrote down: every window that a decision saw, and who may not be tried again."""

    seen: dict[Attempt, dict[tuple[str, float], Window]] = field(default_factory=dict)
    sticky: frozenset[str] = frozenset()
    verified: frozenset[int] = frozenset()
    restores: frozenset[int] = frozenset()
    closed: frozenset[int] = frozenset()
    witness: Witness = field(default_factory=Witness)

    def clone(self) -> Ledger:
        """An independent copy."""
        seen = {attempt: dict(windows) for attempt, windows in self.seen.items()}
        return replace(self, seen=seen, witness=self.witness.clone())

    def windows(self, attempt: Attempt, gate: str) -> list[Window]:
        """Windows of a gate in one attempt, in order of time."""
        return sorted((w for w in self.seen.get(attempt, {}).values() if w.gate == gate), key=lambda w: w.end)


@dataclass(frozen=True)
class Step:
    """One decision with all that it stood on."""

    cluster: Cluster
    before: RolloutStatus
    obs: Observation
    decision: Decision

    @property
    def after(self) -> RolloutStatus:
        """The status that was decided on."""
        return self.decision.status

    @property
    def plan(self) -> tuple[Stage, ...]:
        """Stages under the current spec."""
        return stages(self.cluster.spec, first=self.before.stable is None, status=self.before)

    @property
    def same_release(self) -> bool:
        """Whether the release goes on that ran before."""
        return self.after.release == self.before.release and self.before.candidate is not None

    @property
    def promoted(self) -> bool:
        """Whether this decision promotes the candidate."""
        return bool(self.same_release and self.after.candidate is None and self.after.stable == self.before.candidate)

    def asked(self, action: str) -> bool:
        """Whether a request for that action succeeds in this decision."""
        done = {result.uid for result in self.decision.desired.results if result.phase == "Succeeded"}
        handled = {entry.uid for entry in self.before.handled_requests}
        return any(r.uid in done - handled and r.spec.action == action for r in self.obs.requests)

    def carries(self, pool: str) -> int:
        """Percent of the traffic that the pool was seen to be able to carry."""
        return carried(self.obs.pool(pool), self.cluster.spec.replicas)


def capacity_before_traffic(step: Step) -> None:
    """Promise 1: no share grows beyond what ready pods carry; the candidate never has more than its own can carry."""
    after, before = step.after, step.before
    if after.candidate is not None and after.stable is not None:
        carries = step.carries(after.candidate.pool)
        assert after.weight <= carries, f"candidate has {after.weight} %, its pods carry {carries} %"
        if step.same_release and after.weight < before.weight:
            stable = step.carries(after.stable.pool)
            assert 100 - after.weight <= stable or after.weight == min(before.weight, carries), (
                f"stable gets {100 - after.weight} %, its pods carry {stable} %"
            )
    if before.candidate is not None and before.weight and after.candidate is None and not step.promoted:
        assert after.stable is None or step.carries(after.stable.pool) == 100, "closed before stable could carry all"
    if before.stable is None and after.stable is not None:
        assert step.carries(after.stable.pool) == 100, "the first version serves without all of its pods"


def route_follows_status(step: Step) -> None:
    """Promise 1: what is routed is what was decided: 100 in all, nothing for anybody but stable and candidate."""
    weights = step.decision.desired.weights
    if weights is None:
        assert step.after.stable is None, "a stable version without a route"
        return
    assert sum(w for _, w in weights) == 100
    known = {v.pool for v in (step.after.stable, step.after.candidate) if v is not None}
    assert {pool for pool, _ in weights} <= known
    if step.after.stable is not None:
        assert dict(weights)[step.after.stable.pool] == 100 - step.after.weight


def only_pass_advances(step: Step) -> None:
    """Promise 2: a judged stage is left forwards only when each gate saw good counts last, long enough, or by force."""
    before, after = step.before, step.after
    state = before.stage
    if not step.same_release or state is None or state.index < 0 or before.ending is not None:
        return
    if before.force is not None or step.asked("Promote"):
        return
    plan, spec = step.plan, step.cluster.spec
    if state.index >= len(plan) or plan[state.index].name != state.name:
        if after.stage is not None and after.stage.index > 0:
            assert after.stage.weight <= state.weight, "a change of the plan gave a greater share than was earned"
        return
    left = step.promoted or (after.stage is not None and after.stage.index > state.index)
    if not left or not plan[state.index].judged:
        return
    assert after.stage is None or after.stage.index == state.index + 1, "a stage was skipped"
    assert not spec.paused, "a paused release went on"
    if (before.skip is not None and before.skip.stage == state.name) or step.asked("Skip"):
        return
    assert state.evidence_from is not None, "a stage was left before its share was seen"
    assert step.cluster.now >= state.evidence_from + seconds(spec_duration(step)) - 0.002, "a stage was left too early"
    attempt = (before.release, state.index, state.accepted_at)
    for gate in spec.gates:
        if gate.comparison is not None and spec.rollback.on_stable_unhealthy == "FixForward":
            continue
        windows = step.cluster.ledger.windows(attempt, gate.name)
        looks = pooled(windows, gate.min_samples)
        if gate.comparison is not None and not looks:
            looks = windows  # its evidence is that of the whole release
        assert len([w for w in looks if is_good(w)]) >= gate.consecutive_success, f"{gate.name} never saw anything good"
        assert all(is_good(w) for w in looks[-gate.consecutive_success :]), f"{gate.name} saw {looks[-1]} last"
        assert windows[-1].value is not None or windows[-1].candidate.total, f"{gate.name} saw nothing last"


def spec_duration(step: Step) -> str:
    """Least time of the stage that was left, as a duration."""
    state = step.before.stage
    assert state is not None
    return f"{round(step.plan[state.index].min_duration * 1000)}ms"


def pooled(windows: list[Window], least: int) -> list[Window]:
    """Looks that windows make: each by itself, but small ones together, as soon as they have enough requests."""
    looks, counted = [], Counts()
    for window in windows:
        if window.error is not None or window.value is not None or not (window.candidate.total or counted.total):
            looks.append(window)
            continue
        counted += window.candidate
        if counted.total >= least:
            looks.append(replace(window, candidate=counted))
            counted = Counts()
    return looks


def is_good(window: Window) -> bool:
    """Whether an honest observer would be content with the window."""
    if window.error is not None:
        return False
    if window.value is not None:
        return window.value.is_finite() and window.value < 10
    return window.candidate.total > 0 and window.candidate.bad * 20 <= window.candidate.total


def no_more_than_the_stage_wants(step: Step) -> None:
    """Promise 2: whatever becomes of the plan, the share rises only to what the stage that was entered stands for."""
    after = step.after
    if after.candidate is not None and after.stage is not None and after.stage.weight < after.weight:
        assert step.same_release
        assert after.weight <= step.before.weight, f"{after.stage.name} has {after.weight} %"


def breach_rolls_back(step: Step) -> None:
    """Promise 3: a clear breach ends the release in the very decision that sees it, in every phase, paused or not."""
    before, state, spec = step.before, step.before.stage, step.cluster.spec
    if before.candidate is None or before.ending is not None or before.force is not None or step.asked("Promote"):
        return
    if state is None or state.evidence_from is None:
        return
    ends = {g.name: g.window_end or 0.0 for g in before.gates}
    for gate in spec.gates:
        limit = gate.max if gate.template != "threshold" and gate.failure_limit == 0 else None
        for window in step.obs.windows:
            new = window.gate == gate.name and window.start >= max(state.evidence_from, ends.get(gate.name, 0.0))
            arms = min(w.total for w in (window.candidate, window.stable) if w is not None)
            if limit is None or not new or window.error is not None or arms < gate.min_samples:
                continue
            if window.candidate.bad > limit * window.candidate.total * 4:
                ended = step.after.ending is not None or step.after.candidate is None or not step.same_release
                assert ended, f"{gate.name} saw {window} and nothing happened"


def rollback_needs_nothing(step: Step) -> None:
    """Promise 3: an abort takes the weight back at once, without metrics, gateway, versions or warm-up to look at."""
    after = step.after
    if after.candidate is None or after.ending is not None or after.stable is None:
        return
    abort = Request("abort!", "abort!", ActionRequestSpec.model_validate(ABORT), step.cluster.now)
    route = replace(step.obs.route, accepted=False)
    blind = Observation(pools=step.obs.pools, requests=(abort,), route=route, contracts=step.obs.contracts)
    got = decide(step.cluster.view, after, blind, step.cluster.now).status
    ended = got.ending is not None or got.candidate is None
    assert ended, "an abort did not end the release"
    candidate = step.carries(after.candidate.pool)
    stable = step.carries(after.stable.pool)
    assert got.weight == min(after.weight, candidate, max(0, 100 - stable)), "an abort did not take the weight back"


ABORT = {"action": "Abort", "rolloutRef": {"name": "demo"}, "reason": "because"}


def restart_changes_nothing(step: Step) -> None:
    """Promise 4: from the status as stored, the same look gives the same status and the same cluster again."""
    stored = RolloutStatus.model_validate(step.after.to_dict())
    again = decide(step.cluster.view, stored, step.obs, step.cluster.now)
    first, second = significant(step.after), significant(again.status)
    assert first == second, {k: (first.get(k), second.get(k)) for k in first if first.get(k) != second.get(k)}
    assert again.desired == step.decision.desired
    assert not again.events, "the same decision was told twice"


def time_is_stored(step: Step) -> None:
    """Promise 4: times that something waits for are in the status, and never began in the future."""
    after = step.after
    state = after.stage
    if state is not None and state.evidence_from is not None:
        assert state.evidence_from <= step.cluster.now + 0.001, "evidence begins in the future"
    if after.candidate is not None:
        assert step.decision.wake_at is not None, "a running release is never looked at again"
        assert step.decision.wake_at > step.cluster.now, "the next look lies in the past"


def abort_is_sticky(step: Step) -> None:
    """Promise 5: a candidate that failed is not tried again before somebody asks."""
    ledger, before, after = step.cluster.ledger, step.before, step.after
    note_ends(ledger, before)
    if step.asked("Retry") and step.obs.target is not None:
        ledger.sticky -= {step.obs.target.revision}
    started = after.candidate is not None and after.release > before.release
    if started and after.candidate is not None and not after.restoring:
        assert after.candidate.revision not in ledger.sticky, f"{after.candidate.revision} is tried again unasked"
    if before.ending is not None and after.candidate is not None and step.same_release:
        assert after.ending is not None, "an ending release came back to life"
        assert after.weight <= before.weight, "an ending release got more traffic"


def note_ends(ledger: Ledger, stored: RolloutStatus) -> None:
    """Who may not be tried again, by what is stored: a decision that was cut off may come out otherwise next time."""
    if stored.restoring:
        ledger.restores |= {stored.release}
    for last in stored.history[:1]:
        if last.release in ledger.closed:
            continue
        ledger.closed |= {last.release}
        if last.outcome is Outcome.RESTORED:
            replaced = {f.revision for f in stored.failed if f.release == last.release}
            assert replaced, "a version that was put away may come again"
            ledger.sticky = (ledger.sticky | replaced) - {last.candidate.revision}
        elif last.outcome in (Outcome.ROLLED_BACK, Outcome.ABORTED) and last.release not in ledger.restores:
            ledger.sticky |= {last.candidate.revision}


def evidence_of_one_release(step: Step) -> None:
    """Promises 4 and 6: no gate counts more than was seen in this very attempt at this stage, nor fails more often."""
    after = step.after
    if after.candidate is None or after.ending is not None or after.stage is None:
        return
    attempt = (after.release, after.stage.index, after.stage.accepted_at)
    for gate in after.gates:
        windows = step.cluster.ledger.windows(attempt, gate.name)
        asked = next(g for g in step.cluster.spec.gates if g.name == gate.name)
        if asked.max is None and asked.min is None and gate.comparative:
            # Evidence of a comparison is gathered through all stages of a release.
            attempts = [a for a in step.cluster.ledger.seen if a[0] == after.release]
            windows = [w for a in attempts for w in step.cluster.ledger.windows(a, gate.name)]
        counted = gate.candidate.total + gate.pending_candidate.total
        assert counted <= sum(w.candidate.total for w in windows), f"{gate.name} counted what was not seen: {gate}"
        ours = [a for a in step.cluster.ledger.seen if a[0] == after.release]
        bad = [w for a in ours for w in step.cluster.ledger.windows(a, gate.name) if not is_good(w)]
        assert gate.failures <= len(bad), f"{gate.name} failed {gate.failures} times in {len(bad)} bad windows"


def deletion_puts_back(step: Step) -> None:
    """Promise 3: a Rollout that is being deleted starts nothing, and what runs is on its way out at once."""
    if step.cluster.deleting and step.after.candidate is not None:
        assert step.after.ending is not None, "a release goes on while its Rollout is being deleted"


def status_is_valid(step: Step) -> None:
    """Promise 9: the API server takes every status, and conditions are right in the kstatus sense."""
    after = step.after
    assert RolloutStatus.model_validate(after.to_dict()) == after, "what is stored is not what is meant"
    told = {c.type: c for c in after.conditions}
    assert "Ready" in told
    assert (told["Ready"].status == "True") != bool(told.keys() & {"Reconciling", "Stalled"})
    assert not {"Reconciling", "Stalled"} <= told.keys()
    if told["Ready"].status == "True":
        assert after.phase is Phase.PROMOTED
        assert after.stable is not None
        assert after.candidate is None
        assert step.obs.target is None or step.obs.target.revision == after.stable.revision
    assert after.observed_generation == step.cluster.generation
    assert after.release >= step.before.release


def records_are_chained(step: Step) -> None:
    """Promise 10: every finished release has one record, and each holds the hash of the one before it."""
    cluster = step.cluster
    for release, record in cluster.records.items():
        if release not in cluster.ledger.verified:
            assert record.hash == record_hash(record)
            cluster.ledger.verified |= {release}
        assert record.previous_hash == (cluster.records[release - 1].hash if release > 1 else "")
    if step.after.release > step.before.release:
        assert set(cluster.records) == set(range(1, step.after.release)), "a release began before the last was recorded"
    if not step.decision.desired.finalizer:
        assert step.after.candidate is None
        assert set(cluster.records) == set(range(1, step.after.release + 1)), "deleted before it was recorded"


INVARIANTS = (
    capacity_before_traffic,
    route_follows_status,
    only_pass_advances,
    no_more_than_the_stage_wants,
    ramp_keeps_its_limits,
    breach_rolls_back,
    rollback_needs_nothing,
    restart_changes_nothing,
    time_is_stored,
    abort_is_sticky,
    evidence_of_one_release,
    deletion_puts_back,
    status_is_valid,
    records_are_chained,
    *WISHES,
    *CONTRACTS,
    *STEERED,
)


def check(cluster: Cluster, before: RolloutStatus, obs: Observation, decision: Decision) -> None:
    """Lets every invariant look at a decision; the ledger notes first what was there to be seen."""
    state = before.stage
    if state is not None and before.candidate is not None:
        attempt = (before.release, state.index, state.accepted_at)
        seen = cluster.ledger.seen.setdefault(attempt, {})
        for window in obs.windows:
            seen[(window.gate, window.end)] = window
    step = Step(cluster, before, obs, decision)
    note(step, cluster.ledger.witness)
    for invariant in INVARIANTS:
        invariant(step)


def watched(cluster: Cluster) -> Cluster:
    """The cluster with every decision checked."""
    cluster.ledger, cluster.watch = Ledger(), check
    return cluster


def settles(cluster: Cluster, turns: int = 400) -> None:
    """Promise 7: once faults stop, a fixpoint is reached, and there the next decision writes and changes nothing."""
    cluster.run(limit=turns)
    if cluster.gone:
        return
    status, picture = cluster.status, cluster.picture()
    for memory in (True, False):
        cluster.pass_time(1000.0)
        if not memory:
            cluster.restart()
        decision = cluster.reconcile()
        assert not cluster.writes(decision)
        assert cluster.picture()[0] == picture[0], "a converged object was written to"
        assert cluster.picture()[1][:-1] == picture[1][:-1]
        assert decision.status == status or not memory
    wanted = decision.desired
    for pool in wanted.pools:
        assert pool.pool not in cluster.pools or cluster.pools[pool.pool].desired == pool.replicas
    assert wanted.weights is None or dict(wanted.weights) == dict(cluster.route.weights)


__all__ = ["INVARIANTS", "Ledger", "Step", "check", "settles", "watched"]
