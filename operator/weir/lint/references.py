"""What objects say of each other: names that nothing has, names twice, two Rollouts for one endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.base import seconds
from weir.api.modelversion import ModelVersionSpec, version_digest
from weir.api.rollout import RolloutSpec
from weir.api.routematch import canonical_match
from weir.lint.finding import Path
from weir.lint.objects import LintedObject
from weir.lint.structure import Flaw


@dataclass(frozen=True)
class _Reference:
    """A field of a kind that names objects of another; each ``...`` stands for every entry of a list."""

    kind: str
    path: tuple[Any, ...]
    target: str


_REFERENCES = (
    _Reference("Rollout", ("spec", "versionRef", "name"), "ModelVersion"),
    _Reference("ActionRequest", ("spec", "rolloutRef", "name"), "Rollout"),
    _Reference("ActionRequest", ("spec", "version"), "ModelVersion"),
    _Reference("ModelVersion", ("spec", "contracts", "request"), "DataContract"),
    _Reference("ModelVersion", ("spec", "contracts", "response"), "DataContract"),
    _Reference("ModelVersion", ("spec", "contracts", "trainedOn", ...), "DataContract"),
    _Reference("ModelVersion", ("spec", "support", "replacedBy"), "ModelVersion"),
    _Reference("ModelVersion", ("spec", "contracts", "servedFrom", ...), "DataContract"),
    _Reference("ContractCheck", ("spec", "contractRef", "name"), "DataContract"),
    _Reference("AgentPolicy", ("spec", "selector", "names", ...), "Rollout"),
    _Reference("AgentPolicy", ("spec", "permits", ..., "rollouts", ...), "Rollout"),
    _Reference("AgentPolicy", ("spec", "subjects", ..., "rollout"), "Rollout"),
)


def check_references(objects: Sequence[LintedObject]) -> None:
    """Adds what is wrong between the objects."""
    for linted in objects:
        for reference in _REFERENCES:
            if reference.kind == linted.kind.name:
                _missing(linted, reference, objects)
    _each_later(objects, lambda o: (o.kind.name, o.namespace, o.name) if o.at("metadata", "name") else None, _twice)
    _each_later(objects, _version, _same_version)
    _warm_ups(objects)
    _endpoints(objects)


def _missing(linted: LintedObject, reference: _Reference, objects: Sequence[LintedObject]) -> None:
    """Told only where the files hold others of that kind; who gives one file alone has the rest elsewhere."""
    there = [o for o in objects if o.kind.name == reference.target and _together(o, linted)]
    if not there:
        return
    names = {o.name for o in there}
    for path in _places(linted, reference.path):
        name = linted.at(*path)
        if isinstance(name, str):
            name = name.partition("@")[0]  # a contract may be pinned to a revision: NAME@DIGEST
        if isinstance(name, str) and name not in names:
            hint = f"there are {', '.join(sorted(names)[:5])}; fine if it is in the cluster already"
            linted.warn("unknown-reference", path, f"no {reference.target} {name} in these files", hint)


def _places(linted: LintedObject, path: tuple[Any, ...]) -> Iterator[Path]:
    if ... not in path:
        yield path
        return
    at = path.index(...)
    entries = linted.at(*path[:at])
    for index in range(len(entries) if isinstance(entries, list) else 0):
        yield from _places(linted, (*path[:at], index, *path[at + 1 :]))


def _together(left: LintedObject, right: LintedObject) -> bool:
    """Whether the two may be in one namespace; a file may leave that to whoever applies it."""
    return not left.namespace or not right.namespace or left.namespace == right.namespace


Teller = Callable[[LintedObject, LintedObject], None]


def _each_later(objects: Iterable[LintedObject], key: Callable[[LintedObject], Any], tell: Teller) -> None:
    first: dict[Any, LintedObject] = {}
    for linted in objects:
        found = key(linted)
        if found is not None and first.setdefault(found, linted) is not linted:
            tell(linted, first[found])


def _twice(later: LintedObject, first: LintedObject) -> None:
    """In one file the two are applied together. In several they may be for several clusters, but a ModelVersion never
    changes, so two that differ are never both right."""
    same_file = later.document.file == first.document.file
    if later.kind.name == "ModelVersion" and later.value.get("spec") != first.value.get("spec"):
        message = f"is in {first.place} with another content, and a ModelVersion never changes"
        flaw = Flaw(("metadata", "name"), "duplicate-object", message, "give it another name", warning=not same_file)
        later.add(flaw)
    elif same_file:
        later.warn("duplicate-object", ("metadata", "name"), f"is in {first.place}, too; this one replaces it")


def _version(linted: LintedObject) -> tuple[str, str, str] | None:
    spec = linted.model
    return (linted.namespace, spec.model, spec.version) if isinstance(spec, ModelVersionSpec) else None


def _same_version(later: LintedObject, first: LintedObject) -> None:
    here, there = later.model, first.model
    if not (isinstance(here, ModelVersionSpec) and isinstance(there, ModelVersionSpec)) or later.name == first.name:
        return
    if version_digest(here) != version_digest(there):
        message = f"version {here.version} of {here.model} is in {first.place} with another content"
        later.warn("same-version", ("spec", "version"), message, "give each content a `version` of its own")


def _warm_ups(objects: Sequence[LintedObject]) -> None:
    """A warm-up request that may outlast all the time that a release gives its pods."""
    versions = [(one, spec) for one in objects if isinstance(spec := one.model, ModelVersionSpec)]
    for linted in objects:
        spec = linted.model
        if not isinstance(spec, RolloutSpec):
            continue
        for version, content in versions:
            named = version.name == spec.version_ref.name and _together(version, linted)
            timeout = content.runtime.warmup.timeout if content.runtime.warmup is not None else ""
            if named and timeout and seconds(timeout) >= seconds(spec.progress_deadline):
                message = (
                    f"is {spec.progress_deadline}, and one warm-up request of {version.subject} may take {timeout}"
                )
                hint = "make it longer, or the warm-up's timeout shorter"
                linted.warn("short-deadline", ("spec", "progressDeadline"), message, hint)


def _endpoints(objects: Sequence[LintedObject]) -> None:
    """The second of two Rollouts that would take each other's requests, as the operator would tell it."""
    owners: list[tuple[LintedObject, RolloutSpec]] = []
    for linted in objects:
        spec = linted.model
        if not isinstance(spec, RolloutSpec):
            continue
        for other, its in owners:
            # the same object twice is told as such
            if other.name == linted.name and _together(other, linted):
                continue
            mine = _claims(linted.name, linted.namespace or other.namespace, spec)
            theirs = _claims(other.name, other.namespace or linted.namespace, its)
            shared = next((claim for claim in mine if claim in theirs), None)
            if shared is not None:
                message = f"{other.subject} ({other.place}) has the same endpoint: {shared.what}"
                hint = "the operator refuses the younger of the two; change spec.traffic of one"
                linted.add(Flaw(mine[shared], "same-endpoint", message, hint))
                break
        owners.append((linted, spec))


@dataclass(frozen=True)
class _Claim:
    """Something that only one Rollout can have: ``what`` for people, ``where`` what else must be the same."""

    what: str
    where: str


def _claims(name: str, namespace: str, spec: RolloutSpec) -> dict[_Claim, Path]:
    """What only one Rollout can have, and the field that says so. A route that users keep may carry several models."""
    if spec.traffic.service is not None:
        return {_Claim(f"Service {spec.traffic.service.name or name}", namespace): ("spec", "traffic", "service")}
    gateway = spec.traffic.gateway
    if gateway is None or gateway.parent_refs is None:
        return {}
    matches = [canonical_match(match) for match in gateway.route_matches or [{}]]
    hosts: list[tuple[str, Path]] = [
        (host, ("spec", "traffic", "gateway", "hostnames", index)) for index, host in enumerate(gateway.hostnames or ())
    ]
    claims: dict[_Claim, Path] = {}
    for parent in gateway.parent_refs:
        where = json.dumps([{"namespace": namespace, **parent.to_dict()}, matches], sort_keys=True)
        for host, path in hosts or [("every hostname", ("spec", "traffic", "gateway"))]:
            claims[_Claim(f"{host} of Gateway {parent.name}", where)] = path
    return claims
