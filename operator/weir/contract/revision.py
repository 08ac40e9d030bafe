"""Revisions of contracts, and what a model version is bound to: the inputs of the compatibility rules."""

from __future__ import annotations

from dataclasses import dataclass

from weir.api.datacontract import DataContractSpec, Semantics
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.model import Document


@dataclass(frozen=True)
class Revision:
    """One accepted state of a DataContract: what its digest covers."""

    name: str
    digest: str
    document: Document
    semantics: tuple[Semantics, ...] = ()

    @property
    def pin(self) -> str:
        """``NAME@sha256:…``, as a ModelVersion names it."""
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Contract:
    """A DataContract as it is now. ``current`` is None where it is not accepted; ``problem`` then says why."""

    name: str
    spec: DataContractSpec
    status: DataContractStatus
    current: Revision | None = None
    problem: str = ""


@dataclass(frozen=True)
class Bound:
    """A ModelVersion and the revisions that it is bound to.

    ``served_from``: names of contracts whose current revision feeds it. ``uses`` and ``imputed``: paths
    (OBJECT.PROPERTY); empty ``uses`` means all. ``missing``: contracts that it names and that cannot be read, each with
    the reason.
    """

    version: str
    request: Revision | None = None
    response: Revision | None = None
    trained_on: tuple[Revision, ...] = ()
    served_from: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    imputed: frozenset[str] = frozenset()
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every contract that it has to do with."""
        pinned = [*self.trained_on, *(r for r in (self.request, self.response) if r is not None)]
        return frozenset([r.name for r in pinned] + list(self.served_from) + [name for name, _ in self.missing])
