import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weir.api.contractcheck import ContractCheckStatus
from weir.contract.profile import Profile
from weir.jobs.plan import Plan


def test_given_a_plan_when_written_and_read_then_it_is_the_same(lab, prop, tmp_path):
    plan = lab.plan([prop("x", "integer")], spec={"engine": {"exact": True}}, reference={"version": 1, "tables": {}})
    (tmp_path / "plan.json").write_text(plan.to_json())
    assert Plan.read(tmp_path / "plan.json") == plan


def test_given_python_names_in_a_plan_when_read_then_they_are_taken(lab, prop):
    data = json.loads(lab.plan([prop("x")]).to_json())
    data["memory_limit"], data["data_root"] = data.pop("memoryLimit"), data.pop("dataRoot")
    assert Plan.model_validate(data).memory_limit == 512 << 20


def test_given_good_data_when_run_then_it_passes_with_counts_and_the_status_is_one_the_api_takes(lab, prop):
    path = lab.parquet({"x": [1, 2, 3]})
    status = lab.run(lab.plan([prop("x", "integer", {"required": True})]), wall=iter([10.0, 12.5]).__next__)
    server = status.servers[0]
    assert (status.verdict, status.message, server.passed, server.rows) == ("Pass", "2 rules passed", 2, 3)
    assert (status.started_at, status.finished_at) == (10.0, 12.5)
    assert server.dataset.startswith("files:")
    assert ContractCheckStatus.model_validate(status.to_dict()) == status
    assert path.exists()


def test_given_many_problems_when_run_then_the_worst_come_first_and_at_most_200(lab, prop):
    lab.parquet({f"x{i}": [-1] for i in range(250)})
    quality = [{"metric": "rowCount", "mustBe": 9, "severity": "info"}, {"type": "custom", "engine": "x"}]
    properties = [prop(f"x{i}", "integer", minimum=0) for i in range(250)]
    status = lab.check(properties, table={"quality": quality})
    assert [r.verdict for r in status.results] == ["Fail"] * 200
    assert (status.servers[0].failed, status.servers[0].warned, status.servers[0].unknown) == (250, 1, 1)
    status = lab.check(properties[:2], table={"quality": quality})
    assert [r.verdict for r in status.results] == ["Fail", "Fail", "Unknown", "Warn"]
    assert status.message == status.results[0].message


def test_given_some_servers_are_named_when_run_then_only_they_are_checked(lab, prop):
    lab.parquet({"x": [1]}, server="a")
    lab.parquet({"x": ["wrong"]}, server="b")
    status = lab.check([prop("x", "integer")], servers={"a": {}, "b": {}}, **{"document": {}})
    assert {s.name: s.verdict for s in status.servers} == {"a": "Pass", "b": "Fail"}
    plan = lab.plan([prop("x", "integer")], servers={"a": {}, "b": {}}).model_copy(update={"servers": ["a"]})
    assert [s.name for s in lab.run(plan).servers] == ["a"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "kafka"}, "servers of type 'kafka' cannot be checked"),
        ({"type": "snowflake", "account": "a", "database": "d"}, "ibis-framework[snowflake]"),
        ({"type": "trino", "host": "h", "catalog": "c"}, "ibis-framework[trino]"),
        ({"format": "avro"}, "files of format 'avro' cannot be checked"),
        ({"path": "x", "format": None}, "does not say its `format`"),
        ({"path": "gone.parquet"}, "no parquet file was found"),
        ({"type": "s3", "location": "file:///etc/passwd", "format": "parquet"}, "must start with s3://"),
    ],
)
def test_given_a_server_that_cannot_be_read_when_run_then_unknown_and_the_reason(lab, prop, fields, said):
    lab.parquet({"x": [1]}, server="good")
    lab.folder("bad")
    status = lab.check([prop("x", "integer")], servers={"good": {}, "bad": fields})
    assert {s.name: s.verdict for s in status.servers} == {"good": "Pass", "bad": "Unknown"}
    assert said in status.message


def test_given_a_document_that_cannot_be_read_when_run_then_unknown(lab, prop):
    plan = lab.plan([prop("x")]).model_copy(update={"odcs": {"kind": "DataContract"}})
    status = lab.run(plan)
    assert status.verdict == "Unknown"
    assert "the document cannot be read" in status.message


def test_given_no_servers_when_run_then_unknown(lab, prop):
    status = lab.run(lab.plan([prop("x")]).model_copy(update={"servers": ["nobody"]}))
    assert (status.verdict, status.message) == ("Unknown", "no server was checked: name one under spec.servers")


def test_given_the_time_is_over_when_run_then_every_rule_is_unknown(lab, prop):
    lab.parquet({"x": [1]})
    ticks = iter(range(0, 10**9, 10**4))
    status = lab.run(lab.plan([prop("x", "integer", minimum=0)]), clock=lambda: float(next(ticks)))
    assert status.verdict == "Unknown"
    assert "time limit" in status.message


def test_given_a_query_that_would_run_for_hours_when_the_time_is_over_then_it_is_stopped(lab, prop, found):
    lab.parquet({"x": list(range(1000))})
    slow = "SELECT SUM(a.x * b.x + c.x * d.x) FROM orders a, orders b, orders c, orders d"
    table = {"quality": [{"type": "sql", "query": slow, "mustBe": 0}]}
    status = lab.check([prop("x", "integer")], table=table, spec={"engine": {"timeout": "3s"}})
    assert "time limit" in found(status, "sql").message
    assert status.finished_at - status.started_at < 30


def test_given_drift_is_watched_when_run_then_the_profile_holds_its_columns_in_the_references_bins(lab, prop):
    lab.parquet({"x": list(range(100)), "y": ["a", "b"] * 50})
    spec = {
        "drift": [{"name": "x", "property": "orders.x"}],
        "reference": {"server": "training"},
    }
    edges = {
        "version": 1,
        "tables": {"orders": {"rows": 3, "columns": {"x": {"edges": ["10", "50"], "counts": [1, 1, 1]}}}},
    }
    plan = lab.plan([prop("x", "integer"), prop("y")], spec=spec, reference=edges)
    profile = Profile.from_json(lab.run(plan).profile)
    assert profile.tables["orders"].columns["x"].counts == (11, 40, 49)
    assert profile.column("orders.y") is None
    assert profile.tables["orders"].rows == 100


def test_given_a_reference_is_made_when_run_then_all_columns_of_its_server_are_profiled(lab, prop):
    lab.parquet({"x": [1] * 10, "y": ["a"] * 10}, server="training")
    lab.parquet({"x": [2] * 20, "y": ["b"] * 20}, server="serving")
    spec = {"reference": {"server": "training"}}
    plan = lab.plan([prop("x", "integer"), prop("y")], servers={"serving": {}, "training": {}}, spec=spec)
    profile = Profile.from_json(lab.run(plan.model_copy(update={"purpose": "Reference"})).profile)
    assert profile.tables["orders"].rows == 10
    assert set(profile.tables["orders"].columns) == {"x", "y"}


def test_given_a_check_of_both_sides_when_run_then_the_profile_is_of_the_one_that_is_not_the_reference(lab, prop):
    lab.parquet({"x": [1] * 10}, server="training")
    lab.parquet({"x": [2] * 20}, server="serving")
    spec = {"reference": {"server": "training"}, "drift": [{"name": "x", "property": "orders.x"}]}
    plan = lab.plan([prop("x", "integer")], servers={"training": {}, "serving": {}}, spec=spec)
    assert Profile.from_json(lab.run(plan).profile).tables["orders"].rows == 20


_LIMITED = """
import json, re, sys
from pathlib import Path
from weir.jobs.plan import Plan
from weir.jobs.run import run
status = run(Plan.read(Path(sys.argv[1])), environment={}, scratch=Path(sys.argv[2]))
# Not ru_maxrss, in which the process that started this one still counts.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps({"peak": peak, "status": status.to_dict()}))
"""


def test_given_a_file_several_times_the_memory_limit_when_checked_then_a_verdict_within_the_limit(lab, prop):
    """10 million unique keys and floats that do not compress: 300 MB under a limit that leaves DuckDB 84 MB."""
    limit = 384
    random = np.random.default_rng(1)
    path = lab.folder() / "orders.parquet"
    schema = pa.schema({"id": pa.int64(), **{f"f{i}": pa.float64() for i in range(3)}})
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for start in range(0, 10_000_000, 500_000):
            columns = {"id": (np.arange(start, start + 500_000) * 7919) % 10_000_019}
            columns |= {f"f{i}": random.random(500_000) for i in range(3)}
            writer.write_table(pa.table(columns, schema=schema))
    assert path.stat().st_size > 250 << 20
    properties = [
        prop("id", "integer", {"unique": True, "required": True}),
        *(prop(f"f{i}", "number", maximum=0.5) for i in range(3)),
    ]
    plan = lab.root / "plan.json"
    plan.write_text(lab.plan(properties).model_copy(update={"memory_limit": limit << 20}).to_json())
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(plan), str(lab.root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    status = ContractCheckStatus.model_validate(answer["status"])
    assert status.servers[0].failed == 3
    assert status.servers[0].unknown == 0
    assert status.servers[0].passed >= 5
    assert answer["peak"] < limit


NO_ROWS = {"x": pa.array([], pa.int64())}


@pytest.mark.parametrize(
    ("quality", "verdict"),
    [
        ([], "Unknown"),
        ([{"metric": "rowCount", "mustBeGreaterOrEqualTo": 0}], "Pass"),
        ([{"metric": "rowCount", "mustBeLessThan": 5}], "Pass"),
        ([{"metric": "rowCount", "mustBeGreaterThan": 0}], "Fail"),
        ([{"metric": "rowCount", "mustBeGreaterThan": 0, "severity": "info"}], "Unknown"),
        ([{"metric": "rowCount", "mustBe": "many"}], "Unknown"),
        ([{"metric": "duplicateValues", "arguments": {"properties": ["x"]}, "mustBe": 0}], "Unknown"),
    ],
)
def test_given_a_table_without_rows_when_run_then_it_is_no_pass_unless_the_contract_says_so(
    lab, prop, quality, verdict
):
    lab.parquet(NO_ROWS)
    status = lab.check([prop("x", "integer", {"required": True})], table={"quality": quality})
    assert status.verdict == verdict
    if not quality:
        assert status.message.startswith("orders has no rows, so nothing can be said of them")


def test_given_a_partition_without_rows_when_run_then_it_is_unknown(lab, prop):
    lab.parquet({"x": [1, 2]})
    status = lab.check([prop("x", "integer")], servers={"lake": {"spec": {"partition": "x > 5"}}})
    assert (status.verdict, status.results[0].observed) == ("Unknown", "0 rows")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("orders.parquet", b"PAR1 and then nothing", "Parquet"),
        ("orders.parquet", b"", "Parquet"),
        ("orders.json", b'{"x": 1}\n{"x": ', "JSON"),
        ("orders.csv.gz", b"not packed", "CSV"),
    ],
)
def test_given_a_file_that_is_damaged_when_run_then_it_is_named(lab, prop, found, name, content, kind):
    (lab.folder() / name).write_bytes(content)
    form = {"format": kind.lower(), "path": name}
    status = lab.check([prop("x", "integer")], servers={"lake": form})
    said = f"{name} is no {kind} file that can be read: it is damaged, was not written to its end"
    assert said in found(status, "file").message
    assert [result.verdict for result in status.results] == ["Unknown"]


def test_given_a_file_with_damaged_pages_when_run_then_it_is_one_problem_and_not_one_a_rule(lab, prop, found):
    path = lab.folder() / "orders.parquet"
    values = np.arange(50_000)
    pq.write_table(pa.table({"x": values, "y": values}), path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[200:-4000] = b"\xff" * (len(content) - 4200)
    path.write_bytes(bytes(content))
    status = lab.check([prop("x", "integer", {"required": True}, minimum=0), prop("y", "integer", maximum=9)])
    assert "a data file cannot be read" in found(status, "file").message
    assert status.verdict == "Unknown"
    assert len(status.results) == 1
