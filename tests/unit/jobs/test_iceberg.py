import json
import shutil

import pyarrow as pa
import pytest
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO, _pyarrow_to_schema_without_ids
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

SERVER = {"ice": {"path": "orders", "format": "iceberg"}}


class OneTable(MetastoreCatalog, NoopCatalog):
    """A catalog in memory of a single table: what writes real Iceberg files without a database."""

    def create(self, location, schema):
        fresh = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(schema))
        metadata = new_table_metadata(
            schema=fresh,
            partition_spec=UNPARTITIONED_PARTITION_SPEC,
            sort_order=UNSORTED_SORT_ORDER,
            location=location,
        )
        place = f"{location}/metadata/00000-first.metadata.json"
        self._write_metadata(metadata, PyArrowFileIO(), place)
        self.table = Table(("shop", "orders"), metadata, place, PyArrowFileIO(), self)
        return self.table

    def load_table(self, identifier):
        return self.table

    def commit_table(self, table, requirements, updates):
        staged = self._update_and_stage_table(self.table, table.name(), requirements, updates)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        self.table = Table(table.name(), staged.metadata, staged.metadata_location, staged.io, self)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)


@pytest.fixture
def table(lab):
    """An Iceberg table in the folder of the server, with two files of three rows each."""
    schema = pa.schema({"id": pa.int64(), "email": pa.string()})
    table = OneTable("test").create(f"file://{lab.folder('ice')}/orders", schema)
    table.append(pa.table({"id": [1, 2, 3], "email": ["a@x", "b@x", None]}, schema=schema))
    table.append(pa.table({"id": [4, 5, 6], "email": ["d@x", "e@x", "f@x"]}, schema=schema))
    return table


def test_given_an_iceberg_table_when_checked_then_all_rows_count_and_the_snapshot_is_named(lab, prop, found, table):
    status = lab.check([prop("id", "integer"), prop("email", more={"required": True})], servers=SERVER)
    assert found(status, "required").observed == "1 of 6 rows are null"
    assert status.servers[0].dataset == f"iceberg:{table.current_snapshot().snapshot_id}"
    assert status.servers[0].rows == 6


def test_given_an_old_snapshot_was_replaced_when_checked_then_only_current_rows_count(lab, prop, table):
    table.overwrite(pa.table({"id": [7], "email": ["g@x"]}))
    status = lab.check([prop("email", more={"required": True})], servers=SERVER)
    assert (status.verdict, status.servers[0].rows) == ("Pass", 1)


def test_given_rows_were_deleted_and_a_column_renamed_when_checked_then_the_schema_of_now_counts(lab, prop, table):
    table.delete("id = 3")
    with table.update_schema() as update:
        update.rename_column("email", "mail")
    status = lab.check([prop("mail", more={"required": True})], servers=SERVER)
    assert (status.verdict, status.servers[0].rows) == ("Pass", 5)


def test_given_the_folder_was_moved_when_checked_then_files_are_found_beside_the_metadata(lab, prop, table):
    shutil.move(lab.folder("ice") / "orders", lab.folder("other") / "orders")
    status = lab.check([prop("id", "integer")], servers={"other": SERVER["ice"]})
    assert (status.verdict, status.servers[0].rows) == ("Pass", 6)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "file:///etc/passwd", "https://example.com/x.avro", "s3://b/x.avro"]
)
def test_given_metadata_that_names_a_file_elsewhere_when_checked_then_unknown_and_nothing_is_read(
    lab, prop, found, table, location
):
    metadata = sorted((lab.folder("ice") / "orders" / "metadata").glob("*.metadata.json"))[-1]
    content = json.loads(metadata.read_text())
    for snapshot in content["snapshots"]:
        snapshot["manifest-list"] = location
    metadata.write_text(json.dumps(content))
    status = lab.check([prop("id", "integer")], servers=SERVER)
    assert status.verdict == "Unknown"
    assert "folder of the server" in found(status, "table").message


def test_given_metadata_that_names_a_class_to_load_when_checked_then_it_is_not_loaded(lab, prop, table):
    metadata = sorted((lab.folder("ice") / "orders" / "metadata").glob("*.metadata.json"))[-1]
    content = json.loads(metadata.read_text())
    content["properties"]["py-io-impl"] = "no.such.module.Evil"
    metadata.write_text(json.dumps(content))
    assert lab.check([prop("id", "integer")], servers=SERVER).verdict == "Pass"
