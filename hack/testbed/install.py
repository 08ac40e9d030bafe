"""Builds Weir's image and the demo's, and installs the chart, the way a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from devcluster.images import Build
from testbed.cluster import ROOT, Cluster

OPERATOR_IMAGE = "localhost/weir-operator:dev"
DIGITS_IMAGE = "localhost/weir-digits:demo"
CHECK_IMAGE = "localhost/weir-check:dev"
NAMESPACE = "weir-system"
RELEASE = "weir"


def devcluster(*words: str, name: str) -> None:
    """Runs the cluster's command line; its progress goes to our standard output."""
    group, *rest = words
    command = [sys.executable, "-m", "devcluster", group, *rest, "--name", name]
    path = os.pathsep.join([str(ROOT / "hack"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path})


def up(name: str) -> Cluster:
    """A cluster of that name, with both images loaded; quick when all of it is there."""
    devcluster("up", name=name)
    devcluster("image", "build", str(ROOT), "--tag", OPERATOR_IMAGE, name=name)
    devcluster("image", "build", str(ROOT / "examples" / "digits"), "--tag", DIGITS_IMAGE, name=name)
    return Cluster(name)


def check_image(name: str) -> None:
    """The image of contract checks, loaded; it is large, so only who checks data builds it."""
    file = str(ROOT / "Dockerfile.check")
    devcluster("image", "build", str(ROOT), "--file", file, "--tag", CHECK_IMAGE, name=name)


def install(cluster: Cluster, values: Mapping[str, str] | None = None, say: Callable[[str], None] = print) -> None:
    """``helm upgrade --install`` of the chart with the image that was just built."""
    settings = {"image.pullPolicy": "IfNotPresent", **_image("image", OPERATOR_IMAGE)}
    settings |= {**_image("contracts.image", CHECK_IMAGE), **(values or {})}
    command = ["upgrade", "--install", RELEASE, "charts/weir", "--namespace", NAMESPACE, "--create-namespace", "--wait"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    # The tag stays the same from build to build; without this a new image would not reach running pods.
    command += ["--set-string", f"podAnnotations.build={build_of(ROOT, OPERATOR_IMAGE)}"]
    say("helm " + " ".join(command))
    cluster.helm(*_absolute(command))


def _image(value: str, image: str) -> dict[str, str]:
    repository, tag = image.rsplit(":", 1)
    return {f"{value}.repository": repository, f"{value}.tag": tag}


def build_of(context: Path, tag: str) -> str:
    """A digest of everything that goes into an image."""
    return Build(context / "Dockerfile", context, tag, {}).digest("")


def _absolute(command: list[str]) -> list[str]:
    return [str(ROOT / word) if word == "charts/weir" else word for word in command]
