"""All checks over a set of texts: what ``weir lint`` does, without files and without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weir.lint.agents import check_agents
from weir.lint.bounds import Load
from weir.lint.contracts import check_contract, check_document, is_document
from weir.lint.document import Document, Source, parse
from weir.lint.finding import CODES, Finding, Severity
from weir.lint.objects import LintedObject, objects
from weir.lint.passing import check_passing
from weir.lint.pins import check_pins
from weir.lint.practice import check_practice
from weir.lint.references import check_references
from weir.lint.rights import check_rights, is_rbac


@dataclass(frozen=True)
class Options:
    """``load``: check feasibility at this rate. ``ignore``: codes to leave out. ``strict``: warnings are errors.
    ``now``: seconds since 1970, to tell what has expired; None: nothing is said of it.
    """

    load: Load | None = None
    ignore: frozenset[str] = frozenset()
    strict: bool = False
    now: float | None = None

    def __post_init__(self) -> None:
        unknown = sorted(self.ignore - CODES.keys())
        if unknown:
            raise ValueError(f"no code {', '.join(unknown)}; codes are {', '.join(sorted(CODES))}")


@dataclass(frozen=True)
class Report:
    """What was found, in the order of files and lines."""

    findings: tuple[Finding, ...]
    objects: int
    files: int

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return len(self.findings) - self.errors


def lint(sources: Sequence[Source], options: Options | None = None) -> Report:
    """Checks every object of Weir's kinds, by itself and against the others, and contracts of the standard alone."""
    options = options or Options()
    findings: list[Finding] = []
    linted: list[LintedObject] = []
    rights: list[Document] = []
    alone = 0
    for source in sources:
        documents, broken = parse(source)
        findings += broken
        for document in documents:
            if is_document(document.value):
                findings += check_document(document)
                alone += 1
                continue
            if is_rbac(document.value):
                rights.append(document)
            for found in objects(document):
                if isinstance(found, LintedObject):
                    linted.append(found)
                else:
                    findings.append(found)
    check_references(linted)
    check_pins(linted)
    check_agents(linted)
    check_rights(linted, rights)
    for one in linted:
        check_contract(one, options.now)
        check_practice(one)
        if options.load is not None:
            check_passing(one, options.load)
        findings += one.findings
    kept = [finding for finding in findings if finding.code not in options.ignore]
    order = {source.name: place for place, source in reversed(list(enumerate(sources)))}
    kept.sort(key=lambda finding: (order[finding.file], finding.mark, finding.severity, finding.path))
    if options.strict:
        kept = [finding.as_error() for finding in kept]
    return Report(tuple(kept), len(linted) + alone, len(sources))
