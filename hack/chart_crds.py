"""Copies the generated CRDs into the chart: ``python hack/chart_crds.py`` (``--check`` only compares).

Helm packs only what lies inside the chart's folder. A chart's own ``crds/`` folder is never upgraded and knows no
values, so the copies lie in ``files/crds/`` and one template renders them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "crds"
CHART = ROOT / "charts" / "weir" / "files" / "crds"


def stale(source: Path, target: Path) -> list[Path]:
    """Files of ``target`` that are missing, differ from their source, or have none."""
    names = {path.name for folder in (source, target) for path in folder.glob("*.yaml")}
    return sorted(target / name for name in names if _text(source / name) != _text(target / name))


def copy(source: Path, target: Path) -> None:
    """Makes ``target`` hold the same files as ``source``."""
    target.mkdir(parents=True, exist_ok=True)
    for path in stale(source, target):
        text = _text(source / path.name)
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Copies, or with ``--check`` names what is stale and returns 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    options = parser.parse_args(arguments)
    if not options.check:
        copy(SOURCE, CHART)
        return 0
    outdated = stale(SOURCE, CHART)
    for path in outdated:
        print(f"stale: {path.relative_to(ROOT)} (run `make generate`)", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    raise SystemExit(main())
