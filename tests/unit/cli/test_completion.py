"""Completion of words, by the shell and by kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.apiserver import FakeApi, Refusal
from tests.unit.cli.objects import serving, shifting

ROOT = Path(__file__).parents[3]
Complete = Callable[..., tuple[list[str], str]]


@pytest.fixture
def kubectl(api: FakeApi, tmp_path: Path) -> Complete:
    """What kubectl gets when it asks the plugin how the words go on: candidates, and the directive."""
    program = tmp_path / "kubectl_complete-weir"
    # A shell must not wait for long; a busy machine takes its time.
    patient = "from weir.cli import completion\ncompletion._SECONDS = 20.0\n"
    program.write_text(f"#!{sys.executable}\n{patient}from weir.cli.main import main\nmain()\n")
    program.chmod(0o755)

    def complete(*words: str) -> tuple[list[str], str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
        done = subprocess.run(
            [str(program), *words], env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stderr == ""
        *candidates, directive = done.stdout.splitlines()
        return [c.partition("\t")[0] for c in candidates], directive

    return complete


def test_given_rollouts_when_a_name_is_completed_then_those_of_the_namespace_that_fit_are_offered(
    api: FakeApi, kubectl: Complete
) -> None:
    for name in ("digits", "digests", "letters"):
        api.put("rollouts", shifting(name))
    api.put("rollouts", {**serving("distant"), "metadata": {"name": "distant", "namespace": "prod"}})
    assert kubectl("abort", "dig") == (["digests", "digits"], ":4")
    assert kubectl("status", "") == (["digests", "digits", "letters"], ":4")
    assert kubectl("status", "-n", "prod", "") == (["distant"], ":4")


def test_given_nothing_typed_when_completed_then_commands_are_offered_and_hidden_ones_are_not(
    kubectl: Complete,
) -> None:
    candidates, directive = kubectl("")
    assert {"status", "get", "why", "abort", "lint"} <= set(candidates)
    assert not {"operator", "fetch"} & set(candidates)
    assert directive == ":4"


def test_given_contexts_and_namespaces_when_their_options_are_completed_then_they_are_offered(
    api: FakeApi, kubectl: Complete
) -> None:
    api.put("namespaces", {"metadata": {"name": "team", "namespace": ""}})
    assert kubectl("get", "--context", "")[0] == ["here", "there"]
    assert kubectl("get", "-n", "t")[0] == ["team"]


@pytest.mark.parametrize("words", [("status", "--context", "there", ""), ("status", "--kubeconfig", "/nowhere", "")])
def test_given_no_cluster_when_a_name_is_completed_then_nothing_is_offered_and_nothing_is_said(
    kubectl: Complete, words: tuple[str, ...]
) -> None:
    assert kubectl(*words) == ([], ":4")


def test_given_no_permission_when_a_name_is_completed_then_nothing_is_offered(api: FakeApi, kubectl: Complete) -> None:
    api.refusals["GET", "rollouts"] = Refusal(403, "no", "Forbidden")
    assert kubectl("status", "") == ([], ":4")


def test_given_odd_words_when_completed_then_nothing_breaks(kubectl: Complete) -> None:
    assert kubectl("status", 'it\'s "odd" $(x)')[1] == ":4"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_given_a_shell_when_its_script_is_asked_for_then_it_is_for_weir(shell: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "_WEIR_COMPLETE": f"source_{shell}"}
    argv = [sys.executable, "-c", "import sys; sys.argv[0] = 'weir'; from weir.cli.main import main; main()"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert "_WEIR_COMPLETE" in done.stdout


def test_given_agents_when_a_permit_or_a_request_is_completed_then_those_of_the_namespace_are_offered(
    api: FakeApi, kubectl: Complete
) -> None:
    permits = [{"name": "tune", "action": "ShiftTraffic"}, {"name": "stop", "action": "Abort"}]
    api.put("agentpolicies", {"metadata": {"name": "agents"}, "spec": {"permits": permits}})
    spec = {"permit": "tune", "rolloutRef": {"name": "digits"}}
    api.put("actionrequests", {"metadata": {"name": "tune-1"}, "spec": spec})
    api.put("actionrequests", {"metadata": {"name": "tune-0"}, "spec": spec, "status": {"phase": "Succeeded"}})
    api.put("actionrequests", {"metadata": {"name": "tune-of-a-person"}, "spec": {"rolloutRef": {"name": "digits"}}})
    api.put("rollouts", serving("digits"))
    assert kubectl("agent", "headroom", "") == (["stop", "tune"], ":4")
    assert kubectl("agent", "ask", "tu") == (["tune"], ":4")
    assert kubectl("agent", "ask", "tune", "") == (["digits"], ":4")
    assert kubectl("deny", "t") == (["tune-1"], ":4")
    assert kubectl("approve", "--request", "") == (["tune-1"], ":4")
