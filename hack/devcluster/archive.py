"""Container images made of a few files, written without any image builder."""

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

NOBODY = 65532
"""The user id that these images run as."""


@dataclass(frozen=True)
class SmallImage:
    """An image from nothing: a name, the files in it (path inside -> path here) and what it runs."""

    reference: str
    entrypoint: Sequence[str]
    files: Mapping[str, Path]
    directories: Mapping[str, int] = field(default_factory=lambda: {"tmp": 0o1777})

    def digest(self) -> str:
        """A digest of what the image is made from; sizes and times stand for the content of big programs."""
        parts = [self.reference, *self.entrypoint, repr(sorted(self.directories.items()))]
        for name, source in sorted(self.files.items()):
            info = source.stat()
            parts.append(f"{name} {info.st_size} {info.st_mtime_ns}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def write(image: SmallImage, target: Path) -> None:
    """Write the image as an archive in the OCI layout, which containerd and docker import."""
    target.parent.mkdir(parents=True, exist_ok=True)
    layer = target.with_suffix(".layer")
    partial = target.with_suffix(".partial")
    try:
        _write_layer(image, layer)
        with tarfile.open(partial, "w") as archive:
            _write_layout(archive, image, layer)
        partial.rename(target)
    finally:
        layer.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def _write_layer(image: SmallImage, target: Path) -> None:
    with tarfile.open(target, "w") as layer:
        for name, mode in sorted(image.directories.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            layer.addfile(entry)
        for name, source in sorted(image.files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            info = os.stat(source)
            entry.size, entry.mode = info.st_size, 0o755 if info.st_mode & stat.S_IXUSR else 0o644
            with source.open("rb") as content:
                layer.addfile(entry, content)


def _write_layout(archive: tarfile.TarFile, image: SmallImage, layer: Path) -> None:
    with layer.open("rb") as content:
        layer_digest = hashlib.file_digest(content, "sha256").hexdigest()
        entry = tarfile.TarInfo(f"blobs/sha256/{layer_digest}")
        entry.size = layer.stat().st_size
        content.seek(0)
        archive.addfile(entry, content)

    def blob(document: object) -> tuple[str, int]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        _add(archive, f"blobs/sha256/{digest}", data)
        return f"sha256:{digest}", len(data)

    config_digest, config_size = blob(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "User": f"{NOBODY}:{NOBODY}",
                "Entrypoint": list(image.entrypoint),
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    )
    oci = "application/vnd.oci.image"
    manifest_digest, manifest_size = blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", "digest": config_digest, "size": config_size},
            "layers": [
                {
                    "mediaType": f"{oci}.layer.v1.tar",
                    "digest": f"sha256:{layer_digest}",
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    entry_point = {
        "mediaType": f"{oci}.manifest.v1+json",
        "digest": manifest_digest,
        "size": manifest_size,
        "annotations": {"io.containerd.image.name": image.reference},
    }
    _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry_point]}).encode())
    _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
