"""Makes the project's virtual environment, with nothing but the standard library.

    python3 hack/bootstrap.py        prints the path of the environment's Python

The environment lives in the cache, under a name made of the lock file's digest and of the Python's version, so that a
changed lock file makes a new one and an unchanged one costs nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.txt"


def cache() -> Path:
    """The cache folder: $WEIR_CACHE, else weir/ in $XDG_CACHE_HOME, else ~/.cache/weir."""
    if own := os.environ.get("WEIR_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir"


def say(message: str) -> None:
    """One line of progress, apart from the result on standard output."""
    print(f"bootstrap: {message}", file=sys.stderr, flush=True)


def ensure_venv_module() -> None:
    """Debian splits `venv` off into a package of its own; installs it where we may."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"this Python has no `venv`; as root run: {' '.join(command)}")
    say("installing python3-venv")
    subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def environment(name: str, lock: Path) -> Path:
    """The Python of the environment with what the lock file names; makes it if it is not there."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    home = cache() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python = home / "bin" / "python"
    done = home / ".complete"
    if done.exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # another call may be making it; that one is waited for
        if done.exists():
            return python
        ensure_venv_module()
        started = time.monotonic()
        say(f"installing {lock.relative_to(ROOT)} into {home}")
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, stdout=sys.stderr)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
        subprocess.run(install, check=True, stdout=sys.stderr)
        done.touch()
        say(f"done in {time.monotonic() - started:.0f} s")
    return python


def main() -> None:
    """Makes the environment if it is not there, and prints its Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells people so
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.11 ...")
    print(environment("venv", LOCK))


if __name__ == "__main__":
    main()
