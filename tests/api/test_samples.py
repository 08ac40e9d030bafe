"""The samples that users copy are accepted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import ROOT, Objects, Server
from weir.api import API_VERSION

pytestmark = pytest.mark.api
SAMPLES = sorted(
    path
    for path in (ROOT / "manifests" / "samples").rglob("*.yaml")
    if f"apiVersion: {API_VERSION}\n" in path.read_text()
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_given_a_sample_when_created_strictly_then_it_is_accepted(
    objects: Objects, api_server: Server, sample: Path
) -> None:
    options = ("--dry-run=server", "--validate=strict", "-n", objects.namespace, "-o", "name")
    accepted = api_server.kubectl("create", *options, "-f", str(sample)).split()

    assert accepted
    assert any(".weir.dev/" in name for name in accepted)


def test_given_the_checkout_then_there_are_samples() -> None:
    assert SAMPLES
