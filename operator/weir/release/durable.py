"""Which part of a status must be stored at once, and which may wait.

Counts and texts change with every look, and the way of a stage from accepted weights to its first Pass takes several
looks; what the machine may not forget (stage, weight, failures …) changes rarely. Storing the first kind at leisure
keeps the number of writes small and loses at most a few seconds of evidence in a crash, which delays a verdict and
never makes one.
"""

from __future__ import annotations

from typing import Any

from weir.api.rolloutstatus import RolloutStatus, Verdict

_PASSING = ("acceptedAt", "evidenceFrom")
"""Fields of a stage that are found again after a crash, only later: gathering evidence then starts anew."""

_PLACE = ("weight", "movedAt")
"""Fields of a ramp that are decided; the others are computed from the evidence at every look."""

_ALARMING = (Verdict.FAIL, Verdict.ERROR)
"""Verdicts that people should hear of at once."""


def significant(status: RolloutStatus) -> dict[str, Any]:
    """What must be written before anything is done about it."""
    content = status.to_dict()
    # The deadline is set with a stage, and lifted when its evidence starts.
    for field in ("message", "verdict", "deadline", "evidence"):
        content.pop(field, None)
    content["gates"] = [
        (gate.name, gate.failures, gate.verdict if gate.verdict in _ALARMING else None) for gate in status.gates
    ]
    if content.get("stage"):
        content["stage"] = {key: value for key, value in content["stage"].items() if key not in _PASSING}
    if content.get("budget"):
        content["budget"] = {"frozen": content["budget"]["frozen"]}
    if content.get("ramp"):
        content["ramp"] = {key: value for key, value in content["ramp"].items() if key in _PLACE}
    if content.get("hold"):
        content["hold"] = {"reason": content["hold"]["reason"]}
    if content.get("contracts"):
        for finding in content["contracts"].get("findings", []):
            finding.pop("message", None)
    content["conditions"] = [
        {key: condition[key] for key in ("type", "status", "reason")} for condition in content.get("conditions", [])
    ]
    return content
