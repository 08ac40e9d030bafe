"""Renders the chart with the real Helm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "weir"
NAMESPACE = "weir-system"

# The C parser, where there is one, is ten times as fast.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Object = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    objects: tuple[Object, ...]

    def all(self, kind: str) -> list[Object]:
        """Objects of a kind, hooks included."""
        return [obj for obj in self.objects if obj["kind"] == kind]

    def one(self, kind: str, name: str = "weir") -> Object:
        """The only object of that kind and name."""
        (found,) = [obj for obj in self.all(kind) if obj["metadata"]["name"] == name]
        return found


class HelmError(Exception):
    """Helm refused; the text is what it said."""


def helm_program() -> str:
    cache = os.environ.get("WEIR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir"
    cached = Path(cache) / "bin" / "helm"
    found = os.environ.get("HELM") or (str(cached) if cached.is_file() else shutil.which("helm"))
    assert found, "Helm is needed: run `make tools`, or set HELM to the program"
    return found


def run_helm(*arguments: str) -> str:
    done = subprocess.run([helm_program(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


Helm = Callable[..., str]
Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs Helm; raises HelmError."""
    return run_helm


@pytest.fixture(scope="session")
def render() -> Render:
    """Renders the chart with `--set-json` values, each set of them once; raises HelmError."""
    known: dict[tuple[str, ...], Rendered] = {}

    def rendered(*values: str, release: str = "weir", more: Sequence[str] = ()) -> Rendered:
        words = [word for value in values for word in ("--set-json", value)]
        arguments = ("template", release, str(CHART), "--namespace", NAMESPACE, *words, *more)
        if arguments not in known:
            text = run_helm(*arguments)
            known[arguments] = Rendered(tuple(obj for obj in yaml.load_all(text, Loader) if obj))
        return known[arguments]

    return rendered
