import re
from decimal import Decimal

import pyarrow as pa
import pytest

from weir.contract.metricrules import COLUMN_METRICS
from weir.contract.model import Comparison
from weir.jobs.quality import holds


@pytest.mark.parametrize(
    ("operator", "values", "inside", "outside"),
    [
        ("mustBe", (5,), [5], [4.9]),
        ("mustNotBe", (5,), [4], [5]),
        ("mustBeGreaterThan", (5,), [6], [5]),
        ("mustBeGreaterOrEqualTo", (5,), [5], [4]),
        ("mustBeLessThan", (5,), [4], [5]),
        ("mustBeLessOrEqualTo", (5,), [5], [6]),
        ("mustBeBetween", (1, 5), [2, 4.9], [1, 5, 0]),
        ("mustNotBeBetween", (1, 5), [1, 5, 0, 6], [2]),
    ],
)
def test_given_an_operator_when_compared_then_ends_are_as_the_standard_says(operator, values, inside, outside):
    comparison = Comparison(operator, tuple(Decimal(value) for value in values))
    assert all(holds(value, comparison) for value in inside)
    assert not any(holds(value, comparison) for value in outside)


VALUES = ["a", "b", "b", None, "", "N/A", "zz", "zz"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"metric": "nullValues"}, 1),
        ({"metric": "missingValues"}, 2),
        ({"metric": "missingValues", "arguments": {"missingValues": [None, "", "N/A"]}}, 3),
        ({"metric": "missingValues", "arguments": {"missingValues": ["N/A"]}}, 1),
        ({"metric": "invalidValues", "arguments": {"validValues": ["a", "b"]}}, 4),
        ({"metric": "invalidValues", "arguments": {"pattern": "^[a-z]$"}}, 4),
        ({"metric": "duplicateValues"}, 2),
        ({"metric": "nullValues", "unit": "percent"}, 12.5),
        ({"metric": "duplicateValues", "unit": "percent"}, 100 * 2 / 7),
    ],
)
def test_given_a_library_metric_when_checked_then_its_value_is_compared(lab, prop, found, rule, expected):
    lab.parquet({"x": VALUES})
    exact = {"mustBeGreaterThan": expected - 0.01, "mustBeLessThan": expected + 0.01}
    assert lab.check([prop("x", more={"quality": [{**rule, **exact}]})]).verdict == "Pass"
    status = lab.check([prop("x", more={"quality": [{**rule, "name": "q", "mustBeGreaterThan": expected + 0.01}]})])
    result = found(status, rule["metric"])
    assert (result.verdict, result.name, result.column) == ("Fail", "q", "x")


def test_given_rules_of_a_table_when_checked_then_rows_and_combinations_are_counted(lab, prop, found):
    lab.parquet({"a": [1, 1, 2], "b": [1, 1, 1]})
    quality = [
        {"metric": "rowCount", "mustBe": 3},
        {"metric": "rowCount", "mustBeGreaterThan": 3},
        {"metric": "duplicateValues", "arguments": {"properties": ["a", "b"]}, "mustBe": 0},
    ]
    status = lab.check([prop("a", "integer"), prop("b", "integer")], table={"quality": quality})
    assert found(status, "rowCount").observed == "3 rows"
    assert found(status, "duplicateValues").observed == "1 of 3 rows"


@pytest.mark.parametrize("severity", ["info", "warning", "low", "minor", "trivial", "Warning"])
def test_given_a_lenient_severity_when_broken_then_it_warns(lab, prop, severity):
    lab.parquet({"a": [1]})
    quality = [{"metric": "rowCount", "mustBe": 9, "severity": severity}]
    assert lab.check([prop("a", "integer")], table={"quality": quality}).verdict == "Warn"


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "custom", "engine": "soda", "implementation": "x"},
        {"metric": "nullValues"},
        {"metric": "unheardOf", "mustBe": 0},
        {"metric": "invalidValues", "mustBe": 0},
        {"metric": "nullValues", "mustBe": "many"},
        {"type": "sql", "query": "SELECT count(*) FROM read_csv('/etc/passwd')", "mustBe": 0},
        {"type": "sql", "query": "SELECT x FROM orders", "mustBe": 0},
        {"type": "sql", "query": "SELECT max(x) FROM orders WHERE false", "mustBe": 0},
        {"type": "sql", "query": "SELECT count(nope) FROM orders", "mustBe": 0},
        {"type": "sql", "query": "SELECT count(*) FROM orders"},
        {"type": "sql", "query": "SELECT 'text'", "mustBe": 0},
    ],
    ids=str,
)
def test_given_a_rule_that_cannot_be_decided_when_checked_then_unknown_and_others_are_unharmed(lab, prop, found, rule):
    lab.parquet({"x": [1, 2, None]})
    status = lab.check([prop("x", "integer", {"required": True, "quality": [rule]})])
    assert found(status, rule.get("metric") or rule["type"]).verdict == "Unknown"
    assert found(status, "required").verdict == "Fail"
    assert status.servers[0].unknown == 1


def test_given_words_for_people_when_checked_then_they_are_no_rule(lab, prop):
    lab.parquet({"x": [1]})
    quality = [{"type": "text", "description": "must be nice"}]
    status = lab.check([prop("x", "integer", {"quality": quality})])
    assert (status.verdict, status.servers[0].passed) == ("Pass", 1)


def test_given_sql_over_two_tables_when_checked_then_both_are_read_with_their_partition(lab, prop, found):
    lab.parquet({"id": [1, 2, 3], "customer": [1, 2, 9]})
    lab.parquet({"id": [1, 2]}, name="customers.parquet")
    query = "SELECT COUNT(*) FROM orders o LEFT JOIN customers c ON o.customer = c.id WHERE c.id IS NULL"
    rule = {"type": "sql", "name": "orphans", "query": query, "mustBe": 0}
    schema = [
        {"name": "orders", "properties": [prop("id", "integer"), prop("customer", "integer")], "quality": [rule]},
        {"name": "customers", "properties": [prop("id", "integer")]},
    ]
    assert found(lab.check([], document={"schema": schema}), "sql").observed == "1"
    servers = {"lake": {"spec": {"partition": "id < 3"}}}
    assert lab.check([], document={"schema": schema}, servers=servers).verdict == "Pass"


def test_given_a_physical_name_when_sql_uses_either_then_the_table_is_found(lab, prop):
    lab.parquet({"x": [1]}, name="orders_v2.parquet")
    rules = [
        {"type": "sql", "query": f"SELECT COUNT(*) FROM {name}", "mustBe": 1}
        for name in ("orders", "orders_v2", "{object}", "shop.orders_v2")
    ]
    table = {"physicalName": "orders_v2", "quality": rules}
    assert lab.check([prop("x", "integer")], table=table).servers[0].passed == 4
    assert lab.check([prop("x", "integer")], table=table).servers[0].unknown == 1


RULES = {"name": "r", "message": "too many"}


@pytest.mark.parametrize(
    ("cel", "verdict"),
    [
        ("metrics.orders.rowCount == 4", "Pass"),
        ("metrics.orders.nullRatio.x < 0.3 && metrics.orders.nullCount.x == 1", "Pass"),
        ("metrics.orders.distinct.x >= 2 && metrics.orders.min.x == 1 && metrics.orders.max.x == 3", "Pass"),
        ("metrics.orders.mean.x == 2.0", "Pass"),
        ("metrics.orders.min.day >= '2026-01-01'", "Pass"),
        ("metrics.orders.nullRatio.x < 0.01", "Fail"),
        ("metrics.orders.nullRatio.nothing < 0.01", "Unknown"),
        ("metrics.customers.rowCount > 0", "Unknown"),
        ("metrics.orders.rowCount", "Unknown"),
        ("this is no cel", "Unknown"),
        ("[1, 2].map(x, [1, 2].map(y, x)).size() > 0 && metrics.orders.rowCount > 5", "Fail"),
    ],
)
def test_given_a_rule_over_metrics_when_checked_then_cel_decides(lab, prop, found, cel, verdict):
    import datetime as dt

    lab.parquet({"x": [1, 2, 3, None], "day": [dt.date(2026, 1, 1)] * 4})
    spec = {"rules": [{**RULES, "cel": cel}]}
    status = lab.check([prop("x", "integer"), prop("day", "date")], spec=spec)
    assert status.verdict == verdict
    if verdict == "Fail":
        assert "too many" in found(status, "rule").message


@pytest.mark.parametrize("metric", COLUMN_METRICS)
def test_given_a_metric_that_rules_may_name_when_checked_then_it_is_measured(lab, prop, metric):
    lab.parquet({"x": [1, 2, 3, None]})
    spec = {"rules": [{**RULES, "cel": f"metrics.orders.{metric}.x > 0"}]}
    assert lab.check([prop("x", "integer")], spec=spec).verdict == "Pass"


def test_given_a_rule_of_severity_warning_when_broken_then_it_warns(lab, prop):
    lab.parquet({"x": [1]})
    spec = {"rules": [{**RULES, "cel": "metrics.orders.rowCount > 5", "severity": "Warning"}]}
    assert lab.check([prop("x", "integer")], spec=spec).verdict == "Warn"


@pytest.mark.parametrize(
    ("freshness", "verdict"),
    [
        ({"failAfter": "2h"}, "Pass"),
        ({"warnAfter": "30m", "failAfter": "2h"}, "Warn"),
        ({"failAfter": "30m"}, "Fail"),
        ({"element": "orders.nothing", "failAfter": "2h"}, "Unknown"),
        ({"element": "orders.x", "failAfter": "2h"}, "Unknown"),
    ],
)
def test_given_the_newest_row_is_an_hour_old_when_checked_then_freshness_decides(lab, prop, freshness, verdict):
    import datetime as dt

    newest = dt.datetime(2026, 9, 21, 13, 13, 20)
    lab.parquet({"at": [newest, newest - dt.timedelta(days=9), None], "x": [1, 2, 3]})
    spec = {"freshness": {"element": "orders.at", **freshness}}
    assert lab.check([prop("at", "timestamp"), prop("x", "integer")], spec=spec).verdict == verdict


@pytest.mark.parametrize(
    ("sla", "verdict"),
    [
        ({"property": "latency", "value": 2, "unit": "h"}, "Pass"),
        ({"property": "latency", "value": 30, "unit": "m"}, "Fail"),
        ({"property": "freshness", "value": "1", "unit": "d"}, "Pass"),
        ({"property": "retention", "value": 30, "unit": "days"}, "Pass"),
        ({"property": "retention", "value": 1, "unit": "w"}, "Fail"),
        ({"property": "latency", "value": 1, "unit": "fortnight"}, "Unknown"),
        ({"property": "latency", "value": "soon", "unit": "d"}, "Unknown"),
        ({"property": "availability", "value": 99.9, "unit": "%"}, "Pass"),
    ],
)
def test_given_a_service_level_when_checked_then_ages_are_compared(lab, prop, sla, verdict):
    import datetime as dt

    newest = dt.datetime(2026, 9, 21, 13, 13, 20, tzinfo=dt.UTC)
    lab.parquet({"at": [newest, newest - dt.timedelta(days=9)]})
    document = {"slaProperties": [{"element": "orders.at", **sla}]}
    assert lab.check([prop("at", "timestamp")], document=document).verdict == verdict


def test_given_the_element_is_absent_in_the_environment_when_checked_then_no_age_is_asked(lab, prop):
    lab.parquet({"x": [1]})
    spec = {
        "freshness": {"element": "orders.at", "failAfter": "2h"},
        "environments": [{"name": "offline", "exclude": ["orders.at"]}],
        "servers": [{"name": "lake", "odcsServer": "lake", "environment": "offline"}],
    }
    assert lab.check([prop("at", "timestamp"), prop("x", "integer")], spec=spec).verdict == "Pass"


def test_given_a_snapshot_for_training_when_checked_then_it_may_be_old(lab, prop):
    import datetime as dt

    old = dt.datetime(2020, 1, 1)
    for server in ("lake", "train"):
        lab.parquet({"at": [old]}, server=server)
    spec = {"freshness": {"element": "orders.at", "failAfter": "2h"}, "reference": {"server": "train"}}
    status = lab.check([prop("at", "timestamp")], spec=spec, servers={"lake": {}, "train": {}})
    assert {server.name: server.verdict for server in status.servers} == {"lake": "Fail", "train": "Pass"}


def test_given_a_table_without_rows_when_its_freshness_is_asked_then_unknown(lab, prop):
    lab.parquet({"at": pa.array([], pa.timestamp("us"))})
    spec = {"freshness": {"element": "orders.at", "failAfter": "2h"}}
    assert lab.check([prop("at", "timestamp")], spec=spec).verdict == "Unknown"


def test_given_queries_without_a_name_when_broken_then_each_is_told_by_its_text_and_description(lab, prop):
    lab.parquet({"x": [1, 2]})
    long = "SELECT COUNT(*) FROM orders WHERE x > 0 " + "AND x > 0 " * 20
    rules = [
        {"type": "sql", "query": "SELECT MAX(x)\n FROM orders", "mustBe": 1, "description": "one\n at most"},
        {"type": "sql", "query": long, "mustBe": 0},
    ]
    first, second = lab.check([prop("x", "integer")], table={"quality": rules}).results
    assert first.name == "SELECT MAX(x) FROM orders"
    assert first.message == "orders: SELECT MAX(x) FROM orders is 2; the contract requires = 1 (one at most)"
    assert second.name == long[:80] + "…"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT MAX(name) FROM orders", "a query must answer with one number"),
        ("SELECT MAX(gone) FROM orders", 'the engine refuses it: Referenced column "gone" not found'),
    ],
)
def test_given_a_query_that_cannot_be_answered_when_checked_then_it_is_said_in_words(lab, prop, found, query, said):
    lab.parquet({"name": ["a"]})
    rule = {"type": "sql", "query": query, "mustBe": 1}
    result = found(lab.check([prop("name")], table={"quality": [rule]}), "sql")
    assert said in result.message
    assert not re.search("Exception|Error", result.message)


@pytest.mark.parametrize(
    ("cel", "said"),
    [
        ("metrics.orders.rowCount", "it is a value and no condition"),
        ("metrics.orders.max.name", "it is a value and no condition"),
        ("metrics.orders.nullRatio.nmae < 0.1", '"nmae" is no table, metric or column that was measured'),
        ("metrics.orders.rowCount > ", "it is no CEL that can be read"),
        ("metrics.orders.max.name > 5", "values of different types"),
    ],
)
def test_given_a_rule_over_metrics_that_cannot_be_judged_when_checked_then_it_is_said_in_words(
    lab, prop, found, cel, said
):
    lab.parquet({"name": ["secret", "secret"]})
    result = found(lab.check([prop("name")], spec={"rules": [{**RULES, "cel": cel}]}), "rule")
    assert (result.verdict, said in result.message) == ("Unknown", True), result.message
    assert "secret" not in result.message
