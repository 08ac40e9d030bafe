"""Documents that are kept elsewhere: read from OCI registries and Git repositories that an administrator allows.

What is fetched is written by others, and so is what unpacks it. Therefore a process of its own does the fetching
(`weir.runtime.fetching`), with a limit on its memory and an end to its time: whatever a server sends, the operator goes
on. The digest in the spec decides what is accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from weir.api.datacontract import Source

MOST_BYTES = 1 << 20
"""Largest document."""
TIME_LIMIT = 30.0
"""Seconds that a server has to give a document."""
_PORTS = {"https": 443, "http": 80, "oci": 443}


class SourceError(Exception):
    """The document cannot be had. ``reason`` is a word for programs; ``transient``: trying again may help."""

    reason: ClassVar[str]
    transient: ClassVar[bool] = False


class SourceNotAllowed(SourceError):
    """The setting WEIR_CONTRACT_SOURCES does not allow the place, or a place that it sends to."""

    reason = "SourceNotAllowed"


class SourceUnreachable(SourceError):
    """No usable answer: no connection, no such document, a login is asked for, or time is up."""

    reason = "SourceUnreachable"
    transient = True


class SourceTooLarge(SourceError):
    """The document, or what has to be read to find it, is larger than the limit."""

    reason = "SourceTooLarge"


class DigestMismatch(SourceError):
    """The bytes are not those that the spec asks for."""

    reason = "DigestMismatch"


_REASONS: dict[str, type[SourceError]] = {
    kind.reason: kind for kind in (SourceNotAllowed, SourceUnreachable, SourceTooLarge, DigestMismatch)
}


def allows(prefixes: Sequence[str], url: str) -> bool:
    """Whether the address is under one of the prefixes: same scheme, host and port, and path by whole segments.

    ``https://git.example/data`` allows ``https://git.example/data/contracts.git``, and neither
    ``https://git.example/database.git`` nor ``https://git.example.evil/data``.
    """
    wanted = _parts(url)
    return wanted is not None and any(
        wanted[0] == allowed[0] and _is_under(allowed[1], wanted[1])
        for allowed in map(_parts, prefixes)
        if allowed is not None
    )


def _parts(url: str) -> tuple[tuple[str, str, int | None], str] | None:
    """Origin and path; None for an address whose parts could be read in two ways."""
    try:
        parts = urlsplit(url.strip())
        origin = (parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme))
    except ValueError:
        return None
    segments = parts.path.split("/")
    odd = parts.query or parts.fragment or "%" in parts.path or "\\" in url or any(c.isspace() for c in url.strip())
    if not origin[1] or "@" in parts.netloc or odd or ".." in segments or "." in segments:
        return None
    return origin, parts.path


def _is_under(prefix: str, path: str) -> bool:
    stem = prefix.rstrip("/")
    rest = path.removeprefix(stem)
    # A tag or digest of the very repository that is allowed begins with : or @.
    return path.startswith(stem) and (not rest or rest[0] in "/:@")


def check_digest(data: bytes, digest: str) -> None:
    """Make sure that these are the bytes that were asked for.

    Raises:
        DigestMismatch: they are others.
    """
    got = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if got != digest:
        raise DigestMismatch(f"the document has the digest {got}, and the spec asks for {digest}")


async def fetch_document(source: Source, prefixes: Sequence[str], time_limit: float = TIME_LIMIT) -> bytes:
    """The document behind ``oci`` or ``git``, with the digest that the spec asks for.

    Args:
        source: where it is. One with ``configMapRef`` is read through the API server, not here.
        prefixes: addresses that are allowed, as `allows` reads them; none allows nothing.
        time_limit: seconds for everything.

    Raises:
        SourceError: a subclass for each reason. Messages hold no credentials.
    """
    url = source.oci if source.oci is not None else source.git.url if source.git is not None else ""
    if not url:
        raise ValueError("a ConfigMap is read through the API server")
    if not allows(prefixes, url):
        raise SourceNotAllowed(f"{_shown(url)} is not under an address that WEIR_CONTRACT_SOURCES allows")
    git = source.git.to_dict() if source.git is not None else None
    request = {"oci": source.oci, "git": git, "prefixes": list(prefixes)}
    data = await _in_a_process(request, _shown(url), time_limit)
    check_digest(data, source.digest)
    return data


async def _in_a_process(request: Mapping[str, object], place: str, time_limit: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weir.runtime.fetching"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(time_limit):
            answer, _ = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        raise SourceUnreachable(f"{place}: no document within {time_limit:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    kind, _, content = answer.partition(b"\n")
    if kind == b"document":
        return content
    if kind.decode(errors="replace") in _REASONS:
        raise _REASONS[kind.decode()](content.decode(errors="replace"))
    raise SourceTooLarge(f"{place}: what the server sends cannot be unpacked within the limits of memory")


def _shown(url: str) -> str:
    """The address without what may be a password."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".partition("?")[0]
