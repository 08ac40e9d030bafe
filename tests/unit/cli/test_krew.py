"""The krew manifest, against what krew demands of one; the archive itself is checked by its builder."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import krew


def put(folder: Path, name: str, content: bytes = b"x") -> str:
    """An archive in a folder; returns its digest."""
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_given_archives_when_the_manifest_is_made_then_it_lists_those_of_this_version(tmp_path: Path) -> None:
    version = krew.version()
    digest = put(tmp_path, f"kubectl-weir-{version}-linux-amd64.tar.gz", b"one")
    put(tmp_path, f"kubectl-weir-{version}-darwin-arm64.tar.gz", b"two")
    put(tmp_path, "kubectl-weir-0.0.1-linux-amd64.tar.gz")
    put(tmp_path, "other.tar.gz")

    made = krew.manifest(tmp_path, "https://example.org/x/", ["3.11"])

    platforms = made["spec"]["platforms"]
    assert [(p["selector"]["matchLabels"]["os"], p["selector"]["matchLabels"]["arch"]) for p in platforms] == [
        ("darwin", "arm64"),
        ("linux", "amd64"),
    ]
    assert platforms[1]["uri"] == f"https://example.org/x/kubectl-weir-{version}-linux-amd64.tar.gz"
    assert platforms[1]["sha256"] == digest


def test_given_a_manifest_when_krew_reads_it_then_its_rules_hold(tmp_path: Path) -> None:
    put(tmp_path, f"kubectl-weir-{krew.version()}-linux-arm64.tar.gz")
    made = krew.manifest(tmp_path, "https://example.org", ["3.11", "3.12"])
    assert (made["apiVersion"], made["kind"]) == ("krew.googlecontainertools.github.com/v1alpha2", "Plugin")
    assert made["metadata"]["name"] == "weir"
    assert re.fullmatch(r"v\d+\.\d+\.\d+.*", made["spec"]["version"])
    assert made["spec"]["shortDescription"]
    assert "\n" not in made["spec"]["shortDescription"]
    for platform in made["spec"]["platforms"]:
        assert re.fullmatch("[a-f0-9]{64}", platform["sha256"])
        assert set(platform["selector"]["matchLabels"]) <= {"os", "arch"}
        assert platform["bin"] in {operation["from"] for operation in platform["files"]}


def test_given_the_same_files_when_archived_twice_then_the_bytes_are_the_same(tmp_path: Path) -> None:
    program, text = tmp_path / "kubectl-weir", tmp_path / "LICENSE"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    text.write_text("free")
    krew.archive(tmp_path / "a.tar.gz", [program, text])
    text.touch()
    krew.archive(tmp_path / "b.tar.gz", [program, text])
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as opened:
        assert [(m.name, m.mode) for m in opened] == [("kubectl-weir", 0o755), ("LICENSE", 0o644)]


@pytest.mark.parametrize(("pythons", "code"), [(["{own}"], 0), (["3.1"], 1)])
def test_given_a_python_when_the_plugin_starts_then_a_wrong_one_is_told(pythons: list[str], code: int) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    supported = [text.format(own=own) for text in pythons]
    done = subprocess.run([sys.executable, "-c", krew.preamble(supported)], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.count("\n") == code
    assert code == 0 or f"python3 is {own}, this archive is for 3.1;" in done.stderr
