"""A check on this machine: the same plan that the operator gives to a pod, with files of one's own."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from weir.cli.failure import CliError

if TYPE_CHECKING:
    from weir.api.contractcheck import ContractCheckStatus
    from weir.api.datacontract import DataContractSpec
    from weir.cli.contract_file import ContractFile
    from weir.contract.model import Document
    from weir.jobs.plan import Plan

LOCAL = "local"
"""Server of data that is given without one."""

INSTALL = "pip install 'weir-operator[check]'"
_ENGINES = frozenset({"duckdb", "ibis", "pyarrow", "pyiceberg", "pandas", "numpy", "psycopg", "sqlglot"})
_FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".tsv"),
    "json": (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz"),
}
_PATTERN = "*?["


@dataclass(frozen=True)
class Data:
    """Files of one table on one server. ``path``: a file, a folder, or a pattern."""

    server: str
    table: str
    path: str

    @property
    def folder(self) -> Path:
        """The folder that the path lies in, without any part that is a pattern."""
        if not any(char in self.path for char in _PATTERN):
            return Path(self.path).resolve().parent
        parts = Path(self.path).absolute().parts
        plain = next(place for place, part in enumerate(parts) if any(char in part for char in _PATTERN))
        return Path(*parts[:plain]).resolve()

    @property
    def real(self) -> Path:
        """The absolute path, symbolic links followed."""
        if not any(char in self.path for char in _PATTERN):
            return Path(self.path).resolve()
        parts = Path(self.path).absolute().parts
        plain = next(place for place, part in enumerate(parts) if any(char in part for char in _PATTERN))
        return self.folder.joinpath(*parts[plain:])

    @property
    def inside(self) -> str:
        """The pattern of the files of a folder, below it; empty where the path is no folder.

        Raises:
            CliError: the files of the folder have several endings, which is more than one pattern can say, or are
                notes of a writer.
        """
        if not Path(self.path).is_dir():
            return ""
        known = _FORMATS[self.form]
        files = {name: end for name in self._names() if (end := _ending(name, known))}
        ends = set(files.values())
        notes = [name for name in files if any(p.startswith("_") for p in Path(name).relative_to(self.path).parts)]
        if notes:
            raise CliError(
                f"--data {self.table}={self.path}: the folder has {notes[0]}, and a check in the cluster leaves out "
                f"what starts with _; give a pattern such as '{Path(self.path) / ('*' + min(ends))}'"
            )
        if len(ends) > 1:
            raise CliError(
                f"--data {self.table}={self.path}: the folder has files that end with {' and '.join(sorted(ends))}; "
                f"give a pattern such as '{Path(self.path) / ('*' + min(ends))}'"
            )
        return f"**/*{min(ends)}"

    @property
    def count(self) -> int | None:
        """How many files a folder or a pattern stands for, None for a file."""
        below = self.inside
        if not below and not any(char in self.path for char in _PATTERN):
            return None
        pattern = str(Path(self.path) / below) if below else self.path
        return sum(Path(found).is_file() for found in glob.iglob(pattern, recursive=True))

    @property
    def form(self) -> str:
        """The format, by the name of the first file.

        Raises:
            CliError: there is no file, or its name does not tell.
        """
        for name in self._names():
            for form, ends in _FORMATS.items():
                if name.lower().endswith(ends):
                    return form
        if not self._names():
            missing = "the folder has no files" if Path(self.path).is_dir() else "there is no such file"
            raise CliError(f"--data {self.table}={self.path}: {missing}")
        raise CliError(
            f"--data {self.table}={self.path}: the name does not tell the format; it must end with "
            f"{', '.join(end for ends in _FORMATS.values() for end in ends)}"
        )

    def _names(self) -> list[str]:
        if any(char in self.path for char in _PATTERN):
            return sorted(glob.glob(self.path, recursive=True))
        path = Path(self.path)
        if path.is_dir():
            return sorted(str(below) for below in path.rglob("*") if below.is_file())
        return [str(path)] if path.is_file() else []


def _ending(name: str, ends: Sequence[str]) -> str:
    """The longest of the endings that the name has, as the name writes it; empty without one."""
    found = max((end for end in ends if name.lower().endswith(end)), key=len, default="")
    return name[len(name) - len(found) :]


def parse_data(texts: Sequence[str], document: Document) -> list[Data]:
    """Data given as ``[SERVER/]TABLE=PATH``, or ``PATH`` alone where the contract has one table.

    Raises:
        CliError: the contract has no such table, or a table is given twice for a server.
    """
    tables = [table.name for table in document.tables]
    found: list[Data] = []
    for text in texts:
        named, equals, path = text.partition("=")
        if not equals:
            if len(tables) != 1:
                raise CliError(f"--data {text}: say which table it is: TABLE=PATH with one of {', '.join(tables)}")
            named, path = tables[0], text
        server, slash, table = named.rpartition("/")
        if table not in tables:
            raise CliError(f"--data {text}: the contract has no table {table!r}; it has {', '.join(tables) or 'none'}")
        data = Data(server if slash else LOCAL, table, path)
        if any((d.server, d.table) == (data.server, data.table) for d in found):
            raise CliError(f"--data: {named} is given twice; use a pattern such as 'folder/*.parquet' for many files")
        found.append(data)
    return found


@contextmanager
def planned(
    contract: ContractFile,
    data: Sequence[Data],
    servers: Sequence[str],
    purpose: Literal["Request", "Reference"] = "Request",
) -> Iterator[Plan]:
    """The plan of a check of that data; without data of the contract's own servers."""
    from weir.api.base import format_time
    from weir.jobs.plan import Plan

    with tempfile.TemporaryDirectory(prefix="weir-check-") as root:
        odcs, spec = dict(contract.odcs), contract.model
        checked = list(dict.fromkeys(d.server for d in data)) or list(servers)
        if data:
            _tell(data)
            odcs, spec = _with_files(odcs, spec, data, Path(root))
        else:
            spec = _with_databases(odcs, spec, servers)
        revision = contract.revision()
        yield Plan.model_validate(
            {
                "check": "local",
                "namespace": "local",
                "contract": contract.name,
                "digest": revision.digest,
                "odcs": odcs,
                "spec": spec.to_dict(),
                "servers": checked,
                "purpose": purpose,
                "now": format_time(time.time()),
                "data_root": root,
                "memory_limit": memory(),
            }
        )


def _tell(data: Sequence[Data]) -> None:
    """Says how many files are read, where it is not plain from what was given."""
    for one in data:
        count = one.count
        if count is not None:
            typer.echo(f"reading {one.table}: {count:,} file{'' if count == 1 else 's'} of {one.path}", err=True)


def memory() -> int:
    """Bytes that a check may take: half of the machine's memory, at most 4 GiB: the machine is somebody's."""
    return max(512 << 20, min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2))


def _with_files(
    odcs: dict[str, Any], spec: DataContractSpec, data: Sequence[Data], root: Path
) -> tuple[dict[str, Any], DataContractSpec]:
    """The document and the spec with these files as the only servers; ``root`` gets a link for each server's folder."""
    from weir.cli.contract_file import named

    known = {server.name: server for server in spec.servers or ()}
    # A server of the document counts without an entry in `spec.servers`, too: a document alone has no other.
    names = list(dict.fromkeys([*known, *(str(entry.get("server")) for entry in odcs.get("servers") or ())]))
    declared, given = [], []
    schema = {str(entry.get("name")): dict(entry) for entry in odcs.get("schema") or ()}
    for server in dict.fromkeys(d.server for d in data):
        mine = [d for d in data if d.server == server]
        if server not in (LOCAL, *names):
            raise CliError(f"--data: the contract has no server {server!r}; it has {', '.join(names) or 'none'}")
        if server not in known:
            named("--data: the server", server)
        forms = {d.form for d in mine}
        if len(forms) > 1:
            raise CliError(f"--data: tables of one server must have one format, not {' and '.join(sorted(forms))}")
        folder = Path(os.path.commonpath([str(d.folder) for d in mine]))
        (root / server).symlink_to(folder, target_is_directory=True)
        paths = {d.table: str(d.real.relative_to(folder) / d.inside) for d in mine}
        if len(schema) == 1:
            path = next(iter(paths.values()))
        else:
            # One path for all tables: each is found by its physical name.
            path = "{object}"
            schema |= {name: {**schema[name], "physicalName": where} for name, where in paths.items()}
        declared.append({"server": server, "type": "local", "path": path, "format": next(iter(forms))})
        made: dict[str, Any] = {"name": server, "odcsServer": server, "volume": {"claimName": LOCAL}}
        if server in known:
            made["environment"] = known[server].environment
            made["partition"] = known[server].partition
        given.append({key: value for key, value in made.items() if value is not None})
    tables = {d.table for d in data}
    odcs = {**odcs, "servers": declared, "schema": [schema[name] for name in schema if name in tables]}
    return odcs, _between(spec, given, {d.server for d in data}, tables)


def _with_databases(odcs: Mapping[str, Any], spec: DataContractSpec, names: Sequence[str]) -> DataContractSpec:
    """The spec with those servers of the document, too, that need nothing but a login."""
    from weir.api.datacontract import Server

    known = {server.name: server.odcs_server for server in spec.servers or ()}
    types = {str(entry.get("server")): str(entry.get("type")) for entry in odcs.get("servers") or ()}
    made = []
    for name in names:
        kind = types.get(known.get(name, name))
        if kind is None:
            raise CliError(f"the contract has no server {name!r}; it has {', '.join(known | types) or 'none'}")
        if kind == "local":
            raise CliError(f"the files of server {name} are not here; give them: --data {name}/TABLE=PATH")
        if name not in known:
            made.append(Server(name=name, odcs_server=name))
    return spec.model_copy(update={"servers": [*(spec.servers or ()), *made]})


def _between(
    spec: DataContractSpec, servers: list[dict[str, Any]], there: set[str], tables: set[str]
) -> DataContractSpec:
    """The spec without what needs servers or tables that are not here."""
    written = {**spec.to_dict(), "servers": servers}
    parity, leakage = written.pop("parity", None), written.pop("leakage", None) or []
    if parity is not None and {parity["training"], parity["serving"]} <= there:
        written["parity"] = parity
    kept = [one for one in leakage if {one["training"], one["other"]} <= there and one["object"] in tables]
    if kept:
        written["leakage"] = kept
    freshness = written.get("freshness")
    if freshness is not None and freshness["element"].partition(".")[0] not in tables:
        del written["freshness"]
    return type(spec).model_validate(written)


def left_out(contract: ContractFile, data: Sequence[Data]) -> list[str]:
    """What the data does not suffice for, each in a few words."""
    there, spec, document = {d.server for d in data}, contract.model, contract.revision().document
    missing = [table.name for table in document.tables if table.name not in {d.table for d in data}]
    told = [f"the table{'s' if len(missing) > 1 else ''} {', '.join(missing)}"] if missing else []
    if spec.parity is not None and not {spec.parity.training, spec.parity.serving} <= there:
        told.append(f"parity (needs data of {spec.parity.training} and {spec.parity.serving})")
    for one in spec.leakage or ():
        if not {one.training, one.other} <= there:
            told.append(f"leakage {one.name} (needs data of {one.training} and {one.other})")
    if spec.drift:
        told.append("drift (the operator compares profiles over time)")
    return told


def result(plan: Plan) -> ContractCheckStatus:
    """The result of the check.

    Raises:
        CliError: the engine is not installed.
    """
    with engine("checking data"):
        from weir.jobs.run import run

        return run(plan)


@contextmanager
def engine(what: str) -> Iterator[None]:
    """Says what to install where the engine is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _ENGINES:
            raise
        raise CliError(f"{what} needs {missing}, which is not installed; install it with: {INSTALL}") from None
