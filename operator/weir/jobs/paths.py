"""Files of a server: only those under its own folder, whatever the contract or a symbolic link says."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .outcome import Undecidable

SUFFIXES = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".tsv"),
    "json": (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz"),
}
MAX_FILES = 100_000
_PLACEHOLDER = re.compile(r"\{(?:model|object|table)\}")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


def fill(path: str, table: str) -> str:
    """The path for one table: ``{model}``, ``{object}`` and ``{table}`` stand for its physical name."""
    return _PLACEHOLDER.sub(lambda _: table, path)


def inside(path: Path, root: Path) -> Path:
    """The real path, with every symbolic link followed.

    Raises:
        Undecidable: it lies outside ``root``.
    """
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise Undecidable("a path leads out of the folder of the server; only files below it are read")
    return real


def files(root: Path, path: str, table: str, form: str, single: bool) -> list[Path]:
    """Real paths of the files of a table, sorted.

    A path may be a file, a pattern with ``*``, or a folder: then the files of the table in it are taken, by the
    table's name, or all of them where the document has one table (``single``).

    Raises:
        Undecidable: there are none, too many, or one lies outside ``root``.
    """
    if _SCHEME.match(path) or "\0" in path:
        raise Undecidable("the path of a server of type local must be a path of a file, not an address")
    if not root.is_dir():
        raise Undecidable("the folder of the server does not exist: set `volume` of the server")
    found = [p for p in _candidates(root, fill(path, table), table, form, single) if p.is_file()]
    if not found:
        raise Undecidable(f"no {form} file was found at {fill(path, table)!r} in the folder of the server")
    if len(found) > MAX_FILES:
        raise Undecidable(f"there are more than {MAX_FILES} files; narrow the path")
    return found


def _candidates(root: Path, path: str, table: str, form: str, single: bool) -> list[Path]:
    written = root / path if path else root
    if ".." in Path(path).parts:
        inside(written, root)
    if any(char in path for char in "*?["):
        # A pattern is taken apart by the shell's rules below the root only: an absolute one never reaches `root / …`.
        if Path(path).is_absolute() and not Path(path).is_relative_to(root):
            raise Undecidable("a path leads out of the folder of the server; only files below it are read")
        return sorted({inside(Path(name), root) for name in glob.iglob(str(written), recursive=True)})
    base = inside(written, root)
    if not base.is_dir():
        return [base]
    named = [base / table, *(base / f"{table}{suffix}" for suffix in SUFFIXES.get(form, ()))]
    chosen = next((p for p in named if p.exists()), base if single else None)
    if chosen is None:
        return []
    if chosen.is_file():
        return [inside(chosen, root)]
    return _below(chosen, root, SUFFIXES.get(form, ()))


def _below(folder: Path, root: Path, suffixes: Sequence[str]) -> list[Path]:
    # Names that start with a dot or an underscore are notes of the writer (as _SUCCESS), by a wide convention.
    return sorted(
        {
            inside(path, root)
            for path in folder.rglob("*")
            if path.is_file()
            and path.name.endswith(tuple(suffixes))
            and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        }
    )


def identity(paths: Iterable[Path]) -> str:
    """What identifies the state of the files: a digest of their paths, sizes and times of change."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        stat = path.stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return f"files:{digest.hexdigest()[:32]}"
