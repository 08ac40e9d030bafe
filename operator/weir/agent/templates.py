"""Templates of Retrain and Reallocate: filled in, followed to their end, and what comes of them.

A text of a template may hold places ``${...}``; a text that is nothing but one place becomes a number, true or false
where the value is one. Places are:

==================================== ===================================================================================
``${parameters.NAME}``               parameter of the request, or its default
``${request.name}``                  name of the ActionRequest
``${rollout.name}``                  name of the Rollout
``${stable.version}``                ModelVersion that serves; also ``${stable.label}`` and ``${stable.digest}``
``${candidate.version}``             ModelVersion that is being rolled out; also label and digest
``${object.status.PATH}``            something of the finished object, in ``result.modelVersion`` alone; a step with
                                     dots is written ``['…']``, as in ``${object.metadata.annotations['a.b/c']}``
==================================== ===================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from weir.agent import cel
from weir.agent.decision import Make
from weir.agent.observation import AgentObservation, AgentRequest, RolloutFacts
from weir.agent.places import TemplateError, filled, text_of
from weir.agent.templatecheck import decisive_problem, object_problems, parameter_problem, problems
from weir.api import API_VERSION
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import PERMIT_LABEL, Template, TemplateResult
from weir.api.agentstatus import Grant
from weir.api.base import format_time, seconds
from weir.api.modelversion import ModelVersionSpec
from weir.api.rolloutstatus import VersionStatus

__all__ = [
    "MADE_BY",
    "MADE_FOR",
    "Outcome",
    "TemplateError",
    "identity",
    "make",
    "new_version",
    "outcome",
    "parameter_problem",
    "problems",
]

MADE_BY = "weir.dev/made-by"
"""Label of a ModelVersion that a Retrain made: name of the ActionRequest."""

MADE_FOR = "weir.dev/made-for"
"""Label of a ModelVersion that a Retrain made: name of the Rollout."""

MOST_LABEL = 63
"""Characters that a label may have, and so the name of a request that runs a template."""

_KEPT = ("model", "runtime", "artifact", "bundle", "contracts", "compatibleWith")
"""What a new version takes from its base; results and origins of the old weights are not those of the new ones."""


@dataclass(frozen=True)
class Outcome:
    """Where a template that runs stands; ``wake_at``: when its time is over."""

    phase: Literal["Running", "Succeeded", "Failed"]
    message: str
    wake_at: float | None = None


# --- Running ---------------------------------------------------------------------------------------------------------


def make(obs: AgentObservation, grant: Grant, request: AgentRequest) -> Make:
    """The object that a granted Retrain creates, or the patch of a granted Reallocate.

    Raises:
        TemplateError: it cannot be filled in, so the request has failed.
    """
    permit, template = template_of(obs, request)
    wrong = next(object_problems(template), None)
    if wrong is not None:
        raise TemplateError(f"template {template.name}{wrong}")
    unfit = decisive_problem(permit, template, request.spec.parameters)
    if unfit:
        raise TemplateError(f"{unfit}; it decides whose code runs, so that holds in the mode Audit, too")
    _check_names(template, request)
    manifest = filled(template.object, _values(obs, permit, request))
    if template.action == "Retrain":
        meta = manifest.setdefault("metadata", {})
        meta["name"] = request.name
        meta["labels"] = {**(meta.get("labels") or {}), PERMIT_LABEL: grant.permit}
    return Make(request.uid, request.name, "Create" if template.action == "Retrain" else "Patch", manifest)


def _check_names(template: Template, request: AgentRequest) -> None:
    """Raises TemplateError where a name could not be the label of what is made: better now than after hours."""
    rollout = request.spec.rollout_ref.name
    if len(request.name) > MOST_LABEL:
        raise TemplateError(
            f"the name of the request has more than {MOST_LABEL} characters; shorten that of the permit"
        )
    if template.result is not None and len(rollout) > MOST_LABEL:
        told = f"the name of the Rollout {rollout} has more than {MOST_LABEL} characters"
        raise TemplateError(f"{told}, so no version can be labelled with it")


def identity(obs: AgentObservation, request: AgentRequest) -> tuple[str, str, str]:
    """apiVersion, kind and name of what the template of a request makes or patches.

    Unlike ``make`` it needs nothing but what a name may be made of, so it is told for as long as the template is there.

    Raises:
        TemplateError: it cannot be told.
    """
    permit, template = template_of(obs, request)
    made = template.object
    name = request.name
    if template.action == "Reallocate":
        name = text_of(str((made.get("metadata") or {}).get("name", "")), _values(obs, permit, request))
    return str(made.get("apiVersion", "")), str(made.get("kind", "")), name


def template_of(obs: AgentObservation, request: AgentRequest) -> tuple[Permit, Template]:
    """The permit of a request and the template that it runs.

    Raises:
        TemplateError: the policy has no such permit or template any more.
    """
    policy = obs.policy
    permits = {permit.name: permit for permit in policy.permits} if policy is not None else {}
    permit = permits.get(request.spec.permit or "")
    templates = policy.templates if policy is not None else None
    template = next((t for t in templates or () if permit is not None and t.name == permit.template), None)
    if permit is None or template is None or template.action != request.spec.action:
        raise TemplateError(f"the AgentPolicy has no template for {request.spec.action} under {request.spec.permit}")
    return permit, template


def ends_at(template: Template, since: float) -> float:
    """When the time of what was granted at ``since`` is over; both in epoch seconds."""
    return round(since + seconds(template.timeout), 3)


def outcome(template: Template, object: Mapping[str, Any] | None, since: float, now: float) -> Outcome:
    """Where the object of a template stands; None: it is gone. ``since``: when it was granted, in epoch seconds."""
    if object is None:
        return Outcome("Failed", "what the template made is gone")
    what = f"{object.get('kind', 'object')} {(object.get('metadata') or {}).get('name', '')}".strip()
    failed, succeeded = (cel.ask(text, "object", object) for text in (template.failed, template.succeeded))
    if failed.holds:
        return Outcome("Failed", f"{what} has failed")
    if succeeded.holds:
        return Outcome("Succeeded", f"{what} has ended well")
    ends = ends_at(template, since)
    if now >= ends:
        why = failed.problem or succeeded.problem
        told = f" (a condition cannot be told: {why})" if why else ""
        return Outcome("Failed", f"{what} has not ended within {template.timeout}{told}")
    return Outcome("Running", f"{what} runs; it has time until {format_time(ends)}", ends)


# --- What comes of it ------------------------------------------------------------------------------------------------


def new_version(obs: AgentObservation, request: AgentRequest, finished: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The manifest of the ModelVersion that came of a Retrain, named as the request; None where it makes none.

    Raises:
        TemplateError: what the finished object says makes no ModelVersion.
    """
    permit, template = template_of(obs, request)
    if template.result is None:
        return None
    rollout = request.spec.rollout_ref.name
    base_name, base = _base(obs, template.result, rollout)
    values = {**_values(obs, permit, request), "object": finished}
    content = base.to_dict()
    spec: dict[str, Any] = {key: content[key] for key in _KEPT if key in content}
    set_fields = template.result.model_version or {}
    if "artifact.signature" not in set_fields and any(path.startswith("artifact.") for path in set_fields):
        spec.get("artifact", {}).pop("signature", None)
    spec["provenance"] = {"parents": [base_name]}
    for path, text in set_fields.items():
        _put(spec, path, text_of(text, values))
    spec["version"] = request.name
    try:
        made = ModelVersionSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise TemplateError(f"template {template.name} makes no ModelVersion: {where}: {first['msg']}") from None
    labels = {MADE_BY: request.name, MADE_FOR: rollout, PERMIT_LABEL: permit.name}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": request.name, "labels": labels},
        "spec": made.to_dict(),
    }


def _base(obs: AgentObservation, result: TemplateResult, rollout: str) -> tuple[str, ModelVersionSpec]:
    """Name and content of the ModelVersion that the new one is made from."""
    facts = obs.rollouts.get(rollout)
    status = facts.status if facts is not None else None
    version = (status.stable if result.base == "Stable" else status.candidate) if status is not None else None
    if version is None:
        raise TemplateError(f"Rollout {rollout} has no {result.base.lower()} version to make another one from")
    base = obs.versions.get(version.version)
    if base is None:
        raise TemplateError(f"ModelVersion {version.version} is gone, so no other one can be made from it")
    return version.version, base


def _put(spec: dict[str, Any], path: str, value: str) -> None:
    """Sets a field by its path; a step of digits is a place in a list, the one after the last makes a new entry."""
    steps, here = path.split("."), spec
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        index = _index(path, here, step) if isinstance(here, list) else step
        if following is None:
            here[index] = value
        else:
            blank: Any = [] if following.isdigit() else {}
            here = _inner(path, here, index, blank)


def _inner(path: str, here: Any, index: Any, blank: Any) -> Any:
    known = here[index] if isinstance(here, list) else here.setdefault(index, blank)
    if known is None:
        known = here[index] = blank
    if not isinstance(known, dict | list):
        raise TemplateError(f"result.modelVersion[{path}]: there is a text on the way, not an object")
    return known


def _index(path: str, entries: list[Any], step: str) -> int:
    if not step.isdigit() or int(step) > len(entries):
        raise TemplateError(f"result.modelVersion[{path}]: {step} is no place in a list of {len(entries)}")
    if int(step) == len(entries):
        entries.append(None)
    return int(step)


def _values(obs: AgentObservation, permit: Permit, request: AgentRequest) -> dict[str, Any]:
    """What places are filled with."""
    name = request.spec.rollout_ref.name
    facts = obs.rollouts.get(name)
    return {
        # What is out of bounds was refused before, or an Audit let it pass on purpose.
        "parameters": {**_defaults(permit), **(request.spec.parameters or {})},
        "request": {"name": request.name},
        "rollout": {"name": name},
        **{arm: _arm(facts, arm) for arm in ("stable", "candidate")},
    }


def _defaults(permit: Permit) -> dict[str, str]:
    return {bounds.name: bounds.default for bounds in permit.parameters or () if bounds.default is not None}


def _arm(facts: RolloutFacts | None, arm: str) -> dict[str, str]:
    version: VersionStatus | None = getattr(facts.status, arm) if facts is not None else None
    if version is None:
        return {}
    return {"version": version.version, "label": version.label, "digest": version.digest}
