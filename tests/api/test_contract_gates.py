"""Data contracts that hold releases, with a real API server and the real operator; the test plays the checking pods."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.api import objects as good
from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.contracts import Contracts, document
from tests.api.harness.lab import Lab
from weir.runtime.resources import MODEL_VERSIONS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


def arrange(lab: Lab, **contract: Any) -> tuple[Case, Contracts]:
    """v1 serves without a contract; v2 was trained on ``orders``, which is accepted."""
    case = Case(lab)
    room = Contracts(lab, case.namespace)
    case.version("v1")
    case.create()
    room.create(**contract)
    room.accepted()
    runtime = {"image": "registry.example/digits:v2", "protocol": "HTTP"}
    spec = {"model": "digits", "version": "v2", "runtime": runtime, "contracts": {"trainedOn": ["orders"]}}
    lab.api.create(MODEL_VERSIONS, {"metadata": {"name": "v2", "namespace": case.namespace}, "spec": spec})
    case.wait_ready()
    return case, room


def running(room: Contracts, *but: str) -> str:
    """Name of the check that a release has asked for, once its pod runs."""

    def look() -> str:
        new = [n for n, c in room.checks().items() if c["spec"]["purpose"] == "Release" and n not in but]
        return new[0] if new else ""

    name = eventually(look, "the release asks for a check", within=30)
    room.pod(name)
    return name


def holds(case: Case, reason: str) -> dict[str, Any]:
    """The status once the release is held for that reason."""

    def look() -> dict[str, Any] | None:
        status: dict[str, Any] = case.status()
        return status if (status.get("hold") or {}).get("reason") == reason else None

    return eventually(look, f"held for {reason}", within=30) or {}


def test_given_data_that_breaks_its_contract_then_the_release_waits_for_a_check_and_goes_on_once_it_is_repaired(
    lab: Lab,
) -> None:
    case, room = arrange(lab)
    case.release("v2")
    waits = holds(case, "ContractCheckPending")
    assert waits["candidate"]["version"] == "v2"
    check = running(room)
    assert check.startswith("orders-r-")

    room.finish(check, "Fail")
    broken = holds(case, "ContractFailed")
    assert "orders.amount: 3 rows below 0.5" in broken["message"]
    assert case.condition("ContractsHold")["status"] == "False"
    assert case.weights() == {"v1": 100}

    room.finish(room.ask(), "Pass")
    case.wait_ready(60)
    assert case.weights()["v2"] == 100
    assert case.condition("ContractsHold")["reason"] == "ContractsKept"
    assert case.status()["contracts"]["pins"] == [f"orders@{room.status()['digest']}"]


def test_given_data_that_fails_during_traffic_then_the_release_is_put_back_after_its_grace(lab: Lab) -> None:
    case, room = arrange(lab, enforcement={"onFail": "Rollback", "grace": "3s"})
    room.finish(room.ask(), "Pass")
    case.patch(strategy={"canary": {"steps": [{"weight": 20, "minDuration": "10m"}], "bake": "1s"}})
    case.release("v2")
    eventually(lambda: case.status().get("weight") == 20, "v2 has traffic", within=60)

    room.finish(room.ask(), "Fail", at=time.time())
    held = holds(case, "ContractFailed")
    assert "is put back at" in held["message"]
    eventually(lambda: case.status()["history"][0]["outcome"] == "RolledBack", "put back", within=30)
    assert case.status()["history"][0]["reason"] == "ContractFailed"
    assert case.weights()["v1"] == 100


def test_given_looser_data_than_was_trained_on_then_not_even_pods_start_until_there_is_a_waiver(lab: Lab) -> None:
    case, room = arrange(lab, servers=None)
    digest = room.status()["digest"]
    loose = document("2.0.0")
    del loose["schema"][0]["properties"][1]
    room.edit(odcs={**loose, **{key: None for key in good.ODCS if key not in loose}})
    eventually(lambda: room.status()["digest"] != digest, "the new revision is accepted", within=30)
    case.release("v2")
    held = holds(case, "ContractIncompatible")
    assert "R1" in held["message"]
    assert held["weight"] == 0
    (found,) = [f for f in held["contracts"]["findings"] if f["effect"] == "BlockPromotion"]
    assert found["contract"] == "orders"
    waiver = {
        "ruleId": found["change"],
        "path": found["path"],
        "reason": "not used",
        "approvedBy": "ada",
        "expires": "2100-01-01T00:00:00Z",
    }
    room.edit(compatibility={"waivers": [waiver]})
    case.wait_ready(60)
    assert case.weights()["v2"] == 100
