"""What every kind of cluster offers to the command line, and which kind is chosen."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from devcluster.command import succeeds
from devcluster.errors import ClusterError
from devcluster.images import Build
from devcluster.paths import Cache, ClusterPaths


class ProviderName(StrEnum):
    """Where the cluster comes from."""

    AUTO = "auto"
    KIND = "kind"
    EMBEDDED = "embedded"
    EXISTING = "existing"


@dataclass(frozen=True)
class StatusLine:
    """One part of a cluster and how it does."""

    part: str
    healthy: bool
    detail: str = ""


@dataclass(frozen=True)
class Entrance:
    """How to run a command so that it sees the cluster: a prefix of words and variables to set."""

    prefix: tuple[str, ...]
    environment: Mapping[str, str]


class Provider(Protocol):
    """A kind of cluster."""

    def up(self, resume: bool) -> None:
        """Return when the cluster and its add-ons are ready; quick when they are."""

    def down(self, wipe: bool) -> None:
        """Return when nothing of the cluster runs; `wipe` also removes its files."""

    def status(self) -> list[StatusLine]:
        """How every part does; empty when there is no cluster."""

    def entrance(self) -> Entrance:
        """How commands reach the cluster; raises ClusterError when there is none."""

    def service(self, action: str, name: str) -> None:
        """Start, kill, term, stop or cont one of the cluster's own processes."""

    def build_image(self, build: Build) -> None:
        """Build an image from a Dockerfile and load it if the cluster runs."""

    def load_image(self, reference: str) -> None:
        """Make an image that was built before known to the cluster's nodes."""


def docker_answers() -> bool:
    """Whether a Docker engine can be used here and now."""
    return succeeds(["docker", "info"], timeout=20)


def choose(wanted: ProviderName, has_docker: Callable[[], bool] = docker_answers) -> ProviderName:
    """The provider to use: `auto` is kind where Docker answers, else embedded."""
    if wanted is not ProviderName.AUTO:
        return wanted
    return ProviderName.KIND if has_docker() else ProviderName.EMBEDDED


def remember(paths: ClusterPaths, provider: ProviderName) -> None:
    """Store which provider made the cluster, for the commands that follow."""
    paths.root.mkdir(parents=True, exist_ok=True)
    (paths / "provider").write_text(f"{provider.value}\n")


def remembered(paths: ClusterPaths) -> ProviderName | None:
    """The provider that made the cluster, or None when there is no cluster of that name."""
    try:
        return ProviderName((paths / "provider").read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClusterError(f"{paths / 'provider'} is damaged", f"Remove {paths.root}.") from error


def client_environment(cache: Cache, paths: ClusterPaths, kubeconfig: Path) -> dict[str, str]:
    """Variables that let kubectl and helm work on the cluster, and keep their files in its directory."""
    plugins = Path(__file__).parent.parent / "bin"
    return {
        "PATH": os.pathsep.join([str(cache.bin), str(plugins), os.environ.get("PATH", "")]),
        "WEIR_PYTHON": sys.executable,
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(paths / "kubectl-cache"),
        "HELM_CACHE_HOME": str(paths / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(paths / "helm" / "config"),
        "HELM_DATA_HOME": str(paths / "helm" / "data"),
    }
