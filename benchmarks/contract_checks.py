"""Checks a large Parquet file against a contract: wall time and highest memory, beside the reference CLI.

    PYTHONPATH=operator python -m benchmarks.contract_checks --rows 10000000 --reference VENV/bin/datacontract

Each runs once, in a process of its own, on the same file. Without --reference only Weir is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

CHUNK = 500_000
MEBIBYTE = 1 << 20


def write_file(path: Path, rows: int) -> None:
    """A file of 20 columns: a key, 8 floats, 5 integers, 3 categories, a text, a time and a flag; 1 % nulls in one."""
    random = np.random.default_rng(7)
    categories = np.array(["north", "south", "east", "west"])
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        columns: dict[str, Any] = {"id": np.arange(start, start + count)}
        columns |= {f"f{i}": random.normal(100, 15, count) for i in range(8)}
        columns |= {f"n{i}": random.integers(0, 1000, count) for i in range(5)}
        columns |= {f"c{i}": categories[random.integers(0, 4, count)] for i in range(3)}
        columns["code"] = np.char.add("A", random.integers(10_000, 99_999, count).astype(str))
        columns["at"] = np.datetime64("2026-01-01", "us") + random.integers(0, 10**12, count).astype("timedelta64[us]")
        columns["flag"] = random.random(count) < 0.5
        nulls = pa.array(columns["f7"], mask=random.random(count) < 0.01)
        table = pa.table({**columns, "f7": nulls})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def document(path: Path) -> dict[str, Any]:
    """A contract with rules on every column of the file."""

    def column(name: str, kind: str, more: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        limits = {"logicalTypeOptions": options} if options else {}
        return {"name": name, "logicalType": kind, "required": True, **limits, **(more or {})}

    properties = [
        column("id", "integer", {"primaryKey": True, "primaryKeyPosition": 1, "unique": True}),
        *(column(f"f{i}", "number", minimum=-1000, maximum=1000) for i in range(7)),
        column("f7", "number", {"required": False}, minimum=-1000, maximum=1000),
        *(column(f"n{i}", "integer", minimum=0, maximum=999) for i in range(5)),
        *(
            column(f"c{i}", "string", {"enum": [{"value": v} for v in ("north", "south", "east", "west")]})
            for i in range(3)
        ),
        column("code", "string", minLength=6, maxLength=6, pattern="^A[0-9]{5}$"),
        column("at", "timestamp"),
        column("flag", "boolean"),
    ]
    quality = [{"type": "library", "metric": "rowCount", "mustBeGreaterThan": 0}]
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "bench",
        "version": "1.0.0",
        "status": "active",
        "servers": [{"server": "lake", "type": "local", "path": str(path), "format": "parquet"}],
        "schema": [{"name": "orders", "properties": properties, "quality": quality}],
    }


def plan(odcs: Mapping[str, Any], root: Path, memory: int) -> dict[str, Any]:
    """What the check pod would get."""
    return {
        "check": "bench",
        "namespace": "bench",
        "contract": "bench",
        "digest": "sha256:" + "0" * 64,
        "odcs": odcs,
        "spec": {"roles": ["Features"], "servers": [{"name": "lake", "odcsServer": "lake"}]},
        "now": "2026-11-21T00:00:00Z",
        "memoryLimit": memory,
        "dataRoot": str(root),
    }


@dataclass(frozen=True)
class Measured:
    """One run: seconds of wall time and of processors, highest resident memory in MiB, what it said."""

    seconds: float
    processor_seconds: float
    mebibytes: float
    said: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs a command alone and takes its time and memory from the kernel."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().strip().splitlines()
    seconds, busy = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    return Measured(seconds, busy, usage.ru_maxrss / 1024, f"{process.returncode}: {' '.join(said[-3:])}")


_RUN = """
import sys
from pathlib import Path
from weir.jobs.plan import Plan
from weir.jobs.run import run
status = run(Plan.read(Path(sys.argv[1])))
print(status.verdict, [server.passed for server in status.servers], status.message)
"""


def main() -> None:
    """Makes the file, runs both, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--memory", type=int, nargs="+", default=[512, 1024], help="memory limits to run under, MiB")
    parser.add_argument("--reference", help="program `datacontract` of an environment of its own")
    parser.add_argument("--folder", type=Path, help="where the file is kept; by default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        path = root / "lake" / "orders.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_file(path, arguments.rows)
        odcs = document(path)
        results: dict[str, Measured] = {}
        for limit in arguments.memory:
            chosen = root / f"plan-{limit}.json"
            chosen.write_text(json.dumps(plan(odcs, root, limit * MEBIBYTE)))
            results[f"Weir, limit {limit} MiB"] = measure([sys.executable, "-c", _RUN, str(chosen)])
        if arguments.reference:
            contract = root / "contract.yaml"
            contract.write_text(yaml.safe_dump(odcs))
            results["datacontract-cli"] = measure([arguments.reference, "test", str(contract), "--server", "lake"])
        print(f"{arguments.rows} rows, 20 columns, {path.stat().st_size / MEBIBYTE:.0f} MiB of Parquet\n")
        print("| | wall (s) | CPU (s) | highest RSS (MiB) |\n|---|---|---|---|")
        for name, result in results.items():
            print(f"| {name} | {result.seconds:.1f} | {result.processor_seconds:.1f} | {result.mebibytes:.0f} |")
        print()
        for name, result in results.items():
            print(f"{name}: {result.said[-300:]}")


if __name__ == "__main__":
    main()
