"""Builds what krew installs: an archive with `kubectl-weir` for this platform, and the plugin's manifest.

    python hack/krew.py --base-url https://example.org/releases

The plugin is a zipapp that holds all its dependencies, pinned by hash in requirements/run.txt; it needs a Python on the
user's machine. Compiled dependencies belong to one minor version of Python: `--python` adds those of further ones. Each
platform builds its own archive; the manifest lists all archives of this version that are in the output folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "kubectl-weir"
_ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ARCHIVE = re.compile(rf"{PLUGIN}-(?P<version>.+)-(?P<os>linux|darwin)-(?P<arch>amd64|arm64)\.tar\.gz")
_SHORT = "Watch, explain and steer releases of ML models"
_DESCRIPTION = (
    "Weir shifts traffic from one version of a machine-learning model to the next, no faster than the evidence allows. "
    "This plugin shows where a release stands and why, and asks the operator to promote, abort, pause, skip, approve, "
    "roll back or drill. It also checks manifests offline."
)
# Runs under whatever `python3` is, before anything of the plugin is imported.
_PREAMBLE = """\
import sys

if "{{}}.{{}}".format(*sys.version_info[:2]) not in {pythons!r}:
    sys.exit(
        "kubectl weir: python3 is {{}}.{{}}, this archive is for {shown}; "
        "put one of these first on PATH, or install it with pipx".format(*sys.version_info[:2])
    )
"""
# Nothing imports the synchronous half of the Kubernetes client, a third of all that is installed.
_UNUSED = ("kubernetes/client/models", "kubernetes/client/api")


def version() -> str:
    """The project's version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(?P<version>[^"]+)"', text, re.MULTILINE)
    if found is None:
        sys.exit("pyproject.toml names no version")
    return found["version"]


def host() -> tuple[str, str]:
    """Operating system and architecture of this machine, as krew names them."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if system not in ("linux", "darwin") or machine not in _ARCHES:
        sys.exit(f"no archive can be built on {system} {machine}")
    return system, _ARCHES[machine]


def dependencies(target: Path, pythons: Sequence[str]) -> None:
    """Installs the pinned dependencies for each minor version of Python, one over the other.

    Their files are the same but for compiled ones, which carry the version in their name.
    """
    for python in pythons:
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes"]
        argv += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp"]
        argv += ["--target", str(target / python), "--requirement", str(ROOT / "requirements" / "run.txt")]
        subprocess.run(argv, check=True)


def site_packages(work: Path, pythons: Sequence[str]) -> Path:
    """A folder with everything that the plugin imports."""
    dependencies(work / "installed", pythons)
    site = work / "site"
    for python in pythons:
        shutil.copytree(work / "installed" / python, site, dirs_exist_ok=True)
    shutil.copytree(
        ROOT / "operator" / "weir", site / "weir", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    for folder in _UNUSED:
        for file in (site / folder).rglob("*.py"):
            if file.name != "__init__.py":
                file.unlink()
    for useless in [*site.rglob("tests"), *site.rglob("__pycache__"), site / "bin"]:
        shutil.rmtree(useless, ignore_errors=True)
    return site


def preamble(pythons: Sequence[str]) -> str:
    """What runs first: it ends with a sentence where the archive is for another Python."""
    return _PREAMBLE.format(pythons=list(pythons), shown=" and ".join(pythons))


def zipapp(target: Path, work: Path, pythons: Sequence[str]) -> None:
    """The plugin as one executable file."""
    check_python = work / "preamble.py"
    check_python.write_text(preamble(pythons), encoding="utf-8")
    argv = [sys.executable, "-m", "shiv", "--site-packages", str(site_packages(work, pythons)), "--compressed"]
    argv += ["--reproducible", "--entry-point", "weir.cli.main:main", "--python", "/usr/bin/env python3"]
    argv += ["--preamble", str(check_python), "--output-file", str(target)]
    subprocess.run(argv, check=True)
    target.chmod(0o755)


def archive(target: Path, files: Sequence[Path]) -> None:
    """A tar.gz whose bytes depend on nothing but the files."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as made,
    ):
        for file in files:
            entry = made.gettarinfo(str(file), arcname=file.name)
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if os.access(file, os.X_OK) else 0o644
            with file.open("rb") as content:
                made.addfile(entry, content)


def manifest(folder: Path, base_url: str, pythons: Sequence[str], home_page: str = "") -> dict[str, Any]:
    """The krew manifest of all archives of this version in a folder."""
    platforms = []
    for file in sorted(folder.glob("*.tar.gz")):
        found = _ARCHIVE.fullmatch(file.name)
        if found is None or found["version"] != version():
            continue
        platforms.append(
            {
                "selector": {"matchLabels": {"os": found["os"], "arch": found["arch"]}},
                "uri": f"{base_url.rstrip('/')}/{file.name}",
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "files": [{"from": PLUGIN, "to": "."}, {"from": "LICENSE", "to": "."}],
                "bin": PLUGIN,
            }
        )
    needed = " or ".join(pythons)
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "weir"},
        "spec": {
            "version": f"v{version()}",
            **({"homepage": home_page} if home_page else {}),
            "shortDescription": _SHORT,
            "description": _DESCRIPTION,
            "caveats": f"This plugin needs Python {needed} as python3 on the PATH.",
            "platforms": platforms,
        },
    }


def check(packed: Path, work: Path) -> None:
    """Runs the plugin from its archive, with nothing else around it; exits when it does not work."""
    place = work / "installed-plugin"
    with tarfile.open(packed) as opened:
        opened.extractall(place, filter="data")
    environment = {"PATH": f"{place}:/usr/bin:/bin", "HOME": str(work), "SHIV_ROOT": str(work / "shiv")}
    interpreter = Path(sys.executable).parent
    environment["PATH"] = f"{interpreter}:{environment['PATH']}"
    for arguments in (["--help"], ["version"], ["lint", "--help"], ["status", "--help"]):
        done = subprocess.run(
            [str(place / PLUGIN), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{PLUGIN} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    print(f"{PLUGIN} runs from {packed.name}", file=sys.stderr)


def build(out: Path, pythons: Sequence[str]) -> Path:
    """Builds and checks this platform's archive; returns its path."""
    system, arch = host()
    target = out / f"{PLUGIN}-{version()}-{system}-{arch}.tar.gz"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weir-krew-") as name:
        work = Path(name)
        zipapp(work / PLUGIN, work, pythons)
        archive(target, [work / PLUGIN, ROOT / "LICENSE"])
        check(target, work)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base-url", required=True, help="where the archives will be published")
    parser.add_argument("--home-page", default="", help="the project's page, shown by krew")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "krew", help="folder for the results")
    parser.add_argument("--python", action="append", help=f"minor version of Python to support; by default {own}")
    parser.add_argument("--manifest-only", action="store_true", help="of the archives that are in the folder already")
    given = parser.parse_args(arguments)
    pythons = sorted(set(given.python or [own]), key=lambda text: int(text.partition(".")[2]))
    if own not in pythons:
        sys.exit(f"this Python is {own}: the archive could not be checked; add --python {own}")
    if not given.manifest_only:
        print(build(given.out, pythons))
    target = given.out / "weir.yaml"
    text = yaml.safe_dump(manifest(given.out, given.base_url, pythons, given.home_page), sort_keys=False, width=110)
    target.write_text(text, encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
