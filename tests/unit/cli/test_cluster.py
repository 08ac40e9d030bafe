"""Which cluster and which namespace the options stand for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.cli.apiserver import FakeApi
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import serving, shifting
from weir.cli.cluster import Where
from weir.cli.failure import CliError


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We run in a pod of the namespace ``jobs``."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    (tmp_path / "namespace").write_text("jobs\n")
    monkeypatch.setattr("weir.cli.cluster._POD_NAMESPACE", tmp_path / "namespace")


def test_given_a_pod_when_nothing_names_a_cluster_then_it_is_the_pods_own(pod: None) -> None:
    assert Where().resolved() == Where("jobs")
    assert Where("team").resolved() == Where("team")


def test_given_a_pod_when_a_kubeconfig_is_named_then_that_counts(pod: None, api: FakeApi) -> None:
    assert Where(kubeconfig=os.environ["KUBECONFIG"]).resolved().namespace == "team"


@pytest.mark.parametrize(
    ("where", "namespace"),
    [(Where(), "team"), (Where("prod"), "prod"), (Where(context="there"), "default"), (Where(context="here"), "team")],
)
def test_given_contexts_when_resolved_then_the_namespace_is_the_options_or_the_contexts(
    api: FakeApi, where: Where, namespace: str
) -> None:
    assert where.resolved().namespace == namespace


def test_given_no_current_context_when_resolved_then_those_there_are_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("contexts: [{name: a, context: {}}, {name: b, context: {}}]")
    with pytest.raises(CliError, match="no current context; use --context with one of a, b"):
        Where(kubeconfig=str(file)).resolved()


def test_given_several_kubeconfig_files_when_one_is_missing_then_the_others_count(
    api: FakeApi, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "missing"), os.environ["KUBECONFIG"]]))
    api.put("rollouts", shifting())
    assert run("status", "digits").exit_code == 0


def test_given_a_namespace_option_when_asked_then_only_that_is_read(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    api.put("rollouts", {**serving("letters"), "metadata": {"name": "letters", "namespace": "prod"}})
    assert [i["name"] for i in json.loads(run("get", "-n", "prod", "-o", "json").stdout)] == ["letters"]
