import psycopg
import pytest

from tests.unit.postgres import postgres

PROPERTIES = [("id", "integer"), ("email", "string"), ("at", "timestamp")]


@pytest.fixture(scope="module")
def database():
    """A PostgreSQL with the table shop.orders of three rows, and a table that no contract names."""
    with postgres(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id bigint, email varchar(64), at timestamptz, tags text[], total numeric(10,2))",
        "INSERT INTO shop.orders VALUES (1, 'a@x', '2026-09-21T14:00:00Z', '{a,b}', 1.5), "
        "(2, NULL, '2026-09-20T00:00:00Z', '{}', 2), (2, 'nope', NULL, NULL, -3)",
        "CREATE TABLE public.secrets (word text)",
        "INSERT INTO public.secrets VALUES ('hidden')",
    ) as address:
        yield psycopg.conninfo.conninfo_to_dict(address)


@pytest.fixture
def warehouse(lab, database):
    """Servers of a contract on that database; the login comes from the environment."""
    names = {"user": "USERNAME", "password": "PASSWORD", "host": "HOST"}
    lab.environment = {f"WARE_HOUSE_{names[key]}": value for key, value in database.items() if key in names}
    fields = {"type": "postgres", "host": "nowhere", "database": database["dbname"], "schema": "shop"}
    return {"ware-house": {**fields, "path": None, "format": None, "port": int(database.get("port", 5432))}}


def test_given_rows_in_postgres_when_checked_then_rules_are_asked_there(lab, prop, found, warehouse):
    properties = [
        prop("id", "integer", {"unique": True, "physicalType": "bigint"}),
        prop("email", "string", {"required": True, "physicalType": "varchar(64)"}, pattern="@"),
        prop("tags", "array", minItems=1),
        prop("total", "number", {"physicalType": "numeric(10,2)"}, minimum=0),
    ]
    status = lab.check(properties, servers=warehouse)
    assert status.verdict == "Fail"
    assert found(status, "required").observed == "1 of 3 rows are null"
    assert found(status, "pattern").observed == "1 of 3 rows do not match the pattern"
    assert found(status, "unique").observed.startswith("1 of 3 rows repeat")
    assert found(status, "minimum").column == "total"
    assert status.servers[0].rows == 3
    assert not [result for result in status.results if result.verdict == "Unknown" and result.rule != "minItems"]


def test_given_another_native_type_when_checked_then_the_physical_type_fails(lab, prop, found, warehouse):
    properties = [
        prop("id", "integer", {"physicalType": "integer"}),
        prop("at", "timestamp", {"physicalType": "timestamp"}),
    ]
    status = lab.check(properties, servers=warehouse)
    assert found(status, "physicalType", "id").observed == "type int64"
    assert found(status, "physicalType", "at").verdict == "Fail"


def test_given_the_newest_row_when_checked_then_its_age_is_measured(lab, prop, found, warehouse):
    spec = {"freshness": {"element": "orders.at", "failAfter": "10m"}}
    status = lab.check([prop("at", "timestamp")], servers=warehouse, spec=spec)
    assert found(status, "freshness").observed == "13.3 m old"


def test_given_a_partition_when_checked_then_only_its_rows_count(lab, prop, warehouse):
    warehouse["ware-house"]["spec"] = {"partition": "at >= '{{date}}'"}
    status = lab.check([prop("email", more={"required": True})], servers=warehouse)
    assert (status.verdict, status.servers[0].rows) == ("Pass", 1)


def test_given_sql_rules_when_checked_then_they_are_answered(lab, prop, found, warehouse):
    rules = [
        {"type": "sql", "name": "negative", "query": "SELECT COUNT(*) FROM {object} WHERE total < 0", "mustBe": 0},
        {"type": "sql", "name": "average", "query": "SELECT avg(total) FROM orders", "mustBeLessThan": 1},
    ]
    status = lab.check([prop("id", "integer")], servers=warehouse, table={"quality": rules})
    assert found(status, "sql").name == "negative"
    assert status.servers[0].passed == 2


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM public.secrets",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT count(*) FROM pg_catalog.pg_class",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone",
        "DROP TABLE shop.orders",
        "SELECT pg_sleep(60)",
        "SELECT count(*) FROM orders; DROP TABLE shop.orders",
    ],
)
def test_given_a_malicious_rule_when_checked_then_unknown_and_nothing_happens(
    lab, prop, found, warehouse, database, query
):
    rule = [{"type": "sql", "query": query, "mustBe": 0}]
    status = lab.check([prop("id", "integer")], servers=warehouse, table={"quality": rule})
    assert found(status, "sql").verdict == "Unknown"
    assert status.servers[0].rows == 3


def test_given_the_session_when_a_write_is_tried_past_the_guard_then_the_server_refuses(lab, prop, warehouse):
    from weir.contract.document import parse
    from weir.jobs.tables import Servers

    plan = lab.plan([prop("id", "integer")], servers=warehouse)
    document = parse(plan.odcs)
    with Servers(plan, document, lab.environment, lab.root) as servers:
        servers.limit(60)
        backend = servers.source("ware-house", document.tables[0]).table.get_backend()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            backend.con.execute("CREATE TABLE shop.made (x int)")


def test_given_a_slow_query_when_the_time_is_over_then_the_rule_is_unknown_and_says_so(lab, prop, found, warehouse):
    slow = "SELECT count(*) FROM orders a " + "".join(f", orders t{i}" for i in range(18))
    rule = [{"type": "sql", "query": slow, "mustBe": 0}]
    spec = {"engine": {"timeout": "3s"}}
    status = lab.check([prop("id", "integer")], servers=warehouse, table={"quality": rule}, spec=spec)
    assert "time limit" in found(status, "sql").message
    assert status.finished_at - status.started_at < 30


def test_given_a_missing_table_when_checked_then_it_fails(lab, prop, found, warehouse):
    status = lab.check([prop("id", "integer")], servers=warehouse, table={"physicalName": "gone"})
    assert (status.verdict, found(status, "table").verdict) == ("Fail", "Fail")


def test_given_the_server_is_down_when_checked_then_unknown_without_its_password(lab, prop, found, warehouse):
    lab.environment |= {"WARE_HOUSE_HOST": "127.0.0.1", "WARE_HOUSE_PORT": "1", "WARE_HOUSE_PASSWORD": "hunter2"}
    status = lab.check([prop("id", "integer")], servers=warehouse)
    assert (status.verdict, found(status, "table").verdict) == ("Unknown", "Unknown")
    assert "cannot be reached" in status.message
    assert "hunter2" not in status.model_dump_json()


def test_given_files_and_a_database_when_compared_then_leakage_is_found_across_them(lab, prop, found, warehouse):
    lab.parquet({"id": [2, 7], "email": ["nope", "x"]}, server="training")
    servers = {"training": {}, **warehouse}
    rule = {"name": "seen", "object": "orders", "training": "training", "other": "ware-house", "key": ["id", "email"]}
    status = lab.check([prop("id", "integer"), prop("email")], servers=servers, spec={"leakage": [rule]})
    assert found(status, "leakage").observed.startswith("1 of 3 rows")
