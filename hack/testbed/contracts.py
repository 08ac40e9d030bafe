"""Data that a DataContract describes: files on a claim, written by a pod as a pipeline upstream would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.cluster import Cluster, wait_for
from testbed.install import CHECK_IMAGE

API_VERSION = "weir.dev/v1alpha1"
CLAIM = "data"
UPSTREAM = "upstream"
_FOLDER = "/data"
_IDLE = "import signal; signal.pause()"


def storage(space: str, size: str = "10Gi") -> list[dict[str, Any]]:
    """A claim named `data`, bound to a folder of the node; works where the cluster has no storage class."""
    claim = {"namespace": space, "name": CLAIM}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    folder = {"path": f"/var/lib/weir-data/{space}", "type": "DirectoryOrCreate"}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": space},
            "spec": {**common, "capacity": {"storage": size}, "hostPath": folder, "claimRef": claim},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": {**common, "resources": {"requests": {"storage": size}}, "volumeName": space},
        },
    ]


def _writer(space: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": CHECK_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", _IDLE],
        # The folder of the node belongs to root.
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
        "volumeMounts": [{"name": "data", "mountPath": _FOLDER}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": UPSTREAM, "namespace": space},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }


@dataclass(frozen=True)
class Check:
    """A ContractCheck that has a result, or whose Job will give it none."""

    name: str
    status: dict[str, Any]
    told: list[dict[str, Any]]
    """What the operator makes of it for each server, in the DataContract's status."""

    @property
    def verdict(self) -> str:
        """Of all servers; several where they differ."""
        return "/".join(sorted({entry["verdict"] for entry in self.told}))

    @property
    def message(self) -> str:
        """The first problem of every server."""
        return "\n".join(str(entry.get("message", "")) for entry in self.told)

    @property
    def results(self) -> list[dict[str, Any]]:
        """Rules that did not pass."""
        return list(self.status.get("results") or [])


@dataclass(frozen=True)
class Upstream:
    """Where data comes from, and the contracts about it, in one namespace."""

    cluster: Cluster
    space: str

    def start(self) -> None:
        """The claim, and the pod that writes; returns when it runs."""
        self.cluster.apply(*storage(self.space), _writer(self.space))
        self.cluster.kubectl(
            "wait", "--for=condition=Ready", f"pod/{UPSTREAM}", "-n", self.space, "--timeout=120s", timeout=130
        )

    def stop(self) -> None:
        """Frees the node of the files; the claim goes with its namespace."""
        self.run(
            "import shutil, pathlib; [shutil.rmtree(p) if p.is_dir() and not p.is_symlink() else p.unlink() "
            f"for p in pathlib.Path('{_FOLDER}').iterdir()]"
        )
        self.cluster.kubectl("delete", "persistentvolume", self.space, "--wait=false")

    # Files

    def run(self, code: str, timeout: float = 120.0) -> str:
        """Standard output of Python code in the pod; the data is in /data there."""
        return self.cluster.kubectl("exec", "-n", self.space, UPSTREAM, "--", "python", "-c", code, timeout=timeout)

    def write(self, file: str, query: str, options: str = "", timeout: float = 120.0) -> int:
        """Writes the rows of a DuckDB query as a Parquet file, at once, as if renamed into place; returns its bytes."""
        path = f"{_FOLDER}/{file}"
        copy = f"COPY ({query}) TO '{path}.part' (FORMAT parquet{options and ', ' + options})"
        rename = f"os.replace('{path}.part', '{path}'); print(os.stat('{path}').st_size)"
        quiet = "duckdb.sql('SET enable_progress_bar = false')"
        return int(self.run(f"import duckdb, os; {quiet}; duckdb.sql({copy!r}); {rename}", timeout))

    def remove(self, file: str) -> None:
        """Removes a file."""
        self.run(f"import os; os.remove('{_FOLDER}/{file}')")

    # Contracts

    def contract(self, name: str, odcs: dict[str, Any], **spec: Any) -> None:
        """Applies a DataContract about files of the claim, with every server of the document."""
        names = [server["server"] for server in odcs["servers"]]
        servers = [{"name": name, "odcsServer": name, "volume": {"claimName": CLAIM}} for name in names]
        self.cluster.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "DataContract",
                "metadata": {"name": name, "namespace": self.space},
                "spec": {"odcs": odcs, "roles": ["TrainingInput"], "servers": servers, **spec},
            }
        )

    def status(self, name: str) -> dict[str, Any]:
        """Status of a DataContract."""
        found = self.cluster.get("datacontracts.weir.dev", name, self.space) or {}
        return found.get("status") or {}

    def ask(self, contract: str, name: str) -> None:
        """Creates a ContractCheck, as a person does who wants to know."""
        spec = {"contractRef": {"name": contract}}
        meta = {"name": name, "namespace": self.space}
        self.cluster.apply({"apiVersion": API_VERSION, "kind": "ContractCheck", "metadata": meta, "spec": spec})

    def result(self, contract: str, name: str, timeout: float = 180.0) -> Check:
        """Waits until the operator tells of the check in the contract's status."""

        def told() -> Check | None:
            mine = [entry for entry in self.status(contract).get("checks") or [] if entry["check"] == name]
            if not mine or not all(entry.get("finishedAt") for entry in mine):
                return None
            check = self.cluster.get("contractchecks.weir.dev", name, self.space) or {}
            return Check(name, check.get("status") or {}, mine)

        return wait_for(f"the result of {name}", told, timeout=timeout)

    def check(self, contract: str, name: str, timeout: float = 180.0) -> Check:
        """Asks for a check, and waits for its result."""
        self.ask(contract, name)
        return self.result(contract, name, timeout)

    def pods(self, check: str) -> list[dict[str, Any]]:
        """Pods of a check."""
        return self.cluster.list("pods", self.space, f"weir.dev/check={check}")


def document(
    table: str,
    properties: Sequence[dict[str, Any]],
    *,
    paths: Mapping[str, str] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """An ODCS document about one table in Parquet files; ``extra``: fields of the table.

    ``paths``: path by name of the server; by default there is one server, `lake`, with ``TABLE.parquet``.
    """
    places = paths or {"lake": f"{table}.parquet"}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": table,
        "name": table,
        "version": "1.0.0",
        "status": "active",
        "servers": [
            {"server": name, "type": "local", "path": path, "format": "parquet"} for name, path in places.items()
        ],
        "schema": [
            {"name": table, "logicalType": "object", "physicalType": "table", "properties": [*properties], **extra}
        ],
    }


def pretty(value: Any) -> str:
    """For assertions."""
    return json.dumps(value, indent=1, sort_keys=True)
