"""Resolves pyproject.toml anew into hash-locked requirements files that hold no addresses (`make lock`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "hack"))

from bootstrap import cache  # noqa: E402

OPTIONS = ["--python-version", "3.11", "--universal", "--generate-hashes", "--no-header", "--no-emit-index-url"]


def uv() -> Path:
    """The resolver, in an environment of its own."""
    home = cache() / "uv"
    binary = home / "bin" / "uv"
    if not binary.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", "uv"], check=True)
    return binary


def main() -> None:
    """Writes requirements/run, check, mcp and dev .txt on top of the same pins, and reference.txt by itself."""
    resolve = [str(uv()), "pip", "compile", "--quiet", *OPTIONS]
    compile_ = [*resolve, "pyproject.toml"]
    run, check, dev = "requirements/run.txt", "requirements/check.txt", "requirements/dev.txt"
    mcp = "requirements/mcp.txt"
    subprocess.run([*compile_, "-o", run], check=True, cwd=ROOT)
    subprocess.run([*compile_, "--extra", "check", "-c", run, "-o", check], check=True, cwd=ROOT)
    subprocess.run([*compile_, "--extra", "mcp", "-c", check, "-o", mcp], check=True, cwd=ROOT)
    subprocess.run([*compile_, "--group", "dev", "-c", check, "-c", mcp, "-o", dev], check=True, cwd=ROOT)
    subprocess.run([*resolve, "--group", "reference", "-o", "requirements/reference.txt"], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
