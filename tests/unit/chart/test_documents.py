"""The papers say what the code does: every reason is explained, every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weir.api.agentstatus import AgentPolicyStatus
from weir.api.datacontractstatus import DataContractStatus
from weir.api.rolloutstatus import RolloutStatus
from weir.workload import readiness

from .conftest import ROOT

PACKAGE = ROOT / "operator" / "weir"
PAPERS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
_PROBLEM = re.compile(r'Problem\(\s*"([A-Z][A-Za-z]+)"')
_ENDING = re.compile(r'\.end\(\s*Outcome\.[A-Z_]+,\s*"([A-Z][A-Za-z]+)"')
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def reasons() -> set[str]:
    """Reasons that a Rollout's conditions can have, as the code spells them."""
    text = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
    found = {*_PROBLEM.findall(text), *_ENDING.findall(text), *readiness._SEVERITY}
    assert len(found) > 40
    return found


def test_every_reason_is_in_the_troubleshooting_page() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
    assert sorted(reason for reason in reasons() if f"`{reason}`" not in page) == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_papers_lead_somewhere(paper: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", paper.read_text(), flags=re.DOTALL)
    targets = [target for target in _LINK.findall(prose) if "://" not in target]
    assert [target for target in targets if not (paper.parent / target).exists()] == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_fields_of_the_status_that_papers_name_exist(paper: Path) -> None:
    known = {
        field.alias or name
        for status in (RolloutStatus, DataContractStatus, AgentPolicyStatus)
        for name, field in status.model_fields.items()
    }
    named = set(re.findall(r"`status\.([a-zA-Z]+)", paper.read_text()))
    assert named - known - {"observedGeneration", "servedBy", "stage", "digest"} == set()
