"""The DuckDB of the check pod: bounded memory, and no way out of the data of the contract."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import ibis

MEBIBYTE = 1 << 20
_BESIDES = 300 * MEBIBYTE
"""What Python, ibis and Arrow need beside DuckDB, in bytes (measured; see docs/how-to/contract-checks.md)."""
SCRATCH_BYTES = 3840 * MEBIBYTE
"""Most bytes that a query may spill: less than the 4 GiB of the temporary folder, beyond which a pod is evicted."""


def memory_bytes(container: int) -> int:
    """DuckDB's share of the container's memory: 60 percent, less in a small one so that Python still fits."""
    return max(64 * MEBIBYTE, min(int(container * 0.6), container - _BESIDES))


def connect(memory_limit: int, readable: Iterable[Path], scratch: Path, database: Path | None = None) -> Any:
    """An ibis backend on a locked-down DuckDB.

    Args:
        memory_limit: of the container, in bytes.
        readable: files and folders that it may read; everything else, the network included, is out of reach.
        scratch: folder for what does not fit into memory.
        database: a DuckDB file to open read-only; by default a database in memory.
    """
    connection = duckdb.connect(
        str(database) if database else ":memory:",
        read_only=database is not None,
        config={
            "memory_limit": f"{memory_bytes(memory_limit) // MEBIBYTE}MiB",
            "threads": max(1, min(4, len(os.sched_getaffinity(0)))),
            "temp_directory": str(scratch / f"duckdb-{os.getpid()}"),
            "max_temp_directory_size": f"{SCRATCH_BYTES // MEBIBYTE}MiB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "preserve_insertion_order": False,
        },
    )
    backend = ibis.duckdb.from_connection(connection)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    # The statistics of Parquet files leave NaN out, from which DuckDB 2.0 concludes that there is none.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    allowed = sorted({str(path) for path in readable})
    connection.execute("SET allowed_directories = " + _texts(path for path in allowed if Path(path).is_dir()))
    connection.execute("SET allowed_paths = " + _texts(path for path in allowed if not Path(path).is_dir()))
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return backend


def text(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(text(value) for value in values) + "]"


def paths_literal(paths: Iterable[Path]) -> str:
    """A SQL list of paths."""
    return _texts(str(path) for path in paths)
