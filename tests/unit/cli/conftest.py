"""A fake API server, and the command line run against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.cli.apiserver import FakeApi
from weir.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An empty API server, which KUBECONFIG names."""
    fake = FakeApi()
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("weir.cli.watching._SHORTEST", 0.01)
    yield fake
    fake.stop()


@pytest.fixture
def run(api: FakeApi) -> Run:
    """Runs a command line in a pipe: nobody can be asked."""

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return invoke


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody watches and can answer."""
    for name in ("on_terminal", "can_ask"):
        monkeypatch.setattr(f"weir.cli.printing.{name}", lambda: True)
