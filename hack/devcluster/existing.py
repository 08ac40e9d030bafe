"""The cluster of the current kubeconfig: nothing is installed in it, its add-ons are only checked."""

import os
import shutil

from devcluster.command import run, succeeds
from devcluster.errors import ClusterError
from devcluster.images import Build
from devcluster.paths import Cache, ClusterPaths
from devcluster.progress import Progress
from devcluster.provider import Entrance, StatusLine

_CHECKS = (
    ("gateway-api", ("get", "crd", "httproutes.gateway.networking.k8s.io"), "Install the Gateway API standard CRDs."),
    ("gateway", ("get", "gateways.gateway.networking.k8s.io", "-A", "--no-headers"), "Install a gateway."),
)


class Existing:
    """The existing provider."""

    def __init__(self, cache: Cache, paths: ClusterPaths, progress: Progress) -> None:
        self._cache = cache
        self._paths = paths
        self._progress = progress

    def up(self, resume: bool) -> None:
        """Check that the cluster answers, and say which add-ons are missing."""
        if resume:
            raise ClusterError("--resume is for the embedded cluster only")
        context = run([*self._kubectl(), "config", "current-context"]).strip()
        run([*self._kubectl(), "get", "--raw", "/readyz", "--request-timeout=10s"])
        self._progress.step(f"context {context} answers")
        for line in self.status():
            if not line.healthy:
                self._progress.step(f"missing: {line.part}. {line.detail}")

    def down(self, wipe: bool) -> None:
        """Forget about the cluster; it is the user's and stays as it is."""
        if wipe:
            shutil.rmtree(self._paths.root, ignore_errors=True)
        else:
            (self._paths / "provider").unlink(missing_ok=True)

    def status(self) -> list[StatusLine]:
        """The API server and each add-on that Weir can use."""
        answers = succeeds([*self._kubectl(), "get", "--raw", "/readyz", "--request-timeout=10s"])
        lines = [StatusLine("api", answers)]
        for part, arguments, advice in _CHECKS if answers else ():
            there = self._has(arguments)
            lines.append(StatusLine(part, there, "" if there else advice))
        return lines

    def entrance(self) -> Entrance:
        """Commands see the kubeconfig that kubectl uses by default."""
        default = os.path.expanduser("~/.kube/config")
        path = os.pathsep.join([os.environ.get("PATH", ""), str(self._cache.bin)])
        return Entrance((), {"KUBECONFIG": os.environ.get("KUBECONFIG", default), "PATH": path})

    def service(self, action: str, name: str) -> None:
        """Not possible: the cluster's processes are not ours."""
        raise ClusterError(f"cannot {action} {name} of an existing cluster")

    def build_image(self, build: Build) -> None:
        """Not done: where images go is the cluster owner's choice."""
        raise ClusterError(
            "an existing cluster gets its images from a registry",
            f"Build and push it there, for instance:\n  docker build -t YOUR-REGISTRY/NAME {build.context}",
        )

    def load_image(self, reference: str) -> None:
        """Not done, see build_image."""
        raise ClusterError("an existing cluster gets its images from a registry", f"Push {reference} there.")

    def _has(self, arguments: tuple[str, ...]) -> bool:
        try:
            return bool(run([*self._kubectl(), *arguments]).strip())
        except ClusterError:
            return False

    def _kubectl(self) -> list[str]:
        program = shutil.which("kubectl") or shutil.which("kubectl", path=str(self._cache.bin))
        if program is None:
            raise ClusterError("kubectl is not installed", "Install it, or build it with `devcluster build-tools`.")
        return [program]
