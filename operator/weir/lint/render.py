"""A report as text, JSON, GitHub annotations or SARIF."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from weir import __version__
from weir.api import GROUP
from weir.lint.finding import CODES, Finding
from weir.lint.run import Report
from weir.view.words import things


def text(report: Report) -> str:
    """One line a finding, and a summary."""
    return "\n".join([*map(line, report.findings), summary(report)]) + "\n"


def line(finding: Finding) -> str:
    """One finding: file, line and column, what is wrong, and its code."""
    place = f"{finding.file}:{finding.mark.line}:{finding.mark.column}"
    return f"{place}: {finding.severity}: {finding.text} [{finding.code}]".replace("\n", " ")


def summary(report: Report) -> str:
    """How much was looked at and found."""
    files = things(report.files, "file")
    if not report.objects and not report.findings:
        return f"no objects of {GROUP} and no data contracts in {files}"
    found = f"{things(report.errors, 'error')}, {things(report.warnings, 'warning')}"
    return f"{things(report.objects, 'object')} in {files}: {found}"


def as_json(report: Report) -> str:
    """For programs."""
    content = {
        "findings": [finding.to_dict() for finding in report.findings],
        "summary": {
            "files": report.files,
            "objects": report.objects,
            "errors": report.errors,
            "warnings": report.warnings,
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def github(report: Report) -> str:
    """Workflow commands: GitHub Actions shows them at the lines of a pull request. The summary is plain text."""
    return "\n".join([*map(_annotation, report.findings), summary(report)]) + "\n"


def _annotation(finding: Finding) -> str:
    fields = {
        "file": finding.file,
        "line": str(finding.mark.line),
        "col": str(finding.mark.column),
        "title": f"weir lint: {finding.code}",
    }
    joined = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in fields.items())
    return f"::{finding.severity} {joined}::{_escaped(finding.text)}"


def _escaped(value: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        value = value.replace(character, f"%{ord(character):02X}")
    return value


def sarif(report: Report) -> str:
    """SARIF 2.1.0, which code scanning tools read."""
    used = sorted({finding.code for finding in report.findings})
    rules = [{"id": code, "shortDescription": {"text": CODES[code]}} for code in used]
    driver = {"name": "weir lint", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(finding) for finding in report.findings]}
    return json.dumps({"version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.mark.line, "startColumn": finding.mark.column}
    location = {"artifactLocation": {"uri": finding.file}, "region": region}
    return {
        "ruleId": finding.code,
        "level": finding.severity.value,
        "message": {"text": finding.text},
        "locations": [{"physicalLocation": location}],
    }


FORMATS: Mapping[str, Callable[[Report], str]] = {"text": text, "json": as_json, "github": github, "sarif": sarif}
"""Every format by its name on the command line."""
