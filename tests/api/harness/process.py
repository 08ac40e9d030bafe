"""The operator as users run it: a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from devcluster.ports import free_ports
from tests.api.harness.api import eventually

ROOT = Path(__file__).parents[3]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Operator:
    """One operator process; ``stop`` it, or ``kill`` it."""

    kubeconfig: Path
    log: Path
    name: str = "weir-0"
    environment: Mapping[str, str] = field(default_factory=dict)
    lease_namespace: str = "weir-system"

    def __post_init__(self) -> None:
        (self.port,) = free_ports(1)
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(self.kubeconfig),
            "WEIR_HTTP_PORT": str(self.port),
            "WEIR_LEASE_NAMESPACE": self.lease_namespace,
            "POD_NAME": self.name,
            **self.environment,
        }
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "weir.cli.main", "operator"]
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=self.log.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def serves(self) -> str:
        """The namespaces that it serves, as its environment has them; empty for the whole cluster."""
        return self.environment.get("WEIR_NAMESPACES", "")

    def ready(self) -> bool:
        """What its /readyz says; fails when it has ended."""
        assert self.running, f"the operator ended with {self.process.returncode}:\n{self.tail()}"
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, within: float = 30.0) -> Operator:
        """Return when it is ready."""
        eventually(self.ready, f"operator {self.name} ready", within=within)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of one of its metrics that carry these labels."""
        page = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """All samples of one of its metrics."""
        page = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        }

    def cpu_seconds(self) -> float:
        """CPU time that it has used, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_bytes(self) -> int:
        """Resident memory now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def kill(self) -> None:
        """As kill -9."""
        if self.running:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self, within: float = 20.0) -> int:
        """Asks it to end; returns its exit code."""
        if self.running:
            self.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
