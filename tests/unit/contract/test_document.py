"""Documents become values, without losing what they say; and what is no document is refused with its place."""

from __future__ import annotations

import os
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contract.documents import BASE, FULL, OPERATORS, Odcs, changed, document
from weir.contract.digest import contract_digest
from weir.contract.document import DocumentError, load_yaml, parse
from weir.contract.model import Column, Comparison, OdcsServer, Quality, Sla
from weir.contract.validation import problems


def column(odcs: Odcs, path: str = "orders.x") -> Column:
    found = parse(odcs).column(path)
    assert found is not None, path
    return found


def test_given_a_full_document_when_parsed_then_it_is_left_as_it_was_and_everything_is_there() -> None:
    before = deepcopy(FULL)

    found = parse(FULL)

    assert before == FULL
    assert (found.id, found.version, found.standard, found.name, found.status) == (
        *("orders", "1.0.0", "v3.2.0", "Orders", "active"),
    )
    assert [path for path, _ in found.paths()] == [
        *(f"orders.{name}" for name in ("sku", "day", "at", "daily", "amount", "count", "paid", "place")),
        *("orders.place.zone", "orders.place.geo", "orders.place.geo.lat"),
        *("orders.lines", "orders.lines.sku", "orders.labels", "orders.labels.key", "orders.labels.value"),
        "orders.embedding",
    ]
    assert found.servers == (
        OdcsServer("lake", "s3", {k: v for k, v in FULL["servers"][0].items() if k not in ("server", "type")}),
    )
    assert found.slas == (
        Sla("latency", 4, "h", "orders.day"),
        Sla("retention", 3, "y", "orders.at"),
        Sla("endOfSupport", None, "", "orders.at"),
    )


def test_given_a_string_with_everything_when_parsed_then_its_rules_are_there() -> None:
    sku = column(FULL, "orders.sku")

    assert (sku.physical, sku.physical_type, sku.logical_type) == ("SKU", "VARCHAR(12)", "string")
    assert (sku.required, sku.unique, sku.primary_key, sku.primary_key_position) == (True, True, True, 1)
    assert (sku.min_length, sku.max_length, sku.pattern, sku.format) == (1, 12, "^[A-Z]+$", "uri")
    assert sku.classification == "public"
    assert sku.enum == ("ABC", 5, Decimal("1.5"), True)
    assert sku.quality[0] == Quality(
        kind="library",
        name="few-missing",
        metric="missingValues",
        arguments={"missingValues": [None, "N/A"]},
        comparisons=(Comparison("mustBeLessThan", (Decimal(5),)),),
        unit="percent",
        dimension="completeness",
        severity="warning",
    )
    operators = [rule.comparisons[0].operator for rule in sku.quality[1:9]]
    assert operators == list(OPERATORS)
    assert sku.quality[7].comparisons[0].values == (Decimal(1), Decimal(100))
    assert sku.quality[9].kind == "sql"
    assert sku.quality[9].query.startswith("SELECT count(*)")
    assert (sku.quality[10].engine, sku.quality[10].implementation) == ("cel", "metrics.rows > 0")
    assert sku.quality[11].implementation == {"checks": ["row_count > 0"]}
    assert sku.quality[12].kind == "text"


def test_given_nested_types_when_parsed_then_their_parts_are_columns() -> None:
    lines, labels = column(FULL, "orders.lines"), column(FULL, "orders.labels")
    vector = column(FULL, "orders.embedding")

    assert (lines.min_items, lines.max_items, lines.unique_items) == (1, 50, True)
    assert lines.items is not None
    assert lines.items.properties[0].max_length == 12
    assert [(part.name, part.logical_type) for part in labels.properties] == [("key", "string"), ("value", "integer")]
    assert (vector.dimensions, vector.element_type) == (384, "float32")
    assert vector.options["distanceMetric"] == "cosine"
    assert column(FULL, "orders.at").options == {"timezone": True, "defaultTimezone": "Etc/UTC"}
    assert column(FULL, "orders.day").exclusive_maximum == "2030-01-01"


@pytest.mark.parametrize("text", ["0.1", "0.30000000000000004", "1e-7", "123456789012345678901234567890", "-0.0", "5"])
def test_given_a_number_when_parsed_then_no_digit_is_lost(text: str) -> None:
    odcs = load_yaml(
        f"{{apiVersion: v3.2.0, kind: DataContract, id: a, version: '1', schema: [{{name: orders, properties: "
        f"[{{name: x, logicalType: number, logicalTypeOptions: {{minimum: {text}}}}}]}}]}}"
    )

    assert column(odcs).minimum == Decimal(text)


def test_given_limits_of_before_v3_1_when_parsed_then_true_makes_the_limit_exclusive() -> None:
    options = {"minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False}
    found = column(document({"name": "x", "logicalType": "number", "logicalTypeOptions": options}))

    assert (found.minimum, found.exclusive_minimum) == (None, Decimal(1))
    assert (found.maximum, found.exclusive_maximum) == (Decimal(9), None)


def test_given_rules_of_before_v3_1_when_parsed_then_they_have_their_present_names() -> None:
    rules = [
        {"rule": "duplicateCount", "mustBeLessThan": 10, "unit": "rows"},
        {"rule": "validValues", "validValues": ["EUR", "USD"], "mustBe": 0},
        {"rule": "somethingElse", "mustBe": 1},
        {"description": "only words"},
    ]
    found = column(document({"name": "x", "quality": rules}, apiVersion="v3.0.2")).quality

    assert [(rule.kind, rule.metric) for rule in found] == [
        *(("library", "duplicateValues"), ("library", "invalidValues"), ("library", "somethingElse"), ("text", "")),
    ]
    assert found[1].arguments == {"validValues": ["EUR", "USD"]}


def test_given_a_later_version_when_parsed_then_what_is_unknown_is_no_type_and_no_known_rule() -> None:
    later = {"name": "x", "logicalType": "decimal", "quality": [{"type": "llm", "name": "judge", "prompt": "ok?"}]}
    found = column(document(later, apiVersion="v3.9.0", novelty={"a": 1}))

    assert found.logical_type is None
    assert (found.quality[0].kind, found.quality[0].engine) == ("custom", "llm")


def test_given_a_comparison_with_a_text_when_parsed_then_it_has_no_values() -> None:
    rule = {"type": "sql", "query": "SELECT 1", "mustBe": "EUR"}

    assert column(document({"name": "x", "quality": [rule]})).quality[0].comparisons == (Comparison("mustBe", ()),)


def test_given_the_unit_of_years_without_quotes_when_kubectl_read_it_then_it_still_means_years() -> None:
    odcs = {**BASE, "slaProperties": [{"property": "retention", "value": 3, "unit": True}]}

    assert parse(odcs).slas[0].unit == "y"
    assert not problems(odcs)


@pytest.mark.parametrize(
    ("odcs", "path", "said"),
    [
        ([], "", "must be a mapping"),
        ({**BASE, "apiVersion": "v2.2.2"}, "apiVersion", "version 3"),
        ({**BASE, "apiVersion": "v3.1.0\n"}, "apiVersion", "version 3"),
        ({**BASE, "kind": "DataProduct"}, "kind", "must be DataContract"),
        ({**BASE, "id": ""}, "id", "is required"),
        ({**BASE, "version": 1.0}, "version", "must be a text, not 1.0"),
        ({**BASE, "schema": {"orders": {}}}, "schema", "must be a list"),
        ({**BASE, "schema": ["orders"]}, "schema[0]", "must be a mapping"),
        ({**BASE, "servers": [{"server": "lake"}]}, "servers[lake].type", "is required"),
        (document({"logicalType": "string"}), "schema[orders].properties[0].name", "is required"),
        (document({"name": "x", "required": "yes"}), "schema[orders].properties[x].required", "true or false"),
        (document({"name": "x", "enum": [{"value": []}]}), "schema[orders].properties[x].enum[0].value", "a text"),
    ],
)
def test_given_what_is_no_document_when_parsed_then_the_place_is_told(odcs: Any, path: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as refused:
        parse(odcs)

    assert refused.value.path == path


@pytest.mark.parametrize(
    ("logical_type", "option", "value", "said"),
    [
        ("number", "minimum", "5", "must be a number, not '5'"),
        ("integer", "maximum", [], "must be a number"),
        ("number", "minimum", float("inf"), "must be a number"),
        ("date", "minimum", 2020, "must be a text such as '2024-01-31', not 2020"),
        ("string", "maxLength", 2.5, "must be an integer"),
        ("string", "maxLength", True, "must be an integer"),
        ("string", "pattern", 5, "must be a text"),
        ("array", "uniqueItems", "yes", "true or false"),
    ],
)
def test_given_an_option_of_another_type_when_parsed_then_its_place_is_told(
    logical_type: str, option: str, value: Any, said: str
) -> None:
    with pytest.raises(DocumentError, match=said) as refused:
        parse(document({"name": "x", "logicalType": logical_type, "logicalTypeOptions": {option: value}}))

    assert refused.value.path == f"schema[orders].properties[x].logicalTypeOptions.{option}"
    assert refused.value.at == ("schema", 0, "properties", 0, "logicalTypeOptions", option)


def test_given_a_float_that_is_whole_when_it_counts_then_it_is_an_integer_as_in_json() -> None:
    options = {"maxLength": 20.0}

    assert column(document({"name": "x", "logicalType": "string", "logicalTypeOptions": options})).max_length == 20


def test_given_a_document_without_end_when_parsed_then_it_is_refused_and_not_followed() -> None:
    nested: Odcs = {"name": "x"}
    for _ in range(2000):
        nested = {"name": "x", "logicalType": "object", "properties": [nested]}

    with pytest.raises(DocumentError, match="nested too deeply"):
        parse(document(nested))


def test_given_no_field_that_is_asked_for_when_one_is_taken_away_then_it_is_still_read() -> None:
    for name in FULL.keys() - {"apiVersion", "kind", "id", "version"}:
        assert parse(changed(FULL, name, None)).id == "orders"


EXAMPLES = os.environ.get("WEIR_ODCS_EXAMPLES", "")


@pytest.mark.skipif(not EXAMPLES, reason="WEIR_ODCS_EXAMPLES names no folder with the standard's own examples")
def test_given_the_standards_own_examples_when_loaded_then_each_is_valid_and_kept() -> None:
    loaded = 0
    for file in sorted(Path(EXAMPLES).rglob("*.odcs.yaml")):
        odcs = load_yaml(file.read_text(encoding="utf-8"))
        before = deepcopy(odcs)

        assert not problems(odcs), file
        found = parse(odcs)
        assert found.id == odcs["id"], file
        assert contract_digest(odcs) == contract_digest(before), file
        assert odcs == before, file
        loaded += 1
    assert loaded
