"""Engines that hold the data themselves: one ibis backend for each type of server, connected read-only where it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis

from weir.contract.model import OdcsServer

from .outcome import NoTable, Undecidable, reason

CONNECT_SECONDS = 20


@dataclass(frozen=True)
class Engine:
    """How a type of server of the standard becomes an ibis backend: its name there, and the setting of each field."""

    backend: str
    fields: Mapping[str, str]


_SQL = {"host": "host", "port": "port", "database": "database"}
_POSTGRES = Engine("postgres", {**_SQL, "schema": "schema"})
ENGINES: Mapping[str, Engine] = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "mysql": Engine("mysql", _SQL),
    "trino": Engine("trino", {"host": "host", "port": "port", "catalog": "database", "schema": "schema"}),
    "presto": Engine("trino", {"host": "host", "port": "port", "catalog": "database", "schema": "schema"}),
    "snowflake": Engine("snowflake", {"account": "account", "warehouse": "warehouse", "database": "database"}),
    "bigquery": Engine("bigquery", {"project": "project_id", "dataset": "dataset_id"}),
    "databricks": Engine("databricks", {"host": "server_hostname", "catalog": "catalog", "schema": "schema"}),
    "clickhouse": Engine("clickhouse", _SQL),
    "sqlserver": Engine("mssql", _SQL),
    "oracle": Engine("oracle", {"host": "host", "port": "port", "serviceName": "service_name"}),
    "athena": Engine("athena", {"schema": "schema_name", "stagingDir": "s3_staging_dir", "regionName": "region_name"}),
}


def credentials(server: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Settings of one server from the environment: ``WAREHOUSE_PASSWORD`` is ``password`` of the server ``warehouse``.

    The prefix is the server's name in upper case with ``-`` as ``_``, and one more ``_``; the rest may be in any case.
    """
    prefix = server.upper().replace("-", "_") + "_"
    found = {key[len(prefix) :].lower(): value for key, value in environment.items() if key.upper().startswith(prefix)}
    if "username" in found:
        found.setdefault("user", found.pop("username"))
    return {key: value for key, value in found.items() if key}


def connect(server: OdcsServer, settings: Mapping[str, str], seconds: float) -> Any:
    """An ibis backend for the server; ``seconds``: longest that one query may take, where the engine lets us say it.

    Raises:
        Undecidable: no such type, its package is not in the image, or the server cannot be reached.
    """
    engine = ENGINES.get(server.type)
    if engine is None:
        raise Undecidable(f"servers of type {server.type!r} cannot be checked")
    arguments: dict[str, Any] = {
        setting: server.fields[field] for field, setting in engine.fields.items() if server.fields.get(field)
    }
    arguments |= settings
    if "port" in arguments:
        arguments["port"] = int(arguments["port"])
    if engine.backend == "postgres":
        milliseconds = max(1, int(seconds * 1000))
        arguments |= {"connect_timeout": CONNECT_SECONDS, "options": f"-c statement_timeout={milliseconds}"}
    try:
        backend = getattr(ibis, engine.backend).connect(**arguments)
    except (ImportError, AttributeError) as error:
        raise Undecidable(
            f"this image has no driver for servers of type {server.type}: set engine.image to one that also has "
            f"ibis-framework[{engine.backend}]"
        ) from error
    except Exception as error:
        raise Undecidable(f"no connection to the {server.type} server: {reason(error)}") from error
    _read_only(engine, backend)
    return backend


def _read_only(engine: Engine, backend: Any) -> None:
    # After connecting: ibis declares helper functions in the session's temporary schema first.
    if engine.backend in {"postgres"}:
        with backend.con.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        backend.con.commit()


def table(backend: Any, server: OdcsServer, physical: str) -> Any:
    """The ibis table of that name; ``SCHEMA.NAME`` looks in another schema.

    Raises:
        NoTable: the engine has no such table.
    """
    *folders, name = physical.split(".")
    schema = ".".join(folders) or None
    if schema is None and server.type in {"snowflake"} and server.fields.get("schema"):
        schema = str(server.fields["schema"])
    try:
        return backend.table(name, database=schema)
    except Exception as error:
        if "NotFound" in type(error).__name__ or "UndefinedTable" in type(error).__name__:
            raise NoTable(physical) from error
        raise
