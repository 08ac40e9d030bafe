from pathlib import Path

import duckdb
import pytest

from weir.jobs import duck

GIBIBYTE = 1 << 30


@pytest.fixture
def backend(lab):
    lab.parquet({"x": [1]})
    lab.parquet({"x": [1]}, server="other")
    backend = duck.connect(GIBIBYTE, [lab.folder()], lab.root)
    yield backend
    backend.disconnect()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{root}/data/other/orders.parquet')",
        "SELECT * FROM read_parquet('{root}/data/lake/../other/orders.parquet')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '/tmp/weir-escaped.csv'",
        "ATTACH '/tmp/weir-escaped.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '64GB'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "PRAGMA threads = 64",
        "SELECT getenv('HOME')",
        "SELECT * FROM backend",
    ],
)
def test_given_the_locked_connection_when_it_is_asked_to_leave_its_folder_then_it_refuses(lab, backend, statement):
    with pytest.raises(duckdb.Error):
        backend.con.execute(statement.replace("{root}", str(lab.root))).fetchall()
    assert not Path("/tmp/weir-escaped.csv").exists()
    assert not Path("/tmp/weir-escaped.db").exists()


def test_given_the_locked_connection_when_it_reads_its_own_folder_then_it_may(lab, backend):
    assert backend.con.execute(f"SELECT * FROM read_parquet('{lab.folder()}/orders.parquet')").fetchall() == [(1,)]


@pytest.mark.parametrize(("container", "share"), [(256, 64), (384, 84), (512, 212), (1024, 614), (4096, 2457)])
def test_given_a_container_when_memory_is_shared_then_python_keeps_what_it_needs(container, share):
    assert duck.memory_bytes(container << 20) >> 20 == share
