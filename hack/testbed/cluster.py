"""A running cluster, seen through kubectl and helm."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from devcluster.clusters import present
from devcluster.provider import Provider

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


class CommandFailed(RuntimeError):
    """A command ended with an error; the text holds what it printed."""


class Cluster:
    """Runs kubectl and helm where they reach the cluster."""

    def __init__(self, name: str) -> None:
        """``name``: of a cluster that is up."""
        self.name = name
        self.provider: Provider = present(name)
        entrance = self.provider.entrance()
        self.prefix = entrance.prefix
        self.environment = {**os.environ, **entrance.environment}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Standard output of a command that sees the cluster.

        Raises CommandFailed when it ends with an error or takes longer than ``timeout`` seconds.
        """
        try:
            done = subprocess.run(
                [*self.prefix, *command],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                env=self.environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{' '.join(command)}: no end after {timeout:g} s") from error
        if done.returncode:
            raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Standard output of kubectl."""
        return self.run("kubectl", *words, stdin=stdin, timeout=timeout)

    def helm(self, *words: str, timeout: float = 180.0) -> str:
        """Standard output of helm."""
        return self.run("helm", *words, timeout=timeout)

    def apply(self, *objects: dict[str, Any]) -> None:
        """``kubectl apply --server-side`` of objects."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=document)

    def apply_again(self, *objects: dict[str, Any]) -> None:
        """Server-side apply without force, as a chart's upgrade does; a field that somebody else took is an error."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "-f", "-", stdin=document)

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        found = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(found) if found.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a namespace."""
        found = self.kubectl("get", kind, "-n", namespace, "-o", "json", *(["-l", selector] if selector else []))
        return list(json.loads(found)["items"])

    def http(self, namespace: str, service: str, port: int | str, path: str, method: str = "GET") -> Any:
        """JSON answer of a Service, asked through the API server's proxy."""
        url = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy/{path.lstrip('/')}"
        if method == "GET":
            return json.loads(self.kubectl("get", "--raw", url))
        answer = self.kubectl("create", "--raw", url, "-f", "-", stdin="{}")
        return json.loads(answer) if answer.strip() else None


def wait_for(what: str, found: Callable[[], T | None], timeout: float = 60.0, interval: float = 0.5) -> T:
    """The first result of ``found`` that is true; asks every ``interval`` seconds.

    Raises TimeoutError naming ``what`` after ``timeout`` seconds; errors of commands count as not yet.
    """
    end = time.monotonic() + timeout
    last = ""
    while True:
        try:
            result = found()
            if result:
                return result
        except CommandFailed as error:
            last = f" (last error: {error})"
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s{last}")
        time.sleep(interval)
