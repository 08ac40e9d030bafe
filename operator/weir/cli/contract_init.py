"""`weir contract init`: writes a contract from a file or a table of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir.cli.failure import UNREADABLE, CliError

if TYPE_CHECKING:
    from weir.cli.contract_draft import Drafted

_SCHEMES = ("postgres", "postgresql")
_ROLES = ("TrainingInput", "ServingInput", "Features", "Label", "Prediction")


def init(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A Parquet, CSV or JSON file (or a pattern), or postgres://USER@HOST/DATABASE with --table; the "
            "password comes from PGPASSWORD.",
        ),
    ],
    *,
    name: Annotated[str, typer.Option(help="Name of the DataContract; by default that of the data.")] = "",
    table: Annotated[
        str, typer.Option(help="Name of the table in the contract; for a database, [SCHEMA.]TABLE to read.")
    ] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help=f"What the data is for: {', '.join(_ROLES)}. Repeatable."),
    ] = None,
    ranges: Annotated[bool, typer.Option("--ranges", help="Write the least and greatest numbers as limits.")] = False,
    enums: Annotated[
        bool,
        typer.Option("--enums", help="Write the values of texts that have at most 20, but of no personal column."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; by default standard output.")
    ] = (None),
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --output.")] = False,
) -> None:
    """Write a DataContract from data: types, what is never null, and on demand ranges and values.

    Columns whose name speaks of a person, or whose values look like e-mail addresses, get `classification: restricted`.
    Primary keys are proposed in comments. Exit code 2: the data cannot be read, or the file is there already.
    """
    from weir.cli.contract_file import refuse_existing

    try:
        refuse_existing(output, force=force)
        text = draft(source, name=name, table=table, roles=role or ["Features"], ranges=ranges, enums=enums)
        if output is None:
            typer.echo(text, nl=False)
        else:
            output.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {output}; check it with: kubectl weir lint {output}", err=True)
    except CliError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.code) from None
    except OSError as error:
        typer.echo(f"error: {output or source}: {error.strerror or error}", err=True)
        raise typer.Exit(UNREADABLE) from None


def draft(source: str, *, name: str, table: str, roles: list[str], ranges: bool, enums: bool) -> str:
    """The manifest as YAML.

    Raises:
        CliError: the data cannot be read, or an option has no meaning.
    """
    from weir.cli.contract_draft import look, manifest
    from weir.cli.contract_file import named
    from weir.cli.contract_local import engine

    wrong = [role for role in roles if role not in _ROLES]
    if wrong:
        raise CliError(f"--role {wrong[0]} is none of {', '.join(_ROLES)}")
    if name:
        named("--name", name)
    with engine("reading data"), opened(source, name=name, table=table, roles=roles) as (data, drafted):
        try:
            rows, columns = look(data, ranges=ranges, enums=enums)
        except Exception as error:
            # Engines have errors of their own kinds; all of them mean that the data cannot be read.
            raise CliError(f"{drafted.origin} cannot be read: {_first_line(error)}") from None
        if not columns:
            raise CliError(f"{drafted.origin} has no columns")
        listed = [column.name for column in columns if column.values]
        if listed:
            text = f"the contract holds values of {', '.join(listed)}; remove those that are personal"
            typer.echo(f"warning: {text}", err=True)
        return manifest(replace(drafted, rows=rows, columns=columns))


@contextmanager
def opened(source: str, *, name: str, table: str, roles: list[str]) -> Iterator[tuple[Any, Drafted]]:
    """An ibis table and what is known of it before it is read."""
    from urllib.parse import urlsplit

    url = urlsplit(source)
    if url.scheme in _SCHEMES:
        with _database(source, table) as (data, server):
            physical = table.rpartition(".")[2]
            drafted = _drafted(name or physical, physical, server, roles)
            yield data, replace(drafted, physical=physical, origin=f"table {table}")
        return
    if "://" in source:
        raise CliError(f"{url.scheme}:// cannot be read here; give a file, or postgres://USER@HOST/DATABASE")
    with _file(source) as (data, server):
        stem = Path(source).name.partition(".")[0].strip("*?") or Path(source).absolute().parent.name
        yield data, replace(_drafted(name or stem, table or stem, server, roles), origin=_origin(source))


def _origin(source: str) -> str:
    from weir.cli.contract_local import LOCAL, Data

    name, count = Path(source).name or Path(source).absolute().name, Data(LOCAL, "data", source).count
    return name if count is None else f"{name}, {count:,} file{'' if count == 1 else 's'}"


def _drafted(name: str, table: str, server: dict[str, Any], roles: list[str]) -> Drafted:
    from weir.cli.contract_draft import Drafted
    from weir.cli.contract_file import object_name

    logical = re.sub(r"[^A-Za-z0-9_]+", "_", table).strip("_") or "data"
    files = server["type"] == "local"
    hints = [
        "To check it in the cluster, say where the data is there:",
        "servers:",
        f"  - name: {server['server']}",
        f"    odcsServer: {server['server']}",
        "    volume: {claimName: CLAIM}" if files else "    secretRef: {name: SECRET}",
        "schedule: {cron: '0 * * * *', maxAge: 3h}",
    ]
    return Drafted(object_name(name.replace("_", "-")), logical, server, roles, hints=hints)


@contextmanager
def _file(source: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    import tempfile

    from weir.cli.contract_local import Data, engine, memory

    data = Data("local", "data", source)
    try:
        form, below = data.form, data.inside
    except CliError as error:
        raise CliError(str(error).replace("--data data=", "")) from None
    with engine("reading data"), tempfile.TemporaryDirectory(prefix="weir-init-") as scratch:
        from weir.jobs import duck

        backend = duck.connect(memory(), [data.folder], Path(scratch))
        try:
            path = duck.text(str(data.real / below))
            read = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}[form]
            sampled = "" if form == "parquet" else ", sample_size = -1"
            backend.con.execute(f"CREATE VIEW data AS SELECT * FROM {read}({path}, union_by_name = true{sampled})")
            yield (
                backend.table("data"),
                {
                    "server": "files",
                    "type": "local",
                    "path": Path(source).name,
                    "format": form,
                },
            )
        except Exception as error:
            if isinstance(error, CliError) or not type(error).__module__.startswith(("duckdb", "_duckdb")):
                raise
            raise CliError(f"{source} cannot be read: {_first_line(error)}") from None
        finally:
            backend.disconnect()


@contextmanager
def _database(source: str, table: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    from weir.cli.contract_local import engine

    if not table:
        raise CliError("say which table: --table [SCHEMA.]TABLE")
    schema, _, name = table.rpartition(".")
    with engine("reading a database"):
        import ibis
        from psycopg import Error
        from psycopg.conninfo import conninfo_to_dict

        try:
            given = conninfo_to_dict(source)
            settings = {key: given[key] for key in ("host", "port", "user", "password") if given.get(key)}
            where = {"database": str(given.get("dbname") or "postgres"), "schema": schema or "public"}
            # Without a password libpq looks where it always does: PGPASSWORD, the password file.
            backend = ibis.postgres.connect(**settings, **where)
        except Error as error:
            raise CliError(f"cannot connect to the database: {_first_line(error)}") from None
        try:
            try:
                data = backend.table(name, database=where["schema"])
            except Exception as error:
                raise CliError(f"the database has no table {table}: {_first_line(error)}") from None
            host, port = str(given.get("host") or "localhost"), int(str(given.get("port") or 5432))
            yield data, {"server": "database", "type": "postgres", "host": host, "port": port, **where}
        finally:
            backend.disconnect()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
