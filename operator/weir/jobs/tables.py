"""Servers of a contract as ibis tables, whatever holds the data: files, object stores, databases."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ibis.backends.duckdb import Backend as DuckDB

from weir.api.datacontract import Server
from weir.contract.model import Column, Document, OdcsServer, Table

from . import databases, duck, objectstore
from .outcome import Undecidable, Unreadable, maybe_damaged
from .partition import predicate
from .paths import files, fill, identity, inside
from .plan import Plan

TEXT = "weir_text_"
"""Start of the names of columns that hold a value as it is written in the file, before its type."""

CASTS: Mapping[str, str] = {
    "integer": "int64",
    "number": "float64",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "time": "time",
}
"""What the text of a logical type is read as."""
_MORE_THAN_TEXT = ("date", "timestamp", "time", "uuid")


@dataclass(frozen=True)
class Source:
    """The rows of one table on one server.

    ``table``: ibis table with the physical names; of columns in ``texts`` the text is there, too, under the name that
    ``texts`` gives. ``native``: the types are those of an engine, so that a physicalType can be compared.
    ``dataset``: what identifies the state of the data, empty where nothing does.
    """

    table: Any
    texts: Mapping[str, str] = field(default_factory=dict)
    native: bool = False
    dataset: str = ""

    @property
    def in_pod(self) -> bool:
        """Whether the pod's own DuckDB reads it, within the pod's memory and disk."""
        return isinstance(self.table.get_backend(), DuckDB)

    @property
    def rows(self) -> Any:
        """The table without the texts."""
        return self.table.drop(*self.texts.values()) if self.texts else self.table

    def column(self, physical: str) -> str | None:
        """The name of a column in the data: as written, else the only one that differs in case; None without one."""
        names = [name for name in self.table.columns if not name.startswith(TEXT)]
        if physical in names:
            return physical
        same = [name for name in names if name.lower() == physical.lower()]
        return same[0] if len(same) == 1 else None


class Servers:
    """Opens the servers of a plan when they are first asked for, and closes them; use it with ``with``."""

    def __init__(self, plan: Plan, document: Document, environment: Mapping[str, str], scratch: Path) -> None:
        self._plan = plan
        self._document = document
        self._environment = environment
        self._scratch = scratch
        self._seconds = 0.0
        self._duck: Any = None
        self._databases: dict[str, Any] = {}
        self._sources: dict[tuple[str, str], Source] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def limit(self, seconds: float) -> None:
        """Longest that one query of a database may take; set before the first table is asked for."""
        self._seconds = seconds

    def interrupt(self) -> None:
        """Stops what DuckDB and PostgreSQL are doing, from another thread; other engines have only their own limits."""
        with self._lock:
            backends = [self._duck, *self._databases.values()]
        for backend in backends:
            if backend is not None and backend.name == "duckdb":
                backend.con.interrupt()
            elif backend is not None and backend.name == "postgres":
                backend.con.cancel_safe(timeout=databases.CONNECT_SECONDS)

    @property
    def local(self) -> Any:
        """The DuckDB that reads files; its reach is the folders of the plan's servers."""
        if self._duck is None:
            roots = [self._root(server) for server in self._plan.spec.servers or ()]
            backend = duck.connect(self._plan.memory_limit, [root for root in roots if root.is_dir()], self._scratch)
            self._stack.callback(backend.disconnect)
            with self._lock:
                self._duck = backend
        return self._duck

    def server(self, name: str) -> Server:
        """The server of that name.

        Raises:
            Undecidable: the DataContract has none.
        """
        found = next((server for server in self._plan.spec.servers or () if server.name == name), None)
        if found is None:
            raise Undecidable(f"the contract has no server {name!r}")
        return found

    def odcs(self, server: Server) -> OdcsServer:
        """What the document says of the server.

        Raises:
            Undecidable: it says nothing.
        """
        found = next((entry for entry in self._document.servers if entry.name == server.odcs_server), None)
        if found is None:
            raise Undecidable(f"the document has no server {server.odcs_server!r}")
        return found

    def source(self, name: str, table: Table) -> Source:
        """The rows of a table on a server, limited to the server's partition.

        Raises:
            Undecidable: they cannot be read; the message says why.
            NoTable: the engine has no such table.
        """
        key = (name, table.name)
        if key not in self._sources:
            self._sources[key] = self._open(self.server(name), table)
        return self._sources[key]

    def _open(self, server: Server, table: Table) -> Source:
        odcs = self.odcs(server)
        if odcs.type == "local":
            source = self._files(server, odcs, table)
        elif odcs.type in objectstore.TYPES:
            source = self._objects(server, odcs, table)
        else:
            source = self._database(server, odcs, table)
        if not server.partition:
            return source
        limited = source.table.filter(predicate(source.table, server.partition, self._plan.now))
        return Source(limited, source.texts, source.native, source.dataset)

    def _root(self, server: Server) -> Path:
        return (Path(self._plan.data_root) / server.name).resolve()

    def _files(self, server: Server, odcs: OdcsServer, table: Table) -> Source:
        root = self._root(server)
        path = str(odcs.fields.get("path") or "")
        form = _format(odcs, path)
        view = _view(server, table)
        if form == "iceberg":
            return self._iceberg(root, path, table, view)
        found = files(root, path, table.physical, form, len(self._document.tables) == 1)
        try:
            return self._read(form, found, str(odcs.fields.get("delimiter") or ""), table, view)
        except Exception as error:
            if not maybe_damaged(error):
                raise
            broken = [f.relative_to(root) for f in found if str(f) in str(error)]
            raise Unreadable(no_file(form, str(broken[0]) if broken else "")) from error

    def _read(self, form: str, found: list[Path], delimiter: str, table: Table, view: str) -> Source:
        listed = duck.paths_literal(found)
        state = identity(found)
        if form == "parquet":
            self._create(view, f"read_parquet({listed}, union_by_name = true, hive_partitioning = {_hive(found)})")
            return Source(self.local.table(view), dataset=state)
        if form == "csv":
            separated = f", delim = {duck.text(delimiter)}" if len(delimiter) == 1 else ""
            self._create(
                view,
                f"read_csv({listed}, all_varchar = true, header = true, union_by_name = true, "
                f"hive_partitioning = {_hive(found)}{separated})",
            )
            return typed(self.local.table(view), table, state)
        self._json(view, listed, table)
        return typed(self.local.table(view), table, state)

    def _json(self, view: str, listed: str, table: Table) -> None:
        """Types as DuckDB finds them in all rows; but what the contract calls a string stays one."""
        read = f"read_json({listed}, union_by_name = true, sample_size = -1"
        described = self.local.con.execute(f"DESCRIBE SELECT * FROM {read})").fetchall()
        strings = {column.physical for column in table.columns if column.logical_type in {"string", None}}
        kinds = {
            name: "VARCHAR" if name in strings and kind.lower().split(" ")[0] in _MORE_THAN_TEXT else kind
            for name, kind, *_ in described
        }
        columns = ", ".join(f"{duck.text(name)}: {duck.text(kind)}" for name, kind in kinds.items())
        self._create(view, f"{read}, columns = {{{columns}}})")

    def _create(self, view: str, read: str) -> None:
        self.local.con.execute(f'CREATE OR REPLACE VIEW "{view}" AS SELECT * FROM {read}')

    def _iceberg(self, root: Path, path: str, table: Table, view: str) -> Source:
        from .iceberg import snapshot

        folder = inside(root / fill(path, table.physical), root)
        if not (folder / "metadata").is_dir() and (folder / table.physical).is_dir():
            folder = folder / table.physical
        state = snapshot(root, folder)
        if state.files:
            self._create(view, f"read_parquet({duck.paths_literal(state.files)}, union_by_name = true)")
        else:
            self.local.con.register(view, state.rows)
        return Source(self.local.table(view), dataset=state.identity)

    def _objects(self, server: Server, odcs: OdcsServer, table: Table) -> Source:
        form = _format(odcs, str(odcs.fields.get("location") or ""))
        if form not in {"parquet", "csv", "json"}:
            raise Undecidable(f"files of format {form!r} in an object store cannot be checked")
        store = objectstore.filesystem(odcs, databases.credentials(server.name, self._environment))
        found = objectstore.listing(store, odcs, table.physical, form)
        view = _view(server, table)
        self.local.con.register(view, objectstore.dataset(store, found, form))
        read = self.local.table(view)
        state = objectstore.identity(found)
        return Source(read, dataset=state) if form == "parquet" else typed(read, table, state)

    def _database(self, server: Server, odcs: OdcsServer, table: Table) -> Source:
        if server.name not in self._databases:
            backend = self._connect(server, odcs)
            self._stack.callback(backend.disconnect)
            with self._lock:
                self._databases[server.name] = backend
        return Source(databases.table(self._databases[server.name], odcs, table.physical), native=True)

    def _connect(self, server: Server, odcs: OdcsServer) -> Any:
        if odcs.type != "duckdb":
            settings = databases.credentials(server.name, self._environment)
            return databases.connect(odcs, settings, self._seconds)
        root = self._root(server)
        database = inside(root / str(odcs.fields.get("database") or odcs.fields.get("path") or ""), root)
        if not database.is_file():
            raise Undecidable("the DuckDB file was not found in the folder of the server")
        return duck.connect(self._plan.memory_limit, [], self._scratch, database)


def no_file(form: str, name: str = "") -> str:
    """What is said of a file that its format cannot be read from."""
    called = {"parquet": "Parquet", "csv": "CSV", "json": "JSON"}.get(form, "data")
    start = f"{name} is no {called} file that can be read" if name else f"a {called} file cannot be read"
    return f"{start}: it is damaged, was not written to its end, or has another format"


def typed(table: Any, contract: Table, dataset: str) -> Source:
    """A table whose text columns have the types of the contract, null where the text is none of that type."""
    texts: dict[str, str] = {}
    changes: dict[str, Any] = {}
    source = Source(table)
    for column in contract.columns:
        name, kind = source.column(column.physical), CASTS.get(column.logical_type or "")
        if name is None or kind is None or not table[name].type().is_string():
            continue
        texts[name] = TEXT + name
        changes |= {TEXT + name: table[name], name: _cast(table[name], column, kind)}
    return Source(table.mutate(**changes) if changes else table, texts, dataset=dataset)


def _cast(value: Any, column: Column, kind: str) -> Any:
    if kind == "int64":
        # A direct cast would round 1.5 to 2.
        whole = value.strip().re_search(r"^[+-]?[0-9]+$")
        return whole.ifelse(value.try_cast(kind), None)
    return value.try_cast(kind)


def _format(odcs: OdcsServer, path: str) -> str:
    named = str(odcs.fields.get("format") or "").lower()
    if named in {"parquet", "csv", "json", "iceberg"}:
        return named
    if named:
        raise Undecidable(f"files of format {named!r} cannot be checked")
    ends = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}
    found = next((form for end, form in ends.items() if path.endswith(end)), None)
    if found is None:
        raise Undecidable("the server does not say its `format`: parquet, csv, json or iceberg")
    return found


def _hive(found: list[Path]) -> str:
    return "true" if any("=" in part for part in found[0].parts[:-1]) else "false"


def _view(server: Server, table: Table) -> str:
    return f"{server.name}__{table.name}".replace('"', "_")
