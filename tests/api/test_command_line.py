"""`kubectl weir` as people use it: processes with their own kubeconfigs, a real API server, a real operator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster import pki
from devcluster.command import run
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.case import SLOW, Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.process import ROOT
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

QUICK: Spec = {"canary": {"steps": [{"weight": 50, "minDuration": "100ms"}], "bake": "100ms"}}
CONSENT: Spec = {"before": "Traffic(50)", "from": {"group": "sre"}}
PROGRAM = [sys.executable, "-m", "weir.cli.main"]


@dataclass(frozen=True)
class Person:
    """Somebody with a client certificate."""

    lab: Lab
    kubeconfig: Path
    namespace: str

    def environment(self) -> dict[str, str]:
        """A clean one: nobody's kubeconfig but their own."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.lab.directory),
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(self.kubeconfig),
        }

    def weir(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        argv = [*PROGRAM, *arguments, "-n", self.namespace]
        return subprocess.run(argv, env=self.environment(), capture_output=True, text=True, check=False, timeout=90)


def person(case: Case, name: str, roles: Sequence[str], group: str = "") -> Person:
    """A user with these ClusterRoles of the chart in the Rollout's namespace."""
    lab = case.lab
    folder = lab.directory / "pki"
    subject = (f"/O={group}" if group else "") + f"/CN={name}"
    leaf = pki.Leaf(name, subject)
    extensions = [word for extension in leaf.extensions() for word in ("-addext", extension)]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-CA", "ca.crt", "-CAkey", "ca.key"]
    run(["openssl", "req", "-x509", *key, "-subj", subject, *extensions, *files], cwd=folder)
    target = pki.write_kubeconfig(folder, leaf, lab.api.url, folder / f"{name}-{case.namespace}.kubeconfig")
    api = "rbac.authorization.k8s.io"
    for role in roles:
        lab.apply(
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{name}-{role}", "namespace": case.namespace},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
            }
        )
    found = Person(lab, target, case.namespace)
    eventually(lambda: _may_look(Api(target), case.namespace), f"{name} may look")
    return found


def _may_look(api: Api, namespace: str) -> bool:
    with suppress(Failure):
        return bool(api.list(ROLLOUTS, namespace))
    return False


@pytest.fixture
def slow(lab: Lab) -> Case:
    """v1 serves; v2 has 20 % of the traffic, and keeps it for ten minutes."""
    case = Case(lab)
    case.serve_first(strategy=SLOW, gates=None)
    case.release("v2")
    case.wait(lambda s: (s.get("stage") or {}).get("evidenceFrom") and s["weight"] == 20, "20 % in place")
    return case


@pytest.fixture
def served(lab: Lab) -> Case:
    """v2 serves all traffic, v1 did before."""
    case = Case(lab)
    case.serve_first(strategy=QUICK, gates=None)
    case.release("v2")
    case.wait_ready()
    eventually(lambda: len(case.records()) == 2, "the record of release 2")
    return case


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that are started take Ctrl-C, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_given_a_release_when_a_developer_promotes_it_then_it_serves_and_all_views_tell_so(slow: Case) -> None:
    ada = person(slow, "ada", ["edit"])
    assert ada.weir("status", "--for", "Traffic(20)", "--timeout", "30s").returncode == 0

    asked = ada.weir("promote", "digits", "-m", "load test was fine", "--wait", "--timeout", "60s")

    assert (asked.returncode, asked.stdout) == (0, "release 2 of v2 is closed: Promoted\n"), asked.stderr
    ready = ada.weir("status", "--wait", "--timeout", "60s")
    assert (ready.returncode, "v2 serves all traffic" in ready.stderr) == (0, True), ready
    listed = json.loads(ada.weir("get", "-o", "json").stdout)
    assert [(i["name"], i["phase"], i["stable"]["label"]) for i in listed] == [("digits", "Promoted", "v2")]
    assert "digits" in ada.weir("why", "digits").stdout
    assert "Promoted" in ada.weir("history").stdout
    eventually(lambda: len(slow.records()) == 2, "the record")
    decisions = ada.weir("history", "digits", "--release", "2").stdout
    assert "PromoteRequested" in decisions
    assert "ada" in decisions


def test_given_somebody_on_call_when_they_act_then_they_may_abort_and_not_promote(slow: Case) -> None:
    oncall = person(slow, "oncall", ["weir-actor"])

    denied = oncall.weir("promote", "digits", "-m", "go")
    asked = oncall.weir("abort", "digits", "-m", "errors in the logs", "--wait", "--timeout", "60s")

    assert (denied.returncode, denied.stdout) == (1, "")
    assert denied.stderr.startswith("error: refused: ")
    assert denied.stderr.count("\n") == 1
    assert "promote" in denied.stderr
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("release 2 of v2 is closed: Aborted; stable had all traffic after ")
    failed = oncall.weir("status", "--wait", "--timeout", "30s")
    assert failed.returncode == 1
    assert slow.weights() == {"v1": 100, "v2": 0} or slow.weights() == {"v1": 100}


def test_given_an_aborted_candidate_when_retried_then_a_new_release_begins(slow: Case) -> None:
    ada = person(slow, "ada", ["edit"])
    assert ada.weir("abort", "-m", "x", "--wait", "--timeout", "60s").returncode == 0

    asked = ada.weir("retry", "-m", "fixed the feature store", "--wait", "--timeout", "60s")

    assert (asked.returncode, asked.stdout) == (0, "release 3 of v2 has begun\n"), asked.stderr


def test_given_a_release_when_paused_resumed_and_skipped_then_the_exit_codes_tell(slow: Case) -> None:
    ada = person(slow, "ada", ["edit"])

    assert ada.weir("pause", "-m", "lunch").returncode == 0
    paused = ada.weir("status", "--wait", "--timeout", "30s")
    assert paused.returncode == 4, paused
    assert ada.weir("resume", "-m", "back").returncode == 0
    stale = ada.weir("skip", "-m", "x", "--expect-stage", "Bake")
    assert (stale.returncode, stale.stdout.startswith("Refused: expected stage Bake")) == (1, True), stale
    assert ada.weir("skip", "-m", "looks fine").returncode == 0
    assert ada.weir("status", "--for", "Traffic(50)", "--timeout", "30s").returncode == 0
    waited = ada.weir("status", "--wait", "--timeout", "500ms")
    assert waited.returncode == 3, waited
    made = {r["spec"]["action"]: r["spec"] for r in slow.lab.api.list(ACTION_REQUESTS, slow.namespace)}
    assert {spec["requester"] for spec in made.values()} == {"ada"}
    assert made["Pause"]["expect"] == {"release": 2}


def test_given_an_approval_when_two_try_then_who_changed_it_is_refused_and_the_other_moves_it(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(strategy=QUICK, gates=None)
    ada = person(case, "ada", ["edit", "weir-approver"], group="sre")
    bob = person(case, "bob", ["weir-approver"], group="sre")
    case.patch(approvals=[CONSENT])
    change = ["patch", "rollouts.weir.dev", "digits", "-n", case.namespace, "--type", "merge", "-p"]
    kubectl = ["kubectl", "--kubeconfig", str(ada.kubeconfig)]
    run([*kubectl, *change, '{"spec":{"versionRef":{"name":"v2"}}}'])
    waits = bob.weir("status", "--wait", "--timeout", "60s")
    assert waits.returncode == 4, waits
    assert "Traffic(50)" in waits.stderr

    own = ada.weir("approve", "-m", "mine is good", "--yes")
    other = bob.weir("approve", "-m", "looked at it", "--yes")

    assert (own.returncode, own.stdout) == (1, ""), own
    assert "error: refused: " in own.stderr
    assert other.returncode == 0, other
    for shown in ("v2", "group sre", "you are   bob"):
        assert shown in other.stderr
    done = bob.weir("status", "--wait", "--timeout", "60s")
    assert done.returncode == 0, done
    assert case.records()[-1]["spec"]["approvals"][0]["consents"][0]["by"] == "bob"


def test_given_a_version_that_serves_when_rolled_back_then_the_one_before_serves(served: Case) -> None:
    oncall = person(served, "oncall", ["weir-actor"])

    asked = oncall.weir("rollback", "-m", "wrong answers", "--wait", "--timeout", "60s")

    assert (asked.returncode, asked.stdout) == (0, "release 3 of v1 is closed: Restored\n"), asked.stderr
    assert json.loads(oncall.weir("status", "-o", "json").stdout)["stable"]["label"] == "v1"


def test_given_a_healthy_candidate_when_drilled_then_the_measured_time_is_told(slow: Case) -> None:
    ada = person(slow, "ada", ["edit"])

    asked = ada.weir("drill", "-m", "monthly drill", "--wait", "--timeout", "60s")

    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("release 2 of v2 is closed: Drilled; stable had all traffic after ")


def test_given_a_viewer_when_they_look_and_act_then_only_the_act_is_refused(slow: Case) -> None:
    eve = person(slow, "eve", ["view"])

    assert eve.weir("status").returncode == 0
    assert eve.weir("get", "-A").returncode == 1
    denied = eve.weir("abort", "-m", "x")

    assert denied.returncode == 1
    assert denied.stderr == (
        f"error: you (eve) may not create actionrequests in namespace {slow.namespace}; "
        "ask for a role that allows it, or use another --context\n"
    )


def test_given_a_watch_in_a_pipe_when_things_change_then_lines_come_until_it_is_interrupted(
    slow: Case, interruptible: None
) -> None:
    eve = person(slow, "eve", ["view"])
    argv = [*PROGRAM, "status", "--watch", "-n", slow.namespace]
    process = subprocess.Popen(argv, env=eve.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "Traffic(20)  20%  v1 -> v2" in process.stdout.readline()
        slow.act("Skip")
        eventually(lambda: process.stdout is not None and "Traffic(50)" in process.stdout.readline(), "a line of 50 %")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (130, "")
