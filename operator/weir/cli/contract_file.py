"""Contracts in files: manifests of a DataContract, and documents of the Open Data Contract Standard alone."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.cli.failure import UNREADABLE, CliError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weir.api.datacontract import DataContractSpec, Semantics
    from weir.contract.revision import Revision
    from weir.lint.document import Source

KIND = "DataContract"
_SHOWN = 8


@dataclass(frozen=True)
class ContractFile:
    """A contract that a file holds. ``spec``: how it is checked, as written; empty for a document alone.

    ``source``: name and text of the file, None where it comes from a cluster.
    """

    name: str
    odcs: Mapping[str, Any]
    spec: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: Source | None = None

    @property
    def model(self) -> DataContractSpec:
        """The spec without its document; a document alone gets the defaults.

        Raises:
            CliError: it is not valid.
        """
        from pydantic import ValidationError

        from weir.api.datacontract import DataContractSpec

        try:
            return DataContractSpec.model_validate({"roles": ["Features"], **self.spec, "odcs": None})
        except ValidationError as error:
            refuse_what_lint_refuses(self)
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise CliError(f"{self.name}: spec.{place}: {first['msg'].removeprefix('Value error, ')}") from None

    @property
    def semantics(self) -> tuple[Semantics, ...]:
        """What the manifest adds to the meaning of properties."""
        return tuple(self.model.semantics or ())

    def revision(self) -> Revision:
        """The document with its digest.

        Raises:
            CliError: the document is not valid.
        """
        from weir.contract.digest import contract_digest
        from weir.contract.document import DocumentError, parse
        from weir.contract.revision import Revision

        try:
            document = parse(self.odcs)
            return Revision(self.name, contract_digest(self.odcs, self.semantics), document, self.semantics)
        except (DocumentError, ValueError) as error:
            raise CliError(f"{self.name}: {error}") from None


def read(path: str, name: str = "") -> ContractFile:
    """The contract in a file (``-``: standard input); ``name`` chooses one of several.

    Raises:
        CliError: there is none, there are several, or its document is not valid.
    """
    from weir.lint.document import Source

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except IsADirectoryError:
        raise CliError(f"{path} is a folder; name the file in it that has the contract", UNREADABLE) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise CliError(f"{path}: {why}", UNREADABLE) from None
    found = _manifests(path, text) or _document(path, text)
    chosen = [one for one in found if not name or one.name == name]
    if len(chosen) != 1:
        names = ", ".join(one.name for one in found[:_SHOWN])
        if name and not chosen:
            raise CliError(f"{path} has no DataContract {name!r}; it has {names}")
        if name:
            raise CliError(f"{path} has {len(chosen)} DataContracts {name!r}; give each a name of its own")
        raise CliError(f"{path} has {len(found)} DataContracts ({names}); name one with --name")
    return _valid(path, replace(chosen[0], source=Source("<stdin>" if path == "-" else path, text)))


def refuse_what_lint_refuses(contract: ContractFile) -> None:
    """Ends where `weir lint` finds errors in the contract: whoever is told that data keeps it would rely on it.

    Raises:
        CliError: with lint's errors.
    """
    from weir.lint import Severity, lint
    from weir.lint.render import line

    if contract.source is None:
        return
    subjects = {"", f"{KIND}/{contract.name}", f"{KIND}/{contract.odcs.get('id')}"}
    errors = [
        finding
        for finding in lint([contract.source]).findings
        if finding.severity is Severity.ERROR and finding.subject in subjects
    ]
    if errors:
        told = [line(finding) for finding in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            told.append(f"and {len(errors) - _SHOWN} more")
        raise CliError("\n".join([f"{contract.name} is not valid; correct it first:", *told]))


def _manifests(path: str, text: str) -> list[ContractFile]:
    """DataContracts of Weir; none where the file holds a document alone."""
    from weir.lint.document import Source, parse

    documents, broken = parse(Source(path, text))
    if broken:
        raise CliError(f"{path}:{broken[0].mark.line}: {broken[0].text}")
    values = [document.value for document in documents]
    items = [item for value in values for item in _items(value)]
    contracts = [item for item in items if item.get("kind") == KIND and "/" in str(item.get("apiVersion"))]
    found = []
    for contract in contracts:
        metadata, spec = _mapping(contract.get("metadata")), _mapping(contract.get("spec"))
        named = str(metadata.get("name") or "contract")
        odcs = spec.get("odcs")
        if not isinstance(odcs, dict):
            raise CliError(
                f"{path}: the document of {named} is not in the file (spec.source names another place); "
                "give the document itself"
            )
        found.append(ContractFile(named, odcs, {key: value for key, value in spec.items() if key != "odcs"}))
    return found


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    listed = value.get("items")
    if str(value.get("kind")).endswith("List") and isinstance(listed, list):
        return [item for item in listed if isinstance(item, dict)]
    return [value]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _document(path: str, text: str) -> list[ContractFile]:
    from weir.contract.loading import UnreadableText, load_yaml

    try:
        odcs = load_yaml(text)
    except UnreadableText as error:
        raise CliError(f"{path}: {error}") from None
    if not isinstance(odcs, dict) or odcs.get("kind") != KIND:
        raise CliError(
            f"{path} holds no DataContract: neither a manifest of Weir nor a document of the Open Data Contract "
            "Standard; `weir contract init` writes one from data"
        )
    return [ContractFile(object_name(str(odcs.get("id") or Path(path).stem)), odcs)]


def _valid(path: str, contract: ContractFile) -> ContractFile:
    from weir.contract.validation import problems, warnings

    wrong = problems(contract.odcs)
    if wrong:
        more = f" (and {len(wrong) - 1} more; see all with `weir lint {path}`)" if len(wrong) > 1 else ""
        raise CliError(f"{path}: {contract.name}: {wrong[0]}{more}")
    return replace(contract, warnings=warnings(contract.odcs))


def named(option: str, name: str) -> str:
    """A name that a person gave.

    Raises:
        CliError: Kubernetes does not permit it.
    """
    if name != object_name(name):
        way = "use lower-case letters, digits, '-' and '.'"
        raise CliError(f"{option} {name!r} is no name that Kubernetes permits: {way}, such as {object_name(name)}")
    return name


def refuse_existing(output: Path | None, *, force: bool) -> None:
    """Keeps a file that is there already, which people may have edited.

    Raises:
        CliError: it is there, and nobody said that it may be replaced.
    """
    if output is not None and output.is_file() and not force:
        raise CliError(f"{output} is there already; replace it with --force, or write another file")


def object_name(text: str) -> str:
    """A name that Kubernetes permits."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:253] or "contract"
