"""Contracts, revisions and versions for tests, in short."""

from __future__ import annotations

from typing import Any

from weir.api.datacontract import DataContractSpec, Semantics
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.digest import contract_digest
from weir.contract.document import parse
from weir.contract.revision import Bound, Contract, Revision

NOW = 1_800_000_000.0


def odcs(*columns: dict[str, Any], table: str = "orders", **fields: Any) -> dict[str, Any]:
    """A document with one table."""
    tables = [{"name": table, "properties": list(columns)}] if columns else []
    return {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "c", "version": "1", "schema": tables, **fields}


def number(name: str = "amount", *, required: bool = True, **options: Any) -> dict[str, Any]:
    """A column of numbers."""
    return {"name": name, "logicalType": "number", "required": required, "logicalTypeOptions": options}


def text(name: str = "email", *, required: bool = True, **options: Any) -> dict[str, Any]:
    """A column of texts."""
    return {"name": name, "logicalType": "string", "required": required, "logicalTypeOptions": options}


def label(*values: str, name: str = "label") -> dict[str, Any]:
    """A column with a list of values."""
    return {"name": name, "logicalType": "string", "required": True, "enum": [{"value": v} for v in values]}


def revision(*columns: dict[str, Any], name: str = "orders", **fields: Any) -> Revision:
    """A revision of a contract with one table; ``semantics`` in wire form."""
    semantics = fields.pop("semantics", [])
    document = odcs(*columns, **fields)
    meanings = tuple(Semantics.model_validate(s) for s in semantics)
    return Revision(name, contract_digest(document, meanings), parse(document), meanings)


def contract(current: Revision | None, name: str = "", problem: str = "", **fields: Any) -> Contract:
    """A DataContract; ``compatibility`` and other fields of its spec in wire form."""
    spec = {"odcs": odcs(), "roles": ["TrainingInput", "ServingInput"], **fields}
    known = name or (current.name if current is not None else "orders")
    return Contract(known, DataContractSpec.model_validate(spec), DataContractStatus(), current, problem)


def waiver(rule_id: str, path: str, *, expires: str = "2030-01-01T00:00:00Z") -> dict[str, Any]:
    """A waiver in wire form, by default one that holds at NOW."""
    return {"ruleId": rule_id, "path": path, "reason": "measured harmless", "approvedBy": "ada", "expires": expires}


def bound(version: str = "v2", **fields: Any) -> Bound:
    """A version and what it is bound to."""
    for key in ("uses", "imputed"):
        fields[key] = frozenset(fields.get(key, ()))
    return Bound(version, **fields)


def known(*contracts: Contract) -> dict[str, Contract]:
    """Contracts by their names."""
    return {c.name: c for c in contracts}
