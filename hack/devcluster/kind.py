"""A cluster of kind, in Docker."""

import os
import shutil
from pathlib import Path

from devcluster import addons
from devcluster.command import run, succeeds
from devcluster.errors import ClusterError
from devcluster.images import Build, pip_arguments
from devcluster.paths import Cache, ClusterPaths
from devcluster.progress import Progress
from devcluster.provider import Entrance, StatusLine, client_environment
from devcluster.tools import HELM, KUBECTL, GoTools

KIND_MODULE = "sigs.k8s.io/kind@v0.33.0"


class Kind:
    """The kind provider."""

    def __init__(self, cache: Cache, paths: ClusterPaths, progress: Progress) -> None:
        self._cache = cache
        self._paths = paths
        self._progress = progress
        self._tools = GoTools(cache, progress)

    def up(self, resume: bool) -> None:
        """Create the cluster if there is none, and install the add-ons from public images."""
        if resume:
            raise ClusterError("--resume is for the embedded cluster only")
        self._ensure_programs()
        if not self._exists():
            self._progress.step("kind create cluster")
            create = [self._kind(), "create", "cluster", "--name", self._paths.name, "--wait", "180s"]
            run([*create, "--kubeconfig", str(self._paths.kubeconfig)], timeout=900)
        run([self._kind(), "export", "kubeconfig", *self._name(), "--kubeconfig", str(self._paths.kubeconfig)])
        self._progress.step("node ready")
        self._addons().apply(addons.PUBLIC_IMAGES)
        self._addons().wait(300)
        self._progress.step("add-ons ready")

    def down(self, wipe: bool) -> None:
        """Delete the cluster."""
        if shutil.which(self._kind()):
            run([self._kind(), "delete", "cluster", *self._name(), "--kubeconfig", str(self._paths.kubeconfig)])
        if wipe:
            shutil.rmtree(self._paths.root, ignore_errors=True)
        else:
            (self._paths / "provider").unlink(missing_ok=True)

    def status(self) -> list[StatusLine]:
        """The API server and the add-ons; empty when kind knows no such cluster."""
        if not shutil.which(self._kind()) or not self._exists():
            return []
        serving = succeeds([*self._kubectl(), "get", "--raw", "/readyz", "--request-timeout=5s"])
        lines = [StatusLine("api", serving)]
        if serving:
            lines += [StatusLine(name, ready) for name, ready in self._addons().ready().items()]
        return lines

    def entrance(self) -> Entrance:
        """As root, commands run in the node's network, so that Service addresses work; else in the host's."""
        if not self._exists():
            raise ClusterError("the cluster is not running", "Start it with `devcluster up`.")
        environment = client_environment(self._cache, self._paths, self._paths.kubeconfig)
        if os.geteuid() != 0 or shutil.which("nsenter") is None:
            return Entrance((), environment)
        pid = run(["docker", "inspect", "--format", "{{.State.Pid}}", f"{self._paths.name}-control-plane"]).strip()
        inside = self._paths / "kubeconfig-inside"
        self._write_inside_kubeconfig(inside)
        return Entrance(("nsenter", "--target", pid, "--net"), {**environment, "KUBECONFIG": str(inside)})

    def service(self, action: str, name: str) -> None:
        """Not offered: kind's kubelet starts its static pods again by itself."""
        raise ClusterError(f"cannot {action} {name}: faults in the control plane need --provider embedded")

    def build_image(self, build: Build) -> None:
        """Build with docker, which caches by itself, and load."""
        self._progress.step(f"docker build of {build.tag}")
        arguments = {**pip_arguments(), **build.arguments}
        # A directory of this machine means nothing inside a Docker build.
        arguments.pop("PIP_FIND_LINKS", None)
        words = [word for pair in sorted(arguments.items()) for word in ("--build-arg", "=".join(pair))]
        tagged = ["docker", "build", "--tag", build.tag, "--file", str(build.dockerfile)]
        run([*tagged, *words, str(build.context)], timeout=1800)
        if shutil.which(self._kind()) and self._exists():
            self.load_image(build.tag)

    def load_image(self, reference: str) -> None:
        """Copy an image from the Docker engine to the nodes."""
        run([self._kind(), "load", "docker-image", reference, *self._name()], timeout=600)
        self._progress.step(f"image {reference} loaded")

    def _write_inside_kubeconfig(self, target: Path) -> None:
        """The same user, with the API server where it listens inside the node's network."""
        shutil.copyfile(self._paths.kubeconfig, target)
        target.chmod(0o600)
        cluster = f"kind-{self._paths.name}"
        server = "--server=https://127.0.0.1:6443"
        run([*self._kubectl(), f"--kubeconfig={target}", "config", "set-cluster", cluster, server])

    def _ensure_programs(self) -> None:
        missing = [tool for tool in (KUBECTL, HELM) if shutil.which(tool.name) is None]
        self._tools.ensure(missing)
        if shutil.which(self._kind()) is None:
            self._progress.step(f"go install {KIND_MODULE}")
            self._cache.bin.mkdir(parents=True, exist_ok=True)
            run([self._tools.go(), "install", KIND_MODULE], env={"GOBIN": str(self._cache.bin)}, cwd=Path("/"))

    def _exists(self) -> bool:
        return self._paths.name in run([self._kind(), "get", "clusters"]).split()

    def _kind(self) -> str:
        return shutil.which("kind") or str(self._cache.bin / "kind")

    def _name(self) -> list[str]:
        return ["--name", self._paths.name]

    def _addons(self) -> addons.Addons:
        return addons.Addons(self._kubectl(), self._tools, with_dns=False)

    def _kubectl(self) -> list[str]:
        program = shutil.which("kubectl") or str(self._cache.bin / "kubectl")
        cache_directory = self._paths / "kubectl-cache"
        return [program, f"--kubeconfig={self._paths.kubeconfig}", f"--cache-dir={cache_directory}"]
