"""What users copy from this repository is clean: samples, the README and the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.api.objects import DIGEST
from weir.api import API_VERSION
from weir.lint import CODES, Source, lint

ROOT = Path(__file__).parents[3]
SAMPLES = [
    Source(str(path.relative_to(ROOT)), path.read_text())
    for path in sorted((ROOT / "manifests" / "samples").rglob("*.yaml"))
]
BLOCK = re.compile(r"^( *)```ya?ml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"sha256:[0-9a-f]*…")
"""A digest that a document shortens for its reader."""

APPLIED_BEFORE = {"README.md": ("manifests/samples/digits/version-v1.yaml",)}
"""What the reader of a document has applied before he comes to its YAML."""


def blocks(path: Path) -> list[Source]:
    """Whole objects of ours in a document, at the lines that they have there."""
    text = path.read_text()
    found = []
    for block in BLOCK.finditer(text):
        content = PLACEHOLDER.sub(DIGEST, block[2])
        if re.search(rf"^ *apiVersion: {re.escape(API_VERSION)}$", content, re.MULTILINE):
            before = "\n" * text[: block.start(2)].count("\n")
            found.append(Source(f"{path.relative_to(ROOT)}", before + content))
    return found


DOCUMENTS = [
    source
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
    for source in blocks(path)
]


def test_given_the_samples_when_linted_together_then_they_are_clean() -> None:
    report = lint(SAMPLES)

    assert report.findings == ()
    assert report.objects >= 15


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda source: source.name)
def test_given_one_sample_when_linted_alone_then_it_is_clean(sample: Source) -> None:
    assert lint([sample]).findings == ()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda source: source.name)
def test_given_yaml_in_a_document_when_linted_then_it_is_clean(document: Source) -> None:
    beside = [sample for sample in SAMPLES if sample.name in APPLIED_BEFORE.get(document.name, ())]

    findings = lint([*beside, document]).findings

    assert [f"{f.file}:{f.mark.line}: {f.text}" for f in findings] == []


def test_given_the_repository_then_there_is_yaml_in_its_documents() -> None:
    assert {source.name for source in DOCUMENTS} >= {"README.md", "docs/how-to/canary.md"}


def test_given_the_document_about_lint_then_it_explains_every_code() -> None:
    told = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs" / "how-to" / "lint.md").read_text()))
    assert CODES.keys() - told == set()
