"""Where artifacts come from: http(s), S3-compatible stores, OCI registries, claims of the pod.

Each source puts the files into the staging folder and returns the digest of what it got.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from weir.workload.fetch import (
    CHUNK,
    ArtifactForbidden,
    ArtifactInvalid,
    ArtifactNotFound,
    ArtifactUnreachable,
    DigestMismatch,
    Staging,
    Stream,
    folder_digest,
    path_digest,
    safe_path,
)

_TIMEOUTS = (5.0, 30.0)
"""Seconds to connect and between two reads."""
_UNPACK = "io.deis.oras.content.unpack"
_TITLE = "org.opencontainers.image.title"
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def gather(uri: str, digest: str, staging: Staging, environment: Mapping[str, str], source: Path | None) -> str:
    """Fetch ``uri`` into ``staging``; returns the digest of what arrived.

    Raises:
        ArtifactError: a subclass that says why nothing usable arrived.
    """
    scheme = uri.partition("://")[0]
    with _network_errors(uri):
        if scheme in ("http", "https"):
            return _http(uri, staging, environment)
        if scheme == "s3":
            return _s3(uri, staging, environment)
        if scheme == "oci":
            return _oci(uri, digest, staging, environment)
        if scheme == "pvc":
            return _claim(uri, staging, source)
    raise ArtifactInvalid(f"{uri}: the scheme must be one of http, https, s3, oci and pvc")


def _retries(environment: Mapping[str, str]) -> Retry:
    return Retry(
        total=int(environment.get("FETCH_RETRIES", "5")),
        backoff_factor=float(environment.get("FETCH_BACKOFF_SECONDS", "0.5")),
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "HEAD"),
        raise_on_status=False,
    )


@contextlib.contextmanager
def _network_errors(uri: str) -> Iterator[None]:
    """Everything that a network can do becomes ArtifactUnreachable."""
    try:
        yield
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as exc:
        raise ArtifactInvalid(f"{uri}: {exc}") from exc
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as exc:
        raise ArtifactUnreachable(f"{uri}: {_innermost(exc)}") from exc


def _innermost(exc: BaseException) -> str:
    """The reason under the layers of wrapping; no object addresses, since the text ends in a status."""
    seen: BaseException = exc
    while True:
        deeper = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        if not isinstance(deeper, BaseException):
            break
        seen = deeper
    cause = seen.__cause__ or seen.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(seen).rpartition(">: ")[2] or type(seen).__name__


def _check(status: int, uri: str) -> None:
    if status in (404, 410):
        raise ArtifactNotFound(f"{uri}: HTTP {status}")
    if status in (401, 403):
        raise ArtifactForbidden(f"{uri}: HTTP {status}; check the credentials Secret")
    if status != 200:
        raise ArtifactUnreachable(f"{uri}: HTTP {status}")


def _http(uri: str, staging: Staging, environment: Mapping[str, str]) -> str:
    name = PurePosixPath(unquote(urlsplit(uri).path)).name or "model"
    with requests.Session() as session:
        adapter = HTTPAdapter(max_retries=_retries(environment))
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        if token := environment.get("HTTP_BEARER_TOKEN"):
            session.headers["Authorization"] = f"Bearer {token}"
        # A compressed transfer would make the length useless, and weights do not compress.
        session.headers["Accept-Encoding"] = "identity"
        with session.get(uri, stream=True, timeout=_TIMEOUTS) as answer:
            _check(answer.status_code, uri)
            return staging.write(name, answer.iter_content(CHUNK), _length(answer.headers))


def _length(headers: Mapping[str, Any]) -> int | None:
    value = headers.get("Content-Length")
    return int(value) if value is not None and not headers.get("Content-Encoding") else None


def _s3(uri: str, staging: Staging, environment: Mapping[str, str]) -> str:
    import minio
    from minio.error import S3Error

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise ArtifactInvalid(f"{uri}: must be s3://BUCKET/KEY")
    client = _s3_client(environment)
    try:
        if not key.endswith("/"):
            return staging.write(PurePosixPath(key).name, _s3_stream(client, bucket, key))
        objects = [item for item in client.list_objects(bucket, prefix=key, recursive=True) if not item.is_dir]
        if not objects:
            raise ArtifactNotFound(f"{uri}: no object has this prefix")
        names = {str(item.object_name): str(item.object_name).removeprefix(key) for item in objects}
        files = {name: staging.write(name, _s3_stream(client, bucket, full)) for full, name in names.items() if name}
        return folder_digest(files)
    except S3Error as exc:
        if exc.code in ("NoSuchKey", "NoSuchBucket"):
            raise ArtifactNotFound(f"{uri}: {exc.code}") from exc
        if exc.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            raise ArtifactForbidden(f"{uri}: {exc.code}; check the credentials Secret") from exc
        raise ArtifactUnreachable(f"{uri}: {exc.code}") from exc
    except minio.error.MinioException as exc:
        raise ArtifactUnreachable(f"{uri}: {exc}") from exc


def _s3_client(environment: Mapping[str, str]) -> Any:
    import minio

    endpoint = environment.get("S3_ENDPOINT") or environment.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    pool = urllib3.PoolManager(
        retries=_retries(environment), timeout=urllib3.Timeout(connect=_TIMEOUTS[0], read=_TIMEOUTS[1])
    )
    return minio.Minio(
        parts.netloc,
        access_key=environment.get("AWS_ACCESS_KEY_ID"),
        secret_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        session_token=environment.get("AWS_SESSION_TOKEN"),
        # A region that is known saves a request that many stores refuse.
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        secure=parts.scheme == "https",
        http_client=pool,
    )


def _s3_stream(client: Any, bucket: str, key: str) -> Stream:
    answer = client.get_object(bucket, key)
    try:
        yield from answer.stream(CHUNK)
    finally:
        answer.close()
        answer.release_conn()


def _oci(uri: str, digest: str, staging: Staging, environment: Mapping[str, str]) -> str:
    registry, container = _registry(uri, digest, environment)
    with _registry_errors(uri):
        url = f"{registry.prefix}://{container.manifest_url()}"
        answer = registry.do_request(url, "GET", headers={"Accept": ", ".join(_MANIFEST_TYPES)})
        _check(answer.status_code, uri)
        got = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        if got != digest:
            # The manifest is what the digest covers: no layer of a wrong one is worth fetching.
            return got
        for layer in _layers(answer, uri):
            _layer(registry, container, layer, staging, uri)
    return got


def _layers(answer: requests.Response, uri: str) -> list[dict[str, Any]]:
    try:
        manifest = answer.json()
    except ValueError as exc:
        raise ArtifactInvalid(f"{uri}: the manifest is not JSON") from exc
    layers = manifest.get("layers") or manifest.get("blobs") if isinstance(manifest, dict) else None
    if not layers:
        raise ArtifactInvalid(f"{uri}: the manifest names no layers (an index? name one manifest by its digest)")
    return list(layers)


def _layer(registry: Any, container: Any, layer: Mapping[str, Any], staging: Staging, uri: str) -> None:
    annotations = layer.get("annotations") or {}
    name = annotations.get(_TITLE) or str(layer["digest"]).removeprefix("sha256:")
    safe_path(name)
    packed = annotations.get(_UNPACK) == "true"
    file = f"{name}.weir-packed" if packed else name
    with registry.get_blob(container, layer["digest"], stream=True) as blob:
        _check(blob.status_code, f"{uri} layer {layer['digest']}")
        got = staging.write(file, blob.iter_content(CHUNK), layer.get("size"))
    if got != layer["digest"]:
        raise DigestMismatch(str(layer["digest"]), got)
    if packed:
        _unpack(staging.root / file, staging.root, uri)


def _unpack(archive: Path, into: Path, uri: str) -> None:
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")
    except (tarfile.TarError, EOFError) as exc:
        raise ArtifactInvalid(f"{uri}: {exc}") from exc
    archive.unlink()


def _registry(uri: str, digest: str, environment: Mapping[str, str]) -> tuple[Any, Any]:
    import oras.container
    import oras.provider

    class Registry(oras.provider.Registry):  # type: ignore[misc]
        # The library's own decorator would sleep for two minutes; the session below retries instead.
        do_request = oras.provider.Registry.do_request.__wrapped__

    name = uri.removeprefix("oci://")
    host = name.partition("/")[0]
    plain = environment.get("OCI_PLAIN_HTTP") == "true" or host.partition(":")[0] in ("localhost", "127.0.0.1")
    tagged = "@" in name or ":" in name.rpartition("/")[2]
    try:
        container = oras.container.Container(name if tagged else f"{name}@{digest}", registry=host)
    except ValueError as exc:
        raise ArtifactInvalid(f"{uri}: must be oci://REGISTRY/REPOSITORY, with or without :TAG") from exc
    registry = Registry(hostname=host, insecure=plain)
    adapter = HTTPAdapter(max_retries=_retries(environment))
    registry.session.mount("http://", adapter)
    registry.session.mount("https://", adapter)
    if environment.get("OCI_USERNAME"):
        registry.auth.set_basic_auth(environment["OCI_USERNAME"], environment.get("OCI_PASSWORD", ""))
    registry.auth.load_configs(container)
    return registry, container


@contextlib.contextmanager
def _registry_errors(uri: str) -> Iterator[None]:
    from oras.auth import AuthenticationException

    try:
        yield
    except AuthenticationException as exc:
        raise ArtifactForbidden(f"{uri}: {exc}; check the credentials Secret") from exc
    except requests.exceptions.RequestException:
        raise
    except ValueError as exc:
        # How the library says that a registry asks for a login it has none for.
        raise ArtifactForbidden(f"{uri}: {exc}; check the credentials Secret") from exc


def _claim(uri: str, staging: Staging, source: Path | None) -> str:
    path = uri.removeprefix("pvc://").partition("/")[2].strip("/")
    if source is None or not path:
        raise ArtifactInvalid(f"{uri}: must be pvc://CLAIM/PATH")
    found = source / safe_path(path)
    if not found.exists():
        raise ArtifactNotFound(f"{uri}: the claim holds no such file or folder")
    got = path_digest(found)
    staging.link(found.name, found)
    return got
