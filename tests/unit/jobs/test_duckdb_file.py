import duckdb
import pytest


@pytest.fixture
def servers(lab):
    with duckdb.connect(str(lab.folder() / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE orders AS SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(id, email)")
        connection.execute("CREATE SCHEMA old")
        connection.execute("CREATE TABLE old.orders AS SELECT 1 AS id")
    return {"lake": {"type": "duckdb", "database": "shop.duckdb", "path": None, "format": None}}


def test_given_a_duckdb_file_when_checked_then_its_table_is_read(lab, prop, found, servers):
    properties = [
        prop("id", "integer", {"unique": True, "physicalType": "INTEGER"}),
        prop("email", more={"required": True}),
    ]
    status = lab.check(properties, servers=servers)
    assert found(status, "required").observed == "1 of 2 rows are null"
    assert len(status.results) == 1


def test_given_a_schema_in_the_physical_name_when_checked_then_that_table_is_read(lab, prop, servers):
    status = lab.check([prop("id", "integer")], servers=servers, table={"physicalName": "old.orders"})
    assert (status.verdict, status.servers[0].rows) == ("Pass", 1)


def test_given_a_table_that_is_missing_when_checked_then_it_fails(lab, prop, found, servers):
    status = lab.check([prop("id", "integer")], servers=servers, table={"physicalName": "gone"})
    assert found(status, "table").verdict == "Fail"


def test_given_a_path_out_of_the_folder_when_checked_then_unknown(lab, prop, servers):
    servers["lake"]["database"] = "../../outside.duckdb"
    duckdb.connect(str(lab.root / "outside.duckdb")).close()
    assert lab.check([prop("id", "integer")], servers=servers).verdict == "Unknown"
