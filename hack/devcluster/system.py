"""What the embedded cluster needs from the operating system, and how it gets it."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from devcluster.command import CommandFailed, run
from devcluster.errors import ClusterError
from devcluster.progress import Progress

CNI_PLUGINS = Path("/usr/lib/cni")

NODE_PROGRAMS: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
"""Programs of a node, each with the Debian package that has it."""

BUILD_PROGRAMS: Mapping[str, str] = {"buildah": "buildah", "debootstrap": "debootstrap"}
"""Programs that build images without Docker."""

# A plain user's PATH on Debian lacks the sbin directories, where half of these programs are.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def find_program(name: str) -> str | None:
    """The path of a program, also when it is in an sbin directory outside PATH."""
    return shutil.which(name, path=SEARCH_PATH)


def missing_packages(programs: Mapping[str, str], find: Callable[[str], str | None] = find_program) -> tuple[str, ...]:
    """The Debian packages to install so that all the programs are there."""
    return tuple(sorted({package for program, package in programs.items() if find(program) is None}))


def require_root(action: str) -> None:
    """Raise ClusterError unless this process is root."""
    if os.geteuid() != 0:
        raise ClusterError(
            f"{action} needs root (it makes network, mount and pid namespaces)",
            "Run it with sudo, or start Docker and use --provider kind.",
        )


def ensure_packages(programs: Mapping[str, str], progress: Progress) -> None:
    """Install what is missing with apt-get; raise ClusterError with the exact command where that cannot be done."""
    packages = missing_packages(programs)
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(
            f"missing on this machine: {', '.join(packages)}",
            f"Install them first, on Debian or Ubuntu with:\n  sudo {' '.join(command)}",
        )
    progress.step(f"apt-get install {' '.join(packages)}")
    _apt_get(command)
    if still := missing_packages(programs):
        raise ClusterError(f"apt-get installed {', '.join(packages)}, yet programs of {', '.join(still)} are not found")


def _apt_get(command: Iterable[str]) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(list(command), env=quiet, timeout=900)
    except CommandFailed:
        # The package lists are missing or old on a fresh machine.
        run(["apt-get", "update"], env=quiet, timeout=900)
        run(list(command), env=quiet, timeout=900)
