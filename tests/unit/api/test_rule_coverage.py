"""A rule without a bad example that proves its message fails here, before any API server runs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.api.cases import RULES
from weir.api.crds import object_schema
from weir.api.kinds import KINDS
from weir.api.schema import VALIDATIONS, Schema


def _messages(schema: Schema) -> Iterator[str]:
    yield from (rule["message"] for rule in schema.get(VALIDATIONS, ()))
    for child in schema.get("properties", {}).values():
        yield from _messages(child)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _messages(schema[key])


def test_given_every_rule_of_every_kind_then_the_table_of_bad_objects_covers_it() -> None:
    rules = {(kind.name, message) for kind in KINDS for message in _messages(object_schema(kind))}

    missing = rules - {(bad.kind, bad.message) for bad in RULES}

    assert not missing


def test_given_the_rules_of_one_kind_then_each_message_belongs_to_one_place_or_is_of_a_scalar_type() -> None:
    # The table is keyed by kind and message; two object rules that share a message would hide each other. The same rule
    # of the same model in two places, such as `permits` and those on trial, is one.
    def of_objects(schema: Schema) -> Iterator[tuple[str, str]]:
        if "properties" in schema:
            yield from ((rule["rule"], rule["message"]) for rule in schema.get(VALIDATIONS, ()))
        for child in schema.get("properties", {}).values():
            yield from of_objects(child)
        if "items" in schema:
            yield from of_objects(schema["items"])

    for kind in KINDS:
        messages = [message for _, message in set(of_objects(object_schema(kind)))]
        assert len(messages) == len(set(messages)), kind.name
