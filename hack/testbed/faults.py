"""What can happen to a cluster while a release is under way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import install
from testbed.cluster import Cluster, wait_for

_SELECTOR = "app.kubernetes.io/name=weir"


def operator_pod(cluster: Cluster) -> str:
    """Name of the operator's pod that runs."""

    def running() -> str | None:
        pods = cluster.list("pods", install.NAMESPACE, _SELECTOR)
        names = [p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]]
        return next(iter(names), None)

    return wait_for("a pod of the operator", running)


def restart_operator(cluster: Cluster) -> None:
    """A restart as an upgrade does it; returns when the new process serves."""
    cluster.kubectl("rollout", "restart", f"deployment/{install.RELEASE}", "-n", install.NAMESPACE)
    operator_ready(cluster)


def operator_ready(cluster: Cluster) -> None:
    """Returns when the operator is available."""
    command = ["rollout", "status", f"deployment/{install.RELEASE}", "-n", install.NAMESPACE, "--timeout=120s"]
    cluster.kubectl(*command, timeout=130)


def delete_operator(cluster: Cluster) -> None:
    """Its pod goes without a goodbye, as with its node; the next one must wait until the Lease has run out."""
    name = operator_pod(cluster)
    cluster.kubectl("delete", "pod", name, "-n", install.NAMESPACE, "--grace-period=0", "--force")


def kill_operator(cluster: Cluster) -> None:
    """kill -9 of its process, where the node's processes can be reached; else as `delete_operator`."""
    name = operator_pod(cluster)
    pod = cluster.get("pod", name, install.NAMESPACE) or {}
    containers = [c.get("containerID", "") for c in (pod.get("status") or {}).get("containerStatuses") or []]
    found = [process for container in containers for process in _processes(container.rpartition("/")[2])]
    for process in found:
        os.kill(process, signal.SIGKILL)
    if not found:
        delete_operator(cluster)


def _processes(container: str) -> list[int]:
    """Processes of a container, by its id in their control group."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or not container:
            continue
        try:
            if container in (folder / "cgroup").read_text():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended while we looked
    return found


@contextmanager
def without_api_server(cluster: Cluster) -> Iterator[None]:
    """The API server is killed, and started again at the end; only where the cluster's processes are ours."""
    cluster.provider.service("kill", "apiserver")
    try:
        yield
    finally:
        cluster.provider.service("start", "apiserver")
        wait_for("the API server", lambda: cluster.kubectl("get", "--raw", "/readyz") == "ok", timeout=60)


def scale_prometheus(cluster: Cluster, replicas: int) -> None:
    """Takes Prometheus away (0) or brings it back (1); returns when that is so."""
    cluster.kubectl("scale", "deployment/prometheus", "-n", "monitoring", f"--replicas={replicas}")

    def there() -> bool:
        return len(cluster.list("pods", "monitoring", "app=prometheus")) == replicas

    wait_for(f"{replicas} Prometheus", there)
    if replicas:
        cluster.kubectl("rollout", "status", "deployment/prometheus", "-n", "monitoring", "--timeout=120s", timeout=130)
