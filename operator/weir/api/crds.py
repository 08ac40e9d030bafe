"""Writes crds/ and docs/reference/ from the models: ``python -m weir.api.crds`` (``--check`` only compares)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from weir.api import GROUP, VERSION
from weir.api.docs import MARK, reference
from weir.api.kinds import CATEGORY, KINDS, Kind
from weir.api.schema import VALIDATIONS, record_schema, status_schema, structural_schema

HEADER = f"# {MARK} from operator/weir/api; do not edit.\n"


def object_schema(kind: Kind) -> dict[str, Any]:
    """The structural schema of a whole object of the kind."""
    spec_schema = record_schema if kind.written_by_weir else structural_schema
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec_schema(kind.spec, kind.name),
    }
    if kind.status is not None:
        properties["status"] = status_schema(kind.status, kind.name)
    schema: dict[str, Any] = {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": properties,
    }
    if kind.rules:
        schema[VALIDATIONS] = [rule.as_schema() for rule in kind.rules]
    return schema


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _columns(kind),
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    version["schema"] = {"openAPIV3Schema": object_schema(kind)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "weir"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "scope": "Cluster" if kind.cluster_scoped else "Namespaced",
            "versions": [version],
        },
    }


def _columns(kind: Kind) -> list[dict[str, Any]]:
    columns = []
    for column in kind.columns:
        entry: dict[str, Any] = {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.path,
            "description": column.description,
        }
        columns.append({**entry, "priority": 1} if column.wide else entry)
    return columns


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Inlined definitions are the same objects in memory; anchors would be legal but hard to read."""
        return True


def crd_yaml(kind: Kind) -> str:
    """The CRD as the text of its file."""
    return HEADER + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def generated(crds: Path, docs: Path) -> Mapping[Path, str]:
    """Every generated file and its text."""
    files = {crds / f"{GROUP}_{kind.plural}.yaml": crd_yaml(kind) for kind in KINDS}
    files.update({docs / name: text for name, text in reference(KINDS, object_schema).items()})
    return files


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Files that are missing or differ, and generated files in the same folders that nothing generates any more."""
    different = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    neighbours = {p for folder in {path.parent for path in files} for p in folder.glob("*.*") if p not in files}
    return sorted({*different, *(p for p in neighbours if MARK in p.read_text(errors="replace")[:200])})


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or with ``--check`` names those that are stale and returns 1."""
    parser = argparse.ArgumentParser(prog="python -m weir.api.crds", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    parser.add_argument("--crds", type=Path, default=Path("crds"), help="folder of the CRDs (default: %(default)s)")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs/reference"), help="folder of the reference (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    files = generated(options.crds, options.docs)
    outdated = stale(files)
    if options.check:
        for path in outdated:
            print(f"stale: {path} (run `python -m weir.api.crds`)", file=sys.stderr)
        return 1 if outdated else 0
    for path in outdated:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
