"""Fetch a model's weights and make sure that they are the ones that were asked for, before a server sees them.

The bytes are digested while they stream; nothing appears under its final name before the digest is right, and nothing
is left behind when it is wrong. Fetching what is already there does nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

CHUNK = 1 << 20
"""Bytes read at a time."""
ARTIFACT_REASONS = (
    "ArtifactDigestMismatch",
    "ArtifactInvalid",
    "ArtifactForbidden",
    "ArtifactNotFound",
    "ArtifactUnreachable",
)
_MARKER = ".weir-artifact.json"
_PROGRESS_SECONDS = 5.0
_LOG = logging.getLogger("weir.fetch")


class ArtifactError(Exception):
    """The artifact cannot be had. ``exit_code`` tells the kinds apart; the text is ``<reason>: <what happened>``."""

    reason = "ArtifactInvalid"
    exit_code = 6

    def __str__(self) -> str:
        return f"{self.reason}: {' '.join(str(self.args[0]).split())}"


class DigestMismatch(ArtifactError):
    """The bytes are not the ones that were asked for."""

    reason = "ArtifactDigestMismatch"
    exit_code = 3

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected} got {got}")


class ArtifactNotFound(ArtifactError):
    """There is nothing at the address."""

    reason = "ArtifactNotFound"
    exit_code = 4


class ArtifactUnreachable(ArtifactError):
    """The server did not answer, or not to the end, after several tries."""

    reason = "ArtifactUnreachable"
    exit_code = 5


class ArtifactInvalid(ArtifactError):
    """The address or the artifact makes no sense."""


class ArtifactForbidden(ArtifactError):
    """The server wants other credentials."""

    reason = "ArtifactForbidden"
    exit_code = 7


Stream = Iterator[bytes]


class Staging:
    """A folder beside the destination in which an artifact is put together; it goes when the work is done or failed."""

    def __init__(self, dest: Path, clock: Callable[[], float] = time.monotonic) -> None:
        dest.mkdir(parents=True, exist_ok=True)
        self._dest = dest
        self._clock = clock
        self.root = Path(tempfile.mkdtemp(prefix=".weir-fetch-", dir=dest))
        self._digests: dict[str, str] = {}

    def write(self, path: str, stream: Stream, size: int | None = None) -> str:
        """Write a file of the artifact; returns its digest. ``size`` in bytes, where known, must be what arrives.

        Raises:
            ArtifactInvalid: the path would leave the destination.
            ArtifactUnreachable: the stream ended early.
        """
        file = self.root / safe_path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        digest, done, told = hashlib.sha256(), 0, self._clock()
        with file.open("wb") as out:
            for chunk in stream:
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if self._clock() - told >= _PROGRESS_SECONDS:
                    told = self._clock()
                    _LOG.info("%s: %s", path, _progress(done, size))
        if size is not None and done != size:
            raise ArtifactUnreachable(f"{path}: {done} of {size} bytes arrived")
        _LOG.info("%s: %s", path, _progress(done, size))
        self._digests[str(safe_path(path))] = f"sha256:{digest.hexdigest()}"
        return self._digests[str(safe_path(path))]

    def link(self, path: str, source: Path) -> None:
        """Put a link to a file or folder that is already on a volume of the pod."""
        link = self.root / safe_path(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)

    def publish(self, digest: str) -> None:
        """Give everything its final name, readable by any user, and note the digest."""
        for path in sorted(self.root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        names = sorted(entry.name for entry in self.root.iterdir())
        for name in names:
            final = self._dest / name
            _remove(final)
            (self.root / name).rename(final)
        files = {}
        for path in _files(self._dest, names):
            # What was digested while it streamed is not read a second time; weights may be hundreds of gigabytes.
            relative = str(path.relative_to(self._dest))
            files[relative] = self._digests.get(relative) or file_digest(path)
        _write_atomically(self._dest / _MARKER, json.dumps({"digest": digest, "files": files}, sort_keys=True))

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_exc: object) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def fetch(uri: str, digest: str, dest: Path, environment: Mapping[str, str], source: Path | None = None) -> bool:
    """Bring the artifact to the folder ``dest``; returns whether anything had to be fetched.

    Args:
        uri: http(s)://…, s3://BUCKET/KEY (a folder when it ends in `/`), oci://REGISTRY/REPOSITORY[:TAG], pvc://CLAIM/PATH.
        digest: `sha256:…` of the file, of the OCI manifest, or of the folder (see `folder_digest`).
        dest: an existing or new folder.
        environment: variables with credentials and endpoints (S3_ENDPOINT, AWS_*, OCI_USERNAME …).
        source: where the claim of a pvc:// address is mounted.

    Raises:
        ArtifactError: one subclass for each way it can fail; ``dest`` is then as it was.
    """
    from weir.workload import sources

    if already_there(dest, digest):
        _LOG.info("%s is already there with the right digest", uri)
        return False
    _sweep(dest)
    try:
        with Staging(dest) as staging:
            got = sources.gather(uri, digest, staging, environment, source)
            if got != digest:
                raise DigestMismatch(digest, got)
            staging.publish(digest)
    except OSError as exc:
        # A full or read-only volume; everything about the network was translated where it happened.
        raise ArtifactInvalid(f"{exc.strerror or exc} ({exc.filename or dest})") from exc
    return True


def already_there(dest: Path, digest: str) -> bool:
    """Whether a former fetch of this digest finished here and none of its files changed since."""
    try:
        marker = json.loads((dest / _MARKER).read_text())
        files = marker["files"].items() if marker["digest"] == digest else ()
        return bool(files) and all(file_digest(dest / path) == wanted for path, wanted in files)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def file_digest(path: Path) -> str:
    """`sha256:` and the hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def folder_digest(files: Mapping[str, str]) -> str:
    """Digest of a folder: of the lines ``<64 hexadecimal digits>  <path>``, sorted by path, each ended by a newline.

    The same as ``find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`` in the folder.
    """
    paths = sorted(files, key=str.encode)
    lines = "".join(f"{files[path].removeprefix('sha256:')}  {path}\n" for path in paths)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def path_digest(path: Path) -> str:
    """Digest of a file, or of a folder by `folder_digest`."""
    if path.is_dir():
        return folder_digest({str(item.relative_to(path)): file_digest(item) for item in _files(path)})
    return file_digest(path)


def safe_path(path: str) -> PurePosixPath:
    """A relative path that stays inside its folder.

    Raises:
        ArtifactInvalid: it would not.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts or "\0" in path or pure.parts[0] == _MARKER:
        raise ArtifactInvalid(f"the artifact holds a file with the unsafe path {path!r}")
    return pure


def _files(root: Path, names: Iterable[str] | None = None) -> list[Path]:
    """Files under ``root`` (or under these entries of it), links followed once: a linked folder lists its files."""
    starts = [root / name for name in names] if names is not None else [root]
    found: list[Path] = []
    for start in starts:
        if start.is_dir():
            found += [Path(folder) / file for folder, _, files in os.walk(start) for file in files]
        else:
            found.append(start)
    return sorted(found)


def _progress(done: int, size: int | None) -> str:
    whole = f" of {size / 1e6:.1f}" if size else ""
    share = f" ({100 * done // size} %)" if size else ""
    return f"{done / 1e6:.1f}{whole} MB{share}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sweep(dest: Path) -> None:
    """Remove what an interrupted fetch left."""
    for leftover in dest.glob(".weir-fetch-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _write_atomically(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)
