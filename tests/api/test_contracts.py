"""DataContracts with a real API server and the real operator; the test plays the pods that check data."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import pytest

from tests.api.harness.api import Failure, eventually
from tests.api.harness.contracts import Contracts, document
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    JOBS,
    MODEL_VERSIONS,
)

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


@pytest.fixture
def room(lab: Lab) -> Contracts:
    """An empty namespace."""
    return Contracts(lab)


# --- documents and revisions -----------------------------------------------------------------------------------------


def test_given_a_good_document_when_created_then_it_is_accepted_and_kept(room: Contracts) -> None:
    room.create()

    status = room.accepted()

    (kept,) = room.revisions()
    assert status["revision"] == kept["metadata"]["name"] == "orders-" + status["digest"].removeprefix("sha256:")[:10]
    assert kept["metadata"]["annotations"]["weir.dev/digest"] == status["digest"]
    assert kept["data"] == {"odcs": document()}
    assert (status["version"], status["contractId"], status["standard"]) == ("1.0.0", "orders", "v3.1.0")
    assert status["verdict"] == "Unknown"
    assert room.condition("DataValid")["reason"] == "NotChecked"
    assert room.condition("Ready")["status"] == "True"
    with pytest.raises(Failure, match="immutable|Forbidden|Invalid"):
        room.lab.api.merge(CONTROLLER_REVISIONS, room.namespace, kept["metadata"]["name"], {"data": {"odcs": {}}})


def test_given_a_bad_document_when_repaired_then_it_is_accepted_by_itself(room: Contracts) -> None:
    room.create(odcs=document() | {"schema": [{"name": 7}]})
    refused = room.wait("Accepted", "InvalidDocument")
    assert "schema" in refused["message"]
    assert room.condition("DataValid")["reason"] == "NotAccepted"

    room.edit(odcs=document("1.0.1"))

    assert room.accepted()["version"] == "1.0.1"


def test_given_fields_that_contradict_the_document_then_the_condition_names_them(room: Contracts) -> None:
    room.create(freshness={"element": "orders.nowhere", "failAfter": "1h"})

    refused = room.wait("Accepted", "Inconsistent")

    assert "spec.freshness.element" in refused["message"]
    assert "orders.nowhere" in refused["message"]


def test_given_a_document_in_a_config_map_when_it_is_there_then_it_is_read_and_never_again(room: Contracts) -> None:
    text = json.dumps(document())
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    room.config_map("orders-doc", **{"contract.yaml": text})
    room.create(odcs=None, source={"configMapRef": {"name": "orders-doc"}, "digest": digest})
    status = room.accepted()

    room.lab.api.delete(CONFIG_MAPS, room.namespace, "orders-doc")
    room.edit(schedule={"maxAge": "1h"})

    assert room.accepted()["digest"] == status["digest"]


def test_given_other_bytes_than_the_digest_says_then_they_are_refused(room: Contracts) -> None:
    room.config_map("orders-doc", **{"contract.yaml": json.dumps(document())})

    room.create(odcs=None, source={"configMapRef": {"name": "orders-doc"}, "digest": "sha256:" + "0" * 64})

    assert "sha256:" in room.wait("Accepted", "DigestMismatch")["message"]


def test_given_no_source_is_allowed_when_a_document_is_in_git_then_it_is_refused(room: Contracts) -> None:
    git = {"url": "https://git.example/contracts.git", "path": "orders.yaml"}

    room.create(odcs=None, source={"git": git, "digest": "sha256:" + "0" * 64})

    assert "WEIR_CONTRACT_SOURCES" in room.wait("Accepted", "SourceNotAllowed")["message"]


def test_given_a_version_that_is_kept_when_it_comes_with_other_content_then_it_is_refused(room: Contracts) -> None:
    def source(odcs: dict[str, Any], name: str) -> dict[str, Any]:
        text = json.dumps(odcs)
        room.config_map(name, **{"contract.yaml": text})
        return {"configMapRef": {"name": name}, "digest": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"}

    room.create(odcs=None, source=source(document(), "first"))
    before = room.accepted()

    room.edit(source=source(document(required=True), "second"))

    refused = room.wait("Accepted", "VersionReused")
    assert "1.0.0" in refused["message"]
    assert room.status()["digest"] == before["digest"]
    assert len(room.revisions()) == 1


def test_given_many_versions_then_the_last_ten_and_those_in_use_are_kept(room: Contracts) -> None:
    room.create(odcs=document("1.0.0"))
    first = room.accepted()["digest"]
    room.version("digits-1", trainedOn=["orders"])
    room.wait("Compatible", "Compatible", "digits-1", MODEL_VERSIONS)

    for minor in range(1, 14):
        room.edit(odcs=document(f"1.{minor}.0"))
        room.accepted()

    eventually(lambda: len(room.revisions()) == 11, "revisions that nobody needs are gone")
    versions = [r["metadata"]["annotations"]["weir.dev/version"] for r in room.revisions()]
    assert versions == ["1.0.0", *(f"1.{minor}.0" for minor in range(4, 14))]
    assert room.revisions()[0]["metadata"]["annotations"]["weir.dev/digest"] == first


# --- what versions are bound to ---------------------------------------------------------------------------------------


def bound(room: Contracts, version: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = room.lab.api.get(MODEL_VERSIONS, room.namespace, version)["status"]["contracts"]
    return found


def test_given_a_name_without_digest_when_the_contract_moves_on_then_the_version_stays_bound(room: Contracts) -> None:
    room.create()
    first = room.accepted()["digest"]
    room.version("digits-1", trainedOn=["orders"])
    room.wait("Compatible", "Compatible", "digits-1", MODEL_VERSIONS)
    assert bound(room, "digits-1") == [{"role": "TrainedOn", "name": "orders", "digest": first}]

    room.edit(odcs=document("2.0.0", description="other words"))
    second = room.accepted()["digest"]
    room.version("digits-2", trainedOn=["orders"], request=f"orders@{first}")
    room.wait("Compatible", "Compatible", "digits-2", MODEL_VERSIONS)

    assert bound(room, "digits-1")[0]["digest"] == first
    assert bound(room, "digits-2") == [
        {"role": "Request", "name": "orders", "digest": first},
        {"role": "TrainedOn", "name": "orders", "digest": second},
    ]
    assert room.status()["usedBy"] == ["digits-1", "digits-2"]


def test_given_pins_that_lead_nowhere_then_the_version_says_which_and_recovers(room: Contracts) -> None:
    room.version("digits-1", trainedOn=["orders"])
    assert "no DataContract orders" in room.wait("Compatible", "NoContract", "digits-1", MODEL_VERSIONS)["message"]
    unknown = "sha256:" + "0" * 64
    room.create()
    room.wait("Compatible", "Compatible", "digits-1", MODEL_VERSIONS)

    room.version("digits-2", trainedOn=[f"orders@{unknown}"])

    assert unknown in room.wait("Compatible", "UnknownRevision", "digits-2", MODEL_VERSIONS)["message"]
    assert bound(room, "digits-2") == []


def test_given_data_that_the_version_was_not_trained_for_then_it_is_not_compatible(room: Contracts) -> None:
    room.create(odcs=document(required=True))
    first = room.accepted()["digest"]

    room.edit(odcs=document("2.0.0", required=False))
    room.accepted()
    room.version("digits-1", trainedOn=[f"orders@{first}"])

    refused = room.wait("Compatible", "R1", "digits-1", MODEL_VERSIONS)
    assert refused["status"] == "False"
    assert "amount" in refused["message"]


# --- quiet ------------------------------------------------------------------------------------------------------------


def test_given_nothing_changes_then_nothing_is_written(room: Contracts, operator: Operator, lab: Lab) -> None:
    room.create(schedule={"cron": "0 0 1 1 *"})
    room.accepted()
    room.version("digits-1", trainedOn=["orders"])
    room.finish(room.ask())
    room.wait("DataValid", "RulesHold")
    room.wait("Compatible", "Compatible", "digits-1", MODEL_VERSIONS)
    eventually(lambda: room.status()["usedBy"] == ["digits-1"], "the version is known")

    def looks() -> float:
        return operator.metric("controller_runtime_reconcile_total", controller="datacontract")

    def looked(before: float) -> bool:
        return looks() > before

    def writes() -> int:
        of = [e for e in lab.audit() if e["objectRef"].get("namespace") == room.namespace]
        return sum(e["verb"] not in ("get", "list", "watch") and e["stage"] == "ResponseComplete" for e in of)

    written = writes()
    for number in range(5):
        seen = looks()
        mark = {"metadata": {"annotations": {"example.com/touched": str(number)}}}
        lab.api.merge(DATA_CONTRACTS, room.namespace, "orders", mark)
        lab.api.merge(MODEL_VERSIONS, room.namespace, "digits-1", mark)
        eventually(partial(looked, seen), "the operator looked")

    assert writes() == written


def test_given_a_contract_is_deleted_then_everything_of_it_goes(room: Contracts) -> None:
    room.create()
    room.accepted()
    check = room.ask()
    room.pod(check)
    slot = room.ask("theirs")
    room.pod(slot)

    room.lab.api.delete(DATA_CONTRACTS, room.namespace, "orders")
    room.lab.api.delete(CONTRACT_CHECKS, room.namespace, check)

    eventually(lambda: room.revisions() == [], "its revisions are gone")
    eventually(lambda: room.lab.api.find(JOBS, room.namespace, check) is None, "the Job is gone")
    eventually(lambda: room.lab.api.find(CONFIG_MAPS, room.namespace, check) is None, "the plan is gone")
