"""`kubectl weir contract` with a person's own rights, a real API server and the real operator; the test plays the pod."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from devcluster import pki
from devcluster.command import run
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.contracts import Contracts, document
from tests.api.harness.lab import Lab
from tests.api.test_command_line import Person
from weir.runtime.resources import DATA_CONTRACTS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

Weir = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def room(lab: Lab) -> Contracts:
    """A namespace with one accepted contract."""
    made = Contracts(lab)
    made.create()
    made.accepted()
    return made


@pytest.fixture
def ada(room: Contracts) -> Person:
    """A developer with the cluster's role edit and the chart's."""
    lab, name = room.lab, f"ada-{room.namespace}"
    folder = lab.directory / "pki"
    leaf = pki.Leaf(name, f"/CN={name}")
    extensions = [word for extension in leaf.extensions() for word in ("-addext", extension)]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-CA", "ca.crt", "-CAkey", "ca.key"]
    run(["openssl", "req", "-x509", *key, "-subj", f"/CN={name}", *extensions, *files], cwd=folder)
    target = pki.write_kubeconfig(folder, leaf, lab.api.url, folder / f"{name}.kubeconfig")
    api = "rbac.authorization.k8s.io"
    for role in ("edit", "weir-view", "weir-edit"):
        lab.apply(
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{name}-{role}", "namespace": room.namespace},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
            }
        )

    def may() -> bool:
        with suppress(Failure):
            return bool(Api(target).list(DATA_CONTRACTS, room.namespace))
        return False

    eventually(may, "ada may look")
    return Person(lab, target, room.namespace)


@pytest.mark.parametrize(("verdict", "code"), [("Pass", 0), ("Fail", 1)])
def test_given_a_developer_asks_when_the_pod_has_checked_then_the_result_is_printed(
    room: Contracts, ada: Person, verdict: str, code: int
) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ada.weir, "contract", "check", "orders", "--timeout", "60s")
        (check,) = eventually(lambda: list(room.jobs()), "the Job of the check")
        room.finish(check, verdict)
        done = asked.result()

    assert done.returncode == code, done.stderr
    assert check.startswith("orders-ask-")
    assert done.stdout.startswith("Pass: all 3 rules passed" if verdict == "Pass" else "Fail: of 3 rules 1 failed")
    assert ("3 rows below 0.5" in done.stdout) is (verdict == "Fail")


def test_given_a_pod_that_ends_without_a_result_then_the_command_says_unknown(room: Contracts, ada: Person) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ada.weir, "contract", "check", "orders", "--timeout", "90s", "-o", "json")
        (check,) = eventually(lambda: list(room.jobs()), "the Job of the check")
        room.end(room.pod(check))
        done = asked.result()

    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["status"]["verdict"] == "Unknown"


def test_given_two_versions_of_a_contract_then_they_are_compared_and_explained(room: Contracts, ada: Person) -> None:
    room.version("v1", trainedOn=["orders"])
    eventually(lambda: room.status().get("usedBy") == ["v1"], "the version is bound")
    old = room.status()["digest"]
    room.edit(odcs=document("2.0.0", required=False))
    new = eventually(lambda: d if (d := room.status()["digest"]) != old else "", "the new revision")

    compared = ada.weir("contract", "diff", f"orders@{old}", "orders", "-o", "json")
    explained = ada.weir("contract", "explain", "orders")

    assert json.loads(compared.stdout)["new"] == f"orders@{new}", compared.stderr
    assert compared.returncode in (0, 1)
    assert explained.returncode == 0, explained.stderr
    assert f"orders@{new}" in explained.stdout
    assert "ModelVersion v1 (trained on it), bound to another revision" in explained.stdout
