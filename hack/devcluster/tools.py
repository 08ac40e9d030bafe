"""The cluster's programs, built from the Go modules in hack/cluster."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import wheels
from devcluster.command import CommandFailed, run
from devcluster.errors import ClusterError
from devcluster.locking import hold
from devcluster.paths import GO_MODULE, Cache
from devcluster.progress import Progress

MINIMUM_GO = (1, 26)

TAGS = "netgo,remove_all_sd,enable_kubernetes_sd"
"""Pure Go name resolution; Prometheus with no service discovery but that of Kubernetes."""

_VERSION_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "k8s.io/kubernetes": (
        "k8s.io/component-base/version.gitVersion",
        "k8s.io/client-go/pkg/version.gitVersion",
    ),
    "helm.sh/helm/v4": ("helm.sh/helm/v4/internal/version.version",),
}


@dataclass(frozen=True)
class Tool:
    """A program, the package that it is built from and the Go module directory that pins its version."""

    name: str
    package: str
    module: Path = GO_MODULE

    @property
    def built_name(self) -> str:
        """The file name that `go install` gives it: the last part of the package, a major version not counted."""
        if self.package == ".":
            return self.name
        parts = [part for part in self.package.split("/") if not re.fullmatch(r"v\d+", part)]
        return parts[-1]


def kubernetes_tool(name: str) -> Tool:
    """A program of the Kubernetes repository."""
    return Tool(name, f"k8s.io/kubernetes/cmd/{name}")


ETCD = Tool("etcd", "go.etcd.io/etcd/server/v3")
KUBECTL = kubernetes_tool("kubectl")
HELM = Tool("helm", "helm.sh/helm/v4/cmd/helm")
KWOK = Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok")
COREDNS = Tool("coredns", ".", GO_MODULE / "coredns")
TOOLS: tuple[Tool, ...] = (
    ETCD,
    kubernetes_tool("kube-apiserver"),
    kubernetes_tool("kube-controller-manager"),
    kubernetes_tool("kube-scheduler"),
    kubernetes_tool("kubelet"),
    kubernetes_tool("kube-proxy"),
    KUBECTL,
    HELM,
    KWOK,
    Tool("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
    COREDNS,
)


def module_version(go_mod: str, module: str) -> str:
    """The version that a go.mod file requires of a module; raises ClusterError when it does not."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"go.mod does not require {module}")
    return found.group(1)


def linker_flags(go_mod: str) -> str:
    """-ldflags that strip the programs and tell them their version (go install leaves that empty or wrong)."""
    settings = [
        f"-X {variable}={module_version(go_mod, module)}"
        for module, variables in _VERSION_VARIABLES.items()
        if f"{module} v" in go_mod
        for variable in variables
    ]
    if "github.com/prometheus/prometheus v" in go_mod:
        # Module v0.315.0 is release 3.15.0.
        number = module_version(go_mod, "github.com/prometheus/prometheus").removeprefix("v0.")
        release = f"{number[0]}.{int(number[1:].split('.')[0])}.{number.split('.')[1]}"
        settings.append(f"-X github.com/prometheus/common/version.Version={release}")
    return " ".join(["-s -w", *settings])


def build_key(module: Path, machine: str = platform.machine()) -> str:
    """A digest of all that decides what the build of a module gives."""
    digest = hashlib.sha256(f"{machine}\n{TAGS}\n".encode())
    for file in sorted([module / "go.mod", module / "go.sum", *module.glob("*.go")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(linker_flags((module / "go.mod").read_text()).encode())
    return digest.hexdigest()


class GoTools:
    """Builds tools into the cache, each once for every state of its go.mod."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress
        self._record = cache.bin / ".built.json"

    def ensure(self, tools: Sequence[Tool] = TOOLS) -> None:
        """Build what is missing or was built from another go.mod; a no-op when all is there."""
        if all(self._is_built(tool, build_key(tool.module)) for tool in tools):
            return
        # Two test sessions may start together; the second finds the work of the first.
        with hold(self._cache.bin / ".lock"):
            self._ensure(tools)

    def _ensure(self, tools: Sequence[Tool]) -> None:
        for module in sorted({tool.module for tool in tools}):
            key = build_key(module)
            stale = [tool for tool in tools if tool.module == module and not self._is_built(tool, key)]
            if stale:
                self._build(module, stale)
                self._mark(stale, key)

    def go(self) -> str:
        """The go command to use: the installed one if it is new enough, else that of a wheel."""
        installed = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
        if installed and parse_go_version(run([installed, "version"], cwd=Path("/"))) >= MINIMUM_GO:
            return installed
        return str(wheels.go(self._cache, self._progress))

    def module_directory(self, module: str, version: str, checksum: str) -> Path:
        """Download a Go module and return the directory of its files; raises ClusterError on another checksum."""
        # Go's own directory, not a module's: the answer must not depend on a go.mod.
        answer = json.loads(run([self.go(), "mod", "download", "-json", f"{module}@{version}"], cwd=Path("/")))
        if answer["Sum"] != checksum:
            raise ClusterError(f"{module}@{version} has checksum {answer['Sum']}, not {checksum}")
        return Path(answer["Dir"])

    def _built(self) -> dict[str, str]:
        try:
            record = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return {str(name): str(key) for name, key in record.items()}

    def _is_built(self, tool: Tool, key: str) -> bool:
        return (self._cache.bin / tool.name).is_file() and self._built().get(tool.name) == key

    def _mark(self, tools: Sequence[Tool], key: str) -> None:
        record = self._built() | {tool.name: key for tool in tools}
        self._record.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    def _build(self, module: Path, tools: Sequence[Tool]) -> None:
        names = ", ".join(tool.name for tool in tools)
        self._progress.step(f"building {names} (the first time about 7 minutes for all on two cores)")
        flags = linker_flags((module / "go.mod").read_text())
        argv = [self.go(), "install", "-v", "-trimpath", "-tags", TAGS, "-ldflags", flags]
        # Beside the final place, so that an interrupted build never leaves half a program there.
        with tempfile.TemporaryDirectory(dir=self._cache.root, prefix="go-install-") as target:
            environment = {"GOBIN": target, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
            self._install([*argv, *(tool.package for tool in tools)], module, environment)
            for tool in tools:
                os.replace(Path(target) / tool.built_name, self._cache.bin / tool.name)
        self._progress.step(f"built {names}")

    def _install(self, argv: Sequence[str], module: Path, environment: Mapping[str, str]) -> None:
        """Run go install, and say every 15 seconds how many packages it has compiled."""
        output: list[str] = []
        reported = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=module, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                output.append(line)
                if time.monotonic() - reported > 15:
                    reported = time.monotonic()
                    self._progress.step(f"  {len(output)} packages fetched or compiled, last {line.strip()[:90]}")
            status = process.wait()
        finally:
            process.stderr.close()
            if process.poll() is None:
                process.terminate()
                process.wait()
        if status != 0:
            raise CommandFailed(argv, status, "".join(output))


def parse_go_version(text: str) -> tuple[int, int]:
    """Major and minor number from the output of `go version`; (0, 0) when there is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)
