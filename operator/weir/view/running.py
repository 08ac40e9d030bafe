"""Why a release that is running stands where it stands."""

from __future__ import annotations

import re
from dataclasses import replace

from weir.release.traffic import ENDPOINTS_SETTLE, SETTLE
from weir.view import moves
from weir.view.approving import approving
from weir.view.causes import POD_STEPS, ROUTE_STEPS, pod_hint, steps
from weir.view.commands import weir
from weir.view.evidence import due, measured, missing, new_name, old_name, prospect
from weir.view.explanation import Explanation, Move
from weir.view.held import held
from weir.view.model import RolloutInfo
from weir.view.standing import current_rung, evidence, first_up, forecast, open_gates, place, time_left, time_limit
from weir.view.words import acting, ago, duration, sentence, things, when

_NO_EVIDENCE = "nothing was measured yet: no request has been judged in this step"


def running(info: RolloutInfo) -> Explanation:
    """The explanation of a release under way."""
    if info.ending is not None:
        return _ending(info)
    if info.restoring:
        return _restoring(info)
    if info.pause is not None:
        return _paused(info)
    if info.hold is not None:
        return held(info)
    if info.waiting_approvals:
        return approving(info)
    if info.stage is None or info.stage.index < 0:
        return _starting(info)
    if info.stage.evidence_from is None:
        return _shifting(info)
    return _judging(info)


def _ending(info: RolloutInfo) -> Explanation:
    ending, new, old = info.ending, new_name(info), old_name(info)
    assert ending is not None
    why = {"RolledBack": "it failed", "Aborted": "somebody stopped it", "Drilled": "this is a drill"}.get(
        ending.outcome, ""
    )
    begun = f" {ago(ending.since, info.now)}" if ending.since is not None else ""
    waiting = []
    if info.weight:
        waiting.append(f"{old}'s pods to be able to carry more: {new} still has {info.weight} % of the requests.")
    elif ending.drain_until is not None and ending.drain_until > info.now:
        waiting.append(f"Requests that {new} is still answering, until {when(ending.drain_until, info.now)}.")
    else:
        waiting.append("The gateway to confirm that no requests go there any more.")
    return Explanation(
        headline=f"The release of {new} is being put back{f': {why}' if why else ''}; {old} takes all requests again.",
        waiting_for=tuple(waiting),
        evidence=(f"Decided{begun}{_by(ending.by)}.", *why_ended(info, ending.reason, ending.message)),
        moves=(moves.by_itself(f"Traffic goes back first, then {new}'s pods are removed. Nothing has to be done."),),
        takes=_drain(info),
    )


def why_ended(info: RolloutInfo, reason: str, message: str) -> tuple[str, ...]:
    """Why a release was put back: what the gate that failed had measured, else what was said."""
    failed = [gate for gate in info.gates if gate.verdict == "Fail"]
    if reason == "GateFailed" and failed:
        return tuple(text for gate in failed for text in measured(info, gate))
    if reason == "Aborted":
        return (f'The reason given: "{message}"',)
    return (sentence(message),)


def _drain(info: RolloutInfo) -> str:
    ending = info.ending
    if ending is not None and ending.drain_until is not None:
        return f"Until about {when(ending.drain_until, info.now)}."
    return "Usually some seconds; longer while the old version's pods are missing."


def _by(who: str) -> str:
    return f" by {who}" if who and who != "weir" else ""


def _restoring(info: RolloutInfo) -> Explanation:
    """An earlier version is put back."""
    new, old = new_name(info), old_name(info)
    wish = info.force
    by = f' {wish.by} asked for it ("{wish.reason}").' if wish is not None else ""
    return Explanation(
        headline=f"{new} is being put back in place of {old}.{by} {first_up(place(info))}.",
        waiting_for=_pods_wanted(info),
        moves=(
            moves.by_itself(f"When its pods are ready, {new} takes all requests at once: no gates, no approvals."),
            *steps(info, POD_STEPS[:1]),
            Move(f"Stop: {old} goes on serving.", weir(info, "abort")),
        ),
        takes=time_limit(info),
    )


def _paused(info: RolloutInfo) -> Explanation:
    pause, new = info.pause, new_name(info)
    assert pause is not None
    who = f"{pause.by}{acting(pause.authority)} paused it" if pause.by else "spec.paused is true"
    since = f" {ago(pause.since, info.now)}" if pause.since is not None else ""
    why = f' ("{pause.reason}")' if pause.reason else ""
    waiting = "somebody to let it go on" if pause.until is None or pause.in_spec else "the end of the pause"
    goes_on = []
    if pause.until is not None and not pause.in_spec:
        goes_on.append(moves.by_itself(f"It goes on at {when(pause.until, info.now)}."))
    takes = f"Until {when(pause.until or 0.0, info.now)}. " if goes_on else ""
    return Explanation(
        headline=f"Paused: {who}{since}{why}. {first_up(place(info))}.",
        waiting_for=(sentence(waiting),),
        evidence=evidence(info),
        moves=(
            *goes_on,
            moves.by_itself(f"Gates go on measuring: if {new} is proven bad, it is put back even now."),
            *moves.resume(info),
            moves.abort(info),
        ),
        takes=f"{takes}Paused time does not count for any deadline.",
    )


def _starting(info: RolloutInfo) -> Explanation:
    """No traffic yet: pods start, and answer warm-up requests."""
    new = new_name(info)
    what = f"{new} is the first version" if info.stable is None else f"{new} is to take over from {old_name(info)}"
    wrong, _ = pod_hint(info.message)
    pods = f", but its pods do not get ready: {wrong}" if wrong else "; its pods are starting"
    return _pods(info, f"{what}{pods}. {first_up(place(info))}.")


_READY = re.compile(
    r"(?P<ready>\d+) of (?P<needed>\d+) (?:candidate )?pods(?: of \S+)? ready(?:: (?P<why>.*))?", re.DOTALL
)


def _pods_wanted(info: RolloutInfo) -> tuple[str, ...]:
    """The pods that are missing, and what they say."""
    found = _READY.fullmatch(info.message)
    if found is None:
        return (_starting_up(info),)
    needed, ready = int(found["needed"]), int(found["ready"])
    have = "none is" if not ready else f"{ready} {'is' if ready == 1 else 'are'}"
    told = [f"{things(needed, 'pod')} of {new_name(info)} to be ready; {have}."]
    return (*told, f"They say: {sentence(found['why'])}") if found["why"] else tuple(told)


def _starting_up(info: RolloutInfo) -> str:
    """What has to come before a candidate whose pods are not counted, or all there, gets requests."""
    new, message = new_name(info), info.message
    if message.startswith("letting the gateway learn"):
        return f"The gateway to learn where {new}'s pods are ({duration(ENDPOINTS_SETTLE)} after they are ready)."
    if message.startswith("warming up"):
        _, _, said = message.partition(": ")
        return sentence(f"{new} to answer its warm-up requests" + (f"; last: {said}" if said else ""))
    return sentence(message.removeprefix("waiting for ") or "the pods to be ready")


def _pods(info: RolloutInfo, headline: str) -> Explanation:
    _, advice = pod_hint(info.message)
    step = info.stage is not None and info.stage.index >= 0
    goes_on = "the next share of requests follows" if step else "the first requests follow"
    return Explanation(
        headline=headline,
        waiting_for=_pods_wanted(info),
        evidence=((advice,) if advice else ()) + (evidence(info) if step else ()),
        moves=(
            moves.by_itself(
                f"When the pods are ready and answer, {goes_on}. No request reaches a pod that is not ready."
            ),
            *steps(info, POD_STEPS[:1] if info.weight == 0 and "exits" not in info.message else POD_STEPS),
            moves.abort(info),
        ),
        takes=time_limit(info),
    )


def _shifting(info: RolloutInfo) -> Explanation:
    """The stage's share of traffic is not in place, or its share of requests is not seen yet."""
    stage, new = info.stage, new_name(info)
    assert stage is not None
    goal = f"{new} is to get {stage.weight} % of the requests"
    if info.message.startswith("waiting for the gateway"):
        return Explanation(
            headline=f"{goal}, but the gateway has not taken that share yet.",
            waiting_for=_gateway_says(info),
            evidence=(f"Until then everything stays as it was: {place(_before(info))}.",),
            moves=(
                moves.by_itself("When the gateway accepts the route, it goes on."),
                *steps(info, ROUTE_STEPS),
                moves.abort(info),
            ),
            takes=time_limit(info),
        )
    if "pods ready" in info.message:
        wrong, _ = pod_hint(info.message)
        why = f": {wrong}" if wrong else ""
        return _pods(info, f"{goal}, but the pods for that are not ready{why}. Until then {place(info)}.")
    return Explanation(
        headline=f"{first_up(place(info))}; its requests are not judged yet.",
        waiting_for=(_settling(info.message),),
        evidence=(first_up(_NO_EVIDENCE) + ".",),
        moves=(
            moves.by_itself("When the requests arrive at both versions in the right shares, measuring begins."),
            moves.promote(info),
            moves.abort(info),
        ),
        takes=time_limit(info) or "That depends on how many requests users send; there is no deadline for it.",
    )


def _settling(message: str) -> str:
    """What has to come before requests are judged."""
    if message == "letting the data plane settle":
        return f"The gateway to put the new share into effect everywhere ({duration(SETTLE)} after it accepted it)."
    return sentence(message.removeprefix("waiting for ") or "the first requests at this share")


def _gateway_says(info: RolloutInfo) -> tuple[str, ...]:
    said = info.message.partition(": ")[2]
    told = ("The gateway to accept the HTTPRoute.",)
    return (*told, f"It says: {sentence(said)}") if said else told


def _before(info: RolloutInfo) -> RolloutInfo:
    """As it was before the weight that the gateway has not taken."""
    done = [rung.weight for rung in info.ladder if rung.state == "Done"]
    return replace(info, weight=done[-1] if done else 0)


def _judging(info: RolloutInfo) -> Explanation:
    """The usual case: time passes and gates look."""
    new, rung = new_name(info), current_rung(info)
    left = time_left(info, rung)
    waiting = []
    if left:
        waiting.append(f"The step's own time: {duration(left)} more of {duration(rung.min_duration if rung else 0.0)}.")
    waiting += [sentence(missing(info, gate)) for gate in open_gates(info)]
    goes_on = "it is promoted" if moves.following(info) == "the promotion" else f"it goes on to {moves.following(info)}"
    if info.force is not None:
        return _forced(info)
    if not waiting:
        waiting.append(sentence(info.message or "the next look"))
    ask = "" if not open_gates(info) else " and every gate says Pass"
    what = "is being released" if info.weight < 100 else "is in its last step (bake)"
    return Explanation(
        headline=f"The release goes on: {new} {what}. {first_up(place(info))}.",
        waiting_for=tuple(waiting),
        evidence=evidence(info),
        moves=(
            moves.by_itself(f"When the time is over{ask}, {goes_on}."),
            moves.skip(info),
            moves.promote(info) if info.weight < 100 else moves.pause(info),
            moves.abort(info),
        ),
        takes=_takes(info, left),
    )


def _forced(info: RolloutInfo) -> Explanation:
    wish, new = info.force, new_name(info)
    assert wish is not None
    return Explanation(
        headline=f'{wish.by} asked to give {new} all requests without waiting for gates ("{wish.reason}").',
        waiting_for=(sentence(info.message),),
        evidence=evidence(info),
        moves=(moves.by_itself("It goes on as fast as ready pods can carry the traffic."), moves.abort(info)),
        takes=time_limit(info),
    )


def _takes(info: RolloutInfo, left: float) -> str | None:
    told = []
    if left:
        told.append(f"At least {duration(left)} for this step.")
    told += [text for gate in open_gates(info) for text in (prospect(info, gate), due(info, gate)) if text]
    told += forecast(info)
    return "\n".join(told) or None
