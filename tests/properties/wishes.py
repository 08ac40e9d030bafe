"""What must be true of every decision about what people ask for: requests, consents, versions put back, drills."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from weir.api.approval import PROMOTE, Approval
from weir.api.base import seconds
from weir.api.rolloutstatus import Outcome, Phase, RolloutStatus
from weir.release.approvals import SERVICE_ACCOUNT, digest
from weir.release.decide import decide

if TYPE_CHECKING:
    from tests.properties.invariants import Step

FIRST = {"PromoteRequested", "SkipRequested", "RollbackRequested", "Aborted", "Paused", "Resumed", "Approved", "Drill"}
FIRST |= {"TrafficLimited", "TrafficLimitLifted"}
"""Reasons of decisions that a request causes by itself, so at most one of each request."""


@dataclass(frozen=True)
class Given:
    """A consent as an honest observer saw it taken."""

    release: int
    name: str
    digest: str
    by: str
    at: float


@dataclass
class Witness:
    """Who consented to what, who changed or asked for which release, and what was rightly passed already."""

    given: tuple[Given, ...] = ()
    barred: dict[int, frozenset[str]] = field(default_factory=dict)
    passed: frozenset[tuple[int, str, str]] = frozenset()
    served: frozenset[str] = frozenset()

    def clone(self) -> Witness:
        """An independent copy."""
        return replace(self, barred=dict(self.barred))


def note(step: Step, witness: Witness) -> None:
    """Writes down what the decision took in."""
    before, after, view = step.before, step.after, step.cluster.view
    asked = {request.uid: request for request in step.obs.requests}
    known = {entry.uid for entry in before.handled_requests}
    for result in step.decision.desired.results:
        request = asked[result.uid]
        consent = request.spec.approval
        if result.phase == "Succeeded" and result.uid not in known and consent is not None:
            release = before.release
            given = Given(release, consent.name, consent.digest, request.spec.requester or "", step.cluster.now)
            witness.given += (given,)
    target, candidate = step.obs.target, after.candidate
    if candidate is not None and (target is None or target.revision == candidate.revision):
        barred = witness.barred.get(after.release, frozenset())
        witness.barred[after.release] = barred | {*view.authors, after.requested_by}
    for status in (before, after):
        if status.stable is not None:
            witness.served |= {status.stable.revision}


def consents_before_traffic(step: Step) -> None:
    """No weight and no promotion comes without enough valid consents of different people who had no part in it."""
    before, after, witness = step.before, step.after, step.cluster.ledger.witness
    if before.restoring or after.restoring:
        return
    if step.promoted:
        reached, status = PROMOTE, before
    elif after.candidate is not None and after.weight > (before.weight if step.same_release else 0):
        reached, status = after.weight, after
    else:
        return
    for approval in step.cluster.spec.approvals:
        if approval.threshold > reached:
            continue
        assert step.obs.admission_problem is None, f"{reached} by consents that nobody can trust"
        key = (status.release, approval.key, digest(step.cluster.view, status, approval))
        if key in witness.passed:
            continue
        people = valid(step, witness, key, approval)
        assert len(people) >= approval.quorum, (
            f"{reached} % with {people} of {approval.quorum} before {approval.before}"
        )
        witness.passed |= {key}


def valid(step: Step, witness: Witness, key: tuple[int, str, str], approval: Approval) -> set[str]:
    """People whose consents count now."""
    barred = witness.barred.get(key[0], frozenset())
    lasts = seconds(approval.expires_after)
    return {
        given.by
        for given in witness.given
        if (given.release, given.name, given.digest) == key
        and given.at + lasts > step.cluster.now
        and given.by not in barred
        and given.by
        and not given.by.startswith(SERVICE_ACCOUNT)
    }


def waits_are_told(step: Step) -> None:
    """A release that waits for people says until when, and is looked at then."""
    after = step.after
    waiting = [entry for entry in after.approvals if entry.state == "Waiting"]
    told = next((c for c in after.conditions if c.type == "AwaitingApproval"), None)
    assert (told is not None) == bool(waiting and after.candidate is not None and after.ending is None)
    for entry in waiting:
        assert entry.since is not None
        assert entry.deadline is not None
        assert after.ending is None, "an ending release waits for people"
        assert after.candidate is not None
        paused = step.cluster.spec.paused or after.pause is not None
        assert paused or entry.deadline > step.cluster.now, "waits beyond its deadline"
        assert paused or (step.decision.wake_at or 0.0) <= entry.deadline
    if after.phase is Phase.AWAITING_APPROVAL:
        assert waiting
    for entry in after.approvals:
        assert (entry.state == "Granted") == (len(entry.consents) >= entry.quorum)


def executed_once(step: Step) -> None:
    """What a request did and what became of it are in one write, so it is done once and told the same for ever."""
    before, after = step.before, step.after
    kept = {entry.uid: entry for entry in before.handled_requests}
    for result in step.decision.desired.results:
        if result.handled is not None and result.uid in kept:
            assert result.handled == kept[result.uid], "a result changed"
    first = Counter((d.request, d.reason) for d in after.decisions if d.request and d.reason in FIRST)
    assert all(count == 1 for count in first.values()), f"executed twice: {first}"
    old = {(d.request, d.reason) for d in before.decisions} if after.release == before.release else set()
    names = {entry.name for entry in after.handled_requests}
    for request, reason in first.keys() - old:
        assert request is not None
        assert request.split("@")[0] in names, f"{reason} by {request}, which is not remembered"
    for entry in after.handled_requests:
        if entry.uid not in kept:
            end = entry.after
            assert (end.release, end.weight, end.phase) == (after.release, after.weight, str(after.phase))


def refused_changes_nothing(step: Step) -> None:
    """Requests that are refused, too old or not due leave no trace but their results."""
    done = {entry.uid for entry in step.after.handled_requests if entry.phase == "Succeeded"}
    known = {entry.uid for entry in step.before.handled_requests}
    idle = {r.uid for r in step.obs.requests if r.uid not in done and r.uid not in known}
    if not idle or len(step.obs.requests) > 20:
        return
    without = replace(step.obs, requests=tuple(r for r in step.obs.requests if r.uid not in idle))
    again = decide(step.cluster.view, step.before, without, step.cluster.now)
    assert bare(again.status) == bare(step.after)
    assert again.events == step.decision.events
    assert replace(again.desired, results=()) == replace(step.decision.desired, results=())


def bare(status: RolloutStatus) -> RolloutStatus:
    """Without what became of requests."""
    return status.model_copy(update={"handled_requests": []})


def too_old_is_not_done(step: Step) -> None:
    """Nothing is executed after its time, nor where the requester expected the Rollout to stand elsewhere."""
    known = {entry.uid for entry in step.before.handled_requests}
    done = {entry.uid: entry for entry in step.after.handled_requests if entry.uid not in known}
    for request in step.obs.requests:
        entry = done.get(request.uid)
        if entry is None:
            continue
        begins = max(request.created, request.spec.not_before or 0.0)
        late = step.cluster.now >= begins + seconds(request.spec.expires_after)
        assert (entry.phase == "Expired") == late, f"{entry.phase} {step.cluster.now - begins} s after its time began"
        expect = request.spec.expect
        if expect is not None and expect.release is not None and expect.release != entry.before.release:
            assert entry.phase != "Succeeded"


def put_back_or_as_it_was(step: Step) -> None:
    """Only what has served is put back, and in the end it serves, or what served goes on serving."""
    before, after, ledger = step.before, step.after, step.cluster.ledger
    if after.restoring:
        assert after.candidate is not None
        assert after.candidate.revision in ledger.witness.served, "put back what never served"
        assert after.approvals == []
    if before.restoring and after.candidate is None:
        assert before.candidate is not None
        (last, *_) = after.history
        if last.outcome is Outcome.RESTORED:
            assert after.stable == before.candidate
            assert before.stable is not None
            assert after.failed[0].revision == before.stable.revision
        else:
            assert after.stable == before.stable
            assert after.failed == before.failed, "a version failed since another one did not come back"


def drills_blame_nobody(step: Step) -> None:
    """A drill leaves no failed version behind, and is no way past a failing gate."""
    before, after = step.before, step.after
    drilled = after.ending is not None and after.ending.outcome is Outcome.DRILLED
    if drilled and before.ending is None:
        assert not any(gate.verdict in ("Fail", "Error") for gate in after.gates)
        assert after.ending is not None
        assert after.ending.weight > 0
        assert after.stable is not None
    ended = before.ending is not None and before.ending.outcome is Outcome.DRILLED
    if drilled or ended:
        retried = step.asked("Retry")
        assert after.failed == before.failed or retried or step.promoted


WISHES = (
    consents_before_traffic,
    waits_are_told,
    executed_once,
    refused_changes_nothing,
    too_old_is_not_done,
    put_back_or_as_it_was,
    drills_blame_nobody,
)
