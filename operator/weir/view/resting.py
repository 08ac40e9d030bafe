"""Why a Rollout stands where it stands while no release is running."""

from __future__ import annotations

from dataclasses import replace

from weir.view import moves
from weir.view.causes import CAUSES, POD_STEPS, steps, wanted
from weir.view.commands import kubectl, weir
from weir.view.contracting import against_serving, serving_evidence, serving_moves
from weir.view.explanation import Explanation, Move
from weir.view.model import RolloutInfo
from weir.view.parts import Release
from weir.view.people import Pause
from weir.view.running import why_ended
from weir.view.words import ago, duration, sentence, when


def resting(info: RolloutInfo) -> Explanation:
    """The explanation of a Rollout without a candidate."""
    if info.deleting:
        return Explanation("The Rollout is being deleted.", waiting_for=_message(info))
    if info.spec_problem and (ready := info.condition("Ready")) is not None and ready.reason == "InvalidSpec":
        return _invalid(info, ready.message)
    if info.hold is not None:
        return _held(info)
    if info.phase == "RolledBack":
        return _held_back(info, _failed(info))
    if info.pause is not None and info.phase == "Paused":
        return _paused(info)
    if info.phase == "Promoted":
        return _held_back(info, _serving(info))
    return Explanation(
        headline=f"{_wanted(info)} is to be released. {_serves(info)}",
        waiting_for=_message(info),
        moves=(moves.by_itself("The release begins by itself when nothing is in the way any more."),),
    )


def _held_back(info: RolloutInfo, found: Explanation) -> Explanation:
    """The explanation, with a pause that nothing waits for yet: it holds back what would be released next."""
    if info.pause is None:
        return found
    note = f"{_pauser(info.pause)}, so nothing is released until somebody lets it go on."
    return replace(found, waiting_for=(*found.waiting_for, note), moves=(*found.moves, *moves.resume(info)))


def _pauser(pause: Pause) -> str:
    return f"{pause.by} paused the Rollout" if pause.by else "spec.paused is true"


def _message(info: RolloutInfo) -> tuple[str, ...]:
    return (sentence(info.message),) if info.message else ()


def _wanted(info: RolloutInfo) -> str:
    return info.wanted.shown if info.wanted is not None else "A version"


def _serves(info: RolloutInfo) -> str:
    return (
        f"{info.stable.shown} answers all requests." if info.stable is not None else "No version serves requests yet."
    )


def _invalid(info: RolloutInfo, message: str) -> Explanation:
    return Explanation(
        headline=f"The spec cannot be read, so nothing moves. {_serves(info)}",
        waiting_for=(sentence(message),),
        moves=(moves.change(info, "Correct the field that is named."),),
        takes="It does not move by itself.",
    )


def _held(info: RolloutInfo) -> Explanation:
    """Something is in the way of the next release."""
    hold = info.hold
    assert hold is not None
    cause = CAUSES.get(hold.reason)
    since = (f"That has been so for {duration(info.now - hold.since)}.",) if hold.since is not None else ()
    because = cause.means if cause is not None else hold.reason
    extra: tuple[Move, ...] = ()
    if hold.reason in ("ErrorBudgetSpent", "BudgetUnknown"):
        extra = (
            Move(f"Release {_wanted(info)} all the same, without gates. You take the risk.", weir(info, "promote")),
        )
    return Explanation(
        headline=f"{_wanted(info)} cannot be released yet: {because}. {_serves(info)}",
        waiting_for=wanted(hold),
        evidence=(*since, *_budget(info)),
        moves=(
            moves.by_itself("The release begins when the cause is gone."),
            *steps(info, cause.steps if cause is not None else ()),
            *extra,
        ),
        takes="It does not move until the cause is gone; there is no deadline.",
    )


def _budget(info: RolloutInfo) -> tuple[str, ...]:
    budget = info.budget
    if budget is None or not budget.burn_rates:
        return ()
    rates = ", ".join(f"{rate.replace('=', ': ')}" for rate in budget.burn_rates)
    told = f"Speed at which the budget is used, over several spans of time (1 uses exactly all of it): {rates}."
    window = f"Only the last {budget.window} count: bad requests from before are forgotten." if budget.window else ""
    return (told, window) if window else (told,)


def _last(info: RolloutInfo) -> Release | None:
    return info.history[0] if info.history else None


def _failed(info: RolloutInfo) -> Explanation:
    """The wanted version failed; it is not tried again by itself."""
    wanted, ended = _wanted(info), _ended(info)
    at = f" {ago(ended.finished_at, info.now)}" if ended is not None and ended.finished_at is not None else ""
    who = _who(info, ended)
    by, again = f" by {who}" if who else "", "is not tried again by itself"
    headline = f"{wanted} was rolled back{at}, and {again}."
    if ended is not None and ended.outcome == "Aborted":
        headline = f"{wanted} was stopped{by}{at}, and {again}."
    elif ended is not None and ended.outcome == "Restored":
        headline = (
            f"{ended.candidate.shown} was put back in place of {_replaced(info, ended)}{by}{at}; {wanted} {again}."
        )
    then = _then(info, ended) if ended is not None else info
    return Explanation(
        headline=f"{headline} {_serves(info)}",
        waiting_for=("A decision: nothing happens until somebody names another version, or asks for this one again.",),
        evidence=why_ended(then, ended.reason, ended.message) if ended is not None else _message(info),
        moves=(
            Move("See what happened, step by step.", weir(info, "history")),
            moves.release(info),
            moves.retry(info, wanted, proven=ended is not None and ended.reason == "GateFailed"),
            *moves.content(info),
        ),
    )


def _replaced(info: RolloutInfo, restored: Release) -> str:
    """The version that served before a Rollback; not always the wanted one, which may have failed before that."""
    found = (r for r in info.failed if r.reason == "RollbackRequested" and r.release == restored.release)
    name = next((r.candidate.name for r in found), "")
    if not name or (info.wanted is not None and name == info.wanted.name):
        return _wanted(info)
    return next((r.candidate.shown for r in info.history if r.candidate.name == name), name)


def _ended(info: RolloutInfo) -> Release | None:
    """The release after which the wanted version is not tried any more."""
    last = _last(info)
    if last is None or info.wanted is None or last.outcome == "Restored" or last.candidate.name == info.wanted.name:
        return last
    name = info.wanted.name
    return next(
        (r for r in (*info.history, *info.failed) if r.candidate.name == name and r.outcome != "Promoted"), last
    )


def _then(info: RolloutInfo, last: Release) -> RolloutInfo:
    """As it was while that release ran, so that its gates are told of with its names; without them if it is older."""
    newest = info.history[0].release if info.history else last.release
    gates = info.gates if last.release == newest else ()
    return replace(info, candidate=last.candidate, gates=gates)


def _who(info: RolloutInfo, last: Release | None) -> str:
    """Who ended the last release; empty where it was Weir itself."""
    if last is None:
        return ""
    logs = (*info.decisions, *last.decisions)
    reasons = (last.reason, "RollbackRequested") if last.outcome == "Restored" else (last.reason,)
    return next((d.actor for d in logs if d.reason in reasons and d.actor not in ("", "weir")), "")


def _paused(info: RolloutInfo) -> Explanation:
    pause = info.pause
    assert pause is not None
    goes_on = (
        (moves.by_itself(f"The pause ends at {when(pause.until, info.now)}."),)
        if pause.until is not None and not pause.in_spec
        else ()
    )
    return Explanation(
        headline=f"{_wanted(info)} is not being released: {_pauser(pause)}. {_serves(info)}",
        waiting_for=("Somebody to let releases go on.",),
        moves=(*goes_on, *moves.resume(info)),
    )


def _serving(info: RolloutInfo) -> Explanation:
    ready, stable = info.condition("Ready"), info.stable
    name = stable.shown if stable is not None else _wanted(info)
    if ready is not None and ready.status != "True":
        cause = CAUSES.get(ready.reason)
        todo = cause.steps if cause is not None and ready.reason != "StableUnhealthy" else POD_STEPS
        return Explanation(
            headline=f"{name} answers all requests, but not all is well: {cause.means if cause else ready.reason}.",
            waiting_for=(sentence(ready.message),),
            moves=(
                moves.by_itself("Weir says Ready when the cause is gone."),
                *_pods_of_stable(info, todo),
                *_back(info),
            ),
        )
    last = _last(info)
    since = ""
    if last is not None and last.finished_at is not None and stable is not None and last.candidate.name == stable.name:
        since = f" since {when(last.finished_at, info.now)}"
    told = [f"Release {last.release} of {last.candidate.shown}: {last.outcome}."] if last is not None else []
    wrong, headline = against_serving(info), f"All is well: {name} answers all requests{since}."
    if wrong is not None:
        what = "its data is not in order" if wrong.word == "Fail" else "nobody knows whether its data is in order"
        headline = f"{name} answers all requests{since}, but {what}. Nothing is put back for that by itself."
        told = [*serving_evidence(info, wrong), *told]
    return Explanation(
        headline=headline,
        evidence=tuple(told),
        moves=(
            *(serving_moves(info) if wrong is not None else ()),
            *moves.follow(info),
            moves.release(info),
            *_back(info),
        ),
    )


def _back(info: RolloutInfo) -> tuple[Move, ...]:
    """Going back to the version that served last, where one is kept."""
    failed = {f.candidate.name for f in info.failed}
    kept = [v for v in info.retained if v.served_until is not None and v.name not in failed]
    if not kept:
        return ()
    last = max(kept, key=lambda v: v.served_until or 0.0)
    return (Move(f"Go back to {last.shown}, which served before.", weir(info, "rollback")),)


def _pods_of_stable(info: RolloutInfo, todo: tuple[tuple[str, str], ...]) -> tuple[Move, ...]:
    if todo is POD_STEPS and info.stable is not None:
        return (
            Move("See what the pods say.", f"{kubectl(info, 'describe pods')} -l weir.dev/pool={info.stable.pool}"),
        )
    return steps(info, todo)
