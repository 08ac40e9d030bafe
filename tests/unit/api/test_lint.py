"""Conventions that every field of every kind keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from weir.api.crds import crd, object_schema
from weir.api.kinds import KINDS, Kind
from weir.api.schema import Schema

MAPS = {
    "ModelVersion.spec.provenance.hyperparameters",
    "ActionRequest.spec.parameters",
    "AgentPolicy.spec.selector.matchLabels",
    "AgentPolicy.spec.rules[].parameters",
    "AgentPolicy.spec.templates[].result.modelVersion",
}
"""The only maps: free keys are what they are about."""
OPEN_OBJECTS = {
    "ModelVersion.spec.runtime.resources",
    "Rollout.spec.template",
    "DataContract.spec.odcs",
    "DataContract.spec.engine.resources",
    "AgentPolicy.spec.templates[].object",
}
"""The only objects whose content another API defines."""


def _nodes(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(f"{path}.{name}", child)
    if "items" in schema:
        yield from _nodes(f"{path}[]", schema["items"])
    if "additionalProperties" in schema:
        yield from _nodes(f"{path}{{}}", schema["additionalProperties"])


def _fields() -> Iterator[tuple[str, Schema]]:
    for kind in KINDS:
        for part in ("spec", "status"):
            if part in object_schema(kind)["properties"]:
                yield from _nodes(f"{kind.name}.{part}", object_schema(kind)["properties"][part])


FIELDS = dict(_fields())


def _offenders(wrong: Any) -> list[str]:
    return [path for path, schema in FIELDS.items() if wrong(path, schema)]


def test_given_any_string_then_its_length_is_bounded() -> None:
    assert not _offenders(lambda _, s: s["type"] == "string" and "maxLength" not in s and "enum" not in s)


def test_given_any_list_then_its_length_is_bounded() -> None:
    assert not _offenders(lambda _, s: s["type"] == "array" and "maxItems" not in s)


def test_given_any_map_then_it_is_one_of_the_few_allowed_and_bounded() -> None:
    maps = {path: s for path, s in FIELDS.items() if "additionalProperties" in s}
    assert set(maps) == MAPS
    assert all("maxProperties" in s for s in maps.values())


def test_given_any_open_object_then_it_is_one_of_the_few_allowed() -> None:
    assert set(_offenders(lambda _, s: s.get("x-kubernetes-preserve-unknown-fields"))) == OPEN_OBJECTS
    assert not _offenders(
        lambda p, s: s["type"] == "object" and "properties" not in s and p not in MAPS and p not in OPEN_OBJECTS
    )


def test_given_any_field_then_it_is_no_float_and_not_nullable() -> None:
    assert not _offenders(lambda _, s: s["type"] == "number" or "nullable" in s)


def test_given_any_field_then_its_description_starts_with_its_name() -> None:
    def wrong(path: str, schema: Schema) -> bool:
        name = path.rsplit(".", 1)[1]
        if path.count(".") < 2 or name.endswith(("[]", "{}")):
            return False
        description = schema.get("description", "")
        following = description[len(name) : len(name) + 1]
        return not description.startswith(name) or following.isalnum() or not description.endswith(".")

    assert not _offenders(wrong)


def test_given_a_default_then_the_field_is_not_required_too() -> None:
    assert not _offenders(lambda _, s: any("default" in s["properties"][name] for name in s.get("required", ())))


def test_given_list_map_keys_then_they_are_required_or_have_a_default() -> None:
    def wrong(_: str, schema: Schema) -> bool:
        keys, items = schema.get("x-kubernetes-list-map-keys", ()), schema.get("items", {})
        return any(k not in items.get("required", ()) and "default" not in items["properties"][k] for k in keys)

    assert not _offenders(wrong)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_given_a_kind_then_its_crd_is_small_and_its_rules_end_in_no_full_stop(kind: Kind) -> None:
    # What the API server stores and `kubectl apply` keeps in an annotation is JSON; indentation does not count.
    assert len(json.dumps(crd(kind), separators=(",", ":"))) < 100_000
    messages = [r["message"] for _, s in _nodes("", object_schema(kind)) for r in s.get("x-kubernetes-validations", ())]
    assert all(message and not message.endswith(".") and "\n" not in message for message in messages)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_given_a_kind_then_its_columns_and_selectors_point_to_fields(kind: Kind) -> None:
    known = {path.removeprefix(kind.name) for path in FIELDS}
    paths = [c.path.split("[?")[0] for c in kind.columns if not c.path.startswith(".metadata")]

    assert [path for path in [*paths, *kind.selectable] if path not in known] == []


def test_given_short_names_then_they_are_unique_and_not_those_of_argo_rollouts() -> None:
    names = [name for kind in KINDS for name in crd(kind)["spec"]["names"]["shortNames"]]

    assert len(set(names)) == len(names) == 8
    assert not set(names) & {"ro", "at", "ar", "cat", "exp"}
