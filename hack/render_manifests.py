"""Renders the chart into the kustomize base: ``python hack/render_manifests.py`` (``--check`` only compares).

The chart is the one place where the operator's objects are written down; ``manifests/`` holds what Helm makes of it,
less what only Helm understands. Helm is $HELM, or else the one in the project's cache, or else the one on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "weir"
MANIFESTS = ROOT / "manifests"
NAMESPACE = "weir-system"
HEADER = "# Generated from charts/weir by `make generate`; do not edit.\n"
MUTATING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
_HELM_ONLY = ("helm.sh/chart", "app.kubernetes.io/managed-by")

Object = dict[str, Any]


def helm() -> str:
    """The Helm program; exits with what to do when there is none."""
    cache = os.environ.get("WEIR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir"
    cached = Path(cache) / "bin" / "helm"
    found = os.environ.get("HELM") or (str(cached) if cached.is_file() else shutil.which("helm"))
    if not found:
        sys.exit("Helm 4 is needed: run `make tools`, or set HELM to the program")
    return found


def render(*arguments: str) -> list[Object]:
    """The objects that the chart makes with these arguments of ``helm template``; raises CalledProcessError."""
    command = [helm(), "template", "weir", str(CHART), "--namespace", NAMESPACE, "--skip-tests", *arguments]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [obj for obj in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if obj]


def plain(obj: Object) -> Object:
    """The object without what marks it as Helm's."""
    template = (obj.get("spec") or {}).get("template") or {}
    for metadata in (obj["metadata"], template.get("metadata") or {}):
        for name in _HELM_ONLY:
            (metadata.get("labels") or {}).pop(name, None)
    annotations = obj["metadata"].get("annotations") or {}
    annotations.pop("helm.sh/resource-policy", None)
    if not annotations:
        obj["metadata"].pop("annotations", None)
    return obj


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indents the items of a list, as the rest of the repository does."""
        super().increase_indent(flow, False)


def text_of(objects: Iterable[Object]) -> str:
    """The objects as the text of one file."""
    documents = [yaml.dump(o, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True) for o in objects]
    return HEADER + "---\n".join(documents)


def generated() -> Mapping[Path, str]:
    """Every generated file and its text."""
    usual = [plain(obj) for obj in render()]
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in usual}

    def added(*arguments: str) -> list[Object]:
        return [plain(obj) for obj in render(*arguments) if (obj["kind"], obj["metadata"]["name"]) not in names]

    watched = added("--set", "metrics.serviceMonitor.enabled=true", "--set", "metrics.prometheusRule.enabled=true")
    definitions = [obj for obj in usual if obj["kind"] == "CustomResourceDefinition"]
    return {
        MANIFESTS / "base" / "crds.yaml": text_of(definitions),
        MANIFESTS / "base" / "operator.yaml": text_of(obj for obj in usual if obj not in definitions),
        MANIFESTS / "overlays" / "prometheus" / "monitoring.yaml": text_of(watched),
        # Not every cluster serves this kind, so it cannot be in the base.
        MANIFESTS / "components" / "stamp" / "stamp.yaml": text_of(added("--api-versions", MUTATING)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders, or with ``--check`` names what is stale and returns 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    options = parser.parse_args(arguments)
    files = generated()
    outdated = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if options.check:
        for path in outdated:
            print(f"stale: {path.relative_to(ROOT)} (run `make generate`)", file=sys.stderr)
        return 1 if outdated else 0
    for path in outdated:
        path.write_text(files[path])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
