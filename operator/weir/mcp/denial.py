"""Why the API server, or what stands before it, refused something: parsed into what programs can act upon."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pydantic import ValidationError

from weir.agent.headroom import Headroom
from weir.api.actionrequest import ActionRequestSpec
from weir.cli.failure import CliError
from weir.mcp.results import Denial, quoted
from weir.runtime import errors
from weir.view.words import sentence

_BY_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '(?P<policy>[^']*)' with binding '[^']*' denied (?:the )?request: (?P<why>.*)",
    re.DOTALL,
)
_BY_WEBHOOK = re.compile(r'admission webhook "(?P<policy>[^"]*)" denied the request: (?P<why>.*)', re.DOTALL)
_RULE = re.compile(r"(?P<rule>[A-Z][A-Za-z]{2,62}): ")
_FIELD = re.compile(
    rf"\b(?:metadata\.name|spec\.(?:{'|'.join(f.alias or n for n, f in ActionRequestSpec.model_fields.items())})\b"
    r"(?:\.[A-Za-z][A-Za-z0-9]*)*)"
)
"""A field of the request that a sentence names; other objects have other fields."""
_CAUSE = re.compile(r"(?P<field>(?:spec|metadata|status)\b[^:\s]*): (?P<why>.*)", re.DOTALL)
_TIMED = frozenset({"Blocked", "Cooldown", "Damped", "Repeated"})
"""Rules that refuse something until a time that the policy's status names."""
_LIFTED_BY_PEOPLE = frozenset(
    {
        "ClusterPaused",
        "ManualOnly",
        "NamespacePaused",
        "NoPermit",
        "NoSubject",
        "OuterAction",
        "Paused",
        "PolicyDeleted",
        "PolicyMissing",
        "RolloutNotPermitted",
        "SubjectNotPermitted",
    }
)
"""Rules that refuse whatever is corrected."""
_NO_POLICY = "no params found"
"""So the API server says where an AgentPolicy, or a ClusterAgentPolicy that is required, is not there."""
_MOST = 8
_LONGEST = 200
"""Characters of a field's name: a caller may make up any."""

_PEOPLE = "Only people can change that; do not repeat it."
_KINDS: tuple[tuple[type[errors.ApiError], str, str], ...] = (
    (errors.NamespaceEnding, "NamespaceEnding", f"The namespace is being deleted. {_PEOPLE}"),
    (errors.NotFound, "NotFound", "Look what is there: list_rollouts, get_headroom."),
    (errors.Throttled, "Throttled", "The API server is busy. Wait, then ask again."),
    (errors.Unauthorized, "Unauthorized", "The credentials are not accepted. Tell people; do not repeat it."),
    (errors.AlreadyExists, "NameTaken", "Somebody was faster. Ask again."),
    (errors.Unavailable, "Unavailable", "The API server did not answer. Wait, then look before you ask again."),
)
_FULL = "A ResourceQuota of the namespace is used up; requests that have ended count until they are deleted."
_CORRECT = "Correct it and simulate it again. Do not repeat it unchanged."


@dataclass(frozen=True)
class Room:
    """What is left under the permit that was refused: says when to ask again. ``now``: seconds since the epoch."""

    row: Headroom
    rollout: str
    now: float


class Denied(Exception):
    """A tool cannot do what it was asked for."""

    def __init__(self, *denials: Denial) -> None:
        super().__init__("; ".join(denial.rule for denial in denials))
        self.denials = denials


def denials_of(error: errors.ApiError, room: Room | None = None) -> tuple[Denial, ...]:
    """What refused a request, each reason once; with ``room`` also what is left and when to come back."""
    told = [_of_text(cause, error) for cause in error.causes if _BY_POLICY.search(cause)]
    if not told and isinstance(error, errors.Invalid) and error.causes:
        told = [_of_cause(cause) for cause in error.causes]
    found = {(denial.rule, denial.field, str(denial.untrusted)): denial for denial in told or [_of(error)]}
    return tuple(placed(denial, room) for denial in list(found.values())[:_MOST])


def denials_of_arguments(error: ValidationError) -> tuple[Denial, ...]:
    """Arguments of a tool that are missing, unknown or out of bounds, each with its place."""
    return tuple(
        Denial(
            rule="Schema",
            field=".".join(map(str, found["loc"]))[:_LONGEST],
            advice=_CORRECT,
            untrusted=quoted(message=found["msg"]),
        )
        for found in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST]
    )


def denial_of_reading(error: CliError) -> Denial:
    """Something that was asked for is not there, or cannot be read."""
    return Denial(rule="NotFound", advice="Look what is there.", untrusted=quoted(message=str(error)))


def placed(denial: Denial, room: Room | None) -> Denial:
    """The denial with what is left of the permit, when to ask again, and what to do."""
    if room is None:
        return denial
    row, retry, advice = room.row, denial.retry_after, denial.advice
    blocked = [entry.until for entry in row.blocked if entry.rollout == room.rollout]
    if row.closed:
        advice = f"{sentence(row.closed)} {_PEOPLE}"
    elif denial.rule == "BudgetSlot" and row.left == 0 and row.resets_at is not None:
        retry = seconds_until(row.resets_at, room.now)
        advice = "The budget of this window is used up. Ask again after retryAfter seconds, if it is still needed."
    elif denial.rule in _TIMED and blocked:
        retry = seconds_until(max(blocked), room.now)
        advice = "This is refused for a time. Ask again after retryAfter seconds, if it is still needed."
    return denial.model_copy(update={"retry_after": retry, "remaining": row.left, "advice": advice})


def budget_used_up(room: Room) -> Denial:
    """No slot of the window is free: the API server need not be asked."""
    return placed(Denial(rule="BudgetSlot", field="metadata.name"), room)


def forbidden_outside(room: Room) -> Denial:
    """The outer bounds leave nothing of the permit."""
    return placed(Denial(rule="OuterAction", field="spec.permit", advice=_PEOPLE), room)


def seconds_until(at: float, now: float) -> int:
    """Whole seconds until a time, at least 1: who comes back then is not early."""
    return max(1, math.ceil(at - now))


def _of(error: errors.ApiError) -> Denial:
    for kind, rule, advice in _KINDS:
        if isinstance(error, kind):
            after = math.ceil(error.retry_after) if error.retry_after is not None else None
            if kind in (errors.Throttled, errors.Unavailable):
                after = after or 5
            return Denial(rule=rule, retry_after=after, advice=advice, untrusted=quoted(message=error.message))
    return _of_text(error.message, error)


def _of_text(text: str, error: errors.ApiError) -> Denial:
    found = _BY_POLICY.search(text) or _BY_WEBHOOK.search(text)
    if found is not None:
        named = _RULE.match(found["why"])
        field = _FIELD.search(found["why"])
        rule = named["rule"] if named else "PolicyMissing" if _NO_POLICY in found["why"] else "Admission"
        return Denial(
            rule=rule,
            policy=found["policy"],
            field=field.group() if field else "",
            advice=_PEOPLE if rule in _LIFTED_BY_PEOPLE else _CORRECT,
            untrusted=quoted(message=found["why"][named.end() :] if named else found["why"]),
        )
    if isinstance(error, errors.Forbidden):
        quota = "exceeded quota" in text
        return Denial(
            rule="Quota" if quota else "Rbac",
            advice=f"{_FULL if quota else 'The credentials lack this right.'} Tell people; do not repeat it.",
            untrusted=quoted(message=text),
        )
    return Denial(
        rule="Schema" if isinstance(error, errors.Invalid) else error.reason or "Error",
        advice=_CORRECT,
        untrusted=quoted(message=text),
    )


def _of_cause(cause: str) -> Denial:
    found = _CAUSE.fullmatch(cause)
    field, why = (found["field"], found["why"]) if found is not None else ("", cause)
    return Denial(rule="Schema", field=field, advice=_CORRECT, untrusted=quoted(message=why))
