"""Where everything lives: one cache directory, and in it one directory a cluster."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import ClusterError

GO_MODULE = Path(__file__).resolve().parent.parent / "cluster"
"""The Go module whose tool dependencies are the cluster's programs."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class ClusterPaths:
    """The files of one cluster."""

    name: str
    root: Path

    def __truediv__(self, part: str) -> Path:
        return self.root / part

    @property
    def pki(self) -> Path:
        """Keys, certificates and kubeconfigs of the embedded cluster."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.root / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each audited API request of this run."""
        return self.root / "audit.log"

    @property
    def lock(self) -> Path:
        """Held while a command changes the cluster; beside the directory so that a wipe keeps it."""
        return self.root.with_name(f"{self.root.name}.lock")


@dataclass(frozen=True)
class Cache:
    """The cache directory; nothing is written outside it but by apt-get and Go's own build cache."""

    root: Path

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> "Cache":
        """$WEIR_CACHE, else $XDG_CACHE_HOME/weir, else ~/.cache/weir."""
        if own := environment.get("WEIR_CACHE"):
            return cls(Path(own).expanduser().absolute())
        base = environment.get("XDG_CACHE_HOME") or "~/.cache"
        return cls(Path(base).expanduser().absolute() / "weir")

    @property
    def bin(self) -> Path:
        """The built programs."""
        return self.root / "bin"

    @property
    def downloads(self) -> Path:
        """Unpacked wheels."""
        return self.root / "downloads"

    @property
    def images(self) -> Path:
        """Image archives and buildah's store."""
        return self.root / "images"

    @property
    def rootfs(self) -> Path:
        """The Debian root file system under the base image."""
        return self.root / "rootfs"

    def cluster(self, name: str) -> ClusterPaths:
        """The files of the cluster of that name; raises ClusterError for a name that cannot be one."""
        if not _NAME.fullmatch(name):
            raise ClusterError(f"{name!r} is no cluster name", "Use at most 30 of a-z, 0-9 and '-', a letter first.")
        return ClusterPaths(name, self.root / "clusters" / name)
