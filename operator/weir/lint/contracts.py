"""What is wrong with documents of the Open Data Contract Standard, and with what DataContracts say of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any

from weir.api.base import format_time
from weir.api.datacontract import DataContractSpec
from weir.contract import compare
from weir.contract.compatibility import NOT_DECLARED, NOT_TRAINED
from weir.contract.consistency import contradictions
from weir.contract.document import parse
from weir.contract.patterns import refusal
from weir.contract.promises import QUALITY
from weir.contract.validation import examine
from weir.lint.document import Document
from weir.lint.finding import Finding, Path, Severity, path_text
from weir.lint.objects import LintedObject
from weir.lint.structure import Flaw

KIND = "DataContract"
_DOCUMENT = ("spec", "odcs")
_STANDARD = re.compile(r"v?[0-9]+(\.[0-9]+)*")
_RULE_IDS = frozenset(
    {compare.TABLE, compare.COLUMN, compare.PHYSICAL_NAME, compare.REQUIRED, compare.UNIQUE, compare.KEY, compare.TYPE}
    | {compare.VALUES, compare.ENUM, compare.FORMAT, compare.TIMEZONE, compare.VECTOR, compare.FRESHNESS}
    | {compare.RETENTION, compare.SLA, compare.OPTION, compare.METADATA, QUALITY, NOT_TRAINED, NOT_DECLARED}
)
"""What findings about two revisions are called, as a waiver's `ruleId` names them."""
_OTHER_RULE_IDS = re.compile(rf"{compare.SEMANTICS}.+|metadata[A-Z].*")
"""The same for what depends on a field of `semantics`, and for findings about a model's own metadata."""


def is_document(value: Any) -> bool:
    """Whether it is a document of the standard alone, without a DataContract around it."""
    if not isinstance(value, Mapping) or value.get("kind") != KIND:
        return False
    version = value.get("apiVersion")
    return "schema" in value if version is None else bool(_STANDARD.fullmatch(str(version)))


def check_document(document: Document) -> Iterator[Finding]:
    """What is wrong with a document of the standard that is in a file alone."""
    odcs = document.value
    found = list(_flaws(odcs, ()))
    if all(flaw.warning for flaw in found):
        spec = DataContractSpec.model_validate({"roles": ["Features"]})
        found += [
            Flaw(one.at[len(_DOCUMENT) :], "contract", one.message, one.hint)
            for one in contradictions(spec, parse(odcs))
        ]
    subject = f"{KIND}/{odcs.get('id') or PurePath(document.file).stem}"
    for flaw in found:
        severity = Severity.WARNING if flaw.warning else Severity.ERROR
        mark, path = document.mark(flaw.path, key=flaw.key), path_text(flaw.path)
        yield Finding(document.file, mark, severity, flaw.code, subject, path, flaw.message, flaw.hint)


def check_contract(linted: LintedObject, now: float | None) -> None:
    """Adds what the operator would refuse in a DataContract although the API server takes it, and what is in vain.

    ``now``: seconds since 1970; None where nothing is to be said of time.
    """
    if linted.kind.name != KIND:
        return
    _check_waivers(linted, now)
    odcs = linted.at(*_DOCUMENT)
    if not isinstance(odcs, dict):
        return
    told = {finding.path for finding in linted.findings if finding.severity is Severity.ERROR}
    found = [flaw for flaw in _flaws(odcs, _DOCUMENT) if path_text(flaw.path) not in told]
    for flaw in found:
        linted.add(flaw)
    if not told and all(flaw.warning for flaw in found):
        _check_consistency(linted)


def _flaws(odcs: Any, at: Path) -> Iterator[Flaw]:
    """What is wrong with the document by itself; ``at``: where in the object it is."""
    flaws = examine(odcs)
    for flaw in flaws:
        code = "odcs-warning" if flaw.warning else "odcs"
        yield Flaw((*at, *flaw.at), code, flaw.message, flaw.hint, key=flaw.key, warning=flaw.warning)
    if all(flaw.warning for flaw in flaws):
        yield from _patterns(odcs.get("schema"), (*at, "schema"))


def _patterns(value: Any, at: Path) -> Iterator[Flaw]:
    """Patterns anywhere below that RE2 does not take."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _patterns(entry, (*at, index))
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            if name in ("logicalTypeOptions", "arguments") and isinstance(entry, Mapping):
                pattern = entry.get("pattern")
                why = refusal(pattern) if isinstance(pattern, str) else ""
                if why:
                    message = f"RE2 does not take the pattern, so every check calls the rule Unknown: {why}"
                    hint = "correct it; RE2 has no look-around and no back-references"
                    yield Flaw((*at, name, "pattern"), "pattern", message, hint, warning=True)
            else:
                yield from _patterns(entry, (*at, name))


def _check_waivers(linted: LintedObject, now: float | None) -> None:
    spec = linted.model
    if not isinstance(spec, DataContractSpec):
        return
    for number, waiver in enumerate(spec.compatibility.waivers or ()):
        at: Path = ("spec", "compatibility", "waivers", number)
        if now is not None and waiver.expires <= now:
            message = f"expired at {format_time(waiver.expires)}, so it accepts nothing"
            linted.warn("waiver", (*at, "expires"), message, "remove it, or let somebody answer for it anew")
        if waiver.rule_id not in _RULE_IDS and not _OTHER_RULE_IDS.fullmatch(waiver.rule_id):
            near = get_close_matches(waiver.rule_id, _RULE_IDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "write the one that the finding names, such as type-changed"
            linted.warn("waiver", (*at, "ruleId"), f"no finding has the ruleId {waiver.rule_id}", hint)


def _check_consistency(linted: LintedObject) -> None:
    spec = linted.model
    if not isinstance(spec, DataContractSpec) or spec.odcs is None:
        return
    for found in contradictions(spec, parse(spec.odcs)):
        linted.add(Flaw(found.at, "contract", found.message, found.hint))
