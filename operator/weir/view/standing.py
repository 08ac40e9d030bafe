"""Where a running release stands: pieces that several explanations share."""

from __future__ import annotations

from weir.view.evidence import explained, measured, new_name, old_name
from weir.view.model import RolloutInfo
from weir.view.parts import Gate, Rung
from weir.view.words import number, percent, sentence, things, when


def place(info: RolloutInfo) -> str:
    """Who gets which share of the requests."""
    new, old = new_name(info), old_name(info)
    if info.stable is None:
        return f"{new} gets all requests" if info.weight >= 100 else "nobody serves requests yet"
    if not info.weight and info.stage is not None and info.stage.name == "Preview":
        return f"{new} gets test requests only, on its preview; {old} answers all users"
    if not info.weight:
        return f"{new} gets no requests yet; {old} answers all"
    if info.weight >= 100:
        return f"{new} gets all requests; {old} is still running, in case it has to take over"
    return f"{new} gets {info.weight} % of the requests, {old} the rest"


def first_up(text: str) -> str:
    """The text with a capital letter, where it begins with a common word."""
    return sentence(text).rstrip(".")


def time_limit(info: RolloutInfo) -> str | None:
    """Until when what is waited for must have come; None without a deadline."""
    if info.deadline is None:
        return None
    if info.deadline <= info.now:
        return "The time for it is over; the release is put back at the next look."
    return (
        f"It must be done by {when(info.deadline, info.now)} (spec.progressDeadline); else the release is rolled back."
    )


def current_rung(info: RolloutInfo) -> Rung | None:
    """The stage of the plan that the release is in."""
    return next((rung for rung in info.ladder if rung.state == "Current"), None)


def time_left(info: RolloutInfo, rung: Rung | None) -> float:
    """Seconds that the stage lasts at least."""
    if rung is None or info.stage is None or info.stage.evidence_from is None:
        return 0.0
    return max(0.0, info.stage.evidence_from + rung.min_duration - info.now)


def open_gates(info: RolloutInfo) -> tuple[Gate, ...]:
    """Gates that have not said Pass."""
    return tuple(g for g in info.gates if g.verdict != "Pass")


def evidence(info: RolloutInfo) -> tuple[str, ...]:
    """What gates measured, what is left of a ramp's budget, and what the words mean."""
    told = [text for gate in info.gates for text in measured(info, gate)]
    if info.ramp is not None and info.stage is not None and info.stage.name == "Ramp":
        told += _ramp(info)
    meaning = explained(info)
    return (*told, meaning) if meaning else tuple(told)


def _ramp(info: RolloutInfo) -> list[str]:
    ramp, new = info.ramp, new_name(info)
    assert ramp is not None
    told = []
    if ramp.spent is not None and ramp.budget is not None:
        allowed = f"{things(ramp.budget, 'is', 'are')} allowed in this release (spec.strategy.canary.ramp.riskBudget)"
        told.append(
            f"Risk budget: {new} may have caused up to {number(ramp.spent)} bad requests that {old_name(info)} would "
            f"not have had; {allowed}."
        )
    if ramp.bound is not None and ramp.bound < 1:
        told.append(f"Of {new}'s requests at most {percent(ramp.bound)} are bad, as far as the last minutes tell.")
    return told


def forecast(info: RolloutInfo) -> list[str]:
    """What the condition Feasible says of the whole plan."""
    found = info.condition("Feasible")
    if found is None or found.status == "Unknown" or not found.message:
        return []
    return [f'Weir\'s forecast for the rest of the release: "{found.message}".']
