"""The same expressions as SQL of engines that are not run here: that they can be pushed down, no more."""

import ibis
import pytest
import sqlglot

from weir.contract.document import parse
from weir.jobs import checks, quality
from weir.jobs.checks import Look
from weir.jobs.outcome import Check, Outcome
from weir.jobs.tables import Source

SCHEMA = {
    "id": "int64",
    "email": "string",
    "age": "int64",
    "score": "float64",
    "day": "date",
    "at": "timestamp",
    "flag": "boolean",
    "tags": "array<string>",
    "address": "struct<zip: string>",
}
ENGINES = ["trino", "snowflake", "bigquery", "databricks", "postgres", "clickhouse", "duckdb"]


@pytest.fixture
def look(prop):
    properties = [
        prop("id", "integer", {"primaryKey": True, "primaryKeyPosition": 1}),
        prop("email", "string", {"required": True, "unique": True}, pattern="@", minLength=3, maxLength=99),
        prop("age", "integer", minimum=0, exclusiveMaximum=120, multipleOf=1),
        prop("score", "number", minimum=0, maximum=1, multipleOf=0.01),
        prop("day", "date", minimum="2026-01-01"),
        prop("at", "timestamp", maximum="2030-01-01T00:00:00Z"),
        prop("flag", "boolean", {"enum": [{"value": True}]}),
        prop("tags", "array", {"items": prop("", "string", minLength=1)}, minItems=1),
        prop("address", "object", {"properties": [prop("zip", "string", {"required": True})]}),
    ]
    missing = {"metric": "missingValues", "arguments": {"missingValues": [None, "", "N/A"]}, "mustBe": 0}
    properties[1]["quality"] = [missing]
    document = parse(
        {
            "apiVersion": "v3.2.0",
            "kind": "DataContract",
            "id": "orders",
            "version": "1.0.0",
            "schema": [{"name": "orders", "properties": properties}],
        }
    )
    table = ibis.table(SCHEMA, name="orders")
    return Look(document.tables[0], Source(table)), document


@pytest.mark.parametrize("engine", ENGINES)
def test_given_the_rules_of_a_table_when_compiled_for_an_engine_then_they_are_one_query_it_could_parse(
    look, engine, monkeypatch
):
    look, document = look
    # A table without a backend; the passes over a large one are DuckDB's.
    monkeypatch.setattr(Source, "in_pod", False)
    rules = [*checks.checks(look), *quality.checks(look, document, lambda name: look.source)]
    asked = [rule for rule in rules if isinstance(rule, Check)]
    assert not [rule for rule in rules if isinstance(rule, Outcome) and rule.verdict != "Pass"]
    together = {f"a{i}": e for i, e in enumerate(e for c in asked if not c.alone for e in c.aggregates)}
    assert len(together) > 30
    queries = [look.rows.aggregate(**together), *(query for check in asked for query in check.alone)]
    assert len(queries) == 3
    for query in queries:
        text = str(ibis.to_sql(query, dialect=engine))
        assert len(sqlglot.parse(text, dialect=engine)) == 1
