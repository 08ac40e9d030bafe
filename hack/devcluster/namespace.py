"""The Linux namespaces (network, mount, pid) that hold an embedded cluster.

One `unshare` call makes them; their process 1 is a shell that only reaps. When it dies the kernel kills every other
process in it, and with the last process go all mounts and all network interfaces. It is found again by a marker in
its command line, so no pid file can be stale.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.command import run, wait_until
from devcluster.errors import ClusterError
from devcluster.system import SEARCH_PATH

# bash reaps every orphan that becomes its child; `wait` alone would end, so it waits for a sleeper.
_INIT = "trap 'exit 0' TERM; sleep infinity & while :; do wait $!; done"

# Each of these is written to by containerd, runc, CNI or the kubelet under a name that no flag changes.
_PRIVATE_DIRECTORIES = ("/run", "/var/lib", "/var/log")


@dataclass(frozen=True)
class Process:
    """A process inside the namespace: its pid outside and inside."""

    pid: int
    inner_pid: int
    argv: tuple[str, ...]


class Namespace:
    """The namespaces of one cluster, alive or not."""

    def __init__(self, root: Path, keep: Path) -> None:
        """`root` is the cluster's directory, `keep` one around it that must stay visible inside."""
        self._root = root
        self._keep = keep
        self._marker = f"weir-devcluster:{root}"

    def leader(self) -> int | None:
        """The pid of the namespaces' process 1 as seen from outside, or None when there is none."""
        for process in _processes():
            if process.argv and process.argv[-1] == self._marker and process.inner_pid == 1 and process.pid != 1:
                return process.pid
        return None

    def create(self, log: Path) -> int:
        """Make the namespaces and return the pid of their process 1. They outlive this process."""
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv += ["--propagation", "private", "bash", "-c", _INIT, self._marker]
        with log.open("ab") as output:
            holder = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env={"PATH": SEARCH_PATH},
            )

        def is_made() -> bool:
            if holder.poll() is not None:
                raise ClusterError(f"unshare ended with status {holder.returncode}", log.read_text()[-500:])
            return self.leader() is not None

        wait_until(is_made, what="namespaces for the cluster", timeout=10, interval=0.02)
        leader = self.leader()
        assert leader is not None
        return leader

    def enter(self) -> list[str]:
        """The command prefix that runs a program in all three namespaces."""
        return ["nsenter", "--target", str(self._alive()), "--net", "--mount", "--pid"]

    def enter_network(self) -> list[str]:
        """The command prefix that runs a program in the network namespace only: files and pids stay the host's."""
        return ["nsenter", "--target", str(self._alive()), "--net"]

    def prepare(self, address: str, prefix: int, gateway: str) -> None:
        """Give the namespaces their private directories and a network interface with a default route."""
        hidden = any(self._keep.is_relative_to(directory) for directory in _PRIVATE_DIRECTORIES)
        lines = ["set -e", *(f"mount -t tmpfs -o mode=755 tmpfs {directory}" for directory in _PRIVATE_DIRECTORIES)]
        if hidden:
            # Hold the cache open while the directory above it is covered, and put it back on top.
            keep = shlex.quote(str(self._keep))
            lines.insert(1, f"exec 9<{keep}")
            lines += [f"mkdir -p {keep}", f"mount --bind /proc/self/fd/9 {keep}", "exec 9<&-"]
        lines += [
            "mkdir -p /run/netns /run/lock /var/lib/cni /var/lib/kubelet",
            "ip link set lo up",
            "ip link add eth0 type veth peer name eth0-peer",
            "ip link set eth0-peer up",
            f"ip address add {address}/{prefix} dev eth0",
            "ip link set eth0 up",
            # Never used, but without a default route the node's own processes cannot reach Service addresses.
            f"ip route add default via {gateway} dev eth0",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
        ]
        run([*self.enter(), "sh", "-c", "\n".join(lines)], env={"PATH": SEARCH_PATH})

    def processes(self) -> list[Process]:
        """Every process in the namespace."""
        leader = self.leader()
        if leader is None:
            return []
        namespace = _pid_namespace(leader)
        return [process for process in _processes() if _pid_namespace(process.pid) == namespace]

    def destroy(self, timeout: float = 20) -> None:
        """Kill process 1 and wait (seconds) until every process of the namespace is gone; a no-op when it is dead."""
        leader = self.leader()
        if leader is None:
            return
        members = [process.pid for process in self.processes()]
        os.kill(leader, signal.SIGKILL)
        wait_until(
            lambda: not any(_is_running(pid) for pid in members),
            what="end of the cluster's processes",
            timeout=timeout,
            interval=0.05,
        )

    def _alive(self) -> int:
        leader = self.leader()
        if leader is None:
            raise ClusterError("the cluster is not running", "Start it with `devcluster up`.")
        return leader


def _processes() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = tuple((entry / "cmdline").read_text(errors="replace").rstrip("\0").split("\0"))
            fields = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        inner = fields.get("NSpid", entry.name).split()[-1]
        yield Process(int(entry.name), int(inner), argv)


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def remove_cgroups(name: str, mount: Path = Path("/sys/fs/cgroup")) -> None:
    """Remove the cgroup of that name and all below it, in every hierarchy; they must hold no process."""
    for top in _cgroup_tops(name, mount):
        if not top.is_dir():
            continue

        def is_removed(top: Path = top) -> bool:
            for directory, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError:
                    continue
            return not top.exists()

        # The kernel lets go of a dead process's cgroup a moment after its pid is gone.
        wait_until(is_removed, what=f"removal of cgroup {top}", timeout=10)


def make_cgroups(name: str, mount: Path = Path("/sys/fs/cgroup")) -> None:
    """Make the cgroup of that name in every hierarchy (version 1 and 2)."""
    for top in _cgroup_tops(name, mount):
        top.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A new cpuset of version 1 is empty and takes no process until it is given its parent's.
            if (top / setting).is_file() and (top.parent / setting).is_file():
                (top / setting).write_text((top.parent / setting).read_text())


def _cgroup_tops(name: str, mount: Path) -> Sequence[Path]:
    if (mount / "cgroup.controllers").is_file():
        return [mount / name]
    return [
        hierarchy / name for hierarchy in sorted(mount.iterdir()) if hierarchy.is_dir() and not hierarchy.is_symlink()
    ]
