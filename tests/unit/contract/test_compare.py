"""Every kind of difference of two contracts and its direction; the mutations' pairs with the reference are elsewhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.contract.contracts import label, number, odcs, revision, text
from weir.contract.compare import changes, is_widening
from weir.contract.direction import ROWS, of_thresholds, seconds
from weir.contract.finding import Change
from weir.contract.model import Comparison
from weir.contract.revision import Revision


def _only(old: Revision, new: Revision) -> Change:
    found = changes(old, new)
    assert len(found) == 1, found
    return found[0]


def _column(**fields: Any) -> Revision:
    return revision({"name": "x", **fields})


def _typed(kind: str, **options: Any) -> Revision:
    return _column(logicalType=kind, logicalTypeOptions=options)


def _ruled(**fields: Any) -> Revision:
    return _column(quality=[{"name": "q", **fields}])


@pytest.mark.parametrize(
    ("old", "new", "rule", "direction"),
    [
        (_column(), _column(required=True), "required-changed", "tightens"),
        (_column(), _column(unique=True), "unique-constraint-changed", "tightens"),
        (_column(), _column(primaryKey=True), "key-constraint-changed", "tightens"),
        (_column(), _column(physicalName="y"), "physical-name-changed", "both"),
        (_column(), _column(logicalType="date"), "type-changed", "tightens"),
        (_column(logicalType="string"), _column(logicalType="date"), "type-changed", "both"),
        (_column(logicalType="integer"), _column(logicalType="number"), "type-changed", "loosens"),
        (_column(physicalType="INT"), _column(physicalType="BIGINT"), "type-changed", "both"),
        (_typed("integer", minimum=1), _typed("integer", minimum=2), "validation-constraint-changed", "tightens"),
        (
            _typed("integer", exclusiveMinimum=0),
            _typed("integer", minimum=1),
            "validation-constraint-changed",
            "untested",
        ),
        (
            _typed("number", exclusiveMinimum=0),
            _typed("number", minimum=0),
            "validation-constraint-changed",
            "loosens",
        ),
        (_typed("number", minimum=0), _typed("number", minimum=-1), "validation-constraint-changed", "loosens"),
        (_typed("number", maximum=9), _typed("number", maximum=8.5), "validation-constraint-changed", "tightens"),
        (
            _typed("timestamp", minimum="2024-01-01T00:00:00Z"),
            _typed("timestamp", minimum="2024-01-01T01:00:00+01:00"),
            "validation-constraint-changed",
            "untested",
        ),
        (
            _typed("timestamp", minimum="2024-01-01T00:00:00Z"),
            _typed("timestamp", minimum="2024-01-01T00:00:00"),
            "validation-constraint-changed",
            "undetermined",
        ),
        (_typed("time", maximum="18:00"), _typed("time", maximum="19:00"), "validation-constraint-changed", "loosens"),
        (_typed("number", multipleOf=6), _typed("number", multipleOf=4), "validation-constraint-changed", "both"),
        (_typed("number", multipleOf=6), _typed("number", multipleOf=3), "validation-constraint-changed", "loosens"),
        (_typed("number"), _typed("number", multipleOf=3), "validation-constraint-changed", "tightens"),
        (_typed("integer"), _typed("integer", multipleOf=0.5), "validation-constraint-changed", "untested"),
        (_typed("string"), _typed("string", minLength=0), "validation-constraint-changed", "untested"),
        (_typed("string", maxLength=5), _typed("string", maxLength=4), "validation-constraint-changed", "tightens"),
        (_typed("string", pattern="a"), _typed("string", pattern="b"), "validation-constraint-changed", "undetermined"),
        (_typed("string", pattern="a"), _typed("string"), "validation-constraint-changed", "loosens"),
        (_typed("object", maxProperties=3), _typed("object"), "validation-constraint-changed", "loosens"),
        (_typed("object", required=["a"]), _typed("object", required=["b"]), "required-changed", "both"),
        (_typed("integer", format="i32"), _typed("integer", format="i64"), "format-changed", "loosens"),
        (_typed("integer", format="i32"), _typed("integer", format="u32"), "format-changed", "both"),
        (_typed("number", format="f64"), _typed("number", format="f32"), "format-changed", "tightens"),
        (_typed("string", format="uuid"), _typed("string", format="email"), "format-changed", "undetermined"),
        (_typed("date", format="yyyy-MM-dd"), _typed("date", format="dd.MM.yyyy"), "format-changed", "both"),
        (_typed("timestamp"), _typed("timestamp", timezone=True), "timezone-changed", "both"),
        (_typed("timestamp"), _typed("timestamp", defaultTimezone="Etc/UTC"), "timezone-changed", "untested"),
        (_typed("vector", dimensions=3), _typed("vector", dimensions=4), "vector-shape-changed", "both"),
        (
            _typed("vector", dimensions=3),
            _typed("vector", dimensions=3, elementType="float32"),
            "vector-shape-changed",
            "untested",
        ),
        (
            _typed("vector", embeddingModel="a"),
            _typed("vector", embeddingModel="b"),
            "semantics-embedding",
            "both",
        ),
        (_typed("string"), _typed("string", ofTomorrow=1), "option-changed", "undetermined"),
        (_column(), revision(label("a", name="x") | {"logicalType": None, "required": False}), "enum-constraint-changed", "tightens"),
        (_column(items={"logicalType": "string"}), _column(), "type-changed", "loosens"),
        (_column(classification="public"), _column(classification="secret"), "metadata-or-unknown-change", "untested"),
    ],
)  # fmt: skip
def test_a_difference_of_a_column_has_its_rule_and_direction(
    old: Revision, new: Revision, rule: str, direction: str
) -> None:
    found = _only(old, new)

    assert (found.rule, found.direction) == (rule, direction)
    assert found.path == "orders.x"
    assert found.message.startswith("orders.x: ")


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ({"mustBe": 0}, {"mustBeLessThan": 1}, "untested"),
        ({"mustBeLessThan": 5}, {"mustBeLessOrEqualTo": 5}, "loosens"),
        ({"mustBeBetween": [0, 5]}, {"mustBeGreaterThan": 0, "mustBeLessThan": 5}, "untested"),
        ({"mustBeGreaterThan": 1}, {"mustBeLessThan": 9}, "both"),
        ({"mustNotBe": 3}, {"mustNotBeBetween": [2, 4]}, "untested"),
        ({"mustBeLessThan": 5, "unit": "percent"}, {"mustBeLessThan": 5}, "undetermined"),
        ({"mustBe": 0, "unit": "percent"}, {"mustBe": 0}, "untested"),
        ({"mustBeLessThan": 5}, {"mustBeLessThan": 5, "severity": "warning"}, "loosens"),
        ({"mustBeLessThan": 5, "severity": "info"}, {"mustBeLessThan": 1, "severity": "info"}, "untested"),
        ({"mustBeGreaterOrEqualTo": 0}, {"mustBeLessOrEqualTo": 100, "unit": "percent"}, "untested"),
        ({"mustBe": 0}, {"mustBe": "none"}, "undetermined"),
    ],
)
def test_thresholds_are_compared_as_the_numbers_that_they_let_pass(
    old: dict[str, Any], new: dict[str, Any], direction: str
) -> None:
    found = _only(_ruled(metric="nullValues", **old), _ruled(metric="nullValues", **new))

    assert (found.rule, found.direction) == ("quality-constraint-changed", direction)


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ({"arguments": {"validValues": ["a", "b"]}}, {"arguments": {"validValues": ["a"]}}, "tightens"),
        ({"arguments": {"validValues": ["a"]}}, {"arguments": {"validValues": ["a", "b"]}}, "loosens"),
        ({"arguments": {"validValues": ["a"]}}, {"arguments": {"validValues": ["b"]}}, "both"),
        ({"arguments": {"validValues": ["a"]}}, {"arguments": {"validValues": ["a"], "pattern": "a"}}, "tightens"),
        ({"arguments": {"pattern": "b"}}, {"arguments": {"pattern": "a"}}, "undetermined"),
        ({"arguments": {"validValues": ["a"]}}, {"arguments": {"validValues": ["a"], "other": 1}}, "undetermined"),
    ],
)
def test_arguments_of_a_rule_count_more_rows_or_fewer(old: dict[str, Any], new: dict[str, Any], direction: str) -> None:
    found = _only(_ruled(metric="invalidValues", mustBe=0, **old), _ruled(metric="invalidValues", mustBe=0, **new))

    assert found.direction == direction


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ({"type": "sql", "query": "SELECT 1", "mustBe": 0}, {"type": "sql", "query": "SELECT 2", "mustBe": 0}, "undetermined"),
        ({"type": "sql", "query": "q", "mustBeLessThan": 3}, {"type": "sql", "query": "q", "mustBeLessThan": 2}, "tightens"),
        ({"type": "custom", "engine": "e", "implementation": {"a": 1}}, {"type": "custom", "engine": "e", "implementation": {"a": 2}}, "undetermined"),
        ({"type": "text", "description": "a"}, {"type": "custom", "engine": "e", "implementation": "a"}, "tightens"),
        ({"metric": "nullValues", "mustBe": 0}, {"metric": "duplicateValues", "mustBe": 0}, "undetermined"),
        ({"metric": "newMetric", "mustBe": 0}, {"metric": "newMetric", "mustBe": 1}, "undetermined"),
    ],
)  # fmt: skip
def test_what_a_query_or_a_foreign_engine_says_is_not_guessed(
    old: dict[str, Any], new: dict[str, Any], direction: str
) -> None:
    assert _only(_ruled(**old), _ruled(**new)).direction == direction


def test_rules_without_a_name_belong_together_by_what_they_measure() -> None:
    def of(*rules: dict[str, Any]) -> Revision:
        return _column(quality=list(rules))

    nulls, missing = {"metric": "nullValues", "mustBe": 0}, {"metric": "duplicateValues", "mustBe": 0}

    found = _only(of(nulls, missing), of(missing, {**nulls, "mustBe": 1}))

    assert found.direction == "both"
    assert (found.old, found.new) == ("nullValues mustBe 0", "nullValues mustBe 1")


def test_rules_that_measure_something_else_do_not_belong_together() -> None:
    old, new = (_column(quality=[{"metric": m, "mustBe": 0}]) for m in ("nullValues", "duplicateValues"))

    assert sorted(c.direction for c in changes(old, new)) == ["loosens", "tightens"]


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ({"value": 1, "unit": "d"}, {"value": 24, "unit": "h"}, "untested"),
        ({"value": 1, "unit": "d"}, {"value": 25, "unit": "h"}, "loosens"),
        ({"value": "PT4H"}, {"value": 3, "unit": "h"}, "tightens"),
        ({"value": 1, "unit": "d"}, {"value": "soon"}, "undetermined"),
    ],
)
def test_freshness_is_compared_as_an_age(old: dict[str, Any], new: dict[str, Any], direction: str) -> None:
    def of(sla: dict[str, Any]) -> Revision:
        return revision(number(), slaProperties=[{"property": "freshness", "element": "orders.at", **sla}])

    found = _only(of(old), of(new))

    assert (found.rule, found.path, found.direction) == ("freshness-changed", "orders.at", direction)


def test_freshness_of_another_column_is_another_promise() -> None:
    def of(element: str) -> Revision:
        return revision(number(), slaProperties=[{"property": "latency", "element": element, "value": 1}])

    assert _only(of("orders.at"), of("orders.made")).direction == "both"


def test_members_and_elements_are_compared_at_their_own_paths() -> None:
    def of(member: dict[str, Any], element: dict[str, Any]) -> Revision:
        lines = {"name": "lines", "items": {"logicalType": "object", "properties": [member]}}
        return revision({"name": "address", "properties": [member]}, lines, {"name": "tags", "items": element})

    found = changes(
        of(text("zip"), {"logicalType": "string"}), of(text("zip", required=False), {"logicalType": "integer"})
    )

    assert [(c.path, c.rule, c.direction) for c in found] == [
        ("orders.address.zip", "required-changed", "loosens"),
        ("orders.lines.zip", "required-changed", "loosens"),
        ("orders.tags[]", "type-changed", "both"),
    ]


def test_keys_and_values_of_a_map_are_compared() -> None:
    def of(value: dict[str, Any]) -> Revision:
        return _column(logicalType="map", map={"key": {"logicalType": "string"}, "value": value})

    found = _only(of({"logicalType": "integer"}), of({"logicalType": "integer", "required": True}))

    assert (found.path, found.direction) == ("orders.x.value", "tightens")


def test_a_key_that_loses_a_removed_column_is_stricter_for_the_rest() -> None:
    def key(name: str) -> dict[str, Any]:
        return {"name": name, "primaryKey": True}

    found = changes(revision(key("a"), key("b")), revision(key("a")))

    assert [(c.path, c.rule, c.direction) for c in found] == [
        ("orders.b", "key-constraint-changed", "tightens"),
        ("orders.b", "property-added-or-removed", "loosens"),
    ]


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("unit", "semantics-unit"),
        ("timezone", "semantics-timezone"),
        ("meaningRef", "semantics-meaning-ref"),
        ("encoding", "semantics-encoding"),
        ("eventTime", "semantics-event-time"),
        ("availableAt", "semantics-available-at"),
    ],
)
def test_another_meaning_is_another_thing_and_a_new_statement_cannot_be_judged(field: str, rule: str) -> None:
    def of(*values: str) -> Revision:
        return revision(number(), semantics=[{"property": "orders.amount", field: value} for value in values])

    assert (_only(of("EUR"), of("USD")).rule, _only(of("EUR"), of("USD")).direction) == (rule, "both")
    assert _only(of(), of("USD")).direction == _only(of("EUR"), of()).direction == "undetermined"


def test_embedding_and_digests_are_meanings_too() -> None:
    def of(dimensions: int, digit: str) -> Revision:
        meaning = {
            "property": "orders.amount",
            "embedding": {"model": "m", "dimensions": dimensions},
            "vocabularyDigest": f"sha256:{digit * 64}",
            "transformDigest": f"sha256:{digit * 64}",
        }
        return revision(number(), semantics=[meaning])

    found = changes(of(3, "a"), of(4, "b"))

    assert {(c.rule, c.direction) for c in found} == {
        ("semantics-embedding", "both"),
        ("semantics-vocabulary-digest", "both"),
        ("semantics-transform-digest", "both"),
    }


def test_semantics_of_a_column_that_came_or_went_add_nothing_to_that() -> None:
    old = revision(number(), text(), semantics=[{"property": "orders.email", "encoding": "utf-8"}])

    assert _only(old, revision(number())).rule == "property-added-or-removed"


def test_tables_that_come_and_go_are_told_once() -> None:
    found = changes(revision(number(), table="old"), revision(number(), table="new"))

    assert [(c.path, c.rule, c.direction) for c in found] == [
        ("new", "schema-added-or-removed", "tightens"),
        ("old", "schema-added-or-removed", "loosens"),
    ]


def test_a_change_shows_both_values() -> None:
    found = _only(revision(number(minimum=0, maximum=10)), revision(number(minimum=0, maximum=99)))

    assert (found.old, found.new) == ("<= 10", "<= 99")
    assert found.message == "orders.amount: upper limit changed from <= 10 to <= 99"


def test_only_an_integer_that_becomes_a_number_is_a_widening() -> None:
    integer, any_number, word = (_column(logicalType=kind) for kind in ("integer", "number", "string"))

    assert is_widening(_only(integer, any_number))
    assert not is_widening(_only(any_number, integer))
    assert not is_widening(_only(integer, word))


def test_an_integer_that_a_float_cannot_hold_is_no_plain_widening() -> None:
    found = changes(_typed("integer", format="i64"), _typed("number", format="f32"))

    assert {(c.rule, c.direction) for c in found} == {("type-changed", "loosens"), ("format-changed", "both")}


def test_a_version_or_a_server_says_nothing_about_data() -> None:
    servers = [{"server": "s", "type": "local", "path": "/data"}]

    assert changes(revision(number()), revision(number(), version="2", servers=servers, status="draft")) == ()


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(1, "", 86400), ("2", "h", 7200), ("P1DT12H", "", 129600), (Decimal("0.5"), "h", 1800), ("PT", "", None), (1, "x", None), (True, "d", None)],
)  # fmt: skip
def test_ages_are_read_as_seconds(value: object, unit: str, expected: int | None) -> None:
    assert seconds(value, unit) == expected


def test_of_two_operators_both_must_hold() -> None:
    between = (Comparison("mustBeGreaterThan", (Decimal(1),)), Comparison("mustBeLessThan", (Decimal(3),)))

    assert of_thresholds(between, (Comparison("mustBe", (Decimal(2),)),), ROWS) == "untested"


def test_a_document_without_tables_permits_everything() -> None:
    assert _only(revision(**odcs() | {"schema": []}), revision(number())).direction == "tightens"
