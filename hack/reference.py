"""Makes the environment of the reference implementation that contract tests compare with, apart from all others.

python3 hack/reference.py        prints the path of the environment's Python
"""

from __future__ import annotations

from pathlib import Path

from bootstrap import ROOT, environment

LOCK = ROOT / "requirements" / "reference.txt"


def reference_python() -> Path:
    """Python of the environment with datacontract-cli; makes it if it is not there."""
    return environment("reference", LOCK)


if __name__ == "__main__":
    print(reference_python())
