"""What gates measured and still have to prove, in people's numbers; and how long that should take."""

from __future__ import annotations

from weir.view.model import RolloutInfo
from weir.view.outlook import outlook
from weir.view.parts import Gate, Tally
from weir.view.words import ago, clock, duration, number, percent, rough, sentence, span, things, times, whole


def new_name(info: RolloutInfo) -> str:
    """What to call the version that is being released."""
    return info.candidate.shown if info.candidate is not None and info.candidate.shown else "the new version"


def old_name(info: RolloutInfo) -> str:
    """What to call the version that serves."""
    return info.stable.shown if info.stable is not None and info.stable.shown else "the old version"


def measured(info: RolloutInfo, gate: Gate) -> tuple[str, ...]:
    """What a gate has seen and concluded, one sentence each."""
    if gate.verdict == "Error":
        return (f"Gate {gate.name} could not read its numbers: {sentence(gate.message)}",)
    asks = gate.asks.question
    if asks == "Threshold":
        return _threshold(info, gate)
    if not gate.candidate.total and gate.verdict == "Insufficient":
        return (f"Gate {gate.name} has not seen a window of {duration(gate.asks.interval or 30.0)} in this step yet.",)
    if not gate.candidate.total:
        return (f"Gate {gate.name}: {sentence(gate.message or 'no evidence yet')}",)
    told = [f"Gate {gate.name}: {_counts(info, gate)}"]
    if gate.verdict == "NoData":
        told.append(f"In the last window it saw nothing: {sentence(gate.message)}")
    if asks == "Objective" and gate.asks.objective is not None:
        told.append(f"Promised are at most {percent(1 - gate.asks.objective)}.")
    return (*told, *_proof(info, gate))


def _counts(info: RolloutInfo, gate: Gate) -> str:
    if gate.asks.template == "mean" or not gate.asks.template or (_distribution(gate) and gate.message):
        return sentence(gate.message)
    text = f"{new_name(info)} answered {_tally(gate, gate.candidate)}"
    if gate.comparative and gate.stable.total:
        text += f"; {old_name(info)} answered {_tally(gate, gate.stable)} in the same time"
    return text + "."


def _distribution(gate: Gate) -> bool:
    """Whether it compares whole latency distributions, whose telling edge only the message names."""
    return gate.asks.template == "http-latency" and not gate.asks.over


def bad(gate: Gate) -> str:
    """What bad requests are for this gate."""
    if gate.asks.template == "http-latency":
        return f"slower than {gate.asks.over}" if gate.asks.over else "too slow"
    return "with an error" if gate.asks.template in ("http-errors", "gateway-errors") else "bad"


def _tally(gate: Gate, counts: Tally) -> str:
    if not counts.bad:
        return f"{things(counts.total, 'request')}, none of them {bad(gate)}"
    return (
        f"{things(counts.total, 'request')}, {whole(counts.bad)} of them {bad(gate)} ({percent(counts.share or 0.0)})"
    )


def _proof(info: RolloutInfo, gate: Gate) -> tuple[str, ...]:
    new, told = new_name(info), []
    known = gate.candidate.bad or gate.effect_low or gate.effect_high is not None
    if gate.comparative and gate.effect is not None and gate.asks.template != "mean" and known:
        told.append(_effect(info, gate))
    if gate.verdict == "Pass":
        told.append(f"That is good enough: the gate says Pass{_needs(gate)}.")
    elif gate.verdict != "Fail" and gate.e_pass is not None and gate.e_pass_bar is not None:
        told.append(
            f"Proof that {new} is good enough to go on: {number(gate.e_pass)} of {number(gate.e_pass_bar)} needed."
        )
    if gate.verdict == "Fail" and gate.e_fail is not None and gate.e_fail_bar is not None:
        told.append(
            f"Proof that {new} is worse: {_big(gate.e_fail)}, where {number(gate.e_fail_bar)} was enough: Fail."
        )
    elif gate.verdict == "Fail":
        told.append(f"The gate says Fail: {sentence(gate.message)}")
    elif gate.e_fail is not None and gate.e_fail_bar is not None:
        have, needed = number(gate.e_fail), number(gate.e_fail_bar)
        if gate.e_fail <= 1:
            told.append(f"Nothing shows that {new} is worse.")
        else:
            told.append(f"Proof that {new} is worse: {have}; at {needed} it is rolled back.")
    return tuple(told)


def _effect(info: RolloutInfo, gate: Gate) -> str:
    """The candidate's share relative to stable's, with what is sure of it."""
    if not gate.candidate.bad and gate.effect_high is not None:
        most = times(gate.effect_high)
        return f"{new_name(info)}'s share of them is at most {most} {old_name(info)}'s (95 % sure)."
    text = f"{new_name(info)}'s share of them is about {times(gate.effect or 0.0)} {old_name(info)}'s"
    low, high = gate.effect_low, gate.effect_high
    if low and high is not None:
        text += f" (95 % sure: {number(low)} to {number(high)} times)"
    elif low:
        text += f" (95 % sure: at least {number(low)} times)"
    elif high is not None:
        text += f" (95 % sure: at most {number(high)} times)"
    else:
        text += ", but with so few requests that means little"
    return text + "."


def _big(value: float) -> str:
    """Beyond a thousand nobody needs the number."""
    return number(value) if value < 1000 else "more than 1,000"


def _needs(gate: Gate) -> str:
    if gate.e_pass is None or gate.e_pass_bar is None or gate.e_pass < gate.e_pass_bar:
        return ""
    return f" (proof {_big(gate.e_pass)}, {number(gate.e_pass_bar)} needed)"


def _threshold(info: RolloutInfo, gate: Gate) -> tuple[str, ...]:
    if gate.asks.template == "threshold" or not gate.asks.template or gate.verdict == "Fail":
        return (f"Gate {gate.name}: {sentence(gate.message)}",)
    told = []
    if gate.candidate.total:
        told.append(f"Gate {gate.name}, last full look: {_counts(info, gate)}")
    else:
        told.append(f"Gate {gate.name} has not had a full look yet.")
    if gate.pending.total and gate.asks.min_samples:
        needed = whole(gate.asks.min_samples)
        told.append(f"Since then {whole(gate.pending.total)} of the {needed} requests that one look needs.")
    if gate.failures:
        told.append(
            f"{things(gate.failures, 'look')} failed in this release; {whole(gate.asks.failure_limit)} are tolerated."
        )
    return tuple(told)


def missing(info: RolloutInfo, gate: Gate) -> str:
    """What a gate still has to see before it says Pass."""
    new, old, asks = new_name(info), old_name(info), gate.asks
    if gate.verdict == "Error":
        return f"gate {gate.name}: its numbers must be readable again"
    if gate.verdict == "NoData":
        return f"gate {gate.name}: requests to both versions that it can judge by"
    if asks.question == "Threshold":
        limits = [f"at most {_limit(gate, asks.max)}"] if asks.max is not None else []
        limits += [f"at least {_limit(gate, asks.min)}"] if asks.min is not None else []
        looks = things(asks.consecutive_success - min(gate.successes, asks.consecutive_success), "more look")
        if asks.template == "threshold":
            return f"gate {gate.name}: {looks} within the limit ({' and '.join(limits)})"
        each = f", each of {whole(asks.min_samples)} requests to {new}" if asks.min_samples else ""
        return f"gate {gate.name}: {looks} within the limit ({' and '.join(limits)} {bad(gate)}){each}"
    if asks.question == "Objective" and asks.objective is not None:
        allowed = (1 - asks.objective) * (gate.tolerance or 1.0)
        return f"gate {gate.name}: proof that less than {percent(allowed)} of {new}'s requests are {bad(gate)}"
    if asks.template == "mean":
        return f"gate {gate.name}: proof that {new}'s mean is not worse than {old}'s by more than the tolerance"
    if gate.tolerance is None:
        return f"gate {gate.name} to say Pass"
    limit = f"less than {times(gate.tolerance)} {old}'s"
    if gate.accept is not None:
        limit += f", or less than {percent(gate.accept)}"
    return f"gate {gate.name}: proof that {new}'s share of requests {bad(gate)} is {limit}{_early(gate)}"


def _early(gate: Gate) -> str:
    """That a step before the last one tolerates more than the spec names; empty where it does not."""
    asks, told = gate.asks, []
    if asks.pass_below is not None and gate.tolerance is not None and gate.tolerance > asks.pass_below:
        told.append(times(asks.pass_below))
    if asks.accept_below is not None and gate.accept is not None and gate.accept > asks.accept_below:
        told.append(percent(asks.accept_below))
    return f" (at this share of traffic more is tolerated; at 100 % it is {' or '.join(told)})" if told else ""


def _limit(gate: Gate, value: float) -> str:
    return number(value) if gate.asks.template == "threshold" else percent(value)


def explained(info: RolloutInfo) -> str:
    """What the number called proof is; empty where none is shown."""
    bars = [
        g.e_pass_bar
        for g in info.gates
        if g.verdict in ("Insufficient", "NoData") and g.candidate.total and g.e_pass is not None and g.e_pass_bar
    ]
    if not bars:
        return ""
    return (
        f"The proof is a number (an e-value) that starts at 1 and grows as requests speak for {new_name(info)}. "
        f"That of a version that is too bad stays below {number(bars[0])} in at least {number(bars[0] - 1)} of "
        f"{number(bars[0])} releases."
    )


def prospect(info: RolloutInfo, gate: Gate) -> str:
    """How long the gate should still take, in a sentence; empty where nothing can be said."""
    if gate.asks.question == "Threshold":
        left = _until_looks(gate)
        return f"Gate {gate.name} should have its looks in about {rough(left)}." if left is not None else ""
    new, found = new_name(info), outlook(info, gate)
    if found is None:
        return ""
    rate = f" at {number(gate.rate)} requests a second" if gate.rate else ""
    wait = span(found.median, found.ninety)
    text = f"If {new} is as good as {old_name(info)}, gate {gate.name} should pass in {wait}{rate}"
    text += " (nine of ten good versions do)"
    if gate.e_pass is not None and gate.e_pass <= 1:
        text += "; so far the requests do not show that it is"
    return text + "."


def _until_looks(gate: Gate) -> float | None:
    """Seconds until the looks that are missing, by the rate at which requests come in for the one under way."""
    samples, pending = gate.asks.min_samples, gate.pending.total
    if not samples or gate.window_start is None or gate.window_end is None:
        return None
    seconds = gate.window_end - gate.window_start
    counted = pending or gate.candidate.total
    if seconds <= 0 or not counted:
        return None
    looks = max(1, gate.asks.consecutive_success - gate.successes)
    return max(0.0, (looks * samples - pending) * seconds / counted)


def due(info: RolloutInfo, gate: Gate) -> str:
    """What happens when the gate gives no Pass in time; empty where that is over or not known."""
    if gate.due is None or gate.due <= info.now or gate.verdict == "Pass":
        return ""
    policy = {"Error": gate.asks.on_error, "NoData": gate.asks.on_no_data}.get(gate.verdict, gate.asks.on_insufficient)
    what = "the release is rolled back" if policy == "Rollback" else "the release is held, and people have to decide"
    return (
        f"Without a Pass of gate {gate.name} by {clock(gate.due, info.now)} (in {duration(gate.due - info.now)}; "
        f"maxWait) {what}."
    )


def overdue(info: RolloutInfo, gate: Gate) -> str:
    """That the gate's time is over; empty while it is not."""
    if gate.due is None or gate.due > info.now or gate.verdict == "Pass" or gate.asks.max_wait is None:
        return ""
    return (
        f"Gate {gate.name} had {duration(gate.asks.max_wait)} for this step (maxWait); they were over "
        f"{ago(gate.due, info.now)}."
    )
