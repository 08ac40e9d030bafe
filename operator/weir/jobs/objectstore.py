"""Files in object stores, read through pyarrow: Amazon S3 and what speaks like it, Google Cloud Storage, Azure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs

from weir.contract.model import OdcsServer

from .outcome import Undecidable
from .paths import MAX_FILES, SUFFIXES, fill

TYPES = ("s3", "gcs", "azure")
_SCHEMES = {"s3": ("s3", "s3a"), "gcs": ("gs", "gcs"), "azure": ("abfs", "abfss", "az", "azure", "wasbs", "https")}


def filesystem(server: OdcsServer, settings: Mapping[str, str]) -> Any:
    """The file system of a server; without settings, the identity of the pod is used."""
    if server.type == "s3":
        endpoint = str(server.fields.get("endpointUrl") or "")
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        return pyarrow.fs.S3FileSystem(
            access_key=settings.get("access_key_id"),
            secret_key=settings.get("secret_access_key"),
            session_token=settings.get("session_token"),
            region=settings.get("region"),
            endpoint_override=parts.netloc or None,
            scheme=parts.scheme or "https",
            connect_timeout=10,
            request_timeout=60,
        )
    if server.type == "gcs":
        return pyarrow.fs.GcsFileSystem(access_token=settings.get("access_token"))
    return pyarrow.fs.AzureFileSystem(
        account_name=settings.get("account_name") or str(server.fields.get("storageAccount") or ""),
        account_key=settings.get("account_key"),
        sas_token=settings.get("sas_token"),
    )


def listing(store: Any, server: OdcsServer, table: str, form: str) -> list[Any]:
    """The files of a table as pyarrow FileInfo, sorted by path.

    Raises:
        Undecidable: there are none or too many, or the location is not one of this type of server.
    """
    location = urlsplit(fill(str(server.fields.get("location") or server.fields.get("path") or ""), table))
    if location.scheme not in _SCHEMES[server.type]:
        raise Undecidable(f"location of a server of type {server.type} must start with {_SCHEMES[server.type][0]}://")
    path = f"{location.netloc.partition('@')[0]}{location.path}".rstrip("/")
    fixed = path
    if any(char in path for char in "*?["):
        parts = path.split("/")
        fixed = "/".join(parts[: next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))])
    if fixed != path or store.get_file_info(fixed).type == pyarrow.fs.FileType.Directory:
        pattern = path if fixed != path else "*"
        found = [
            info
            for info in store.get_file_info(pyarrow.fs.FileSelector(fixed, recursive=True, allow_not_found=True))
            if info.type == pyarrow.fs.FileType.File
            and fnmatchcase(info.path, pattern.replace("**/", "*"))
            and (fixed != path or info.path.endswith(SUFFIXES[form]))
            and not info.base_name.startswith(("_", "."))
        ]
    else:
        found = [info for info in [store.get_file_info(path)] if info.type == pyarrow.fs.FileType.File]
    if not found:
        raise Undecidable(f"no {form} file was found at the location of the server")
    if len(found) > MAX_FILES:
        raise Undecidable(f"there are more than {MAX_FILES} files; narrow the location")
    return sorted(found, key=lambda info: str(info.path))


def dataset(store: Any, found: list[Any], form: str) -> Any:
    """The files as one pyarrow dataset; columns of CSV files are text."""
    paths = [info.path for info in found]
    partitioning = pyarrow.dataset.HivePartitioning.discover(infer_dictionary=False)
    options: Any = form
    if form == "csv":
        with store.open_input_stream(paths[0]) as stream, pyarrow.csv.open_csv(stream) as reader:
            names = reader.schema.names
        options = pyarrow.dataset.CsvFileFormat(
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=True, null_values=[""]
            )
        )
    return pyarrow.dataset.dataset(paths, filesystem=store, format=options, partitioning=partitioning)


def identity(found: list[Any]) -> str:
    """What identifies the state of the files: a digest of their paths, sizes and times of change."""
    digest = hashlib.sha256()
    for info in found:
        digest.update(f"{info.path}\0{info.size}\0{info.mtime_ns}\n".encode())
    return f"files:{digest.hexdigest()[:32]}"
