"""ModelVersion: a kind that only gets a status from us; and how conditions are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from weir.api.assessment import Assessment
from weir.api.base import Condition, with_conditions
from weir.api.modelversion import ContractInUse, ModelVersionSpec, ModelVersionStatus, version_digest

Stage = Literal["Candidate", "Validated", "Serving", "Deprecated", "Retired"]


def in_use(name: str, rollouts: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Rollouts that still need the ModelVersion: asked for, stable, candidate, or warm for a rollback."""
    users = []
    for rollout in rollouts:
        status = rollout.get("status") or {}
        named = [rollout["spec"]["versionRef"]["name"]]
        named += [status[part]["version"] for part in ("stable", "candidate", "instead") if status.get(part)]
        named += [r["version"] for r in status.get("retained") or []]
        if name in named:
            users.append(rollout["metadata"]["name"])
    return tuple(sorted(users))


def serves(name: str, rollouts: Sequence[dict[str, Any]]) -> bool:
    """Whether some Rollout has the ModelVersion as its stable version."""
    stables = [((r.get("status") or {}).get("stable") or {}).get("version") for r in rollouts]
    return name in stables


def modelversion_status(
    obj: dict[str, Any],
    users: Sequence[str],
    serving: bool,
    now: float,
    *,
    bound: Sequence[ContractInUse] | None = None,
    compatible: Assessment | None = None,
) -> dict[str, Any]:
    """Status of a ModelVersion: its digest, stage in life, and who uses it. ``now``: seconds since the epoch.

    ``bound``: the revisions of contracts that it is bound to, by default those that it had; ``compatible``: whether it
    fits them, None where it names no contract.
    """
    generation = obj["metadata"].get("generation", 1)
    old = ModelVersionStatus.model_validate(obj.get("status") or {})
    try:
        spec = ModelVersionSpec.model_validate(obj["spec"])
    except ValidationError as error:
        made = conditions(
            old.conditions, [Assessment("Ready", "False", "InvalidSpec", first_error(error))], generation, now
        )
        kept = old.contracts if bound is None else bound
        return ModelVersionStatus(observed_generation=generation, contracts=list(kept), conditions=made).to_dict()
    if spec.runtime.service_ref is not None or spec.artifact is not None:
        complete = Assessment("Complete", "True", "Declared", "artifact and runtime are declared")
    else:
        unchecked = "spec.artifact is not declared: weights inside the image are not checked"
        complete = Assessment("Complete", "False", "Undeclared", unchecked)
    stage: Stage = "Serving" if serving else "Candidate"
    support = spec.support
    if support is not None and support.retired_after is not None and support.retired_after <= now:
        stage = "Retired"
    elif support is not None and support.deprecated_after is not None and support.deprecated_after <= now:
        stage = "Deprecated"
    found = [complete] if compatible is None else [complete, compatible]
    ready = Assessment("Ready", "True", stage, f"used by {', '.join(users)}" if users else "not used by any Rollout")
    status = ModelVersionStatus(
        observed_generation=generation,
        digest=version_digest(spec),
        stage=stage,
        served_by=list(users),
        contracts=list(old.contracts if bound is None else bound),
        conditions=conditions(old.conditions, [ready, *found], generation, now),
    )
    return status.to_dict()


def support_changes_in(obj: dict[str, Any], now: float) -> float | None:
    """Seconds until the clock alone changes the stage of a ModelVersion; None when it will not. ``now``: as above."""
    try:
        support = ModelVersionSpec.model_validate(obj["spec"]).support
    except ValidationError:
        return None
    ends = (support.deprecated_after, support.retired_after) if support is not None else ()
    return min((end - now for end in ends if end is not None and end > now), default=None)


def first_error(error: ValidationError) -> str:
    """The first problem of a spec, with the path of its field."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    return f"spec.{path}: {problem['msg']}"


def conditions(old: Sequence[Condition], found: Sequence[Assessment], generation: int, now: float) -> list[Condition]:
    """What was found as conditions, sorted by type; one whose status did not change keeps its time."""
    made = [
        Condition.model_validate(
            {
                "type": kind,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            }
        )
        for kind, status, reason, message in found
    ]
    return list(with_conditions(old, made))
