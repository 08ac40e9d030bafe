"""What each action of an ActionRequest does to the state of a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from weir.api.action import Action, Asked, Skip
from weir.api.actionrequest import action_digest
from weir.api.base import format_time, seconds
from weir.api.rolloutstatus import Force, Outcome, Pause, Phase, RetainedVersion, Verdict, VersionStatus
from weir.release import approvals, budget, ceiling, contracts, instead, ramp
from weir.release.observation import Request, Target
from weir.release.pauses import resume
from weir.release.phase import phase
from weir.release.retained import restorable, settling
from weir.release.turn import Cause, Turn

_MAX_ACTOR = 253
_MAX_AUTHORITY = 1024
_PATIENCE, _POLL = 30.0, 2.0
"""Seconds that a Release waits for its ModelVersion to be created, and between two looks for it.

So both can be applied together.
"""

_UNHEALTHY = (Verdict.FAIL, Verdict.ERROR)


class Refused(Exception):
    """The request does not fit the state of the Rollout; the text says why."""


class Waits(Exception):
    """The moment of the request has not come; the text says what it waits for, and does not change meanwhile."""


def cause_of(request: Request) -> Cause:
    """Who asks, by which request (NAME@DIGEST), and what gives an agent the right to."""
    return Cause(request.requester[:_MAX_ACTOR], f"{request.name}@{action_digest(request.spec)}", _authority(request))


def _authority(request: Request) -> str | None:
    spec, consents = request.spec, request.permit.message if request.permit is not None else ""
    if spec.permit is None:
        return None
    told = [f"permit {spec.permit}", f"rule {spec.rule}" if spec.rule else "", consents]
    return "; ".join(part for part in told if part)[:_MAX_AUTHORITY]


def _only_people(request: Request, by: str, what: str) -> None:
    """What a person stopped only a person lets go on."""
    if request.spec.permit is not None:
        raise Refused(f"{by or 'a person'} {what}; only a person can undo that")


def _peoples_pause(turn: Turn, request: Request) -> bool:
    """Whether a person paused the Rollout and an agent asks."""
    pause = turn.status.pause
    return pause is not None and pause.authority is None and request.spec.permit is not None


def _resumable(turn: Turn, request: Request) -> None:
    """Refuses to end a pause that is not the requester's to end."""
    if _peoples_pause(turn, request) and turn.status.pause is not None:
        _only_people(request, turn.status.pause.by, "paused the Rollout")


def _promote(turn: Turn, request: Request) -> str:
    held, cause, limit = budget.held_back(turn), cause_of(request), turn.status.ceiling
    _resumable(turn, request)
    if limit is not None and request.spec.permit is not None:
        raise Refused(f"the candidate is limited to {limit.weight} % of requests; ask for a ShiftTraffic to 100 first")
    if held is not None:
        turn.start(held, cause=cause)
    candidate = turn.status.candidate
    if candidate is None or turn.status.ending is not None:
        raise Refused("there is no candidate to promote")
    if turn.status.restoring:
        raise Refused(f"{candidate.label} is being put back; that waits for nothing but its pods")
    turn.set(force=_force(request), pause=None)
    ceiling.lift(turn, reason="a Promote was asked for", cause=cause)
    turn.note(Phase.SHIFTING, "PromoteRequested", f"gates skipped: {request.spec.reason}", cause=cause, warning=True)
    needed = "; approvals are still needed" if approvals.ceiling(turn) <= 100 else ""
    return f"promoting {candidate.label} as fast as its pods can carry the traffic; gates are skipped{needed}"


def _force(request: Request) -> Force:
    cause = cause_of(request)
    return Force(by=cause.by, reason=request.spec.reason, request=cause.request)


def _abort(turn: Turn, request: Request) -> str:
    candidate = turn.status.candidate
    if candidate is None or turn.status.ending is not None:
        raise Refused("there is no release to abort")
    if not _peoples_pause(turn, request):
        turn.set(pause=None)
    turn.end(Outcome.ABORTED, "Aborted", request.spec.reason, cause=cause_of(request))
    return f"release {turn.status.release} of {candidate.label} is being put back"


def _retry(turn: Turn, request: Request) -> str:
    target, cause = turn.obs.target, cause_of(request)
    if turn.status.candidate is not None:
        raise Refused("a release is running; abort it first")
    if target is None or all(f.revision != target.revision for f in turn.status.failed):
        name = instead.wanted(turn.view.spec, turn.status)
        raise Refused(f"{name}, the version that is wanted, has not failed; there is nothing to retry")
    turn.set(
        failed=[f for f in turn.status.failed if f.revision != target.revision],
        asked=Asked(revision=target.revision, by=cause.by, request=cause.request),
    )
    if budget.held_back(turn) is not None and not turn.paused:
        turn.start(target)
    return f"{target.label} will be released again{' once the pause is over' if turn.paused else ''}"


def _pause(turn: Turn, request: Request) -> str:
    until, cause = turn.after(seconds(request.spec.duration)) if request.spec.duration else None, cause_of(request)
    old, reason, authority = turn.status.pause, request.spec.reason, cause.authority
    _pausable(turn, request)
    made = Pause(since=old.since if old else turn.now, until=until, by=cause.by, reason=reason, authority=authority)
    if old is not None and _peoples_pause(turn, request):
        # A person's pause stays one, so that no agent can end it.
        until = None if old.until is None or until is None else max(old.until, until)
        made = old.model_copy(update={"until": until})
    turn.set(pause=made)
    told = f"paused until {format_time(until)}" if until else "paused until a Resume"
    if turn.status.candidate is not None:
        turn.note(Phase.PAUSED, "Paused", f"{told}: {request.spec.reason}", cause=cause)
    return told


def _pausable(turn: Turn, request: Request) -> None:
    """Refuses a pause that is meant for a release which runs no more; only people hold back what comes next."""
    status, expect = turn.status, request.spec.expect
    if request.spec.permit is None and (expect is None or expect.candidate is None):
        return
    if status.candidate is None:
        raise Refused("no release runs, so there is nothing to pause; only a person can hold back the next one")
    if status.ending is not None or status.restoring:
        raise Refused(f"release {status.release} puts a version back, which nothing pauses")


def _resume(turn: Turn, request: Request) -> str:
    if turn.status.pause is None:
        told = "; spec.paused is true: set it to false" if turn.view.spec.paused else ""
        raise Refused("the Rollout is not paused by a request" + told)
    _resumable(turn, request)
    resume(turn, cause=cause_of(request))
    return "resumed"


def _skip(turn: Turn, request: Request) -> str:
    status, stage, cause = turn.status, turn.stage, cause_of(request)
    if status.candidate is None or status.ending is not None:
        raise Refused("there is no release with a stage to skip")
    if stage is None:
        raise Refused("the warm-up cannot be skipped: pods must be ready before they get requests")
    if not stage.judged:
        raise Refused(f"{stage.name} waits for nothing but pods and the gateway, which cannot be skipped")
    if turn.skipped or status.force is not None:
        raise Refused(f"somebody asked to leave {stage.name} already")
    name = status.stage.name if status.stage is not None else stage.name
    skip = Skip(stage=name, since=turn.now, by=cause.by, reason=request.spec.reason, request=cause.request)
    turn.set(skip=skip)
    turn.note(phase(turn), "SkipRequested", f"{stage.name}: {request.spec.reason}", cause=cause, warning=True)
    then = "; once the pause is over" if turn.paused else ""
    return f"leaving {stage.name} without waiting for its time and its gates{then}"


def _shift(turn: Turn, request: Request) -> str:
    status, weight, cause = turn.status, request.spec.weight, cause_of(request)
    candidate, limit, reason = status.candidate, status.ceiling, request.spec.reason
    if weight is None:
        raise Refused("spec.weight is missing")
    if candidate is None or status.ending is not None:
        raise Refused("there is no release whose traffic could be limited")
    if status.restoring:
        raise Refused(f"{candidate.label} is being put back; that waits for nothing but its pods")
    if status.stable is None:
        raise Refused(f"no other version could take the traffic of {candidate.label}")
    if limit is None and weight == 100:
        raise Refused("nobody has limited the traffic, so there is no limit to lift")
    peoples = ceiling.peoples(turn)
    if peoples is not None and weight > peoples.weight:
        _only_people(request, peoples.by, f"limited the traffic to {peoples.weight} %")
    if limit is not None and weight > limit.weight and request.spec.permit is not None:
        # Less than the candidate has now counts as safe, and waits for nothing; more than it may have is neither.
        unseen = limit.since >= request.created + 1.0  # creation times are whole seconds
        if unseen or weight <= status.weight:
            told = f"{limit.by} has limited the traffic to {limit.weight} % meanwhile"
            raise Refused(f"{told}; look again and create a new request once it is there")
    if 0 < weight < 100 and contracts.forbids_split(turn):
        raise Refused("the DataContracts forbid that the two versions share the traffic; ask for 0 or 100")
    if weight == 100:
        ceiling.lift(turn, reason=reason, cause=cause)
        return f"the limit is lifted; {candidate.label} gets what the plan gives it"
    ceiling.lower(turn, weight, reason=reason, cause=cause)
    coarse = f" (in whole pods that is {turn.most} %)" if turn.most < weight else ""
    return f"{candidate.label} gets at most {weight} % of requests{coarse} until that is lifted or the release ends"


def _release(turn: Turn, request: Request) -> str:
    status, stable = turn.status, turn.status.stable
    if turn.view.deleting:
        raise Refused("the Rollout is being deleted")
    if status.candidate is not None:
        raise Refused(f"release {status.release} of {status.candidate.label} is running; abort it first")
    if stable is None:
        raise Refused("no version serves yet; spec.versionRef names the first one")
    target = _offered(turn, request)
    if target.revision == stable.revision:
        return _content(turn, request, target, stable)
    failed = next((f for f in status.failed if f.revision == target.revision), None)
    if failed is not None:
        way = (
            "ask for a Retry"
            if instead.wanted(turn.view.spec, status) == target.version
            else (f"set spec.versionRef to {target.version} and ask for a Retry")
        )
        raise Refused(f"{target.label} failed in release {failed.release} ({failed.reason}); {way}")
    instead.want(turn, target, cause_of(request))
    then = " once the pause is over" if turn.paused else ""
    return f"{target.label} will be released over {stable.label}{then}, through every stage and gate"


def _offered(turn: Turn, request: Request) -> Target:
    """The version that is asked for, as it would be released."""
    name = request.spec.version or ""
    found = turn.obs.offered.get(name)
    if isinstance(found, Target):
        return found
    patient = turn.now < request.created + _PATIENCE
    if found is None or (found.reason == "ModelVersionNotFound" and patient):
        turn.wake(min(turn.after(_POLL), request.created + _PATIENCE))
        raise Waits(f"waiting for the ModelVersion {name}")
    raise Refused(found.message)


def _content(turn: Turn, request: Request, target: Target, stable: VersionStatus) -> str:
    """A Release of the version that serves: whatever was wanted in its place is wanted no more."""
    if turn.status.instead is None or instead.wanted(turn.view.spec, turn.status) == target.version:
        raise Refused(f"{stable.label} serves already")
    instead.want(turn, target, cause_of(request))
    turn.set(asked=None)
    return f"{stable.label} serves already, and nothing else is wanted in its place any more"


def _approve(turn: Turn, request: Request) -> str:
    asked = request.spec.approval
    refusal = approvals.objection(turn, asked, request.spec.requester)
    if refusal is not None or asked is None:
        raise Refused(refusal or "spec.approval is missing")
    return approvals.consent(turn, asked.name, request.name, cause_of(request))


def _rollback(turn: Turn, request: Request) -> str:
    status, wanted = turn.status, request.spec.version
    if status.candidate is not None:
        return _put_back(turn, request)
    if turn.view.deleting:
        raise Refused("the Rollout is being deleted")
    if status.stable is None:
        raise Refused("no version serves, so there is nothing to roll back")
    version = _earlier(turn, wanted)
    if status.release not in turn.obs.recorded:
        raise Waits(f"waiting for the record of release {status.release}")
    if settling(turn, version):
        raise Waits(f"waiting for the old pods of {version.label} to go before new ones come")
    cause = cause_of(request)
    target = Target(version.version, version.label, version.digest, version.revision, version.pool)
    turn.start(target, cause=cause, restore=_force(request))
    instead.end(turn, version.version)
    turn.note(phase(turn), "RollbackRequested", request.spec.reason, cause=cause, warning=True)
    return f"putting {version.label} back over {status.stable.label} as soon as its pods can carry the traffic"


def _put_back(turn: Turn, request: Request) -> str:
    """A Rollback while a release runs: its candidate goes, and the version that serves goes on serving."""
    status = turn.status
    if status.ending is not None:
        raise Refused(f"release {status.release} is being put back already")
    if status.restoring and status.candidate is not None:
        raise Refused(f"{status.candidate.label} is being put back already; abort that first")
    if request.spec.version is not None:
        raise Refused(f"release {status.release} is running; leave `version` out to put it back, or abort it first")
    told = f"release {status.release} was running, so this is an Abort: {_abort(turn, request)}"
    instead.end(turn, status.stable.version if status.stable is not None else "")
    return told


def _earlier(turn: Turn, name: str | None) -> RetainedVersion:
    """The version to go back to: the one of that name, else the one that served last and has not failed."""
    there = restorable(turn)
    if name is not None:
        found = next((version for version in there if version.version == name), None)
        if found is not None:
            return found
        if turn.status.stable is not None and turn.status.stable.version == name:
            raise Refused(f"{name} serves already")
        names = ", ".join(dict.fromkeys(version.version for version in there)) or "none"
        raise Refused(f"{name} is not kept as a version that has served; those that can be put back: {names}")
    failed = {version.revision for version in turn.status.failed}
    good = [version for version in there if version.revision not in failed]
    if not good:
        raise Refused("no earlier version is kept that has served; set spec.versionRef to the one that should serve")
    return good[0]


def _drill(turn: Turn, request: Request) -> str:
    status, stage, state = turn.status, turn.stage, turn.status.stage
    if turn.view.deleting:
        raise Refused("the Rollout is being deleted")
    candidate = status.candidate
    if candidate is None or status.ending is not None:
        raise Waits("waiting for a release")
    if status.stable is None or (stage is not None and not stage.judged):
        raise Waits("waiting for a release that leaves a version to go back to")
    if stage is None or state is None or not status.weight or status.weight != stage.weight or not state.evidence_from:
        raise Waits("waiting until the candidate carries its share of the traffic")
    if status.force is not None:
        raise Waits("waiting for a release that nobody forces")
    harmful = budget.overspent(turn) is not None or ramp.overspent(turn)
    if status.hold is not None or harmful or any(gate.verdict in _UNHEALTHY for gate in status.gates):
        raise Waits("waiting for a healthy candidate")
    message = f"drill at {status.weight} %: {request.spec.reason}"
    turn.end(Outcome.DRILLED, "Drill", message, cause=cause_of(request))
    return f"release {status.release} of {candidate.label} is being put back on purpose; afterwards it starts again"


VERBS: Mapping[Action, Callable[[Turn, Request], str]] = {
    "Release": _release,
    "Promote": _promote,
    "Abort": _abort,
    "Retry": _retry,
    "Pause": _pause,
    "Resume": _resume,
    "Skip": _skip,
    "ShiftTraffic": _shift,
    "Approve": _approve,
    "Rollback": _rollback,
    "Drill": _drill,
}
"""Each executes the action and says what it did; raises Refused or Waits, and has changed nothing then."""
