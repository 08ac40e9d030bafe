"""Which part of a status must be stored at once, and which may wait.

Counts and texts change with every look; what the machine may not forget (stage, weight, verdict, failures …) changes
rarely. Storing the first kind at leisure keeps the number of writes small and loses at most a few seconds of evidence
in a crash, which delays a verdict and never makes one.
"""

from __future__ import annotations

from typing import Any

from weir.api.rolloutstatus import RolloutStatus

_GATE = ("name", "verdict", "failures", "successes")


def significant(status: RolloutStatus) -> dict[str, Any]:
    """What must be written before anything is done about it."""
    content = status.to_dict()
    content.pop("message", None)
    content["gates"] = [{key: gate.get(key) for key in _GATE} for gate in content.get("gates", [])]
    if content.get("hold"):
        content["hold"] = {"reason": content["hold"]["reason"]}
    content["conditions"] = [
        {key: condition[key] for key in ("type", "status", "reason")} for condition in content.get("conditions", [])
    ]
    return content
