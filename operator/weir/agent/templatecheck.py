"""What is wrong with the templates of an AgentPolicy, whatever will be filled in, and with its rules' conditions.

A template may make or change nothing that gives rights, identities or credentials, decides what is admitted, or shifts
traffic, nor carry labels of Weir's: an agent could go around its permits with it. Who may write an AgentPolicy can
still run what Weir may create.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.agent import cel
from weir.agent.places import parameter_of, place_problem, places
from weir.api import GROUP
from weir.api.agentpermit import ParameterBounds, Permit
from weir.api.agentpolicy import AgentPolicySpec, Template, TemplateResult

FORBIDDEN_GROUPS: Mapping[str, str] = {
    GROUP: "Weir makes its own objects",
    "rbac.authorization.k8s.io": "rights are given by people",
    "authorization.k8s.io": "rights are given by people",
    "authentication.k8s.io": "identities are given by people",
    "certificates.k8s.io": "identities are given by people",
    "admissionregistration.k8s.io": "it decides what is admitted",
    "apiextensions.k8s.io": "it changes the API",
    "apiregistration.k8s.io": "it changes the API",
    "coordination.k8s.io": "a Lease is a sign of life, or leadership",
    "gateway.networking.k8s.io": "traffic is shifted by the Rollout alone",
    "networking.k8s.io": "traffic is shifted by the Rollout alone",
    "discovery.k8s.io": "traffic is shifted by the Rollout alone",
}
"""API groups of which a template may make or change nothing, and why."""

FORBIDDEN_KINDS: Mapping[str, str] = {
    "Secret": "credentials are given by people",
    "ServiceAccount": "identities are given by people",
    "Namespace": "a template stays in its namespace",
    "Node": "a template stays in its namespace",
    "PersistentVolume": "a template stays in its namespace",
    "Service": "traffic is shifted by the Rollout alone",
    "Endpoints": "traffic is shifted by the Rollout alone",
    "Pod": "nothing starts it again when its node goes; use a Job",
}
"""Kinds of the core API that a template may not make or change, and why."""

_META = {"Retrain": {"labels", "annotations"}, "Reallocate": {"name"}}
"""What a template may say of metadata; owner, namespace and the rest are Weir's to set, or of what is patched, kept."""

_DECISIVE = frozenset(
    {
        *("image", "command", "source", "templateRef", "workflowTemplateRef"),
        *("serviceAccountName", "serviceAccount", "hostPath", "nodeName", "claimName"),
        *("secret", "secretName", "secretRef", "secretKeyRef", "imagePullSecrets"),
    }
)
"""Fields that decide whose code runs and with whose rights; an agent may choose from a list alone."""

_SCRIPT = re.compile(r"-[a-z]*c")
"""Argument after which a shell, and most languages, take the next one for a program."""

_TOP = {"apiVersion", "kind", "metadata"}
_OWN_KEYS = f"{GROUP}/"
_KEYS = re.compile(r"\.([^.\[\]]+)")
_WHOLE = re.compile(r"-?[0-9]{1,12}")
_BEHAVIOUR = ("artifact", "runtime", "bundle")


def problems(policy: AgentPolicySpec) -> tuple[str, ...]:
    """What is wrong with the templates of a policy and its rules' conditions, each with its place."""
    found: list[str] = []
    for template in policy.templates or ():
        at = f"spec.templates[{template.name}]"
        using = [permit for permit in policy.permits if permit.template == template.name]
        found += [f"{at}{problem}" for problem in _template_problems(template, using)]
    for rule in policy.signal_rules or ():
        for name, condition in (("when", rule.when), ("until", rule.until)):
            wrong = cel.problem(condition, "signals") if condition is not None else ""
            if wrong:
                found.append(f"spec.rules[{rule.name}].{name}: {wrong}")
        permit = next((permit for permit in policy.permits if permit.name == rule.then), None)
        unfit = parameter_problem(permit, rule.parameters) if permit is not None and permit.template is not None else ""
        if unfit:
            found.append(f"spec.rules[{rule.name}].parameters: {unfit}")
    return tuple(found)


def _template_problems(template: Template, using: Sequence[Permit]) -> Iterator[str]:
    """``using``: permits that run the template."""
    given = [bounds for permit in using for bounds in permit.parameters or ()]
    known, free = {bounds.name for bounds in given}, {bounds.name for bounds in given if _is_free(bounds)}
    for name, condition in (("succeeded", template.succeeded), ("failed", template.failed)):
        wrong = cel.problem(condition, "object")
        if wrong:
            yield f".{name}: {wrong}"
    yield from object_problems(template)
    for path, text in _texts(template.object):
        for place in places(text):
            wrong = _misplaced(path, place) or place_problem(place, known)
            if wrong:
                yield f".object{path}: {wrong}"
    for path, name in _decisive_places(template):
        if name in free:
            yield (
                f"{path}: ${{parameters.{name}}} decides whose code runs, or with whose rights: give the "
                f"parameter {name} a list of `values`, or hand it over in an environment variable"
            )
    if template.result is not None:
        yield from _result_problems(template.result, known)


def _is_free(bounds: ParameterBounds) -> bool:
    return bounds.values is None and bounds.minimum is None and bounds.maximum is None


def _misplaced(path: str, place: str) -> str:
    """Why a place cannot stand there, whatever it is filled with."""
    named = place.startswith(("rollout.", "stable.", "candidate."))
    if path in (".apiVersion", ".kind") or (path == ".metadata.name" and not named):
        return f"${{{place}}} cannot stand here: no agent chooses what is made or changed"
    return ""


def _decisive_places(template: Template) -> Iterator[tuple[str, str]]:
    """Parameters that decide whose code runs or serves, or with whose rights; each with the path that it stands at."""
    scripts = tuple(_scripts(template.object))
    made = template.result.model_version if template.result is not None else None
    texts = [
        *((f".object{path}", text) for path, text in _texts(template.object) if _decides(path, scripts)),
        *((f".result.modelVersion[{path}]", text) for path, text in (made or {}).items() if _behaves(path)),
    ]
    for path, text in texts:
        yield from ((path, name) for place in places(text) if (name := parameter_of(place)) is not None)


def _decides(path: str, scripts: tuple[str, ...]) -> bool:
    return bool(_DECISIVE & set(_KEYS.findall(path))) or path.startswith(scripts)


def _behaves(path: str) -> bool:
    return path.partition(".")[0] in _BEHAVIOUR


def _scripts(value: Any, path: str = "") -> Iterator[str]:
    """Paths of arguments of which one is a program."""
    if isinstance(value, Mapping):
        given = [entry for field in ("command", "args") if isinstance(value.get(field), list) for entry in value[field]]
        if any(isinstance(entry, str) and _SCRIPT.fullmatch(entry) for entry in given):
            yield f"{path}.args["
        for key, entry in value.items():
            yield from _scripts(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _scripts(entry, f"{path}[{index}]")


def object_problems(template: Template) -> Iterator[str]:
    """What the object may not be, whatever is filled in."""
    made = template.object
    version, kind, meta = made.get("apiVersion"), made.get("kind"), made.get("metadata") or {}
    if not isinstance(version, str) or not version or not isinstance(kind, str) or not kind:
        yield ".object: needs `apiVersion` and `kind`"
        return
    group = version.rpartition("/")[0]
    why = FORBIDDEN_KINDS.get(kind) if not group else FORBIDDEN_GROUPS.get(group)
    if why is not None:
        yield f".object: no template may make or change a {kind} of {version}: {why}"
    if not isinstance(meta, Mapping):
        yield ".object.metadata: must be an object"
        return
    allowed = _META[template.action]
    for field in sorted(set(meta) - allowed):
        yield f".object.metadata.{field}: cannot be set; allowed here: {', '.join(sorted(allowed))}"
    for path, key in _keys(made):
        if key.startswith(_OWN_KEYS):
            # Anywhere: labels of a pod template put the pods behind the Service of a version.
            yield f".object{path}: {key} is Weir's to set"
    if "status" in made:
        yield ".object.status: is for whoever runs the object"
    if template.action == "Reallocate" and not (isinstance(meta.get("name"), str) and meta.get("name")):
        yield ".object.metadata.name: a Reallocate names what it patches"
    if not set(made) - _TOP:
        yield ".object: says nothing beside apiVersion, kind and metadata"


def _result_problems(result: TemplateResult, known: set[str]) -> Iterator[str]:
    fields = result.model_version or {}
    if not any(_behaves(path) for path in fields):
        yield ".result.modelVersion: must set something of artifact, runtime or bundle; else nothing is new"
    for path, text in fields.items():
        if path.split(".")[0] in ("version", "model", "support"):
            yield f".result.modelVersion[{path}]: is Weir's to set"
        for place in places(text):
            wrong = place_problem(place, known, finished=True)
            if wrong:
                yield f".result.modelVersion[{path}]: {wrong}"


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of an object with its path."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _texts(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _texts(entry, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


def _keys(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of an object with the path of what it stands in."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield path, str(key)
            yield from _keys(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _keys(entry, f"{path}[{index}]")


def parameter_problem(permit: Permit, given: Mapping[str, str] | None) -> str:
    """What is wrong with the parameters of a request under the permit, in a sentence; empty where nothing is."""
    asked, allowed = dict(given or {}), {bounds.name: bounds for bounds in permit.parameters or ()}
    unknown = sorted(set(asked) - set(allowed))
    if unknown:
        names = ", ".join(sorted(allowed)) or "none"
        return f"the permit {permit.name} has no parameter {unknown[0]}; it has {names}"
    return next((wrong for name, bounds in allowed.items() if (wrong := _misfit(bounds, asked.get(name)))), "")


def decisive_problem(permit: Permit, template: Template, given: Mapping[str, str] | None) -> str:
    """What is wrong with the parameters that decide whose code runs, in a sentence; empty where nothing is."""
    decided = {name for _, name in _decisive_places(template)}
    misfits = (_misfit(b, (given or {}).get(b.name)) for b in permit.parameters or () if b.name in decided)
    return next((wrong for wrong in misfits if wrong), "")


def _misfit(bounds: ParameterBounds, given: str | None) -> str:
    value, name, low, high = bounds.default if given is None else given, bounds.name, bounds.minimum, bounds.maximum
    if value is None:
        return f"the parameter {name} is missing"
    if bounds.values is not None and value not in bounds.values:
        return f"the parameter {name} is {value!r}; allowed are {', '.join(bounds.values)}"
    if low is None and high is None:
        return ""
    if _WHOLE.fullmatch(value) is None:
        return f"the parameter {name} is {value!r}; it must be a whole number"
    if low is not None and int(value) < low:
        return f"the parameter {name} is {value}; at least {low} is allowed"
    if high is not None and int(value) > high:
        return f"the parameter {name} is {value}; at most {high} is allowed"
    return ""
