"""What ModelVersions say of contracts in the same files: which revision they are pinned to, and what they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from weir.api.datacontract import DataContractSpec
from weir.api.modelversion import ModelVersionSpec, VersionContracts
from weir.contract.digest import contract_digest
from weir.contract.document import DocumentError, parse
from weir.contract.revision import Revision
from weir.contract.usage import described
from weir.lint.finding import Path
from weir.lint.objects import LintedObject

_AT: Path = ("spec", "contracts")


def check_pins(objects: Sequence[LintedObject]) -> None:
    """Adds warnings about pins of other revisions, and about properties that no contract describes."""
    current = [(one, revision) for one in objects if (revision := _revision(one)) is not None]
    for linted in objects:
        spec = linted.model
        if not isinstance(spec, ModelVersionSpec) or spec.contracts is None:
            continue
        there = [revision for one, revision in current if _together(one, linted)]
        for path, pin in _pins(spec.contracts):
            _check_pin(linted, path, pin, there)
        _check_paths(linted, spec.contracts, there)


def _revision(linted: LintedObject) -> Revision | None:
    """What the object is now; None where it is no contract, is wrong, or has its document elsewhere."""
    spec = linted.model
    if not isinstance(spec, DataContractSpec) or spec.odcs is None:
        return None
    try:
        document = parse(spec.odcs)
        return Revision(linted.name, contract_digest(spec.odcs, spec.semantics or ()), document)
    except (DocumentError, ValueError):
        return None


def _together(left: LintedObject, right: LintedObject) -> bool:
    return not left.namespace or not right.namespace or left.namespace == right.namespace


def _pins(contracts: VersionContracts) -> Iterator[tuple[Path, str]]:
    for field, pin in (("request", contracts.request), ("response", contracts.response)):
        if pin is not None:
            yield (*_AT, field), pin
    for index, pin in enumerate(contracts.trained_on or ()):
        yield (*_AT, "trainedOn", index), pin


def _check_pin(linted: LintedObject, path: Path, pin: str, there: Sequence[Revision]) -> None:
    name, _, digest = pin.partition("@")
    now = [revision.digest for revision in there if revision.name == name]
    if digest and now and digest not in now:
        hint = "fine if the version was made for an older revision that the cluster has kept"
        linted.warn("stale-pin", path, f"{name} in these files is now {now[0]}", hint)


def _check_paths(linted: LintedObject, contracts: VersionContracts, there: Sequence[Revision]) -> None:
    """Told only where all contracts are in the files, and are what the version is pinned to."""
    named = contracts.trained_on or [pin for _, pin in _pins(contracts)] + list(contracts.served_from or ())
    if not named or not all(any(pin in (r.name, r.pin) for r in there) for pin in named):
        return
    documents = [revision.document for revision in there if revision.name in {pin.partition("@")[0] for pin in named}]
    known = frozenset[str]().union(*map(described, documents))
    for field, paths in (("uses", contracts.uses), ("imputed", contracts.imputed)):
        for index, path in enumerate(paths or ()):
            if path not in known:
                close = get_close_matches(path, sorted(known), n=1, cutoff=0.75)
                hint = f"did you mean {close[0]}?" if close else "write OBJECT.PROPERTY as in the document"
                which = ", ".join(pin.partition("@")[0] for pin in named)
                message = f"no contract of the version ({which}) describes {path}"
                linted.warn("unknown-property", (*_AT, field, index), message, hint)
