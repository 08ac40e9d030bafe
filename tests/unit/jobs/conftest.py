"""Contracts over real files, and what a run of the checks says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weir.api.contractcheck import ContractCheckStatus, RuleResult
from weir.api.datacontract import DataContractSpec
from weir.jobs.plan import Plan
from weir.jobs.run import run

DIGEST = "sha256:" + "0" * 64
NOW = 1_790_000_000.0
"""2026-09-21T14:13:20Z."""


class Lab:
    """A folder of data and contracts on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}

    def folder(self, server: str = "lake") -> Path:
        """The folder of a server."""
        folder = self.root / "data" / server
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def parquet(self, columns: Mapping[str, Any], name: str = "orders.parquet", server: str = "lake") -> Path:
        """A Parquet file for a server."""
        path = self.folder(server) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(dict(columns)), path)
        return path

    def plan(
        self,
        properties: Sequence[Mapping[str, Any]],
        *,
        servers: Mapping[str, Mapping[str, Any]] | None = None,
        table: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
        document: Mapping[str, Any] | None = None,
        **plan: Any,
    ) -> Plan:
        """A plan for the table `orders` with these properties, on the servers (by default Parquet on `lake`)."""
        places = servers or {"lake": {}}
        odcs = {
            "apiVersion": "v3.2.0",
            "kind": "DataContract",
            "id": "orders",
            "version": "1.0.0",
            "status": "active",
            "servers": [
                {"server": name, "type": "local", "path": "{model}.parquet", "format": "parquet", **fields}
                for name, fields in places.items()
            ],
            "schema": [{"name": "orders", "properties": list(properties), **(table or {})}],
            **(document or {}),
        }
        for server in odcs["servers"]:
            server.pop("spec", None)
        stated = {
            "roles": ["Features"],
            "servers": [{"name": n, "odcsServer": n, **fields.get("spec", {})} for n, fields in places.items()],
            **(spec or {}),
        }
        defaults = {"check": "orders-1", "namespace": "shop", "contract": "orders", "digest": DIGEST, "now": NOW}
        return Plan(
            **{
                **defaults,
                "odcs": odcs,
                "spec": DataContractSpec.model_validate(stated),
                "data_root": str(self.root / "data"),
                "memory_limit": 512 << 20,
                **plan,
            }
        )

    def run(self, plan: Plan, **arguments: Any) -> ContractCheckStatus:
        """The result of the plan."""
        return run(plan, environment=self.environment, scratch=self.root, **arguments)

    def check(self, properties: Sequence[Mapping[str, Any]], **arguments: Any) -> ContractCheckStatus:
        """The result of a plan for these properties."""
        return self.run(self.plan(properties, **arguments))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


Property = Callable[..., dict[str, Any]]


@pytest.fixture
def prop() -> Property:
    """A property of a document; keyword arguments are its logicalTypeOptions."""

    def make(
        name: str, kind: str | None = "string", more: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        typed = {"logicalType": kind} if kind else {}
        return {"name": name, **typed, **({"logicalTypeOptions": options} if options else {}), **(more or {})}

    return make


Found = Callable[..., RuleResult]


@pytest.fixture
def found() -> Found:
    """The one result of a rule; fails when there is none, or more than one."""

    def find(status: ContractCheckStatus, rule: str, column: str | None = None) -> RuleResult:
        fitting = [r for r in status.results if r.rule == rule and (column is None or r.column == column)]
        assert len(fitting) == 1, f"{len(fitting)} results of {rule}: {status.results}"
        return fitting[0]

    return find
