"""Binds ModelVersions to revisions of the contracts that they name, once and for all, and says whether these fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from weir.api.assessment import Assessment
from weir.api.modelversion import ContractInUse, ModelVersionSpec, ModelVersionStatus
from weir.contract.compatibility import release_findings
from weir.contract.finding import Finding
from weir.controller.contractbook import ContractBook, Pin, assigned, pins
from weir.runtime.resources import KubeObject


@dataclass(frozen=True)
class Binding:
    """``contracts``: what the version is bound to. ``problem``: why a contract that it names is not among them."""

    contracts: tuple[ContractInUse, ...] = ()
    problem: Assessment | None = None


def bind(version: KubeObject, book: ContractBook) -> Binding | None:
    """What the version is bound to now; None where it names no contract, or its spec cannot be read.

    A pin that is bound stays as it is. Others are bound as soon as there is a revision: the one of the pinned digest,
    else the one that is current at the first look.
    """
    try:
        spec = ModelVersionSpec.model_validate(version["spec"])
        old = ModelVersionStatus.model_validate(version.get("status") or {})
    except ValidationError:
        return None
    if spec.contracts is None:
        return None
    namespace = version["metadata"]["namespace"]
    wanted = pins(spec)
    known = assigned(wanted, old.contracts)
    bound: list[ContractInUse] = []
    problem = None
    for pin in wanted:
        if pin in known:
            bound.append(ContractInUse(role=pin.role, name=pin.name, digest=known[pin]))
            continue
        found = _current(pin, namespace, book)
        if isinstance(found, ContractInUse):
            bound.append(found)
        else:
            problem = problem or found
    return Binding(tuple(bound), problem)


def _current(pin: Pin, namespace: str, book: ContractBook) -> ContractInUse | Assessment:
    contract = book.contract(namespace, pin.name)
    if contract is None:
        return _unknown("NoContract", f"there is no DataContract {pin.name} in this namespace")
    if pin.digest:
        if book.revision(namespace, pin.name, pin.digest) is None:
            text = f"DataContract {pin.name} keeps no revision {pin.digest}; its current one is "
            return _unknown("UnknownRevision", text + (contract.status.digest or "not accepted yet"))
        return ContractInUse(role=pin.role, name=pin.name, digest=pin.digest)
    if contract.current is None:
        return _unknown("ContractNotAccepted", f"DataContract {pin.name} is not accepted: {contract.problem}")
    return ContractInUse(role=pin.role, name=pin.name, digest=contract.current.digest)


def fits(version: KubeObject, binding: Binding, book: ContractBook, now: float) -> Assessment:
    """The condition Compatible of a ModelVersion, by the rules alone. ``now`` in seconds since the epoch."""
    if binding.problem is not None:
        return binding.problem
    stored = {**(version.get("status") or {}), "contracts": [entry.to_dict() for entry in binding.contracts]}
    bound = book.bound({**version, "status": stored})
    if bound is None:
        return Assessment("Compatible", "True", "NoContracts", "it names no contract")
    if bound.missing:
        name, why = bound.missing[0]
        return _unknown("UnknownRevision", why or f"DataContract {name} cannot be read")
    findings = release_findings(bound, None, book.contracts(version), now)
    failed = [f for f in findings if f.judgement == "Fail" and f.effect != "Warn"]
    if failed:
        return Assessment("Compatible", "False", failed[0].rule, _texts(failed))
    unknown = [f for f in findings if f.judgement == "Unknown" and f.effect != "Warn"]
    if unknown:
        return _unknown(unknown[0].rule, _texts(unknown))
    warned = [f for f in findings if f.judgement != "Pass"]
    return Assessment("Compatible", "True", "Compatible", _texts(warned) or "it fits the contracts that it names")


def expiries(version: KubeObject, book: ContractBook, now: float) -> list[float]:
    """When waivers in its contracts end that count now, in seconds since the epoch."""
    contracts = book.contracts(version).values()
    waivers = [waiver for contract in contracts for waiver in contract.spec.compatibility.waivers or ()]
    return [waiver.expires for waiver in waivers if waiver.expires > now]


def _texts(findings: Sequence[Finding]) -> str:
    return "; ".join(f"{f.contract}: {f.message}" for f in findings)[:1024]


def _unknown(reason: str, message: str) -> Assessment:
    return Assessment("Compatible", "Unknown", reason, message[:1024])
