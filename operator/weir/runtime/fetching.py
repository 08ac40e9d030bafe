"""Fetches one document in a process of its own: a request as JSON on standard input, the document on standard output.

The first line of the output is ``document`` or the reason of a `SourceError`; the rest is the document or the message.
Run as ``python -m weir.runtime.fetching``.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from weir.runtime.sources import (
    MOST_BYTES,
    SourceError,
    SourceNotAllowed,
    SourceTooLarge,
    SourceUnreachable,
    allows,
)

_MEMORY = 160 << 20
"""Bytes that the process may use; it needs a quarter of that."""
_MOST_PACKED = 16 << 20
"""Bytes that a Git server may send for all files of one revision."""
_TIMEOUTS = (5.0, 15.0)
"""Seconds to connect and between two reads."""
_CHUNK = 1 << 16
_MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.artifact.manifest.v1+json"


@dataclass(frozen=True)
class Fence:
    """Where requests may go: the host that was asked for, and what the administrator allows. It holds for redirects."""

    origin: tuple[str, str]
    prefixes: tuple[str, ...]

    @classmethod
    def around(cls, url: str, prefixes: Sequence[str]) -> Fence:
        """The fence for one address."""
        parts = urlsplit(url)
        return cls((parts.scheme, parts.netloc), tuple(prefixes))

    def check(self, url: str) -> None:
        """Raises SourceNotAllowed when the address is outside."""
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != self.origin and not allows(self.prefixes, url.partition("?")[0]):
            message = f"{self.origin[1]} sends to {parts.hostname}, which WEIR_CONTRACT_SOURCES does not allow"
            raise SourceNotAllowed(message)


def fetch(request: dict[str, Any]) -> bytes:
    """The document of a request: ``oci`` or ``git`` (url, revision, path), and ``prefixes``.

    Raises:
        SourceError: a subclass for each reason.
    """
    prefixes = request["prefixes"]
    if request.get("oci"):
        return _from_oci(request["oci"], prefixes)
    git = request["git"]
    return _from_git(git["url"], git.get("revision") or "HEAD", git["path"], prefixes)


class _FencedAdapter(HTTPAdapter):
    """Looks at every request, those that follow a redirect or ask for a token included."""

    def __init__(self, fence: Fence) -> None:
        super().__init__()
        self._fence = fence

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._fence.check(str(request.url))
        return super().send(request, *args, **{**kwargs, "timeout": _TIMEOUTS})


def _from_oci(uri: str, prefixes: Sequence[str]) -> bytes:
    import oras.container
    import oras.provider
    from oras.auth import AuthenticationException

    class Registry(oras.provider.Registry):  # type: ignore[misc]
        # The library's own decorator would sleep for two minutes between tries; who asked tries again.
        do_request = oras.provider.Registry.do_request.__wrapped__

    name = uri.removeprefix("oci://")
    host = name.partition("/")[0]
    plain = host.partition(":")[0] in ("localhost", "127.0.0.1")
    try:
        container = oras.container.Container(name, registry=host)
    except ValueError:
        raise SourceUnreachable(f"{uri}: must be oci://REGISTRY/REPOSITORY, with :TAG or @DIGEST") from None
    registry = Registry(hostname=host, insecure=plain)
    fence = _FencedAdapter(Fence((registry.prefix, host), tuple(prefixes)))
    registry.session.mount("http://", fence)
    registry.session.mount("https://", fence)
    registry.auth.load_configs(container)
    try:
        return _only_layer(registry, container, uri)
    except requests.exceptions.RequestException as error:
        raise SourceUnreachable(f"{uri}: {_cause(error)}") from None
    except (AuthenticationException, ValueError):
        # A ValueError is how the library says that a registry asks for a login that there is none for.
        raise SourceUnreachable(f"{uri}: the registry asks for a login, and there is none that it takes") from None


def _only_layer(registry: Any, container: Any, uri: str) -> bytes:
    address = f"{registry.prefix}://{container.manifest_url()}"
    with registry.do_request(address, "GET", headers={"Accept": _MANIFEST_TYPES}, stream=True) as answer:
        manifest = _manifest(_read(answer, uri))
    layers = manifest.get("layers") or manifest.get("blobs") or []
    if len(layers) != 1 or not isinstance(layers[0], dict) or "digest" not in layers[0]:
        message = "holds no single file; push the document alone: oras push REGISTRY/REPOSITORY:TAG contract.yaml"
        raise SourceUnreachable(f"{uri}: {message}")
    with registry.get_blob(container, layers[0]["digest"], stream=True) as blob:
        return _read(blob, uri)


def _manifest(data: bytes) -> dict[str, Any]:
    """A manifest; an empty one where the registry sent something else."""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _read(answer: requests.Response, uri: str) -> bytes:
    if answer.status_code != 200:
        hints = {404: "there is no such artifact", 401: "the registry asks for a login", 403: "access is refused"}
        raise SourceUnreachable(f"{uri}: {hints.get(answer.status_code, 'no document')} (HTTP {answer.status_code})")
    data = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        data += chunk
        if len(data) > MOST_BYTES:
            raise SourceTooLarge(f"{uri}: larger than {MOST_BYTES >> 20} MiB")
    return bytes(data)


def _from_git(url: str, revision: str, path: str, prefixes: Sequence[str]) -> bytes:
    from dulwich.client import HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository

    try:
        return _from_repository(url, revision, path, Fence.around(url, prefixes))
    except NotGitRepository:
        raise SourceUnreachable(f"{url}: there is no such repository") from None
    except HTTPUnauthorized:
        raise SourceUnreachable(f"{url}: the server asks for a login") from None
    except (GitProtocolError, urllib3.exceptions.HTTPError, OSError) as error:
        raise SourceUnreachable(f"{url}: {_cause(error)}") from None


def _from_repository(url: str, revision: str, path: str, fence: Fence) -> bytes:
    from dulwich.errors import NotTreeError
    from dulwich.object_store import tree_lookup_path
    from dulwich.objects import Blob, Commit, Tag
    from dulwich.repo import MemoryRepo

    client, repository = _git_client(url, fence), MemoryRepo()
    wanted: list[bytes] = []

    def wants(refs: Any, depth: int | None = None) -> list[bytes]:
        wanted.append(_revision(refs, revision, url))
        return wanted

    names = [b"HEAD"] if revision == "HEAD" else [b"refs/heads/" + revision.encode(), b"refs/tags/" + revision.encode()]
    limit = b"blob:limit=%d" % (MOST_BYTES + 1)
    client.fetch(b"", repository, determine_wants=wants, depth=1, ref_prefix=names, filter_spec=limit)
    found: Any = repository.object_store[wanted[0]]  # type: ignore[index]
    while isinstance(found, Tag):
        found = repository.object_store[found.object[1]]
    if not isinstance(found, Commit):
        raise SourceUnreachable(f"{url}: {revision} is no commit")
    try:
        _mode, name = tree_lookup_path(repository.object_store.__getitem__, found.tree, path.strip("/").encode())
    except (KeyError, NotTreeError):
        raise SourceUnreachable(f"{url}: {revision} has no file {path}") from None
    try:
        blob = repository.object_store[name]
    except KeyError:
        # The server left it out, as it was asked to.
        raise SourceTooLarge(f"{url}: {path} is larger than {MOST_BYTES >> 20} MiB") from None
    if not isinstance(blob, Blob):
        raise SourceUnreachable(f"{url}: {path} is no file")
    if len(blob.data) > MOST_BYTES:
        raise SourceTooLarge(f"{url}: {path} is larger than {MOST_BYTES >> 20} MiB")
    return bytes(blob.data)


def _revision(refs: Any, revision: str, url: str) -> bytes:
    name = revision.encode()
    for ref in (name, b"refs/tags/" + name, b"refs/heads/" + name):
        if refs.get(ref):
            return bytes(refs[ref])
    if len(revision) == 40 and all(c in "0123456789abcdef" for c in revision):
        return name
    raise SourceUnreachable(f"{url}: there is no branch, tag or commit {revision}")


def _git_client(url: str, fence: Fence) -> Any:
    from dulwich.client import Urllib3HttpGitClient, default_urllib3_manager
    from dulwich.errors import GitProtocolError

    class Pool(urllib3.PoolManager):
        def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
            fence.check(url)
            return super().urlopen(method, url, redirect, **kw)

    class Proxy(urllib3.ProxyManager):
        def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
            fence.check(url)
            return super().urlopen(method, url, redirect, **kw)

    class Client(Urllib3HttpGitClient):
        """Counts what arrives, and speaks only the protocol that packs one revision."""

        arrived = 0

        def _http_request(self, url: str, *args: Any, **kwargs: Any) -> Any:
            response, read = super()._http_request(url, *args, **kwargs)
            if not str(response.content_type).startswith("application/x-git-"):
                raise GitProtocolError("the server does not speak Git's smart protocol")

            def counted(size: int) -> bytes:
                data = read(size)
                self.arrived += len(data)
                if self.arrived > _MOST_PACKED:
                    raise SourceTooLarge(
                        f"{url}: the files of the revision are more than {_MOST_PACKED >> 20} MiB; keep contracts in "
                        "a repository of their own"
                    )
                return data

            return response, counted

    manager = default_urllib3_manager(None, pool_manager_cls=Pool, proxy_manager_cls=Proxy, base_url=url)
    manager.connection_pool_kw["timeout"] = urllib3.Timeout(connect=_TIMEOUTS[0], read=_TIMEOUTS[1])
    manager.connection_pool_kw["retries"] = urllib3.Retry(connect=1, read=0, redirect=3, status=0, other=0)
    return Client(url, pool_manager=manager, quiet=True)


def _cause(error: BaseException) -> str:
    """The reason under the layers of wrapping, in one line, without addresses of objects."""
    seen = error
    while True:
        wrapped = [getattr(seen, "reason", None), *seen.args, seen.__cause__]
        deeper = next((one for one in wrapped if isinstance(one, BaseException)), None)
        if deeper is None:
            break
        seen = deeper
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return " ".join(str(seen).rpartition(">: ")[2].split()) or type(seen).__name__


def main() -> None:
    """Read one request, write one answer."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    request = json.load(sys.stdin)
    try:
        kind, content = "document", fetch(request)
    except SourceError as error:
        kind, content = error.reason, str(error).encode()
    except (MemoryError, OverflowError):
        kind, content = SourceTooLarge.reason, b"what the server sends cannot be unpacked within the limits of memory"
    except Exception as error:
        # The libraries meet answers that nobody thought of; whatever they say of them, there is no document.
        name = type(error).__name__
        kind, content = SourceUnreachable.reason, f"the server's answer cannot be read: {name}".encode()
    sys.stdout.buffer.write(kind.encode() + b"\n" + content)


if __name__ == "__main__":
    main()
