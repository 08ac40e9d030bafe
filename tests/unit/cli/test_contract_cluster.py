"""Contracts in a cluster: a check that is followed, revisions that are compared, a contract that is explained."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.apiserver import FakeApi, Refusal
from tests.unit.cli.conftest import Run
from weir.api.datacontract import Semantics
from weir.cli.contract_check import Look
from weir.cli.contract_results import headline
from weir.contract.digest import contract_digest

KubeObject = dict[str, Any]
KINDS = ("rollouts", "modelversions", "datacontracts", "contractchecks", "controllerrevisions", "jobs", "namespaces")
AT = "2026-11-21T08:00:00Z"

ODCS: KubeObject = {
    "apiVersion": "v3.2.0",
    "kind": "DataContract",
    "id": "orders",
    "version": "1.0.0",
    "schema": [{"name": "orders", "properties": [{"name": "age", "logicalType": "integer", "required": True}]}],
}


def changed() -> KubeObject:
    """The document in which age may be absent."""
    odcs = copy.deepcopy(ODCS)
    odcs["version"] = "2.0.0"
    odcs["schema"][0]["properties"][0]["required"] = False
    return odcs


def contract(odcs: KubeObject = ODCS, **status: Any) -> KubeObject:
    spec = {"roles": ["Features"], "odcs": odcs, "servers": [{"name": "lake", "odcsServer": "lake"}]}
    found = {"observedGeneration": 1, "digest": contract_digest(odcs), **status}
    return {"metadata": {"name": "orders", "generation": 1}, "spec": spec, "status": found}


def kept(odcs: KubeObject, semantics: list[KubeObject] | None = None) -> KubeObject:
    """The ControllerRevision of a document."""
    digest = contract_digest(odcs, [Semantics.model_validate(s) for s in semantics or ()])
    meta = {"name": f"orders-{digest[7:17]}", "labels": {"weir.dev/contract": "orders"}}
    data = {"odcs": odcs, **({"semantics": semantics} if semantics else {})}
    return {"metadata": {**meta, "annotations": {"weir.dev/digest": digest}}, "data": data, "revision": 1}


def job(**status: Any) -> KubeObject:
    return {"metadata": {"name": ""}, "status": status}


def result(verdict: str, *results: KubeObject) -> KubeObject:
    counted = {"passed": 3, "failed": len(results)}
    server = {"name": "lake", "verdict": verdict, "rows": 12000, **counted}
    return {"verdict": verdict, "digest": contract_digest(ODCS), "servers": [server], "results": list(results)}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API server that knows one contract."""
    fake = FakeApi(kinds=KINDS)
    fake.put("datacontracts", contract())
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("weir.cli.watching._SHORTEST", 0.01)
    yield fake
    fake.stop()


def finishing(api: FakeApi, status: KubeObject) -> None:
    """Every check that is created has a Job and then that result."""

    def created(check: KubeObject) -> None:
        api.put("jobs", {**job(active=1, ready=1), "metadata": {"name": check["metadata"]["name"]}})
        api.put("contractchecks", {**check, "status": status})

    api.created = created


# --- check


def test_given_data_that_keeps_the_contract_when_checked_then_it_passes(api: FakeApi, run: Run) -> None:
    finishing(api, result("Pass"))
    done = run("contract", "check", "orders")
    assert (done.exit_code, done.stdout) == (0, "Pass: all 3 rules passed\n  lake: Pass, 3 rules passed, 12,000 rows\n")
    (made,) = api.all("contractchecks")
    assert made["metadata"]["generateName"] == "orders-ask-"
    assert made["spec"] == {"contractRef": {"name": "orders"}, "purpose": "Request"}
    assert f"contractcheck {made['metadata']['name']}" in done.stderr


def test_given_data_that_breaks_it_then_every_broken_rule_is_in_the_table(api: FakeApi, run: Run) -> None:
    broken = {"server": "lake", "table": "orders", "column": "age", "rule": "required", "verdict": "Fail"}
    broken |= {"observed": "31 nulls", "expected": "a value", "message": "orders.age: 31 rows are null"}
    finishing(api, result("Fail", broken))
    done = run("contract", "check", "orders", "--server", "lake")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "Fail: of 4 rules 1 failed"
    assert done.stdout.splitlines()[3].split() == [
        *("VERDICT", "TABLE", "COLUMN", "RULE", "OBSERVED", "EXPECTED", "MESSAGE")
    ]
    assert done.stdout.splitlines()[4].endswith("  31 rows are null")
    assert "failingSamples" not in done.stdout
    assert api.all("contractchecks")[0]["spec"]["servers"] == ["lake"]


LIMIT = {"server": "lake", "table": "orders", "column": "age", "rule": "minimum", "verdict": "Fail"}
LIMIT |= {"observed": "3 of 5000 rows are below 18", "expected": "values >= 18"}
LIMIT |= {"message": "orders.age: 3 of 5000 rows are below 18; the contract requires values >= 18"}


def test_given_a_message_that_repeats_the_columns_then_it_is_left_out_of_the_table(api: FakeApi, run: Run) -> None:
    finishing(api, result("Fail", LIMIT, {**LIMIT, "rule": "exclusiveMinimum"}))
    printed = run("contract", "check", "orders").stdout
    assert "MESSAGE" not in printed
    assert printed.count("failingSamples") == 1


def test_given_a_narrow_terminal_then_each_result_is_a_block(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    finishing(api, result("Fail", {**LIMIT, "samples": ["7"]}))
    lines = [line.rstrip() for line in run("contract", "check", "orders").stdout.splitlines()]
    assert lines[3:5] == [
        "Fail  orders.age  minimum",
        "    3 of 5000 rows are below 18; the contract requires values >= 18 (such as 7)",
    ]
    assert not any("failingSamples" in line for line in lines)


def test_given_data_that_cannot_be_read_then_the_exit_code_says_so(api: FakeApi, run: Run) -> None:
    broken = {"server": "lake", "table": "orders", "rule": "file", "verdict": "Unknown"}
    finishing(api, result("Unknown", {**broken, "message": "orders.parquet is no Parquet file that can be read"}))
    assert run("contract", "check", "orders").exit_code == 2


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_given_a_format_then_the_whole_object_is_printed(api: FakeApi, run: Run, output: str, read: Any) -> None:
    finishing(api, result("Warn"))
    done = run("contract", "check", "orders", "-o", output)
    assert done.exit_code == 0
    assert read(done.stdout)["status"]["verdict"] == "Warn"


def test_given_a_check_without_a_result_then_it_is_unknown_and_never_a_pass(api: FakeApi, run: Run) -> None:
    def created(check: KubeObject) -> None:
        name = check["metadata"]["name"]
        entry = {"name": "lake", "check": name, "verdict": "Unknown", "reason": "CheckTimedOut", "finishedAt": AT}
        api.put("datacontracts", contract(checks=[{**entry, "message": "did not end in time"}]))

    api.created = created
    done = run("contract", "check", "orders")
    assert (done.exit_code, done.stdout) == (4, "Unknown: CheckTimedOut: did not end in time\n")
    told = json.loads(run("contract", "check", "orders", "-o", "json").stdout)
    assert told["status"]["verdict"] == "Unknown"


def test_given_no_operator_then_waiting_ends_in_time_and_says_what_to_look_at(api: FakeApi, run: Run) -> None:
    done = run("contract", "check", "orders", "--timeout", "100ms")
    assert done.exit_code == 3
    assert (
        "not within 100ms: waiting for the operator; see: kubectl get contractchecks.weir.dev orders-ask-"
        in done.stderr
    )


def test_given_no_wait_then_only_the_name_is_printed(api: FakeApi, run: Run) -> None:
    done = run("contract", "check", "orders", "--no-wait")
    assert (done.exit_code, done.stdout.strip()) == (0, api.all("contractchecks")[0]["metadata"]["name"])


def test_given_a_check_that_somebody_deletes_then_it_is_unknown(api: FakeApi, run: Run) -> None:
    def created(check: KubeObject) -> None:
        api.delete("contractchecks", check["metadata"]["name"])

    api.created = created
    # Deleted before it is listed, the check is gone at the first look.
    assert run("contract", "check", "orders").exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("order",), "no DataContract 'order' in namespace team; did you mean orders?"),
        (("orders", "--server", "nope"), "the contract has no server 'nope'; it has lake"),
        ((), "name a DataContract in the cluster, or give a file with -f"),
        (("orders", "--data", "x=y"), "--data is for a check on this machine"),
        (("orders", "--mlmodel", "x"), "--mlmodel needs the contract in a file"),
        (("orders", "--timeout", "soon"), "--timeout"),
    ],
)
def test_given_wrong_usage_then_one_line_says_what_would_be_right(
    api: FakeApi, run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run("contract", "check", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert api.all("contractchecks") == []


def test_given_a_contract_without_servers_then_there_is_nothing_to_check(api: FakeApi, run: Run) -> None:
    api.put("datacontracts", {"metadata": {"name": "orders"}, "spec": {"odcs": ODCS}})
    assert "orders names no servers" in run("contract", "check", "orders").stderr


def test_given_no_permission_then_the_check_is_refused(api: FakeApi, run: Run) -> None:
    api.refusals["POST", "contractchecks"] = Refusal(403, 'User "eve" cannot create resource', "Forbidden")
    done = run("contract", "check", "orders")
    assert done.exit_code == 1
    assert "cannot create" in done.stderr


CHECK: KubeObject = {"metadata": {"name": "c-1"}}


@pytest.mark.parametrize(
    ("check", "job_status", "entry", "words"),
    [
        (CHECK, None, {}, "waiting for the operator"),
        (CHECK, None, {"reason": "Queued", "message": "waits for its turn"}, "waiting for its turn"),
        (CHECK, None, {"reason": "NoContract", "message": "no contract"}, "no contract"),
        (CHECK, {}, {}, "the job is pending"),
        (CHECK, {"active": 1}, {}, "waiting for the pod to start"),
        (CHECK, {"active": 1}, {"reason": "Unschedulable", "message": "no node takes it"}, "no node takes it"),
        (CHECK, {"active": 1, "ready": 1}, {"reason": "Running", "message": "runs"}, "running"),
        (CHECK, {"succeeded": 1}, {}, "waiting for the result"),
    ],
)
def test_given_the_objects_of_a_running_check_then_the_words_say_where_it_stands(
    check: KubeObject, job_status: KubeObject | None, entry: KubeObject, words: str
) -> None:
    told = {"status": {"checks": [{"check": "c-1", **entry}] if entry else []}}
    stands = Look(time.monotonic())(check, {"status": job_status} if job_status is not None else None, told)
    assert (stands.words, stands.over) == (words, None)


def test_given_nobody_takes_up_the_check_then_the_operator_is_asked_for() -> None:
    assert "is the operator running?" in Look(started=-1000.0)(CHECK, None, None).words


def test_given_a_failed_job_then_the_operator_has_a_while_to_say_why() -> None:
    failed = job(conditions=[{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}])
    look = Look(0.0)
    assert look(CHECK, failed, None).over is None
    look.failed = -1000.0
    late = look(CHECK, failed, None)
    assert (late.over, late.words) == (
        "NoResult",
        "the pod failed: BackoffLimitExceeded; see: kubectl logs job/c-1",
    )


# --- diff


def test_given_a_pinned_revision_when_compared_with_the_current_one_then_the_change_is_told(
    api: FakeApi, run: Run
) -> None:
    api.put("controllerrevisions", kept(ODCS))
    api.put("datacontracts", contract(changed()))
    done = run("contract", "diff", f"orders@{contract_digest(ODCS)}", "orders", "-o", "json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["old"], told["new"]) == (f"orders@{contract_digest(ODCS)}", f"orders@{contract_digest(changed())}")
    assert [(c["path"], c["direction"]) for c in told["changes"]] == [("orders.age", "loosens")]


def test_given_the_mode_of_the_contract_then_it_decides(api: FakeApi, run: Run) -> None:
    api.put("controllerrevisions", kept(ODCS))
    current = contract(changed())
    current["spec"]["compatibility"] = {"mode": "Backward"}
    api.put("datacontracts", current)
    assert run("contract", "diff", f"orders@{contract_digest(ODCS)}", "orders").exit_code == 0


def test_given_a_file_then_it_is_compared_with_the_cluster(api: FakeApi, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(yaml.safe_dump(changed()))
    assert run("contract", "diff", "orders", str(path)).exit_code == 1


def test_given_semantics_of_a_kept_revision_then_their_change_breaks(api: FakeApi, run: Run) -> None:
    old = kept(ODCS, [{"property": "orders.age", "unit": "years"}])
    api.put("controllerrevisions", old)
    digest = old["metadata"]["annotations"]["weir.dev/digest"]
    current = contract()
    current["spec"]["semantics"] = [{"property": "orders.age", "unit": "months"}]
    api.put("datacontracts", current)
    done = run("contract", "diff", f"orders@{digest}", "orders")
    assert done.exit_code == 1
    assert "years" in done.stdout


def test_given_a_revision_that_is_gone_then_those_that_are_kept_are_named(api: FakeApi, run: Run) -> None:
    api.put("controllerrevisions", kept(changed()))
    done = run("contract", "diff", "orders@sha256:" + "0" * 64, "orders")
    assert done.exit_code == 2
    assert contract_digest(changed()) in done.stderr


# --- explain


def test_given_a_contract_then_it_is_explained_from_all_objects_around_it(api: FakeApi, run: Run) -> None:
    api.put("datacontracts", contract(usedBy=["orders-v1"], verdict="Pass"))
    api.put("rollouts", {"metadata": {"name": "orders"}, "status": {"stable": {"version": "orders-v1"}}})
    done = run("contract", "explain", "orders")
    assert done.exit_code == 0
    for said in (
        "The data keeps to orders",
        "age: integer, always there",
        f"orders@{contract_digest(ODCS)}",
        "ModelVersion orders-v1: stable of Rollout orders",
        "kubectl weir contract check orders -n team",
        "There is no schedule",
    ):
        assert said in done.stdout


def test_given_a_document_in_another_place_then_the_kept_revision_is_explained(api: FakeApi, run: Run) -> None:
    found = contract()
    del found["spec"]["odcs"]
    api.put("datacontracts", found)
    api.put("controllerrevisions", kept(ODCS))
    told = json.loads(run("contract", "explain", "orders", "-o", "json").stdout)
    assert told["promises"][0].startswith("orders, version 1.0.0")
    assert told["pin"] == f"orders@{contract_digest(ODCS)}"


def test_given_nothing_else_may_be_read_then_the_contract_is_still_explained(api: FakeApi, run: Run) -> None:
    for plural in ("contractchecks", "modelversions", "rollouts", "controllerrevisions"):
        api.refusals["GET", plural] = Refusal(403, "no", "Forbidden")
    assert run("contract", "explain", "orders").exit_code == 0


def test_given_a_cluster_without_weir_then_it_says_so(api: FakeApi, run: Run) -> None:
    api.kinds = ()
    done = run("contract", "explain", "orders")
    assert done.exit_code == 2
    assert "Weir is not installed" in done.stderr


# --- completion


def test_given_contracts_when_a_name_is_completed_then_they_are_offered(api: FakeApi) -> None:
    root = Path(__file__).parents[3]
    code = "import sys; sys.argv[0] = 'kubectl_complete-weir'; from weir.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "contract", "explain", "or"],
        env={**os.environ, "PYTHONPATH": str(root / "operator")},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines() == ["orders", ":4"]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"unknown": 1}, "the rule could not be checked"),
        ({"failed": 1}, "the rule failed"),
        ({"passed": 1}, "the rule passed"),
        ({"passed": 1, "failed": 1}, "of 2 rules 1 failed"),
    ],
)
def test_given_counts_then_the_headline_is_a_sentence(counts: dict[str, int], said: str) -> None:
    assert headline({"servers": [counts]}) == said
