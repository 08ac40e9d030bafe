"""The processes of an embedded cluster: start, signal, look at."""

import json
import os
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.command import run, wait_until
from devcluster.errors import ClusterError
from devcluster.namespace import Namespace
from devcluster.system import SEARCH_PATH

NAMES = ("etcd", "containerd", "apiserver", "kcm", "scheduler", "kubelet", "proxy")

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


@dataclass(frozen=True)
class ServiceStatus:
    """A service as it is now: `state` is running, stopped (by a signal) or dead; memory in MiB."""

    name: str
    state: str
    pid: int | None
    memory: int


class Services:
    """The services of one cluster.

    Each is a child of the namespace's process 1, started by a shell that has ended: no process outside the
    namespace waits for it, so a stopped service stops nothing else.
    """

    def __init__(self, root: Path, logs: Path, namespace: Namespace) -> None:
        self._directory = root / "services"
        self._logs = logs
        self._home = root / "home"
        self._namespace = namespace

    def define(self, name: str, argv: Sequence[str]) -> None:
        """Store the command line under which `start` starts the service."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / f"{name}.json").write_text(json.dumps(list(argv), indent=1) + "\n")

    def start(self, name: str) -> None:
        """Start a service by its stored command line; raises ClusterError when it runs already."""
        if self._pid(name) is not None:
            raise ClusterError(f"{name} runs already")
        self._home.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        environment = [f"PATH={SEARCH_PATH}", f"HOME={self._home}"]
        log = shlex.quote(str(self._logs / f"{name}.log"))
        command = shlex.join(["setsid", "env", "-i", *environment, *self._argv(name)])
        # A session of its own: Ctrl-C in the terminal of `up` must not reach the service.
        script = f"exec {command} </dev/null >>{log} 2>&1 &"
        run([*self._namespace.enter(), "sh", "-c", script])
        try:
            wait_until(lambda: self._pid(name) is not None, what=f"start of {name}", timeout=3, interval=0.02)
        except ClusterError as error:
            raise ClusterError(f"{name} did not start", self.log_tail(name)) from error

    def signal(self, name: str, action: str) -> None:
        """Send kill, term, stop or cont; after kill, return when the process is gone."""
        pid = self._pid(name)
        if pid is None:
            raise ClusterError(f"{name} is not running")
        os.kill(pid, SIGNALS[action])
        if action == "kill":
            wait_until(lambda: self._pid(name) is None, what=f"end of {name}", timeout=10, interval=0.02)

    def status(self) -> list[ServiceStatus]:
        """All services in the order of their start."""
        return [self._status(name) for name in NAMES if (self._directory / f"{name}.json").is_file()]

    def log_tail(self, name: str, lines: int = 12) -> str:
        """The last lines that a service wrote."""
        log = self._logs / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.is_file() else ""

    def require_running(self, *names: str) -> None:
        """Raise ClusterError with the end of its log if one of the services has died."""
        for name in names:
            if self._pid(name) is None:
                raise ClusterError(f"{name} ended", f"{self.log_tail(name)}\n(log: {self._logs / f'{name}.log'})")

    def _argv(self, name: str) -> list[str]:
        if name not in NAMES:
            raise ClusterError(f"no service {name!r}", f"Services: {', '.join(NAMES)}")
        try:
            argv: list[str] = json.loads((self._directory / f"{name}.json").read_text())
        except FileNotFoundError as error:
            raise ClusterError(f"{name} was never started", "Start the cluster with `devcluster up`.") from error
        return argv

    def _pid(self, name: str) -> int | None:
        argv = self._argv(name)
        # A zombie has an empty command line, so it is not found: it is as good as gone. A process that the service
        # is just forking has the service's command line for a moment, but a higher pid.
        found = [process.pid for process in self._namespace.processes() if list(process.argv) == argv]
        return min(found, default=None)

    def _status(self, name: str) -> ServiceStatus:
        pid = self._pid(name)
        if pid is None:
            return ServiceStatus(name, "dead", None, 0)
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return ServiceStatus(name, "dead", None, 0)
        memory = pages * os.sysconf("SC_PAGE_SIZE") // 2**20
        return ServiceStatus(name, "stopped" if state == "T" else "running", pid, memory)
