"""Contracts and versions as the operator has them in memory, in short."""

from __future__ import annotations

import hashlib
from typing import Any

from weir.api.base import format_time
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.model import Column, Document, Table
from weir.contract.revision import Bound, Contract, Revision

PRICE = Column("price", logical_type="number", required=True)
CODE = Column("code", logical_type="string", enum=("a", "b"))


def revision(name: str, *columns: Column, table: str = "orders") -> Revision:
    """A revision with one table; the same columns give the same digest."""
    digest = "sha256:" + hashlib.sha256(repr((name, columns)).encode()).hexdigest()
    return Revision(name, digest, Document(name, "1.0.0", "v3.1.0", tables=(Table(table, columns=columns),)))


def check(
    server: str, verdict: str, at: float | None, digest: str, message: str = "", **changes: Any
) -> dict[str, Any]:
    """An entry of ``status.checks``, in its wire form."""
    fields: dict[str, Any] = {"name": server, "check": f"orders-{server}-1", "verdict": verdict, "message": message}
    fields |= {"digest": digest, "finishedAt": format_time(at) if at is not None else None, **changes}
    return {key: value for key, value in fields.items() if value is not None}


def contract(
    current: Revision | None,
    *,
    name: str = "orders",
    servers: tuple[str, ...] = (),
    checks: tuple[dict[str, Any], ...] = (),
    drifted: tuple[dict[str, Any], ...] = (),
    problem: str = "",
    **spec: Any,
) -> Contract:
    """A DataContract; ``spec`` in its wire form."""
    fields: dict[str, Any] = {"odcs": {"version": "1.0.0"}, "roles": ["Features"], **spec}
    if servers:
        fields["servers"] = [{"name": server, "odcsServer": server} for server in servers]
    digest = current.digest if current is not None else None
    return Contract(
        current.name if current is not None else name,
        DataContractSpec.model_validate(fields),
        DataContractStatus.model_validate({"digest": digest, "checks": list(checks), "drift": list(drifted)}),
        current,
        problem,
    )


def bound(version: str, *trained: Revision, **changes: Any) -> Bound:
    """A version that is served from the contracts that it was trained on."""
    names = tuple(dict.fromkeys(t.name for t in trained))
    return Bound(version, trained_on=trained, **{"served_from": names, **changes})
