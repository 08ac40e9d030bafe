"""The structural part: every key of our schemas is understood, and what the API server fills in is filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import objects as o
from weir.api.crds import object_schema
from weir.api.kinds import KINDS
from weir.api.schema import VALIDATIONS, Schema
from weir.lint import cel
from weir.lint.defaults import with_defaults
from weir.lint.structure import CHECKED, flaws, time_of

ELSEWHERE = {"description", "default", VALIDATIONS}


def nodes(schema: Schema) -> Iterator[Schema]:
    yield schema
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if isinstance(child, dict):
            yield from nodes(child)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_given_the_schema_of_a_kind_then_every_key_of_it_is_checked(kind: Any) -> None:
    assert {key for node in nodes(object_schema(kind)) for key in node} <= CHECKED | ELSEWHERE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_given_the_rules_of_a_kind_then_the_engine_knows_every_function_in_them(kind: Any) -> None:
    for node in nodes(object_schema(kind)):
        for rule in node.get(VALIDATIONS, ()):
            if cel.TRANSITION not in rule["rule"]:
                cel._compiled(rule["rule"], "time" if node.get("format") == "date-time" else "any")


def test_given_a_minimal_rollout_then_defaults_are_those_of_the_api_server() -> None:
    kind = next(kind for kind in KINDS if kind.name == "Rollout")
    spec = {**o.ROLLOUT, "paused": None, "gates": [{**o.HTTP_GATE, "min": None}], "metrics": {"scrape": {}}, "no": 1}

    filled = with_defaults(object_schema(kind)["properties"]["spec"], spec)

    assert filled["paused"] is False
    assert filled["strategy"] == {"canary": {"steps": [{"weight": 50, "minDuration": "1m"}], "bake": "1m"}}
    assert filled["metrics"]["scrape"] == {"path": "/metrics", "interval": "2s"}
    assert filled["gates"][0]["minSamples"] == 50
    assert not {"min", "name2"} & filled["gates"][0].keys()
    assert "no" not in filled


LISTS: Schema = {
    "type": "object",
    "properties": {
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 3},
        "map": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "kind": {"type": "string", "default": "A"}},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["kind", "name"],
        },
        "either": {"x-kubernetes-int-or-string": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
        "number": {"type": "number", "minimum": 0.5},
    },
}


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"set": ["a", "b", "a"]}, ("set", 2), "Duplicate value: a"),
        ({"set": ["a", "b", "c", "d"]}, ("set",), "must have at most 3 items"),
        ({"map": [{"name": "x"}, {"name": "x", "kind": "A"}]}, ("map", 1), "Duplicate value: A, x"),
        ({"map": []}, ("map",), "must have at least 1 items"),
        ({"map": {"name": "x"}}, ("map",), "must be of type array, not object"),
        ({"map": [None]}, ("map", 0), "must be of type object, not null"),
        ({"either": []}, ("either",), "must be of type string or integer, not array"),
        ({"labels": {"a": 1}}, ("labels", "a"), "must be of type string, not integer"),
        ({"labels": {"a": "1", "b": "2"}}, ("labels",), "must have at most 1 fields"),
        ({"number": 0.25}, ("number",), "should be greater than or equal to 0.5"),
        ({"number": True}, ("number",), "must be of type number, not boolean"),
    ],
)
def test_given_a_schema_when_a_value_breaks_it_then_the_flaw_is_told(value: Any, path: Any, said: str) -> None:
    assert [(flaw.path, flaw.message) for flaw in flaws(LISTS, value)] == [(path, said)]


def test_given_values_that_fit_then_there_are_no_flaws() -> None:
    fits = {
        "set": ["a", "b"],
        "map": [{"name": "x"}, {"name": "x", "kind": "B"}],
        "either": "5%",
        "labels": {"a": "b"},
        "number": 1,
    }
    assert list(flaws(LISTS, fits)) == []


@pytest.mark.parametrize(
    ("text", "is_time"),
    [
        ("2026-01-02T03:04:05Z", True),
        ("2026-01-02T03:04:05.123456789+05:30", True),
        ("0000-01-01T00:00:00Z", True),
        ("2026-01-02t03:04:05z", True),
        ("2026-01-02 03:04:05Z", False),
        ("2026-01-02", False),
        ("2026-01-02T03:04:05", False),
        ("2026-13-02T03:04:05Z", False),
        ("soon", False),
    ],
)
def test_given_a_text_then_it_is_a_time_or_not(text: str, is_time: bool) -> None:
    assert (time_of(text) is not None) == is_time


def test_given_a_rule_that_is_no_rule_when_evaluated_then_the_engine_says_why() -> None:
    for expression in ("self.all(", "self.size()", "self.missing"):
        with pytest.raises(cel.RuleError):
            cel.holds(expression, {"a": "b"})
