"""Iceberg tables in files: what the metadata names is read only if it lies in the folder of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import ArrowScan, PyArrowFile, PyArrowFileIO, schema_to_pyarrow
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable

from .outcome import Undecidable
from .paths import inside

_VERSION = re.compile(r"^v?(\d+)[-.]")


class FolderIO(PyArrowFileIO):
    """Opens files below one folder, wherever the writer had that folder; writes nothing.

    A path below the table's own ``location`` is looked up below the folder where the table is now.
    """

    def __init__(self, root: Path, moved: tuple[str, Path] | None = None) -> None:
        super().__init__()
        self.root = root
        self.moved = moved

    def local(self, location: str) -> Path:
        """The real path of a location.

        Raises:
            Undecidable: it is an address, or outside the folder.
        """
        if self.moved is not None and location.startswith(self.moved[0].rstrip("/") + "/"):
            return inside(self.moved[1] / location[len(self.moved[0].rstrip("/")) + 1 :], self.root)
        parts = urlsplit(location)
        if parts.scheme not in {"", "file"} or parts.netloc:
            raise Undecidable("the Iceberg metadata names a file that is not in the folder of the server")
        return inside(Path(unquote(parts.path) if parts.scheme else location), self.root)

    def new_input(self, location: str) -> PyArrowFile:
        """The file, if it is below the folder."""
        return super().new_input(str(self.local(location)))

    def new_output(self, location: str) -> PyArrowFile:
        """Refused: a check reads only."""
        raise Undecidable("a check never writes")

    def delete(self, location: object) -> None:
        """Refused: a check reads only."""
        raise Undecidable("a check never writes")


class Rows:
    """The rows of a scan as Arrow batches, read anew every time somebody asks (the Arrow C stream protocol)."""

    def __init__(self, scan: Any, tasks: list[Any]) -> None:
        self._scan = scan
        self._tasks = tasks

    def _batches(self) -> Iterator[pa.RecordBatch]:
        scan = self._scan
        arrow = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive)
        # One file after another, so that no more than one is in memory.
        for task in self._tasks:
            for batch in arrow.to_record_batches([task]):
                yield batch.cast(self._schema()) if batch.schema != self._schema() else batch

    def _schema(self) -> pa.Schema:
        return schema_to_pyarrow(self._scan.projection(), include_field_ids=False)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self._schema(), self._batches())
        return reader.__arrow_c_stream__(requested_schema)


@dataclass(frozen=True)
class Snapshot:
    """The current snapshot of a table.

    ``files``: its Parquet files where they can be read as they are. Else ``rows``: a stream that merges deletions and
    older schemas.
    """

    identity: str
    files: tuple[Path, ...] = ()
    rows: Rows | None = None


def _metadata(path: Path) -> Path:
    if path.is_file():
        return path
    folder = path / "metadata"
    found = [(int(match[1]), p) for p in folder.glob("*.metadata.json") if (match := _VERSION.match(p.name))]
    if not found:
        raise Undecidable("there is no Iceberg table: its folder has no metadata/*.metadata.json")
    return max(found)[1]


def snapshot(root: Path, path: Path) -> Snapshot:
    """The current state of the table at ``path``: its folder, or one metadata file.

    Raises:
        Undecidable: there is no table, or it names files outside ``root``.
    """
    place = inside(_metadata(inside(path, root)), root)
    # Not StaticTable.from_metadata: it would load whatever class the metadata names as its way to open files.
    metadata = FromInputFile.table_metadata(FolderIO(root).new_input(str(place)))
    io = FolderIO(root, (metadata.location, place.parent.parent))
    table = StaticTable(("table",), metadata, str(place), io, NoopCatalog("none"))
    scan = table.scan()
    current = table.current_snapshot()
    name = f"iceberg:{current.snapshot_id if current else 'empty'}"
    tasks = list(scan.plan_files()) if current else []
    places = [io.local(task.file.file_path) for task in tasks]
    deletes = [io.local(file.file_path) for task in tasks for file in task.delete_files]
    if tasks and not deletes and len(table.schemas()) == 1 and all(p.suffix == ".parquet" for p in places):
        return Snapshot(name, files=tuple(sorted(places)))
    for task in tasks:
        # The scan opens data files by their path itself, past the FileIO: only paths that are right as they are.
        if any(io.local(f.file_path) != _as_written(f.file_path) for f in (task.file, *task.delete_files)):
            raise Undecidable(
                "the Iceberg table was moved and has deletions or an older schema; compact it, or mount it where it was"
            )
    return Snapshot(name, rows=Rows(scan, tasks))


def _as_written(location: str) -> Path:
    parts = urlsplit(location)
    return Path(unquote(parts.path) if parts.scheme else location).resolve()
