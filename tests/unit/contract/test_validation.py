"""Documents against the JSON Schema of the standard: every name is known, every mistake is told once and plainly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft201909Validator

from tests.unit.contract.documents import BASE, FULL, PROPERTIES, QUALITY_BASE, Odcs, changed, document
from weir.contract.document import parse
from weir.contract.validation import examine, problems, warnings

SCHEMA = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8"))
OFFICIAL = Draft201909Validator(SCHEMA)
HANDLED = frozenset(
    {"$ref", "$schema", "$defs", "type", "properties", "items", "required", "enum", "const", "pattern", "if", "then"}
    | {"allOf", "anyOf", "oneOf", "not", "additionalProperties", "unevaluatedProperties", "uniqueItems", "deprecated"}
    | {"minimum", "exclusiveMinimum", "minItems", "maxItems", "title", "description", "default", "examples", "format"}
)
SAMPLES = {"string": "x", "integer": 5, "number": 1.5, "boolean": True, "array": [], "object": {}}


def _parts(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside the schema, with where it is."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for key in ("properties", "$defs"):
        for name, child in schema.get(key, {}).items():
            if key == "$defs" and "type" not in child and "oneOf" not in child and "anyOf" not in child:
                for inner, grandchild in child.items():
                    yield from _parts(grandchild, f"{path}/{key}/{name}/{inner}")
            else:
                yield from _parts(child, f"{path}/{key}/{name}")
    for key in ("items", "if", "then", "not"):
        if key in schema:
            yield from _parts(schema[key], f"{path}/{key}")
    for key in ("allOf", "anyOf", "oneOf"):
        for index, child in enumerate(schema.get(key, ())):
            yield from _parts(child, f"{path}/{key}/{index}")


def _names(value: Any) -> Iterator[str]:
    for key, child in value.items() if isinstance(value, dict) else ():
        yield key
        yield from _names(child)
    for child in value if isinstance(value, list) else ():
        yield from _names(child)


def _filled(schema: dict[str, Any]) -> Any:
    """A value that the schema of a server's field takes."""
    if "enum" in schema:
        return schema["enum"][0]
    if "pattern" in schema:
        return schema["pattern"].strip("^.*")
    if "$ref" in schema:
        return _filled(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    return SAMPLES[kind]


def _servers() -> list[Odcs]:
    """A server of every type, with every field that the type has."""
    servers = []
    for rule in SCHEMA["$defs"]["Server"]["allOf"]:
        kind = rule["if"]["properties"]["type"]["const"]
        fields = SCHEMA["$defs"]["ServerSource"][rule["then"]["$ref"].rsplit("/", 1)[1]]["properties"]
        server = {name: _filled(schema) for name, schema in fields.items()}
        servers.append({**server, "server": f"{kind}-1", "type": kind})
    return servers


EVERYTHING = {**FULL, "servers": [*FULL["servers"], *_servers()]}


def test_given_documents_that_use_every_name_of_the_schema_then_they_are_valid_and_read() -> None:
    known = {name for _, part in _parts(SCHEMA) for name in part.get("properties", {})}

    assert known - set(_names(EVERYTHING)) == set()
    assert problems(EVERYTHING) == ()
    assert len(parse(EVERYTHING).servers) == len(EVERYTHING["servers"])


def test_given_the_schema_of_the_standard_then_it_has_nothing_that_is_not_understood_here() -> None:
    parts = list(_parts(SCHEMA))

    assert {key for _, part in parts for key in part} <= HANDLED
    references = [part["$ref"] for _, part in parts if "$ref" in part]
    assert len(references) > 100
    assert all(reference.startswith("#/$defs/") for reference in references)


def test_given_the_full_document_then_only_what_is_deprecated_is_told() -> None:
    told = warnings(FULL)

    assert [text.split(":")[0] for text in told] == [
        *("slaDefaultElement", "dataProduct", "schema[orders].properties[sku].quality[few-missing].rule"),
    ]
    assert warnings({**BASE, "team": [{"username": "ada"}]}) == (
        "team: as a list is deprecated by the standard (put the list under `members`)",
    )


def test_given_a_property_without_a_type_then_it_is_accepted_as_the_text_of_the_standard_says() -> None:
    # The schema's own condition holds for an absent field, too, so it would ask for a `map`.
    assert not OFFICIAL.is_valid(document({"name": "x"}))

    assert problems(document({"name": "x", "physicalType": "VARCHAR(5)"})) == ()
    assert problems(document({"name": "x", "properties": [{"name": "y", "items": {}}]})) == ()


@pytest.mark.parametrize(
    ("odcs", "said"),
    [
        ([], "a data contract must be a mapping of fields (begin with `apiVersion: v3.2.0`)"),
        ({}, "apiVersion: is required (write `apiVersion: v3.2.0`)"),
        (
            {**BASE, "apiVersion": "2.2.2"},
            'apiVersion: is "2.2.2"; expected a version 3 of the standard (write `apiVersion: v3.2.0`)',
        ),
        (changed(BASE, "id", None), "id: is required (add `id`)"),
        (
            {**BASE, "kind": "Contract"},
            'kind: is "Contract"; expected one of DataContract (did you mean DataContract?)',
        ),
        ({**BASE, "version": 1.0}, "version: is 1.0; expected a text (put it in quotes)"),
        ({**BASE, "tags": "pii"}, 'tags: is "pii"; expected a list'),
        ({**BASE, "schem": []}, "schem: is not a field of the standard here (did you mean schema?)"),
        (document({}), "schema[orders].properties[0].name: is required (add `name`)"),
        (
            document({"name": "x", "logicalTyp": "string"}),
            "schema[orders].properties[x].logicalTyp: is not a field of the standard here (did you mean logicalType?)",
        ),
        (
            document({"name": "x", "logicalType": "strin"}),
            'schema[orders].properties[x].logicalType: is "strin"; expected one of string, date, timestamp, time, '
            "number, integer, object, array, boolean, map, vector (did you mean string?)",
        ),
        (
            document({"name": "x", "logicalType": "date", "logicalTypeOptions": {"minimum": 2020}}),
            "schema[orders].properties[x].logicalTypeOptions.minimum: is 2020; expected a text (put it in quotes)",
        ),
        (
            document({"name": "x", "logicalType": "string", "logicalTypeOptions": {"minimum": 1}}),
            "schema[orders].properties[x].logicalTypeOptions.minimum: is not a field of the standard here (fields here: "
            "format, maxLength, minLength, pattern)",
        ),
        (
            document({"name": "x", "logicalType": "string", "logicalTypeOptions": {"maxLength": -1}}),
            "schema[orders].properties[x].logicalTypeOptions.maxLength: is -1; expected at least 0",
        ),
        (
            document({"name": "x", "logicalType": "number", "logicalTypeOptions": {"multipleOf": 0}}),
            "schema[orders].properties[x].logicalTypeOptions.multipleOf: is 0; expected more than 0",
        ),
        (
            document({"name": "x", "logicalTypeOptions": {"maxLength": 5}}),
            "schema[orders].properties[x].logicalTypeOptions: needs a `logicalType`, which says what the options mean "
            "(add `logicalType`)",
        ),
        (
            document({"name": "x", "logicalType": "map"}),
            "schema[orders].properties[x].map: is required where logicalType is map (describe `key` and `value`)",
        ),
        (
            document({"name": "x", "logicalType": "vector", "logicalTypeOptions": {}}),
            "schema[orders].properties[x].logicalTypeOptions.dimensions: is required (add `dimensions`)",
        ),
        (
            document({"name": "x", "enum": []}),
            "schema[orders].properties[x].enum: has 0 entries; expected at least 1",
        ),
        (
            document({"name": "x", "enum": [{"value": 1}, {"value": 1}]}),
            "schema[orders].properties[x].enum: has the same entry twice (remove one of the two)",
        ),
        (
            document({"name": "x", "enum": [{"value": []}]}),
            "schema[orders].properties[x].enum[0].value: is []; expected a text or a number or an integer or true or "
            "false or null",
        ),
        (
            document({"name": "x", "id": "a b"}),
            'schema[orders].properties[x].id: is "a b"; expected a text like ^[A-Za-z0-9_-]+$',
        ),
        (
            document({"name": "x", "relationships": [{"from": "orders.x", "to": "a.b"}]}),
            "schema[orders].properties[x].relationships[0].from: is known here: it is the property itself "
            "(remove `from`)",
        ),
        (
            document({"name": "x", "quality": [{"metric": "rowCount"}]}),
            "schema[orders].properties[x].quality[0]: has no comparison; expected exactly one of mustBe, mustNotBe, "
            "mustBeGreaterThan, mustBeGreaterOrEqualTo, mustBeLessThan, mustBeLessOrEqualTo, mustBeBetween, "
            "mustNotBeBetween",
        ),
        (
            document({"name": "x", "quality": [{"metric": "rowCount", "mustBe": 1, "mustNotBe": 2}]}),
            "schema[orders].properties[x].quality[0]: has mustBe and mustNotBe; expected exactly one of mustBe, "
            "mustNotBe, mustBeGreaterThan, mustBeGreaterOrEqualTo, mustBeLessThan, mustBeLessOrEqualTo, mustBeBetween, "
            "mustNotBeBetween",
        ),
        (
            document({"name": "x", "quality": [{"metric": "rowCount", "mustBeBetween": [1]}]}),
            "schema[orders].properties[x].quality[0].mustBeBetween: has 1 entries; expected at least 2",
        ),
        (
            document({"name": "x", "quality": [{"metric": "rows", "mustBe": 1}]}),
            'schema[orders].properties[x].quality[0].metric: is "rows"; expected one of nullValues, missingValues, '
            "invalidValues, duplicateValues, rowCount",
        ),
        (
            document({"name": "x", "quality": [{"type": "sql", "mustBe": 1}]}),
            "schema[orders].properties[x].quality[0].query: is required (add `query`)",
        ),
        (
            {**BASE, "servers": [{"server": "lake", "type": "postgres", "host": "db", "port": 1, "database": "d"}]},
            "servers[lake].schema: is required (add `schema`)",
        ),
        (
            {**BASE, "servers": [{"server": "lake", "type": "s33", "location": "s3://lake"}]},
            'servers[lake].type: is "s33"; expected one of api, athena, azure, bigquery, btrieve, clickhouse, '
            "databricks, denodo, dremio, duckdb, exasol, fastobjects, glue, hana, cloudsql, db2, hive, iceberg, impala, "
            "informix, ingres, kafka, kinesis, local, mysql, oracle, poet, postgresql, postgres, presto, pubsub, "
            "redshift, s3, sftp, snowflake, sqlserver, synapse, teradata, trino, vectorwise, versant, vertica, zen, "
            "custom (did you mean s3?)",
        ),
        ({**BASE, "team": "data"}, 'team: is "data"; expected a mapping or a list'),
        (
            {**BASE, "team": {"members": [{"name": "Ada"}]}},
            "team.members[Ada].username: is required (add `username`)",
        ),
    ],
)
def test_given_a_mistake_then_it_is_told_once_with_its_place_and_the_way_out(odcs: Any, said: str) -> None:
    assert problems(odcs) == (said,)


def test_given_many_mistakes_then_they_are_told_in_the_order_of_the_document() -> None:
    odcs = changed(changed(document({"name": "x", "required": 1}, {"name": "y"}), "version", 5), "id", 6)

    assert [flaw.at[-1] for flaw in examine(odcs)] == ["id", "version", "required"]


def test_given_a_later_version_then_what_it_adds_is_a_warning_and_mistakes_are_still_mistakes() -> None:
    odcs = document(
        {"name": "x", "logicalType": "decimal", "precision": 5, "required": "yes"}, apiVersion="v3.9.0", novelty=1
    )

    assert problems(odcs) == ('schema[orders].properties[x].required: is "yes"; expected true or false',)
    told = warnings(odcs)
    assert told[0] == (
        "apiVersion: v3.9.0 is newer than v3.2, the newest version that Weir knows "
        "(what it adds is kept and not checked)"
    )
    assert [text.split(":")[0] for text in told[1:]] == [
        *("schema[orders].properties[x].logicalType", "schema[orders].properties[x].precision", "novelty"),
    ]


def test_given_a_version_before_v3_1_then_its_own_fields_and_its_limits_are_no_mistakes() -> None:
    options = {"minimum": 1, "exclusiveMinimum": True}
    rule = {"type": "library", "rule": "nullCheck", "mustBeLessThan": 5, "tool": "ours"}
    odcs = document(
        {"name": "x", "logicalType": "number", "logicalTypeOptions": options, "quality": [rule]}, apiVersion="v3.0.2"
    )

    assert problems(odcs) == ()
    assert len(problems({**odcs, "apiVersion": "v3.1.0"})) == 3


@pytest.mark.parametrize("patch", ["v3.1.7", "v3.2.1"])
def test_given_a_patch_version_that_came_later_then_it_is_read_as_its_minor_version(patch: str) -> None:
    assert examine({**BASE, "apiVersion": patch}) == ()


def test_given_a_document_without_end_then_it_is_refused_and_not_followed() -> None:
    nested: Odcs = {"name": "x"}
    for _ in range(2000):
        nested = {"name": "x", "logicalType": "object", "properties": [nested]}

    assert problems(document(nested)) == ("nested too deeply (no property needs more than 40 levels)",)


def test_given_a_document_as_deep_as_allowed_then_it_is_judged() -> None:
    nested: Odcs = {"name": "x"}
    for _ in range(47):
        nested = {"name": "x", "logicalType": "object", "properties": [nested]}

    assert problems(document(nested)) == ()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from(["", "x", "string", "integer", "object", "array", "vector", "sql", "custom", "library", "text"]),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just({"unknown": 1}),
)


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield f"{prefix}{key}"
        yield from _paths(child, f"{prefix}{key}.")


TYPED = document(*({**entry} for entry in PROPERTIES if "properties" not in entry))
MUTABLE = sorted(_paths(TYPED["schema"], "schema."))


def _every_property_has_a_type(value: Any) -> bool:
    """Where one has none, the schema of the standard contradicts its text."""
    if isinstance(value, list):
        return all(_every_property_has_a_type(entry) for entry in value)
    if not isinstance(value, dict):
        return True
    inner = [value.get("items")] if "items" in value else []
    mapping = value.get("map")
    inner += list(mapping.values()) if isinstance(mapping, dict) else []
    inner += value["properties"] if isinstance(value.get("properties"), list) else []
    return all(
        isinstance(entry, dict) and "logicalType" in entry and _every_property_has_a_type(entry) for entry in inner
    )


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_given_any_change_of_a_document_then_it_is_refused_exactly_where_the_schema_refuses_it(
    data: st.DataObject,
) -> None:
    path = data.draw(st.sampled_from(MUTABLE))
    odcs = changed(TYPED, path, data.draw(VALUES))
    if not all(_every_property_has_a_type(table) for table in odcs["schema"] if isinstance(table, dict)):
        return

    found = problems(odcs)
    refused = [text for text in found if not text.endswith(": is required")]
    assert (refused == []) == OFFICIAL.is_valid(odcs), (path, found)
    if not found:
        assert parse(odcs).id == "orders"


def test_given_an_empty_name_which_the_schema_permits_then_it_is_refused() -> None:
    assert problems(document({"name": ""})) == ("schema[orders].properties[0].name: is required",)


@pytest.mark.parametrize("name", sorted(QUALITY_BASE))
def test_given_a_rule_with_a_field_of_another_type_then_its_place_is_told(name: str) -> None:
    odcs = document({"name": "x", "quality": [{**QUALITY_BASE, name: 3.5, "mustBe": 0}]})

    assert [flaw.at for flaw in examine(odcs) if not flaw.warning] == [
        ("schema", 0, "properties", 0, "quality", 0, name)
    ]
