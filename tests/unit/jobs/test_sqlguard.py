import pytest

from weir.jobs import sqlguard
from weir.jobs.outcome import Undecidable

NAMES = sqlguard.names([("orders", "public.orders"), ("customers", "crm.customers")])


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "trino", "snowflake", "bigquery", "databricks"])
@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("SELECT COUNT(*) FROM orders WHERE total < 0", {"orders"}),
        ("SELECT COUNT(*) FROM public.orders", {"orders"}),
        ("SELECT AVG(o.total) FROM orders AS o JOIN customers AS c ON o.customer = c.id", {"orders", "customers"}),
        ("WITH big AS (SELECT id FROM orders WHERE total > 9) SELECT COUNT(*) FROM big", {"orders"}),
        ("SELECT SUM(CASE WHEN x > 1 THEN 1 ELSE 0 END) * 1.0 / COUNT(*) FROM orders", {"orders"}),
        ("SELECT COUNT(*) FROM orders WHERE id IN (SELECT id FROM customers)", {"orders", "customers"}),
        ("SELECT MAX(n) FROM (SELECT id, COUNT(*) AS n FROM orders GROUP BY id) AS t", {"orders"}),
        ("SELECT COUNT(*) FROM orders WHERE at < CURRENT_TIMESTAMP", {"orders"}),
    ],
)
def test_given_a_plain_select_when_guarded_then_it_reads_the_contracts_tables_by_our_names(query, read, dialect):
    guarded = sqlguard.guard(query, dialect, NAMES)
    text = guarded.query.sql(dialect)
    assert guarded.tables == read
    assert all(f"weir_table_{name}" in text for name in read)
    assert "public" not in text


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE orders",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE orders",
        "SELECT COUNT(*) FROM orders; --\n DELETE FROM orders",
        "DELETE FROM orders",
        "UPDATE orders SET total = 0",
        "INSERT INTO orders SELECT * FROM orders",
        "CREATE TABLE t AS SELECT 1",
        "SELECT COUNT(*) INTO t FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT COUNT(*) FROM gone",
        "SELECT COUNT(*) FROM orders FOR UPDATE",
        "ATTACH 'x.db' AS x",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "LOAD httpfs",
        "COPY orders TO 'x.csv'",
        "SET memory_limit = '1TB'",
        "CALL pragma_version()",
        "EXPLAIN SELECT 1",
        "SUMMARIZE orders",
        "VALUES (1)",
        "SELECT COUNT(*) FROM read_csv('/etc/passwd')",
        "SELECT COUNT(*) FROM read_parquet('s3://bucket/x')",
        "SELECT COUNT(*) FROM read_text('/plan/plan.json')",
        "SELECT COUNT(*) FROM '/etc/passwd'",
        'SELECT COUNT(*) FROM "/data/other/secret.parquet"',
        "SELECT COUNT(*) FROM glob('/*')",
        "SELECT COUNT(*) FROM duckdb_settings()",
        "SELECT COUNT(*) FROM query('SELECT 1')",
        "SELECT COUNT(*) FROM query_table('secrets')",
        "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
        "SELECT current_setting('temp_directory')",
        "SELECT CURRENT_USER",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_catalog.pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT dblink('host=evil', 'SELECT 1')",
        "SELECT pg_sleep(3600)",
        "SELECT nextval('s')",
        "SELECT set_config('a', 'b', false)",
        "SELECT COUNT(*) FROM secrets",
        "SELECT COUNT(*) FROM other.orders",
        "SELECT COUNT(*) FROM information_schema.tables",
        "SELECT (SELECT COUNT(*) FROM secrets)",
        "SELECT COUNT(*) FROM orders WHERE EXISTS (FROM secrets)",
        "SELECT COUNT(*) FROM orders, LATERAL (SELECT * FROM secrets) AS s",
        "WITH orders AS (SELECT 1) SELECT COUNT(*) FROM orders",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r",
        "SELECT COUNT(*) FROM generate_series(1, 1000000000000)",
        "SELECT COUNT(*) FROM orders TABLESAMPLE (1 PERCENT)",
        "SELECT * FROM orders",
        "SELECT id, total FROM orders",
        "SELECT orders.* FROM orders",
        "SELECT $1",
        "SELECT ?",
        "not sql at all (",
        "",
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT 1 -- " + "x" * 20_000,
    ],
    ids=lambda query: query[:50],
)
def test_given_anything_else_when_guarded_then_it_is_refused_with_a_reason(query, dialect):
    with pytest.raises(Undecidable, match=r"\w+"):
        sqlguard.guard(query, dialect, NAMES)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT COUNT(*) FROM {object} WHERE {property} IS NULL",
            'SELECT COUNT(*) FROM "orders" WHERE "e""mail" IS NULL',
        ),
        (
            'SELECT COUNT(*) FROM "{object}" o WHERE o.{column} = 1',
            'SELECT COUNT(*) FROM "orders" o WHERE o."e""mail" = 1',
        ),
        ("SELECT COUNT(*) FROM ${model}", 'SELECT COUNT(*) FROM "orders"'),
    ],
)
def test_given_placeholders_when_filled_then_names_are_quoted(query, expected):
    assert sqlguard.filled(query, "orders", 'e"mail', "duckdb") == expected


def test_given_a_property_placeholder_in_a_rule_of_a_table_when_filled_then_refused():
    with pytest.raises(Undecidable, match="belongs to no property"):
        sqlguard.filled("SELECT COUNT({property}) FROM {object}", "orders", "", "duckdb")
