"""What must be true of every decision about limits of traffic, versions that are asked for, and what agents ask for."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from weir.api.rolloutstatus import RolloutStatus
from weir.release.instead import wanted
from weir.release.plan import most_weight, real_share

if TYPE_CHECKING:
    from tests.properties.invariants import Step


def limits_are_kept(step: Step) -> None:
    """No weight rises above a limit, and what is above it falls as fast as stable can carry it."""
    before, after, spec = step.before, step.after, step.cluster.spec
    if after.candidate is None:
        assert (after.ceiling, after.kept_ceiling, after.lifted_at) == (None, None, None), "a limit without a release"
        return
    if after.ceiling is None:
        assert after.kept_ceiling is None
        return
    assert after.stable is not None
    assert not after.restoring, "what is put back is limited"
    most = most_weight(spec, after.ceiling.weight)
    assert real_share(spec, most) <= after.ceiling.weight
    if after.weight > most and after.ending is None:
        assert after.weight <= before.weight, f"{after.weight} % and rising, over a limit of {most} %"
        stable, candidate = step.carries(after.stable.pool), step.carries(after.candidate.pool)
        assert after.weight <= max(most, min(candidate, 100 - stable)), f"{after.weight} % over a limit of {most} %"
    if after.ending is None:
        assert after.deadline is None, "a release that is limited may be late"


def limits_end_no_release(step: Step) -> None:
    """A release that is limited never ends because it or a gate is late, and is not promoted."""
    before, after = step.before, step.after
    if before.ceiling is None or before.ending is not None or not step.same_release:
        return
    if step.asked("ShiftTraffic") or step.asked("Promote"):
        return
    assert not step.promoted, "promoted over a limit"
    late = ("ProgressDeadlineExceeded", "GateInsufficient", "GateNoData", "GateError")
    ending = after.ending or (after.history[0] if after.candidate is None else None)
    assert ending is None or ending.reason not in late, f"{ending.reason} under a limit"


def what_is_asked_for_is_released(step: Step) -> None:
    """A release is of the version that should serve; it changes by a request or by the spec, and by nothing else."""
    before, after, spec = step.before, step.after, step.cluster.spec
    if after.candidate is not None and after.release > before.release and not after.restoring:
        assert after.candidate.version == wanted(spec, after), "another version than what is wanted"
    ready = any(c.type == "Ready" and c.status == "True" for c in after.conditions)
    if ready and not step.cluster.deleting:
        assert after.stable is not None
        assert after.stable.version == wanted(spec, after), "ready although another version is wanted"
    if after.instead is not None:
        assert after.instead.ref == spec.version_ref.name, "held against a spec that names another version"
        assert after.instead.version != spec.version_ref.name
    if after.instead == before.instead or step.asked("Release") or step.asked("Rollback"):
        return
    assert after.instead is None, "asked for by nobody"
    assert before.instead is not None
    assert before.instead.ref != spec.version_ref.name, "forgotten while the spec names the same version"


def agents_are_granted(step: Step) -> None:
    """What an agent asks for is done only under a grant, and undoes no person's pause or limit."""
    before, after, now = step.before, step.after, step.cluster.now
    known = {entry.uid for entry in before.handled_requests}
    asked = {request.uid: request for request in step.obs.requests}
    done = [e for e in after.handled_requests if e.uid not in known and e.phase == "Succeeded"]
    for entry in done:
        request = asked[entry.uid]
        if request.spec.permit is None:
            assert entry.authority is None
            continue
        permit = request.permit
        assert permit is not None, "done without a grant"
        assert permit.state == "Granted", "done without a grant"
        assert permit.until is None or now < permit.until, "done after its grant"
        assert (entry.authority or "").startswith(f"permit {request.spec.permit}")
    people = {e.action for e in done if asked[e.uid].spec.permit is None}
    pause = before.pause
    if pause is not None and pause.authority is None and (after.pause is None or after.pause.authority is not None):
        over = now >= (pause.until or inf)
        ended = people & {"Resume", "Promote", "Pause", "Abort", "Rollback"}
        assert over or ended, "an agent ended a person's pause"
    limit = peoples(before)
    goes_on = after.release == before.release and after.candidate is not None and after.ending is None
    if limit is not None and goes_on and not people & {"ShiftTraffic", "Promote"}:
        assert peoples(after) == limit, "an agent changed a person's limit"


def peoples(status: RolloutStatus) -> int | None:
    """Percent that a person limits the candidate to."""
    of_people = [c for c in (status.ceiling, status.kept_ceiling) if c is not None and c.authority is None]
    return of_people[0].weight if of_people else None


STEERED = (limits_are_kept, limits_end_no_release, what_is_asked_for_is_released, agents_are_granted)
