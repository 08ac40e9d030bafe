"""DataContracts and their revisions in a cluster."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from weir.cli.failure import CliError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weir.cli.cluster import Cluster
    from weir.contract.revision import Revision
    from weir.runtime.resources import KubeObject

_SHOWN = 8
_LABEL, _DIGEST = "weir.dev/contract", "weir.dev/digest"


async def contract(there: Cluster, name: str) -> KubeObject:
    """The DataContract of that name.

    Raises:
        CliError: there is none; says what could have been meant.
    """
    from weir.runtime.errors import NotFound
    from weir.runtime.resources import DATA_CONTRACTS

    try:
        return await there.client.get(DATA_CONTRACTS, name, there.namespace)
    except NotFound:
        raise CliError(await _not_there(there, name)) from None


async def _not_there(there: Cluster, name: str) -> str:
    from weir.cli.cluster import not_installed
    from weir.runtime.errors import NotFound
    from weir.runtime.resources import DATA_CONTRACTS

    try:
        found = (await there.client.list(DATA_CONTRACTS, there.namespace)).items
    except NotFound:
        return not_installed(there.where)
    names = sorted(item["metadata"]["name"] for item in found)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    missing = f"no DataContract {name!r} in namespace {there.namespace}"
    if near:
        return f"{missing}; did you mean {' or '.join(near)}?"
    return f"{missing}; there is {', '.join(names[:_SHOWN])}" if names else f"{missing}; use -n NAMESPACE"


async def document(there: Cluster, found: KubeObject) -> Mapping[str, Any] | None:
    """The document of a DataContract: inline, or of the revision that its status names; None where it is not known."""
    odcs = (found.get("spec") or {}).get("odcs")
    if isinstance(odcs, dict):
        return odcs
    data = await _kept(there, found["metadata"]["name"], str((found.get("status") or {}).get("digest") or ""))
    kept = (data or {}).get("odcs")
    return kept if isinstance(kept, dict) else None


async def revision(there: Cluster, text: str) -> tuple[Revision, Mapping[str, Any]]:
    """The revision that ``NAME`` or ``NAME@sha256:…`` means, and the spec of its DataContract as it is now.

    Raises:
        CliError: it is not there, or its document cannot be read.
    """
    from weir.cli.contract_file import ContractFile

    name, _, digest = text.partition("@")
    found = await contract(there, name)
    spec: dict[str, Any] = found.get("spec") or {}
    if digest and digest != (found.get("status") or {}).get("digest"):
        data = await _kept(there, name, digest)
        if data is None:
            known = ", ".join(sorted(await _digests(there, name))[:_SHOWN]) or "none"
            raise CliError(f"revision {digest} of {name} is not kept any more, or never was; known: {known}")
        old = ContractFile(name, data.get("odcs") or {}, {"semantics": data.get("semantics") or None})
        return old.revision(), spec
    odcs = await document(there, found)
    if odcs is None:
        raise CliError(f"the document of {name} was not read yet; see `kubectl weir contract explain {name}`")
    rest = {key: value for key, value in spec.items() if key not in ("odcs", "source")}
    return ContractFile(name, odcs, rest).revision(), spec


async def _kept(there: Cluster, name: str, digest: str) -> dict[str, Any] | None:
    """``odcs`` and ``semantics`` of a kept revision."""
    for item in await _revisions(there, name):
        if _digest_of(item) == digest:
            return item.get("data") or {}
    return None


async def _digests(there: Cluster, name: str) -> list[str]:
    return [_digest_of(item) for item in await _revisions(there, name)]


def _digest_of(item: KubeObject) -> str:
    return str((item["metadata"].get("annotations") or {}).get(_DIGEST) or "")


async def _revisions(there: Cluster, name: str) -> list[KubeObject]:
    from weir.runtime.resources import CONTROLLER_REVISIONS

    listed = await there.client.list(CONTROLLER_REVISIONS, there.namespace, label_selector=f"{_LABEL}={name}")
    return listed.items
