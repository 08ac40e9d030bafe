"""A cluster with Weir, a gateway and Prometheus; namespaces with a model that people use.

The cluster is the one that WEIR_CLUSTER names (`weir`); a run that had to bring it up takes it down again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.clusters import present
from devcluster.errors import ClusterError
from testbed import digits, install
from testbed.cluster import Cluster, CommandFailed, wait_for
from testbed.journal import Journal
from testbed.scenario import Space, Spaces

HERE = Path(__file__).parent
_SPACES: list[Space] = []
"""Namespaces that are in use, for the report of a failed test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            # The first test waits for the cluster, and on a new machine for its images to be built.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed and HERE in item.path.parents and call.excinfo is not None:
        for space in _SPACES:
            report.sections.append((f"namespace {space.name}", space.report()))
        if _SPACES:
            report.sections.append(("operator", operator_logs(_SPACES[0].cluster)))
    return report


def operator_logs(cluster: Cluster) -> str:
    """The end of what the operator logged, of the process before, too."""
    parts = []
    for words in ([], ["--previous"]):
        try:
            command = ["logs", "-n", install.NAMESPACE, f"deployment/{install.RELEASE}", "--tail=1000", *words]
            lines = [line for line in cluster.kubectl(*command).splitlines() if '"urllib3' not in line]
            parts.append("\n".join(lines[-80:]))
        except CommandFailed as error:
            parts.append(str(error))
    return "\n".join(parts)


def _runs(name: str) -> bool:
    try:
        return bool(present(name).status())
    except ClusterError:
        return False


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with Weir as this checkout has it."""
    name = os.environ.get("WEIR_CLUSTER", "weir")
    found = _runs(name)
    try:
        cluster = install.up(name)
        install.install(cluster)
        yield cluster
    finally:
        if not found:
            install.devcluster("down", name=name)


@pytest.fixture(scope="session")
def check_image(cluster: Cluster) -> str:
    """The image of contract checks, in the cluster."""
    install.check_image(cluster.name)
    return install.CHECK_IMAGE


@pytest.fixture(scope="session")
def journal(cluster: Cluster) -> Iterator[Journal]:
    """Everything that Rollouts say about themselves."""
    with Journal(cluster) as journal:
        yield journal


@pytest.fixture(scope="session")
def store(cluster: Cluster) -> Iterator[tuple[str, dict[str, Any]]]:
    """Namespace of the artifact store, and what it holds by version."""
    name = f"e2e-store-{uuid.uuid4().hex[:5]}"
    cluster.apply(digits.namespace(name), *digits.store(name))
    digits.ready(cluster, name, digits.STORE)
    index = wait_for("the store's index", lambda: digits.index(cluster, name))
    yield name, {entry["version"]: entry for entry in index["versions"]}
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def graveyard(cluster: Cluster) -> Iterator[list[str]]:
    """Namespaces that are on their way out; at the end they must be gone, so no finalizer of ours may hang."""
    names: list[str] = []
    yield names

    def gone() -> bool:
        there = json.loads(cluster.kubectl("get", "namespaces", "-o", "json"))["items"]
        return not {item["metadata"]["name"] for item in there} & set(names)

    wait_for(f"the end of {', '.join(names)}", gone, timeout=120, interval=2)


@pytest.fixture(scope="module")
def spaces(
    cluster: Cluster, journal: Journal, store: tuple[str, dict[str, Any]], graveyard: list[str]
) -> Iterator[Spaces]:
    """Makes namespaces that are deleted at the end of the module, with whatever is going on in them."""
    made: list[Space] = []

    def make(purpose: str, **spec: Any) -> Space:
        space = Space(cluster, journal, f"e2e-{purpose}-{uuid.uuid4().hex[:5]}", *store, spec)
        cluster.apply(digits.namespace(space.name))
        made.append(space)
        _SPACES.append(space)
        return space

    yield make
    for space in made:
        _SPACES.remove(space)
        cluster.kubectl("delete", "namespace", space.name, "--wait=false", "--ignore-not-found")
        graveyard.append(space.name)
