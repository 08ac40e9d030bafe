"""What is wrong with the document inside a DataContract, and with what the object says of it."""

from __future__ import annotations

from weir.api.datacontract import DataContractSpec
from weir.contract.consistency import contradictions
from weir.contract.document import parse
from weir.contract.validation import examine
from weir.lint.finding import Severity, path_text
from weir.lint.objects import LintedObject
from weir.lint.structure import Flaw

_DOCUMENT = ("spec", "odcs")


def check_contract(linted: LintedObject) -> None:
    """Adds what the operator would refuse in a DataContract although the API server takes it."""
    odcs = linted.at(*_DOCUMENT)
    if linted.kind.name != "DataContract" or not isinstance(odcs, dict):
        return
    told = {finding.path for finding in linted.findings if finding.severity is Severity.ERROR}
    found = [flaw for flaw in examine(odcs) if path_text((*_DOCUMENT, *flaw.at)) not in told]
    for flaw in found:
        code = "odcs-warning" if flaw.warning else "odcs"
        path = (*_DOCUMENT, *flaw.at)
        linted.add(Flaw(path, code, flaw.message, flaw.hint, key=flaw.key, warning=flaw.warning))
    if not told and all(flaw.warning for flaw in found):
        _check_consistency(linted)


def _check_consistency(linted: LintedObject) -> None:
    spec = linted.model
    if not isinstance(spec, DataContractSpec) or spec.odcs is None:
        return
    for found in contradictions(spec, parse(spec.odcs)):
        linted.add(Flaw(found.at, "contract", found.message, found.hint))
