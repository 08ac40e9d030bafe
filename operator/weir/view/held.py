"""Why a release is held."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from weir.view import moves
from weir.view.causes import CAUSES, POD_STEPS, steps, wanted
from weir.view.commands import edit, kubectl
from weir.view.contracting import REASONS, contract_held
from weir.view.evidence import missing, new_name, old_name, overdue, prospect
from weir.view.explanation import Explanation, Move
from weir.view.model import RolloutInfo
from weir.view.standing import evidence, first_up, forecast, open_gates, place, time_limit
from weir.view.words import acting, ago, duration, sentence


def held(info: RolloutInfo) -> Explanation:
    """The explanation of a release that is held."""
    reason = info.hold.reason if info.hold is not None else ""
    return _BY_REASON.get(reason, _held)(info)


def _held(info: RolloutInfo) -> Explanation:
    """A hold for a reason that the catalogue knows, or not."""
    hold, new = info.hold, new_name(info)
    assert hold is not None
    cause = CAUSES.get(hold.reason)
    since = f" for {duration(info.now - hold.since)}" if hold.since is not None else ""
    because = f": {cause.means}" if cause is not None else f" ({hold.reason})"
    return Explanation(
        headline=f"The release of {new} has been held{since}{because}. {first_up(place(info))}.",
        waiting_for=wanted(hold),
        evidence=evidence(info),
        moves=(
            moves.by_itself("When the cause is gone, it goes on by itself."),
            *steps(info, cause.steps if cause is not None else ()),
            *((moves.promote(info),) if info.weight and hold.reason in _MAY_PROMOTE else ()),
            moves.abort(info),
        ),
        takes=time_limit(info) or "It does not move until the cause is gone; there is no deadline.",
    )


_MAY_PROMOTE = ("StableUnhealthy", "SampleRatioMismatch", "ErrorBudgetSpent", "BudgetUnknown")


_UNCONVINCING = "what was measured so far does not show that it is good enough, nor that it is worse"


def _gate_hold(info: RolloutInfo) -> Explanation:
    """maxWait is over without a Pass."""
    hold, new = info.hold, new_name(info)
    assert hold is not None
    gates = open_gates(info)
    since = f" for {duration(info.now - hold.since)}" if hold.since is not None else ""
    passing = "the gate says" if len(gates) == 1 else "all gates say"
    bad_so_far = bool(gates) and all(g.e_pass is not None and g.e_pass <= 1 for g in gates)
    why = {
        "GateError": "the numbers that it is judged by cannot be read",
        "GateNoData": "no requests were seen to judge it by",
    }.get(hold.reason, _UNCONVINCING if bad_so_far else "too few requests came in to prove that it is good enough")
    estimates = [text for gate in gates if (text := prospect(info, gate))]
    return Explanation(
        headline=f"The release of {new} has been held{since}: {why}. {first_up(place(info))}.",
        waiting_for=tuple(sentence(missing(info, gate)) for gate in gates) or (sentence(hold.message),),
        evidence=(*(text for gate in gates if (text := overdue(info, gate))), *evidence(info)),
        moves=(
            moves.by_itself(f"Measuring goes on. When {passing} Pass, it goes on to {moves.following(info)}."),
            *_gate_steps(info, hold.reason),
            moves.skip(info),
            moves.promote(info),
            moves.abort(info),
        ),
        takes="\n".join([*estimates, *forecast(info)])
        or f"It does not move until {_again(hold.reason)}, or somebody decides; there is no deadline.",
    )


def _again(reason: str) -> str:
    return {"GateError": "the numbers can be read again", "GateNoData": "requests are seen"}.get(reason, "gates pass")


def _gate_steps(info: RolloutInfo, reason: str) -> tuple[Move, ...]:
    if reason == "GateError":
        return _unreadable(info)
    if reason == "GateNoData":
        return (
            Move(
                "Do requests arrive at all? Send some through the gateway, and see what the route says.",
                kubectl(info, "describe httproutes"),
            ),
            Move("Do the pods count them? Their metrics page must have the metrics of spec.metrics.names.", edit(info)),
        )
    return (*moves.more_time(info, open_gates(info)), moves.more_requests(info), moves.gate_changes(info))


_QUERY = 100
"""Letters of a query that are shown."""

_PROMETHEUS_AWAY = re.compile(r"Prometheus \S+ cannot be reached")


def _unreadable(info: RolloutInfo) -> tuple[Move, ...]:
    """What to do where a gate cannot read its numbers."""
    gates = tuple(g for g in open_gates(info) if g.verdict == "Error") or open_gates(info)
    if any(_PROMETHEUS_AWAY.search(g.message) for g in gates):
        return (
            moves.change(
                info,
                "Correct spec.metrics.prometheus.address. Or take spec.metrics.prometheus out, and use gates of the "
                "templates http-errors and http-latency: those read the pods.",
            ),
        )
    queries = [f"What is read: {_cut(g.query)}" for g in gates if g.query]
    told = " ".join(["Make the numbers readable: look at spec.metrics and the gate's queries.", *queries])
    of_pods = not queries and not any("Prometheus" in g.message for g in gates)
    return (moves.change(info, told), *(steps(info, POD_STEPS[:1]) if of_pods else ()))


def _cut(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= _QUERY else f"{text[: _QUERY - 1]}…"


def _stable_sick(info: RolloutInfo) -> Explanation:
    found = _held(info)
    old, stable = old_name(info), info.stable
    pods = steps(
        info,
        (
            (
                f"See what is wrong with {old}'s pods.",
                "kubectl describe pods{ns} -l weir.dev/pool=" + (stable.pool if stable else ""),
            ),
        ),
    )
    return replace(found, moves=(found.moves[0], *pods, *found.moves[1:]))


def _wrong_shares(info: RolloutInfo) -> Explanation:
    found = _held(info)
    doubt = "As long as the shares are wrong, the numbers of the gates may not be what they are taken for."
    return replace(found, evidence=(doubt, *found.evidence))


def _limited(info: RolloutInfo) -> Explanation:
    """Somebody limits the traffic, and the plan needs more."""
    found, limit, new = _held(info), info.limit, new_name(info)
    if limit is None:
        return found
    at = f" {ago(limit.since, info.now)}" if limit.since is not None else ""
    why = f' ("{limit.reason}")' if limit.reason else ""
    who = f"{limit.by or 'somebody'}{acting(limit.authority)}"
    return replace(
        found,
        headline=f"{new} may have no more than {limit.weight} % of the requests: {who} limited it{at}{why}. "
        f"{first_up(place(info))}.",
        moves=(
            moves.by_itself(f"Gates go on measuring: if {new} is proven bad, it is put back even now."),
            moves.lift(info),
            *((moves.promote(info),) if info.weight else ()),
            moves.abort(info),
        ),
        takes="It does not move until somebody lifts the limit. Meanwhile nothing is too late.",
    )


_BY_REASON: dict[str, Callable[[RolloutInfo], Explanation]] = {
    "GateInsufficient": _gate_hold,
    "GateNoData": _gate_hold,
    "GateError": _gate_hold,
    "CeilingSet": _limited,
    "StableUnhealthy": _stable_sick,
    "SampleRatioMismatch": _wrong_shares,
    **dict.fromkeys(REASONS, contract_held),
}
