"""Two servers in one question: their rows side by side in DuckDB, wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from weir.contract.model import Document, Table

from .outcome import Undecidable
from .tables import Servers

BATCH_ROWS = 50_000


class Stream:
    """Rows of an engine as Arrow batches, asked anew every time somebody reads (the Arrow C stream protocol)."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        reader: pa.RecordBatchReader = self._table.to_pyarrow_batches(chunk_size=BATCH_ROWS)
        return reader.__arrow_c_stream__(requested_schema)


def table_of(document: Document, name: str) -> Table:
    """The table of that name.

    Raises:
        Undecidable: the document has none.
    """
    found = document.table(name)
    if found is None:
        raise Undecidable(f"the document has no table {name!r}")
    return found


def side(servers: Servers, server: str, table: Table, properties: Sequence[str]) -> Any:
    """Properties of a table on one server as an ibis table of the local DuckDB, under their names in the contract.

    Raises:
        Undecidable: the data cannot be read, or lacks a property.
    """
    source = servers.source(server, table)
    chosen: dict[str, Any] = {}
    for name in properties:
        column = table.column(name)
        physical = source.column(column.physical if column is not None else name)
        if physical is None:
            raise Undecidable(f"{table.name}.{name} is missing on the server {server}")
        chosen[name] = source.rows[physical]
    rows = source.rows.select(**chosen)
    local = servers.local
    if rows.get_backend() is local:
        return rows
    view = f"side__{server}__{table.name}__{'__'.join(properties)}"
    local.con.register(view, Stream(rows))
    return local.table(view)


def shared_properties(servers: Servers, left: str, right: str, table: Table) -> list[str]:
    """Names of the contract's properties of a table that both servers have and that can be compared."""
    sources = [servers.source(name, table) for name in (left, right)]
    return [
        column.name for column in table.columns if all(source.column(column.physical) is not None for source in sources)
    ]
