"""Object stores through pyarrow's file systems; a folder stands for the store, since only its listing and reads count."""

import pyarrow.fs
import pytest

from weir.contract.model import OdcsServer
from weir.jobs import objectstore


@pytest.fixture(autouse=True)
def store(lab, monkeypatch):
    """`s3://bucket/…` is the folder of a server named bucket."""
    root = lab.folder("bucket").parent
    monkeypatch.setattr(
        objectstore,
        "filesystem",
        lambda server, settings: pyarrow.fs.SubTreeFileSystem(str(root), pyarrow.fs.LocalFileSystem()),
    )


def server(location, form="parquet"):
    return {"store": {"type": "s3", "location": location, "format": form, "path": None}}


@pytest.mark.parametrize(
    "location",
    ["s3://bucket/orders/a.parquet", "s3://bucket/{model}/*.parquet", "s3://bucket/orders", "s3://bucket/**/*.parquet"],
)
def test_given_parquet_in_a_store_when_checked_then_its_rows_count(lab, prop, found, location):
    lab.parquet({"x": [1, 2, None]}, name="orders/a.parquet", server="bucket")
    status = lab.check([prop("x", "integer", {"required": True, "unique": True}, minimum=2)], servers=server(location))
    assert found(status, "required").observed == "1 of 3 rows are null"
    assert found(status, "minimum").observed == "1 of 3 rows are below 2"
    assert status.servers[0].dataset.startswith("files:")


def test_given_partition_folders_in_a_store_when_checked_then_the_folder_is_the_column(lab, prop):
    lab.parquet({"x": [1]}, name="orders/dt=2026-09-20/a.parquet", server="bucket")
    lab.parquet({"x": [2, 3]}, name="orders/dt=2026-09-21/a.parquet", server="bucket")
    servers = server("s3://bucket/orders")
    servers["store"]["spec"] = {"partition": "dt = '{{date}}'"}
    assert lab.check([prop("x", "integer")], servers=servers).servers[0].rows == 2


def test_given_csv_in_a_store_when_checked_then_text_is_typed(lab, prop, found):
    (lab.folder("bucket") / "orders.csv").write_text("x,y\n1,a\nzwei,\n")
    properties = [prop("x", "integer"), prop("y", more={"required": True})]
    status = lab.check(properties, servers=server("s3://bucket/{model}.csv", "csv"))
    assert found(status, "type").observed == "1 of 2 rows are no integer"
    assert found(status, "required").observed == "1 of 2 rows are null"


def test_given_json_lines_in_a_store_when_checked_then_its_rows_count(lab, prop, found):
    (lab.folder("bucket") / "orders.json").write_text('{"x": 1}\n{"x": null}\n')
    status = lab.check([prop("x", "integer", {"required": True})], servers=server("s3://bucket/orders.json", "json"))
    assert found(status, "required").observed == "1 of 2 rows are null"


@pytest.mark.parametrize(
    "location", ["s3://bucket/none.parquet", "s3://bucket/none/*", "gs://bucket/x", "/etc/passwd", ""]
)
def test_given_nothing_at_the_location_when_checked_then_unknown(lab, prop, location):
    assert lab.check([prop("x", "integer")], servers=server(location)).verdict == "Unknown"


def test_given_an_endpoint_and_keys_when_a_file_system_is_made_then_it_takes_them(monkeypatch):
    taken = {}
    monkeypatch.undo()
    monkeypatch.setattr(pyarrow.fs, "S3FileSystem", lambda **arguments: taken.update(arguments))
    fields = {"endpointUrl": "http://minio.store:9000"}
    keys = {"access_key_id": "a", "secret_access_key": "b", "region": "eu"}
    objectstore.filesystem(OdcsServer("s", "s3", fields), keys)
    assert (taken["endpoint_override"], taken["scheme"], taken["access_key"]) == ("minio.store:9000", "http", "a")
