import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from weir.jobs import checks


def one(lab, prop, values, kind="string", more=None, **options):
    """The result of a contract with the one column `x`."""
    lab.parquet({"x": values})
    return lab.check([prop("x", kind, more, **options)])


DAY = dt.date(2026, 1, 2)
NAN = "1 of 2 rows are NaN, which is no number"
NAN_AND_LOW = "1 of 3 rows are NaN, which is no number; 1 of 3 rows are below 0"
BROKEN = [
    ("string", ["a", None], {"required": True}, {}, "required", "1 of 2 rows are null"),
    ("integer", [1, -1, None], {}, {"minimum": 0}, "minimum", "1 of 3 rows are below 0"),
    ("integer", [1, 0], {}, {"exclusiveMinimum": 0}, "exclusiveMinimum", "1 of 2 rows are not above 0"),
    ("number", [0.5, 1.5], {}, {"maximum": 1}, "maximum", "1 of 2 rows are above 1"),
    ("number", [0.5, 1.0], {}, {"exclusiveMaximum": 1}, "exclusiveMaximum", "1 of 2 rows are not below 1"),
    ("number", [0.5, float("nan")], {}, {"maximum": 1}, "maximum", NAN),
    ("number", [0.5, float("nan")], {}, {"minimum": 0}, "minimum", NAN),
    ("number", [0.5, -1.0, float("nan")], {}, {"minimum": 0}, "minimum", NAN_AND_LOW),
    ("number", [0.5, float("nan")], {}, {"multipleOf": 0.5}, "multipleOf", NAN),
    ("number", [Decimal("1.10"), Decimal("2.10")], {}, {"maximum": 2.0}, "maximum", "1 of 2 rows are above 2.0"),
    ("integer", [4, 6, 7], {}, {"multipleOf": 2}, "multipleOf", "1 of 3 rows are no multiple of 2"),
    ("number", [0.3, 0.35], {}, {"multipleOf": 0.1}, "multipleOf", "1 of 2 rows are no multiple of 0.1"),
    ("date", [DAY, dt.date(2020, 1, 1)], {}, {"minimum": "2026-01-01"}, "minimum", "1 of 2 rows are below 2026-01-01"),
    (
        "timestamp",
        [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)],
        {},
        {"maximum": "2026-01-02T00:30:00+01:00"},
        "maximum",
        "1 of 1 rows are above 2026-01-02T00:30:00+01:00",
    ),
    ("string", ["ab", "abcd"], {}, {"minLength": 3}, "minLength", "1 of 2 rows are shorter than 3 characters"),
    ("string", ["ab", "äbcd"], {}, {"maxLength": 3}, "maxLength", "1 of 2 rows are longer than 3 characters"),
    ("string", ["A1", "b"], {}, {"pattern": "^[A-Z][0-9]$"}, "pattern", "1 of 2 rows do not match the pattern"),
    ("string", ["a@b.c", "nope"], {}, {"format": "email"}, "format", "1 of 2 rows are no email"),
    ("integer", [1, 300], {}, {"format": "u8"}, "format", "1 of 2 rows do not fit u8"),
    ("string", ["a", "z"], {"enum": [{"value": "a"}, {"value": "b"}]}, {}, "enum", "1 of 2 rows have another value"),
    ("integer", [1, 9], {"enum": [{"value": 1}]}, {}, "enum", "1 of 2 rows have another value"),
    ("boolean", [True, False], {"enum": [{"value": True}]}, {}, "enum", "1 of 2 rows have another value"),
    (
        "string",
        ["a", "b", "a", None, None],
        {"unique": True},
        {},
        "unique",
        "1 of 3 rows repeat a value of another row",
    ),
    ("array", [[1], []], {}, {"minItems": 1}, "minItems", "1 of 2 rows have fewer than 1 items"),
    ("array", [[1], [1, 2, 3]], {}, {"maxItems": 2}, "maxItems", "1 of 2 rows have more than 2 items"),
    ("array", [[1, 2], [3, 3]], {}, {"uniqueItems": True}, "uniqueItems", "1 of 2 rows have an item twice"),
    ("vector", [[0.1, 0.2], [0.3]], {}, {"dimensions": 2}, "minItems", "1 of 2 rows have fewer than 2 items"),
]


@pytest.mark.parametrize(("kind", "values", "more", "options", "rule", "observed"), BROKEN)
def test_given_values_that_break_a_rule_when_checked_then_it_fails_with_their_number(
    lab, prop, found, kind, values, more, options, rule, observed
):
    status = one(lab, prop, values, kind, more, **options)
    result = found(status, rule)
    assert (status.verdict, result.verdict, result.observed) == ("Fail", "Fail", observed)
    assert result.message.startswith(f"orders.x: {observed}; the contract requires ")
    assert len(status.results) == 1


@pytest.mark.parametrize(("kind", "values", "more", "options", "rule", "observed"), BROKEN)
def test_given_only_permitted_values_when_checked_then_the_rule_passes(
    lab, prop, kind, values, more, options, rule, observed
):
    good = [value for value in values if value == values[0]][:1]
    if rule == "maximum" and kind == "timestamp":
        good = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]
    elif rule in {"minLength", "maxLength"}:
        good = ["abc"]
    elif rule == "uniqueItems":
        good = [[1, 2]]
    assert one(lab, prop, good, kind, more, **options).verdict == "Pass"


@pytest.mark.parametrize(
    "options", [{"minimum": 5}, {"maximum": 5}, {"multipleOf": 5}, {"format": "i32"}], ids=lambda o: next(iter(o))
)
def test_given_only_nulls_when_checked_then_no_limit_is_broken(lab, prop, options):
    assert one(lab, prop, pa.array([None, None], pa.int64()), "integer", **options).verdict == "Pass"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", [1]),
        ("integer", ["1"]),
        ("integer", [1.0]),
        ("integer", [Decimal("1.5")]),
        ("number", ["1"]),
        ("number", [True]),
        ("date", [dt.datetime(2026, 1, 1)]),
        ("timestamp", [DAY]),
        ("time", ["12:00"]),
        ("boolean", [1]),
        ("object", ["{}"]),
        ("array", ["[]"]),
        ("vector", [["a"]]),
    ],
)
def test_given_another_type_in_parquet_when_checked_then_the_type_fails(lab, prop, found, kind, values):
    result = found(one(lab, prop, values, kind), "type")
    assert result.verdict == "Fail"
    assert result.expected == f"the type {kind}"
    assert result.observed.startswith("type ")


def test_given_no_such_column_when_checked_then_its_presence_fails_and_its_other_rules_are_unknown(lab, prop, found):
    lab.parquet({"y": [1]})
    quality = [{"metric": "nullValues", "mustBe": 0}, {"type": "text", "description": "nice"}]
    status = lab.check([prop("x", "integer", {"required": True, "quality": quality}, minimum=0)])
    assert found(status, "present").message == "orders.x: the column 'x' is missing in the data"
    others = {result.rule: result.verdict for result in status.results if result.rule != "present"}
    assert others == dict.fromkeys(("type", "required", "minimum", "nullValues"), "Unknown")
    assert found(status, "minimum").message.endswith("could not be checked: the column is missing in the data")


def test_given_columns_that_the_contract_does_not_name_when_checked_then_they_are_fine(lab, prop):
    lab.parquet({"x": [1], "more": ["?"]})
    assert lab.check([prop("x", "integer")]).verdict == "Pass"


def test_given_a_physical_name_in_other_case_when_checked_then_the_column_is_found(lab, prop):
    lab.parquet({"ORDER_ID": [1]})
    assert lab.check([prop("id", "integer", {"physicalName": "order_id"})]).verdict == "Pass"


def test_given_a_composite_key_when_checked_then_only_both_together_must_be_unique(lab, prop, found):
    key = [prop(n, "integer", {"primaryKey": True, "primaryKeyPosition": p}) for n, p in (("b", 2), ("a", 1))]
    lab.parquet({"a": [1, 1, 2], "b": [1, 2, 1]})
    assert lab.check(key).verdict == "Pass"
    lab.parquet({"a": [1, 1, 2], "b": [1, 1, None]})
    status = lab.check(key)
    assert found(status, "primaryKey", "a, b").observed == "1 of 2 rows repeat a value of another row"
    assert found(status, "primaryKey", "b").observed == "1 of 3 rows are null"


def test_given_nested_values_when_checked_then_members_and_elements_are_looked_into(lab, prop, found):
    lab.parquet(
        {
            "address": [{"zip": "1"}, {"zip": None}, None],
            "lines": [[{"price": 1.0}, {"price": -1.0}], [], None],
            "tags": [["a"], ["b", "z"], [None]],
        }
    )
    status = lab.check(
        [
            prop("address", "object", {"properties": [prop("zip", "string", {"required": True}, minLength=1)]}),
            prop("lines", "array", {"items": prop("", "object", {"properties": [prop("price", "number", minimum=0)]})}),
            prop("tags", "array", {"items": prop("", "string", {"enum": [{"value": "a"}, {"value": "b"}]})}),
        ]
    )
    assert found(status, "required", "address.zip").observed == "1 of 3 rows are null"
    assert found(status, "minimum", "lines[].price").observed == "1 of 3 rows are below 0"
    assert found(status, "enum", "tags[]").observed == "1 of 3 rows have another value"
    assert len(status.results) == 3


def test_given_a_member_that_is_missing_when_checked_then_its_path_is_named(lab, prop, found):
    lab.parquet({"address": [{"zip": "1"}]})
    status = lab.check([prop("address", "object", {"properties": [prop("city")]})])
    assert found(status, "present").column == "address.city"


def test_given_map_values_when_checked_then_keys_and_values_are_looked_into(lab, prop, found):
    lab.parquet({"m": pa.array([[("a", 1), ("b", -1)]], pa.map_(pa.string(), pa.int64()))})
    mapping = {"map": {"key": {"logicalType": "string"}, "value": prop("", "integer", minimum=0)}}
    assert found(lab.check([prop("m", "map", mapping)]), "minimum").column == "m.value"


@pytest.mark.parametrize("pattern", ["(?=x)", r"(a)\1", "(unclosed", "a" * 2000])
def test_given_a_pattern_that_is_not_safe_when_checked_then_only_that_rule_is_unknown(lab, prop, found, pattern):
    status = one(lab, prop, ["a", None], more={"required": True}, pattern=pattern)
    assert found(status, "pattern").verdict == "Unknown"
    assert found(status, "required").verdict == "Fail"


def test_given_an_option_that_is_not_supported_when_checked_then_unknown_and_not_a_pass(lab, prop, found):
    status = one(lab, prop, ["a"], **{"weirdness": 3})
    assert (status.verdict, found(status, "weirdness").verdict) == ("Unknown", "Unknown")


def test_given_an_environment_that_excludes_a_property_when_checked_then_it_may_be_missing(lab, prop):
    lab.parquet({"x": [1]})
    environments = {"environments": [{"name": "serving", "exclude": ["orders.label"]}]}
    servers = {"lake": {"spec": {"environment": "serving"}}}
    properties = [prop("x", "integer"), prop("label", "integer", {"required": True})]
    assert lab.check(properties, spec=environments, servers=servers).verdict == "Pass"
    assert lab.check(properties, spec=environments).verdict == "Fail"


def test_given_samples_are_asked_for_when_a_rule_fails_then_values_are_shown(lab, prop, found):
    lab.parquet({"x": [1, -1, -2, -3], "y": [-1, -1, 5, 5]})
    properties = [prop("x", "integer", minimum=0), prop("y", "integer", {"classification": "restricted"}, minimum=0)]
    status = lab.check(properties, spec={"engine": {"failingSamples": 2}})
    assert len(found(status, "minimum", "x").samples) == 2
    assert set(found(status, "minimum", "x").samples) <= {"-1", "-2", "-3"}
    assert found(status, "minimum", "y").samples is None


def test_given_nothing_is_said_of_samples_when_a_rule_fails_then_no_value_is_shown(lab, prop):
    lab.parquet({"x": ["secret-value"]})
    status = lab.check([prop("x", "string", {"unique": True}, pattern="^[0-9]+$")])
    assert status.verdict == "Fail"
    assert "secret-value" not in status.model_dump_json()


def test_given_older_files_without_a_column_when_checked_then_they_count_as_null(lab, prop, found):
    lab.parquet({"x": [1]}, name="orders/old.parquet")
    lab.parquet({"x": [2], "y": ["a"]}, name="orders/new.parquet")
    status = lab.check([prop("x", "integer"), prop("y", more={"required": True})], servers={"lake": {"path": "orders"}})
    assert found(status, "required").observed == "1 of 2 rows are null"


def test_given_a_sample_when_checked_then_the_message_says_so_and_uniqueness_is_unknown(lab, prop, found):
    lab.parquet({"x": [-1] * 5000})
    status = lab.check(
        [prop("x", "integer", {"unique": True}, minimum=0)], spec={"engine": {"sampling": {"rows": 1000}}}
    )
    result = found(status, "minimum")
    assert result.message.endswith("(in a sample of the rows)")
    assert 700 < int(result.observed.split()[0]) < 1300
    assert found(status, "unique").verdict == "Unknown"


def test_given_fewer_rows_than_the_sample_when_checked_then_every_row_counts(lab, prop, found):
    lab.parquet({"x": [1, 1]})
    status = lab.check([prop("x", "integer", {"unique": True})], spec={"engine": {"sampling": {"rows": 1000}}})
    assert found(status, "unique").verdict == "Fail"


def test_given_a_sample_when_a_sql_rule_fails_then_its_message_does_not_speak_of_the_sample(lab, prop, found):
    lab.parquet({"x": [1] * 5000})
    rule = {"type": "sql", "query": "SELECT COUNT(*) FROM orders", "mustBe": 0}
    spec = {"engine": {"sampling": {"rows": 1000}}}
    result = found(lab.check([prop("x", "integer")], spec=spec, table={"quality": [rule]}), "sql")
    assert result.observed == "5000"
    assert "sample" not in result.message


def test_given_limits_of_items_on_a_number_when_checked_then_they_are_unknown_and_the_type_fails(lab, prop, found):
    status = one(lab, prop, [1], "array", minItems=1)
    assert (found(status, "type").verdict, found(status, "minItems").verdict) == ("Fail", "Unknown")
    assert "have no items" in found(status, "minItems").message


def test_given_a_table_larger_than_one_pass_when_grouped_then_the_passes_add_up(lab, prop, found, monkeypatch):
    monkeypatch.setattr(checks, "ROWS_AT_ONCE", 7)
    lab.parquet({"x": [*range(100), 5, 6, 6, None], "y": ["a", "b"] * 52, "z": [1.5] * 104})
    key = {"primaryKey": True}
    properties = [prop("x", "integer", {"unique": True}), prop("y", "string", key), prop("z", "number", key)]
    status = lab.check(properties)
    assert found(status, "unique", "x").observed == "3 of 103 rows repeat a value of another row"
    assert found(status, "primaryKey", "y, z").observed == "102 of 104 rows repeat a value of another row"


def test_given_not_a_number_in_parquet_when_a_range_is_checked_then_it_is_no_value_in_the_range(lab, prop, found):
    lab.parquet({"x": [float("nan"), 1.0, 2.0]})
    status = lab.check([prop("x", "number", minimum=0, maximum=10)])
    assert status.verdict == "Fail", status.results


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("^ORD-[0-9{6}$", "no regular expression: missing ] at [0-9{6}$"),
        ("(a", "no regular expression: missing ) at (a"),
        ("(?=a)b", "no look-around and no back-references"),
        (r"(a)\1", "no look-around and no back-references"),
        (r"\y", "no regular expression: invalid escape sequence"),
    ],
)
def test_given_a_pattern_that_is_none_when_checked_then_its_own_mistake_is_named(lab, prop, found, pattern, said):
    status = one(lab, prop, ["a"], pattern=pattern)
    assert found(status, "pattern").verdict == "Unknown"
    assert said in found(status, "pattern").message
