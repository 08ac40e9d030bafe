"""A real API server for tests: no root, no kubelet, a few seconds.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler run on free loopback ports; kwok plays the one node,
so that Deployments get pods that become Ready and Services get endpoints, on paper.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

from devcluster import fake_node, pki
from devcluster.addons import Addons
from devcluster.command import run, succeeds, wait_until
from devcluster.control_plane import SERVICE_ADDRESS, ControlPlane, audit_policy
from devcluster.errors import ClusterError
from devcluster.paths import Cache
from devcluster.ports import free_ports
from devcluster.progress import Progress
from devcluster.system import ensure_packages
from devcluster.tools import ETCD, KUBECTL, KWOK, GoTools, kubernetes_tool

_PROGRAMS = (
    ETCD,
    *map(kubernetes_tool, ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
    KUBECTL,
    KWOK,
)

# Ends when its standard input does, that is when the process that made it ends, however; then it kills its group.
_GUARD = "trap '' INT TERM HUP; cat >/dev/null; kill -KILL 0"


class ApiServer:
    """Runs while its `with` block does.

    `directory` gets all files; logs are kept there. The programs are built if they are not in the cache.
    """

    def __init__(self, directory: Path, *, cache: Cache | None = None) -> None:
        self._directory = directory.absolute()
        self._cache = cache or Cache.default()
        self._progress = Progress()
        self._tools = GoTools(self._cache, self._progress)
        self._plane: ControlPlane | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each audited request (see control_plane.audit_policy)."""
        return self._directory / "audit.log"

    @property
    def url(self) -> str:
        """The API server's URL."""
        return self._control_plane.url

    def __enter__(self) -> "ApiServer":
        ensure_packages({"openssl": "openssl"}, self._progress)
        self._tools.ensure(_PROGRAMS)
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator and return what it prints; raises CommandFailed."""
        return run([*self._kubectl(), *arguments], stdin=stdin)

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver as a crash would; everything else goes on."""
        self._kill("kube-apiserver")

    def start_apiserver(self) -> None:
        """Start kube-apiserver again at the same address and return when it is ready."""
        self._run("kube-apiserver", self._apiserver_command())
        self._wait_until_ready()

    def install_gateway_api(self) -> None:
        """Install the Gateway API's standard CRDs, as on the development cluster."""
        Addons(self._kubectl(), self._tools, with_dns=False).apply_gateway_api()

    @property
    def _control_plane(self) -> ControlPlane:
        if self._plane is None:
            raise ClusterError("the API server is not running", "Use it as a context manager.")
        return self._plane

    def _start(self) -> None:
        port, etcd_port, etcd_peer_port = free_ports(3)
        self._plane = ControlPlane(
            bin=self._cache.bin,
            pki=self._directory / "pki",
            data=self._directory / "etcd",
            audit_log=self.audit_log,
            audit_policy=self._directory / "audit-policy.yaml",
            address="127.0.0.1",
            bind_address="127.0.0.1",
            port=port,
            etcd_port=etcd_port,
            etcd_peer_port=etcd_peer_port,
        )
        # A directory may be used again; every start is a new cluster.
        shutil.rmtree(self._plane.data, ignore_errors=True)
        self.audit_log.unlink(missing_ok=True)
        self._write_files()
        self._guard = subprocess.Popen(["sh", "-c", _GUARD], stdin=subprocess.PIPE, process_group=0)
        self._run("etcd", self._plane.etcd())
        self._run("kube-apiserver", self._apiserver_command())
        self._wait_until_ready()
        # The only node never fails and no certificate is signed: fewer controllers start sooner.
        controllers = "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-taint-eviction-controller"
        self._run("kube-controller-manager", self._plane.controller_manager("--secure-port=0", controllers))
        self._run("kube-scheduler", self._plane.scheduler("--secure-port=0"))
        self._run("kwok", self._kwok_command())
        self.kubectl("create", "--filename", "-", stdin=fake_node.node())
        # Without its service account a namespace takes no pods.
        default = [*self._kubectl(), "get", "serviceaccount", "default", "--namespace", "default"]
        wait_until(lambda: self._require_running() and succeeds(default), what="default service account", timeout=30)

    def _end(self) -> None:
        for name in reversed(list(self._running)):
            self._kill(name)
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _write_files(self) -> None:
        plane = self._control_plane
        plane.audit_policy.write_text(audit_policy())
        (self._directory / "kwok.yaml").write_text(fake_node.stages())
        clients = (pki.ADMIN, pki.CONTROLLER_MANAGER, pki.SCHEDULER)
        pki.create(plane.pki, [pki.apiserver([SERVICE_ADDRESS, "127.0.0.1"]), *clients])
        for leaf in clients:
            pki.write_kubeconfig(plane.pki, leaf, plane.url)
        pki.write_kubeconfig(plane.pki, pki.ADMIN, plane.url, self.kubeconfig)

    def _apiserver_command(self) -> list[str]:
        return self._control_plane.apiserver(
            "--authorization-mode=RBAC",
            # No kubelet and no node controller are there to take the taint of a new node away.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--endpoint-reconciler-type=none",
        )

    def _kwok_command(self) -> list[str]:
        return [
            str(self._cache.bin / KWOK.name),
            f"--kubeconfig={self.kubeconfig}",
            f"--config={self._directory / 'kwok.yaml'}",
            "--manage-all-nodes=true",
            "--cidr=10.200.0.0/16",
            "--node-ip=127.0.0.1",
        ]

    def _run(self, name: str, argv: list[str]) -> None:
        if name in self._running:
            raise ClusterError(f"{name} runs already")
        assert self._guard is not None
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._directory)}
        with (self._directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._directory,
                process_group=self._guard.pid,
            )

    def _kill(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            raise ClusterError(f"{name} is not running")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _require_running(self) -> bool:
        for name, process in self._running.items():
            if process.poll() is not None:
                log = self._directory / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
                raise ClusterError(f"{name} ended with status {process.returncode}", f"{tail}\n(log: {log})")
        return True

    def _wait_until_ready(self) -> None:
        probe = [*self._kubectl(), "get", "--raw", "/readyz", "--request-timeout=2s"]
        wait_until(lambda: self._require_running() and succeeds(probe), what="API server ready", timeout=60)

    def _kubectl(self) -> list[str]:
        program = str(self._cache.bin / KUBECTL.name)
        return [program, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._directory / 'kubectl-cache'}"]
